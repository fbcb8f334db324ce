"""Penalties R(W) on the blocks of a program; W has shape (n_blocks, n_features, n_outputs)."""

import numpy as np

__all__ = ["GroupL2"]


class GroupL2:
    """Sum of the Euclidean norms of the blocks, R(W) = sum_b |W_b|, one norm for each output.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.penalties import GroupL2
    >>> GroupL2().value(np.array([[[3.0], [4.0]], [[0.0], [1.0]]]))
    6.0
    """

    def value(self, W):
        """Return R(W)."""
        return float(self.block_norms(W).sum())

    def block_norms(self, W):
        """Return the norm of each block and output, shape (n_blocks, n_outputs)."""
        return np.linalg.norm(W, axis=1)

    def prox(self, P, step):
        """Return argmin_W 1/2 |W - U|^2 + step R(W) over W in the cones, for P the projections of U onto them.

        The prox of a norm and a cone is the block soft threshold of the projection: (1 - step / |P_b|)_+ P_b.
        """
        norms = self.block_norms(P)
        return P * np.where(norms > step, 1.0 - step / np.where(norms > step, norms, 1.0), 0.0)[:, None, :]

    def dual_norms(self, G):
        """Return for each block the dual norm of a projected gradient G_b, the largest over outputs."""
        return self.block_norms(G).max(axis=1)

    def to_cvxpy(self, W):
        """Return R(W) as a cvxpy expression, for a cvxpy W of shape (n_blocks, n_features)."""
        import cvxpy as cp

        return cp.sum(cp.norm(W, 2, axis=1))
