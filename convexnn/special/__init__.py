"""Closed and special cases: splines, fixed gates, interpolation, degree two, adversarial training, few features."""

from .adversarial import robust_loss, robust_margin_bound, solve_adversarial
from .features import feature_sparse_network
from .interpolation import minimum_norm_interpolation
from .kernel import gated_kernel, solve_gated_ridge
from .polynomial import solve_polynomial
from .results import SpecialResult
from .spline import solve_spline

__all__ = [
    "SpecialResult",
    "feature_sparse_network",
    "gated_kernel",
    "minimum_norm_interpolation",
    "robust_loss",
    "robust_margin_bound",
    "solve_adversarial",
    "solve_gated_ridge",
    "solve_polynomial",
    "solve_spline",
]
