"""The open cones of a branch and bound: those of the largest bounds are taken out, and their halves put back."""

from typing import NamedTuple

import numpy as np

__all__ = ["ConePool", "Cones"]

# Bytes of the pool.
POOL_BYTES = 1 << 28
# Facets of a cone.
FACETS = 64
# Part of the way to the interior that a cone starts from.
INTERIOR = 0.03


class Cones(NamedTuple):
    """Some cones, each an entry of every field.

    `bounds` are of the values of their points, `signs` those of v, `rows` those along which to split. `sides` (n_cones,
    n_rows) are the known signs of the rows, else 0; `facets` (n_cones, FACETS) the rows of the path, from 1, with their
    signs, 0 beyond its end; `moments` (n_cones, n_moments) the iterates of the relaxation.
    """

    bounds: np.ndarray
    signs: np.ndarray
    rows: np.ndarray
    sides: np.ndarray
    facets: np.ndarray
    moments: np.ndarray


class ConePool:
    """The open cones, for n rows in d coordinates: at first the whole space, once for each sign of v.

    `bounds` (2,) are those of the whole space for the signs 1 and -1.
    """

    def __init__(self, n, d, bounds):
        n_moments = d + d * (d + 1) // 2
        self.most = max(POOL_BYTES // (8 * n_moments + 4 * FACETS + n + 24), 100)
        self.size = 0
        self.interior = np.zeros(n_moments)
        first, second = np.triu_indices(d)
        self.interior[d:] = (first == second) / d
        sides, facets = np.zeros((2, n), np.int8), np.zeros((2, FACETS), np.int32)
        moments = np.tile(self.interior, (2, 1))
        self.cones = Cones(bounds, np.array([1.0, -1.0]), np.full(2, -1), sides, facets, moments)

    def roots(self):
        """Return the two cones that are the whole space."""
        return Cones(*(part.copy() for part in self.cones))

    def largest(self):
        """Return the largest bound, 0 if there are no cones."""
        return self.cones.bounds[: self.size].max(initial=0.0)

    def put(self, cones, chosen):
        """Add the cones that `chosen` selects."""
        last = self.size + np.count_nonzero(chosen)
        if last > len(self.cones.bounds):
            room = [(2 * last - self.size, *part.shape[1:]) for part in self.cones]
            grown = zip(self.cones, room, strict=True)
            self.cones = Cones(*(np.concatenate([old[: self.size], np.empty(more, old.dtype)]) for old, more in grown))
        for stored, new in zip(self.cones, cones, strict=True):
            stored[self.size : last] = new[chosen]
        self.size = last

    def split(self, most):
        """Remove the cones of the largest bounds, or, if memory is short, of the smallest; return their halves."""
        order = self.cones.bounds[: self.size] * (1 if self.size > self.most else -1)
        chosen = np.argpartition(order, most - 1)[:most] if most < self.size else np.arange(self.size)
        bounds, signs, rows, sides, facets, moments = (np.repeat(part[chosen], 2, axis=0) for part in self.cones)
        half, halves = np.arange(len(rows)), np.tile([1, -1], len(chosen))
        sides[half, rows] = halves
        facets[half, np.count_nonzero(facets, axis=1)] = (rows + 1) * halves
        moments += INTERIOR * (self.interior - moments)
        # The last cones move to the places that were left.
        self.size -= len(chosen)
        holes = chosen[chosen < self.size]
        moved = np.setdiff1d(np.arange(self.size, self.size + len(chosen)), chosen, assume_unique=True)
        for part in self.cones:
            part[holes] = part[moved]
        return Cones(bounds, signs, rows, sides, facets, moments)
