"""The restarts of L-BFGS find optima known in closed form or as convex programs, by gradients that are right."""

import ast
from pathlib import Path

import cvxpy as cp
import numpy as np
import oracles
import pytest
from oracles import NetworkProblem, best_of_restarts, objective, smooth_objective, start

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 4))
PATCHES = RNG.standard_normal((6, 3, 2))
Y = RNG.standard_normal((6, 2))
LABELS = np.where(Y > 0, 1.0, -1.0)
ONE_HOT = np.eye(3)[[0, 1, 2, 0, 2, 1]]
WEIGHT = RNG.uniform(0.5, 2.0, 6)

PROBLEMS = {
    "plain": {},
    "one output": {"Y": Y[:, 0]},
    **{loss: {"loss": loss} for loss in ("huber", "quantile", "absolute_error")},
    **{loss: {"loss": loss, "Y": LABELS} for loss in ("log_loss", "hinge", "squared_hinge")},
    "softmax": {"loss": "softmax", "Y": ONE_HOT},
    "leaky": {"activation": "leaky_relu", "slope": 0.3},
    "abs": {"activation": "abs", "hidden_bias": "free"},
    "linear": {"activation": "linear", "output_penalty": "l1"},
    "gated": {"activation": "gated_relu", "gates": RNG.integers(0, 2, (2, 6)), "hidden_bias": "penalized"},
    "polynomial": {"activation": "polynomial", "polynomial": (0.5, -0.7, 0.3), "hidden_bias": "penalized"},
    "biases": {"hidden_bias": "penalized", "hidden_norm": "l1", "fit_intercept": True, "skip": True},
    "free biases": {"hidden_bias": "free", "hidden_norm": "l1", "output_penalty": "l1"},
    **{pooling: {"X": PATCHES, "pooling": pooling, "skip": True} for pooling in ("sum", "mean", "max", "none")},
    "gated patches": {
        "X": PATCHES,
        "pooling": "none",
        "output_penalty": "l1",
        "activation": "gated_relu",
        "gates": RNG.integers(0, 2, (2, 6, 3)),
    },
    "circular": {"circular": (4,), "hidden_bias": "free"},
    "circular grid": {"circular": (2, 2), "hidden_norm": "l1"},
}


def make(options):
    defaults = {"X": X, "Y": Y, "alpha": 0.3, "n_neurons": 5, "delta": 0.4, "quantile": 0.3, "sample_weight": WEIGHT}
    return NetworkProblem(**{**defaults, **options})


@pytest.mark.parametrize("name", PROBLEMS)
def test_gradients_are_those_of_differences(name):
    problem = make(PROBLEMS[name])
    rng = np.random.default_rng(3)
    theta = start(problem, rng)
    theta = theta + 0.3 * np.abs(rng.standard_normal(theta.shape))
    for width in (0.1, 0.0):
        value, gradient = smooth_objective(problem, theta, width)
        assert np.isfinite(value)
        for i in range(len(theta)):
            step = 1e-6 * (np.arange(len(theta)) == i)
            ends = [smooth_objective(problem, theta + sign * step, width)[0] for sign in (1, -1)]
            assert np.isclose((ends[0] - ends[1]) / 2e-6, gradient[i], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_objective_is_below_the_smooth_one_and_near_it_at_balance(name):
    problem = make(PROBLEMS[name])
    theta = start(problem, np.random.default_rng(3))
    assert objective(problem, theta) <= smooth_objective(problem, theta, 0.0)[0] * (1 + 1e-12)
    _, theta = oracles._train(problem, theta, (0.1, 0.01, 1e-4))
    assert np.isclose(objective(problem, theta), smooth_objective(problem, theta, 0.0)[0], rtol=1e-3)


def test_values_written_out():
    """One neuron w = 2, b = 1, a = -3 on x = 1, -2: activations 3 and 0."""
    theta = np.array([2.0, 1.0, -3.0])
    options = {"X": np.array([[1.0], [-2.0]]), "Y": np.array([1.0, -1.0]), "alpha": 0.5, "n_neurons": 1}
    length = 3 * np.sqrt(5.0)
    for loss, value in {
        "squared_error": 0.5 * (10**2 + 1**2),
        "huber": (10 - 0.5) + 0.5,
        "quantile": 0.3 * 10 + 0.7 * 1,
        "absolute_error": 10 + 1,
        "log_loss": np.log1p(np.exp(9.0)) + np.log(2.0),
        "hinge": 10 + 1,
        "squared_hinge": 0.5 * (10**2 + 1),
    }.items():
        problem = NetworkProblem(**options, loss=loss, quantile=0.3, hidden_bias="penalized")
        assert np.isclose(objective(problem, theta), value + 0.5 * length)
        free = NetworkProblem(**options, loss=loss, quantile=0.3, hidden_bias="free", sample_weight=[1.0, 1.0])
        assert np.isclose(objective(free, theta), value + 0.5 * 6)
    polynomial = NetworkProblem(**options, activation="polynomial", polynomial=(1.0, 2.0, 3.0))
    outputs = -3 * 2 * np.array([1 + 2 + 3, 4 - 4 + 3.0])
    assert np.isclose(objective(polynomial, theta[[0, 2]]), 0.5 * np.sum((outputs - [1, -1]) ** 2) + 0.5 * 6)
    softmax = NetworkProblem(**{**options, "Y": np.eye(2)}, loss="softmax", output_penalty="l1")
    theta = np.array([2.0, 1.0, 0.0, 0.0, 2.0])  # w; the two parts of a = (1, -2)
    assert np.isclose(objective(softmax, theta), np.log(1 + np.exp(-6.0)) + np.log(2.0) + 0.5 * 2 * 3)


def check_optimum(problem, optimum, n_restarts=8, tol=1e-6):
    best, values = best_of_restarts(problem, n_restarts, 0)
    assert len(values) == n_restarts
    assert best == min(values)
    assert optimum * (1 - 1e-8) <= best <= optimum * (1 + tol)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.7])
def test_three_samples(alpha):
    optimum = 3 - (8 - alpha) ** 2 / 26 - (1 - np.sqrt(2) * alpha) ** 2 / 2
    rows = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]])
    check_optimum(NetworkProblem(rows, [1.0, 2.0, -1.0], alpha, 6), optimum)


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_xor(alpha):
    rows = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    check_optimum(NetworkProblem(rows, [1.0, -1.0, -1.0, 1.0], alpha, 8), 2 - (np.sqrt(2) - alpha) ** 2)


def solve(objective, constraints=()):
    problem = cp.Problem(cp.Minimize(objective), list(constraints))
    return problem.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)


def test_linear_networks_with_a_weight_for_each_patch_have_the_nuclear_norm():
    Z = cp.Variable(PATCHES.shape[1:])
    fit = sum(PATCHES[:, k] @ Z[k] for k in range(3))
    optimum = solve(0.5 * cp.sum_squares(fit - Y[:, 0]) + 0.2 * cp.normNuc(Z))
    check_optimum(NetworkProblem(PATCHES, Y[:, 0], 0.2, 3, activation="linear", pooling="none"), optimum)


@pytest.mark.parametrize("loss", ["absolute_error", "hinge"])
def test_linear_networks_of_one_output_have_the_norm(loss):
    z = X @ (u := cp.Variable(4))
    term = cp.norm1(z - Y[:, 0]) if loss == "absolute_error" else cp.sum(cp.pos(1 - cp.multiply(LABELS[:, 0], z)))
    target = Y[:, 0] if loss == "absolute_error" else LABELS[:, 0]
    check_optimum(NetworkProblem(X, target, 0.3, 2, loss=loss, activation="linear"), solve(term + 0.3 * cp.norm(u)))
    l1 = NetworkProblem(X, target, 0.3, 4, loss=loss, activation="linear", hidden_norm="l1")
    check_optimum(l1, solve(term + 0.3 * cp.norm1(u)))


def test_circular_linear_networks_have_the_l1_norm_of_the_spectrum():
    q = cp.Variable(4)
    spectrum = cp.sum(cp.abs(np.fft.fft(np.eye(4)) @ q)) / 4
    optimum = solve(0.5 * cp.sum_squares(X @ q - Y[:, 0]) + 0.2 * spectrum)
    check_optimum(NetworkProblem(X, Y[:, 0], 0.2, 2, activation="linear", circular=(4,)), optimum)


def test_polynomial_networks_have_their_semidefinite_program():
    blocks = [cp.Variable((5, 5), PSD=True) for _ in range(2)]
    D = blocks[0] - blocks[1]
    fit = cp.hstack([0.5 * (x @ D[:4, :4] @ x) + 0.3 * (x @ D[:4, 4]) + 0.2 * D[4, 4] for x in X])
    optimum = solve(
        0.5 * cp.sum_squares(fit - Y[:, 0]) + 0.2 * (blocks[0][4, 4] + blocks[1][4, 4]),
        [cp.trace(block[:4, :4]) == block[4, 4] for block in blocks],
    )
    problem = NetworkProblem(X, Y[:, 0], 0.2, 8, activation="polynomial", polynomial=(0.5, 0.3, 0.2))
    check_optimum(problem, optimum)


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "square"},
        {"activation": "tanh"},
        {"activation": "leaky_relu"},
        {"activation": "gated_relu"},
        {"gates": np.ones((1, 6))},
        {"hidden_bias": True},
        {"pooling": None},
        {"circular": (3,)},
        {"sample_weight": np.ones(5)},
        {"activation": "polynomial", "hidden_norm": "l1"},
    ],
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match=r"must|needs|go|goes"):
        make(options)


def test_the_oracle_is_independent():
    tree = ast.parse(Path(oracles.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"dataclasses", "numpy", "scipy.optimize"}
