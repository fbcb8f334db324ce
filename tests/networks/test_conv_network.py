from dataclasses import replace

import numpy as np
import pytest

from convexnn import Network
from convexnn.geometry.patches import POOLINGS, Patches
from convexnn.networks.conv_network import ConvNetwork

GEOMETRIES = [((2, 7), 3, 2, 1), ((1, 4, 5), (2, 3), (1, 2), (1, 0)), ((3, 4, 4), 2, 2, 0)]


def random_network(patches, activation="relu", n_filters=4, n_outputs=1, seed=0):
    rng = np.random.default_rng(seed)
    h, own = patches.patch_size, (patches.n_patches,) if patches.pooling == "none" else ()
    return ConvNetwork(
        rng.standard_normal((h, n_filters)),
        rng.standard_normal(n_filters),
        rng.standard_normal((*own, n_filters, n_outputs)),
        rng.standard_normal(n_outputs),
        patches,
        activation,
        0.3 if activation == "leaky_relu" else 0.0,
        rng.standard_normal((h + 1, n_filters)) if activation == "gated_relu" else None,
    )


def patches_of(x, patches):
    """The patches of one input, cut out position by position."""
    image = np.pad(x.reshape(patches.input_shape), [(0, 0), *((pad, pad) for pad in patches.padding)])
    for position in np.ndindex(patches.output_shape):
        starts = [at * step for at, step in zip(position, patches.stride, strict=True)]
        spans = [slice(start, start + size) for start, size in zip(starts, patches.kernel_size, strict=True)]
        yield image[(slice(None), *spans)].ravel()


def activate(network, t, p, j):
    if network.activation == "gated_relu":
        return t if p @ network.gates[:-1, j] + network.gates[-1, j] >= 0 else 0.0
    return {"relu": max(t, 0.0), "linear": t, "leaky_relu": t if t > 0 else 0.3 * t, "abs": abs(t)}[network.activation]


@pytest.mark.parametrize("activation", ["relu", "gated_relu", "linear", "leaky_relu", "abs"])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_predict_follows_the_formula(geometry, pooling, activation):
    network = random_network(Patches(*geometry, pooling), activation, n_outputs=2)
    X = np.random.default_rng(1).standard_normal((3, network.patches.n_features))
    pool = {"sum": sum, "mean": lambda values: sum(values) / len(values), "max": max}
    for x, prediction in zip(X, network.predict(X), strict=True):
        wanted = network.b2.copy()
        for j in range(4):
            cut = list(patches_of(x, network.patches))
            values = [activate(network, p @ network.W1[:, j] + network.b1[j], p, j) for p in cut]
            if pooling == "none":
                wanted += sum(value * network.W2[k, j] for k, value in enumerate(values))
            else:
                wanted += pool[pooling](values) * network.W2[j]
        assert np.allclose(prediction, wanted, rtol=1e-12, atol=1e-12)


# x and w of test_patches, whose conv1d(x, w, stride=2, padding=1) by torch 2.13 is [[6, 3, 2, 1], [0, -5, 8, -4]]
@pytest.mark.parametrize(
    ("pooling", "hidden"), [("sum", [12, 8]), ("mean", [3, 2]), ("max", [6, 8]), ("none", [[6, 3, 2, 1], [0, 0, 8, 0]])]
)
def test_hidden_pools_the_convolution_of_torch(pooling, hidden):
    x = [[-1, 0, 1, 2, -2, -1, 0, 1, 2, -2, -1, 0, 1, 2, -2, -1]]
    filters = np.array([[[1, -2, 3], [0, 1, -1]], [[2, 0, -1], [1, 1, 1]]])
    patches = Patches((2, 8), 3, 2, 1, pooling)
    W2 = np.ones((4, 2, 1) if pooling == "none" else (2, 1))
    network = ConvNetwork(filters.reshape(2, -1).T, np.zeros(2), W2, np.zeros(1), patches)
    assert np.array_equal(network.filters, filters)
    assert np.array_equal(network.hidden(x)[0], np.array(hidden, dtype=float).T)
    assert network.n_neurons == 2


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_kernel_of_the_whole_input_is_a_dense_network(pooling):
    network = random_network(Patches((2, 3), 3, pooling=pooling), n_outputs=2)
    W2 = network.W2.reshape(4, 2)
    dense = Network(network.W1, network.b1, W2, network.b2)
    X = np.random.default_rng(2).standard_normal((5, 6))
    assert np.allclose(network.predict(X), dense.predict(X), rtol=1e-12)
    assert network.weight_decay() == pytest.approx(dense.weight_decay(), rel=1e-14)


def test_one_output_is_one_dimensional():
    network = random_network(Patches((1, 5), 2))
    assert network.predict(np.ones((3, 5))).shape == (3,)
    assert replace(network, W2=np.ones((4, 2)), b2=np.zeros(2)).predict(np.ones((3, 5))).shape == (3, 2)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_no_filters_leave_the_output_bias(pooling):
    network = random_network(Patches((1, 5), 2, pooling=pooling), n_filters=0)
    assert np.array_equal(network.predict(np.ones((3, 5))), np.full(3, network.b2[0]))
    assert replace(network, output_penalty="l1").weight_decay() == 0.0


@pytest.mark.parametrize("pooling", ["mean", "none"])
def test_weight_decay_sums_squares(pooling):
    network = random_network(Patches((1, 5), 2, pooling=pooling), n_outputs=3)
    weights, biases = (network.W1**2).sum(), (network.b1**2).sum()
    euclidean = absolute = 0.0
    for j in range(4):
        outputs = network.W2[..., j, :].ravel()
        euclidean += np.linalg.norm(outputs) ** 2
        absolute += np.linalg.norm(outputs, 1) ** 2
    assert network.weight_decay() == pytest.approx((weights + biases + euclidean) / 2, rel=1e-13)
    free = replace(network, hidden_bias="free")
    assert free.weight_decay() == pytest.approx((weights + euclidean) / 2, rel=1e-13)
    assert replace(free, output_penalty="l1").weight_decay() == pytest.approx((weights + absolute) / 2, rel=1e-13)
    unbiased = replace(network, b1=np.zeros(4), hidden_bias="none")
    assert unbiased.weight_decay() == pytest.approx((weights + euclidean) / 2, rel=1e-13)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W1": np.ones((2, 3))}, r"W1 must have shape \(3, 3\)"),
        ({"W1": np.ones(3)}, r"W1 must have shape \(3, n_neurons\) and W2 \(n_neurons, n_outputs\)"),
        ({"b1": np.ones(3)}, r"b1 must have shape \(4,\)"),
        ({"W2": np.ones((3, 1))}, r"W2 must have shape \(4, 1\)"),
        ({"W2": np.ones((3, 4, 1))}, "W1 must have shape"),
        ({"b2": np.ones(2)}, r"b2 must have shape \(1,\)"),
        ({"activation": "tanh"}, "activation must be one of"),
        ({"activation": "gated_relu"}, "gates must be given"),
        ({"gates": np.ones((4, 4))}, "gates must be given"),
        ({"activation": "gated_relu", "gates": np.ones((3, 4))}, r"gates must have shape \(4, 4\)"),
        ({"hidden_bias": "none"}, "b1 must be zero"),
        ({"hidden_bias": "some"}, "hidden_bias must be one of"),
        ({"output_penalty": "l2"}, "output_penalty must be one of"),
        ({"negative_slope": np.nan}, "negative_slope must be a finite number below 1; got nan"),
        ({"negative_slope": 1.0}, "negative_slope must be a finite number below 1; got 1.0"),
        ({"negative_slope": "0.1"}, "negative_slope must be a finite number below 1; got '0.1'"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(random_network(Patches((1, 5), 3)), **change)


def test_pooling_none_wants_weights_for_every_patch():
    network = random_network(Patches((1, 5), 3, pooling="none"))
    for shape in ((4, 1), (2, 4, 1)):
        with pytest.raises(ValueError, match=r"W1 must have shape|W2 must have shape \(3, 4, 1\)"):
            replace(network, W2=np.ones(shape))


def test_arguments_of_other_types_are_refused():
    network = random_network(Patches((1, 5), 3))
    with pytest.raises(TypeError, match="patches must be Patches; got tuple"):
        replace(network, patches=(1, 5))


def test_abs_is_leaky_of_slope_minus_one():
    network = random_network(Patches((1, 5), 3), "abs")
    X = np.random.default_rng(3).standard_normal((4, 5))
    leaky = replace(network, activation="leaky_relu", negative_slope=-1.0)
    assert np.allclose(leaky.predict(X), network.predict(X), rtol=1e-12)


def test_inputs_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="X must have 5 features"):
        random_network(Patches((1, 5), 3)).predict(np.ones((2, 4)))
