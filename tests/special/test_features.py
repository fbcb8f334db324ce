"""Gated networks of few features: cvxpy on the formula, closed forms, the lasso, and data where few features matter."""

import itertools

import cvxpy as cp
import numpy as np
import pytest
from own_losses import PseudoHuber
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso
from specials import check_result, least

from convexnn.geometry import Arrangements, enumerate_arrangements
from convexnn.losses import Huber, Quantile, Squared
from convexnn.special import feature_sparse_network
from convexnn.special.feature_points import InteriorPoints

LABELS = ("log_loss", "hinge", "squared_hinge")
# Each loss of targets y and predictions z, in cvxpy.
FORMULAS = {
    "squared_error": lambda y, z: 0.5 * cp.sum_squares(z - y),
    "huber": lambda y, z: 0.5 * cp.sum(cp.huber(z - y, 1.0)),
    "absolute_error": lambda y, z: cp.sum(cp.abs(z - y)),
    "quantile": lambda y, z: cp.sum(cp.maximum(0.5 * (y - z), 0.5 * (z - y))),
    "log_loss": lambda y, z: cp.sum(cp.logistic(-cp.multiply(y, z))),
    "hinge": lambda y, z: cp.sum(cp.pos(1 - cp.multiply(y, z))),
    "squared_hinge": lambda y, z: 0.5 * cp.sum_squares(cp.pos(1 - cp.multiply(y, z))),
    "softmax": lambda y, z: cp.sum(cp.log_sum_exp(z, axis=1)) - cp.sum(cp.multiply(y, z)),
    PseudoHuber(): lambda y, z: 2.0 * cp.sum(cp.norm(cp.hstack([np.ones(y.shape), z - y]), axis=1) - 1.0),
}
CASES = [
    *[(loss, {}) for loss in FORMULAS],
    ("squared_error", {"hidden_bias": "none", "fit_intercept": False}),
    ("squared_error", {"n_outputs": 2}),
    ("absolute_error", {"n_outputs": 2, "fit_intercept": False}),
    ("huber", {"groups": [7, -1, 7]}),
    ("log_loss", {"groups": [0, 0, 0], "hidden_bias": "none"}),
    ("softmax", {"groups": [1, 0, 0], "fit_intercept": False}),
]


def targets(loss, X, rng, n_outputs=1):
    signal = np.abs(X[:, 0]) - 0.5 * X[:, -1] + 0.3 * rng.standard_normal(len(X))
    if loss in LABELS:
        return np.where(signal > np.median(signal), 1.0, -1.0)[:, None]
    if loss == "softmax":
        return np.eye(3)[np.digitize(signal, np.quantile(signal, [0.3, 0.6]))]
    return np.column_stack([signal, X[:, 0] * signal])[:, :n_outputs]


def problem(loss, seed=0, n=9, d=3, n_outputs=1):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, targets(loss, X, rng, n_outputs)


def hidden_rows(X, hidden_bias="penalized"):
    return np.column_stack([X, np.ones(len(X))]) if hidden_bias == "penalized" else X


def group_of_rows(groups, n_features, hidden_bias):
    """The group of each hidden feature; the constant is one of its own."""
    groups = list(range(n_features)) if groups is None else list(groups)
    return np.array(groups + [max(groups) + 1] * (hidden_bias == "penalized"))


def optimum(X, Y, alpha, loss, patterns, hidden_bias="penalized", fit_intercept=True, groups=None):
    """The optimum of L(sum_i D_i X U_i + b) + alpha sum_k |U_k| by cvxpy."""
    rows = hidden_rows(X, hidden_bias)
    U = cp.Variable((len(patterns) * rows.shape[1], Y.shape[1]))
    b = cp.Variable((1, Y.shape[1])) if fit_intercept else np.zeros((1, Y.shape[1]))
    Z = np.hstack([D[:, None] * rows for D in patterns.astype(float)]) @ U + np.ones((len(X), 1)) @ b
    own = np.tile(group_of_rows(groups, X.shape[1], hidden_bias), len(patterns))
    penalty = sum(cp.norm(cp.vec(U[np.flatnonzero(own == k)], order="F"), 2) for k in np.unique(own))
    return least(FORMULAS[loss](Y, Z) + alpha * penalty)


def value_of_network(result, X, Y, loss, groups=None):
    """The objective of the network from its weights: a gate's neurons w a' add up to its block."""
    network = result.network
    blocks = {}
    for gate, w, b, a in zip(network.gates.T, network.W1.T, network.b1, network.W2, strict=True):
        blocks[gate.tobytes()] = blocks.get(gate.tobytes(), 0.0) + np.outer(np.append(w, b), a)
    U = np.stack(list(blocks.values())) if blocks else np.zeros((1, X.shape[1] + 1, Y.shape[1]))
    own = group_of_rows(groups, X.shape[1], "penalized")
    penalty = sum(np.sqrt(np.sum(U[:, own == k] ** 2)) for k in np.unique(own))
    assert np.allclose(np.sqrt(np.sum(U**2, axis=(0, 2))), [*result.feature_norms, result.bias_norm], atol=1e-9)
    Z = network.predict(X).reshape(Y.shape)
    return FORMULAS[loss](Y, cp.Constant(Z)).value + result.solution.program.alpha * penalty


@pytest.mark.parametrize("part", [0.5, 0.1, 1e-3])
@pytest.mark.parametrize(("loss", "options"), CASES, ids=lambda case: str(case))
def test_the_optimum_is_that_of_the_formula(loss, options, part):
    options = dict(options)
    X, Y = problem(loss, n_outputs=options.pop("n_outputs", 1))
    hidden_bias, groups = options.get("hidden_bias", "penalized"), options.get("groups")
    cells = enumerate_arrangements(hidden_rows(X, hidden_bias))
    options |= {"loss": loss, "gates": cells}
    alpha = part * feature_sparse_network(X, Y, 1e3, **options).alpha_max
    result = feature_sparse_network(X, Y, alpha, tol=1e-8, **options)
    best = optimum(X, Y, alpha, loss, cells.patterns(), hidden_bias, options.get("fit_intercept", True), groups)
    check_result(result, best, value_of_network(result, X, Y, loss, groups), scope="sampled", tol=1e-8)
    assert not result.network.W1[~result.selected].any()


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_alpha_max_in_closed_form(fit_intercept):
    X, Y = problem("squared_error", n=30)
    cells = Arrangements.from_gates(hidden_rows(X), np.random.default_rng(0).standard_normal((20, 4)))
    V = Y - Y.mean() * fit_intercept
    largest = max(np.linalg.norm([(x * D) @ V for D in cells.patterns()]) for x in hidden_rows(X).T)
    options = {"gates": cells, "fit_intercept": fit_intercept, "tol": 1e-10}
    above, below = (feature_sparse_network(X, Y, part * largest, **options) for part in (1 + 1e-9, 1 - 1e-3))
    assert above.alpha_max == pytest.approx(largest, rel=1e-10)
    assert not above.selected.any()
    assert above.network.n_neurons == 0
    assert above.certificate.objective == pytest.approx(0.5 * np.sum(V**2), rel=1e-12)
    assert above.certificate.gap <= 1e-10
    assert below.selected.sum() + (below.bias_norm > 0) == 1
    assert below.certificate.objective < above.certificate.objective


@pytest.mark.parametrize("loss", ["squared_error", "huber", "log_loss", "hinge"])
def test_features_that_matter_are_selected(loss):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((200, 10))
    signal = np.maximum(2 * X[:, 2], 0) - np.maximum(X[:, 7], 0)
    y = np.where(signal > np.median(signal), 1.0, -1.0) if loss in LABELS else signal
    largest = feature_sparse_network(X, y, 1e4, loss=loss, random_state=0).alpha_max
    result = feature_sparse_network(X, y, 0.3 * largest, loss=loss, random_state=0)
    assert np.flatnonzero(result.selected).tolist() == [2, 7]
    assert np.array_equal(result.feature_norms > 0, result.selected)
    assert result.certificate.gap <= 1e-6
    assert result.certificate.scope == "sampled"
    records = result.history
    assert records[-1]["gap"] == result.certificate.gap
    assert all(a["objective"] >= b["objective"] for a, b in itertools.pairwise(records))
    assert all(a["lower_bound"] <= b["lower_bound"] for a, b in itertools.pairwise(records))
    assert not result.network.W1[~result.selected].any()
    # the gates see all features, the neurons the selected ones: on the same side of the gates nothing else matters
    assert np.array_equal(result.network.gates[:-1] != 0, np.ones((10, result.network.n_neurons), bool))


def test_features_of_a_group_are_selected_together():
    rng = np.random.default_rng(1)
    level = rng.integers(0, 3, 150)
    X = np.column_stack([np.eye(3)[level], rng.standard_normal((150, 4))])
    y = np.array([0.0, 1.0, 3.0])[level] + 0.05 * rng.standard_normal(150)
    groups = [5, 5, 5, 0, 1, 2, 2]
    largest = feature_sparse_network(X, y, 1e4, groups=groups, random_state=0).alpha_max
    result = feature_sparse_network(X, y, 0.5 * largest, groups=groups, random_state=0)
    assert result.selected.tolist() == [True] * 3 + [False] * 4
    alone = feature_sparse_network(X, y, 0.5 * largest, random_state=0)
    assert alone.certificate.objective > result.certificate.objective


def test_linear_networks_are_the_lasso():
    X, Y = problem("squared_error", n=40, d=6)
    for alpha in (5.0, 0.5, 0.005):
        lasso = Lasso(alpha=alpha / 40, tol=1e-14, max_iter=100_000).fit(X, Y[:, 0])
        best = 0.5 * np.sum((lasso.predict(X) - Y[:, 0]) ** 2) + alpha * np.abs(lasso.coef_).sum()
        result = feature_sparse_network(X, Y, alpha, gates=np.zeros((1, 6)), hidden_bias="none", tol=1e-9)
        assert result.certificate.objective == pytest.approx(best, rel=1e-8)
        assert np.allclose(result.feature_norms, np.abs(lasso.coef_), atol=1e-4)
        assert np.allclose(result.network.predict(X), lasso.predict(X), atol=1e-3)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "log_loss"])
def test_weights_are_copies_of_samples(loss):
    X, Y = problem(loss, n=20)
    counts = np.random.default_rng(2).integers(1, 4, 20)
    gates = np.random.default_rng(0).standard_normal((15, 4))
    weighted = feature_sparse_network(X, Y, 0.7, loss=loss, gates=gates, sample_weight=counts)
    # the norms of coefficients are those of the same gates, but all other sums are over copies
    repeated = feature_sparse_network(X.repeat(counts, axis=0), Y.repeat(counts, axis=0), 0.7, loss=loss, gates=gates)
    assert weighted.certificate.objective == pytest.approx(repeated.certificate.objective, rel=2e-6)
    assert weighted.alpha_max == pytest.approx(repeated.alpha_max, rel=1e-6)


def test_losses_are_given_by_name_or_as_they_are():
    X, Y = problem("huber", n=20)
    small, named = (
        feature_sparse_network(X, Y, 0.2, loss=loss, gates=9, random_state=0) for loss in (Huber(0.1), "huber")
    )
    assert small.certificate.objective < named.certificate.objective
    tilted = feature_sparse_network(X, Y, 0.2, loss=Quantile(0.9), gates=9, random_state=0)
    assert np.mean(tilted.network.predict(X) >= Y[:, 0] - 1e-6) > 0.8
    weights = np.linspace(0.5, 2.0, 20)
    own = feature_sparse_network(X, Y, 0.2, loss=Squared(sample_weight=weights), gates=9, random_state=0)
    given = feature_sparse_network(X, Y, 0.2, sample_weight=weights, gates=9, random_state=0)
    assert own.certificate == given.certificate


def test_units_of_the_data_are_units_of_the_result():
    X, Y = problem("squared_error", n=25)
    gates = np.random.default_rng(0).standard_normal((12, 3))
    options = {"gates": gates, "hidden_bias": "none", "tol": 1e-8}
    plain = feature_sparse_network(X, Y, 0.5, **options)
    scaled = feature_sparse_network(1e50 * X, 1e-30 * Y + 1e-27, 0.5e20, **options)
    assert scaled.certificate.gap <= 1e-8
    assert scaled.certificate.objective == pytest.approx(1e-60 * plain.certificate.objective, rel=1e-7)
    assert np.allclose(1e80 * scaled.feature_norms, plain.feature_norms, atol=1e-4)


@pytest.mark.parametrize("loss", ["squared_error", "hinge", "absolute_error"])
def test_degenerate_data(loss):
    X, Y = problem(loss, n=15)
    X = np.vstack([np.column_stack([X, X[:, 0], np.zeros(15), np.ones(15)]), np.zeros((2, 6))])
    X, Y = np.vstack([X, X[:5]]), np.vstack([Y, Y[:2], -Y[:5]])
    for alpha in (1.0, 1e-3):
        result = feature_sparse_network(X, Y, alpha, loss=loss, gates=15, random_state=0)
        assert result.certificate.gap <= 1e-6
        assert not result.selected[4]


@pytest.mark.parametrize("limit", [{"max_iter": 3}, {"time_limit": 1e-9}, "interrupt"])
def test_the_best_network_is_kept_where_a_run_is_ended(limit, monkeypatch):
    X, Y = problem("squared_error", n=50, d=4)
    options = {"gates": 20, "random_state": 0}
    best = feature_sparse_network(X, Y, 0.5, tol=1e-9, **options).certificate
    if limit == "interrupt":
        advance, calls = InteriorPoints.advance, []

        def interrupted(points):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return advance(points)

        monkeypatch.setattr(InteriorPoints, "advance", interrupted)
        limit = {}
    with pytest.warns(ConvergenceWarning, match="relative gap of") as record:
        early = feature_sparse_network(X, Y, 0.5, tol=1e-9, **options, **limit)
    assert record[0].filename == __file__
    assert early.certificate.lower_bound <= best.objective
    assert early.certificate.objective >= best.lower_bound
    assert early.certificate.gap > 1e-9
    assert value_of_network(early, X, Y, "squared_error") == pytest.approx(early.certificate.objective, rel=1e-9)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"alpha": 0.0}, ValueError, "alpha must be a finite number above 0"),
        ({"alpha": "auto"}, TypeError, "alpha must be a number"),
        ({"loss": "l2"}, ValueError, "loss must be one of 'squared_error'"),
        ({"loss": Squared}, TypeError, "loss must be a name or a Loss"),
        ({"loss": "log_loss"}, ValueError, "labels -1 and 1"),
        ({"loss": Squared(), "sample_weight": np.ones(9)}, ValueError, "sample_weight must be None"),
        ({"sample_weight": np.zeros(9)}, ValueError, "sample_weight must be a vector of finite numbers above 0"),
        ({"sample_weight": np.ones(8)}, ValueError, "8 entries; X has 9 rows"),
        ({"gates": "adaptive"}, ValueError, 'gates must be an integer, "all"'),
        ({"gates": 0}, ValueError, "gates must be an integer of at least 1"),
        ({"gates": None}, ValueError, "gates must be an integer of at least 1"),
        ({"gates": [1.0, 2.0]}, ValueError, "gates must be an integer"),
        ({"gates": np.ones((2, 3))}, ValueError, "gates must have one column a feature"),
        ({"gates": enumerate_arrangements(np.ones((4, 2)))}, ValueError, "arrangements were made for 4 samples"),
        ({"hidden_bias": "free"}, ValueError, "hidden_bias must be one of 'penalized', 'none'"),
        ({"fit_intercept": 1}, ValueError, "fit_intercept must be True or False"),
        ({"groups": [0, 1]}, ValueError, "groups must be 3 integers"),
        ({"groups": [0.0, 1.0, 1.0]}, ValueError, "groups must be 3 integers"),
        ({"groups": "abc"}, ValueError, "groups must be 3 integers"),
        ({"tol": 0}, ValueError, "tol must be"),
        ({"max_iter": 0}, ValueError, "max_iter must be an integer of at least 1"),
        ({"time_limit": -1}, ValueError, "time_limit must be"),
        ({"verbose": 3}, ValueError, "verbose must be 0, 1, 2, True or False"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_named(options, error, message):
    X, Y = problem("squared_error")
    with pytest.raises(error, match=message):
        feature_sparse_network(X, Y, **{"alpha": 1.0, **options})


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "log_loss"])
def test_bounds_are_bounds_where_one_class_is_rare(loss):
    """The first dual vectors are not orthogonal to the constant: their values alone would be above the optimum."""
    X = np.random.default_rng(0).standard_normal((63, 3))
    y = np.where(np.arange(63) < 3, 1.0, -1.0)
    largest = feature_sparse_network(X, y, 1e4, loss=loss, gates=20, random_state=0).alpha_max
    for part in (0.95, 0.3):
        result = feature_sparse_network(X, y, part * largest, loss=loss, gates=20, random_state=0, tol=1e-8)
        best = result.certificate.objective
        assert result.certificate.gap <= 1e-8
        assert all(record["lower_bound"] <= best * (1 + 1e-12) for record in result.history)
