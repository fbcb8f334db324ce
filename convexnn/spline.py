"""One feature with free hidden biases: the network is a linear spline, and the program a lasso over knots at the data.

    f(x) = constant + sum_j right_j (x - t_j)_+ + sum_j left_j (t_j - x)_+ (+ slope x)
    minimise over right, left, constant (, slope)   L(f) + alpha sum_j (|right_j| + |left_j|)

A neuron a (w x + b)_+ with a free bias costs |a w| and is a multiple of (x - t)_+ or (t - x)_+, or with w = 0 a free
constant. So the dual is max -L*(-v) subject to 1'v = 0 (and x'v = 0 with a slope) and kappa(v) <= alpha, for

    kappa(v) = max over all real t of |h(t)| and |h(t) - v'x|,   h(t) = v'(x - t)_+.

Knots at data suffice: v'(t - x)_+ = h(t) - v'x as 1'v = 0, and h is linear between neighbouring data points, zero above
the largest, and h(t) = v'x below the smallest (again 1'v = 0). Its maxima are at data points, in both orientations,
so a v that is feasible for the knots at data is feasible for all, and lower bounds are proved over all networks.

With slopes s_0, ..., s_K between the knots and kinks k_i = s_i - s_{i-1} the least penalty of a spline is

    R(f) = max(sum_i |k_i|, (sum_i |k_i| + |s_0 + s_K|) / 2),   and sum_i |k_i| with a free slope.

For the squared loss an active-set method over knots is exact: on given signs the objective is quadratic in the values
at the knots, its matrix tridiagonal. Other losses go to cvxpy, as a sparse program over all knots, and those with
second derivatives are polished by Newton's method, whose steps are squared losses.

References
----------
P. Savarese, I. Evron, D. Soudry and N. Srebro (2019), How do infinite width bounded norm networks look in function
space?, COLT. C. L. Lawson and R. J. Hanson (1974), Solving least squares problems, chapter 23.
"""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solveh_banded
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_consistent_length

from .certificate import Certificate
from .losses import Loss, Squared
from .network import Network
from .validation import check_flag, check_positive

__all__ = ["SplineSolution", "solve_spline"]

# Relative excess of |h| over alpha that counts as rounding.
EXCESS_TOL = 1e-11
# Polishing of smooth losses: Newton steps, and the least second derivative beside the largest.
MAX_NEWTON, LEAST_CURVATURE = 20, 1e-6
# Objective and bound below this part of the loss of zero are both zero, up to rounding.
ROUNDING = (100 * np.finfo(float).eps) ** 2
# Relative growth of the objective that dropping small kinks of an interior-point solution may cost.
SLACK = 1e-11


@dataclass(frozen=True, eq=False)
class SplineSolution:
    """A linear spline and what is proved about it.

    Parameters
    ----------
    knots : ndarray of shape (n_knots,)
        The knots t_j, distinct values of x in rising order.
    right, left : ndarray of shape (n_knots, n_outputs)
        Coefficients of (x - t_j)_+ and of (t_j - x)_+.
    constant, slope : ndarray of shape (n_outputs,)
        The free constant, and the free slope: None without a skip.
    Z, V : ndarray of shape (n_samples, n_outputs)
        Predictions f(x), and the dual vector that proves the lower bound.
    certificate : Certificate
        Objective and lower bound, of scope "global".
    network : Network
        The network, hidden_bias "free"; its weight decay is the penalty.
    converged : bool
        Whether the relative gap is at most the tolerance asked for.
    status : str
        How the solver ended.
    """

    knots: np.ndarray
    right: np.ndarray
    left: np.ndarray
    constant: np.ndarray
    slope: np.ndarray | None
    Z: np.ndarray
    V: np.ndarray
    certificate: Certificate
    network: Network
    converged: bool
    status: str


class _State(NamedTuple):
    """Interior knots (indices of x), signs of their kinks, values at all nodes, and the regime of R."""

    knots: np.ndarray
    signs: np.ndarray
    theta: np.ndarray
    regime: str  # "even": |s_0 + s_K| < sum |k|; "steep": it is larger; "tied": side (s_0 + s_K) = sum |k| is kept
    side: float


def solve_spline(
    x: ArrayLike, Y: ArrayLike, alpha: float, loss: Loss, skip: bool = False, tol: float = 1e-9
) -> SplineSolution:
    """Fit the network of one feature and free hidden biases that is optimal among all widths.

    Parameters
    ----------
    x : array-like of shape (n_samples,) or (n_samples, 1)
        The feature.
    Y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets, as the loss wants them. With several outputs the penalty is the sum of theirs.
    alpha : float
        Regularisation strength, above 0.
    loss : loss object
        The loss L, of `convexnn.losses`.
    skip : bool, default=False
        Whether there is a free linear skip.
    tol : float, default=1e-9
        Compared with the relative gap of the certificate.

    Returns
    -------
    SplineSolution
        The spline, its network and its certificate.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    RuntimeError
        If the solver of cvxpy fails (losses other than the squared one).

    Warns
    -----
    ConvergenceWarning
        If the relative gap is above `tol`.
    """
    x = check_array(np.reshape(x, (len(x), -1)), dtype=np.float64, input_name="x")
    if x.shape[1] != 1:
        raise ValueError(f"x must have one feature, shape (n_samples,) or (n_samples, 1); got shape {x.shape}")
    Y = check_array(np.reshape(Y, (len(Y), -1)), dtype=np.float64, input_name="Y")
    check_consistent_length(x, Y)
    alpha, skip, tol = check_positive("alpha", alpha), check_flag("skip", skip), check_positive("tol", tol)
    x, unit = x[:, 0], np.ptp(x) or 1.0  # in x / unit the kinks are in units of 1 / unit, and so is alpha
    scaled, first, place = np.unique((x - x.min()) / unit, return_index=True, return_inverse=True)
    if len(scaled) == 1:
        basis = _free_basis(x, False)
        nodes, theta, candidates, status = [0], (basis @ loss.fit_free(Y, basis))[:1], [], "optimal"
    elif isinstance(loss, Squared):
        weights, candidates = loss.grad(Y, Y + 1.0), []  # the loss is 1/2 sum of weights (z - y)^2
        nodes, theta, status = _fit_squared_outputs(scaled, place, Y, weights, alpha / unit, skip)
    else:
        nodes, theta, candidates, status = _fit_general(scaled, place, Y, loss, alpha / unit, skip)
    solution = _certified(x, Y, alpha, loss, skip, tol, x[first[nodes]], theta, candidates, status)
    if not solution.converged:
        message = f"the spline has a relative gap of {solution.certificate.gap:.2e}, above {tol=:.2e} ({status})"
        warnings.warn(message, ConvergenceWarning, stacklevel=2)
    return solution


def _kappa(x, V):
    """Return max over t of |v'(x - t)_+| and |v'(t - x)_+| for columns v with 1'v = 0, plus the rounding of sums."""
    order = np.argsort(x, kind="stable")
    h, q = _responses(x[order], V[order].astype(np.longdouble))
    size = (x.max() - x.min()) * np.abs(V).sum(axis=0).max(initial=0.0)
    rounding = (4 * len(x) * np.finfo(np.longdouble).eps + 4 * np.finfo(float).eps) * size
    return float(max(np.abs(h).max(initial=0.0), np.abs(h - q).max(initial=0.0)) + rounding)


def _responses(x, V):
    """Return h(t) = v'(x - t)_+ at all t of the sorted x, and v'x (x from the first), for each column v."""
    beyond = np.cumsum(V[::-1], axis=0)[::-1]  # sums of v_k over k >= j: minus the slope of h left of x_j
    h = np.zeros_like(V)
    h[:-1] = np.cumsum((beyond[1:] * np.diff(x)[:, None])[::-1], axis=0)[::-1]
    return h, h[0]


def _free_basis(x, skip):
    """Return orthonormal columns that span 1, and x with a skip."""
    columns = np.column_stack([np.ones(len(x)), (x - x.mean()) / (np.ptp(x) or 1.0)])
    return np.linalg.qr(columns[:, : 1 + (skip and np.ptp(x) > 0)])[0]


def _fit_squared_outputs(x, place, Y, weights, alpha, skip):
    """Fit each output on its own, and put the splines on the union of their nodes."""
    mass = [np.bincount(place, w) for w in weights.T]
    means = [np.bincount(place, w * y) / m for y, w, m in zip(Y.T, weights.T, mass, strict=True)]
    fits = [_fit_squared(x, y, m, alpha, skip) for y, m in zip(means, mass, strict=True)]
    nodes = np.unique(np.concatenate([inner for inner, _, _ in fits]))
    theta = np.column_stack([np.interp(x[nodes], x[inner], values) for inner, values, _ in fits])
    return nodes, theta, "optimal" if all(optimal for _, _, optimal in fits) else "no more progress"


def _fit_squared(x, y, w, alpha, skip):
    """Minimise 1/2 sum w (f(x) - y)^2 + alpha R(f) by an active-set method; x is sorted and distinct.

    Each round adds a knot to every interval where |h| is above its limit, moves to the optimum for the signs, and
    drops knots whose kinks get to zero on the way. A round without progress is repeated with the worst knot alone.
    """
    mean = np.average(y, weights=w)
    data, loss = (x, y - mean, w, alpha, skip), Squared(sample_weight=w)
    state = _State(np.zeros(0, int), np.zeros(0), np.zeros(2), "even" if skip else "tied", 1.0)
    state, value, single = _descend(state, data), np.inf, False
    for _ in range(50 * len(x) + 100):
        new, signs = _violators(state, data, single)
        if len(new) == 0:
            return _nodes(state, x), state.theta + mean, True
        knots, signs = np.append(state.knots, new), np.append(state.signs, signs)
        order, start = np.argsort(knots), _nodes(state, x)
        trial = state._replace(knots=knots[order], signs=signs[order])
        trial = _descend(trial._replace(theta=np.interp(x[_nodes(trial, x)], x[start], state.theta)), data)
        fit = slice(None), data[1][:, None], loss, alpha, skip, _nodes(trial, x), trial.theta[:, None]
        before, value = value, min(value, _objective(x, *fit))
        if single and value == before:
            break
        state, single = (trial, False) if value < before else (state, True)
    return _nodes(state, x), state.theta + mean, False


def _nodes(state, x):
    return np.concatenate([[0], state.knots, [len(x) - 1]])


def _objective(x, place, Y, loss, alpha, skip, nodes, theta):
    """Return L(f) + alpha R(f) of the spline with values theta at nodes, indices of x."""
    fits = np.column_stack([np.interp(x, x[nodes], values) for values in theta.T])
    sizes = [np.abs(part).sum() for values in theta.T for part in _split(x[nodes], values, skip)[:2]]
    return loss.value(Y, fits[place]) + alpha * sum(sizes)


def _violators(state, data, single):
    """Return the knots whose |h| is most above its limit, one an interval (or the worst alone), and their signs."""
    (x, y, w, alpha, skip), nodes = data, _nodes(state, data[0])
    v = w * (y - np.interp(x, x[nodes], state.theta))
    h, q = (part[..., 0] for part in _responses(x, (v - w * (v.sum() / w.sum()))[:, None].astype(np.longdouble)))
    q = 0.0 if skip else float(q)
    above, below = h - min(alpha, alpha + q), max(-alpha, q - alpha) - h
    excess = np.maximum(above, below).astype(float)
    excess[nodes] = 0.0
    found = np.flatnonzero(excess > EXCESS_TOL * alpha)
    found = found[np.argsort(-excess[found], kind="stable")]
    found = found[:1] if single else found[np.unique(np.searchsorted(nodes, found), return_index=True)[1]]
    return found, np.where(above[found] > below[found], 1.0, -1.0)


def _descend(state, data):
    """Move to the optimum over the knots of a state, dropping those whose kinks would change sign."""
    x, _, _, alpha, skip = data
    for _ in range(4 * len(state.knots) + 20):
        nodes = x[_nodes(state, x)]
        target, q = _target(state, nodes, data)
        (kinks, ends), (goal, goal_ends) = (_kinks_and_ends(nodes, theta) for theta in (state.theta, target))
        now, then = state.signs * kinks, state.signs * goal
        if state.regime != "tied" and not skip:  # the sign of sum |k| - |s_0 + s_K| is kept, too
            way, sides = (1.0, np.array([1.0, -1.0])) if state.regime == "even" else (-1.0, -state.side * np.ones(1))
            now = np.append(now, way * now.sum() - sides * ends)
            then = np.append(then, way * then.sum() - sides * goal_ends)
        crossing = then < 0
        now = np.maximum(now[crossing], 0.0)
        if not crossing.any():
            state = state._replace(theta=target)
            if state.regime != "tied" or -EXCESS_TOL <= state.side * q / alpha <= 1.0 + EXCESS_TOL:
                return state  # v'x, the multiplier of the tie, is in its range
            if state.side * q > 0:
                state = state._replace(regime="steep")
            else:
                state = state._replace(regime="even") if len(state.knots) else state._replace(side=-state.side)
            continue
        steps = now / (now - then[crossing])
        first = int(np.flatnonzero(crossing)[np.argmin(steps)])
        theta = state.theta + steps.min() * (target - state.theta)
        if first >= len(state.knots):
            state = state._replace(theta=theta, regime="tied", side=way * sides[first - len(state.knots)])
        else:
            knots, signs = np.delete(state.knots, first), np.delete(state.signs, first)
            state = state._replace(knots=knots, signs=signs, theta=np.delete(theta, first + 1))
    return state


def _kinks_and_ends(nodes, theta):
    """Return the kinks k_i, and s_0 + s_K."""
    slopes = np.diff(theta) / np.diff(nodes)
    return np.diff(slopes), slopes[0] + slopes[-1]


def _target(state, nodes, data):
    """Return the values at the nodes that are optimal for the signs and the regime, and v'x of their residual v."""
    x, y, w, alpha, _ = data
    widths = np.diff(nodes)
    signs = np.concatenate([[0.0], state.signs, [0.0]])
    of_kinks = (
        signs[:-1] - signs[1:]
    )  # sum_i sign_i k_i in terms of the slopes; -diff(. / widths) in those of the values
    of_ends = state.side * (np.eye(1, len(widths))[0] + np.eye(1, len(widths))[0, ::-1])
    penalty = 0.5 * (of_kinks + of_ends) if state.regime == "steep" else of_kinks
    hats = _hats(nodes, x)
    normal = (hats.T * w) @ hats
    bands = np.stack([normal.diagonal(), np.append(normal.diagonal(-1), 0.0)])
    rhs = hats.T @ (w * y) - alpha * -np.diff(penalty / widths, prepend=0.0, append=0.0)
    if state.regime != "tied":
        return solveh_banded(bands, rhs, lower=True), None
    tie = -np.diff((of_ends - of_kinks) / widths, prepend=0.0, append=0.0)
    free, along = solveh_banded(bands, np.column_stack([rhs, tie]), lower=True).T
    target = free - (tie @ free) / (tie @ along) * along
    v = w * (y - np.interp(x, nodes, target))
    return target, float(np.sum((v - w * (v.sum() / w.sum())) * (x - x[0])))


def _hats(nodes, x):
    """Return the matrix (n_samples, n_nodes) that interpolates values at the nodes."""
    interval = np.clip(np.searchsorted(nodes, x, side="right") - 1, 0, len(nodes) - 2)
    share = (x - nodes[interval]) / (nodes[interval + 1] - nodes[interval])
    places = np.tile(np.arange(len(x)), 2), np.concatenate([interval, interval + 1])
    return csr_array((np.concatenate([1.0 - share, share]), places), shape=(len(x), len(nodes)))


def _fit_general(x, place, Y, loss, alpha, skip):
    """Fit through cvxpy, with values and slopes between all knots as variables, and drop kinks that are rounding."""
    import cvxpy as cp

    theta, slopes, Z = (cp.Variable((size, Y.shape[1])) for size in (len(x), len(x) - 1, len(Y)))
    fit = Z - theta[place] == 0
    sizes = cp.sum(cp.abs(slopes[1:] - slopes[:-1]), axis=0) if len(x) > 2 else np.zeros(Y.shape[1])
    if not skip:
        sizes = cp.maximum(sizes, 0.5 * (sizes + cp.abs(slopes[0] + slopes[-1])))
    constraints = [fit, cp.multiply(np.diff(x)[:, None], slopes) == theta[1:] - theta[:-1]]
    problem = cp.Problem(cp.Minimize(loss.to_cvxpy(Y, Z) + alpha * cp.sum(sizes)), constraints)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate", category=UserWarning)
        problem.solve(solver="CLARABEL", tol_gap_rel=1e-10, tol_gap_abs=1e-12, tol_feas=1e-10)
    if theta.value is None:
        raise RuntimeError(f"CLARABEL failed on the spline: status {problem.status!r}")
    args, nodes, kinks = (x, place, Y, loss, alpha, skip), np.arange(len(x)), np.diff(slopes.value, axis=0)
    value, kinks = _objective(*args, nodes, theta.value), np.abs(kinks).max(axis=1)
    for threshold in kinks.max(initial=0.0) * 10.0 ** -np.arange(2, 13):
        kept = np.concatenate([[0], 1 + np.flatnonzero(kinks > threshold), [len(x) - 1]])
        if _objective(*args, kept, theta.value[kept]) <= (1 + SLACK) * value:
            nodes = kept
            break
    values = theta.value[nodes]
    for _ in range(MAX_NEWTON if loss.smooth and loss.separable else 0):
        fits = np.column_stack([np.interp(x, x[nodes], column) for column in values.T])[place]
        H = np.maximum(loss.curvature(Y, fits), LEAST_CURVATURE * loss.smoothness)
        trial = _fit_squared_outputs(x, place, fits - loss.grad(Y, fits) / H, H, alpha, skip)[:2]
        if not _objective(*args, *trial) < _objective(*args, nodes, values):
            break
        nodes, values = trial
    return nodes, values, [fit.dual_value], problem.status


def _split(nodes, theta, skip):
    """Return the coefficients of (x - t)_+ and (t - x)_+ at the nodes t of least size, and the free slope."""
    right, left = np.zeros(len(nodes)), np.zeros(len(nodes))
    if len(nodes) == 1:
        return right, left, 0.0
    kinks, ends = _kinks_and_ends(nodes, theta)
    if skip:
        right[1:-1] = kinks
        return right, left, (theta[1] - theta[0]) / (nodes[1] - nodes[0])
    total = np.abs(kinks).sum()
    if abs(ends) >= total:  # the rest is a line, which both families have: (x - t)_+ of the first node
        share = np.full(len(kinks), np.sign(ends))
        right[0] = 0.5 * (ends - np.sign(ends) * total)
    else:  # sum of share |k| is s_0 + s_K: 1 for the first kinks, -1 for the last, between for at most one
        sizes = np.maximum(np.abs(kinks), np.finfo(float).tiny)
        share = np.clip(total + ends - 2.0 * (np.cumsum(sizes) - sizes), 0.0, 2.0 * sizes) / sizes - 1.0
    part = 0.5 * (1.0 + share * np.sign(kinks))
    right[1:-1], left[1:-1] = part * kinks, (1.0 - part) * kinks
    return right, left, 0.0


def _certified(x, Y, alpha, loss, skip, tol, nodes, theta, candidates, status):
    """Turn the values at the nodes into coefficients and a network, and bound the optimum from below."""
    right, left, slope = map(np.array, zip(*[_split(nodes, values, skip) for values in theta.T], strict=True))
    used = (right != 0).any(axis=0) | (left != 0).any(axis=0)
    knots, constant = nodes[used], theta[0] - left @ (nodes - nodes[0]) - slope * nodes[0]
    right, left = right[:, used].T, left[:, used].T
    Z = np.column_stack([np.interp(x, nodes, values) for values in theta.T])
    basis, best = _free_basis(x, skip), (-np.inf, None)
    for V in [-loss.grad(Y, Z), *candidates]:
        V = loss.project_dual(Y, V, basis)
        V = loss.best_scale(Y, V, alpha / max(_kappa(x, V), np.finfo(float).tiny)) * V
        best = max(best, (-loss.conjugate(Y, -V), V), key=lambda pair: pair[0])
    objective = loss.value(Y, Z) + alpha * float(np.abs(right).sum() + np.abs(left).sum())
    certificate = Certificate(objective, float(best[0]), "global", loss.value(Y, np.zeros_like(Y)) * ROUNDING)
    slope = slope if skip else None
    network, converged = _network(knots, right, left, constant, slope), certificate.gap <= tol
    return SplineSolution(knots, right, left, constant, slope, Z, best[1], certificate, network, converged, status)


def _network(knots, right, left, constant, slope):
    """Return the network of a spline, with weights w = +-sqrt|c| and a = sqrt|c| sign(c) for a coefficient c."""
    coefficients = np.concatenate([right, left])
    which, outputs = np.nonzero(coefficients)
    values = coefficients[which, outputs]
    w = np.sqrt(np.abs(values)) * np.where(which < len(knots), 1.0, -1.0)
    W2 = np.zeros((len(values), len(constant)))
    W2[np.arange(len(values)), outputs] = np.sign(values) * np.abs(w)
    slope = None if slope is None else slope[None]
    return Network(w[None], -w * np.tile(knots, 2)[which], W2, constant, skip=slope, hidden_bias="free")
