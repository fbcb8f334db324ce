"""What the estimators share: from checked data, an architecture and a loss to trained networks and their certificates.

A `Training` is the convex program of an estimator on its distinct samples (`samples`), for any alpha.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from ..model.building import build_program
from ..model.certificate import contradicts
from ..model.penalties import Nuclear
from ..model.program import Program, Solution
from ..model.reduction import Samples
from ..model.rounding import objective_rounding
from ..model.summary import Status
from ..networks.minimal import minimal_network
from ..networks.network import Network
from ..networks.recovery import recover
from ..pricing.alpha_max import alpha_max_over_all, kappa_at_zero
from ..solvers import WARM_STARTED, get_solver, solve_generation
from ..solvers.uncertified import solve_uncertified
from ..solvers.vector_generation import solve_vector_generation
from ..special.spline import is_spline, solve_one_feature
from ..utils.deadline import affords, remaining, within
from ..utils.quiet import ignoring, warn
from ..utils.validation import check_array, check_choice, check_count, check_size, check_sizes, shown

__all__ = ["Training", "prepare_training"]

# alpha="auto" is this fraction of alpha_max.
AUTO_FRACTION = 0.01
# The fraction of the time of a fit that the search for alpha_max may take.
SEARCH_FRACTION = 0.3
# Patterns sampled for "adaptive" where they cannot be generated.
SAMPLED_PATTERNS = 1000
# The fraction of the time that is left which the solver has: alpha_max and the network come after it.
SOLVER_FRACTION = 0.85
# Options of generation alone, and their defaults.
GENERATION = (("scope", "auto"), ("rank", None))


@dataclass(frozen=True, eq=False)
class Training:
    """The problem of an estimator on its data, to be solved at any alpha.

    `program` is over the distinct `samples`, and its own alpha is not used. `solver`(program, **options) returns a
    Solution; it can start from another one where `warm`, and generates the patterns where `generated`. `kept`
    (n_samples,) says which samples have a positive weight, and `weights` has these weights, None for ones.
    `known_alpha_max` is `alpha_max` where it is known or not wanted; None searches for it. `minimal` reduces networks
    to as few neurons as linear algebra allows. `hidden_bias` is that of the networks, which the program may treat in
    another way (`Architecture.solved_for`).
    """

    program: Program
    samples: Samples
    solver: Callable
    options: dict
    generated: bool
    warm: bool
    rng: np.random.RandomState
    kept: np.ndarray
    weights: np.ndarray | None
    known_alpha_max: float | None = None
    minimal: bool = True
    hidden_bias: str = "penalized"

    @cached_property
    def alpha_max(self) -> float:
        """The smallest alpha at which no neuron is active, over given patterns or all, as far as the search finds it.

        It is too small where SEARCH_FRACTION of the time left, the rest of which is for training, is not enough for the
        search.
        """
        if self.known_alpha_max is not None:
            return self.known_alpha_max
        if self.program.fits_freely:  # which is found, and kept, in all of the time
            return 0.0
        return within(SEARCH_FRACTION * remaining(), self._alpha_max)

    def _alpha_max(self):
        if self.generated:
            return alpha_max_over_all(self.program, "local", random_state=self.rng).value
        return kappa_at_zero(self.program)

    def alpha(self, alpha):
        """Return an alpha that may be "auto" as a number."""
        return (AUTO_FRACTION * self.alpha_max or 1.0) if isinstance(alpha, str) else float(alpha)

    def solve(self, alpha: float, start: Solution | None = None) -> Solution:
        """Solve the problem at an alpha, from a solution `start` (mostly at another alpha) where the solver can.

        Where patterns are generated, the solution is over those of its neurons. Warns (ConvergenceWarning) where the
        relative gap stays above the tolerance.
        """
        seconds = self.options["time_limit"]
        seconds = SOLVER_FRACTION * (remaining() if seconds is None else min(seconds, remaining()))
        if start is None or not self.warm:
            return within(seconds, self.solver, self.program.at(alpha), **self.options)
        return within(seconds, self.solver, start.program.at(alpha), W_init=start.W, **self.options)

    def within(self, seconds: float) -> Training:
        """Return the problem with a time limit of some seconds, unless its own is shorter.

        Searches for alpha_max first, outside that limit.
        """
        limit = self.options["time_limit"]
        options = self.options | {"time_limit": seconds if limit is None else min(limit, seconds)}
        return replace(self, options=options, known_alpha_max=self.alpha_max)

    def for_scores(self, tol: float) -> Training:
        """Return the problem for networks that are only scored: by descent where patterns are generated, else to `tol`.

        Its alpha_max is NaN.
        """
        changed = {"options": self.options | {"tol": max(tol, self.options["tol"])}, "known_alpha_max": float("nan")}
        if self.generated:
            for name, _ in GENERATION:
                changed["options"].pop(name, None)
            changed["solver"] = solve_uncertified
        return replace(self, minimal=False, **changed)

    def publish(self, model, solution):
        """Set the fitted attributes of an estimator (`network_`, `certificate_` and others) from what `solve` returned.

        The network has no neurons where rounding makes that better. Warns (ConvergenceWarning) where the gap of the
        network is above the tolerance, though that of its program is not.
        """
        samples, program = self.samples, solution.program
        network = recover(solution)
        if self.hidden_bias != program.architecture.hidden_bias:
            network = replace(network, hidden_bias=self.hidden_bias)
        if self.minimal and affords(len(samples.X) * network.W2.size * network.n_neurons):
            network = _smallest(network, samples.X)
        # the network's own objective: in extreme units its rounding differs from the program's
        objective = network.objective(samples.X, samples.Y, program.alpha, program.loss)
        W, beta = program.zero()
        if network.n_neurons and not objective <= program.objective(W, beta):  # rounding: worse than no neuron
            network = recover(replace(solution, W=W, beta=beta))
            objective = network.objective(samples.X, samples.Y, program.alpha, program.loss)
        known, tol = solution.certificate, self.options["tol"]
        rounding = objective_rounding(network, samples.X, samples.Y, program.alpha, program.loss)
        certificate = known.of(objective, rounding)
        status = Status.SOLVED if certificate.reaches(tol) else solution.status
        if contradicts(objective, known.lower_bound, known.negligible + rounding):
            status = Status.MISSED
        elif solution.converged and not certificate.reaches(tol):
            status = Status.CANCELLED
            warn(
                f"the solver was {status}, of which the relative gap, {certificate.gap:.2e}, is made: standardise the "
                "features, or drop one of those that are nearly dependent",
                ConvergenceWarning,
            )
        model.network_, model.certificate_ = network, certificate
        model.alpha_, model.alpha_max_ = float(program.alpha), self.alpha_max
        model.arrangements_ = samples.invert(program.design.arrangements)
        model.n_neurons_, model.n_iter_, model.history_ = network.n_neurons, solution.n_iter, solution.history
        model.status_, model.tol_ = str(status), tol
        model.dual_ = np.zeros((len(self.kept), solution.dual.shape[1]))
        model.dual_[self.kept] = samples.invert_dual(solution.dual, self.weights)

    def grid(self, alphas: ArrayLike | None, n_alphas: int, eps: float) -> np.ndarray:
        """Return the alphas of a path in decreasing order: those given, or `n_alphas` down from alpha_max.

        The last of `n_alphas` is eps * alpha_max. Raises ValueError where an argument is not as it should be.
        """
        if alphas is not None:
            alphas = check_array(alphas, ensure_2d=False, input_name="alphas")
            if alphas.ndim != 1 or not (alphas > 0).all():
                raise ValueError(f"alphas must be numbers above 0, in one dimension; got {alphas!r}")
            check_sizes("alphas", alphas)
            return np.sort(alphas)[::-1]
        n_alphas = check_count("n_alphas", n_alphas)
        if not isinstance(eps, Real) or not 0 < eps < 1:
            raise ValueError(f"eps must be a number above 0 and below 1; got {shown(eps)}")
        return (self.alpha_max or 1.0) * np.geomspace(1.0, eps, n_alphas)


def prepare_training(model, X, Y, kept, weights, architecture, make_loss):
    """Build the problem of an estimator from checked data; raise where its parameters do not fit, or not one another.

    X (n_kept, n_features), the targets Y (n_kept, n_outputs) as the loss takes them, and `weights` (or None) are of the
    samples of positive weight, which `kept` (n_samples,) marks. `make_loss` returns the loss of sample weights.
    """
    given, architecture = architecture, architecture.solved_for(X)
    options = model.get_params(deep=False)
    _check_alpha(options["alpha"])
    arrangements, generated, own = _patterns(options, architecture)
    get_solver(options["solver"])  # an unknown one is an error before anything is done
    samples = Samples.distinct(X, Y, weights)
    rng = check_random_state(options["random_state"])
    loss = make_loss(samples.weights)
    arrangements = samples.apply(arrangements)
    unasked = _is_adaptive(options["arrangements"])  # for a number of patterns: that there are fewer is no news
    with ignoring(UserWarning, "only ") if unasked else nullcontext():
        program = build_program(samples.X, samples.Y, 1.0, arrangements, architecture, rng, loss)
    solver = _solver(program, options["solver"], generated, own)
    limits = {name: options[name] for name in ("tol", "max_iter", "time_limit", "verbose")}
    if generated:
        limits |= {"scope": own["scope"], "random_state": rng}
        if not program.shares_neurons:
            limits["rank"] = own["rank"]
    warm = options["solver"] in WARM_STARTED
    known = {"hidden_bias": given.hidden_bias}
    return Training(program, samples, solver, limits, generated, warm, rng, kept, weights, **known)


def _check_alpha(alpha):
    if isinstance(alpha, str) and alpha == "auto":
        return alpha
    if not isinstance(alpha, Real):
        raise TypeError(f'alpha must be a number above 0 or "auto"; got {shown(alpha)} of type {type(alpha).__name__}')
    return check_size("alpha", alpha)


def _patterns(options, architecture):
    """Return the arrangements to build with, whether they are generated, and the options of generation."""
    arrangements, own = options["arrangements"], {name: options.get(name, default) for name, default in GENERATION}
    check_choice("scope", own["scope"], ("auto", "local", "global"))
    adaptive = _is_adaptive(arrangements)
    if adaptive and not _generated(architecture):
        adaptive, arrangements = False, SAMPLED_PATTERNS
    for name, default in GENERATION:
        if own[name] != default and not adaptive:
            raise ValueError(
                f'{name} must be {default!r} but for "adaptive" arrangements of networks whose patterns are generated '
                '(activation "relu", "leaky_relu" or "abs", hidden_norm="l2", no max pooling); '
                f"got {shown(own[name])}"
            )
    return arrangements, adaptive, own


def _is_adaptive(arrangements):
    return isinstance(arrangements, str) and arrangements == "adaptive"


def _generated(architecture):
    pooled_by_max = architecture.patches is not None and architecture.patches.pooling == "max"
    return architecture.constrained and architecture.hidden_norm == "l2" and not pooled_by_max


def _solver(program, name, adaptive, own):
    """Return the solver of a program; raise ValueError where the one asked for, with options `own`, is not for it."""
    if program.shares_neurons and not adaptive:
        raise ValueError(
            'arrangements must be "adaptive" for several outputs with output_penalty="weight_decay" and activation '
            f'{program.architecture.activation!r}; output_penalty="l1" takes all'
        )
    if adaptive and name not in ("auto", "generation"):
        program.require_patterns()
    if program.shares_neurons:
        if own["rank"] is not None or own["scope"] == "global":
            raise ValueError(
                'scope must be "auto" or "local", and rank None, for several outputs with '
                'output_penalty="weight_decay"; output_penalty="l1" takes all'
            )
        return solve_vector_generation
    if name in ("newton", "fista") and not program.by_prox:
        raise ValueError(
            f'solver must be "auto", "conic" or "cvxpy" for hidden_norm={program.architecture.hidden_norm!r}; '
            f"got {name!r}"
        )
    if name == "generation" and not program.architecture.constrained:
        raise ValueError(
            'solver "generation" is for activation "relu", "leaky_relu" or "abs", whose patterns are those of the '
            f"weights; got {program.architecture.activation!r}"
        )
    if name == "conic" and isinstance(program.penalty, Nuclear):
        raise ValueError(
            'solver must be "auto", "newton", "fista" or "cvxpy" for output_penalty="weight_decay" with several '
            'outputs, or pooling="none"; got "conic"'
        )
    if adaptive and name == "auto" and is_spline(program):
        return solve_one_feature
    return solve_generation if adaptive else get_solver(name)


def _smallest(network, X):
    """Return a network of as few neurons as linear algebra on X allows, of no more weight decay."""
    return minimal_network(network, X) if isinstance(network, Network) else network
