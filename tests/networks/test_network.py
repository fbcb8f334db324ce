"""Networks are made of parts that fit, and their parallel neurons are one."""

import re
from dataclasses import fields, replace

import numpy as np
import pytest
from networks import make_network

from convexnn import Network
from convexnn.geometry.patches import POOLINGS, Patches
from convexnn.networks import ConvNetwork, merge_parallel

RNG = np.random.default_rng(0)


def random_network(n_features=3, n_neurons=5, activation="relu", skip=True, rng=RNG):
    return Network(
        rng.standard_normal((n_features, n_neurons)),
        rng.standard_normal(n_neurons),
        rng.standard_normal((n_neurons, 1)),
        rng.standard_normal(1),
        activation,
        rng.standard_normal((n_features, 1)) if skip else None,
        gates=rng.standard_normal((n_features + 1, n_neurons)) if activation == "gated_relu" else None,
    )


def test_merging_keeps_the_function_and_never_raises_weight_decay():
    network = random_network(n_neurons=3)
    W1 = np.column_stack([network.W1, 2 * network.W1[:, :2], network.W1[:, 2], -network.W1[:, 0]])
    b1 = np.r_[network.b1, 2 * network.b1[:2], network.b1[2], -network.b1[0]]
    W2 = np.vstack([network.W2, 3 * network.W2[:2], -network.W2[2:], network.W2[:1]])
    split = Network(W1, b1, W2, network.b2, skip=network.skip)
    merged = merge_parallel(split)
    assert split.n_neurons == 7
    assert merged.n_neurons == 5  # 0+3, 1+4, 2, 5 of the other sign, 6 the other way
    X = RNG.standard_normal((20, 3))
    assert np.allclose(merged.predict(X), split.predict(X), rtol=1e-12)
    assert merged.weight_decay() <= split.weight_decay()
    assert merge_parallel(merged).n_neurons == 5


def test_merging_balanced_neurons_keeps_weight_decay():
    w = np.array([[3.0], [4.0]])
    network = Network(np.hstack([w, 2 * w]), np.zeros(2), np.array([[5.0], [10.0]]), np.zeros(1))
    merged = merge_parallel(network)
    assert merged.n_neurons == 1
    assert merged.weight_decay() == pytest.approx(network.weight_decay(), rel=1e-14)


def test_merging_minds_the_units_of_features():
    network = Network(np.array([[1e-11, 2e-11]]), np.array([-1.5, -1.5]), np.ones((2, 1)), np.zeros(1))
    assert merge_parallel(network).predict([[1e11]]) == pytest.approx(network.predict([[1e11]]))


def test_merging_balances_without_free_biases():
    W1, b1 = np.array([[3.0, 6.0, 0.0, 0.0, 0.0], [4.0, 8.0, 0.0, 0.0, 0.0]]), np.array([7.0, 14.0, 1.0, 3.0, 2.0])
    network = Network(W1, b1, np.array([[5.0], [1.0], [2.0], [4.0], [-1.0]]), np.zeros(1), hidden_bias="free")
    merged = merge_parallel(network)
    X = RNG.standard_normal((9, 2))
    assert np.allclose(merged.predict(X), network.predict(X), rtol=1e-13)
    assert merged.W1.tolist()[0][1:] == merged.W1.tolist()[1][1:] == [0.0, 0.0]
    assert np.linalg.norm(merged.W1[:, 0]) == pytest.approx(merged.W2[0, 0], rel=1e-14)
    assert merged.W2[0, 0] ** 2 == pytest.approx(5.0 * 5.0 + 10.0 * 1.0, rel=1e-14)
    assert merged.W2[1:, 0].tolist() == [2.0, -1.0]  # constants cost their output weight only
    assert merged.b1[1:].tolist() == [7.0, 2.0]
    assert merged.weight_decay() <= network.weight_decay()


def test_merging_drops_dead_neurons_and_leaves_gated_ones():
    network = Network(np.array([[1.0, 0.0, 2.0]]), np.zeros(3), np.array([[1.0], [1.0], [0.0]]), np.zeros(1))
    assert merge_parallel(network).n_neurons == 1
    gated = random_network(activation="gated_relu")
    assert merge_parallel(gated) is gated


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


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_kernel_of_the_whole_input_is_a_dense_network(pooling):
    dense = random_network(n_features=6, skip=False)
    W2 = dense.W2[None] if pooling == "none" else dense.W2
    network = ConvNetwork(dense.W1, dense.b1, W2, dense.b2, Patches((2, 3), 3, pooling=pooling))
    X = RNG.standard_normal((5, 6))
    assert np.allclose(network.predict(X), dense.predict(X), rtol=1e-12)
    assert network.weight_decay() == pytest.approx(dense.weight_decay(), rel=1e-14)


def test_circular_filters_have_no_decay_and_may_be_a_rounding_above_norm_one():
    network = make_network("circular image")[0]
    longer = replace(network, U=np.eye(12)[:, :5] * (1 + 1e-10))
    assert longer.weight_decay() == network.weight_decay()


@pytest.mark.parametrize("name", ["relu", "conv sum", "conv none", "circular"])
def test_parts_that_do_not_fit_are_refused(name):
    network, X = make_network(name)
    (h, m), inner = network.W1.shape, network.W2.shape
    shapes = {"b2": (3,), "W2": (*inner[:-2], 3, 1), "gates": (h, m), "U": (h, 4), "skip": (h, 2), "b1": (3,)}
    for part, shape in shapes.items():
        if part in {field.name for field in fields(network)}:
            kind = {"activation": "gated_relu"} if part == "gates" else {}
            with pytest.raises(ValueError, match=rf"{part} must have shape .*; got {re.escape(str(shape))}"):
                replace(network, **kind, **{part: np.ones(shape)})
    for change, message in [
        ({"W1": np.ones(h)}, r"W1 must have shape \(.*n_neurons\) and W2 \(.*n_neurons, n_outputs\)"),
        ({"W2": np.ones((1, *inner))}, "W1 must have shape"),
        ({"activation": "tanh"}, "activation must be one of 'relu', 'gated_relu'"),
        ({"activation": "gated_relu"}, "gates must be given"),
        ({"gates": np.ones((h + 1, m))}, "gates must be given"),
        ({"output_penalty": "l2"}, "output_penalty must be one of 'weight_decay', 'l1'; got 'l2'"),
    ]:
        with pytest.raises(ValueError, match=message):
            replace(network, **change)
    with pytest.raises(ValueError, match=f"X must have {network.n_features} features.*; got {X.shape[1] + 1}"):
        network.predict(np.ones((2, X.shape[1] + 1)))
    with pytest.raises(ValueError, match="X contains NaN"):
        network.predict(X * np.nan)
    with pytest.raises(ValueError, match=r"y must have shape \(25, \d\) to fit X and the network; got \(3,\)"):
        network.objective(X, np.ones(3), 0.1)
    with pytest.raises(ValueError, match="alpha must be a finite number above 0"):
        network.objective(X, network.predict(X), 0)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("relu", {"hidden_bias": "none"}, "b1 must be zero"),
        ("conv sum", {"hidden_bias": "none"}, "b1 must be zero"),
        ("relu", {"hidden_bias": "some"}, "hidden_bias must be one of 'none', 'penalized', 'free'"),
        ("relu", {"negative_slope": np.nan}, "negative_slope must be a finite number below 1; got nan"),
        ("conv sum", {"negative_slope": 1.0}, "negative_slope must be a finite number below 1; got 1.0"),
        ("relu", {"negative_slope": "0.1"}, "negative_slope must be a finite number below 1; got '0.1'"),
        ("conv sum", {"W1": np.ones((2, 5))}, r"W1 must have shape \(6, 5\)"),
        ("conv sum", {"activation": "threshold"}, "activation must be one of"),
        ("circular", {"activation": "abs"}, "activation must be one of"),
        ("circular", {"U": np.eye(6)[:, :5] * 1.001}, "U must have columns of norm at most 1"),
        ("circular", {"U": np.full((6, 5), np.nan)}, "U must have columns of norm at most 1"),
        ("circular", {"shape": (7,)}, r"U must have shape \(7, 5\)"),
        ("circular", {"shape": 5}, r"shape must be \(length,\) or \(height, width\); got 5"),
        ("circular", {"shape": (1, 1, 5)}, "shape must be"),
        ("circular", {"shape": (0,)}, "shape must be an integer of at least 1"),
    ],
)
def test_values_that_are_refused(name, change, message):
    with pytest.raises(ValueError, match=message):
        replace(make_network(name)[0], **change)


def test_patches_are_patches():
    with pytest.raises(TypeError, match="patches must be Patches; got tuple"):
        replace(make_network("conv sum")[0], patches=(1, 5))
