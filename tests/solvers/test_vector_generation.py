"""Several outputs with weight decay over all cells: restarts on the nonconvex objective, grids, cvxpy, one output."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from oracles import NetworkProblem, best_of_restarts

from convexnn import Architecture
from convexnn.geometry.arrangements import Arrangements
from convexnn.geometry.patches import Patches
from convexnn.losses import Absolute, Huber, Softmax, Squared
from convexnn.model import build_program
from convexnn.model.cones import make_cones
from convexnn.model.design import DirectedDesign
from convexnn.networks import recover
from convexnn.pricing.vector_search import VectorSearch
from convexnn.pricing.zero_dual import dual_at_zero
from convexnn.solvers import solve_generation, solve_reference, solve_working_set
from convexnn.solvers.factors import solve_factors
from convexnn.solvers.neurons import Neurons
from convexnn.solvers.newton import solve_newton
from convexnn.solvers.subproblem import Iterate, Subproblem
from convexnn.solvers.vector_generation import solve_vector_generation

PLAIN = Architecture("relu", "none", fit_intercept=False)
TIGHT = {"solver": "CLARABEL", "tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}


def data(n=10, d=2, c=2, seed=0):
    rng = np.random.RandomState(seed)
    return rng.standard_normal((n, d)), rng.standard_normal((n, c)), np.eye(c)[rng.randint(0, c, n)]


def check_solution(solution, X, Y, alpha, loss, tol):
    """What is said of the network is true of it."""
    certificate, network = solution.certificate, recover(solution)
    assert solution.converged
    assert certificate.scope == "local"
    assert certificate.gap <= tol
    value = network.objective(X, Y, alpha, loss)
    assert np.isclose(value, certificate.objective, rtol=1e-8)
    assert np.allclose(network.predict(X), solution.Z, atol=1e-8 * np.abs(Y).max())
    assert np.isclose(solution.program.objective(solution.W, solution.beta), certificate.objective, rtol=1e-10)
    for name, order in (("objective", -1), ("time", 1)):
        assert (order * np.diff([record[name] for record in solution.history]) >= 0).all()
    return network


@pytest.mark.parametrize("seed", range(6))
def test_no_restart_is_better(seed):
    X, Y, _ = data(seed=seed)
    solution = solve_vector_generation(build_program(X, Y, 0.3, "adaptive", PLAIN), tol=1e-7, random_state=0)
    check_solution(solution, X, Y, 0.3, None, 1e-7)
    best = best_of_restarts(NetworkProblem(X, Y, 0.3, 10), 2, seed)[0]
    assert best >= solution.certificate.objective * (1 - 1e-6)
    assert best <= solution.certificate.objective * (1 + 1e-3)


CASES = {
    "softmax": (Architecture("relu", "none", fit_intercept=False), Softmax(), {"loss": "softmax"}),
    "huber": (Architecture("relu", "none", fit_intercept=True), Huber(delta=0.5), {"loss": "huber", "delta": 0.5}),
    "leaky": (
        Architecture("leaky_relu", "penalized", negative_slope=0.2),
        Squared(),
        {"activation": "leaky_relu", "slope": 0.2},
    ),
    "abs": (Architecture("abs", "none", fit_intercept=False), Squared(), {"activation": "abs"}),
    "free": (Architecture("relu", "free"), Softmax(), {"loss": "softmax"}),
    "weights": (PLAIN, Squared(sample_weight=np.linspace(0.5, 2.0, 10)), {"sample_weight": np.linspace(0.5, 2.0, 10)}),
}


@pytest.mark.parametrize("name", CASES)
def test_architectures_and_losses(name):
    architecture, loss, options = CASES[name]
    X, Y, labels = data(c=3, seed=1)
    Y = labels if isinstance(loss, Softmax) else Y
    solution = solve_vector_generation(build_program(X, Y, 0.4, "adaptive", architecture, loss=loss), random_state=0)
    check_solution(solution, X, Y, 0.4, loss, 1e-6)
    options = options | {"hidden_bias": architecture.hidden_bias, "fit_intercept": architecture.fit_intercept}
    best = best_of_restarts(NetworkProblem(X, Y, 0.4, 10, **options), 2, 0)[0]
    assert best >= solution.certificate.objective * (1 - 1e-6)
    assert best <= solution.certificate.objective * (1 + 1e-2)


def test_one_output_is_generation():
    X, Y, _ = data(15, 3, 1, seed=2)
    program = build_program(X, Y[:, 0], 0.1, "adaptive")
    solution = solve_vector_generation(program, tol=1e-8, random_state=0)
    expected = solve_generation(program, tol=1e-9, random_state=0).certificate.objective
    assert np.isclose(solution.certificate.objective, expected, rtol=2e-8)


def test_patches():
    X, Y, _ = data(10, 4, 2, seed=3)
    architecture = Architecture("relu", "none", fit_intercept=False, patches=Patches((1, 4), 2, pooling="sum"))
    solution = solve_vector_generation(build_program(X, Y, 0.3, "adaptive", architecture), random_state=0)
    assert solution.converged
    network = recover(solution)
    assert np.allclose(network.predict(X), solution.Z, atol=1e-9)
    value = 0.5 * np.sum((network.predict(X) - Y) ** 2) + 0.3 * network.weight_decay()
    assert np.isclose(value, solution.certificate.objective, rtol=1e-9)
    rows = np.stack([X[:, k : k + 2] for k in range(3)], axis=1)
    assert best_of_restarts(NetworkProblem(rows, Y, 0.3, 10), 2, 0)[0] >= value * (1 - 1e-6)


def test_a_loss_with_kinks_is_no_worse_than_restarts():
    X, Y, _ = data(seed=4)
    with pytest.warns(UserWarning, match="the best feasible network found is kept"):
        solution = solve_vector_generation(
            build_program(X, Y, 0.3, "adaptive", PLAIN, loss=Absolute()), tol=1e-12, max_iter=4, random_state=0
        )
    best = best_of_restarts(NetworkProblem(X, Y, 0.3, 10, loss="absolute_error"), 2, 0)[0]
    assert solution.certificate.objective <= 1.02 * best
    assert solution.certificate.lower_bound <= best


def test_warm_starts():
    X, Y, _ = data(seed=5)
    program = build_program(X, Y, 0.3, "adaptive", PLAIN)
    first = solve_vector_generation(program, tol=1e-7, random_state=0)
    again = solve_vector_generation(first.program, W_init=first.W, tol=1e-7, random_state=1)
    assert again.n_iter <= 2
    assert again.certificate.objective <= first.certificate.objective * (1 + 1e-9)
    other = solve_vector_generation(first.program.at(0.2), W_init=first.W, tol=1e-7, random_state=1)
    expected = solve_vector_generation(program.at(0.2), tol=1e-7, random_state=2)
    assert np.isclose(other.certificate.objective, expected.certificate.objective, rtol=1e-6)
    # blocks of the program with one norm an output are networks too
    separate = build_program(X, Y, 0.3, "all", Architecture("relu", "none", fit_intercept=False, output_penalty="l1"))
    start = solve_working_set(separate)
    coupled = build_program(X, Y, 0.3, separate.design.arrangements, PLAIN)
    reached = solve_vector_generation(coupled, W_init=start.W, tol=1e-7, random_state=0)
    assert np.isclose(reached.certificate.objective, first.certificate.objective, rtol=1e-6)
    assert reached.certificate.objective <= start.certificate.objective


def test_large_alpha_gives_the_zero_network():
    X, Y, _ = data(seed=6)
    angles = np.linspace(0, 2 * np.pi, 20_001)
    hidden = np.maximum(X @ np.array([np.cos(angles), np.sin(angles)]), 0)
    alpha_max = np.linalg.norm(Y.T @ hidden, axis=0).max()
    zero = solve_vector_generation(build_program(X, Y, 1.001 * alpha_max, "adaptive", PLAIN), random_state=0)
    assert zero.W.shape == (0, 2, 1)
    assert zero.converged
    assert np.isclose(zero.certificate.objective, 0.5 * np.sum(Y**2))
    assert recover(zero).n_neurons == 0
    assert len(solve_vector_generation(build_program(X, Y, 0.98 * alpha_max, "adaptive", PLAIN), random_state=0).W)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "abs"])
def test_search_finds_the_maximum_of_a_grid(activation):
    X, V, _ = data(12, 2, 3, seed=7)
    architecture = Architecture(activation, "none", negative_slope=0.3, fit_intercept=False)
    design = build_program(X, V, 1.0, "adaptive", architecture).design
    search = VectorSearch(design, np.random.RandomState(0))
    maxima = search.maxima(V, 0.1, np.zeros((0, 2)), 64)
    angles = np.linspace(0, 2 * np.pi, 100_001)
    T = X @ np.array([np.cos(angles), np.sin(angles)])
    grid = np.linalg.norm(V.T @ np.maximum(T, architecture.slope * T), axis=0)
    assert grid.max() <= maxima.values[0] <= grid.max() * (1 + 1e-5)
    hidden = X @ maxima.directions.T
    pulls = V.T @ np.maximum(hidden, architecture.slope * hidden)
    assert np.allclose(np.linalg.norm(pulls, axis=0), maxima.values)
    assert np.allclose(pulls.T / maxima.values[:, None], maxima.outputs)


@pytest.mark.parametrize("loss", [Squared(), Softmax(), Absolute()], ids=["squared_error", "softmax", "absolute_error"])
@pytest.mark.parametrize("sizes", [(1000, 0), (0, 200), (0, 0)], ids=["columns", "written", "gradients"])
def test_program_of_fixed_directions(loss, sizes, monkeypatch):
    """Newton's method on min L(sum_j D_j X u_j g_j' + 1 b') + alpha sum_j |u_j| over the cones, against cvxpy."""
    for name, size in zip(("LARGEST_SYSTEM", "LARGEST_WRITTEN"), sizes, strict=True):
        monkeypatch.setattr(f"convexnn.solvers.face_systems.{name}", size)
    X, Y, labels = data(12, 3, 2, seed=8)
    Y = labels if isinstance(loss, Softmax) else Y
    rng = np.random.RandomState(0)
    base = build_program(X, Y, 0.2, 6, Architecture("relu", "none"), 0, loss)
    bits = base.design.arrangements.bits[rng.randint(0, 6, 9)]
    g = rng.standard_normal((9, 2))
    g /= np.linalg.norm(g, axis=1, keepdims=True)
    design = DirectedDesign(X, Arrangements(bits, np.zeros((9, 0)), 12), (1.0,), directions=g)
    program = over_design(base, design)
    patterns = design.arrangements.patterns().astype(float)
    U, b = [cp.Variable((3, 1)) for _ in g], cp.Variable((1, 2))
    fit = sum((p[:, None] * X) @ u @ v[None] for p, u, v in zip(patterns, U, g, strict=True)) + np.ones((12, 1)) @ b
    cones = [((2 * p - 1)[:, None] * X) @ u >= 0 for p, u in zip(patterns, U, strict=True)]
    objective = loss.to_cvxpy(Y, fit) + 0.2 * sum(cp.norm(u, 2) for u in U)
    optimum = cp.Problem(cp.Minimize(objective), cones).solve(**TIGHT)
    sub = Subproblem(program, np.arange(9), np.full((9, 3, 1), -1, np.int32), design)
    basis = program.free_basis[0]
    start = Iterate(np.zeros((9, 3, 1)), loss.fit_free(Y, basis), dual_at_zero(program), 0.0)
    point = solve_newton(sub, start, 1e-7, lambda *point: False)
    rtol = 1e-6 if loss.smooth or sizes[0] else 1e-2  # kinks make systems that only factors of columns solve to the end
    assert np.isclose(sub.objective(point.W, point.beta), optimum, rtol=rtol)


def over_design(base, design):
    return replace(base, design=design, cones=make_cones(design, base.architecture))


@pytest.mark.parametrize("largest", [600, 0], ids=["factored", "by gradients"])
def test_newton_on_neurons_never_rises_and_ends_stationary(largest, monkeypatch):
    monkeypatch.setattr("convexnn.solvers.factors.LARGEST_HESSIAN", largest)
    X, Y, _ = data(20, 3, 2, seed=9)
    program = build_program(X, Y, 0.5, "adaptive", PLAIN)
    rng = np.random.RandomState(1)
    U, A = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
    neurons, values = Neurons.in_cells(program, U @ X.T >= 0, U, A, np.zeros((0, 2))), []
    for _ in range(40):
        values.append(neurons.value(program.loss))
        neurons = solve_factors(neurons, program.loss, 0.0, lambda: False, 3)
    assert (np.diff(values) <= 1e-12 * values[0]).all()
    # no direction in weight space lowers the network's own objective
    U, A = neurons.U, neurons.A

    def objective(U, A):
        decay = np.linalg.norm(U, axis=1) @ np.linalg.norm(A, axis=1)
        return 0.5 * np.sum((np.maximum(X @ U.T, 0) @ A - Y) ** 2) + 0.5 * decay

    value = objective(U, A)
    assert np.isclose(value, values[-1], rtol=1e-10)
    for _ in range(200):
        step = 1e-5
        moved = objective(U + step * rng.standard_normal(U.shape), A + step * rng.standard_normal(A.shape))
        assert moved >= value - 1e-7 * value


def test_what_is_refused():
    X, Y, _ = data()
    coupled = build_program(X, Y, 0.3, 5, PLAIN, 0)
    for solve in (solve_working_set, solve_reference, solve_generation):
        with pytest.raises(ValueError, match="solve_vector_generation"):
            solve(coupled)
    separate = build_program(X, Y, 0.3, 5, Architecture(output_penalty="l1"), 0)
    with pytest.raises(ValueError, match="use solve_generation"):
        solve_vector_generation(separate)
    with pytest.raises(ValueError, match="patterns are those of the weights"):
        solve_vector_generation(build_program(X, Y, 0.3, 5, Architecture("gated_relu"), 0))
    with pytest.raises(ValueError, match="scope must be"):
        solve_vector_generation(coupled, scope="global")
