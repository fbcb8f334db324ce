"""Lower bounds of the optimum: over the patterns of a program (`certified`), and proved over all (`Prover`).

A dual vector V with kappa(V) <= b gives the lower bound D(t V), t <= alpha / b. So a relative gap of `tol` is proved by
proving kappa(V) <= b for the largest b whose bound is high enough: by enumeration where there are few cells, else by
branch and bound. Cells are enumerated once (`convexnn.geometry.enumeration`), a point in each. X'D v of a batch of
cells is one matrix product of their patterns, which are not kept; cones are projected onto only where |X'D v| exceeds
the largest value so far.
"""

import time
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..geometry.arrangements import BLOCK_ENTRIES, count_arrangements, pattern_bits, unique_bits
from ..geometry.enumeration import SAME_TOL, ThinCellsError, cell_points, distinct_walls
from ..geometry.projection import bound_projections
from ..model.certificate import Certificate, uncontradicted
from ..model.summary import Status
from ..utils.deadline import TimeIsUp, breakable
from .branch_and_bound import KappaBound, bound_kappa, node_seconds
from .kappa import falling, kappa_bound
from .zero_dual import dual_at_zero

__all__ = ["Proof", "Prover", "certified"]

# Part of tol that is proved, for rounding not to matter.
PROVED_FRACTION = 0.99
# Cells up to which they are enumerated first, and where branch and bound fails in the time that it takes.
FEW_CELLS, MANY_CELLS = 2_000, 500_000
# Relative distance of the bounds of kappa at which there is nothing left to find.
FINISHED_TOL = 1e-8
# Seconds that enumeration takes for a cell, about.
CELL_SECONDS = 2e-5
# Points that enumeration returns.
POINTS = 50


def certified(program, W, beta, V=None):
    """Bound the optimum from below; return the certificate of W and beta, and the dual vector of its bound.

    The bound is D(t V) = -L*(-t V), V the projection of -grad L(Z) onto {F'V = 0} and t the best scale with kappa(t V)
    <= alpha, over the patterns of the program. Another V, which need not be feasible, is tried too, and the better
    bound taken. The blocks W must be feasible.
    """
    best, norm = (0.0, np.zeros_like(program.Y)), None  # losses and penalties are not negative
    Z, kinks_at_zero = program.predict(W, beta), not (W.any() or program.loss.smooth)
    own = dual_at_zero(program, program.alpha) if kinks_at_zero else -program.loss.grad(program.Y, Z)
    for candidate in [own] + ([] if V is None else [V]):
        dual = program.project_dual(candidate)
        with suppress(TimeIsUp), breakable():
            last, norm = norm, kappa_bound(program, dual)
            bound = (program.proved_bound if program.scope == "global" else program.dual_value)(dual, norm)
            if last is None or bound > best[0]:
                best = bound, program.dual_point(dual, norm)
    objective, rounding = program.objective(W, beta), program.rounding(beta, Z)
    bound = uncontradicted(objective, best[0], rounding + program.negligible)
    return Certificate(objective, bound, program.scope, program.negligible, rounding=rounding), best[1]


class Proof(NamedTuple):
    """What came of an attempt to prove a gap.

    `kappa` is a proved upper bound of kappa(V) over all patterns, of the whole data where the program neglects a part.
    `complete`: the gap was proved, but for what the program neglects, and rounding. `directions` (n_points, n_features)
    and `signs` refute, for the output `output`, what was to be proved; there are none where it was not refuted.
    `status` is that of the last bound.
    """

    kappa: float
    complete: bool
    directions: np.ndarray
    signs: np.ndarray
    status: Status
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
        decided = result.status in (Status.PROVED, Status.REFUTED) and not open_end
        if not decided and result.status is not Status.INTERRUPTED and can_enumerate:
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
        largest = _largest_norm(program, V, (1 - PROVED_FRACTION * tol) * objective)
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


class EnumeratedCells:
    """All cells of the arrangement of a design's rows; the patterns of the design are not used.

    `gates` (n_cells, n_features) has a point in each cell, `slack` (n_rows,) how much of each row's weight may be added
    to kappa where several cells were taken as one.
    """

    def __init__(self, design, gates, slack):
        self.design, self.gates, self.slack = design, gates, slack

    @classmethod
    def of(cls, design, most):
        """Enumerate the cells; return None where there may be more than `most`, or rounding could hide some."""
        walls = distinct_walls(design.X)
        if not walls.exact or count_arrangements(*walls.rows.shape) > most:
            return None
        try:
            points, angle = cell_points(walls.rows)
        except ThinCellsError:
            return None
        gates = points @ walls.to_gates.T
        # rounding must not give two cells one pattern
        distinct = angle <= SAME_TOL and len(unique_bits(pattern_bits(design.X, gates))[0]) == len(gates)
        return cls(design, gates, walls.slack(angle)) if distinct else None

    def kappa(self, weights, linear, threshold):
        """Compute the maximum of |w'(Xu)_+ + l'u| over |u| <= 1; return it, an upper bound of it, and points.

        w are the weights of the rows, the dual vector for ReLU, where l is zero. The upper bound includes rounding, but
        for that of products. A row of points (n_points, n_features + 1) is a unit vector and its sign: first that of
        the maximum, then those of other cells whose maximum is above the threshold, at most POINTS in all.
        """
        X, columns = self.design.X, self.design.unit_columns
        values, points, upper = np.zeros(1), np.eye(1, X.shape[1] + 1, X.shape[1]), 0.0
        step = max(1, BLOCK_ENTRIES // len(X))
        for first in range(0, len(self.gates), step):
            patterns = self.gates[first : first + step] @ X.T >= 0
            gradients = (patterns * weights) @ X + linear
            lengths = np.linalg.norm(gradients, axis=1)
            for batch in falling(lengths):
                least = min(values[0], threshold)
                if lengths[batch[0]] <= least:
                    upper = max(upper, lengths[batch[0]])
                    break
                for sign in (1.0, -1.0):
                    P, bounds = bound_projections(columns, patterns[batch], sign * gradients[batch], least)
                    upper, sizes = max(upper, bounds.max()), np.linalg.norm(P, axis=1)
                    kept = sizes > least
                    found = np.column_stack([P[kept] / sizes[kept, None], np.full(kept.sum(), sign)])
                    values, points = np.append(values, sizes[kept]), np.concatenate([points, found])
                    best = np.argsort(-values, kind="stable")[:POINTS]
                    best = best[(values[best] > threshold) | (best == best[0])]
                    values, points = values[best], points[best]
        return float(values[0]), float(upper + self.slack @ np.abs(weights)), points
