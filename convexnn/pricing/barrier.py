"""The barrier log det [1, u'; u, U], Newton steps that keep tr U, trust region problems: compiled kernels.

The unknowns are one vector m, u followed by the upper triangle of U, row by row. With P the inverse of the matrix M of
m, and E_i the derivative of M in m_i, the gradient of log det M is tr(P E_i), and minus its Hessian tr(P E_i P E_j).
"""

import numpy as np

from ..utils.kernels import kernel

__all__ = ["ROUNDING", "add_barrier", "cholesky", "dot", "matrix_of", "newton_step", "positions", "trust_region"]

# Rounding of a sum, relative to the sum of the magnitudes.
ROUNDING = 64 * np.finfo(float).eps


@kernel(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def dot(a, b):
    """Return the product of two vectors, summed in any order."""
    t = 0.0
    for i in range(len(a)):
        t += a[i] * b[i]
    return t


@kernel(nogil=True, error_model="numpy")
def positions(d):
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
def matrix_of(m, M):
    """Write [1, u'; u, U] of the unknowns m to M."""
    d, q = len(M) - 1, len(M) - 1
    M[0, 0] = 1.0
    for a in range(d):
        M[0, a + 1] = M[a + 1, 0] = m[a]
        for e in range(a, d):
            M[a + 1, e + 1] = M[e + 1, a + 1] = m[q]
            q += 1


@kernel(nogil=True, error_model="numpy")
def cholesky(M, L):
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
def add_barrier(m, places, eps, g, H):
    """Add the barrier, of weight `eps`, to a gradient g and to minus a Hessian H (lower triangle); return log det M.

    M must be positive definite; `places` are those of `positions`.
    """
    first, second = places
    size = second[len(m) - 1] + 1
    M, L, R = np.empty((size, size)), np.empty((size, size)), np.empty((size, size))
    matrix_of(m, M)
    cholesky(M, L)
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
def newton_step(H, g, places, step):
    """Solve H step = g + nu t, t'step = 0, with t the trace of U; return whether the solution is finite.

    H is minus the Hessian (lower triangle); a multiple of the identity is added in place where it is not positive
    definite.
    """
    n = len(g)
    L, x, ridge = np.empty((n, n)), np.empty(n), 0.0
    while not cholesky(H, L):
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
def trust_region(g, const, d):
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
