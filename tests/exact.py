"""Exact answers in rational arithmetic, to judge floating-point results on integer data by."""

from fractions import Fraction


def count_cells(rows):
    """Count the full-dimensional cells of the arrangement of integer rows, by deletion and restriction."""
    return _count([[Fraction(int(x)) for x in row] for row in rows])


def _count(rows):
    distinct = []
    for row in rows:
        if any(row) and not any(_parallel(row, other) for other in distinct):
            distinct.append(row)
    if not distinct:
        return 1
    *others, wall = distinct
    pivot = next(k for k, x in enumerate(wall) if x)
    restricted = [
        [x - other[pivot] / wall[pivot] * w for k, (x, w) in enumerate(zip(other, wall, strict=True)) if k != pivot]
        for other in others
    ]
    return _count(others) + _count(restricted)


def _parallel(a, b):
    return all(a[i] * b[j] == a[j] * b[i] for i in range(len(a)) for j in range(i))


def kappa_of_lines(x, v):
    """Return max over |(w, b)| <= 1 of |sum_k v_k (w x_k + b)_+| for sorted distinct integers x and rationals v.

    The maximum is on a wall, or at the gradient of a cell; other directions can only give less.
    """
    directions = [(s, -s * int(t)) for t in x for s in (1, -1)]
    for k in range(len(x) + 1):
        for on in (range(k), range(k, len(x))):
            w, b = sum(v[i] * int(x[i]) for i in on), sum(v[i] for i in on)
            directions += [(w, b), (-w, -b)]
    squares = [_response(x, v, w, b) ** 2 / Fraction(w * w + b * b) for w, b in directions if w or b]
    return float(max(squares)) ** 0.5


def _response(x, v, w, b):
    return sum(vk * max(Fraction(0), w * int(t) + b) for t, vk in zip(x, v, strict=True))
