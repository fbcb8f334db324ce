"""Polishing: exact zeros and merged neurons from a solver's approximate blocks.

An interior-point solver leaves every block slightly away from zero, slightly outside its cone, and a neuron that lies
on a wall split over the cells on both sides. Blocks are projected onto their cones, which makes them feasible; then the
small ones are dropped and the split ones added, as long as the objective stays where it was.
"""

import numpy as np

from ..networks.minimal import prune

__all__ = ["polish"]

# Relative growth of the objective that polishing may cost in each of its two steps.
SLACK = 1e-10
# Cosine of the angle above which two neurons are tried as one that was split.
SPLIT_COSINE = 1 - 1e-4


def polish(program, W, beta):
    """Make blocks that are nearly in their cones feasible, sparse and unsplit; return them.

    The objective is at most 1 + 2e-10 times that of the projected blocks.
    """
    blocks = np.flatnonzero(W.any(axis=(1, 2)))
    W = W.copy()
    W[blocks] = program.cones.project(W[blocks], blocks)
    kept = prune(program.penalty.block_norms(W), lambda kept: program.objective(W * kept[:, None, :], beta), SLACK)
    return _merge(program, W * kept[:, None, :], beta)


def _merge(program, W, beta):
    """Add up nearly parallel blocks of the same sign in the cell of one of them, where the objective allows it."""
    limit = (1 + SLACK) * program.objective(W, beta)
    for c in range(W.shape[2]):
        blocks = np.flatnonzero(W[:, :, c].any(axis=1))
        blocks = blocks[np.argsort(-np.linalg.norm(W[blocks, :, c], axis=1))]
        units = W[blocks, :, c] / np.linalg.norm(W[blocks, :, c], axis=1, keepdims=True)
        signs = program.design.sign(blocks)
        pairs = np.argwhere(np.triu((units @ units.T > SPLIT_COSINE) & (signs[:, None] == signs), 1))
        for large, small in blocks[pairs]:
            if not (W[large, :, c].any() and W[small, :, c].any()):
                continue
            before = W[[large, small]]
            total = (W[large, :, c] + W[small, :, c])[None, :, None]
            W[large, :, c] = program.cones.project(total, np.array([large]))[0, :, 0]
            W[small, :, c] = 0.0
            if program.objective(W, beta) > limit:
                W[[large, small]] = before
    return W
