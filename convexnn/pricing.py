"""Pricing: the dual norm kappa(v) = max_b |Proj_{K_b}(s_b X' D_b v)| over the blocks of a design.

A dual vector v is feasible when kappa(v) <= alpha. The free bound |Proj_K(g)| <= |g| needs no projection, so cones are
projected lazily, largest free bound first, until no free bound left exceeds the largest projection found.
"""

import numpy as np

__all__ = ["kappa"]

# Blocks projected at a time.
BATCH = 64


def kappa(design, cones, penalty, V):
    """Compute max over blocks and outputs of |Proj_{K_b}(s_b X' D_b v)|.

    Parameters
    ----------
    design : Design
        The blocks.
    cones : ArrangementCones or FreeCones
        Their cones.
    penalty : GroupL2
        The penalty whose dual norm is taken.
    V : ndarray of shape (n_samples, n_outputs)
        The dual vectors.

    Returns
    -------
    float
        The maximum over the given blocks; never below it by more than rounding.
    """
    G = design.rmatvec(V)
    free = penalty.dual_norms(G)
    order = np.argsort(-free)
    largest = 0.0
    for first in range(0, len(order), BATCH):
        batch = order[first : first + BATCH]
        if free[batch[0]] <= largest:
            break
        largest = max(largest, float(penalty.dual_norms(cones.project(G[batch], batch)).max()))
    return largest
