"""The cones of the blocks, K_b = {u : (2 D_b - I) X u >= 0}, and the Euclidean projection onto them.

With A the rows of (2 D - I) X scaled to unit length, Proj_K(g) = g + A' mu with mu >= 0 of least |g + A' mu|: a
non-negative least squares problem with at most n_features positive multipliers. It is solved by the active-set method
of Lawson and Hanson: the most violated row joins the tight ones, g is projected onto their null space through an
orthonormal basis (Gram-Schmidt, done twice), and rows whose multiplier turns negative leave on the way. Every step
shortens |g + A' mu|, so the method ends; and as mu >= 0 throughout, the length returned never falls below |Proj_K(g)|.

References
----------
C. L. Lawson and R. J. Hanson (1974), Solving Least Squares Problems, chapter 23. Prentice-Hall.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from .design import Design

__all__ = ["ArrangementCones", "FreeCones"]

# Violation of a unit row, relative to the length of the projection, that counts as rounding.
FEASIBILITY_TOL = 1e-13
# A projection shorter than this, relative to the length of what is projected, is rounding of zero.
ROUNDING = 4 * np.finfo(float).eps
# Violation beyond which a projection has failed.
ACCEPTED_TOL = 1e-10
# A row this close to the span of the tight ones is in it.
DEPENDENCE_TOL = 1e-12


@dataclass(frozen=True, eq=False)
class FreeCones:
    """No constraint: K_b is the whole space (gated networks)."""

    def project(self, U, blocks):
        """Return U."""
        return U

    def to_cvxpy(self, W, patterns):
        """Return None: there is no constraint."""
        return None


@dataclass(frozen=True, eq=False)
class ArrangementCones:
    """The cones {u : (2 D_b - I) X u >= 0} of the blocks of a design.

    Parameters
    ----------
    design : Design
        The patterns and the rows X.
    """

    design: Design

    def __post_init__(self):
        X = self.design.X
        scale = np.maximum(np.abs(X).max(axis=1, keepdims=True), np.finfo(float).tiny)
        rows = X / scale
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        object.__setattr__(self, "_unit_rows", rows / np.where(lengths > 0, lengths, 1.0))

    def project(self, U, blocks):
        """Project onto the cones.

        Parameters
        ----------
        U : ndarray of shape (n_selected, n_features, n_outputs)
            What is projected, a block a row.
        blocks : integer array of shape (n_selected,)
            The blocks that the rows belong to.

        Returns
        -------
        ndarray of the shape of U
            The projections, each output on its own. Violations are rounding.

        Raises
        ------
        RuntimeError
            If the active-set method was stopped by its limit of steps.
        """
        out = np.empty_like(U)
        patterns = self.design.arrangements.patterns(self.design.pattern_index(blocks))
        for c in range(U.shape[2]):
            out[:, :, c], finished = _project_all(self._unit_rows, patterns, np.ascontiguousarray(U[:, :, c]))
            if not finished.all():
                raise RuntimeError("a cone projection did not finish; rows of X are too close to dependent")
        return out

    def to_cvxpy(self, W, patterns):
        """Return (2 D_i - I) X w_i >= 0, one constraint for the rows w_i of a cvxpy W and D_i of `patterns`."""
        import cvxpy as cp

        return cp.multiply(2.0 * patterns.T - 1.0, self.design.X @ W.T) >= 0


@njit(cache=True, parallel=True)
def _project_all(rows, patterns, G):
    out, finished = np.empty_like(G), np.empty(len(G), np.bool_)
    for b in prange(len(G)):
        finished[b] = _project(rows, patterns[b], G[b], out[b])
    return out, finished


@njit(cache=True)
def _dot(a, b):
    t = 0.0
    for i in range(len(a)):
        t += a[i] * b[i]
    return t


@njit(cache=True)
def _subtract(a, t, b):
    """Set a to a - t b."""
    for i in range(len(a)):
        a[i] -= t * b[i]


@njit(cache=True)
def _project(rows, pattern, g, u):
    """Write the projection of g to u; return whether no row is violated."""
    n, d = rows.shape
    length = np.sqrt(_dot(g, g))
    tight, n_tight = np.empty(d, np.int64), 0
    mu, s = np.zeros(d), np.zeros(d)
    Q, R = np.empty((d, d)), np.zeros((d, d))
    barred = np.zeros(n, np.bool_)  # tight rows, and those in their span
    u[:] = g
    worst = 0.0
    for _ in range(100 + 30 * d):
        remaining = np.sqrt(_dot(u, u))
        if remaining <= ROUNDING * length:
            u[:] = 0.0
            return True
        k, worst = -1, -FEASIBILITY_TOL * remaining
        for j in range(n):
            if not barred[j]:
                t = _dot(rows[j], u) if pattern[j] else -_dot(rows[j], u)
                if t < worst:
                    k, worst = j, t
        if k < 0 or n_tight == d:
            break
        barred[k] = True
        tight[n_tight], mu[n_tight] = k, 0.0
        if not _orthonormalise(rows, pattern, tight, n_tight, n_tight + 1, Q, R):
            continue
        n_tight += 1
        while n_tight > 0:
            _multipliers(Q, R, n_tight, g, s)
            if s[:n_tight].min() > 0.0:
                break
            newest_fails = s[n_tight - 1] <= 0.0 and mu[n_tight - 1] == 0.0
            n_tight = _leave(tight, mu, s, n_tight)
            _orthonormalise(rows, pattern, tight, 0, n_tight, Q, R)
            barred[:] = False
            for q in range(n_tight):
                barred[tight[q]] = True
            barred[k] = barred[k] or newest_fails  # its violation is rounding
        mu[:n_tight] = s[:n_tight]
        u[:] = g
        for _ in range(2):
            for q in range(n_tight):
                _subtract(u, _dot(Q[q], u), Q[q])
    return worst >= -ACCEPTED_TOL * length


@njit(cache=True)
def _orthonormalise(rows, pattern, tight, first, last, Q, R):
    """Extend the orthonormal rows Q of the tight rows, a_q = sum_p R[p, q] Q_p; False if one depends on the rest."""
    for q in range(first, last):
        for i in range(rows.shape[1]):
            Q[q, i] = rows[tight[q], i] if pattern[tight[q]] else -rows[tight[q], i]
        R[: q + 1, q] = 0.0
        for _ in range(2):
            for p in range(q):
                t = _dot(Q[p], Q[q])
                R[p, q] += t
                _subtract(Q[q], t, Q[p])
        R[q, q] = np.sqrt(_dot(Q[q], Q[q]))
        if R[q, q] <= DEPENDENCE_TOL:
            return False
        for i in range(rows.shape[1]):
            Q[q, i] /= R[q, q]
    return True


@njit(cache=True)
def _multipliers(Q, R, m, g, s):
    """Solve R s = -Q g, the multipliers of least |g + A' s| on the m tight rows."""
    for q in range(m - 1, -1, -1):
        t = -_dot(Q[q], g)
        for p in range(q + 1, m):
            t -= R[q, p] * s[p]
        s[q] = t / R[q, q]


@njit(cache=True)
def _leave(tight, mu, s, m):
    """Move mu towards s until a multiplier vanishes, and drop the rows where it did; return how many stay."""
    step, drop = 1.0, -1
    for q in range(m):
        if s[q] <= 0.0:
            t = mu[q] / (mu[q] - s[q]) if mu[q] > 0.0 else 0.0
            if drop < 0 or t < step:
                step, drop = t, q
    stay = 0
    for q in range(m):
        moved = mu[q] + step * (s[q] - mu[q])
        if q != drop and moved > 0.0:
            tight[stay], mu[stay] = tight[q], moved
            stay += 1
    return stay
