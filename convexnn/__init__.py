"""Two-layer ReLU networks trained to global optimality by convex optimisation."""

from .alpha_max import alpha_max
from .architecture import Architecture
from .arrangements import Arrangements, count_arrangements, enumerate_arrangements, sample_arrangements
from .building import build_program
from .certificate import Certificate
from .certification import certify
from .circular_estimators import CircularCNNClassifier, CircularCNNRegressor
from .classifiers import ConvexReLUClassifier
from .conv_estimators import ConvexCNNClassifier, ConvexCNNRegressor
from .conversion import as_network
from .design import transfer_blocks
from .estimators import ConvexReLURegressor
from .explanation import Explanation, explain
from .export import to_mlp, to_onnx, to_torch
from .features import FeatureSparseResult, feature_sparse_network
from .interpolation import Interpolation, minimum_norm_interpolation
from .minimal import minimal_network
from .model_selection import ConvexReLUClassifierCV, ConvexReLURegressorCV
from .network import Network, merge_parallel
from .path import PathResult, regularization_path
from .persistence import load, save
from .program import Program, Solution
from .recovery import recover
from .solvers import ReferenceProgram, build_reference_program, solve_generation, solve_reference, solve_working_set

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
    "transfer_blocks",
]
