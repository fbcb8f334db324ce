"""The comparison problems A to E, each at two strengths of regularisation.

A, B, C: a teacher network of ten ReLU neurons on Gaussian inputs, with noise. D: the diabetes data. E: odd against even
digits. Patterns are those of Gaussian gates; alpha is a fraction of max_i |X' D_i y|, 0.05 ("hi") or 0.005 ("lo").
"""

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_diabetes, load_digits

__all__ = ["PROBLEMS", "Problem", "make_problem", "make_teacher"]

# Number of gates and the seed they are drawn with.
GATES = {"A": (50, 100), "B": (200, 101), "C": (500, 102), "D": (500, 103), "E": (1000, 104)}
# Samples, features and seed of the problems made by a teacher.
TEACHERS = {"A": (50, 5, 0), "B": (200, 10, 1), "C": (1000, 20, 2)}
STRENGTHS = {"hi": 0.05, "lo": 0.005}
PROBLEMS = tuple(f"{letter}_{strength}" for letter in GATES for strength in STRENGTHS)


@dataclass(frozen=True, eq=False)
class Problem:
    """Data, gates and regularisation of a comparison problem.

    Parameters
    ----------
    name : str
        One of `PROBLEMS`.
    X : ndarray of shape (n_samples, n_features)
        Inputs, a column of ones included where the problem has one.
    y : ndarray of shape (n_samples,)
        Targets.
    gates : ndarray of shape (n_gates, n_features)
        Gates of pairwise different patterns.
    alpha : float
        Regularisation strength.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    gates: np.ndarray
    alpha: float


def make_problem(name):
    """Make a comparison problem.

    Parameters
    ----------
    name : str
        One of `PROBLEMS`, such as "B_hi".

    Returns
    -------
    Problem
        The same arrays at every call.
    """
    if name not in PROBLEMS:
        raise ValueError(f"name must be one of {', '.join(PROBLEMS)}; got {name!r}")
    letter, strength = name.split("_")
    X, y = make_teacher(*TEACHERS[letter]) if letter in TEACHERS else {"D": _diabetes, "E": _digits}[letter]()
    gates = _gates(X, *GATES[letter])
    largest = np.linalg.norm(X.T @ ((X @ gates.T >= 0) * y[:, None]), axis=0).max()
    return Problem(name, X, y, gates, STRENGTHS[strength] * largest)


def make_teacher(n_samples, n_features, seed, n_neurons=10):
    """Make data of a teacher network.

    Parameters
    ----------
    n_samples, n_features : int
        Size of the inputs, which are standard Gaussian.
    seed : int
        Source of inputs, teacher and noise.
    n_neurons : int, default=10
        ReLU neurons of the teacher, with Gaussian weights.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Inputs.
    y : ndarray of shape (n_samples,)
        Outputs of the teacher, and Gaussian noise of a tenth of their standard deviation.
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features))
    hidden = rng.standard_normal((n_features, n_neurons)) / np.sqrt(n_features)
    signal = np.maximum(X @ hidden, 0) @ rng.standard_normal(n_neurons)
    return X, signal + 0.1 * signal.std() * rng.standard_normal(n_samples)


def _diabetes():
    X, y = load_diabetes(return_X_y=True, scaled=False)
    return np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(len(X))]), (y - y.mean()) / y.std()


def _digits():
    X, digit = load_digits(return_X_y=True)
    return np.column_stack([X / 16.0, np.ones(len(X))]), np.where(digit % 2 == 1, 1.0, -1.0)


def _gates(X, n_gates, seed):
    """Draw Gaussian gates until there are n_gates of different patterns, none of them empty."""
    rng = np.random.default_rng(seed)
    found = {}
    while len(found) < n_gates:
        gate = rng.standard_normal(X.shape[1])
        pattern = X @ gate >= 0
        if pattern.any():
            found.setdefault(pattern.tobytes(), gate)
    return np.array(list(found.values()))
