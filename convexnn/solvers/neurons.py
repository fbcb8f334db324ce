"""Neurons with output weights of their own, u a' in cells or at gates: what they predict, and how many are needed.

    Z = sum_j S D_j X u_j a_j' + Q b,   phi = L(Z) + alpha sum_j |u_j| |a_j|

of a program, whose design says how hidden activations become predictions: S adds up the patches of a sample, or keeps
them apart, each with its own part of a_j.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..geometry.arrangements import Arrangements
from ..model.cones import FreeCones
from ..model.design import PatchwiseDesign

__all__ = ["FIRST_MU", "LAST_MU", "MU_FACTOR", "NEGLIGIBLE", "Neurons", "enlarge"]

# Neurons smaller than this fraction of the largest are dropped.
NEGLIGIBLE = 1e-13
# The first smoothing of non-smooth losses, relative to the ratio of |Z| and |V|, the last, and the factor between.
FIRST_MU, LAST_MU, MU_FACTOR = 1e-1, 1e-5, 0.3
# The largest scale that new neurons are tried at, and the most times that they are halved.
LARGEST_SCALE = 1e6
MAX_HALVINGS = 60


@dataclass(frozen=True, eq=False)
class Neurons:
    """Neurons u_j a_j' with their cells.

    `program` is over their patterns, and `blocks` (n_neurons,) are the blocks of positive sign in it, which neurons may
    share. `U` (n_neurons, n_features) is in the cones, `A` (n_neurons, n_columns) has columns for every patch where
    these have output weights of their own, and `beta` (n_free, n_outputs) are coefficients of the basis of the free
    columns.
    """

    program: object
    blocks: np.ndarray
    U: np.ndarray
    A: np.ndarray
    beta: np.ndarray

    def __len__(self):
        return len(self.U)

    @classmethod
    def in_cells(cls, program, patterns, U, A, beta):
        """Make neurons in the cells of `patterns`, onto which U is projected.

        `patterns` (n_neurons, n_rows) are booleans, and two may be the same; `program` may be any of the same data.
        """
        bits = np.packbits(patterns, axis=1).reshape(len(U), -(-len(program.design.X) // 8))
        over = program.over(Arrangements(bits, np.zeros((len(U), 0)), len(program.design.X)))
        blocks = np.arange(len(U))
        U = over.cones.project(np.ascontiguousarray(U)[:, :, None], blocks)[:, :, 0]
        return cls(over, blocks, U, A, beta)

    @property
    def sizes(self):
        """The norms |u_j| |a_j|."""
        return np.linalg.norm(self.U, axis=1) * np.linalg.norm(self.A, axis=1)

    @property
    def patterns(self):
        """The patterns, booleans of shape (n_neurons, n_rows)."""
        return self.program.design.arrangements.patterns(self.program.design.pattern_index(self.blocks))

    def select(self, kept):
        """Return some of the neurons."""
        if isinstance(self.program.cones, FreeCones):
            return replace(self, blocks=self.blocks[kept], U=self.U[kept], A=self.A[kept])
        return Neurons.in_cells(self.program, self.patterns[kept], self.U[kept], self.A[kept], self.beta)

    def balanced(self):
        """Return the neurons with |u_j| = |a_j|, without those that are negligible."""
        sizes = self.sizes
        kept = sizes > NEGLIGIBLE * sizes.max(initial=0.0)
        neurons = self if kept.all() else self.select(kept)
        roots = np.sqrt(np.linalg.norm(neurons.A, axis=1) / np.linalg.norm(neurons.U, axis=1))[:, None]
        return replace(neurons, U=neurons.U * roots, A=neurons.A / roots)

    def hidden(self, U=None):
        """Return the activations S D_j X u_j, shape (n_samples, n_neurons, n_patches); the last is 1 where pooled."""
        design, U = self.program.design, self.U if U is None else U
        T = design.X @ U.T
        T *= design.activity(design.pattern_index(self.blocks)).T
        if isinstance(design, PatchwiseDesign):
            return T.reshape(design.n_samples, design.n_patches, -1).transpose(0, 2, 1)
        return design.pool(T)[:, :, None]

    def fit(self):
        """Return the predictions, shape (n_samples, n_outputs)."""
        hidden, n_outputs = self.hidden(), self.program.Y.shape[1]
        fit = hidden.reshape(len(hidden), -1) @ self.A.reshape(-1, n_outputs)
        return fit + self.program.free_basis[0] @ self.beta

    def adjoint(self, V):
        """Return X' D_j S' V for each neuron, shape (n_neurons, n_features, n_columns)."""
        design = self.program.design
        blocks, place = np.unique(self.blocks, return_inverse=True)
        return design.rmatvec(V, blocks)[place.ravel()]

    def pulls(self, V, hidden=None):
        """Return X' D_j S' V a_j and V' S D_j X u_j for each neuron, of the shapes of U and A."""
        design, n_outputs = self.program.design, V.shape[1]
        hidden = self.hidden() if hidden is None else hidden
        of_outputs = (hidden.reshape(len(V), -1).T @ V).reshape(self.A.shape)
        rows = V @ self.A.reshape(-1, n_outputs).T
        if isinstance(design, PatchwiseDesign):
            rows = rows.reshape(len(V), len(self), -1).transpose(0, 2, 1).reshape(len(design.X), -1)
        else:
            rows = design.spread(rows)
        return (rows.T * design.activity(design.pattern_index(self.blocks))) @ design.X, of_outputs

    def value(self, loss):
        """Return phi for a loss, at the balance of each neuron."""
        return loss.value(self.program.Y, self.fit()) + self.program.alpha * float(self.sizes.sum())


def enlarge(neurons, n_new, loss):
    """Scale the last `n_new` neurons, along which phi falls, all alike, so that it falls by as much as it can, nearly.

    Return the others alone where phi does not fall. The loss is smooth.
    """
    first = len(neurons) - n_new
    old = replace(neurons, blocks=neurons.blocks[:first], U=neurons.U[:first], A=neurons.A[:first])
    new = replace(neurons, blocks=neurons.blocks[first:], U=neurons.U[first:], A=neurons.A[first:])
    Y, fit, value = neurons.program.Y, old.fit(), old.value(loss)
    change = replace(new, beta=np.zeros_like(new.beta)).fit()
    slope = float(np.sum(loss.grad(Y, fit) * change) + neurons.program.alpha * new.sizes.sum())
    curvature = loss.curvature(Y, fit)
    bent = curvature * change if loss.separable else np.einsum("nkl,nl->nk", curvature, change)
    t = min(max(-slope / max(float(np.sum(bent * change)), float(np.finfo(float).tiny)), 0.0), LARGEST_SCALE)
    for _ in range(MAX_HALVINGS):
        scale = np.where(np.arange(len(neurons)) < first, 1.0, np.sqrt(t))[:, None]
        trial = replace(neurons, U=scale * neurons.U, A=scale * neurons.A)
        if t > 0 and trial.value(loss) < value:
            return trial
        t *= 0.5
    return old
