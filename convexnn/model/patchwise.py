"""Designs of coupled outputs: an output weight for every patch, and neurons with output weights that are fixed.

    A(W)_o = sum_b sum_k D_b^k X_k W_b[:, k n_outputs + o]        PatchwiseDesign, for the K patches X_k of the samples
    A(W) = sum_b S D_b X W_b g_b'                                 DirectedDesign, for unit vectors g_b

A block of the first is a matrix of size (n_features, K n_outputs); its nuclear norm is the weight decay of filters that
share a gate, sum_j |u_j| |a_j| with the output weights a_j of all patches (`penalties.Nuclear`). A block of the second
is a neuron u_b g_b' of weight decay |u_b|, with one column.

References
----------
T. Ergen and M. Pilanci (2021), Implicit convex regularizers of CNN architectures: convex optimization of two- and
three-layer networks in polynomial time. ICLR. A. Sahiner, T. Ergen, J. Pauly and M. Pilanci (2021), Vector-output ReLU
neural network problems are copositive programs: convex analysis of two-layer networks and polynomial-time algorithms.
ICLR.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ..utils.threads import map_batches
from .design import Design

__all__ = ["DirectedDesign", "PatchwiseDesign"]


@dataclass(frozen=True, eq=False)
class PatchwiseDesign(Design):
    """The map A from blocks W (n_blocks, n_features, n_patches n_outputs) to predictions (n_samples, n_outputs).

    Column k n_outputs + o of a block acts on patch k and adds to output o. `signs` is (1,): blocks without cones have
    both signs.
    """

    def n_columns(self, n_outputs):
        """Return the number of columns of a block."""
        return self.n_patches * n_outputs

    def sums(self):
        """Return sparse S_k that pick patch k: column k n_outputs + o of a block adds S_k D X w to output o."""
        eye = sparse.eye_array(self.n_samples)
        return [sparse.kron(eye, np.eye(self.n_patches)[[k]], format="csr") for k in range(self.n_patches)]

    def matvec(self, W, blocks=None):
        """Return A(W), shape (n_samples, n_outputs), for the rows of W of `blocks`; None is all."""
        n_outputs = W.shape[2] // self.n_patches
        rows = np.flatnonzero(W.any(axis=(1, 2)))
        blocks = rows if blocks is None else np.asarray(blocks)[rows]
        index, signs, patches = self.pattern_index(blocks), self.sign(blocks), self._patches()

        def fit(batch):
            activity = self.activity(index[batch]).reshape(-1, self.n_samples, self.n_patches)
            coefficients = (W[rows[batch]] * signs[batch, None, None]).astype(self.X.dtype, copy=False)
            Z = np.zeros((self.n_samples, n_outputs))
            for k in range(self.n_patches):
                for o in range(n_outputs):
                    fits = coefficients[:, :, k * n_outputs + o] @ patches[k].T
                    fits *= activity[:, :, k]
                    Z[:, o] += fits.sum(axis=0)
            return Z

        return sum(map_batches(fit, self._batches(len(rows))), np.zeros((self.n_samples, n_outputs)))

    def block(self, b):
        """Return s_b D_b^k X_k for all patches, shape (n_samples, n_patches, n_features): small problems only."""
        rows = self.sign(b) * self.activity([self.pattern_index(b)])[0][:, None] * self.X
        return rows.reshape(self.n_samples, self.n_patches, -1)

    def _patches(self):
        """Return X_k for all patches, shape (n_patches, n_samples, n_features)."""
        return self.X.reshape(self.n_samples, self.n_patches, -1).transpose(1, 0, 2)

    def _correlate(self, V, index):
        """Return X_k' D_i^k V for all patches and the patterns of `index`."""
        n_outputs = V.shape[1]
        G = np.empty((len(index), self.X.shape[1], self.n_columns(n_outputs)))
        V, patches = V.astype(self.X.dtype, copy=False), self._patches()

        def correlate(batch):
            activity = self.activity(index[batch]).reshape(-1, self.n_samples, self.n_patches)
            for k in range(self.n_patches):
                for o in range(n_outputs):
                    G[batch, :, k * n_outputs + o] = (activity[:, :, k] * V[:, o]) @ patches[k]

        map_batches(correlate, self._batches(len(index)))
        return G


@dataclass(frozen=True, eq=False)
class DirectedDesign(Design):
    """The map A from neurons W (n_blocks, n_features, 1) to predictions (n_samples, n_outputs), for fixed directions.

    `directions` (n_blocks, n_outputs) are the unit vectors g_b of output weights; None is those of no blocks.
    `arrangements` has a pattern for each neuron, maybe repeated; `signs` is (1,): a direction has its sign.
    """

    directions: np.ndarray | None = None

    def n_columns(self, n_outputs):
        """Return the number of columns of a block, one."""
        return 1

    def matvec(self, W, blocks=None):
        """Return A(W), shape (n_samples, n_outputs), for the rows of W of `blocks`; None is all."""
        blocks = np.arange(len(W)) if blocks is None else np.asarray(blocks)
        return self.hidden(W[:, :, 0], blocks) @ self.directions[blocks]

    def rmatvec(self, V, blocks=None):
        """Return the adjoint X' D_b S'V g_b of `blocks`, shape (n_selected, n_features, 1); None is all."""
        blocks = np.arange(self.n_blocks) if blocks is None else np.asarray(blocks)
        rows = self.spread(V @ self.directions[blocks].T).T
        return ((rows * self.activity(blocks)) @ self.X)[:, :, None]

    def hidden(self, U, blocks):
        """Return the activations S D_b X u_b of neurons U (n_selected, n_features), shape (n_samples, n_selected)."""
        return self.pool(self.X @ U.T * self.activity(blocks).T)

    def block(self, b):
        """Return S D_b X, what the direction of the block is multiplied by: small problems only."""
        return self.pool(self.activity([b])[0][:, None] * self.X)
