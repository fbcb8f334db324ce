"""The linear map from blocks to predictions, A(W) = sum_b s_b D_b X W_b, never built as an n x (P d) matrix.

A block b is a pattern and a sign: with P patterns, block i has pattern i and sign +, block P + i pattern i and sign -.
Gated networks have one block a pattern. Products go over blocks of patterns unpacked from their bits.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .arrangements import BLOCK_ENTRIES, Arrangements
from .projection import unit_columns
from .threads import map_batches

__all__ = ["Design", "transfer_blocks"]

# What a design keeps that does not depend on its patterns.
OF_ROWS = ("single_rows", "unit_columns", "squared_norm", "gram")


@dataclass(frozen=True, eq=False)
class Design:
    """The map A from blocks W (n_blocks, n_features, n_outputs) to predictions Z (n_samples, n_outputs).

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        What the hidden neurons see.
    arrangements : Arrangements
        The patterns.
    signs : tuple of float
        Output signs of the blocks: (1, -1) for ReLU, (1,) for gated ReLU.
    """

    X: np.ndarray
    arrangements: Arrangements
    signs: tuple

    @property
    def n_blocks(self):
        """Number of blocks, patterns times signs."""
        return len(self.arrangements) * len(self.signs)

    def pattern_index(self, blocks):
        """Return the index of the pattern of each block."""
        return np.asarray(blocks) % len(self.arrangements)

    def sign(self, blocks):
        """Return the output sign of each block."""
        return np.asarray(self.signs)[np.asarray(blocks) // len(self.arrangements)]

    def matvec(self, W, blocks=None):
        """Return A(W), shape (n_samples, n_outputs), for the rows of W (n_selected, n_features, n_outputs) of `blocks`.

        All blocks where `blocks` is None.
        """
        rows = np.flatnonzero(W.any(axis=(1, 2)))
        blocks = rows if blocks is None else np.asarray(blocks)[rows]
        index, signs = self.pattern_index(blocks), self.sign(blocks)

        def fit(batch):
            patterns = self.arrangements.patterns(index[batch])
            coefficients = (W[rows[batch]] * signs[batch, None, None]).astype(self.X.dtype, copy=False)
            Z = np.empty((len(self.X), W.shape[2]))
            for c in range(W.shape[2]):
                fits = coefficients[:, :, c] @ self.X.T
                fits *= patterns
                Z[:, c] = fits.sum(axis=0)
            return Z

        return sum(map_batches(fit, self._batches(len(rows))), np.zeros((len(self.X), W.shape[2])))

    def rmatvec(self, V, blocks=None):
        """Return the adjoint G_b = s_b X' D_b V of `blocks`, shape (n_selected, n_features, n_outputs); None is all."""
        if blocks is None:
            G = self._correlate(V, np.arange(len(self.arrangements)))
            return np.concatenate([sign * G for sign in self.signs])
        return self._correlate(V, self.pattern_index(blocks)) * self.sign(blocks)[:, None, None]

    def over(self, arrangements):
        """Return the design of the same data over other patterns; what was computed of X alone is kept."""
        other = replace(self, arrangements=arrangements)
        other.__dict__.update({name: self.__dict__[name] for name in OF_ROWS if name in self.__dict__})
        return other

    @cached_property
    def single(self):
        """The design with X in single precision: its products are too, within a batch of patterns."""
        return replace(self, X=self.single_rows)

    @cached_property
    def single_rows(self):
        """X in single precision."""
        return self.X.astype(np.float32)

    @cached_property
    def unit_columns(self):
        """The rows of X, scaled to unit length, as columns, shape (n_features, n_samples)."""
        return unit_columns(self.X)

    def block(self, b):
        """Return s_b D_b X as a dense matrix (n_samples, n_features): small problems only."""
        return self.sign(b) * self.arrangements.patterns([self.pattern_index(b)])[0][:, None] * self.X

    @cached_property
    def squared_norm(self):
        """|X|^2, the largest eigenvalue of X' X."""
        return float(np.linalg.norm(self.X.T @ self.X, 2))

    @cached_property
    def gram(self):
        """X X', shape (n_samples, n_samples)."""
        return self.X @ self.X.T

    def _correlate(self, V, index):
        """Return X' D_i V for the patterns of `index`."""
        G = np.empty((len(index), self.X.shape[1], V.shape[1]))
        V = V.astype(self.X.dtype, copy=False)

        def correlate(batch):
            patterns = self.arrangements.patterns(index[batch])
            for c in range(V.shape[1]):
                G[batch, :, c] = (patterns * V[:, c]) @ self.X

        map_batches(correlate, self._batches(len(index)))
        return G

    def _batches(self, size):
        step = max(1, BLOCK_ENTRIES // len(self.X))
        return [slice(first, first + step) for first in range(0, size, step)]


def transfer_blocks(W, source, target):
    """Move blocks to a design with other patterns of the same data, to start a solver there.

    Parameters
    ----------
    W : ndarray of shape (source.n_blocks, n_features, n_outputs)
        Blocks of `source`.
    source, target : Design
        Two designs with the same X and signs.

    Returns
    -------
    ndarray of shape (target.n_blocks, n_features, n_outputs)
        Each block where `target` has its pattern and sign; blocks whose pattern it lacks are dropped.

    Raises
    ------
    ValueError
        If the designs differ in X or signs, or W does not belong to `source`.
    """
    if source.signs != target.signs or not np.array_equal(source.X, target.X):
        raise ValueError("source and target must be designs of the same X and signs")
    if W.ndim != 3 or W.shape[:2] != (source.n_blocks, source.X.shape[1]):
        raise ValueError(
            f"W must have shape ({source.n_blocks}, {source.X.shape[1]}, n_outputs), as source; got {W.shape}"
        )
    place = {key.tobytes(): index for index, key in enumerate(target.arrangements.bits)}
    moved = np.zeros((target.n_blocks, *W.shape[1:]))
    for b in np.flatnonzero(W.any(axis=(1, 2))):
        index = place.get(source.arrangements.bits[source.pattern_index(b)].tobytes())
        if index is not None:
            moved[b // len(source.arrangements) * len(target.arrangements) + index] = W[b]
    return moved
