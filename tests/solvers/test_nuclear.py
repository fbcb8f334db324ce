"""Nuclear norms: gated and linear networks with several outputs, against cvxpy on the formula."""

import cvxpy as cp
import numpy as np
import pytest

from convexnn import Architecture
from convexnn.losses import Absolute, Huber, Softmax, Squared
from convexnn.model import build_program
from convexnn.model.penalties import Nuclear
from convexnn.networks import recover
from convexnn.pricing import kappa
from convexnn.pricing.zero_dual import dual_at_zero
from convexnn.solvers import solve_reference, solve_working_set
from convexnn.solvers.factors import solve_factors
from convexnn.solvers.fista import solve_fista
from convexnn.solvers.neurons import Neurons
from convexnn.solvers.subproblem import Iterate, Subproblem

TIGHT = {"solver": "CLARABEL", "tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}


def data(n=12, d=3, c=2, seed=0):
    rng = np.random.RandomState(seed)
    return rng.standard_normal((n, d)), rng.standard_normal((n, c)), np.eye(c)[rng.randint(0, c, n)]


def formula(program, Y, alpha):
    """The optimum of L(sum_i D_i X V_i + F b) + alpha sum_i |V_i|_*, by cvxpy."""
    design, c = program.design, Y.shape[1]
    patterns, X = design.arrangements.patterns().astype(float), design.X
    blocks = [cp.Variable((X.shape[1], c)) for _ in patterns]
    fit = sum((pattern[:, None] * X) @ V for pattern, V in zip(patterns, blocks, strict=True))
    if program.free.shape[1]:
        fit = fit + program.free @ cp.Variable((program.free.shape[1], c))
    penalty = sum(cp.normNuc(V) for V in blocks)
    problem = cp.Problem(cp.Minimize(program.loss.to_cvxpy(Y, fit) + alpha * penalty))
    return problem.solve(**TIGHT)


def test_penalty():
    penalty, rng = Nuclear(), np.random.default_rng(0)
    W = rng.standard_normal((4, 3, 2))
    singular = np.array([np.sqrt(np.maximum(np.linalg.eigvalsh(w.T @ w), 0)) for w in W])
    assert np.isclose(penalty.value(W), singular.sum())
    assert np.allclose(penalty.block_norms(W), singular.sum(axis=1)[:, None])
    assert np.allclose(penalty.dual_norms(W), singular.max(axis=1))
    assert np.isclose(penalty.to_cvxpy(*(cp.Constant(W[:, :, c]) for c in range(2))).value, penalty.value(W))
    assert (penalty.dual_norms(W) <= penalty.dual_factor * np.linalg.norm(W, axis=(1, 2))).all()
    for step in (1e-3, 1.0, 100.0):
        prox = penalty.prox(W, step)
        # Moreau: W - prox is in the dual ball of radius step, and aligned with prox
        assert penalty.dual_norms(W - prox).max() <= step * (1 + 1e-12)
        assert np.isclose(np.sum((W - prox) * prox), step * penalty.value(prox))
    variable = cp.Variable((3, 2))
    cp.Problem(cp.Minimize(0.5 * cp.sum_squares(variable - W[0]) + 0.7 * cp.normNuc(variable))).solve(**TIGHT)
    assert np.allclose(penalty.prox(W[:1], 0.7)[0], variable.value, atol=1e-5)
    assert penalty.prox(W[:0], 1.0).shape == (0, 3, 2)
    assert penalty.value(W[:0]) == 0.0


@pytest.mark.parametrize(
    "loss", [Squared(), Huber(delta=0.5), Softmax(), Absolute()], ids=lambda loss: type(loss).__name__
)
@pytest.mark.parametrize("activation", ["gated_relu", "linear"])
@pytest.mark.parametrize("hidden_bias", ["none", "penalized"])
def test_against_the_formula(loss, activation, hidden_bias):
    X, Y, labels = data()
    Y = labels if isinstance(loss, Softmax) else Y
    architecture = Architecture(activation, hidden_bias, fit_intercept=hidden_bias == "none")
    program = build_program(X, Y, 0.5, 5, architecture, 0, loss)
    assert isinstance(program.penalty, Nuclear)
    optimum = formula(program, Y, 0.5)
    tol = 1e-8 if loss.smooth else 1e-4
    solution = solve_working_set(program, tol=tol)
    certificate = solution.certificate
    assert certificate.gap <= tol
    assert abs(certificate.objective - optimum) <= max(1e-7, tol) * optimum
    assert certificate.lower_bound <= optimum * (1 + 1e-8)
    assert certificate.scope == ("sampled" if activation == "gated_relu" else "global")
    for name, order in (("objective", -1), ("lower_bound", 1)):
        assert (order * np.diff([record[name] for record in solution.history]) >= 0).all()
    network = recover(solution)
    assert np.allclose(network.predict(X), solution.Z, atol=1e-10)
    assert np.isclose(network.objective(X, Y, 0.5, loss), certificate.objective, rtol=1e-10)


def test_solvers_agree():
    X, Y, _ = data(20, 4, 3, seed=1)
    program = build_program(X, Y, 0.8, 10, Architecture("gated_relu"), 0)
    solutions = [
        solve_reference(program, tol=1e-7),
        solve_working_set(program, tol=1e-8),
        solve_working_set(program, tol=1e-7, inner="fista"),
    ]
    objectives = [solution.certificate.objective for solution in solutions]
    assert np.ptp(objectives) <= 2e-7 * objectives[0]
    again = solve_working_set(program, tol=1e-7, W_init=solutions[1].W)
    assert again.n_iter <= 2


def test_conjugate_gradients_reach_the_same(monkeypatch):
    X, Y, _ = data(30, 4, 3, seed=2)
    program = build_program(X, Y, 0.3, 20, Architecture("gated_relu"), 0)
    factored = solve_working_set(program, tol=1e-7).certificate.objective
    monkeypatch.setattr("convexnn.solvers.factors.LARGEST_HESSIAN", 0)
    solution = solve_working_set(program, tol=1e-7)
    assert solution.converged
    assert np.isclose(solution.certificate.objective, factored, rtol=2e-7)


def test_above_alpha_max_is_zero_and_below_is_not():
    X, Y, _ = data()
    program = build_program(X, Y, 1.0, 5, Architecture("gated_relu"), 0)
    V = dual_at_zero(program)
    largest = kappa(program, V)
    patterns = program.design.arrangements.patterns().astype(float)
    expected = max(np.linalg.norm((pattern[:, None] * program.design.X).T @ V, 2) for pattern in patterns)
    assert np.isclose(largest, expected)
    assert not solve_working_set(program.at(1.001 * largest)).W.any()
    assert solve_working_set(program.at(0.99 * largest)).W.any()


def test_linear_network_with_free_bias_is_one_without():
    X, Y, _ = data()
    free = solve_working_set(build_program(X, Y, 0.5, 1, Architecture("linear", "free")), tol=1e-8)
    none = solve_working_set(build_program(X - X.mean(axis=0), Y, 0.5, 1, Architecture("linear", "none")), tol=1e-8)
    assert np.isclose(free.certificate.objective, none.certificate.objective, rtol=1e-7)
    network = recover(free)
    assert np.isclose(network.objective(X, Y, 0.5), free.certificate.objective, rtol=1e-10)


def test_what_is_refused():
    X, Y, _ = data()
    with pytest.raises(ValueError, match="hidden_bias must be"):
        build_program(X, Y, 0.5, 5, Architecture("gated_relu", "free"))
    with pytest.raises(ValueError, match="output_penalty must be"):
        build_program(X, Y, 0.5, 5, Architecture("gated_relu", hidden_norm="l1"))


@pytest.mark.parametrize("infinite", ["grad", "curvature"])
def test_inner_solvers_end_where_nothing_is_finite(infinite, monkeypatch):
    monkeypatch.setattr(Squared, infinite, lambda self, Y, Z: np.full(Y.shape, np.nan))
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((20, 3)), rng.standard_normal((20, 2))
    program = build_program(X, Y, 0.5, 6, Architecture("gated_relu", "none"), 0)
    U, A, beta = rng.standard_normal((2, 3)), rng.standard_normal((2, 2)), np.zeros((program.free_basis[0].shape[1], 2))
    neurons = solve_factors(Neurons(program, np.arange(2), U, A, beta), Squared(), 1e-6, lambda: False)
    assert np.isfinite(neurons.U).all()
    if infinite == "grad":
        sub = Subproblem(program, np.arange(4), np.full((4, 3, 2), -1, np.int32), program.design)
        start = Iterate(np.zeros((4, 3, 2)), beta, Y, 0.0)
        with np.errstate(all="ignore"):
            assert solve_fista(sub, start, 1e-6, lambda *point: False) is start
