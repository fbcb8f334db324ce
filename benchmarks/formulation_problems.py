"""Tiny random problems of the cases, and every way to solve them.

`pose` draws a problem, at a fraction of the alpha above which no neuron is active, and returns a `Posed`: the
reference, the engine and generation, to be called for an `Outcome`, and the network's own nonconvex objective, for
restarts.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from convexnn import Architecture
from convexnn.losses import make_loss
from convexnn.model.building import build_program
from convexnn.networks.recovery import recover
from convexnn.pricing.alpha_max import alpha_max_over_all, kappa_at_zero
from convexnn.pricing.zero_dual import dual_at_zero
from convexnn.solvers import solve_generation, solve_given, solve_reference
from convexnn.solvers.vector_generation import solve_vector_generation
from convexnn.special import (
    minimum_norm_interpolation,
    robust_margin_bound,
    solve_adversarial,
    solve_gated_ridge,
    solve_polynomial,
    solve_spline,
)
from convexnn.special.polynomial import polynomial_kappa

from .formulation_cases import LABELS
from .formulation_references import adversarial, loss_value, polynomial, ridge, threshold_samples

__all__ = ["Outcome", "Posed", "draw", "pose"]

# Parameters of losses, the slope of leaky activations, and the radius of perturbations.
DELTA, QUANTILE, SLOPE, RADIUS = 0.5, 0.8, 0.2, 0.05
# Gaps that the reference and other solvers are asked for, and seconds that they may take.
REFERENCE_TOL, TOL, SECONDS = 1e-8, 1e-7, 20.0
# Part of the alpha above which no neuron is active.
SHARE = 0.1
# Draws of data until the free columns do not fit them.
ATTEMPTS = 20
# Largest misfit of an exact fit, relative to |Y|, and alpha of the absolute error, relative to where it penalises.
MISFIT, PENALTY_PART = 1e-9, 0.3
# Fixed gates of gated networks, and hidden neurons of the restarts.
N_GATES, N_NEURONS = 6, 10


class Outcome(NamedTuple):
    """What a solver says of a problem: the objective, what it proves, and the objective of the network recovered."""

    objective: float
    lower_bound: float | None = None
    scope: str | None = None
    network: float | None = None


class Posed(NamedTuple):
    """A problem: solvers to call (None where there is none), and the restarts.

    `restarts` is a tuple of arguments of the oracle's `NetworkProblem`, or a callable (n_restarts, seed) -> least
    objective found, or None; `scale` takes their objectives to those of the solvers.
    """

    alpha: float
    reference: Callable | None
    engine: Callable | None
    generation: Callable | None
    restarts: object = None
    scale: float = 1.0


def pose(case, seed):
    """Draw a problem of a case.

    Parameters
    ----------
    case : Case
        The case.
    seed : int
        The number of the problem.

    Returns
    -------
    Posed
        The problem.
    """
    for attempt in range(ATTEMPTS):
        with suppress(_NothingToFitError):
            return POSERS[case.kind](case, *draw(case, seed, attempt))
    raise RuntimeError(f"{case.name}, problem {seed}: no data that the free columns do not fit")


class _NothingToFitError(Exception):
    """The free columns alone fit the data: the optimum is zero, and no difference is relative to it."""


def _alpha(largest):
    """Return the alpha of a problem whose alpha_max this is."""
    if largest == 0:
        raise _NothingToFitError
    return SHARE * largest


def draw(case, seed, attempt=0):
    """Draw the data of a problem.

    Parameters
    ----------
    case : Case
        The case.
    seed : int
        The number of the problem.
    attempt : int, default=0
        How many draws before it had nothing to fit.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Inputs.
    Y : ndarray of shape (n_samples, n_outputs)
        Targets.
    weight : ndarray of shape (n_samples,) or None
        Weights of samples, where the case has them.
    """
    rng = np.random.default_rng([seed, 5, attempt][: 3 if attempt else 2])
    X = rng.standard_normal((case.n_samples, case.n_features))
    Y = _targets(case, rng)
    return X, Y, rng.uniform(0.5, 2.0, len(X)) if case.weighted else None


def _targets(case, rng):
    n, c = case.n_samples, case.n_outputs
    if case.loss in LABELS:
        return np.append([1.0, -1.0], rng.choice([-1.0, 1.0], n - 2))[:, None]
    if case.loss == "softmax":
        return np.eye(c)[np.append(np.arange(c), rng.integers(0, c, n - c))]
    return 2.0 * rng.standard_normal((n, c))


def _program(case, X, Y, weight):
    """Pose a program over given patterns; its generation where patterns can be found."""
    architecture, loss = _architecture(case), _loss(case, weight)
    fixed = case.architecture.get("activation") == "gated_relu"
    program = build_program(X, Y, 1.0, N_GATES if fixed else "all", architecture, random_state=0, loss=loss)
    program = program.at(_alpha(kappa_at_zero(program)))

    def outcome(solution):
        return _outcome(case, X, Y, weight, solution.certificate, program.alpha, recover(solution))

    return Posed(
        program.alpha,
        lambda: outcome(solve_reference(program, tol=REFERENCE_TOL, time_limit=SECONDS)),
        lambda: outcome(solve_given(program, tol=TOL, time_limit=SECONDS)),
        _generation(case, X, Y, program, outcome),
        _restarts(case, X, Y, weight, program),
    )


def _generation(case, X, Y, program, outcome):
    if not case.generated:
        return None
    adaptive = build_program(X, Y, program.alpha, "adaptive", program.architecture, loss=program.loss)
    options = {"tol": TOL, "time_limit": SECONDS, "random_state": 0}
    return lambda: outcome(solve_generation(adaptive, **options))


def _interpolation(case, X, Y, weight):
    """Exact fits of least norm. Restarts minimise the absolute error: for a small alpha it is an exact penalty."""
    architecture = _architecture(case)

    def solve(arrangements, solver, tol, **options):
        options |= {"solver": solver, "tol": tol, "random_state": 0}
        result = minimum_norm_interpolation(X, Y, architecture, arrangements, **options)
        misfit = np.abs(result.network.predict(X).reshape(Y.shape) - Y).max()
        norm = result.network.weight_decay() if misfit <= MISFIT * np.abs(Y).max() else np.inf
        return Outcome(*_proved(result.certificate), norm), result

    known = solve("all", "cvxpy", REFERENCE_TOL)[1]
    alpha = PENALTY_PART / np.abs(known.dual).max()
    return Posed(
        1.0,
        lambda: solve("all", "cvxpy", REFERENCE_TOL)[0],
        lambda: solve("all", "auto", TOL, time_limit=SECONDS)[0],
        (lambda: solve("adaptive", "auto", TOL, time_limit=SECONDS)[0]) if case.generated else None,
        _oracle_options(case, X, Y, weight, known.solution.program) | {"loss": "absolute_error", "alpha": alpha},
        1.0 / alpha,
    )


def _vector(case, X, Y, weight):
    """Several outputs with weight decay: no program over cells, but generation."""
    program = build_program(X, Y, 1.0, "adaptive", _architecture(case), loss=_loss(case, weight))
    program = program.at(_alpha(alpha_max_over_all(program, random_state=0).value))

    def solve():
        solution = solve_vector_generation(program, tol=TOL, time_limit=SECONDS, random_state=0)
        return _outcome(case, X, Y, weight, solution.certificate, program.alpha, recover(solution))

    return Posed(program.alpha, None, None, solve, _oracle_options(case, X, Y, weight, program))


def _ridge(case, X, Y, weight):
    """Gated networks with a ridge: kernel methods. The problem is convex as it is, so there are no restarts."""
    program = build_program(X, Y, 1.0, N_GATES, _architecture(case), random_state=0, loss=_loss(case, weight))

    def solve():
        solution = solve_gated_ridge(program)
        fit = solution.network.predict(X).reshape(Y.shape)
        network = loss_value(case.loss, Y, fit, weight, DELTA, QUANTILE) + 0.5 * np.sum(solution.solution.W**2)
        return Outcome(*_proved(solution.certificate), network)

    patterns = program.design.arrangements.patterns()
    rows, free = program.design.X, program.free
    reference = ridge(case.loss, rows, Y, patterns, free, 1.0, weight, DELTA, QUANTILE)
    return Posed(1.0, lambda: Outcome(reference()), solve, None)


def _polynomial(case, X, Y, weight):
    """Polynomial activations: a semidefinite program. Other networks with the same loss give the dual at zero."""
    loss, coefficients = _loss(case, weight), case.options["coefficients"]
    program = build_program(X, Y, 1.0, "adaptive", Architecture(output_penalty="l1"), loss=loss)
    alpha = _alpha(polynomial_kappa(X, dual_at_zero(program), coefficients))

    def solve():
        solution = solve_polynomial(X, Y, alpha, loss, coefficients, tol=TOL)
        network = solution.network
        value = loss_value(case.loss, Y, network.predict(X).reshape(Y.shape), weight, DELTA, QUANTILE)
        return Outcome(*_proved(solution.certificate), value + alpha * np.abs(network.W2).sum())

    reference = polynomial(case.loss, X, Y, coefficients, alpha, weight, DELTA, QUANTILE)
    options = {"activation": "polynomial", "polynomial": coefficients, "fit_intercept": True, "output_penalty": "l1"}
    restarts = _losses(case, X, Y, weight, alpha) | options
    return Posed(alpha, lambda: Outcome(reference()), solve, None, restarts)


def _adversarial(case, X, Y, weight):
    """Adversarial training: the network recovered keeps its margins within the radius."""
    program = build_program(X, Y, 1.0, "all", _architecture(case), loss=make_loss("hinge"))
    program = program.at(_alpha(kappa_at_zero(program)))

    def solve():
        solution = solve_adversarial(program, RADIUS, case.loss, tol=TOL)
        network = solution.network
        margins = robust_margin_bound(network, X, Y, RADIUS)[:, None]
        value = loss_value(case.loss, np.ones_like(margins), margins, None, DELTA, QUANTILE)
        return Outcome(*_proved(solution.certificate), value + program.alpha * network.weight_decay())

    patterns = program.design.arrangements.patterns()
    reference = adversarial(case.loss, program.design.X, Y[:, 0], patterns, RADIUS, program.alpha)
    return Posed(program.alpha, lambda: Outcome(reference()), solve, None)


def _spline(case, X, Y, weight):
    """One feature with free biases: the spline is the engine, the program over all cells the reference."""
    posed = _program(case, X, Y, weight)

    def solve():
        skip = case.architecture.get("skip", False)
        solution = solve_spline(X, Y, posed.alpha, _loss(case, weight), skip=skip, tol=TOL)
        return _outcome(case, X, Y, weight, solution.certificate, posed.alpha, solution.network)

    return posed._replace(engine=solve)


POSERS = {
    "program": _program,
    "vector": _vector,
    "ridge": _ridge,
    "polynomial": _polynomial,
    "adversarial": _adversarial,
    "spline": _spline,
    "interpolation": _interpolation,
}


def _architecture(case):
    return Architecture(**{"negative_slope": SLOPE, **case.architecture})


def _loss(case, weight):
    return make_loss(case.loss, weight, delta=DELTA, quantile=QUANTILE)


def _proved(certificate):
    return certificate.objective, certificate.lower_bound, certificate.scope


def _outcome(case, X, Y, weight, certificate, alpha, network):
    """Return the outcome with the objective of the network written out."""
    fit = network.predict(X).reshape(Y.shape)
    value = loss_value(case.loss, Y, fit, weight, DELTA, QUANTILE) + alpha * network.weight_decay()
    return Outcome(*_proved(certificate), value)


def _losses(case, X, Y, weight, alpha):
    return {
        "X": X,
        "Y": Y,
        "alpha": alpha,
        "n_neurons": N_NEURONS,
        "loss": case.loss,
        "delta": DELTA,
        "quantile": QUANTILE,
        "sample_weight": weight,
    }


def _restarts(case, X, Y, weight, program):
    """Return what the restarts of a program need; threshold networks have no gradient: random neurons."""
    if case.architecture.get("activation") != "threshold":
        return _oracle_options(case, X, Y, weight, program)
    bias, free = program.architecture.hidden_bias == "penalized", program.free
    return threshold_samples(case.loss, X, Y, bias, free, program.alpha, weight, DELTA, QUANTILE)


def _oracle_options(case, X, Y, weight, program):
    """Return the arguments of the oracle's NetworkProblem for a program's network."""
    a = program.architecture
    options = _losses(case, X, Y, weight, program.alpha) | {
        "activation": a.activation,
        "hidden_bias": a.hidden_bias,
        "fit_intercept": a.fit_intercept,
        "skip": a.skip,
        "output_penalty": a.output_penalty,
        "hidden_norm": "l1" if a.hidden_norm == "l1" else "l2",
        "circular": a.circular_shape if a.hidden_norm == "circular" else None,
    }
    if a.activation == "leaky_relu":
        options["slope"] = a.negative_slope
    if a.patches is not None:
        options |= {"X": a.patches.extract(X), "pooling": a.patches.pooling}
    if a.activation == "gated_relu":
        masks = program.design.arrangements.patterns()
        n_columns = program.block_shape[2]
        options["gates"] = masks.reshape(len(masks), len(X), -1)
        options["n_neurons"] = len(masks) * min(n_columns, program.block_shape[1])
        if options["gates"].shape[2] == 1:
            options["gates"] = options["gates"][:, :, 0]
    return options
