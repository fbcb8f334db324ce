"""Polishing: feasible, sparse, unsplit, and no dearer."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from convexnn import Architecture
from convexnn.model import build_program
from convexnn.networks import recover
from convexnn.solvers import reference, solve_reference
from convexnn.solvers.polish import polish

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((10, 2)), RNG.standard_normal(10)
PROGRAM = build_program(X, Y, 0.1, "all", Architecture(hidden_bias="none"))
OPTIMUM = solve_reference(PROGRAM)


def feasible(W):
    return np.abs(PROGRAM.cones.project(W, np.arange(len(W))) - W).max() <= 1e-12


@pytest.mark.parametrize("noise", [1e-13, 1e-10, 1e-7, 1e-4, 1e-2])
def test_noisy_blocks_become_feasible_and_cost_no_more(noise):
    W = OPTIMUM.W + noise * RNG.standard_normal(OPTIMUM.W.shape)
    polished = polish(PROGRAM, W, OPTIMUM.beta)
    projected = PROGRAM.cones.project(W, np.arange(len(W)))
    assert feasible(polished)
    before, after = PROGRAM.objective(projected, OPTIMUM.beta), PROGRAM.objective(polished, OPTIMUM.beta)
    assert after <= before * (1 + 3e-10)
    if noise <= 1e-7:
        assert np.count_nonzero(polished.any(axis=1)) == np.count_nonzero(OPTIMUM.W.any(axis=1))


@pytest.mark.parametrize("share", [1e-1, 1e-3, 1e-5, 1e-7])
def test_small_blocks_that_matter_stay(share):
    """The largest block made small is one without which the objective would grow."""
    W = OPTIMUM.W.copy()
    largest = np.argmax(np.linalg.norm(W, axis=1)[:, 0])
    W[largest] *= share
    without = W.copy()
    without[largest] = 0.0
    growth = PROGRAM.objective(without, OPTIMUM.beta) / PROGRAM.objective(W, OPTIMUM.beta) - 1
    assert growth > 1e-9
    assert polish(PROGRAM, W, OPTIMUM.beta)[largest].any()


def test_a_neuron_on_a_wall_is_put_together_again():
    """The hand case has a neuron on the wall of (1, 0); split over the cells on both sides it is one again."""
    X, y = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]]), np.array([1.0, 2.0, -1.0])
    program = build_program(X, y, 0.1, "all", Architecture(hidden_bias="none", fit_intercept=False))
    solution = solve_reference(program)
    patterns = program.design.arrangements.patterns().astype(int).tolist()
    W = np.zeros_like(solution.W)
    neuron = 7.9 / 13
    W[patterns.index([1, 1, 1]), :, 0] = [1e-9, 0.6 * neuron]
    W[patterns.index([1, 1, 0]), :, 0] = [-1e-9, 0.4 * neuron]
    W[len(patterns) + patterns.index([0, 0, 1]), :, 0] = (2**0.5 - 0.2) / 2**0.5 * np.array([1, -1])
    polished = polish(program, W, solution.beta)
    assert np.count_nonzero(polished.any(axis=1)) == 2
    assert program.objective(polished, solution.beta) == pytest.approx(0.231036740853, abs=1e-9)
    assert recover(solution).n_neurons == 2


def test_a_solver_worse_than_nothing_leaves_the_zero_network(monkeypatch):
    monkeypatch.setattr(reference, "polish", lambda program, W, beta: 1e3 * OPTIMUM.W)
    with pytest.warns(ConvergenceWarning):
        solution = solve_reference(PROGRAM)
    assert not solution.W.any()
    assert solution.certificate.objective == pytest.approx(0.5 * np.sum((Y - Y.mean()) ** 2))
    assert solution.certificate.lower_bound == pytest.approx(OPTIMUM.certificate.objective, rel=1e-7)  # from the dual
