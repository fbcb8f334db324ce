"""Fits of the free columns alone: min over beta of L(offset + B beta), for orthonormal columns B.

Losses whose gradient is a clipped residual by `box_multipliers`; other smooth losses by a damped Newton method;
piecewise linear ones along one column by their non-smooth points, along more by a linear program.

References
----------
R. Koenker and G. Bassett (1978), Regression quantiles, Econometrica 46(1), 33-50 (the linear program).
"""

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, hstack

from ..utils.deadline import is_limited, is_up, remaining
from .projections import box_multipliers, kronecker

__all__ = ["SEPARATED_TOL", "fit_clipped", "fit_piecewise_linear", "fit_smooth", "least_loss"]

# Each step divides a loss that tends to zero by e: enough of them for weights that are 1e18 apart.
MAX_NEWTON_STEPS = 100
# The gradient relative to the sum of the sizes of its terms, and the value relative to `least_loss` where there is no
# minimum.
FIT_TOL, SEPARATED_TOL = 1e-12, 1e-10
# Regularisation of Newton's systems, relative to their size and to the fraction of the gradient that is left; and to
# the curvature, where rounding makes them singular.
RIDGE, LEAST_RIDGE = 1e-3, 1e-14
# Fraction of the decrease predicted that a step must reach, the shortest step, and changes of values that are rounding.
SUFFICIENT_DECREASE, SHORTEST_STEP, NOISE = 1e-4, 1e-12, 1e-14


def fit_clipped(G, lower, upper, weights, basis):
    """Return beta (n_free, n_outputs) that makes clip(G + weights * (basis @ beta), lower, upper) orthogonal to basis.

    lower <= 0 <= upper and the positive weights broadcast to G (n_samples, n_outputs).
    """
    if basis.shape[1] == 0:
        return np.zeros((0, G.shape[1]))
    columns = zip(*(np.broadcast_to(a, G.shape).T for a in (G, lower, upper, weights)), strict=True)
    return np.stack([-box_multipliers(*column, basis) for column in columns], axis=1)


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
        while t > SHORTEST_STEP:
            reached = loss.value(Y, offset + basis @ (beta + t * step))
            if reached <= value + SUFFICIENT_DECREASE * t * slope + NOISE * abs(value):
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
        J = kronecker(basis, H)
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
