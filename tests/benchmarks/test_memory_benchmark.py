"""The benchmark of memory, on small data, in this process and in others."""

import json

from benchmarks import memory


def test_it_writes_target_beside_measured(tmp_path, capsys):
    small = ["--samples", "300", "--features", "4", "--time-limit", "5", "--estimators", "regressor"]
    memory.main([*small, "--output", str(tmp_path)])
    (row,) = json.loads((tmp_path / "memory.json").read_text())["rows"]
    assert row["target"] == 8.0
    assert row["allocated"] > 1.0
    assert row["met"] == (max(row["allocated"], row["resident"]) <= 8.0)
    assert "target, copies of X" in capsys.readouterr().out == (tmp_path / "memory.txt").read_text()
