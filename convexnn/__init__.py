"""Two-layer ReLU networks trained to global optimality by convex optimisation."""

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
from .geometry import Arrangements, count_arrangements, enumerate_arrangements, sample_arrangements
from .model import Architecture, Certificate, Program, Solution, build_program
from .networks import (
    Explanation,
    Network,
    as_network,
    explain,
    load,
    merge_parallel,
    minimal_network,
    recover,
    save,
    to_mlp,
    to_onnx,
    to_torch,
)
from .pricing import alpha_max
from .solvers import ReferenceProgram, build_reference_program, solve_generation, solve_reference, solve_working_set
from .special import FeatureSparseResult, Interpolation, feature_sparse_network, minimum_norm_interpolation

__version__ = "0.1.0"

__all__ = [
    "Architecture",
    "Arrangements",
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
    "FeatureSparseResult",
    "Interpolation",
    "Network",
    "PathResult",
    "Program",
    "ReferenceProgram",
    "Solution",
    "alpha_max",
    "as_network",
    "build_program",
    "build_reference_program",
    "certify",
    "count_arrangements",
    "enumerate_arrangements",
    "explain",
    "feature_sparse_network",
    "load",
    "merge_parallel",
    "minimal_network",
    "minimum_norm_interpolation",
    "recover",
    "regularization_path",
    "sample_arrangements",
    "save",
    "solve_generation",
    "solve_reference",
    "solve_working_set",
    "to_mlp",
    "to_onnx",
    "to_torch",
]
