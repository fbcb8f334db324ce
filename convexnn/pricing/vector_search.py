"""Pricing over all cells for several outputs, by local search: kappa(V) = max over |u| <= 1 of |V' act(X u)|.

For given output weights g, |g| = 1, the best u is a maximum of v' act(X u) for v = V g, to which `ascent` climbs over
the cells; for a given u the best g is V' act(X u), normalised. In turn they lead to a local maximum of both, and each
raises the value. On one face of a cell that is the power method for its largest singular value, whose iterates are
extrapolated. What is found is a lower bound of kappa and neurons that violate kappa(V) <= alpha; that nothing is found
proves nothing.
"""

from dataclasses import dataclass

import numpy as np

from ..geometry.projection import dot
from ..utils.deadline import is_up
from ..utils.kernels import kernel
from ..utils.threads import map_batches
from .ascent import batch_size, climb_one
from .search import BEST_PART, CLIMB_WORK, FEWEST_CLIMBS, CellSearch

__all__ = ["VectorMaxima", "VectorSearch", "join_vector_maxima"]

# Gradient steps of starts, rows times starts that ascend at a time, and the fewest such starts.
GRADIENT_STEPS, ASCENDING, FEWEST_AT_A_TIME = 20, 40_000, 16
# The most times that u and g are found in turn, from a start and from a neuron.
START_TURNS, NEURON_TURNS = 20, 100
# Relative growth of a maximum that is none, and that after which it is not climbed on, at least.
GROWTH_TOL, PROGRESS_TOL = 1e-13, 1e-12
# Turns after which the output weights are extrapolated, and the largest factor of their last change.
EXTRAPOLATED, FARTHEST = 4, 1e3
# The longest step, one of which leads to the gradient, nearly; a length that is zero, and that of gradients that are.
LONGEST, TINY, FLAT = 2.0, np.finfo(np.float64).tiny, 1e-150
# Most walls crossed one after the other.
CLIMBED_CELLS = 30
# Entries of X times starts that ascend, and that are climbed from, between two looks at the clock.
ASCENT_WORK, CLIMBING_WORK = 5e6, 2e6
# Starts below this part of alpha, or of the largest, after the gradient steps are not worth a climb.
PROMISING = 0.75
# Cosine above which starts are one after the gradient steps, and maxima at the end; maxima compared at a time.
SAME_START, SAME_MAXIMUM, COMPARED = 0.999, 1 - 1e-8, 256
# Maxima remembered as starts of the next search.
REMEMBERED = 200


@dataclass(frozen=True, eq=False)
class VectorMaxima:
    """Local maxima of |V' act(X u)| on the unit sphere: values, unit vectors u, unit output weights g, and their cells.

    `outputs` is (n_maxima, n_outputs), `patterns` (n_maxima, n_rows).
    """

    values: np.ndarray
    directions: np.ndarray
    outputs: np.ndarray
    patterns: np.ndarray

    def __len__(self):
        return len(self.values)

    def select(self, index):
        """Return some of the maxima."""
        return VectorMaxima(self.values[index], self.directions[index], self.outputs[index], self.patterns[index])

    def distinct(self, cosine, by_value=True):
        """Return the first of those within this cosine, those of large values first, or all in their order."""
        order, kept = np.argsort(-self.values, kind="stable") if by_value else np.arange(len(self)), np.zeros(0, int)
        U, G = self.directions, self.outputs
        for batch in _ranges(len(self), COMPARED):
            index = order[slice(*batch)]
            index = index[~((U[index] @ U[kept].T > cosine) & (G[index] @ G[kept].T > cosine)).any(axis=1)]
            close = (U[index] @ U[index].T > cosine) & (G[index] @ G[index].T > cosine)
            apart = np.ones(len(index), bool)
            for j in range(len(index)):
                if apart[j]:
                    apart[j + 1 :] &= ~close[j, j + 1 :]
            kept = np.concatenate([kept, index[apart]])
        return self.select(kept)


def join_vector_maxima(parts):
    """Put maxima together, one after the other; `parts` must not be empty."""
    names = ("values", "directions", "outputs", "patterns")
    return VectorMaxima(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class VectorSearch:
    """Local search over the cells of a design's rows, for several outputs; the patterns of the design are not used.

    `n_starts` is the usual number of starts for data of this size.
    """

    def __init__(self, design, rng):
        self.design, self.rng, self.cells = design, rng, CellSearch(design, rng)
        self.n_starts, self.found = self.cells.n_starts, np.zeros((0, design.X.shape[1]))

    def climb(self, V, outputs, patterns, n_turns=NEURON_TURNS, over=lambda: False, progress=PROGRESS_TOL):
        """Climb from the cells `patterns` with unit output weights `outputs`, in turn in u and in g.

        The maxima reached are in the order of the starts. A turn that raises the value by at most `progress`,
        relatively, is the last. Values are 0 where `over` left no time for a climb.
        """
        design, cells = self.design, self.cells
        outputs, patterns = np.array(outputs), np.array(patterns)
        values, directions = np.zeros(len(outputs)), np.zeros((len(outputs), design.X.shape[1]))
        V, data = np.ascontiguousarray(V), (cells.columns, cells.lengths, float(design.slope), design.n_patches)

        def part(batch):
            own = (array[slice(*batch)] for array in (values, directions, outputs, patterns))
            _climb_in_turn(*data, V, n_turns, CLIMBED_CELLS, progress, *own)

        for first, last in _ranges(len(outputs), max(1, int(CLIMBING_WORK / design.X.size))):
            if over():
                break
            size = batch_size(last - first, design.X.size * n_turns * CLIMBED_CELLS)
            map_batches(part, _ranges(last, size, first), timed=True)
        return VectorMaxima(values, directions, outputs, patterns)

    def maxima(self, V, alpha, neurons, n_starts, over=lambda: False, progress=PROGRESS_TOL):
        """Search for local maxima that are near or above alpha, or for the largest where alpha is 0.

        The result has each once, the largest first. `neurons` are unit vectors, there may be none. Starts are
        `n_starts` and the maxima found before.
        """
        U = self.cells.starts(neurons, np.ones(len(neurons)), n_starts)[0]
        maxima = self._ascend(V, np.concatenate([U, self.found]), over)
        maxima = maxima.select(maxima.values > PROMISING * (alpha or maxima.values.max(initial=0.0)))
        maxima = maxima.distinct(SAME_START)
        if not self.cells.large:  # else cells are too small to climb from one to the next
            starts = maxima.select(self._climbed(len(maxima), n_starts))
            climbed = self.climb(V, starts.outputs, starts.patterns, START_TURNS, over, progress)
            left = climbed.values == 0.0  # the time was over
            maxima = join_vector_maxima([climbed.select(~left), starts.select(left)]).distinct(SAME_MAXIMUM)
        self.found = maxima.directions[:REMEMBERED]
        return maxima

    def _climbed(self, n_promising, n_starts):
        """Return which promising starts, the largest first, are climbed from: the best ones, mostly."""
        most = max(FEWEST_CLIMBS, CLIMB_WORK / self.design.X.size) * max(1, n_starts // self.n_starts)
        if n_promising <= most:
            return np.arange(n_promising)
        best = int(BEST_PART * most)
        others = best + self.rng.permutation(n_promising - best)[: int(most) - best]
        return np.concatenate([np.arange(best), others])

    def _ascend(self, V, U, over):
        """Ascend from directions by steps of adapted length along the gradient on the sphere, in units."""
        U, size = U / self.cells.units, max(FEWEST_AT_A_TIME, ASCENDING // len(self.design.X))
        parts = [self._ascend_batch(V, U[:0])]
        for first, last in _ranges(len(U), max(size, int(ASCENT_WORK / self.design.X.size))):
            parts += map_batches(lambda batch: self._ascend_batch(V, U[slice(*batch)]), _ranges(last, size, first))
            if over():
                break
        return join_vector_maxima(parts)

    def _ascend_batch(self, V, U):
        design, X, squares = self.design, self.cells.scaled, self.cells.units**2

        def normalised(U):
            return U / np.maximum(np.sqrt(U**2 @ squares), TINY)[:, None]

        def look(U):
            T = U @ X.T
            positive = T > 0
            hidden = np.maximum(T, 0.0) if design.slope == 0.0 else np.where(positive, T, design.slope * T)
            pulls = design.pool(hidden.T).T @ V
            values = np.linalg.norm(pulls, axis=1)
            pulls /= np.where(values > 0, values, 1.0)[:, None]
            rows = design.spread(V @ pulls.T).T
            rows = rows * (positive if design.slope == 0.0 else np.where(positive, 1.0, design.slope))
            return values, pulls, rows @ X

        U = normalised(U)
        (values, pulls, G), steps = look(U), np.ones(len(U))
        for _ in range(GRADIENT_STEPS):
            if is_up():  # where it is then is as good a start
                break
            slopes = np.linalg.norm(G, axis=1)
            sizes = steps * np.divide(np.linalg.norm(U, axis=1), slopes, out=np.zeros(len(U)), where=slopes > FLAT)
            trial = normalised(U + sizes[:, None] * (G - values[:, None] * squares * U))
            reached = look(trial)
            better = reached[0] > values
            U[better], values[better], pulls[better], G[better] = trial[better], *(part[better] for part in reached)
            steps = np.where(better, np.minimum(LONGEST, 1.5 * steps), 0.5 * steps)
        U = U * self.cells.units
        return VectorMaxima(values, U, pulls, U @ design.X.T >= 0)


def _ranges(last, size, first=0):
    """Return the bounds of batches of a size."""
    return [(start, min(last, start + size)) for start in range(first, last, size)]


@kernel(nogil=True)
def _climb_in_turn(
    columns, lengths, slope, n_patches, V, n_turns, n_cells, progress, values, directions, outputs, patterns
):
    """Climb from the cells of `patterns` with `outputs`, in turn in u and g; overwrite them, values and directions."""
    d, n_rows = columns.shape
    weights, linear, hidden = np.empty(n_rows), np.zeros(d), np.empty(n_rows)
    u, tight, pull = np.empty(d), np.empty(d, np.int32), np.empty(V.shape[1])
    for j in range(len(outputs)):
        tight[:], pattern, g = -1, patterns[j].copy(), outputs[j].copy()
        change, n_plain, bold = 0.0, 0, False
        for _ in range(n_turns):
            _respond(columns, lengths, slope, n_patches, V, g, weights, linear)
            climb_one(columns, weights, linear, pattern, tight, 0.0, n_cells, u)
            value = _pull(columns, lengths, slope, n_patches, V, u, hidden, pull)
            if not value > values[j] * (1.0 + GROWTH_TOL):
                if not bold:
                    break
                pattern[:], g[:], change, n_plain, bold = patterns[j], outputs[j], 0.0, 0, False
                continue
            last, g[:] = not value > values[j] * (1.0 + progress), pull - outputs[j]
            moved, n_plain = np.sqrt(dot(g, g)), n_plain + 1
            # the power method's error falls by a ratio a turn
            ratio = moved / change if change > 0.0 else 1.0
            bold, change = n_plain >= EXTRAPOLATED and ratio < 1.0, moved
            if bold:
                g *= min(ratio / (1.0 - ratio), FARTHEST)
                g += pull
                g /= np.sqrt(dot(g, g))
                change, n_plain = 0.0, 0
            else:
                g[:] = pull
            values[j], directions[j], outputs[j], patterns[j] = value, u, pull, pattern
            if last and not bold:
                break


@kernel
def _respond(columns, lengths, slope, n_patches, V, g, weights, linear):
    """Write the row weights and the linear term of v = V g, as of `Design.response`, for unit rows."""
    for i in range(len(V)):
        v = dot(V[i], g)
        for k in range(i * n_patches, (i + 1) * n_patches):
            weights[k] = v * lengths[k]
    if slope != 0.0:
        for i in range(len(linear)):
            linear[i] = slope * dot(columns[i], weights)
        weights *= 1.0 - slope


@kernel(fastmath={"contract"})
def _pull(columns, lengths, slope, n_patches, V, u, hidden, pull):
    """Normalise u; write V' act(X u) to `pull`, normalised, and return its length."""
    size = np.sqrt(dot(u, u))
    pull[:] = 0.0
    if size == 0.0:
        return 0.0
    u /= size
    hidden[:] = 0.0
    for i in range(len(u)):
        t, row = u[i], columns[i]
        for k in range(len(hidden)):
            hidden[k] += t * row[k]
    for i in range(len(V)):
        activation = 0.0
        for k in range(i * n_patches, (i + 1) * n_patches):
            activation += lengths[k] * (hidden[k] if hidden[k] > 0.0 else slope * hidden[k])
        for c in range(len(pull)):
            pull[c] += activation * V[i, c]
    size = np.sqrt(dot(pull, pull))
    if size > 0.0:
        pull /= size
    return size
