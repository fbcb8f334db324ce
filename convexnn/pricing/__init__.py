"""Pricing: given a dual vector V, which cells have |Proj_K(X'D V)| > alpha, and what is kappa(V) at most.

Answers from given cells, from search over all, and from branch and bound, which proves them.
"""

from .alpha_max import AlphaMax, alpha_max
from .branch_and_bound import KappaBound, bound_kappa
from .kappa import kappa

__all__ = [
    "AlphaMax",
    "KappaBound",
    "alpha_max",
    "bound_kappa",
    "kappa",
]
