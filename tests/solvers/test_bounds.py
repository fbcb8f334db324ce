"""Bounds: none above an objective that is attained, unless it is labelled as provisional; the clock changes none."""

import time

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from convexnn import Architecture, Certificate, ConvexReLUClassifier, ConvexReLURegressor
from convexnn.model import build_program
from convexnn.model.summary import summary
from convexnn.plotting import CertificateDisplay, ConvergenceDisplay
from convexnn.pricing import alpha_max, branch_and_bound
from convexnn.pricing.search import CellSearch
from convexnn.solvers import generation, solve_generation, vector_generation
from convexnn.solvers.monitor import Monitor
from convexnn.solvers.vector_generation import solve_vector_generation
from convexnn.utils.progress import Progress

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def data(n, d, seed=0):
    rng = np.random.default_rng([seed, n, d])
    X = rng.standard_normal((n, d))
    return X, np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.3 * rng.standard_normal(n)


def shown(solution):
    """The bounds that a solution states without a reservation."""
    bounds = [record["lower_bound"] for record in solution.history if not record["provisional"]]
    certificate = solution.certificate
    return [*bounds, certificate.proved_bound, 0.0 if certificate.provisional else certificate.lower_bound]


@pytest.mark.parametrize(("n", "d", "alpha"), [(60, 6, 0.05), (50, 8, 0.02)])
def test_no_bound_is_above_what_a_longer_run_attains(n, d, alpha):
    program = build_program(*data(n, d), alpha, "adaptive")
    long = [solve_generation(program, tol=1e-7, scope="local", random_state=seed) for seed in range(2)]
    attained = min(solution.certificate.objective for solution in long)
    short = [solve_generation(program, tol=1e-7, scope="local", max_iter=k, random_state=0) for k in (1, 3, 6, 9)]
    assert short[0].status == "stopped at max_iter"
    for solution in short:
        assert not solution.certificate.provisional  # there was time for a last search
        assert solution.certificate.gap >= (1 - 1e-9) * (1 - attained / solution.certificate.objective)
    for solution in long + short:
        assert max(shown(solution)) <= attained * (1 + 1e-9)
    assert any(record["provisional"] for record in long[0].history)


@pytest.mark.parametrize("coupled", [False, True])
def test_an_interrupt_leaves_a_provisional_bound(coupled):
    (X, y), tol = data(60, 4), 1e-6 if coupled else 0.9
    Y = np.column_stack([y, -(y**2)]) if coupled else y
    program = build_program(X, Y, 0.01, "adaptive", Architecture(output_penalty="weight_decay") if coupled else None)
    solve = solve_vector_generation if coupled else solve_generation

    def interrupt(record):
        assert record["provisional"]
        raise KeyboardInterrupt

    with pytest.warns(ConvergenceWarning, match="by a provisional bound"):
        solution = solve(program, tol=tol, callback=interrupt, random_state=0)
    certificate = solution.certificate
    assert certificate.provisional
    assert not solution.converged
    assert solution.status == "interrupted"
    assert "is provisional" in str(certificate)
    assert coupled or certificate.gap <= tol  # which is worth nothing
    assert summary(certificate, tol, "interrupted").startswith(f"Not solved to {tol=:g}: the solver was interrupted.")


def test_the_best_confirmed_bound_is_reported():
    program = build_program(*data(20, 3), 0.5, "adaptive")
    monitor = Monitor(program, None, None, Progress(0))
    monitor.scope = "local"
    size = monitor.objective
    for part, thorough in ((0.3, True), (0.5, True), (0.4, True), (0.9, False)):
        monitor.suggest(part * size, np.full_like(program.Y, part), thorough)
        monitor.record(0)
    assert [record["provisional"] for record in monitor.history] == [False, False, False, True]
    assert monitor.certificate.provisional
    solution = monitor.solution(0.6)
    assert solution.certificate == Certificate(size, 0.5 * size, "local", program.negligible, rounding=monitor.rounding)
    assert solution.dual[0] == 0.5
    assert solution.status == "solved"


def test_what_a_later_network_refutes_is_labelled():
    program = build_program(*data(20, 3), 0.5, "adaptive")
    monitor = Monitor(program, None, None, Progress(0))
    monitor.scope, optimum = "local", solve_generation(program, random_state=0)
    false = 0.5 * (monitor.objective + optimum.certificate.objective)
    monitor.suggest(false, np.ones_like(program.Y), True)
    monitor.record(0)
    assert not monitor.history[0]["provisional"]
    monitor.offer(optimum.W, np.arange(len(optimum.W)), optimum.beta, optimum.program)
    monitor.record(0)
    solution = monitor.solution(1e-6)
    assert solution.history[0]["provisional"]
    assert solution.certificate.lower_bound == 0.0
    assert not solution.converged
    assert "its search missed patterns" in solution.status


@pytest.mark.parametrize("coupled", [False, True])
def test_a_bound_that_the_network_refutes_is_never_shown(coupled, monkeypatch, capsys):
    X, y = data(40, 3)
    Y = np.column_stack([y, -(y**2)]) if coupled else y
    program = build_program(X, Y, 0.5, "adaptive", Architecture(output_penalty="weight_decay") if coupled else None)
    module = vector_generation._VectorGeneration if coupled else generation._Generation

    def blind(self, maxima):
        value = 1.001 * self.monitor.objective
        return (value, self.V) if coupled else (self.program.alpha, value)

    monkeypatch.setattr(module, "_bound", blind)
    solve = solve_vector_generation if coupled else solve_generation
    solution = solve(program, scope="local", max_iter=3, verbose=1, random_state=0)
    assert solution.certificate.lower_bound == 0.0
    assert not solution.converged
    assert "above the objective" in solution.status
    assert all(record["lower_bound"] <= record["objective"] for record in solution.history)
    text = capsys.readouterr().err
    assert "Not solved" in text
    assert "No lower bound of it above 0 is known." in text
    assert "another random_state" in text


def test_the_best_network_shows_what_search_misses(monkeypatch):
    """Over the cells of a few random neurons V is nearly feasible: a bound, but for the cells of better networks."""
    program = build_program(*data(40, 3), 0.5, "adaptive")
    optimum = solve_generation(program, scope="local", random_state=0)
    monitor = Monitor(program, None, None, Progress(0))
    monitor.scope = "local"
    run = generation._Generation(program, 1e-6, "local", None, np.random.RandomState(0), monitor)
    run._take(*(part[:3] for part in run._random()))
    run._solve(1e-6)
    climb, nowhere = CellSearch.climb, np.zeros((0, 40), bool)
    monkeypatch.setattr(CellSearch, "climb", lambda self, v, signs, patterns: climb(self, v, signs, patterns, 1))
    monkeypatch.setattr(CellSearch, "maxima", lambda self, v, alpha, U, signs, *rest: self.climb(v, signs[:0], nowhere))
    run._price(1)
    assert monitor.estimate > 1.1 * optimum.certificate.objective  # which is false
    monitor.offer(optimum.W, np.arange(len(optimum.W)), optimum.beta, optimum.program)
    assert len(run._price(1))
    assert 0.0 < monitor.estimate <= monitor.objective


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [2, 3])
def test_bounds_of_several_outputs_are_feasible(seed, classes):
    """At alpha_max, where the zero network is optimal, what is wrong with the dual vector shows."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((26, 3)), rng.integers(0, classes, 26)
    options = {"loss": "softmax", "scope": "local", "random_state": 0}
    top = ConvexReLUClassifier(**options).fit(X, y).alpha_max_
    for part in (1.0, 0.7):
        model = ConvexReLUClassifier(part * top, **options).fit(X, y)
        assert model.certificate_.lower_bound <= model.certificate_.objective
        assert np.abs(model.dual_.sum(axis=0)).max() <= 1e-13 * np.abs(model.dual_).sum()


class Clock:
    """A clock that runs at any speed: each look at it takes some time."""

    def __init__(self, step):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


@pytest.mark.parametrize(("n", "d", "part"), [(60, 2, 0.01), (50, 4, 0.02), (30, 6, 0.05)])
def test_results_do_not_depend_on_the_clock(n, d, part, monkeypatch):
    X, y = data(n, max(d, 3))
    X = X[:, :d]
    alpha, results = part * alpha_max(X, y, scope="local", random_state=0), []
    for step in (1e-9, 0.3, 1e4):
        for module, name in ((time, "perf_counter"), (branch_and_bound, "perf_counter")):
            monkeypatch.setattr(module, name, Clock(step))
        model = ConvexReLURegressor(alpha, random_state=0).fit(X, y)
        known = alpha_max(X, y, random_state=0, return_bounds=True)
        results.append((model.certificate_, known, model.predict(X).tobytes()))
    assert results[0][0].proved_bound > 0 or results[0][0].scope == "global"
    assert results[0] == results[1] == results[2]


def test_bounds_do_not_depend_on_the_number_of_processors(monkeypatch):
    X, y = data(50, 5)
    results = []
    for n_workers in (1, 3):
        monkeypatch.setattr(branch_and_bound, "cpu_count", lambda n=n_workers: n)
        results.append(ConvexReLURegressor(0.3, random_state=0).fit(X, y).certificate_)
    assert results[0] == results[1]


def test_figures_show_what_is_provisional():
    known = {"objective": 2.0, "scope": "local"}
    history = [
        known | {"time": 1.0, "lower_bound": 1.9, "gap": 0.05, "provisional": True},
        known | {"time": 2.0, "lower_bound": 1.8, "gap": 0.1, "provisional": False},
    ]
    display = ConvergenceDisplay.from_history(history)
    for ax, value in zip(display.axes_, (1.9, 0.05), strict=True):
        (hollow,) = (line for line in ax.lines if str(line.get_label()).startswith("convex: provisional"))
        assert hollow.get_xydata().tolist() == [[1.0, value]]
        assert hollow.get_markerfacecolor() == "white"
    certificate = CertificateDisplay({"network": Certificate(2.0, 1.9, "local", provisional=True)}).plot()
    assert list(certificate.zones_[0]) == ["global", "provisional", "open"]
    assert certificate.words_[0].startswith("Provisional")


def test_lines_show_what_is_provisional(capsys):
    record = {"objective": 2.0, "lower_bound": 1.9, "gap": 0.05, "scope": "local", "provisional": True}
    for verbose in (1, 2):
        with Progress(verbose) as progress:
            progress.update(record)
        text = capsys.readouterr().err
        assert "provisional" in text
        assert "local" not in text
