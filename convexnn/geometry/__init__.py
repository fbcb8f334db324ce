"""Arrangements of data: activation patterns, sampled or enumerated, of rows, patches and selections of patches.

A pattern is a cell of the hyperplanes x_k.g = 0; projections onto cells are what pricing and solvers do with them.
"""

from .arrangements import Arrangements, count_arrangements, enumerate_arrangements, sample_arrangements
from .faces import boundary_patterns
from .patches import Patches

__all__ = [
    "Arrangements",
    "Patches",
    "boundary_patterns",
    "count_arrangements",
    "enumerate_arrangements",
    "sample_arrangements",
]
