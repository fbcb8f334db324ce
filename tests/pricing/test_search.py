"""The search over all cells: what it returns is true, in order and the same for the same seed."""

import numpy as np
import pytest
from degenerate import exact_kappa
from designs import make_design
from rows import KINDS, each_kind, gaussian

from convexnn.pricing import search
from convexnn.pricing.search import CellSearch, join_maxima


def make(kind, seed):
    """Rows of a kind in coordinates of their row space, a dual vector and the neurons of a network."""
    rng = np.random.default_rng([seed, KINDS.index(kind), 5])
    X = kind(rng)
    _, singular, Vt = np.linalg.svd(X, full_matrices=False)
    X = X @ Vt[: max(1, np.count_nonzero(singular > 1e-13 * singular[0]))].T
    lengths = np.linalg.norm(X, axis=1)
    V = rng.standard_normal((len(X), 1)) / np.where(lengths > 0, lengths, 1.0)[:, None]
    neurons = rng.standard_normal((6, X.shape[1]))
    return make_design(X), V, neurons / np.linalg.norm(neurons, axis=1, keepdims=True), rng.choice([-1.0, 1.0], 6)


def searcher(design, seed=0):
    return CellSearch(design, np.random.RandomState(seed))


def check_maxima(maxima, X, V, tol=1e-11):
    """Values are those of h at the unit directions, which are in the cells, one a cell and sign, the largest first."""
    size = np.abs(V[:, 0]) @ np.linalg.norm(X, axis=1)
    assert (np.diff(maxima.values) <= 0).all()
    alive = maxima.values > 0
    assert np.allclose(np.linalg.norm(maxima.directions[alive], axis=1), 1, atol=1e-12)
    values = maxima.signs * (np.maximum(maxima.directions @ X.T, 0) @ V[:, 0])
    assert np.abs(values - maxima.values).max(initial=0.0) <= tol * size
    patterns = np.unpackbits(maxima.bits, axis=1, count=len(X)).astype(bool)
    rows = X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-300)
    products = np.where(patterns, 1, -1) * (maxima.directions @ rows.T)
    assert products.min(initial=0.0) >= -tol
    keys = np.column_stack([maxima.bits, maxima.signs > 0])
    assert len(np.unique(keys, axis=0)) == len(keys)


@each_kind
@pytest.mark.parametrize("seed", range(4))
def test_maxima_are_what_they_say(kind, seed):
    design, V, neurons, signs = make(kind, seed)
    cells = searcher(design)
    for start in ((neurons, signs), (neurons[:0], signs[:0])):
        for alpha in (0.0, 0.1, 1e9):
            maxima = cells.maxima(V, alpha, *start, 60)
            check_maxima(maxima, design.X, V, 1e-8 if "far_from_zero" in kind.__name__ else 1e-11)
            assert not len(maxima) or alpha < 1e9


@pytest.mark.parametrize("seed", range(12))
def test_the_largest_is_kappa_on_small_problems(seed):
    rng = np.random.default_rng([seed, 8])
    X, V = rng.standard_normal((12, 2 + seed % 2)), rng.standard_normal((12, 1))
    none = np.zeros((0, X.shape[1]))
    maxima = searcher(make_design(X)).maxima(V, 0.0, none, none[:, 0], 300)
    assert maxima.values[0] == pytest.approx(exact_kappa(X, V[:, 0]), rel=1e-10)


def test_the_same_seed_gives_the_same_maxima():
    design, V, neurons, signs = make(gaussian, 1)
    results = []
    for seed in (0, 0, 1):
        cells = searcher(design, seed)
        results.append([cells.maxima(V, 0.1, neurons, signs, 40) for _ in range(2)])
    for one, other in zip(results[0], results[1], strict=True):
        for name in ("values", "directions", "signs", "bits"):
            assert np.array_equal(getattr(one, name), getattr(other, name))


def test_maxima_are_remembered():
    """A second search from hardly any starts finds no less."""
    design, V, neurons, signs = make(gaussian, 2)
    cells = searcher(design)
    first = cells.maxima(V, 0.1, neurons, signs, 300)
    second = cells.maxima(V, 0.1, neurons, signs, 1)
    assert second.values[0] >= first.values[0] * (1 - 1e-12)
    assert len(cells.found) == len(cells.found_signs) <= search.REMEMBERED
    changed = cells.maxima(-V, 0.1, neurons, signs, 1)
    check_maxima(changed, design.X, -V)


def test_a_zero_dual_vector_has_no_maxima():
    design, V, neurons, signs = make(gaussian, 0)
    cells = searcher(design)
    for alpha in (0.0, 1.0):
        maxima = cells.maxima(0 * V, alpha, neurons, signs, 50)
        assert len(maxima) == 0
        assert maxima.directions.shape == (0, design.X.shape[1])
    assert len(cells.maxima(V, 0.0, neurons, signs, 50)) > 0


@pytest.mark.parametrize("shape", [(3, 2), (1, 1)])
def test_zero_rows_have_no_maxima(shape):
    none = np.zeros((0, shape[1]))
    assert len(searcher(make_design(np.zeros(shape))).maxima(np.ones((shape[0], 1)), 0.1, none, none[:, 0], 20)) == 0


def test_one_sample():
    none = np.zeros((0, 1))
    maxima = searcher(make_design(np.array([[2.0]]))).maxima(np.array([[-3.0]]), 0.1, none, none[:, 0], 20)
    assert (maxima.values, maxima.directions.ravel(), maxima.signs) == (pytest.approx([6.0]), [1.0], [-1.0])


@pytest.mark.parametrize("n_batches", [1, 3])
def test_a_search_is_stopped_between_batches(n_batches, monkeypatch):
    monkeypatch.setattr(search, "BLOCK_ENTRIES", 1)
    rng = np.random.default_rng(0)
    design, V, neurons = make_design(rng.standard_normal((25, 3))), rng.standard_normal((25, 1)), np.eye(3)
    asked = []

    def over():
        asked.append(0)
        return len(asked) >= n_batches

    maxima = searcher(design).maxima(V, 0.0, neurons, np.ones(3), 100, over)
    assert len(asked) == n_batches + 1  # while ascending, and after one batch of climbs
    assert len(maxima) == 1
    check_maxima(maxima, design.X, V)


def test_small_batches_find_the_same(monkeypatch):
    design, V, neurons, signs = make(gaussian, 1)
    whole = searcher(design).maxima(V, 0.1, neurons, signs, 100)
    monkeypatch.setattr(search, "BLOCK_ENTRIES", 3 * len(V))
    parts = searcher(design).maxima(V, 0.1, neurons, signs, 100)
    assert np.array_equal(parts.bits, whole.bits)
    assert np.allclose(parts.values, whole.values, rtol=1e-12)


def test_a_climb_keeps_the_order_and_its_argument():
    design, V, neurons, signs = make(gaussian, 3)
    patterns = neurons @ design.X.T >= 0
    kept = patterns.copy()
    climbed = searcher(design).climb(V, signs, patterns)
    assert np.array_equal(patterns, kept)
    assert np.array_equal(climbed.signs, signs)
    for j in range(len(signs)):
        one = searcher(design).climb(V, signs[[j]], patterns[[j]])
        assert one.values[0] == pytest.approx(climbed.values[j], rel=1e-13)
    check_maxima(join_maxima(climbed), design.X, V)


def test_joined_and_selected_maxima():
    design, V, neurons, signs = make(gaussian, 1)
    cells = searcher(design)
    first, second = (cells.maxima(V, 0.0, neurons, signs, 60) for _ in range(2))
    joined = join_maxima(first, second, first)
    check_maxima(joined, design.X, V)
    assert len(joined) >= max(len(first), len(second))
    limit = joined.values[len(joined) // 2]
    assert np.array_equal(joined.above(limit).values, joined.values[joined.values > limit])
    assert len(joined.above(np.inf)) == 0
