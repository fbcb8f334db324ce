"""Recovery of networks from the blocks of a convex program.

A block u with sign s is the neuron w = u / sqrt|u|, a = s sqrt|u|: then act(x.w) a = s act(x.u), and its weight decay
1/2 (|w|^2 + a^2) is |u|, for any norm. In a free hidden bias |u| counts w alone, and a block with w = 0 is a constant
on the data, which is part of the output bias.

A block of several output weights is a neuron for each singular value t, w = sqrt(t) times the left singular vector and
a = sqrt(t) times the right one: their weight decay is the nuclear norm.

References
----------
M. Pilanci and T. Ergen (2020), Neural networks are convex regularizers, theorem 1. ICML.
"""

from typing import Any

import numpy as np

from ..geometry.fourier import split_circular
from ..model.design import DirectedDesign
from ..model.penalties import Nuclear
from .minimal import merge_parallel
from .network import CircularNetwork, ConvNetwork, Network

__all__ = ["recover"]

# Singular values below this fraction of the largest of a block are rounding.
RANK_TOL = 1e-13


def recover(solution: Any) -> Network | ConvNetwork | CircularNetwork:
    """Turn the blocks of a solution into the weights of a network.

    w = u / sqrt|u| and a = s sqrt|u| for a block u of sign s; zero blocks give no neuron; parallel neurons of the same
    sign are merged; blocks of several output weights are split into neurons. On the data the network predicts the fit
    of the program, and its objective is that of the program.

    Parameters
    ----------
    solution : Solution
        A feasible point of a program.

    Returns
    -------
    Network, ConvNetwork or CircularNetwork
        One neuron for each nonzero block that is left after merging.

    Examples
    --------
    >>> from convexnn.model import build_program
    >>> from convexnn.networks import recover
    >>> from convexnn.solvers import solve_working_set
    >>> X, y = [[1.0], [-1.0]], [1.0, 0.0]
    >>> solution = solve_working_set(build_program(X, y, 0.1, "all"))
    >>> round(recover(solution).objective(X, y, 0.1), 6), round(solution.certificate.objective, 6)
    (0.065711, 0.065711)
    """
    program, architecture = solution.program, solution.program.architecture
    split = _matrices if isinstance(program.penalty, Nuclear) else _columns
    blocks, U, W2, constant = split(program, solution.W)
    index, gates = program.design.pattern_index(blocks), None
    if architecture.activation == "threshold":
        W2 = W2 * U[0][:, None]  # U is the size and the sign alone
        weights = program.hidden.weights(program.design.arrangements.gates[index].T)
    else:
        weights = program.hidden.weights(U)
    if architecture.activation == "gated_relu":
        gates = np.vstack(program.hidden.weights(program.design.arrangements.gates[index].T))
    n_features = len(program.free.T) - architecture.fit_intercept if architecture.skip else 0
    intercept, skip = architecture.split_free(solution.beta, n_features)
    intercept = intercept + constant
    if architecture.patches is not None:
        if architecture.patches.pooling == "none":
            W2 = W2.reshape(len(W2), architecture.patches.n_patches, program.Y.shape[1]).transpose(1, 0, 2)
        kind = (architecture.activation, architecture.negative_slope, gates)
        penalty = (architecture.hidden_bias, architecture.output_penalty)
        return ConvNetwork(*weights, W2, intercept, architecture.patches, *kind, *penalty)
    if architecture.hidden_norm == "circular":
        return _circular(architecture, weights[0], W2, intercept, gates)
    kind = (architecture.activation, skip, architecture.hidden_bias, gates, architecture.negative_slope)
    norms = (architecture.hidden_norm, architecture.output_penalty)
    return merge_parallel(Network(*weights, W2, intercept, *kind, *norms))


def _columns(program, W):
    """Split blocks whose columns are neurons into (blocks, U, W2, constant).

    For each neuron: its block, its hidden weights (a column of U) and its output weights (a row of W2). `constant`
    (n_outputs,) is what blocks with nothing but a free bias add to the outputs.
    """
    design = program.design
    blocks, columns = np.nonzero(np.any(W != 0, axis=1))
    charged = W[:, :-1] if program.architecture.hidden_bias == "free" else W
    sizes = program.penalty.block_norms(charged)[blocks, columns]
    constant = np.zeros(program.Y.shape[1])
    for b, c in zip(blocks[sizes == 0], columns[sizes == 0], strict=True):
        alone = np.zeros((1, *W.shape[1:]))
        alone[0, :, c] = W[b, :, c]
        constant += design.matvec(alone, np.array([b]))[0]
    blocks, columns, roots = blocks[sizes > 0], columns[sizes > 0], np.sqrt(sizes[sizes > 0])
    if isinstance(design, DirectedDesign):
        directions = design.directions[blocks]
    else:
        directions = np.eye(W.shape[2])[columns] * design.sign(blocks)[:, None]
    return blocks, W[blocks, :, columns].T / roots, directions * roots[:, None], constant


def _matrices(program, W):
    """Split blocks that are matrices into neurons, one for each singular value; return what `_columns` returns.

    Only linear networks have free biases here; they add up to `constant`.
    """
    constant = np.zeros(program.Y.shape[1])
    if program.architecture.hidden_bias == "free":
        biases, W = W.copy(), W.copy()
        biases[:, :-1], W[:, -1] = 0.0, 0.0
        constant += program.design.matvec(biases)[0]
    active = np.flatnonzero(W.any(axis=(1, 2)))
    left, values, right = np.linalg.svd(W[active], full_matrices=False)
    rows, place = np.nonzero(values > RANK_TOL * values[:, :1])
    roots = np.sqrt(values[rows, place])
    return active[rows], left[rows, :, place].T * roots, right[rows, place] * roots[:, None], constant


def _circular(architecture, W1, W2, intercept, gates):
    """Return the circular network of neurons with weights q / sqrt|q|; parallel neurons are merged before the split."""
    kind = (architecture.activation, None, "none", gates)
    merged = merge_parallel(Network(W1, np.zeros(W1.shape[1]), W2, intercept, *kind))
    U, W1, sizes = split_circular(merged.W1 * merged.output_sizes(), architecture.circular_shape)
    W2 = np.sign(merged.W2) * sizes[:, None]
    kind = (architecture.circular_shape, architecture.activation, merged.gates, architecture.output_penalty)
    return CircularNetwork(U, W1, W2, intercept, *kind)
