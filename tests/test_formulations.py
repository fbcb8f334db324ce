"""Every formulation: reference, engine, generation, certificates, recovered networks and restarts agree."""

import warnings

import pytest

from benchmarks import formulations
from benchmarks.formulation_cases import CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_ways_have_one_optimum(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record = formulations.measure(case, 0, most_restarts=4 if case in formulations.QUICK else 0)
    assert not formulations.failures(record)
