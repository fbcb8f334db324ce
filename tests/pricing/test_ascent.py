"""Ascent over the walls: what it says of the places it reaches is true, and they are local maxima over all cells."""

import numpy as np
import pytest
from degenerate import CASES, IDS, exact_kappa
from rows import KINDS, each_kind, gaussian, rank_deficient, scaled_columns, scaled_rows, wide
from scipy.optimize import nnls

from convexnn.geometry import enumerate_arrangements
from convexnn.geometry.projection import unit_columns
from convexnn.pricing.ascent import ascend, climb
from convexnn.utils import threads


def rise(X, v, U):
    """h at unit vectors in the directions of U, 0 where these are zero."""
    lengths = np.linalg.norm(U, axis=1, keepdims=True)
    return np.maximum(U / np.where(lengths > 0, lengths, 1.0) @ X.T, 0) @ v


def projection_length(X, v, pattern):
    """|Proj_K(X'D v)| = min |X'D v + A'mu| over mu >= 0, by scipy."""
    A = np.where(pattern[:, None], X, -X)
    A = A / np.maximum(np.linalg.norm(A, axis=1, keepdims=True), 1e-300)  # of unit length: the same cone
    return nnls(A.T, -(X[pattern].T @ v[pattern]), maxiter=1000)[1]


def make(kind, seed, n_starts=20):
    """Rows of a kind, a dual vector, and starts with their signs; weights of one size for rows of any."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    X = kind(rng)
    lengths = np.linalg.norm(X, axis=1)
    v = rng.standard_normal(len(X)) / np.where(lengths > 0, lengths, 1.0)
    return X, v, rng.standard_normal((n_starts, X.shape[1])), rng.choice([-1.0, 1.0], n_starts)


def run(X, v, signs, patterns, floor=0.0, n_cells=1000):
    reached = patterns.copy()
    return climb(
        unit_columns(X), v * np.linalg.norm(X, axis=1), np.zeros(X.shape[1]), signs, reached, floor, n_cells
    ), reached


@each_kind
@pytest.mark.parametrize("seed", range(6))
def test_a_climb_tells_the_truth_and_never_loses(kind, seed):
    X, v, starts, signs = make(kind, seed)
    patterns = starts @ X.T >= 0
    U, reached = run(X, v, signs, patterns)
    size = np.abs(v) @ np.linalg.norm(X, axis=1)
    tol = 1e-8 if "far_from_zero" in kind.__name__ else 1e-11
    values = np.linalg.norm(U, axis=1)
    assert np.abs(values - signs * rise(X, v, U)).max() <= tol * size
    products = U @ (X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-300)).T
    assert (np.where(reached, products, -products).min(axis=1) >= -tol * values).all()
    for value, sign, pattern in zip(values, signs, patterns, strict=True):
        assert value >= projection_length(X, sign * v, pattern) - tol * size


@pytest.mark.parametrize("kind", [gaussian, rank_deficient, scaled_columns, scaled_rows, wide])
@pytest.mark.parametrize("seed", range(8))
def test_a_climb_ends_at_a_local_maximum_over_all_cells(kind, seed):
    """None of the cells around it, on either side of every wall it is on, has a longer projection."""
    X, v, starts, signs = make(kind, seed, n_starts=6)
    U, reached = run(X, v, signs, starts @ X.T >= 0)
    size = np.abs(v) @ np.linalg.norm(X, axis=1)
    rows = X / np.linalg.norm(X, axis=1, keepdims=True)
    for u, sign, pattern in zip(U, signs, reached, strict=True):
        value = np.linalg.norm(u)
        if value <= 1e-9 * size:  # climbs are not made from where h is zero
            continue
        tight = np.flatnonzero(np.abs(rows @ u) <= 1e-10 * value)
        around = enumerate_arrangements(rows[tight]).patterns() if len(tight) else np.zeros((1, 0), bool)
        for sides in around:
            neighbour = pattern.copy()
            neighbour[tight] = sides
            assert projection_length(X, sign * v, neighbour) <= value + 1e-10 * size


@pytest.mark.parametrize("seed", range(5))
def test_nothing_near_the_end_of_a_climb_is_higher(seed):
    X, v, starts, signs = make(gaussian, seed)
    rng = np.random.default_rng(seed)
    U, _ = run(X, v, signs, starts @ X.T >= 0)
    for u, sign in zip(U, signs, strict=True):
        value = np.linalg.norm(u)
        if value > 1e-9:
            near = u / value + 10.0 ** rng.uniform(-9, -6, (500, 1)) * rng.standard_normal((500, len(u)))
            assert (sign * rise(X, v, near)).max() <= value * (1 + 1e-12)


@pytest.mark.parametrize(("X", "v"), CASES, ids=IDS)
def test_climbs_from_all_cells_find_kappa(X, v):
    patterns = np.repeat(enumerate_arrangements(X).patterns(), 2, axis=0)
    signs = np.tile([1.0, -1.0], len(patterns) // 2)
    assert np.linalg.norm(run(X, v, signs, patterns)[0], axis=1).max() == pytest.approx(exact_kappa(X, v), rel=1e-11)


@each_kind
def test_every_move_raises_h(kind):
    X, v, starts, signs = make(kind, 9)
    patterns, size = starts @ X.T >= 0, np.abs(v) @ np.linalg.norm(X, axis=1)
    lengths = np.array([np.linalg.norm(run(X, v, signs, patterns, n_cells=k)[0], axis=1) for k in range(1, 12)])
    tol = 1e-8 if "far_from_zero" in kind.__name__ else 1e-12
    assert (np.diff(lengths, axis=0) >= -tol * size).all()


@pytest.mark.parametrize("seed", range(4))
def test_climbs_are_given_up_below_a_floor(seed):
    X, v, starts, signs = make(gaussian, seed, n_starts=50)
    patterns = starts @ X.T >= 0
    whole = run(X, v, signs, patterns)[0]
    lengths = np.linalg.norm(whole, axis=1)
    for floor in (*np.quantile(lengths, [0.1, 0.5, 0.9]), 2 * lengths.max()):
        U = run(X, v, signs, patterns, floor)[0]
        finished = np.linalg.norm(U, axis=1) > floor * (1 + 1e-12)
        assert np.allclose(U[finished], whole[finished], rtol=1e-10, atol=1e-12)
        assert not finished[lengths <= floor].any()


@each_kind
@pytest.mark.parametrize("seed", range(3))
def test_gradient_steps_never_lose(kind, seed):
    X, v, starts, signs = make(kind, seed)
    columns, weights = unit_columns(X), v * np.linalg.norm(X, axis=1)
    size = np.abs(weights).sum()
    tol = 1e-11 * size
    before = signs * rise(X, v, starts)
    for n_steps in (0, 1, 3, 10, 50):
        U = starts.copy()
        values = ascend(columns, weights, np.zeros(len(columns)), signs, U, n_steps)
        assert np.allclose(np.linalg.norm(U, axis=1), 1, atol=1e-12)
        assert np.abs(values - signs * rise(X, v, U)).max() <= tol
        assert (values >= before - tol).all()
        before = values


def test_gradient_steps_go_somewhere():
    X, v, starts, signs = make(gaussian, 0, n_starts=100)
    U = starts.copy()
    values = ascend(unit_columns(X), v * np.linalg.norm(X, axis=1), np.zeros(X.shape[1]), signs, U, 10)
    assert np.mean(values > signs * rise(X, v, starts) + 1e-6) > 0.9


@pytest.mark.parametrize("n", [1, 1023, 1024, 1025, 2500])
def test_many_rows_and_threads(n, monkeypatch):
    """Rows are looked at a chunk of 1024 at a time; threads change nothing."""
    rng = np.random.default_rng(n)
    X, v, U = rng.standard_normal((n, 3)), rng.standard_normal(n), rng.standard_normal((8, 3))
    columns, weights, signs = unit_columns(X), v * np.linalg.norm(X, axis=1), np.tile([1.0, -1.0], 4)
    reached = U.copy()
    values = ascend(columns, weights, np.zeros(len(columns)), signs, reached, 5)
    assert np.allclose(values, signs * rise(X, v, reached), rtol=0, atol=1e-11 * np.abs(weights).sum())
    climbed = run(X, v, signs, reached @ X.T >= 0)[0]
    monkeypatch.setattr(threads, "THREADED_WORK", 0)
    again = U.copy()
    assert np.array_equal(ascend(columns, weights, np.zeros(len(columns)), signs, again, 5), values)
    assert np.array_equal(again, reached)
    assert np.array_equal(run(X, v, signs, reached @ X.T >= 0)[0], climbed)


def test_one_feature_one_sample():
    """h(u) = 6 (u)_+ on two cells; from the one where it is zero nothing leads on."""
    X, v = np.array([[2.0]]), np.array([3.0])
    U, reached = run(X, v, np.array([1.0, 1.0, -1.0, -1.0]), np.array([[True], [False], [True], [False]]))
    assert U[:, 0] == pytest.approx([6.0, 0.0, 0.0, 0.0])
    assert reached[0, 0]
    starts = np.array([[0.5], [-0.5]])
    assert ascend(np.ones((1, 1)), np.array([6.0]), np.zeros(1), np.ones(2), starts, 5) == pytest.approx([6.0, 0.0])
    assert np.array_equal(starts, [[1.0], [-1.0]])


def test_opposite_rows():
    """h(u) = (t)_+ + 2 (-t)_+ on two cells, with a maximum in each."""
    X, v = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1.0, 2.0])
    U, _ = run(X, v, np.ones(2), np.array([[True, False], [False, True]]))
    assert np.allclose(U, [[1, 0], [-2, 0]])


def test_zero_rows_do_not_count():
    X, v, starts, signs = make(gaussian, 3)
    more = np.insert(X, [0, len(X)], 0.0, axis=0)
    expected = run(X, v, signs, starts @ X.T >= 0)[0]
    found = run(more, np.r_[5.0, v, -7.0], signs, starts @ more.T >= 0)[0]
    assert np.allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("shape", [(3, 2), (1, 1)])
def test_nothing_but_zeros(shape):
    starts = np.ones((2, shape[1]))
    columns, weights, signs = unit_columns(np.zeros(shape)), np.zeros(shape[0]), np.ones(2)
    assert not ascend(columns, weights, np.zeros(len(columns)), signs, starts, 3).any()
    for v in (np.zeros(shape[0]), np.ones(shape[0])):
        assert not run(np.zeros(shape), v, signs, np.ones((2, shape[0]), bool))[0].any()


def test_no_starts():
    X, v, _, _ = make(gaussian, 0)
    U, _ = run(X, v, np.zeros(0), np.zeros((0, len(X)), bool))
    assert U.shape == (0, X.shape[1])
    assert ascend(unit_columns(X), v, np.zeros(X.shape[1]), np.zeros(0), U, 3).shape == (0,)
