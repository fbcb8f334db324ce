"""Pricing: which blocks violate kappa(v) <= alpha, for kappa(v) = max_b |Proj_{K_b}(s_b X' D_b v)|.

A dual vector v is feasible when kappa(v) <= alpha. The free bound |Proj_K(g)| <= |g| needs no projection, so all blocks
are scored by one blocked product, and cones are projected lazily, largest free bound first. A projection ends as soon
as it is known to be no longer than what is asked about.
"""

from typing import NamedTuple

import numpy as np

from ..geometry.projection import bound_projections
from ..utils.deadline import check, is_up

__all__ = ["Prices", "bound_blocks", "kappa_blocks", "price"]

# Blocks projected at a time.
BATCH = 128
# Relative excess over alpha that counts as rounding.
EXCESS_TOL = 1e-12


class Prices(NamedTuple):
    """What pricing found: an upper bound of kappa(v), and the blocks above alpha, the largest first."""

    bound: float
    blocks: np.ndarray


def kappa_blocks(design, cones, penalty, V):
    """Compute the largest dual norm of Proj_{K_b}(s_b X' D_b v) over blocks and outputs.

    It is never below the maximum by more than rounding; inf where X' D_b v is not finite.
    """
    G, free, order = _score(design, penalty, V)
    if not np.isfinite(free).all():
        return np.inf
    largest = 0.0
    for first in range(0, len(order), BATCH):
        batch = order[first : first + BATCH]
        if free[batch[0]] <= largest:
            break
        if first:
            check()
        projected = cones.project(G[batch], batch, least=largest)
        largest = max(largest, float(penalty.dual_norms(projected).max()))
    return largest


def bound_blocks(design, V):
    """Bound max over blocks and outputs of |Proj_{K_b}(s_b X' D_b v)| from above, rounding included but of products.

    The blocks are all cells of the design's rows; those that there is no time for are bounded without a projection.
    Returns inf where X' D_b v is not finite.
    """
    G = design.rmatvec(V)
    if not np.isfinite(G).all():
        return np.inf
    largest = 0.0
    for c in range(V.shape[1]):
        lengths = np.linalg.norm(G[:, :, c], axis=1)
        order = np.argsort(-lengths)
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            if lengths[batch[0]] <= largest or is_up():
                largest = max(largest, lengths[batch[0]])
                break
            patterns = design.arrangements.patterns(design.pattern_index(batch))
            projected = bound_projections(design.unit_columns, patterns, G[batch, :, c], largest)
            largest = max(largest, projected[1].max())
    return float(largest)


def price(design, cones, penalty, V, alpha, limit, tight):
    """Find blocks with |Proj_{K_b}(s_b X' D_b v)| > alpha, until `limit` are found, and bound the largest.

    The bound is max(alpha, kappa(v)), or where `limit` stopped the search an upper bound of it; inf where X' D_b v is
    not finite. `tight` (n_blocks, n_features, n_outputs), as in `ArrangementCones.project`, is updated.
    """
    G, free, order = _score(design, penalty, V)
    if not np.isfinite(free).all():
        return Prices(np.inf, np.zeros(0, np.int64))
    order = order[: np.count_nonzero(free > alpha)]
    blocks, norms, bound = [], [], alpha
    for first in range(0, len(order), BATCH):
        if sum(map(len, blocks)) >= limit:
            bound = max(bound, float(free[order[first]]))
            break
        check()
        batch = order[first : first + BATCH]
        rows = tight[batch]
        lengths = penalty.dual_norms(cones.project(G[batch], batch, rows, alpha))
        tight[batch] = rows
        above = lengths > (1 + EXCESS_TOL) * alpha
        blocks.append(batch[above])
        norms.append(lengths[above])
        bound = max(bound, float(lengths.max()))
    if not blocks:
        return Prices(bound, np.zeros(0, np.int64))
    blocks, norms = np.concatenate(blocks), np.concatenate(norms)
    return Prices(bound, blocks[np.argsort(-norms)])


def _score(design, penalty, V):
    """Return s_b X' D_b V of all blocks, their free bounds, and the blocks in falling order of these."""
    G = design.rmatvec(V)
    free = penalty.dual_norms(G)
    return G, free, np.argsort(-free)
