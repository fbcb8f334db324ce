"""Losses with their duals: values, gradients, conjugates, free fits. A loss sees targets and predictions, never X."""

from .base import Loss
from .entropy import Logistic, Softmax
from .piecewise import LOSSES, Absolute, Hinge, Huber, Quantile, Squared, SquaredHinge, make_loss

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
