"""The survey of thin cells: its maxima are what they say, the largest is that of a scan; generation that uses it."""

from dataclasses import replace

import numpy as np
import pytest
from designs import make_design
from written import Written

from convexnn import Architecture
from convexnn.geometry.patches import Patches
from convexnn.losses import make_loss
from convexnn.model import build_program
from convexnn.pricing import survey
from convexnn.pricing.search import CellSearch
from convexnn.pricing.survey import Survey
from convexnn.solvers import solve_generation

# Angles of the scan of the circle, besides the walls, where h has its kinks.
ANGLES = np.arange(0, 2 * np.pi, 1e-3)
KINDS = {
    "relu": {},
    "leaky": {"slope": 0.3},
    "abs": {"slope": -1.0},
    "patches": {"n_patches": 4, "slope": 0.1},
}


def make(d, n_outputs, slope=0.0, n_patches=1, units=None, n=400, seed=0):
    """Rows, and dual vectors with a part that depends on the rows, so that a maximum stands out."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n * n_patches, d)) + 0.3
    V = rng.standard_normal((n, n_outputs)) + np.sin(2 * X[::n_patches] @ rng.standard_normal((d, n_outputs)))
    design = replace(make_design(X), slope=slope, n_patches=n_patches, units=units)
    return design, V


def values(design, V, U):
    """Return V'S act(X u) for each output and direction, from the formula."""
    T = design.X @ U.T
    hidden = np.where(T > 0, T, design.slope * T).reshape(len(V), design.n_patches, -1).sum(axis=1)
    return V.T @ hidden


def scan(design, V):
    """Return the largest |V'S act(X u)| of each output, over angles that include the walls."""
    circle = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])
    walls = design.X[:, ::-1] * [1.0, -1.0] / np.linalg.norm(design.X, axis=1, keepdims=True)
    return np.abs(values(design, V, np.vstack([circle, walls, -walls]))).max(axis=1)


def surveyor(design, seed=0):
    return Survey(CellSearch(design, np.random.RandomState(seed)))


def random_neurons(d, n_outputs, m=6, seed=3):
    rng = np.random.default_rng(seed)
    U = rng.standard_normal((m, d))
    return U / np.linalg.norm(U, axis=1, keepdims=True), rng.choice([-1.0, 1.0], m), rng.integers(0, n_outputs, m)


def nothing(d):
    return np.zeros((0, d)), np.zeros(0), np.zeros(0, int)


def check_maxima(maxima, design, V):
    """Values are those of the formula in double precision, sorted, one a cell and sign, of unit directions."""
    assert maxima.directions.dtype == maxima.values.dtype == np.float64
    assert np.allclose(np.linalg.norm(maxima.directions, axis=1), 1, rtol=0, atol=1e-14)
    every = maxima.signs * values(design, V, maxima.directions)
    size = np.linalg.norm(V) * np.linalg.norm(design.X)
    assert np.abs(every - maxima.values).min(axis=0).max() <= 1e-14 * size  # of one of the outputs
    assert (np.diff(maxima.values) <= 0).all()
    assert set(maxima.signs) <= {-1.0, 1.0}
    keys = np.column_stack([maxima.bits, maxima.signs > 0])
    assert len(np.unique(keys, axis=0)) == len(keys) == len(maxima)
    T = design.X @ maxima.directions.T
    patterns = np.unpackbits(maxima.bits, axis=1, count=len(T)).astype(bool).T
    assert np.all((patterns == (T >= 0)) | (np.abs(T) <= 1e-12))


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_maxima_are_what_they_say_and_the_largest_is_that_of_a_scan(kind, n_outputs):
    design, V = make(2, n_outputs, **KINDS[kind])
    largest = scan(design, V).max()
    for neurons in (nothing(2), random_neurons(2, n_outputs)):
        maxima = surveyor(design).maxima(V, *neurons, 200)
        check_maxima(maxima, design, V)
        assert largest * (1 - 1e-4) <= maxima.values[0] <= largest * (1 + 2e-6)
        if n_outputs == 1:
            close = maxima.directions @ maxima.directions.T > 0.98
            assert not (np.triu(close, 1) & (maxima.signs[:, None] == maxima.signs)).any()


@pytest.mark.parametrize("kind", ["relu", "leaky", "patches"])
def test_all_outputs_are_looked_at(kind):
    """The outputs, in parts of the circle of their own: there is a maximum for the largest of each."""
    design, V = make(2, 3, **KINDS[kind], n=600)
    for c in range(3):
        scaled = V * np.where(np.arange(3) == c, 1.0, 1e-3)
        largest = scan(design, scaled)
        assert largest.argmax() == c
        found = surveyor(design).maxima(scaled, *nothing(2), 200)
        assert found.values[0] == pytest.approx(largest[c], rel=1e-4)
        ours = random_neurons(2, 3)[0], np.ones(6), np.full(6, (c + 1) % 3)  # of another output
        assert surveyor(design).maxima(scaled, *ours, 200).values[0] == pytest.approx(largest[c], rel=1e-4)


@pytest.mark.parametrize("n_patches", [1, 3])
def test_values_are_true_in_units_and_without_starts_that_matter(n_patches):
    design, V = make(3, 2, n_patches=n_patches, units=np.array([1.0, 0.1, 3.0]))
    for neurons in (nothing(3), random_neurons(3, 2)):
        for n_starts in (1, 2, 50):
            check_maxima(surveyor(design).maxima(V, *neurons, n_starts), design, V)


def test_an_output_of_small_values_is_searched_like_the_others():
    """Its maxima are found, though every direction is better for another output."""
    design, V = make(2, 3, n=3000)
    V *= [1e3, 1.0, 30.0]
    maxima = surveyor(design).maxima(V, *nothing(2), 600)
    every = np.abs(values(design, V, maxima.directions))
    assert np.allclose(every.max(axis=1), scan(design, V), rtol=1e-3)


def test_starts_that_are_left_are_apart():
    """Of each kind the best one is left, and others only where no better one left is near."""
    rng = np.random.default_rng(0)
    U, kinds = rng.standard_normal((3000, 3)), rng.integers(0, 3, 3000)
    U /= np.linalg.norm(U, axis=1, keepdims=True)
    apart = survey._apart(U, kinds, 0.9)
    close = (U @ U.T > 0.9) & (kinds[:, None] == kinds) & (np.arange(3000)[:, None] > np.arange(3000))
    assert np.array_equal(~apart, (close & apart).any(axis=1))


def test_more_starts_find_more_and_neurons_are_starts():
    design = make(8, 2, n=3000)[0]
    V = np.random.default_rng(2).standard_normal((3000, 2))
    few, many = (surveyor(design).maxima(V, *nothing(8), n_starts) for n_starts in (8, 1500))
    assert many.values[0] >= few.values[0] * (1 - 1e-6)
    best = int(np.argmax(many.signs[0] * values(design, V, many.directions[:1])))
    known = many.directions[:1], many.signs[:1], np.array([best])
    near = surveyor(design, 5).maxima(V, *known, 40)
    assert near.values[0] >= many.values[0] * (1 - 1e-2)
    check_maxima(many, design, V)


def test_what_was_found_is_a_start_of_the_next():
    design, V = make(8, 2, n=3000)
    surveys = surveyor(design)
    assert surveys.found.shape == (0, 8)
    first = surveys.maxima(V, *nothing(8), 800)
    assert np.array_equal(surveys.found, first.directions[:200])
    again = surveys.maxima(V, *nothing(8), 1)
    assert again.values[0] >= first.values[0] * (1 - 1e-6)


def test_it_is_reproducible_and_can_be_stopped():
    design, V = make(4, 2)
    results = [surveyor(design, 7).maxima(V, *random_neurons(4, 2), 100) for _ in range(2)]
    assert np.array_equal(results[0].directions, results[1].directions)
    calls = []
    stopped = surveyor(design, 7).maxima(V, *random_neurons(4, 2), 100, lambda: calls.append(0) or len(calls) > 2)
    check_maxima(stopped, design, V)
    assert 2 < len(calls) <= 6
    assert stopped.values[0] < results[0].values[0]


def test_a_dual_vector_of_zeros_has_nothing_above_zero():
    design, V = make(3, 2)
    maxima = surveyor(design).maxima(0 * V, *nothing(3), 20)
    assert not maxima.values.any()
    assert not len(maxima.above(0.0))


def test_generation_of_thin_cells_is_not_above_restarts():
    """Five restarts of L-BFGS on the objective of a convolutional network, written out; targets of three neurons."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 70, 10)) / np.sqrt(70)
    Z = np.maximum(X @ rng.standard_normal((10, 3)), 0).sum(axis=1) @ np.array([[1.0], [-1.5], [2.0]])
    Y = np.where(Z - Z.mean() + rng.standard_normal(Z.shape) > 0, 1.0, -1.0)
    assert X.size > survey.THIN_DATA
    architecture = Architecture(hidden_bias="none", patches=Patches((1, 700), 10, 10, pooling="sum"))
    program = build_program(X.reshape(300, 700), Y, 24.0, "adaptive", architecture, loss=make_loss("log_loss"))
    solution = solve_generation(program, tol=1e-3, scope="local", random_state=0)
    assert solution.certificate.gap <= 1e-3
    written, restarts = Written(X, Y, 24.0, "log_loss"), []
    for _ in range(5):
        W, a = 0.3 * rng.standard_normal((6, 10)), 0.3 * rng.standard_normal(6)
        restarts.append(written.improve(W, a, np.zeros(6, int), np.zeros(1), 60))
    assert solution.certificate.objective <= min(restarts) <= solution.certificate.objective * 1.01
    blocks = np.flatnonzero(solution.W.any(axis=(1, 2)))
    signs, outputs = solution.program.design.sign(blocks), np.zeros(len(blocks), int)
    value = written.of_neurons(solution.W[blocks, :, 0], signs, outputs, solution.beta[0])
    assert value == pytest.approx(solution.certificate.objective, rel=1e-9)
