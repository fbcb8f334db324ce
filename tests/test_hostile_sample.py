"""A sample of the long tests: hostile fits of every estimator."""

import pytest
from fit_checks import check_fit
from hostile import KINDS, for_all, hostile_fits


@pytest.mark.parametrize(("estimator", "loss", "count"), KINDS)
def test_a_sample_of_hostile_fits(estimator, loss, count):
    for_all(hostile_fits(estimator, loss), max(1, count // 60), check_fit)
