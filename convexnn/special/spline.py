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

import time
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solveh_banded
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from ..geometry.arrangements import Arrangements, unique_bits
from ..losses import Loss, Squared
from ..model.program import Solution
from ..model.rounding import proved_value
from ..model.summary import summary
from ..networks.minimal import prune
from ..networks.network import Network
from ..solvers.generation import solve_generation
from ..solvers.reference import solve_cvxpy
from ..utils.progress import Progress
from ..utils.quiet import ignoring
from ..utils.validation import check_flag
from .results import LossDual, SpecialResult, check_problem, conclude

__all__ = ["is_spline", "solve_one_feature", "solve_spline"]

# Relative excess of |h| over alpha that counts as rounding.
EXCESS_TOL = 1e-11


def solve_spline(
    x: ArrayLike, Y: ArrayLike, alpha: float, loss: Loss, skip: bool = False, tol: float = 1e-9
) -> SpecialResult:
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
        Compared with the relative gap of the certificate; a ConvergenceWarning is given where it is above.

    Returns
    -------
    SpecialResult
        The network, with hidden_bias "free" and the knots -b1 / W1[0]; its certificate, over all networks; and the
        dual vector that proves it.

    Raises
    ------
    RuntimeError
        If the solver of cvxpy fails (losses other than the squared one).

    Examples
    --------
    >>> from convexnn.losses import Squared
    >>> from convexnn.special import solve_spline
    >>> solution = solve_spline([0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 1.0, 2.0], 0.01, Squared())
    >>> solution.network.predict([[0.0], [1.0], [2.0], [3.0]]).round(3), solution.certificate.scope
    (array([0.   , 0.005, 1.   , 1.995]), 'global')
    >>> (-solution.network.b1 / solution.network.W1[0]).tolist()  # its knots
    [0.0, 1.0]
    """
    x, Y, alpha, tol = check_problem(np.reshape(x, (len(x), -1)), Y, alpha, tol, "x")
    if x.shape[1] != 1:
        raise ValueError(f"x must have one feature, shape (n_samples,) or (n_samples, 1); got shape {x.shape}")
    x, skip, unit = x[:, 0], check_flag("skip", skip), np.ptp(x) or 1.0
    # in x / unit the kinks are in units of 1 / unit, and so is alpha
    scaled, first, place = np.unique((x - x.min()) / unit, return_index=True, return_inverse=True)
    candidates = []
    if len(scaled) == 1:
        basis = _free_basis(x, False)
        nodes, theta = [0], (basis @ loss.fit_free(Y, basis))[:1]
    elif isinstance(loss, Squared):
        weights = loss.grad(Y, Y + 1.0)  # the loss is 1/2 sum of weights (z - y)^2
        nodes, theta = _fit_squared_outputs(scaled, place, Y, weights, alpha / unit, skip)
    else:
        nodes, theta, candidates = _fit_general(scaled, place, Y, loss, alpha / unit, skip)
    nodes = x[first[nodes]]
    right, left, slope = map(np.array, zip(*[_split_spline(nodes, values, skip) for values in theta.T], strict=True))
    Z = np.column_stack([np.interp(x, nodes, values) for values in theta.T])
    columns, steepness = np.column_stack([np.ones(len(x)), x])[:, : 1 + skip], np.ptp(x) * np.sqrt(len(x))
    dual = LossDual(loss, Y, alpha, columns, _free_basis(x, skip), partial(_kappa, x), steepness)
    objective = loss.value(Y, Z) + alpha * float(np.abs(right).sum() + np.abs(left).sum())
    certificate, V = dual.certify(objective, [-loss.grad(Y, Z), *candidates])
    constant = theta[0] - left @ (nodes - nodes[0]) - slope * nodes[0]
    network = _network(nodes, right.T, left.T, constant, slope if skip else None)
    return conclude(network, certificate, tol, dual=V)


def is_spline(program):
    """Return whether a program, whatever its patterns, is a spline: one feature, free biases, ReLUs, squared loss."""
    architecture = program.architecture
    plain = architecture.activation == "relu" and architecture.hidden_bias == "free" and architecture.patches is None
    return plain and program.design.X.shape[1] == 2 and isinstance(program.loss, Squared) and not program.shares_neurons


def solve_one_feature(program, *, tol=1e-6, verbose=0, **options):
    """Solve a program for which `is_spline` holds by the spline, in milliseconds and without limits.

    Where rounding keeps it from `tol` (a tiny alpha), the better of it and `solve_generation(**options)` is returned.
    """
    with Progress(verbose) as progress:
        solution = _as_spline(program, tol)
        (record,) = solution.history
        progress.update(record)
        facts = {"alpha": program.alpha, "time": record["time"], "n_neurons": record["n_blocks"]}
        progress.close(summary(solution.certificate, tol, solution.status, **facts))
    if not solution.converged:
        other = solve_generation(program, tol=tol, verbose=verbose, **options)
        if not solution.certificate.objective < other.certificate.objective:
            return other
    return solution


def _kappa(x, V):
    """Return max over t of |v'(x - t)_+| and |v'(t - x)_+| for columns v with 1'v = 0, plus the rounding of sums."""
    order = np.argsort(x, kind="stable")
    h, q = _responses(x[order], V[order].astype(np.longdouble))
    size = (x.max() - x.min()) * np.abs(V).sum(axis=0).max(initial=0.0)
    rounding = (4 * len(x) * np.finfo(np.longdouble).eps + 4 * np.finfo(float).eps) * size
    return float(max(np.abs(h).max(initial=0.0), np.abs(h - q).max(initial=0.0)) + rounding)


def _free_basis(x, skip):
    """Return orthonormal columns that span 1, and x with a skip."""
    columns = np.column_stack([np.ones(len(x)), (x - x.mean()) / (np.ptp(x) or 1.0)])
    return np.linalg.qr(columns[:, : 1 + (skip and np.ptp(x) > 0)])[0]


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
    solve_cvxpy(problem)
    args, kinks = (x, place, Y, loss, alpha, skip), np.abs(np.diff(slopes.value, axis=0)).max(axis=1)

    def nodes_of(kept):
        return np.concatenate([[0], 1 + np.flatnonzero(kept), [len(x) - 1]])

    def objective(kept):
        return _spline_objective(*args, nodes_of(kept), theta.value[nodes_of(kept)])

    nodes = nodes_of(prune(kinks, objective, 1e-11))  # small kinks of an interior-point solution
    values = theta.value[nodes]
    for _ in range(20 if loss.smooth and loss.separable else 0):
        fits = np.column_stack([np.interp(x, x[nodes], column) for column in values.T])[place]
        H = np.maximum(loss.curvature(Y, fits), 1e-6 * loss.smoothness)
        trial = _fit_squared_outputs(x, place, fits - loss.grad(Y, fits) / H, H, alpha, skip)
        if not _spline_objective(*args, *trial) < _spline_objective(*args, nodes, values):
            break
        nodes, values = trial
    return nodes, values, [fit.dual_value]


def _as_spline(program, tol):
    """Fit the spline and return it as a solution over the patterns of its kinks."""
    start = time.perf_counter()
    x, unit = program.design.X[:, 0], program.design.X[0, 1]  # its column of biases is constant
    with ignoring(ConvergenceWarning):
        spline = solve_spline(x, program.Y, program.alpha, program.loss, program.architecture.skip, tol)
    w, b, A = spline.network.W1[0], spline.network.b1, spline.network.W2
    # smaller changes of slope are rounding
    kept = np.abs(w) * np.abs(A).sum(axis=1) > 1e-13 * np.abs(program.Y).max() / (np.ptp(x) or 1.0)
    w, b, (_, outputs), a = w[kept], b[kept], np.nonzero(A[kept]), A[kept].sum(axis=1)
    bits, _, index = unique_bits(np.packbits(w[:, None] * x + b[:, None] >= 0, axis=1))
    over = program.over(Arrangements(bits, np.zeros((len(bits), 0)), len(x)))
    W = np.zeros(over.block_shape)
    U = np.abs(a)[:, None] * np.column_stack([w, b / unit])
    np.add.at(W, (index + len(bits) * (a < 0), slice(None), outputs), U)
    Q, M = over.free_basis
    beta = M @ over.loss.fit_free(over.Y, Q, over.design.matvec(W))
    steepness = np.ptp(x) * np.sqrt(len(x)) / program.alpha  # x is centred, and the free columns are not
    bound = proved_value(program.loss, program.Y, program.free_columns, spline.dual, steepness)
    known = replace(spline.certificate, lower_bound=min(spline.certificate.lower_bound, bound))
    certificate = known.of(over.objective(W, beta))
    record = {"time": time.perf_counter() - start, "n_blocks": int(np.count_nonzero(W.any(axis=(1, 2))))}
    record |= {name: getattr(certificate, name) for name in ("objective", "lower_bound", "gap", "scope")}
    Z, converged = over.predict(W, beta), certificate.gap <= tol
    return Solution(over, W, beta, Z, certificate, 1, converged, spline.status, [record], spline.dual).trimmed()


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


def _fit_squared_outputs(x, place, Y, weights, alpha, skip):
    """Minimise 1/2 sum weights (f - Y)^2 + alpha R(f) over splines f, one an output, on the union of their nodes.

    x (n_values,) is sorted and distinct; `place` (n_samples,) is the index of each sample in it. Returns the nodes,
    indices of x that include its ends, and the values theta (n_nodes, n_outputs) there.
    """
    mass = [np.bincount(place, w) for w in weights.T]
    means = [np.bincount(place, w * y) / m for y, w, m in zip(Y.T, weights.T, mass, strict=True)]
    fits = [_fit_squared(x, y, m, alpha, skip) for y, m in zip(means, mass, strict=True)]
    nodes = np.unique(np.concatenate([inner for inner, _ in fits]))
    theta = np.column_stack([np.interp(x[nodes], x[inner], values) for inner, values in fits])
    return nodes, theta


def _spline_objective(x, place, Y, loss, alpha, skip, nodes, theta):
    """Return L(f) + alpha R(f) of the splines with values theta at nodes, as `_fit_squared_outputs` returns both."""
    fits = np.column_stack([np.interp(x, x[nodes], values) for values in theta.T])
    sizes = [np.abs(part).sum() for values in theta.T for part in _split_spline(x[nodes], values, skip)[:2]]
    return loss.value(Y, fits[place]) + alpha * sum(sizes)


def _split_spline(nodes, theta, skip):
    """Return the least coefficients of one spline: right of (x - t)_+, left of (t - x)_+, and the free slope or 0."""
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


def _responses(x, V):
    """Return h(t) = v'(x - t)_+ at all t of the sorted x, and v'(x - x_0), for the columns v of V, which sum to 0."""
    beyond = np.cumsum(V[::-1], axis=0)[::-1]  # sums of v_k over k >= j: minus the slope of h left of x_j
    h = np.zeros_like(V)
    h[:-1] = np.cumsum((beyond[1:] * np.diff(x)[:, None])[::-1], axis=0)[::-1]
    return h, h[0]


class _State(NamedTuple):
    """Interior knots (indices of x), signs of their kinks, values at all nodes, and the regime of R."""

    knots: np.ndarray
    signs: np.ndarray
    theta: np.ndarray
    regime: str  # "even": |s_0 + s_K| < sum |k|; "steep": it is larger; "tied": side (s_0 + s_K) = sum |k| is kept
    side: float


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
            break
        knots, signs = np.append(state.knots, new), np.append(state.signs, signs)
        order, start = np.argsort(knots), _nodes(state, x)
        trial = state._replace(knots=knots[order], signs=signs[order])
        trial = _descend(trial._replace(theta=np.interp(x[_nodes(trial, x)], x[start], state.theta)), data)
        fit = slice(None), data[1][:, None], loss, alpha, skip, _nodes(trial, x), trial.theta[:, None]
        before, value = value, min(value, _spline_objective(x, *fit))
        if single and value == before:
            break
        state, single = (trial, False) if value < before else (state, True)
    return _nodes(state, x), state.theta + mean


def _nodes(state, x):
    return np.concatenate([[0], state.knots, [len(x) - 1]])


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
    # sum_i sign_i k_i in terms of the slopes; -diff(. / widths) in those of the values
    of_kinks = signs[:-1] - signs[1:]
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
