"""Activation patterns of the hyperplane arrangement of the data.

The rows x_k of X cut the space of gates g into cells on which D(g) = diag(1[X g >= 0]) is constant. An `Arrangements`
holds one pattern a cell, as bits, and one gate strictly inside each. Patterns are sampled with Gaussian gates, or
enumerated exactly (`convexnn.geometry.enumeration`). There are at most 2 sum_{k<r} C(n - 1, k) cells for n rows of rank
r (Cover).

References
----------
T. M. Cover (1965), Geometrical and statistical properties of systems of linear inequalities with applications in
pattern recognition, IEEE Transactions on Electronic Computers 14(3), 326-334. M. Pilanci and T. Ergen (2020), Neural
networks are convex regularizers, ICML.
"""

from dataclasses import dataclass, replace
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
    "count_arrangements",
    "enumerate_arrangements",
    "pattern_bits",
    "resolve_arrangements",
    "rows_key",
    "sample_arrangements",
    "unique_bits",
]

# Largest dense block of patterns times samples that is made, in entries.
BLOCK_ENTRIES = 4_000_000
# A sample closer to the wall of a gate than this, relative to the terms of x.g, is on the wall up to rounding.
WALL_TOL = 1e-13
# Sampling gives up after this many batches in a row without a new pattern.
STALE_BATCHES = 20
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
        """Take the patterns 1[X g >= 0] of given gates, the first gate of each pattern.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows of the arrangement.
        gates : array-like of shape (n_gates, n_features)
            One gate a row.

        Returns
        -------
        Arrangements
            The distinct patterns, in the order of their gates.

        Raises
        ------
        ValueError
            If the gates are not finite, are none, or do not have n_features columns.
        """
        X = _check_rows(X)
        gates = check_array(gates, input_name="gates", copy=True)
        if gates.shape[1] != X.shape[1]:
            raise ValueError(
                f"gates must have one column a feature of the hidden layer, shape (n_gates, {X.shape[1]}); "
                f"got shape {gates.shape}"
            )
        bits = pattern_bits(X, gates)
        first = np.sort(unique_bits(bits)[1])
        return cls(bits[first], gates[first], len(X))

    def __len__(self):
        return len(self.bits)

    def of(self, X: np.ndarray) -> Self:
        """Take the patterns as those of data: complete only where they are for these.

        Parameters
        ----------
        X : ndarray of shape (n_samples, ...)
            The data.

        Returns
        -------
        Arrangements
            The same where nothing changes.
        """
        return replace(self, complete=False) if self.complete and self.rows != rows_key(X) else self

    def patterns(self, index: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Return patterns as booleans.

        Parameters
        ----------
        index : slice or integer array, default: all
            Which patterns.

        Returns
        -------
        ndarray of bool, shape (n_selected, n_samples)
            Row i is the diagonal of D_i.
        """
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
    >>> from convexnn.geometry.arrangements import count_arrangements
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
    >>> from convexnn.geometry.arrangements import sample_arrangements
    >>> len(sample_arrangements([[2, 2], [3, 3], [1, 0]], 10, random_state=0))
    4
    """
    X = _check_rows(X)
    n_arrangements = check_count("n_arrangements", n_arrangements)
    walls = distinct_walls(X)
    if count_arrangements(*walls.rows.shape) <= n_arrangements:
        try:
            return _enumerate(X, walls)
        except ThinCellsError:
            pass  # sampling finds the cells that are not too thin
    rng = check_random_state(random_state)
    seen, gates, stale = set(), [], 0
    size = min(max(64, n_arrangements), max(1, BLOCK_ENTRIES // len(X)))
    while len(gates) < n_arrangements and stale < STALE_BATCHES and not (gates and is_up()):
        with until_up():
            batch = rng.standard_normal((size, X.shape[1]))
            known = len(gates)
            for gate, key in zip(batch, _as_keys(pattern_bits(X, batch)).tolist(), strict=True):
                if key not in seen and len(gates) < n_arrangements:
                    seen.add(key)
                    gates.append(gate)
            stale = stale + 1 if len(gates) == known else 0
    if len(gates) < n_arrangements:
        cause = "the other cells are too small, or there are no more: enumerate_arrangements gives all"
        warn(
            f"only {len(gates)} of n_arrangements={n_arrangements} distinct patterns were found by sampling; "
            + ("its time was up" if is_up() else cause),
            UserWarning,
        )
    return Arrangements.from_gates(X, np.array(gates))


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
    >>> from convexnn.geometry.arrangements import enumerate_arrangements
    >>> enumerate_arrangements([[2, 2], [3, 3], [1, 0]]).patterns().astype(int).tolist()
    [[0, 0, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]]
    """
    X = _check_rows(X)
    max_arrangements = check_count("max_arrangements", max_arrangements)
    walls = distinct_walls(X)
    predicted = count_arrangements(*walls.rows.shape)
    if predicted > max_arrangements:
        raise ValueError(
            f"the arrangement has up to {predicted:,} cells ({walls.rows.shape[0]:,} distinct walls of rank "
            f"{walls.rows.shape[1]}), more than max_arrangements={max_arrangements:,}; raise it, or sample "
            "patterns with sample_arrangements"
        )
    arrangements = _enumerate(X, walls)
    if not arrangements.complete:
        warn(
            "some walls of the arrangement meet at angles that double precision cannot tell from 0; they were taken as "
            "one, so cells may be missing and the arrangement is not marked complete. Centre or round the columns of X",
            UserWarning,
        )
    return arrangements


def unique_bits(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the distinct ones of some patterns: `numpy.unique` over rows, by comparisons of whole rows of bytes.

    Parameters
    ----------
    bits : ndarray of uint8, shape (n_patterns, n_bytes)
        Patterns, as `pattern_bits` gives them.

    Returns
    -------
    distinct : ndarray of uint8, shape (n_distinct, n_bytes)
        The patterns in lexicographic order.
    first : integer array of shape (n_distinct,)
        Where each comes first.
    inverse : integer array of shape (n_patterns,)
        Which of the distinct ones every pattern is.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.geometry.arrangements import unique_bits
    >>> [part.tolist() for part in unique_bits(np.array([[2, 1], [0, 7], [2, 1]], np.uint8))]
    [[[0, 7], [2, 1]], [1, 0], [1, 0, 1]]
    """
    _, first, inverse = np.unique(_as_keys(bits), return_index=True, return_inverse=True)
    return bits[first], first, inverse


def rows_key(X: np.ndarray) -> str:
    """Return a hash of the set of the rows of data, the same whatever their order and however often each is there.

    Parameters
    ----------
    X : ndarray of shape (n_samples, ...)
        The data.

    Returns
    -------
    str
        The hash.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.geometry.arrangements import rows_key
    >>> X = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> rows_key(X) == rows_key(X[[1, 0, 1]]), rows_key(X) == rows_key(2 * X)
    (True, False)
    """
    X = np.ascontiguousarray(X, dtype=np.float64).reshape(len(X), -1) + 0.0  # of zeros one sign
    return f"{X.shape[1]}:{sha256(unique_bits(X.view(np.uint8))[0]).hexdigest()}"


def pattern_bits(X: np.ndarray, gates: np.ndarray) -> np.ndarray:
    """Compute the patterns 1[X g >= 0] of gates as bits, in blocks.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The rows.
    gates : ndarray of shape (n_gates, n_features)
        One gate a row.

    Returns
    -------
    ndarray of uint8, shape (n_gates, ceil(n_samples / 8))
        The patterns.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.geometry.arrangements import pattern_bits
    >>> pattern_bits(np.array([[1.0], [-1.0], [2.0]]), np.array([[1.0], [-1.0]]))  # 101 and 010, from the left
    array([[160],
           [ 64]], dtype=uint8)
    """
    bits = np.empty((len(gates), -(-len(X) // 8)), np.uint8)
    for batch in gen_batches(len(gates), max(1, BLOCK_ENTRIES // len(X))) if len(gates) else ():
        bits[batch] = np.packbits(gates[batch] @ X.T >= 0, axis=1)
    return bits


def resolve_arrangements(
    X: ArrayLike,
    arrangements: str | int | Arrangements | ArrayLike,
    random_state: int | np.random.RandomState | None = None,
) -> Arrangements:
    """Turn what a user may ask for into the patterns of the rows X.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The rows of the arrangement.
    arrangements : int, "all", "adaptive", Arrangements, or array-like of shape (n_gates, n_features)
        A number to sample, all, none yet, patterns made beforehand, or gates.
    random_state : int, RandomState instance or None, default=None
        Source of sampled gates.

    Returns
    -------
    Arrangements
        The patterns.

    Raises
    ------
    ValueError
        If `arrangements` is something else, or does not fit X.

    Examples
    --------
    >>> from convexnn.geometry.arrangements import resolve_arrangements
    >>> [len(resolve_arrangements([[1.0, 0.0], [0.0, 1.0]], which)) for which in ("all", 3, "adaptive", [[1.0, 2.0]])]
    [4, 3, 0, 1]
    """
    if isinstance(arrangements, Arrangements):
        if arrangements.n_samples != len(X) or arrangements.gates.shape[1] != np.shape(X)[1]:
            raise ValueError(
                f"arrangements were made for {arrangements.n_samples} samples and {arrangements.gates.shape[1]} "
                f"features of the hidden layer; X has {len(X)} and {np.shape(X)[1]}"
            )
        if not _fits(_check_rows(X), arrangements):
            raise ValueError(
                "arrangements were made for other data: their gates have other patterns on X; make them again"
            )
        return arrangements.of(X)
    if isinstance(arrangements, str) and arrangements == "all":
        return in_time(lambda: enumerate_arrangements(X), lambda: sample_arrangements(X, FEWEST_PATTERNS, random_state))
    if isinstance(arrangements, str) and arrangements == "adaptive":
        return Arrangements(np.zeros((0, -(-len(X) // 8)), np.uint8), np.zeros((0, np.shape(X)[1])), len(X))
    if isinstance(arrangements, Integral) and not isinstance(arrangements, bool):
        return sample_arrangements(X, check_count("arrangements", arrangements), random_state)
    if arrangements is None or np.ndim(arrangements) != 2 or np.asarray(arrangements).dtype.kind not in "fiu":
        raise ValueError(
            f'arrangements must be "adaptive", a number of patterns to sample, "all", or an array of gates of shape '
            f"(n_gates, {np.shape(X)[1]}); got {arrangements!r}"
        )
    return Arrangements.from_gates(X, arrangements)


def _fits(X, arrangements):
    """Return whether the gates have their patterns on X, samples apart that are on a wall up to rounding."""
    differ = np.flatnonzero((pattern_bits(X, arrangements.gates) != arrangements.bits).any(axis=1))
    for batch in gen_batches(len(differ), max(1, BLOCK_ENTRIES // len(X))) if len(differ) else []:
        gates = arrangements.gates[differ[batch]]
        products = gates @ X.T
        wrong = (products >= 0) != arrangements.patterns(differ[batch])
        if (wrong & (np.abs(products) > WALL_TOL * (np.abs(gates) @ np.abs(X).T))).any():
            return False
    return True


def _check_rows(X):
    return check_array(X, input_name="X")


def _as_keys(bits):
    """View rows of bytes as one comparable scalar each: to numpy every byte of a row is a field, 30 times as long."""
    bits = np.ascontiguousarray(bits)
    return bits.view(f"V{bits.shape[1]}").ravel()


def _enumerate(X, walls):
    """Return the patterns of all cells of the walls, sorted; raise ThinCellsError where two cells have one pattern."""
    points, angle = cell_points(walls.rows)
    gates = points @ walls.to_gates.T
    arrangements = Arrangements.from_gates(X, gates)
    if len(arrangements) != len(gates):
        raise ThinCellsError
    order, angle = np.lexsort(arrangements.bits.T[::-1]), max(walls.angle, angle)
    bits, gates = arrangements.bits[order], arrangements.gates[order]
    return Arrangements(bits, gates, len(X), angle <= SAME_TOL, angle, rows_key(X))
