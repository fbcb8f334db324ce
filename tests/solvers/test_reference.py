import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from textbook import FORMULATIONS, HAND_X, HAND_Y, PLAIN, XOR_X, XOR_Y, random_problem, textbook_optimum

from convexnn import Architecture
from convexnn.baselines import train_lbfgs
from convexnn.model import build_program
from convexnn.networks import recover
from convexnn.solvers import build_reference_program, solve_reference


def descend(X, y, alpha, architecture, seed, target, n_neurons=20, n_restarts=300):
    """L-BFGS on the network objective, restarted near its best point until `target`: it stalls at kinks."""
    rng = np.random.default_rng(seed)
    H = np.column_stack([X, np.ones(len(X))]) if architecture.hidden_bias == "penalized" else X
    F = np.column_stack([np.ones((len(X), int(architecture.fit_intercept))), X[:, : X.shape[1] * architecture.skip]])
    n_hidden, n_decayed = H.shape[1] * n_neurons, (H.shape[1] + 1) * n_neurons

    def objective(theta):
        W, a, beta = np.split(theta, [n_hidden, n_decayed])
        T = H @ W.reshape(-1, n_neurons)
        R = np.maximum(T, 0)
        r = R @ a + F @ beta - y
        value = 0.5 * r @ r + alpha / 2 * theta[:n_decayed] @ theta[:n_decayed]
        grad_W = H.T @ (np.outer(r, a) * (T > 0))
        return value, np.concatenate([grad_W.ravel(), R.T @ r, F.T @ r]) + alpha * np.r_[theta[:n_decayed], 0 * beta]

    def run(theta):
        options = {"maxiter": 500, "maxcor": 20, "ftol": 1e-13, "gtol": 1e-9}
        return minimize(objective, theta, jac=True, method="L-BFGS-B", options=options)

    best = run(0.7 * rng.standard_normal(n_decayed + F.shape[1]))
    for restart in range(n_restarts):
        if best.fun <= target:
            break
        size, theta = 10.0 ** rng.uniform(-3, -0.3), best.x.copy()
        theta += size * (np.abs(theta) + 0.1) * rng.standard_normal(len(theta))
        if restart % 2:  # a new neuron in the place of the weakest
            weakest = np.argmin(np.abs(theta[n_hidden:n_decayed]))
            theta[weakest:n_decayed:n_neurons] = 0.5 * rng.standard_normal(H.shape[1] + 1)
        best = min(best, run(theta), key=lambda result: result.fun)
    return best.fun


def test_hand_case():
    program = build_program(HAND_X, HAND_Y, 0.1, "all", PLAIN)
    solution = solve_reference(program)
    assert solution.certificate.objective == pytest.approx(0.231036740853, abs=1e-11)
    assert solution.certificate.objective == pytest.approx(3 - 7.9**2 / 26 - (1 - 0.1 * 2**0.5) ** 2 / 2, rel=1e-9)
    assert solution.certificate.lower_bound == pytest.approx(0.231036740853, abs=1e-8)
    assert solution.certificate.scope == "global"
    network = recover(solution)
    products = network.W1 * network.W2[:, 0]
    assert network.n_neurons == 2
    expected = np.array([[0, 7.9 / 13], [-(2**0.5 - 0.2) / 2**0.5, (2**0.5 - 0.2) / 2**0.5]])
    assert np.allclose(products.T[np.argsort(-network.W2[:, 0])], expected, atol=1e-7)


@pytest.mark.parametrize("alpha", [0.05, 0.3, 1.0, 1.4, 2**0.5, 2.0])
def test_xor(alpha):
    program = build_program(XOR_X, XOR_Y, alpha, "all", PLAIN)
    solution = solve_reference(program)
    optimum = 2 - max(0, 2**0.5 - alpha) ** 2
    assert solution.certificate.objective == pytest.approx(optimum, rel=1e-8)
    assert solution.certificate.lower_bound == pytest.approx(optimum, rel=1e-8)
    assert recover(solution).n_neurons == (4 if alpha < 2**0.5 else 0)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 3.0])
def test_one_sample(alpha):
    x, y = np.array([[1.0, -2.0]]), 1.5
    solution = solve_reference(build_program(x, [y], alpha, "all", PLAIN))
    optimum = y**2 / 2 - max(0, 5**0.5 * y - alpha) ** 2 / (2 * 5)
    assert solution.certificate.objective == pytest.approx(optimum, rel=1e-8)


@pytest.mark.parametrize("name", FORMULATIONS)
@pytest.mark.parametrize("seed", range(20))
def test_reference_recovery_bound_and_network_agree(name, seed):
    architecture = FORMULATIONS[name]
    X, y, alpha = random_problem(seed)
    program = build_program(X, y, alpha, "all", architecture)
    solution = solve_reference(program)
    network = recover(solution)
    optimum = textbook_optimum(X, y, alpha, architecture)
    tiny = 1e-10 * y @ y
    assert solution.certificate.objective == pytest.approx(optimum, rel=1e-8, abs=tiny)
    assert network.objective(X, y, alpha) == pytest.approx(solution.certificate.objective, rel=1e-8, abs=tiny)
    assert solution.certificate.lower_bound == pytest.approx(optimum, rel=1e-7, abs=tiny)
    assert solution.certificate.lower_bound <= optimum * (1 + 1e-9) + tiny
    fit = program.predict(solution.W, solution.beta)[:, 0]
    assert np.linalg.norm(network.predict(X) - fit) <= 1e-9 * np.linalg.norm(fit)
    assert network.n_neurons <= np.count_nonzero(solution.W.any(axis=1))

    if architecture.activation == "gated_relu":
        gates = program.design.arrangements.gates
        found = [
            train_lbfgs(
                X, y, alpha, architecture=architecture, gates=gates, max_iter=5000, random_state=restart
            ).objective
            for restart in range(10)
        ]
        assert min(found) <= optimum * (1 + 1e-6) + tiny
    else:
        found = [
            train_lbfgs(X, y, alpha, architecture=architecture, n_neurons=40, random_state=r).objective
            for r in range(5)
        ]
        target = optimum * (1 + 1e-3) + tiny
        for start in range(20):
            found.append(descend(X, y, alpha, architecture, start, target))
            if min(found) <= target:
                break
        assert min(found) <= target
    assert min(found) >= optimum * (1 - 1e-8) - tiny


def test_the_problem_can_be_had_before_it_is_solved():
    X, y, _ = random_problem(0)
    program = build_program(X, y, 0.2, 7, Architecture(skip=True), random_state=0)
    reference = build_reference_program(program)
    P, d = len(program.design.arrangements), X.shape[1] + 1
    shapes = {name: variable.shape for name, variable in reference.variables.items()}
    assert shapes == {"U": (P, d), "V": (P, d), "Z": (len(X),), "beta": (1 + X.shape[1],)}
    assert all(variable.name() == name for name, variable in reference.variables.items())
    assert set(reference.constraints) == {"fit", "cone_U", "cone_V"}
    assert reference.problem.status is None
    reference.problem.solve(solver="CLARABEL")
    solution = solve_reference(program)
    assert reference.problem.value == pytest.approx(solution.certificate.objective, rel=1e-6)
    assert np.allclose(reference.constraints["fit"].dual_value, y - reference.variables["Z"].value, atol=1e-6)
    gated = build_reference_program(build_program(X, y, 0.2, 7, Architecture("gated_relu"), random_state=0))
    assert set(gated.constraints) == {"fit"}
    assert set(gated.variables) == {"U", "Z", "beta"}


@pytest.mark.parametrize("unit_x", [1e-6, 1e6])
@pytest.mark.parametrize("unit_y", [1e-6, 1e6])
def test_units_do_not_matter(unit_x, unit_y):
    X, y, alpha = random_problem(0)
    expected = solve_reference(build_program(X, y, alpha, "all", PLAIN)).certificate
    scaled = build_program(X * unit_x, y * unit_y, alpha * unit_x * unit_y, "all", PLAIN)
    certificate = solve_reference(scaled).certificate
    assert certificate.objective == pytest.approx(expected.objective * unit_y**2, rel=1e-9)
    assert certificate.gap < 1e-8


def test_other_solvers_by_name():
    X, y, alpha = random_problem(1)
    program = build_program(X, y, alpha, "all", PLAIN)
    optimum = solve_reference(program).certificate.objective
    assert solve_reference(program, solver="SCS", tol=1e-5).certificate.objective == pytest.approx(optimum, rel=1e-5)
    with pytest.raises(ValueError, match=r"solver must be one of the installed solvers.*CLARABEL.*got 'NONE'"):
        solve_reference(program, solver="NONE")
    with pytest.raises(ValueError, match="max_iter must be None for solver 'OSQP'"):
        solve_reference(program, solver="OSQP", max_iter=5)


def test_a_solver_that_cannot_solve_it_raises():
    X, y, alpha = random_problem(2)
    assert X.shape[1] > 1  # norms of one entry are quadratic programs
    with pytest.raises(RuntimeError, match="OSQP failed on the convex program"):
        solve_reference(build_program(X, y, alpha, "all", PLAIN), solver="OSQP")


def test_a_failed_solver_raises_with_its_status(monkeypatch):
    X, y, alpha = random_problem(1)
    monkeypatch.setattr(cp.Problem, "solve", lambda self, **_: None)
    monkeypatch.setattr(cp.Problem, "status", property(lambda self: "infeasible"))
    with pytest.raises(RuntimeError, match="status 'infeasible'"):
        solve_reference(build_program(X, y, alpha, "all", PLAIN))


@pytest.mark.parametrize("limit", [{"max_iter": 2}, {"max_iter": 6}, {"time_limit": 1e-6}])
def test_limits_keep_a_feasible_network_and_its_bound(limit):
    X, y, alpha = random_problem(2)
    program = build_program(X, y, alpha, "all", Architecture())
    optimum = textbook_optimum(X, y, alpha, Architecture())
    with pytest.warns(ConvergenceWarning, match=f"stopped at {next(iter(limit))} at a relative gap of"):
        solution = solve_reference(program, **limit)
    assert not solution.converged
    certificate = solution.certificate
    assert certificate.lower_bound <= optimum * (1 + 1e-9) <= certificate.objective * (1 + 2e-9)
    assert certificate.gap > 1e-6
    zero = 0.5 * np.sum((y - y.mean()) ** 2)
    assert certificate.objective <= zero * (1 + 1e-12)
    assert recover(solution).objective(X, y, alpha) == pytest.approx(certificate.objective, rel=1e-9)


def test_an_interrupt_keeps_the_zero_network_and_its_bound(monkeypatch):
    def interrupt(self, **_):
        raise KeyboardInterrupt

    X, y, alpha = random_problem(2)
    optimum = textbook_optimum(X, y, alpha, Architecture())
    monkeypatch.setattr(cp.Problem, "solve", interrupt)
    with pytest.warns(ConvergenceWarning, match="interrupted at"):
        solution = solve_reference(build_program(X, y, alpha, "all"))
    assert not solution.W.any()
    assert solution.certificate.lower_bound <= optimum <= solution.certificate.objective


@pytest.mark.parametrize("bad", [{"tol": 0}, {"tol": "tight"}, {"max_iter": 0}, {"max_iter": 1.5}, {"time_limit": -1}])
def test_bad_options_raise(bad):
    program = build_program(HAND_X, HAND_Y, 0.1, "all", PLAIN)
    with pytest.raises((ValueError, TypeError), match=next(iter(bad))):
        solve_reference(program, **bad)


def test_history_records_the_certificate():
    solution = solve_reference(build_program(HAND_X, HAND_Y, 0.1, "all", PLAIN))
    (record,) = solution.history
    assert record["objective"] == solution.certificate.objective
    assert record["gap"] == solution.certificate.gap
    assert record["n_blocks"] == 2
    assert record["time"] > 0
    assert solution.converged
    assert solution.n_iter > 1
