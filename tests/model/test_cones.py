"""Projections onto the cones of random and degenerate data, warm and early, and bases of their faces."""

import cvxpy as cp
import numpy as np
import pytest
from checks import check_cones, cone_rows
from rows import (
    KINDS,
    each_kind,
    far_from_zero,
    gaussian,
    integers_far_from_zero,
)

from convexnn.geometry.arrangements import Arrangements
from convexnn.model.cones import ArrangementCones, FreeCones
from convexnn.model.design import Design
from convexnn.model.penalties import GroupL2
from convexnn.utils import threads

# Walls at angles of 1 / 2000^2, next to which the rounding of rows turns the projection by 1e-16 * 2000^2.
THIN = {far_from_zero: 1e-8, integers_far_from_zero: 1e-8}


def make_cones(kind, seed):
    """Cones of a kind, and what to project onto each: anything; gates, inside or on walls, and rows of X; -gates, 0."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    X = kind(rng)
    d = X.shape[1]
    gates = rng.standard_normal((14, d))
    gates[0], gates[1] = X[0], np.linalg.svd(X)[2][-1]  # often on a wall; on all walls where X has no full rank
    picked = X[rng.integers(0, len(X), 5)]
    gates[2:7, -1] -= np.sum(gates[2:7] * picked, axis=1) / np.where(picked[:, -1] != 0, picked[:, -1], 1.0)
    gates[2:7] += 1e-3 * rng.standard_normal((5, d))  # next to a wall
    design = Design(X, Arrangements.from_gates(X, gates), (1.0, -1.0))
    n_blocks = design.n_blocks
    U = rng.standard_normal((n_blocks, d, 3))
    own = np.concatenate([design.arrangements.gates] * 2)
    U[:, :, 1] = own * 10.0 ** rng.uniform(-3, 3, (n_blocks, 1))
    U[::3, :, 1] = X[rng.integers(0, len(X), len(U[::3]))]
    U[::2, :, 2] = -own[::2]
    U[1::8, :, 2] = 0.0
    return ArrangementCones(design), design, U, rng


@each_kind
@pytest.mark.parametrize("seed", range(15))
def test_projections_satisfy_moreau(kind, seed):
    """Some 3000 cones in all, three projections onto each."""
    cones, design, U, _ = make_cones(kind, seed)
    check_cones(cones, design, U, tol=THIN.get(kind, 1e-10))


@each_kind
@pytest.mark.parametrize("seed", range(6))
def test_any_warm_start_gives_the_same_projection(kind, seed):
    cones, design, U, rng = make_cones(kind, seed)
    blocks, n, (n_blocks, d, c) = np.arange(design.n_blocks), len(design.X), U.shape
    lengths = np.maximum(np.linalg.norm(U, axis=1, keepdims=True), 1e-150)
    tight = np.full(U.shape, -1, np.int32)
    cold = cones.project(U, blocks, tight)
    assert (np.linalg.norm(cold - cones.project(U, blocks), axis=1) == 0).all()
    gaps = tight.copy()
    gaps[:, 0] = -1  # nothing after a -1 counts
    starts = {
        "right": tight,
        "another's": tight[rng.permutation(n_blocks)],
        "another output's": tight[:, :, ::-1],
        "random": rng.integers(0, n, U.shape),
        "one row": np.full(U.shape, n - 1),
        "two rows": np.where(np.arange(d)[:, None] < 2, rng.integers(0, n, (n_blocks, d, c)), -1),
        "gaps": gaps,
    }
    for name, start in starts.items():
        warm = np.array(start, dtype=np.int32, order="C")
        projected = cones.project(U, blocks, warm)
        assert (np.abs(projected - cold) <= THIN.get(kind, 1e-12) * lengths).all(), name
        check_tight(design, projected, warm, np.linalg.norm(U, axis=1))


def check_tight(design, projected, tight, lengths):
    """Rows listed are tight and distinct, and come before every -1; those of a zero vector may be anything."""
    for b, c in np.argwhere(lengths > 0):
        listed = tight[b, :, c] >= 0
        rows = tight[b, listed, c]
        assert not listed[len(rows) :].any()
        assert (tight[b, ~listed, c] == -1).all()
        assert len(set(rows)) == len(rows)
        assert (np.abs(cone_rows(design, b)[rows] @ projected[b, :, c]) <= 1e-12 * lengths[b, c]).all()


@each_kind
@pytest.mark.parametrize("seed", range(4))
def test_projections_that_are_short_enough_may_end_early(kind, seed):
    cones, design, U, rng = make_cones(kind, seed)
    blocks, rounding = np.arange(design.n_blocks), np.linalg.norm(U, axis=1) * THIN.get(kind, 1e-12)
    exact = cones.project(U, blocks)
    lengths = np.linalg.norm(exact, axis=1)
    for least in (0.0, *np.quantile(lengths, [0.1, 0.5, 0.9]), 2 * lengths.max()):
        tight = rng.integers(-1, len(design.X), U.shape).astype(np.int32)
        found = cones.project(U, blocks, tight, least=least)
        returned = np.linalg.norm(found, axis=1)
        finished = returned > least
        assert (np.abs(found - exact) <= rounding[:, None])[np.broadcast_to(finished[:, None], U.shape)].all()
        assert (returned >= lengths - rounding).all()
        assert (finished <= (lengths > least - rounding)).all()
        assert ((lengths > least + rounding) <= finished).all()


@each_kind
@pytest.mark.parametrize("seed", range(4))
def test_bases_of_faces(kind, seed):
    cones, design, U, _ = make_cones(kind, seed)
    blocks, d = np.arange(design.n_blocks), U.shape[1]
    tight = np.full(U.shape, -1, np.int32)
    projected = cones.project(U, blocks, tight)
    for c in range(U.shape[2]):
        kept = np.flatnonzero(np.linalg.norm(projected[:, :, c], axis=1) > 1e-6 * np.linalg.norm(U[:, :, c], axis=1))
        rows = np.ascontiguousarray(tight[kept, :, c])
        T, offsets = cones.face_bases(projected[kept, :, c], rows)
        check_bases(T, offsets, projected[kept, :, c])
        assert np.array_equal(np.diff(offsets), d - np.count_nonzero(rows >= 0, axis=1))
        for j, b in enumerate(kept):
            A = cone_rows(design, b)[rows[j, rows[j] >= 0]]
            assert np.abs(A @ T[:, offsets[j] : offsets[j + 1]]).max(initial=0.0) <= 1e-9
    T, offsets = FreeCones().face_bases(U[:, :, 0])
    check_bases(T, offsets, U[:, :, 0])
    assert (np.diff(offsets) == d).all()


def check_bases(T, offsets, U):
    """Each orthonormal, its first vector along its row of U."""
    assert offsets[0] == 0
    assert T.shape == (U.shape[1], offsets[-1])
    for j, u in enumerate(U):
        basis = T[:, offsets[j] : offsets[j + 1]]
        assert np.allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)
        assert np.allclose(basis[:, 0], u / np.linalg.norm(u), rtol=1e-14, atol=1e-15)


def test_the_layout_of_arrays_does_not_matter():
    """Several outputs at once, blocks in any order and more than once, strided arrays, many threads."""
    cones, design, U, rng = make_cones(gaussian, 3)
    blocks = np.arange(design.n_blocks)
    expected = cones.project(U, blocks)
    for c in range(U.shape[2]):
        assert np.array_equal(cones.project(U[:, :, [c]], blocks)[:, :, 0], expected[:, :, c])
    for arranged in (np.asfortranarray(U), np.repeat(U, 2, axis=1)[:, ::2], U.transpose(2, 1, 0).copy().T):
        assert np.array_equal(cones.project(arranged, blocks), expected)
    some = rng.integers(0, design.n_blocks, 50)
    assert np.array_equal(cones.project(U[some], some), expected[some])
    assert np.array_equal(cones.project(-U[some], some[::-1].copy()), cones.project(-U[some], some[::-1]))
    assert cones.project(U[:0], blocks[:0]).shape == (0, *U.shape[1:])
    given = U.copy()
    cones.project(given, blocks)
    assert np.array_equal(given, U)


@pytest.mark.parametrize("chunk_of_rows", [1, 1023, 1024, 1025, 2500])
@pytest.mark.parametrize("d", [3, 4, 9])
def test_many_rows_and_threads(chunk_of_rows, d, monkeypatch):
    """Rows are looked at a chunk of 1024 at a time, features four at a time: at these sizes they change over."""
    rng = np.random.default_rng(d)
    X = rng.standard_normal((chunk_of_rows, d))
    design = Design(X, Arrangements.from_gates(X, rng.standard_normal((4, d))), (1.0,))
    cones, U = ArrangementCones(design), rng.standard_normal((design.n_blocks, d, 1))
    U += 2 * design.arrangements.gates[:, :, None]
    check_cones(cones, design, U)
    one = cones.project(U, np.arange(design.n_blocks))
    monkeypatch.setattr(threads, "THREADED_WORK", 0)
    assert np.array_equal(cones.project(U, np.arange(design.n_blocks)), one)


def test_free_cones_change_nothing():
    U = np.random.default_rng(0).standard_normal((3, 2, 1))
    assert FreeCones().project(U, np.arange(3)) is U


@pytest.mark.parametrize("seed", range(5))
def test_prox_in_the_cone_is_the_threshold_of_the_projection(seed):
    """argmin 1/2 |W - U|^2 + step R(W) over W in the cones, by cvxpy."""
    rng = np.random.default_rng(seed)
    X, step = rng.standard_normal((8, 3)), 0.7
    design = Design(X, Arrangements.from_gates(X, rng.standard_normal((6, 3))), (1.0,))
    cones, U = ArrangementCones(design), rng.standard_normal((6, 3, 1))[: design.n_blocks]
    W = cp.Variable(U.shape[:2])
    signs = 2.0 * design.arrangements.patterns() - 1
    inside = [cp.multiply(signs[b], X @ W[b]) >= 0 for b in range(len(U))]
    objective = 0.5 * cp.sum_squares(W - U[:, :, 0]) + step * cp.sum(cp.norm(W, 2, axis=1))
    cp.Problem(cp.Minimize(objective), inside).solve("CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    found = GroupL2().prox(cones.project(U, np.arange(len(U))), step)[:, :, 0]
    assert np.allclose(found, W.value, atol=1e-5)
    early = GroupL2().prox(cones.project(U, np.arange(len(U)), least=step), step)[:, :, 0]
    assert np.allclose(early, found, atol=1e-12)


@pytest.mark.parametrize("seed", [217, 716, 747, 842])
def test_cells_that_are_thinner_than_rounding(seed):
    """Rows antiparallel up to 1e-12, a vector nearly on all walls: a result is in the cone, or it is an error."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((2, 4))
    X = np.vstack([X, -X + 1e-12 * rng.standard_normal(X.shape)])
    g = (-1.0) ** seed * np.linalg.svd(X[:2])[2][-1]
    design = Design(X, Arrangements(np.packbits(np.ones((1, 4), bool), axis=1), g[None], 4), (1.0,))
    try:
        u = ArrangementCones(design).project(g[None, :, None], np.arange(1))[0, :, 0]
    except RuntimeError:
        return
    assert (cone_rows(design, 0) @ u).min() >= -1e-10
