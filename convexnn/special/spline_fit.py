"""The active-set method for linear splines: least squares with a penalty on the kinks.

    minimise over splines f with knots at data   1/2 sum_k w_k (f(x_k) - y_k)^2 + alpha R(f)
    R(f) = max(sum_i |k_i|, (sum_i |k_i| + |s_0 + s_K|) / 2),   and sum_i |k_i| with a free slope

for slopes s_i and kinks k_i = s_i - s_{i-1}, see `convexnn.special.spline`. On given signs the objective is quadratic
in the values at the knots, its matrix tridiagonal.

References
----------
C. L. Lawson and R. J. Hanson (1974), Solving least squares problems, chapter 23.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import solveh_banded
from scipy.sparse import csr_array

from ..losses import Squared

__all__ = ["fit_squared_outputs", "responses", "spline_objective", "split_spline"]

# Relative excess of |h| over alpha that counts as rounding.
EXCESS_TOL = 1e-11


def fit_squared_outputs(x, place, Y, weights, alpha, skip):
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


def spline_objective(x, place, Y, loss, alpha, skip, nodes, theta):
    """Return L(f) + alpha R(f) of the splines with values theta at nodes, as `fit_squared_outputs` returns both."""
    fits = np.column_stack([np.interp(x, x[nodes], values) for values in theta.T])
    sizes = [np.abs(part).sum() for values in theta.T for part in split_spline(x[nodes], values, skip)[:2]]
    return loss.value(Y, fits[place]) + alpha * sum(sizes)


def split_spline(nodes, theta, skip):
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


def responses(x, V):
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
        before, value = value, min(value, spline_objective(x, *fit))
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
    h, q = (part[..., 0] for part in responses(x, (v - w * (v.sum() / w.sum()))[:, None].astype(np.longdouble)))
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
