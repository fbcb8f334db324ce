"""The circular estimators: closed forms, right optima for every combination, recovery, and bad input."""

import cvxpy as cp
import numpy as np
import pytest

from convexnn import CircularCNNClassifier, CircularCNNRegressor
from convexnn.losses import make_loss

RNG = np.random.default_rng(4)
X = RNG.standard_normal((10, 6))
Y = np.abs(X @ [1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
LABELS = np.where(np.median(Y) < Y, "many", "few")
THREE = np.digitize(Y, np.quantile(Y, [0.3, 0.7]))


def written_out(model, X, Y):
    """The squared-loss objective of a fitted model, each convolution by a loop."""
    (U, W1, W2), (b2,) = model.coefs_, model.intercepts_
    shape, hidden = model.network_.shape, np.zeros((len(X), W1.shape[1]))
    for j in range(W1.shape[1]):
        u, w = U[:, j].reshape(shape), W1[:, j].reshape(shape)
        # q[i] = sum_k u[i - k] w[k]
        q = sum(w[k] * np.roll(u, k, axis=tuple(range(len(shape)))) for k in np.ndindex(*shape)).ravel()
        T = X @ q
        if model.activation == "gated_relu":
            G = model.network_.gates
            hidden[:, j] = T * (X @ G[:-1, j] + G[-1, j] >= 0)
        else:
            hidden[:, j] = np.maximum(T, 0.0) if model.activation == "relu" else T
    assert (np.linalg.norm(U, axis=0) <= 1 + 1e-9).all()
    Z = hidden @ W2 + b2
    decay = 0.5 * (np.sum(W1**2) + np.sum(np.abs(W2).sum(axis=1) ** 2))
    return 0.5 * np.sum((Z - np.reshape(Y, Z.shape)) ** 2) + model.alpha_ * decay


def reference(model, X, Y):
    """The optimum of the program over the patterns of a fitted model, written in cvxpy with the complex transform."""
    patterns = model.arrangements_.patterns().astype(float)
    d, shape, alpha = X.shape[1], model.network_.shape, model.alpha_
    F = np.fft.fftn(np.eye(d).reshape(d, *shape), axes=tuple(range(1, 1 + len(shape)))).reshape(d, d).T
    fit, penalty, constraints, b = 0, 0, [], cp.Variable()
    for D in patterns:
        for sign in (1, -1) if model.activation == "relu" else (1,):
            q = cp.Variable(d)
            fit = fit + sign * cp.multiply(D, X @ q)
            penalty = penalty + cp.sum(cp.abs(F @ q)) / d
            if model.activation == "relu":
                constraints.append(cp.multiply(2 * D - 1, X @ q) >= 0)
    loss = 0.5 * cp.sum_squares(fit + b - Y)
    return cp.Problem(cp.Minimize(loss + alpha * penalty), constraints).solve(solver="CLARABEL")


@pytest.mark.parametrize("activation", ["relu", "gated_relu", "linear"])
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_every_combination_reaches_the_optimum_of_the_program(activation, shape):
    model = CircularCNNRegressor(
        0.1, input_shape=shape, activation=activation, arrangements=12, tol=1e-7, random_state=0
    ).fit(X, Y)
    assert model.certificate_.gap <= 1e-7
    assert model.certificate_.scope == ("global" if activation == "linear" else "sampled")
    assert written_out(model, X, Y) == pytest.approx(model.certificate_.objective, rel=1e-9)
    assert model.network_.objective(X, Y, 0.1) == pytest.approx(model.certificate_.objective, rel=1e-12)
    assert model.certificate_.objective == pytest.approx(reference(model, X, Y), rel=1e-6)
    assert model.filters_.shape == (model.n_neurons_, *shape)
    assert model.network_.weight_decay() == pytest.approx(decay_of(model), rel=1e-9)


def decay_of(model):
    """The l1 norm of the transforms of the products, which weight decay is at the best split."""
    q = model.network_.effective() * np.abs(model.coefs_[2]).sum(axis=1)
    shape = model.network_.shape
    return np.abs(np.fft.fftn(q.reshape(*shape, -1), axes=tuple(range(len(shape))))).sum() / len(q)


def test_one_sample_in_closed_form():
    """kappa = max |fft(x)| |y|, and the optimum is y^2/2 - (k |y| - alpha)^2 / (2 k^2), k = max |fft(x)|."""
    x, y = X[:1], np.array([-1.7])
    k = np.abs(np.fft.fft(x[0])).max()
    options = {"fit_intercept": False, "arrangements": "all", "tol": 1e-9}
    for activation in ("relu", "linear"):
        model = CircularCNNRegressor(alpha=0.3, activation=activation, **options).fit(x, y)
        assert model.alpha_max_ == pytest.approx(k * 1.7, rel=1e-8)
        expected = 1.7**2 / 2 - (k * 1.7 - 0.3) ** 2 / (2 * k**2)
        assert model.certificate_.objective == pytest.approx(expected, rel=1e-8)
        silent = CircularCNNRegressor(alpha=1.001 * k * 1.7, activation=activation, **options).fit(x, y)
        assert silent.n_neurons_ == 0


def test_a_pure_frequency_needs_one_frequency():
    """The transform of what the network sees of a signal that depends on one frequency has that one alone."""
    grid = np.arange(8)
    x = RNG.standard_normal((60, 8))
    y = x @ np.cos(2 * np.pi * 2 * grid / 8)
    model = CircularCNNRegressor(0.5, activation="linear", tol=1e-8).fit(x, y)
    spectrum = np.abs(np.fft.fft(model.network_.effective(), axis=0)).sum(axis=1)
    assert set(np.flatnonzero(spectrum > 1e-3 * spectrum.max())) == {2, 6}


@pytest.mark.parametrize("loss", ["huber", "quantile", "absolute_error"])
@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_other_losses_of_regression(loss, activation):
    model = CircularCNNRegressor(alpha=0.1, loss=loss, activation=activation, arrangements=10, tol=1e-6, random_state=0)
    model.fit(X, Y)
    assert model.certificate_.gap <= 1e-6
    value = model.network_.objective(X, Y, 0.1, make_loss(loss))
    assert value == pytest.approx(model.certificate_.objective, rel=1e-12)


@pytest.mark.parametrize("loss", ["log_loss", "softmax", "hinge", "squared_hinge"])
def test_losses_of_two_classes(loss):
    model = CircularCNNClassifier(0.1, input_shape=(2, 3), loss=loss, arrangements=15, tol=1e-6, random_state=0)
    model.fit(X, LABELS)
    assert model.certificate_.gap <= 1e-6
    signs = np.where(LABELS == "many", 1.0, -1.0)
    targets = (LABELS[:, None] == model.classes_).astype(float) if loss == "softmax" else signs
    value = model.network_.objective(X, targets, 0.1, make_loss(loss))
    assert value == pytest.approx(model.certificate_.objective, rel=1e-12)
    assert model.score(X, LABELS) == 1.0
    assert (model.probability_scale_ == 1.0) == ("hinge" not in loss)
    assert np.array_equal(model.classes_[model.predict_proba(X).argmax(axis=1)], model.predict(X))


def test_three_classes_and_two_outputs():
    model = CircularCNNClassifier(alpha=0.05, arrangements=15, random_state=0).fit(X, THREE)
    assert model.predict_proba(X).shape == (10, 3)
    assert model.score(X, THREE) == 1.0
    targets = np.column_stack([Y, X[:, 0]])
    options = {"alpha": 0.1, "arrangements": 15, "tol": 1e-7, "random_state": 0}
    both = CircularCNNRegressor(**options).fit(X, targets)
    alone = [CircularCNNRegressor(**options).fit(X, y).certificate_.objective for y in targets.T]
    assert both.certificate_.objective == pytest.approx(sum(alone), rel=1e-6)
    assert written_out(both, X, targets) == pytest.approx(both.certificate_.objective, rel=1e-9)


def test_weights_are_copies_of_samples():
    weights = np.array([0, 1, 2, 3, 1, 2, 0, 1, 1, 2])
    gates = RNG.standard_normal((15, 6))
    options = {"alpha": 0.1, "arrangements": gates, "tol": 1e-8}
    weighted = CircularCNNRegressor(**options).fit(X, Y, sample_weight=weights)
    targets = Y.repeat(weights) + 1e-9 * np.arange(weights.sum())  # copies that are not recognised as such
    apart = CircularCNNRegressor(**options).fit(X.repeat(weights, axis=0), targets)
    assert weighted.certificate_.objective == pytest.approx(apart.certificate_.objective, rel=1e-6)


def test_images_are_rows():
    images = X.reshape(10, 2, 3)
    model = CircularCNNRegressor(0.1, input_shape=(2, 3), arrangements=10, random_state=0).fit(images, Y)
    assert np.array_equal(model.predict(images), model.predict(X))
    assert model.n_features_in_ == 6


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"input_shape": (5,)}, r"X must have 5 features, as input_shape \(5,\); got 6"),
        ({"input_shape": (1, 2, 3)}, r"input_shape must be \(length,\) or \(height, width\)"),
        ({"input_shape": (0, 6)}, "input_shape must be an integer of at least 1"),
        ({"activation": "abs"}, "The 'activation' parameter of CircularCNNRegressor must be a str among"),
        ({"solver": "newton"}, 'solver must be "auto", "conic" or "cvxpy" for hidden_norm=\'circular\''),
        ({"solver": "generation"}, "solve_generation needs hidden_norm"),
        ({"loss": "log_loss"}, "The 'loss' parameter of CircularCNNRegressor must be"),
        ({"fit_intercept": 2}, "The 'fit_intercept' parameter of CircularCNNRegressor must be"),
    ],
)
def test_bad_parameters_raise_at_fit(bad, message):
    with pytest.raises(ValueError, match=message):
        CircularCNNRegressor(**{"alpha": 0.1, "arrangements": 5, **bad}).fit(X, Y)
