"""Closed forms of optima and of alpha_max, each derived where it is used, for the engine and for generation.

What is used throughout: the dual is max D(v) = -L*(-v) over kappa(v) <= alpha (and F'v = 0 with free columns F), for
kappa(v) = max over |u| <= 1 of |v'act(Xu)|; alpha_max is kappa of the best dual vector without that constraint.
"""

import cvxpy as cp
import numpy as np
import pytest
from activations import ACTIVATIONS, program_of, solved
from scipy.optimize import minimize_scalar

from convexnn import Architecture
from convexnn.losses import Absolute, Hinge, Huber, Logistic, Quantile, Softmax, Squared, SquaredHinge
from convexnn.networks import recover
from convexnn.pricing.alpha_max import alpha_max_over_all, kappa_at_zero
from convexnn.solvers import solve_conic, solve_reference
from convexnn.special.spline import solve_spline

PLAIN = {"hidden_bias": "none", "fit_intercept": False}
BIASED = {"hidden_bias": "penalized", "fit_intercept": False}
HAND_X, HAND_Y = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]]), np.array([1.0, 2.0, -1.0])


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


# One sample. An output t costs at least |t| / s, for s = max over |u| <= 1 of |act(x.u)|, and any t is reached at this
# cost. So the optimum is e(r) = min over t of l(y, t) + r |t| at the price r = alpha / s.


def huber(residual, delta):
    size = min(abs(residual), delta)
    return size * abs(residual) - 0.5 * size**2


# Loss, y, e(r), and l(y, t) written again. e(r) is the largest -l*(-v) over |v| <= r: for half squares v y - v^2 / 2,
# largest at |v| = min(|y|, r), Huber's function of width r, and a width of its own only shortens that; for the absolute
# loss and the hinge v y over |v| <= min(1, r); for the logistic loss the entropy of min(r, 1/2).
ONE_SAMPLE = {
    "squared_error": (Squared(), 1.7, lambda r: huber(1.7, r), lambda t: 0.5 * (t - 1.7) ** 2),
    "weight 3": (
        Squared(sample_weight=np.full(1, 3.0)),
        1.7,
        lambda r: 3 * huber(1.7, r / 3),
        lambda t: 1.5 * (t - 1.7) ** 2,
    ),
    "huber": (Huber(delta=0.6), -1.7, lambda r: huber(1.7, min(r, 0.6)), lambda t: huber(t + 1.7, 0.6)),
    "wide huber": (Huber(delta=5.0), -1.7, lambda r: huber(1.7, min(r, 5.0)), lambda t: huber(t + 1.7, 5.0)),
    "absolute_error": (Absolute(), -1.7, lambda r: min(r, 1.0) * 1.7, lambda t: abs(t + 1.7)),
    "above": (Quantile(0.8), 1.7, lambda r: min(r, 0.8) * 1.7, lambda t: max(0.8 * (1.7 - t), 0.2 * (t - 1.7))),
    "below": (Quantile(0.8), -1.7, lambda r: min(r, 0.2) * 1.7, lambda t: max(0.8 * (-1.7 - t), 0.2 * (t + 1.7))),
    "hinge": (Hinge(), -1.0, lambda r: min(r, 1.0), lambda t: max(0.0, 1 + t)),
    "squared hinge": (SquaredHinge(), 1.0, lambda r: huber(1.0, r), lambda t: 0.5 * max(0.0, 1 - t) ** 2),
    "log_loss": (Logistic(), -1.0, lambda r: entropy(min(r, 0.5)), lambda t: np.logaddexp(0.0, t)),
}
PRICES = (0.05, 0.4, 0.75, 2.5)


def entropy(q):
    return -q * np.log(q) - (1 - q) * np.log1p(-q)


@pytest.mark.parametrize("name", ONE_SAMPLE)
def test_one_sample_formulas(name):
    """e(r) against the minimum over t in one variable, which may be at a kink."""
    _, _, optimum, loss = ONE_SAMPLE[name]
    for r in PRICES:
        found = minimize_scalar(lambda t, r=r: loss(t) + r * abs(t), bounds=(-5, 5), options={"xatol": 1e-12}).x
        least = min(loss(t) + r * abs(t) for t in (found, -1.7, -1.0, 0.0, 1.0, 1.7))
        assert optimum(r) == pytest.approx(least, rel=1e-12)


@pytest.mark.parametrize("activation", ["relu", "leaky", "steep", "abs"])
@pytest.mark.parametrize("name", ONE_SAMPLE)
def test_one_sample(name, activation):
    """s = |x| max(1, |slope|): the steeper side. A hidden bias makes x into (x, 1)."""
    loss, y, optimum, value = ONE_SAMPLE[name]
    x = np.array([[1.0, -2.0, 0.5]])
    for parts, length, prices in ((PLAIN, np.sqrt(5.25), PRICES[::2]), (BIASED, np.sqrt(6.25), PRICES[1::2])):
        architecture = Architecture(**ACTIVATIONS[activation], **parts)
        size = length * max(1.0, abs(architecture.slope))
        for r in prices if activation == "relu" else prices[:1]:
            check_optimum(x, [y], r * size, architecture, optimum(r), loss)
        # alpha_max: the price from which t = 0 is optimal is |l'(y, 0)|
        slope = abs(value(1e-7) - value(-1e-7)) / 2e-7
        assert kappa_at_zero(program_of(x, [y], 1.0, architecture, loss)) == pytest.approx(slope * size, rel=1e-6)


@pytest.mark.parametrize("hidden_bias", ["none", "penalized"])
@pytest.mark.parametrize("name", ONE_SAMPLE)
def test_one_sample_is_fitted_by_a_free_output_bias(name, hidden_bias):
    """The constant costs nothing: the infimum is 0 at every alpha, attained by all losses but the logistic one."""
    loss, y, _, _ = ONE_SAMPLE[name]
    x, architecture = np.array([[1.0, -2.0, 0.5]]), Architecture(hidden_bias=hidden_bias)
    program = program_of(x, [y], 0.3, architecture, loss)
    assert kappa_at_zero(program) == 0.0
    assert 0 <= program.objective(*program.zero()) <= (1e-9 if name == "log_loss" else 1e-25)
    for solution in solved(x, [y], 0.3, architecture, loss) if name != "log_loss" else ():
        assert 0 <= solution.certificate.objective <= 1e-25
        assert abs(solution.certificate.lower_bound) <= 1e-25


@pytest.mark.parametrize("r", [0.1, 0.45, 0.9])
def test_one_sample_of_a_class(r):
    """The largest entropy of p with |onehot - p| <= r: p = 1 - r at the class, the rest even, or uniform if r allows.

    With l1 output weights each output costs r |t_c| on its own, so every entry of the dual vector is at most r.
    """
    x, c = np.array([[0.6, -0.8]]), 4
    architecture = Architecture(output_penalty="l1", **PLAIN)
    p = np.array([1 - r] + 3 * [r / 3]) if r < 1 - 1 / c else np.full(c, 1 / c)
    check_optimum(x, np.eye(c)[:1], r, architecture, -np.sum(p * np.log(p)), Softmax())


# Orthonormal rows. Xu is any vector p, and |u| = |p| is enough for it. The largest v_k act(p_k) for |p_k| given is
# v_k p_k where v_k > 0; where v_k < 0 it is s |v_k p_k| for slopes s >= 0 (p_k < 0), and 0 for s in [-1, 0] (p_k = 0).


def orthonormal(n=5, d=7):
    rng = np.random.default_rng(8)
    return np.linalg.qr(rng.standard_normal((d, n)))[0].T


@pytest.mark.parametrize("activation", ["relu", "bent", "abs"])
@pytest.mark.parametrize("part", [0.05, 0.4, 0.8, 0.99])
def test_orthonormal_rows(activation, part):
    """kappa(v) = max(|v_+|, |v_-|) for slopes in [-1, 0]: v = y, cut to the length alpha in each of the two groups."""
    X, y = orthonormal(), np.array([1.0, -3.0, 0.5, 2.0, -1.0])
    groups = [np.linalg.norm(np.maximum(sign * y, 0)) for sign in (1, -1)]
    architecture = Architecture(**ACTIVATIONS[activation], **PLAIN)
    alpha = part * max(groups)
    optimum = sum(huber(size, alpha) for size in groups)
    check_optimum(X, y, alpha, architecture, optimum)
    check_alpha_max(X, y, architecture, max(groups))
    if part == 0.4:
        assert textbook(X, y, alpha, architecture.slope) == pytest.approx(optimum, rel=1e-7)


def textbook(X, y, alpha, slope):
    """The program over all 2^n patterns, all of which orthonormal rows have, block by block."""
    fit, size, constraints = 0, 0, []
    for k in range(2 ** len(y)):
        D = (k >> np.arange(len(y))) & 1
        for sign in (1, -1):
            u = cp.Variable(X.shape[1])
            fit, size = fit + sign * cp.multiply(D + slope * (1 - D), X @ u), size + cp.norm(u)
            constraints.append(cp.multiply(2 * D - 1, X @ u) >= 0)
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(fit - y) + alpha * size), constraints)
    return problem.solve(solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)


def test_orthonormal_rows_with_a_slope():
    """kappa(v) = max over signs of |(v_+, s v_-)|: with y > 0 the dual vector is y, cut to the length alpha.

    Otherwise alpha_max alone: kappa(y).
    """
    X, y = orthonormal(), np.array([1.0, 3.0, 0.5, 2.0, 1.0])
    architecture = Architecture("leaky_relu", negative_slope=0.3, **PLAIN)
    check_optimum(X, y, 1.5, architecture, huber(np.linalg.norm(y), 1.5))
    y[1:3] *= -1
    ahead, behind = np.linalg.norm(np.maximum(y, 0)), np.linalg.norm(np.maximum(-y, 0))
    check_alpha_max(X, y, architecture, max(np.hypot(ahead, 0.3 * behind), np.hypot(behind, 0.3 * ahead)))


@pytest.mark.parametrize("activation", ["gated_relu", "linear"])
def test_orthonormal_rows_without_cones(activation):
    """kappa(v) = max over patterns of |Dv| = |v|, at the pattern of ones: the signs of y do not matter."""
    X, y = orthonormal(), np.array([1.0, -3.0, 0.5, 2.0, -1.0])
    architecture = Architecture(activation, **PLAIN)
    check_optimum(X, y, 1.2, architecture, huber(np.linalg.norm(y), 1.2))
    check_alpha_max(X, y, architecture, np.linalg.norm(y))


# X = (1, -1)' and no bias: the neurons of weight 1 and -1 are (1, -s) and (-s, 1) on the samples, for the slope s, so
# kappa(v) = max(|v_1 - s v_2|, |v_2 - s v_1|).


@pytest.mark.parametrize("slope", [-1.0, -0.5, 0.0, 0.4, 0.9])
@pytest.mark.parametrize("alpha", [0.05, 0.3, 1.2])
def test_opposite_samples(slope, alpha):
    """y = (1, 1) and y = (1, -1): v = q y, as both neurons are alike, with kappa(v) = q (1 - s) or q (1 + s).

    D(v) = 2 q - q^2 is largest at q = min(1, alpha / (1 -+ s)).
    """
    architecture = Architecture("leaky_relu", negative_slope=slope, **PLAIN)
    if slope == -1.0:
        architecture = Architecture("abs", **PLAIN)
    X = np.array([[1.0], [-1.0]])
    for y, steep in ((np.array([1.0, 1.0]), 1 - slope), (np.array([1.0, -1.0]), 1 + slope)):
        q = min(1.0, alpha / steep) if steep > 0 else 1.0
        check_optimum(X, y, alpha, architecture, 2 * q - q**2)
        check_alpha_max(X, y, architecture, steep)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3, 0.7])
def test_opposite_samples_with_different_targets(alpha):
    """y = (1, 0), s > 0: the neuron (1, -s) alone, of weight w = (1 - alpha) / (1 + s^2), leaves v = (1 - w, s w).

    It is optimal while |v_2 - s v_1| = s |2 w - 1| <= alpha, so above s (1 - s) / (1 + s). Below, both are active:
    v_1 - s v_2 = v_2 - s v_1 = alpha, so v = alpha / (1 - s) (1, 1).
    """
    s, X, y = 0.4, np.array([[1.0], [-1.0]]), np.array([1.0, 0.0])
    optimum = 0.5 - (1 - alpha) ** 2 / (2 * (1 + s**2))
    if alpha < s * (1 - s) / (1 + s):
        optimum = alpha / (1 - s) - (alpha / (1 - s)) ** 2
    check_optimum(X, y, alpha, Architecture("leaky_relu", negative_slope=s, **PLAIN), optimum)


# Circular networks, one sample: the largest |x.q| over circular_norm(q) <= 1 is max |fft(x)|. The ReLU takes either
# side of x.q = 0 and the largest q is on the side of x, so it is the same. The rest is that of one sample.


@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize("shape", [(5,), (6,), (2, 3)])
def test_circular_networks_of_one_sample(activation, shape):
    x = np.random.default_rng(4).standard_normal(np.prod(shape))
    size, y = np.abs(np.fft.fftn(x.reshape(shape))).max(), -1.3
    architecture = Architecture(activation, hidden_norm="circular", circular_shape=shape, **PLAIN)
    assert kappa_at_zero(program_of([x], [y], 1.0, architecture)) == pytest.approx(size * abs(y), rel=1e-8)
    for loss, optimum in ((None, huber(y, 0.3)), (Absolute(), 0.3 * abs(y)), (Huber(delta=0.2), huber(y, 0.2))):
        program = program_of([x], [y], 0.3 * size, architecture, loss)
        for solve in (solve_conic, solve_reference):
            solution = solve(program, tol=1e-8)
            assert solution.certificate.objective == pytest.approx(optimum, rel=1e-8)
            assert solution.certificate.lower_bound == pytest.approx(optimum, rel=1e-8)
            assert recover(solution).objective([x], [y], program.alpha, loss) == pytest.approx(optimum, rel=1e-8)


# One feature and free hidden biases: a linear spline f with kinks k and outer slopes s_0, s_K costs
# alpha max(sum |k|, (sum |k| + |s_0 + s_K|) / 2), for a line alpha |slope|.


def check_spline(x, y, alpha, optimum, loss=None):
    """By the splines, and by the ReLU program of free hidden biases."""
    x = np.array(x, float)
    loss = Squared() if loss is None else loss
    certificate = solve_spline(x, y, alpha, loss, tol=1e-8).certificate
    assert certificate.objective == pytest.approx(optimum, rel=1e-8)
    assert certificate.lower_bound == pytest.approx(optimum, rel=1e-8)
    for solution in solved(x[:, None], y, alpha, Architecture(hidden_bias="free"), loss, tol=1e-8):
        certificate = solution.certificate
        assert certificate.objective == pytest.approx(optimum, rel=1e-8)
        assert optimum * (1 - 1.1e-8) <= certificate.lower_bound <= optimum * (1 + 1e-11)


@pytest.mark.parametrize("name", ["squared_error", "huber", "absolute_error", "log_loss", "hinge", "squared hinge"])
@pytest.mark.parametrize("alpha", [0.2, 0.8])
def test_splines_of_two_points(name, alpha):
    """A line; by symmetry -t and t at targets -y and y, which costs alpha 2 t / h: twice e(alpha / h)."""
    loss, y, optimum, _ = ONE_SAMPLE[name]
    h = 2.5
    check_spline([3.0, 3.0 + h], [-y, y], alpha, 2 * optimum(alpha / h), loss)


@pytest.mark.parametrize("part", [0.1, 0.7])
def test_splines_of_three_points_on_a_line(part):
    """x = (-h, 0, h), y = (-b, 0, b): a line of slope s, (b - s h)^2 + alpha s; it costs less than any kink.

    Its dual vector (-q, 0, q), q = b - s h = alpha / (2 h), has |v'(x - t)_+| <= 2 h q = alpha at all t.
    """
    h, b = 1.5, 2.0
    alpha = part * 2 * h * b  # of alpha_max
    q = alpha / (2 * h)
    check_spline([-h, 0.0, h], [5 - b, 5.0, 5 + b], alpha, q**2 + 2 * q * (b - q))


@pytest.mark.parametrize("part", [0.1, 0.7])
def test_splines_of_a_kink(part):
    """x = (-1, 0, 1), y = (b, 0, b): slopes -d and d cost alpha 2 d, and leave (b - d)^2 / 3 with the best constant.

    b - d = 3 alpha: the optimum is 3 alpha^2 + 2 alpha (b - 3 alpha), and alpha_max = b / 3. The dual vector
    alpha (1, -2, 1) has |v'(x - t)_+| <= alpha at all t, so that nothing is better.
    """
    b = 2.0
    alpha = part * b / 3
    check_spline([-1.0, 0.0, 1.0], [b, 0.0, b], alpha, 3 * alpha**2 + 2 * alpha * (b - 3 * alpha))
    program = program_of([[-1.0], [0.0], [1.0]], [b, 0.0, b], 1.0, Architecture(hidden_bias="free"))
    # in the norm of the rows with t = 1e-4, smaller by at most t^2 / 2
    assert kappa_at_zero(program) == pytest.approx(b / 3, rel=1e-8)


def test_splines_of_a_ramp():
    """x = (0, 1, 2), y = (0, 0, 1): slopes s and s + k, of cost alpha (s + k), with s = alpha and s + k = 1 - 2 alpha.

    The dual vector (0, -alpha, alpha) has v'(x - t)_+ = alpha at both knots, t = 0 and t = 1, and y'v - v'v / 2 is
    alpha - alpha^2.
    """
    check_spline([0.0, 1.0, 2.0], [0.0, 0.0, 1.0], 0.1, 0.1 - 0.1**2)


# Parity on {-1, 1}^d. Flipping signs of features and exchanging them takes parity y to +-y and neurons to neurons, so
# kappa and the dual function are invariant, and the only dual optimum is t y: for squares the largest t n - t^2 n / 2
# with t kappa(y) <= alpha, n / 2 (1 - (1 - alpha / kappa(y))_+^2). Labels are balanced: the best output bias is 0.
#
# d = 2, w = (p, q), p >= q >= 0 (else the same up to the sign of h): the values are +-(p + q) + b at the label 1 and
# +-(p - q) + b at -1, so h = (p + q + b)_+ + (b - p - q)_+ - (p - q + b)_+ - (b - p + q)_+ is 2 q for |b| <= p - q, and
# less beyond. kappa = sqrt2 at p = q, b = 0: a hidden bias does not help.
#
# d = 3 without hidden bias: parity is odd, so h(w) = y'(Xw)_+ = y'Xw / 2, and it is orthogonal to all features:
# kappa = 0, and no network is better than none. With w = a (1, 1, 1) and a bias b, h is
# (3 a + b)_+ - 3 (a + b)_+ + 3 (b - a)_+ - (b - 3 a)_+ = 2 a at b = -a, where 4 a^2 = 1: 1. The enumeration of all
# cells says that nothing is larger.


def parity(d):
    X = np.array(np.meshgrid(*d * [[-1.0, 1.0]])).reshape(d, -1).T
    return X, X.prod(axis=1)


def test_alpha_max_of_labels():
    """-grad L(0) is y for the hinges and the squared and absolute losses, y / 2 for the logistic loss."""
    (X, y), architecture = parity(2), Architecture(**PLAIN)
    for loss, part in ((Hinge(), 1), (SquaredHinge(), 1), (Squared(), 1), (Absolute(), 1), (Logistic(), 0.5)):
        check_alpha_max(X, y, architecture, part * np.sqrt(2), loss)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize(
    ("d", "hidden_bias", "largest"),
    [(2, "none", np.sqrt(2)), (2, "penalized", np.sqrt(2)), (3, "none", 0.0), (3, "penalized", 1.0)],
)
def test_parity(d, hidden_bias, largest, fit_intercept):
    X, y = parity(d)
    architecture = Architecture(hidden_bias=hidden_bias, fit_intercept=fit_intercept)
    assert program_of(X, y, 1.0, architecture).design.arrangements.complete
    check_alpha_max(X, y, architecture, largest)
    for part in (0.1, 0.6, 1.5):
        alpha = part * (largest or 1.0)
        optimum = len(y) / 2 * (1 - max(0.0, 1 - part) ** 2 * (largest > 0))
        check_optimum(X, y, alpha, architecture, optimum)


# The case X = [[2, 2], [3, 3], [1, 0]], y = (1, 2, -1) by hand.


@pytest.mark.parametrize("alpha", [0.02, 0.1, 0.5, 0.7])
def test_hand_case(alpha):
    """(0, 1) t and -(1, -1) / sqrt2 r: values (2, 3, 0) t - (0, 0, 1) r / sqrt2, which do not meet.

    1/2 sum (y - z)^2 is 3 - (8 t - 13 t^2 / 2) - (r / sqrt2 - r^2 / 4): the optimum, while alpha <= 1 / sqrt2, is
    3 - (8 - alpha)^2 / 26 - (1 - sqrt2 alpha)^2 / 2.
    """
    architecture = Architecture(**PLAIN)
    optimum = 3 - (8 - alpha) ** 2 / 26 - (1 - 2**0.5 * alpha) ** 2 / 2
    check_optimum(HAND_X, HAND_Y, alpha, architecture, optimum)
    check_alpha_max(HAND_X, HAND_Y, architecture, np.sqrt(113))  # |X'y| = |(7, 8)|, in the cell of ones


@pytest.mark.parametrize("alpha", [1.0, 4.0, 11.0, 12.0])
def test_gated_hand_case(alpha):
    """Without cones the pattern 110 has |X'Dy| = |(8, 8)| = sqrt128, more than sqrt113.

    u = t (1, 1) / sqrt2 fits t sqrt2 (2, 3, 0): 3 - (sqrt128 - alpha)_+^2 / 52. It is optimal for alpha >= 1: then
    |X'Dv| is |(alpha / sqrt2 - 1, alpha / sqrt2)| <= alpha for the pattern 111, and 1 for 001.
    """
    architecture = Architecture("gated_relu", **PLAIN)
    check_alpha_max(HAND_X, HAND_Y, architecture, np.sqrt(128))
    check_optimum(HAND_X, HAND_Y, alpha, architecture, 3 - max(0.0, np.sqrt(128) - alpha) ** 2 / 52)
