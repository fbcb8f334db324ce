"""Estimators in the manner of scikit-learn: dense, convolutional and circular networks, paths, cross-validation."""

from .certify import certify
from .convolutional import CircularCNNClassifier, CircularCNNRegressor, ConvexCNNClassifier, ConvexCNNRegressor
from .cross_validation import ConvexReLUClassifierCV, ConvexReLURegressorCV
from .dense import ConvexReLUClassifier, ConvexReLURegressor
from .path import PathResult, regularization_path

__all__ = [
    "CircularCNNClassifier",
    "CircularCNNRegressor",
    "ConvexCNNClassifier",
    "ConvexCNNRegressor",
    "ConvexReLUClassifier",
    "ConvexReLUClassifierCV",
    "ConvexReLURegressor",
    "ConvexReLURegressorCV",
    "PathResult",
    "certify",
    "regularization_path",
]
