"""Problems by hand and at random, and the convex program written once more, block by block."""

import cvxpy as cp
import numpy as np

from convexnn import Architecture
from convexnn.geometry import enumerate_arrangements

HAND_X, HAND_Y = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]]), np.array([1.0, 2.0, -1.0])


XOR_X, XOR_Y = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]), np.array([1.0, -1.0, -1.0, 1.0])


PLAIN = Architecture(hidden_bias="none", fit_intercept=False)


FORMULATIONS = {
    "F1 plain": PLAIN,
    "F2 hidden bias": Architecture(fit_intercept=False),
    "F4 output bias": Architecture(hidden_bias="none"),
    "F2 F4 both biases": Architecture(),
    "F5 skip": Architecture(hidden_bias="none", fit_intercept=False, skip=True),
    "F5 skip and biases": Architecture(skip=True),
    "F6 gated": Architecture("gated_relu", hidden_bias="none", fit_intercept=False),
    "F6 gated, all parts": Architecture("gated_relu", skip=True),
}


def random_problem(seed):
    rng = np.random.default_rng([2020, seed])
    n, d = int(rng.integers(3, 8)), int(rng.integers(1, 3))
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    if seed % 4 == 3:  # degenerate: integers, a duplicate row, a zero row
        X = np.vstack([rng.integers(-2, 3, (n - 2, d)), np.zeros((1, d))])
        X = np.vstack([X, X[:1]])
    largest = np.linalg.norm(X.T @ np.abs(y - y.mean())) + 0.1  # of the order of alpha_max
    return X, y, largest * 10.0 ** rng.uniform(-1.5, -0.3)


def textbook_optimum(X, y, alpha, architecture):
    """The program of MATH written again, block by block with dense matrices."""
    H = np.column_stack([X, np.ones(len(X))]) if architecture.hidden_bias == "penalized" else X
    z, penalty, constraints = 0, 0, []
    for pattern in enumerate_arrangements(H).patterns():
        D = np.diag(pattern.astype(float))
        for sign in (1, -1) if architecture.activation == "relu" else (1,):
            u = cp.Variable(H.shape[1])
            z = z + sign * (D @ H) @ u
            penalty = penalty + cp.norm(u)
            if architecture.activation == "relu":
                constraints.append((2 * D - np.eye(len(X))) @ H @ u >= 0)
    if architecture.fit_intercept:
        z = z + cp.Variable()
    if architecture.skip:
        z = z + X @ cp.Variable(X.shape[1])
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(z - y) + alpha * penalty), constraints)
    return problem.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
