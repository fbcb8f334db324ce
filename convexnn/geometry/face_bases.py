"""Orthonormal bases of the faces of cones that projections lie in: compiled kernels.

A face is the null space of the tight rows. Its basis is made by Householder's reflections of the projection and the
tight rows: what they leave of the unit vectors is orthogonal to all of them.

References
----------
G. H. Golub and C. F. Van Loan (2013), Matrix Computations, section 5.2. Johns Hopkins University Press.
"""

import numpy as np

from ..utils.kernels import kernel
from ..utils.threads import share_out
from .projection import dot, subtract

__all__ = ["face_bases"]


def face_bases(columns, P, tight):
    """Return orthonormal bases T of the null spaces of tight rows, P_b / |P_b| the first vector of each, and offsets.

    Rows of P (n_selected, n_features) are not zero and are orthogonal to their tight rows: `tight`, int32 of the shape
    of P, holds independent ones, filled up with -1. `columns` (n_features, n_samples) are unit rows. The bases are side
    by side in T (n_features, n_columns), that of row j in T[:, offsets[j] : offsets[j + 1]].
    """
    offsets = np.concatenate([[0], np.cumsum(P.shape[1] - (tight >= 0).sum(axis=1))])
    T = np.empty((P.shape[1], offsets[-1]))

    def part(batch):
        _write_bases(columns, P[batch], tight[batch], offsets[batch.start : batch.stop + 1], T)

    share_out(part, len(P), P.shape[1] ** 3)
    return T, offsets


@kernel(nogil=True)
def _write_bases(columns, P, tight, offsets, T):
    """Write, for each row of P, an orthonormal basis of its face, first P_b / |P_b|, to columns of T."""
    d = P.shape[1]
    Q, reflectors = np.empty((d, d)), np.empty((d, d))
    for b in range(len(P)):
        m = d - (offsets[b + 1] - offsets[b])
        length = np.sqrt(dot(P[b], P[b]))
        for i in range(d):
            Q[0, i] = P[b, i] / length
        for q in range(m):
            for i in range(d):
                Q[q + 1, i] = columns[i, tight[b, q]]
        _complete(Q, m + 1, reflectors)
        for i in range(d):
            T[i, offsets[b]] = P[b, i] / length
            for q in range(m + 1, d):
                T[i, offsets[b] + q - m] = Q[q, i]


@kernel(inline="always")
def _complete(Q, m, reflectors):
    """Write to the rows of Q after the first m an orthonormal basis of the complement of the first m (Householder)."""
    d = len(Q)
    for q in range(m):
        for p in range(q):
            subtract(Q[q], 2.0 * dot(reflectors[p], Q[q]), reflectors[p])
        v = reflectors[q]
        for i in range(d):
            v[i] = Q[q, i] if i >= q else 0.0
        size = np.sqrt(dot(v, v))
        v[q] += size if v[q] >= 0.0 else -size
        size = np.sqrt(dot(v, v))
        if size > 0.0:
            for i in range(d):
                v[i] /= size
    for q in range(m, d):
        for i in range(d):
            Q[q, i] = 1.0 if i == q else 0.0
        for p in range(m - 1, -1, -1):
            subtract(Q[q], 2.0 * dot(reflectors[p], Q[q]), reflectors[p])
