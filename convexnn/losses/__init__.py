"""Losses with their duals: values, gradients, conjugates, free fits. A loss sees targets and predictions, never X."""

from .base import Loss
from .by_name import LOSSES, make_loss
from .classification import Hinge, Logistic, Softmax, SquaredHinge
from .regression import Absolute, Huber, Quantile, Squared

__all__ = [
    "LOSSES",
    "Absolute",
    "Hinge",
    "Huber",
    "Logistic",
    "Loss",
    "Quantile",
    "Softmax",
    "Squared",
    "SquaredHinge",
    "make_loss",
]
