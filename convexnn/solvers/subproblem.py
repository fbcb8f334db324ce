"""A program restricted to some of its blocks, as the inner solvers see it.

The free columns F are replaced by an orthonormal basis of their span, so that their coefficients have curvature one.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np

__all__ = ["Iterate", "Subproblem"]


class Iterate(NamedTuple):
    """A point of an inner solver."""

    W: np.ndarray  # (n_selected, n_features, n_outputs), feasible blocks
    beta: np.ndarray  # (n_free, n_outputs), coefficients of the basis of the free columns
    V: np.ndarray  # (n_samples, n_outputs), a dual vector
    step: float  # of the prox, 0 where the solver is to choose it


class Subproblem:
    """The program over `blocks` (n_selected,) alone; the others are zero.

    `tight` (n_selected, n_features, n_outputs), int32, are likely tight rows of their projections, updated in place.
    `products` is the design of the program or its single precision copy. `points` (n_selected, n_features) are vectors
    in the cells, nearly, or None: with them projections onto thin cells are faster.
    """

    def __init__(self, program, blocks, tight, products, points=None):
        self.program, self.blocks, self.tight, self.products, self.points = program, blocks, tight, products, points
        self.basis = program.free_basis[0]

    @cached_property
    def near(self):
        """The rows near the cells, None where they are not known, or not thin."""
        return None if self.points is None else self.program.cones.near_rows(self.blocks, self.points)

    def project(self, T, tight, least):
        """Return the projections of T onto the cones, those no longer than `least` not finished; `tight` is updated."""
        return self.program.cones.project(T, self.blocks, tight, least, self.near)

    def fit(self, W, beta):
        """Return the predictions A(W) + Q beta."""
        return self.products.matvec(W, self.blocks) + self.basis @ beta

    def objective(self, W, beta):
        """Return L(A(W) + Q beta) + alpha R(W)."""
        program = self.program
        return program.loss.value(program.Y, self.fit(W, beta)) + program.alpha * program.penalty.value(W)

    def adjoint(self, V):
        """Return the blocks s_b X' D_b V."""
        return self.products.rmatvec(V, self.blocks)

    def prox(self, T, step):
        """Return the projections of T onto the cones and the prox of step alpha R there."""
        threshold = step * self.program.alpha  # shorter projections are not finished: their prox is zero
        P = self.project(T, self.tight, threshold)
        return P, self.program.penalty.prox(P, threshold)

    def measure(self, W, V):
        """Return the best free coefficients for W, the objective there, and a lower bound of the subproblem by V."""
        program = self.program
        fit = self.products.matvec(W, self.blocks)
        beta = program.loss.fit_free(program.Y, self.basis, fit)
        objective = program.loss.value(program.Y, fit + self.basis @ beta) + program.alpha * program.penalty.value(W)
        V = program.project_dual(V)
        projected = self.project(self.adjoint(V), self.tight.copy(), program.alpha)
        norm = max(program.alpha, float(program.penalty.dual_norms(projected).max(initial=0.0)))
        return beta, objective, program.scaled_value(V, norm)
