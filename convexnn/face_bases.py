"""Orthonormal bases of the faces of cones that projections lie in: compiled kernels.

A face is the null space of the tight rows. Its basis is made by Householder's reflections of the projection and the
tight rows: what they leave of the unit vectors is orthogonal to all of them.

References
----------
G. H. Golub and C. F. Van Loan (2013), Matrix Computations, section 5.2. Johns Hopkins University Press.
"""

import numpy as np
from numba import njit, prange

from .projection import dot, subtract, threads_for

__all__ = ["compile_bases", "face_bases"]


def face_bases(columns, P, tight):
    """Return orthonormal bases of the null spaces of tight rows, each with P_b / |P_b| as its first vector.

    Parameters
    ----------
    columns : ndarray of shape (n_features, n_samples)
        Unit rows.
    P : ndarray of shape (n_selected, n_features)
        Vectors that are not zero, orthogonal to their tight rows.
    tight : int32 array of shape (n_selected, n_features)
        Independent rows, filled up with -1.

    Returns
    -------
    T : ndarray of shape (n_features, n_columns)
        The bases side by side.
    offsets : integer array of shape (n_selected + 1,)
        The basis of row j is T[:, offsets[j] : offsets[j + 1]].
    """
    offsets = np.concatenate([[0], np.cumsum(P.shape[1] - (tight >= 0).sum(axis=1))])
    T = np.empty((P.shape[1], offsets[-1]))
    with threads_for(P.size * P.shape[1] ** 2):
        _write_bases(columns, P, tight, offsets, T)
    return T, offsets


def compile_bases():
    """Compile the kernel, or load it where it was compiled before, unless this process has it."""
    if not _write_bases.signatures:
        face_bases(np.ones((1, 1)), np.ones((1, 1)), np.full((1, 1), -1, np.int32))


@njit(cache=True, parallel=True)
def _write_bases(columns, P, tight, offsets, T):
    """Write, for each row of P, an orthonormal basis of its face, first P_b / |P_b|, to columns of T."""
    for b in prange(len(P)):
        d = P.shape[1]
        m = d - (offsets[b + 1] - offsets[b])
        Q = np.empty((d, d))
        length = np.sqrt(dot(P[b], P[b]))
        for i in range(d):
            Q[0, i] = P[b, i] / length
        for q in range(m):
            for i in range(d):
                Q[q + 1, i] = columns[i, tight[b, q]]
        _complete(Q, m + 1)
        for i in range(d):
            T[i, offsets[b]] = P[b, i] / length
            for q in range(m + 1, d):
                T[i, offsets[b] + q - m] = Q[q, i]


@njit(cache=True)
def _complete(Q, m):
    """Write to the rows of Q after the first m an orthonormal basis of the complement of the first m (Householder)."""
    d = len(Q)
    reflectors = np.zeros((m, d))
    for q in range(m):
        for p in range(q):
            subtract(Q[q], 2.0 * dot(reflectors[p], Q[q]), reflectors[p])
        v = reflectors[q]
        v[q:] = Q[q, q:]
        size = np.sqrt(dot(v, v))
        v[q] += size if v[q] >= 0.0 else -size
        size = np.sqrt(dot(v, v))
        if size > 0.0:
            for i in range(d):
                v[i] /= size
    for q in range(m, d):
        Q[q] = 0.0
        Q[q, q] = 1.0
        for p in range(m - 1, -1, -1):
            subtract(Q[q], 2.0 * dot(reflectors[p], Q[q]), reflectors[p])
