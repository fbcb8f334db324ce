"""Proof of a lower bound over all activation patterns: kappa(V) bounded by branch and bound.

A dual vector V with kappa(V) <= b gives the lower bound D(t V), t <= alpha / b. So a relative gap of `tol` is proved by
proving kappa(V) <= b for the largest b whose bound is high enough.
"""

from typing import NamedTuple

import numpy as np

from .branch_and_bound import bound_kappa

__all__ = ["Proof", "compile_proof", "prove"]

# Part of tol that is proved, for rounding not to matter.
PROVED_PART = 0.99


class Proof(NamedTuple):
    """What came of an attempt to prove a gap.

    Parameters
    ----------
    lower_bound : float
        A proved lower bound of the optimum over all patterns.
    gap : float
        The relative gap to it.
    directions : ndarray of shape (n_points, n_features)
        Points that refute what was to be proved, none where it was not refuted.
    signs : ndarray of shape (n_points,)
        Their signs.
    """

    lower_bound: float
    gap: float
    directions: np.ndarray
    signs: np.ndarray


def prove(program, V, objective, tol, starts=None, time_limit=None, max_nodes=None):
    """Try to prove that an objective is within a relative gap of the optimum over all patterns.

    Parameters
    ----------
    program : Program
        Gives data, loss and alpha; its patterns are not used.
    V : ndarray of shape (n_samples, 1)
        A dual vector, orthogonal to the free columns.
    objective : float
        The objective.
    tol : float
        The relative gap to prove.
    starts : ndarray of shape (n_starts, n_features) or None, default=None
        Directions where kappa may be attained.
    time_limit : float or None, default=None
        Limit in seconds.
    max_nodes : int or None, default=None
        Limit of the nodes of branch and bound.

    Returns
    -------
    Proof
        The bound, valid whether or not the gap was reached, or refuting points.
    """
    largest = largest_norm(program, V, (1 - PROVED_PART * tol) * objective)
    starts = starts if starts is not None and len(starts) else None
    result = bound_kappa(
        program.design.X, V[:, 0], largest, starts=starts, time_limit=time_limit, max_nodes=max_nodes
    )
    bound = program.dual_value(V, max(result.upper, program.alpha))
    points = result.points if result.status == "refuted" else result.points[:0]
    gap = abs(objective - bound) / max(objective, np.finfo(float).tiny)
    return Proof(bound, gap, points[:, :-1], points[:, -1])


def largest_norm(program, V, value):
    """Return the largest b with D(t V) >= value for a t <= alpha / b, alpha where there is none."""
    low, high = program.alpha, program.alpha
    if program.dual_value(V, low) < value:
        return low
    while program.dual_value(V, high) >= value and high < 1e6 * program.alpha:
        high *= 2.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if program.dual_value(V, middle) >= value else (low, middle)
    return low


def compile_proof():
    """Compile the kernels, or load them where they were compiled before."""
    bound_kappa(np.eye(2), np.array([1.0, -1.0]), 2.0)
