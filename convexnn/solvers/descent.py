"""Descent in neuron space: the network's own objective, and L-BFGS on it, the warm start of generation.

    F(W, A, b) = L(S act(X W') A + C b) + alpha/2 (|W|^2 + |A|^2)

for hidden weights W, output weights A and coefficients b of the free columns C; non-smooth losses are smoothed. Descent
crosses many walls a step and ends within a percent or so of the optimum, where it stalls: optimal neurons lie on walls,
at which the objective has kinks. Convex programs go on from there.
"""

from contextlib import suppress
from copy import copy

import numpy as np
from scipy.optimize import minimize
from sklearn.utils import gen_batches

from ..utils.deadline import is_up
from ..utils.threads import map_batches

__all__ = ["SMOOTHING", "Objective", "descend", "descend_factors", "smoothed"]

# Samples times neurons of a batch: few enough for its activations to stay in the cache.
BATCH_ENTRIES = 100_000
# Width of the smoothing of non-smooth losses, relative to the mean of |Y|.
SMOOTHING = 0.05


class Objective:
    """F and its gradient at theta = (W, A, b) in one vector.

    `X` (n_rows, n_features) has `n_patches` rows a sample, over which activations are summed, or the largest is taken
    where `maximum`; `free` (n_samples, n_free), `Y` (n_samples, n_outputs). W (n_neurons, n_features) is in `units`
    (n_features,) of the coordinates. `own` (n_neurons, n_outputs) has ones where there are output weights; None is all.
    `gates` (n_samples, n_neurons) says which neurons are on, for gated networks.
    """

    def __init__(
        self,
        X,
        free,
        Y,
        loss,
        alpha,
        n_neurons,
        *,
        slope=0.0,
        n_patches=1,
        maximum=False,
        units=None,
        own=None,
        gates=None,
        dtype=np.float64,
    ):
        self.X = np.asarray(X if units is None else X * units, dtype=dtype)
        self.free, self.Y, self.loss, self.alpha, self.n_neurons = free, Y, loss, alpha, n_neurons
        self.slope, self.n_patches, self.maximum = slope, n_patches, maximum
        self.own, self.gates, self.dtype = own, gates, dtype
        self.n_weights, self.decay = n_neurons * (X.shape[1] + Y.shape[1]), 1.0
        if units is not None:
            self.decay = np.concatenate([np.tile(units**2, n_neurons), np.ones(n_neurons * Y.shape[1])])

    def pack(self, W, A, b):
        """Return theta."""
        return np.concatenate([W.ravel(), A.ravel(), b.ravel()])

    def unpack(self, theta):
        """Return views W, A and b of theta."""
        m, n_outputs = self.n_neurons, self.Y.shape[1]
        end = m * self.X.shape[1]
        W, A, b = theta[:end], theta[end : self.n_weights], theta[self.n_weights :]
        return W.reshape(m, -1), A.reshape(m, n_outputs), b.reshape(-1, n_outputs)

    def select(self, samples):
        """Return the objective of some samples, with their fraction of the weight decay."""
        other = copy(self)
        other.free, other.Y, other.loss = self.free[samples], self.Y[samples], self.loss.select(samples)
        other.X = self.X.reshape(len(self.Y), self.n_patches, -1)[samples].reshape(-1, self.X.shape[1])
        other.gates = None if self.gates is None else self.gates[samples]
        other.alpha = self.alpha * len(other.Y) / len(self.Y)
        return other

    def __call__(self, theta):
        """Return F and its gradient at theta, samples in batches on all processors."""
        step = max(1, BATCH_ENTRIES // max(1, self.n_neurons * self.n_patches))
        if step >= len(self.Y):
            value, gradient = self._of_loss(theta)
        else:
            parts = map_batches(lambda batch: self.select(batch)._of_loss(theta), list(gen_batches(len(self.Y), step)))
            value, gradient = (sum(part) for part in zip(*parts, strict=True))
        of_decay = self._add_decay(theta, gradient)
        return value + 0.5 * (of_decay @ theta[: self.n_weights]), gradient

    def gradient(self, theta):
        """Return the gradient alone, all samples at once."""
        gradient = self._of_loss(theta, valued=False)[1]
        self._add_decay(theta, gradient)
        return gradient

    def _add_decay(self, theta, gradient):
        """Add the gradient of the weight decay, and return it."""
        of_decay = self.alpha * self.decay * theta[: self.n_weights]
        gradient[: self.n_weights] += of_decay
        return of_decay

    def _of_loss(self, theta, valued=True):
        """Return the loss, where it is asked for, and its gradient."""
        W, A, b = self.unpack(theta)
        A = A.astype(self.dtype, copy=False)
        T = self.X @ W.T.astype(self.dtype, copy=False)
        activity, many = self._activate(T), self.n_patches > 1
        hidden = T.reshape(-1, self.n_patches, T.shape[1]).sum(axis=1) if many else T
        Z = hidden @ A + self.free @ b
        slopes = self.loss.grad(self.Y, Z)
        single = slopes.astype(self.dtype, copy=False)
        of_A = (single.T @ hidden).T
        back = np.repeat(single @ A.T, self.n_patches, axis=0) if many else np.dot(single, A.T, out=hidden)
        back *= activity
        gradient = np.empty_like(theta)
        of_W, of_weights, of_free = self.unpack(gradient)
        np.matmul(back.T, self.X, out=of_W)
        of_weights[:] = of_A if self.own is None else self.own * of_A
        np.matmul(self.free.T, slopes, out=of_free)
        return self.loss.value(self.Y, Z) if valued else None, gradient

    def _activate(self, T):
        """Apply the activation to T in place, and return its derivative."""
        if self.maximum:
            activity = _largest(T, self.n_patches)
        elif self.gates is not None:
            activity = self.gates
        elif self.slope == 0.0:
            np.maximum(T, 0.0, out=T)
            return T > 0
        else:
            activity = np.where(T > 0, T.dtype.type(1.0), T.dtype.type(self.slope))
        T *= activity
        return activity


class _Stopped(Exception):
    """Raised in an objective or a callback to leave L-BFGS: the observer wants to stop, or the time is up."""


def descend(program, U, signs, outputs, beta, **options):
    """Move neurons of one output each downhill; return U, signs, outputs and beta.

    U holds blocks w |a| (n_neurons, n_features), not zero at first; neurons may change their sign, or end at zero. The
    options are those of `descend_factors`.
    """
    roots, rows = np.sqrt(np.linalg.norm(U, axis=1, keepdims=True)), np.arange(len(U))
    own = np.zeros((len(U), program.Y.shape[1]))
    own[rows, outputs] = 1.0
    W, A, beta = descend_factors(program, U / roots, own * (signs[:, None] * roots), beta, own=own, **options)
    a = A[rows, outputs]
    return W * np.abs(a)[:, None], np.sign(a), outputs, beta


def descend_factors(program, U, A, beta, *, max_iter, ftol, observe, own=None, dtype=np.float64, smoothing=SMOOTHING):
    """Move neurons with hidden weights U and output weights A (n_neurons, n_outputs) downhill; return U, A and beta.

    The patterns of `program` are not used, and `own` is that of Objective. L-BFGS ends at a relative decrease of
    `ftol`, or when `observe()`, called after every iteration, is true. `dtype` is that of activations and products with
    them, `smoothing` the width for non-smooth losses, relative to the mean of |Y|.
    """
    design, loss = program.design, smoothed(program, smoothing)
    network = {"slope": design.slope, "n_patches": design.n_patches, "maximum": program.selects}
    objective = Objective(
        design.X,
        program.free_basis[0],
        program.Y,
        loss,
        program.alpha,
        len(U),
        **network,
        units=design.units,
        own=own,
        dtype=dtype,
    )
    units = 1.0 if design.units is None else design.units  # U is in these, for the curvature to be alike
    last = objective.pack(U / units, A, beta)

    def timed(theta):
        if is_up():
            raise _Stopped
        return objective(theta)

    def after(theta):
        last[:] = theta
        if observe():
            raise _Stopped

    options = {"maxiter": max_iter, "maxcor": 10, "maxfun": 3 * max_iter, "ftol": ftol, "gtol": 0.0}
    with suppress(_Stopped):
        last[:] = minimize(timed, last, jac=True, method="L-BFGS-B", callback=after, options=options).x
    U, A, beta = objective.unpack(last)
    return U * units, A.copy(), beta.copy()


def smoothed(program, width=SMOOTHING):
    """Return the loss of a program, smoothed where it is not smooth, over a width relative to the mean of |Y|."""
    Y = program.Y
    return program.loss.smoothed(Y, np.zeros_like(Y), width * (np.abs(Y).mean() or 1.0))


def _largest(T, n_patches):
    """Return 1 where a patch is the first of the largest of its sample and positive, and 0 elsewhere."""
    T = T.reshape(-1, n_patches, T.shape[1])
    at, activity = T.argmax(axis=1)[:, None], np.zeros_like(T)
    np.put_along_axis(activity, at, np.take_along_axis(T, at, axis=1) > 0, axis=1)
    return activity.reshape(-1, T.shape[2])
