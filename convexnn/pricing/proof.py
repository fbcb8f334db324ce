"""Proof of a lower bound over all activation patterns, from a proved upper bound of kappa(V).

A dual vector V with kappa(V) <= b gives the lower bound D(t V), t <= alpha / b. So a relative gap of `tol` is proved by
proving kappa(V) <= b for the largest b whose bound is high enough: by enumeration where there are few cells, else by
branch and bound.
"""

import time
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..geometry.arrangements import count_arrangements
from ..geometry.enumeration import distinct_walls
from ..model.summary import Status
from .branch_and_bound import KappaBound, bound_kappa, node_seconds
from .cells import EnumeratedCells

__all__ = ["Proof", "Prover"]

# Part of tol that is proved, for rounding not to matter.
PROVED_PART = 0.99
# Cells up to which they are enumerated first, and where branch and bound fails in the time that it takes.
FEW_CELLS, MANY_CELLS = 2_000, 500_000
# Relative distance of the bounds of kappa at which there is nothing left to find.
FINISHED_TOL = 1e-8
# Seconds that enumeration takes for a cell, about.
CELL_SECONDS = 2e-5


class Proof(NamedTuple):
    """What came of an attempt to prove a gap.

    `kappa` is a proved upper bound of kappa(V) over all patterns, of the whole data where the program neglects a part.
    `complete`: the gap was proved, but for what the program neglects, and rounding. `directions` (n_points, n_features)
    and `signs` refute, for the output `output`, what was to be proved; there are none where it was not refuted.
    `status` is that of branch and bound.
    """

    kappa: float
    complete: bool
    directions: np.ndarray
    signs: np.ndarray
    status: str
    output: int = 0


class Prover:
    """Proofs for a program, whose patterns are not used; cells are enumerated once."""

    def __init__(self, program):
        self.program = program

    def bound(self, V, threshold, *, starts=None, time_limit=None, max_nodes=None, refute=True):
        """Bound kappa(V), V (n_samples, 1), by enumeration or by branch and bound, as `bound_kappa` does."""
        enumeration = CELL_SECONDS * min(self.n_cells, MANY_CELLS + 1)  # what it takes, about
        if self.n_cells <= FEW_CELLS:
            result = self._enumerated(V, threshold)
            if result is not None:
                return result
        can_enumerate = self.n_cells <= MANY_CELLS and (time_limit is None or 3 * enumeration < time_limit)
        can_enumerate &= max_nodes is None or self.nodes_in(3 * enumeration) < max_nodes
        limits = {"time_limit": time_limit, "max_nodes": self.nodes_in(enumeration) if can_enumerate else max_nodes}
        starts = starts if starts is not None and len(starts) else None
        rows, weights = self._rows(V)
        result = bound_kappa(rows, weights, threshold, starts=starts, refute=refute, **limits)
        # a search for the best bound may end by its limit after a refutation
        open_end = not refute and result.upper > (1 + FINISHED_TOL) * max(threshold, result.lower)
        stopped = result.status not in (Status.PROVED, Status.REFUTED, Status.INTERRUPTED) or open_end
        if stopped and result.status is not Status.INTERRUPTED and can_enumerate:
            result = self._enumerated(V, threshold) or result
        return result

    def prove(self, V, objective, tol, *, starts=None, time_limit=None, max_nodes=None, refute=True):
        """Try to prove that an objective is within a relative gap `tol` of the optimum over all patterns.

        The columns of V must be orthogonal to the free columns; `starts` has for each of them directions (n_starts,
        n_features) where kappa may be attained. The bound of the Proof is valid whether or not the gap was reached.
        With `refute` the attempt ends where the gap is refuted, else it seeks the best bound; `time_limit` is in
        seconds, for all outputs.
        """
        program = self.program
        largest = _largest_norm(program, V, (1 - PROVED_PART * tol) * objective)
        end = None if time_limit is None else time.perf_counter() + time_limit
        upper, points = 0.0, np.zeros((0, program.design.X.shape[1] + 1))
        for c in range(V.shape[1]):  # kappa is the largest of the outputs'
            left = None if end is None else max(end - time.perf_counter(), 0.01) / (V.shape[1] - c)
            own = None if starts is None else starts[c]
            result = self.bound(V[:, [c]], largest, starts=own, refute=refute, time_limit=left, max_nodes=max_nodes)
            upper, status = max(upper, result.upper), result.status
            if result.status is Status.REFUTED:
                points = result.points
            if upper > largest and refute:  # nothing more to prove
                upper = max(upper, *(program.free_kappa(v[:, None]) for v in V[:, c + 1 :].T), 0.0)
                break
        kappa = max(upper, program.alpha) + program.dual_neglected(V) + program.dual_rounding(V)
        return Proof(kappa, upper <= largest, points[:, :-1], points[:, -1], status, c)

    def nodes_in(self, seconds):
        """Return how many nodes of branch and bound take so many seconds, about, by a count of the work."""
        return max(1, int(seconds / node_seconds(*self.program.design.X.shape)))

    @cached_property
    def n_cells(self):
        """Largest number of cells that the rows can have."""
        return count_arrangements(*distinct_walls(self.program.design.X).rows.shape)

    @cached_property
    def cells(self):
        """All cells, None where rounding could hide some."""
        return EnumeratedCells.of(self.program.design, MANY_CELLS)

    def _rows(self, V):
        """Return rows and weights with h(u) = w'(Xu)_+: l'u = (l'u)_+ - (-l'u)_+ takes two more rows."""
        design = self.program.design
        weights, linear = design.response(V[:, 0])
        if not linear.any():
            return design.X, weights
        size = np.linalg.norm(linear) / (np.linalg.norm(design.X) / np.sqrt(len(design.X)))
        return np.vstack([design.X, linear / size, -linear / size]), np.append(weights, [size, -size])

    def _enumerated(self, V, threshold):
        """Return the KappaBound by enumeration, None where that proves nothing."""
        cells = self.cells
        if cells is None:
            return None
        value, upper, points = cells.kappa(*self.program.design.response(V[:, 0]), threshold)
        upper += self.program.dual_rounding(V)
        above = Status.REFUTED if value > threshold else Status.PRECISION
        status = Status.PROVED if upper <= threshold else above
        u, sign = points[0, :-1], int(points[0, -1])
        return KappaBound(value, upper, u, sign, len(cells.gates), status, points if value > threshold else points[:0])


def _largest_norm(program, V, value):
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
