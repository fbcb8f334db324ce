"""Networks that are only scored, in cross-validation: descent in neuron space, without a bound.

L-BFGS ends a percent or so above the optimum, some percent at small alpha, and five or ten where the loss is not smooth
(`descent`), in a small fraction of the time that generation takes at small alpha. From one alpha to the next neurons
are kept, and random ones join them.
"""

import numpy as np
from sklearn.utils import check_random_state

from ..geometry.arrangements import Arrangements, pattern_bits, unique_bits
from ..model.design import DirectedDesign
from ..model.reduction import Reduction
from ..model.summary import Status
from .descent import SMOOTHING, descend_factors
from .monitor import check_blocks, run_watched
from .vector_generation import over_neurons

__all__ = ["solve_uncertified"]

# Random neurons of the first network, and those that join at every further alpha, for each output that has its own.
FIRST_NEURONS, NEW_NEURONS = 60, 15
# Iterations of L-BFGS from random neurons, and from a solution; the decrease at which it ends, as a part of tol.
FIRST_STEPS, STEPS, DECREASE_FRACTION = 200, 100, 1e-5
# Neurons shorter than this fraction of the longest are left out; the length of random ones among trained ones.
NEGLIGIBLE, NEW_LENGTH = 1e-4, 1e-2
# The last smoothing of non-smooth losses.
LAST_SMOOTHING = 0.01


def solve_uncertified(program, *, W_init=None, tol=1e-2, max_iter=None, time_limit=None, verbose=0, random_state=None):
    """Train a network by descent alone; return a Solution over the patterns of its neurons, whose gap is not known.

    The patterns of `program` matter for W_init only. Descent ends at a relative decrease of a small part of `tol`, or
    after `max_iter` iterations (None: 200, or 100 from W_init). The bound is 0 and a ConvergenceWarning is given,
    unless the zero network is proved optimal before.
    """
    W_init, rng = check_blocks(program, W_init), check_random_state(random_state)

    def iterate(monitor):
        reduction = Reduction.of(program, monitor.beta, tol=tol)
        problem = reduction.program
        U, A, own = _start(program, problem, reduction.apply(W_init), rng)
        beta = problem.loss.fit_free(problem.Y, problem.free_basis[0])
        limits = {"max_iter": max_iter or (STEPS if W_init.any() else FIRST_STEPS), "ftol": DECREASE_FRACTION * tol}
        for width in (SMOOTHING,) if problem.loss.smooth else (SMOOTHING, LAST_SMOOTHING):
            U, A, beta = descend_factors(
                problem, U, A, beta, own=own, **limits, observe=monitor.over, dtype=np.float32, smoothing=width
            )
        sizes = np.linalg.norm(U, axis=1) * np.linalg.norm(A, axis=1)
        kept = sizes > NEGLIGIBLE * sizes.max(initial=0.0)
        shown, W, fit = (_by_directions if own is None else _by_outputs)(program, problem, U[kept], A[kept])
        W, beta = reduction.invert(W, problem.loss.fit_free(problem.Y, problem.free_basis[0], fit))
        monitor.offer(W, np.arange(len(W)), beta, shown)
        monitor.status = monitor.status or Status.UNCERTIFIED
        monitor.record(len(W))

    limits = {"max_iter": None, "time_limit": time_limit, "callback": None}
    return run_watched(iterate, program, tol=tol, verbose=verbose, scope="local", **limits)


def _start(whole, program, W, rng):
    """Return U, A and `own` of `descend_factors`: the neurons of W and random ones; None where outputs share them."""
    n_outputs, d = whole.Y.shape[1], program.design.X.shape[1]
    units = np.ones(d) if program.design.units is None else program.design.units
    if not whole.shares_neurons:
        blocks, outputs = np.nonzero(W.any(axis=1))
        U, A = W[blocks, :, outputs], np.eye(n_outputs)[outputs] * whole.design.sign(blocks)[:, None]
    elif isinstance(whole.design, DirectedDesign):
        U, A = W[:, :, 0], whole.design.directions
    else:
        U, A = np.zeros((0, d)), np.zeros((0, n_outputs))
    lengths = np.linalg.norm(U, axis=1, keepdims=True)
    m, length = (NEW_NEURONS, NEW_LENGTH * lengths.max()) if len(U) else (FIRST_NEURONS, 0.25)
    m *= 1 if whole.shares_neurons else n_outputs
    new = rng.standard_normal((m, d)) * units
    if whole.shares_neurons:
        own, weights = None, rng.standard_normal((m, n_outputs))
        weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    else:
        weights = np.eye(n_outputs)[np.arange(m) % n_outputs] * rng.choice([-1.0, 1.0], m)[:, None]
        own = np.abs(np.vstack([A, weights]))
    new *= np.sqrt(length) / np.linalg.norm(new, axis=1, keepdims=True)
    roots = np.sqrt(lengths)
    return np.vstack([U / roots, new]), np.vstack([A * roots, np.sqrt(length) * weights]), own


def _by_outputs(whole, program, U, A):
    """Return a program with a block for each neuron of one output, the blocks, and what they predict."""
    outputs = np.abs(A).argmax(axis=1)
    a, X = A[np.arange(len(A)), outputs], program.design.X
    bits, _, index = unique_bits(pattern_bits(X, U))
    over = Arrangements(bits, np.zeros((len(bits), 0)), len(X))
    W = np.zeros((len(bits) * len(whole.design.signs), U.shape[1], A.shape[1]))
    np.add.at(W, (index + len(bits) * (a < 0), slice(None), outputs), U * np.abs(a)[:, None])
    return whole.over(over), W, program.design.over(over).matvec(W)


def _by_directions(whole, program, U, A):
    """As `_by_outputs`, for neurons with several output weights."""
    lengths = np.linalg.norm(A, axis=1, keepdims=True)
    cells = U @ program.design.X.T >= 0, A / lengths, np.zeros((len(U), 0))
    W = (U * lengths)[:, :, None]
    return over_neurons(whole, *cells), W, over_neurons(program, *cells).design.matvec(W)
