"""Networks that are only scored, in cross-validation: descent in neuron space, without a bound.

L-BFGS ends a percent or so above the optimum, some percent at small alpha, and five or ten where the loss has kinks
(`descent`), in a small part of the time that generation takes at small alpha. From one alpha to the next neurons are
kept, and random ones join them.
"""

import numpy as np
from sklearn.utils import check_random_state

from ..geometry.arrangements import Arrangements, pattern_bits, unique_bits
from ..model.design import DirectedDesign
from ..model.reduction import Reduction
from ..model.summary import Status
from .descent import SMOOTHING, descend, descend_factors
from .monitor import check_blocks, run_watched
from .vector_generation import over_neurons

__all__ = ["solve_uncertified"]

# Random neurons of the first network, and those that join at every further alpha, for each output that has its own.
FIRST_NEURONS, NEW_NEURONS = 60, 15
# Iterations of L-BFGS from random neurons, and from a solution; the decrease at which it ends, as a part of tol.
FIRST_STEPS, STEPS, DECREASE_PART = 200, 100, 1e-5
# Neurons shorter than this part of the longest are left out; the length of random ones among trained ones.
NEGLIGIBLE, NEW_LENGTH = 1e-4, 1e-2
# The last smoothing of losses with kinks.
LAST_SMOOTHING = 0.01


def solve_uncertified(program, *, W_init=None, tol=1e-2, max_iter=None, time_limit=None, verbose=0, random_state=None):
    """Train a network by descent alone; return a Solution over the patterns of its neurons, whose gap is not known.

    The patterns of `program` matter for W_init only. Descent ends at a relative decrease of a small part of `tol`, or
    after `max_iter` iterations (None: 200, or 100 from W_init). The bound is 0 and a ConvergenceWarning is given,
    unless the zero network is proved optimal before.
    """
    W_init, rng = check_blocks(program, W_init), check_random_state(random_state)
    descend_from = _descend_coupled if program.coupled else _descend_apart

    def iterate(monitor):
        reduction = Reduction.of(program, monitor.beta, tol=tol)
        limits = {
            "max_iter": max_iter or (STEPS if W_init.any() else FIRST_STEPS),
            "ftol": DECREASE_PART * tol,
            "observe": monitor.over,
        }
        limits["dtype"] = np.float32
        shown, W, fit = descend_from(program, reduction, W_init, rng, limits)
        problem = reduction.program
        W, beta = reduction.invert(W, problem.loss.fit_free(problem.Y, problem.free_basis[0], fit))
        monitor.offer(W, np.flatnonzero(np.ones(len(W))), beta, shown)
        monitor.status = monitor.status or Status.UNCERTIFIED
        monitor.record(len(W))

    limits = {"max_iter": None, "time_limit": time_limit, "callback": None}
    return run_watched(iterate, program, tol=tol, verbose=verbose, scope="local", **limits)


def _descend_apart(whole, reduction, W_init, rng, limits):
    """Return a program with a block for each neuron of one output, the blocks, and what they predict, reduction."""
    program, design = reduction.program, whole.design
    blocks, outputs = np.nonzero(W_init.any(axis=1))
    U, signs = reduction.apply(W_init)[blocks, :, outputs], design.sign(blocks)
    units = np.ones(U.shape[1]) if program.design.units is None else program.design.units
    m, length = _joining(U, whole.Y.shape[1])
    new = rng.standard_normal((m, U.shape[1])) * units
    U = np.concatenate([U, length * new / np.linalg.norm(new, axis=1, keepdims=True)])
    signs = np.concatenate([signs, rng.choice([-1.0, 1.0], m)])
    outputs = np.concatenate([outputs, np.arange(m) % whole.Y.shape[1]])
    beta = program.loss.fit_free(program.Y, program.free_basis[0])
    for width in _widths(program.loss):
        U, signs, outputs, beta = descend(program, U, signs, outputs, beta, **limits, smoothing=width)
        alive = U.any(axis=1)
        U, signs, outputs = U[alive], signs[alive], outputs[alive]
    sizes = np.linalg.norm(U, axis=1)
    kept = sizes > NEGLIGIBLE * sizes.max(initial=0.0)
    U, signs, outputs = U[kept], signs[kept], outputs[kept]
    X = program.design.X
    bits, _, index = unique_bits(pattern_bits(X, U))
    over = Arrangements(bits, np.zeros((len(bits), 0)), len(X))
    W = np.zeros((len(bits) * len(design.signs), U.shape[1], whole.Y.shape[1]))
    np.add.at(W, (index + len(bits) * (signs < 0), slice(None), outputs), U)
    return whole.over(over), W, program.design.over(over).matvec(W)


def _descend_coupled(whole, reduction, W_init, rng, limits):
    """As `_descend_apart`, for neurons with several output weights."""
    program, (n_outputs, d) = reduction.program, (whole.Y.shape[1], reduction.program.design.X.shape[1])
    U, A = np.zeros((0, d)), np.zeros((0, n_outputs))
    if isinstance(whole.design, DirectedDesign):
        W = reduction.apply(W_init)[:, :, 0]
        roots = np.sqrt(np.linalg.norm(W, axis=1, keepdims=True))
        U, A = W / roots, whole.design.directions * roots
    m, length = _joining(U, 1)
    units = np.ones(d) if program.design.units is None else program.design.units
    new = [rng.standard_normal((m, len(scale))) * scale for scale in (units, np.ones(n_outputs))]
    new = [np.sqrt(length) * part / np.linalg.norm(part, axis=1, keepdims=True) for part in new]
    beta = program.loss.fit_free(program.Y, program.free_basis[0])
    U, A = np.vstack([U, new[0]]), np.vstack([A, new[1]])
    for width in _widths(program.loss):
        U, A, beta = descend_factors(program, U, A, beta, **limits, smoothing=width)
    lengths = np.linalg.norm(A, axis=1)
    sizes = np.linalg.norm(U, axis=1) * lengths
    kept = sizes > NEGLIGIBLE * sizes.max(initial=0.0)
    W, directions = (U * lengths[:, None])[kept, :, None], A[kept] / lengths[kept, None]
    cells = U[kept] @ program.design.X.T >= 0, directions, np.zeros((len(W), 0))
    return over_neurons(whole, *cells), W, over_neurons(program, *cells).design.matvec(W)


def _widths(loss):
    """Return the smoothings of the kinks of a loss, one after the other."""
    return (SMOOTHING,) if loss.smooth else (SMOOTHING, LAST_SMOOTHING)


def _joining(U, n_groups):
    """Return how many random neurons join those at hand, for each output that has its own, and their length."""
    if not len(U):
        return FIRST_NEURONS * n_groups, 0.25
    return NEW_NEURONS * n_groups, NEW_LENGTH * np.linalg.norm(U, axis=1).max()
