"""Bounds of w'(Xu)_+, |u| <= 1, on polyhedral cones, by a semidefinite relaxation of size d + 1: compiled kernels.

On the cone {u : s_k x_k'u >= 0, k in its path} the function is p'u / 2 + sum_k w_k |x_k'u| / 2 with p = X'w. Let U stand
for uu'. For every u of the cone with |u| = 1 the pair (u, U) is feasible, and the objective no smaller, in

    maximise    p'u / 2 + sum_path w_k s_k x_k'u / 2 - sum_{w_k < 0} |w_k| |x_k'u| / 2 + sum_{w_k > 0} w_k sqrt(x_k'U x_k) / 2
    subject to  [1, u'; u, U] >= 0 semidefinite, tr U = 1, s_k x_k'u >= 0, s_j s_k x_j'U x_k >= 0 for j, k in the path,

a concave program. Each concave term is below each of its tangents: -|z| <= -sigma z with |sigma| <= 1, and
sqrt(y) <= r / 2 + y / (2 r) with r > 0; a constraint q >= 0 adds tau q with tau >= 0. All multipliers together leave
b'u + <U, Q> + const, whose maximum over the unit sphere is at most that of a trust region problem,

    bound = const + min over mu > lambda_max(Q) of mu + b'(mu I - Q)^-1 b / 4,

so every choice of multipliers gives a valid bound, and the program need not be solved to the end. It is solved by Newton
steps along a central path: kinks smoothed over a width that falls with the weight eps of the barrier log det, constraints
as kinks of a finite slope. A cone is split along the wall of the row whose root exceeds |x_k'u| most.
"""

import numpy as np
from numba import njit

__all__ = ["bound_cones", "quadratic_rows"]

# Weights of the barrier, relative to the scale of the objective: the first, the last, the factor between them.
FIRST_EPS, LAST_EPS, SHRINK = 3e-3, 1e-10, 0.25
# Width of a smoothed kink of slope c: KINK eps / c.
KINK = 0.3
# Newton steps for one eps, and in all.
INNER, STEPS, CENTRED = 25, 120, 1.0
PRICE = 1.0
# Rows of a path, counted from its end, whose products are constrained.
PRODUCTS = 20
# A cone whose bound is this close to its own value, relatively, is finished.
EXACT_TOL = 1e-10
# A cone that must be split is bounded until bound - value of the relaxation is this part of bound - limit.
UNDECIDED = 0.25
# A row whose root exceeds |x_k'u| by less than this adds nothing to the bound.
LOOSE = 1e-11
# A row this close to the cone of the facets has the sign of the facets.
IMPLIED_TOL = 2e-13
# Points of a cone that are kept to see that a row has both signs.
POINTS = 32


def quadratic_rows(X):
    """Return the coefficients of x_k'U x_k in the upper triangle of U.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The rows.

    Returns
    -------
    ndarray of shape (n_samples, n_features * (n_features + 1) / 2)
        The coefficients, row by row of the triangle.
    """
    first, second = np.triu_indices(X.shape[1])
    return X[:, first] * X[:, second] * np.where(first == second, 1.0, 2.0)


@njit(cache=True, nogil=True)
def bound_cones(X, A, p, w, signs, sides, facets, moments, limits, bounds, values, rows):
    """Bound cones from above.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows of unit length.
    A : ndarray of shape (n_samples, n_features * (n_features + 1) / 2)
        Of `quadratic_rows`.
    p : ndarray of shape (n_features,)
        The linear part, twice that of the objective.
    w : ndarray of shape (n_samples,)
        The weights, in units in which the bounds are of the order 1.
    signs : ndarray of shape (n_cones,)
        The sign of w and p in each cone.
    sides : int8 array of shape (n_cones, n_samples)
        The signs of the rows on each cone, 0 where they are not known; more are found.
    facets : int32 array of shape (n_cones, n_facets)
        The rows that describe each cone, 1 + k where x_k'u >= 0, -1 - k where x_k'u <= 0, then zeros; those that the
        others imply are dropped.
    moments : ndarray of shape (n_cones, n_features + n_features * (n_features + 1) / 2)
        Where to start, u and the upper triangle of U; overwritten by the last iterates.
    limits : tuple of float
        A cone whose bound is no larger than the first is finished; the second is added to each bound for roundings.
    bounds : ndarray of shape (n_cones,)
        Known bounds; overwritten by the new ones where these are smaller.
    values : ndarray of shape (n_cones,)
        Overwritten by the values of the objective at u / |u|.
    rows : integer array of shape (n_cones,)
        Overwritten by the rows along which to split, -1 for cones that are finished.
    """
    n, d = X.shape
    D = A.shape[1]
    first, second = np.empty(d + D, np.int64), np.empty(d + D, np.int64)
    q = d
    for a in range(d):
        first[a], second[a] = 0, a + 1
        for e in range(a, d):
            first[q], second[q] = a + 1, e + 1
            q += 1
    z = np.empty(n)
    for c in range(len(signs)):
        m, v = moments[c], signs[c] * w
        side, length = sides[c], _settle(X, v, sides[c], facets[c], m[:d])
        bound = _relax(X, A, signs[c] * p, v, side, facets[c, :length], m, limits, (first, second))
        bounds[c] = min(bounds[c], bound)
        values[c] = _value(X, signs[c] * p, v, m[:d], z)
        rows[c] = -1
        if bounds[c] > limits[0] and bounds[c] > values[c] * (1 + EXACT_TOL) and length < facets.shape[1]:
            rows[c] = _loosest(A, v, side, m[d:], z)


@njit(cache=True, nogil=True)
def _settle(X, w, side, facets, u):
    """Drop facets that the others imply, and fix the signs that the facets imply; return the number of facets."""
    d, n_facets = X.shape[1], 0
    while n_facets < len(facets) and facets[n_facets] != 0:
        n_facets += 1
    B, G, x = np.empty((n_facets, d)), np.empty((n_facets, n_facets)), np.empty(d)
    _generators(X, facets, n_facets, B, G)
    work = (np.empty((d, d)), np.empty(d, np.int64), np.empty(d), np.empty(n_facets), np.empty(n_facets), np.empty(d))
    allowed = np.ones(n_facets, np.bool_)
    for q in range(n_facets - 1):
        allowed[q] = False
        x[:] = B[q]
        allowed[q] = _distance(B, G, x, allowed, work) > IMPLIED_TOL
    kept = 0
    for q in range(n_facets):
        if allowed[q]:
            facets[kept] = facets[q]
            kept += 1
    facets[kept:n_facets] = 0
    points, n_points = np.empty((POINTS, d)), 0
    for k in range(len(w)):
        if side[k] != 0 or w[k] <= 0.0:
            continue
        above = below = False
        for q in range(n_points):
            t = _dot(X[k], points[q])
            above, below = above or t > 0.0, below or t < 0.0
        if above and below:
            continue
        sign = 1.0 if above or (not below and _dot(X[k], u) >= 0.0) else -1.0
        for a in range(d):
            x[a] = sign * X[k, a]
        if _distance(B, G, x, allowed, work) <= IMPLIED_TOL:
            side[k] = np.int8(sign)
        elif n_points < POINTS:
            # The residual is normal to a wall between x and the facets' cone: minus it is a point where x'u < 0.
            for a in range(d):
                points[n_points, a] = -work[5][a]
            n_points += 1
    return kept


@njit(cache=True, nogil=True)
def _generators(X, facets, n_facets, B, G):
    """Write the rows of the facets with their signs, and their products."""
    for q in range(n_facets):
        sign = 1.0 if facets[q] > 0 else -1.0
        for a in range(X.shape[1]):
            B[q, a] = sign * X[abs(facets[q]) - 1, a]
        for r in range(q + 1):
            G[q, r] = G[r, q] = _dot(B[q], B[r])


@njit(cache=True, nogil=True)
def _distance(B, G, x, allowed, work):
    """Return the distance of x to the cone of the allowed rows of B, or more; x less its projection goes to work[5]."""
    L, active, s, mu, c, residual = work
    n_rows, d = B.shape
    m = 0
    for q in range(n_rows):
        mu[q], c[q] = 0.0, _dot(B[q], x)
    residual[:] = x
    for _ in range(3 * d + 10):
        k, worst = -1, 0.25 * IMPLIED_TOL
        for q in range(n_rows):
            if allowed[q] and mu[q] == 0.0:
                t = _dot(B[q], residual)
                if t > worst:
                    k, worst = q, t
        if k < 0 or m == d:
            break
        active[m], mu[k], m = k, 0.0, m + 1
        while m > 0 and not _solve(G, c, active, m, L, s):
            m -= 1  # the newest row depends on the others
            return np.sqrt(_dot(residual, residual))
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
            for a in range(drop, m - 1):
                active[a] = active[a + 1]
            m -= 1
            _solve(G, c, active, m, L, s)
        for a in range(m):
            mu[active[a]] = s[a]
        residual[:] = x
        for a in range(m):
            for i in range(d):
                residual[i] -= s[a] * B[active[a], i]
        if _dot(residual, residual) <= IMPLIED_TOL * IMPLIED_TOL:
            break
    return np.sqrt(_dot(residual, residual))


@njit(cache=True, nogil=True)
def _solve(G, c, active, m, L, s):
    """Solve the normal equations of the m active rows; False if they are dependent."""
    for a in range(m):
        for e in range(a + 1):
            t = G[active[a], active[e]] - _dot(L[a, :e], L[e, :e])
            if a == e:
                if t <= 1e-12:
                    return False
                L[a, a] = np.sqrt(t)
            else:
                L[a, e] = t / L[e, e]
        s[a] = (c[active[a]] - _dot(L[a, :a], s[:a])) / L[a, a]
    for a in range(m - 1, -1, -1):
        s[a] /= L[a, a]
        for e in range(a):
            s[e] -= L[a, e] * s[a]
    return True


@njit(cache=True, nogil=True)
def _value(X, p, w, u, z):
    """Return the objective at u / |u|, and write the products of the rows with u to z."""
    _multiply(X, u, z)
    value, square = 0.0, 0.0
    for a in range(len(u)):
        value += 0.5 * p[a] * u[a]
        square += u[a] * u[a]
    for k in range(len(z)):
        value += 0.5 * w[k] * abs(z[k])
    return value / np.sqrt(square) if square > 0.0 else 0.0


@njit(cache=True, nogil=True)
def _loosest(A, w, side, U, z):
    """Return the row whose root exceeds |x_k'u| most, weighted; -1 if there is none."""
    k, worst = -1, 0.0
    for q in range(len(z)):
        if side[q] == 0 and w[q] > 0.0:
            y = 0.0
            for a in range(A.shape[1]):
                y += A[q, a] * U[a]
            loose = np.sqrt(max(0.0, y)) - abs(z[q])
            if loose > LOOSE and w[q] * loose > worst:
                k, worst = q, w[q] * loose
    return k


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _multiply(X, u, z):
    for k in range(len(X)):
        t = 0.0
        for a in range(X.shape[1]):
            t += X[k, a] * u[a]
        z[k] = t


@njit(cache=True, nogil=True)
def _relax(X, A, p, w, side, path, m, limits, pairs):
    """Return a bound of the cone; m is moved to the last iterate."""
    n, d = X.shape
    N = len(m)
    Z, roots, n_roots = _quadratic_terms(X, A, w, side, path)
    kinks, slopes, price = np.empty(n), np.empty(d), PRICE
    z, y, dz, dy = np.empty(n), np.empty(len(Z)), np.empty(n), np.empty(len(Z))
    duals = np.zeros(n + len(Z))
    g, H, step = np.empty(N), np.empty((N, N)), np.empty(N)
    _prices(X, p, w, side, path, price, kinks, slopes)
    terms = d + 1 + len(Z) - n_roots + np.count_nonzero(kinks)
    bound, eps, inner = np.inf, FIRST_EPS, 0
    for _ in range(STEPS):
        _multiply(X, m[:d], z)
        _multiply(Z, m[d:], y)
        smooth, primal, const = _derivatives(X, Z, roots, n_roots, kinks, slopes, price, z, y, duals, eps, m, g, H)
        here = _trust_region(g, const) + limits[1]
        bound = min(bound, here)
        if bound <= limits[0] or (primal > limits[0] and bound - primal <= UNDECIDED * (bound - limits[0])):
            break
        log_det = _barrier(m, pairs, eps, g, H)
        if not _newton_step(H, g, pairs, step):
            break
        decrement = 0.0
        for i in range(N):
            decrement += g[i] * step[i]
        _multiply(X, step[:d], dz)
        _multiply(Z, step[d:], dy)
        size = _line_search(m, step, smooth + eps * log_det, decrement, (z, y, dz, dy, roots, n_roots, kinks, slopes, price, eps))
        for i in range(N):
            m[i] += size * step[i]
        _move_duals(duals[:n], z, dz, kinks, eps, size)
        _move_duals(duals[n + n_roots :], y[n_roots:], dy[n_roots:], np.full(len(Z) - n_roots, 0.5 * price), eps, size)
        inner += 1
        if here - primal < CENTRED * eps * terms or inner == INNER:
            if eps <= LAST_EPS:
                break
            if inner < INNER and _violated(path, z, y[n_roots:], KINK * eps / price):
                price *= 4.0
                _prices(X, p, w, side, path, price, kinks, slopes)
            else:
                eps = max(LAST_EPS, SHRINK * eps)
            inner = 0
    return bound


@njit(cache=True, nogil=True)
def _quadratic_terms(X, A, w, side, path):
    """Return coefficients of U, of the rows under a root and of products of rows of the path, and weights of roots."""
    d, D = X.shape[1], A.shape[1]
    n_roots, first = 0, max(0, len(path) - PRODUCTS)
    for k in range(len(w)):
        n_roots += side[k] == 0 and w[k] > 0.0
    last = len(path) - first
    Z, roots = np.empty((n_roots + last * (last - 1) // 2, D)), np.empty(n_roots)
    q = 0
    for k in range(len(w)):
        if side[k] == 0 and w[k] > 0.0:
            Z[q], roots[q] = A[k], 0.5 * w[k]
            q += 1
    for e in range(first, len(path)):
        for f in range(first, e):
            j, k = abs(path[e]) - 1, abs(path[f]) - 1
            sign, r = float(side[j] * side[k]), 0
            for a in range(d):
                Z[q, r] = sign * X[j, a] * X[k, a]
                for b in range(a + 1, d):
                    Z[q, r + b - a] = sign * (X[j, a] * X[k, b] + X[j, b] * X[k, a])
                r += d - a
            q += 1
    return Z, roots, n_roots


@njit(cache=True, nogil=True)
def _prices(X, p, w, side, path, price, kinks, slopes):
    """Write the weights of -|x_k'u|, and the linear part in u: price min(z, 0) = price (z - |z|) / 2 for a constraint."""
    for a in range(len(p)):
        slopes[a] = 0.5 * p[a]
    for k in range(len(w)):
        kinks[k] = 0.0
        if side[k] != 0:
            for a in range(len(p)):
                slopes[a] += 0.5 * w[k] * side[k] * X[k, a]
        elif w[k] < 0.0:
            kinks[k] = -0.5 * w[k]
    for q in range(len(path)):
        k = abs(path[q]) - 1
        kinks[k] = 0.5 * price
        for a in range(len(p)):
            slopes[a] += 0.5 * price * side[k] * X[k, a]


@njit(cache=True, nogil=True)
def _derivatives(X, Z, roots, n_roots, kinks, slopes, price, z, y, duals, eps, m, g, H):
    """Write the gradient and minus the Hessian of the smoothed objective; return it, the true one, and the constant."""
    n, d = X.shape
    smooth, const = 0.0, 0.0
    hu, hU, cU = np.zeros(n), np.empty(len(Z)), np.empty(len(Z))
    for a in range(d):
        smooth += slopes[a] * m[a]
        g[a] = slopes[a]
    primal = smooth
    for k in range(n):
        if kinks[k] > 0.0:
            width = KINK * eps / kinks[k]
            s = np.sqrt(z[k] * z[k] + width * width)
            smooth, primal = smooth - kinks[k] * s, primal - kinks[k] * abs(z[k])
            t = kinks[k] * z[k] / s
            for a in range(d):
                g[a] -= t * X[k, a]
            hu[k] = kinks[k] / s * (1.0 - duals[k] * z[k] / s)
    for q in range(n_roots):
        s = np.sqrt(max(y[q], 1e-300))
        smooth, primal, const = smooth + roots[q] * s, primal + roots[q] * s, const + 0.5 * roots[q] * s
        cU[q], hU[q] = 0.5 * roots[q] / s, 0.25 * roots[q] / (s * s * s)
    kink = 0.5 * price
    width = KINK * eps / kink
    for q in range(n_roots, len(Z)):
        s = np.sqrt(y[q] * y[q] + width * width)
        smooth, primal = smooth + kink * (y[q] - s), primal + kink * (y[q] - abs(y[q]))
        cU[q], hU[q] = kink * (1.0 - y[q] / s), kink / s * (1.0 - duals[n + q] * y[q] / s)
    H[:] = 0.0
    H[:d, :d] = np.dot(X.T * hu, X)
    if len(Z) > 0:
        g[d:] = np.dot(cU, Z)
        H[d:, d:] = np.dot(Z.T * hU, Z)
    else:
        g[d:] = 0.0
    return smooth, primal, const


@njit(cache=True, nogil=True)
def _move_duals(duals, z, dz, kinks, eps, size):
    """Move the duals of kinks by a step of Newton for dual sqrt(z^2 + width^2) = z, within [-1, 1]."""
    for k in range(len(z)):
        if kinks[k] > 0.0:
            width = KINK * eps / kinks[k]
            s = np.sqrt(z[k] * z[k] + width * width)
            change = (z[k] + (1.0 - duals[k] * z[k] / s) * dz[k]) / s - duals[k]
            duals[k] = min(1.0, max(-1.0, duals[k] + size * change))


@njit(cache=True, nogil=True)
def _trust_region(g, const):
    """Return const plus the least of mu + b'(mu I - Q)^-1 b / 4 over mu > lambda_max(Q), rounded up."""
    N = len(g)
    d = int(np.sqrt(2.0 * N + 2.25) - 1.5 + 0.5)
    Q, q = np.empty((d, d)), d
    for a in range(d):
        Q[a, a] = g[q]
        for e in range(a + 1, d):
            Q[a, e] = Q[e, a] = 0.5 * g[q + e - a]
        q += d - a
    for i in range(N):
        if not np.isfinite(g[i]):
            return np.inf
    roots, V = np.linalg.eigh(Q)
    b = np.zeros(d)
    largest = 0.0
    for i in range(d):
        for a in range(d):
            b[i] += V[a, i] * g[a]
        largest = max(largest, abs(g[i]), abs(roots[i]))
    rounding = 64 * d * 2.2e-16 * largest
    mu = roots[d - 1] + 0.5 * abs(b[d - 1]) + rounding
    # Newton's method on 1 / |c| = 1, c = (mu I - Q)^-1 b / 2, which is concave in mu, from the left of the root.
    for _ in range(50):
        square, slope = 0.0, 0.0
        for i in range(d):
            c = 0.5 * b[i] / (mu - roots[i]) if mu > roots[i] else 0.0
            square += c * c
            slope += c * c / (mu - roots[i]) if mu > roots[i] else 0.0
        if square <= 1.0 + 1e-12:
            break
        length = np.sqrt(square)
        mu += (length - 1.0) * square / slope
    bound = const + mu
    for i in range(d):
        if mu > roots[i]:
            bound += 0.25 * b[i] * b[i] / (mu - roots[i])
    return bound + rounding


@njit(cache=True, nogil=True)
def _cholesky(M, L):
    """Write the Cholesky factor of M to the lower triangle of L; False if M is not safely positive definite."""
    for i in range(len(M)):
        for j in range(i + 1):
            t = M[i, j] - _dot(L[i, :j], L[j, :j])
            if i == j:
                if not t > 1e-300:
                    return False
                L[i, i] = np.sqrt(t)
            else:
                L[i, j] = t / L[j, j]
    return True


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _dot(a, b):
    t = 0.0
    for i in range(len(a)):
        t += a[i] * b[i]
    return t


@njit(cache=True, nogil=True)
def _matrix(m, corner, M):
    """Write [corner, u'; u, U] to M."""
    d, q = len(M) - 1, len(M) - 1
    M[0, 0] = corner
    for a in range(d):
        M[0, a + 1] = M[a + 1, 0] = m[a]
        for e in range(a, d):
            M[a + 1, e + 1] = M[e + 1, a + 1] = m[q]
            q += 1


@njit(cache=True, nogil=True)
def _barrier(m, pairs, eps, g, H):
    """Add the gradient and minus the Hessian of eps log det [1, u'; u, U]; return the log det."""
    first, second = pairs
    size = second[len(m) - 1] + 1
    M, L = np.empty((size, size)), np.zeros((size, size))
    _matrix(m, 1.0, M)
    _cholesky(M, L)
    log_det = 0.0
    # Columns of the inverse, from those of the factor.
    for i in range(size):
        log_det += 2.0 * np.log(L[i, i])
    R = np.zeros((size, size))
    for i in range(size):
        R[i, i] = 1.0 / L[i, i]
        for j in range(i):
            t = 0.0
            for k in range(j, i):
                t -= L[i, k] * R[k, j]
            R[i, j] = t / L[i, i]
    P = np.dot(R.T, R)
    for i in range(len(m)):
        a, b = first[i], second[i]
        half = 0.5 if a == b else 1.0
        g[i] += 2.0 * half * eps * P[a, b]
        for j in range(i + 1):
            c, e = first[j], second[j]
            t = 2.0 * half * eps * (P[a, c] * P[b, e] + P[a, e] * P[b, c])
            H[i, j] += 0.5 * t if c == e else t
    return log_det


@njit(cache=True, nogil=True)
def _newton_step(H, g, pairs, step):
    """Write the solution of H step = g + nu t, t'step = 0, with t the trace of U, to `step`; False if there is none."""
    N = len(g)
    L, x, t = np.empty((N, N)), np.empty(N), np.zeros(N)
    ridge = 0.0
    while not _cholesky(H, L):
        for i in range(N):
            ridge = max(ridge, 1e-14 * abs(H[i, i]))
        if not ridge < 1e300:
            return False
        ridge *= 10.0
        for i in range(N):
            H[i, i] += ridge
    for i in range(N):
        t[i] = 1.0 if pairs[0][i] == pairs[1][i] else 0.0
        step[i], x[i] = g[i], t[i]
    for i in range(N):
        step[i] = (step[i] - _dot(L[i, :i], step[:i])) / L[i, i]
        x[i] = (x[i] - _dot(L[i, :i], x[:i])) / L[i, i]
    nu = -_dot(step, x) / _dot(x, x)
    for i in range(N):
        step[i] += nu * x[i]
    for i in range(N - 1, -1, -1):
        step[i] /= L[i, i]
        for j in range(i):
            step[j] -= step[i] * L[i, j]
    for i in range(N):
        if not np.isfinite(step[i]):
            return False
    return True


@njit(cache=True, nogil=True)
def _line_search(m, step, now, decrement, state):
    """Return the size of a step that increases the smoothed objective, halved from 1 as often as needed."""
    z, y, dz, dy, roots, n_roots, kinks, slopes, price, eps = state
    d = len(slopes)
    trial, M, L = np.empty(len(m)), np.empty((d + 1, d + 1)), np.zeros((d + 1, d + 1))
    size = 1.0
    for _ in range(30):
        for i in range(len(m)):
            trial[i] = m[i] + size * step[i]
        _matrix(trial, 1.0, M)
        if _cholesky(M, L):
            value = 0.0
            for i in range(d + 1):
                value += 2.0 * eps * np.log(L[i, i])
            for a in range(d):
                value += slopes[a] * trial[a]
            for k in range(len(z)):
                if kinks[k] > 0.0:
                    width, t = KINK * eps / kinks[k], z[k] + size * dz[k]
                    value -= kinks[k] * np.sqrt(t * t + width * width)
            for q in range(n_roots):
                value += roots[q] * np.sqrt(max(0.0, y[q] + size * dy[q]))
            kink = 0.5 * price
            width = KINK * eps / kink
            for q in range(n_roots, len(y)):
                t = y[q] + size * dy[q]
                value += kink * (t - np.sqrt(t * t + width * width))
            if value >= now + 0.1 * size * decrement:
                return size
        size *= 0.5
    return 0.0


@njit(cache=True, nogil=True)
def _violated(path, z, products, width):
    """Return whether a constraint is violated by much more than the width of its kink."""
    for q in range(len(path)):
        k = abs(path[q]) - 1
        if (z[k] if path[q] > 0 else -z[k]) < -20.0 * width:
            return True
    for q in range(len(products)):
        if products[q] < -20.0 * width:
            return True
    return False
