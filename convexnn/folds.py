"""Folds of a cross-validation: networks trained on some samples and scored on the others, one alpha after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from .base import ConvexNetworkEstimator
from .deadline import within
from .path import fit_next
from .program import Solution
from .training import Training

__all__ = ["Fold"]


@dataclass(frozen=True, eq=False)
class Fold:
    """A fold on its regularization path.

    Parameters
    ----------
    model : estimator
        Prepared on the samples inside.
    training : Training
        Its problem, for networks that are scored only.
    outside : tuple
        X, y and weights (or None) of the samples left out.
    share : float
        The part of the samples, or of their weight, that is inside.
    scoring : str, callable or None
        The score.
    solution : Solution or None, default=None
        That of the last alpha.
    score : float, default=NaN
        Its score.
    """

    model: ConvexNetworkEstimator
    training: Training
    outside: tuple
    share: float
    scoring: str | Callable | None
    solution: Solution | None = None
    score: float = np.nan

    @classmethod
    def of(cls, estimator, X, y, weights, split, scoring, tol):
        """Return a fold before its first alpha.

        Parameters
        ----------
        estimator : estimator
            Says which network is trained.
        X, y, weights
            All samples; weights may be None.
        split : tuple of integer arrays
            The samples inside, and those left out.
        scoring : str, callable or None
            The score.
        tol : float
            As of `Training.for_scores`.

        Returns
        -------
        Fold
            The fold.
        """
        model = clone(estimator)
        (X_in, X_out), (y_in, y_out), (w_in, w_out) = (
            [None if data is None else _safe_indexing(data, part) for part in split] for data in (X, y, weights)
        )
        share = len(split[0]) / _num_samples(X) if weights is None else w_in.sum() / weights.sum()
        training = model._prepare(X_in, y_in, w_in).for_scores(tol)
        return cls(model, training, (X_out, y_out, w_out), share, scoring)

    def at(self, alpha, seconds=None):
        """Return the fold after the next alpha.

        Parameters
        ----------
        alpha : float
            Of all samples; the fold has its share of it.
        seconds : float or None, default=None
            What there is, also in another process.

        Returns
        -------
        Fold
            With the solution and its score.
        """
        fitted, solution = within(seconds, fit_next, self.model, self.training, self.share * alpha, self.solution)
        X, y, weights = self.outside
        weighted = {} if weights is None else {"sample_weight": weights}
        score = check_scoring(fitted, self.scoring)(fitted, X, y, **weighted)
        return replace(self, solution=solution, score=float(score))
