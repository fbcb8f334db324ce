"""Dual vectors of the losses, and fits of the free columns: the multipliers of the one are the other.

With orthonormal columns B the projection of V onto {V in C, B'V = 0} is Proj_C(V - B M) for the multipliers M with

    B' Proj_C(U) = 0,   U = V - w B M,

with w = 1; with other weights w the equation is that of a free fit, min over beta of L(offset + B beta), to a loss
whose gradient is a clipped residual. It is the stationarity of a convex function of M, with the Hessian B' w Q B for a
generalised Jacobian Q of Proj_C: semismooth Newton. Q is zero where U is clipped; where too much is, that of a
quadratic majorant, the ratio of Proj_C(U) to U, is better, so each step takes the better of both directions. (Without
the second, vectors far outside C are not projected.) What Newton leaves of B'V is taken away on the face that was
found; failing that, V is scaled towards 0, which C contains. C is a product of sets of rows: of intervals for one
output, of simplices for softmax.

Free fits to other smooth losses are by a damped Newton method; to piecewise linear ones along one column by their
non-smooth points, along more by a linear program.

References
----------
L. Qi and J. Sun (1993), A nonsmooth version of Newton's method, Mathematical Programming 58, 353-367.
P. J. Huber (1981), Robust statistics, section 7.8 (the two directions: Newton's, and that of modified weights).
J. Duchi et al. (2008), Efficient projections onto the l1-ball for learning in high dimensions, ICML (the simplex).
R. Koenker and G. Bassett (1978), Regression quantiles, Econometrica 46(1), 33-50 (the linear program).
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, hstack

from ..utils.deadline import is_limited, is_up, remaining

__all__ = [
    "SEPARATED_TOL",
    "fit_clipped",
    "fit_piecewise_linear",
    "fit_smooth",
    "interval_in_box",
    "least_loss",
    "project_box",
    "project_simplices",
]

EPS, TINY = float(np.finfo(float).eps), float(np.finfo(float).tiny)
# Each step of a fit divides a loss that tends to zero by e: enough of them for weights that are 1e18 apart.
MAX_NEWTON_STEPS = 100
# Regularisation of Newton's systems, relative to their size and to the fraction of the residual that is left; and to
# the curvature, where rounding makes them singular.
RIDGE, LEAST_RIDGE = 1e-3, 1e-14
# B'V that is rounding, relative to |V|, and V that is rounding, relative to the vector it was projected from.
ORTHOGONAL_TOL = 1e-13
# Distance to a bound, relative to the width of the domain, at which a coordinate does not help to correct B'V; the same
# in a simplex, relative to its row or to all of V, and at most.
FACE_TOL, FACE_NOISE, FACE_MOST = 1e-10, 1e-12, 1e-6
# The gradient relative to the sum of the sizes of its terms, and the value relative to `least_loss` where there is no
# minimum.
FIT_TOL, SEPARATED_TOL = 1e-12, 1e-10
# Changes of values that are rounding.
NOISE = 1e-14


class _Box(NamedTuple):
    """Intervals that contain 0: `lower` and `upper` (n_samples, 1)."""

    lower: np.ndarray
    upper: np.ndarray

    def project(self, U):
        """Return the projections of the rows of U."""
        return np.clip(U, self.lower, self.upper)

    def jacobians(self, U, P):
        """Return the Jacobians (n_samples, 1, 1) of the projection P of U, and of its majorant."""
        ratio = np.divide(P, U, out=np.ones_like(U), where=U != 0)
        return ((self.lower < U) & (self.upper > U))[:, :, None].astype(float), ratio[:, :, None]

    def face(self, P, size):
        """Return P moved to bounds that are near, and the projections onto the face; `size` is that of its source."""
        margin = FACE_TOL * np.minimum(self.upper - self.lower, size)
        inside = (self.lower + margin < P) & (self.upper - margin > P)
        snapped = np.where(inside, P, np.where(self.lower + margin >= P, self.lower, self.upper))
        return snapped, inside[:, :, None].astype(float)

    def largest(self, V):
        """Return the largest t <= 1 with t V in the set."""
        return interval_in_box(V, self.lower, self.upper, 1.0)[1]


class _Simplices(NamedTuple):
    """The V whose rows have Y - V / w in the simplex: labels Y (n_samples, n_outputs), weights w a column or 1."""

    Y: np.ndarray
    weights: np.ndarray | float

    def project(self, U):
        """Return the projections of the rows of U."""
        # w (Y - P), P = Y - U / w - theta where positive, is U + w theta, without the rounding of Y - P
        support = self._support(U)
        scaled, count = U / self.weights, np.sum(support, axis=1)
        theta = (np.sum(self.Y * support, axis=1) - 1.0 - np.sum(scaled * support, axis=1)) / count
        return _sum_to_zero(np.where(support, U + self.weights * theta[:, None], self.weights * self.Y), support)

    def _support(self, U):
        """Return where the projections P of the rows of Y - U / w onto the simplex are positive."""
        moved = self.Y - U / self.weights
        ordered = np.sort(moved, axis=1)[:, ::-1]
        excess = (np.cumsum(ordered, axis=1) - 1.0) / np.arange(1, U.shape[1] + 1)
        last = np.count_nonzero(ordered > excess, axis=1) - 1
        return moved > np.take_along_axis(excess, last[:, None], axis=1)

    def jacobians(self, U, P):
        """Return the Jacobians (n_samples, n_outputs, n_outputs) of the projection P of U, and of its majorant."""
        shrunk = np.linalg.norm(P, axis=1) / np.maximum(np.linalg.norm(U, axis=1), TINY)
        whole = _face_projections(np.ones(U.shape, bool))
        return _face_projections(self._support(U)), shrunk[:, None, None] * whole

    def face(self, P, size):
        """Return P moved to bounds that are near, and the projections onto the face; `size` is that of its source."""
        margin = np.maximum(FACE_TOL * np.abs(P).max(axis=1, keepdims=True), FACE_NOISE * size) / self.weights
        support = self.Y - P / self.weights > np.minimum(margin, FACE_MOST)
        return _sum_to_zero(np.where(support, P, self.weights * self.Y), support), _face_projections(support)

    def largest(self, V):
        """Return the largest t <= 1 with t V in the set; 0 where rows do not sum to zero."""
        if (np.abs(V.sum(axis=1, keepdims=True)) > ORTHOGONAL_TOL * self.weights).any():
            return 0.0
        return interval_in_box(V, self.weights * (self.Y - 1.0), self.weights * self.Y, 1.0)[1]


def interval_in_box(V, lower, upper, limit):
    """Return the least and the largest t of [-limit, limit] with t V in a box that contains 0; 0 and 0 where V = 0."""
    V, lower, upper = (a.ravel() for a in np.broadcast_arrays(V, lower, upper))
    moves = V != 0
    if not moves.any():
        return 0.0, 0.0
    with np.errstate(over="ignore"):
        ends = np.stack([lower[moves], upper[moves]]) / V[moves]
    return max(-limit, float(ends.min(axis=0).max())), min(limit, float(ends.max(axis=0).min()))


def project_box(V, lower, upper, basis):
    """Project V onto {lower <= V <= upper, basis'V = 0}, or near where that fails; the box contains 0.

    V (n_samples, n_outputs); lower and upper broadcast to it; orthonormal basis. Zero where V is not finite.
    """
    if not np.isfinite(V).all():
        return np.zeros_like(V)
    plain = _orthogonal(V, basis)
    if ((lower <= plain) & (plain <= upper)).all():
        return plain if _is_orthogonal(plain, basis) else np.zeros_like(V)  # B spans everything
    if basis.shape[1] == 0:
        return np.clip(V, lower, upper)
    columns = zip(*(np.broadcast_to(a, V.shape).T[:, :, None] for a in (V, lower, upper)), strict=True)
    return np.hstack([_project(v, _Box(*bounds), basis) for v, *bounds in columns])


def project_simplices(V, Y, weights, basis):
    """Project V onto {rows of Y - V / weights in the simplex, basis'V = 0}, as `project_box`; rows of Y are in it."""
    if not np.isfinite(V).all():
        return np.zeros_like(V)
    rows = _Simplices(Y, weights)
    plain = _orthogonal(V - V.mean(axis=1, keepdims=True), basis)
    if rows.largest(plain) == 1.0 and _is_orthogonal(plain, basis):
        return plain
    return _project(V, rows, basis) if basis.shape[1] else rows.project(V)


def _project(V, rows, basis):
    """Project V onto the product of the sets `rows` and {basis'V = 0}: Newton, then corrections on the face found."""
    size, last = np.linalg.norm(V), np.inf
    P = rows.project(V - basis @ _multipliers(V, rows, np.ones((1, 1)), basis))
    for _ in range(6):
        P, Q = rows.face(P, size)
        residual = basis.T @ P
        left = np.linalg.norm(residual) / max(np.linalg.norm(P), TINY)
        if left <= EPS or 0.5 * last < left <= 0.1 * ORTHOGONAL_TOL:  # the rest is rounding
            break
        last = left
        change = np.linalg.lstsq(_kronecker(basis, Q), residual.ravel(), rcond=1e-14)[0].reshape(residual.shape)
        P = P - np.einsum("ncd,nd->nc", Q, basis @ change)
    for candidate in (P, _orthogonal(P, basis)):
        if not np.linalg.norm(candidate) > ORTHOGONAL_TOL * size:
            break
        t = rows.largest(candidate)
        if t > 0 and _is_orthogonal(candidate, basis):
            return t * candidate
    return np.zeros_like(V)


def _multipliers(V, rows, weights, basis):
    """Solve basis'Proj(V - weights * (basis @ M)) = 0 for M (n_free, n_outputs); return the best iterate."""
    U, P, M = V, rows.project(V), np.zeros((basis.shape[1], V.shape[1]))
    best, size = (np.inf, M), max(np.linalg.norm(P), TINY)
    for _ in range(MAX_NEWTON_STEPS):
        residual = basis.T @ P
        left = np.linalg.norm(residual) / size
        best = min(best, (left, M), key=lambda pair: pair[0])
        if left <= 1e-16:
            break
        trials = []
        for Q in rows.jacobians(U, P):
            J = _kronecker(basis, weights[:, :, None] * Q)
            ridge = max(RIDGE * min(left, 1.0) ** 2, LEAST_RIDGE)
            J.flat[:: len(J) + 1] += ridge * np.trace(J) / len(J) + LEAST_RIDGE**2 * weights.max()
            step = np.linalg.lstsq(J, residual.ravel(), rcond=None)[0].reshape(M.shape)
            t, moved, reached = _search(U, rows, weights, basis @ step, np.sum(step * residual))
            if left > 1e-7:  # below it values are rounding
                value = np.sum(reached * (moved - 0.5 * reached) / weights)
            else:
                value = np.linalg.norm(basis.T @ reached)
            trials.append((value, t * step, reached))
            if t == 1.0 and np.linalg.norm(basis.T @ reached) <= 0.1 * np.linalg.norm(residual):
                break
        _, step, reached = min(trials, key=lambda trial: trial[0])
        if left <= 1e-13 and not np.linalg.norm(basis.T @ reached) < np.linalg.norm(residual):
            break
        M = M + step
        U = V - weights * (basis @ M)  # anew: rounding is not to add up
        P = rows.project(U)
    return best[1]


def _search(U, rows, weights, move, start):
    """Return t in (0, 1] at which the falling slope move'P, `start` at 0, is nearly zero or t = 1; also U there and P.

    By regula falsi with Illinois' halving; P is the projection of U - t weights move.
    """
    low, high, at_low, at_high, t = 0.0, 1.0, start, start, 1.0
    for _ in range(40):
        moved = U - t * weights * move
        P = rows.project(moved)
        slope = np.sum(move * P)
        if slope >= 0 and (t == 1.0 or slope <= 0.5 * start):
            break
        if slope > 0:
            low, at_low, at_high = t, slope, 0.5 * at_high
        else:
            high, at_high, at_low = t, slope, at_low if t == 1.0 else 0.5 * at_low
        t = low + (high - low) * at_low / (at_low - at_high)
    return t, moved, P


def _orthogonal(V, basis):
    """Return V less its component in the span of the orthonormal columns of `basis`."""
    for _ in range(2):  # once more: what is left may be small beside the rounding of what was taken away
        V = V - basis @ (basis.T @ V)
    return V


def _is_orthogonal(V, basis):
    return np.linalg.norm(basis.T @ V) <= ORTHOGONAL_TOL * np.linalg.norm(V)


def _sum_to_zero(V, support):
    """Shift the entries of V on the support so that its rows sum to zero."""
    return V - support * (V.sum(axis=1) / np.maximum(support.sum(axis=1), 1))[:, None]


def _face_projections(support):
    """Return diag(s) - s s' / |s|_1 for the rows s of a support."""
    S = support.astype(float)
    means = S[:, None, :] / np.maximum(S.sum(axis=1), 1.0)[:, None, None]
    return S[:, :, None] * (np.eye(S.shape[1]) - means)


def _kronecker(basis, H):
    """Sum the Kronecker products (b_i b_i') x H_i over samples, for rows b_i of `basis` and H (n_samples, c, c)."""
    if H.shape[1] == 1:
        return (basis * H[:, 0]).T @ basis
    size = basis.shape[1] * H.shape[1]
    return np.einsum("ia,ib,icd->acbd", basis, basis, H, optimize=True).reshape(size, size)


def fit_clipped(G, lower, upper, weights, basis):
    """Return beta (n_free, n_outputs) that makes clip(G + weights * (basis @ beta), lower, upper) orthogonal to basis.

    lower <= 0 <= upper and the positive weights broadcast to G (n_samples, n_outputs).
    """
    if basis.shape[1] == 0:
        return np.zeros((0, G.shape[1]))
    columns = zip(*(np.broadcast_to(a, G.shape).T[:, :, None] for a in (G, lower, upper, weights)), strict=True)
    return np.hstack([-_multipliers(g, _Box(*bounds), w, basis) for g, *bounds, w in columns])


def fit_smooth(loss, Y, basis, offset):
    """Minimise a smooth loss at offset + basis @ beta over beta (n_free, n_outputs), by a damped Newton method."""
    beta = np.zeros((basis.shape[1], Y.shape[1]))
    if basis.shape[1] == 0:
        return beta
    zero = np.zeros_like(Y, dtype=float)
    size = max(np.linalg.norm(loss.grad(Y, Z)) for Z in (zero, zero + offset))
    negligible, sizes = 0.0 if loss.vanishes else SEPARATED_TOL * least_loss(loss), np.abs(basis).T
    value = loss.value(Y, zero + offset)
    for _ in range(MAX_NEWTON_STEPS):
        Z = offset + basis @ beta
        G = loss.grad(Y, Z)
        gradient = basis.T @ G
        if np.linalg.norm(gradient) <= FIT_TOL * np.linalg.norm(sizes @ np.abs(G)) or value <= negligible:
            break
        left = min(1.0, np.linalg.norm(gradient) / size)
        step = -_newton_step(loss, Y, Z, basis, gradient, RIDGE * left * loss.smoothness)
        slope, t = np.sum(gradient * step), 1.0
        while t > 1e-12:
            reached = loss.value(Y, offset + basis @ (beta + t * step))
            if reached <= value + 1e-4 * t * slope + NOISE * abs(value):
                break
            t *= 0.5
        else:
            break
        beta, value = beta + t * step, reached
    return beta


def least_loss(loss):
    """Return the least loss of a sample on the wrong side, min(weights) log 2: below it all are on the right one."""
    return float(np.min(loss.weights)) * np.log(2.0)


def _newton_step(loss, Y, Z, basis, gradient, ridge):
    """Return (B'HB + ridge I)^-1 gradient for the curvature H of a loss."""
    H = loss.curvature(Y, Z)
    ridge += LEAST_RIDGE * float(np.abs(H).max())
    if H.ndim == 3:
        J = _kronecker(basis, H)
        J.flat[:: len(J) + 1] += ridge
        return np.linalg.lstsq(J, gradient.ravel(), rcond=None)[0].reshape(gradient.shape)
    J = np.einsum("ia,ic,ib->cab", basis, H, basis, optimize=True) + ridge * np.eye(basis.shape[1])
    return np.linalg.solve(J, gradient.T[:, :, None])[:, :, 0].T


def fit_piecewise_linear(Y, lower, upper, basis):
    """Minimise sum max(lower r, upper r), r = basis @ beta - Y, over beta; slopes lower <= 0 <= upper, shaped as Y."""
    if basis.shape[1] == 0:
        return np.zeros((0, Y.shape[1]))
    fit = _fit_along if basis.shape[1] == 1 else _fit_program
    return np.stack([fit(*column, basis) for column in zip(Y.T, lower.T, upper.T, strict=True)], axis=1)


def _fit_along(y, lower, upper, basis):
    """Return the minimiser along one column, the middle where there are many: where the slope changes sign."""
    b = basis[:, 0]
    moves = np.abs(b) > 1e-14 * np.abs(b).max()
    b, y, lower, upper = b[moves], y[moves], lower[moves], upper[moves]
    points = y / b
    order = np.argsort(points, kind="stable")
    points, before = points[order], np.sum(np.where(b > 0, b * lower, b * upper))
    slopes = before + np.cumsum((np.abs(b) * (upper - lower))[order])  # after each point
    rounding = NOISE * np.sum(np.abs(b) * (upper - lower))
    first = min(int(np.searchsorted(slopes, -rounding)), len(points) - 1)
    if slopes[first] <= rounding and first + 1 < len(points):
        return np.array([0.5 * (points[first] + points[first + 1])])
    return points[first : first + 1]


def _fit_program(y, lower, upper, basis):
    """Minimise upper'p - lower'm over basis @ beta - p + m = y, p and m not negative."""
    n, k = basis.shape
    unit = float(np.abs(y).max()) or 1.0
    cost = np.concatenate([np.zeros(k), upper, -lower]) / max(float((upper - lower).max()), np.finfo(float).tiny)
    A = hstack([csr_array(basis), -eye_array(n), eye_array(n)], format="csr")
    bounds = np.array([[-np.inf, np.inf]] * k + [[0.0, np.inf]] * (2 * n))
    options = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    for presolve in (True, False):  # which takes costs many orders apart for none, and the program for unbounded
        options["presolve"] = presolve
        if is_limited():
            options["time_limit"] = remaining()
        result = linprog(cost, A_eq=A, b_eq=y / unit, bounds=bounds, method="highs", options=options)
        if result.x is None and is_up():
            return _quick_fit(y, lower, upper, basis)
        if result.x is not None:
            break
    else:
        raise ArithmeticError(f"the linear program of the fit of the free columns failed: {result.message}")
    beta = result.x[:k]
    zero = np.abs(basis @ beta - y / unit) <= 1e-9  # the vertex: these residuals vanish
    if zero.any():
        beta = beta - np.linalg.lstsq(basis[zero], (basis @ beta - y / unit)[zero], rcond=1e-10)[0]
    return unit * beta


def _quick_fit(y, lower, upper, basis):
    """Return the better of no fit and that of least squares, where there is no time for more."""
    fits = np.zeros(basis.shape[1]), basis.T @ y

    def loss(beta):
        z = basis @ beta - y
        return np.sum(np.where(z > 0, upper, lower) * z)

    return min(fits, key=loss)
