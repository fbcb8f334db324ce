"""The benchmark beside SGD, Adam, L-BFGS and scnn: one objective, honest rows, and what it writes."""

import json
from importlib import metadata

import numpy as np
import pytest

from benchmarks import peers as benchmark
from benchmarks.problems import make_problem

METHODS = ["SGD", "Adam", "L-BFGS", "500 sampled gates", "convexnn"]


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers") / "new"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "scnn_version", lambda: None)
        benchmark.main(["--quick", "--output", str(folder)])
    return folder, json.loads((folder / "peers.json").read_text())


def test_rows_without_scnn(quick):
    rows = quick[1]["rows"]
    assert [row["method"] for row in rows] == METHODS
    for row in rows:
        assert row["n_runs"] == len(row["objectives"]) == 2
        assert (row["best"], row["worst"]) == (min(row["objectives"]), max(row["objectives"]))
        assert 0 < row["seconds"] <= row["all_seconds"]
    assert quick[1]["notes"] == [benchmark.NO_SCNN]


def test_nothing_is_below_what_is_proved(quick):
    *others, ours = quick[1]["rows"]
    assert ours["scope"] == "global"
    assert ours["proved_bound"] == ours["lower_bound"] <= ours["best"] <= ours["lower_bound"] * (1 + 2e-6)
    assert all(row["best"] > ours["worst"] for row in others)
    assert others[-1]["scope"] == "sampled"


def test_files(quick):
    folder, results = quick
    assert {path.name for path in folder.iterdir()} == {"peers.json", "peers.txt", "peers.md"}
    assert benchmark.NO_SCNN in (folder / "peers.txt").read_text()
    lines = (folder / "peers.md").read_text().splitlines()
    assert len(lines) == 2 + len(results["rows"])
    assert len({line.count("|") for line in lines}) == 1
    assert f"| {results['rows'][0]['best']:.8g} |" in lines[2]


def test_weights_become_a_balanced_network():
    rng = np.random.default_rng(0)
    hidden, output, X = rng.standard_normal((4, 3)), rng.standard_normal((1, 4)), rng.standard_normal((20, 3))
    hidden[1], output[0, 2] = 0.0, 0.0
    network = benchmark.relu_network(hidden.astype(np.float32), output)
    assert network.n_neurons == 2
    np.testing.assert_allclose(network.predict(X), np.maximum(X @ hidden.T, 0) @ output[0], rtol=1e-5, atol=1e-6)
    expected = np.sum(np.linalg.norm(hidden, axis=1) * np.abs(output[0]))
    assert network.weight_decay() == pytest.approx(expected, rel=1e-6)


def test_gates_give_the_listed_optimum():
    problem = make_problem("A_hi")
    gates = np.vstack([problem.gates, 2 * problem.gates[:3]])
    assert benchmark.solve_gates(problem, gates).certificate.objective == pytest.approx(37.2142458, rel=1e-6)


def test_times():
    seconds = [(10.0, 20.0), (1.0, 2.0), (3.0, 6.0), (2.0, 3.0)]
    tuned, plain = benchmark.times(seconds, True), benchmark.times(seconds)
    assert list(tuned.values()) == [2.0, 3.0, 16.0, 31.0]
    assert list(plain.values()) == [2.5, 4.5, 16.0, 31.0]
    assert benchmark.times(seconds[:1], True)["seconds"] == 10.0


@pytest.mark.parametrize(
    "option", [("--fraction", "0"), ("--fraction", "2"), ("--seeds", "0"), ("--scnn-iterations", "0")]
)
def test_options_are_checked(option, capsys):
    with pytest.raises(SystemExit):
        benchmark.parse(option)
    assert f"{option[0]} must be" in capsys.readouterr().err


def test_the_objective_of_scnn_is_ours():
    try:
        metadata.version("pyscnn")
    except metadata.PackageNotFoundError:
        pytest.skip("needs pyscnn")
    problem = make_problem("A_hi")
    assert benchmark.scnn_discrepancy(problem) < 1e-5
    network, iterations = benchmark.train_scnn(problem, 0, 300)
    assert iterations <= 300
    # near the optimum over the same gates after few iterations: another factor of the penalty would be far from it
    gates = np.random.default_rng(0).standard_normal((problem.X.shape[1], benchmark.N_GATES)).T
    optimum = benchmark.solve_gates(problem, gates).certificate.objective
    assert network.objective(problem.X, problem.y, problem.alpha) == pytest.approx(optimum, rel=0.1)
