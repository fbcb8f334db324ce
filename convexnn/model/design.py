"""The linear map from blocks to predictions, A(W) = sum_b s_b D_b X W_b, never built as an n x (P d) matrix.

A block b is a pattern and a sign: with P patterns, block i has pattern i and sign +, block P + i pattern i and sign -.
Gated networks have one block a pattern. Products go over blocks of patterns unpacked from their bits.

D_b is one where the pattern is, and `slope` elsewhere: act(t) = max(t, slope t) for slope < 1. Of a convolutional
network X has a row for each patch of each sample, and predictions are sums over the patches of a sample, A(W) = sum_b
s_b S D_b X W_b for the matrix S of these sums; S'v repeats v_k for the patches of sample k.

Outputs are coupled in two more designs:

    A(W)_o = sum_b sum_k D_b^k X_k W_b[:, k n_outputs + o]        PatchwiseDesign, for the K patches X_k of the samples
    A(W) = sum_b S D_b X W_b g_b'                                 DirectedDesign, for unit vectors g_b

A block of the first is a matrix of size (n_features, K n_outputs); its nuclear norm is the weight decay of filters that
share a gate, sum_j |u_j| |a_j| with the output weights a_j of all patches (`penalties.Nuclear`). A block of the second
is a neuron u_b g_b' of weight decay |u_b|, with one column.

T. Ergen and M. Pilanci (2021), Implicit convex regularizers of CNN architectures: convex optimization of two- and
three-layer networks in polynomial time. ICLR. A. Sahiner, T. Ergen, J. Pauly and M. Pilanci (2021), Vector-output ReLU
neural network problems are copositive programs: convex analysis of two-layer networks and polynomial-time algorithms.
ICLR.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from ..geometry.arrangements import BLOCK_ENTRIES, Arrangements
from ..geometry.projection import unit_columns
from ..utils.threads import map_batches

__all__ = ["Design", "DirectedDesign", "PatchwiseDesign"]

# Entries of the sums S D_i X of all patterns up to which they are kept, where a sample has several rows, and the part
# of the patterns from which those of all are multiplied, not copies of some.
MOST_SUMS, MOSTLY = 40_000_000, 0.25
# What a design keeps that does not depend on its patterns.
OF_ROWS = ("single_rows", "unit_columns", "squared_norm", "gram")


@dataclass(frozen=True, eq=False)
class Design:
    """The map A from blocks W (n_blocks, n_features, n_outputs) to predictions Z (n_samples, n_outputs).

    X (n_samples * n_patches, n_features) is what the hidden neurons see, the rows of a sample one after the other.
    `signs` are the output signs of the blocks of a pattern, (1, -1) for ReLU and (1,) for gated ReLU, and `slope` is
    that of the activation where the pattern is zero. `units` (n_features,) are typical sizes of the coordinates of
    blocks, for search and descent (None: ones).
    """

    X: np.ndarray
    arrangements: Arrangements
    signs: tuple
    slope: float = 0.0
    n_patches: int = 1
    units: np.ndarray | None = None

    @property
    def n_samples(self):
        """Number of samples, rows over patches."""
        return len(self.X) // self.n_patches

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
        """Return A(W), shape (n_samples, n_outputs), for the rows of W of `blocks`; None is all."""
        rows = np.flatnonzero(W.any(axis=(1, 2)))
        blocks = rows if blocks is None else np.asarray(blocks)[rows]
        index, signs = self.pattern_index(blocks), self.sign(blocks)
        if self.sums_of_rows is not None:
            coefficients = np.zeros((len(self.arrangements), *W.shape[1:]), self.X.dtype)
            np.add.at(coefficients, index, W[rows] * signs[:, None, None])
            used = np.flatnonzero(np.bincount(index, minlength=len(coefficients)))
            if len(used) > MOSTLY * len(coefficients):
                used = np.arange(len(coefficients))
            return (self._sums_of(used) @ coefficients[used].reshape(len(used) * self.X.shape[1], W.shape[2])).astype(
                np.float64, copy=False
            )

        def fit(batch):
            activity = self.activity(index[batch])
            coefficients = (W[rows[batch]] * signs[batch, None, None]).astype(self.X.dtype, copy=False)
            Z = np.empty((len(self.X), W.shape[2]))
            for c in range(W.shape[2]):
                fits = coefficients[:, :, c] @ self.X.T
                fits *= activity
                Z[:, c] = fits.sum(axis=0)
            return Z

        Z = sum(map_batches(fit, self._batches(len(rows))), np.zeros((len(self.X), W.shape[2])))
        return self.pool(Z)

    def rmatvec(self, V, blocks=None):
        """Return the adjoint G_b = s_b X' D_b S'V of `blocks`, (n_selected, n_features, n_outputs); None is all."""
        if blocks is None:
            G = self._correlate(V, np.arange(len(self.arrangements)))
            return np.concatenate([sign * G for sign in self.signs])
        return self._correlate(V, self.pattern_index(blocks)) * self.sign(blocks)[:, None, None]

    def activity(self, index):
        """Return the diagonals of the D of patterns, shape (n_selected, n_rows): boolean without a slope."""
        patterns = self.arrangements.patterns(index)
        return patterns if self.slope == 0.0 else np.where(patterns, 1.0, self.slope).astype(self.X.dtype, copy=False)

    def n_columns(self, n_outputs):
        """Return the number of columns of a block, one for each output."""
        return n_outputs

    def sums(self):
        """Return [S], sparse: column c of a block adds S D X w to output c."""
        return [sparse.kron(sparse.eye_array(self.n_samples), np.ones((1, self.n_patches)), format="csr")]

    def pool(self, T):
        """Return the sums over the patches of each sample of rows T (n_rows, ...)."""
        if self.n_patches == 1:
            return T
        return T.reshape(self.n_samples, self.n_patches, *T.shape[1:]).sum(axis=1)

    def spread(self, V):
        """Return V (n_samples, ...) repeated for the patches of each sample, the adjoint of `pool`."""
        return V if self.n_patches == 1 else np.repeat(V, self.n_patches, axis=0)

    def response(self, V):
        """Return row weights w and a vector l with V'A of one neuron = w'(Xu)_+ + l'u, for V (n_samples,).

        w = (1 - slope) S'V has shape (n_rows,), l = slope X'S'V has shape (n_features,).
        """
        rows = self.spread(V)
        return (1.0 - self.slope) * rows, self.slope * (rows @ self.X) if self.slope else np.zeros(self.X.shape[1])

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
        """Return s_b S D_b X as a dense matrix (n_samples, n_features): small problems only."""
        return self.pool(self.sign(b) * self.activity([self.pattern_index(b)])[0][:, None] * self.X)

    @cached_property
    def squared_norm(self):
        """|X|^2, the largest eigenvalue of X' X, times the number of patches: at least |S X|^2."""
        return self.n_patches * float(np.linalg.norm(self.X.T @ self.X, 2))

    @cached_property
    def gram(self):
        """X X', shape (n_samples, n_samples)."""
        return self.X @ self.X.T

    @cached_property
    def sums_of_rows(self):
        """S D_i X for all patterns, shape (n_samples, n_patterns, n_features), which save most of the products.

        None where a sample has one row, or where they are too many to be kept.
        """
        shape = self.n_samples, len(self.arrangements), self.X.shape[1]
        if self.n_patches == 1 or np.prod(shape, dtype=float) > MOST_SUMS:
            return None
        sums, patches = np.empty(shape, self.X.dtype), self.X.reshape(self.n_samples, self.n_patches, -1)

        def add(batch):
            activity = self.activity(np.arange(shape[1])[batch]).reshape(-1, self.n_samples, self.n_patches)
            sums[:, batch] = activity.transpose(1, 0, 2).astype(self.X.dtype) @ patches

        map_batches(add, self._batches(shape[1]))
        return sums

    def _sums_of(self, index):
        """Return the sums of some patterns, shape (n_samples, n_selected n_features)."""
        sums = self.sums_of_rows if len(index) == len(self.arrangements) else self.sums_of_rows[:, index]
        return sums.reshape(self.n_samples, len(index) * self.X.shape[1])

    def _correlate(self, V, index):
        """Return X' D_i S'V for the patterns of `index`."""
        if self.sums_of_rows is not None:
            every, place = np.unique(index, return_inverse=True)
            G = self._sums_of(every).T @ V.astype(self.X.dtype, copy=False)
            return G.reshape(len(every), self.X.shape[1], V.shape[1])[place].astype(np.float64, copy=False)
        G = np.empty((len(index), self.X.shape[1], V.shape[1]))
        V = self.spread(V.astype(self.X.dtype, copy=False))

        def correlate(batch):
            activity = self.activity(index[batch])
            for c in range(V.shape[1]):
                G[batch, :, c] = (activity * V[:, c]) @ self.X

        map_batches(correlate, self._batches(len(index)))
        return G

    def _batches(self, size):
        step = max(1, BLOCK_ENTRIES // len(self.X))
        return [slice(first, first + step) for first in range(0, size, step)]


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
