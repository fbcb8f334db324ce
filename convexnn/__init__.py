"""Two-layer ReLU networks trained to global optimality by convex optimisation."""

from .architecture import Architecture
from .network import Network, merge_parallel, recover
from .program import Certificate, Program, Solution, alpha_max, build_program, certify
from .solvers import build_reference_program, solve_reference
from .arrangements import Arrangements, count_arrangements, enumerate_arrangements, sample_arrangements
__version__ = "0.1.0"
