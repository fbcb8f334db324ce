"""The dual vector of the zero network with the least kappa: the one that proves most where the loss is not smooth.

At the best free fit Z0 the dual vectors of the zero network are those of -dL(Z0) with F'V = 0. A smooth loss has one;
at a kink (a tie, a margin of one) an entry of V is free within an interval. The zero network is optimal at alpha where
one of them has kappa(V) <= alpha, so that

    alpha_max = min over these V of kappa(V),   kappa(V) = max over neurons with |u| <= 1 of <G_u, V>

for the fit G_u of the neuron u: a linear program with a row for each neuron, of which few matter. They are found as
they are needed, by the same pricing as those of a network (cutting planes). The optimum over the rows at hand is a
lower bound of alpha_max, kappa(V) of every V an upper one. Where no more entries are free than F'V = 0 determines, as
in targets without ties, V is unique and there is nothing to minimise.

References
----------
J. E. Kelley (1960), The cutting-plane method for solving convex programs, SIAM Journal 8(4), 703-712. W. Ben-Ameur and
J. Neto (2007), Acceleration of cutting-plane and column generation algorithms, Networks 49(1), 3-17 (the point between
the best V and that of the linear program).
"""

from contextlib import suppress
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog

from ..utils.deadline import TimeIsUp, breakable, remaining
from .groups import steepest_blocks
from .kappa import price, start_of
from .search import REMEMBERED, join_maxima

__all__ = ["ZeroDual", "dual_at_zero", "least_kappa", "neurons_of_blocks", "neurons_of_search", "neurons_of_vectors"]

# Relative distance of the bounds at which they are one by default, and linear programs that are solved at most.
TOL, ROUNDS = 1e-9, 300
# Blocks whose neurons join at a time: linear programs of many rows cost more than rounds.
JOINING = 20
# Rows that are slack by this part leave, once there are so many entries.
SLACK_FRACTION, MANY_ENTRIES = 0.1, 100_000
# Seconds that a linear program has at least.
LEAST_SECONDS = 0.01


class ZeroDual(NamedTuple):
    """A dual vector V of the zero network, and its value, kappa(V) as far as the neurons are found.

    `lower`: no dual vector of the zero network has a smaller kappa, up to rounding.
    """

    V: np.ndarray
    value: float
    lower: float


def dual_at_zero(program, enough=0.0):
    """Return the dual vector of the zero network, of a non-smooth loss the one of least kappa over the patterns.

    Its kappa is alpha_max over these patterns. With `enough` above 0 any of a kappa of at most this will do.
    """
    V = program.any_dual_at_zero()
    with suppress(TimeIsUp), breakable():  # then any of them has to do
        V = V if program.loss.smooth else least_kappa(program, V, neurons_of_blocks(program), enough=enough).V
    return V


def least_kappa(program, V, neurons, *, enough=0.0, tol=TOL, over=lambda: False):
    """Find the dual vector of the zero network with the least kappa, starting from V, one of them or near these.

    neurons(V, level, best) returns the largest of level and kappa(V), and fits (n_neurons, n_samples, n_outputs) of
    unit neurons, among them one that attains it. Its value may be less than kappa(V) where it is above the level, and
    need not be exact above `best`; where `best` is inf it does all that a search can do. The loop ends where the least
    kappa is known to be at most `enough`, or above it, or the bounds are within `tol`, relatively.
    """
    bounds = program.duals_at_zero
    free = (bounds[0] < bounds[1]).ravel()
    master = _Master(*bounds, free, program.free_basis[0])
    outside = np.abs(V - np.clip(V, *bounds)).max(initial=0.0)
    if free.any() and outside > TOL * np.abs(V).max(initial=0.0):
        found = master.solve(np.zeros((0, V.size)))
        V = V if found is None else program.project_dual(found[0])
    value, fits = neurons(V, 0.0, np.inf)
    least = max(TOL * value, program.dual_rounding(V))  # beside which the rest is rounding
    best, level, rows = (value, V), 0.0, np.zeros((0, V.size))
    if master.unique:
        return ZeroDual(V, value if value > least else 0.0, value)
    with suppress(TimeIsUp), breakable():
        for _ in range(ROUNDS):
            if best[0] <= max(enough, (1 + tol) * level, least):
                value, fits = neurons(best[1], best[0], np.inf)
                if value <= max(enough, (1 + tol) * best[0], least):
                    break
                best = value, best[1]
            if 0.0 < enough < level or over():
                break
            rows = np.concatenate([rows, fits.reshape(len(fits), V.size)])
            found = master.solve(rows)
            if found is None:
                break
            point, level = found[0], max(level, found[1])
            if rows.size > MANY_ENTRIES:
                rows = rows[rows @ point.ravel() > (1 - SLACK_FRACTION) * level]
            for part in (0.5, 1.0):
                trial, before = program.project_dual((1 - part) * best[1] + part * point), best[0]
                value, fits = neurons(trial, level, best[0])
                if value < best[0]:
                    best = value, trial
                cut = fits.reshape(len(fits), V.size) @ point.ravel() > (1 + TOL) * level
                if best[0] < before or cut.any():
                    break
    return ZeroDual(best[1], best[0] if best[0] > least else 0.0, min(level, best[0]))


def neurons_of_blocks(program):
    """Return the `neurons` of `least_kappa` over the patterns of a program."""
    start = start_of(program)
    design, cones, penalty = program.design, program.cones, program.penalty

    def neurons(V, level, best):
        bound, blocks = price(program, V, level, design.n_blocks, start)
        blocks = blocks[:JOINING]
        if penalty.rotation_invariant:
            U = penalty.steepest(cones.project(design.rmatvec(V, blocks), blocks, start.tight[blocks]))
        else:
            U = steepest_blocks(program, V, blocks)
        fits = [design.matvec(U[[k]], blocks[[k]]) for k in range(len(blocks))]
        return bound, np.array(fits).reshape(len(fits), *V.shape)

    return neurons


def neurons_of_search(program, searches, factors, over=lambda: False):
    """Return the `neurons` of `least_kappa` over all patterns, as far as a search for each output finds them.

    `factors` are the starts of searches in units of the usual number: each follows one that finds nothing above the
    level, and all that a search can do is all of them but the first.
    """
    design, none = program.design, np.zeros((0, program.design.X.shape[1]))

    def neurons(V, level, best):
        values, fits = [level], []
        for c, search in enumerate(searches):
            v, cells = V[:, [c]], search.bits(search.found)
            patterns = np.unpackbits(cells, axis=1, count=len(design.X)).view(bool)
            maxima = join_maxima(search.climb(v, search.found_signs, patterns))
            most = best  # with as much in known cells V is no better
            for factor in _from(factors, best):
                if len(maxima.above(most)):
                    break
                most = (1 + TOL) * level if best < np.inf else np.inf
                maxima = search.maxima(v, level, none, none[:, 0], int(factor * search.n_starts), over)
            search.found, search.found_signs = maxima.directions[:REMEMBERED], maxima.signs[:REMEMBERED]
            maxima = maxima.above(level).select(slice(JOINING))
            values.extend(maxima.values)
            fits.append(np.zeros((len(maxima), *V.shape)))
            fits[-1][:, :, c] = maxima.signs[:, None] * _hidden(program, maxima.directions)
        return max(values), np.concatenate(fits)

    return neurons


def neurons_of_vectors(program, search, factors, over=lambda: False):
    """Return the `neurons` of `least_kappa` with output weights of their own, as far as a search finds them.

    `factors` are as for `neurons_of_search`.
    """
    none = np.zeros((0, program.design.X.shape[1]))

    def neurons(V, level, best):
        for factor in _from(factors, best):
            maxima = search.maxima(V, level, none, int(factor * search.n_starts), over)
            if best < np.inf and (maxima.values > (1 + TOL) * level).any():
                break
        maxima = maxima.select(maxima.values > level).select(slice(JOINING))
        fits = _hidden(program, maxima.directions)[:, :, None] * maxima.outputs[:, None, :]
        return max(level, maxima.values.max(initial=0.0)), fits

    return neurons


def _from(factors, best):
    """Return the factors of the searches of V, which is asked to be better than `best`."""
    return factors if best < np.inf else factors[1:]


def _hidden(program, U):
    """Return the activations of neurons over the samples, (n_neurons, n_samples), pooled over patches."""
    design = program.design
    T = U @ design.X.T
    hidden = np.maximum(T, design.slope * T).reshape(len(U), design.n_samples, design.n_patches)
    return hidden.max(axis=2) if program.selects else hidden.sum(axis=2)


class _Master:
    """The linear program min t over V in a box with B'V = 0 and <G, V> <= t for rows G."""

    def __init__(self, lower, upper, free, basis):
        self.shape, self.free = lower.shape, free
        self.unit = float(np.abs([lower, upper]).max()) or 1.0
        self.fixed = np.where(free.reshape(lower.shape), 0.0, lower)
        self.box = np.column_stack([lower.ravel()[free], upper.ravel()[free]]) / self.unit
        self.equal = np.kron(basis.T, np.eye(lower.shape[1]))[:, free]
        self.right = -(basis.T @ self.fixed).ravel() / self.unit
        few = self.equal.shape[1] <= self.equal.shape[0]
        self.unique = few and (not free.any() or np.linalg.matrix_rank(self.equal) == self.equal.shape[1])

    def solve(self, rows):
        """Return the V that minimises the largest <G, V> of rows, and that; None where it is not found in time."""
        unit = float(np.abs(rows).max(initial=0.0)) or 1.0
        A = np.column_stack([rows[:, self.free] / unit, -np.ones(len(rows))])
        b = -(rows @ self.fixed.ravel()) / (unit * self.unit)
        cost = np.append(np.zeros(len(self.box)), 1.0)
        equal = {"A_eq": np.column_stack([self.equal, np.zeros(len(self.right))]), "b_eq": self.right}
        options = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
        options["time_limit"] = max(remaining(), LEAST_SECONDS)
        bounds = np.vstack([self.box, [[0.0, np.inf]]])
        result = linprog(cost, A, b, **equal, bounds=bounds, method="highs", options=options)
        if result.x is None or result.status == 1:  # a limit
            return None
        V = self.fixed.ravel().copy()
        V[self.free] = self.unit * result.x[:-1]
        return V.reshape(self.shape), float(result.fun * unit * self.unit)
