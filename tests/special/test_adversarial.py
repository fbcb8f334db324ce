"""Adversarial training: against the program written in cvxpy, attacks and exact margins."""

import itertools
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from specials import check_result, least

from convexnn.losses import make_loss
from convexnn.model.architecture import Architecture
from convexnn.model.building import build_program
from convexnn.networks.network import Network
from convexnn.solvers import solve_reference
from convexnn.special.adversarial import (
    _lower_bound,
    _margins,
    robust_loss,
    robust_margin_bound,
    solve_adversarial,
)


def data(n=12, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 2))
    return X, np.where(X[:, 0] * X[:, 1] + 0.2 * rng.standard_normal(n) > 0, 1.0, -1.0), rng


def program_of(X, y, alpha=0.05, patterns=25, loss=None, **options):
    return build_program(X, y, alpha, patterns, Architecture(**options), random_state=0, loss=loss)


def written_out(program, y, radius, loss):
    """The optimum of the program, neuron by neuron."""
    X, cost, z, G, constraints = program.design.X, 0.0, 0.0, 0.0, []
    mask = np.ones(X.shape[1])
    if program.architecture.hidden_bias == "penalized":
        mask[-1] = 0.0
    for pattern in program.design.arrangements.patterns().astype(float):
        for sign in (1.0, -1.0):
            u = cp.Variable(X.shape[1])
            reach = radius * cp.norm1(cp.multiply(mask, u))
            constraints += [(2 * p - 1) * (x @ u) >= reach for p, x in zip(pattern, X, strict=True)]
            z = z + sign * cp.multiply(pattern, X @ u)
            G = G + sign * pattern[:, None] @ cp.reshape(cp.multiply(mask, u), (1, len(mask)), order="C")
            cost = cost + program.alpha * cp.norm2(u)
    if program.free.shape[1]:
        z = z + cp.Variable()
    margins = cp.multiply(y, z) - radius * cp.norm(G, 1, axis=1)
    losses = cp.pos(1 - margins) if loss == "hinge" else cp.logistic(-margins)
    return least(cp.sum(losses) + cost, constraints)


@pytest.mark.parametrize("loss", ["hinge", "log_loss"])
@pytest.mark.parametrize("radius", [0.0, 0.05, 0.2])
@pytest.mark.parametrize(("hidden_bias", "fit_intercept"), [("none", False), ("penalized", False), ("penalized", True)])
def test_the_program_is_the_one_written_out(loss, radius, hidden_bias, fit_intercept):
    X, y, _ = data()
    program = program_of(X, y, patterns=8, hidden_bias=hidden_bias, fit_intercept=fit_intercept)
    result = solve_adversarial(program, radius, loss)
    expected = written_out(program, y, radius, loss)
    check_result(result, expected, scope="sampled")
    assert result.certificate.lower_bound <= expected * (1 + 1e-8)


@pytest.mark.parametrize("loss", ["hinge", "log_loss"])
@pytest.mark.parametrize("hidden_bias", ["none", "penalized"])
@pytest.mark.parametrize("seed", range(2))
def test_the_objective_is_the_robust_one_of_the_network(loss, hidden_bias, seed):
    X, y, rng = data(seed=seed)
    for radius in (0.0, 0.03, 0.15):
        program = program_of(X, y, hidden_bias=hidden_bias)
        solution = solve_adversarial(program, radius, loss, tol=1e-4)
        network = solution.network
        margins = robust_margin_bound(network, X, y, radius)
        own = _margins(program, radius, solution.solution.W, solution.solution.beta)
        assert np.allclose(margins, own[:, 0], atol=1e-9)
        losses = np.maximum(1 - margins, 0) if loss == "hinge" else np.logaddexp(0, -margins)
        robust = losses.sum()
        assert robust + 0.05 * network.weight_decay() == pytest.approx(solution.certificate.objective, rel=1e-9)
        # the network is linear on each ball: the attack finds the worst corner
        assert robust_loss(network, X, y, radius, loss, random_state=0) == pytest.approx(robust, rel=1e-9)
        signs = rng.choice([-1.0, 1.0], (200, *X.shape))
        attacked = np.array([y * network.predict(X + radius * s) for s in signs]).min(axis=0)
        assert (attacked >= margins - 1e-9).all()
        patterns = [network.hidden(X + radius * s) > 1e-9 for s in signs[:20]]
        inside = network.hidden(X) > 1e-9
        assert all((pattern <= inside).all() for pattern in patterns)


@pytest.mark.parametrize("name", ["hinge", "log_loss"])
def test_radius_zero_is_plain_training(name):
    X, y, _ = data(seed=3)
    program = program_of(X, y, loss=make_loss(name))
    result = solve_adversarial(program, 0, name)
    plain = program.objective(result.solution.W, result.solution.beta)
    assert result.certificate.objective == pytest.approx(plain, rel=1e-9)
    reference = solve_reference(program).certificate.objective
    assert result.certificate.objective == pytest.approx(reference, rel=1e-6)


def test_larger_balls_cost_more():
    X, y, _ = data(seed=1)
    program = program_of(X, y, hidden_bias="none")
    values = [solve_adversarial(program, radius, tol=1e-4).certificate for radius in (0.0, 0.02, 0.1, 0.5, 3.0)]
    for small, large in itertools.pairwise(values):
        assert small.lower_bound <= large.objective
        assert small.objective <= large.objective * (1 + 1e-6)
    free = 2.0 * min((y > 0).sum(), (y < 0).sum())  # no neuron is constant on balls around the origin
    assert values[-1].objective == pytest.approx(free, rel=1e-6)


@pytest.mark.parametrize("loss", ["hinge", "log_loss"])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_any_dual_variables_give_a_bound(loss, fit_intercept):
    X, y, rng = data(seed=2)
    program = program_of(X, y, patterns=12, fit_intercept=fit_intercept)
    optimum = solve_adversarial(program, 0.05, loss).certificate.objective
    for size in 10.0 ** np.arange(-3, 2):
        v = y * rng.uniform(-0.2, 1.2, len(y))
        H, mu = size * rng.standard_normal((len(y), 2)), size * rng.standard_normal((24, len(y)))
        assert _lower_bound(program, 0.05, make_loss(loss), v, H, mu) <= optimum * (1 + 1e-8)


def test_blocks_are_in_their_cones():
    X, y, _ = data(seed=4)
    program, radius = program_of(X, y, hidden_bias="none"), 0.04
    W = solve_adversarial(program, radius).solution.W[:, :, 0]
    blocks = np.flatnonzero(W.any(axis=1))
    assert len(blocks)
    signs = 2.0 * program.design.arrangements.patterns(program.design.pattern_index(blocks)) - 1
    slack = signs * (W[blocks] @ X.T) - radius * np.abs(W[blocks]).sum(axis=1)[:, None]
    assert (slack >= -1e-13 * np.linalg.norm(W[blocks], axis=1)[:, None]).all()


@pytest.mark.parametrize("seed", range(10))
def test_margin_bounds_hold_for_any_network(seed):
    """Below every margin on a grid of the ball, and exact for a radius of zero."""
    rng = np.random.default_rng(seed)
    network = Network(
        rng.standard_normal((2, 5)),
        rng.standard_normal(5),
        rng.standard_normal((5, 1)),
        rng.standard_normal(1),
        skip=rng.standard_normal((2, 1)) if seed % 2 else None,
    )
    X, y, _ = data(seed=seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-0.4, 0.4, 41)] * 2), axis=-1).reshape(-1, 2)
    worst = np.array([y * network.predict(X + step) for step in grid]).min(axis=0)
    bound = robust_margin_bound(network, X, y, 0.4)
    assert (bound <= worst + 1e-12).all()
    assert (bound >= worst - 5.0).all()
    assert np.allclose(robust_margin_bound(network, X, y, 0.0), y * network.predict(X))
    attack = robust_loss(network, X, y, 0.4, random_state=0)
    assert attack <= np.maximum(1 - bound, 0).sum() + 1e-12
    assert attack >= 0.98 * np.maximum(1 - worst, 0).sum()


def test_wrong_arguments():
    X, y, _ = data()
    program = program_of(X, y)
    for message, arguments in [
        ("radius", (program, -0.1)),
        ("loss", (program, 0.1, "squared_error")),
        ("skip", (program_of(X, y, skip=True), 0.1)),
        ("relu", (program_of(X, y, activation="gated_relu"), 0.1)),
        ("labels", (program_of(X, y + 1.0), 0.1)),
    ]:
        with pytest.raises(ValueError, match=message):
            solve_adversarial(*arguments)
    network = solve_adversarial(program, 0.1).network
    for message, wrong in (("labels", network), ("relu", replace(network, activation="abs"))):
        with pytest.raises(ValueError, match=message):
            robust_margin_bound(wrong, X, y + 1.0, 0.1)


def test_a_radius_of_zero_is_one_in_every_type():
    network = Network(np.ones((1, 1)), np.zeros(1), np.ones((1, 1)), np.zeros(1))
    for zero in (0, 0.0, np.int64(0), np.float32(0)):
        assert robust_margin_bound(network, [[2.0]], [1.0], zero) == 2.0
    for wrong, error in ((False, TypeError), (np.bool_(False), TypeError), (-0.1, ValueError), (np.inf, ValueError)):
        with pytest.raises(error, match=r"radius must be a (finite )?number of at least 0; got"):
            robust_margin_bound(network, [[2.0]], [1.0], wrong)
