"""Cross-validation of alpha: scikit-learn's contract, scores by hand, the rules, and bad input."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegressionCV
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from convexnn import (
    ConvexCNNRegressor,
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
)
from convexnn.estimators.training import Training
from convexnn.pricing import alpha_max
from convexnn.utils.deadline import remaining

RNG = np.random.default_rng(1)
X = RNG.standard_normal((40, 2))
Y = np.abs(X[:, 0]) + 0.3 * X[:, 1] + 0.2 * RNG.standard_normal(40)
LABELS = np.where(np.median(Y) < Y, "high", "low")
GATED = {"activation": "gated_relu", "arrangements": 8, "random_state": 0}


@pytest.fixture(scope="module")
def search():
    own = ConvexReLURegressor(arrangements="all", tol=1e-6)
    return ConvexReLURegressorCV(own, n_alphas=6, eps=1e-2, cv=KFold(4), tol=1e-6, n_iter_no_change=None).fit(X, Y)


def test_scores_are_those_of_fits_on_the_folds_at_their_part_of_alpha(search):
    assert search.alphas_ == pytest.approx(alpha_max(X, Y) * np.geomspace(1, 1e-2, 6), rel=1e-9)
    assert search.scores_.shape == (6, 4)
    for fold, (inside, outside) in enumerate(KFold(4).split(X)):
        for k in (2, 5):
            alone = ConvexReLURegressor(0.75 * search.alphas_[k], arrangements="all", tol=1e-6).fit(
                X[inside], Y[inside]
            )
            assert search.scores_[k, fold] == pytest.approx(alone.score(X[outside], Y[outside]), abs=2e-3)
    assert search.mean_scores_ == pytest.approx(search.scores_.mean(axis=1))
    assert search.std_scores_ == pytest.approx(search.scores_.std(axis=1))


def test_the_best_alpha_is_trained_on_all_data(search):
    assert search.alpha_ == search.alphas_[search.mean_scores_.argmax()] == search.estimator_.alpha
    assert search.best_score_ == search.mean_scores_.max()
    alone = ConvexReLURegressor(search.alpha_, arrangements="all", tol=1e-6).fit(X, Y)
    assert search.certificate_.objective == pytest.approx(alone.certificate_.objective, rel=1e-6)
    assert search.certificate_.gap <= 1e-6
    assert np.allclose(search.predict(X), alone.predict(X), atol=1e-3)
    assert search.score(X, Y) == pytest.approx(alone.score(X, Y), abs=1e-4)
    assert search.network_ is search.estimator_.network_
    assert search.n_neurons_ == search.network_.n_neurons


def test_folds_of_all_patterns_are_scored_by_descent_and_the_last_network_is_certified():
    own = ConvexReLURegressor(random_state=0)
    search = ConvexReLURegressorCV(own, n_alphas=4, eps=0.1, cv=KFold(2), tol=1e-3, n_iter_no_change=None).fit(X, Y)
    for fold, (inside, outside) in enumerate(KFold(2).split(X)):
        for k, alpha in enumerate(search.alphas_):
            alone = ConvexReLURegressor(0.5 * alpha, random_state=0).fit(X[inside], Y[inside])
            assert search.scores_[k, fold] == pytest.approx(alone.score(X[outside], Y[outside]), abs=0.03)
    assert search.certificate_.gap <= 1e-4
    assert search.network_.objective(X, Y, search.alpha_) == pytest.approx(search.certificate_.objective, rel=1e-12)


def test_the_last_network_starts_from_a_path_of_descent(monkeypatch):
    own, starts = Training.solve, []

    def watched(self, alpha, start=None):
        starts.append(start)
        return own(self, alpha, start)

    monkeypatch.setattr("convexnn.estimators.training.Training.solve", watched)
    model = ConvexReLURegressor(random_state=0)
    search = ConvexReLURegressorCV(model, alphas=[0.3, 1.0, 3.0], cv=KFold(2), n_iter_no_change=None).fit(X, Y)
    certificate, start = search.certificate_, starts[-1]
    assert start.program.alpha == search.alpha_
    assert certificate.lower_bound <= certificate.objective <= start.certificate.objective
    assert start.certificate.objective == pytest.approx(certificate.objective, rel=0.05)


def test_limits_and_seeds_reach_the_networks(monkeypatch):
    own, seconds = Training.solve, []

    def watched(self, *args):
        seconds.append(remaining())
        return own(self, *args)

    monkeypatch.setattr("convexnn.estimators.training.Training.solve", watched)
    kind, options = {"arrangements": 20, "tol": 1e-2, "random_state": 3}, {"n_alphas": 2, "cv": 2}
    search = ConvexReLURegressorCV(ConvexReLURegressor(**kind), time_limit=1e3, random_state=5, **options).fit(X, Y)
    same = ConvexReLURegressorCV(ConvexReLURegressor(**kind | {"random_state": 5}), **options).fit(X, Y)
    assert 100.0 < min(seconds) <= max(seconds[: len(seconds) // 2]) <= 1e3
    assert np.array_equal(search.scores_, same.scores_)
    assert np.array_equal(search.predict(X), same.predict(X))


def test_one_standard_error_takes_the_largest_alpha_that_is_as_good(search):
    own = ConvexReLURegressor(arrangements="all")
    other = ConvexReLURegressorCV(
        own, n_alphas=6, eps=1e-2, cv=KFold(4), rule="one_standard_error", n_iter_no_change=None
    )
    other.fit(X, Y)
    best = other.mean_scores_.argmax()
    error = np.std(other.scores_[best], ddof=1) / 2
    expected = next(
        a for a, mean in zip(other.alphas_, other.mean_scores_, strict=True) if mean >= other.mean_scores_[best] - error
    )
    assert other.alpha_ == expected >= search.alpha_


def test_the_search_ends_when_the_mean_gets_no_better():
    noise = RNG.standard_normal(40)
    search = ConvexReLURegressorCV(ConvexReLURegressor(random_state=0), n_alphas=12, eps=1e-3, cv=3, n_iter_no_change=2)
    search.fit(X, noise)
    missing = np.isnan(search.scores_)
    assert (missing.all(axis=1) == missing.any(axis=1)).all()
    reached = search.mean_scores_[~missing.any(axis=1)]
    assert len(reached) - 1 - reached.argmax() == 2
    assert search.best_score_ == reached.max()
    assert search.alpha_ == search.alphas_[reached.argmax()]


def test_ctrl_c_takes_the_best_alpha_so_far(monkeypatch):
    own, calls = Training.solve, []

    def interrupted(self, *args):
        calls.append(args)
        return replace(own(self, *args), interrupted=len(calls) == 3)

    monkeypatch.setattr("convexnn.estimators.training.Training.solve", interrupted)
    search = ConvexReLURegressorCV(ConvexReLURegressor(**GATED), n_alphas=5, cv=2)
    with pytest.warns(ConvergenceWarning, match="interrupted after 1 of 5 alphas; the best of these is taken"):
        search.fit(X, Y)
    assert np.isnan(search.mean_scores_).tolist() == [False, True, True, True, True]  # the second was cut short
    assert search.predict(X).shape == (40,)


def test_ctrl_c_on_the_way_to_the_last_network_goes_there(monkeypatch):
    own, calls = Training.solve, []

    def interrupted(self, alpha, start=None):
        calls.append(alpha)
        return replace(own(self, alpha, start), interrupted=len(calls) == 7)

    monkeypatch.setattr("convexnn.estimators.training.Training.solve", interrupted)
    search = ConvexReLURegressorCV(
        ConvexReLURegressor(random_state=0), alphas=[0.3, 1.0, 3.0], cv=2, n_iter_no_change=None
    )
    search.fit(X, Y)
    assert search.alpha_ == 0.3
    assert calls == [1.5, 1.5, 0.5, 0.5, 0.15, 0.15, 3.0, 0.3]  # two folds, and the way, of which the rest is left out


def test_classes_and_their_scores():
    search = ConvexReLUClassifierCV(
        ConvexReLUClassifier(arrangements="all"), alphas=[0.1, 1.0], cv=3, scoring="neg_log_loss", tol=1e-4
    ).fit(X, LABELS)
    assert search.classes_.tolist() == ["high", "low"]
    inside, outside = next(StratifiedKFold(3).split(X, LABELS))
    alone = ConvexReLUClassifier(len(inside) / 40, arrangements="all").fit(X[inside], LABELS[inside])
    assert search.scores_[0, 0] == pytest.approx(-log_loss(LABELS[outside], alone.predict_proba(X[outside])), abs=1e-3)
    assert search.predict_proba(X).shape == (40, 2)
    assert np.array_equal(search.classes_[search.predict_proba(X).argmax(axis=1)], search.predict(X))
    assert search.decision_function(X).shape == (40,)
    assert np.allclose(np.exp(search.predict_log_proba(X)), search.predict_proba(X))


def test_weights_are_copies():
    """Folds of copies: a sample and its copies are in one fold."""
    weights = RNG.integers(1, 4, 40)
    own = ConvexReLURegressor(arrangements="all", tol=1e-7)
    options = {"alphas": [0.3, 3.0], "tol": 1e-7}
    folds = list(KFold(4).split(X))
    weighted = ConvexReLURegressorCV(own, cv=folds, **options).fit(X, Y, sample_weight=weights)
    place = np.arange(40).repeat(weights)
    copies = ConvexReLURegressorCV(
        own, cv=[tuple(np.flatnonzero(np.isin(place, part)) for part in fold) for fold in folds], **options
    ).fit(X[place], Y[place])
    assert weighted.scores_ == pytest.approx(copies.scores_, abs=1e-3)
    assert weighted.certificate_.objective == pytest.approx(copies.certificate_.objective, rel=1e-6)


def test_jobs_give_the_same():
    own = ConvexReLURegressor(**GATED)
    one, two = (ConvexReLURegressorCV(own, n_alphas=3, cv=2, n_jobs=n_jobs).fit(X, Y) for n_jobs in (None, 2))
    assert one.scores_ == pytest.approx(two.scores_, abs=1e-9)


def test_convolutions_and_splitters():
    rows = RNG.standard_normal((24, 5))
    y = np.abs(rows).mean(axis=1)
    search = ConvexReLURegressorCV(ConvexCNNRegressor(kernel_size=2), n_alphas=3, cv=2).fit(rows, y)
    assert search.estimator_.filters_.shape[1:] == (1, 2)
    groups = np.arange(40) % 5
    folds = list(GroupKFold(5).split(X, Y, groups))
    assert ConvexReLURegressorCV(ConvexReLURegressor(**GATED), n_alphas=2, cv=folds).fit(X, Y).scores_.shape == (2, 5)


def test_in_a_pipeline_with_columns_of_strings():
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "kind": np.where(X[:, 0] > 0, "left", "right")})
    columns = ColumnTransformer([("numbers", StandardScaler(), ["a", "b"]), ("names", OneHotEncoder(), ["kind"])])
    model = make_pipeline(columns, ConvexReLURegressorCV(ConvexReLURegressor(**GATED), n_alphas=3, cv=2)).fit(frame, Y)
    assert model.predict(frame).shape == (40,)
    importance = permutation_importance(model, frame, Y, n_repeats=3, random_state=0).importances_mean
    assert importance.shape == (3,)
    search = ConvexReLURegressorCV(ConvexReLURegressor(**GATED), n_alphas=3, cv=2).fit(frame[["a", "b"]], Y)
    assert search.feature_names_in_.tolist() == ["a", "b"]
    assert not hasattr(clone(search).fit(frame[["a", "b"]], Y).fit(X, Y), "feature_names_in_")
    grid = partial_dependence(search, frame[["a", "b"]], ["a"], grid_resolution=5)
    means = [search.predict(frame[["a", "b"]].assign(a=value)).mean() for value in grid["grid_values"][0]]
    assert grid["average"][0] == pytest.approx(means)


def test_pickle_clone_and_methods_of_the_estimator():
    search = ConvexReLURegressorCV(ConvexReLURegressor(**GATED), n_alphas=2, cv=2).fit(X, Y)
    assert np.array_equal(pickle.loads(pickle.dumps(search)).predict(X), search.predict(X))
    assert clone(search).get_params()["estimator__activation"] == "gated_relu"
    assert not hasattr(clone(search), "alpha_")
    assert "sampled" in search.summary() or "given" in search.summary()
    explanation = search.explain(X)
    assert np.allclose(explanation.predictions[:, 0], search.predict(X))


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"estimator": LinearRegression()}, TypeError, "estimator must be a regressor or classifier of convexnn"),
        ({"estimator": ConvexReLUClassifier()}, TypeError, "must be a regressor; got .*ConvexReLUClassifierCV"),
        ({"rule": "largest"}, ValueError, "The 'rule' parameter of ConvexReLURegressorCV"),
        ({"n_alphas": 0}, ValueError, "The 'n_alphas' parameter"),
        ({"eps": 1}, ValueError, "The 'eps' parameter"),
        ({"cv": 1}, ValueError, "cv"),
        ({"alphas": [-1.0]}, ValueError, "alphas must be numbers above 0"),
        ({"n_iter_no_change": 0}, ValueError, "The 'n_iter_no_change' parameter"),
        ({"scoring": "accuracy"}, ValueError, "continuous"),
        ({"cv": 40}, ValueError, "cv must leave test folds that scoring=None can score"),
    ],
)
def test_bad_parameters_raise(bad, error, message):
    with pytest.raises(error, match=message):
        ConvexReLURegressorCV(**{"estimator": ConvexReLURegressor(**GATED), "n_alphas": 2, **bad}).fit(X, Y)


RARE = np.array(["a", "a", "b"] * 9 + ["a", "b", "c"])
RARE_X = np.random.default_rng(1).standard_normal((30, 2))
GAPS = [(np.flatnonzero(RARE == "a"), np.flatnonzero(RARE != "a")), (np.arange(29), np.arange(29, 30))]


@pytest.mark.parametrize("scoring", [None, "neg_log_loss", "neg_brier_score", "balanced_accuracy", "f1_macro"])
@pytest.mark.parametrize("cv", [3, GAPS, KFold(6)])
@pytest.mark.filterwarnings("ignore")
def test_folds_that_lack_a_class_are_scored_over_all(scoring, cv):
    """As scikit-learn's own search does: the network of a fold has an output for each class of the data."""
    own = ConvexReLUClassifier(output_penalty="l1", random_state=0)
    search = ConvexReLUClassifierCV(own, n_alphas=2, eps=0.1, cv=cv, scoring=scoring).fit(RARE_X, RARE)
    reference = LogisticRegressionCV(cv=cv, scoring=scoring, max_iter=5, use_legacy_attributes=False).fit(RARE_X, RARE)
    assert list(search.classes_) == list(reference.classes_) == ["a", "b", "c"]
    assert np.isfinite(search.scores_).all()


@pytest.mark.parametrize("loss", ["log_loss", "softmax", "hinge", "squared_hinge"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_class_of_one_sample_is_in_one_fold(loss):
    """Without it a network predicts the other class, at almost no loss."""
    y = np.r_[np.zeros(19, int), 1]
    own = ConvexReLUClassifier(loss=loss, random_state=0)
    search = ConvexReLUClassifierCV(own, n_alphas=2, eps=0.1, cv=KFold(4), scoring="accuracy").fit(RARE_X[:20], y)
    assert search.scores_[:, 3].tolist() == [0.8, 0.8]


@pytest.mark.parametrize(
    ("y", "scoring", "cv", "weights", "message"),
    [
        (
            RARE == "c",
            "roc_auc",
            KFold(3),
            None,
            "in 2 of 3 folds, such as fold 1 .*lack class True",
        ),
        (RARE, "roc_auc_ovr", KFold(3), None, "such as fold 1 of 3, whose test samples lack class 'c'"),
        (RARE, None, [([], [0, 1]), ([0, 1, 2], [3])], None, "cv: fold 1 of 2 has no training samples"),
        (RARE, None, [(np.arange(30), [])], None, "cv: fold 1 of 1 has no test samples"),
        (RARE, None, KFold(2), np.r_[np.ones(15), np.zeros(15)], "fold 1 of 2 has no training samples of positive"),
    ],
)
@pytest.mark.filterwarnings("ignore:The (number|least):UserWarning")
def test_folds_without_a_score_are_named(y, scoring, cv, weights, message):
    search = ConvexReLUClassifierCV(n_alphas=2, eps=0.1, cv=cv, scoring=scoring)
    with pytest.raises(ValueError, match=message):
        search.fit(RARE_X, y, weights)


@pytest.mark.parametrize("weights", [None, np.r_[np.ones(9), 2.0, np.zeros(10)]])
@pytest.mark.parametrize("loss", ["squared_error", "quantile"])
def test_a_fold_of_one_sample_has_no_r2(weights, loss, recwarn):
    """Weights of zero count as no samples; nothing is said before the error."""
    rows = np.arange(20)
    cv = [(rows[:9], rows[9:] if weights is not None else rows[9:10]), (rows[9:], rows[:9])]
    search = ConvexReLURegressorCV(ConvexReLURegressor(loss=loss, random_state=0), n_alphas=2, eps=0.1, cv=cv)
    with pytest.raises(ValueError, match="scores are NaN in 1 of 2 folds, such as fold 1 of 2"):
        search.fit(X[:20], Y[:20], weights)
    assert not [warning for warning in recwarn if "R^2" in str(warning.message)]


def test_a_score_that_is_undefined_at_first_does_not_end_the_search():
    """As a correlation with the constant predictions of alpha_max."""

    def correlation(model, X, y):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.corrcoef(model.predict(X), y)[0, 1]

    own = ConvexReLURegressor(random_state=0)
    search = ConvexReLURegressorCV(own, n_alphas=6, eps=1e-2, cv=3, scoring=correlation, n_iter_no_change=2).fit(X, Y)
    assert np.isnan(search.mean_scores_[0])
    assert search.best_index_ > 0
    assert np.isfinite(search.mean_scores_[: search.best_index_ + 1][1:]).all()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_class_without_weight_is_none():
    weights = (RARE != "c").astype(float)
    search = ConvexReLUClassifierCV(n_alphas=2, eps=0.1, cv=3, scoring="neg_log_loss").fit(RARE_X, RARE, weights)
    assert list(search.classes_) == ["a", "b"]
    assert np.isfinite(search.scores_).all()
