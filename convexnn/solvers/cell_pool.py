"""The cells at hand in generation: their blocks, and the convex program over them.

A cell has a pattern and a sign, and a block for every output. Neurons are the blocks and outputs that are not zero.
"""

import numpy as np

from ..geometry.arrangements import Arrangements, pattern_bits, unique_bits
from ..pricing.search import cell_keys
from .subproblem import Subproblem

__all__ = ["CellPool"]

# Squared sine of the angle between maxima that are one.
SAME_MAXIMUM = 1e-9


class CellPool:
    """The cells at hand: `bits`, `signs`, `points`, `W` and `tight`, and the program over them.

    Parameters
    ----------
    program : Program
        The program that is solved.
    whole : Program
        The program as it was given, in whose coordinates points are shown.

    Attributes
    ----------
    sub : Subproblem
        The program over the cells, for solvers.
    blocks : integer array of shape (n_cells,)
        The blocks of the cells in its program, and in `shown`.
    shown : Program
        The program as it was given over the patterns of the cells.
    """

    def __init__(self, program, whole):
        self.program, self.whole = program, whole

    def __len__(self):
        return len(self.bits)

    def cells_of(self, U, signs, outputs):
        """Return cells, signs and blocks of neurons.

        Parameters
        ----------
        U : ndarray of shape (n_neurons, n_features)
            Neurons.
        signs : ndarray of shape (n_neurons,)
            Their signs.
        outputs : integer array of shape (n_neurons,)
            Their outputs.

        Returns
        -------
        bits, signs, points, W
            As `take` takes them.
        """
        W = np.zeros((*U.shape, self.program.Y.shape[1]))
        W[np.arange(len(U)), :, outputs] = U
        return pattern_bits(self.program.design.X, U), signs, U, W

    def take(self, bits, signs, points, W, tight=None):
        """Take cells in place of those at hand; blocks of the same cell and sign are added up.

        Parameters
        ----------
        bits : ndarray of uint8, shape (n_cells, n_bytes)
            Patterns.
        signs : ndarray of shape (n_cells,)
            Signs.
        points : ndarray of shape (n_cells, n_features)
            A vector in each cell, nearly.
        W : ndarray of shape (n_cells, n_features, n_outputs)
            Blocks.
        tight : int32 array of the shape of W or None, default=None
            Likely tight rows.
        """
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
        """Keep some of the cells, and add others.

        Parameters
        ----------
        kept : boolean array of shape (n_cells,)
            Which ones.
        bits, signs, points, W : ndarray or None, default=None
            Cells to add, as in `take`.
        """
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
        """Return which cells are nearly active, of those whose largest points are within an angle the best one alone.

        Parameters
        ----------
        V : ndarray of shape (n_samples, n_outputs)
            The dual vector.
        part : float
            The part of alpha.
        angle : float
            The angle in radians.

        Returns
        -------
        boolean array of shape (n_cells,)
            Which.
        """
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
        return self.sub.project(self.sub.adjoint(V), self.tight.copy(), part * self.program.alpha)

    def unknown(self, maxima, limit):
        """Return the largest of the maxima whose cells are not at hand, at most `limit`."""
        known = set(map(bytes, cell_keys(self.bits, self.signs)))
        new = [j for j, key in enumerate(map(bytes, cell_keys(maxima.bits, maxima.signs))) if key not in known]
        return maxima.select(new[:limit])

    def outputs_of(self, maxima, V):
        """Return the output for which h is largest at each of some maxima."""
        design = self.program.design
        T, values = maxima.directions @ design.X.T, []
        for v in V.T:
            weights, linear = design.response(v)
            values.append(np.maximum(T, 0.0) @ weights + maxima.directions @ linear)
        return np.argmax(maxima.signs * np.array(values), axis=0)

    def merge(self, directions, beta, part):
        """Put neurons of one maximum together in one cell, if the objective grows by this part at most.

        Parameters
        ----------
        directions : ndarray of shape (n_neurons, n_features)
            The maxima that the neurons belong to, unit vectors, in the order of `pairs`.
        beta : ndarray of shape (n_free, n_outputs)
            Coefficients of the basis of the free columns.
        part : float
            Relative growth allowed.

        Returns
        -------
        ndarray of shape (n_free, n_outputs)
            Coefficients that go with the blocks.
        """
        rows, outputs = self.pairs
        if len(rows) < 2:
            return beta
        signs, sub, program = self.signs[rows], self.sub, self.program
        same = directions @ directions.T > 1 - SAME_MAXIMUM
        same &= (signs[:, None] == signs) & (outputs[:, None] == outputs)
        np.fill_diagonal(same, True)
        leader = np.argmax(same, axis=1)
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
