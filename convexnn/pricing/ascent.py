"""Local ascent of h(u) = v'(Xu)_+ + l'u on the unit sphere: pricing over all cells, from many starts.

The linear term is that of activations with a slope below zero; it is left out below, as every gradient has the same l.
On a cell with pattern D, h(u) = u'X'Dv, so its largest value on the cell's part of the ball is |Proj_K(X'D v)|,
attained at p / |p| for the projection p. The multipliers mu >= 0 of the rows that are tight there say what lies behind
them: with the sides s_k of these rows, X'D v + sum_k mu_k s_k x_k = p, and on the other side of row k the gradient is
X'D v - s_k v_k x_k. So p / |p| is the largest point of that cell too if and only if mu_k <= -v_k; otherwise h grows
behind the wall. `climb` crosses all such walls at once, and again from the cell it comes to, until it stands at a local
maximum of h over all cells. Every move raises h. Tight rows are independent, so every choice of sides is a cell.

A few steps of gradient ascent (u <- u + t X'D v, normalised) lead to where climbing starts. What is found is a lower
bound of kappa(v) and patterns that violate kappa(v) <= alpha; that nothing is found proves nothing.
"""

import numpy as np

from ..geometry.projection import copy, dot, project
from ..utils.kernels import kernel
from ..utils.threads import TIMED_WORK, map_batches

__all__ = ["ascend", "batch_size", "climb", "climb_one"]

# Rows whose products with a vector are made at a time.
CHUNK = 1024
# Most batches of starts, and products of the least: a thread takes a while to start.
BATCHES, BATCH_WORK = 16, 1e7
# Part of the value by which a wall has to be worth crossing, and an ascent to be an ascent.
PROGRESS_TOL = 1e-12


def ascend(columns, weights, linear, signs, U, n_steps):
    """Ascend h from the directions U by `n_steps` gradient steps, for the signs of v and l; return h there.

    The rows of U (n_starts, n_features), not zero, are overwritten by the unit directions reached. `columns` are the
    unit rows (n_features, n_samples) of `unit_columns`, `weights` are v_k |x_k|. A step is two passes over the rows.
    """

    def part(batch):
        return _ascend_all(columns, weights, linear, signs[batch], U[batch], n_steps)

    return np.concatenate([np.zeros(0), *map_batches(part, _batches(len(U), columns.size * n_steps), timed=True)])


def climb(columns, weights, linear, signs, patterns, floor, n_cells):
    """Climb from the cells `patterns` to local maxima of h; return the projections of X'D v onto the last cells.

    h at u / |u| is |u| for a projection u, which is no longer than `floor` where the climb was given up, as h was at
    most that. `patterns` is overwritten by the cells reached; where `n_cells`, the largest number of moves, ends the
    climb, by the next cell, which has the point too. The rest is as for `ascend`.
    """
    U = np.empty((len(patterns), len(columns)))

    def part(batch):
        _climb_all(columns, weights, linear, signs[batch], patterns[batch], floor, n_cells, U[batch])

    map_batches(part, _batches(len(U), columns.size * n_cells), timed=True)
    return U


def batch_size(n_starts, work):
    """Return how many of `n_starts` starts, of `work` products each, make a batch that is worth a thread."""
    return max(1, min(max(-(-n_starts // BATCHES), int(BATCH_WORK / max(work, 1))), int(TIMED_WORK / max(work, 1))))


def _batches(n_starts, work):
    size = batch_size(n_starts, work)
    return [slice(first, first + size) for first in range(0, n_starts, size)]


@kernel(nogil=True)
def _ascend_all(columns, weights, linear, signs, U, n_steps):
    d, n = columns.shape
    values, w, line, work = np.empty(len(U)), np.empty(n), np.empty(d), np.empty((3, d))
    products = np.empty(min(n, CHUNK))
    for j in range(len(U)):
        _scale(signs[j], weights, w)
        _scale(signs[j], linear, line)
        values[j] = _ascend(columns, w, line, U[j], n_steps, work, products)
    return values


@kernel(nogil=True)
def _climb_all(columns, weights, linear, signs, patterns, floor, n_cells, U):
    d, n = columns.shape
    tight, w, line = np.empty(d, np.int32), np.empty(n), np.empty(d)
    for j in range(len(U)):
        for q in range(d):
            tight[q] = -1
        _scale(signs[j], weights, w)
        _scale(signs[j], linear, line)
        climb_one(columns, w, line, patterns[j], tight, floor, n_cells, U[j])


@kernel
def _scale(t, a, b):
    for i in range(len(a)):
        b[i] = t * a[i]


@kernel
def _length(a):
    t = 0.0
    for i in range(len(a)):
        t += a[i] * a[i]
    return np.sqrt(t)


@kernel
def _normalise(u):
    length = _length(u)
    if length > 0.0:
        for i in range(len(u)):
            u[i] /= length
    return length


@kernel(fastmath={"reassoc", "contract", "nsz"})
def _gradient(columns, weights, linear, u, g, products):
    """Write X'D v + l at u to g and return h(u) = u'g."""
    d, n = columns.shape
    value = 0.0
    for i in range(d):
        g[i] = linear[i]
        value += linear[i] * u[i]
    for first in range(0, n, CHUNK):
        last = min(n, first + CHUNK)
        z = products[: last - first]
        for k in range(len(z)):
            z[k] = 0.0
        for i in range(d):
            t, row = u[i], columns[i, first:last]
            for k in range(len(z)):
                z[k] += row[k] * t
        w = weights[first:last]
        for k in range(len(z)):
            value += w[k] * max(z[k], 0.0)
            z[k] = w[k] if z[k] >= 0.0 else 0.0
        for i in range(d):
            t, row = 0.0, columns[i, first:last]
            for k in range(len(z)):
                t += row[k] * z[k]
            g[i] += t
    return value


@kernel(inline="always")
def _ascend(columns, weights, linear, u, n_steps, work, products):
    """Ascend from u, which is overwritten, by normalised steps of adapted length; return h."""
    d = len(u)
    _normalise(u)
    g, trial, trial_g = work[0], work[1], work[2]
    value, step = _gradient(columns, weights, linear, u, g, products), 1.0
    for _ in range(n_steps):
        size = _length(g)
        if size == 0.0:
            break
        for i in range(d):
            trial[i] = (1.0 - step) * u[i] + step * g[i] / size
        if _normalise(trial) == 0.0:
            break
        reached = _gradient(columns, weights, linear, trial, trial_g, products)
        if reached > value + PROGRESS_TOL * abs(value):
            copy(trial, u)
            copy(trial_g, g)
            value = reached
            step = min(1.0, 1.5 * step)
        else:
            step *= 0.5
    return value


@kernel(inline="always")
def climb_one(columns, weights, linear, pattern, tight, floor, n_cells, u):
    """Cross walls from one cell while h grows, for the arguments of `climb`: a compiled kernel for others.

    Overwrites `pattern` by the cell reached, `tight` (n_features,), likely tight rows filled up with -1, by those of
    the projection onto the last cell, and u by that projection.
    """
    d, n = columns.shape
    g, active, mu = np.empty(d), np.empty(n), np.empty(d)
    for k in range(n):
        active[k] = weights[k] if pattern[k] else 0.0
    for i in range(d):
        g[i] = dot(columns[i], active) + linear[i]
    for _ in range(n_cells):
        project(columns, pattern, g, tight, floor, u, mu)
        value = _length(u)
        if value <= floor:
            return
        stay = 0
        for q in range(d):
            k = tight[q]
            if k < 0:
                break
            if mu[q] > -weights[k] + PROGRESS_TOL * value:
                t = -weights[k] if pattern[k] else weights[k]
                for i in range(d):
                    g[i] += t * columns[i, k]
                pattern[k] = not pattern[k]
            else:
                tight[stay] = k
                stay += 1
        if stay == d or tight[stay] < 0:  # no wall was crossed
            return
        for q in range(stay, d):
            tight[q] = -1
