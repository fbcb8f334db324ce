"""The benchmark of the global optimum: what it measures, what it says of it, and what it writes."""

import json

import numpy as np
import pytest

from benchmarks import global_optimum as benchmark
from benchmarks.global_optimum_figures import decades, excess, findings
from benchmarks.problems import PROBLEMS, make_problem, make_teacher


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("global") / "new"
    patch = pytest.MonkeyPatch()
    patch.setattr(benchmark, "REPEATS", 1)
    patch.setattr(benchmark, "ADAM", dict.fromkeys(PROBLEMS, (20, None, 2000)))
    returned = benchmark.main(["--quick", "--output", str(folder)])
    patch.undo()
    return folder, json.loads((folder / "global_optimum.json").read_text()), returned


def test_targets_are_of_problems():
    assert set(benchmark.TARGETS) == set(PROBLEMS) - {"E_lo"}
    assert tuple(benchmark.ADAM) == PROBLEMS
    for name in benchmark.PROOFS:
        assert name in PROBLEMS or tuple(map(int, name.split("x"))) > (99, 3)


def test_planted_problems_are_those_of_the_comparison():
    problem = make_problem("B_hi")
    for made, array in zip(make_teacher(200, 10, 1), (problem.X, problem.y), strict=True):
        np.testing.assert_array_equal(made, array)
    X, y = make_teacher(30, 3, 0, n_neurons=4)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(X, rng.standard_normal((30, 3)))
    signal = np.maximum(X @ (rng.standard_normal((3, 4)) / np.sqrt(3)), 0) @ rng.standard_normal(4)
    np.testing.assert_allclose(y, signal + 0.1 * signal.std() * rng.standard_normal(30), rtol=1e-12)


def test_the_quick_run_writes_every_file(quick):
    folder, results, _ = quick
    names = {"global_optimum.json", "global_optimum.txt", "global_optimum.png", "global_proofs.png"}
    assert {path.name for path in folder.iterdir()} == names
    assert all((folder / name).stat().st_size > 5000 for name in names if name.endswith("png"))
    assert [row["problem"] for row in results["rows"]] == ["A_hi", "B_hi"]
    assert [row["name"] for row in results["proofs"]] == ["A_hi", "200x5"]
    assert results["settings"]["tol"] == 1e-6
    text = (folder / "global_optimum.txt").read_text()
    for sentence in (*results["findings"], "Objectives", "Seconds", "Adam: ", "Gaps proved"):
        assert sentence in text


def test_generation_is_below_adam_and_the_sampled_optimum(quick):
    for row, histories in zip(quick[1]["rows"], quick[1]["histories"], strict=True):
        target = benchmark.TARGETS[row["problem"]][0]
        assert row["objective"] <= target
        assert row["met_objective"] == row["below_adam"] == "yes"
        assert row["network_difference"] <= 1e-9
        assert row["gap"] <= 1e-6
        assert row["objective"] < row["adam_objective"] == min(row["adam_objectives"])
        assert row["objective"] < row["sampled_objective"]
        assert row["n_neurons"] <= min(row["n_neurons_recovered"], row["n_samples"])
        assert len(histories["adam"]) == len(row["adam_objectives"]) == benchmark.ADAM_SEEDS
        assert row["adam_all_seconds"] == pytest.approx(sum(row["adam_seconds_of_each"]))
        assert max(row["close_seconds"], row["passing_seconds"]) <= row["seconds"]
        assert row["adam_batch_size"] == row["n_samples"]


def test_proofs_are_global(quick):
    for row in quick[1]["proofs"]:
        assert row["scope"] == "global"
        assert row["objective"] * (1 - row["target_gap"]) <= row["lower_bound"] <= row["objective"] * (1 + 1e-9)
        assert row["gap"] <= row["target_gap"]


def test_what_is_returned_is_what_is_written(quick):
    _, results, returned = quick
    assert returned["findings"] == results["findings"]
    assert [row["objective"] for row in returned["rows"]] == [row["objective"] for row in results["rows"]]


def test_time_to_objective():
    history = [{"time": 0.1, "objective": 3.0}, {"time": 0.4, "objective": 2.0}, {"time": 0.9, "objective": 1.0}]
    assert [benchmark.time_to_objective(history, value) for value in (3.5, 2.0, 1.9, 0.5)] == [0.1, 0.4, 0.9, None]
    assert benchmark.time_to_objective([], 1.0) is None


def test_limits_of_proofs_are_not_below_their_targets():
    assert [benchmark.proof_limit(seconds) for seconds in (1, 30, 120, 600)] == [10, 300, 300, 600]


def row_of(**changes):
    row = {"problem": "A_hi", "objective": 29.3073, "gap": 1e-9, "seconds": 0.05, "adam_objective": 29.31}
    row |= {"adam_all_seconds": 5.0, "adam_seconds": 1.0, "close_seconds": 0.02, "converged": True, "status": "solved"}
    row |= {"passing_seconds": 0.03} | changes
    return row | benchmark.verdicts(row)


def test_verdicts():
    keys = ("met_objective", "met_seconds", "below_adam", "faster_than_adam", "close_before_adam", "passes_in_time")
    assert {row_of()[key] for key in keys} == {"yes"}
    assert row_of(objective=29.31)["met_objective"] == row_of(objective=29.31)["met_seconds"] == "NO"
    assert row_of(objective=29.31)["below_adam"] == "NO"
    assert row_of(gap=2e-6)["met_seconds"] == row_of(seconds=0.2)["met_seconds"] == "NO"
    assert row_of(seconds=6.0)["faster_than_adam"] == row_of(close_seconds=1.1)["close_before_adam"] == "NO"
    assert row_of(passing_seconds=5.1)["passes_in_time"] == row_of(passing_seconds=None)["passes_in_time"] == "NO"
    unset = row_of(problem="E_lo")
    assert (unset["met_objective"], unset["met_seconds"], unset["below_adam"]) == (None, None, "yes")
    assert row_of(problem="C_lo", gap=1.0)["met_seconds"] is None


def test_what_is_missed_is_said():
    late = row_of(seconds=0.2)
    stopped = row_of(problem="C_lo", objective=101.0, gap=1e-3, converged=False, status="stopped at time_limit=120 s")
    proof = {"name": "200x8", "met": "NO", "status": "stopped early"}
    results = {"rows": [late, stopped], "proofs": [proof], "settings": {"tol": 1e-6, "close": 0.01}}
    text = "\n".join(findings(results))
    assert "Objective at most its target: 1 of 2; NOT C_lo." in text
    assert "in the target's seconds: 0 of 1; NOT A_hi." in text
    assert "C_lo: generation stopped at time_limit=120 s, at a local gap of 1.0e-03." in text
    assert "Proofs: 0 of 1; NOT 200x8." in text
    assert "200x8: proof stopped early." in text
    assert findings(results | {"rows": [], "proofs": []}) == []


def test_values_drawn():
    np.testing.assert_allclose(excess([2.0, 1.0, 1.0 + 1e-12], 1.0), [1.0, 1e-8, 1e-8])
    np.testing.assert_allclose(decades([0.02, 3.0]), [0.007, 14.0])


@pytest.mark.parametrize("part", ["0", "1.5"])
def test_parts_of_the_epochs_are_checked(part, capsys):
    with pytest.raises(SystemExit):
        benchmark.parse(["--adam-fraction", part])
    assert "--adam-fraction must be above 0" in capsys.readouterr().err
