"""Networks trained by descent alone: near the optimum of the convex program, feasible, and without a bound."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from convexnn import Architecture
from convexnn.geometry.patches import Patches
from convexnn.losses import make_loss
from convexnn.model import build_program
from convexnn.networks import recover
from convexnn.solvers import solve_generation
from convexnn.solvers.uncertified import solve_uncertified
from convexnn.solvers.vector_generation import solve_vector_generation

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 3))
Y = np.abs(X[:, 0]) + 0.3 * X[:, 1] + 0.2 * RNG.standard_normal(30)
TWO = np.column_stack([Y, np.maximum(X[:, 2], 0)])
CLASSES = np.eye(3)[np.digitize(Y, [0.3, 1.0])]

CASES = {
    "penalized": (Y, Architecture(), None),
    "no bias": (Y, Architecture(hidden_bias="none"), None),
    "free": (Y, Architecture(hidden_bias="free"), None),
    "leaky, skip": (Y, Architecture("leaky_relu", skip=True), None),
    "absolute loss": (Y, Architecture(), make_loss("absolute_error")),
    "two outputs, l1": (TWO, Architecture(output_penalty="l1"), None),
    "two outputs": (TWO, Architecture(), None),
    "softmax": (CLASSES, Architecture(), make_loss("softmax")),
    "softmax, free": (CLASSES, Architecture(hidden_bias="free"), make_loss("softmax")),
    "patches": (Y, Architecture(patches=Patches((1, 3), 2)), None),
}


def quietly(solve, program, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return solve(program, random_state=0, **options)


@pytest.mark.parametrize("case", CASES)
def test_it_is_near_the_optimum(case):
    y, architecture, loss = CASES[case]
    program = build_program(X, y, 1.0, "adaptive", architecture, loss=loss)
    solve = solve_vector_generation if program.shares_neurons else solve_generation
    best = quietly(solve, program, tol=1e-4, scope="local").certificate
    far = quietly(solve_uncertified, program.at(3.0), tol=1e-3)
    for start in (None, far):
        here = program if start is None else start.program.at(1.0)
        solution = quietly(solve_uncertified, here, tol=1e-3, W_init=None if start is None else start.W)
        value = solution.certificate.objective
        slack = 1.1 if case == "absolute loss" else 1.03  # it stalls at kinks
        assert best.lower_bound * (1 - 1e-6) <= value <= slack * best.objective
        network = recover(solution)
        assert network.objective(X, y, 1.0, loss) == pytest.approx(value, rel=1e-5)
        assert np.allclose(network.predict(X).reshape(solution.Z.shape), solution.Z, atol=1e-5)


def test_nothing_is_claimed():
    program = build_program(X, Y, 1.0, "adaptive")
    with pytest.warns(ConvergenceWarning, match="not certified"):
        solution = solve_uncertified(program, random_state=0)
    assert solution.certificate.scope == "local"
    assert solution.certificate.lower_bound == 0.0
    assert solution.certificate.gap == 1.0
    assert not solution.converged


def test_limits():
    program = build_program(X, Y, 0.1, "adaptive")
    one = quietly(solve_uncertified, program, max_iter=1).certificate.objective
    many = quietly(solve_uncertified, program).certificate.objective
    assert many < one
    assert quietly(solve_uncertified, program, time_limit=1e-6).status == "stopped at time_limit"
