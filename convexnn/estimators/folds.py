"""Folds of a cross-validation: networks trained on some samples and scored on the others, one alpha after the other."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import check_scoring, make_scorer
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from ..model.program import Solution
from ..utils.deadline import within
from ..utils.quiet import ignoring
from .base import ConvexNetworkEstimator
from .path import fit_next
from .training import Training

__all__ = ["Fold"]

# How warnings start of scores that are NaN: R^2 of one sample, ROC AUC of one class.
UNDEFINED = ("R^2 score is not well-defined", "Only one class is present")


@dataclass(frozen=True, eq=False)
class Fold:
    """A fold on its regularization path, immutable: `at` returns the fold after the next alpha.

    `model` is prepared on the samples inside, and `training` is its problem, for networks that are only scored.
    `outside` has X, y and weights (or None) of the samples left out; `share` is the fraction of the samples, or of
    their weight, that is inside; errors call the fold `name`. `solution` and `score` are those of the last alpha.
    """

    model: ConvexNetworkEstimator
    training: Training
    outside: tuple
    share: float
    scoring: str | Callable | None
    name: str
    solution: Solution | None = None
    score: float = np.nan

    @classmethod
    def of(cls, estimator, X, y, weights, split, scoring, tol, name):
        """Return a fold before its first alpha.

        `split` has the indices of the samples inside and of those left out. A classifier knows all classes, some of
        which the fold may lack. Raises ValueError where no samples of positive weight are left to train on, or to
        score.
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
        share = len(split[0]) / _num_samples(X) if weights is None else w_in.sum() / weights.sum()
        known = {"classes": estimator.classes_} if is_classifier(estimator) else {}
        training = model._prepare(X_in, y_in, w_in, **known).for_scores(tol)
        return cls(model, training, (X_out, y_out, w_out), share, scoring, name)

    def at(self, alpha, seconds=None):
        """Return the fold after the next alpha, with its solution and its score.

        alpha is that of all samples, of which the fold takes its share. `seconds` limits the time, also in another
        process. Raises ValueError where the scoring fails.
        """
        fitted, solution = within(seconds, fit_next, self.model, self.training, self.share * alpha, self.solution)
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
