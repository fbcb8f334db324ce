"""What the estimators share: from checked data, an architecture and a loss to trained networks and their certificates.

Samples of weight zero are left out, and samples that are equal in X and y are one, of the sum of their weights: the
objective is the same for every network, so a weight of k is k copies of a sample, to the last digit.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from numbers import Real

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, column_or_1d, validate_data

from .alpha_max import alpha_max_over_all, kappa_at_zero
from .arrangements import Arrangements
from .building import build_program
from .losses import make_loss
from .minimal import minimal_network
from .network import Network
from .program import Program, Solution
from .recovery import recover
from .solvers import WARM_STARTED, get_solver, solve_generation
from .solvers.one_feature import is_spline, solve_one_feature
from .solvers.vector_generation import solve_vector_generation
from .validation import check_choice, check_positive

__all__ = ["REGRESSOR_LOSSES", "Training", "check_weights", "checked_targets", "prepare_training", "regression_loss"]

REGRESSOR_LOSSES = ("squared", "huber", "quantile", "absolute")
# alpha="auto" is this part of alpha_max.
AUTO_FRACTION = 0.01
# Patterns sampled for "adaptive" where they cannot be generated.
SAMPLED_PATTERNS = 1000
# Options of generation alone, and their defaults.
GENERATION = (("scope", "auto"), ("rank", None))


@dataclass(frozen=True, eq=False)
class _Samples:
    """Distinct samples, their weights (None: ones), and the place of each given sample among them."""

    X: np.ndarray
    Y: np.ndarray
    weights: np.ndarray | None
    place: np.ndarray

    @property
    def merged(self):
        """Whether the samples are not those given, one by one."""
        return len(self.X) != len(self.place) or not np.array_equal(self.place, np.arange(len(self.X)))


@dataclass(frozen=True, eq=False)
class Training:
    """The problem of an estimator on its data, to be solved at any alpha.

    Parameters
    ----------
    program : Program
        The convex program over the distinct samples; its own alpha is not used.
    samples : object
        The distinct samples.
    solver : callable
        solve(program, **options) -> Solution.
    options : dict
        Options of the solver.
    generated : bool
        Whether patterns are generated.
    warm : bool
        Whether the solver can start from a solution.
    rng : RandomState
        Source of the starts of searches.
    kept : boolean ndarray of shape (n_samples,)
        Which samples have a weight above zero.
    weights : ndarray or None
        Weights of these samples; None is ones.
    """

    program: Program
    samples: _Samples
    solver: Callable
    options: dict
    generated: bool
    warm: bool
    rng: np.random.RandomState
    kept: np.ndarray
    weights: np.ndarray | None

    @cached_property
    def alpha_max(self):
        """The smallest alpha at which no neuron is active, over given patterns or all, as far as search finds it."""
        if self.generated:
            return alpha_max_over_all(self.program, "local", random_state=self.rng).value
        return kappa_at_zero(self.program)

    def alpha(self, alpha):
        """Return an alpha that may be "auto" as a number."""
        return (AUTO_FRACTION * self.alpha_max or 1.0) if isinstance(alpha, str) else float(alpha)

    def solve(self, alpha: float, start: Solution | None = None) -> Solution:
        """Solve the problem.

        Parameters
        ----------
        alpha : float
            Regularisation strength.
        start : Solution or None, default=None
            A solution of this problem, mostly at another alpha, to start from.

        Returns
        -------
        Solution
            The solution, over the patterns of its neurons where patterns are generated.

        Warns
        -----
        ConvergenceWarning
            If the relative gap stays above the tolerance.
        """
        if start is None or not self.warm:
            return self.solver(self.program.at(alpha), **self.options)
        return self.solver(start.program.at(alpha), W_init=start.W, **self.options)

    def publish(self, model, solution):
        """Set the fitted attributes of an estimator.

        Parameters
        ----------
        model : estimator
            Gets `network_`, `certificate_`, `alpha_`, `alpha_max_`, `arrangements_`, `n_neurons_`, `n_iter_`,
            `history_`, `dual_` and `status_`.
        solution : Solution
            As `solve` returned it.
        """
        samples, program = self.samples, solution.program
        network = _smallest(recover(solution), samples.X)
        # the network's own objective: in extreme units its rounding differs from the program's
        objective = network.objective(samples.X, samples.Y, program.alpha, program.loss)
        model.network_, model.certificate_ = network, replace(solution.certificate, objective=objective)
        model.alpha_, model.alpha_max_ = float(program.alpha), self.alpha_max
        model.arrangements_ = self._patterns_of_all(program)
        model.n_neurons_, model.n_iter_, model.history_ = network.n_neurons, solution.n_iter, solution.history
        model.dual_, model.status_ = self._dual_of_all(solution.dual), solution.status

    def _patterns_of_all(self, program):
        """Return the patterns of a program over distinct samples as patterns of all samples of positive weight."""
        arrangements, samples = program.design.arrangements, self.samples
        if not samples.merged:
            return arrangements
        n_patches = arrangements.n_samples // len(samples.X)
        bits = np.packbits(arrangements.patterns()[:, _rows(samples.place, n_patches)], axis=1)
        return replace(arrangements, bits=bits, n_samples=n_patches * len(samples.place))

    def _dual_of_all(self, dual):
        """Return a dual vector of the distinct samples as one of all samples: copies share it by their weights."""
        samples = self.samples
        weights = np.ones(len(samples.place)) if self.weights is None else self.weights
        shares = weights / np.bincount(samples.place, weights)[samples.place]
        of_all = np.zeros((len(self.kept), dual.shape[1]))
        of_all[self.kept] = shares[:, None] * dual[samples.place]
        return of_all


def prepare_training(model, X, Y, kept, weights, architecture, make_loss):
    """Build the problem of an estimator.

    Parameters
    ----------
    model : estimator
        Has `alpha`, `arrangements`, `solver`, `tol`, `max_iter`, `time_limit`, `random_state`, `verbose`, and maybe
        `scope` and `rank`.
    X : ndarray of shape (n_kept, n_features)
        Inputs of positive weight.
    Y : ndarray of shape (n_kept, n_outputs)
        Their targets, as the loss takes them.
    kept : boolean ndarray of shape (n_samples,)
        Which of the samples given they are.
    weights : ndarray of shape (n_kept,) or None
        Their weights, above zero.
    architecture : Architecture
        The network.
    make_loss : callable
        Returns the loss of sample weights, an array or None.

    Returns
    -------
    Training
        The problem.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described, or parameters do not go together.
    """
    if architecture.activation == "linear" and architecture.hidden_bias == "free":
        architecture = replace(architecture, hidden_bias="none")  # the output bias does what they do
    options = model.get_params(deep=False)
    _check_alpha(options["alpha"])
    arrangements, generated, own = _patterns(options, architecture)
    get_solver(options["solver"])  # an unknown one is an error before anything is done
    samples = _distinct_samples(X, Y, weights)
    rng = check_random_state(options["random_state"])
    loss = make_loss(samples.weights)
    given = _patterns_of_samples(arrangements, samples)
    program = build_program(samples.X, samples.Y, 1.0, given, architecture, rng, loss)
    solver = _solver(program, options["solver"], generated, own)
    limits = {name: options[name] for name in ("tol", "max_iter", "time_limit", "verbose")}
    if generated:
        limits |= {**own, "random_state": rng}
    warm = options["solver"] in WARM_STARTED
    return Training(program, samples, solver, limits, generated, warm, rng, kept, weights)


def check_weights(sample_weight, X, y):
    """Check sample weights, and leave out samples whose weight is zero.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,), float or None
        What the user gave.
    X : ndarray of shape (n_samples, n_features)
        Inputs.
    y : ndarray of shape (n_samples, ...)
        Targets.

    Returns
    -------
    X, y : ndarray
        The samples of positive weight.
    kept : boolean ndarray of shape (n_samples,)
        Which they are.
    weights : ndarray or None
        Their weights.

    Raises
    ------
    ValueError
        If the weights are not one finite number of at least 0 for each sample, or are all zero.
    """
    if sample_weight is None:
        return X, y, np.ones(len(X), bool), None
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
    if not (weights >= 0).all():
        raise ValueError(f"sample_weight must not be negative; got {weights.min()}")
    kept = weights > 0
    if not kept.any():
        raise ValueError("sample_weight must have at least one number above zero; all weights are zero")
    return X[kept], y[kept], kept, weights[kept]


def checked_targets(model, X, y, sample_weight):
    """Check the data of a regression, and leave out samples whose weight is zero.

    Parameters
    ----------
    model : estimator
        Whose attributes about features are set.
    X : array-like of shape (n_samples, n_features)
        Inputs.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets.
    sample_weight : array-like of shape (n_samples,) or None
        Sample weights.

    Returns
    -------
    X, Y, kept, weights
        As `check_weights` returns them; Y of shape (n_kept, n_outputs).

    Raises
    ------
    ValueError
        If the data are not finite numbers of these shapes.
    """
    X, y = validate_data(model, X, y, dtype=np.float64, y_numeric=True, multi_output=True)
    y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
    return check_weights(sample_weight, X, y.reshape(len(y), -1))


def regression_loss(model):
    """Return what makes the loss of a regressor from sample weights.

    Parameters
    ----------
    model : estimator
        Has a `loss`, and `delta` and `quantile`.

    Returns
    -------
    callable
        As `prepare_training` takes it.

    Raises
    ------
    ValueError
        If there is no such loss.
    """
    return partial(
        make_loss, check_choice("loss", model.loss, REGRESSOR_LOSSES), delta=model.delta, quantile=model.quantile
    )


def _check_alpha(alpha):
    if isinstance(alpha, str) and alpha == "auto":
        return alpha
    if not isinstance(alpha, Real):
        raise TypeError(f'alpha must be a number above 0 or "auto"; got {alpha!r} of type {type(alpha).__name__}')
    return check_positive("alpha", alpha)


def _patterns(options, architecture):
    """Return the arrangements to build with, whether they are generated, and the options of generation."""
    arrangements, own = options["arrangements"], {name: options.get(name, default) for name, default in GENERATION}
    check_choice("scope", own["scope"], ("auto", "local", "global"))
    adaptive = isinstance(arrangements, str) and arrangements == "adaptive"
    if adaptive and not _generated(architecture):
        adaptive, arrangements = False, SAMPLED_PATTERNS
    for name, default in GENERATION:
        if own[name] != default and not adaptive:
            raise ValueError(
                f'{name} must be {default!r} but for "adaptive" arrangements of networks whose patterns are generated '
                '(activation "relu", "leaky_relu" or "abs", hidden_norm="l2", no max pooling); '
                f"got {own[name]!r}"
            )
    return arrangements, adaptive, own


def _generated(architecture):
    pooled_by_max = architecture.patches is not None and architecture.patches.pooling == "max"
    return architecture.constrained and architecture.hidden_norm == "l2" and not pooled_by_max


def _solver(program, name, adaptive, own):
    """Return the solver of a program; raise ValueError where the one asked for does not solve it."""
    if program.coupled and not adaptive:
        raise ValueError(
            'arrangements must be "adaptive" for several outputs with output_penalty="weight_decay" and activation '
            f'{program.architecture.activation!r}; output_penalty="l1" takes all'
        )
    if adaptive and name not in ("auto", "generation"):
        program.require_patterns()
    if program.coupled:
        if own.pop("rank") is not None or own["scope"] == "global":
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
    if adaptive and name == "auto" and is_spline(program):
        return solve_one_feature
    return solve_generation if adaptive else get_solver(name)


def _distinct_samples(X, Y, weights):
    """Return samples without copies; where there are weights or copies, in an order that is theirs alone."""
    rows = np.ascontiguousarray(np.column_stack([X, Y]) + 0.0)  # -0.0 is 0.0
    keys = rows.view(f"V{rows.itemsize * rows.shape[1]}").ravel()
    first, place = np.unique(keys, return_index=True, return_inverse=True)[1:]
    totals = np.bincount(place, weights)
    if len(first) == len(X) and (totals == 1).all():
        return _Samples(X, Y, None, np.arange(len(X)))
    return _Samples(X[first], Y[first], None if (totals == 1).all() else totals.astype(float), place)


def _patterns_of_samples(arrangements, samples):
    """Return given patterns of all samples as those of the distinct ones; what else was asked for as it is."""
    if not isinstance(arrangements, Arrangements) or not samples.merged:
        return arrangements
    if arrangements.n_samples % len(samples.place):
        return arrangements  # of other data, which is an error where the program is built
    n_patches = arrangements.n_samples // len(samples.place)
    first = np.unique(samples.place, return_index=True)[1]
    bits = np.packbits(arrangements.patterns()[:, _rows(first, n_patches)], axis=1)
    kept = np.sort(np.unique(bits, axis=0, return_index=True)[1])
    return Arrangements(bits[kept], arrangements.gates[kept], n_patches * len(first), arrangements.complete)


def _rows(index, n_patches):
    """Return the rows of samples, of which each has `n_patches`."""
    return (index[:, None] * n_patches + np.arange(n_patches)).ravel()


def _smallest(network, X):
    """Return a network of as few neurons as linear algebra on X allows, where that keeps the weight decay."""
    if isinstance(network, Network) and network.hidden_norm == "l2" and network.activation != "threshold":
        return minimal_network(network, X)
    return network
