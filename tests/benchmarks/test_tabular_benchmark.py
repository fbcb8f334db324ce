"""The benchmark of tabular data measures held-out parts, and says what each model chose."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from benchmarks import tabular


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tabular") / "new"
    tabular.main(["--quick", "--data", "diabetes", "breast cancer", "--output", str(folder)])
    return folder, json.loads((folder / "tabular.json").read_text())


def test_every_number_is_written(quick):
    folder, written = quick
    assert {path.name for path in folder.iterdir()} == {"tabular.json", "tabular.txt", "tabular.png"}
    assert (folder / "tabular.png").stat().st_size > 5000
    text = (folder / "tabular.txt").read_text()
    assert len(written["splits"]) == len(written["rows"]) == 2 * len(tabular.MODELS) - 1
    for row in written["rows"]:
        assert row["model"] in text
        assert row["seconds"] > 0
        assert (row["rmse"] > 0) if row["data"] == "diabetes" else (0 < row["accuracy"] <= 1 and row["log_loss"] > 0)
    assert all(0 <= row["gap"] < 1 for row in written["rows"] if row["model"] == "convex network")


def test_the_convex_network_chooses_below_alpha_max(quick):
    found = [split for split in quick[1]["splits"] if split["model"] == "convex network"]
    assert len(found) == 2
    assert all(0.1 * (1 - 1e-9) <= split["alpha"] / split["alpha_max"] <= 1 for split in found)


def test_the_search_of_the_mlp_says_what_it_chose(quick):
    found = next(split for split in quick[1]["splits"] if split["model"] == "MLP")
    assert found["chosen"] == {"alpha": 1e-4, "hidden_layer_sizes": [50], "learning_rate_init": 1e-3}


def test_scores_are_of_the_held_out_part():
    """The line of two points misses the third by one, and the fourth by two."""
    X, y = np.array([[0.0], [1.0]]), np.array([0.0, 1.0])
    row = tabular.measure(LinearRegressionOnly(), X, np.array([[2.0], [3.0]]), y, np.array([3.0, 1.0]), True)
    assert row["rmse"] == pytest.approx(np.sqrt((1 + 4) / 2))


class LinearRegressionOnly(LinearRegression):
    """A model whose last step is itself."""

    def __getitem__(self, index):
        return self


def test_standard_errors_are_over_splits():
    known = {"data": "wine", "shape": "", "model": "MLP"}
    splits = [known | {"seconds": 0, "cpu_seconds": s, "rmse": r} for s, r in ((1, 1), (3, 2), (5, 6))]
    (row,) = tabular.summarised(splits)
    assert (row["rmse"], row["cpu_seconds"], row["n_splits"], row["of_mlp"]) == (3, 3, 3, 1)
    assert row["rmse_error"] == pytest.approx(np.sqrt(7 / 3))


def test_results_of_other_models_are_kept(tmp_path):
    old = [{"data": data, "model": model} for data in ("wine", "digits") for model in ("MLP", "kernel")]
    (tmp_path / "tabular.json").write_text(json.dumps({"splits": old}))
    options = tabular.parse(["--data", "wine", "--models", "MLP", "--output", str(tmp_path)])
    assert tabular.others(options) == old[1:]
    options.output = tmp_path / "none"
    assert tabular.others(options) == []


def test_large_data_have_nystroem_features_and_early_stopping():
    options = tabular.parse([])
    assert "nystroem" in tabular.kernel(tabular.Task(True, True, options)).estimator.named_steps
    for large in (False, True):
        task = tabular.Task(True, large, options)
        assert tabular.mlp(task).estimator.regressor[-1].early_stopping is large
        assert task.folds.n_splits == (3 if large else 5)
