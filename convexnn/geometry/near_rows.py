"""The rows near a cell, on which projections onto thin cones are made.

A cell of many rows in few dimensions is thin, and all but a few of its rows are satisfied within a wide angle around
it. Let g be a unit vector in the cell and x_k the rows turned to the side of the cell, at unit length. A row of
x_k.g >= sin a is satisfied by every u within the angle a of g, whose own angle to x_k is a right one at most. So the
projection onto the larger cone of the other rows alone, the near ones, is the projection onto the cone where it is
within a of g; and where it is short, that onto the cone is shorter.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.utils import gen_batches

from ..utils.kernels import kernel
from ..utils.threads import map_batches, share_out
from .arrangements import BLOCK_ENTRIES
from .projection import copy, dot, project

__all__ = ["NearRows", "near_rows"]

# Near rows of a cell, the fewest that are worth it, and how many rows there are to be for each.
MOST_NEAR, FEWEST_NEAR, ROWS_PER_NEAR = 1024, 128, 4
# Rows of each feature from which cells are thin enough.
THIN_ROWS = 500
# Entries of the near rows of all cells.
MOST_ENTRIES = 2e7


@dataclass(frozen=True, eq=False)
class NearRows:
    """The near rows of some cells, with the g and a of each cell that the module docstring speaks of.

    `rows` (n_cells, n_near), int32, are their numbers, ascending; `columns` (n_cells, n_features, n_near) the unit
    rows; `sides` (n_cells, n_near) which of them are to be positive; `points` (n_cells, n_features) the unit vectors g;
    `cosines` (n_cells,) those of the angles a, above 1 where there is none.
    """

    rows: np.ndarray
    columns: np.ndarray
    sides: np.ndarray
    points: np.ndarray
    cosines: np.ndarray

    def project(self, G, tight, least):
        """Project the rows of G onto the cones of the cells; return P, and which are done: the others need all rows.

        `tight` (n_cells, n_features), int32, has likely tight rows by their numbers among all, and is overwritten where
        the projection is done. A projection no longer than `least` need not be finished.
        """
        out, done, G = np.empty(G.shape), np.empty(len(G), bool), np.ascontiguousarray(G)
        arrays = self.rows, self.columns, self.sides, self.points, self.cosines

        def part(batch):
            own = (array[batch] for array in (*arrays, G, tight, out, done))
            _project_all(*own, float(least))

        share_out(part, len(G), self.columns[0].size if len(G) else 0)
        return out, done


def near_rows(columns, bits, points):
    """Return the `NearRows` of cells; None where there are too few rows, or too many cells, for it to be worth while.

    `columns` are those of `unit_columns`, `bits` (n_cells, ceil(n_rows / 8)) the patterns of the cells. `points` are in
    the cells, nearly: the projections do not depend on them, the time does.
    """
    (d, n), n_cells = columns.shape, len(bits)
    m = int(min(MOST_NEAR, MOST_ENTRIES / max(1, n_cells * d), n / ROWS_PER_NEAR))
    if not n_cells or n < THIN_ROWS * d or m < FEWEST_NEAR:
        return None
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    units = points / np.where(lengths > 0, lengths, 1.0)
    near = NearRows(
        np.empty((n_cells, m), np.int32),
        np.empty((n_cells, d, m)),
        np.empty((n_cells, m), bool),
        units,
        np.empty(n_cells),
    )

    def part(batch):
        patterns = np.unpackbits(bits[batch], axis=1, count=n).view(bool)
        products = units[batch] @ columns
        products[~patterns] *= -1.0
        for j, own in enumerate(products, batch.start):
            order = np.argpartition(own, m)  # the m nearest, then the nearest of the others
            near.rows[j] = rows = np.sort(order[:m])
            near.columns[j], near.sides[j] = columns[:, rows], patterns[j - batch.start, rows]
            sine = own[order[m]]
            near.cosines[j] = np.sqrt(max(0.0, 1.0 - sine**2)) if sine > 0 else 2.0

    map_batches(part, list(gen_batches(n_cells, max(1, BLOCK_ENTRIES // n))), timed=True)
    return near


@kernel(nogil=True)
def _project_all(rows, columns, sides, points, cosines, G, tight, out, done, least):
    """Project the rows of G as `NearRows.project`, to `out` and `done`."""
    own, mu = np.empty(G.shape[1], np.int32), np.empty(G.shape[1])
    for b in range(len(G)):
        point, cosine = points[b], cosines[b]
        done[b] = _project(rows[b], columns[b], sides[b], point, cosine, G[b], tight[b], least, out[b], own, mu)


@kernel
def _project(rows, columns, sides, point, cosine, g, tight, least, u, own, mu):
    """Project g onto the cone of the near rows; return whether it is the projection onto that of all."""
    d = len(g)
    if np.sqrt(dot(g, g)) <= least:
        copy(g, u)
        return True
    n_tight = 0
    for q in range(d):
        place, last = 0, len(rows)  # the first that is not below tight[q]
        while place < last:
            middle = (place + last) // 2
            place, last = (middle + 1, last) if rows[middle] < tight[q] else (place, middle)
        if tight[q] >= 0 and place < len(rows) and rows[place] == tight[q]:
            own[n_tight] = place
            n_tight += 1
    for q in range(n_tight, d):
        own[q] = -1
    finished = project(columns, sides, g, own, least, u, mu)
    length = np.sqrt(dot(u, u))
    if not finished or (length > least and dot(u, point) < cosine * length):
        return False
    for q in range(d):
        tight[q] = rows[own[q]] if own[q] >= 0 else -1
    return True
