"""Gated networks with a ridge penalty, against the primal normal equations and cvxpy."""

import cvxpy as cp
import numpy as np
import pytest
from specials import check_result, least

from convexnn.geometry.arrangements import Arrangements, sample_arrangements
from convexnn.losses import Hinge, Huber, Logistic, Squared, SquaredHinge
from convexnn.model.architecture import Architecture
from convexnn.model.building import build_program
from convexnn.special.kernel import gated_kernel, solve_gated_ridge


def data(n=20, d=3, n_outputs=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal((n, n_outputs)), rng


def gated(X, Y, alpha, gates=7, loss=None, seed=0, **options):
    architecture = Architecture(activation="gated_relu", **options)
    return build_program(X, Y, alpha, gates, architecture, random_state=seed, loss=loss)


def wide(program):
    """The columns D_i X of all patterns, side by side."""
    return np.hstack([pattern[:, None] * program.design.X for pattern in program.design.arrangements.patterns()])


def test_the_kernel_is_the_sum_over_patterns(monkeypatch):
    X, _, rng = data()
    arrangements = sample_arrangements(X, 9, random_state=0)
    expected = sum(np.outer(p, p) * (X @ X.T) for p in arrangements.patterns().astype(float))
    assert np.allclose(gated_kernel(X, arrangements), expected, rtol=1e-13)
    monkeypatch.setattr("convexnn.special.kernel.BLOCK_ENTRIES", 40)  # two patterns at a time
    assert np.allclose(gated_kernel(X, arrangements), expected, rtol=1e-13)
    new = rng.standard_normal((4, 3))
    here, there = (1.0 * (R @ arrangements.gates.T >= 0) for R in (new, X))
    expected = np.array(
        [[(x @ z) * (a @ b) for z, b in zip(X, there, strict=True)] for x, a in zip(new, here, strict=True)]
    )
    assert np.allclose(gated_kernel(new, arrangements, X), expected, rtol=1e-13)


@pytest.mark.parametrize("n_gates", [1, 3, 30])
@pytest.mark.parametrize("hidden_bias", ["none", "penalized"])
@pytest.mark.parametrize(("fit_intercept", "skip"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("weighted", [False, True])
def test_squared_loss_solves_the_normal_equations(n_gates, hidden_bias, fit_intercept, skip, weighted):
    X, Y, rng = data(n_outputs=2)
    w = rng.uniform(0.2, 3.0, len(X)) if weighted else np.ones(len(X))
    options = {"hidden_bias": hidden_bias, "fit_intercept": fit_intercept, "skip": skip}
    program = gated(X, Y, 0.7, n_gates, Squared(sample_weight=w if weighted else None), **options)
    result = solve_gated_ridge(program)
    columns = np.hstack([wide(program), program.free])
    ridge = np.diag(np.repeat([0.7, 0.0], [wide(program).shape[1], program.free.shape[1]]))
    theta = np.linalg.solve(columns.T @ (w[:, None] * columns) + ridge, columns.T @ (w[:, None] * Y))
    blocks, beta = np.split(theta, [wide(program).shape[1]])
    assert np.allclose(result.solution.W.reshape(-1, 2), blocks, rtol=1e-8, atol=1e-10)
    assert np.allclose(result.solution.beta, beta, rtol=1e-8, atol=1e-10)
    assert np.allclose(result.solution.Z, columns @ theta)
    value = 0.5 * np.sum(w[:, None] * (columns @ theta - Y) ** 2) + 0.35 * np.sum(blocks**2)
    assert result.certificate.objective == pytest.approx(value, rel=1e-12)
    check_result(result, value, scope="sampled", tol=1e-12)


@pytest.mark.parametrize(
    "loss", [Logistic(), Huber(delta=0.4), SquaredHinge(), Logistic(sample_weight=np.linspace(0.5, 2.0, 20))]
)
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("alpha", [0.01, 1.0, 100.0])
def test_smooth_losses_agree_with_cvxpy(loss, fit_intercept, alpha):
    X, Y, _ = data(seed=3)
    Y = Y if isinstance(loss, Huber) else np.where(Y > 0, 1.0, -1.0)
    program = gated(X, Y, alpha, loss=loss, fit_intercept=fit_intercept)
    solution = solve_gated_ridge(program)
    theta, beta = cp.Variable((wide(program).shape[1], 1)), cp.Variable((program.free.shape[1], 1))
    fit = wide(program) @ theta + (program.free @ beta if fit_intercept else 0.0)
    optimum = least(loss.to_cvxpy(Y, fit) + alpha / 2 * cp.sum_squares(theta))
    check_result(solution, optimum, scope="sampled", tol=1e-9)
    assert solution.certificate.objective == pytest.approx(optimum, rel=1e-7)
    assert solution.certificate.lower_bound <= optimum * (1 + 1e-9)


def test_the_bound_is_a_bound_before_the_end():
    X, Y, _ = data(seed=4)
    Y = np.where(Y > 0, 1.0, -1.0)
    program = gated(X, Y, 0.1, loss=Logistic())
    best = solve_gated_ridge(program).certificate.objective
    with pytest.warns(UserWarning, match="stopped at max_iter"):
        early = solve_gated_ridge(program, max_iter=1)
    assert not early.converged
    assert early.certificate.lower_bound <= best <= early.certificate.objective


def test_small_alpha_interpolates():
    X, Y, _ = data(n=10)
    solution = solve_gated_ridge(gated(X, Y, 1e-15, 8))
    assert np.allclose(solution.solution.Z, Y, atol=1e-8)
    assert solution.certificate.lower_bound <= solution.certificate.objective * (1 + 1e-9)


def test_network_and_kernel_predict_the_same():
    X, Y, rng = data()
    program = gated(X, Y, 0.5, fit_intercept=True, skip=True)
    solution = solve_gated_ridge(program)
    network = solution.network
    assert network.n_neurons == 7
    assert np.allclose(network.predict(X), solution.solution.Z[:, 0], atol=1e-10)
    new = rng.standard_normal((5, 3))
    rows = program.architecture.hidden_rows(new)
    kernel = gated_kernel(rows, program.design.arrangements, program.design.X)
    expected = kernel @ solution.dual / 0.5 + program.architecture.free_columns(new) @ solution.solution.beta
    assert np.allclose(network.predict(new), expected[:, 0], atol=1e-10)


def test_wrong_programs_are_refused():
    X, Y, _ = data()
    labels = np.where(Y > 0, 1.0, -1.0)
    for message, program in [
        ("gated_relu", build_program(X, Y, 1.0, 5)),
        ("smooth", gated(X, labels, 1.0, loss=Hinge())),
    ]:
        with pytest.raises(ValueError, match=message):
            solve_gated_ridge(program)
    for message, rows in (("columns", X[:, :2]), ("rows", X[:5])):
        with pytest.raises(ValueError, match=message):
            gated_kernel(rows, Arrangements.from_gates(X, [[1.0, 0.0, 0.0]]))
