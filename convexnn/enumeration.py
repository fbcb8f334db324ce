"""Enumeration of the cells of a central hyperplane arrangement, by deletion and restriction.

Inserting the wall x_k.g = 0 into the arrangement of x_1..x_{k-1} splits exactly those cells that it cuts, and they are
the cells of x_1..x_{k-1} restricted to the wall: an arrangement in one dimension less. A point p of the wall inside a
restricted cell gives the two points p +- eps x_k. The first r independent walls have the 2^r orthants as cells, and the
recursion ends in the plane, where cells are the arcs between sorted lines. No linear programs are solved.

The work is done in the r coordinates of a thin SVD of the normalised rows, r the rank; parallel rows share one wall,
and zero rows have none. That every restricted cell lies in exactly one cell is checked at every insertion, so rounding
cannot lose or invent cells unseen.
"""

from itertools import product

import numpy as np
from numba import njit
from scipy.linalg import qr

__all__ = ["cell_points", "distinct_walls", "too_thin"]

# Two walls at an angle below this are one: the sliver between them is thinner than rounding can resolve after the
# restrictions of the recursion.
ANGLE_TOL = 1e-9


def distinct_walls(X):
    """Return the distinct walls in rank coordinates, unit rows (n_walls, r), and the map (n_features, r) to gates."""
    # cells do not change with the scale of a row, nor, but for the gates, with the unit of a column
    used = np.abs(X).max(axis=1) > 0
    rows = X[used] / np.abs(X[used]).max(axis=1, keepdims=True)
    units = np.abs(rows).max(axis=0, initial=0.0)
    units[units == 0] = 1.0
    rows = _unit(rows / units)
    if len(rows) == 0:
        return np.empty((0, 0)), np.empty((X.shape[1], 0))
    _, singular, Vt = np.linalg.svd(rows, full_matrices=False)
    basis = Vt[singular > ANGLE_TOL * singular[0]].T
    return _merge_parallel(rows @ basis), basis / units[:, None]


def _merge_parallel(rows):
    """Normalise the rows and keep one of each set of parallel ones."""
    rows = _unit(rows)
    # parallel rows agree in |direction . row|, so only neighbours in that order are compared
    direction = np.cos(np.arange(1.0, rows.shape[1] + 1) ** 2)
    score = np.abs(rows @ (direction / np.linalg.norm(direction)))
    order = np.argsort(score, kind="stable")
    keep = _first_of_parallel(rows[order], score[order], ANGLE_TOL)
    return rows[np.sort(order[keep])]


@njit(cache=True)
def _first_of_parallel(rows, score, tol):
    n, r = rows.shape
    keep = np.ones(n, np.bool_)
    for i in range(n):
        j = i - 1
        while keep[i] and j >= 0 and score[i] - score[j] <= tol:
            if keep[j]:
                same = opposite = 0.0
                for c in range(r):
                    same += (rows[i, c] - rows[j, c]) ** 2
                    opposite += (rows[i, c] + rows[j, c]) ** 2
                keep[i] = min(same, opposite) > tol * tol
            j -= 1
    return keep


def cell_points(walls):
    """Return one interior unit point (n_cells, r) of every cell of distinct unit walls (m, r) that span R^r."""
    m, r = walls.shape
    if r == 0:
        return np.zeros((1, 0))
    if r == 2:
        return _arc_points(walls)
    # r independent walls have the 2^r orthants as cells; the others are inserted one by one
    walls = walls[qr(walls.T, mode="r", pivoting=True)[1]]
    signs = np.array(list(product((1.0, -1.0), repeat=r)))
    points = _unit(np.linalg.solve(walls[:r], signs.T).T)
    codes = np.random.default_rng(0).integers(0, 2**63, size=m, dtype=np.int64)
    keys = _hash(signs > 0, codes[:r])
    for k in range(r, m):
        points, keys = _insert_wall(points, keys, walls[:k], walls[k], codes)
    return points


def _insert_wall(points, keys, walls, wall, codes):
    """Split the cells that `wall` cuts; `keys` are hashes of the cells' signs on `walls`."""
    k = len(walls)
    cut = _restricted_points(walls, wall)
    cut_keys = _hash(cut @ walls.T >= 0, codes[:k])
    ordered = np.sort(cut_keys)
    stays = ordered[np.searchsorted(ordered[:-1], keys)] != keys
    if len(points) - stays.sum() != len(cut):  # every restricted cell lies in exactly one cell
        raise too_thin()
    # p + eps x has margin |x_j.p| - eps |x_j.x| on wall j and eps on the new one: this eps makes the least margin
    # largest
    step = (np.abs(cut @ walls.T) / (1 + np.abs(walls @ wall))).min(axis=1)[:, None] * wall
    points = points[stays]
    keys = np.concatenate(
        [np.where(points @ wall >= 0, keys[stays] ^ codes[k], keys[stays]), cut_keys ^ codes[k], cut_keys]
    )
    return np.concatenate([points, _unit(cut + step), _unit(cut - step)]), keys


def _restricted_points(walls, wall):
    """Return an interior point of each cell of `walls` restricted to the hyperplane `wall`.g = 0."""
    reflector = wall.copy()
    reflector[0] += np.copysign(1.0, wall[0])
    plane = np.eye(len(wall))[:, 1:] - np.outer(reflector, reflector[1:]) * (2 / (reflector @ reflector))
    return cell_points(_merge_parallel(walls @ plane)) @ plane.T


def _arc_points(walls):
    """Return the middles of the arcs between the lines normal to `walls` (m, 2)."""
    angles = np.sort(np.arctan2(walls[:, 0], -walls[:, 1]) % np.pi)
    middles = angles + np.diff(angles, append=angles[0] + np.pi) / 2
    half = np.column_stack([np.cos(middles), np.sin(middles)])
    return np.concatenate([half, -half])


def _hash(signs, codes):
    """Hash rows of booleans (n, k) to the exclusive or of the codes of their true entries."""
    return np.bitwise_xor.reduce(np.where(signs, codes, 0), axis=1)


def _unit(points):
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def too_thin():
    """Return the error for arrangements that rounding cannot resolve."""
    return RuntimeError(
        "the arrangement has cells too thin for double precision (rows of X nearly, but not exactly, parallel or "
        "coplanar): round X, or sample patterns with sample_arrangements"
    )
