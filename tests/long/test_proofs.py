"""A thousand attacks on proofs: no network is below what is proved, whatever rounding does to the data."""

import pytest
from attacks import attack
from counts import scaled

pytestmark = pytest.mark.long


@pytest.mark.parametrize("first", range(0, 1000, 50))
def test_no_network_is_below_a_proved_bound(first):
    for seed in range(first, first + scaled(50)):
        attack(seed)
