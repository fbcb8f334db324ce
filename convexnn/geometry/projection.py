"""Euclidean projection onto cones {u : s_k x_k.u >= 0}: compiled kernels, in threads where there are many cones.

With A the rows s_k x_k scaled to unit length, Proj_K(g) = g + A' mu with mu >= 0 of least |g + A' mu|: a non-negative
least squares problem with at most n_features positive multipliers. It is solved by the active-set method of Lawson and
Hanson: the most violated row joins the tight ones, g is projected onto their null space through an orthonormal basis
(Gram-Schmidt, done twice), and rows whose multiplier turns negative leave on the way, by rotations of the basis. Every
step shortens |g + A' mu|, so the method ends; and as mu >= 0 throughout, the length returned does not fall below
|Proj_K(g)|, but for rounding, which grows with the condition number of the tight rows. It may start from the tight rows
of a similar vector, and stop where the length is small enough. Of many rows, those most violated in their chunks are
tried again before all are looked at.

References
----------
C. L. Lawson and R. J. Hanson (1974), Solving Least Squares Problems, chapters 23 and 24. Prentice-Hall.
"""

import numpy as np

from ..utils.kernels import ZERO, kernel
from ..utils.threads import share_out

__all__ = ["bound_projections", "copy", "dot", "project", "project_blocks", "subtract", "unit_columns"]

# Violation of a unit row, relative to the length of the projection, that counts as rounding.
FEASIBILITY_TOL = 1e-13
# A projection shorter than this, relative to the length of what is projected, is rounding of zero.
ROUNDING = 4 * np.finfo(float).eps
# Violation beyond which a projection has failed.
ACCEPTED_TOL = 1e-10
# A row this close to the span of the tight ones is in it.
DEPENDENCE_TOL = 1e-12
# Rows whose products with a vector are made at a time.
CHUNK = 1024


def unit_columns(X):
    """Scale the rows of X to unit length (zero rows stay); return them as columns (n_features, n_samples)."""
    scale = np.maximum(np.abs(X).max(axis=1, keepdims=True), np.finfo(float).tiny)
    rows = X / scale
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.ascontiguousarray((rows / np.where(lengths > 0, lengths, 1.0)).T)


def project_blocks(columns, patterns, G, tight, least):
    """Project the rows of G onto the cones of their patterns; raise RuntimeError where one does not finish.

    `columns` are those of `unit_columns`; `patterns` (n_selected, n_samples) says which rows are to be positive in each
    cone, the others being negative. `tight` (n_selected, n_features), int32, has likely tight rows, filled up with -1;
    it is overwritten by those that are, where the projection is longer than `least`; others need not finish.
    """
    return _project_all(columns, patterns, G, tight, least)[0]


def bound_projections(columns, patterns, G, least):
    """Return projections as `project_blocks`, and upper bounds (n_selected,) of the lengths of the exact ones.

    A bound is |g + A'mu| for the mu >= 0 that were found, rounding included: an error of eps in the rows times mu.
    """
    P, multipliers = _project_all(columns, patterns, G, np.full(G.shape, -1, np.int32), least)
    sizes = np.linalg.norm(G, axis=1) + multipliers
    return P, np.linalg.norm(P, axis=1) + ROUNDING * (len(columns) + 4) * sizes


def _project_all(columns, patterns, G, tight, least):
    """Return the projections and the sums of the multipliers; raise RuntimeError where one did not finish."""
    out, finished, sums, G = np.empty(G.shape), np.empty(len(G), bool), np.empty(len(G)), np.ascontiguousarray(G)

    def part(batch):
        arrays = (array[batch] for array in (patterns, G, tight))
        _project_blocks(columns, *arrays, float(least), out[batch], finished[batch], sums[batch])

    # a warm start looks at all rows once or twice, a cold one up to d times
    share_out(part, len(G), columns.size * np.sqrt(len(columns)))
    if not finished.all():
        raise RuntimeError("a cone projection did not finish; rows of X are too close to dependent")
    return out, sums


@kernel(nogil=True)
def _project_blocks(columns, patterns, G, tight, least, out, finished, sums):
    """Project as `project_blocks`, to `out`; write which finished, and the sums of the multipliers."""
    mu = np.empty(len(columns))
    for b in range(len(G)):
        for q in range(len(mu)):
            mu[q] = 0.0
        finished[b] = project(columns, patterns[b], G[b], tight[b], least, out[b], mu)
        sums[b] = 0.0
        for q in range(len(mu)):
            sums[b] += mu[q]


@kernel(fastmath={"reassoc", "contract", "nsz"})
def dot(a, b):
    """Return a'b."""
    t = 0.0
    for i in range(len(a)):
        t += a[i] * b[i]
    return t


@kernel
def subtract(a, t, b):
    """Set a to a - t b."""
    for i in range(len(a)):
        a[i] -= t * b[i]


@kernel
def copy(a, b):
    """Set b to a."""
    for i in range(len(b)):
        b[i] = a[i]


@kernel
def project(columns, pattern, g, tight, least, u, mu):
    """Project g onto one cone, as `project_blocks`; return whether no row is violated.

    u is overwritten by the projection, the first entries of mu by the multipliers of the tight rows, in their order.
    """
    d = len(columns)
    length = np.sqrt(dot(g, g))
    copy(g, u)
    if length <= least:
        return True
    s, Q, R = np.empty(d), np.empty((d, d)), np.empty((d, d))
    n_tight = _warm_start(columns, pattern, g, tight, mu, s, Q, R)
    remaining = _residual(Q, n_tight, g, u)
    if max(least, ROUNDING * length) >= remaining > ROUNDING * length:  # before anything of the size of the data
        for q in range(n_tight, d):
            tight[q] = -1
        return True
    side = np.empty(columns.shape[1])  # 0 for barred rows: the tight ones, and those in their span
    _free_sides(pattern, tight, n_tight, side)
    worst, candidates, n_candidates = 0.0, np.empty(columns.shape[1] // CHUNK + 1, np.int64), ZERO
    for _ in range(100 + 30 * d):
        if remaining <= max(least, ROUNDING * length):
            if remaining <= ROUNDING * length:
                for i in range(d):
                    u[i] = 0.0
            worst = 0.0
            break
        k, worst = _worst_of(columns, side, u, candidates, n_candidates, -FEASIBILITY_TOL * remaining)
        if k < 0:
            k, worst, n_candidates = _most_violated(columns, side, u, -FEASIBILITY_TOL * remaining, candidates)
        if k < 0 or n_tight == d:
            break
        side[k] = 0.0
        tight[n_tight], mu[n_tight] = k, 0.0
        if not _orthonormalise(columns, pattern, tight, n_tight, Q, R):
            continue
        n_tight += 1
        while n_tight > 0:
            if _multipliers(Q, R, n_tight, g, s):
                break
            newest_fails = s[n_tight - 1] <= 0.0 and mu[n_tight - 1] == 0.0
            n_tight = _leave(tight, mu, s, n_tight, Q, R)
            _free_sides(pattern, tight, n_tight, side)  # one in the span of the old tight rows may not be in the new
            if newest_fails:
                side[k] = 0.0  # its violation is rounding
        for q in range(n_tight):
            mu[q] = s[q]
        remaining = _residual(Q, n_tight, g, u)
    for q in range(n_tight, d):
        tight[q] = -1
    return worst >= -ACCEPTED_TOL * length


@kernel(inline="always")
def _warm_start(columns, pattern, g, tight, mu, s, Q, R):
    """Keep of the rows in `tight` those that are independent and have positive multipliers; return how many."""
    m = ZERO
    for q in range(len(tight)):
        if tight[q] < 0:
            break
        tight[m] = tight[q]
        if _orthonormalise(columns, pattern, tight, m, Q, R):
            m += 1
    while m > 0:
        _multipliers(Q, R, m, g, s)
        for q in range(m):
            mu[q] = s[q]
        stay = m
        for q in range(m - 1, -1, -1):
            if s[q] <= 0.0:
                stay = _delete(q, tight, mu, stay, Q, R)
        if stay == m:
            break
        m = stay
    return m


@kernel
def _residual(Q, m, g, u):
    """Write g less its part in the span of the tight rows to u; return its length."""
    copy(g, u)
    for _ in range(2):
        for q in range(m):
            subtract(u, dot(Q[q], u), Q[q])
    return np.sqrt(dot(u, u))


@kernel
def _worst_of(columns, side, u, candidates, n_candidates, worst):
    """Return the candidate with the least side * (row.u) below `worst`, -1 if there is none, and that value."""
    found = -1
    for c in range(n_candidates):
        k, value = candidates[c], 0.0
        for i in range(len(u)):
            value += columns[i, k] * u[i]
        value *= side[k]
        if value < worst:
            found, worst = k, value
    return found, worst


@kernel(fastmath={"contract"})
def _most_violated(columns, side, u, least, candidates):
    """Do as `_worst_of` for all rows; write the worst of each chunk to `candidates`, and return how many too."""
    d, n = columns.shape
    found, worst, n_candidates, products = -1, least, 0, np.empty(min(n, CHUNK))
    for first in range(0, n, CHUNK):
        last = min(n, first + CHUNK)
        z = products[: last - first]
        for j in range(len(z)):
            z[j] = 0.0
        for i in range(0, d - 3, 4):
            a, b = columns[i, first:last], columns[i + 1, first:last]
            c, e = columns[i + 2, first:last], columns[i + 3, first:last]
            ta, tb, tc, te = u[i], u[i + 1], u[i + 2], u[i + 3]
            for j in range(len(z)):
                z[j] += a[j] * ta + b[j] * tb + c[j] * tc + e[j] * te
        for i in range(d - d % 4, d):
            a, ta = columns[i, first:last], u[i]
            for j in range(len(z)):
                z[j] += a[j] * ta
        sides, k, lowest = side[first:last], -1, least
        for j in range(len(z)):
            value = sides[j] * z[j]
            if value < lowest:
                k, lowest = first + j, value
        if k >= 0:
            candidates[n_candidates] = k
            n_candidates += 1
            if lowest < worst:
                found, worst = k, lowest
    return found, worst, n_candidates


@kernel
def _free_sides(pattern, tight, n_tight, side):
    """Write the signs of the rows in the cone, 0 for those that are tight."""
    for j in range(len(side)):
        side[j] = 1.0 if pattern[j] else -1.0
    for q in range(n_tight):
        side[tight[q]] = 0.0


@kernel
def _orthonormalise(columns, pattern, tight, q, Q, R):
    """Add a tight row to the orthonormal rows Q, a_q = sum_p R[p, q] Q_p; return False if it depends on the others."""
    sign = 1.0 if pattern[tight[q]] else -1.0
    for i in range(len(columns)):
        Q[q, i] = sign * columns[i, tight[q]]
    for p in range(q + 1):
        R[p, q] = 0.0
    for _ in range(2):
        for p in range(q):
            t = dot(Q[p], Q[q])
            R[p, q] += t
            subtract(Q[q], t, Q[p])
    R[q, q] = np.sqrt(dot(Q[q], Q[q]))
    if R[q, q] <= DEPENDENCE_TOL:
        return False
    for i in range(len(columns)):
        Q[q, i] /= R[q, q]
    return True


@kernel
def _multipliers(Q, R, m, g, s):
    """Solve R s = -Q g, the multipliers of least |g + A' s| on the m tight rows; return whether all are positive."""
    positive = True
    for q in range(m - 1, -1, -1):
        t = -dot(Q[q], g)
        for p in range(q + 1, m):
            t -= R[q, p] * s[p]
        s[q] = t / R[q, q]
        positive = positive and s[q] > 0.0
    return positive


@kernel(inline="always")
def _leave(tight, mu, s, m, Q, R):
    """Move mu towards s until a multiplier vanishes, and drop the rows where it did; return how many stay."""
    step, drop = 1.0, -1
    for q in range(m):
        if s[q] <= 0.0:
            t = mu[q] / (mu[q] - s[q]) if mu[q] > 0.0 else 0.0
            if drop < 0 or t < step:
                step, drop = t, q
    for q in range(m - 1, -1, -1):
        mu[q] += step * (s[q] - mu[q])
        if q == drop or mu[q] <= 0.0:
            m = _delete(q, tight, mu, m, Q, R)
    return m


@kernel
def _delete(k, tight, mu, m, Q, R):
    """Take the k-th tight row out of the m rows of the factorisation, by rotations; return m - 1."""
    for q in range(k, m - 1):
        tight[q], mu[q] = tight[q + 1], mu[q + 1]
        for p in range(q + 2):
            R[p, q] = R[p, q + 1]
        a, b = R[q, q], R[q + 1, q]
        size = np.hypot(a, b)
        a, b = a / size, b / size
        R[q, q], R[q + 1, q] = size, 0.0
        for p in range(q + 2, m):
            R[q, p], R[q + 1, p] = a * R[q, p] + b * R[q + 1, p], a * R[q + 1, p] - b * R[q, p]
        for i in range(len(Q)):
            Q[q, i], Q[q + 1, i] = a * Q[q, i] + b * Q[q + 1, i], a * Q[q + 1, i] - b * Q[q, i]
    return m - 1
