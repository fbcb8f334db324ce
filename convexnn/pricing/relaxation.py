"""Bounds of w'(Xu)_+, |u| <= 1, on polyhedral cones, by a semidefinite relaxation of size d + 1: compiled kernels.

Let s_k be the signs of the rows k in F that have one sign on the cone, some of which, its facets, describe it. There

    w'(Xu)_+ = p'u / 2 + sum_{k in F} w_k s_k x_k'u / 2 + sum_{k not in F} w_k |x_k'u| / 2    with p = X'w.

Let U stand for uu'. For every u of the cone with |u| = 1, (u, U) is feasible, and the objective no smaller, in

    maximise    (p + sum_F w_k s_k x_k)'u / 2 - sum_{w_k < 0} |w_k| |x_k'u| / 2 + sum_{w_k > 0} w_k sqrt(x_k'U x_k) / 2
    subject to  [1, u'; u, U] positive semidefinite, tr U = 1, and for facets j, k
                s_k x_k'u >= 0, s_j s_k x_j'U x_k >= 0,

a concave program. Each of its terms is below each of its tangents: -|z| <= -sigma z with |sigma| <= 1, and
sqrt(y) <= r / 2 + y / (2 r) with r > 0; a constraint q >= 0 adds tau q with tau >= 0. All multipliers together leave
b'u + <U, Q> + const, whose maximum over the unit sphere is, by the duality of trust region problems, at most

    bound = const + min over mu > lambda_max(Q) of mu + b'(mu I - Q)^-1 b / 4,

so every choice of multipliers gives a valid bound, and the program need not be solved to the end. It is solved by
Newton steps along a central path: kinks are smoothed over a width that falls with the weight eps of the barrier
log det [1, u'; u, U], and constraints are kinks of a finite price. For a smoothed kink the Newton step is that of the
pair of z and its dual z / sqrt(z^2 + width^2), which does not overshoot where z crosses many kinks. A cone is split
along the wall of the row whose root exceeds |x_k'u| most; the facets of the halves fix the signs of further rows.

The unknowns are one vector m, u followed by the upper triangle of U, row by row. With P the inverse of the matrix M =
[1, u'; u, U], and E_i its derivative in m_i, the gradient of log det M is tr(P E_i), and minus its Hessian
tr(P E_i P E_j).

References
----------
N. Z. Shor (1987), Quadratic optimization problems. Soviet Journal of Computer and Systems Sciences 25.
T. F. Chan, G. H. Golub and P. Mulet (1999), A nonlinear primal-dual method for total variation-based image restoration.
SIAM Journal on Scientific Computing 20.
"""

import numpy as np

from ..geometry.projection import dot
from ..utils.kernels import kernel
from .facets import linear_bound, settle

__all__ = ["bound_cones", "compile_kernels", "quadratic_rows"]

# Rounding of a sum, relative to the sum of the magnitudes.
ROUNDING = 64 * np.finfo(float).eps
# Weights of the barrier where the bounds are of the order 1: the first, the last, and the factor between them.
FIRST_EPS, LAST_EPS, SHRINK = 3e-3, 1e-10, 0.25
# Width of a smoothed kink of slope c: KINK eps / c.
KINK = 0.3
# The gap, relative to eps and the number of terms, at which eps falls, and the Newton steps after which it does so too.
CENTRED, INNER = 0.1, 25
# Newton steps for a cone, and of these such as may fail.
STEPS, FAILURES = 150, 4
# The first price of a constraint, the factor by which it rises, and the violation, in widths, at which it does.
PRICE, RAISE, VIOLATED = 1.0, 4.0, 20.0
# Facets whose products are constrained.
PRODUCTS = 20
# A cone whose bound is this close to its own value, relatively, is finished.
EXACT_TOL = 1e-10
# A cone that must be split is bounded until bound - value of the relaxation is this part of bound - limit.
DECIDED = 0.5
# A row whose root exceeds |x_k'u| by less than this adds nothing to the bound.
LOOSE = 1e-11


def quadratic_rows(X):
    """Return the coefficients of x_k'U x_k in the upper triangle of U, row by row of the triangle, for all k."""
    first, second = np.triu_indices(X.shape[1])
    return np.ascontiguousarray(X[:, first] * X[:, second] * np.where(first == second, 1.0, 2.0))


def compile_kernels():
    """Compile the kernels, or load them where they were compiled before, unless this process has them."""
    if not getattr(bound_cones, "signatures", True):
        one, row = np.ones(1), np.ones((1, 1))
        cones = one, np.zeros((1, 1), np.int8), np.zeros((1, 1), np.int32), np.array([[0.0, 1.0]]), one
        bound_cones((row, row, one, one), cones, (1.0, 0.0), one, np.zeros(1, np.int64))


@kernel(nogil=True, error_model="numpy")
def bound_cones(problem, cones, limits, values, rows):
    """Bound cones from above, for the problem (X, A, p, w) and cones (signs, sides, facets, moments, bounds).

    X has unit rows, A is that of `quadratic_rows`, p is twice the linear part of the objective, and w is in units in
    which the bounds are of the order 1; `signs` are those of p and w in each cone. `sides` (n_cones, n_samples), the
    signs of the rows, 0 where not known, and `facets` (n_cones, n_facets) are completed and shortened as by `settle`.
    `moments`, u and the upper triangle of U, are where to start; overwritten by the last iterates, and `bounds` where
    the new ones are smaller. `values` is overwritten by the objective at u / |u|, `rows` by the rows along which to
    split, -1 for cones that are finished, as those are whose bound is at most limits[0]; limits[1] is added to each
    bound for roundings.
    """
    (X, A, p, w), (signs, sides, facets, moments, bounds) = problem, cones
    d = X.shape[1]
    places, z = _positions(d), np.empty(len(X))
    for c in range(len(signs)):
        m, q, v = moments[c], signs[c] * p, signs[c] * w
        length = settle(X, v, sides[c], facets[c], m[:d])
        if _is_linear(v, sides[c]):
            bound = linear_bound(X, q, v, sides[c], facets[c, :length], m[:d]) + limits[1]
        else:
            bound = _relax(X, A, q, v, sides[c], facets[c, :length], m, limits, places)
        bounds[c] = min(bounds[c], bound)
        values[c] = _value(X, q, v, m[:d], z)
        rows[c] = -1
        if bounds[c] > limits[0] and bounds[c] > values[c] * (1 + EXACT_TOL) and length < facets.shape[1]:
            rows[c] = _loosest(A, v, sides[c], m[d:], z)


@kernel(nogil=True, error_model="numpy")
def _is_linear(w, side):
    """Return whether the signs of all rows are known."""
    known = True
    for k in range(len(w)):
        known = known and (side[k] != 0 or w[k] == 0.0)
    return known


@kernel(nogil=True, error_model="numpy")
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


@kernel(nogil=True, error_model="numpy")
def _loosest(A, w, side, U, z):
    """Return the row whose root exceeds |x_k'u| most, weighted, else that of negative weight of the least |x_k'u|."""
    k, worst, nearest, least = -1, 0.0, -1, np.inf
    for q in range(len(z)):
        if side[q] == 0 and w[q] < 0.0 and abs(z[q]) < least:
            nearest, least = q, abs(z[q])
        if side[q] == 0 and w[q] > 0.0:
            y = 0.0
            for a in range(A.shape[1]):
                y += A[q, a] * U[a]
            loose = np.sqrt(max(0.0, y)) - abs(z[q])
            if loose > LOOSE and w[q] * loose > worst:
                k, worst = q, w[q] * loose
    return k if k >= 0 else nearest


@kernel(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _multiply(X, u, z):
    for k in range(len(X)):
        t = 0.0
        for a in range(X.shape[1]):
            t += X[k, a] * u[a]
        z[k] = t


@kernel(nogil=True, error_model="numpy")
def _relax(X, A, p, w, side, facets, m, limits, places):
    """Return a bound of the cone; m is moved to the last iterate."""
    n, d = X.shape
    Z, roots = _quadratic_terms(X, A, w, side, facets)
    kinks, slopes, price = np.empty(n), np.empty(d), PRICE
    _prices(X, p, w, side, facets, price, kinks, slopes)
    n_roots, n_products = len(roots), len(Z) - len(roots)
    z, dz, y, dy = np.empty(n), np.empty(n), np.empty(len(Z)), np.empty(len(Z))
    duals, product_duals, product_kinks = np.empty(n), np.empty(n_products), np.empty(n_products)
    g, H, step = np.empty(len(m)), np.empty((len(m), len(m))), np.empty(len(m))
    n_kinks, decrement = 0, 0.0
    for k in range(n):
        duals[k] = 0.0
        n_kinks += kinks[k] != 0.0
    for q in range(n_products):
        product_duals[q] = 0.0
    centred = CENTRED * (d + 1 + n_products + n_kinks)
    bound, eps, inner, failures = np.inf, FIRST_EPS, 0, 0
    for _ in range(STEPS):
        _multiply(X, m[:d], z)
        _multiply(Z, m[d:], y)
        terms = (roots, kinks, slopes, price, eps)
        smooth, primal, const = _derivatives(X, Z, terms, z, y, duals, product_duals, m, g, H)
        here = _trust_region(g, const, d) + limits[1]
        if here < bound:  # not so where it is not a number
            bound = here
        # A cone whose relaxation exceeds the limit must be split, unless what remains is concave and so exact.
        undecided = primal <= limits[0] or bound - primal > DECIDED * (bound - limits[0]) or n_roots == 0
        if bound <= limits[0] or not undecided or bound - primal <= EXACT_TOL * primal:
            break
        smooth += eps * _add_barrier(m, places, eps, g, H)
        if not _newton_step(H, g, places, step):
            break
        _multiply(X, step[:d], dz)
        _multiply(Z, step[d:], dy)
        decrement = 0.0
        for i in range(len(m)):
            decrement += g[i] * step[i]
        size = _line_search(m, step, smooth, decrement, terms, z, y, dz, dy)
        for i in range(len(m)):
            m[i] += size * step[i]
        _move_duals(duals, z, dz, kinks, KINK * eps, size)
        for q in range(n_products):
            product_kinks[q] = 0.5 * price
        _move_duals(product_duals, y[n_roots:], dy[n_roots:], product_kinks, KINK * eps, size)
        inner += 1
        failures += size == 0.0
        if here - primal < centred * eps or inner == INNER or size == 0.0:
            if eps <= LAST_EPS or failures == FAILURES:
                break
            if inner < INNER and _violated(facets, z, y[n_roots:], 2.0 * KINK * eps / price):
                price *= RAISE
                _prices(X, p, w, side, facets, price, kinks, slopes)
            else:
                eps = max(LAST_EPS, SHRINK * eps)
            inner = 0
    return bound


@kernel(nogil=True, error_model="numpy")
def _quadratic_terms(X, A, w, side, facets):
    """Return coefficients of U, of the rows under a root and of products of facets, and weights of roots."""
    d, D = X.shape[1], A.shape[1]
    n_roots, first = 0, max(0, len(facets) - PRODUCTS)
    for k in range(len(w)):
        n_roots += side[k] == 0 and w[k] > 0.0
    last = len(facets) - first
    Z, roots = np.empty((n_roots + last * (last - 1) // 2, D)), np.empty(n_roots)
    q = 0
    for k in range(len(w)):
        if side[k] == 0 and w[k] > 0.0:
            for a in range(D):
                Z[q, a] = A[k, a]
            roots[q] = 0.5 * w[k]
            q += 1
    for e in range(first, len(facets)):
        for f in range(first, e):
            j, k = abs(facets[e]) - 1, abs(facets[f]) - 1
            sign, r = float(side[j] * side[k]), 0
            for a in range(d):
                Z[q, r] = sign * X[j, a] * X[k, a]
                for b in range(a + 1, d):
                    Z[q, r + b - a] = sign * (X[j, a] * X[k, b] + X[j, b] * X[k, a])
                r += d - a
            q += 1
    return Z, roots


@kernel(nogil=True, error_model="numpy")
def _prices(X, p, w, side, facets, price, kinks, slopes):
    """Write the weights of -|x_k'u| and the linear part in u; a constraint is price min(z, 0) = price (z - |z|) / 2."""
    for a in range(len(p)):
        slopes[a] = 0.5 * p[a]
    for k in range(len(w)):
        kinks[k] = 0.0
        if side[k] != 0:
            for a in range(len(p)):
                slopes[a] += 0.5 * w[k] * side[k] * X[k, a]
        elif w[k] < 0.0:
            kinks[k] = -0.5 * w[k]
    for q in range(len(facets)):
        k = abs(facets[q]) - 1
        kinks[k] = 0.5 * price
        for a in range(len(p)):
            slopes[a] += 0.5 * price * side[k] * X[k, a]


@kernel(nogil=True, error_model="numpy")
def _derivatives(X, Z, terms, z, y, duals, product_duals, m, g, H):
    """Write the gradient and minus the Hessian of the smoothed objective; return it, the true one, and the constant."""
    n, d = X.shape
    roots, kinks, slopes, price, eps = terms
    n_roots = len(roots)
    smooth, const, multipliers = 0.0, 0.0, 0.0
    hu, hU, cU = np.empty(n), np.empty(len(Z)), np.empty(len(Z))
    for a in range(d):
        smooth += slopes[a] * m[a]
        g[a] = slopes[a]
    primal = smooth
    for k in range(n):
        hu[k] = 0.0
        if kinks[k] > 0.0:
            width = KINK * eps / kinks[k]
            s = np.sqrt(z[k] * z[k] + width * width)
            smooth, primal = smooth - kinks[k] * s, primal - kinks[k] * abs(z[k])
            t = kinks[k] * z[k] / s
            multipliers += abs(t)
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
        cU[q], hU[q] = kink * (1.0 - y[q] / s), kink / s * (1.0 - product_duals[q - n_roots] * y[q] / s)
        multipliers += cU[q]
    _square(X, hu, H[:d, :d])
    _square(Z, hU, H[d:, d:])
    for a in range(d, len(m)):
        g[a] = 0.0
        for e in range(d):
            H[a, e] = 0.0
    for q in range(len(Z)):
        for a in range(Z.shape[1]):
            g[d + a] += cU[q] * Z[q, a]
    return smooth, primal, const + ROUNDING * multipliers


@kernel(nogil=True, error_model="numpy", fastmath={"contract"})
def _square(Z, h, out):
    """Write the lower triangle of Z' diag(h) Z."""
    for a in range(len(out)):
        for e in range(a + 1):
            out[a, e] = 0.0
    for k in range(len(Z)):
        if h[k] != 0.0:
            row = Z[k]
            for a in range(len(out)):
                t = h[k] * row[a]
                for e in range(a + 1):
                    out[a, e] += t * row[e]


@kernel(nogil=True, error_model="numpy")
def _move_duals(duals, z, dz, kinks, smoothing, size):
    """Move the duals of kinks by a step of Newton for dual sqrt(z^2 + width^2) = z, within [-1, 1]."""
    for k in range(len(z)):
        if kinks[k] > 0.0:
            width = smoothing / kinks[k]
            s = np.sqrt(z[k] * z[k] + width * width)
            change = (z[k] + (1.0 - duals[k] * z[k] / s) * dz[k]) / s - duals[k]
            duals[k] = min(1.0, max(-1.0, duals[k] + size * change))


@kernel(nogil=True, error_model="numpy")
def _line_search(m, step, now, decrement, terms, z, y, dz, dy):
    """Return the size of a step that increases the smoothed objective, halved from 1 as often as needed."""
    roots, kinks, slopes, price, eps = terms
    d, n_roots = len(slopes), len(roots)
    trial, M, L = np.empty(len(m)), np.empty((d + 1, d + 1)), np.empty((d + 1, d + 1))
    size = 1.0
    for _ in range(30):
        for i in range(len(m)):
            trial[i] = m[i] + size * step[i]
        _matrix_of(trial, M)
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


@kernel(nogil=True, error_model="numpy")
def _violated(facets, z, products, width):
    """Return whether a constraint is violated by much more than the width of its kink."""
    for q in range(len(facets)):
        k = abs(facets[q]) - 1
        if (z[k] if facets[q] > 0 else -z[k]) < -VIOLATED * width:
            return True
    violated = False
    for q in range(len(products)):
        violated = violated or products[q] < -VIOLATED * width
    return violated


@kernel(nogil=True, error_model="numpy")
def _positions(d):
    """Return the rows and the columns of M where the unknowns stand, for d features."""
    n_unknowns, q = d + d * (d + 1) // 2, d
    first, second = np.empty(n_unknowns, np.int64), np.empty(n_unknowns, np.int64)
    for a in range(d):
        first[a], second[a] = 0, a + 1
        for e in range(a, d):
            first[q], second[q] = a + 1, e + 1
            q += 1
    return first, second


@kernel(nogil=True, error_model="numpy")
def _matrix_of(m, M):
    """Write [1, u'; u, U] of the unknowns m to M."""
    d, q = len(M) - 1, len(M) - 1
    M[0, 0] = 1.0
    for a in range(d):
        M[0, a + 1] = M[a + 1, 0] = m[a]
        for e in range(a, d):
            M[a + 1, e + 1] = M[e + 1, a + 1] = m[q]
            q += 1


@kernel(nogil=True, error_model="numpy")
def _cholesky(M, L):
    """Write the Cholesky factor of M to the lower triangle of L; return whether M is positive definite.

    Only the lower triangle of M is read.
    """
    for i in range(len(M)):
        for j in range(i + 1):
            t = M[i, j] - dot(L[i, :j], L[j, :j])
            if i == j:
                if not t > 1e-300:
                    return False
                L[i, i] = np.sqrt(t)
            else:
                L[i, j] = t / L[j, j]
    return True


@kernel(nogil=True, error_model="numpy")
def _add_barrier(m, places, eps, g, H):
    """Add the barrier, of weight `eps`, to a gradient g and to minus a Hessian H (lower triangle); return log det M.

    M must be positive definite; `places` are those of `_positions`.
    """
    first, second = places
    size = second[len(m) - 1] + 1
    M, L, R = np.empty((size, size)), np.empty((size, size)), np.empty((size, size))
    _matrix_of(m, M)
    _cholesky(M, L)
    log_det = 0.0
    for i in range(size):
        log_det += 2.0 * np.log(L[i, i])
        R[i, i] = 1.0 / L[i, i]
        for j in range(i):
            t = 0.0
            for k in range(j, i):
                t -= L[i, k] * R[k, j]
            R[i, j] = t / L[i, i]
    for i in range(size):  # the inverse R'R of M, in its place
        for j in range(i + 1):
            t = 0.0
            for k in range(i, size):
                t += R[k, i] * R[k, j]
            M[i, j] = M[j, i] = t
    for i in range(len(m)):
        a, b = first[i], second[i]
        # E_i has two ones off the diagonal of M, and one on it.
        t = eps if a == b else 2.0 * eps
        g[i] += t * M[a, b]
        for j in range(i + 1):
            c, e = first[j], second[j]
            s = t * (M[a, c] * M[b, e] + M[a, e] * M[b, c])
            H[i, j] += 0.5 * s if c == e else s
    return log_det


@kernel(nogil=True, error_model="numpy")
def _newton_step(H, g, places, step):
    """Solve H step = g + nu t, t'step = 0, with t the trace of U; return whether the solution is finite.

    H is minus the Hessian (lower triangle); a multiple of the identity is added in place where it is not positive
    definite.
    """
    n = len(g)
    L, x, ridge = np.empty((n, n)), np.empty(n), 0.0
    while not _cholesky(H, L):
        for i in range(n):
            ridge = max(ridge, 1e-14 * abs(H[i, i]))
        ridge *= 10.0
        if not 0.0 < ridge < 1e300:
            return False
        for i in range(n):
            H[i, i] += ridge
    for i in range(n):
        t = 1.0 if places[0][i] == places[1][i] else 0.0
        step[i] = (g[i] - dot(L[i, :i], step[:i])) / L[i, i]
        x[i] = (t - dot(L[i, :i], x[:i])) / L[i, i]
    nu = -dot(step, x) / dot(x, x)
    for i in range(n):
        step[i] += nu * x[i]
    for i in range(n - 1, -1, -1):
        step[i] /= L[i, i]
        for j in range(i):
            step[j] -= step[i] * L[i, j]
    finite = True
    for i in range(n):
        finite = finite and np.isfinite(step[i])
    return finite


@kernel(nogil=True, error_model="numpy")
def _trust_region(g, const, d):
    """Return const plus the least of mu + b'(mu I - Q)^-1 b / 4 over mu > lambda_max(Q), rounded up.

    g holds b (d,), then the coefficients of the upper triangle of U in <U, Q>. Returns inf where g is not finite.
    """
    N = len(g)
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
    b, largest = np.empty(d), 0.0
    for i in range(d):
        b[i] = 0.0
        for a in range(d):
            b[i] += V[a, i] * g[a]
        largest = max(largest, abs(g[i]), abs(roots[i]))
    rounding = d * ROUNDING * largest
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
