"""Regression and classification: losses, targets as the losses take them, and predictions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ..losses import make_loss
from ..utils.validation import shown
from .base import ConvexNetworkEstimator
from .parameters import POSITIVE, UNIT, choice, fitted, parameter

__all__ = ["Classification", "Regression"]

# Logarithms of the scales of probabilities that are tried for hinges.
SCALES = (-10.0, 10.0)


class Regression(RegressorMixin, ConvexNetworkEstimator):
    """What the regressors share."""

    loss: str = choice(
        "squared_error",
        ("squared_error", "huber", "quantile", "absolute_error"),
        "1/2 r^2 for the residual r = y - f(x); the same to |r| = `delta` and linear beyond; the pinball loss of "
        "`quantile`; or |r|. With several outputs it is summed over them.",
    )
    delta: float = parameter(1.0, [POSITIVE], "float", "Threshold of the Huber loss, in units of y.")
    quantile: float = parameter(0.5, [UNIT], "float", "The quantile of the quantile loss, in (0, 1).")

    _target_checks: ClassVar[dict] = {"y_numeric": True, "multi_output": True}

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict targets (n_samples,) or (n_samples, n_outputs), in the unit of y."""
        return self._outputs(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _targets(self, y, classes=None):
        """Return the targets (n_samples, n_outputs)."""
        if y.ndim == 2 and y.shape[1] == 1:
            column_or_1d(y, warn=True)
        return y.reshape(len(y), -1)

    def _loss(self, sample_weight=None):
        """Return the loss of the targets."""
        return make_loss(self.loss, sample_weight, delta=self.delta, quantile=self.quantile)


class Classification(ClassifierMixin, ConvexNetworkEstimator):
    """What the classifiers share."""

    loss: str = choice(
        "log_loss",
        ("log_loss", "softmax", "hinge", "squared_hinge"),
        "log(1 + exp(-y f)) for two classes, y = -1 or 1, and softmax for more; the cross entropy of softmax, also for "
        "two classes; (1 - y f)_+; or 1/2 (1 - y f)_+^2. The hinges are for two classes.",
    )

    classes_: np.ndarray = fitted(
        "ndarray of shape (n_classes,)",
        'The classes. The network has one output for two of them, but with loss="softmax" one for each class, and for '
        "more of them one for each class.",
    )
    probability_scale_: float = fitted(
        "float",
        "The factor s of the decision function f in 1 / (1 + exp(-s f)): 1, but for the hinges (`predict_proba`).",
    )

    _target_checks: ClassVar[dict] = {}

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Compute the outputs of the classes (n_samples, n_classes); of two classes one number, above 0 for the second.

        With softmax of two classes that is the difference of the two outputs.
        """
        Z = self._outputs(X)
        return Z[:, 1] - Z[:, 0] if Z.ndim == 2 and Z.shape[1] == 2 else Z

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict classes (n_samples,), those of the largest decision function."""
        values = self.decision_function(X)
        return self.classes_[values.argmax(axis=1) if values.ndim == 2 else (values > 0).astype(int)]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Predict the probabilities of the classes (n_samples, n_classes), in the order of `classes_`.

        Those of the logistic and the softmax loss are the model's own. A hinge has none: there the probability of the
        second class is 1 / (1 + exp(-s f)) for the decision function f and a scale s > 0, `probability_scale_`, that
        maximises the likelihood of the training labels (Platt's smoothed ones, so that s is finite) [1]_. The order
        and the predicted class are those of f; `sklearn.calibration.CalibratedClassifierCV` uses held-out data.

        References
        ----------
        .. [1] J. Platt (1999), Probabilistic outputs for support vector machines, Advances in large margin classifiers.
        """
        values = self.decision_function(X)
        if values.ndim == 2:
            return softmax(values, axis=1)
        values = self.probability_scale_ * values
        return np.column_stack([expit(-values), expit(values)])

    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Predict the logarithms of `predict_proba`."""
        return np.log(self.predict_proba(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = self.loss not in ("hinge", "squared_hinge")
        return tags

    def _targets(self, y, classes=None):
        """Set the classes; return targets -1 and 1, the second class, or indicators of the classes for softmax."""
        check_classification_targets(y)
        self.classes_ = np.unique(y) if classes is None else classes
        index, n_classes = np.searchsorted(self.classes_, y), len(self.classes_)
        if n_classes < 2:
            raise ValueError(
                "y must have at least two classes with positive sample weights; got one class, "
                f"{shown(self.classes_[0])}"
            )
        if self.loss == "softmax" or (self.loss == "log_loss" and n_classes > 2):
            return np.eye(n_classes)[index]
        if n_classes > 2:
            raise ValueError(
                f"Only binary classification is supported for loss={self.loss!r}; got {n_classes} classes. Use "
                'loss="log_loss" (softmax), or sklearn.multiclass.OneVsRestClassifier'
            )
        return np.where(index == 1, 1.0, -1.0)[:, None]

    def _loss(self, sample_weight=None):
        """Return the loss of the targets."""
        several = self.loss == "log_loss" and len(self.classes_) > 2
        return make_loss("softmax" if several else self.loss, sample_weight)

    def _publish(self, training, solution):
        super()._publish(training, solution)
        self.probability_scale_ = 1.0
        if self.loss in ("hinge", "squared_hinge"):
            samples = training.samples
            self.probability_scale_ = _likeliest_scale(
                samples.Y[:, 0], self.network_.predict(samples.X), samples.weights
            )
        return self


def _likeliest_scale(signs, values, weights):
    """Return the s > 0 of the largest likelihood of labels -1 and 1 under 1 / (1 + exp(-s f)), with Platt's targets."""
    weights = np.ones(len(signs)) if weights is None else weights
    counts = weights[signs < 0].sum(), weights[signs > 0].sum()
    target = np.where(signs > 0, (counts[1] + 1) / (counts[1] + 2), 1 / (counts[0] + 2))

    def loss(log_scale):
        z = np.exp(log_scale) * values
        return weights @ (np.logaddexp(0.0, z) - target * z)

    return float(np.exp(minimize_scalar(loss, bounds=SCALES, method="bounded").x))
