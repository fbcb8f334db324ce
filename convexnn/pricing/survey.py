"""Pricing of thin cells by many short ascents, most of which are given up early.

With many rows in few dimensions h(u) = s v'act(Xu) has hundreds of maxima on the sphere, its largest in one start of a
thousand, and gradients at many directions at once, in single precision, cost a fraction of those one by one. So
thousands of starts are looked at, and the better part of them goes on after every few gradient steps
(successive halving). Better is what ranks high among the starts of its output and sign, as maxima of one output may be
far above those of another that are just above alpha; and starts near a better one come last, as most would arrive at
maxima that are known. The values of those that arrive are computed again in double precision.

References
----------
K. Jamieson and A. Talwalkar (2016), Non-stochastic best arm identification and hyperparameter optimization, AISTATS.
"""

from contextlib import suppress

import numpy as np
from sklearn.utils import gen_batches

from ..geometry.arrangements import pattern_bits
from ..utils.deadline import TimeIsUp, breakable
from ..utils.kernels import kernel
from ..utils.threads import map_batches
from .search import LENGTHS, REMEMBERED, Maxima, join_maxima

__all__ = ["SURVEYED", "THIN_DATA", "Survey"]

# Entries of X from which cells are thin.
THIN_DATA = 2e5
# The usual number of starts, and of those that are left of so many (as a part) the gradient steps that follow.
SURVEYED = 3000
PLAN = ((1.0, 3), (0.27, 8), (0.07, 25))
# Directions and rows that are multiplied at a time: those of a vector register or a few, and those that share loads.
AT_A_TIME, ROWS_AT_A_TIME = 64, 4
# Directions whose values are computed at a time in double precision.
EXACT_AT_A_TIME = 16
# One start in so many, of those that are not near neurons, is a row.
ROW_STARTS = 8
# Cosines above which starts of the same sign and output are near each other, and maxima are one.
SAME_START, SAME_MAXIMUM = 0.9, 0.97
# Directions that are compared at a time.
COMPARED = 512
# Relative increase below which a step in single precision is not one.
PROGRESS_TOL = 1e-6
# The longest step, one of which leads to the gradient, nearly; a length that is zero, and that of gradients that are.
LONGEST, TINY, FLAT = 2.0, np.finfo(np.float32).tiny, 1e-30


class Survey:
    """Ascents of h from many starts, for all outputs.

    `search`, of the same data, gives the rows, the noise, and the source of the starts. `found` (n_found, n_features):
    unit vectors, maxima of the last survey.
    """

    def __init__(self, search):
        self.search, self.design, self.units = search, search.design, search.units
        self.X = search.scaled.astype(np.float32)
        self.found = np.zeros((0, self.X.shape[1]))

    def maxima(self, V, neurons, signs, outputs, n_starts, over=lambda: False):
        """Search for maxima of h; return those of the best starts that are apart, nearly maxima, the largest first.

        `neurons` are unit vectors, there may be none, with their signs and outputs. Starts are `n_starts` and the
        maxima found before.
        """
        weights, linear = zip(*(self.design.response(v) for v in V.T), strict=True)
        weights = np.array(weights, np.float32)[:, :: self.design.n_patches]  # one a sample
        linear = np.array(linear * self.units, np.float32)
        U, signs, outputs = self._starts(neurons, signs, outputs, n_starts)
        runs = _Runs(self.X, weights, linear, self.units, U, signs, outputs)
        for part, steps in PLAN:
            runs.keep(max(1, int(part * len(U))))
            with suppress(TimeIsUp), breakable():  # in a step, which leaves the runs as they were
                for _ in range(steps):
                    if over():
                        break
                    runs.step()
        maxima = self._apart(V, runs)
        self.found = maxima.directions[:REMEMBERED]
        return maxima

    def _starts(self, neurons, signs, outputs, n_starts):
        """Return directions in the units of the search, their signs and outputs, a sign of 0 where it is open.

        One half are neurons with noise, a fourth noise of each kind, and an eighth of these rows instead.
        """
        search, d = self.search, self.X.shape[1]
        near = n_starts // 2 if len(neurons) else 0
        index = search.rng.randint(0, max(1, len(neurons)), near)
        noise = search.rng.standard_normal((n_starts, d))
        noise[::2] = noise[::2, : len(search.whitening)] @ search.whitening
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        rows = np.arange(near, n_starts, ROW_STARTS)
        noise[rows] = self.X[search.rng.randint(0, len(self.X), len(rows))]
        noise[rows] *= search.rng.choice([-1.0, 1.0], (len(rows), 1))
        base = neurons[index] / self.units
        noise[:near] *= search.rng.choice(LENGTHS, near)[:, None] * np.linalg.norm(base, axis=1, keepdims=True)
        noise[:near] += base
        U = np.concatenate([noise, self.found / self.units])
        open_ = np.zeros(len(U) - near)
        alive = U.any(axis=1)
        return tuple(
            part[alive]
            for part in (U, np.concatenate([signs[index], open_]), np.concatenate([outputs[index], open_.astype(int)]))
        )

    def _apart(self, V, runs):
        """Return the distinct ones of what was reached, with values in double precision."""
        U = runs.U.astype(np.float64) * self.units
        U /= np.linalg.norm(U, axis=1, keepdims=True)
        order = np.argsort(-runs.values, kind="stable")
        kept = order[_apart(U[order], runs.kinds[order], SAME_MAXIMUM)]
        U, signs, outputs = U[kept], runs.signs[kept].astype(np.float64), runs.outputs[kept]

        def values(batch):
            T = self.design.X @ U[batch].T
            hidden = self.design.pool(np.maximum(T, self.design.slope * T))
            return signs[batch] * np.sum(V[:, outputs[batch]] * hidden, axis=0)

        values = np.concatenate(map_batches(values, list(gen_batches(len(U), EXACT_AT_A_TIME))))
        return join_maxima(Maxima(values, U, signs, pattern_bits(self.design.X, U)))


class _Runs:
    """Ascents under way: directions U, the sign and output of each, the gradient and the value of h, and the step.

    U is in units, in which coordinates count alike; its true length, that of units U, is one.
    """

    def __init__(self, X, weights, linear, units, U, signs, outputs):
        self.n_rows, missing = len(X), -len(X) % ROWS_AT_A_TIME
        self.X = np.concatenate([X, np.zeros((missing, X.shape[1]), np.float32)]) if missing else X
        self.weights, self.linear, self.n_patches = weights, linear, len(X) // weights.shape[1]
        self.squares = np.asarray(units**2, np.float32)
        self.U = self._normalised(U.astype(np.float32))
        self.signs, self.outputs = signs.astype(np.float32), outputs.copy()
        free = np.flatnonzero(signs == 0)
        if len(free):
            self._choose(free)
        self.values, self.G = self._evaluate(self.U)
        self.steps = np.ones(len(U), np.float32)

    @property
    def kinds(self):
        """The output and the sign of each start as one number."""
        return 2 * self.outputs + (self.signs > 0)

    def keep(self, count):
        """Go on with those that rank highest among their kind, those near a better one last."""
        if count >= len(self.U):
            return
        kinds, order = self.kinds, np.argsort(-self.values, kind="stable")
        units = self.U / np.maximum(np.linalg.norm(self.U, axis=1, keepdims=True), TINY)
        ranks, near = np.zeros(len(order)), np.zeros(len(order), bool)
        near[order] = ~_apart(units[order], kinds[order], SAME_START)
        for kind in np.unique(kinds):
            own = order[kinds[order] == kind]
            ranks[own] = np.linspace(0.0, 1.0, len(own), endpoint=False)
        best = np.lexsort((-self.values, ranks, near))[:count]
        for name in ("U", "G", "values", "steps", "signs", "outputs"):
            setattr(self, name, getattr(self, name)[best])

    def step(self):
        """Take a step of adapted length along the gradient on the sphere from each, where h grows."""
        along = self.G - self.values[:, None] * self.squares * self.U
        slopes = np.linalg.norm(self.G, axis=1)
        sizes = np.divide(np.linalg.norm(self.U, axis=1), slopes, out=np.zeros_like(slopes), where=slopes > FLAT)
        trial = self._normalised(self.U + (self.steps * sizes)[:, None] * along)
        values, G = self._evaluate(trial)
        better = values > self.values + PROGRESS_TOL * np.abs(self.values)
        self.U[better], self.G[better], self.values[better] = trial[better], G[better], values[better]
        self.steps = np.where(better, np.minimum(LONGEST, 1.5 * self.steps), 0.5 * self.steps).astype(np.float32)

    def _normalised(self, U):
        return U / np.maximum(np.sqrt(U**2 @ self.squares), TINY)[:, None]

    def _choose(self, index):
        """Choose the output and the sign among whose values that of the direction ranks highest."""

        def values(batch):
            U = self.U[index[batch]]
            hidden = np.maximum(self.X[: self.n_rows] @ U.T, 0.0).reshape(-1, self.n_patches, len(U)).sum(axis=1)
            return self.weights @ hidden + self.linear @ U.T

        every = np.concatenate(map_batches(values, list(gen_batches(len(index), AT_A_TIME)), timed=True), axis=1)
        falling = np.argsort(-np.concatenate([every, -every]), axis=1, kind="stable")
        chosen = np.argsort(falling, axis=1).argmin(axis=0)
        self.outputs[index] = chosen % len(every)
        self.signs[index] = np.where(chosen < len(every), 1.0, -1.0)

    def _evaluate(self, U):
        """Return h and its gradient for each direction."""

        def part(batch):
            own, size = self.outputs[batch], len(self.outputs[batch])
            weights = np.zeros((self.weights.shape[1], AT_A_TIME), np.float32)
            directions, G = np.zeros((2, self.X.shape[1], AT_A_TIME), np.float32)
            weights[:, :size], directions[:, :size] = self.weights[own].T, U[batch].T
            _gradients(self.X, weights, directions, G, self.n_patches)
            return (G[:, :size].T + self.linear[own]) * self.signs[batch, None]

        G = np.concatenate(map_batches(part, list(gen_batches(len(U), AT_A_TIME)), timed=True))
        return np.sum(G * U, axis=1), G


def _apart(U, kinds, cosine):
    """Return which of some unit vectors, the best first, are not near a better one of their kind."""
    apart = np.zeros(len(U), bool)
    for kind in np.unique(kinds):
        own = np.flatnonzero(kinds == kind)
        kept = own[:0]
        for batch in gen_batches(len(own), COMPARED):
            index = own[batch]
            index = index[~(U[index] @ U[kept].T > cosine).any(axis=1)]
            close, first = U[index] @ U[index].T > cosine, []
            for j in range(len(index)):
                if not close[j, first].any():
                    first.append(j)
            kept = np.concatenate([kept, index[first]])
        apart[kept] = True
    return apart


@kernel(nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _gradients(X, weights, U, G, n_patches):
    """Add the gradients of weights'(XU)_+ for the columns of U (n_features, AT_A_TIME) to those of G."""
    zero, n_samples = np.float32(0.0), len(weights)
    t = np.empty((ROWS_AT_A_TIME, AT_A_TIME), np.float32)
    for k in range(0, len(X), ROWS_AT_A_TIME):
        t[:] = zero
        for q in range(X.shape[1]):
            a, b, c, e = X[k, q], X[k + 1, q], X[k + 2, q], X[k + 3, q]
            for j in range(AT_A_TIME):
                u = U[q, j]
                t[0, j] += a * u
                t[1, j] += b * u
                t[2, j] += c * u
                t[3, j] += e * u
        for r in range(ROWS_AT_A_TIME):
            i = min((k + r) // n_patches, n_samples - 1)  # rows that fill up the last four are zero
            for j in range(AT_A_TIME):
                t[r, j] = weights[i, j] if t[r, j] > zero else zero
        for q in range(X.shape[1]):
            a, b, c, e = X[k, q], X[k + 1, q], X[k + 2, q], X[k + 3, q]
            for j in range(AT_A_TIME):
                G[q, j] += a * t[0, j] + b * t[1, j] + c * t[2, j] + e * t[3, j]
