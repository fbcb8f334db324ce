"""Cross-validation of alpha: a regularization path for each fold, then the network of the best alpha on all data.

Networks of folds are only scored: where patterns are generated, descent in neuron space does that in a small fraction
of the time. The network on all data starts from such a path too, and is trained to the optimum, and certified: where a
time limit ends that, it is no worse than those of the folds.

The loss is a sum over samples. So that loss and weight decay keep their ratio, a fold with a fraction of the samples
(of their weight) is trained at that fraction of each alpha.

References
----------
T. Hastie, R. Tibshirani and J. Friedman (2009), The elements of statistical learning, section 7.10: the rule of one
standard error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    RegressorMixin,
    _fit_context,
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.metrics import check_scoring, make_scorer
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, get_tags, indexable
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import _check_sample_weight, _num_samples, check_is_fitted

from ..model.program import Solution
from ..model.summary import Status
from ..utils.deadline import despite_interrupt, go_on, interrupted, is_up, remaining, until_up, within
from ..utils.progress import Progress
from ..utils.quiet import ignoring, warn
from .base import ConvexNetworkEstimator, TrainedModel
from .dense import ConvexReLUClassifier, ConvexReLURegressor
from .parameters import COUNT, POSITIVE, UNIT, Declared, choice, fitted, parameter
from .path import checked_estimator, fit_next, follow
from .training import Training

__all__ = ["ConvexReLUClassifierCV", "ConvexReLURegressorCV"]


# Fractions of the time that is left, for the folds, and for the path on all data that leads to the network.
FOLDS_FRACTION, START_FRACTION = 0.5, 0.3
# What a search takes over from the estimator of the chosen alpha.
PUBLISHED = ("n_features_in_", "feature_names_in_", "classes_", "network_", "certificate_", "n_neurons_", "alpha_max_")
# How warnings start of scores that are NaN: R^2 of one sample, ROC AUC of one class.
UNDEFINED = ("R^2 score is not well-defined", "Only one class is present")


class PathSearch(TrainedModel, MetaEstimatorMixin, Declared, BaseEstimator):
    """What both searches share; `_default` is the estimator that None stands for, `_is_kind` says what may be one."""

    estimator: ConvexNetworkEstimator | None = parameter(
        None,
        [HasMethods(["fit", "predict"]), None],
        "estimator or None",
        "Which network is trained, and how: an estimator of this package for the task, whose `alpha` does not matter. "
        "None is `ConvexReLURegressor()` or `ConvexReLUClassifier()`.",
        kw_only=False,
    )
    alphas: ArrayLike | None = parameter(
        None,
        ["array-like", None],
        "array-like of shape (n_alphas,) or None",
        "Regularisation strengths to choose from. None are `n_alphas` from alpha_max to eps alpha_max, evenly spaced "
        "in the logarithm.",
    )
    n_alphas: int = parameter(20, [COUNT], "int", "Number of alphas, where `alphas` is None.")
    eps: float = parameter(
        1e-4, [UNIT], "float", "The smallest alpha as a fraction of alpha_max, where `alphas` is None."
    )
    cv: Any = parameter(
        5,
        ["cv_object"],
        "int, splitter or iterable",
        "As in `sklearn.model_selection.GridSearchCV`; folds of classes are stratified.",
    )
    scoring: str | Callable | None = parameter(
        None,
        [str, callable, None],
        "str, callable or None",
        'A scorer of scikit-learn, such as "neg_log_loss"; None is R^2, or the accuracy.',
    )
    rule: str = choice(
        "best",
        ("one_standard_error",),
        "The alpha of the best mean score; or the largest alpha whose mean score is within one standard error of it.",
    )
    tol: float = parameter(
        1e-2,
        [POSITIVE],
        "float",
        "Accuracy of the networks of the folds, which are only scored: where patterns are generated they are trained "
        "by descent alone, without a bound, to a relative decrease of a small fraction of `tol`; else to this relative "
        "gap. The network on all data has a certificate, to the `tol` of `estimator`.",
    )
    n_iter_no_change: int | None = parameter(
        4,
        [COUNT, None],
        "int or None",
        "The search ends when that many alphas have brought no better mean score: small alphas take longest. None goes "
        "on to the smallest alpha.",
    )
    time_limit: float | None = parameter(
        None,
        [POSITIVE, None],
        "float or None",
        "Limit of the whole search in seconds: half of it for the folds, of which the alphas that are reached are "
        "compared, and what is left for the network on all data. None is the `time_limit` of `estimator`.",
    )
    random_state: int | np.random.RandomState | None = parameter(
        None,
        ["random_state"],
        "int, RandomState instance or None",
        "Source of all that is random in training, on the folds and on all data. None is the `random_state` of "
        "`estimator`.",
    )
    n_jobs: int | None = parameter(
        None,
        [Integral, None],
        "int or None",
        "Folds at a time, in processes of their own; -1 is one for each processor.",
    )
    verbose: int | bool = parameter(
        0, ["verbose"], "int or bool", "1 shows the alphas that are done, 2 a line for each; on stderr."
    )

    alpha_: float = fitted("float", "The alpha chosen.")
    alphas_: np.ndarray = fitted("ndarray of shape (n_alphas,)", "The alphas tried, falling.")
    scores_: np.ndarray = fitted(
        "ndarray of shape (n_alphas, n_folds)",
        "Scores on the samples left out; NaN at alphas that were not reached.",
    )
    mean_scores_: np.ndarray = fitted("ndarray of shape (n_alphas,)", "Means of the scores over the folds.")
    std_scores_: np.ndarray = fitted("ndarray of shape (n_alphas,)", "Their standard deviations over the folds.")
    best_index_: int = fitted("int", "Place of `alpha_` in `alphas_`.")
    best_score_: float = fitted("float", "The mean score of `alpha_`.")
    estimator_: ConvexNetworkEstimator = fitted(
        "estimator",
        "The network on all data, a fitted `estimator`; its network_, certificate_, n_neurons_, alpha_max_, "
        "n_features_in_, feature_names_in_ and, of a classifier, classes_ are those of the search, too.",
    )

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Choose alpha by cross-validation, and train the network of this alpha on all data.

        `sample_weight` (n_samples,) is for training and for scores. Raises TypeError or ValueError if a parameter or
        the data are not as described. Warns (ConvergenceWarning) if the network on all data does not reach the `tol`
        of `estimator`, or the search was stopped.
        """
        estimator = clone(checked_estimator(self.estimator, self._default()))
        if not self._is_kind(estimator):
            other = ConvexReLURegressorCV if is_regressor(estimator) else ConvexReLUClassifierCV
            wanted = "classifier" if other is ConvexReLURegressorCV else "regressor"
            raise TypeError(f"estimator must be a {wanted}; got {estimator!r}: use {other.__name__}")
        if self.random_state is not None:
            estimator.set_params(random_state=self.random_state)
        estimator._validate_params()
        time_limit = estimator.time_limit if self.time_limit is None else self.time_limit
        # on a copy: what ends a search before it is done leaves this one as it was
        self.__dict__ = vars(within(time_limit, copy(self)._search, estimator, X, y, sample_weight))
        return self

    def _search(self, estimator, X, y, sample_weight):
        """Choose alpha, train its network, and set the fitted attributes."""
        training = estimator._prepare(X, y, sample_weight)
        self.alphas_ = training.grid(self.alphas, self.n_alphas, self.eps)
        X, y = indexable(X, y)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float64)
        splits = list(check_cv(self.cv, y, classifier=is_classifier(estimator)).split(X, y))
        folds = [
            Fold.of(estimator, X, y, weights, split, self.scoring, self.tol, f"fold {k} of {len(splits)}")
            for k, split in enumerate(splits, 1)
        ]
        self.scores_ = within(FOLDS_FRACTION * remaining(), self._follow, folds)
        go_on()  # Ctrl-C ended the search alone
        self._choose(folds)
        self.estimator_ = estimator.set_params(alpha=self.alpha_)
        start = within(START_FRACTION * remaining(), self._start, training)
        go_on()
        solution = training.solve(self.alpha_, start)
        despite_interrupt(self.estimator_._publish, training, solution)
        for name in PUBLISHED:
            vars(self).pop(name, None)  # such as names of features of another fit
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        return self

    def _follow(self, folds):
        """Return the scores of the folds, one alpha after the other; NaN for alphas that are not reached."""
        scores, means, stopped = np.full((len(self.alphas_), len(folds)), np.nan), [], None

        def step(alpha):
            nonlocal folds
            parallel, seconds = Parallel(n_jobs=self.n_jobs), remaining()
            folds = parallel(delayed(Fold.at)(fold, alpha, seconds) for fold in folds)
            return folds

        with Progress(self.verbose, total=len(self.alphas_), description="alpha") as progress:
            for k, reached in enumerate(follow(self.alphas_, step)):
                cut_short = is_up() or any(fold.solution.interrupted for fold in reached)
                if cut_short and k:  # scores of networks cut short say nothing of their alpha
                    break
                scores[k] = [fold.score for fold in reached]
                means.append(scores[k].mean())
                progress.update({"alpha": self.alphas_[k], "score": means[-1]})
                best = int(np.argmax(np.nan_to_num(means, nan=-np.inf)))
                late = self.n_iter_no_change is not None and k - best >= self.n_iter_no_change
                if cut_short or late:
                    break
        if interrupted() or any(fold.solution.interrupted for fold in folds):
            stopped = Status.INTERRUPTED
        elif is_up():
            stopped = Status.TIME_LIMIT
        if stopped:
            left = f"the search was {stopped} after {len(means)} of {len(self.alphas_)} alphas"
            warn(f"{left}; the best of these is taken", ConvergenceWarning)
        return scores

    def _start(self, training):
        """Return where the network on all data starts: where patterns are generated, from a path as those of folds."""
        start = None
        if training.generated:
            quick = training.for_scores(self.tol)
            with until_up(), ignoring(ConvergenceWarning):
                for alpha in self.alphas_[: self.best_index_ + 1]:
                    start = quick.solve(alpha, start)
                    if is_up() or start.interrupted:  # then straight to the network on all data
                        break
        return start

    def _choose(self, folds):
        """Set the scores of the alphas, and the alpha that the rule takes."""
        scores = self.scores_
        self.mean_scores_, self.std_scores_ = scores.mean(axis=1), scores.std(axis=1)
        if np.isnan(self.mean_scores_).all():
            undefined = np.flatnonzero(np.isnan(scores[0]))
            raise ValueError(
                f"cv must leave test folds that scoring={self.scoring!r} can score; scores are NaN in "
                f"{len(undefined)} of {len(folds)} folds, such as {folds[undefined[0]].described}"
            )
        self.best_index_ = int(np.nanargmax(self.mean_scores_))
        if self.rule == "one_standard_error" and scores.shape[1] > 1:
            error = scores[self.best_index_].std(ddof=1) / np.sqrt(scores.shape[1])
            near = self.mean_scores_ >= self.mean_scores_[self.best_index_] - error
            self.best_index_ = int(np.flatnonzero(near)[0])
        self.alpha_ = float(self.alphas_[self.best_index_])
        self.best_score_ = float(self.mean_scores_[self.best_index_])

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict by the network of the chosen alpha, as `estimator_`."""
        check_is_fitted(self)
        return self.estimator_.predict(X)

    def __sklearn_tags__(self):
        tags, own = super().__sklearn_tags__(), get_tags(checked_estimator(self.estimator, self._default()))
        tags.target_tags, tags.input_tags = own.target_tags, own.input_tags
        tags.regressor_tags, tags.classifier_tags = own.regressor_tags, own.classifier_tags
        return tags


class ConvexReLURegressorCV(RegressorMixin, PathSearch):
    """Regressor whose alpha is chosen by cross-validation along regularization paths.

    In each fold networks are trained from alpha_max downwards, each from the one before, and scored on the samples left
    out. The alpha of the best mean score, or by the rule of one standard error the largest that is as good [1]_, is the
    one of the network trained on all data. A fold with a fraction of the samples has that fraction of each alpha, as
    the loss is a sum over samples.

    References
    ----------
    .. [1] T. Hastie, R. Tibshirani and J. Friedman (2009), The elements of statistical learning, section 7.10.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import ConvexReLURegressorCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 2))
    >>> y = np.abs(X[:, 0]) + 0.1 * rng.standard_normal(60)
    >>> search = ConvexReLURegressorCV(n_alphas=8, eps=1e-3, cv=3, random_state=0).fit(X, y)
    >>> search.alpha_ in search.alphas_, search.score(X, y) > 0.9
    (True, True)
    """

    _default, _is_kind = ConvexReLURegressor, staticmethod(is_regressor)


class ConvexReLUClassifierCV(ClassifierMixin, PathSearch):
    """Classifier whose alpha is chosen by cross-validation along regularization paths.

    As `ConvexReLURegressorCV`: a path for each fold (stratified by class), then the network of the chosen alpha on all
    data.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import ConvexReLUClassifierCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((80, 2))
    >>> y = np.where(np.abs(X).sum(axis=1) > 1.5, "far", "near")
    >>> search = ConvexReLUClassifierCV(scoring="neg_log_loss", n_alphas=6, eps=1e-2, cv=3).fit(X, y)
    >>> search.classes_.tolist(), search.score(X, y) > 0.9
    (['far', 'near'], True)
    """

    classes_: np.ndarray = fitted("ndarray of shape (n_classes,)", "The classes.")

    _default, _is_kind = ConvexReLUClassifier, staticmethod(is_classifier)

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Compute the decision function of `estimator_`: (n_samples,) for two classes, else (n_samples, n_classes)."""
        check_is_fitted(self)
        return self.estimator_.decision_function(X)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Predict the probabilities of the classes (n_samples, n_classes), as `estimator_`."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Predict the logarithms of `predict_proba`."""
        return np.log(self.predict_proba(X))


@dataclass(frozen=True, eq=False)
class Fold:
    """A fold on its regularization path, immutable: `at` returns the fold after the next alpha.

    `model` is prepared on the samples inside, and `training` is its problem, for networks that are only scored.
    `outside` has X, y and weights (or None) of the samples left out; `fraction` of the samples, or of their weight, is
    inside; errors call the fold `name`. `solution` and `score` are those of the last alpha.
    """

    model: ConvexNetworkEstimator
    training: Training
    outside: tuple
    fraction: float
    scoring: str | Callable | None
    name: str
    solution: Solution | None = None
    score: float = np.nan

    @classmethod
    def of(cls, estimator, X, y, weights, split, scoring, tol, name):
        """Return a fold before its first alpha; `split` has the indices of the samples inside and of those left out.

        A classifier knows all classes, some of which the fold may lack. Raises ValueError where no samples of positive
        weight are left to train on, or to score.
        """
        split = [np.arange(_num_samples(X))[part] for part in split]
        if weights is not None:  # a class may have no weight at all
            split = [part[weights[part] > 0] for part in split]
        for part, kind in zip(split, ("training", "test"), strict=True):
            if not len(part):
                raise ValueError(f"cv: {name} has no {kind} samples{'' if weights is None else ' of positive weight'}")
        model = clone(estimator)
        (X_in, X_out), (y_in, y_out), (w_in, w_out) = (
            [None if data is None else _safe_indexing(data, part) for part in split] for data in (X, y, weights)
        )
        fraction = len(split[0]) / _num_samples(X) if weights is None else w_in.sum() / weights.sum()
        training = model._prepare(X_in, y_in, w_in, classes=getattr(estimator, "classes_", None)).for_scores(tol)
        return cls(model, training, (X_out, y_out, w_out), fraction, scoring, name)

    def at(self, alpha, seconds=None):
        """Return the fold after the next alpha, of which it takes its fraction, with its solution and its score.

        `seconds` limits the time, also in another process. Raises ValueError where the scoring fails.
        """
        fitted, solution = within(seconds, fit_next, self.model, self.training, self.fraction * alpha, self.solution)
        X, y, weights = self.outside
        weighted = {} if weights is None else {"sample_weight": weights}
        try:
            with ignoring(UndefinedMetricWarning, UNDEFINED):  # the search says so
                score = _scorer(fitted, self.scoring)(fitted, X, y, **weighted)
        except ValueError as error:
            raise ValueError(f"scoring={self.scoring!r} fails in {self.described}: {error}") from error
        return replace(self, solution=solution, score=float(score))

    @property
    def described(self) -> str:
        """The name, and which classes there are no samples of to score."""
        classes = getattr(self.model, "classes_", ())
        lacking = [repr(label) for label in np.setdiff1d(classes, self.outside[1]).tolist()]
        return f"{self.name}, whose test samples lack class {', '.join(lacking)}" if lacking else self.name


def _scorer(fitted, scoring):
    """Return the scorer of a fitted estimator; one that takes labels is told all classes, as y may lack some."""
    scorer = check_scoring(fitted, scoring)
    function = getattr(scorer, "_score_func", None)  # as sklearn.linear_model.LogisticRegressionCV does
    if function is None or not is_classifier(fitted) or "labels" not in inspect.signature(function).parameters:
        return scorer
    options = {"labels": fitted.classes_} | scorer._kwargs
    return make_scorer(function, greater_is_better=scorer._sign > 0, response_method=scorer._response_method, **options)
