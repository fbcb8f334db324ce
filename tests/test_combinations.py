"""Every network that the regressor names: its objective written out, and its optimum by the reference."""

import numpy as np
import pytest

from convexnn import ConvexReLURegressor, enumerate_arrangements
from convexnn.losses import make_loss

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
    "squared": lambda R: 0.5 * R**2,
    "huber": lambda R: np.where(np.abs(R) <= 0.3, 0.5 * R**2, 0.3 * (np.abs(R) - 0.15)),
    "quantile": lambda R: np.maximum(0.8 * R, -0.2 * R),
    "absolute": np.abs,
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
    input_sizes = np.linalg.norm(inputs, 1 if model.hidden_norm == "l1" else 2, axis=0)
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
    for loss in ("huber", "quantile", "absolute")
    for activation, bias in (("relu", "penalized"), ("abs", "none"), ("linear", "free"), ("threshold", "penalized"))
]
COMBINATIONS += [
    {"hidden_norm": "l1", "activation": activation, "loss": loss}
    for activation, loss in (
        ("relu", "squared"),
        ("leaky_relu", "huber"),
        ("gated_relu", "absolute"),
        ("linear", "squared"),
    )
]
COMBINATIONS += [
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
@pytest.mark.parametrize("loss", ["squared", "huber", "absolute"])
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
