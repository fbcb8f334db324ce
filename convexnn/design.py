"""The linear map from blocks to predictions, A(W) = sum_b s_b D_b X W_b, never built as an n x (P d) matrix.

A block b is a pattern and a sign: with P patterns, block i has pattern i and sign +, block P + i pattern i and sign -.
Gated networks have one block a pattern. Products go over blocks of patterns unpacked from their bits.
"""

from dataclasses import dataclass

import numpy as np

from .arrangements import BLOCK_ENTRIES, Arrangements

__all__ = ["Design"]


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

    def matvec(self, W):
        """Return A(W), shape (n_samples, n_outputs), for W of shape (n_blocks, n_features, n_outputs)."""
        blocks = np.flatnonzero(W.any(axis=(1, 2)))
        index, signs = self.pattern_index(blocks), self.sign(blocks)
        Z = np.zeros((len(self.X), W.shape[2]))
        for batch in self._batches(len(blocks)):
            patterns = self.arrangements.patterns(index[batch])
            fits = np.tensordot(self.X, W[blocks[batch]] * signs[batch, None, None], axes=(1, 1))
            Z += np.einsum("bn,nbc->nc", patterns, fits)
        return Z

    def rmatvec(self, V):
        """Return the adjoint G_b = s_b X' D_b V, shape (n_blocks, n_features, n_outputs)."""
        P = len(self.arrangements)
        G = np.empty((P, self.X.shape[1], V.shape[1]))
        for batch in self._batches(P):
            patterns = self.arrangements.patterns(batch)
            for c in range(V.shape[1]):
                G[batch, :, c] = (patterns * V[:, c]) @ self.X
        return np.concatenate([sign * G for sign in self.signs])

    def block(self, b):
        """Return s_b D_b X as a dense matrix (n_samples, n_features): small problems only."""
        return self.sign(b) * self.arrangements.patterns([self.pattern_index(b)])[0][:, None] * self.X

    def _batches(self, size):
        step = max(1, BLOCK_ENTRIES // len(self.X))
        return [slice(first, first + step) for first in range(0, size, step)]
