"""Search for the largest |V' act(X u)|: the compiled climb against a plain one by scipy, and what is said of maxima."""

import itertools

import numpy as np
import pytest
from scipy.optimize import nnls

from convexnn import Architecture
from convexnn.geometry.patches import Patches
from convexnn.model import build_program
from convexnn.pricing.vector_search import VectorMaxima, VectorSearch, join_vector_maxima

ACTIVATIONS = {"relu": 0.0, "leaky_relu": 0.3, "abs": -1.0}


def make(activation="relu", n=12, d=3, c=3, seed=0, n_patches=1):
    """A search, its rows (those of a sample one after the other), the slope, and a dual vector."""
    rng = np.random.RandomState(seed)
    patches = None if n_patches == 1 else Patches((1, d * n_patches), d, stride=d, pooling="sum")
    architecture = Architecture(activation, "none", negative_slope=0.3, fit_intercept=False, patches=patches)
    X, V = rng.standard_normal((n, d * n_patches)), rng.standard_normal((n, c))
    design = build_program(X, V, 1.0, "adaptive", architecture).design
    return VectorSearch(design, rng), X.reshape(n * n_patches, d), ACTIVATIONS[activation], V


def pulls(rows, slope, V, U):
    """V' act(X u) for the rows u of U, added up over the patches of a sample."""
    T = rows @ U.T
    hidden = np.where(T > 0, T, slope * T).reshape(len(V), -1, len(U)).sum(axis=1)
    return hidden.T @ V


def best_in_cell(rows, slope, v, pattern):
    """The largest v' act(X u) over the unit vectors of a cell, and where: a projection, by scipy."""
    g = rows.T @ (v * np.where(pattern, 1.0, slope))
    A = np.where(pattern[:, None], rows, -rows)
    mu, _ = nnls(A.T, -g, maxiter=1000)
    p = g + A.T @ mu
    return np.linalg.norm(p), p


def plain_climb(rows, slope, V, g, pattern):
    """Climb in turn in u, over the cells around, all sides of the walls that u is on, and in g, until nothing grows."""
    best = 0.0
    for _ in range(2000):
        v = np.repeat(V @ g, len(rows) // len(V))
        value, p = best_in_cell(rows, slope, v, pattern)
        while True:
            tight = np.flatnonzero(np.abs(rows @ p) <= 1e-9 * value * np.linalg.norm(rows, axis=1))
            around = []
            for sides in itertools.product([False, True], repeat=len(tight)):
                other = pattern.copy()
                other[tight] = sides
                around.append((*best_in_cell(rows, slope, v, other), other))
            top = max(around, key=lambda found: found[0])
            if top[0] <= value * (1 + 1e-11):
                break
            value, p, pattern = top
        pull = pulls(rows, slope, V, p[None] / value)[0]
        if np.linalg.norm(pull) <= best * (1 + 1e-14):
            return best
        best = np.linalg.norm(pull)
        g = pull / best
    return best


def check_truth(maxima, rows, slope, V):
    """The values, the outputs and the cells are those of the directions."""
    reached = pulls(rows, slope, V, maxima.directions)
    assert np.allclose(np.linalg.norm(maxima.directions, axis=1), 1.0)
    assert np.allclose(np.linalg.norm(reached, axis=1), maxima.values, rtol=1e-12)
    assert np.allclose(reached / maxima.values[:, None], maxima.outputs, atol=1e-12)
    products = maxima.directions @ rows.T
    assert (np.where(maxima.patterns, products, -products) >= -1e-9).all()


@pytest.mark.parametrize("n_patches", [1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_climbs_end_where_plain_ones_do(activation, n_patches):
    search, rows, slope, V = make(activation, seed=1, n_patches=n_patches)
    rng = np.random.RandomState(2)
    U = rng.standard_normal((12, rows.shape[1]))
    outputs = pulls(rows, slope, V, U)
    outputs /= np.linalg.norm(outputs, axis=1, keepdims=True)
    maxima = search.climb(V, outputs, U @ rows.T >= 0, n_turns=2000)
    check_truth(maxima, rows, slope, V)
    starts = np.linalg.norm(pulls(rows, slope, V, U), axis=1) / np.linalg.norm(U, axis=1)
    assert (maxima.values >= starts * (1 - 1e-12)).all()
    plain = np.array([plain_climb(rows, slope, V, *start) for start in zip(outputs, U @ rows.T >= 0, strict=True)])
    # extrapolation may lead to another maximum, not to less than one
    assert np.isclose(maxima.values, plain, rtol=1e-7).sum() >= 10
    tops = np.unique(np.round(plain, 6))
    again = [plain_climb(rows, slope, V, g, p) for g, p in zip(maxima.outputs, maxima.patterns, strict=True)]
    assert np.allclose(again, maxima.values, rtol=1e-7)
    assert maxima.values.max() >= tops[-1] * (1 - 1e-6)


def test_extrapolation_reaches_in_few_turns_what_takes_many():
    """In a single cell the maximum is a singular value, whose power method is slow where the next one is near."""
    rng = np.random.RandomState(3)
    Q = np.linalg.qr(rng.standard_normal((40, 4)))[0]
    X = np.abs(rng.standard_normal((40, 4))) + 0.5  # u > 0 is inside one cell
    V = Q @ np.diag([1.0, 0.97, 0.5, 0.1]) @ np.linalg.qr(rng.standard_normal((4, 4)))[0]
    design = build_program(X, V, 1.0, "adaptive", Architecture("abs", "none", fit_intercept=False)).design
    search, cell = VectorSearch(design, rng), np.ones((1, 40), bool)
    g = rng.standard_normal((1, 4))
    few = search.climb(V, g / np.linalg.norm(g), cell, n_turns=40)
    many = search.climb(V, g / np.linalg.norm(g), cell, n_turns=3000)
    assert few.values[0] >= many.values[0] * (1 - 1e-9)


def test_a_climb_is_the_same_alone_and_in_a_batch():
    search, rows, slope, V = make(seed=4)
    U = np.random.RandomState(5).standard_normal((30, 3))
    outputs = pulls(rows, slope, V, U)
    outputs /= np.linalg.norm(outputs, axis=1, keepdims=True)
    patterns = U @ rows.T >= 0
    before = outputs.copy(), patterns.copy()
    together = search.climb(V, outputs, patterns)
    alone = join_vector_maxima([search.climb(V, outputs[[j]], patterns[[j]]) for j in range(30)])
    assert np.array_equal(together.values, alone.values)
    assert np.array_equal(together.patterns, alone.patterns)
    assert np.array_equal(outputs, before[0])
    assert np.array_equal(patterns, before[1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_direction_of_a_fine_grid_is_higher(activation):
    search, rows, slope, V = make(activation, n=20, d=2, seed=6)
    angles = np.linspace(0, 2 * np.pi, 100_001)
    grid = np.linalg.norm(pulls(rows, slope, V, np.column_stack([np.cos(angles), np.sin(angles)])), axis=1).max()
    for alpha in (0.0, grid):
        maxima = search.maxima(V, alpha, np.zeros((0, 2)), 64)
        check_truth(maxima, rows, slope, V)
        assert grid * (1 - 1e-12) <= maxima.values[0] <= grid * (1 + 1e-5)
        assert (np.diff(maxima.values) <= 0).all()


def test_a_search_whose_time_is_over_still_tells_the_truth():
    search, rows, slope, V = make(n=40, d=4, seed=7)
    whole = search.maxima(V, 0.0, np.zeros((0, 4)), 200)
    search.found = search.found[:0]
    cut = search.maxima(V, 0.0, np.zeros((0, 4)), 200, over=lambda: True)
    check_truth(cut, rows, slope, V)
    assert 0.9 * whole.values[0] <= cut.values[0] <= whole.values[0] * (1 + 1e-9)
    none = search.climb(V, whole.outputs, whole.patterns, over=lambda: True)
    assert not none.values.any()
    assert np.array_equal(none.patterns, whole.patterns)


def test_there_is_nothing_far_below_alpha():
    search, _, _, V = make(seed=8)
    maxima = search.maxima(V, 1e6, np.zeros((0, 3)), 64)
    assert len(maxima) == 0
    assert maxima.patterns.shape == (0, 12)
    nothing = search.maxima(np.zeros_like(V), 1.0, np.zeros((0, 3)), 64)
    assert len(nothing) == 0


@pytest.mark.parametrize("by_value", [True, False])
def test_distinct_keeps_the_first_of_those_that_are_near(by_value):
    rng = np.random.RandomState(9)
    U, G = (rng.standard_normal((400, 2)) for _ in range(2))
    U, G = (A / np.linalg.norm(A, axis=1, keepdims=True) for A in (U, G))
    maxima = VectorMaxima(rng.permutation(400) + 1.0, U, G, np.zeros((400, 3), bool))
    kept = []
    for j in sorted(range(400), key=lambda j: -maxima.values[j] * by_value):
        if not any(U[i] @ U[j] > 0.9 and G[i] @ G[j] > 0.9 for i in kept):
            kept.append(j)
    distinct = maxima.distinct(0.9, by_value)
    assert 10 < len(kept) < 390
    assert np.array_equal(distinct.values, maxima.values[kept])
    assert np.array_equal(distinct.directions, U[kept])
