"""Proved bounds of kappa(v) = max |v'(Xu)_+| over |u| <= 1, by branch and bound on all processors.

A node is a cone {u : s_k x_k'u >= 0, k in its path}, with one of the two signs of v. The open ones, which together hold
every u whose value may exceed the limit at which a node is finished, are kept in a pool. In each round those of the
largest bounds are split along the wall of a row, and the halves are bounded by the relaxation of `relaxation`: so the
largest bound of the pool, which is the result at any moment, comes down steadily, and no order needs fewer nodes.

All is done in coordinates of the row space, with rows of unit length, weights w_k = v_k |x_k|, and parallel rows
joined. The roundings are covered by an allowance of a multiple of eps sum_k |w_k| that is added to every bound.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import numpy as np
from joblib import cpu_count

from ..model.summary import Status
from ..utils.threads import one_blas_thread
from ..utils.validation import check_count, check_flag, check_numeric, check_positive
from .facets import IMPLIED_TOL
from .relaxation import bound_cones, compile_kernels, quadratic_rows

__all__ = ["KappaBound", "bound_kappa", "node_seconds"]

# Seconds of a processor that a round is to take, and a cone: a + b n_rows + c rank^5, measured. Rounds are sized by
# this count, not by the clock: then bounds are the same in every run, on any number of processors.
ROUND, CONE = 0.1, (2e-4, 4e-7, 8e-9)
# Points that refute the threshold.
POINTS = 50
# Rounds that follow the one in which a point refuted the threshold, for more of them.
GRACE = 3
# Open cones whose iterates are then improved, and the steps of each.
CLIMBING, CLIMBS = 1000, 10
# Parts into which the work of a processor is divided in a round.
PARTS = 4
# Rows that are tried as directions, and directions that are tried at a time.
SAMPLED, BATCH = 256, 256
# A value is worth a look, and a cone is finished, by this much relatively.
CLOSED_TOL = 1e-9
# Rank of X up to which cones are bounded: the Newton systems have about half its square unknowns.
LARGEST_DIMENSION = 24
# Decimal digits to which parallel rows agree.
PARALLEL_DIGITS = 13
# Bytes of the pool, and facets of a cone.
POOL_BYTES, FACETS = 1 << 28, 64
# Fraction of the way to the interior that a cone starts from.
INTERIOR = 0.03


@dataclass(frozen=True)
class KappaBound:
    """What is known of kappa(v) = max |v'(Xu)_+| over |u| <= 1.

    Parameters
    ----------
    lower : float
        Value of `u`.
    upper : float
        Proved bound of kappa, roundings included.
    u : ndarray of shape (n_features,)
        The best direction found, of unit length.
    sign : int
        The sign of v'(Xu)_+ at `u`, +1 or -1.
    n_nodes : int
        Cones that were bounded.
    status : Status
        A string: "proved" if `upper` is at most the threshold, "refuted" if `lower` exceeds it, else what
        ended the search.
    points : ndarray of shape (n_points, n_features + 1)
        Directions of different patterns whose values exceed the threshold, and their signs; the best come first.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.pricing import bound_kappa
    >>> bound = bound_kappa(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([3.0, 4.0]), 6.0)
    >>> round(bound.lower, 6), bound.upper <= 6.0, bound.u.round(6), bound.sign
    (5.0, True, array([0.6, 0.8]), 1)
    """

    lower: float
    upper: float
    u: np.ndarray
    sign: int
    n_nodes: int
    status: Status
    points: np.ndarray


def bound_kappa(
    X: np.ndarray,
    v: np.ndarray,
    threshold: float,
    *,
    starts: np.ndarray | None = None,
    time_limit: float | None = None,
    max_nodes: int | None = None,
    refute: bool = True,
) -> KappaBound:
    """Bound kappa(v) = max |v'(Xu)_+| over |u| <= 1 from above and below.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The rows.
    v : ndarray of shape (n_samples,)
        The dual vector.
    threshold : float
        Ends as soon as kappa is proved to be at most this.
    starts : ndarray of shape (n_starts, n_features), optional
        Directions that are tried first.
    time_limit : float, optional
        Seconds after which the bound reached is returned; no limit by default.
    max_nodes : int, optional
        Cones after which the bound reached is returned, but for the round that is on; no limit by default.
    refute : bool, default=True
        End soon after a direction is found whose value exceeds the threshold. If False, go on until the upper bound
        meets the larger of `threshold` and the best value found.

    Returns
    -------
    KappaBound
        The bounds, valid whatever the cause of the end, an interrupt from the keyboard included.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what it has to be.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.pricing import bound_kappa
    >>> X, v = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([3.0, 4.0])  # kappa is |v| = 5
    >>> [bound_kappa(X, v, threshold).status for threshold in (5.1, 4.9)]
    ['proved', 'refuted']
    """
    X, v = _check_array("X", X, 2), _check_array("v", v, 1)
    if len(v) != len(X):
        raise ValueError(f"v must have one entry for each of the {len(X)} rows of X; got {len(v)}")
    threshold = check_positive("threshold", threshold)
    time_limit = np.inf if time_limit is None else check_positive("time_limit", time_limit)
    max_nodes = np.inf if max_nodes is None else check_count("max_nodes", max_nodes)
    refute = check_flag("refute", refute)
    if starts is not None:
        starts = _check_array("starts", starts, 2)
        if starts.shape[1] != X.shape[1]:
            raise ValueError(f"starts must have {X.shape[1]} columns, as X; got {starts.shape[1]}")
    compile_kernels()
    deadline = perf_counter() + time_limit
    with one_blas_thread():
        search = _Search(X, v, threshold, starts, refute)
        cause = search.run(deadline, max_nodes)
        return search.result(cause)


def node_seconds(n_rows: int, rank: int) -> float:
    """Return the seconds of a processor that a cone takes, about: a count of the work, which no clock changes."""
    return CONE[0] + CONE[1] * n_rows + CONE[2] * rank**5


def _check_array(name, value, ndim):
    """Return a finite float array of `ndim` dimensions, C-contiguous."""
    check_numeric(name, value)
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of numbers; got dtype {array.dtype}")
    array = np.ascontiguousarray(array, dtype=float)
    if array.ndim != ndim or array.size == 0:
        raise ValueError(f"{name} must be a non-empty array of {ndim} dimensions; got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; got {array[~np.isfinite(array)][0]}")
    return array


class _Problem(NamedTuple):
    """The problem in coordinates of the row space: max p'u / 2 + sum_k w_k |x_k'u| / 2, or that of -p and -w."""

    X: np.ndarray
    A: np.ndarray
    p: np.ndarray
    w: np.ndarray
    basis: np.ndarray
    allowance: float


class _Cones(NamedTuple):
    """Some cones, each an entry of every field.

    `bounds` are of the values of their points, `signs` those of v, `rows` those along which to split. `sides` (n_cones,
    n_rows) are the known signs of the rows, else 0; `facets` (n_cones, FACETS) the rows of the path, from 1, with their
    signs, 0 beyond its end; `moments` (n_cones, n_moments) the iterates of the relaxation.
    """

    bounds: np.ndarray
    signs: np.ndarray
    rows: np.ndarray
    sides: np.ndarray
    facets: np.ndarray
    moments: np.ndarray


class _ConePool:
    """The open cones, for n rows in d coordinates: at first the whole space, once for each sign of v.

    `bounds` (2,) are those of the whole space for the signs 1 and -1.
    """

    def __init__(self, n, d, bounds):
        n_moments = d + d * (d + 1) // 2
        self.most = max(POOL_BYTES // (8 * n_moments + 4 * FACETS + n + 24), 100)
        self.size = 0
        self.interior = np.zeros(n_moments)
        first, second = np.triu_indices(d)
        self.interior[d:] = (first == second) / d
        sides, facets = np.zeros((2, n), np.int8), np.zeros((2, FACETS), np.int32)
        moments = np.tile(self.interior, (2, 1))
        self.cones = _Cones(bounds, np.array([1.0, -1.0]), np.full(2, -1), sides, facets, moments)

    def roots(self):
        """Return the two cones that are the whole space."""
        return _Cones(*(part.copy() for part in self.cones))

    def largest(self):
        """Return the largest bound, 0 if there are no cones."""
        return self.cones.bounds[: self.size].max(initial=0.0)

    def put(self, cones, chosen):
        """Add the cones that `chosen` selects."""
        last = self.size + np.count_nonzero(chosen)
        if last > len(self.cones.bounds):
            room = [(2 * last - self.size, *part.shape[1:]) for part in self.cones]
            grown = zip(self.cones, room, strict=True)
            self.cones = _Cones(*(np.concatenate([old[: self.size], np.empty(more, old.dtype)]) for old, more in grown))
        for stored, new in zip(self.cones, cones, strict=True):
            stored[self.size : last] = new[chosen]
        self.size = last

    def split(self, most):
        """Remove the cones of the largest bounds, or, if memory is short, of the smallest; return their halves."""
        order = self.cones.bounds[: self.size] * (1 if self.size > self.most else -1)
        chosen = np.argpartition(order, most - 1)[:most] if most < self.size else np.arange(self.size)
        bounds, signs, rows, sides, facets, moments = (np.repeat(part[chosen], 2, axis=0) for part in self.cones)
        half, halves = np.arange(len(rows)), np.tile([1, -1], len(chosen))
        sides[half, rows] = halves
        facets[half, np.count_nonzero(facets, axis=1)] = (rows + 1) * halves
        moments += INTERIOR * (self.interior - moments)
        # The last cones move to the places that were left.
        self.size -= len(chosen)
        holes = chosen[chosen < self.size]
        moved = np.setdiff1d(np.arange(self.size, self.size + len(chosen)), chosen, assume_unique=True)
        for part in self.cones:
            part[holes] = part[moved]
        return _Cones(bounds, signs, rows, sides, facets, moments)


class _Search:
    """The state of a search: the problem in units of its own, the best point, the pool of open cones."""

    def __init__(self, X, v, threshold, starts, refute):
        self.refute = refute
        powers = [_power_of_two(X), _power_of_two(v)]
        self.X, self.v, self.power = np.ldexp(X, -powers[0]), np.ldexp(v, -powers[1]), sum(powers)
        with np.errstate(over="ignore", under="ignore"):
            self.threshold = float(np.ldexp(threshold, -self.power))
        self.lower, self.u, self.sign = 0.0, np.eye(X.shape[1])[0], 1
        self.points, self.n_nodes, self.finished = {}, 0, 0.0
        self._try(self.X.T @ self.v[:, None] @ [[1.0, -1.0]])
        self._try(self.X[:: 1 + len(X) // SAMPLED].T)
        if starts is not None:
            # The scale of each is removed first: squares of huge or tiny entries would be lost.
            self._try((starts / np.maximum(np.abs(starts).max(axis=1, keepdims=True), np.finfo(float).tiny)).T)
        self.problem = _reduce(self.X, self.v)
        bounds = np.array([_first_bound(self.problem, sign) for sign in (1.0, -1.0)])
        self.upper = float(bounds.max())
        self.unit = max(min(self.threshold, self.upper), self.lower) or 1.0
        self.pool = _ConePool(*self.problem.X.shape, bounds)

    def _try(self, directions):
        """Take columns into account whose values are the best or refute the threshold."""
        lengths = np.linalg.norm(directions, axis=0)
        U = (directions[:, lengths > 0] / lengths[lengths > 0]).T
        for first in range(0, len(U), BATCH):
            batch = U[first : first + BATCH]
            values = np.maximum(batch @ self.X.T, 0) @ self.v
            for i in np.flatnonzero(np.abs(values) > self.threshold):
                self._keep(batch[i], values[i])
            best = np.abs(values).argmax()
            if abs(values[best]) > self.lower:
                self.lower, self.u, self.sign = float(abs(values[best])), batch[best], 1 if values[best] > 0 else -1

    def _keep(self, u, value):
        """Keep the best point of each pattern, and of these the best."""
        pattern = np.packbits(self.X @ u > 0).tobytes(), value > 0
        if abs(value) > abs(self.points.get(pattern, (0.0,))[0]):
            self.points[pattern] = value, u
        if len(self.points) > 2 * POINTS:
            self.points = dict(sorted(self.points.items(), key=lambda item: -abs(item[1][0]))[:POINTS])

    def _climb(self):
        """Look for more points from the iterates of open cones, by steps to the gradient."""
        most = min(CLIMBING, self.pool.size)
        order = np.argsort(-self.pool.cones.bounds[: self.pool.size])[:most]
        signs = self.pool.cones.signs[order]
        U = self.pool.cones.moments[order, : len(self.problem.basis)] @ self.problem.basis
        for _ in range(CLIMBS):
            self._try(U.T)
            U = signs[:, None] * ((U @ self.X.T > 0) * self.v @ self.X)

    def finish(self):
        """Return the bound at which a cone is finished, without the allowance."""
        aim = self.threshold if self.refute else max(self.threshold, self.lower * (1 + CLOSED_TOL))
        return max(aim - self.problem.allowance, 0.0)

    def run(self, deadline, max_nodes):
        """Bound cones until nothing is left to do; return the cause of the end."""
        if self.upper <= self.finish():
            return Status.PRECISION
        if len(self.problem.basis) > LARGEST_DIMENSION:
            return Status.HIGH_RANK
        try:
            with ThreadPoolExecutor(cpu_count()) as threads:
                return self._rounds(threads, deadline, max_nodes)
        except KeyboardInterrupt:
            return Status.INTERRUPTED

    def _rounds(self, threads, deadline, max_nodes):
        cones, grace = self.pool.roots(), GRACE
        largest = max(2, int(ROUND / node_seconds(*self.problem.X.shape)))
        while True:
            start = perf_counter()
            self._bound(threads, cones)
            finish = self.finish()
            self.upper = min(self.upper, max(self.pool.largest(), self.finished, min(finish, self.upper)))
            grace -= bool(self.points)
            if self.pool.largest() <= finish:
                return Status.PRECISION
            if self.refute and (len(self.points) >= POINTS or grace < 0):
                self._climb()
                return Status.REFUTED
            if perf_counter() >= deadline:
                return Status.TIME_LIMIT
            if self.n_nodes >= max_nodes:
                return Status.MAX_NODES
            if self.pool.size > 2 * self.pool.most:
                return Status.MEMORY
            # Half as many cones are split as are bounded; the time of a round is to end with that of the search.
            now = perf_counter()
            in_time = len(cones.bounds) * max(deadline - now, 0.0) / (now - start)
            most = min(2 * len(cones.bounds), largest, in_time, max_nodes - self.n_nodes) // 2
            cones = self.pool.split(max(1, int(min(most, self.pool.size // 2))))

    def _bound(self, threads, cones):
        """Bound cones in parallel, and put those that stay open into the pool."""
        problem, unit = self.problem, self.unit
        limits = (self.finish() / unit * (1 - 1e-15), problem.allowance / unit / 4)
        values, rows = np.empty(len(cones.bounds)), np.empty(len(cones.bounds), np.int64)
        scaled = cones.bounds / unit
        arguments = (problem.X, problem.A, problem.p / unit, problem.w / unit)

        def work(part):
            arrays = (cones.signs, cones.sides, cones.facets, cones.moments, scaled)
            bound_cones(arguments, tuple(array[part] for array in arrays), limits, values[part], rows[part])

        size = 1 + len(rows) // (PARTS * cpu_count())
        for job in [threads.submit(work, slice(first, first + size)) for first in range(0, len(rows), size)]:
            job.result()
        self.n_nodes += len(rows)
        bounds = np.minimum(cones.bounds, scaled * unit)
        good = np.flatnonzero(values * unit > min(self.lower, self.threshold) * (1 + CLOSED_TOL))
        if len(good):
            good = good[np.argsort(-values[good])][:POINTS]
            self._try(problem.basis.T @ cones.moments[good, : len(problem.basis)].T)
        is_open = (bounds > limits[0] * unit) & (rows >= 0)
        self.finished = max(self.finished, bounds[~is_open].max(initial=0.0))
        self.pool.put(_Cones(bounds, cones.signs, rows, cones.sides, cones.facets, cones.moments), is_open)

    def result(self, cause):
        """Return the bounds in the units of X and v."""
        upper = max(self.upper + self.problem.allowance, self.lower) if self.upper > 0 or self.lower > 0 else 0.0
        with np.errstate(over="ignore", under="ignore"):
            lower, bound = (float(np.ldexp(value, self.power)) for value in (self.lower, upper))
            if upper > 0 and bound < np.finfo(float).tiny:  # rounded, as subnormal numbers are
                bound = float(np.nextafter(bound, np.inf))
        if self.lower > self.threshold:
            cause = Status.REFUTED
        elif upper <= self.threshold:
            cause = Status.PROVED
        best = sorted(self.points.values(), key=lambda item: -abs(item[0]))[:POINTS]
        points = np.array([np.append(u, np.sign(value)) for value, u in best]).reshape(-1, len(self.u) + 1)
        return KappaBound(lower, bound, self.u, self.sign, self.n_nodes, cause, points)


def _power_of_two(values):
    """Return the exponent of the power of two just above the largest magnitude."""
    return int(np.frexp(np.abs(values).max())[1])


def _reduce(X, v):
    """Return the problem in coordinates of the row space, with unit rows none of which are parallel."""
    used = (v != 0) & np.abs(X).any(axis=1)
    if not used.any():
        return _Problem(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), np.zeros(1), np.eye(1, X.shape[1]), 0.0)
    R, w = X[used], v[used]
    scale = np.abs(R).max(axis=1, keepdims=True)
    lengths = scale[:, 0] * np.linalg.norm(R / scale, axis=1)
    R, w = R / lengths[:, None], w * lengths
    _, s, V = np.linalg.svd(R, full_matrices=False)
    rank = int((s > max(R.shape) * np.finfo(float).eps * s[0]).sum())
    basis = V[:rank]
    R = R @ basis.T
    lost = float(np.sqrt((s[rank:] ** 2).sum()) * np.linalg.norm(w))
    p, total = R.T @ w, np.abs(w).sum()
    R, w, moved = _join_parallel(R, w)
    allowance = (4 * IMPLIED_TOL + (256 + 16 * rank + len(w) / 8) * np.finfo(float).eps) * total + lost + moved
    return _Problem(R, quadratic_rows(R), p, w, basis, allowance)


def _join_parallel(R, w):
    """Add the weights of rows that are equal up to sign, as |x_k'u| is; return also by how much this moves the sum."""
    # A direction that is orthogonal to no row but by chance.
    side = R @ np.cos(np.arange(1, R.shape[1] + 1) ** 2) < 0
    R = np.where(side[:, None], -R, R)
    _, first, group = np.unique(np.round(R, PARALLEL_DIGITS) + 0.0, axis=0, return_index=True, return_inverse=True)
    group = group.ravel()
    moved = float(np.abs(w) @ np.linalg.norm(R - R[first][group], axis=1))
    return np.ascontiguousarray(R[first]), np.bincount(group, weights=w), moved


def _first_bound(problem, sign):
    """Return the bound of the relaxation in which all rows of positive weight have the same multiplier."""
    w = np.maximum(sign * problem.w, 0.0)
    largest = np.linalg.eigvalsh((problem.X.T * w) @ problem.X)[-1]
    joint = np.sqrt(w.sum() * max(largest, 0.0))
    return float(0.5 * (np.linalg.norm(problem.p) + min(joint, w.sum())) * (1 + 1e-12))
