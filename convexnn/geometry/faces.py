"""Patterns 1[X u >= 0] of all vectors u, those on walls included, for the threshold activation.

The cells of the arrangement of the rows x_k (`convexnn.geometry.enumeration`) give the patterns of the u that are on no
wall. A u on walls has the pattern of a cell where it can move off all of them to their positive sides. So what is left
are the flats L = {u : x_k.u = 0, k in Z} of which no row can be made positive without another becoming negative: some
positive combination of the rows of Z is zero (Stiemke). Such flats are called cyclic here. The patterns are then

    cells of X,  and for each cyclic flat L:  1 on Z, and the patterns of the cells of X restricted to L off Z

and no two of these are equal: the relative interior of the cone of all u of one pattern is on one cyclic flat, in one
of its cells. With a constant column in X no flat is cyclic, and the cells are all. Patterns are read off the walls of
the flat, not off rounded products, so the product of a gate with a row of Z may differ from 0 by rounding.

References
----------
T. Ergen, H. I. Gulluk, J. Lacotte and M. Pilanci (2023), Globally optimal training of neural networks with threshold
activation functions, ICLR. A. Bjorner, M. Las Vergnas, B. Sturmfels, N. White and G. Ziegler (1999), Oriented
matroids, chapters 1 and 3.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import nnls

from ..utils.deadline import check
from ..utils.exact import are_multiples
from ..utils.quiet import warn
from ..utils.validation import check_count
from .arrangements import Arrangements, Rows, batches_of, pattern_bits, rows_key, unique_bits
from .enumeration import (
    ANGLE_TOL,
    MANY_POINTS,
    SAME_TOL,
    ThinCellsError,
    cell_points,
    complement,
    distinct_walls,
    parallel_classes,
)

__all__ = ["boundary_patterns"]

# What is smaller than this, relative to the terms of a product x.g, is rounding in a gate g of a flat.
TINY_FRACTION = 1e-14


class _Rows(NamedTuple):
    """The `wall` of each row (n,), and its `side` (n,): 1 along the wall's normal, -1 against it, 0 for a zero row."""

    wall: np.ndarray
    side: np.ndarray


class _Flat(NamedTuple):
    """A subspace: the walls (m,) that contain it, and an orthonormal `basis` (r, dimension)."""

    on: np.ndarray
    basis: np.ndarray


def boundary_patterns(X: ArrayLike, max_patterns: int = 1_000_000) -> Arrangements:
    """Enumerate the patterns 1[X u >= 0] of all vectors u, zero and points of walls included.

    Exact for duplicate, opposite, parallel, zero, coplanar and rank-deficient rows, as far as double precision can tell
    walls apart (as `enumerate_arrangements`).

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The rows of the arrangement.
    max_patterns : int, default=1_000_000
        Largest number of patterns to attempt.

    Returns
    -------
    Arrangements
        All patterns, sorted, each with a gate: strictly inside for the patterns of cells, on the walls up to rounding
        for the others, zero for u = 0. `complete` is True unless a UserWarning says why not.

    Raises
    ------
    ValueError
        Before any work, if the predicted number of cells (Cover's count for the distinct walls of X) exceeds
        `max_patterns`; later, if the patterns on walls do; if `X` is not a finite array with samples and features.
    RuntimeError
        If cells are too thin for double precision.

    Notes
    -----
    All flats of two dimensions and more are visited, so the time grows as the number of cells does, with a larger
    constant.

    Examples
    --------
    >>> from convexnn.geometry import boundary_patterns
    >>> boundary_patterns([[1.0], [-1.0]]).patterns().astype(int).tolist()
    [[0, 1], [1, 0], [1, 1]]
    """
    rows, max_patterns = Rows(X), check_count("max_patterns", max_patterns)
    X = rows.X
    if rows.most_cells > max_patterns:
        raise ValueError(f"{rows.what}, more than max_patterns={max_patterns:,}; raise it, or use fewer patterns")
    gates, bits, exact = _patterns(X, rows.walls, max_patterns)
    if not exact:
        warn(
            "some walls of the arrangement meet at angles that double precision cannot tell from 0; they were taken as "
            "one, so patterns may be missing or not be those of any vector, and the result is not marked complete. "
            "Centre or round the columns of X",
            UserWarning,
        )
    return Arrangements(bits, gates, len(X), exact, rows=rows_key(X), on_walls=True)


def _patterns(X, walls, max_patterns):
    """Return a gate and the bits of every pattern, sorted, and whether they are exact."""
    points, angle = cell_points(walls.rows)
    gates = [points @ walls.to_gates.T]
    bits = [pattern_bits(X, gates[0])]
    rows = _match_rows(X, bits[0], points, walls.rows)
    # a pattern that is left out costs a step its whole height, however thin its cell: only copies are one
    tol = SAME_TOL if _is_coarse(X, walls.rows.shape[1]) else 0.0
    flats, exact_flats = _cyclic_flats(walls.rows, rows, max_patterns, tol)
    total, exact = len(points), walls.exact and angle <= tol and exact_flats and _are_copies(X, rows)
    for flat in flats:
        points, exact_cells = _flat_points(walls.rows, flat, tol)
        total, exact = total + len(points), exact and exact_cells
        if total > MANY_POINTS:
            check()
        _check_total(total, max_patterns)
        bits.append(_flat_bits(points @ walls.rows.T, flat, rows))
        gates.append(_tidy_gates(X, points @ walls.to_gates.T, bits[-1], flat.on[rows.wall] & (rows.side != 0)))
    distinct, first, _ = unique_bits(np.concatenate(bits))
    if len(distinct) != total:  # cells of cyclic flats have distinct patterns
        raise ThinCellsError
    return np.concatenate(gates)[first], distinct, exact


def _is_coarse(X, rank):
    """Return whether X is of integers, in some unit, so small that walls are copies or at angles above SAME_TOL.

    The volumes of integer vectors are integers; the sine of such an angle is a quotient of four.
    """
    size = np.abs(X).max(initial=0.0)
    if size == 0.0:
        return True
    steps = [2.0**k for k in range(12) if not np.any(X * 2.0**k % 1.0)]
    if not steps:
        return False
    return 2 * (rank - 1) * np.log(size * steps[0] * np.sqrt(X.shape[1])) <= -np.log(10 * SAME_TOL)


def _are_copies(X, rows):
    """Return whether rows of one wall are multiples of one another, to the last bit."""
    order = np.argsort(rows.wall, kind="stable")
    order = order[rows.side[order] != 0]
    wall = rows.wall[order]
    return bool(are_multiples(X[order].T, X[order[np.searchsorted(wall, wall)]].T).all())


def _match_rows(X, bits, points, walls):
    """Find the wall and side of each row by its signs in the cells: no two walls have the same ones, up to sign."""
    codes = np.random.default_rng(0).integers(0, 2**63, size=len(bits), dtype=np.int64)
    total = np.bitwise_xor.reduce(codes)
    row_keys, wall_keys = np.zeros(len(X), np.int64), np.zeros(len(walls), np.int64)
    for batch in batches_of(len(bits), len(X)):
        patterns = np.unpackbits(bits[batch], axis=1, count=len(X)).view(bool)
        row_keys ^= np.bitwise_xor.reduce(np.where(patterns, codes[batch, None], 0), axis=0)
        wall_keys ^= np.bitwise_xor.reduce(np.where(points[batch] @ walls.T >= 0, codes[batch, None], 0), axis=0)
    found = {key: (k, side) for side, keys in ((-1, wall_keys ^ total), (1, wall_keys)) for k, key in enumerate(keys)}
    zero = np.abs(X).max(axis=1) == 0
    places = [(0, 0) if is_zero else found.get(key) for is_zero, key in zip(zero, row_keys, strict=True)]
    if None in places:
        raise ThinCellsError
    wall, side = np.array(places).T
    return _Rows(wall, side)


def _cyclic_flats(walls, rows, limit, tol):
    """Return all cyclic flats but the whole space, and whether they are exact; raise where they are above `limit`."""
    sides = [np.unique(rows.wall[rows.side == side]) for side in (1, -1)]
    wall = np.concatenate(sides)
    vectors = np.concatenate([walls[sides[0]], -walls[sides[1]]])
    # rows of no positive combination that is zero are on no cyclic flat: all of them, where a column is constant
    left, exact = np.arange(len(wall)), True
    while len(left):
        margins, clear = _separate(vectors[left])
        exact = exact and clear
        if margins is None:
            break
        left = left[margins <= ANGLE_TOL]
    if len(left) == 0:
        return [], exact
    used = np.isin(np.arange(len(walls)), wall[left])
    _, singular, Vt = np.linalg.svd(walls[used])
    rank = int((singular > ANGLE_TOL * singular[0]).sum())
    flats = [_Flat(used, Vt[rank:].T)]
    for flat, flat_exact in _flats(walls, used, rank, np.bincount(wall, minlength=len(walls)), tol):
        exact = exact and flat_exact
        if flat is not None:
            margins, clear = _separate(vectors[flat.on[wall]])
            exact = exact and clear
            if margins is None:
                flats.append(flat)
                _check_total(len(flats), limit)
    return flats, exact


def _flats(walls, used, rank, counts, tol):
    """Yield the flats of the `used` walls, of rank below theirs, that may be cyclic, and whether parallel was clear.

    A cyclic flat of rank k is on more than k vectors (`counts` on each wall). Each is visited once, in its first wall.
    """
    labels = np.where(used, np.cumsum(used) - 1, -2)  # the class of each wall: rows that are parallel on the flat
    stack = [_Node(walls[used], labels, np.zeros(len(walls), bool), np.eye(walls.shape[1]), 0)]
    while stack:
        node = stack.pop()
        if node.rank + 1 >= rank:
            continue
        inside = node.labels >= 0
        n_vectors = np.bincount(node.labels[inside], weights=counts[inside]) + counts[node.labels == -1].sum()
        banned = node.banned.copy()
        last = node.rank + 2 >= rank  # the children's own children are not wanted
        for k in np.flatnonzero(n_vectors > node.rank + 1) if last else range(len(node.rows)):
            members = node.labels == k
            if (members & node.banned).any():
                continue
            plane = complement(node.rows[k])
            child = _Flat((node.labels == -1) | members, node.basis @ plane)
            exact = True
            if not last:
                grown, exact = _restrict(node, k, plane, child.basis, banned, tol)
                stack.append(grown)
            yield (child if n_vectors[k] > node.rank + 1 else None), exact
            banned |= members


class _Node(NamedTuple):
    """A flat with a unit row for each class of walls on it, the class of each wall, and walls that are done."""

    rows: np.ndarray
    labels: np.ndarray
    banned: np.ndarray
    basis: np.ndarray
    rank: int


def _restrict(node, k, plane, basis, banned, tol):
    """Return the node of the flat of class k, and whether which rows are parallel on it was clear."""
    others = np.delete(np.arange(len(node.rows)), k)
    heads, classes, angle, rows = parallel_classes(node.rows[others] @ plane)
    renamed = np.full(len(node.rows), -1)
    renamed[others] = classes
    labels = np.where(node.labels >= 0, renamed[node.labels], node.labels)
    return _Node(rows[heads], labels, banned.copy(), basis, node.rank + 1), angle <= tol


def _separate(vectors):
    """Find u with vectors u >= 0, not all zero; return vectors u, or None if there is none, and whether this was clear.

    The shortest combination rho of unit vectors with coefficients of at least 1 is zero, or is such a u: with the
    multipliers mu >= 0 of the part above 1, vectors rho = mu's gradient >= 0, and sum(vectors rho) = |rho|^2.
    """
    total = vectors.sum(axis=0)
    above, _ = nnls(vectors.T, -total, maxiter=30 * len(vectors))
    free = above > 0
    exact_above = np.linalg.lstsq(vectors[free].T, -total, rcond=None)[0]
    if (exact_above >= 0).all():
        above[free] = exact_above
    shortest = total + above @ vectors
    length, size = np.linalg.norm(shortest), len(vectors) + above.sum()
    if length <= 1e-7 * size:  # zero, though not clearly so above SAME_TOL
        return None, length <= SAME_TOL * size
    return vectors @ (shortest / length), True


def _flat_points(walls, flat, tol):
    """Return a unit point (n_cells, r) of every cell of the walls restricted to a flat, and whether they are exact."""
    if flat.basis.shape[1] == 0:
        return np.zeros((1, len(flat.basis))), True
    restricted = distinct_walls(walls[~flat.on] @ flat.basis)
    points, angle = cell_points(restricted.rows)
    points = points @ restricted.to_gates.T @ flat.basis.T
    return points / np.linalg.norm(points, axis=1, keepdims=True), max(restricted.angle, angle) <= tol


def _flat_bits(products, flat, rows):
    """Return the patterns of points of a flat as bits: 1 on its walls, the sign of `products` with the walls off it."""
    signs = np.where(flat.on, 0, np.sign(products)).astype(np.int8)
    bits = np.empty((len(products), -(-len(rows.wall) // 8)), np.uint8)
    for batch in batches_of(len(products), len(rows.wall)):
        bits[batch] = np.packbits(signs[batch][:, rows.wall] * rows.side >= 0, axis=1)
    return bits


def _tidy_gates(X, gates, bits, on):
    """Rid gates of rounding: rows that are `on` their flat have products that are 0 relative to the terms of x.g."""
    units = np.abs(X).max(axis=0)
    sizes = np.abs(gates) * units
    gates = np.where(sizes > TINY_FRACTION * sizes.max(axis=1, keepdims=True), gates, 0.0)
    terms = np.abs(gates) @ np.abs(X[on]).T
    for i in np.flatnonzero((np.abs(gates @ X[on].T) > TINY_FRACTION * terms).any(axis=1)):
        # a change of each entry in proportion to it: the least that makes the products 0
        rows = X[on][terms[i] > 0] * gates[i] / terms[i][terms[i] > 0, None]
        change = np.linalg.lstsq(rows, rows.sum(axis=1), rcond=ANGLE_TOL)[0]
        tidied = gates[i] * (1 - change)
        off = ~on & X.any(axis=1)
        pattern = np.unpackbits(bits[i], count=len(X)).view(bool)
        if np.array_equal(X[off] @ tidied >= 0, pattern[off]):
            gates[i] = tidied
    return gates


def _check_total(total, limit):
    """Raise ValueError where there are more patterns than the limit."""
    if total > limit:
        raise ValueError(
            f"there are more than max_patterns={limit:,} patterns, on walls included; raise it, or use fewer patterns"
        )
