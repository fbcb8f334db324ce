"""The estimator: scikit-learn's contract, right answers, and bad input."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.neural_network import MLPRegressor

from convexnn import ConvexReLURegressor
from convexnn.pricing import alpha_max

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 2))
Y = np.abs(X[:, 0]) + 0.3 * X[:, 1] + 0.1 * RNG.standard_normal(12)


@pytest.mark.parametrize("activation", ["relu", "gated_relu"])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("hidden_bias", ["none", "penalized"])
def test_fitted_attributes_are_one_network(activation, skip, hidden_bias):
    model = ConvexReLURegressor(
        0.05, activation=activation, hidden_bias=hidden_bias, skip=skip, arrangements="all", tol=1e-8
    ).fit(X, Y)
    (W1, W2), (b1, b2) = model.coefs_, model.intercepts_
    m = model.n_neurons_
    assert (W1.shape, W2.shape, b1.shape, b2.shape) == ((2, m), (m, 1), (m,), (1,))
    assert m == model.network_.n_neurons > 0
    assert model.n_features_in_ == 2
    assert model.n_iter_ >= 1
    assert model.certificate_.scope == ("global" if activation == "relu" else "sampled")
    assert model.certificate_.gap <= 1e-8
    assert model.network_.objective(X, Y, model.alpha_) == pytest.approx(model.certificate_.objective, rel=1e-8)
    assert model.history_[-1]["objective"] == pytest.approx(model.certificate_.objective, rel=1e-9)
    assert model.alpha_ == 0.05
    same = {"activation": activation, "skip": skip, "hidden_bias": hidden_bias}
    assert model.alpha_max_ == pytest.approx(alpha_max(X, Y, arrangements="all", **same), rel=1e-12)


def test_coefs_are_those_of_mlp_regressor():
    """scikit-learn's own forward pass gives our predictions, and its loss our objective, hidden biases apart."""
    model = ConvexReLURegressor(0.1, arrangements="all").fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mlp = MLPRegressor(hidden_layer_sizes=(model.n_neurons_,), max_iter=1).fit(X, Y)
    mlp.coefs_, mlp.intercepts_ = model.coefs_, model.intercepts_
    assert np.allclose(mlp.predict(X), model.predict(X), rtol=1e-12)
    decay = 0.05 * sum(np.sum(W**2) for W in mlp.coefs_)
    loss = 0.5 * np.sum((mlp.predict(X) - Y) ** 2) + decay
    assert model.certificate_.objective == pytest.approx(loss + 0.05 * np.sum(model.intercepts_[0] ** 2), rel=1e-9)


def test_auto_alpha_is_a_hundredth_of_alpha_max():
    model = ConvexReLURegressor(arrangements="all").fit(X, Y)
    assert model.alpha_ == pytest.approx(0.01 * alpha_max(X, Y), rel=1e-12)
    assert model.n_neurons_ > 0
    silent = ConvexReLURegressor(1.0001 * model.alpha_max_, arrangements="all").fit(X, Y)
    assert silent.n_neurons_ == 0
    assert np.allclose(silent.predict(X), Y.mean())
    assert silent.coefs_[0].shape == (2, 0)


def test_it_learns_what_a_straight_line_cannot():
    x = np.linspace(-2, 2, 40)[:, None]
    y = np.abs(x).ravel()
    assert ConvexReLURegressor(1e-3, arrangements="all").fit(x, y).score(x, y) > 0.999


def test_arrangements_can_be_sampled_enumerated_or_given():
    everything = ConvexReLURegressor(0.05, arrangements="all", tol=1e-9).fit(X, Y)
    sampled = ConvexReLURegressor(0.05, arrangements=20, random_state=0, tol=1e-9).fit(X, Y)
    assert len(sampled.arrangements_) == 20
    assert sampled.certificate_.scope == "sampled"
    assert sampled.certificate_.objective >= everything.certificate_.objective * (1 - 1e-9)
    gates = np.vstack([everything.coefs_[0], everything.intercepts_[0]]).T  # the optimum's own patterns suffice
    given = ConvexReLURegressor(0.05, arrangements=np.vstack([gates, sampled.arrangements_.gates]), tol=1e-9).fit(X, Y)
    assert given.certificate_.scope == "sampled"
    assert given.certificate_.objective <= sampled.certificate_.objective * (1 + 1e-9)
    same = ConvexReLURegressor(0.05, arrangements=20, random_state=0, tol=1e-9).fit(X, Y)
    assert np.array_equal(same.predict(X), sampled.predict(X))
    few = ConvexReLURegressor(0.05, arrangements=10_000).fit(X, Y)  # more than there are: all of them
    assert few.certificate_.scope == "global"


@pytest.mark.parametrize("solver", ["auto", "newton", "fista", "cvxpy", "CLARABEL", "SCS"])
def test_solvers_by_name(solver):
    expected = ConvexReLURegressor(0.3, arrangements=10, random_state=0).fit(X, Y).certificate_.objective
    model = ConvexReLURegressor(0.3, arrangements=10, random_state=0, solver=solver, tol=1e-4).fit(X, Y)
    assert model.certificate_.objective == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "convert",
    [
        lambda A: A.astype(np.float32).astype(np.float64),
        np.asfortranarray,
        lambda A: pd.DataFrame(A, columns=["a", "b"]),
        lambda A: A.tolist(),
        lambda A: np.repeat(A, 2, axis=0)[::2],
    ],
    ids=["float32 values", "Fortran", "pandas", "lists", "strided"],
)
def test_containers_of_x(convert):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = ConvexReLURegressor(0.1, arrangements="all").fit(convert(X), Y)
        predicted = model.predict(convert(X))
    assert np.allclose(predicted, ConvexReLURegressor(0.1, arrangements="all").fit(X, Y).predict(X), atol=1e-5)


def test_integers_are_numbers():
    whole, y = np.array([[0, 1], [1, 0], [2, 1], [3, 5]]), np.array([1, 0, 2, 4])
    one = ConvexReLURegressor(0.1, arrangements="all").fit(whole, y).predict(whole)
    assert np.array_equal(
        one, ConvexReLURegressor(0.1, arrangements="all").fit(whole.astype(float), y * 1.0).predict(whole)
    )


def test_y_as_a_column_is_flattened_with_a_warning():
    with pytest.warns(DataConversionWarning):
        model = ConvexReLURegressor(0.1, arrangements="all").fit(X, Y[:, None])
    assert np.array_equal(model.predict(X), ConvexReLURegressor(0.1, arrangements="all").fit(X, Y).predict(X))


@pytest.mark.parametrize("value", [0.0, 3.0, -1e6, 1e-9])
def test_constant_y_is_predicted(value):
    model = ConvexReLURegressor(arrangements=10).fit(X, np.full(12, value))
    assert model.n_neurons_ == 0
    assert model.alpha_max_ == 0.0
    assert model.alpha_ == 1.0
    assert model.certificate_.gap == 0.0
    assert np.allclose(model.predict(X), value, rtol=1e-12)


@pytest.mark.parametrize("hidden_bias", ["none", "penalized"])
def test_zero_inputs_predict_the_mean(hidden_bias):
    model = ConvexReLURegressor(0.1, arrangements="all", hidden_bias=hidden_bias).fit(np.zeros((5, 2)), Y[:5])
    assert np.allclose(model.predict(np.zeros((3, 2))), Y[:5].mean())
    assert model.n_neurons_ == 0
    assert model.certificate_.objective == pytest.approx(0.5 * np.sum((Y[:5] - Y[:5].mean()) ** 2))


def test_one_sample_and_one_feature():
    assert ConvexReLURegressor(0.1).fit([[1.0, 2.0]], [3.0]).predict([[5.0, 5.0]]) == pytest.approx([3.0])
    model = ConvexReLURegressor(0.01, arrangements="all", tol=1e-9).fit([[0.0], [1.0], [2.0]], [0.0, 0.0, 1.0])
    assert model.certificate_.gap < 1e-9


def test_fewer_samples_than_features():
    wide, y = RNG.standard_normal((6, 15)), RNG.standard_normal(6)
    model = ConvexReLURegressor(1e-3, arrangements="all", tol=1e-8).fit(wide, y)
    assert model.certificate_.scope == "global"
    assert model.certificate_.gap < 1e-8
    # rotated into its six dimensions the problem is the same
    Q = np.linalg.qr(wide.T)[0]
    narrow = ConvexReLURegressor(1e-3, arrangements="all", tol=1e-8).fit(wide @ Q, y)
    assert narrow.certificate_.objective == pytest.approx(model.certificate_.objective, rel=1e-7)


def test_predict_needs_fit_and_the_same_features():
    with pytest.raises(NotFittedError):
        ConvexReLURegressor().predict(X)
    model = ConvexReLURegressor(0.1, arrangements=10).fit(X, Y)
    with pytest.raises(ValueError, match="3 features"):
        model.predict(np.ones((2, 3)))
    with pytest.raises(ValueError, match="NaN"):
        model.predict([[np.nan, 0.0]])


def test_limits_warn_and_leave_a_network():
    with pytest.warns(ConvergenceWarning, match="relative gap"):
        model = ConvexReLURegressor(0.01, arrangements="all", max_iter=3).fit(X, Y)
    assert model.certificate_.gap > 1e-6
    assert model.network_.objective(X, Y, 0.01) == pytest.approx(model.certificate_.objective, rel=1e-8)


def test_verbose_shows_the_solver(capfd):
    ConvexReLURegressor(0.1, arrangements=5, random_state=0, verbose=1).fit(X, Y)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "gap" in shown.err
    ConvexReLURegressor(0.1, arrangements=5, random_state=0, verbose=2).fit(X, Y)
    assert "lower bound" in capfd.readouterr().err
    ConvexReLURegressor(0.1, arrangements=5, random_state=0, solver="cvxpy", verbose=2).fit(X, Y)
    assert "Clarabel" in capfd.readouterr().out
    ConvexReLURegressor(0.1, arrangements=5, random_state=0).fit(X, Y)
    assert capfd.readouterr() == ("", "")


def test_patterns_are_those_of_all_samples():
    rows, targets = np.repeat(X, 2, axis=0)[::-1], np.repeat(Y, 2)[::-1]
    model = ConvexReLURegressor(0.1, arrangements="all").fit(rows, targets)
    found = model.arrangements_
    assert found.complete
    assert np.array_equal(found.patterns(), found.gates @ np.column_stack([rows, np.ones(24)]).T >= 0)
    again = ConvexReLURegressor(0.1, arrangements=found).fit(rows, targets)
    assert again.certificate_.scope == "global"
    assert again.certificate_.objective == pytest.approx(model.certificate_.objective, rel=1e-4)


def test_gates_of_free_biases_are_in_units_of_the_data():
    gates = np.column_stack([RNG.standard_normal((30, 2)), RNG.standard_normal(30)])
    far = X + 100.0
    model = ConvexReLURegressor(0.1, hidden_bias="free", arrangements=gates, tol=1e-6).fit(X, Y)
    moved = gates - np.outer(100.0 * gates[:, :2].sum(axis=1), [0.0, 0.0, 1.0])
    other = ConvexReLURegressor(0.1, hidden_bias="free", arrangements=moved, tol=1e-6).fit(far, Y)
    assert model.certificate_.objective == pytest.approx(other.certificate_.objective, rel=1e-5)
    expected = {tuple(row) for row in gates @ np.column_stack([X, np.ones(12)]).T >= 0}
    assert {tuple(row) for row in model.arrangements_.patterns()} == expected
    sampled = ConvexReLURegressor(0.1, hidden_bias="free", arrangements=40, random_state=0).fit(X, Y)
    assert len(sampled.arrangements_) == 40


def test_free_biases_are_below_every_seed_of_mlp_regressor():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((30, 2)) + 5.0
    y = np.sin(x[:, 0]) + 0.5 * np.abs(x[:, 1] - 5)
    model = ConvexReLURegressor(0.3, hidden_bias="free", tol=1e-6, random_state=0).fit(x, y)
    assert model.certificate_.gap <= 1e-6
    for seed in range(5):
        mlp = MLPRegressor(
            hidden_layer_sizes=(20,), solver="lbfgs", alpha=0.3, max_iter=3000, tol=1e-9, random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mlp.fit(x, y)
        assert model.certificate_.lower_bound <= len(x) * mlp.loss_
        assert model.certificate_.objective <= len(x) * mlp.loss_ * (1 + 1e-6)
