"""The cells at hand in generation: their blocks, and the convex program over them.

A cell has a pattern and a sign, and a block for every output. Neurons are the blocks and outputs that are not zero.
"""

import numpy as np

from ..geometry.arrangements import Arrangements, pattern_bits, unique_bits
from ..pricing.search import cell_keys
from .subproblem import Subproblem

__all__ = ["CellPool", "leaders"]

# Squared sine of the angle between maxima that are one.
SAME_MAXIMUM = 1e-9


def leaders(units, cosine, same):
    """Return for each unit vector the first of those within an angle of it that are in the mask `same` of pairs."""
    same = same & (units @ units.T > cosine)
    np.fill_diagonal(same, True)
    return np.argmax(same, axis=1)


class CellPool:
    """The cells at hand in generation, and the convex program over them.

    `bits` (n_cells, n_bytes) are packed patterns, `signs` (n_cells,) output signs, `points` (n_cells, n_features)
    vectors in the cells, nearly, `W` and `tight` (n_cells, n_features, n_outputs) blocks and their likely tight rows.
    `sub` is the Subproblem over the cells, and `shown` is `whole`, the program as it was given, over the same patterns;
    `blocks` (n_cells,) are the blocks of the cells in both.
    """

    def __init__(self, program, whole, bits_of=None):
        self.program, self.whole = program, whole
        self.bits_of = bits_of or (lambda U: pattern_bits(program.design.X, U))

    def __len__(self):
        return len(self.bits)

    def cells_of(self, U, signs, outputs):
        """Return bits, signs, points and W of neurons U (n_neurons, n_features), one cell each, for `take`."""
        W = np.zeros((*U.shape, self.program.Y.shape[1]))
        W[np.arange(len(U)), :, outputs] = U
        return self.bits_of(U), signs, U, W

    def take(self, bits, signs, points, W, tight=None):
        """Replace the cells at hand by those given, and add up the blocks W of the same pattern and sign."""
        tight = np.full(W.shape, -1, np.int32) if tight is None else tight
        _, first, place = unique_bits(cell_keys(bits, signs))
        self.bits, self.signs, self.points, self.tight = bits[first], signs[first], points[first], tight[first]
        self.W = np.zeros((len(first), *W.shape[1:]))
        np.add.at(self.W, place, W)
        patterns, _, index = unique_bits(self.bits)
        arrangements = Arrangements(patterns, np.zeros((len(patterns), 0)), len(self.program.design.X))
        over = self.program.over(arrangements)
        self.blocks = index + len(patterns) * (self.signs < 0)
        self.sub = Subproblem(over, self.blocks, self.tight, over.design, self.points)
        self.shown = self.whole.over(arrangements)

    def keep(self, kept, bits=None, signs=None, points=None, W=None):
        """Keep the cells of the mask `kept`, and add those given by bits, signs, points and W, as `take` takes them."""
        rows = self.bits[kept], self.signs[kept], self.points[kept], self.W[kept], self.tight[kept]
        if bits is not None:
            new = bits, signs, points, W, np.full(W.shape, -1, np.int32)
            rows = [np.concatenate(pair) for pair in zip(rows, new, strict=True)]
        self.take(*rows)

    @property
    def pairs(self):
        """The rows and outputs of the neurons, two integer arrays."""
        return np.nonzero(self.W.any(axis=1))

    def patterns(self, rows):
        """Return the patterns of some cells, booleans of shape (n_selected, n_rows)."""
        return np.unpackbits(self.bits[rows], axis=1, count=len(self.program.design.X)).view(bool)

    def prices(self, V, part):
        """Return max over outputs of |Proj(s X'D V)| of the cells, exact above a part of alpha."""
        return self.program.penalty.dual_norms(self._projected(V, part))

    def nearly_active(self, V, part):
        """Return which cells have |Proj(s X'D V)| above a part of alpha, a boolean array of shape (n_cells,)."""
        return self.prices(V, part) > part * self.program.alpha

    def apart(self, V, part, angle):
        """Return a mask of the cells with |Proj(s X'D V)| above `part` of alpha, of those in an `angle` the best."""
        projected, rows = self._projected(V, part), np.arange(len(self))
        norms = np.linalg.norm(projected, axis=1)
        values, outputs = norms.max(axis=1), norms.argmax(axis=1)
        units = projected[rows, :, outputs] / np.where(values > 0, values, 1.0)[:, None]
        close = (units @ units.T > np.cos(angle)) & (self.signs[:, None] == self.signs)
        close &= outputs[:, None] == outputs
        kept = values > part * self.program.alpha
        for place in np.argsort(-values, kind="stable"):
            if kept[place]:
                kept &= ~close[place] | (rows == place)
        return kept

    def _projected(self, V, part):
        """Return Proj(s X'D V) of the cells, not finished where it is no longer than a part of alpha."""
        return self.sub.project(self.sub.adjoint(V), self.tight.copy(), part * self.program.alpha)

    def unknown(self, maxima, limit):
        """Return the largest of the maxima whose cells are not at hand, at most `limit`."""
        known = set(map(bytes, cell_keys(self.bits, self.signs)))
        new = [j for j, key in enumerate(map(bytes, cell_keys(maxima.bits, maxima.signs))) if key not in known]
        return maxima.select(new[:limit])

    def outputs_of(self, maxima, V):
        """Return the output for which h is largest at each of some maxima."""
        if V.shape[1] == 1:
            return np.zeros(len(maxima), np.int64)
        design, values = self.program.design, []
        active = maxima.directions @ design.X.T
        np.maximum(active, 0.0, out=active)
        for v in V.T:
            weights, linear = design.response(v)
            values.append(active @ weights + maxima.directions @ linear)
        return np.argmax(maxima.signs * np.array(values), axis=0)

    def merge(self, directions, beta, part):
        """Put neurons of one maximum together if the objective grows by a fraction `part` at most; return beta.

        `directions` (n_neurons, n_features) are the maxima that they belong to, unit vectors in the order of `pairs`.
        """
        rows, outputs = self.pairs
        if len(rows) < 2:
            return beta
        signs, sub, program = self.signs[rows], self.sub, self.program
        leader = leaders(directions, 1 - SAME_MAXIMUM, (signs[:, None] == signs) & (outputs[:, None] == outputs))
        neurons = self.W[rows, :, outputs]
        order = np.lexsort((-np.linalg.norm(neurons, axis=1), leader))
        largest = order[np.unique(leader[order], return_index=True)[1]]
        if len(largest) == len(rows):
            return beta
        total = np.zeros_like(neurons)
        np.add.at(total, leader, neurons)
        W, tight = np.zeros_like(self.W), np.full_like(self.tight, -1)
        W[rows[largest], :, outputs[largest]] = total[leader[largest]]
        tight[rows[largest], :, outputs[largest]] = self.tight[rows[largest], :, outputs[largest]]
        cells = np.unique(rows[largest])
        own = tight[cells]
        W[cells] = sub.program.cones.project(W[cells], self.blocks[cells], own)
        merged = program.loss.fit_free(program.Y, sub.basis, sub.products.matvec(W, self.blocks))
        if sub.objective(W, merged) > (1 + part) * sub.objective(self.W, beta):
            return beta
        tight[cells] = own
        idle = ~self.W.any(axis=(1, 2))
        tight[idle] = self.tight[idle]
        left = idle | W.any(axis=(1, 2))
        self.take(self.bits[left], self.signs[left], self.points[left], W[left], tight[left])
        return merged
