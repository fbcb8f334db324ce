"""Gated networks that select features: a group lasso over all coefficients of a feature, in every gate and output.

    minimise over U_i, beta   L(Z) + alpha sum_k |(U_ij)_{i, j in k}|,   Z = sum_i D_i X U_i + F beta

for groups k of features, each alone by default; the hidden biases are one more group. A feature that is not selected
has no effect at all. Its coefficients in all gates are D_i x_j V eta_k / alpha for the dual vector V and the weights
eta_k >= 0 of multiple kernel learning, so that the P gates enter by n x n matrices alone:

    Z = sum_k eta_k K_k V / alpha + F beta,   K_k = sum_{j in k} (x_j x_j') * (M M')   entry by entry,

M the patterns, shape (n_samples, n_arrangements). The dual is max -L*(-V) subject to F'V = 0 and V'K_k V <= alpha^2: n
variables and a quadratic constraint for each group, whose multipliers are lam_k = eta_k / alpha. It is solved by the
interior-point method of `convexnn.special.feature_points`, where alpha is small in stages of falling alpha. Every
iterate gives a network, without the groups whose lam_k goes to zero, and a lower bound, D(t V) for the V of the domain
with F'V = 0 that is nearest. The bound holds for networks of the given gates, for which the program is exact.

ReLU networks, whose blocks are confined to the cones of their patterns, are not offered: a neuron on the wall of its
cell is the same function in either of two cells, and may be split over both. The sum of squares over blocks would
depend on the split, and the value on the cells; it would be the objective of no network.

References
----------
F. R. Bach (2008), Consistency of the group lasso and multiple kernel learning, JMLR 9. M. Yuan and Y. Lin (2006), Model
selection and estimation in regression with grouped variables, JRSS B 68(1).
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from ..geometry.arrangements import Arrangements
from ..losses import LOSSES, Loss, make_loss
from ..model.architecture import Architecture
from ..model.building import build_program
from ..model.reduction import Reduction
from ..model.summary import Status
from ..networks.recovery import recover
from ..solvers.monitor import run_watched
from ..utils.validation import check_array, check_choice, check_count, check_flag, check_verbose
from .feature_points import InteriorPoints, dual_norm
from .results import SpecialResult

__all__ = ["feature_sparse_network"]

# The first stage has this fraction of the largest alpha, each later one of that before.
STAGE_FRACTION = 0.1
# Iterations in which the gap has to halve.
PATIENCE = 25


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureSparseResult(SpecialResult):
    """The result of `feature_sparse_network`, and what is known of each feature."""

    selected: np.ndarray
    feature_norms: np.ndarray
    bias_norm: float
    alpha_max: float


def feature_sparse_network(
    X: ArrayLike,
    y: ArrayLike,
    alpha: float,
    *,
    loss: str | Loss = "squared_error",
    gates: str | int | Arrangements | ArrayLike = 100,
    hidden_bias: str = "penalized",
    fit_intercept: bool = True,
    sample_weight: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    tol: float = 1e-6,
    max_iter: int | None = None,
    time_limit: float | None = None,
    random_state: int | np.random.RandomState | None = None,
    verbose: int | bool = 0,
) -> FeatureSparseResult:
    """Train a gated network with a penalty that selects features, L(f(X)) + alpha sum_k |U_k|.

    U_k are the coefficients of the features of group k in all gates and outputs; their Euclidean norms are added. The
    network is f(x) = sum_i 1[x.g_i + h_i >= 0] U_i'(x, 1) + b_0. A linear network has one gate, of zeros.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Inputs; the penalty depends on the units of features.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets; -1 or 1 for the losses of labels, indicators of the classes for the softmax loss.
    alpha : float
        Strength of the penalty, above 0.
    loss : str or Loss, default="squared_error"
        A name of `convexnn.losses.LOSSES`, or a loss: one of the package, or your own that extends `Loss`.
    gates : int, "all", Arrangements, or array-like of shape (n_gates, n_hidden_features), default=100
        A number of patterns to sample, all, or given ones; with hidden biases a gate has one more entry, for the bias.
    hidden_bias : {"penalized", "none"}, default="penalized"
        Whether there are hidden biases. They are a group of their own; free ones would fit anything.
    fit_intercept : bool, default=True
        Whether there is a free output bias b_0.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Positive weights, for a loss given by name.
    groups : integer array-like of shape (n_features,) or None, default=None
        Features of the same number are selected together, such as the indicators of one category; None: each alone.
    tol : float, default=1e-6
        Compared with the relative gap of the certificate.
    max_iter : int or None, default=None
        Limit of the iterations, each a Newton step in n_samples * n_outputs variables.
    time_limit : float or None, default=None
        Limit in seconds.
    random_state : int, RandomState instance or None, default=None
        Source of sampled gates.
    verbose : int or bool, default=0
        0 is silent, 1 shows one live line and a summary at the end, 2 each record of the history; on stderr.

    Returns
    -------
    SpecialResult
        The network, in whose `W1` rows of features that are not selected are zero; a certificate of the objective
        L(Z) + alpha sum_k |U_k|, which is not that of the network's own weight decay, over the given gates (scope
        "sampled"); and of its own `selected` (bool, shape (n_features,)), which features have an effect;
        `feature_norms`, the norm of all coefficients of each, over gates and outputs; `bias_norm`, that of the hidden
        biases, 0 without; and `alpha_max`, the least alpha at which nothing is selected, for losses with non-smooth
        points an upper bound of it. Records have n_blocks (gates in use) and n_working (groups selected).

    Warns
    -----
    ConvergenceWarning
        If the relative gap is above `tol`, with the reason: a limit, Ctrl-C, or no progress. The best network is kept.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.special import feature_sparse_network
    >>> X = np.random.default_rng(0).standard_normal((50, 4))
    >>> result = feature_sparse_network(X, np.abs(X[:, 1]), 20.0, random_state=0)
    >>> result.selected
    array([False,  True, False, False])
    """
    check_choice("hidden_bias", hidden_bias, ("penalized", "none"))
    check_verbose(verbose)
    architecture = Architecture("gated_relu", hidden_bias, check_flag("fit_intercept", fit_intercept))
    loss, gates = _check_loss(loss, sample_weight), _check_gates(gates)
    gated = build_program(X, y, alpha, gates, architecture, random_state, loss)
    n_hidden = gated.design.X.shape[1]
    members = _check_groups(groups, n_hidden - (hidden_bias == "penalized"), n_hidden)
    program = replace(gated, penalty=_FeatureNorms(members))
    largest = dual_norm(program, program.any_dual_at_zero())

    limits = {"tol": tol, "max_iter": max_iter, "time_limit": time_limit, "callback": None, "verbose": verbose}
    solution = run_watched(partial(_run, program, tol), program, **limits)
    norms = np.linalg.norm(solution.W, axis=(0, 2))
    selected = program.penalty.norms(solution.W)[members] > 0
    network = recover(replace(solution, program=gated))
    d = len(network.W1)
    network = replace(network, W1=network.W1 * selected[:d, None])  # singular vectors have rounding there
    features = {"selected": selected[:d], "feature_norms": norms[:d], "bias_norm": float(norms[d:].sum())}
    known = solution.certificate, solution.converged, solution.status, solution.n_iter, solution.dual, solution.history
    return FeatureSparseResult(network, *known, solution, **features, alpha_max=largest)


@dataclass(frozen=True, eq=False)
class _FeatureNorms:
    """The penalty sum_k |W_k|, W_k the rows of group k in all blocks: `members` has the group of each row."""

    members: np.ndarray

    rotation_invariant = separable = False
    dual_factor = 1.0

    def norms(self, W):
        """Return the norm of each group."""
        size = np.abs(W).max(initial=0.0) or 1.0  # squares of tiny numbers vanish
        return size * np.sqrt(np.bincount(self.members, np.sum((W / size) ** 2, axis=(0, 2))))

    def value(self, W):
        """Return the sum of the norms."""
        return float(self.norms(W).sum())


def _check_loss(loss, sample_weight):
    if isinstance(loss, str):
        return make_loss(check_choice("loss", loss, LOSSES), sample_weight)
    if not isinstance(loss, Loss):
        raise TypeError(f"loss must be a name or a Loss of convexnn.losses; got {loss!r}")
    if sample_weight is not None:
        raise ValueError("sample_weight must be None unless loss is a name: give the weights to the loss itself")
    return loss


def _check_gates(gates):
    if isinstance(gates, Arrangements) or (isinstance(gates, str) and gates == "all"):
        return gates
    if isinstance(gates, str) or np.ndim(gates) not in (0, 2):
        raise ValueError(f'gates must be an integer, "all", Arrangements or an array with two axes; got {gates!r}')
    return check_array(gates, input_name="gates") if np.ndim(gates) else check_count("gates", gates)


def _check_groups(groups, n_features, n_hidden):
    """Return the group of each hidden feature, numbered from 0; that of the biases is the last."""
    own = np.arange(n_features) if groups is None else np.asarray(groups)
    if own.shape != (n_features,) or own.dtype.kind not in "iu":
        raise ValueError(f"groups must be {n_features} integers, one a feature; got {groups!r}")
    own = np.unique(own, return_inverse=True)[1]
    return np.append(own, np.full(n_hidden - n_features, own.max() + 1))


def _run(whole, tol, monitor):
    """Iterate until the monitor has a gap of `tol` or says that it is over; a small alpha is approached in stages."""
    scaled = Reduction.of(whole, monitor.beta)
    program, V = scaled.program, scaled.program.any_dual_at_zero()
    largest = dual_norm(program, V)
    monitor.bound(program.scaled_value(V, largest) * scaled.unit_loss)
    if monitor.certificate.gap <= tol:
        monitor.record(0)
        return
    points, gaps = InteriorPoints(program.at(max(program.alpha, STAGE_FRACTION * largest))), []
    while True:
        W = points.blocks()
        fit = program.design.matvec(W)
        b = program.loss.fit_free(program.Y, program.free_basis[0], fit)
        W_whole, beta = scaled.invert(W, b)
        monitor.offer(W_whole, np.arange(len(W)), beta)
        V = program.project_dual(points.V)
        norm = dual_norm(program, V)
        monitor.bound(program.scaled_value(V, norm) * scaled.unit_loss)
        if monitor.record(np.count_nonzero(program.penalty.norms(monitor.W))) or monitor.certificate.gap <= tol:
            return
        stage = points.program
        objective = stage.loss.value(stage.Y, fit + stage.free_basis[0] @ b) + stage.alpha * stage.penalty.value(W)
        gaps.append(1.0 - stage.scaled_value(V, norm) / objective)
        if stage.alpha > program.alpha and gaps[-1] <= 0.1:
            points.lower(max(program.alpha, STAGE_FRACTION * stage.alpha))
            gaps = []
        if (len(gaps) > PATIENCE and gaps[-1] > 0.5 * gaps[-1 - PATIENCE]) or not points.advance():
            monitor.status = Status.NO_PROGRESS
            return
