"""What the facets of a polyhedral cone imply about the signs of other rows: compiled kernels.

A row x has x'u >= 0 on {u : b_q'u >= 0 for all q} if and only if x = sum_q mu_q b_q with mu >= 0 (Farkas): non-negative
least squares tells, by the active-set method of Lawson and Hanson. Where it leaves a residual r, b_q'r <= 0 for all q
and x'r > 0: -r is a point of the cone where x'u < 0. Such points are kept: a row that has both signs on them needs no
test.

References
----------
C. L. Lawson and R. J. Hanson (1974), Solving Least Squares Problems, chapter 23. Prentice-Hall.
"""

import numpy as np

from ..geometry.projection import dot
from ..utils.kernels import NONE, ZERO, kernel

__all__ = ["IMPLIED_TOL", "linear_bound", "settle"]

# A unit row this close to the cone of the facets has the sign of the facets.
IMPLIED_TOL = 2e-13
# A pivot of unit rows that counts as zero.
DEPENDENT = 1e-12
# Points of a cone that are kept.
POINTS = 32


@kernel(nogil=True, error_model="numpy")
def settle(X, w, side, facets, u):
    """Drop facets that the others imply, and fix the signs that the facets imply; return the number of facets.

    The rows of X are unit rows. `facets` has 1 + k where x_k'u >= 0, -1 - k where x_k'u <= 0, then zeros, and is
    shortened in place; in `side` the signs that are not known, 0, are completed. Rows of negative weight are looked at
    only where the sign of every row of positive weight is known. u is a point likely to be in the cone: it tells which
    sign to test.
    """
    d, m = X.shape[1], 0
    while m < len(facets) and facets[m] != 0:
        m += 1
    B, G = np.empty((m, d)), np.empty((m, m))
    _generators(X, facets, B, G)
    work = (np.empty((d, d)), np.empty(d, np.int64), np.empty(d), np.empty(m), np.empty(m), np.empty(d))
    kept = _drop_implied(B, G, facets, work)
    B, G = np.empty((kept, d)), np.empty((kept, kept))
    _generators(X, facets, B, G)
    if _settle_rows(X, w, 1.0, side, B, G, u, work) == 0:
        _settle_rows(X, w, -1.0, side, B, G, u, work)
    return kept


@kernel(nogil=True, error_model="numpy")
def linear_bound(X, p, w, side, facets, u):
    """Return the maximum on a cone where all rows have one sign, b'u with b = (p + sum_k w_k s_k x_k) / 2, or more.

    u is overwritten by a multiple of the projection of b onto the cone, the maximiser but for its length, unless that
    is 0. `facets`, without zeros at the end, are otherwise as for `settle`.
    """
    d, m = X.shape[1], len(facets)
    b, B, G = np.empty(d), np.empty((m, d)), np.empty((m, m))
    for a in range(d):
        b[a] = -0.5 * p[a]
        for k in range(len(w)):
            b[a] -= 0.5 * w[k] * side[k] * X[k, a]
    length = np.sqrt(dot(b, b))
    if length == 0.0:
        return 0.0
    for a in range(d):
        b[a] /= length
    _generators(X, facets, B, G)
    work = (np.empty((d, d)), np.empty(d, np.int64), np.empty(d), np.empty(m), np.empty(m), np.empty(d))
    # The projection of b onto the cone is what the projection of -b onto the cone of the facets leaves of -b.
    distance = _distance(B, G, b, NONE, work)
    if distance > IMPLIED_TOL:
        for a in range(d):
            u[a] = -work[5][a]
    return length * distance


@kernel(nogil=True, error_model="numpy")
def _settle_rows(X, w, kind, side, B, G, u, work):
    """Fix the signs that the facets imply of the rows whose weight has the sign `kind`; return how many stay open."""
    n_open, d, residual = 0, X.shape[1], work[5]
    x, points, n_points = np.empty(d), np.empty((POINTS, d)), 0
    for k in range(len(w)):
        if side[k] != 0 or not kind * w[k] > 0.0:
            continue
        n_open += 1
        above = below = False
        for q in range(n_points):
            t = dot(X[k], points[q])
            above, below = above or t > 0.0, below or t < 0.0
            if above and below:
                break
        if above and below:
            continue
        sign = 1.0 if above or (not below and dot(X[k], u) >= 0.0) else -1.0
        for a in range(d):
            x[a] = sign * X[k, a]
        if _distance(B, G, x, NONE, work) <= IMPLIED_TOL:
            side[k] = np.int8(sign)
            n_open -= 1
        elif n_points < POINTS:
            for a in range(d):
                points[n_points, a] = -residual[a]
            n_points += 1
    return n_open


@kernel(nogil=True, error_model="numpy")
def _generators(X, facets, B, G):
    """Write the rows of the facets with their signs to B, and the products of these to G."""
    for q in range(len(B)):
        sign = 1.0 if facets[q] > 0 else -1.0
        for a in range(X.shape[1]):
            B[q, a] = sign * X[abs(facets[q]) - 1, a]
        for r in range(q + 1):
            G[q, r] = G[r, q] = dot(B[q], B[r])


@kernel(nogil=True, error_model="numpy")
def _drop_implied(B, G, facets, work):
    """Drop facets that the others imply, all but the last, which is new; return how many stay."""
    m, d, q, x = len(B), B.shape[1], ZERO, np.empty(B.shape[1])
    while q < m - 1:
        for i in range(d):
            x[i] = B[q, i]
        if _distance(B[:m], G, x, q, work) > IMPLIED_TOL:
            q += 1
            continue
        m -= 1
        for r in range(q, m):
            facets[r] = facets[r + 1]
            for i in range(d):
                B[r, i] = B[r + 1, i]
            for a in range(len(B)):
                G[r, a] = G[r + 1, a]
        for r in range(q, m):
            for a in range(len(B)):
                G[a, r] = G[a, r + 1]
    for q in range(m, len(B)):
        facets[q] = 0
    return m


@kernel(nogil=True, error_model="numpy")
def _distance(B, G, x, barred, work):
    """Return the distance of x to the cone of the rows of B but one, or more; what is left of x goes to work[5]."""
    L, active, s, mu, c, residual = work
    n_rows, d = B.shape
    m = ZERO
    for q in range(n_rows):
        mu[q], c[q] = 0.0, dot(B[q], x)
    for i in range(d):
        residual[i] = x[i]
    for _ in range(3 * d + 10):
        k, worst = -1, 0.25 * IMPLIED_TOL
        for q in range(n_rows):
            if q != barred and mu[q] == 0.0:
                t = dot(B[q], residual)
                if t > worst:
                    k, worst = q, t
        if k < 0 or m == d:
            break
        active[m] = k
        if not _solve(G, c, active, m + 1, L, s):
            break
        m = _restore(G, c, active, m + 1, L, s, mu)
        for i in range(d):
            residual[i] = x[i]
        for a in range(m):
            mu[active[a]] = s[a]
            for i in range(d):
                residual[i] -= s[a] * B[active[a], i]
        if dot(residual, residual) <= IMPLIED_TOL * IMPLIED_TOL:
            break
    return np.sqrt(dot(residual, residual))


@kernel(nogil=True, error_model="numpy")
def _restore(G, c, active, m, L, s, mu):
    """Move mu towards s, leaving out rows whose multipliers vanish on the way; return the number of active rows."""
    while m > 0:
        drop, size = -1, 1.0
        for a in range(m):
            if s[a] <= 0.0:
                t = mu[active[a]] / (mu[active[a]] - s[a]) if mu[active[a]] > 0.0 else 0.0
                if drop < 0 or t < size:
                    drop, size = a, t
        if drop < 0:
            break
        for a in range(m):
            mu[active[a]] = max(0.0, mu[active[a]] + size * (s[a] - mu[active[a]]))
        mu[active[drop]] = 0.0
        m -= 1
        for a in range(drop, m):
            active[a] = active[a + 1]
        _solve(G, c, active, m, L, s)
    return m


@kernel(nogil=True, error_model="numpy")
def _solve(G, c, active, m, L, s):
    """Write the solution of the normal equations of m active rows to s; return False if the rows are dependent."""
    for a in range(m):
        for e in range(a + 1):
            t = G[active[a], active[e]] - dot(L[a, :e], L[e, :e])
            if a == e:
                if t <= DEPENDENT:
                    return False
                L[a, a] = np.sqrt(t)
            else:
                L[a, e] = t / L[e, e]
        s[a] = (c[active[a]] - dot(L[a, :a], s[:a])) / L[a, a]
    for a in range(m - 1, -1, -1):
        s[a] /= L[a, a]
        for e in range(a):
            s[e] -= L[a, e] * s[a]
    return True
