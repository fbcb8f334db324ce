"""
Kernels have fixed features, the convex network finds its own
=============================================================

A gated network with a ridge penalty is kernel ridge regression, and with many random gates its kernel becomes the
hidden-layer part of the neural tangent kernel, x.x' (pi - angle) / (2 pi): the formula of Cho and Saul (2009). Its
features are the same for every target. The ReLU network with weight decay chooses its features by the data. Where the
target depends on one direction out of ten, 50 samples teach it more than 200 teach the kernels.
"""

import matplotlib.pyplot as plt
import numpy as np

from convexnn import Architecture, ConvexReLURegressor
from convexnn.geometry import Arrangements
from convexnn.model import build_program
from convexnn.special.kernel import gated_kernel, solve_gated_ridge

DIMENSION, SIZES, GATES = 10, (25, 50, 100, 200), (10, 100, 1000, 10000)

rng = np.random.default_rng(0)
X = rng.standard_normal((2000, DIMENSION))
y = np.abs(X @ np.ones(DIMENSION)) / DIMENSION**0.5 + 0.1 * rng.standard_normal(2000)
X_new, y_new = X[1000:], y[1000:]


def with_bias(X):
    return np.column_stack([X, np.ones(len(X))])


def angles(U, V):
    lengths = np.linalg.norm(U, axis=1)[:, None] * np.linalg.norm(V, axis=1)
    return np.arccos(np.clip(U @ V.T / lengths, -1, 1)), lengths


def hidden_kernel(U, V):
    return (U @ V.T) * (np.pi - angles(U, V)[0]) / (2 * np.pi)


def tangent_kernel(U, V):
    angle, lengths = angles(U, V)  # what the output weights add is the arc-cosine kernel of degree one
    output = lengths * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
    return hidden_kernel(U, V) + output


# %%
# The kernel of random gates, and the formula
# -------------------------------------------

rows = with_bias(X[:100])
formula = hidden_kernel(rows, rows)
distances = []
for m in GATES:
    kernel = gated_kernel(rows, Arrangements.from_gates(rows, rng.standard_normal((m, DIMENSION + 1)))) / m
    distances.append(np.linalg.norm(kernel - formula) / np.linalg.norm(formula))

# %%
# Errors at new inputs, each method at its best of a few alphas
# -------------------------------------------------------------


def network(n, alpha):
    return ConvexReLURegressor(alpha, scope="local", tol=1e-3, random_state=0).fit(X[:n], y[:n]).predict(X_new)


def gated_ridge(n, alpha):
    program = build_program(X[:n], y[:n], 1000 * alpha, 1000, architecture=Architecture("gated_relu"), random_state=0)
    return solve_gated_ridge(program).network.predict(X_new)


def tangent_ridge(n, alpha):
    U, mean = with_bias(X[:n]), y[:n].mean()
    V = np.linalg.solve(tangent_kernel(U, U) + alpha * np.eye(n), y[:n] - mean)
    return tangent_kernel(with_bias(X_new), U) @ V + mean


methods = {
    "gated ridge, 1000 gates": (gated_ridge, (0.01, 0.1, 1, 10), "#D55E00", "s"),
    "neural tangent kernel ridge": (tangent_ridge, (0.01, 0.1, 1, 10), "#009E73", "^"),
    "convex ReLU network": (network, (1.0, 3.0), "#0072B2", "o"),
}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
left.loglog(GATES, distances, "s-", color="#D55E00")
left.set_ylim(0.01, 1)
left.set(xlabel="random gates", ylabel="relative distance to the formula", title="Kernel of a gated network")
for name, (predict, alphas, color, marker) in methods.items():
    errors = [min(np.mean((predict(n, alpha) - y_new) ** 2) for alpha in alphas) for n in SIZES]
    print(f"{name}: " + ", ".join(f"{error:.3f} ({n})" for n, error in zip(SIZES, errors, strict=True)))
    right.loglog(SIZES, errors, marker=marker, color=color, label=name)
right.axhline(0.01, color="0.5", linestyle=":", label="variance of the noise")
right.set(xlabel="training samples", ylabel="mean squared error", title="Errors at new inputs, y = |x.w|")
right.set_xticks(SIZES, SIZES)
right.minorticks_off()
right.set_ylim(0.008, 2)
right.legend(loc="upper right")
for ax in (left, right):
    ax.grid(alpha=0.3)
plt.show()
