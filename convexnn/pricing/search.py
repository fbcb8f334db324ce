"""Pricing over all cells by local search: the patterns that violate kappa(v) <= alpha, as far as they are found.

h(u) = s v'act(Xu) has many local maxima on the sphere. Starts of several kinds are used, because none finds all:
neurons of the current network, perturbed by several lengths (scaled by 1 / sqrt(d), so that they are lengths of the
perturbation), the rows +-x_k, vertices (directions on d - 1 walls, where thin cells meet), random directions, and the
maxima found before. Noise is isotropic for one half of the
starts; for the other X u is, which does not depend on the units of the features. A few gradient steps and a climb over
the walls (`convexnn.pricing.ascent`) take each to a local maximum of h over all cells. The largest is a lower bound of
kappa.

With max pooling h(u) = s sum_i v_i max(0, max_k x_ik.u). Behind the wall r of a cell, where another patch l of sample i
is selected, the gradient is g - v_i r. So walls are crossed where mu > -v_i |r|, for the multipliers mu of unit rows.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.utils import gen_batches

from ..geometry.arrangements import BLOCK_ENTRIES, pattern_bits, unique_bits
from ..geometry.projection import unit_columns
from ..geometry.selections import selected_patches, selection_bits, write_row
from ..model.selection_cones import project_selection
from ..utils.kernels import kernel
from ..utils.threads import map_batches
from .ascent import PROGRESS_TOL, ascend, climb

__all__ = ["CellSearch", "Maxima", "cell_keys", "join_maxima"]

# Lengths of the perturbations of unit vectors.
LENGTHS = (0.2, 0.4, 0.8, 1.6)
GRADIENT_STEPS = 10
# Singular values of X below this part of the largest are taken as this in whitening.
THINNEST = 1e-4
# The usual number of starts: as many as cost so many products a step, within limits.
SEARCH_WORK, FEWEST_STARTS, MOST_STARTS = 2e7, 64, 500
# Most walls crossed one after the other, from a start and from a neuron.
START_CELLS, NEURON_CELLS = 30, 10
# Samples times squared features from which cells are too many and too small to climb; gradient steps do.
LARGE_DATA, LARGE_STEPS = 2e7, 20
# Climbs of a search of the usual size: as many as cost this many products, at least FEWEST_CLIMBS; this part of them
# from the best starts, the others from any.
CLIMB_WORK, FEWEST_CLIMBS, BEST_PART = 1e7, 32, 0.75
# In searches with more starts than usual one in so many climbs without gradient steps, which lead away from thin cells.
STRAIGHT = 8
# Random part of the rows of vertices, which may be dependent.
DEPENDENT = 1e-8
# Starts that ascend at a time.
ASCENDING = 16
# Starts below this part of what is asked about after the gradient steps are not worth a climb.
PROMISING = 0.75
# Maxima remembered as starts of the next search.
REMEMBERED = 200


@dataclass(frozen=True, eq=False)
class Maxima:
    """Local maxima of h on the unit sphere: values, the largest first, unit vectors, signs s of h, and patterns.

    `bits` (n_maxima, ceil(n_samples / 8)) has the patterns, eight samples a byte.
    """

    values: np.ndarray
    directions: np.ndarray
    signs: np.ndarray
    bits: np.ndarray

    def __len__(self):
        return len(self.values)

    def select(self, index):
        """Return some of the maxima."""
        return Maxima(self.values[index], self.directions[index], self.signs[index], self.bits[index])

    def above(self, value):
        """Return the maxima above a value."""
        return self.select(self.values > value)


def cell_keys(bits, signs):
    """Return cells with signs as rows of bytes, equal where both are: the bits, and one byte more."""
    return np.column_stack([bits, signs > 0])


def join_maxima(*parts):
    """Put maxima together, the largest values first; of those that share their cell and sign only the first is kept."""
    names = ("values", "directions", "signs", "bits")
    joined = Maxima(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    keys = cell_keys(joined.bits, joined.signs)
    first = unique_bits(keys)[1]
    return joined.select(first[np.argsort(-joined.values[first], kind="stable")])


class CellSearch:
    """Local search over the cells of a design's rows; the patterns of the design are not used.

    With `maximum` the patches of a sample are pooled by their maximum, not their sum. `n_starts` is the usual number of
    starts for data of this size; `large`: maxima are approximated by gradient steps alone; `found` (n_found,
    n_features): unit vectors, maxima of the last search.
    """

    def __init__(self, design, rng, maximum=False):
        self.design, self.X, self.columns, self.rng = design, design.X, design.unit_columns, rng
        self.maximum = maximum
        self.lengths = np.linalg.norm(design.X, axis=1)
        # gradients and noise are in units of the coordinates
        self.units = np.ones(design.X.shape[1]) if design.units is None else design.units
        self.scaled = design.X if design.units is None else design.X * self.units
        self.scaled_columns = self.columns if design.units is None else unit_columns(self.scaled)
        self.scaled_lengths = np.linalg.norm(self.scaled, axis=1)
        _, singular, Vt = np.linalg.svd(self.scaled, full_matrices=False)
        # noise g @ whitening has predictions of the size of those of g, on average, in all directions alike
        spread = np.sqrt(np.mean(singular**2)) / np.maximum(singular, max(THINNEST * singular[0], np.finfo(float).tiny))
        self.whitening = spread[:, None] * Vt
        self.large = design.X.size * design.X.shape[1] > LARGE_DATA and not maximum
        self.n_starts = int(np.clip(SEARCH_WORK / design.X.size, FEWEST_STARTS, MOST_STARTS))
        self.found = np.zeros((0, design.X.shape[1]))
        self.found_signs = np.zeros(0)

    def ascend(self, V, signs, U, over=lambda: False):
        """Ascend by gradients from directions U, not zero; return near maxima, in the order of the starts.

        V is (n_samples, 1). Where `over` says to stop, starts that are left are not in the result.
        """
        U, (weights, linear) = U / self.units, self.design.response(V[:, 0])
        weights, linear = weights * self.scaled_lengths, linear * self.units
        steps, values, done = LARGE_STEPS if self.large else GRADIENT_STEPS, [np.zeros(0)], 0
        size = ASCENDING if self.large else max(ASCENDING, BLOCK_ENTRIES // len(self.X))
        while done < len(U) and not (done and over()):
            batch = slice(done, done + size)
            if self.maximum:
                values.append(_ascend_selections(self.scaled, V[:, 0], signs[batch], U[batch], steps))
            else:
                values.append(ascend(self.scaled_columns, weights, linear, signs[batch], U[batch], steps))
            done += len(values[-1])
        U = U[:done] * self.units
        sizes = np.linalg.norm(U, axis=1)
        U /= sizes[:, None]
        return Maxima(np.concatenate(values) / sizes, U, signs[:done], self.bits(U))

    def climb(self, V, signs, patterns, n_cells=NEURON_CELLS):
        """Climb from the cells `patterns`, over at most `n_cells` walls one after the other; return the maxima reached.

        They are in the order of the starts.
        """
        patterns = patterns.copy()
        if self.maximum:
            U = _climb_selections(self.X, V[:, 0], signs, patterns, n_cells)
        else:
            weights, linear = self.design.response(V[:, 0])
            U = climb(self.columns, weights * self.lengths, linear, signs, patterns, 0.0, n_cells)
        values = np.linalg.norm(U, axis=1)
        return Maxima(values, U / np.where(values > 0, values, 1.0)[:, None], signs, np.packbits(patterns, axis=1))

    def maxima(self, V, alpha, neurons, signs, n_starts, over=lambda: False):
        """Search for local maxima of h that are near or above alpha.

        The result has one a cell and sign, the largest first. `neurons` are unit vectors, there may be none, and
        `signs` their output signs. Starts are `n_starts` and the maxima found before.
        """
        U, s = self.starts(neurons, signs, n_starts)
        straight = slice(None, None, STRAIGHT) if n_starts > self.n_starts and not self.large else slice(0)
        ascended = self.ascend(V, s, U, over)
        starts = ascended.above(PROMISING * alpha)
        if self.large:
            maxima = join_maxima(starts)
        else:
            cells = self.bits(U[straight])
            starts = join_maxima(starts, Maxima(np.zeros(len(cells)), U[straight], s[straight], cells))
            most = max(FEWEST_CLIMBS, CLIMB_WORK / self.X.size) * max(1, n_starts // self.n_starts)
            if len(starts) > most:
                best = int(BEST_PART * most)
                others = best + self.rng.permutation(len(starts) - best)[: int(most) - best]
                starts = starts.select(np.concatenate([np.arange(best), others]))
            maxima = self._climb(V, starts, over)
        self.found = maxima.directions[:REMEMBERED]
        self.found_signs = maxima.signs[:REMEMBERED]
        return maxima

    def bits(self, U):
        """Return the cells of directions U (n_directions, n_features) as bits."""
        return selection_bits(self.X, U, self.design.n_patches) if self.maximum else pattern_bits(self.X, U)

    def _climb(self, V, starts, over):
        """Climb from the cells of starts, in batches until `over`; return the maxima."""
        step = max(1, BLOCK_ENTRIES // len(self.X))
        parts = [starts.select(slice(0))]
        for first in range(0, len(starts), step):
            batch = starts.select(slice(first, first + step))
            patterns = np.unpackbits(batch.bits, axis=1, count=len(self.X)).view(bool)
            parts.append(self.climb(V, batch.signs, patterns, START_CELLS))
            if over():
                break
        return join_maxima(*parts)

    def starts(self, neurons, signs, n_starts):
        """Return directions to start from, with neurons and signs as for `maxima`, and their signs."""
        rng, (n, d) = self.rng, self.X.shape
        near = n_starts // 2 if len(neurons) else 0
        rows, vertices = (n_starts - near) // 4, (n_starts - near) // 2
        rest = n_starts - near - rows - vertices
        index = rng.randint(0, len(neurons), near) if near else np.zeros(0, int)
        noise = rng.standard_normal((near + rest, d))
        noise[::2] = noise[::2, : len(self.whitening)] @ self.whitening
        noise *= self.units
        # in units of the predictions of the neurons
        sizes = np.linalg.norm(neurons @ self.X.T, axis=1)[index] / np.linalg.norm(self.scaled_lengths) if near else 1.0
        sizes = np.where(np.arange(near) % 2 == 0, sizes, 1.0 / np.sqrt(d))
        perturbed = noise[:near] * (rng.choice(LENGTHS, near) * sizes)[:, None]
        sides = rng.choice([-1.0, 1.0], (2, rows + vertices + rest))
        U = np.concatenate(
            [
                neurons[index] + perturbed,
                self.X[rng.randint(0, n, rows)] * self.units**2 * sides[0, :rows, None],
                self._vertices(vertices) * sides[0, rows : rows + vertices, None],
                noise[near:],
                self.found,
            ]
        )
        alive = U.any(axis=1)
        return U[alive], np.concatenate([signs[index], sides[1], self.found_signs])[alive]

    def _vertices(self, count):
        """Return unit vectors on the walls of d - 1 random rows each."""
        n, d = self.X.shape
        systems = self.rng.standard_normal((count, d, d))
        index = self.rng.randint(0, n, (count, d - 1))
        chosen = self.columns.T[index]
        if self.maximum:  # of differences too
            other = index - index % (K := self.design.n_patches) + self.rng.randint(0, K, index.shape)
            chosen = self.X[index] - np.where(other != index, 1.0, 0.0)[:, :, None] * self.X[other]
            chosen /= np.maximum(np.linalg.norm(chosen, axis=2, keepdims=True), np.finfo(float).tiny)
        systems[:, :-1] = chosen + DEPENDENT * systems[:, :-1]
        U = np.linalg.solve(systems, np.broadcast_to(np.eye(d)[:, -1:], (count, d, 1)))[:, :, 0]
        return U / np.linalg.norm(U, axis=1, keepdims=True)


def _ascend_selections(X, v, signs, U, n_steps):
    """Ascend from the rows of U, which are overwritten, by normalised steps of adapted length; return h."""
    U /= np.linalg.norm(U, axis=1, keepdims=True)
    values, G = _selection_gradients(X, v, signs, U)
    step, tiny = np.ones((len(U), 1)), np.finfo(float).tiny
    for _ in range(n_steps):
        trial = (1.0 - step) * U + step * G / np.maximum(np.linalg.norm(G, axis=1, keepdims=True), tiny)
        trial /= np.maximum(np.linalg.norm(trial, axis=1, keepdims=True), tiny)
        reached, other = _selection_gradients(X, v, signs, trial)
        better = reached > values + PROGRESS_TOL * np.abs(values)
        U[better], G[better], values[better] = trial[better], other[better], reached[better]
        step = np.where(better[:, None], np.minimum(1.0, 1.5 * step), 0.5 * step)
    return values


def _selection_gradients(X, v, signs, U):
    """Return h at the rows of U, and its gradients."""
    T = (U @ X.T).reshape(len(U), len(v), -1)
    at, largest = T.argmax(axis=2), T.max(axis=2)
    weights = signs[:, None] * v * (largest > 0)
    G = np.einsum("un,und->ud", weights, X.reshape(len(v), -1, X.shape[1])[np.arange(len(v)), at])
    return np.sum(weights * largest, axis=1), G


def _climb_selections(X, v, signs, patterns, n_cells):
    """Climb from selections, which are overwritten by those reached; return the projections onto them."""
    n_patches, U = len(X) // len(v), np.zeros((len(signs), X.shape[1]))
    sizes, selected = np.linalg.norm(X, axis=1), selected_patches(patterns, n_patches)

    def part(batch):
        for j in range(batch.start, batch.stop):
            _climb(X, sizes, signs[j] * v, selected[j], n_cells, U[j])

    map_batches(part, list(gen_batches(len(U), -(-len(U) // 16))) if len(U) else [], timed=True)
    patterns[:] = (selected[:, :, None] == np.arange(n_patches)).reshape(patterns.shape)
    return U


@kernel(nogil=True)
def _climb(X, sizes, v, selected, n_cells, u):
    """Cross walls from a selection while h grows; write the last one, and the projection onto its cone to u."""
    d, n_patches = X.shape[1], len(X) // len(v)
    g, row, tight, value = np.zeros(d), np.empty(d), np.full(d, -1, np.int32), 0.0
    for i in range(len(v)):
        if selected[i] >= 0:
            g += v[i] * X[i * n_patches + selected[i]]
    for _ in range(n_cells):
        mu, gains = np.zeros(d), np.zeros(d)
        if not project_selection(X, sizes, selected, g, tight, 0.0, u, mu):
            u[:] = 0.0
        last, value = value, np.sqrt((u * u).sum())
        if value <= last + PROGRESS_TOL * last:
            return
        stay, crossed, n_tight = 0, False, np.count_nonzero(tight >= 0)
        rows = tight[:n_tight].copy()
        for q in range(n_tight):
            gains[q] = mu[q] + v[rows[q] // n_patches] * write_row(X, sizes, selected, rows[q], row)
        for q in range(n_tight):
            i, best = rows[q] // n_patches, q
            for p in range(n_tight):  # a sample crosses one wall at a time, that of most gain
                if rows[p] // n_patches == i and (gains[p] > gains[best] or (gains[p] == gains[best] and p < best)):
                    best = p
            if gains[best] <= PROGRESS_TOL * value:
                tight[stay] = rows[q]
                stay += 1
            elif best == q:
                crossed, k = True, rows[q] - i * n_patches
                g -= v[i] * write_row(X, sizes, selected, rows[q], row) * row
                selected[i] = -1 if k == selected[i] else k
        if not crossed:
            return
        tight[stay:] = -1
