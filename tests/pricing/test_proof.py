"""Proofs: enumeration against branch and bound, the largest norm that a gap allows, and the guarantee of a rank."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from convexnn import Architecture
from convexnn.geometry.arrangements import enumerate_arrangements, resolve_arrangements
from convexnn.geometry.enumeration import interior_gates
from convexnn.model import build_program
from convexnn.model.reduction import Reduction
from convexnn.pricing import bound_kappa, kappa
from convexnn.pricing.proof import EnumeratedCells, Prover
from convexnn.solvers import solve_generation, solve_working_set

PLAIN = Architecture(hidden_bias="none", fit_intercept=False)


def problem(seed, n=20, d=3, architecture=PLAIN, arrangements="adaptive", alpha=0.5):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.maximum(X @ rng.standard_normal(d), 0) + 0.3 * rng.standard_normal(n)
    return build_program(X, y, alpha, arrangements, architecture), rng


@pytest.mark.parametrize("seed", range(5))
def test_streaming_enumeration_is_kappa_over_all_cells(seed):
    program, rng = problem(seed, arrangements="all")
    cells = EnumeratedCells.of(program.design, 10_000)
    assert len(cells.gates) == len(program.design.arrangements)
    v = rng.standard_normal(20)
    exact = kappa(program, v[:, None])
    value, upper, points = cells.kappa(v, np.zeros(cells.gates.shape[1]), 0.7 * exact)
    assert value == pytest.approx(exact, rel=1e-12)
    assert value <= upper <= exact * (1 + 1e-12)
    heights = points[:, -1] * (np.maximum(program.design.X @ points[:, :-1].T, 0).T @ v)
    assert heights[0] == pytest.approx(exact, rel=1e-10)
    assert (heights > 0.7 * exact * (1 - 1e-12)).all()
    assert np.allclose(np.linalg.norm(points[:, :-1], axis=1), 1)
    assert len(cells.kappa(v, np.zeros(cells.gates.shape[1]), 2 * exact)[2]) == 1
    bound = bound_kappa(program.design.X, v, exact * (1 + 1e-7))
    assert bound.lower <= exact * (1 + 1e-12) <= bound.upper * (1 + 2e-12)


def test_too_many_cells_and_cells_that_rounding_hides_are_left_alone():
    program, _ = problem(0)
    assert EnumeratedCells.of(program.design, 10) is None
    X = np.array([[1.0, 0.0], [1.0, 1e-11], [0.0, 1.0]])
    thin = build_program(X, np.ones(3), 1.0, "adaptive", PLAIN)
    assert EnumeratedCells.of(thin.design, 100) is None
    proof = Prover(thin).prove(np.ones((3, 1)), 1.5, 1e-3)
    assert thin.proved_bound(np.ones((3, 1)), proof.kappa) <= 1.5


@pytest.mark.parametrize("tol", [1e-6, 1e-2, 0.3])
def test_proofs_in_coarse_units_of_free_biases_hold_for_the_network(tol):
    """The largest value over a fine grid of directions and every bias is below what is proved in other units."""
    rng = np.random.default_rng(7)
    X, y = 3 * rng.standard_normal((14, 2)) + [5.0, -2.0], rng.standard_normal(14)
    whole = build_program(X, y, 0.5, "adaptive", Architecture(hidden_bias="free"))
    reduction = Reduction.of(whole, whole.zero()[1], tol=tol)
    V = reduction.program.project_dual(rng.standard_normal((14, 1)))
    proved = Prover(reduction.program).bound(V, 1e-9, refute=False).upper
    bound = reduction.invert_kappa(proved) * whole.relaxation
    angles = np.linspace(0, 2 * np.pi, 200_001)
    products = X @ [np.cos(angles), np.sin(angles)]
    v = reduction.invert_dual(V)[:, 0]
    exact = max(np.abs(v @ np.maximum(products - products[k], 0)).max() for k in range(14))  # kinks in the bias
    assert exact <= bound <= exact * (1 + 0.05 * tol + 1e-6)


@pytest.mark.parametrize("few", [0, 10_000])
def test_a_gap_is_proved_or_refuted(few, monkeypatch):
    """By branch and bound, and by enumeration; the optimum is that of the engine over all cells."""
    monkeypatch.setattr("convexnn.pricing.proof.FEW_CELLS", few)
    program, rng = problem(3, arrangements="all")
    solution = solve_working_set(program, tol=1e-10)
    objective, V = solution.certificate.objective, program.Y - solution.Z
    prover = Prover(program)
    proof = prover.prove(V, objective, 1e-6)
    assert proof.complete
    assert objective * (1 - 1e-6) <= program.proved_bound(V, proof.kappa) <= objective
    other = V + 0.3 * np.linalg.norm(V) / np.sqrt(20) * rng.standard_normal(V.shape)
    refuted = prover.prove(other, objective, 1e-6)
    assert not refuted.complete
    assert program.proved_bound(other, refuted.kappa) <= objective
    heights = refuted.signs * (np.maximum(program.design.X @ refuted.directions.T, 0).T @ other[:, 0])
    assert len(heights)
    assert (heights > program.alpha).all()
    anyway = prover.prove(other, objective, 1e-6, refute=False)
    assert anyway.kappa <= refuted.kappa * (1 + 1e-9)
    assert program.proved_bound(other, anyway.kappa) <= objective


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_the_certificate_of_a_rank_holds_for_the_whole_data(rank):
    rng = np.random.default_rng(rank)
    rotation = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    X = rng.standard_normal((12, 4)) * [3.0, 1.0, 0.05, 0.01] @ rotation
    y = np.sin(X @ rng.standard_normal(4)) + 0.1 * rng.standard_normal(12)
    whole = solve_working_set(build_program(X, y, 0.3, "all", PLAIN), tol=1e-9).certificate.objective
    program = build_program(X, y, 0.3, "adaptive", PLAIN)
    if rank < 4:
        with pytest.warns(UserWarning, match="rank"):
            solution = solve_generation(program, rank=rank, scope="global", random_state=0)
    else:
        solution = solve_generation(program, rank=rank, scope="global", random_state=0)
    certificate = solution.certificate
    assert certificate.scope == "global"
    assert certificate.lower_bound <= whole * (1 + 1e-9)
    assert certificate.objective >= whole * (1 - 1e-9)
    assert certificate.objective == pytest.approx(solution.program.objective(solution.W, solution.beta))
    if rank == 4:
        assert certificate.gap <= 1e-6
    # MATH: p* <= p_r <= p* (1 + sigma_{r+1} sqrt(p*/2) / alpha)^2
    sigma = [*np.linalg.svd(X, compute_uv=False), 0.0][rank]
    assert certificate.objective <= whole * (1 + sigma * np.sqrt(whole / 2) / 0.3) ** 2 * (1 + 1e-6)


def test_gates_inside_cells():
    """Points on walls, vertices and edges of cells are moved inside; the patterns are those of the gates."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((15, 3))
    patterns = enumerate_arrangements(X).patterns()
    sides = np.where(patterns, 1.0, -1.0)
    points = []
    for side, gate in zip(sides, enumerate_arrangements(X).gates, strict=True):
        step = rng.standard_normal(3)
        step *= -1 if (side * (X @ step) > 0).all() else 1
        slack, change = side * (X @ gate), side * (X @ step)
        losing = change < 0
        points.append(gate + (slack[losing] / -change[losing]).min() * step)  # to the first wall
    gates = interior_gates(X, np.array(points), patterns)
    assert np.array_equal(X @ gates.T > 0, patterns.T)
    solution = solve_generation(build_program(X, np.abs(X[:, 0]), 0.1, "adaptive", PLAIN), random_state=0)
    kept = solution.program.design.arrangements
    assert resolve_arrangements(X, kept) is kept


@pytest.mark.parametrize("kind", ["seconds and volts", "two units"])
def test_a_column_in_a_small_unit_is_not_forgotten(kind):
    """A network on the small column alone is feasible; no bound may be above its objective."""
    rng = np.random.default_rng(0)
    large = 1.7e9 + rng.uniform(0, 1e6, 3000) if kind == "seconds and volts" else rng.standard_normal(3000)
    small = (1e-4 if kind == "seconds and volts" else 1.5e-12) * rng.standard_normal(3000)
    y = np.maximum(small, 0) / np.abs(small).max()
    alpha = 0.05 * np.linalg.norm(small) * np.linalg.norm(y)
    one = solve_generation(build_program(small[:, None], y, alpha, "adaptive", PLAIN), scope="global")
    assert one.certificate.scope == "global"
    X = np.column_stack([large, small])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        both = solve_generation(build_program(X, y, alpha, "adaptive", PLAIN), scope="global", time_limit=3)
        given = solve_working_set(build_program(X, y, alpha, "all", PLAIN), time_limit=3)
    assert both.certificate.lower_bound <= one.certificate.objective
    assert given.certificate.lower_bound <= one.certificate.objective


def test_wide_data_do_not_overflow_the_count_of_cells():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((600, 300)), rng.standard_normal(600)
    solution = solve_generation(build_program(X, y, 1e5, "adaptive", PLAIN))
    assert solution.certificate.gap < 1e-12
    assert not solution.W.any()
