"""Descent in neuron space: L-BFGS on the network's own objective, the warm start of generation.

    L(sum_j a_j (X w_j)_+ + Q b) + alpha/2 sum_j (|w_j|^2 + a_j^2)

It crosses many walls a step and ends within a percent or so of the optimum, where it stalls: optimal neurons lie on
walls, at which the objective has kinks. Convex programs go on from there.
"""

from contextlib import suppress

import numpy as np
from scipy.optimize import minimize
from sklearn.utils import gen_batches

from ..threads import map_batches

__all__ = ["descend"]

# Samples times neurons of a batch.
BATCH_ENTRIES = 1_000_000

# Corrections kept by L-BFGS.
MEMORY = 10


class _Stopped(Exception):
    """The observer wants to stop."""


def descend(program, U, signs, beta, max_iter, ftol, observe):
    """Move neurons downhill.

    Parameters
    ----------
    program : Program
        Gives data, loss, alpha and the free columns (their orthonormal basis is used); its patterns are not used.
    U : ndarray of shape (n_neurons, n_features)
        Neurons as blocks, w |a|, not zero.
    signs : ndarray of shape (n_neurons,)
        Their output signs.
    beta : ndarray of shape (n_free, 1)
        Coefficients of the basis of the free columns.
    max_iter : int
        Iterations of L-BFGS.
    ftol : float
        Relative decrease of the objective in an iteration at which the descent ends.
    observe : callable
        Called without arguments after every iteration; a true value ends the descent.

    Returns
    -------
    U, signs, beta
        The neurons and coefficients reached; neurons may have changed their sign or died.
    """
    X, Y, loss, alpha, basis = program.design.X, program.Y, program.loss, program.alpha, program.free_basis[0]
    m, d = U.shape
    roots = np.sqrt(np.linalg.norm(U, axis=1))
    last = np.concatenate([(U / roots[:, None]).ravel(), signs * roots, beta.ravel()])
    batches = list(gen_batches(len(X), max(1, BATCH_ENTRIES // m)))

    def split(p):
        return p[: m * d].reshape(m, d), p[m * d : m * (d + 1)], p[m * (d + 1) :]

    def objective(p):
        W, a, b = split(p)

        def part(batch):
            hidden = X[batch] @ W.T
            mask = hidden > 0
            hidden *= mask
            Z = (hidden @ a + basis[batch] @ b)[:, None]
            slope = loss.grad(Y[batch], Z)
            gradient = ((mask * slope).T @ X[batch]) * a[:, None], hidden.T @ slope[:, 0], basis[batch].T @ slope[:, 0]
            return loss.value(Y[batch], Z), np.concatenate([part.ravel() for part in gradient])

        value, gradient = (sum(parts) for parts in zip(*map_batches(part, batches), strict=True))
        decayed = p[: m * (d + 1)]
        gradient[: m * (d + 1)] += alpha * decayed
        return value + 0.5 * alpha * (decayed @ decayed), gradient

    def after(p):
        last[:] = p
        if observe():
            raise _Stopped

    options = {"maxiter": max_iter, "maxcor": MEMORY, "maxfun": 3 * max_iter, "ftol": ftol, "gtol": 0.0}
    with suppress(_Stopped):
        last[:] = minimize(objective, last, jac=True, method="L-BFGS-B", callback=after, options=options).x
    W, a, b = split(last)
    return W * np.abs(a)[:, None], np.sign(a), b[:, None].copy()
