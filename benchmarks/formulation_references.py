"""The programs that the package solves by other means, written out in cvxpy, and losses written out.

Each function returns a callable that solves its program; nothing of the package is used.
"""

from itertools import combinations

import numpy as np

__all__ = ["adversarial", "loss_value", "polynomial", "ridge", "threshold_samples"]

TIGHT = {"solver": "CLARABEL", "tol_gap_rel": 1e-11, "tol_gap_abs": 1e-12, "tol_feas": 1e-11}
# Random threshold neurons of a restart, those around a line, their distance from it, and what is on a wall.
N_RANDOM, N_AROUND, DISTANCE, ON_WALL = 300, 20, 1e-5, 1e-12


def loss_value(loss, Y, Z, weight, delta, quantile):
    """Return the loss of predictions Z, a sum over samples."""
    R = Y - Z
    values = {
        "squared_error": lambda: 0.5 * R**2,
        "huber": lambda: np.where(np.abs(R) <= delta, 0.5 * R**2, delta * (np.abs(R) - 0.5 * delta)),
        "quantile": lambda: np.maximum(quantile * R, (quantile - 1.0) * R),
        "absolute_error": lambda: np.abs(R),
        "log_loss": lambda: np.logaddexp(0.0, -Y * Z),
        "hinge": lambda: np.maximum(1.0 - Y * Z, 0.0),
        "squared_hinge": lambda: 0.5 * np.maximum(1.0 - Y * Z, 0.0) ** 2,
        "softmax": lambda: np.logaddexp.reduce(Z, axis=1, keepdims=True) - np.sum(Y * Z, axis=1, keepdims=True),
    }[loss]()
    return float(np.sum(values if weight is None else weight[:, None] * values))


def ridge(loss, rows, Y, patterns, free, alpha, weight, delta, quantile):
    """Write gated networks with a ridge: alpha / 2 sum_i |u_i|^2, on the columns D_i X of all patterns."""
    import cvxpy as cp

    wide = np.hstack([pattern[:, None] * rows for pattern in patterns])
    theta, beta = cp.Variable((wide.shape[1], Y.shape[1])), cp.Variable((max(1, free.shape[1]), Y.shape[1]))
    fit = wide @ theta + (free @ beta if free.shape[1] else 0.0)
    terms = _loss(loss, Y, fit, weight, delta, quantile) + alpha / 2 * cp.sum_squares(theta)
    return lambda: cp.Problem(cp.Minimize(terms)).solve(**TIGHT)


def polynomial(loss, X, Y, coefficients, alpha, weight, delta, quantile):
    """Write polynomial activations: semidefinite Z, Z' with tr Z1 = Z4 for each output, and a free constant."""
    import cvxpy as cp

    (a, b, c), d = coefficients, X.shape[1]
    blocks = [[cp.Variable((d + 1, d + 1), PSD=True) for _ in "+-"] for _ in Y.T]
    constant = cp.Variable((1, Y.shape[1]))
    columns = []
    for plus, minus in blocks:
        D = plus - minus
        columns.append(cp.hstack([a * (x @ D[:d, :d] @ x) + b * (x @ D[:d, d]) + c * D[d, d] for x in X]))
    fit = cp.vstack(columns).T + np.ones((len(X), 1)) @ constant
    every = [block for pair in blocks for block in pair]
    terms = _loss(loss, Y, fit, weight, delta, quantile) + alpha * sum(block[d, d] for block in every)
    return lambda: cp.Problem(cp.Minimize(terms), [cp.trace(block[:d, :d]) == block[d, d] for block in every]).solve(
        **TIGHT
    )


def adversarial(loss, rows, y, patterns, radius, alpha):
    """Write the robust program on rows [x, 1], block by block: the loss of margins less radius |g_k|_1."""
    import cvxpy as cp

    d = rows.shape[1] - 1
    blocks = [(cp.Variable(d + 1), cp.Variable(d + 1)) for _ in patterns]
    constant, cones, size = cp.Variable(), [], 0.0
    for pattern, pair in zip(patterns, blocks, strict=True):
        for u in pair:
            cones.append(cp.multiply(np.where(pattern, 1.0, -1.0), rows @ u) >= radius * cp.norm1(u[:d]))
            size = size + cp.norm(u)
    total = 0.0
    for k in range(len(y)):
        gradient = sum(u - v for pattern, (u, v) in zip(patterns, blocks, strict=True) if pattern[k])
        margin = y[k] * (rows[k] @ gradient + constant) - radius * cp.norm1(gradient[:d])
        total = total + (cp.pos(1.0 - margin) if loss == "hinge" else cp.logistic(-margin))
    return lambda: cp.Problem(cp.Minimize(total + alpha * size), cones).solve(**TIGHT)


def threshold_samples(loss, X, Y, bias, free, alpha, weight, delta, quantile):
    """Draw threshold networks of random hidden neurons, also on and around lines where walls cross.

    The cells around these lines are all cells, as long as they are wider than the distance from the line.
    """
    import cvxpy as cp

    rows = np.column_stack([X, np.ones(len(X))]) if bias else X
    r = rows.shape[1]

    def neurons(rng):
        lines = [np.linalg.svd(rows[list(k)])[2][-1] for k in combinations(range(len(rows)), r - 1)]
        lines = np.array([sign * line for line in lines for sign in (1.0, -1.0)])
        around = lines[rng.integers(len(lines), size=(len(lines) * N_AROUND,))]
        around = around + DISTANCE * rng.standard_normal(around.shape)
        products = np.vstack([rng.standard_normal((N_RANDOM, r)), around]) @ rows.T
        on = lines @ rows.T
        on[np.abs(on) < ON_WALL] = 0.0
        return np.vstack([products, on, np.zeros((1, len(rows)))]) >= 0

    def search(n_restarts, seed):
        rng, best = np.random.default_rng(seed), np.inf
        for _ in range(n_restarts):
            H = np.unique(neurons(rng), axis=0).T.astype(float)
            a, beta = cp.Variable((H.shape[1], 1)), cp.Variable((max(1, free.shape[1]), 1))
            fit = H @ a + (free @ beta if free.shape[1] else 0.0)
            terms = _loss(loss, Y, fit, weight, delta, quantile) + alpha * cp.sum(cp.abs(a))
            best = min(best, cp.Problem(cp.Minimize(terms)).solve(**TIGHT))
        return best

    return search


def _loss(loss, Y, Z, weight, delta, quantile):
    """Return the loss as a cvxpy expression."""
    import cvxpy as cp

    R, margins = Y - Z, cp.multiply(Y, Z)
    values = {
        "squared_error": lambda: 0.5 * cp.square(R),
        "huber": lambda: 0.5 * cp.huber(R, delta),
        "quantile": lambda: cp.maximum(quantile * R, (quantile - 1.0) * R),
        "absolute_error": lambda: cp.abs(R),
        "log_loss": lambda: cp.logistic(-margins),
        "hinge": lambda: cp.pos(1.0 - margins),
        "squared_hinge": lambda: 0.5 * cp.square(cp.pos(1.0 - margins)),
        "softmax": lambda: cp.log_sum_exp(Z, axis=1, keepdims=True) - cp.sum(cp.multiply(Y, Z), axis=1, keepdims=True),
    }[loss]()
    weights = np.ones((len(Y), 1)) if weight is None else weight[:, None]
    return cp.sum(cp.multiply(weights @ np.ones((1, values.shape[1])), values))
