"""One checker for networks of every kind, made at random and recovered from solutions.

A network predicts what its formula says in rational arithmetic, and so do its file, its exports and its explanation.
"""

import pickle
from dataclasses import replace

import exact
import numpy as np
import onnx
import pytest
from networks import NETWORKS, make_network, without_neurons
from runtime import run_onnx

from convexnn import Architecture, Network, as_network, explain, load, save, to_mlp, to_onnx, to_torch
from convexnn.geometry.patches import POOLINGS, Patches
from convexnn.losses import Squared
from convexnn.model import build_program
from convexnn.networks import CircularNetwork, PolynomialNetwork, recover
from convexnn.solvers import solve_conic, solve_working_set


def check_network(network, X, folder):
    """Check predictions, objective, file, exports and explanation on inputs X, which are next to no wall."""
    Z, few = network.outputs(X), 3
    expected = np.array([exact.outputs(*dense(network, x)) for x in X[:few]], dtype=float)
    close(Z[:few], expected, 1e-12)
    np.testing.assert_array_equal(network.predict(X), Z if Z.shape[1] > 1 else Z[:, 0])
    Y = np.random.default_rng(0).standard_normal(Z.shape)
    decay = float(exact.decay(network))
    assert network.weight_decay() == pytest.approx(decay, rel=1e-12)
    assert network.objective(X, Y, 0.3) == pytest.approx(0.5 * np.sum((Z - Y) ** 2) + 0.3 * decay, rel=1e-12)
    assert network.objective(X, Y, 0.3, Squared()) == network.objective(X, Y, 0.3)
    save(network, folder / "net.npz")
    again = load(folder / "net.npz")
    assert type(again) is type(network)
    np.testing.assert_array_equal(again.predict(X), network.predict(X))
    check_explanation(network, X)
    check_exports(network, X, folder)


def check_exports(network, X, folder):
    for dtype, tol in (("float64", 1e-12), ("float32", 1e-6)):
        to_onnx(network, folder / "net.onnx", dtype=dtype)
        onnx.checker.check_model(str(folder / "net.onnx"), full_check=True)
        results = run_onnx(folder / "net.onnx", X, dtype)
        assert list(results) == ["prediction"]
        assert results["prediction"].dtype == dtype
        close(results["prediction"], network.predict(X), tol)
    if network.activation == "relu" and network.skip is None and not hasattr(network, "patches"):
        close(to_mlp(network).predict(X), network.predict(X), 1e-12)
        close(as_network(to_mlp(network)).predict(X), network.predict(X), 1e-12)


def check_explanation(network, X):
    """Contributions add up and are those of each neuron alone; linear models are exact, their slopes those of steps."""
    parts, Z = explain(network, X), network.outputs(X)
    np.testing.assert_array_equal(parts.predictions, Z)
    np.testing.assert_array_equal(parts.intercept, network.b2)
    assert parts.contributions.shape == (len(X), network.n_neurons, Z.shape[1])
    skip = 0.0 if network.skip is None else parts.skip
    np.testing.assert_allclose(skip, 0.0 if network.skip is None else X @ network.skip, rtol=1e-13)
    scale = max(1.0, np.abs(Z).max())
    np.testing.assert_allclose(parts.contributions.sum(axis=1) + parts.intercept + skip, Z, atol=1e-12 * scale)
    for j in range(network.n_neurons):
        W2 = np.zeros_like(network.W2)
        W2[..., j, :] = network.W2[..., j, :]
        alone = without_free_part(network, W2)
        np.testing.assert_allclose(parts.contributions[:, j], alone.outputs(X), rtol=1e-12, atol=1e-12 * scale)
    local = np.einsum("nd,ndc->nc", X, parts.coefficients) + parts.offsets
    np.testing.assert_allclose(local, Z, atol=1e-11 * scale)
    # small steps stay in the region, and central differences of linear functions are exact up to rounding
    gradients = np.empty_like(parts.coefficients)
    for i, step in enumerate(1e-6 * np.eye(X.shape[1])):
        gradients[:, i] = (network.outputs(X + step) - network.outputs(X - step)) / 2e-6
    np.testing.assert_allclose(parts.coefficients, gradients, rtol=1e-6, atol=1e-7 * scale)


def close(values, expected, tol):
    assert np.shape(values) == expected.shape
    assert np.abs(values - expected).max() <= tol * np.abs(expected).max()


def without_free_part(network, W2):
    free = {"b2": np.zeros_like(network.b2)} | ({} if network.skip is None else {"skip": None})
    return replace(network, W2=W2, **free)


def dense(network, x):
    """A network and an input as the exact formula takes them: circ(u) w by its entries, patches cut out one by one."""
    if isinstance(network, CircularNetwork):
        columns = zip(network.U.T, network.W1.T, strict=True)
        W1 = np.array([dense_circulant(u, network.shape) @ w for u, w in columns]).reshape(-1, len(network.W1)).T
        kind = (network.activation, None, "none", network.gates)
        return Network(W1, np.zeros(W1.shape[1]), network.W2, network.b2, *kind), x[None]
    if not hasattr(network, "patches"):
        return network, x[None]
    patches = network.patches
    image = np.pad(x.reshape(patches.input_shape), [(0, 0), *((pad, pad) for pad in patches.padding)])
    cut = []
    for position in np.ndindex(patches.output_shape):
        starts = [at * step for at, step in zip(position, patches.stride, strict=True)]
        spans = [slice(start, start + size) for start, size in zip(starts, patches.kernel_size, strict=True)]
        cut.append(image[(slice(None), *spans)].ravel())
    return network, np.array(cut)


def dense_circulant(u, shape):
    """circ(u) by its entries u[i - k], index by index."""
    image, places = u.reshape(shape), list(np.ndindex(*shape))
    return np.array([[image[tuple((np.array(i) - k) % np.array(shape))] for k in places] for i in places])


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_every_kind(name, tmp_path):
    network, X = make_network(name)
    check_network(network, X, tmp_path)
    none = without_neurons(network)
    check_network(none, X, tmp_path)
    assert none.n_neurons == 0
    assert explain(none, X).n_regions == 1
    assert "0 neurons" in str(explain(none, X))


@pytest.mark.parametrize("name", NETWORKS)
def test_torch(name):
    torch = pytest.importorskip("torch")
    network, X = make_network(name)
    state = torch.random.get_rng_state()
    for net in (network, without_neurons(network)):
        module, inputs, expected = to_torch(net), torch.tensor(X), net.outputs(X)
        with torch.no_grad():
            close(module(inputs).numpy(), expected, 1e-12)
            module = pickle.loads(pickle.dumps(module)).float()
            close(module(inputs.float()).numpy(), expected, 1e-6)
            if hasattr(net, "patches"):
                images = inputs.float().reshape(-1, *net.patches.input_shape)
                close(module(images).numpy(), expected, 1e-6)
    assert torch.equal(state, torch.random.get_rng_state())
    if network.activation != "threshold" or network.skip is not None:  # steps have no gradient at all
        module, inputs = to_torch(network), torch.tensor(X, requires_grad=True)
        for c in range(expected.shape[1]):
            (gradient,) = torch.autograd.grad(module(inputs)[:, c].sum(), inputs)
            np.testing.assert_allclose(explain(network, X).coefficients[:, :, c], gradient.numpy(), atol=1e-12)


RNG = np.random.default_rng(0)
INPUTS, SIGNALS = RNG.standard_normal((12, 3)), RNG.standard_normal((10, 6))
PROGRAMS = {
    **{bias: Architecture(hidden_bias=bias) for bias in ("none", "penalized", "free")},
    **{f"skip, {bias}": Architecture(hidden_bias=bias, skip=True) for bias in ("none", "penalized", "free")},
    "gates": Architecture("gated_relu"),
    "gates, skip": Architecture("gated_relu", "none", skip=True),
    "leaky_relu": Architecture("leaky_relu", negative_slope=-2.0),
    "abs": Architecture("abs", fit_intercept=False),
    "bent": Architecture("bent"),
    "linear": Architecture("linear"),
    "threshold": Architecture("threshold"),
    "l1": Architecture(hidden_norm="l1"),
    "elastic": Architecture("gated_relu", hidden_norm=0.4),
    "nuclear": Architecture("gated_relu"),
    "two outputs": Architecture(output_penalty="l1"),
    "circular": Architecture("gated_relu", "none", hidden_norm="circular", circular_shape=(6,)),
    **{
        pooling: Architecture("gated_relu" if pooling == "none" else "relu", patches=Patches((1, 6), 2, 2, 0, pooling))
        for pooling in POOLINGS
    },
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_networks_recovered_from_programs(name, tmp_path):
    """They have the predictions and the objective of the program, are balanced, and pass the checker."""
    architecture = PROGRAMS[name]
    X = INPUTS if architecture.patches is None and architecture.circular_shape is None else SIGNALS
    Y = np.column_stack([np.abs(X[:, 0]) - X[:, 1], X[:, 1] + 0.3 * X[:, 0]])
    Y = Y if name in ("nuclear", "two outputs") else Y[:, :1]
    solve = solve_conic if architecture.hidden_norm == "l1" else solve_working_set
    solution = solve(build_program(X, Y, 0.05, 40, architecture, random_state=0))
    network = recover(solution)
    assert network.n_neurons > 0
    assert np.linalg.norm(network.outputs(X) - solution.Z) <= 1e-9 * np.linalg.norm(solution.Z)
    assert network.objective(X, Y, 0.05) == pytest.approx(solution.certificate.objective, rel=1e-9)
    assert (network.skip is None) == (not architecture.skip)
    if architecture.activation != "threshold":
        assert network.input_sizes() == pytest.approx(network.output_sizes(), rel=1e-10)
    # away from the data: these lie on walls
    check_network(network, np.random.default_rng(1).standard_normal(X.shape), tmp_path)


def test_polynomial_networks_follow_their_formula():
    W1, X = RNG.standard_normal((3, 4)), RNG.standard_normal((5, 3))
    W2, b2 = RNG.standard_normal((4, 2)), RNG.standard_normal(2)
    network, T = PolynomialNetwork(W1, W2, b2, (0.5, -1.0, 2.0)), X @ W1
    Z = (0.5 * T**2 - T + 2.0) @ W2 + b2
    close(network.predict(X), Z, 1e-13)
    value = 0.5 * np.sum((Z - 1.0) ** 2) + 0.1 * np.abs(W2).sum()
    assert network.objective(X, np.ones((5, 2)), 0.1) == pytest.approx(value, rel=1e-13)
    with pytest.raises(ValueError, match="X must have 3 features, as the network; got 2"):
        network.predict(X[:, :2])
