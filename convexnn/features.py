"""Gated networks that select features: a group lasso over all coefficients of a feature, in every gate and output.

    minimise over U_i, beta   L(Z) + alpha sum_k |(U_ij)_{i, j in k}|,   Z = sum_i D_i X U_i + F beta

for groups k of features, each alone by default; the hidden biases are one more group. A feature that is not selected
has no effect at all. Its coefficients in all gates are D_i x_j V eta_k / alpha for the dual vector V and the weights
eta_k >= 0 of multiple kernel learning, so that the P gates enter by n x n matrices alone:

    Z = sum_k eta_k K_k V / alpha + F beta,   K_k = sum_{j in k} (x_j x_j') * (M M')   entry by entry,

M the patterns, shape (n_samples, n_arrangements). The dual is max -L*(-V) subject to F'V = 0 and V'K_k V <= alpha^2: n
variables and a quadratic constraint for each group, whose multipliers are lam_k = eta_k / alpha. It is solved by a
primal-dual interior-point method with Mehrotra's corrector. Its Newton systems are

    (D + sum_k lam_k K_k + G diag(lam_k / s_k) G') dV + F dbeta = r,   F'dV = -F'V,   G = (K_k V)_k,

s_k the slacks and D the curvature of L*, with the barrier of its bounds. Every iterate gives a network, without the
groups whose lam_k goes to zero, and a lower bound, D(t V) for the V of the domain with F'V = 0 that is nearest. The
bound holds for networks of the given gates, for which the program is exact.

ReLU networks, whose blocks are confined to the cones of their patterns, are not offered: a neuron on the wall of its
cell is the same function in either of two cells, and may be split over both. The sum of squares over blocks would
depend on the split, and the value on the cells; it would be the objective of no network.

References
----------
F. R. Bach (2008), Consistency of the group lasso and multiple kernel learning, JMLR 9. M. Yuan and Y. Lin (2006), Model
selection and estimation in regression with grouped variables, JRSS B 68(1). S. Mehrotra (1992), On the implementation
of a primal-dual interior point method, SIAM Journal on Optimization 2(4).
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit, softmax
from sklearn.utils import check_array

from .architecture import Architecture
from .arrangements import Arrangements
from .building import build_program
from .certificate import Certificate
from .losses import LOSSES, Logistic, Softmax, make_loss
from .network import Network
from .recovery import recover
from .simplify import Simplified
from .solvers.monitor import NO_PROGRESS, run_watched
from .validation import check_choice, check_count, check_flag

__all__ = ["FeatureSparseResult", "feature_sparse_network"]

# The first dual vector: its distance from bounds, and its size, as parts of the largest.
INSIDE, START = 0.1, 0.7
# Part of the way to the bounds that a step goes.
STEP_PART = 0.995
# The first stage has this part of the largest alpha, each after it this part of that before; the gap that ends a stage.
STAGE_PART, STAGE_GAP = 0.1, 0.1
# Iterations in which the gap has to halve.
PATIENCE = 25
# Refinements of the solution of a Newton system.
REFINEMENTS = 2
# Steps shorter than this are none.
LEAST_STEP = 1e-9
# Largest curvature of a conjugate, relative to the least: beyond it a dual variable stays where it is.
STEEPEST = 1e14


@dataclass(frozen=True, eq=False)
class FeatureSparseResult:
    """A gated network of few features, and what is proved about it.

    Parameters
    ----------
    network : Network
        The network; rows of `W1` of features that are not selected are zero. Its own weight decay is not the penalty.
    certificate : Certificate
        The objective L(Z) + alpha sum_k |U_k| and a lower bound of it over the given gates (scope "sampled").
    selected : ndarray of bool, shape (n_features,)
        Which features have an effect.
    feature_norms : ndarray of shape (n_features,)
        Norm of all coefficients of each feature, over gates and outputs.
    bias_norm : float
        The same for the hidden biases, 0 without.
    alpha : float
        Strength of the penalty.
    alpha_max : float
        The least alpha at which nothing is selected (for losses with kinks, an upper bound of it).
    history : list of dict
        One record an iteration: time (s), objective, lower_bound, gap, scope, n_blocks (gates in use) and n_working
        (groups selected).
    """

    network: Network
    certificate: Certificate
    selected: np.ndarray
    feature_norms: np.ndarray
    bias_norm: float
    alpha: float
    alpha_max: float
    history: list

    def predict(self, X):
        """Predict the outputs of inputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_outputs) for several outputs
            Predictions, those of the network.
        """
        return self.network.predict(X)


def feature_sparse_network(
    X,
    y,
    alpha,
    *,
    loss="squared",
    gates=100,
    hidden_bias="penalized",
    fit_intercept=True,
    sample_weight=None,
    groups=None,
    tol=1e-6,
    max_iter=None,
    time_limit=None,
    random_state=None,
    verbose=False,
):
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
    loss : str or Loss, default="squared"
        A name of `convexnn.losses.LOSSES`, or one of its losses.
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
    verbose : bool, default=False
        Whether to print each record of the history.

    Returns
    -------
    FeatureSparseResult
        The network, its features and its certificate.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Warns
    -----
    ConvergenceWarning
        If the relative gap is above `tol`, with the reason: a limit, Ctrl-C, or no progress. The best network is kept.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import feature_sparse_network
    >>> X = np.random.default_rng(0).standard_normal((50, 4))
    >>> result = feature_sparse_network(X, np.abs(X[:, 1]), 20.0, random_state=0)
    >>> result.selected
    array([False,  True, False, False])
    """
    check_choice("hidden_bias", hidden_bias, ("penalized", "none"))
    check_flag("verbose", verbose)
    architecture = Architecture("gated_relu", hidden_bias, check_flag("fit_intercept", fit_intercept))
    loss, gates = _check_loss(loss, sample_weight), _check_gates(gates)
    gated = build_program(X, y, alpha, gates, architecture, random_state, loss)
    n_hidden = gated.design.X.shape[1]
    members = _check_groups(groups, n_hidden - (hidden_bias == "penalized"), n_hidden)
    program = replace(gated, penalty=_FeatureNorms(members))
    largest = _dual_norm(program, program.dual_at_zero())

    def iterate(monitor):
        _run(program, tol, monitor)

    limits = {"tol": tol, "max_iter": max_iter, "time_limit": time_limit}
    solution = run_watched(iterate, program, lambda: None, **limits, callback=None, verbose=verbose)
    norms = np.linalg.norm(solution.W, axis=(0, 2))
    selected = program.penalty.norms(solution.W)[members] > 0
    network = recover(replace(solution, program=gated))
    d = len(network.W1)
    network = replace(network, W1=network.W1 * selected[:d, None])  # singular vectors have rounding there
    found = network, solution.certificate, selected[:d], norms[:d], float(norms[d:].sum())
    return FeatureSparseResult(*found, program.alpha, largest, solution.history)


@dataclass(frozen=True, eq=False)
class _FeatureNorms:
    """The penalty sum_k |W_k|, W_k the rows of group k in all blocks: `members` has the group of each row."""

    members: np.ndarray

    rotation_invariant = False
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
    if not isinstance(loss, tuple(LOSSES.values())):
        raise TypeError(f"loss must be one of {', '.join(map(repr, LOSSES))}, or a loss of them; got {loss!r}")
    if sample_weight is not None:
        raise ValueError("sample_weight must be None where loss is not a name: the loss has its own weights")
    return loss


def _check_gates(gates):
    if isinstance(gates, Arrangements) or (isinstance(gates, str) and gates == "all"):
        return gates
    if isinstance(gates, str) or np.ndim(gates) not in (0, 2):
        raise ValueError(f'gates must be an integer, "all", Arrangements or an array with two axes; got {gates!r}')
    return check_array(gates, dtype=np.float64, input_name="gates") if np.ndim(gates) else check_count("gates", gates)


def _check_groups(groups, n_features, n_hidden):
    """Return the group of each hidden feature, numbered from 0; that of the biases is the last."""
    own = np.arange(n_features) if groups is None else np.asarray(groups)
    if own.shape != (n_features,) or own.dtype.kind not in "iu":
        raise ValueError(f"groups must be {n_features} integers, one a feature; got {groups!r}")
    own = np.unique(own, return_inverse=True)[1]
    return np.append(own, np.full(n_hidden - n_features, own.max() + 1))


def _dual_norm(program, V):
    """Return the largest |(X'D_i V)_k| over groups k, up to its rounding."""
    rounding = np.sqrt(len(program.design.arrangements)) * program.dual_rounding(V)
    return float(program.penalty.norms(program.design.rmatvec(V)).max()) + rounding


def _run(whole, tol, monitor):
    """Iterate until the monitor has a gap of `tol` or says that it is over; a small alpha is approached in stages."""
    scaled = Simplified(whole, monitor.beta)
    program, V = scaled.program, scaled.program.dual_at_zero()
    largest = _dual_norm(program, V)
    monitor.bound(program.scaled_value(V, largest) * scaled.unit_loss)
    if monitor.certificate.gap <= tol:
        monitor.record(0)
        return
    points, gaps = _InteriorPoints(program.at(max(program.alpha, STAGE_PART * largest))), []
    while True:
        W = points.blocks()
        fit = program.design.matvec(W)
        b = program.loss.fit_free(program.Y, program.free_basis[0], fit)
        W_whole, beta = scaled.restore(W, b)
        monitor.offer(W_whole, np.arange(len(W)), beta)
        V = program.project_dual(points.V)
        norm = _dual_norm(program, V)
        monitor.bound(program.scaled_value(V, norm) * scaled.unit_loss)
        if monitor.record(np.count_nonzero(program.penalty.norms(monitor.W))) or monitor.certificate.gap <= tol:
            return
        stage = points.program
        objective = stage.loss.value(stage.Y, fit + stage.free_basis[0] @ b) + stage.alpha * stage.penalty.value(W)
        gaps.append(1.0 - stage.scaled_value(V, norm) / objective)
        if stage.alpha > program.alpha and gaps[-1] <= STAGE_GAP:
            points.lower(max(program.alpha, STAGE_PART * stage.alpha))
            gaps = []
        if (len(gaps) > PATIENCE and gaps[-1] > 0.5 * gaps[-1 - PATIENCE]) or not points.advance():
            monitor.status = NO_PROGRESS
            return


class _InteriorPoints:
    """Iterates of the interior-point method for the dual, and its constraints h(V) <= 0: the groups, then bounds on V.

    V; Z, the predictions with grad L(Z) = -V, bounds aside; b of the orthonormal free columns; the multipliers, first
    the lam of the groups, and the slacks. The logistic loss and softmax keep to their bounds by themselves.
    """

    def __init__(self, program):
        self.program, self.loss, self.X, self.basis = program, program.loss, program.design.X, program.free_basis[0]
        self.members, self.level = program.penalty.members, 0.5 * program.alpha**2
        patterns = program.design.arrangements.patterns().astype(np.float32)
        self.counts = (patterns.T @ patterns).astype(np.float64)
        Y, Z, self.outputs = program.Y, program.predict(*program.zero()), np.eye(program.Y.shape[1])
        if isinstance(self.loss, Softmax):  # rows of V sum to zero
            self.outputs = np.linalg.svd(np.ones((1, Y.shape[1])))[2][1:].T
        self.weights = 1.0 if self.loss.sample_weight is None else self.loss.sample_weight[:, None]
        self.own_barrier = isinstance(self.loss, (Logistic, Softmax))
        lower, upper = (-np.inf, np.inf) if self.own_barrier else self.loss.domain(Y)
        lower, upper = np.broadcast_to(-upper, Y.shape), np.broadcast_to(-lower, Y.shape)
        self.bounds = lower, upper
        self.low, self.high = (np.flatnonzero(np.isfinite(bound)) for bound in self.bounds)
        V = -self.loss.grad(Y, Z)
        width = np.where(np.isfinite(upper - lower), upper - lower, np.abs(V).max() or 1.0)
        V = np.clip(V, lower + INSIDE * width, upper - INSIDE * width)
        self.V = V * min(1.0, START * program.alpha / max(_dual_norm(program, V), np.finfo(float).tiny))
        self.Z, self.b, self.G = self._predictions(), np.zeros((len(self.basis.T), Y.shape[1])), self._products(self.V)
        inside = self.level - 0.5 * self._quadratic(self.G, self.V)
        ends = (self.V - lower).ravel()[self.low], (upper - self.V).ravel()[self.high]
        self.slack = np.concatenate([inside, *ends])
        self.multipliers = self.loss.value(Y, Z) / (len(self.slack) * self.slack)

    @property
    def lam(self):
        """The multipliers of the groups."""
        return self.multipliers[: len(self.G)]

    def blocks(self):
        """Return the blocks lam_k X'D_i V of the groups that are selected: of lam and the slack one goes to zero."""
        selected = self.lam / self.lam.max() >= self.slack[: len(self.G)] / self.level
        return self.program.design.rmatvec(self.V) * (self.lam * selected)[self.members][:, None]

    def lower(self, alpha):
        """Go on at a smaller alpha, with V in proportion to it and the same predictions of the groups."""
        part = alpha / self.program.alpha
        self.program, self.level = self.program.at(alpha), 0.5 * alpha**2
        self.V, self.G = part * self.V, part * self.G
        self.Z = self._predictions()
        ends = (self.V - self.bounds[0]).ravel()[self.low], (self.bounds[1] - self.V).ravel()[self.high]
        m = len(self.G)
        self.slack = np.concatenate([part**2 * self.slack[:m], *ends])
        self.multipliers = np.append(self.lam / part, self.multipliers[m:])

    def advance(self):
        """Take a step of Mehrotra's method; return whether it went anywhere."""
        hessian = self._curvature()
        ratios = np.bincount(self._bounds, (self.multipliers / self.slack)[len(self.G) :], self.V.size)
        try:
            system = _System(self, hessian + ratios.reshape(self.V.shape))
        except np.linalg.LinAlgError:
            return False
        products = self.multipliers @ self.slack
        affine = self._direction(system, 0.0)
        t = self._length(affine)
        left = (self.multipliers + t * affine[2]) @ (self.slack + t * affine[3])
        step = self._direction(system, min(left / products, 1.0) ** 3 * products / len(self.slack), affine, t**2)
        t = min(1.0, STEP_PART * self._length(step))
        if not all(np.isfinite(part).all() for part in step) or t < LEAST_STEP:
            return False
        if self.own_barrier:
            self.Z = self.loss.advance(self.program.Y, self.Z, -t * hessian * step[0])
            self.V = -self.loss.grad(self.program.Y, self.Z)
        else:
            self.V = self.V + t * step[0]
            self.Z = self._predictions()
        self.b, self.multipliers, self.slack = (
            old + t * change for old, change in zip((self.b, self.multipliers, self.slack), step[1:], strict=True)
        )
        self.G = self._products(self.V)
        return True

    @property
    def _bounds(self):
        """The entries of V that bounds are on."""
        return np.concatenate([self.low, self.high])

    def _products(self, V):
        """Return K_k V for all groups, shape (n_groups, n_samples, n_outputs)."""
        parts = (self.X[:, :, None] * V[:, None, :]).reshape(len(V), -1)
        parts = self.X[:, :, None] * (self.counts @ parts).reshape(*self.X.shape, V.shape[1])
        total = np.zeros((self.members.max() + 1, *V.shape))
        np.add.at(total, self.members, parts.transpose(1, 0, 2))
        return total

    def _quadratic(self, G, U):
        return np.einsum("knc,nc->k", G, U)

    def _predictions(self):
        """Return Z = grad L*(-V) entry by entry, with no regard to bounds."""
        Y, scaled = self.program.Y, self.V / self.weights
        if isinstance(self.loss, Logistic):
            return Y * (np.log1p(-Y * scaled) - np.log(Y * scaled))
        return np.log(Y - scaled) if isinstance(self.loss, Softmax) else Y - self.loss.smooth * scaled

    def _curvature(self):
        """Return the second derivatives of L*(-V) in each entry, for softmax on rows that sum to zero."""
        if not self.own_barrier:
            return self.loss.smooth / self.weights + np.zeros_like(self.V)
        P = softmax(self.Z, axis=1) if isinstance(self.loss, Softmax) else expit(self.Z) * expit(-self.Z)
        return 1.0 / (self.weights * np.maximum(P, P.max() / STEEPEST))

    def _direction(self, system, target, affine=None, part=0.0):
        """Return changes of V, b, multipliers and slacks to products of `target`.

        They are corrected for a part of what an affine step leaves, the terms of the second order.
        """
        m, gradient = len(self.G), self.basis @ self.b - self.Z + self._adjoint(self.multipliers)
        miss = np.zeros_like(self.slack)  # of the linear bounds nothing but rounding
        miss[:m] = 0.5 * self._quadratic(self.G, self.V) - self.level + self.slack[:m]
        products = target - self.multipliers * self.slack
        if affine is not None:
            bent = self._products(affine[0])
            miss[:m] += 0.5 * part * self._quadratic(bent, affine[0])
            gradient += part * np.tensordot(affine[2][:m], bent, 1)
            products -= part * affine[2] * affine[3]
        pull = (products + self.multipliers * miss) / self.slack
        gradient += self._adjoint(pull)
        V, along, b = system.solve(-gradient, -self.basis.T @ self.V)
        along = np.concatenate([along, -V.ravel()[self.low], V.ravel()[self.high]])
        return V, b, pull + self.multipliers * along / self.slack, -miss - along

    def _adjoint(self, multipliers):
        """Return the sum of the gradients of the constraints, with multipliers."""
        groups, low, high = np.split(multipliers, [len(self.G), len(self.G) + len(self.low)])
        of_bounds = np.bincount(self._bounds, np.concatenate([-low, high]), self.V.size)
        return np.tensordot(groups, self.G, 1) + of_bounds.reshape(self.V.shape)

    def _length(self, step):
        """Return the largest t up to 1 to which multipliers and slacks stay positive."""
        values, changes = np.concatenate([self.multipliers, self.slack]), np.concatenate(step[2:])
        return np.min(-values[changes < 0] / changes[changes < 0], initial=1.0)


class _System:
    """The Newton systems of a step, with the groups and the free columns as a border of the factor of the rest.

    [H + K, R; R', -E] (dV, x) = (right, level), R the columns sqrt(lam_k / s_k) K_k V and F, E one for groups alone.
    """

    def __init__(self, points, hessian):
        self.outputs, self.m, self.hessian = points.outputs, len(points.G), hessian
        (n, _), e = points.V.shape, self.outputs.shape[1]
        index, B = np.arange(n), np.zeros((e, n, e, n))
        self.kernel = points.counts * ((points.X * points.lam[points.members]) @ points.X.T)
        for c in range(e):
            B[c, :, c, :] = self.kernel
        B[:, index, :, index] += np.einsum("nc,ca,cb->nab", hessian, self.outputs, self.outputs)
        B = B.reshape(n * e, n * e)
        self.scale = 1.0 / np.sqrt(np.diagonal(B))
        B *= self.scale[:, None] * self.scale
        B.flat[:: n * e + 1] += 4 * n * e * np.finfo(float).eps
        self.factor = cho_factor(B, lower=True, overwrite_a=True, check_finite=False)
        self.roots = np.sqrt(points.lam / points.slack[: self.m])
        groups = [self._flat(root * G) for root, G in zip(self.roots, points.G, strict=True)]
        self.border = np.column_stack([*groups, np.kron(np.eye(e), points.basis)])
        self.across = self._invert(self.border)
        small = self.border.T @ self.across
        small[: self.m, : self.m] += np.eye(self.m)
        self.unit = 1.0 / np.sqrt(np.diagonal(small))
        self.small = np.linalg.pinv(small * self.unit * self.unit[:, None], hermitian=True)

    def solve(self, right, level):
        """Return dV with F'dV = `level`, the products of dV with the K_k V, and db, for the residual `right`."""
        right, level = self._flat(right), np.concatenate([np.zeros(self.m), self._flat(level)])
        V, x = self._solve(right, level)
        for _ in range(REFINEMENTS):
            left = right - self._flat(self.hessian * self._wide(V) + self.kernel @ self._wide(V)) - self.border @ x
            below = level - self.border.T @ V
            below[: self.m] += x[: self.m]
            V, x = (part + change for part, change in zip((V, x), self._solve(left, below), strict=True))
        return self._wide(V), x[: self.m] / self.roots, self._wide(x[self.m :])

    def _solve(self, right, level):
        own = self._invert(right)
        x = self.unit * (self.small @ (self.unit * (self.border.T @ own - level)))
        return own - self.across @ x, x

    def _flat(self, U):
        return (U @ self.outputs).T.ravel()

    def _wide(self, flat):
        return (self.outputs @ flat.reshape(self.outputs.shape[1], -1)).T

    def _invert(self, R):
        scale = self.scale.reshape(-1, *[1] * (R.ndim - 1))
        return scale * cho_solve(self.factor, scale * R, check_finite=False)
