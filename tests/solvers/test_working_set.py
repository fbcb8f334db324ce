"""The exact engine: right against cvxpy on formulations and random problems, and well behaved at every limit."""

import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from checks import DEGENERATE, check_feasible, check_history, check_solver, degenerate_rows, dense_prediction
from limits import LIMITS
from sklearn.exceptions import ConvergenceWarning
from textbook import FORMULATIONS, HAND_X, HAND_Y, PLAIN, random_problem, textbook_optimum

from convexnn import Architecture
from convexnn.model import build_program
from convexnn.pricing.alpha_max import kappa_at_zero
from convexnn.solvers import get_solver, solve_reference, solve_working_set, working_set


@pytest.mark.parametrize("name", FORMULATIONS)
@pytest.mark.parametrize("seed", range(6))
def test_every_formulation(name, seed):
    X, y, alpha = random_problem(seed)
    optimum = textbook_optimum(X, y, alpha, FORMULATIONS[name])
    check_solver(get_solver("auto"), build_program(X, y, alpha, "all", FORMULATIONS[name]), optimum)


@pytest.mark.parametrize("name", FORMULATIONS)
@pytest.mark.parametrize("seed", range(3))
def test_every_formulation_by_gradients(name, seed):
    X, y, alpha = random_problem(seed)
    optimum = textbook_optimum(X, y, alpha, FORMULATIONS[name])
    check_solver(get_solver("fista"), build_program(X, y, alpha, "all", FORMULATIONS[name]), optimum, tol=1e-4)


def test_the_hand_case():
    solution = solve_working_set(build_program(HAND_X, HAND_Y, 0.1, "all", PLAIN), tol=1e-10)
    optimum = 3 - 7.9**2 / 26 - (1 - 0.1 * 2**0.5) ** 2 / 2
    assert solution.certificate.objective == pytest.approx(optimum, rel=1e-10)
    assert solution.certificate.lower_bound <= optimum * (1 + 1e-15)
    assert solution.certificate.scope == "global"


@pytest.mark.parametrize("seed", range(50))
def test_random_and_degenerate_problems(seed):
    """Against cvxpy: 25 Gaussian and 25 degenerate, half of them gated, alpha from 0.9 to 1e-4 of the largest."""
    rng = np.random.default_rng([31, seed])
    X = degenerate_rows(rng, DEGENERATE[seed // 4 % 6] if seed % 2 else "plain")
    y = np.maximum(X[:, 0], 0) / np.abs(X[:, 0]).max() + rng.standard_normal(len(X))
    architecture = Architecture(
        "gated_relu" if seed % 4 > 1 else "relu",
        hidden_bias=("none", "penalized")[int(rng.integers(2))],
        fit_intercept=bool(rng.integers(2)),
        skip=X.shape[1] < len(X) - 2 and rng.random() < 0.3,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="only .* distinct patterns")
        program = build_program(X, y, 1.0, int(rng.integers(20, 31)), architecture, random_state=seed)
    program = program.at(kappa_at_zero(program) * 0.9 * 10.0 ** rng.uniform(np.log10(1e-4 / 0.9), 0))
    solution, reference = solve_working_set(program, tol=1e-8), solve_reference(program)
    found, expected = solution.certificate, reference.certificate
    assert solution.converged
    assert found.gap <= 1e-8
    assert found.objective == pytest.approx(expected.objective, rel=1e-6)
    assert found.lower_bound <= expected.objective * (1 + 1e-12)
    assert found.objective >= expected.lower_bound * (1 - 1e-12)
    assert found.gap * found.objective >= found.objective - min(found.objective, expected.objective) * (1 + 1e-15)
    assert found.lower_bound <= found.objective * (1 + 1e-14)
    check_feasible(program, solution.W)
    check_history(solution)
    Z = dense_prediction(program, solution.W, solution.beta)
    objective = 0.5 * np.sum((Z[:, 0] - y) ** 2) + program.alpha * np.linalg.norm(solution.W, axis=1).sum()
    assert found.objective == pytest.approx(objective, rel=1e-10)


@pytest.mark.parametrize("name", FORMULATIONS)
def test_at_alpha_max_the_zero_network_is_found_at_once(name):
    X, y, _ = random_problem(1)
    program = build_program(X, y, 1.0, "all", FORMULATIONS[name])
    largest = kappa_at_zero(program)
    zero = program.objective(*program.zero())
    for factor in (1.0, 1 + 1e-9, 1.5, 1e6):
        solution = solve_working_set(program.at(factor * largest))
        assert solution.n_iter == 1
        assert not solution.W.any()
        assert solution.certificate.gap <= 1e-12
        assert solution.certificate.objective == pytest.approx(zero, rel=1e-12)
    assert solve_working_set(program.at(0.999 * largest), tol=1e-10).W.any()


@pytest.mark.parametrize("activation", ["relu", "gated_relu"])
@pytest.mark.parametrize("case", ["wide", "zero column", "zero rows", "rank one", "all zero", "one sample", "y = 0"])
def test_unusual_shapes(case, activation):
    rng = np.random.default_rng(8)
    X, y = rng.standard_normal((10, 4)), rng.standard_normal(10)
    if case == "wide":
        X = rng.standard_normal((10, 30))
    elif case == "zero column":
        X[:, 1] = 0.0
    elif case == "zero rows":
        X[3:] = 0.0
    elif case == "rank one":
        X = X[:, :1] * rng.standard_normal(4)
    elif case == "all zero":
        X = np.zeros((10, 4))
    elif case == "one sample":
        X, y = X[:1], y[:1]
    else:
        y = np.zeros(10)
    for hidden_bias in ("none", "penalized"):
        for fit_intercept in (False, True):
            architecture = Architecture(activation, hidden_bias=hidden_bias, fit_intercept=fit_intercept)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="only .* distinct patterns")
                program = build_program(X, y, 0.05, 20, architecture, random_state=0)
            reference = solve_reference(program).certificate
            check_solver(solve_working_set, program, reference.objective)
            if X.shape[1] == 30 and hidden_bias == "none":  # rotated into its ten dimensions the problem is the same
                Q = np.linalg.qr(X.T)[0]
                narrow = build_program(X @ Q, y, 0.05, program.design.arrangements.gates @ Q, architecture)
                found = solve_working_set(narrow, tol=1e-8).certificate.objective
                assert found == pytest.approx(reference.objective, rel=1e-7)


@pytest.mark.parametrize("value", [0.0, 3.0, -1e6, 1e-9])
def test_a_constant_is_the_intercept(value):
    X = np.random.default_rng(0).standard_normal((12, 2))
    solution = solve_working_set(build_program(X, np.full(12, value), 0.1, "all"), tol=1e-10)
    assert not solution.W.any()
    assert solution.certificate.gap == 0.0
    assert np.allclose(solution.Z, value, rtol=1e-12)


@pytest.mark.parametrize("name", ["F1 plain", "F5 skip and biases", "F6 gated"])
@pytest.mark.parametrize("unit_x", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("unit_y", [1e-6, 1e6])
def test_units_do_not_matter(name, unit_x, unit_y):
    """Hidden biases take the unit of x: they are given as a column."""
    X, y, alpha = random_problem(0)
    architecture = FORMULATIONS[name]
    if architecture.hidden_bias == "penalized":
        X, architecture = np.column_stack([X, np.ones(len(X))]), replace(architecture, hidden_bias="none")
    expected = solve_reference(build_program(X, y, alpha, "all", architecture)).certificate.objective
    program = build_program(X * unit_x, y * unit_y, alpha * unit_x * unit_y, "all", architecture)
    for precision in ("double", "single"):
        solution = solve_working_set(program, tol=1e-9, precision=precision)
        assert solution.certificate.gap <= 1e-9
        assert solution.certificate.objective == pytest.approx(expected * unit_y**2, rel=1e-8)


@pytest.mark.parametrize(
    ("precision", "unit"),
    [("double", 1e-60), ("double", 1e-90), ("double", 1e80), ("single", 1e-23), ("single", 1e20)],
)
def test_no_units_give_a_false_bound(precision, unit):
    """Where squares or products in single precision leave the range of floating point: an error, or the optimum."""
    X, y, alpha = random_problem(0)
    expected = solve_reference(build_program(X, y, alpha, "all", PLAIN)).certificate.objective
    try:
        program = build_program(X * unit, y * unit, alpha * unit * unit, "all", PLAIN)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            certificate = solve_working_set(program, tol=1e-8, precision=precision).certificate
    except ValueError:
        return
    assert certificate.lower_bound / unit / unit <= expected * (1 + 1e-8)
    assert certificate.objective / unit / unit == pytest.approx(expected, rel=1e-7)


def larger_problem(activation="relu", seed=0, n=40, d=4, n_patterns=150, part=0.02):
    rng = np.random.default_rng([41, seed])
    X = rng.standard_normal((n, d))
    y = np.maximum(X @ rng.standard_normal((d, 3)), 0).sum(axis=1) + rng.standard_normal(n)
    program = build_program(X, y, 1.0, n_patterns, Architecture(activation), random_state=seed)
    return program.at(part * kappa_at_zero(program))


both_activations = pytest.mark.parametrize("activation", ["relu", "gated_relu"])


@both_activations
def test_tight_tolerances_are_reached(activation):
    program = larger_problem(activation)
    solution, reference = solve_working_set(program, tol=1e-10), solve_reference(program, tol=1e-6)
    assert solution.certificate.gap <= 1e-10
    assert solution.certificate.objective == pytest.approx(reference.certificate.objective, rel=1e-7)


@both_activations
@pytest.mark.parametrize("inner", ["newton", "fista"])
def test_single_precision_reaches_the_same_optimum(activation, inner):
    program = larger_problem(activation, part=0.2)
    tol = 1e-9 if inner == "newton" else 1e-4
    double = solve_working_set(program, tol=tol, inner=inner).certificate
    solution = solve_working_set(program, tol=tol, inner=inner, precision="single")
    single = solution.certificate
    assert single.gap <= tol
    assert single.objective == pytest.approx(double.objective, rel=max(1e-7, tol))
    check_feasible(program, solution.W)
    objective = program.objective(solution.W, solution.beta)  # in double precision
    assert single.objective == pytest.approx(objective, rel=1e-13)
    assert single.lower_bound <= double.objective * (1 + 1e-12)


@both_activations
def test_loose_tolerances_in_single_precision_are_certified_in_double(activation):
    """Bounds made of single precision products never exceed the optimum."""
    for seed in range(5):
        program = larger_problem(activation, seed)
        optimum = solve_working_set(program, tol=1e-10).certificate.objective
        for tol in (0.3, 1e-2, 1e-3):
            certificate = solve_working_set(program, tol=tol, precision="single").certificate
            assert certificate.gap <= tol
            assert certificate.lower_bound <= optimum * (1 + 1e-12)


@both_activations
def test_blocks_may_arrive_in_small_portions(activation, monkeypatch):
    program = larger_problem(activation)
    whole = solve_working_set(program, tol=1e-9)
    monkeypatch.setattr(working_set, "FEWEST_BLOCKS", 2)
    monkeypatch.setattr(sys.modules["convexnn.pricing.kappa"], "BATCH", 3)
    portions = solve_working_set(program, tol=1e-9)
    assert portions.certificate.gap <= 1e-9
    assert portions.certificate.objective == pytest.approx(whole.certificate.objective, rel=2e-9)
    assert portions.n_iter > whole.n_iter
    check_history(portions)


@both_activations
def test_more_patterns_never_raise_the_optimum(activation):
    many = larger_problem(activation, n_patterns=120)
    X, y, gates = many.design.X[:, :-1], many.Y, many.design.arrangements.gates
    lowest = np.inf
    for n_patterns in (5, 20, 60, 120):
        program = build_program(X, y, many.alpha, gates[:n_patterns], many.architecture)
        certificate = solve_working_set(program, tol=1e-9).certificate
        assert certificate.lower_bound <= lowest
        lowest = certificate.objective


@both_activations
def test_duplicated_rows_count_twice(activation):
    program = larger_problem(activation, n=20, n_patterns=40)
    X, gates = program.design.X[:, :-1], program.design.arrangements.gates
    twice = build_program(np.r_[X, X], np.r_[program.Y, program.Y], 2 * program.alpha, gates, program.architecture)
    once, doubled = (solve_working_set(p, tol=1e-9).certificate.objective for p in (program, twice))
    assert doubled == pytest.approx(2 * once, rel=1e-8)


@both_activations
def test_rotations_change_nothing(activation):
    program = larger_problem(activation, n=20, n_patterns=40)
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    X, gates = program.design.X[:, :-1] @ Q, program.design.arrangements.gates
    gates = np.column_stack([gates[:, :-1] @ Q, gates[:, -1]])
    rotated = build_program(X, program.Y, program.alpha, gates, program.architecture)
    one, other = (solve_working_set(p, tol=1e-9).certificate.objective for p in (program, rotated))
    assert other == pytest.approx(one, rel=1e-8)


def test_an_offset_of_y_changes_nothing():
    X, y, alpha = random_problem(4)
    one, other = (solve_working_set(build_program(X, y + t, alpha, "all"), tol=1e-8) for t in (0.0, 1e6))
    assert other.certificate.objective == pytest.approx(one.certificate.objective, rel=1e-7)
    assert other.certificate.gap <= 1e-8


@both_activations
def test_warm_starts(activation):
    program = larger_problem(activation)
    cold = solve_working_set(program, tol=1e-9)
    for W_init in (cold.W, cold.W.tolist(), cold.W.astype(np.float32), 2 * cold.W):
        assert solve_working_set(program, tol=1e-9, W_init=W_init).n_iter <= 2
    for factor in (0.5, 0.9, 1.1, 3.0):
        other = program.at(factor * program.alpha)
        expected = solve_working_set(other, tol=1e-9).certificate.objective
        warm = solve_working_set(other, tol=1e-9, W_init=cold.W)
        assert warm.certificate.gap <= 1e-9
        assert warm.certificate.objective == pytest.approx(expected, rel=2e-9)
    few = larger_problem(activation, n_patterns=30)
    gates = np.vstack([few.design.arrangements.gates, program.design.arrangements.gates])
    larger = build_program(program.design.X[:, :-1], program.Y, few.alpha, gates, program.architecture)
    first, expected = solve_working_set(few, tol=1e-9), solve_working_set(larger, tol=1e-9)
    W_init, n_few = np.zeros(larger.block_shape), len(few.design.arrangements)
    halves = W_init.reshape(-1, len(larger.design.arrangements), *W_init.shape[1:])  # one for each sign
    halves[:, :n_few] = first.W.reshape(-1, n_few, *W_init.shape[1:])  # the patterns of the few are the first ones
    moved = solve_working_set(larger, tol=1e-9, W_init=W_init)
    assert moved.history[0]["objective"] <= first.certificate.objective * (1 + 1e-12)
    assert moved.certificate.objective == pytest.approx(expected.certificate.objective, rel=2e-9)


@both_activations
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_any_start_is_projected_and_left(activation, size):
    """Blocks outside their cones, all of them, far from the solution: the optimum is the same."""
    program = larger_problem(activation)
    expected = solve_working_set(program, tol=1e-9).certificate.objective
    W_init = size * np.random.default_rng(0).standard_normal(program.block_shape)
    kept = W_init.copy()
    solution = solve_working_set(program, tol=1e-9, W_init=W_init)
    assert np.array_equal(W_init, kept)
    assert solution.certificate.gap <= 1e-9
    assert solution.certificate.objective == pytest.approx(expected, rel=2e-9)
    check_feasible(program, solution.W)
    with pytest.warns(ConvergenceWarning, match="time_limit"):
        stopped = solve_working_set(program, tol=1e-9, W_init=W_init, time_limit=1e-9)
    check_feasible(program, stopped.W)
    assert stopped.certificate.objective <= program.objective(*program.zero()) * (1 + 1e-12)


def test_bad_starts_raise():
    program = larger_problem()
    W = np.zeros(program.block_shape)
    for wrong in (W[1:], W[:, :, 0], W[:, 1:], np.zeros(3), 0.0, np.full_like(W, np.nan), W + np.inf):
        with pytest.raises(ValueError, match=r"W_init must be real, finite and of shape \(300, 5, 1\)"):
            solve_working_set(program, W_init=wrong)


@both_activations
@pytest.mark.parametrize("inner", ["newton", "fista"])
@pytest.mark.parametrize("name", LIMITS)
def test_limits_keep_the_best_network_and_its_bound(activation, inner, name):
    options, status = LIMITS[name]
    program = larger_problem(activation, n=25, n_patterns=60, part=0.1)
    optimum = solve_working_set(program, tol=1e-10).certificate.objective
    zero = 0.5 * np.sum((program.Y - program.Y.mean()) ** 2)
    start = np.zeros(program.block_shape)
    start[:5] = np.random.default_rng(0).standard_normal((5, *start.shape[1:]))
    for W_init in (None, start):
        with pytest.warns(ConvergenceWarning, match=f"the solver was {status} at a relative gap of .*, above tol="):
            solution = solve_working_set(program, W_init=W_init, inner=inner, tol=1e-6, **options)
        assert not solution.converged
        assert solution.status == status
        assert solution.n_iter == len(solution.history) == options.get("max_iter", len(solution.history))
        check_feasible(program, solution.W)
        certificate = solution.certificate
        assert optimum * (1 - 1e-10) <= certificate.objective <= zero * (1 + 1e-12)
        assert certificate.lower_bound <= optimum * (1 + 1e-12)
        assert certificate.objective == pytest.approx(program.objective(solution.W, solution.beta), rel=1e-12)


def test_what_rounding_leaves_is_said():
    program = larger_problem()
    with pytest.warns(ConvergenceWarning, match="lack of progress"):
        solution = solve_working_set(program, tol=1e-300)
    assert 0 < solution.certificate.gap <= 1e-10
    check_feasible(program, solution.W)


def test_other_exceptions_of_the_callback_are_raised():
    with pytest.raises(ZeroDivisionError):
        solve_working_set(larger_problem(), callback=lambda record: 1 / 0)


def test_the_callback_sees_the_history():
    seen = []
    solution = solve_working_set(larger_problem(), tol=1e-9, callback=lambda record: seen.append(record))
    assert seen == solution.history
    assert {"time", "objective", "lower_bound", "gap", "n_blocks", "n_working"} <= set(seen[0])


@pytest.mark.parametrize("name", ["tol", "max_iter", "time_limit", "inner", "precision"])
def test_bad_options_raise(name):
    wrong = {"tol": (0, -1.0, np.nan, "tight", None, True), "max_iter": (0, -1, 1.5, True, "many")}
    wrong |= {"time_limit": (0, -1.0, np.inf, "long", True), "inner": ("adam", None, 1, solve_working_set)}
    for value in wrong.get(name, ("half", None, 32, np.float32)):
        with pytest.raises((ValueError, TypeError), match=f"^{name} must be"):
            solve_working_set(larger_problem(), **{name: value})


@pytest.mark.parametrize("inner", ["newton", "fista"])
def test_verbose_prints_one_line_an_iteration(inner, capfd):
    program = larger_problem(part=0.2)
    solution = solve_working_set(program, tol=1e-4, inner=inner, verbose=2)
    lines = capfd.readouterr().err.splitlines()
    lines = lines[["objective" in line for line in lines].index(True) :]  # the first run on a machine compiles
    lines = lines[: ["Solved" in line for line in lines].index(True)]  # the summary
    assert len(lines) == 1 + solution.n_iter
    assert all(word in lines[0] for word in ("iteration", "time", "lower bound", "gap", "blocks", "working set"))
    assert f"{solution.certificate.objective:.10g}" in lines[-1]
    solve_working_set(program, tol=1e-4, inner=inner)
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.parametrize("bad", ["zeros", [[1.0], [1.0, 2.0]], 1j])
def test_starts_that_are_no_blocks_raise(bad):
    with pytest.raises(ValueError, match="W_init must be real, finite and of shape"):
        solve_working_set(larger_problem(), W_init=bad)
