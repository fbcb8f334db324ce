"""The engine of norms that are not rotation invariant, and its pricing: right against dense programs in cvxpy."""

import warnings
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from checks import DEGENERATE, check_feasible, check_history, cone_rows, degenerate_rows, dense_prediction
from sklearn.exceptions import ConvergenceWarning

from convexnn import Architecture, losses
from convexnn.geometry.fourier import fourier_basis
from convexnn.geometry.patches import Patches
from convexnn.model import build_program
from convexnn.model.penalties import ElasticNorm, GroupL2, GroupNorm, group_l1
from convexnn.pricing import kappa
from convexnn.pricing.groups import group_bounds
from convexnn.pricing.kappa import price, start_of
from convexnn.pricing.zero_dual import dual_at_zero
from convexnn.solvers import solve_working_set
from convexnn.solvers.conic import solve_conic


def l1(W):
    return cp.sum(cp.abs(W))


def fourier(W):
    """(1 / d) sum_k |(DFT u)_k| for the rows u of W, of the definition."""
    n_blocks, d = W.shape
    angles = 2 * np.pi * np.outer(np.arange(d), np.arange(d)) / d
    parts = [cp.reshape(W @ part(angles), (1, n_blocks * d), order="C") for part in (np.cos, np.sin)]
    return cp.sum(cp.norm(cp.vstack(parts), 2, axis=0)) / d


def elastic(W):
    return 0.3 * l1(W) + 0.7 * l2(W)


def l2(W):
    return cp.sum(cp.norm(W, 2, axis=1))


def groups(W):
    """The first and the last feature are one group, the others another."""
    return 0.5 * l2(W[:, [0, -1]]) + (2.0 * l2(W[:, 1:-1]) if W.shape[1] > 2 else 0.0)


def group_norm(d):
    return GroupNorm(None, np.array([0, *[1] * (d - 2), 0]), np.array([0.5, 2.0])[: 1 + (d > 2)])


NORMS = {
    "l1": (l1, group_l1),
    "fourier": (fourier, lambda d: GroupNorm(*fourier_basis((d,)))),
    "elastic": (elastic, lambda d: ElasticNorm(0.3)),
    "l2": (l2, lambda d: GroupL2()),
    "groups": (groups, group_norm),
}


def dense_optimum(program, norm, loss=None, tol=1e-12):
    """Write the whole program with all its patterns, from the formula."""
    design, Y = program.design, program.Y
    patterns, X = design.arrangements.patterns(), design.X
    fits, size, constraints = [], 0, []
    for _ in range(Y.shape[1]):
        fit = program.free @ cp.Variable(program.free.shape[1]) if program.free.shape[1] else np.zeros(len(Y))
        for sign in design.signs:
            W = cp.Variable((len(patterns), X.shape[1]))
            fit = fit + sign * cp.sum(cp.multiply(patterns.T.astype(float), X @ W.T), axis=1)
            size = size + norm(W)
            if program.architecture.activation == "relu":
                constraints.append(cp.multiply(2.0 * patterns.T - 1.0, X @ W.T) >= 0)
        fits.append(fit)
    Z = cp.vstack(fits).T
    value = 0.5 * cp.sum_squares(Z - Y) if loss is None else loss(Z, Y)
    return solve_cvxpy(cp.Problem(cp.Minimize(value + program.alpha * size), constraints), tol)


def solve_cvxpy(problem, tol=1e-12):
    """As exactly as rounding allows."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate", category=UserWarning)
        return problem.solve(solver="CLARABEL", tol_gap_abs=tol, tol_gap_rel=tol, tol_feas=tol)


def random_program(seed, name, architecture=None, arrangements="all", n_max=9):
    rng = np.random.default_rng([71, seed])
    n, d = int(rng.integers(6, n_max + 1)), int(rng.integers(2, 5))
    X = rng.standard_normal((n, d))
    y = np.maximum(X[:, 0], 0) + 0.5 * rng.standard_normal(n) + 1.0
    architecture = Architecture(hidden_bias="none", fit_intercept=False) if architecture is None else architecture
    arrangements = arrangements if architecture.activation == "relu" else rng.standard_normal((12, d))
    program = build_program(X, y, 1.0, arrangements, architecture, random_state=0)
    program = replace(program, penalty=NORMS[name][1](program.design.X.shape[1]))
    limit = kappa(program, dual_at_zero(program))
    return program.at(limit * 10.0 ** rng.uniform(-2.5, -0.2))


def check_solution(solution, optimum, accuracy=1e-7):
    """The optimum, bounds on both sides of it, feasible blocks, the objective that is said."""
    program, certificate = solution.program, solution.certificate
    assert abs(certificate.objective - optimum) <= accuracy * optimum
    assert certificate.lower_bound <= optimum * (1 + 0.01 * accuracy)
    assert certificate.objective >= optimum * (1 - 0.01 * accuracy)
    check_feasible(program, solution.W)
    if program.Y.shape[1] == 1:
        check_history(solution)
    Z = dense_prediction(program, solution.W, solution.beta)
    assert np.allclose(Z, solution.Z, rtol=0, atol=1e-11 * max(1.0, np.abs(Z).max()))


@pytest.mark.parametrize(
    ("seed", "name"), [(seed, name) for name in NORMS for seed in range(10 if name in ("l1", "fourier") else 3)]
)
def test_relu_networks(seed, name):
    program = random_program(seed, name)
    solution = solve_conic(program, tol=1e-8)
    check_solution(solution, dense_optimum(program, NORMS[name][0]))
    assert solution.converged
    assert solution.certificate.scope == "global"
    size = NORMS[name][0](cp.Constant(solution.W[:, :, 0])).value
    objective = 0.5 * np.sum((solution.Z - program.Y) ** 2) + program.alpha * size
    assert np.isclose(objective, solution.certificate.objective, rtol=1e-10)


@pytest.mark.parametrize("name", ["l1", "fourier"])
@pytest.mark.parametrize("seed", range(10))
def test_free_intercepts(seed, name):
    program = random_program(seed, name, Architecture(hidden_bias="none", skip=seed % 3 == 2))
    solution = solve_conic(program, tol=1e-8)
    check_solution(solution, dense_optimum(program, NORMS[name][0]))
    assert solution.converged


@pytest.mark.parametrize("name", ["l1", "fourier"])
@pytest.mark.parametrize("seed", range(10))
def test_gated_networks(seed, name):
    gated = Architecture("gated_relu", hidden_bias="none", fit_intercept=bool(seed % 2))
    program = random_program(seed, name, gated)
    solution = solve_conic(program, tol=1e-8)
    check_solution(solution, dense_optimum(program, NORMS[name][0]))
    assert solution.converged
    assert solution.certificate.scope == "sampled"
    V = np.random.default_rng(seed).standard_normal(program.Y.shape)
    norms = program.penalty.dual_norms(program.design.rmatvec(V))
    assert kappa(program, V) == norms.max()
    prices = price(program, V, np.median(norms), 3)
    assert prices.bound == norms.max()
    assert set(prices.blocks[:3]) == set(np.argsort(-norms)[:3])


@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("name", ["l1", "fourier"])
def test_degenerate_data(kind, name):
    rng = np.random.default_rng([73, DEGENERATE.index(kind)])
    X = degenerate_rows(rng, kind)
    y = np.maximum(X[:, 0], 0) / np.abs(X[:, 0]).max() + rng.standard_normal(len(X))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="only .* distinct patterns")
        program = build_program(X, y, 1.0, 20, Architecture(hidden_bias="none"), random_state=0)
    program = replace(program, penalty=NORMS[name][1](X.shape[1]))
    limit = kappa(program, dual_at_zero(program))
    program = program.at(0.05 * limit)
    solution = solve_conic(program, tol=1e-7)
    assert solution.converged
    check_solution(solution, dense_optimum(program, NORMS[name][0]), 1e-6)


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("seed", range(4))
def test_dual_norms_over_cones(seed, name):
    """Each block by cvxpy; the bounds hold for every one, and the largest is exact."""
    program = random_program(seed, name, arrangements=15, n_max=40)
    design = program.design
    V = np.random.default_rng([74, seed]).standard_normal(program.Y.shape)
    G = design.rmatvec(V)[:, :, 0]
    U = cp.Variable(G.shape)
    constraints = [NORMS[name][0](U[[b]]) <= 1 for b in range(len(G))]
    constraints += [cone_rows(design, b) @ U[b] >= 0 for b in range(len(G))]
    solve_cvxpy(cp.Problem(cp.Maximize(cp.sum(cp.multiply(G, U))), constraints))
    exact = np.sum(G * U.value, axis=1)
    inside = program.cones.project(U.value[:, :, None], np.arange(len(G)))[:, :, 0]
    attained = [g @ u / max(NORMS[name][0](cp.Constant(u[None])).value, 1e-9) for g, u in zip(G, inside, strict=True)]
    value = group_bounds(program, V)[0].max()
    assert value >= max(attained) * (1 - 1e-12)
    assert value == pytest.approx(max(attained), rel=1e-8)
    assert group_bounds(program, V, 1.1 * value)[0].max() <= 1.1 * value * (1 + 1e-12)
    start = start_of(program)
    for alpha in (0.5 * value, 0.9 * value, 0.9 * value, 1.1 * value):
        prices = price(program, V, alpha, len(exact), start)
        assert prices.bound == pytest.approx(max(alpha, value), rel=1e-9)
        assert (exact[prices.blocks] > alpha).all()
        assert (len(prices.blocks) > 0) == (value > alpha)
        if len(prices.blocks):
            assert exact[prices.blocks].max() == pytest.approx(value, rel=1e-8)
    assert value == pytest.approx(kappa(program, V), rel=1e-9)


def test_prices_of_several_outputs_are_those_of_the_largest():
    program = random_program(0, "fourier")
    V = np.random.default_rng(75).standard_normal((len(program.Y), 3))
    each = [kappa(program, V[:, [c]]) for c in range(3)]
    start = start_of(replace(program, Y=V))
    for _ in range(2):
        assert group_bounds(program, V, start=start)[0].max() == pytest.approx(max(each), rel=1e-9)
    with np.errstate(invalid="ignore"):
        assert kappa(program, V * np.nan) == np.inf
        assert price(program, V * np.nan, 1.0, 5).bound == np.inf
    assert kappa(program, 0.0 * V) == 0.0


def test_a_start_that_is_wrong_costs_no_validity():
    program = random_program(1, "l1")
    rng = np.random.default_rng(76)
    V = rng.standard_normal(program.Y.shape)
    start = start_of(program)
    start.points[:] = 3 * rng.standard_normal(start.points.shape)
    start.tight[:, :2] = rng.integers(0, len(program.Y), (program.design.n_blocks, 2, 1))
    assert group_bounds(program, V, start=start)[0].max() == pytest.approx(kappa(program, V), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_engine_of_euclidean_norms(seed):
    rng = np.random.default_rng([77, seed])
    X = rng.standard_normal((60, 5))
    y = np.maximum(X[:, 0], 0) - np.maximum(X[:, 1], 0) + 0.1 * rng.standard_normal(60) + 5.0
    program = build_program(X, y, 0.5, 60, random_state=seed)
    solution, other = solve_conic(program, tol=1e-8), solve_working_set(program, tol=1e-9)
    check_solution(solution, other.certificate.objective)
    again = solve_conic(program, tol=1e-8, W_init=solution.W)
    assert again.n_iter <= 2
    assert again.certificate.objective <= solution.certificate.objective * (1 + 1e-12)


@pytest.mark.parametrize("name", ["l1", "fourier"])
def test_several_outputs(name):
    program = random_program(3, name, Architecture(hidden_bias="none", output_penalty="l1"))
    Y = np.column_stack([program.Y[:, 0], np.random.default_rng(78).standard_normal((len(program.Y), 2))])
    program = replace(program, Y=Y)
    solution = solve_conic(program, tol=1e-8)
    check_solution(solution, dense_optimum(program, NORMS[name][0]))
    assert solution.converged


@pytest.mark.parametrize("name", ["l1", "fourier"])
@pytest.mark.parametrize("kind", ["leaky", "convolution"])
def test_other_networks(kind, name):
    """The program of the dense blocks s_b S D_b X."""
    rng = np.random.default_rng(80)
    architecture = Architecture("leaky_relu", hidden_bias="none", negative_slope=0.2)
    if kind == "convolution":
        architecture = Architecture(hidden_bias="none", patches=Patches((1, 6), 3))
    program = build_program(
        rng.standard_normal((12, 6)), rng.standard_normal(12), 1.0, 15, architecture, random_state=0
    )
    design, norm = program.design, NORMS[name][0]
    d = design.X.shape[1]
    program = replace(program, penalty=NORMS[name][1](d))
    limit = kappa(program, dual_at_zero(program))
    program = program.at(0.1 * limit)
    solution = solve_conic(program, tol=1e-8)
    W, beta = cp.Variable((design.n_blocks, d)), cp.Variable(program.free.shape[1])
    Z = sum(design.block(b) @ W[b] for b in range(design.n_blocks)) + program.free @ beta
    cones = [cone_rows(design, b) @ W[b] >= 0 for b in range(design.n_blocks)]
    objective = 0.5 * cp.sum_squares(Z - program.Y[:, 0]) + program.alpha * norm(W)
    optimum = solve_cvxpy(cp.Problem(cp.Minimize(objective), cones))
    assert solution.certificate.objective == pytest.approx(optimum, rel=1e-7)
    assert solution.certificate.lower_bound <= optimum * (1 + 1e-9)
    assert solution.converged


def logistic(Z, Y):
    return cp.sum(cp.logistic(-cp.multiply(Y, Z)))


def hinge(Z, Y):
    return cp.sum(cp.pos(1 - cp.multiply(Y, Z)))


def cross_entropy(Z, Y):
    return cp.sum(cp.log_sum_exp(Z, axis=1)) - cp.sum(cp.multiply(Y, Z))


LOSSES = {
    "huber": (losses.Huber(), lambda Z, Y: 0.5 * cp.sum(cp.huber(Z - Y))),
    "absolute_error": (losses.Absolute(), lambda Z, Y: cp.sum(cp.abs(Z - Y))),
    "squared_hinge": (losses.SquaredHinge(), lambda Z, Y: 0.5 * cp.sum(cp.pos(1 - cp.multiply(Y, Z)) ** 2)),
    "hinge": (losses.Hinge(), hinge),
    "log_loss": (losses.Logistic(), logistic),
    "softmax": (losses.Softmax(), cross_entropy),
    "weighted": (
        losses.Squared(sample_weight=np.arange(1.0, 9.0)),
        lambda Z, Y: 0.5 * np.arange(1.0, 9.0) @ cp.square(Z - Y)[:, 0],
    ),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("norm", ["l1", "fourier"])
def test_other_losses(name, norm):
    rng = np.random.default_rng(79)
    X = rng.standard_normal((8, 3))
    loss, formula = LOSSES[name]
    y = rng.standard_normal(8) if name in ("huber", "absolute_error", "weighted") else np.sign(X[:, 0] * X[:, 1])
    Y = np.eye(3)[rng.integers(0, 3, 8)] if name == "softmax" else y[:, None]
    intercept = name != "softmax"  # it has a free direction there, which cvxpy does not get over
    architecture = Architecture(hidden_bias="none", fit_intercept=intercept, output_penalty="l1")
    program = build_program(X, y, 1.0, "all", architecture)
    program = replace(program, Y=Y, loss=loss, penalty=NORMS[norm][1](3))
    limit = kappa(program, dual_at_zero(program))
    program = program.at(0.1 * limit)
    solution = solve_conic(program, tol=1e-7)
    tol = 1e-8 if name in ("log_loss", "softmax") else 1e-10  # what cvxpy reaches with exponential cones
    check_solution(solution, dense_optimum(program, NORMS[norm][0], formula, tol), 1e3 * tol)
    assert solution.converged


def test_zero_is_found_at_alpha_max():
    program = random_program(4, "fourier")
    limit = kappa(program, dual_at_zero(program))
    solution = solve_conic(program.at(limit * (1 + 1e-9)))
    assert not solution.W.any()
    assert solution.certificate.gap <= 1e-8
    assert solve_conic(program.at(0.99 * limit)).W.any()


def test_limits_end_a_run_with_a_valid_certificate():
    program = random_program(5, "l1")
    optimum = dense_optimum(program, l1)
    seen = []
    for options in ({"max_iter": 1}, {"max_iter": 2}, {"time_limit": 1e-6}, {"callback": lambda record: True}):
        with pytest.warns(ConvergenceWarning):
            solution = solve_conic(program, tol=1e-13, **options)
        assert solution.certificate.lower_bound <= optimum * (1 + 1e-9)
        assert solution.certificate.objective >= optimum * (1 - 1e-9)
        seen.append(solution.status)
    assert seen[:3] == ["stopped at max_iter"] * 2 + ["stopped at time_limit"]
    with pytest.raises(ValueError, match="tol"):
        solve_conic(program, tol=0.0)
    with pytest.raises(ValueError, match="W_init"):
        solve_conic(program, W_init=np.zeros(3))
