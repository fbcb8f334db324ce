"""The smallest alpha at which no neuron is active: alpha_max = kappa(-grad L(0)).

A non-smooth loss has many gradients there; then it is the least kappa of all of them (`zero_dual`).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from ..geometry.arrangements import Arrangements
from ..model.architecture import Architecture
from ..model.building import build_program
from ..model.reduction import Reduction
from ..utils.deadline import is_up, remaining, until_up, within
from ..utils.validation import check_array, check_choice, check_flag, check_positive
from .kappa import kappa, kappa_bound
from .proof import Prover
from .search import CellSearch
from .survey import SURVEYED, THIN_DATA, Survey
from .vector_search import VectorSearch
from .zero_dual import dual_at_zero, least_kappa, neurons_of_search, neurons_of_vectors

__all__ = ["AlphaMax", "alpha_max", "alpha_max_over_all", "kappa_at_zero"]

# Starts of the searches, in units of the usual number; the second is for values that are to be right.
STARTS = (1, 4)
# The same for non-smooth losses, which take many searches.
KINKED_STARTS = (0.1, 1, 4)
# Relative distance of the bounds at which they are one, and the cones that an unasked proof may take.
PROVED_TOL, PROOF_NODES = 1e-9, 200_000
# Relative difference of the objective of the zero network and the dual value at its dual vector, beyond which that has
# few digits.
KNOWN_TOL = 1e-6
# The same as PROVED_TOL for values of non-smooth losses that are only searched for: these are above alpha_max by as
# much, since to find it to more digits takes many searches.
LOCAL_TOL = 1e-3
# Seconds that an unasked proof may take, about, by a count of its cones.
PROOF_SECONDS = 1.0
# Seconds that a proof has at least, for an upper bound.
LEAST_SECONDS = 0.01


class AlphaMax(NamedTuple):
    """What is known of alpha_max.

    Parameters
    ----------
    value : float
        The largest value of kappa(-grad L(0)) that was found, for the gradient, of a non-smooth loss the subgradient,
        of least kappa: below it some neuron is active.
    upper : float
        A proved upper bound: at and above it no neuron is active; inf where nothing was proved.
    scope : {"sampled", "local", "global"}
        "global": both are one, up to rounding, over all patterns. "local": `value` may be too small. "sampled": the
        value is exact over the given patterns.

    Examples
    --------
    >>> from convexnn.pricing import alpha_max
    >>> X, y = [[2, 2], [3, 3], [1, 0]], [1, 2, -1]
    >>> known = alpha_max(X, y, hidden_bias="none", fit_intercept=False, return_bounds=True)
    >>> round(known.value, 6), known.upper - known.value < 1e-6, known.scope
    (10.630146, True, 'global')
    """

    value: float
    upper: float
    scope: str


def kappa_at_zero(program):
    """Return alpha_max over the patterns of a program, a lower bound where time is up; its alpha is not used."""
    return _over_patterns(program).value


def _over_patterns(program):
    """Return what is known over the patterns of a program."""
    if program.fits_freely:
        return AlphaMax(0.0, 0.0, program.scope)
    V, norm, upper, scope = program.any_dual_at_zero(), None, np.inf, "local"
    with until_up():
        V = dual_at_zero(program)
        norm = kappa(program, V)
        if _is_known(program, V):
            upper, scope = float(kappa_bound(program, V) * program.relaxation), program.scope
        elif program.scope == "sampled":
            scope = "sampled"
    norm = _at_gates(program, V) if norm is None else float(norm)
    return AlphaMax(norm if norm > program.dual_rounding(V) else 0.0, upper if scope == "global" else np.inf, scope)


def alpha_max_over_all(program, scope="auto", random_state=None):
    """Return alpha_max over all patterns, an AlphaMax; the patterns and the alpha of the program are not used.

    Scope "local" searches only, "global" proves the value, "auto" tries to for a second. Several outputs with weight
    decay, and max pooling, are searched only.
    """
    if program.fits_freely:  # what is rounding beside y is not beside what the free part leaves of y
        return AlphaMax(0.0, 0.0, "global")
    V = program.any_dual_at_zero()
    most, rounding, known = program.free_kappa(V), program.dual_rounding(V), _is_known(program, V)
    if most <= 2 * rounding or is_up():
        value = _along_gradients(program, V) if most > 2 * rounding else 0.0
        upper, kind = most * program.relaxation if known else np.inf, "global" if known and value == 0.0 else "local"
        return AlphaMax(value if value > rounding else 0.0, float(upper), kind)
    reduction = Reduction.of(program, program.zero()[1])
    problem = reduction.program
    V, rng = problem.any_dual_at_zero(), check_random_state(random_state)
    smooth = problem.loss.smooth
    upper, kind, proved = np.inf, "local", smooth
    value, searches = _along_gradients(problem, V), []
    many = V.shape[1] > 1 or problem.design.X.size > THIN_DATA  # of searches, or of cells
    with until_up():
        if not smooth:
            factors = KINKED_STARTS[: 2 if scope == "local" else 3]
            if program.shares_neurons:
                neurons = neurons_of_vectors(problem, VectorSearch(problem.design, rng), factors, is_up)
            else:
                searches = [CellSearch(problem.design, rng, problem.selects) for _ in V.T]
                neurons = neurons_of_search(problem, searches, factors, is_up)
            zero = least_kappa(problem, V, neurons, tol=LOCAL_TOL if scope == "local" else PROVED_TOL, over=is_up)
            V, value, proved = zero.V, zero.value, zero.lower >= (1 - PROVED_TOL) * zero.value
        elif program.shares_neurons:
            search, none = VectorSearch(problem.design, rng), np.zeros((0, problem.design.X.shape[1]))
            value = max(value, search.maxima(V, 0.0, none, search.n_starts, is_up).values.max(initial=0.0))
        elif scope == "local" and many and not problem.selects:
            value = max(value, _survey(problem, V, rng))
        else:
            found = [_search(problem, V[:, [c]], scope, rng) for c in range(V.shape[1])]
            value, searches = max(value, *(value for value, _ in found)), [search for _, search in found]
    known = scope != "local" and _is_known(problem, V)
    if known:
        upper = problem.free_kappa(V) * problem.relaxation + problem.dual_neglected(V)
    if known and not problem.selects and not program.shares_neurons:
        limits, prover = {"time_limit": max(remaining(), LEAST_SECONDS)}, Prover(problem)
        if limits["time_limit"] == np.inf:
            limits["time_limit"] = None
        if scope == "auto":
            limits["max_nodes"] = min(PROOF_NODES, prover.nodes_in(PROOF_SECONDS))
        with until_up():
            threshold = (1 + PROVED_TOL) * value or problem.dual_rounding(V)
            bounds = [
                prover.bound(V[:, [c]], threshold, starts=found, refute=False, **limits)
                for c, found in enumerate([search.found for search in searches] or [None] * V.shape[1])
            ]
            value = max(value, *(bound.lower for bound in bounds))
            proved_upper = max(bound.upper for bound in bounds) * problem.relaxation
            upper = min(upper, proved_upper + problem.dual_neglected(V) + problem.dual_rounding(V))
            slack = 2 * PROVED_TOL + problem.relaxation - 1.0
            kind = "global" if proved and upper <= (1 + slack) * value + 2 * problem.dual_rounding(V) else "local"
    value = value if value > problem.dual_rounding(V) else 0.0
    return AlphaMax(float(value * reduction.unit_alpha), float(upper * reduction.unit_alpha), kind)


def alpha_max(
    X: ArrayLike,
    y: ArrayLike,
    *,
    arrangements: str | int | Arrangements | ArrayLike = "adaptive",
    activation: str = "relu",
    hidden_bias: str = "penalized",
    fit_intercept: bool = True,
    skip: bool = False,
    scope: str = "auto",
    time_limit: float | None = None,
    return_bounds: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> float | AlphaMax:
    """Return the smallest alpha at which the zero network is optimal, kappa(-grad L(0)).

    With an output bias or a skip, L is taken at the best constant or linear fit. At and above this alpha no neuron is
    active, below it some are.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Inputs.
    y : array-like of shape (n_samples,) or (n_samples, 1)
        Targets.
    arrangements : "adaptive", "all", int, Arrangements, or array-like of gates, default="adaptive"
        The patterns: "adaptive" is over all of them, by search and branch and bound; "all" enumerates them; else a
        number to sample, or given ones, and the value is exact over these.
    activation : {"relu", "gated_relu"}, default="relu"
        Activation of the hidden neurons; gated networks need given patterns.
    hidden_bias : {"penalized", "none"}, default="penalized"
        Hidden biases.
    fit_intercept : bool, default=True
        Whether there is a free output bias.
    skip : bool, default=False
        Whether there is a free linear skip.
    scope : {"auto", "local", "global"}, default="auto"
        With "adaptive": whether the value is to be proved ("global"), or only searched for ("local"); "auto" tries to
        prove it for a second.
    time_limit : float or None, default=None
        Limit in seconds. What is found by then is a lower bound of alpha_max, of scope "local".
    return_bounds : bool, default=False
        Whether to return what is known of the value, an `AlphaMax`, not the value alone.
    random_state : int, RandomState instance or None, default=None
        Source of sampled patterns and of the starts of the search.

    Returns
    -------
    float or AlphaMax
        alpha_max, in units of x y; 0 when the free part fits y exactly. A lower bound of it where its scope is "local".

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or there are too many patterns to enumerate.

    Examples
    --------
    >>> from convexnn.pricing import alpha_max
    >>> X, y = [[2, 2], [3, 3], [1, 0]], [1, 2, -1]
    >>> round(alpha_max(X, y, hidden_bias="none", fit_intercept=False), 7)
    10.6301458
    """
    check_choice("scope", scope, ("auto", "local", "global"))
    check_flag("return_bounds", return_bounds)
    time_limit = None if time_limit is None else check_positive("time_limit", time_limit)
    architecture = Architecture(activation, hidden_bias, fit_intercept, skip)
    result = within(time_limit, _alpha_max, X, y, arrangements, architecture, scope, random_state)
    return result if return_bounds else result.value


def _alpha_max(X, y, arrangements, architecture, scope, random_state):
    X = check_array(X, input_name="X")
    architecture = architecture.solved_for(X)
    program = build_program(X, y, 1.0, arrangements, architecture, random_state)
    return (
        _over_patterns(program)
        if len(program.design.arrangements)
        else alpha_max_over_all(program, scope, random_state)
    )


def _is_known(program, V):
    """Return whether a dual vector of the zero network is one to more than a few digits: D(V) is the objective."""
    if program.free_columns.is_stiff or not program.free_columns.resolved:
        return False
    objective = program.loss.value(program.Y, program.free @ program.free_fit)
    return -program.loss.conjugate(program.Y, -V) >= (1 - KNOWN_TOL) * objective


def _at_gates(program, V):
    """Return a lower bound of kappa(V) over the patterns of a program that takes little: at the gates in the cells."""
    design, gates = program.design, program.design.arrangements.gates
    norms = program.penalty.block_norms(gates[:, :, None]).reshape(len(gates))
    gates = gates / np.where(norms > 0, norms, np.inf)[:, None]
    heights = np.einsum("bdc,bd->bc", design.rmatvec(V), gates[design.pattern_index(np.arange(design.n_blocks))])
    return float(heights.max(initial=0.0))


def _along_gradients(problem, V):
    """Return a lower bound of kappa(V) over all patterns that takes little: from the directions of X'V."""
    if problem.selects:
        return 0.0
    design = problem.design
    U = design.X.T @ design.spread(V)
    U /= np.maximum(np.linalg.norm(U, axis=0), np.finfo(float).tiny)
    T = design.X @ np.hstack([U, -U])
    heights = V.T @ design.pool(np.where(T > 0, T, design.slope * T))
    return float((np.linalg.norm(heights, axis=0) if problem.shares_neurons else np.abs(heights)).max(initial=0.0))


def _survey(problem, V, rng):
    """Return the largest value of kappa that is found, for all outputs at once."""
    search = CellSearch(problem.design, rng)
    none = np.zeros((0, problem.design.X.shape[1]))
    best = Survey(search).maxima(V, none, none[:, 0], none[:, 0].astype(int), SURVEYED, is_up).select(slice(1))
    patterns = np.unpackbits(best.bits, axis=1, count=len(problem.design.X)).view(bool)
    value = best.values.max()
    with until_up():
        for c in range(V.shape[1]):
            value = max(value, search.climb(V[:, [c]], best.signs, patterns).values.max())
    return value


def _search(problem, v, scope, rng):
    """Return the largest value of kappa(v) that a search finds, and the search."""
    search = CellSearch(problem.design, rng, problem.selects)
    none, value = np.zeros((0, problem.design.X.shape[1])), 0.0
    for factor in STARTS if scope != "local" else STARTS[:1]:
        maxima = search.maxima(v, value, none, none[:, 0], factor * search.n_starts, is_up)
        value = max(value, maxima.values.max(initial=0.0))
    return value, search
