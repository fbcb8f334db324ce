"""What is solved: a network as a convex program over blocks, and a certificate of a solution.

minimise over W, beta   L(A(W) + F beta) + alpha R(W)   subject to   W_b in K_b
"""

from .architecture import ACTIVATIONS, Activation, Architecture
from .building import build_program
from .certificate import Certificate
from .program import Program, Solution

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Architecture",
    "Certificate",
    "Program",
    "Solution",
    "build_program",
]
