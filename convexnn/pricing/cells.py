"""Pricing over all cells by enumeration: kappa(v), exactly, where the rows have few cells.

The cells are enumerated once (`convexnn.geometry.enumeration`), a point in each. X'D v of a batch of cells is one
matrix product of their patterns, which are not kept; cones are projected onto only where |X'D v| exceeds the largest
value so far.
"""

import numpy as np

from ..geometry.arrangements import BLOCK_ENTRIES, count_arrangements, pattern_bits, unique_bits
from ..geometry.enumeration import SAME_TOL, ThinCellsError, cell_points, distinct_walls
from ..geometry.projection import bound_projections

__all__ = ["EnumeratedCells"]

# Cells projected at a time.
BATCH = 128
# Points returned.
POINTS = 50


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
            order = np.argsort(-lengths)
            for start in range(0, len(order), BATCH):
                batch = order[start : start + BATCH]
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
