"""Descent in neuron space: L-BFGS on the network's own objective, the warm start of generation.

    L(sum_j a_j act(X w_j) e_j' + Q b) + alpha/2 sum_j (|w_j|^2 + a_j^2)

for the output e_j of each neuron, or (`descend_factors`) with output weights A_j in place of a_j e_j; losses with kinks
are smoothed. It crosses many walls a step and ends within a percent or so of the optimum, where it stalls: optimal
neurons lie on walls, at which the objective has kinks. Convex programs go on from there.
"""

from contextlib import suppress

import numpy as np
from scipy.optimize import minimize
from sklearn.utils import gen_batches

from ..utils.deadline import is_up
from ..utils.threads import map_batches

__all__ = ["SMOOTHING", "descend", "descend_factors"]

# Samples times neurons of a batch: few enough for its activations to stay in the cache.
BATCH_ENTRIES = 100_000

# Corrections kept by L-BFGS.
MEMORY = 10
# Width of the smoothing of losses with kinks, relative to the mean of |Y|.
SMOOTHING = 0.05


class _Stopped(Exception):
    """Raised in an objective or a callback to leave L-BFGS: the observer wants to stop, or the time is up."""


def descend(program, U, signs, outputs, beta, *, max_iter, ftol, observe, dtype=np.float64, smoothing=SMOOTHING):
    """Move neurons downhill by L-BFGS; return U, signs, outputs and beta.

    U holds blocks w |a| (n_neurons, n_features), not zero at first; neurons may change their sign, or end at zero. The
    patterns of `program` are not used. The descent ends at a relative decrease of `ftol`, or when `observe()`, called
    after every iteration, is true. `dtype` is that of activations and products with them, `smoothing` the width for
    losses with kinks, relative to the mean of |Y|.
    """
    design, Y, alpha, basis = program.design, program.Y, program.alpha, program.free_basis[0]
    slope, (m, d), n_outputs = design.slope, U.shape, Y.shape[1]
    units = np.ones(d) if design.units is None else design.units  # W is in these, for the curvature to be alike
    X = np.asarray(design.X * units, dtype=dtype)
    maximum = program.selects
    loss = program.loss.smoothed(Y, np.zeros_like(Y), smoothing * (np.abs(Y).mean() or 1.0))
    roots = np.sqrt(np.linalg.norm(U, axis=1))
    last = np.concatenate([(U / units / roots[:, None]).ravel(), signs * roots, beta.ravel()])
    decay = np.concatenate([np.tile(units**2, m), np.ones(m)])
    step = max(1, BATCH_ENTRIES // (m * design.n_patches))
    batches = [(batch, loss.select(batch)) for batch in gen_batches(len(Y), step)]
    own = outputs == np.arange(n_outputs)[:, None]  # (n_outputs, n_neurons)

    def split(p):
        return p[: m * d].reshape(m, d), p[m * d : m * (d + 1)], p[m * (d + 1) :].reshape(-1, n_outputs)

    def objective(p):
        if is_up():
            raise _Stopped
        W, a, b = split(p)
        A = own * a
        columns, outgoing = W.T.astype(dtype, copy=False), A.astype(dtype, copy=False)

        def part(batch):
            samples, loss = batch
            rows = X[samples.start * design.n_patches : samples.stop * design.n_patches]
            T = rows @ columns
            activity = _activate(T, slope, design.n_patches if maximum else 0)
            hidden = T.reshape(-1, design.n_patches, m).sum(axis=1) if design.n_patches > 1 else T
            Z = hidden @ outgoing.T + basis[samples] @ b
            slopes = loss.grad(Y[samples], Z)
            single = slopes.astype(dtype, copy=False)
            back = single @ outgoing
            back = np.repeat(back, design.n_patches, axis=0) if design.n_patches > 1 else back
            back *= activity
            both = np.sum(own * (single.T @ hidden), axis=0)
            gradient = back.T @ rows, both, basis[samples].T @ slopes
            return loss.value(Y[samples], Z), np.concatenate([part.ravel() for part in gradient], dtype=np.float64)

        value, gradient = (sum(parts) for parts in zip(*map_batches(part, batches), strict=True))
        decayed = p[: m * (d + 1)]
        gradient[: m * (d + 1)] += alpha * decay * decayed
        return value + 0.5 * alpha * (decay @ decayed**2), gradient

    def after(p):
        last[:] = p
        if observe():
            raise _Stopped

    options = {"maxiter": max_iter, "maxcor": MEMORY, "maxfun": 3 * max_iter, "ftol": ftol, "gtol": 0.0}
    with suppress(_Stopped):
        last[:] = minimize(objective, last, jac=True, method="L-BFGS-B", callback=after, options=options).x
    W, a, b = split(last)
    return W * units * np.abs(a)[:, None], np.sign(a), outputs, b.copy()


def descend_factors(program, U, A, beta, *, max_iter, ftol, observe, dtype=np.float64, smoothing=SMOOTHING):
    """Move neurons with hidden weights U and output weights A (n_neurons, n_outputs) downhill; return U, A and beta.

    The options are those of `descend`.
    """
    design, Y, alpha, basis = program.design, program.Y, program.alpha, program.free_basis[0]
    loss = program.loss.smoothed(Y, np.zeros_like(Y), smoothing * (np.abs(Y).mean() or 1.0))
    units = np.ones(U.shape[1]) if design.units is None else design.units  # U is in these
    last = np.concatenate([(U / units).ravel(), A.ravel(), beta.ravel()])
    X = np.asarray(design.X * units, dtype=dtype)
    ends = [U.size, U.size + A.size]
    decay = np.concatenate([np.tile(units**2, len(U)), np.ones(A.size)])

    def split(p):
        parts = np.split(p, ends)
        return parts[0].reshape(U.shape), parts[1].reshape(A.shape), parts[2].reshape(beta.shape)

    def objective(p):
        if is_up():
            raise _Stopped
        U, A, b = split(p)
        A = A.astype(dtype, copy=False)
        T = X @ U.T.astype(dtype, copy=False)
        activity = _activate(T, design.slope)
        hidden = design.pool(T)
        Z = hidden @ A + basis @ b
        slopes = loss.grad(Y, Z)
        single = slopes.astype(dtype, copy=False)
        back = design.spread(single @ A.T)
        back *= activity
        parts = back.T @ X, hidden.T @ single, basis.T @ slopes
        gradient = np.concatenate([part.ravel() for part in parts], dtype=np.float64)
        decayed = p[: ends[1]]
        gradient[: ends[1]] += alpha * decay * decayed
        return loss.value(Y, Z) + 0.5 * alpha * (decay @ decayed**2), gradient

    def after(p):
        last[:] = p
        if observe():
            raise _Stopped

    options = {"maxiter": max_iter, "maxcor": MEMORY, "maxfun": 3 * max_iter, "ftol": ftol, "gtol": 0.0}
    with suppress(_Stopped):
        last[:] = minimize(objective, last, jac=True, method="L-BFGS-B", callback=after, options=options).x
    U, A, beta = split(last)
    return U * units, A, beta


def _activate(T, slope, pooled=0):
    """Apply the activation to T in place, and return its derivative; `pooled` patches of a sample compete for it."""
    if pooled:
        activity = _largest(T, pooled)
        T *= activity
        return activity
    if slope == 0.0:
        np.maximum(T, 0.0, out=T)
        return T > 0
    activity = np.where(T > 0, T.dtype.type(1.0), T.dtype.type(slope))
    T *= activity
    return activity


def _largest(T, n_patches):
    """Return 1 where a patch is the first of the largest of its sample and positive, and 0 elsewhere."""
    T = T.reshape(-1, n_patches, T.shape[1])
    at, activity = T.argmax(axis=1)[:, None], np.zeros_like(T)
    np.put_along_axis(activity, at, np.take_along_axis(T, at, axis=1) > 0, axis=1)
    return activity.reshape(-1, T.shape[2])
