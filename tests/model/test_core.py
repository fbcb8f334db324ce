"""Losses, penalties, designs and pricing."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from checks import check_design, check_penalty, cone_rows
from scipy.optimize import nnls

from convexnn.geometry.arrangements import Arrangements, enumerate_arrangements, sample_arrangements
from convexnn.model import design as design_module
from convexnn.model.cones import ArrangementCones, FreeCones
from convexnn.model.design import Design
from convexnn.model.penalties import GroupL2
from convexnn.pricing import kappa
from convexnn.pricing.kappa import price


def blocks_of(design, cones):
    """What pricing sees of a program: its design, cones and penalty."""
    shape = design.n_blocks, design.X.shape[1], 1
    return SimpleNamespace(design=design, cones=cones, penalty=GroupL2(), by_prox=True, block_shape=shape)


@pytest.mark.parametrize("penalty", [GroupL2()], ids=lambda penalty: type(penalty).__name__)
@pytest.mark.parametrize("seed", range(3))
def test_penalties(penalty, seed):
    check_penalty(penalty, np.random.default_rng(seed))


@pytest.mark.parametrize("signs", [(1.0,), (1.0, -1.0)])
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("entries", [4_000_000, 25])
def test_designs(signs, n_outputs, entries, monkeypatch):
    monkeypatch.setattr(design_module, "BLOCK_ENTRIES", entries)  # 25: a pattern or two at a time
    rng = np.random.default_rng(0)
    X = rng.standard_normal((11, 3))
    check_design(Design(X, sample_arrangements(X, 17, random_state=0), signs), n_outputs, rng)


@pytest.mark.parametrize("seed", range(10))
def test_kappa_is_the_largest_neuron_response(seed):
    """Over all cells, kappa(v) = max over |u| <= 1 of |v'(Xu)_+|: compared with a search of the plane's directions."""
    rng = np.random.default_rng(seed)
    X, v = rng.standard_normal((6, 2)), rng.standard_normal(6)
    design = Design(X, enumerate_arrangements(X), (1.0, -1.0))
    walls = np.arctan2(X[:, 0], -X[:, 1])  # maxima often lie on walls
    angles = np.concatenate([np.linspace(0, 2 * np.pi, 200_001), walls, walls + np.pi])
    responses = np.abs(v @ np.maximum(X @ np.array([np.cos(angles), np.sin(angles)]), 0)).max()
    value = kappa(blocks_of(design, ArrangementCones(design)), v[:, None])
    assert responses <= value * (1 + 1e-12)
    assert value == pytest.approx(responses, rel=1e-8)
    free = max(np.linalg.norm(X.T @ (pattern * v)) for pattern in design.arrangements.patterns())
    gated = blocks_of(Design(X, design.arrangements, (1.0,)), FreeCones())
    assert kappa(gated, v[:, None]) == pytest.approx(free)
    assert value <= free * (1 + 1e-12)


def test_kappa_projects_every_block_that_matters(monkeypatch):
    """The lazy order gives the maximum over all blocks, also when many batches are needed."""
    monkeypatch.setattr(sys.modules[kappa.__module__], "BATCH", 3)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 6))
    design = Design(X, sample_arrangements(X, 200, random_state=0), (1.0, -1.0))
    cones, V = ArrangementCones(design), rng.standard_normal((40, 1))
    every = np.linalg.norm(cones.project(design.rmatvec(V), np.arange(design.n_blocks)), axis=1).max()
    assert kappa(blocks_of(design, cones), V) == pytest.approx(every, rel=1e-14)


def priced(seed, cone, n_patterns=60):
    """A design, its cones, a dual vector, and the length of every projected gradient by scipy."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(6, 25)), int(rng.integers(2, 6))
    X = rng.integers(-2, 3, (n, d)).astype(float) if seed % 3 == 2 else rng.standard_normal((n, d))
    arrangements = Arrangements.from_gates(X, rng.standard_normal((n_patterns, d)))
    design = Design(X, arrangements, (1.0, -1.0) if cone else (1.0,))
    V = rng.standard_normal((n, 1))
    lengths = np.empty(design.n_blocks)
    for b in range(design.n_blocks):
        g = (design.block(b).T @ V)[:, 0]
        lengths[b] = nnls(cone_rows(design, b).T, -g, maxiter=1000)[1] if cone else np.linalg.norm(g)
    return design, ArrangementCones(design) if cone else FreeCones(), V, lengths


@pytest.mark.parametrize("cone", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_prices_are_the_blocks_above_alpha(cone, seed, monkeypatch):
    monkeypatch.setattr(sys.modules[kappa.__module__], "BATCH", 7)
    design, cones, V, lengths = priced(seed, cone)
    assert kappa(blocks_of(design, cones), V) == pytest.approx(lengths.max(), rel=1e-12)
    for part in (2.0, 0.95, 0.6, 0.3, 1e-6):
        alpha = part * lengths.max()
        prices = price(blocks_of(design, cones), V, alpha, 10**9)
        assert prices.bound == pytest.approx(max(alpha, lengths.max()), rel=1e-12)
        assert set(prices.blocks) == set(np.flatnonzero(lengths > alpha))
        assert len(prices.blocks) == np.count_nonzero(lengths > alpha)
        assert (np.diff(lengths[prices.blocks]) <= 1e-12 * lengths.max()).all()


@pytest.mark.parametrize("cone", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_the_bound_holds_when_pricing_stops_early(cone, seed, monkeypatch):
    monkeypatch.setattr(sys.modules[kappa.__module__], "BATCH", 2)
    design, cones, V, lengths = priced(seed, cone)
    alpha = 0.2 * lengths.max()
    for limit in (1, 2, 5, 20):
        prices = price(blocks_of(design, cones), V, alpha, limit)
        assert prices.bound >= lengths.max() * (1 - 1e-12)
        assert min(limit, np.count_nonzero(lengths > alpha)) <= len(prices.blocks) < limit + 2
        assert (lengths[prices.blocks] > alpha).all()


def test_pricing_nothing():
    design, cones, V, _ = priced(0, True)
    prices = price(blocks_of(design, cones), 0.0 * V, 0.3, 10)
    assert prices.bound == 0.3
    assert len(prices.blocks) == 0
    assert kappa(blocks_of(design, cones), 0.0 * V) == 0.0


def test_prices_that_are_not_numbers_prove_nothing():
    X = np.random.default_rng(0).standard_normal((20, 3))
    design = Design(X, sample_arrangements(X, 10, random_state=0), (1.0, -1.0))
    cones, V = ArrangementCones(design), np.full((20, 1), np.nan)
    assert kappa(blocks_of(design, cones), V) == np.inf
    assert price(blocks_of(design, cones), V, 1.0, 5).bound == np.inf
