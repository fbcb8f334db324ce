import numpy as np
import pytest

from convexnn import Architecture, Network
from convexnn.model import build_program
from convexnn.networks import merge_parallel, recover
from convexnn.solvers import solve_reference

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


@pytest.mark.parametrize("activation", ["relu", "gated_relu"])
def test_predict_and_objective_follow_the_formula(activation):
    network = random_network(activation=activation)
    X, y = RNG.standard_normal((10, 3)), RNG.standard_normal(10)
    f = []
    for x in X:
        value = network.b2[0] + x @ network.skip[:, 0]
        for j in range(5):
            t = x @ network.W1[:, j] + network.b1[j]
            on = t > 0 if activation == "relu" else x @ network.gates[:3, j] + network.gates[3, j] >= 0
            value += t * on * network.W2[j, 0]
        f.append(value)
    assert network.predict(X).shape == (10,)
    assert np.allclose(network.predict(X), f)
    decay = (network.W1**2).sum() + (network.b1**2).sum() + (network.W2**2).sum()
    assert network.objective(X, y, 0.3) == pytest.approx(0.5 * np.sum((f - y) ** 2) + 0.15 * decay)
    assert network.objective(X, y[:, None], 0.3) == network.objective(X, y, 0.3)


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


def test_weight_decay_leaves_free_biases_out():
    penalized = random_network()
    free = Network(penalized.W1, penalized.b1, penalized.W2, penalized.b2, skip=penalized.skip, hidden_bias="free")
    X, y = RNG.standard_normal((6, 3)), RNG.standard_normal(6)
    assert np.array_equal(free.predict(X), penalized.predict(X))
    assert free.weight_decay() == pytest.approx(((free.W1**2).sum() + (free.W2**2).sum()) / 2, rel=1e-14)
    difference = penalized.objective(X, y, 0.4) - free.objective(X, y, 0.4)
    assert difference == pytest.approx(0.2 * (free.b1**2).sum(), rel=1e-9)


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


@pytest.mark.parametrize("activation", ["relu", "gated_relu"])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("hidden_bias", ["none", "penalized"])
def test_recovery_reproduces_the_program(activation, skip, hidden_bias):
    X, y = RNG.standard_normal((12, 3)), RNG.standard_normal(12)
    program = build_program(X, y, 0.05, 40, Architecture(activation, hidden_bias, skip=skip), random_state=0)
    solution = solve_reference(program)
    network = recover(solution)
    assert network.n_neurons > 0
    assert np.linalg.norm(network.predict(X) - solution.Z[:, 0]) <= 1e-9 * np.linalg.norm(solution.Z)
    assert network.objective(X, y, 0.05) == pytest.approx(solution.certificate.objective, rel=1e-9)
    assert (network.skip is None) == (not skip)
    assert network.b1.any() == (hidden_bias == "penalized")
    assert np.allclose(
        (network.W1**2).sum(axis=0) + network.b1**2, (network.W2**2).sum(axis=1), rtol=1e-12
    )  # balanced: |w| = |a|


def test_a_network_without_neurons_predicts_its_free_part():
    network = Network(np.empty((2, 0)), np.empty(0), np.empty((0, 1)), np.array([3.0]), skip=np.array([[1.0], [0.0]]))
    assert network.n_neurons == 0
    assert network.predict([[2.0, 5.0]]).tolist() == [5.0]
    assert network.weight_decay() == 0.0


def test_networks_check_their_parts():
    W1, b1, W2, b2 = np.ones((2, 3)), np.ones(3), np.ones((3, 1)), np.ones(1)
    for parts, message in [
        ((np.ones(2), b1, W2, b2), r"W1 must have shape \(n_features, n_neurons\)"),
        ((W1, np.ones(2), W2, b2), r"b1 must have shape \(3,\)"),
        ((W1, b1, np.ones((2, 1)), b2), r"W2 must have shape \(3, 1\)"),
        ((W1, b1, W2, np.ones(2)), r"b2 must have shape \(1,\)"),
        ((W1, b1, W2, b2, "relu", np.ones(2)), r"skip must have shape \(2, 1\)"),
        ((W1, b1, W2, b2, "tanh"), "activation must be one of"),
        ((W1, b1, W2, b2, "gated_relu"), "gates must be given"),
        ((W1, b1, W2, b2, "relu", None, "none"), "b1 must be zero"),
        ((W1, b1, W2, b2, "relu", None, "some"), "hidden_bias must be one of 'none', 'penalized', 'free'"),
        ((W1, b1, W2, b2, "relu", None, "penalized", np.ones((3, 3))), "gates must be given"),
        ((W1, b1, W2, b2, "gated_relu", None, "penalized", np.ones((2, 3))), r"gates must have shape \(3, 3\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            Network(*parts)
    network = Network(W1, b1, W2, b2)
    with pytest.raises(ValueError, match="X must have 2 features, as the network; got 3"):
        network.predict(np.ones((4, 3)))
    with pytest.raises(ValueError, match="X contains NaN"):
        network.predict([[np.nan, 1.0]])
    with pytest.raises(ValueError, match=r"y must have shape \(4, 1\)"):
        network.objective(np.ones((4, 2)), np.ones(3), 0.1)
    with pytest.raises(ValueError, match="alpha must be a finite number above 0"):
        network.objective(np.ones((4, 2)), np.ones(4), 0)
