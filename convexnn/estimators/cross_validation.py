"""Cross-validation of alpha: a regularization path for each fold, then the network of the best alpha on all data.

Networks of folds are only scored: where patterns are generated, descent in neuron space does that in a small part of
the time. The network on all data starts from such a path too, and is trained to the optimum, and certified: where a
time limit ends that, it is no worse than those of the folds.

The loss is a sum over samples. So that loss and weight decay keep their ratio, a fold with a part of the samples (of
their weight) is trained at that part of each alpha.

References
----------
T. Hastie, R. Tibshirani and J. Friedman (2009), The elements of statistical learning, section 7.10: the rule of one
standard error.
"""

from collections.abc import Callable
from copy import copy
from numbers import Integral, Real
from typing import Any, ClassVar, Self

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
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import check_cv
from sklearn.utils import get_tags, indexable
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from ..model.summary import Status
from ..utils.deadline import (
    despite_interrupt,
    end_now,
    go_on,
    interrupted,
    is_up,
    plain_interrupts,
    remaining,
    until_up,
    within,
)
from ..utils.progress import Progress
from ..utils.quiet import ignoring, warn
from .base import TrainedModel, checked_estimator
from .classifiers import ConvexReLUClassifier
from .dense import ConvexReLURegressor
from .folds import Fold

__all__ = ["ConvexReLUClassifierCV", "ConvexReLURegressorCV"]


# Parts of the time that is left, for the folds, and for the path on all data that leads to the network.
FOLDS_PART, START_PART = 0.5, 0.3
# What a search takes over from the estimator of the chosen alpha.
PUBLISHED = ("n_features_in_", "feature_names_in_", "classes_", "network_", "certificate_", "n_neurons_", "alpha_max_")


class _PathSearch(TrainedModel, MetaEstimatorMixin, BaseEstimator):
    """What both searches share; `_default` is the estimator that None stands for."""

    _parameter_constraints: ClassVar[dict] = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "alphas": ["array-like", None],
        "n_alphas": [Interval(Integral, 1, None, closed="left")],
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "cv": ["cv_object"],
        "scoring": [str, callable, None],
        "rule": [StrOptions({"best", "one_standard_error"})],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), None],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator: BaseEstimator | None = None,
        *,
        alphas: ArrayLike | None = None,
        n_alphas: int = 20,
        eps: float = 1e-4,
        cv: Any = 5,
        scoring: str | Callable | None = None,
        rule: str = "best",
        tol: float = 1e-2,
        n_iter_no_change: int | None = 4,
        n_jobs: int | None = None,
        verbose: int | bool = 0,
    ):
        self.estimator = estimator
        self.alphas = alphas
        self.n_alphas = n_alphas
        self.eps = eps
        self.cv = cv
        self.scoring = scoring
        self.rule = rule
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.n_jobs = n_jobs
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Choose alpha by cross-validation, and train the network of this alpha on all data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, or classes.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Sample weights, for training and for scores.

        Returns
        -------
        estimator
            The fitted search.

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data are not as described.

        Warns
        -----
        ConvergenceWarning
            If the network on all data does not reach the `tol` of `estimator`.
        """
        estimator = clone(checked_estimator(self.estimator, self._default()))
        self._check_kind(estimator)
        estimator._validate_params()
        # on a copy: what ends a search before it is done leaves this one as it was
        self.__dict__ = vars(within(estimator.time_limit, copy(self)._search, estimator, X, y, sample_weight))
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
        self.scores_ = within(FOLDS_PART * remaining(), self._follow, folds)
        go_on()  # Ctrl-C ended the search alone
        self._choose(folds)
        self.estimator_ = estimator.set_params(alpha=float(self.alpha_))
        start = within(START_PART * remaining(), self._start, training)
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
        scores, means = np.full((len(self.alphas_), len(folds)), np.nan), []
        with Progress(self.verbose, total=len(self.alphas_), description="alpha") as progress:
            for k, alpha in enumerate(self.alphas_):
                try:
                    with plain_interrupts():
                        parallel, seconds = Parallel(n_jobs=self.n_jobs), remaining()
                        folds = parallel(delayed(Fold.at)(fold, alpha, seconds) for fold in folds)
                except KeyboardInterrupt:  # outside the solver
                    if k == 0:
                        raise
                    end_now()
                stopped = Status.TIME_LIMIT if is_up() else None
                if interrupted() or any(fold.solution.interrupted for fold in folds):
                    stopped = Status.INTERRUPTED
                if not stopped or k == 0:  # scores of networks cut short say nothing of their alpha
                    scores[k] = [fold.score for fold in folds]
                    means.append(scores[k].mean())
                    progress.update({"alpha": alpha, "score": means[-1]})
                best = int(np.argmax(np.nan_to_num(means, nan=-np.inf)))
                late = self.n_iter_no_change is not None and k - best >= self.n_iter_no_change
                if stopped:
                    left = f"the search was {stopped} after {max(k, 1)} of {len(self.alphas_)} alphas"
                    warn(f"{left}; the best of these is taken", ConvergenceWarning)
                if stopped or late:
                    break
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
        """Predict by the network of the chosen alpha.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        return self.estimator_.predict(X)

    def __sklearn_tags__(self):
        tags, own = super().__sklearn_tags__(), get_tags(checked_estimator(self.estimator, self._default()))
        tags.target_tags, tags.input_tags = own.target_tags, own.input_tags
        tags.regressor_tags, tags.classifier_tags = own.regressor_tags, own.classifier_tags
        return tags


class ConvexReLURegressorCV(RegressorMixin, _PathSearch):
    """Regressor whose alpha is chosen by cross-validation along regularization paths.

    In each fold networks are trained from alpha_max downwards, each from the one before, and scored on the samples left
    out. The alpha of the best mean score, or by the rule of one standard error the largest that is as good [1]_, is the
    one of the network trained on all data. A fold with a part of the samples has that part of each alpha, as the loss
    is a sum over samples.

    Parameters
    ----------
    estimator : estimator or None, default=None
        Which network is trained, and how: a regressor of this package, whose `alpha` does not matter. None is
        `ConvexReLURegressor()`. Its `time_limit` is for the whole search: half of it for the folds, of which the alphas
        that are reached are compared, and what is left for the network on all data.
    alphas : array-like of shape (n_alphas,) or None, default=None
        Regularisation strengths to choose from. None are `n_alphas` from alpha_max to eps alpha_max, evenly spaced in
        the logarithm.
    n_alphas : int, default=20
        Number of alphas, where `alphas` is None.
    eps : float, default=1e-4
        The smallest alpha as a part of alpha_max, where `alphas` is None.
    cv : int, splitter or iterable, default=5
        As in `sklearn.model_selection.GridSearchCV`.
    scoring : str, callable or None, default=None
        A scorer of scikit-learn; None is R^2.
    rule : {"best", "one_standard_error"}, default="best"
        The alpha of the best mean score; or the largest alpha whose mean score is within one standard error of it.
    tol : float, default=1e-2
        Accuracy of the networks of the folds, which are only scored: where patterns are generated they are trained by
        descent alone, without a bound, to a relative decrease of a small part of `tol`; else to this relative gap.
        The network on all data has a certificate, to the `tol` of `estimator`.
    n_iter_no_change : int or None, default=4
        The search ends when that many alphas have brought no better mean score: small alphas take longest. None goes on
        to the smallest alpha.
    n_jobs : int or None, default=None
        Folds at a time, in processes of their own; -1 is one for each processor.
    verbose : int or bool, default=0
        1 shows the folds that are done, 2 a line for each.

    Attributes
    ----------
    alpha_ : float
        The alpha chosen.
    alphas_ : ndarray of shape (n_alphas,)
        The alphas tried, falling.
    scores_ : ndarray of shape (n_alphas, n_folds)
        Scores on the samples left out; NaN at alphas that were not reached.
    mean_scores_, std_scores_ : ndarray of shape (n_alphas,)
        Their means and standard deviations over the folds.
    best_index_, best_score_ : int, float
        Place of `alpha_` in `alphas_`, and its mean score.
    estimator_ : estimator
        The network on all data, a fitted `estimator`; its network_, certificate_, n_neurons_ and alpha_max_ are those
        of the search, too.
    n_features_in_, feature_names_in_
        As in `ConvexReLURegressor`.

    References
    ----------
    .. [1] T. Hastie, R. Tibshirani and J. Friedman (2009), The elements of statistical learning, section 7.10.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import ConvexReLURegressor, ConvexReLURegressorCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 2))
    >>> y = np.abs(X[:, 0]) + 0.1 * rng.standard_normal(60)
    >>> search = ConvexReLURegressorCV(ConvexReLURegressor(random_state=0), n_alphas=8, eps=1e-3, cv=3).fit(X, y)
    >>> search.alpha_ in search.alphas_, search.score(X, y) > 0.9
    (True, True)
    """

    _default = ConvexReLURegressor

    def _check_kind(self, estimator):
        if not is_regressor(estimator):
            raise TypeError(f"estimator must be a regressor; got {estimator!r}: use ConvexReLUClassifierCV")


class ConvexReLUClassifierCV(ClassifierMixin, _PathSearch):
    """Classifier whose alpha is chosen by cross-validation along regularization paths.

    As `ConvexReLURegressorCV`: a path for each fold (stratified by class), then the network of the chosen alpha on all
    data.

    Parameters
    ----------
    estimator : estimator or None, default=None
        A classifier of this package, whose `alpha` does not matter. None is `ConvexReLUClassifier()`.
    alphas, n_alphas, eps, cv
        As in `ConvexReLURegressorCV`.
    scoring : str, callable or None, default=None
        A scorer of scikit-learn, such as "neg_log_loss"; None is the accuracy.
    rule, tol, n_iter_no_change, n_jobs, verbose
        As in `ConvexReLURegressorCV`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    alpha_, alphas_, scores_, mean_scores_, std_scores_, best_index_, best_score_, estimator_, and others
        As in `ConvexReLURegressorCV`.

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

    _default = ConvexReLUClassifier

    def _check_kind(self, estimator):
        if not is_classifier(estimator):
            raise TypeError(f"estimator must be a classifier; got {estimator!r}: use ConvexReLURegressorCV")

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Compute what the network predicts.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,) for two classes, else (n_samples, n_classes)
            As in `ConvexReLUClassifier`.
        """
        check_is_fitted(self)
        return self.estimator_.decision_function(X)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            As in `ConvexReLUClassifier`.
        """
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Predict the logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Those of `predict_proba`.
        """
        return np.log(self.predict_proba(X))
