"""The benchmarks and examples run, write what they say, and admit defeats."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import ecg, robustness
from benchmarks.harness import format_table

ROOT = Path(__file__).parents[2]


def test_the_ecg_benchmark_writes_every_number(tmp_path, capsys):
    results = ecg.main(["--quick", "--output", str(tmp_path)])
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "ecg.json").read_text())
    assert {path.name for path in tmp_path.iterdir()} == {
        "ecg.json",
        "ecg.txt",
        "objective.png",
        "prediction.png",
        "test_error.png",
    }
    names = [row["model"] for row in written["rows"]]
    assert len(names) == len(set(names)) == 11
    assert all(name in printed for name in names)
    assert written["environment"]["versions"]["convexnn"]
    assert written["signal"]["unit"] is None
    assert set(written["selection"]) == {"no skip", "with skip"}
    for row in written["rows"]:
        assert np.isfinite([row["train_mse"], row["test_mse"]]).all()
        assert row["test_mse_unit"] == pytest.approx(row["test_mse"] * results["signal"]["scale"] ** 2)
        if row["model"].startswith("convex"):
            assert row["lower_bound"] <= row["objective"] * (1 + 1e-12)
            assert row["scope"] == ("local" if "all patterns" in row["model"] else "sampled")
        if "histories" in row:
            assert len(row["histories"]) == len(row["objectives"]) == 2
            assert row["objective"] == min(row["objectives"])


def test_the_robustness_study_runs(tmp_path, capsys):
    results = robustness.main(["--count", "4", "--time-limit", "2", "--output", str(tmp_path)])
    assert len(results["rows"]) == 4
    for row in results["rows"]:
        assert row["error"] is None
        assert row["bounded"]
    assert "misses" in capsys.readouterr().out
    assert json.loads((tmp_path / "robustness.json").read_text())["rows"]


def test_alpha_is_not_chosen_on_the_test_part():
    """With other test samples the choice stays."""
    options = ecg.parse(["--quick"])
    data = ecg.ecg_windows(ecg.load_ecg("embedded"), train=options.train)
    other = ecg.ecg_windows(np.r_[ecg.load_ecg("embedded").values[: options.train], np.zeros(50)], train=options.train)
    chosen = [ecg.choose_alpha(part, options, ecg.Architecture()) for part in (data, other)]
    assert chosen[0]["validation_mse"] == chosen[1]["validation_mse"]
    assert chosen[0]["n_fit"] + chosen[0]["n_validation"] == len(data.y_train)


def test_a_lost_comparison_is_said():
    adam = {
        "model": "Adam, best of 1, no skip",
        "objective": 1.0,
        "test_mse": 1.0,
        "objectives": [1.0],
        "test_mses": [1.0],
    }
    convex = {"model": "convex, 5 patterns, no skip", "objective": 1.5, "test_mse": 1.2, "gap": 1e-9, "n_patterns": 5}
    convex |= {"scope": "sampled", "lower_bound": 1.5}
    rows = [{"model": "linear least squares", "test_mse": 1.1}, adam, convex]
    text = "\n".join(ecg.findings(rows))
    assert "LOSES TO linear least squares on the test part (1.091 times its MSE)" in text
    assert "50.0% above the best seed of Adam (Adam)" in text
    assert "Lower test MSE: linear least squares; Adam, best of 1, no skip." in text
    won = "\n".join(ecg.findings([rows[0], adam, convex | {"test_mse": 0.9, "objective": 0.9}]))
    assert "beats linear" in won
    assert "The lowest test MSE of all" in won
    assert "10.0% below the best seed of Adam (Adam)" in won


def test_tables_line_up_and_mark_what_is_missing():
    columns = (("name", "name", "s"), ("value", "value", ".2f"))
    assert format_table([{"name": "a", "value": 1.0}, {"name": "bcdef"}], columns).splitlines() == [
        "name   value",
        "------------",
        "a       1.00",
        "bcdef      -",
    ]
