"""Rows in every special position, and kappa over their cells, cell by cell."""

import numpy as np
from scipy.optimize import nnls

from convexnn.geometry.arrangements import enumerate_arrangements


def exact_kappa(X, v):
    """Return kappa as the longest projection of X'D v, or of its opposite, onto a cell: min |g + A'mu| over mu >= 0."""
    best = 0.0
    for pattern in enumerate_arrangements(X).patterns():
        A, g = np.where(pattern[:, None], X, -X), X[pattern].T @ v[pattern]
        best = max(best, nnls(A.T, -g)[1], nnls(A.T, g)[1])
    return best


def generic(n, d, seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal(n)


def degenerate(name):
    rng = np.random.default_rng(7)
    X, v = rng.standard_normal((9, 3)), rng.standard_normal(9)
    if name == "duplicates":
        X = X[[0, 1, 2, 0, 1, 2, 3, 3, 3]]
    elif name == "parallel":
        X[3:6] = X[:3] * [[2.0], [-0.5], [3.0]]
        X[6:] = -X[:3]
    elif name == "zero rows":
        X[::2] = 0
    elif name == "zero weights":
        v[::3] = 0
    elif name == "rank deficient":
        X = X[:, :2] @ rng.standard_normal((2, 5))
    elif name == "integers":
        X = rng.integers(-1, 2, (9, 3)).astype(float)
    elif name == "grid":
        X = np.stack(np.meshgrid([0, 1, 2], [0, 1, 2]), -1).reshape(9, 2) @ np.eye(2, 3) + [0, 0, 1]
    elif name == "few rows":
        X, v = rng.standard_normal((4, 7)), v[:4]
    elif name == "one column":
        X = X[:, :1]
    elif name == "one row":
        X, v = X[:1], v[:1]
    elif name == "positive":
        v = np.abs(v)
    elif name == "negative":
        v = -np.abs(v)
    elif name == "scaled columns":
        X = X * [1e-4, 1.0, 1e4]
    elif name == "intercept":
        X[:, 2] = 1.0
    elif name == "nearly parallel":
        X[4:] = X[0] + 1e-6 * X[4:]
    return X, v


DEGENERATE = [
    "duplicates",
    "parallel",
    "zero rows",
    "zero weights",
    "rank deficient",
    "integers",
    "grid",
    "few rows",
    "one column",
    "one row",
    "positive",
    "negative",
    "scaled columns",
    "intercept",
    "nearly parallel",
]


CASES = [generic(n, d, seed) for n, d in [(12, 2), (20, 2), (10, 3), (14, 3), (9, 4), (7, 5)] for seed in range(3)]


CASES += [degenerate(name) for name in DEGENERATE]
IDS = [f"{len(X)}x{X.shape[1]}-{seed % 3}" for seed, (X, _) in enumerate(CASES[: -len(DEGENERATE)])] + DEGENERATE
