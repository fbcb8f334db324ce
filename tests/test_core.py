"""Losses, penalties, designs, cones and pricing."""

import numpy as np
import pytest
from checks import check_cones, check_design, check_loss, check_penalty

from convexnn import design as design_module
from convexnn.arrangements import Arrangements, enumerate_arrangements, sample_arrangements
from convexnn.cones import ArrangementCones, FreeCones
from convexnn.design import Design
from convexnn.losses import Squared
from convexnn.penalties import GroupL2
from convexnn.pricing import kappa


@pytest.mark.parametrize("loss", [Squared()], ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("seed", range(5))
def test_losses(loss, seed):
    rng = np.random.default_rng(seed)
    check_loss(loss, rng.standard_normal((9, 1)), rng)


@pytest.mark.parametrize("penalty", [GroupL2()], ids=lambda penalty: type(penalty).__name__)
def test_penalties(penalty):
    check_penalty(penalty, np.random.default_rng(0))


@pytest.mark.parametrize("signs", [(1.0,), (1.0, -1.0)])
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("entries", [4_000_000, 25])
def test_designs(signs, n_outputs, entries, monkeypatch):
    monkeypatch.setattr(design_module, "BLOCK_ENTRIES", entries)  # 25: a pattern or two at a time
    rng = np.random.default_rng(0)
    X = rng.standard_normal((11, 3))
    check_design(Design(X, sample_arrangements(X, 17, random_state=0), signs), n_outputs, rng)


def random_rows(rng):
    n, d = int(rng.integers(1, 30)), int(rng.integers(1, 8))
    X = rng.standard_normal((n, d)) if rng.random() < 0.5 else rng.integers(-2, 3, (n, d)).astype(float)
    if rng.random() < 0.5:
        X = np.vstack([X, X[: n // 2], -X[:1], np.zeros((1, d)), 1e-8 * X[:2], 1e8 * X[:1]])
    if rng.random() < 0.3:
        X[:, 0] = X[:, -1]
    return X


@pytest.mark.parametrize("seed", range(60))
def test_projection_onto_random_and_degenerate_cones(seed):
    rng = np.random.default_rng(seed)
    X = random_rows(rng)
    gates = rng.standard_normal((6, X.shape[1]))
    gates[0] = X[0]  # often on a wall
    design = Design(X, Arrangements.from_gates(X, gates), (1.0, -1.0))
    U = rng.standard_normal((design.n_blocks, X.shape[1], 2))
    U[0] = 0.0
    check_cones(ArrangementCones(design), design, U)


def test_free_cones_change_nothing():
    U = np.random.default_rng(0).standard_normal((3, 2, 1))
    assert FreeCones().project(U, np.arange(3)) is U


@pytest.mark.parametrize("seed", range(10))
def test_kappa_is_the_largest_neuron_response(seed):
    """Over all cells, kappa(v) = max over |u| <= 1 of |v'(Xu)_+|: compared with a search of the plane's directions."""
    rng = np.random.default_rng(seed)
    X, v = rng.standard_normal((6, 2)), rng.standard_normal(6)
    design = Design(X, enumerate_arrangements(X), (1.0, -1.0))
    walls = np.arctan2(X[:, 0], -X[:, 1])  # maxima often lie on walls
    angles = np.concatenate([np.linspace(0, 2 * np.pi, 200_001), walls, walls + np.pi])
    responses = np.abs(v @ np.maximum(X @ np.array([np.cos(angles), np.sin(angles)]), 0)).max()
    value = kappa(design, ArrangementCones(design), GroupL2(), v[:, None])
    assert responses <= value * (1 + 1e-12)
    assert value == pytest.approx(responses, rel=1e-8)
    free = max(np.linalg.norm(X.T @ (pattern * v)) for pattern in design.arrangements.patterns())
    assert kappa(Design(X, design.arrangements, (1.0,)), FreeCones(), GroupL2(), v[:, None]) == pytest.approx(free)
    assert value <= free * (1 + 1e-12)


def test_kappa_projects_every_block_that_matters(monkeypatch):
    """The lazy order gives the maximum over all blocks, also when many batches are needed."""
    monkeypatch.setattr("convexnn.pricing.BATCH", 3)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 6))
    design = Design(X, sample_arrangements(X, 200, random_state=0), (1.0, -1.0))
    cones, V = ArrangementCones(design), rng.standard_normal((40, 1))
    every = np.linalg.norm(cones.project(design.rmatvec(V), np.arange(design.n_blocks)), axis=1).max()
    assert kappa(design, cones, GroupL2(), V) == pytest.approx(every, rel=1e-14)
