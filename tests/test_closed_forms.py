"""Closed forms of optima and of alpha_max, each derived where it is used, for the engine and for generation.

What is used throughout: the dual is max D(v) = -L*(-v) over kappa(v) <= alpha (and F'v = 0 with free columns F), for
kappa(v) = max over |u| <= 1 of |v'act(Xu)|; alpha_max is kappa of the best dual vector without that constraint.
"""

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from convexnn import Architecture, build_program, recover
from convexnn.alpha_max import alpha_max_over_all, kappa_at_zero
from convexnn.losses import Absolute, Hinge, Huber, Logistic, Quantile, Softmax, Squared, SquaredHinge
from convexnn.patches import Patches
from convexnn.solvers import solve_conic, solve_generation, solve_reference, solve_working_set
from convexnn.spline import solve_spline

PLAIN = {"hidden_bias": "none", "fit_intercept": False}
BIASED = {"hidden_bias": "penalized", "fit_intercept": False}
ACTIVATIONS = {
    "relu": {},
    "leaky": {"activation": "leaky_relu", "negative_slope": 0.3},
    "bent": {"activation": "leaky_relu", "negative_slope": -0.4},
    "steep": {"activation": "leaky_relu", "negative_slope": -2.5},
    "abs": {"activation": "abs"},
}
HAND_X, HAND_Y = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]]), np.array([1.0, 2.0, -1.0])
EXACT = {"solver": "CLARABEL", "tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13, "tol_feas": 1e-13}


def program_of(X, y, alpha, architecture, loss=None, arrangements="all"):
    return build_program(np.array(X, float), np.array(y, float), alpha, arrangements, architecture, loss=loss)


def solved(X, y, alpha, architecture, loss=None, tol=1e-9):
    """The solutions of the engine over all patterns and, where patterns are those of weights, of generation."""
    solutions = [solve_working_set(program_of(X, y, alpha, architecture, loss), tol=tol)]
    if architecture.constrained:
        adaptive = program_of(X, y, alpha, architecture, loss, "adaptive")
        solutions.append(solve_generation(adaptive, tol=tol, random_state=0))
    return solutions


def check_optimum(X, y, alpha, architecture, optimum, loss=None):
    """Objective, bound and recovered network are at the closed form."""
    X, y = np.array(X, float), np.array(y, float)
    for solution in solved(X, y, alpha, architecture, loss):
        certificate = solution.certificate
        assert certificate.objective == pytest.approx(optimum, rel=1e-8, abs=1e-13)
        assert certificate.lower_bound == pytest.approx(optimum, rel=1e-8, abs=1e-13)
        assert recover(solution).objective(X, y, alpha, loss) == pytest.approx(optimum, rel=1e-8, abs=1e-13)


def check_alpha_max(X, y, architecture, expected, loss=None):
    """Over all enumerated cells, and by search and proof over all patterns."""
    program = program_of(X, y, 1.0, architecture, loss)
    assert kappa_at_zero(program) == pytest.approx(expected, rel=1e-10, abs=1e-13)
    if architecture.constrained:
        found = alpha_max_over_all(program, random_state=0)
        assert found.value == pytest.approx(expected, rel=1e-10, abs=1e-13)
        assert found.upper >= expected * (1 - 1e-12)


def equal_optima(one, other, scale=1.0):
    """The optima of two problems (arguments of `solved`) are one times `scale`, by all solvers."""
    values = [solution.certificate.objective for solution in solved(*one)]
    others = [solution.certificate.objective for solution in solved(*other)]
    assert values == pytest.approx([scale * others[0]] * len(values), rel=1e-8)
    assert others == pytest.approx([others[0]] * len(others), rel=1e-8)
    return values[0]


def data(seed, n=6, d=2):
    rng = np.random.default_rng([seed, 3])
    return rng.standard_normal((n, d)), 2 * rng.standard_normal(n)


# One sample. An output t costs at least |t| / s, for s = max over |u| <= 1 of |act(x.u)|, and any t is reached at this
# cost. So the optimum is e(r) = min over t of l(y, t) + r |t| at the price r = alpha / s.


def huber(residual, delta):
    size = min(abs(residual), delta)
    return size * abs(residual) - 0.5 * size**2


# e(r) is the largest -l*(-v) over |v| <= r:
# half squares: v y - v^2 / 2 is largest at |v| = min(|y|, r), which is Huber's function of width r; a width of its own
# only shortens that. Absolute and hinge: v y over |v| <= min(1, r). Logistic: the entropy of min(r, 1/2).
ONE_SAMPLE = {
    "squared": (Squared(), 1.7, lambda r: huber(1.7, r)),
    "squared, weight": (Squared(sample_weight=np.array([3.0])), 1.7, lambda r: 3 * huber(1.7, r / 3)),
    "huber": (Huber(delta=0.6), -1.7, lambda r: huber(1.7, min(r, 0.6))),
    "huber, inside": (Huber(delta=5.0), -1.7, lambda r: huber(1.7, min(r, 5.0))),
    "absolute": (Absolute(), -1.7, lambda r: min(r, 1.0) * 1.7),
    "quantile, above": (Quantile(quantile=0.8), 1.7, lambda r: min(r, 0.8) * 1.7),
    "quantile, below": (Quantile(quantile=0.8), -1.7, lambda r: min(r, 0.2) * 1.7),
    "hinge": (Hinge(), -1.0, lambda r: min(r, 1.0)),
    "squared hinge": (SquaredHinge(), 1.0, lambda r: huber(1.0, r)),
    "logistic": (Logistic(), -1.0, lambda r: entropy(min(r, 0.5))),
}
VALUES = {  # l(y, t), written again
    "squared": lambda t: 0.5 * (t - 1.7) ** 2,
    "squared, weight": lambda t: 1.5 * (t - 1.7) ** 2,
    "huber": lambda t: huber(t + 1.7, 0.6),
    "huber, inside": lambda t: huber(t + 1.7, 5.0),
    "absolute": lambda t: abs(t + 1.7),
    "quantile, above": lambda t: max(0.8 * (1.7 - t), 0.2 * (t - 1.7)),
    "quantile, below": lambda t: max(0.8 * (-1.7 - t), 0.2 * (t + 1.7)),
    "hinge": lambda t: max(0.0, 1 + t),
    "squared hinge": lambda t: 0.5 * max(0.0, 1 - t) ** 2,
    "logistic": lambda t: np.logaddexp(0.0, t),
}
PRICES = (0.05, 0.4, 0.75, 2.5)


def entropy(q):
    return -q * np.log(q) - (1 - q) * np.log1p(-q)


@pytest.mark.parametrize("name", ONE_SAMPLE)
def test_one_sample_formulas(name):
    """e(r) against the minimum over t in one variable."""
    for r in PRICES:
        found = minimize_scalar(lambda t: VALUES[name](t) + r * abs(t), bounds=(-5, 5), options={"xatol": 1e-12})
        assert ONE_SAMPLE[name][2](r) == pytest.approx(found.fun, abs=1e-9)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ONE_SAMPLE)
def test_one_sample(name, activation):
    """s = |x| max(1, |slope|): the steeper side. A hidden bias makes x into (x, 1)."""
    loss, y, optimum = ONE_SAMPLE[name]
    x = np.array([[1.0, -2.0, 0.5]])
    for parts, length in ((PLAIN, np.sqrt(5.25)), (BIASED, np.sqrt(6.25))):
        architecture = Architecture(**ACTIVATIONS[activation], **parts)
        size = length * max(1.0, abs(architecture.slope))
        for r in PRICES:
            check_optimum(x, [y], r * size, architecture, optimum(r), loss)
        if parts is PLAIN:  # the price at which t = 0 becomes optimal, |l'(y, 0)|
            slope = abs(VALUES[name](1e-7) - VALUES[name](-1e-7)) / 2e-7
            assert kappa_at_zero(program_of(x, [y], 1.0, architecture, loss)) == pytest.approx(slope * size, rel=1e-6)
