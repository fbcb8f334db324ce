"""The zero network: alpha_max of losses with kinks, exact free fits, features that do not vary, statuses."""

import warnings

import cvxpy as cp
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from convexnn import Architecture, ConvexCNNClassifier, ConvexReLUClassifier, ConvexReLURegressor
from convexnn.losses import Absolute, Hinge, Quantile
from convexnn.model import build_program
from convexnn.networks import recover
from convexnn.pricing.alpha_max import alpha_max_over_all, kappa_at_zero
from convexnn.solvers import solve_generation, solve_working_set

TIGHT = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}


def least_alpha(program):
    """The least alpha of a zero dual vector: min t over V, each cell a cone program with multipliers of its rows."""
    X, F, Y, loss = program.design.X, program.free, program.Y[:, 0], program.loss
    lower, upper = (np.broadcast_to(bound, program.Y.shape)[:, 0] for bound in loss.domain(program.Y))
    beta, V, t = cp.Variable(F.shape[1] or 1), cp.Variable(len(Y)), cp.Variable()
    residual = (F @ beta if F.shape[1] else 0) - Y
    terms = cp.sum(cp.maximum(cp.multiply(lower, residual), cp.multiply(upper, residual)))
    zero = cp.Problem(cp.Minimize(terms)).solve(solver="CLARABEL", **TIGHT)
    conditions = [-lower >= V, -upper <= V, zero - 1e-10 <= Y @ V] + ([F.T @ V == 0] if F.shape[1] else [])
    for pattern in program.design.arrangements.patterns(np.arange(len(program.design.arrangements))) * 1.0:
        for sign in (1.0, -1.0):
            mu = cp.Variable(len(X), nonneg=True)
            pull = sign * X.T @ cp.multiply(pattern, V) + X.T @ cp.multiply(2 * pattern - 1, mu)
            conditions.append(cp.norm(pull) <= t)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the last digits
        return cp.Problem(cp.Minimize(t), conditions).solve(solver="CLARABEL", **TIGHT)


def tied(seed):
    """Few rows with ties: counts, zero-inflated targets, imbalanced labels; maybe integer rows and weights."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(5, 11)), int(rng.integers(1, 3))
    X = rng.integers(-2, 3, (n, d)) * 1.0 if seed % 2 else rng.standard_normal((n, d))
    weights = rng.integers(1, 4, n) * 1.0 if seed % 3 == 0 else None
    counts, zeros = rng.poisson(1.0, n) * 1.0, np.where(rng.random(n) < 0.6, 0.0, rng.gamma(2.0, 1.0, n))
    labels = np.where(np.arange(n) < max(1, n // 4), 1.0, -1.0)
    loss = (Absolute, Quantile, Hinge)[seed % 3](sample_weight=weights)
    return X, loss, (counts, zeros, labels)[seed % 3]


@pytest.mark.parametrize("seed", range(9))
@pytest.mark.parametrize("options", [{"fit_intercept": False}, {}, {"hidden_bias": "none"}, {"skip": True}])
def test_alpha_max_is_the_least_over_all_dual_vectors(seed, options):
    X, loss, y = tied(seed)
    architecture = Architecture(**options)
    program = build_program(X, y, 1.0, "all", architecture, loss=loss)
    expected = least_alpha(program)
    tol = {"rel": 2e-7, "abs": 1e-7}
    assert kappa_at_zero(program) == pytest.approx(expected, **tol)
    adaptive = build_program(X, y, 1.0, "adaptive", architecture, loss=loss)
    found = alpha_max_over_all(adaptive, random_state=0)
    assert found.value == pytest.approx(expected, **tol)
    assert found.upper == pytest.approx(expected, **tol)
    if expected < 1e-6:
        return
    zero = program.objective(*program.zero())
    for factor, optimal in ((1.0 + 1e-6, True), (5.0, True), (0.99, False)):
        for solution in (
            solve_working_set(program.at(factor * expected), tol=1e-6),
            solve_generation(adaptive.at(factor * expected), tol=1e-6, random_state=0),
        ):
            assert solution.certificate.gap <= 1e-6
            assert (solution.certificate.objective >= zero * (1 - 1e-9)) == optimal
            assert (recover(solution).n_neurons == 0) == optimal


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_alpha_max_of_gated_networks_is_the_least_too(norm):
    X, loss, y = tied(4)
    gates = np.random.default_rng(0).standard_normal((3, X.shape[1] + 1))
    program = build_program(X, y, 1.0, gates, Architecture("gated_relu", hidden_norm=norm), loss=loss)
    rows, V, t = program.design.X, cp.Variable(len(y)), cp.Variable()
    lower, upper = loss.domain(y)
    zero = program.objective(*program.zero())
    conditions = [-lower >= V, -upper <= V, y @ V >= zero - 1e-10, cp.sum(V) == 0]
    patterns = np.hstack([X, np.ones((len(X), 1))]) @ gates.T >= 0
    conditions += [cp.norm(rows.T @ cp.multiply(p * 1.0, V), 2 if norm == "l2" else "inf") <= t for p in patterns.T]
    expected = cp.Problem(cp.Minimize(t), conditions).solve(solver="CLARABEL", **TIGHT)
    assert kappa_at_zero(program) == pytest.approx(expected, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("loss", ["absolute_error", "quantile"])
def test_several_outputs_with_ties_are_zero_from_alpha_max_on(loss):
    rng = np.random.default_rng(3)
    X, Y = rng.standard_normal((15, 2)), rng.poisson(1.0, (15, 2)) * 1.0
    model = ConvexReLURegressor(loss=loss, quantile=0.2, random_state=0, alpha=1.0).fit(X, Y)
    for factor, optimal in ((1 + 1e-4, True), (0.97, False)):
        model.set_params(alpha=factor * model.alpha_max_).fit(X, Y)
        assert model.status_ == "solved"
        assert (model.n_neurons_ == 0) == optimal


@pytest.mark.parametrize("loss", ["squared_error", "huber", "absolute_error", "quantile"])
@pytest.mark.parametrize(
    "options", [{}, {"arrangements": "all"}, {"activation": "gated_relu"}, {"hidden_bias": "free"}]
)
def test_an_exact_free_fit_is_the_answer_at_once(loss, options):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 2)) * [1.0, 30.0]
    linear, weights = X @ [1.0, -0.2], rng.uniform(0.5, 2.0, 12)
    targets = (X, np.full(12, 1e6 / 3), {}), (X, linear + 7.0, {"skip": True}), (X[:1], linear[:1], {})
    targets += ((X, np.c_[linear, 3 * linear - 1.0], {"skip": True}),)
    if "hidden_bias" not in options:
        targets += ((X, np.zeros(12), {"fit_intercept": False}), (X, linear, {"skip": True, "fit_intercept": False}))
    for inputs, y, free in targets:
        apart = {"output_penalty": "l1"} if y.ndim == 2 and options.get("arrangements") == "all" else {}
        model = ConvexReLURegressor(loss=loss, alpha=0.1, random_state=0, **free, **options, **apart)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit(inputs, y, sample_weight=weights[: len(inputs)])
        assert (model.n_neurons_, model.n_iter_, model.status_) == (0, 1, "solved")
        assert model.alpha_max_ == 0.0
        assert model.certificate_.gap == 0.0
        assert model.predict(inputs) == pytest.approx(y, rel=1e-12, abs=1e-12 * np.abs(y).max())


def test_units_of_targets_are_no_reason_for_an_exact_fit():
    X, y = np.random.default_rng(0).standard_normal((12, 2)), np.random.default_rng(1).standard_normal(12)
    for unit in (1e-15, 1e15):
        model = ConvexReLURegressor(loss="absolute_error", alpha=0.5, random_state=0).fit(X, unit * y)
        one = ConvexReLURegressor(loss="absolute_error", alpha=0.5, random_state=0).fit(X, y)
        assert model.certificate_.objective / unit == pytest.approx(one.certificate_.objective, rel=1e-3)
        assert model.alpha_max_ == pytest.approx(one.alpha_max_, rel=1e-4)


@pytest.mark.parametrize("inputs", [0.0, 5.0, 0.1 + 0.2, "rounding", "offset"])
def test_features_that_do_not_vary_need_no_neurons(inputs):
    rng = np.random.default_rng(0)
    X = {
        "rounding": np.where(rng.random((12, 2)) < 0.5, 0.1 + 0.2, 0.3),
        "offset": 1e8 + 1e-8 * rng.random((12, 2)),
    }.get(inputs, np.full((12, 2), inputs))
    y = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
    models = (
        (ConvexReLUClassifier(), y),
        (ConvexReLUClassifier(loss="softmax"), y > 0),
        (ConvexReLUClassifier(output_penalty="l1"), y),
        (ConvexReLURegressor(), np.c_[y, -y * y] * 1.0),
        (ConvexReLURegressor(loss="absolute_error"), y * 1.0),
        (ConvexCNNClassifier(kernel_size=2), y),
    )
    for model, target in models:
        model.set_params(random_state=0).fit(X, target)
        assert model.alpha_max_ == pytest.approx(0.0, abs=1e-12)
        assert (model.n_neurons_, model.status_) == (0, "solved")


def test_classes_that_a_free_skip_separates_end_at_once_with_a_warning():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((16, 40)), np.arange(16) % 3
    for target in (y, y > 0):
        for penalty in ("weight_decay", "l1"):
            model = ConvexReLUClassifier(skip=True, alpha=0.1, output_penalty=penalty, random_state=0)
            with pytest.warns(ConvergenceWarning, match="without a minimum"):
                model.fit(X, target)
            assert (model.predict(X) == target).all()
            assert model.certificate_.lower_bound == 0.0
            assert model.certificate_.objective < 1e-7


@pytest.mark.parametrize("solver", ["auto", "conic", "cvxpy"])
@pytest.mark.parametrize("rows", [[[1.0, 0], [-1, 0], [0, 2]], [[0.0, 0], [0, 0], [0, 0]], [[1.0, 2]]])
def test_few_cells_and_norms_of_any_kind_are_solved(rows, solver):
    y = [-1.0, 1.0, 1.0][: len(rows)]
    for alpha in (0.01, 0.1, 10.0):
        for norm in ("l1", "l2"):
            options = {"hidden_norm": norm, "arrangements": "all", "solver": solver, "tol": 1e-5}
            model = ConvexReLURegressor(loss="quantile", quantile=0.1, alpha=alpha, **options).fit(rows, y)
            assert model.certificate_.gap <= 1e-5


@pytest.mark.parametrize("seed", range(12))
def test_threshold_networks_say_what_they_are(seed):
    """Features that nearly do not vary: the status is that of the network, which is no worse than a constant."""
    rng = np.random.default_rng(seed)
    offset, spread = rng.choice([0.0, 1.0, 1e6, 1e8]), 10.0 ** rng.uniform(-17, 0)
    X, y = offset + max(offset, 1.0) * spread * rng.standard_normal((15, 2)), rng.standard_normal(15)
    model = ConvexReLURegressor(activation="threshold", arrangements=10, alpha=0.01, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few patterns, and no convergence
        model.fit(X, y)
    attained = 0.5 * np.sum((model.predict(X) - y) ** 2) + 0.01 * model.network_.weight_decay()
    assert model.certificate_.objective == pytest.approx(attained, rel=1e-12)
    assert attained <= 0.5 * np.sum((y - y.mean()) ** 2) * (1 + 1e-12)
    assert (model.status_ == "solved") == (model.certificate_.gap <= model.tol_)
    assert offset or model.status_ == "solved"
