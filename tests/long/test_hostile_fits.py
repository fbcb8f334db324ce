"""Two thousand hostile fits: no crash, no warning, no nonsense, whatever good data look like."""

import pytest
from counts import scaled
from fit_checks import check_fit
from hostile import KINDS, for_all, hostile_fits

pytestmark = pytest.mark.long


@pytest.mark.parametrize(("estimator", "loss", "count"), KINDS)
def test_hostile_fits(estimator, loss, count):
    for_all(hostile_fits(estimator, loss), scaled(count), check_fit)
