"""Every formulation with every loss: reference, engine, generation, bounds, recovered networks and restarts agree."""

import warnings

import pytest

from benchmarks import formulations
from benchmarks.formulation_cases import CASES
from benchmarks.formulation_problems import draw
from convexnn import Architecture
from convexnn.losses import make_loss
from convexnn.model.building import build_program
from convexnn.solvers import solve_generation

# One case of every formulation has restarts, too; four of them are enough on these problems.
WITH_RESTARTS = {case.formulation: case.name for case in reversed(CASES)}.values()
N_RESTARTS = 4


def name(case):
    return case.name


@pytest.mark.parametrize("case", CASES, ids=name)
def test_all_ways_have_one_optimum(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record = formulations.measure(case, 0, N_RESTARTS if case.name in WITH_RESTARTS else 0)
    assert not formulations.failures(record)


def test_every_formulation_and_loss_has_a_case():
    assert {case.formulation for case in CASES} == {f"F{k}" for k in range(1, 26)}
    assert len({case.name for case in CASES}) == len(CASES)
    assert sum(case.weighted for case in CASES) >= 3


@pytest.mark.parametrize("case", [c for c in formulations.QUICK if c.kind == "program" and not c.generated], ids=name)
def test_what_generation_is_not_for_is_refused(case):
    X, Y, _ = draw(case, 0)
    with pytest.raises(ValueError, match=r"given?"):
        solve_generation(
            build_program(X, Y, 1.0, "adaptive", Architecture(**case.architecture), loss=make_loss(case.loss))
        )


def test_misses_are_found():
    record = {"errors": {}, "differences": {"engine": 2e-6}, "recovery": 2e-8, "bound": 2e-9, "restarts": -2e-7}
    assert len(formulations.failures(record | {"n_restarts": 1})) == 4
    allowed = {"differences": {"engine": -9e-7}, "recovery": 9e-9, "bound": 9e-10, "restarts": 9e-4}
    assert formulations.failures(record | allowed) == []
    assert formulations.failures({"errors": {"engine": "no"}, "differences": {"reference": float("nan")}}) != []


def test_the_benchmark_writes_its_table(tmp_path, capsys):
    arguments = ["--quick", "--cases", "F14", "--output", str(tmp_path)]
    formulations.main(arguments)
    results = formulations.main([*arguments[:2], "F7", *arguments[3:]])
    assert "as it should be" in capsys.readouterr().out
    assert {name.split("-")[0] for name in results["cases"]} == {"F7", "F14"}
    table = (tmp_path / "formulations.md").read_text()
    assert "| F14 | threshold | squared error |" in table
    assert "falls short" not in table
