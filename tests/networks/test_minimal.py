from dataclasses import replace

import numpy as np
import pytest

from convexnn import ConvexReLURegressor, Network
from convexnn.networks.minimal import minimal_network


def random_network(rng, n_features=3, n_neurons=200, n_outputs=1, hidden_bias="penalized", activation="relu"):
    return Network(
        rng.standard_normal((n_features, n_neurons)),
        rng.standard_normal(n_neurons) * (hidden_bias != "none"),
        rng.standard_normal((n_neurons, n_outputs)),
        rng.standard_normal(n_outputs),
        activation,
        rng.standard_normal((n_features, n_outputs)),
        hidden_bias,
        rng.standard_normal((n_features + 1, n_neurons)) if activation == "gated_relu" else None,
    )


def fits(network, X):
    """The fit of every neuron, by the formula, as columns of length one."""
    T = X @ network.W1 + network.b1
    on = T > 0 if network.gates is None else X @ network.gates[:-1] + network.gates[-1] >= 0
    F = np.column_stack([np.outer(T[:, j] * on[:, j], network.W2[j]).ravel() for j in range(network.n_neurons)])
    F /= np.abs(F).max(axis=0)
    return F / np.linalg.norm(F, axis=0)


def check_minimal(network, X, tol=1e-9):
    """Fewer neurons with independent fits, the same predictions and free part, no more weight decay."""
    small = minimal_network(network, X)
    expected = network.predict(X)
    assert np.abs(small.predict(X) - expected).max() <= tol * np.abs(expected).max()
    assert small.weight_decay() <= network.weight_decay() * (1 + 1e-12)
    assert small.n_neurons <= len(X) * small.W2.shape[1]
    if small.n_neurons:
        assert np.linalg.matrix_rank(fits(small, X)) == small.n_neurons
    assert np.array_equal(small.b2, network.b2)
    assert (small.skip is None) == (network.skip is None)
    assert small.skip is None or np.array_equal(small.skip, network.skip)
    assert (small.activation, small.hidden_bias) == (network.activation, network.hidden_bias)
    assert minimal_network(small, X) is small
    return small


@pytest.mark.parametrize("activation", ["relu", "gated_relu"])
@pytest.mark.parametrize("hidden_bias", ["penalized", "none", "free"])
@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_wide_networks(seed, n_outputs, hidden_bias, activation):
    rng = np.random.default_rng(seed)
    network = random_network(rng, n_outputs=n_outputs, hidden_bias=hidden_bias, activation=activation)
    X = rng.standard_normal((20, 3))
    small = check_minimal(network, X)
    sizes = (small.W1**2).sum(axis=0) + (small.b1**2 if hidden_bias != "free" else 0)
    assert np.allclose(sizes, (small.W2**2).sum(axis=1), rtol=1e-10)  # balanced
    directions = {tuple(w) for w in (network.W1 / np.linalg.norm(network.W1, axis=0)).T.round(10)}
    assert {tuple(w) for w in (small.W1 / np.linalg.norm(small.W1, axis=0)).T.round(10)} <= directions


@pytest.mark.parametrize(
    "norms",
    [
        {"hidden_norm": "l1"},
        {"hidden_norm": 0.4, "output_penalty": "l1"},
        {"output_penalty": "l1"},
        {"activation": "threshold"},
        {"activation": "threshold", "output_penalty": "l1"},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", range(10))
def test_weight_decay_is_that_of_the_network(seed, norms):
    """In whatever norms it is, it does not rise, and the steps of threshold networks stay where they are."""
    rng = np.random.default_rng([seed, 8])
    network = replace(random_network(rng, n_outputs=2), **norms)
    X = rng.standard_normal((6, 3))
    small = minimal_network(network, X)
    assert small.n_neurons <= 12
    assert np.allclose(small.predict(X), network.predict(X), rtol=1e-8, atol=1e-8)
    assert small.weight_decay() <= network.weight_decay() * (1 + 1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_degenerate_data(seed):
    """Few directions, many ties, repeated samples, and features of other units."""
    rng = np.random.default_rng(seed)
    X = [
        rng.integers(-2, 3, (15, 2)).astype(float),
        np.repeat(rng.standard_normal((8, 2)), 2, axis=0),
        rng.standard_normal((15, 2)) * [1e-6, 1e6],
        rng.standard_normal((15, 2)) + 1e6,
    ][seed]
    weights = rng.integers(-1, 2, (2, 150)).astype(float) if seed < 2 else rng.standard_normal((2, 150))
    network = Network(weights, rng.integers(-1, 2, 150), rng.integers(-1, 2, (150, 1)), np.zeros(1))
    check_minimal(network, X)


@pytest.mark.parametrize("hidden_bias", ["penalized", "none"])
@pytest.mark.parametrize("n_copies", [2, 9])
def test_a_best_network_stays_one(n_copies, hidden_bias):
    """Its neurons are split in pieces that share their output weights: the objective is the same before and after."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((12, 2)), rng.standard_normal(12)
    model = ConvexReLURegressor(1e-3, arrangements="all", hidden_bias=hidden_bias, tol=1e-9).fit(X, y)
    best = model.network_
    shares = rng.dirichlet(np.ones(n_copies), best.n_neurons)  # w and a of a piece are scaled by sqrt(share)
    scale = np.sqrt(shares).T.reshape(-1)
    split = Network(
        np.tile(best.W1, n_copies) * scale,
        np.tile(best.b1, n_copies) * scale,
        np.tile(best.W2, (n_copies, 1)) * scale[:, None],
        best.b2,
        hidden_bias=hidden_bias,
    )
    objective = best.objective(X, y, 1e-3)
    assert split.objective(X, y, 1e-3) == pytest.approx(objective, rel=1e-12)
    small = check_minimal(split, X)
    assert small.n_neurons <= best.n_neurons
    assert small.objective(X, y, 1e-3) == pytest.approx(objective, rel=1e-10)


def test_neurons_of_one_cell_may_go_at_no_cost():
    """Where the weight decay is constant along the null vectors, a neuron goes all the same."""
    X = np.array([[1.0, 0.2], [1.0, -0.3]])
    angles = np.linspace(-0.1, 0.1, 30)
    # all neurons are active on both samples: their fits X w a span two dimensions
    network = Network(np.array([np.cos(angles), np.sin(angles)]), np.zeros(30), np.ones((30, 1)), np.zeros(1))
    assert check_minimal(network, X).n_neurons <= 2
    # for x >= 0 the fits are x, x + 1, x + 2, of the same weight decay each
    network = Network(np.array([[1.0, 1.0, 1.0]]), [0.0, 1.0, 2.0], np.ones((3, 1)), np.zeros(1), hidden_bias="free")
    X = np.array([[0.0], [1.0], [2.0]])
    small = check_minimal(network, X)
    assert small.n_neurons == 2
    assert small.weight_decay() == pytest.approx(3.0, rel=1e-12)  # slope 3, in any two of the three


def test_minimal_networks_are_left_alone():
    rng = np.random.default_rng(1)
    network = random_network(rng, n_neurons=5)
    assert minimal_network(network, rng.standard_normal((40, 3))) is network
    none = random_network(rng, n_neurons=0)
    assert minimal_network(none, rng.standard_normal((4, 3))) is none


def test_dead_neurons_go():
    X = np.array([[1.0, 2.0], [2.0, 1.0]])
    W1 = np.array([[1.0, -1.0, 0.0, 1.0], [0.0, -1.0, 0.0, 1.0]])
    network = Network(W1, np.zeros(4), np.array([[4.0], [1.0], [1.0], [0.0]]), np.ones(1))
    small = check_minimal(network, X)
    assert small.W1.tolist() == [[2.0], [0.0]]
    assert small.W2.tolist() == [[2.0]]
    dead = Network(W1[:, 1:2], np.zeros(1), np.ones((1, 2)), np.ones(2))
    small = minimal_network(dead, X)
    assert small.n_neurons == 0
    assert small.predict(X).tolist() == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize("n_neurons", [0, 2])
def test_no_active_neuron_of_many_samples_takes_no_memory_of_their_square(n_neurons):
    network = Network(np.full((1, n_neurons), -1.0), np.zeros(n_neurons), np.ones((n_neurons, 1)), np.ones(1))
    small = minimal_network(network, np.ones((200_000, 1)))  # whose square has 320 GB
    assert small.n_neurons == 0
    assert small.predict([[1.0]]) == 1.0


def test_cancelling_neurons_go():
    rng = np.random.default_rng(0)
    network = random_network(rng, n_neurons=6)
    twice = Network(np.tile(network.W1, 2), np.tile(network.b1, 2), np.vstack([network.W2, -network.W2]), np.ones(1))
    assert minimal_network(twice, rng.standard_normal((30, 3))).n_neurons == 0


def test_free_constants_have_no_weight_decay():
    """With w_j = 0 and a free bias, a constant is scaled in its bias and keeps its output weight."""
    rng = np.random.default_rng(0)
    W1 = rng.standard_normal((2, 60))
    W1[:, :3] = 0.0
    network = Network(W1, np.r_[1.0, 2.0, -1.0, rng.standard_normal(57)], np.ones((60, 1)), [0.0], hidden_bias="free")
    small = check_minimal(network, rng.standard_normal((10, 2)))
    constants = np.flatnonzero(~small.W1.any(axis=0))
    assert len(constants) <= 1
    assert (small.W2[constants] == 1.0).all()


@pytest.mark.parametrize("unit_x", [1.0, 1e-60, 1e60])
@pytest.mark.parametrize("unit_w", [1e-60, 1e60])
def test_extreme_units(unit_w, unit_x):
    rng = np.random.default_rng(0)
    plain = random_network(rng, n_neurons=80)
    network = Network(plain.W1 * unit_w, plain.b1 * unit_w * unit_x, plain.W2 * unit_w, np.zeros(1))
    check_minimal(network, rng.standard_normal((20, 3)) * unit_x)


def test_many_neurons_and_samples():
    rng = np.random.default_rng(0)
    check_minimal(random_network(rng, 5, 1000), rng.standard_normal((300, 5)))


def test_a_basis_is_chosen_anew_when_null_vectors_grow(monkeypatch):
    monkeypatch.setattr("convexnn.networks.minimal.GROWTH", 0.0)
    monkeypatch.setattr("convexnn.networks.minimal.REFACTOR", 2)
    rng = np.random.default_rng(0)
    check_minimal(random_network(rng), rng.standard_normal((20, 3)))


def test_neurons_stay_where_rounding_would_show(monkeypatch):
    rng = np.random.default_rng(0)
    network, X = random_network(rng, n_neurons=50), rng.standard_normal((20, 3))
    n_alive = np.count_nonzero(network.hidden(X).any(axis=0))
    monkeypatch.setattr("convexnn.networks.minimal.DECAY_TOL", -1.0)  # no change is small enough
    kept = minimal_network(network, X)
    assert kept.n_neurons == n_alive
    assert np.allclose(kept.predict(X), network.predict(X), rtol=1e-12)


def test_inputs_are_checked():
    network = random_network(np.random.default_rng(0))
    with pytest.raises(ValueError, match="X must have 3 features"):
        minimal_network(network, np.ones((4, 2)))
    with pytest.raises(ValueError, match="X contains NaN"):
        minimal_network(network, np.full((4, 3), np.nan))
