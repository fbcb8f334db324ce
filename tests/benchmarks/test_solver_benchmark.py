"""The comparison problems are what they say, and the benchmark of the solvers writes and checks every number."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import solvers
from benchmarks.problems import PROBLEMS, make_problem

SIZES = {"A": (50, 5, 50), "B": (200, 10, 200), "C": (1000, 20, 500), "D": (442, 11, 500), "E": (1797, 65, 1000)}
COMMON = {
    *("problem", "activation", "solver", "n_samples", "n_features", "n_patterns", "alpha", "tol", "seconds"),
    *("objective", "lower_bound", "gap", "converged", "status", "n_iter", "n_blocks", "times_to_gap"),
}
NEWTON = COMMON | {
    *("all_seconds", "target_gap", "target_seconds", "seconds_to_target", "all_seconds_to_target", "violation"),
    *("network_difference", "listed_objective", "listed_is_upper_bound", "listed_difference"),
}
GAP_KEYS = ["1e-02", "1e-03", "1e-04", "1e-05", "1e-06", "1e-07", "1e-08"]


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("solvers") / "new"
    solvers.main(["--quick", "--output", str(folder)])
    return folder, json.loads((folder / "solvers.json").read_text())


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_are_the_same_at_every_call(name):
    first, again = make_problem(name), make_problem(name)
    assert first.name == name
    assert (*first.X.shape, len(first.gates)) == SIZES[name[0]]
    assert first.y.shape == first.X.shape[:1]
    assert first.gates.shape[1] == first.X.shape[1]
    for key in ("X", "y", "gates", "alpha"):
        np.testing.assert_array_equal(getattr(first, key), getattr(again, key))
    patterns = first.X @ first.gates.T >= 0
    assert len(np.unique(patterns.T, axis=0)) == len(first.gates)
    assert patterns.any(axis=0).all()
    largest = max(np.linalg.norm(first.X[on].T @ first.y[on]) for on in patterns.T)
    assert first.alpha == pytest.approx({"hi": 0.05, "lo": 0.005}[name[2:]] * largest, rel=1e-12)


@pytest.mark.parametrize("name", ["A", "A_mid", "F_hi", "", None])
def test_unknown_problems_are_rejected(name):
    with pytest.raises(ValueError, match=r"name must be one of A_hi, .*E_lo; got "):
        make_problem(name)


def test_listed_optima_are_of_problems():
    for activation, targets in solvers.TARGETS.items():
        assert set(targets) < set(PROBLEMS)
        assert activation in solvers.TARGET_GAPS
    assert all(name in solvers.TARGETS[activation] for activation, name in solvers.UPPER_BOUNDS)


def test_the_quick_run_writes_every_file_and_field(quick):
    folder, results = quick
    assert {path.name for path in folder.iterdir()} == {"solvers.json", "solvers.txt", "solvers.md", "gap.png"}
    assert (folder / "gap.png").stat().st_size > 5000
    assert set(results) == {
        *("environment", "options", "compile_seconds", "rows", "histories", "findings", "seconds"),
    }
    assert set(results["compile_seconds"]) == {"relu", "gated_relu"}
    assert {"numba_threads", "load_average", "versions"} < set(results["environment"])
    keys = [(row["activation"], row["problem"], row["solver"]) for row in results["rows"]]
    assert keys == [(h["activation"], h["problem"], h["solver"]) for h in results["histories"]]
    per_activation = [("A_hi", solver) for solver in solvers.SOLVERS] + [("B_hi", "newton"), ("B_hi", "fista")]
    assert keys == [(activation, *rest) for activation in ("relu", "gated_relu") for rest in per_activation]
    for row, entry in zip(results["rows"], results["histories"], strict=True):
        assert set(row) == (NEWTON if row["solver"] == "newton" else COMMON)
        assert list(row["times_to_gap"]) == GAP_KEYS
        assert entry["history"][-1]["gap"] == row["gap"]
        for key, seconds in row["times_to_gap"].items():
            assert (seconds is not None) == (row["gap"] <= float(key))
        assert row["lower_bound"] <= row["objective"] * (1 + 1e-12)


def test_newton_is_right_on_the_quick_problems(quick):
    rows = [row for row in quick[1]["rows"] if row["solver"] == "newton"]
    for row in rows:
        assert row["converged"]
        assert row["gap"] <= 1e-8
        assert row["network_difference"] <= 1e-9
        if row["activation"] == "relu":
            assert 0 <= row["violation"] <= 1e-12
        else:
            assert row["violation"] is None
        if row["listed_objective"] is not None:
            assert row["objective"] == pytest.approx(row["listed_objective"], rel=1e-6)
            assert row["listed_difference"] == pytest.approx(row["objective"] / row["listed_objective"] - 1, abs=1e-15)
        assert row["seconds_to_target"] == row["all_seconds_to_target"][0]
    assert sum(row["listed_objective"] is not None for row in rows) == 3


def test_clarabel_and_newton_agree(quick):
    rows = {(row["activation"], row["problem"], row["solver"]): row for row in quick[1]["rows"]}
    for activation in ("relu", "gated_relu"):
        newton, reference = (rows[activation, "A_hi", solver] for solver in ("newton", "cvxpy + Clarabel"))
        assert reference["converged"]
        assert newton["objective"] == pytest.approx(reference["objective"], rel=1e-6)


def test_the_tables_have_every_problem_and_solver(quick):
    folder, results = quick
    text, markdown = ((folder / name).read_text() for name in ("solvers.txt", "solvers.md"))
    for name in ("A_hi", "B_hi", *solvers.SOLVERS, *GAP_KEYS, *results["findings"]):
        assert name in text
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(lines) == 2 * (2 + 2)
    assert {line.count("|") for line in lines} == {len(solvers.COLUMNS) + 1}


def test_time_to_gap():
    history = [{"time": 0.1, "gap": 0.5}, {"time": 0.2, "gap": 1e-3}, {"time": 0.7, "gap": 1e-9}]
    assert [solvers.time_to_gap(history, gap) for gap in (1.0, 0.5, 1e-2, 1e-3, 1e-4, 1e-10)] == [
        *(0.1, 0.1, 0.2, 0.2, 0.7),
        None,
    ]
    assert solvers.time_to_gap([], 1.0) is None


def test_a_violation_is_found():
    problem = make_problem("A_hi")
    program = solvers.program_of(problem, "relu")
    solution = solvers.solve_working_set(program, tol=1e-2)
    assert solvers.cone_violation(program, solution) <= 1e-12
    W = np.zeros_like(solution.W)
    assert solvers.cone_violation(program, replace(solution, W=W)) == 0
    block = 3 + len(problem.gates)  # the pattern of gate 3, sign -
    W[block, :, 0] = problem.gates[3]
    assert solvers.cone_violation(program, replace(solution, W=W)) == 0
    W[block, :, 0] = -2.0 * problem.gates[3]
    cosines = problem.X @ problem.gates[3] / np.linalg.norm(problem.X, axis=1) / np.linalg.norm(problem.gates[3])
    found = solvers.cone_violation(program, replace(solution, W=W))
    assert found == pytest.approx(np.abs(cosines).max())


def test_failures_and_defeats_are_said():
    row = {"problem": "B_hi", "activation": "relu", "converged": True, "gap": 1e-9, "tol": 1e-8, "status": "solved"}
    newton = row | {
        "solver": "newton",
        "target_seconds": 0.1,
        "seconds_to_target": 0.2,
        "listed_is_upper_bound": False,
    }
    reference = row | {"solver": "cvxpy + Clarabel", "seconds": 0.1, "tol": 1e-6}
    text = "\n".join(solvers.findings([newton, reference]))
    assert "Targets met: 0 of 1." in text
    assert "B_hi, ReLU: target of 0.1 s MISSED, 0.200 s." in text
    assert "Clarabel is FASTER" in text
    assert solvers.table_rows([newton, reference])[0]["ratio"] == 0.5
    won = "\n".join(solvers.findings([newton | {"seconds_to_target": 0.05}, reference]))
    assert won == "Targets met: 1 of 1."
    stopped = reference | {"converged": False, "gap": 0.3, "status": "user_limit"}
    text = "\n".join(solvers.findings([newton | {"seconds_to_target": None}, stopped]))
    assert "MISSED, gap not reached" in text
    assert "cvxpy + Clarabel did not reach 1e-06: user_limit at a gap of 3.0e-01." in text
    merged = solvers.table_rows([newton | {"listed_is_upper_bound": True}, stopped])[0]
    assert (merged["label"], merged["reference_seconds"], merged["ratio"]) == ("B_hi *", None, None)


def test_a_failed_reference_is_a_row(monkeypatch):
    def fail(program, **options):
        raise RuntimeError("CLARABEL failed")

    monkeypatch.setattr(solvers, "solve_reference", fail)
    row, history = solvers.reference_row(None, 1.0)
    assert history == []
    assert (row["status"], row["gap"], row["converged"]) == ("CLARABEL failed", None, False)
    assert solvers.describe(row) == "CLARABEL failed"
