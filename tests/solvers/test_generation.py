"""Generation: the optimum over all patterns, by cvxpy and by enumeration, on anything, and well behaved at limits."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from checks import DEGENERATE, check_feasible, degenerate_rows, dense_prediction
from limits import LIMITS
from sklearn.exceptions import ConvergenceWarning
from textbook import FORMULATIONS, HAND_X, HAND_Y, PLAIN, XOR_X, XOR_Y, random_problem, textbook_optimum

from convexnn import Architecture
from convexnn.geometry.arrangements import resolve_arrangements
from convexnn.model import build_program
from convexnn.networks import recover
from convexnn.pricing import alpha_max
from convexnn.pricing.alpha_max import kappa_at_zero
from convexnn.solvers import solve_generation, solve_working_set

RELU = {name: architecture for name, architecture in FORMULATIONS.items() if architecture.activation == "relu"}
ARCHITECTURES = list(RELU.values())


def problem(seed, n=12, d=2, part=0.05, architecture=PLAIN):
    """A random problem, adaptive and over all cells, a few hundred of them; alpha a part of the largest."""
    rng = np.random.default_rng([seed, 99])
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    whole = build_program(X, y, 1.0, "all", architecture)
    alpha = part * kappa_at_zero(whole)
    return build_program(X, y, alpha, "adaptive", architecture), whole.at(alpha)


def optimum_of(whole):
    return solve_working_set(whole, tol=1e-10).certificate.objective


def features(program):
    return program.design.X[:, : program.design.X.shape[1] - (program.architecture.hidden_bias != "none")]


def check_generated(solution, program, optimum, tol=1e-6):
    """Check a converged solution: the optimum over all cells, a valid bound, a network that is what it says."""
    certificate, size = solution.certificate, np.linalg.norm(program.Y)
    tiny = 1e-10 * size**2
    assert solution.converged
    assert solution.status == "solved"
    assert certificate.gap <= tol
    assert abs(certificate.objective - optimum) <= max(1.01 * tol, 1e-7) * optimum + tiny
    assert certificate.proved_bound <= optimum * (1 + 1e-9) + tiny
    if certificate.scope == "global":
        assert certificate.lower_bound <= optimum * (1 + 1e-9) + tiny
    check_point(solution, program)


def check_point(solution, program):
    """Check that a solution is a feasible point of the objective it says, with its patterns and its network."""
    certificate, size = solution.certificate, np.linalg.norm(program.Y)
    found, tiny = solution.program, 1e-20 * size**2
    assert found.alpha == program.alpha
    assert np.array_equal(found.design.X, program.design.X)
    assert solution.W.shape == found.block_shape
    check_feasible(found, solution.W)
    Z = dense_prediction(found, solution.W, solution.beta)
    assert np.linalg.norm(solution.Z - Z) <= 1e-12 * size
    objective = program.loss.value(program.Y, Z) + program.alpha * np.linalg.norm(solution.W, axis=1).sum()
    assert np.isclose(objective, certificate.objective, rtol=1e-9, atol=tiny)
    arrangements = found.design.arrangements
    if len(arrangements):
        assert resolve_arrangements(found.design.X, arrangements) is arrangements
    assert len(np.unique(arrangements.bits, axis=0)) == len(arrangements)
    X, network = features(program), recover(solution)
    assert np.linalg.norm(network.predict(X) - Z[:, 0]) <= 1e-9 * size
    value = network.objective(X, program.Y[:, 0], program.alpha)
    assert np.isclose(value, certificate.objective, rtol=1e-9, atol=tiny)
    assert value <= certificate.objective * (1 + 1e-9) + tiny
    times = [record["time"] for record in solution.history]
    assert (np.diff(times) >= 0).all()
    assert solution.n_iter == len(solution.history)


@pytest.mark.parametrize("name", RELU)
@pytest.mark.parametrize("seed", range(3))
def test_every_formulation(name, seed):
    X, y, alpha = random_problem(seed)
    optimum = textbook_optimum(X, y, alpha, RELU[name])
    program = build_program(X, y, alpha, "adaptive", RELU[name])
    solution = solve_generation(program, random_state=seed)
    check_generated(solution, program, optimum)
    assert solution.certificate.scope == "global"
    tight = solve_generation(program, random_state=seed, tol=1e-9, scope="global")
    check_generated(tight, program, optimum, tol=1e-9)


@pytest.mark.parametrize("seed", range(24))
def test_random_problems_and_architectures(seed):
    """Against all cells; alpha from 0.9 to 1e-4 of the largest."""
    rng = np.random.default_rng([seed, 3])
    architecture = ARCHITECTURES[seed % len(ARCHITECTURES)]
    d = int(rng.integers(1, 4)) - (architecture.hidden_bias != "none" and seed % 2)
    part = 0.9 * 10.0 ** rng.uniform(np.log10(1e-4 / 0.9), 0)
    program, whole = problem(seed, int(rng.integers(8, 26)), max(d, 1), part, architecture)
    solution = solve_generation(program, random_state=seed, scope=("auto", "global")[seed % 2])
    check_generated(solution, program, optimum_of(whole))
    assert solution.certificate.scope == "global"


@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("seed", range(3))
def test_degenerate_rows(kind, seed):
    rng = np.random.default_rng([seed, DEGENERATE.index(kind), 7])
    X = degenerate_rows(rng, kind)[:16, -2:]
    y = rng.standard_normal(len(X))
    architecture = ARCHITECTURES[seed]
    whole = build_program(X, y, 1.0, "all", architecture)
    whole = whole.at(10.0 ** rng.uniform(-3, -0.3) * kappa_at_zero(whole))
    program = build_program(X, y, whole.alpha, "adaptive", architecture)
    solution = solve_generation(program, random_state=seed)
    check_generated(solution, program, optimum_of(whole))


def test_closed_forms():
    program = build_program(HAND_X, HAND_Y, 0.1, "adaptive", PLAIN)
    optimum = 3 - 7.9**2 / 26 - (1 - 0.1 * 2**0.5) ** 2 / 2
    solution = solve_generation(program, tol=1e-10, random_state=0)
    assert solution.certificate.objective == pytest.approx(optimum, rel=1e-10)
    assert recover(solution).n_neurons == 2
    for alpha in (0.05, 0.3, 1.0, 1.4, 2**0.5, 2.0):
        solution = solve_generation(build_program(XOR_X, XOR_Y, alpha, "adaptive", PLAIN), tol=1e-9, random_state=0)
        assert solution.certificate.objective == pytest.approx(2 - max(0, 2**0.5 - alpha) ** 2, rel=1e-9)
        assert solution.certificate.scope == "global"
        assert recover(solution).n_neurons == (4 if alpha < 2**0.5 else 0) or alpha == 2**0.5


@pytest.mark.parametrize("scope", ["auto", "local", "global"])
def test_no_target_no_network(scope):
    X = np.random.default_rng(0).standard_normal((9, 3))
    for architecture in ARCHITECTURES:
        program = build_program(X, np.zeros(9), 0.3, "adaptive", architecture)
        solution = solve_generation(program, scope=scope, random_state=0)
        assert not solution.W.any()
        assert not solution.Z.any()
        assert solution.certificate.objective == solution.certificate.gap == 0.0
        assert recover(solution).n_neurons == 0


@pytest.mark.parametrize("name", RELU)
def test_no_network_at_alpha_max(name):
    program, whole = problem(5, part=1.0, architecture=RELU[name])
    zero = whole.objective(*whole.zero())
    for factor in (1.0, 1.001, 3.0, 1e8):
        for seed, scope in enumerate(("auto", "local", "global")):
            solution = solve_generation(program.at(factor * whole.alpha), scope=scope, random_state=seed)
            check_generated(solution, program.at(factor * whole.alpha), zero)
            assert recover(solution).n_neurons == 0 or factor == 1.0
    assert recover(solve_generation(program.at(0.99 * whole.alpha), tol=1e-9, random_state=0)).n_neurons > 0


def test_no_patterns_are_patterns_too():
    """The zero network's program can be built again, evaluated, and solved."""
    program, whole = problem(5, part=2.0)
    solution = solve_generation(program, random_state=0)
    arrangements = solution.program.design.arrangements
    assert len(arrangements) == 0
    again = build_program(features(program), program.Y, program.alpha, arrangements, program.architecture)
    zero = whole.objective(*whole.zero())
    assert again.objective(*again.zero()) == pytest.approx(zero)
    check_generated(solve_generation(again, W_init=solution.W, random_state=0), program, zero)


@pytest.mark.parametrize("value", [3.0, -1e6, 1e-9])
def test_a_constant_is_the_intercept(value):
    X = np.random.default_rng(0).standard_normal((12, 2))
    solution = solve_generation(build_program(X, np.full(12, value), 0.1, "adaptive"), tol=1e-10, random_state=0)
    assert not solution.W.any()
    assert solution.certificate.gap == 0.0
    assert np.allclose(solution.Z, value, rtol=1e-12)


UNUSUAL = ["one sample", "one feature", "wide", "zero column", "constant column", "rank one", "all zero", "two samples"]


@pytest.mark.parametrize("name", ["F1 plain", "F2 F4 both biases", "F5 skip and biases"])
@pytest.mark.parametrize("case", UNUSUAL)
def test_unusual_shapes(case, name):
    rng = np.random.default_rng(8)
    X, y = rng.standard_normal((10, 3)), rng.standard_normal(10)
    if case in ("one sample", "two samples"):
        X, y = X[: 1 + (case == "two samples")], y[: 1 + (case == "two samples")]
    elif case == "one feature":
        X = X[:, :1]
    elif case == "wide":
        X, y = rng.standard_normal((5, 12)), y[:5]
    elif case == "zero column":
        X[:, 1] = 0.0
    elif case == "constant column":
        X[:, 1] = 2.5
    elif case == "rank one":
        X = X[:, :1] * rng.standard_normal(3)
    else:
        X = np.zeros((10, 3))
    program = build_program(X, y, 0.05, "adaptive", RELU[name])
    solution = solve_generation(program, random_state=0)
    check_generated(solution, program, optimum_of(build_program(X, y, 0.05, "all", RELU[name])))


@pytest.mark.parametrize(("part", "name"), [*((1e-6, name) for name in RELU), (1e-9, "F5 skip")])
def test_interpolation_stays_stable(part, name):
    """alpha hardly counts: numbers are finite, the gap is what it says, the bound is none above the optimum."""
    program, whole = problem(6, n=10, part=part, architecture=RELU[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        solution = solve_generation(program, random_state=0, time_limit=1.0 if part < 1e-6 else None)
        reference = solve_working_set(whole, tol=1e-8, time_limit=1.0 if part < 1e-6 else None).certificate
    certificate = solution.certificate
    values = [certificate.objective, certificate.lower_bound, certificate.gap, certificate.proved_gap]
    assert np.isfinite(values).all()
    assert solution.converged == (certificate.gap <= 1e-6)
    check_point(solution, program)
    assert certificate.proved_bound <= reference.objective * (1 + 1e-9)
    if certificate.scope == "global":
        assert certificate.lower_bound <= reference.objective * (1 + 1e-9)
    assert certificate.objective >= reference.lower_bound * (1 - 1e-9)
    if part >= 1e-6:
        assert solution.converged
        assert certificate.objective == pytest.approx(reference.objective, rel=2e-6)


def test_starts_from_another_alpha():
    for architecture in ARCHITECTURES[::3]:
        _, whole = problem(7, n=15, architecture=architecture)
        for factor in (0.3, 0.9, 3.0):
            start = solve_working_set(whole.at(factor * whole.alpha), tol=1e-6)
            optimum = optimum_of(whole)
            kept = start.W.copy()
            solution = solve_generation(whole, W_init=start.W, random_state=0)
            check_generated(solution, whole, optimum)
            assert np.array_equal(start.W, kept)
        first = solve_generation(whole.at(3 * whole.alpha), random_state=0)
        again = solve_generation(first.program.at(whole.alpha), W_init=first.W, random_state=0)
        check_generated(again, whole, optimum_of(whole))


def test_a_restart_at_the_solution_ends_soon():
    program, whole = problem(8, n=20)
    first = solve_generation(program, tol=1e-8, scope="local", random_state=0)
    again = solve_generation(first.program, W_init=first.W, tol=1e-8, scope="local", random_state=1)
    check_generated(again, program, optimum_of(whole), tol=1e-8)
    assert again.n_iter <= 3
    assert again.certificate.objective <= first.certificate.objective * (1 + 1e-8)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_any_start_will_do(size):
    _, whole = problem(9, n=15)
    W_init = size * np.random.default_rng(0).standard_normal(whole.block_shape)
    check_generated(solve_generation(whole, W_init=W_init, random_state=0), whole, optimum_of(whole))


def test_starts_that_are_no_blocks_raise():
    program, whole = problem(9)
    good = np.zeros(whole.block_shape)
    for wrong in (good[1:], good[:, :, 0], np.full_like(good, np.nan), "zeros", 0.0):
        with pytest.raises(ValueError, match="W_init must be real, finite and of shape"):
            solve_generation(whole, W_init=wrong)
    with pytest.raises(ValueError, match=r"W_init must be real, finite and of shape \(0, 2, 1\)"):
        solve_generation(program, W_init=good)


@pytest.mark.parametrize("scope", ["auto", "local", "global"])
def test_the_same_seed_gives_the_same_solution(scope):
    program, _ = problem(10, n=25, part=0.01)
    solutions = [solve_generation(program, scope=scope, random_state=seed) for seed in (3, 3, 4)]
    assert np.array_equal(solutions[0].W, solutions[1].W)
    assert np.array_equal(solutions[0].program.design.arrangements.bits, solutions[1].program.design.arrangements.bits)
    assert solutions[0].certificate.objective == solutions[1].certificate.objective
    assert solutions[2].certificate.objective == pytest.approx(solutions[0].certificate.objective, rel=2e-6)
    legacy = solve_generation(program, scope=scope, random_state=np.random.RandomState(3))
    assert np.array_equal(legacy.W, solutions[0].W)


def solved(X, y, alpha, architecture, tol=1e-8):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        solution = solve_generation(build_program(X, y, alpha, "adaptive", architecture), tol=tol, random_state=0)
    return solution.certificate.objective


@pytest.mark.parametrize("architecture", ARCHITECTURES[::2], ids=list(RELU)[::2])
def test_the_same_problem_in_other_words(architecture):
    """Rotated inputs, permuted, duplicated and added zero rows, the opposite target: what is optimal is known."""
    rng = np.random.default_rng(11)
    X, y, alpha = rng.standard_normal((20, 3)), rng.standard_normal(20), 0.6
    one, order = solved(X, y, alpha, architecture), rng.permutation(20)
    Q = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    assert solved(X @ Q, y, alpha, architecture) == pytest.approx(one, rel=3e-8)
    assert solved(X[order], y[order], alpha, architecture) == pytest.approx(one, rel=3e-8)
    assert solved(X, -y, alpha, architecture) == pytest.approx(one, rel=3e-8)
    assert solved(np.r_[X, X], np.r_[y, y], 2 * alpha, architecture) == pytest.approx(2 * one, rel=3e-8)
    assert solved(np.c_[X, np.zeros(20)], y, alpha, architecture) == pytest.approx(one, rel=3e-8)
    if not architecture.fit_intercept and architecture.hidden_bias == "none":
        more = solved(np.r_[X, np.zeros((2, 3))], np.r_[y, 1.0, -2.0], alpha, architecture)
        assert more == pytest.approx(one + 2.5, rel=3e-8)


@pytest.mark.parametrize("unit_x", [1e-60, 1e60])
@pytest.mark.parametrize("unit_y", [1e-30, 1e30])
def test_units_do_not_matter(unit_x, unit_y):
    rng = np.random.default_rng(12)
    X, y, alpha = rng.standard_normal((15, 2)), rng.standard_normal(15), 0.4
    for architecture in (PLAIN, replace(PLAIN, fit_intercept=True), replace(PLAIN, skip=True)):
        one = solved(X, y, alpha, architecture)
        found = solved(X * unit_x, y * unit_y, alpha * unit_x * unit_y, architecture)
        assert found / unit_y / unit_y == pytest.approx(one, rel=3e-8)


def test_an_offset_of_y_changes_nothing():
    rng = np.random.default_rng(13)
    X, y = rng.standard_normal((15, 2)), rng.standard_normal(15)
    one, other = (solved(X, y + t, 0.3, Architecture(), tol=1e-7) for t in (0.0, 1e6))
    assert other == pytest.approx(one, rel=3e-7)


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("name", [name for name in LIMITS if name != "max_iter=3"])
def test_limits_keep_the_best_network_and_its_bound(name, scope):
    options, status = LIMITS[name]
    program, whole = problem(14, n=25, d=3, part=0.01)
    optimum, zero = optimum_of(whole), 0.5 * np.sum(program.Y**2)
    W_init = np.zeros(whole.block_shape)
    W_init[:9] = 0.01 * np.random.default_rng(0).standard_normal(W_init[:9].shape)
    options = options | {"scope": scope, "tol": 1e-10, "random_state": 0}
    for given, start in ((program, None), (whole, W_init)):
        with pytest.warns(ConvergenceWarning, match=f"the solver was {status} at a relative gap of .*, above tol="):
            solution = solve_generation(given, W_init=start, **options)
        certificate = solution.certificate
        assert not solution.converged
        assert solution.status == status
        check_point(solution, program)
        assert optimum * (1 - 1e-9) <= certificate.objective <= zero * (1 + 1e-12)
        assert certificate.scope == ("global" if scope == "global" else "local")
        assert certificate.proved_bound <= optimum * (1 + 1e-12)
        if scope == "global":
            assert certificate.lower_bound <= optimum * (1 + 1e-12)


def test_other_exceptions_of_the_callback_are_raised():
    with pytest.raises(ZeroDivisionError):
        solve_generation(problem(0)[0], callback=lambda record: 1 / 0)


def test_the_callback_sees_the_history():
    seen = []
    solution = solve_generation(problem(0)[0], callback=seen.append, random_state=0)
    assert seen == solution.history
    assert {"time", "objective", "lower_bound", "gap", "n_blocks", "n_working"} <= set(seen[0])
    objectives = np.array([record["objective"] for record in seen])
    assert (np.diff(objectives) <= 1e-6 * objectives[:-1]).all()


def test_verbose_prints_one_line_an_iteration(capfd):
    solution = solve_generation(problem(0)[0], verbose=2, random_state=0)
    lines = capfd.readouterr().err.splitlines()
    lines = lines[["objective" in line for line in lines].index(True) :]  # the first run on a machine compiles
    assert ["Solved" in line for line in lines].index(True) == 1 + solution.n_iter
    solve_generation(problem(0)[0], random_state=0)
    assert tuple(capfd.readouterr()) == ("", "")


def test_gated_networks_are_refused():
    X, y, alpha = random_problem(0)
    with pytest.raises(ValueError, match="solve_generation is for activations whose patterns are those of the weights"):
        solve_generation(build_program(X, y, alpha, "all", FORMULATIONS["F6 gated"]))
    with pytest.raises(
        ValueError, match='arrangements="adaptive" is for networks whose patterns are those of their weights'
    ):
        build_program(X, y, alpha, "adaptive", FORMULATIONS["F6 gated"])


@pytest.mark.parametrize("name", ["scope", "tol", "max_iter", "time_limit", "callback", "random_state"])
def test_bad_options_raise(name):
    wrong = {"scope": ("sampled", "all", None, 1, ["local"]), "tol": (0, -1.0, np.nan, "tight", None, True)}
    wrong |= {"max_iter": (0, -1, 1.5, True), "time_limit": (0, -1.0, np.inf, "long"), "callback": ("print", 1)}
    for value in wrong.get(name, ("seed", -1, 0.5)):
        with pytest.raises((ValueError, TypeError), match=f"^{name} must be|cannot be used to seed|RandomState|Seed"):
            solve_generation(problem(0)[0], **{name: value})


def test_other_solvers_refuse_programs_without_patterns():
    program, _ = problem(0)
    with pytest.raises(ValueError, match='arrangements="adaptive" is for solve_generation'):
        solve_working_set(program)


def test_the_largest_alpha_is_where_networks_begin():
    rng = np.random.default_rng(15)
    X, y = rng.standard_normal((40, 2)), rng.standard_normal(40)
    largest = alpha_max(X, y, random_state=0)
    for factor, begins in ((1.001, False), (0.999, True)):
        solution = solve_generation(build_program(X, y, factor * largest, "adaptive"), tol=1e-9, random_state=0)
        assert (recover(solution).n_neurons > 0) == begins
