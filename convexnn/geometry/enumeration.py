"""Enumeration of the cells of a central hyperplane arrangement, by deletion and restriction.

Inserting the wall x_k.g = 0 into the arrangement of x_1..x_{k-1} splits exactly those cells that it cuts, and they are
the cells of x_1..x_{k-1} restricted to the wall: an arrangement in one dimension less. A point p of the wall inside a
restricted cell gives the two points p +- eps x_k. The first r independent walls have the 2^r orthants as cells, and the
recursion ends in the plane, where cells are the arcs between sorted lines. No linear programs are solved.

The work is done in the r coordinates of a thin SVD of the rows, r the rank. Cells do not change with the scale of a
row, nor, but for the gates, with the unit of a column or with its origin where another column is constant (a bias): so
rows and columns are scaled and centred first. Parallel rows share one wall, zero rows have none. That every restricted
cell lies in exactly one cell is checked at every insertion. Walls at angles that rounding cannot tell from 0 are taken
as one, and the result says so (`angle`).
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.linalg import qr

from ..utils.deadline import check, is_up
from ..utils.exact import two_products, two_sums
from ..utils.kernels import kernel

__all__ = [
    "MANY_POINTS",
    "ThinCellsError",
    "Walls",
    "cell_points",
    "complement",
    "distinct_walls",
    "interior_gates",
    "parallel_classes",
]

# Walls at an angle below this are one: copies of one another, up to rounding. What lies between them is charged.
SAME_TOL = 1e-12
# Walls at an angle below this are taken as one too, but may be two: rounding could hide the sliver between them.
ANGLE_TOL = 1e-9
# Points from which the clock is looked at.
MANY_POINTS = 10_000
# A unit gate closer than this to a unit row is on its wall.
NEAR_WALL = 1e-7


class ThinCellsError(RuntimeError):
    """The arrangement has cells too thin for double precision."""

    def __init__(self):
        super().__init__(
            "the arrangement has cells too thin for double precision (rows of X nearly, but not exactly, parallel or "
            "coplanar): centre and scale the columns of X, round X, or sample patterns with sample_arrangements"
        )


class Walls(NamedTuple):
    """Unit `rows` (n_walls, r), `to_gates` (n_features, r) from points to gates, and what was left out.

    `angle` is the largest between rows that were taken as one, or by which rounding moved them, and `reach`
    (n_samples,) bounds |x_k.u| for unit u by the angle of u to the wall of row k among `rows`.
    """

    rows: np.ndarray
    to_gates: np.ndarray
    angle: float
    reach: np.ndarray

    @property
    def exact(self):
        """Whether the rows taken as one are copies of one another, up to rounding."""
        return self.angle <= SAME_TOL

    def slack(self, angle=0.0):
        """Return what a row of weight one may add to kappa in cells that were left out, for walls at that `angle`."""
        return len(self.rows) * max(self.angle, angle) * self.reach


def distinct_walls(X):
    """Return the `Walls` of the rows of X (n_samples, n_features) in rank coordinates."""
    used, n_features, reach = np.abs(X).max(axis=1) > 0, X.shape[1], np.zeros(len(X))
    rows = X[used]
    if len(rows) == 0:
        return Walls(np.empty((0, 0)), np.empty((n_features, 0)), 0.0, reach)
    shear, moved = np.eye(n_features), np.zeros(rows.shape)
    constant = np.flatnonzero((rows == rows[0]).all(axis=0) & (rows[0] != 0))
    if len(constant):  # subtract multiples of a constant column: exact for integers, whatever their mean
        bias = constant[0]
        shear[bias] -= np.sort(rows, axis=0)[len(rows) // 2] / rows[0, bias]
        shear[bias, bias] = 1.0
        others = np.arange(n_features) != bias
        rounding = 4 * np.finfo(float).eps * np.abs(rows).max(axis=0)
        multiple, rest = two_products(np.full(n_features, rows[0, bias]), np.where(others, shear[bias], 0.0))
        rows, left = two_sums(rows, multiple)
        moved = np.abs(left + rest)
        near = np.abs(rows) <= rounding
        moved[near] += np.abs(rows[near])
        rows[near] = 0.0
    sizes = np.abs(rows).max(axis=1, keepdims=True)
    rows = rows / sizes
    units = np.abs(rows).max(axis=0)
    units[units == 0] = 1.0
    rows = rows / units
    inverse = units[:, None] * np.linalg.inv(shear)  # of gates to points
    lengths = np.linalg.norm(rows, axis=1)
    reach[used] = sizes[:, 0] * lengths * np.linalg.norm(inverse, 2)
    moved = np.linalg.norm(moved / sizes / units, axis=1) / lengths
    rows = _unit(rows)
    _, singular, Vt = np.linalg.svd(rows, full_matrices=False)
    singular = singular / singular[0]
    basis = Vt[singular > ANGLE_TOL].T
    heads, _, angle, rows = parallel_classes(rows @ basis)
    rows = rows[heads]
    angle = max(angle, singular[singular <= ANGLE_TOL].max(initial=0.0)) + 2 * float(moved.max())
    return Walls(rows, shear @ (basis / units[:, None]), angle, reach)


def interior_gates(X, points, patterns):
    """Move points of the closures of cells inside them, by little; return gates of about unit length.

    `patterns` (n_points, n_samples) are those of the cells. A gate is along its point where that is inside, or where no
    inside was found in time.
    """
    lengths = np.linalg.norm(X, axis=1)
    rows = X[lengths > 0] / lengths[lengths > 0, None]
    gates = points / np.linalg.norm(points, axis=1, keepdims=True)
    for gate, pattern in zip(gates, patterns[:, lengths > 0], strict=True):
        if is_up():
            break
        sides = np.where(pattern, 1.0, -1.0)
        slack = sides * (rows @ gate)
        near = slack < NEAR_WALL
        if not near.any():
            continue
        # independent rows can be moved away from all at once
        direction = np.linalg.lstsq(sides[near, None] * rows[near], np.ones(near.sum()), rcond=None)[0]
        change = sides * (rows @ direction)
        if (change[near] > 0).all():
            losing = ~near & (change < 0)
            gate += 0.5 * min(1.0, (slack[losing] / -change[losing]).min(initial=np.inf)) * direction
    return gates


def parallel_classes(rows):
    """Return the first row of each class of parallel ones, the class of each, the largest angle in one, unit rows."""
    rows = _unit(rows)
    # parallel rows agree in |direction . row|, so only neighbours in that order are compared
    direction = np.cos(np.arange(1.0, rows.shape[1] + 1) ** 2)
    score = np.abs(rows @ (direction / np.linalg.norm(direction)))
    order = np.argsort(score, kind="stable")
    leaders, angle = _leaders(rows[order], score[order], ANGLE_TOL)
    first = np.empty(len(rows), int)
    first[order] = order[leaders]
    return *np.unique(first, return_inverse=True), angle, rows


@kernel
def _leaders(rows, score, tol):
    """Return the first of the rows that each is parallel to within tol, and the largest angle neglected."""
    n, r = rows.shape
    leaders, neglected = np.arange(n), 0.0
    for i in range(n):
        j = i - 1
        while leaders[i] == i and j >= 0 and score[i] - score[j] <= tol:
            if leaders[j] == j:
                same = opposite = 0.0
                for c in range(r):
                    same += (rows[i, c] - rows[j, c]) ** 2
                    opposite += (rows[i, c] + rows[j, c]) ** 2
                angle = np.sqrt(min(same, opposite))
                if angle <= tol:
                    leaders[i] = j
                    neglected = max(neglected, angle)
            j -= 1
    return leaders, neglected


def complement(row):
    """Return an orthonormal basis (q, q - 1) of the complement of a unit row (q,), by Householder's reflection."""
    reflector = row.copy()
    reflector[0] += np.copysign(1.0, row[0])
    return np.eye(len(row))[:, 1:] - np.outer(reflector, reflector[1:]) * (2 / (reflector @ reflector))


def cell_points(walls):
    """Return an inner unit point (n_cells, r) of every cell of distinct unit walls (m, r) spanning R^r, and `angle`."""
    m, r = walls.shape
    if r == 0:
        return np.zeros((1, 0)), 0.0
    if r == 2:
        return _arc_points(walls), 0.0
    # r independent walls have the 2^r orthants as cells; the others are inserted one by one
    walls = walls[qr(walls.T, mode="r", pivoting=True)[1]]
    signs = np.array(list(product((1.0, -1.0), repeat=r)))
    points, angle = _unit(np.linalg.solve(walls[:r], signs.T).T), 0.0
    codes = np.random.default_rng(0).integers(0, 2**63, size=m, dtype=np.int64)
    keys = _hash(signs > 0, codes[:r])
    for k in range(r, m):
        if len(points) > MANY_POINTS:
            check()
        cut, cut_angle = _restricted_points(walls[:k], walls[k])
        points, keys = _insert_wall(points, keys, cut, walls[:k], walls[k], codes)
        angle = max(angle, cut_angle)
    return points, angle


def _insert_wall(points, keys, cut, walls, wall, codes):
    """Split the cells in which `wall` has a point of `cut`; `keys` are hashes of the cells' signs on `walls`."""
    k = len(walls)
    cut_keys = _hash(cut @ walls.T >= 0, codes[:k])
    ordered = np.sort(cut_keys)
    stays = ordered[np.searchsorted(ordered[:-1], keys)] != keys
    if len(points) - stays.sum() != len(cut):  # every restricted cell lies in exactly one cell
        raise ThinCellsError
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
    plane = complement(wall)
    heads, _, merged, rows = parallel_classes(walls @ plane)
    points, angle = cell_points(rows[heads])
    return points @ plane.T, max(angle, merged)


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
    """Scale rows to unit length."""
    return points / np.linalg.norm(points, axis=1, keepdims=True)
