"""Arithmetic without rounding: sums and products in two doubles, dependence of columns in integers."""

from math import fsum

import numpy as np
from scipy.linalg import qr

from .deadline import check

__all__ = ["are_multiples", "exact_products", "in_span", "powers_of_two", "two_products", "two_sums"]

# A multiple of the splitting constant of T. J. Dekker (1971): 27 of 53 bits.
SPLITTER = 2.0**27 + 1.0
# Entries of columns of about unit size below which a rest of a product may underflow.
UNDERFLOW = 1e-250
# Modulo which dependent columns are looked for first.
PRIME = 2**61 - 1


def two_sums(a, b):
    """Return the rounded sums and what rounding took away (D. E. Knuth, 1969)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def powers_of_two(sizes):
    """Return powers of two near sizes, 1 for zero."""
    return np.exp2(np.round(np.log2(np.where(sizes > 0, sizes, 1.0))))


def in_span(basis, others):
    """Return whether columns are linear combinations of others that are independent, in exact arithmetic."""
    rows = qr(basis.T, mode="r", pivoting=True)[1][: basis.shape[1]]
    integers, targets = _integers(basis), _integers(others)
    # modulo a prime it is seen at once where they are not
    return all(_depends(integers, targets, rows, prime) for prime in (PRIME, None))


def _depends(integers, targets, rows, prime):
    """Return whether the combinations that fit some rows fit all of them, modulo a prime or exactly."""
    solved = _solve([integers[k] + targets[k] for k in rows], prime)
    if solved is None:  # of a determinant that is zero
        return prime is not None
    combinations, common = solved
    for row, target in zip(integers, targets, strict=True):
        for c, value in enumerate(target):
            left = value * common - sum(x * w[c] for x, w in zip(row, combinations, strict=True))
            if left if prime is None else left % prime:
                return False
    return True


def are_multiples(columns, others):
    """Return which columns are multiples of others, each of its own, to the last bit."""
    columns, others = (a / powers_of_two(np.abs(a).max(axis=0)) for a in (columns, others))
    pivot = np.abs(others).argmax(axis=0)[None]
    ours = two_products(columns, np.take_along_axis(others, pivot, axis=0))
    theirs = two_products(others, np.take_along_axis(columns, pivot, axis=0))
    same = [(a == b).all(axis=0) for a, b in zip(ours, theirs, strict=True)]
    safe = [((np.abs(a) > UNDERFLOW) | (a == 0)).all(axis=0) for a in (columns, others)]
    return np.logical_and.reduce(same + safe)


def _integers(columns):
    """Return columns as rows of integers, each column times a power of two."""
    mantissas, exponents = np.frexp(columns)
    least = np.where(mantissas != 0, exponents, np.iinfo(np.int32).max).min(axis=0)
    shifts = np.where(mantissas != 0, exponents - least, 0)
    return [
        [int(m) << int(s) for m, s in zip(*row, strict=True)]
        for row in zip(np.ldexp(mantissas, 53).astype(np.int64), shifts, strict=True)
    ]


def _solve(rows, prime):
    """Solve the system of the first columns for the last ones; return integers and their common denominator, or None.

    This is the elimination of E. H. Bareiss (1968), in which all divisions leave no rest.
    """
    rows, n, last = [list(row) for row in rows], len(rows), 1
    for k in range(n):
        check()
        pivot = next((i for i in range(k, n) if (rows[i][k] if prime is None else rows[i][k] % prime)), None)
        if pivot is None:
            return None
        rows[k], rows[pivot] = rows[pivot], rows[k]
        top, head = rows[k], rows[k][k]
        inverse = None if prime is None else pow(last, -1, prime)
        for i in (*range(k), *range(k + 1, n)):
            crossed = [head * u - rows[i][k] * v for u, v in zip(rows[i], top, strict=True)]
            rows[i] = [x // last if prime is None else x * inverse % prime for x in crossed]
        last = head if prime is None else head % prime
    return [row[n:] for row in rows], last


def exact_products(A, B):
    """Return A'B, every entry rounded once."""
    size = np.abs(B).max(initial=0.0)
    if size == 0.0:
        return np.zeros((A.shape[1], B.shape[1]))
    unit = np.exp2(np.floor(np.log2(size)))
    B = B / unit
    return unit * np.array([[fsum(np.concatenate(two_products(a, b)).tolist()) for b in B.T] for a in A.T])


def two_products(a, b):
    """Multiply entries without loss (T. J. Dekker, 1971), but for over- and underflow."""
    product = a * b
    (a1, a2), (b1, b2) = _split(a), _split(b)
    return product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2


def _split(a):
    """Split doubles into sums of two, each of at most half of the bits."""
    large = SPLITTER * a
    first = large - (large - a)
    return first, a - first
