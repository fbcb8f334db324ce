"""The benchmark of the digits writes every number, trains Adam on the objective it names, and admits defeats."""

import json

import numpy as np
import pytest

from benchmarks import digits, digits_adam, digits_figures
from convexnn.geometry.patches import Patches

ODD, TEN = digits.TASKS


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits") / "new"
    digits.main(["--quick", "--tasks", "odd/even", "--output", str(folder)])
    return folder, json.loads((folder / "digits.json").read_text())


def test_every_number_is_written(quick):
    folder, written = quick
    assert {path.name for path in folder.iterdir()} == {"digits.json", "digits.png", "digits.txt"}
    text = (folder / "digits.txt").read_text()
    assert (folder / "digits.png").stat().st_size > 5000
    assert (written["n_train"], written["n_test"]) == (60, 30)
    assert len({row["model"] for row in written["rows"]}) == len(written["rows"])
    for row in written["rows"]:
        assert row["model"] in text
        assert row["accuracy"] * 30 == pytest.approx(round(row["accuracy"] * 30)) or "worst" in row
        if "gap" in row:
            assert row["lower_bound"] <= row["objective"] * (1 + 1e-12)
            assert row["gap"] == pytest.approx((row["objective"] - row["lower_bound"]) / row["objective"], abs=1e-12)
            assert row["scope"] == ("sampled" if "circular" in row["model"] else "local")
        if "worst" in row:
            assert row["worst"] == min(row["accuracies"]) <= row["accuracy"] <= max(row["accuracies"]) == row["best"]


def test_no_seed_of_adam_is_below_the_bound(quick):
    rows = quick[1]["rows"]
    convex = {row["alpha"]: row for row in rows if row["model"].startswith("convex")}
    for row in rows:
        if "objectives" in row:
            assert row["objective"] == min(row["objectives"]) >= convex[row["alpha"]]["lower_bound"]


def test_without_torch_adam_is_left_out_and_that_is_said(monkeypatch, caplog):
    monkeypatch.setattr(digits, "import_torch", lambda: None)
    options = digits.parse(["--quick"])
    data = digits.load(ODD, options)
    with caplog.at_level("INFO", logger="benchmarks.digits"):
        assert digits.adam_rows(ODD, data, 0.5, "fast alpha", options) == []
    assert digits.MISSING_TORCH in caplog.text
    assert set(digits.choose_alphas(ODD, data, options)) == {"logistic regression", "MLPClassifier"}


def test_the_parts_do_not_overlap_and_are_stratified():
    data = digits.load(TEN, digits.parse([]))
    assert (len(data.X_train), len(data.X_test)) == (1198, 599)
    assert data.X_train.max() == 1.0
    counts = [np.bincount(y) / len(y) for y in (data.y_train, data.y_test)]
    assert np.abs(counts[0] - counts[1]).max() < 2e-3
    odd = digits.load(ODD, digits.parse([]))
    assert np.array_equal(odd.X_test, data.X_test)
    assert np.array_equal(odd.y_test, data.y_test % 2)


@pytest.mark.parametrize("task", digits.TASKS, ids=lambda task: task.name)
def test_the_network_of_adam_is_that_of_pytorch(task):
    """The objective of the converted network against sums written out with PyTorch's layers."""
    torch = pytest.importorskip("torch")
    options = digits.parse(["--quick"])
    data = digits.load(task, options)
    Y, settings = digits.targets(task, data.y_train), {"alpha": 0.3, "rate": 1e-2, "seed": 0, "epochs": 2}
    network = digits.train_adam(digits.PATCHES, task.loss, data.X_train, Y, n_filters=task.n_filters, **settings)
    convolution = torch.nn.functional.conv2d
    images, filters = torch.tensor(data.X_train.reshape(-1, 1, 8, 8)), torch.tensor(network.filters)
    hidden = torch.relu(convolution(images, filters, torch.tensor(network.b1))).mean((2, 3))
    Z = hidden @ torch.tensor(network.W2) + torch.tensor(network.b2)
    y = torch.tensor(data.y_train)
    if task is TEN:
        loss = torch.nn.functional.cross_entropy(Z, y, reduction="sum")
        assert (np.count_nonzero(network.W2, axis=1) == 1).all()
    else:
        loss = torch.nn.functional.binary_cross_entropy_with_logits(Z[:, 0], y.double(), reduction="sum")
    expected = float(loss) + 0.15 * sum(np.sum(W**2) for W in (network.W1, network.b1, network.W2))
    value = network.objective(data.X_train, digits.targets(task, data.y_train), 0.3, digits.make_loss(task.loss, None))
    assert value == pytest.approx(expected, rel=1e-9)
    assert network.patches == Patches((1, 8, 8), 3)


@pytest.mark.parametrize("task", digits.TASKS, ids=lambda task: task.name)
def test_the_losses_that_adam_sees_are_those_of_the_convex_program(task):
    torch = pytest.importorskip("torch")
    y = np.arange(20) % (2 if task is ODD else 10)
    Y = digits.targets(task, y)
    Z = 3 * np.random.default_rng(0).standard_normal(Y.shape)
    P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
    expected = np.log1p(np.exp(-Y * Z)).sum() if task is ODD else -np.log(P[np.arange(20), y]).sum()
    seen = digits_adam.torch_losses(torch, task.loss, torch.tensor(Z), torch.tensor(Y))
    assert float(seen) == pytest.approx(expected)
    assert digits.make_loss(task.loss, None).value(Y, Z) == pytest.approx(expected)


def test_missed_targets_and_defeats_are_said():
    options = digits.parse([])
    row = {"task": "t", "model": "convex CNN, fast alpha", "alpha": 1.0, "objective": 1.1, "gap": 0.1, "met": False}
    row |= {"seconds": 70.0, "accuracy": 0.9}
    adam = {"task": "t", "model": "Adam CNN", "alpha": 1.0, "objectives": [1.0, 2.0], "accuracy": 0.95}
    text = "\n".join(digits_figures.findings([adam, row], options))
    assert "MISSES the target (gap at most 0.001 in 60 s): gap 1.0e-01 in 70.0 s" in text
    assert "its objective is 10.00% ABOVE that of Adam's best seed" in text
    assert "LESS accurate than Adam CNN" in text
    won = "\n".join(digits_figures.findings([adam, row | {"objective": 0.9, "accuracy": 0.96, "met": True}], options))
    assert "meets the target" in won
    assert "10.00% below that of Adam's best seed" in won
    assert "the most accurate" in won
