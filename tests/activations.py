"""Solutions of every activation."""

import numpy as np

from convexnn.model import build_program
from convexnn.solvers import solve_generation, solve_working_set

ACTIVATIONS = {
    "relu": {},
    "leaky": {"activation": "leaky_relu", "negative_slope": 0.3},
    "bent": {"activation": "leaky_relu", "negative_slope": -0.4},
    "steep": {"activation": "leaky_relu", "negative_slope": -2.5},
    "abs": {"activation": "abs"},
}


def program_of(X, y, alpha, architecture, loss=None, arrangements="all"):
    return build_program(np.array(X, float), np.array(y, float), alpha, arrangements, architecture, loss=loss)


def solved(X, y, alpha, architecture, loss=None, tol=1e-9):
    """The solutions of the engine over all patterns and, where patterns are those of weights, of generation."""
    solutions = [solve_working_set(program_of(X, y, alpha, architecture, loss), tol=tol)]
    if architecture.constrained:
        adaptive = program_of(X, y, alpha, architecture, loss, "adaptive")
        solutions.append(solve_generation(adaptive, tol=tol, random_state=0))
    return solutions
