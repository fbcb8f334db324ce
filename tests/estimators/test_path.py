"""Regularization paths: optima of every alpha, the laws of p*(alpha) and R(alpha), limits, and bad input."""

import sys
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import mean_squared_error

from convexnn import ConvexCNNRegressor, ConvexReLUClassifier, ConvexReLURegressor, Network, regularization_path
from convexnn.losses import make_loss
from convexnn.model.architecture import Architecture
from convexnn.model.building import build_program
from convexnn.pricing import alpha_max
from convexnn.solvers import solve_reference

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 2))
Y = np.abs(X[:, 0]) + 0.3 * X[:, 1] + 0.1 * RNG.standard_normal(20)
LABELS = np.where(np.median(Y) < Y, "high", "low")


@pytest.fixture(scope="module")
def path():
    return regularization_path(X[:14], Y[:14], X_val=X[14:], y_val=Y[14:], n_alphas=12, eps=1e-2)


def test_alphas_fall_evenly_from_alpha_max(path):
    top = alpha_max(X[:14], Y[:14])
    assert path.alpha_max == pytest.approx(top, rel=1e-9)
    assert np.allclose(path.alphas, top * np.geomspace(1, 1e-2, 12), rtol=1e-9)
    assert path.n_neurons[0] == 0
    assert path.n_neurons[-1] > 0
    assert path.status == "complete"
    assert np.all(np.diff(path.times) > 0)


def test_every_point_is_the_optimum_of_the_reference(path):
    """The reference enumerates all cells and is solved by cvxpy, each alpha on its own."""
    assert path.gaps.max() <= 1e-4
    for alpha, objective, bound in zip(path.alphas, path.objectives, path.lower_bounds, strict=True):
        reference = solve_reference(build_program(X[:14], Y[:14], alpha, "all"), tol=1e-8).certificate.objective
        assert reference * (1 - 1e-7) <= objective <= reference * (1 + 1e-4)
        assert bound <= reference * (1 + 1e-7)


def test_the_optimum_is_increasing_and_concave_and_the_decay_its_slope(path):
    alphas, values, decay = path.alphas[::-1], path.objectives[::-1], path.regularizers[::-1]
    slack = 1e-4 * values.max()
    slopes = np.diff(values) / np.diff(alphas)
    assert (slopes > 0).all()
    assert (np.diff(decay) <= slack).all()
    # the mean slope is between R at the two ends
    assert (slopes <= decay[:-1] * 1.01 + slack).all()
    assert (slopes >= decay[1:] * 0.99 - slack).all()


def test_scores_are_those_of_the_networks(path):
    for k, network in enumerate(path.networks):
        for score, x, y in ((path.train_scores[k], X[:14], Y[:14]), (path.validation_scores[k], X[14:], Y[14:])):
            assert score == pytest.approx(1 - np.mean((network.predict(x) - y) ** 2) / np.var(y), abs=1e-12)
    assert path.scoring == "r2"
    best = path.best()
    assert best.alpha_ == path.alphas[path.validation_scores.argmax()]
    assert best.get_params()["alpha"] == best.alpha_
    assert np.array_equal(best.predict(X), best.network_.predict(X))
    other = regularization_path(X, Y, alphas=[0.5, 2.0], scoring="neg_mean_squared_error")
    assert other.alphas.tolist() == [2.0, 0.5]
    assert other.scoring == "neg_mean_squared_error"
    for k in range(2):
        assert other.train_scores[k] == pytest.approx(-mean_squared_error(Y, other.estimators[k].predict(X)))
    assert other.validation_scores is None
    with pytest.raises(ValueError, match="validation scores"):
        other.best()
    single = regularization_path(X, Y, alphas=[0.5, 2.0], X_val=X[:1], y_val=Y[:1])
    with pytest.raises(ValueError, match="that 'r2' can score; all scores are NaN"):
        single.best()


def test_points_are_estimators_of_their_own(path):
    for model, certificate, alpha in zip(path.estimators, path.certificates, path.alphas, strict=True):
        assert isinstance(model, ConvexReLURegressor)
        assert isinstance(model.network_, Network)
        assert model.network_.objective(X[:14], Y[:14], alpha) == pytest.approx(certificate.objective, rel=1e-9)
        assert model.n_features_in_ == 2
        assert model.alpha_max_ == path.alpha_max
    assert len({id(model.network_) for model in path.estimators}) == 12


@pytest.mark.parametrize(
    "estimator",
    [
        ConvexReLURegressor(arrangements="all"),
        ConvexReLURegressor(arrangements=15, activation="gated_relu", random_state=0),
        ConvexReLURegressor(arrangements=15, random_state=0, solver="cvxpy"),
        ConvexReLURegressor(hidden_bias="free", random_state=0),
        ConvexReLURegressor(loss="absolute_error", random_state=0),
        ConvexReLURegressor(hidden_norm="l1", arrangements=15, random_state=0),
    ],
    ids=["all", "gated", "cvxpy", "free bias", "absolute_error", "l1"],
)
def test_other_networks_end_where_a_fit_ends(estimator):
    path = regularization_path(X, Y, estimator=estimator, n_alphas=4, eps=0.05)
    for model, alpha in zip(path.estimators, path.alphas, strict=True):
        alone = type(estimator)(**estimator.get_params() | {"alpha": alpha}).fit(X, Y)
        assert model.certificate_.gap <= 1e-4
        assert model.certificate_.objective == pytest.approx(alone.certificate_.objective, rel=2e-4)


def test_one_feature_several_outputs_and_patches():
    one = regularization_path(X[:, :1], Y, estimator=ConvexReLURegressor(hidden_bias="free"), n_alphas=3)
    assert one.scopes == ("global",) * 3
    two = regularization_path(X, np.column_stack([Y, -(Y**2)]), n_alphas=3, eps=0.1)
    assert two.gaps.max() <= 1e-4
    rows = RNG.standard_normal((15, 5))
    cnn = regularization_path(rows, np.abs(rows).sum(axis=1), estimator=ConvexCNNRegressor(kernel_size=2), n_alphas=3)
    assert cnn.estimators[1].filters_.shape[1:] == (1, 2)


def test_classifiers_keep_their_classes_and_score_accuracy():
    path = regularization_path(X, LABELS, estimator=ConvexReLUClassifier(random_state=0), n_alphas=4, eps=0.05)
    assert path.scoring == "accuracy"
    for score, model in zip(path.train_scores, path.estimators, strict=True):
        assert score == np.mean(model.predict(X) == LABELS)
        signs = np.where(LABELS == "low", 1.0, -1.0)
        value = model.network_.objective(X, signs, model.alpha_, make_loss("log_loss"))
        assert value == pytest.approx(model.certificate_.objective, rel=1e-12)


def test_sample_weights_are_copies():
    weights = RNG.integers(0, 3, 20)
    weighted = regularization_path(X, Y, sample_weight=weights, alphas=[1.0, 0.3])
    copies = regularization_path(X.repeat(weights, axis=0), Y.repeat(weights), alphas=[1.0, 0.3])
    assert weighted.objectives == pytest.approx(copies.objectives, rel=2e-4)
    assert weighted.train_scores == pytest.approx(copies.train_scores, abs=1e-3)


def test_no_network_where_the_free_part_fits():
    path = regularization_path(X, X @ [1.0, 2.0], estimator=ConvexReLURegressor(skip=True), n_alphas=3)
    assert path.alpha_max == 0.0
    assert path.n_neurons.tolist() == [0, 0, 0]


def test_limits_keep_what_is_done():
    with pytest.warns(ConvergenceWarning, match="stopped by the callback after 2 of 5 alphas; these are kept"):
        path = regularization_path(X, Y, n_alphas=5, callback=lambda record: record["alpha"] < 0.9 * path_top)
    assert len(path.alphas) == len(path.estimators) == len(path.train_scores) == 2
    assert path.status == "stopped by the callback"
    with pytest.warns(ConvergenceWarning, match="stopped at time_limit"):
        assert len(regularization_path(X, Y, n_alphas=5, time_limit=1e-9).alphas) <= 1


path_top = alpha_max(X, Y)


def test_records_say_what_the_result_says():
    records = []
    path = regularization_path(X, Y, n_alphas=3, X_val=X, y_val=Y, callback=records.append)
    for name, values in {
        "alpha": path.alphas,
        "objective": path.objectives,
        "lower_bound": path.lower_bounds,
        "gap": path.gaps,
        "n_neurons": path.n_neurons,
        "time": path.times,
        "train_score": path.train_scores,
        "validation_score": path.validation_scores,
    }.items():
        assert [record[name] for record in records] == list(values)


def test_ctrl_c_keeps_the_path_so_far(monkeypatch):
    calls = []

    def interrupted(self, *args):
        calls.append(args)
        if len(calls) > 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("convexnn.solvers.monitor.Monitor.record", interrupted)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        path = regularization_path(X, Y, estimator=ConvexReLURegressor(arrangements="all"), n_alphas=50)
    assert path.status == "interrupted"
    assert 1 <= len(path.alphas) < 50


@pytest.mark.parametrize("time_limit", [None, 1000.0])
def test_ctrl_c_in_the_search_for_alpha_max_keeps_the_path_so_far(monkeypatch, time_limit):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    alphas = np.geomspace(10.0, 0.1, 50)
    monkeypatch.setattr(sys.modules["convexnn.pricing.alpha_max"], "_search", interrupted)
    with pytest.warns(ConvergenceWarning, match=r"the path was interrupted after 1 of 50 alphas"):
        path = regularization_path(X, Y, estimator=ConvexReLURegressor(), alphas=alphas, time_limit=time_limit)
    assert path.status == "interrupted"
    assert path.alphas == [10.0]


def test_unsolved_points_are_one_warning():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        regularization_path(X, Y, estimator=ConvexReLURegressor(max_iter=1, scope="local"), n_alphas=4, eps=1e-2)
    messages = [str(warning.message) for warning in caught if warning.category is ConvergenceWarning]
    assert len(messages) == 1
    assert "networks have a relative gap above tol=0.0001; the largest is" in messages[0]


def test_patterns_of_a_path_are_all_patterns():
    """A warm start from few cells does not keep the path in them."""
    program = build_program(X, Y, 0.02 * path_top, "all", Architecture())
    reference = solve_reference(program, tol=1e-8).certificate.objective
    path = regularization_path(X, Y, alphas=path_top * np.array([0.9, 0.02]))
    assert path.objectives[-1] <= reference * (1 + 1e-4)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"estimator": "ReLU"}, TypeError, "estimator must be a regressor or classifier of convexnn.*got 'ReLU'"),
        ({"estimator": ConvexReLURegressor}, TypeError, "estimator must be"),
        ({"estimator": ConvexReLURegressor(tol=0)}, ValueError, "The 'tol' parameter of ConvexReLURegressor"),
        ({"alphas": [0.1, 0.0]}, ValueError, "alphas must be numbers above 0"),
        ({"alphas": [[0.1]]}, ValueError, "alphas must be numbers above 0, in one dimension"),
        ({"alphas": [np.nan]}, ValueError, "alphas contains NaN"),
        ({"n_alphas": 0}, ValueError, "n_alphas must be an integer of at least 1; got 0"),
        ({"eps": 1.0}, ValueError, "eps must be a number above 0 and below 1; got 1.0"),
        ({"eps": "small"}, ValueError, "eps must be a number"),
        ({"X_val": X}, ValueError, "X_val and y_val must be given together"),
        ({"scoring": "best"}, ValueError, "scoring"),
        ({"time_limit": 0}, ValueError, "time_limit must be a finite number above 0"),
        ({"callback": 1}, TypeError, "callback must be callable or None"),
        ({"verbose": 5}, ValueError, "verbose must be"),
    ],
)
def test_bad_arguments_raise(bad, error, message):
    with pytest.raises(error, match=message):
        regularization_path(X, Y, **bad)
