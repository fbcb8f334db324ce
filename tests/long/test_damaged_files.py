"""Two thousand damaged files: none may end in anything but one clear error, or a model that predicts finite values."""

from collections import Counter

import numpy as np
import pytest
from damage import check_damaged, damaged, sound_files

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:Duplicate name", "error::RuntimeWarning")]

N_SEEDS, N_FILES = 20, 100


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    return [path.read_bytes() for path in sound_files(tmp_path_factory.mktemp("sound"))]


@pytest.mark.parametrize("seed", range(N_SEEDS))
def test_damaged_files(seed, contents, tmp_path):
    rng, counts = np.random.default_rng(1000 + seed), Counter()
    for _ in range(N_FILES):
        (tmp_path / "damaged.npz").write_bytes(damaged(contents[rng.integers(len(contents))], rng))
        counts[check_damaged(tmp_path / "damaged.npz")] += 1
    assert counts["refused"] + counts["loaded"] == N_FILES
    assert counts["refused"] > counts["loaded"] > 0
