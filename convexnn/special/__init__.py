"""Closed and special cases: splines, fixed gates, interpolation, degree two, adversarial training, few features."""

from .adversarial import solve_adversarial
from .features import FeatureSparseResult, feature_sparse_network
from .interpolation import Interpolation, minimum_norm_interpolation
from .kernel import gated_kernel, solve_gated_ridge
from .polynomial import solve_polynomial
from .spline import solve_spline

__all__ = [
    "FeatureSparseResult",
    "Interpolation",
    "feature_sparse_network",
    "gated_kernel",
    "minimum_norm_interpolation",
    "solve_adversarial",
    "solve_gated_ridge",
    "solve_polynomial",
    "solve_spline",
]
