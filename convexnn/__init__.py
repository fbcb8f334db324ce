"""Two-layer ReLU networks trained to global optimality by convex optimisation.

What a user needs is here; what research needs is in `convexnn.geometry`, `.losses`, `.model`, `.pricing`, `.networks`,
`.solvers` and `.special`, figures are in `.plotting`, data in `.datasets`, and training by SGD in `.baselines`.
"""

from . import losses
from .estimators import (
    CircularCNNClassifier,
    CircularCNNRegressor,
    ConvexCNNClassifier,
    ConvexCNNRegressor,
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    PathResult,
    certify,
    regularization_path,
)
from .geometry import Patches
from .model import Architecture, Certificate
from .networks import Explanation, Network, as_network, explain, load, save, to_mlp, to_onnx, to_torch

__version__ = "0.1.0"

__all__ = [
    "Architecture",
    "Certificate",
    "CircularCNNClassifier",
    "CircularCNNRegressor",
    "ConvexCNNClassifier",
    "ConvexCNNRegressor",
    "ConvexReLUClassifier",
    "ConvexReLUClassifierCV",
    "ConvexReLURegressor",
    "ConvexReLURegressorCV",
    "Explanation",
    "Network",
    "Patches",
    "PathResult",
    "as_network",
    "certify",
    "explain",
    "load",
    "losses",
    "regularization_path",
    "save",
    "to_mlp",
    "to_onnx",
    "to_torch",
]
