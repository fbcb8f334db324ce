"""Near rows: projections onto thin cells are those made with all rows, wherever the points of the cells are."""

import numpy as np
import pytest
from designs import make_design

from convexnn import Architecture
from convexnn.geometry.arrangements import Arrangements, pattern_bits
from convexnn.geometry.near_rows import near_rows
from convexnn.geometry.projection import project_blocks, unit_columns
from convexnn.model.cones import make_cones

N_CELLS = 40


def thin_cells(d, n, seed, spread=1e-3):
    """Rows, the cells of some directions, these, and vectors to project that are near them, or not."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * np.exp(rng.standard_normal((n, 1)))
    X[7] = 0.0
    points = rng.standard_normal((N_CELLS, d))
    G = points / np.linalg.norm(points, axis=1, keepdims=True)
    G = G + spread * rng.choice([0.1, 1.0, 30.0, 1e3], (N_CELLS, 1)) * rng.standard_normal((N_CELLS, d))
    return X, points, G, rng


def no_rows(G):
    return np.full(G.shape, -1, np.int32)


@pytest.mark.parametrize(("d", "n"), [(2, 2000), (4, 5000), (10, 6000)])
@pytest.mark.parametrize("seed", range(3))
def test_projections_are_those_of_all_rows(d, n, seed):
    """What is said to be done is the projection, whose tight rows are tight; most are done where points are inside."""
    X, points, G, _ = thin_cells(d, n, seed)
    columns, bits = unit_columns(X), pattern_bits(X, points)
    near, tight = near_rows(columns, bits, 3.0 * points), no_rows(G)
    assert len(near.rows[0]) < n / 3
    found, done = near.project(G, tight, 0.0)
    patterns = points @ X.T >= 0
    expected = project_blocks(columns, patterns, G, no_rows(G), 0.0)
    assert np.abs(found - expected)[done].max() <= 1e-10 * np.abs(G).max()
    assert done.mean() >= 0.5
    for u, rows in zip(found[done], tight[done], strict=True):
        assert np.abs(columns[:, rows[rows >= 0]].T @ u).max(initial=0.0) <= 1e-10 * np.linalg.norm(G, axis=1).max()
    again, _ = near.project(G, tight, 0.0)  # from its own tight rows
    assert np.allclose(again[done], expected[done], rtol=0, atol=1e-10 * np.abs(G).max())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("least", [0.0, 0.5])
def test_cones_do_not_depend_on_the_points(seed, least):
    """Points outside of their cells, or zero, cost time alone; several outputs, and any tight rows to start from."""
    X, points, G, rng = thin_cells(3, 4000, seed)
    design = make_design(X)
    gates = points[:, : X.shape[1]]
    arrangements = Arrangements(pattern_bits(X, gates), gates, len(X))
    cones = make_cones(design.over(arrangements), Architecture())
    blocks, U = np.arange(N_CELLS), np.stack([G, -2.0 * G, rng.standard_normal(G.shape)], axis=2)
    expected = cones.project(U, blocks, None, least)
    elsewhere = rng.standard_normal(points.shape)
    elsewhere[0] = 0.0
    for vectors in (points, elsewhere, points + 1e-3 * elsewhere):
        near = cones.near_rows(blocks, vectors)
        tight = rng.integers(-1, len(X), U.shape).astype(np.int32)
        found = cones.project(U, blocks, tight, least, near)
        long = np.linalg.norm(expected, axis=1) > least
        assert long.any()
        assert np.allclose(*(P.swapaxes(1, 2)[long] for P in (found, expected)), rtol=0, atol=1e-9)
        lengths = np.linalg.norm(found, axis=1)[~long]
        assert (lengths <= least * (1 + 1e-12)).all()  # of those that need not be finished


def test_projections_far_from_the_points_are_not_done():
    """Rows near another cell say nothing: a projection that is long enough to matter is not called done by them."""
    X, points, G, _ = thin_cells(4, 5000, 0)
    near = near_rows(unit_columns(X), pattern_bits(X, points), points[::-1])
    found, done = near.project(G, no_rows(G), 0.0)
    assert not done.all()
    expected = project_blocks(unit_columns(X), points @ X.T >= 0, G, no_rows(G), 0.0)
    assert np.allclose(found[done], expected[done], rtol=0, atol=1e-10)
    short, done = near.project(G, no_rows(G), 1e9)
    assert done.all()
    assert np.array_equal(short, G)  # need not be finished


def test_few_rows_and_many_cells_have_none():
    X, points, _, _ = thin_cells(4, 900, 0)
    assert near_rows(unit_columns(X), pattern_bits(X, points), points) is None
    X = np.random.default_rng(0).standard_normal((3000, 2))
    bits, many = pattern_bits(X, points[:, :2]), np.zeros(200_000, int)
    assert near_rows(unit_columns(X), bits, points[:, :2]) is not None
    assert near_rows(unit_columns(X), bits[many], points[many, :2]) is None
    assert near_rows(unit_columns(X), bits[:0], points[:0, :2]) is None
