"""Activation patterns of the hyperplane arrangement of the data.

The rows x_k of X cut the space of gates g into cells on which D(g) = diag(1[X g >= 0]) is constant. An `Arrangements`
holds one pattern a cell, as bits, and one gate strictly inside each. Patterns are sampled with Gaussian gates, or
enumerated exactly (`convexnn.geometry.enumeration`). There are at most 2 sum_{k<r} C(n - 1, k) cells for n rows of rank
r (Cover). Which pattern a gate has, and where the walls are, is known to `Rows`, and for max pooling to another class
of its interface (`convexnn.geometry.selections`): sampling, enumeration and checks are the same for both.

References
----------
T. M. Cover (1965), Geometrical and statistical properties of systems of linear inequalities with applications in
pattern recognition, IEEE Transactions on Electronic Computers 14(3), 326-334. M. Pilanci and T. Ergen (2020), Neural
networks are convex regularizers, ICML.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from math import comb
from numbers import Integral
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state, gen_batches

from ..utils.deadline import in_time, is_up, until_up
from ..utils.quiet import warn
from ..utils.validation import check_array, check_count
from .enumeration import SAME_TOL, ThinCellsError, cell_points, distinct_walls

__all__ = [
    "Arrangements",
    "Rows",
    "batches_of",
    "count_arrangements",
    "enumerate_arrangements",
    "enumerate_patterns",
    "pattern_bits",
    "resolve_arrangements",
    "resolve_patterns",
    "rows_key",
    "sample_arrangements",
    "sample_patterns",
    "unique_bits",
]

# Largest dense block of patterns times samples that is made, in entries.
BLOCK_ENTRIES = 1_000_000
# Patterns sampled where there is no time to enumerate them all.
FEWEST_PATTERNS = 64


@dataclass(frozen=True, eq=False)
class Arrangements:
    """Activation patterns D_i = diag(1[X g_i >= 0]), each with a gate g_i.

    Parameters
    ----------
    bits : ndarray of uint8, shape (n_arrangements, ceil(n_samples / 8))
        The patterns, eight samples a byte (`numpy.packbits` along the samples). Rows are unique.
    gates : ndarray of shape (n_arrangements, n_features)
        A vector in each cell.
    n_samples : int
        Number of samples in a pattern.
    complete : bool
        Whether these are the patterns of all full-dimensional cells.
    angle : float
        The largest angle at which walls were taken as one, cells between them being left out.
    rows : str
        What tells the data that the patterns are complete for from others: `rows_key`.
    on_walls : bool
        Whether the patterns of points on walls are among them.

    Examples
    --------
    >>> from convexnn.geometry import Arrangements
    >>> lines = Arrangements.from_gates([[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [-1.0, 1.0]])
    >>> lines.patterns()
    array([[ True,  True],
           [False,  True]])
    >>> len(lines), lines.complete
    (2, False)
    """

    bits: np.ndarray
    gates: np.ndarray
    n_samples: int
    complete: bool = False
    angle: float = 0.0
    rows: str = ""
    on_walls: bool = False

    @classmethod
    def from_gates(cls, X: ArrayLike, gates: ArrayLike) -> Self:
        """Take the distinct patterns 1[X g >= 0] of gates (n_gates, n_features), each with its first gate, in order."""
        return Rows(X).at(gates)

    def __len__(self):
        return len(self.bits)

    def of(self, X: np.ndarray) -> Self:
        """Take the patterns as those of data (n_samples, ...): complete only where they are for these."""
        return replace(self, complete=False) if self.complete and self.rows != rows_key(X) else self

    def patterns(self, index: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Return patterns as booleans (n_selected, n_samples), all or some of them: row i is the diagonal of D_i."""
        return np.unpackbits(self.bits[index], axis=1, count=self.n_samples).view(bool)


def count_arrangements(n_samples: int, rank: int) -> int:
    """Count the cells of a generic central arrangement, 2 sum_{k<rank} C(n_samples - 1, k).

    An upper bound for rows in special position (Cover, 1965).

    Parameters
    ----------
    n_samples : int
        Number of distinct walls: rows that are not zero and not parallel to another.
    rank : int
        Rank of the rows.

    Returns
    -------
    int
        Number of full-dimensional cells; 1 when there are no walls.

    Raises
    ------
    ValueError
        If a number is negative or not an integer, or `rank` exceeds `n_samples`.

    Examples
    --------
    >>> from convexnn.geometry import count_arrangements
    >>> count_arrangements(50, 5)
    463052
    """
    n_samples = check_count("n_samples", n_samples, least=0)
    rank = check_count("rank", rank, least=0)
    if rank > n_samples:
        raise ValueError(f"rank must be at most n_samples = {n_samples}; got {rank}")
    if rank == 0:
        return 1
    return 2 * sum(comb(n_samples - 1, k) for k in range(rank))


def sample_arrangements(
    X: ArrayLike, n_arrangements: int, random_state: int | np.random.RandomState | None = None
) -> Arrangements:
    """Sample distinct patterns 1[X g >= 0] of Gaussian gates g.

    Where X has no more than `n_arrangements` cells in all, they are enumerated instead.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The rows of the arrangement.
    n_arrangements : int
        Number of patterns wanted, at least 1.
    random_state : int, RandomState instance or None, default=None
        Source of the gates.

    Returns
    -------
    Arrangements
        `n_arrangements` patterns; fewer, with a UserWarning, when the sampling no longer finds new ones. `complete` is
        True only when all cells were enumerated.

    Raises
    ------
    ValueError
        If `X` is not a finite array with samples and features, or `n_arrangements` is not a positive integer.

    Examples
    --------
    >>> from convexnn.geometry import sample_arrangements
    >>> len(sample_arrangements([[2, 2], [3, 3], [1, 0]], 10, random_state=0))
    4
    """
    return sample_patterns(Rows(X), n_arrangements, random_state)


def enumerate_arrangements(X: ArrayLike, max_arrangements: int = 1_000_000) -> Arrangements:
    """Enumerate the patterns of all full-dimensional cells of the arrangement of X.

    Exact, duplicate, parallel, zero, coplanar and rank-deficient rows included, as far as double precision can tell
    walls apart: walls at an angle below 1e-12 are one, and where angles between 1e-12 and 1e-9 occur (in the
    arrangement or in its restrictions to walls) the result is not marked complete.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The rows of the arrangement.
    max_arrangements : int, default=1_000_000
        Largest number of cells to attempt.

    Returns
    -------
    Arrangements
        All cells, each with a gate strictly inside; `complete` is True unless a UserWarning says why not.

    Raises
    ------
    ValueError
        Before any work, if the predicted number of cells (Cover's count for the distinct walls of X) exceeds
        `max_arrangements`; if `X` is not a finite array with samples and features.
    RuntimeError
        If cells are too thin for double precision.

    Examples
    --------
    >>> from convexnn.geometry import enumerate_arrangements
    >>> enumerate_arrangements([[2, 2], [3, 3], [1, 0]]).patterns().astype(int).tolist()
    [[0, 0, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]]
    """
    return enumerate_patterns(Rows(X), max_arrangements)


def resolve_arrangements(X, arrangements, random_state=None):
    """Turn what a user may ask for into the patterns of the rows X, as `resolve_patterns`."""
    return resolve_patterns(Rows(X), arrangements, random_state)


class Rows:
    """The rows X (n_rows, n_features) of an arrangement: the patterns of gates are 1[X g >= 0]."""

    def __init__(self, X):
        self.X = check_array(X, input_name="X")
        self.samples = self.X  # what complete patterns are complete for

    @cached_property
    def walls(self):
        """The distinct walls of the arrangement, as `convexnn.geometry.enumeration.Walls`."""
        return distinct_walls(self.X)

    @cached_property
    def most_cells(self):
        """A bound of the number of cells, exact where the walls are in general position."""
        return count_arrangements(*self.walls.rows.shape)

    @property
    def what(self):
        """The arrangement and its walls, in words, for what its cells are too many."""
        n_walls, rank = self.walls.rows.shape
        return f"the arrangement has up to {self.most_cells:,} cells ({n_walls:,} distinct walls of rank {rank})"

    def has_at_most(self, n_cells):
        """Return whether there are no more cells than that in all."""
        return self.most_cells <= n_cells

    def bits(self, gates):
        """Return the patterns of gates as bits."""
        return pattern_bits(self.X, gates)

    def at(self, gates):
        """Return the distinct patterns of gates, each with its first gate, in the order of these."""
        gates = check_array(gates, input_name="gates", copy=True)
        if gates.shape[1] != self.X.shape[1]:
            raise ValueError(
                f"gates must have one column a feature of the hidden layer, shape (n_gates, {self.X.shape[1]}); "
                f"got shape {gates.shape}"
            )
        bits = self.bits(gates)
        first = np.sort(unique_bits(bits)[1])
        return Arrangements(bits[first], gates[first], len(self.X))

    def are_cells(self, found, n_cells):
        """Return whether the patterns found in `n_cells` cells are theirs: no two cells have one pattern."""
        return len(found) == n_cells

    def fit(self, arrangements):
        """Return whether the gates have their patterns on X, rows apart that are on a wall up to rounding."""
        differ = np.flatnonzero((self.bits(arrangements.gates) != arrangements.bits).any(axis=1))
        for batch in batches_of(len(differ), len(self.X)):
            gates = arrangements.gates[differ[batch]]
            products = gates @ self.X.T
            wrong = (products >= 0) != arrangements.patterns(differ[batch])
            if (wrong & (np.abs(products) > 1e-13 * (np.abs(gates) @ np.abs(self.X).T))).any():
                return False
        return True


def sample_patterns(rows, n_arrangements, random_state=None):
    """Sample distinct patterns of Gaussian gates, as `sample_arrangements` does, for `Rows` of any kind."""
    n_arrangements = check_count("n_arrangements", n_arrangements)
    if rows.has_at_most(n_arrangements):
        with suppress(ThinCellsError):  # sampling finds the cells that are not too thin
            return _all_cells(rows)
    rng = check_random_state(random_state)
    found, stale, (n_rows, n_features) = {}, 0, rows.X.shape
    size = min(max(64, n_arrangements), max(1, BLOCK_ENTRIES // n_rows))
    while len(found) < n_arrangements and stale < 20 and not (found and is_up()):
        with until_up():
            gates, known = rng.standard_normal((size, n_features)), len(found)
            for gate, key in zip(gates, _as_keys(rows.bits(gates)).tolist(), strict=True):
                if len(found) < n_arrangements:
                    found.setdefault(key, gate)
            stale = stale + 1 if len(found) == known else 0
    if len(found) < n_arrangements:
        cause = "the other cells are too small, or there are no more: enumeration gives all"
        warn(
            f"only {len(found)} of n_arrangements={n_arrangements} distinct patterns were found by sampling; "
            + ("its time was up" if is_up() else cause),
            UserWarning,
        )
    return rows.at(np.array([*found.values()]))


def enumerate_patterns(rows, most=1_000_000, name="max_arrangements"):
    """Enumerate the patterns of all cells, as `enumerate_arrangements` does; `name` is that of `most`."""
    if rows.most_cells > check_count(name, most):
        raise ValueError(f"{rows.what}, more than {name}={most:,}; raise it, or give a number of patterns to sample")
    found = _all_cells(rows)
    if not found.complete:
        warn(
            "some walls of the arrangement meet at angles that double precision cannot tell from 0; they were taken as "
            "one, so cells may be missing and the arrangement is not marked complete. Centre or round the columns of X",
            UserWarning,
        )
    return found


def resolve_patterns(rows, arrangements, random_state=None):
    """Turn what a user may ask for into the patterns of `Rows`; raise ValueError where it is not, or does not fit them.

    `arrangements` is a number to sample, "all", "adaptive" (none yet), Arrangements made beforehand, or an array of
    gates (n_gates, n_features).
    """
    n_rows, n_features = rows.X.shape
    if isinstance(arrangements, Arrangements):
        if arrangements.n_samples != n_rows or arrangements.gates.shape[1] != n_features:
            raise ValueError(
                f"arrangements were made for {arrangements.n_samples} samples and {arrangements.gates.shape[1]} "
                f"features of the hidden layer; X has {n_rows} and {n_features}"
            )
        if not rows.fit(arrangements):
            raise ValueError(
                "arrangements were made for other data or another pooling: their gates have other patterns on X; make "
                "them again"
            )
        return arrangements.of(rows.samples)
    if isinstance(arrangements, str) and arrangements == "all":
        few = partial(sample_patterns, rows, FEWEST_PATTERNS, random_state)
        return in_time(partial(enumerate_patterns, rows), few)
    if isinstance(arrangements, str) and arrangements == "adaptive":
        return Arrangements(np.zeros((0, -(-n_rows // 8)), np.uint8), np.zeros((0, n_features)), n_rows)
    if isinstance(arrangements, Integral) and not isinstance(arrangements, bool):
        return sample_patterns(rows, check_count("arrangements", arrangements), random_state)
    if arrangements is None or np.ndim(arrangements) != 2 or np.asarray(arrangements).dtype.kind not in "fiu":
        raise ValueError(
            f'arrangements must be "adaptive", a number of patterns to sample, "all", or an array of gates of shape '
            f"(n_gates, {n_features}); got {arrangements!r}"
        )
    return rows.at(arrangements)


def _all_cells(rows):
    """Return the patterns of all cells of the walls, sorted; raise ThinCellsError where they are not those of cells."""
    points, angle = cell_points(rows.walls.rows)
    found, angle = rows.at(points @ rows.walls.to_gates.T), max(rows.walls.angle, angle)
    if not rows.are_cells(found, len(points)):
        raise ThinCellsError
    order = np.lexsort(found.bits.T[::-1])
    bits, gates, key = found.bits[order], found.gates[order], rows_key(rows.samples)
    return Arrangements(bits, gates, len(rows.X), angle <= SAME_TOL, angle, key)


def pattern_bits(X, gates):
    """Return the patterns 1[X g >= 0] of gates (n_gates, n_features) as bits (n_gates, ceil(n_rows / 8)), in blocks."""
    bits = np.empty((len(gates), -(-len(X) // 8)), np.uint8)
    for batch in batches_of(len(gates), len(X)):
        bits[batch] = np.packbits(gates[batch] @ X.T >= 0, axis=1)
    return bits


def batches_of(n_patterns, n_rows):
    """Return slices of patterns such that a dense block of them is of bounded size."""
    return gen_batches(n_patterns, max(1, BLOCK_ENTRIES // n_rows)) if n_patterns else ()


def unique_bits(bits):
    """Return the distinct rows of bytes in order, where each comes first, and which every row is, as `numpy.unique`."""
    _, first, inverse = np.unique(_as_keys(bits), return_index=True, return_inverse=True)
    return bits[first], first, inverse


def _as_keys(bits):
    """View rows of bytes as one comparable scalar each: to numpy every byte of a row is a field, 30 times as long."""
    bits = np.ascontiguousarray(bits)
    return bits.view(f"V{bits.shape[1]}").ravel()


def rows_key(X):
    """Return a hash of the set of the rows of data, the same whatever their order and however often each is there."""
    X = np.ascontiguousarray(X, dtype=np.float64).reshape(len(X), -1) + 0.0  # of zeros one sign
    return f"{X.shape[1]}:{sha256(unique_bits(X.view(np.uint8))[0]).hexdigest()}"
