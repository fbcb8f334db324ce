"""Two-layer ReLU networks trained to global optimality by convex optimisation."""

from .architecture import Architecture
from .arrangements import Arrangements, count_arrangements, enumerate_arrangements, sample_arrangements
from .design import transfer_blocks
from .estimators import ConvexReLURegressor
from .network import Network, merge_parallel, recover
from .program import Certificate, Program, Solution, alpha_max, build_program, certify
from .solvers import ReferenceProgram, build_reference_program, solve_reference, solve_working_set

__version__ = "0.1.0"

__all__ = [
    "Architecture",
    "Arrangements",
    "Certificate",
    "ConvexReLURegressor",
    "Network",
    "Program",
    "ReferenceProgram",
    "Solution",
    "alpha_max",
    "build_program",
    "build_reference_program",
    "certify",
    "count_arrangements",
    "enumerate_arrangements",
    "merge_parallel",
    "recover",
    "sample_arrangements",
    "solve_reference",
    "solve_working_set",
    "transfer_blocks",
]
