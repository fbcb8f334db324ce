"""A sample of the hostile fits of the long tests, of each estimator."""

import pytest
from fit_checks import check_fit
from hostile import KINDS, for_all, hostile_fits
from hypothesis import strategies as st

LOSSES = {}
for name, loss, _ in KINDS:
    LOSSES.setdefault(name, []).append(loss)


@pytest.mark.parametrize("estimator", LOSSES)
def test_a_sample_of_hostile_fits(estimator):
    count, losses = 3 if estimator.endswith("CV") else 5, st.sampled_from(LOSSES[estimator])
    for_all(losses.flatmap(lambda loss: hostile_fits(estimator, loss)), count, check_fit)
