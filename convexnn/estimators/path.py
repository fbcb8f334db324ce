"""Regularization paths: networks for many alphas, each started from the one before, with certificates.

From alpha_max, where no neuron is active, alpha goes down. The network of one alpha is the start at the next one, as
are its patterns, to which generation adds. Along a path of optima

    p*(alpha) = min L(Z) + alpha R    is increasing and concave,    R(alpha) does not increase,    dp*/dalpha = R.

References
----------
J. Friedman, T. Hastie and R. Tibshirani (2010), Regularization paths for generalized linear models via coordinate
descent. Journal of Statistical Software 33.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.utils import assert_all_finite

from ..model.certificate import Certificate
from ..model.program import Solution
from ..model.summary import Status
from ..utils.deadline import despite_interrupt, end_now, interrupted, is_up, plain_interrupts, remaining, within
from ..utils.progress import Progress
from ..utils.quiet import ignoring, warn
from ..utils.validation import check_numeric, check_positive
from .base import ConvexNetworkEstimator
from .dense import ConvexReLURegressor
from .inputs import refuse_text
from .training import Training

if TYPE_CHECKING:
    from ..plotting import RegularizationPathDisplay

__all__ = ["PathResult", "checked_estimator", "fit_next", "follow", "regularization_path"]

# Seconds that an alpha has at least, so that the first one has a network.
LEAST_SECONDS = 0.01


@dataclass(frozen=True, eq=False)
class PathResult:
    """Networks along a regularization path.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        Regularisation strengths, falling. Fewer than asked for where the path was stopped.
    estimators : tuple of estimators
        The fitted estimator of each alpha.
    train_scores : ndarray of shape (n_alphas,)
        Scores on the training data.
    validation_scores : ndarray of shape (n_alphas,) or None
        Scores on the validation data; None without them.
    scoring : str
        What the scores are, such as "r2" or "accuracy".
    times : ndarray of shape (n_alphas,)
        Seconds from the start to the end of each alpha.
    alpha_max : float
        Smallest alpha at which no neuron is active, as far as search finds it.
    status : str
        "complete", or what stopped the path before its last alpha.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import regularization_path
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> path = regularization_path(x, np.abs(x).ravel(), n_alphas=5)
    >>> path.n_neurons[0], path.gaps.max() < 1e-4, path.train_scores[-1].round(2)
    (np.int64(0), np.True_, np.float64(1.0))
    >>> bool(np.all(np.diff(path.regularizers) > -1e-6))
    True
    """

    alphas: np.ndarray
    estimators: tuple
    train_scores: np.ndarray
    validation_scores: np.ndarray | None
    scoring: str
    times: np.ndarray
    alpha_max: float
    status: str = Status.COMPLETE

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The certificate of each network."""
        return tuple(model.certificate_ for model in self.estimators)

    @property
    def networks(self) -> tuple:
        """The networks."""
        return tuple(model.network_ for model in self.estimators)

    @property
    def objectives(self) -> np.ndarray:
        """Training objectives, upper bounds of p*(alpha), shape (n_alphas,)."""
        return np.array([certificate.objective for certificate in self.certificates])

    @property
    def lower_bounds(self) -> np.ndarray:
        """Lower bounds of p*(alpha), of the kind that `scopes` says, shape (n_alphas,)."""
        return np.array([certificate.lower_bound for certificate in self.certificates])

    @property
    def gaps(self) -> np.ndarray:
        """Relative gaps, shape (n_alphas,)."""
        return np.array([certificate.gap for certificate in self.certificates])

    @property
    def scopes(self) -> tuple[str, ...]:
        """What each certificate proves: "sampled", "local" or "global"."""
        return tuple(certificate.scope for certificate in self.certificates)

    @property
    def n_neurons(self) -> np.ndarray:
        """Numbers of neurons, shape (n_alphas,)."""
        return np.array([network.n_neurons for network in self.networks])

    @property
    def regularizers(self) -> np.ndarray:
        """The weight decay R(alpha) of each network, sum_j |w_j| |a_j| at an optimum, shape (n_alphas,)."""
        return np.array([network.weight_decay() for network in self.networks])

    def best(self) -> ConvexNetworkEstimator:
        """Return the fitted estimator of the best validation score, that of the larger alpha where two are equal.

        Raises ValueError if the path has no validation scores, or all are NaN, as R^2 is of one sample.
        """
        if self.validation_scores is None:
            raise ValueError("best needs validation scores: give X_val and y_val to regularization_path")
        if np.isnan(self.validation_scores).all():
            raise ValueError(f"best needs validation data that {self.scoring!r} can score; all scores are NaN")
        return self.estimators[int(np.nanargmax(self.validation_scores))]

    def plot(self, ax: Any = None, **options: Any) -> RegularizationPathDisplay:
        """Draw the path, with the options of `convexnn.plotting.RegularizationPathDisplay.from_path`."""
        from ..plotting import RegularizationPathDisplay

        return RegularizationPathDisplay.from_path(self, ax=ax, **options)


def regularization_path(
    X: ArrayLike,
    y: ArrayLike,
    *,
    estimator: ConvexNetworkEstimator | None = None,
    alphas: ArrayLike | None = None,
    n_alphas: int = 50,
    eps: float = 1e-3,
    sample_weight: ArrayLike | None = None,
    X_val: ArrayLike | None = None,
    y_val: ArrayLike | None = None,
    scoring: str | Callable | None = None,
    time_limit: float | None = None,
    callback: Callable | None = None,
    verbose: int | bool = 0,
) -> PathResult:
    """Train networks along a path of alphas, each from the one before.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Inputs.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets, or classes.
    estimator : estimator or None, default=None
        Says which network is trained, and how: any regressor or classifier of this package, whose `alpha` does not
        matter. None is `ConvexReLURegressor()`.
    alphas : array-like of shape (n_alphas,) or None, default=None
        Regularisation strengths, above 0, in any order. None are `n_alphas` from alpha_max to eps alpha_max, evenly
        spaced in the logarithm.
    n_alphas : int, default=50
        Number of alphas, where `alphas` is None.
    eps : float, default=1e-3
        The smallest alpha as a part of alpha_max, below 1, where `alphas` is None.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Sample weights, as of `fit`.
    X_val, y_val : array-like or None, default=None
        Validation data, which are scored, not trained on.
    scoring : str, callable or None, default=None
        A scorer of scikit-learn; None is the estimator's own, R^2 or the accuracy.
    time_limit : float or None, default=None
        Limit of the whole path in seconds: the alpha that reaches it is the last one, and the first is always there.
        `time_limit` of the estimator is for one alpha.
    callback : callable or None, default=None
        Called with a record of each alpha: alpha, time (s), objective, lower_bound, gap, scope, n_neurons, and scores;
        a true value ends the path.
    verbose : int or bool, default=0
        1 shows one live line, 2 a line for each alpha.

    Returns
    -------
    PathResult
        The networks, their certificates and scores. Ctrl-C keeps those that are done.

    Raises
    ------
    TypeError, ValueError
        If an argument or the data are not as described.

    Warns
    -----
    ConvergenceWarning
        Once, if relative gaps stay above the estimator's `tol`, or the path was stopped.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import ConvexReLURegressor, regularization_path
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((40, 2))
    >>> y = np.maximum(X[:, 0], 0) + 0.1 * rng.standard_normal(40)
    >>> path = regularization_path(
    ...     X[:30], y[:30], X_val=X[30:], y_val=y[30:], estimator=ConvexReLURegressor(random_state=0), n_alphas=8
    ... )
    >>> path.best().alpha_ in path.alphas
    True
    """
    estimator = clone(checked_estimator(estimator, ConvexReLURegressor()))
    if (X_val is None) != (y_val is None):
        raise ValueError("X_val and y_val must be given together, or neither")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable or None; got {callback!r}")
    time_limit = None if time_limit is None else check_positive("time_limit", time_limit)
    check_numeric("X_val", X_val)
    check_numeric("y_val", y_val, dates=True)
    if y_val is not None and not is_classifier(estimator):
        refuse_text("y_val", y_val)
        assert_all_finite(y_val, input_name="y_val")
    scorer = check_scoring(estimator, scoring)
    own = "accuracy" if is_classifier(estimator) else "r2"
    estimator._validate_params()
    name = scoring if isinstance(scoring, str) else own if scoring is None else getattr(scoring, "__name__", "score")
    data, held_out = (X, y, sample_weight), None if X_val is None else (X_val, y_val)
    grid = {"alphas": alphas, "n_alphas": n_alphas, "eps": eps}
    steps, n_wanted, largest, status = within(
        time_limit, _follow, estimator, data, held_out, scorer, grid, time_limit, callback, verbose
    )
    models, times, scores = zip(*steps, strict=True)
    _warn(models, n_wanted, status)
    train, *validation = np.array(scores).T
    return PathResult(
        np.array([model.alpha_ for model in models]),
        models,
        train,
        validation[0] if validation else None,
        name,
        np.array(times),
        largest,
        status,
    )


def _follow(estimator, data, held_out, scorer, grid, time_limit, callback, verbose):
    """Return (estimator, seconds, scores) of each alpha, the number of alphas wanted, alpha_max, and the status."""
    start, (X, y, sample_weight) = time.perf_counter(), data
    training = estimator._prepare(X, y, sample_weight)
    wanted = training.grid(**grid)
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    steps, status, solution = [], Status.COMPLETE, None

    def step(alpha):
        nonlocal solution
        limited = training if time_limit is None else training.within(max(remaining(), LEAST_SECONDS))
        model, solution = fit_next(estimator, limited, alpha, solution)
        seconds, scores = time.perf_counter() - start, [scorer(model, X, y, **weights)]
        return model, seconds, scores if held_out is None else [*scores, scorer(model, *held_out)]

    with Progress(verbose, total=len(wanted), description="alpha") as progress:
        for reached in follow(wanted, step):
            steps.append(reached)
            record = _record(*reached)
            progress.update(record)
            if callback is not None and callback(record):
                status = Status.CALLBACK
                break
    if status is Status.COMPLETE and interrupted():  # in a search for alpha_max too
        status = Status.INTERRUPTED
    elif len(steps) < len(wanted) and status is Status.COMPLETE:
        status = Status.TIME_LIMIT
    return steps, len(wanted), training.alpha_max, status


def follow(alphas: ArrayLike, step: Callable) -> Iterator:
    """Yield step(alpha) of one alpha after the other, at least of the first, until the time of the call is up.

    Ctrl-C outside of the solver, which ends it by itself, is the end too.
    """
    for k, alpha in enumerate(alphas):
        if k and is_up():
            return
        try:
            with plain_interrupts():
                reached = step(alpha)
        except KeyboardInterrupt:
            if not k:
                raise
            end_now()
            return
        yield reached


def fit_next(
    estimator: ConvexNetworkEstimator, training: Training, alpha: float, start: Solution | None
) -> tuple[ConvexNetworkEstimator, Solution]:
    """Fit a copy of a prepared estimator at the next alpha of a path; return it and its solution.

    `start` is the solution before, or None; the estimator itself stays unfitted.
    """
    with ignoring(ConvergenceWarning):
        solution = training.solve(float(alpha), start)
    model = copy(estimator)
    model.alpha = float(alpha)
    return despite_interrupt(model._publish, training, solution), solution


def checked_estimator(estimator: Any, default: ConvexNetworkEstimator) -> ConvexNetworkEstimator:
    """Return an estimator of this package, or the default for None; raise TypeError for anything else (a class too)."""
    if estimator is None:
        return default
    if not isinstance(estimator, ConvexNetworkEstimator):
        raise TypeError(
            "estimator must be a regressor or classifier of convexnn, such as ConvexReLURegressor(), or None; got "
            f"{estimator!r}"
        )
    return estimator


def _record(model, seconds, scores):
    """Return the record of a fitted estimator of a path."""
    record = {"alpha": model.alpha_, "time": seconds, "n_neurons": model.n_neurons_}
    for name in ("objective", "lower_bound", "gap", "scope", "provisional"):
        record[name] = getattr(model.certificate_, name)
    return record | dict(zip(("train_score", "validation_score"), scores, strict=False))


def _warn(models, n_alphas, status):
    """Warn once of gaps that are not reached, and of a path that was stopped."""
    late = [model for model in models if not model.certificate_.reaches(model.tol)]
    parts = []
    if late:
        worst = max(late, key=lambda model: model.certificate_.gap)
        parts.append(
            f"{len(late)} of {len(models)} networks have a relative gap above tol={worst.tol:g}; the largest is "
            f"{worst.certificate_.gap:.1e}, at alpha={worst.alpha_:.4g} ({worst.status_})"
        )
    if status is not Status.COMPLETE:
        parts.append(f"the path was {status} after {len(models)} of {n_alphas} alphas; these are kept")
    if parts:
        warn("; ".join(parts), ConvergenceWarning)
