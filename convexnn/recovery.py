"""Recovery of networks from the blocks of a convex program.

A block u with sign s is the neuron w = u / sqrt|u|, a = s sqrt|u|: then act(x.w) a = s act(x.u), and its weight decay
1/2 (|w|^2 + a^2) is |u|, for any norm. In a free hidden bias |u| counts w alone, and a block with w = 0 is a constant
on the data, which is part of the output bias.

References
----------
M. Pilanci and T. Ergen (2020), Neural networks are convex regularizers, theorem 1. ICML.
"""

import numpy as np

from .conv_network import ConvNetwork
from .network import Network, merge_parallel

__all__ = ["recover"]


def recover(solution):
    """Turn the blocks of a solution into the weights of a network.

    w = u / sqrt|u| and a = s sqrt|u| for a block u of sign s; zero blocks give no neuron; parallel neurons of the same
    sign are merged. On the data the network predicts the fit of the program, and its objective is that of the program.

    Parameters
    ----------
    solution : Solution
        A feasible point of a program.

    Returns
    -------
    Network or ConvNetwork
        One neuron for each nonzero block that is left after merging.
    """
    program, architecture = solution.program, solution.program.architecture
    blocks, outputs = np.nonzero(np.any(solution.W != 0, axis=1))
    sizes = program.penalty.block_norms(_charged(program, solution.W))[blocks, outputs]
    constant = _constants(program, solution.W, blocks[sizes == 0], outputs[sizes == 0])
    blocks, outputs, sizes = blocks[sizes > 0], outputs[sizes > 0], sizes[sizes > 0]
    U, signs = solution.W[blocks, :, outputs].T, program.design.sign(blocks)
    roots = np.sqrt(sizes)
    index = program.design.pattern_index(blocks)
    W2 = np.zeros((len(blocks), solution.W.shape[2]))
    gates = None
    if architecture.activation == "threshold":
        W2[np.arange(len(blocks)), outputs] = signs * U[0]
        weights = program.hidden.weights(program.design.arrangements.gates[index].T)
    else:
        W2[np.arange(len(blocks)), outputs] = signs * roots
        weights = program.hidden.weights(U / roots)
    if architecture.activation == "gated_relu":
        gates = np.vstack(program.hidden.weights(program.design.arrangements.gates[index].T))
    n_features = len(program.free.T) - architecture.fit_intercept if architecture.skip else 0
    intercept, skip = architecture.split_free(solution.beta, n_features)
    intercept = intercept + constant
    if architecture.patches is not None:
        return _convolutional(program, weights, W2, intercept, gates)
    network = Network(
        *weights,
        W2,
        intercept,
        architecture.activation,
        skip,
        architecture.hidden_bias,
        gates,
        architecture.negative_slope,
        architecture.hidden_norm,
        architecture.output_penalty,
    )
    return merge_parallel(network)


def _charged(program, W):
    return W[:, :-1] if program.architecture.hidden_bias == "free" else W


def _constants(program, W, blocks, outputs):
    """Return what blocks with a free bias alone add to each output."""
    constant = np.zeros(W.shape[2])
    for b, c in zip(blocks, outputs, strict=True):
        constant[c] += program.design.matvec(W[[b]], np.array([b]))[0, c]
    return constant


def _convolutional(program, weights, W2, intercept, gates):
    architecture = program.architecture
    return ConvNetwork(
        *weights, W2, intercept, architecture.patches, architecture.activation, architecture.slope, gates
    )
