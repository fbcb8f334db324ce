"""Nuclear norms: the inner solver of programs whose blocks are matrices, of gates with several output weights.

    minimise over W, b   L(A(W) + Q b) + alpha sum_b |W_b|_*

A block is a sum of neurons u a' with |W_b|_* = sum |u| |a|, its singular vectors. Repeat: make neurons of the blocks;
add the singular vectors of X' D_b V of values above alpha, which are the neurons by which the objective falls; move all
of them by Newton's method (`factors`); add them up to blocks. The gap over the blocks decides when that is enough: it
needs no second-order condition, as the program is convex in W. The loss has to be smooth.

References
----------
B. D. Haeffele and R. Vidal (2015), Global optimality in tensor factorization, deep learning, and beyond.
arXiv:1506.07540. J. Abernethy, F. Bach, T. Evgeniou and J.-P. Vert (2009), A new approach to collaborative filtering:
operator estimation with spectral regularization. JMLR 10.
"""

from dataclasses import replace

import numpy as np

from .factors import solve_factors
from .neurons import NEGLIGIBLE, Neurons, enlarge
from .subproblem import Iterate

__all__ = ["solve_low_rank"]

# Rounds of new neurons, most new ones at first, and the fraction of the gap that neurons are moved to.
MAX_ROUNDS, FEWEST_NEW, INNER_FRACTION = 100, 20, 0.03
# Rounds in which the gap stays, after which there is no progress to wait for.
PATIENCE = 8


def solve_low_rank(sub, start, tol, observe):
    """Solve a subproblem of nuclear norms as `solve_newton`, by neurons."""
    program, loss, Y = sub.program, sub.program.loss, sub.program.Y
    W, beta = start.W, start.beta
    gap, objective, stalled = 1.0, sub.objective(W, beta), 0
    for _ in range(MAX_ROUNDS):
        neurons = _grown(sub, _of_blocks(sub, W, beta), loss)
        neurons = solve_factors(neurons, loss, INNER_FRACTION * max(tol, INNER_FRACTION * gap) * objective, observe)
        W, beta = _assembled(sub, neurons), neurons.beta
        V = -loss.grad(Y, sub.fit(W, beta))
        refitted, reached, bound = sub.measure(W, V)
        stalled = 0 if (reached - bound) <= 0.9 * gap * reached else stalled + 1
        objective, gap = reached, (reached - bound) / reached if reached > 0 else 0.0
        if observe(W, refitted, objective) or gap <= tol or stalled > PATIENCE:
            break
    return Iterate(W, refitted, program.project_dual(V), start.step)


def _of_blocks(sub, W, beta):
    """Return the neurons of blocks: their singular vectors."""
    active = np.flatnonzero(W.any(axis=(1, 2)))
    left, values, right = np.linalg.svd(W[active], full_matrices=False)
    rows, place = np.nonzero(values > NEGLIGIBLE * values.max(initial=0.0))
    roots = np.sqrt(values[rows, place])[:, None]
    U, A = left[rows, :, place] * roots, right[rows, place] * roots
    return Neurons(sub.program, sub.blocks[active[rows]], U, A, beta)


def _grown(sub, neurons, loss):
    """Add the singular vectors of X' D_b V of values above alpha."""
    G = sub.adjoint(-loss.grad(sub.program.Y, neurons.fit()))
    left, values, right = np.linalg.svd(G, full_matrices=False)
    rows, place = np.nonzero(values > sub.program.alpha)
    excess = values[rows, place] - sub.program.alpha
    largest = np.argsort(-excess)[: max(FEWEST_NEW, len(neurons))]
    rows, place, roots = rows[largest], place[largest], np.sqrt(excess[largest])[:, None]
    if not len(rows):
        return neurons
    parts = sub.blocks[rows], left[rows, :, place] * roots, right[rows, place] * roots
    own = neurons.blocks, neurons.U, neurons.A
    blocks, U, A = (np.concatenate(pair) for pair in zip(own, parts, strict=True))
    return enlarge(replace(neurons, blocks=blocks, U=U, A=A), len(rows), loss)


def _assembled(sub, neurons):
    """Return the sums u_j a_j' of the blocks."""
    W = np.zeros((len(sub.blocks), neurons.U.shape[1], neurons.A.shape[1]))
    place = np.empty(int(sub.blocks.max(initial=0)) + 1, int)
    place[sub.blocks] = np.arange(len(sub.blocks))
    np.add.at(W, place[neurons.blocks], neurons.U[:, :, None] * neurons.A[:, None, :])
    return W
