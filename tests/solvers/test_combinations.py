"""Every network that the regressor names: its objective written out, and its optimum by the reference."""

import itertools
import pickle

import cvxpy as cp
import numpy as np
import pytest
from sklearn.base import clone

from convexnn import Architecture, ConvexReLUClassifier, ConvexReLURegressor, Network
from convexnn.geometry import enumerate_arrangements
from convexnn.losses import make_loss
from convexnn.model import build_program
from convexnn.networks import merge_parallel
from convexnn.solvers import solve_generation

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 2))
Y = np.abs(X[:, 0]) + 0.3 * X[:, 1] + 0.1 * RNG.standard_normal(12)

ACTIVATE = {
    "relu": lambda T, slope: np.maximum(T, 0.0),
    "leaky_relu": lambda T, slope: np.where(T > 0, T, slope * T),
    "abs": lambda T, slope: np.abs(T),
    "linear": lambda T, slope: T,
    "threshold": lambda T, slope: (T >= 0).astype(float),
}
LOSS = {
    "squared_error": lambda R: 0.5 * R**2,
    "huber": lambda R: np.where(np.abs(R) <= 0.3, 0.5 * R**2, 0.3 * (np.abs(R) - 0.15)),
    "quantile": lambda R: np.maximum(0.8 * R, -0.2 * R),
    "absolute_error": np.abs,
}


def own_objective(model, X, Y, weights=1.0):
    """The objective of a fitted model from its weights, written out."""
    (W1, W2), (b1, b2) = model.coefs_, model.intercepts_
    T, Y = X @ W1 + b1, np.reshape(Y, (len(X), -1))
    if model.activation == "gated_relu":
        G = model.network_.gates
        hidden = T * (X @ G[:-1] + G[-1] >= 0)
    else:
        hidden = ACTIVATE[model.activation](T, model.negative_slope)
    Z = hidden @ W2 + b2 + (X @ model.network_.skip if model.skip else 0.0)
    inputs = W1 if model.hidden_bias == "free" else np.vstack([W1, b1])
    ratio = {"l2": 0.0, "l1": 1.0}.get(model.hidden_norm, model.hidden_norm)
    input_sizes = ratio * np.abs(inputs).sum(axis=0) + (1 - ratio) * np.sqrt(np.sum(inputs**2, axis=0))
    output_sizes = np.linalg.norm(W2, 1 if model.output_penalty == "l1" else 2, axis=1)
    decay = 0.5 * np.sum(input_sizes**2 + output_sizes**2)
    if model.activation == "threshold":
        decay = np.sum(output_sizes)
    losses = LOSS[model.loss](Y - Z).sum(axis=1)
    return np.sum(weights * losses) + model.alpha_ * decay


COMBINATIONS = [
    {"activation": activation, "hidden_bias": bias}
    for activation in ("relu", "leaky_relu", "abs", "linear", "gated_relu", "threshold")
    for bias in ("none", "penalized", "free")
    if bias != "free" or activation not in ("gated_relu", "threshold")
]
COMBINATIONS += [
    {"loss": loss, "activation": activation, "hidden_bias": bias}
    for loss in ("huber", "quantile", "absolute_error")
    for activation, bias in (("relu", "penalized"), ("abs", "none"), ("linear", "free"), ("threshold", "penalized"))
]
COMBINATIONS += [
    {"hidden_norm": "l1", "activation": activation, "loss": loss}
    for activation, loss in (
        ("relu", "squared_error"),
        ("leaky_relu", "huber"),
        ("gated_relu", "absolute_error"),
        ("linear", "squared_error"),
    )
]
COMBINATIONS += [
    {"hidden_norm": 0.4, "activation": "relu", "skip": True},
    {"hidden_norm": 0.7, "activation": "leaky_relu", "loss": "huber"},
    {"hidden_norm": 0.2, "activation": "abs", "hidden_bias": "none"},
    {"hidden_norm": 0.5, "activation": "gated_relu", "loss": "quantile"},
    {"hidden_norm": 0.5, "activation": "linear"},
    {"skip": True, "activation": "abs"},
    {"skip": True, "hidden_bias": "free", "loss": "huber"},
    {"fit_intercept": False, "loss": "quantile"},
]


@pytest.mark.parametrize("kind", COMBINATIONS, ids=lambda kind: "-".join(map(str, kind.values())))
def test_every_combination_reaches_the_optimum_of_the_reference(kind):
    """The certificate holds the objective written out; it is that of the whole program in cvxpy, on all cells."""
    kind = {"delta": 0.3, "quantile": 0.8, "negative_slope": 0.2, "arrangements": "all", "tol": 1e-6, **kind}
    x, y = X[:8], Y[:8]
    model = ConvexReLURegressor(0.1, **kind).fit(x, y)
    assert model.certificate_.gap <= 1e-6
    assert own_objective(model, x, y) == pytest.approx(model.certificate_.objective, rel=1e-9)
    assert model.certificate_.scope == ("sampled" if model.activation == "gated_relu" else "global")
    reference = ConvexReLURegressor(0.1, **{**kind, "solver": "cvxpy"}).fit(x, y)
    assert model.certificate_.objective == pytest.approx(reference.certificate_.objective, rel=3e-6)
    adaptive = ConvexReLURegressor(0.1, **{**kind, "arrangements": "adaptive"}, random_state=0).fit(x, y)
    assert adaptive.certificate_.objective == pytest.approx(model.certificate_.objective, rel=3e-6)
    assert adaptive.alpha_max_ == pytest.approx(model.alpha_max_, rel=1e-7)
    loss = make_loss(model.loss, delta=0.3, quantile=0.8)
    assert model.network_.objective(x, y, 0.1, loss) == pytest.approx(model.certificate_.objective, rel=1e-12)


@pytest.mark.parametrize("activation", ["relu", "gated_relu", "linear", "threshold", "abs"])
def test_several_outputs_with_the_l1_penalty_are_problems_of_their_own(activation):
    targets = np.column_stack([Y, X[:, 0] * X[:, 1]])
    options = {"activation": activation, "output_penalty": "l1", "arrangements": "all", "tol": 1e-7}
    model = ConvexReLURegressor(0.1, **options).fit(X, targets)
    alone = [ConvexReLURegressor(0.1, **options).fit(X, y) for y in targets.T]
    assert model.certificate_.objective == pytest.approx(sum(m.certificate_.objective for m in alone), rel=1e-6)
    assert own_objective(model, X, targets) == pytest.approx(model.certificate_.objective, rel=1e-9)
    assert model.alpha_max_ == pytest.approx(max(m.alpha_max_ for m in alone), rel=1e-9)
    assert model.predict(X).shape == (12, 2)
    assert [W.shape[1] for W in model.coefs_] == [model.n_neurons_, 2]
    if activation in ("relu", "abs"):
        adaptive = ConvexReLURegressor(0.1, **{**options, "arrangements": "adaptive"}, random_state=0).fit(X, targets)
        assert adaptive.certificate_.objective == pytest.approx(model.certificate_.objective, rel=1e-6)
        assert adaptive.alpha_max_ == pytest.approx(model.alpha_max_, rel=1e-7)


@pytest.mark.parametrize("activation", ["gated_relu", "linear", "threshold"])
def test_weight_decay_of_several_outputs_is_below_the_l1_penalty(activation):
    targets = np.column_stack([Y, X[:, 0] + Y])
    options = {"activation": activation, "arrangements": "all", "tol": 1e-6, "fit_intercept": False}
    shared = ConvexReLURegressor(0.1, **options).fit(X, targets)
    apart = ConvexReLURegressor(0.1, output_penalty="l1", **options).fit(X, targets)
    assert own_objective(shared, X, targets) == pytest.approx(shared.certificate_.objective, rel=1e-9)
    assert shared.certificate_.gap <= 1e-6
    assert shared.certificate_.objective < apart.certificate_.objective - 1e-3


@pytest.mark.parametrize("arrangements", ["all", 100, "adaptive"])
def test_thresholds_have_patterns_of_points_on_walls(arrangements):
    """1[0 >= 0] is 1 on all samples; no cell has that pattern, and without it no certificate is called global."""
    x, y = np.array([[1.0], [-1.0], [2.0]]), np.array([1.0, 1.0, 1.0])
    options = {"activation": "threshold", "hidden_bias": "none", "fit_intercept": False, "tol": 1e-9}
    model = ConvexReLURegressor(0.1, arrangements=arrangements, **options).fit(x, y)
    assert model.certificate_.scope == "global"
    assert model.certificate_.objective == pytest.approx(0.1 - 0.1**2 / (2 * 3), rel=1e-7)
    cells = enumerate_arrangements(x)
    assert cells.complete
    few = ConvexReLURegressor(0.1, arrangements=cells, **options).fit(x, y)
    assert few.certificate_.scope == "sampled"
    assert few.certificate_.objective > model.certificate_.objective + 0.01


@pytest.mark.parametrize("activation", ["relu", "gated_relu", "threshold"])
@pytest.mark.parametrize("loss", ["squared_error", "huber", "absolute_error"])
def test_weights_are_copies_of_samples(activation, loss):
    weights = np.array([0, 1, 2, 3, 1, 0, 2, 1, 1, 4, 1, 2])
    options = {"activation": activation, "loss": loss, "arrangements": "all", "tol": 1e-8, "delta": 0.3}
    weighted = ConvexReLURegressor(0.2, **options).fit(X, Y, sample_weight=weights)
    repeated = ConvexReLURegressor(0.2, **options).fit(X.repeat(weights, axis=0), Y.repeat(weights))
    assert weighted.certificate_.objective == pytest.approx(repeated.certificate_.objective, rel=1e-12)
    assert np.array_equal(weighted.predict(X), repeated.predict(X))
    assert own_objective(weighted, X, Y, weights) == pytest.approx(weighted.certificate_.objective, rel=1e-9)
    # the same problem with the copies apart: two, nearly equal
    rows, targets = X.repeat(weights, axis=0), Y.repeat(weights)
    targets = targets + 1e-9 * np.arange(len(targets))
    apart = ConvexReLURegressor(0.2, **options).fit(rows, targets)
    assert weighted.certificate_.objective == pytest.approx(apart.certificate_.objective, rel=1e-6)


def elastic_formula(x, Y, ratio, alpha, slope=0.0, cones=True, bias=True, intercept=True):
    """The program of the elastic norm in cvxpy, written from its formula, with an output of its own for each y."""
    rows = np.column_stack([x, np.ones(len(x))]) if bias else x
    total, constraints = 0.0, []
    for y in Y.reshape(len(x), -1).T:
        fit = cp.Variable() if intercept else 0.0
        for D, sign in itertools.product(enumerate_arrangements(rows).patterns().astype(float), (1.0, -1.0)):
            u = cp.Variable(rows.shape[1])
            fit = fit + sign * np.diag(D + slope * (1 - D)) @ rows @ u
            total = total + alpha * (ratio * cp.norm(u, 1) + (1 - ratio) * cp.norm(u, 2))
            constraints += [np.diag(2 * D - 1) @ rows @ u >= 0] if cones else []
        total = total + 0.5 * cp.sum_squares(y - fit)
    problem = cp.Problem(cp.Minimize(total), constraints)
    problem.solve(solver="CLARABEL", tol_gap_rel=1e-10, tol_gap_abs=1e-10, tol_feas=1e-10)
    return problem.value


@pytest.mark.parametrize("ratio", [0.05, 0.5, 0.95])
@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        ({}, {}),
        ({"activation": "leaky_relu", "negative_slope": 0.2}, {"slope": 0.2}),
        ({"activation": "abs", "hidden_bias": "none"}, {"slope": -1.0, "bias": False}),
        ({"activation": "gated_relu", "fit_intercept": False}, {"cones": False, "intercept": False}),
    ],
    ids=["relu", "leaky", "abs", "gated"],
)
def test_elastic_norms_have_the_optimum_of_the_formula(ratio, kind, formula):
    x, y = X[:7], Y[:7]
    optimum = elastic_formula(x, y, ratio, 0.1, **formula)
    model = ConvexReLURegressor(0.1, hidden_norm=ratio, arrangements="all", tol=1e-9, **kind).fit(x, y)
    assert model.certificate_.objective == pytest.approx(optimum, rel=1e-8)
    assert model.certificate_.lower_bound <= optimum * (1 + 1e-9)
    assert model.certificate_.lower_bound == pytest.approx(optimum, rel=1e-8)
    assert own_objective(model, x, y) == pytest.approx(optimum, rel=1e-8)
    assert model.network_.objective(x, y, 0.1) == pytest.approx(optimum, rel=1e-8)
    sizes = model.network_.input_sizes()
    assert np.allclose(sizes, model.network_.output_sizes(), rtol=1e-12)  # balanced


def test_elastic_norms_of_several_outputs_are_problems_of_their_own():
    x, y = X[:6], np.column_stack([Y[:6], X[:6, 0]])
    options = {"hidden_norm": 0.5, "output_penalty": "l1", "arrangements": "all", "tol": 1e-9}
    model = ConvexReLURegressor(0.1, **options).fit(x, y)
    assert own_objective(model, x, y) == pytest.approx(elastic_formula(x, y, 0.5, 0.1), rel=1e-8)
    with pytest.raises(ValueError, match=r'output_penalty must be "l1" for several outputs with hidden_norm=0\.5'):
        ConvexReLURegressor(0.1, hidden_norm=0.5, activation="gated_relu").fit(x, y)


@pytest.mark.parametrize(("ratio", "name"), [(1e-9, "l2"), (1 - 1e-9, "l1")])
def test_elastic_norms_tend_to_their_ends(ratio, name):
    ends = {"arrangements": "all", "tol": 1e-8}
    elastic, end = (ConvexReLURegressor(0.1, hidden_norm=norm, **ends).fit(X[:8], Y[:8]) for norm in (ratio, name))
    assert elastic.certificate_.objective == pytest.approx(end.certificate_.objective, rel=1e-7)
    assert elastic.alpha_max_ == pytest.approx(end.alpha_max_, rel=1e-7)
    half = ConvexReLURegressor(0.1, hidden_norm=0.5, **ends).fit(X[:8], Y[:8])
    assert (
        half.certificate_.objective > ConvexReLURegressor(0.1, **ends).fit(X[:8], Y[:8]).certificate_.objective + 1e-3
    )


def test_alpha_max_of_elastic_norms():
    largest = ConvexReLURegressor(1.0, hidden_norm=0.5, arrangements="all").fit(X[:8], Y[:8]).alpha_max_
    above, below = (
        ConvexReLURegressor(part * largest, hidden_norm=0.5, arrangements="all", tol=1e-9).fit(X[:8], Y[:8])
        for part in (1 + 1e-6, 1 - 1e-3)
    )
    assert above.n_neurons_ == 0
    assert below.n_neurons_ > 0


def test_estimators_of_elastic_norms_are_cloned_and_pickled():
    labels = np.where(np.median(Y) < Y, "a", "b")
    model = ConvexReLUClassifier(0.1, hidden_norm=0.3, arrangements="all", random_state=0).fit(X[:8], labels[:8])
    assert model.certificate_.gap <= model.tol
    assert model.network_.hidden_norm == 0.3
    restored = pickle.loads(pickle.dumps(model))
    assert np.array_equal(restored.decision_function(X), model.decision_function(X))
    again = clone(model)
    assert again.hidden_norm == 0.3
    assert np.array_equal(again.fit(X[:8], labels[:8]).decision_function(X), model.decision_function(X))


def test_merged_neurons_have_the_elastic_norm_of_their_sum():
    W1, W2 = np.array([[1.0, 2.0], [-2.0, -4.0]]), np.array([[3.0], [1.5]])
    network = Network(W1, np.zeros(2), W2, np.zeros(1), hidden_bias="none", hidden_norm=0.25)
    merged = merge_parallel(network)
    size = 0.25 * 18 + 0.75 * np.sqrt(180)  # 3 (1, -2) + 1.5 (2, -4) = (6, -12)
    assert merged.n_neurons == 1
    assert merged.weight_decay() == pytest.approx(size, rel=1e-12)
    assert network.input_sizes() == pytest.approx([0.75 + 0.75 * np.sqrt(5), 1.5 + 1.5 * np.sqrt(5)], rel=1e-12)
    assert np.allclose(merged.predict(X), network.predict(X), rtol=1e-12)


@pytest.mark.parametrize("norm", [0, 1, 0.0, 1.0, -0.5, 1.5, np.nan, True, None, "0.5", "l3", [0.5]])
def test_other_hidden_norms_are_refused(norm):
    message = "hidden_norm must be one of 'l2', 'l1'.*or a number strictly between 0 and 1; got"
    with pytest.raises(ValueError, match=message):
        Architecture(hidden_norm=norm)
    with pytest.raises(ValueError, match=message):
        Network(np.ones((1, 1)), np.zeros(1), np.ones((1, 1)), np.zeros(1), hidden_norm=norm)
    message = "The 'hidden_norm' parameter of ConvexReLU.* must be a str among .* or a float in the range"
    with pytest.raises(ValueError, match=message):
        ConvexReLURegressor(hidden_norm=norm).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        ConvexReLUClassifier(hidden_norm=norm).fit(X, Y > 0)


def test_elastic_norms_are_for_given_patterns():
    with pytest.raises(ValueError, match=r'solve_generation needs hidden_norm="l2"; for 0\.5 give patterns'):
        solve_generation(build_program(X, Y, 0.1, "adaptive", Architecture(hidden_norm=0.5)))
    with pytest.raises(ValueError, match=r'solver must be "auto", "conic" or "cvxpy" for hidden_norm=0\.5'):
        ConvexReLURegressor(hidden_norm=0.5, solver="newton", arrangements="all").fit(X[:6], Y[:6])
    with pytest.raises(ValueError, match='hidden_bias="free" is for hidden_norm="l2"'):
        Architecture(hidden_norm=0.5, hidden_bias="free")
