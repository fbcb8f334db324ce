"""The arrangement of the data in a weight space of two or three dimensions, on its unit circle or sphere.

A hidden row h_k (an input, with 1 for a bias) has the wall h_k.u = 0. In the plane the walls are lines through the
origin and the cells are sectors. In space they are great circles of the unit sphere, which is shown as two discs: each
hemisphere u = (x, y, z), z >= 0 or z <= 0, goes to (x, y) / sqrt(1 + |z|), which keeps the areas of cells.
"""

from collections.abc import Sequence

import numpy as np

from ..geometry.arrangements import pattern_bits

__all__ = [
    "cell_image",
    "cells_around",
    "circle",
    "great_circle",
    "on_wall",
    "sector_bounds",
    "sectors",
    "to_disc",
    "unit_vectors",
]

# A unit vector closer than this to a wall of unit normal is on it, for a network trained to a small gap.
WALL_TOL = 1e-6


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Return rows scaled to length 1; zero rows stay zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1), np.finfo(float).tiny)[:, None]


def on_wall(rows: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return which vectors are on a wall, to WALL_TOL of their length.

    The rows are the normals of the walls; zero rows have none. No vector may be zero.
    """
    kept = rows[rows.any(axis=1)]
    return (np.abs(unit_vectors(vectors) @ unit_vectors(kept).T) <= WALL_TOL).any(axis=1)


def sector_bounds(rows: np.ndarray) -> np.ndarray:
    """Return the angles (2 * n_walls,), increasing from 0 to 2 pi, of the rays of the distinct walls in the plane.

    The rows (n_rows, 2) are the normals of the walls; zero rows have none.
    """
    kept = rows[rows.any(axis=1)]
    angles = np.sort(np.mod(np.arctan2(kept[:, 0], -kept[:, 1]), np.pi))
    if len(angles):
        steps = np.diff(angles, prepend=angles[-1] - np.pi)  # the wall before the first is the last, half a turn back
        angles = angles[steps > WALL_TOL] if (steps > WALL_TOL).any() else angles[:1]
    return np.append(angles, angles + np.pi)


def sectors(rows: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return the two angles that bound the sector of each vector in the plane; a whole turn without walls."""
    bounds = sector_bounds(rows)
    if not len(bounds):
        return np.tile([0.0, 2 * np.pi], (len(vectors), 1))
    around = np.concatenate([bounds[-1:] - 2 * np.pi, bounds, bounds[:1] + 2 * np.pi])
    angles = np.mod(np.arctan2(vectors[:, 1], vectors[:, 0]), 2 * np.pi)
    k = np.searchsorted(around, angles, side="right")
    return np.column_stack([around[k - 1], around[k]])


def cells_around(rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return a vector (as a row) inside each of the cells that a vector is in or on the boundary of.

    That is the vector itself where it is on no wall, else unit vectors beside it. Works in two or three dimensions.
    """
    normals, unit = unit_vectors(rows[rows.any(axis=1)]), vector / np.linalg.norm(vector)
    distances = np.abs(normals @ unit)
    near = distances <= WALL_TOL
    if not near.any():
        return vector[None]
    step = 0.5 * distances[~near].min(initial=1.0)
    tangents = np.linalg.svd(unit[None])[2][1:]
    if len(unit) == 2:
        return unit + step * np.vstack([tangents, -tangents])
    bounds = sector_bounds(normals[near] @ tangents.T)
    middle = 0.5 * (bounds + np.append(bounds[1:], bounds[0] + 2 * np.pi))
    return unit + step * np.column_stack([np.cos(middle), np.sin(middle)]) @ tangents


def circle(n_points: int = 721) -> np.ndarray:
    """Return points of the unit circle, the last equal to the first."""
    angles = np.linspace(0, 2 * np.pi, n_points)
    return np.column_stack([np.cos(angles), np.sin(angles)])


def to_disc(vectors: np.ndarray) -> np.ndarray:
    """Map unit vectors of space to the disc of their hemisphere."""
    return vectors[:, :2] / np.sqrt(1 + np.abs(vectors[:, 2:]))


def great_circle(row: np.ndarray, n_points: int = 181) -> tuple:
    """Return a wall of space on the discs of the two hemispheres: its half with z >= 0, then that with z <= 0.

    The normal `row` must not be zero; each half has `n_points` points.
    """
    normal = row / np.linalg.norm(row)
    across = np.array([-normal[1], normal[0], 0.0])  # a point of the wall on the rim of both discs
    across = across / np.linalg.norm(across) if across.any() else np.array([1.0, 0.0, 0.0])
    up = np.cross(normal, across)
    up = up if up[2] >= 0 else -up
    angles = np.linspace(0, np.pi, n_points)[:, None]
    first, second = np.cos(angles) * across, np.sin(angles) * up
    return to_disc(first + second), to_disc(first - second)


def cell_image(rows: np.ndarray, vectors: np.ndarray, colors: Sequence, side: int, n_pixels: int = 400) -> np.ndarray:
    """Draw the cells of vectors on the disc of a hemisphere, z >= 0 for side 1 and z <= 0 for side -1.

    The colours are red, green and blue, one for each vector. Returns an RGBA image (n_pixels, n_pixels, 4) of the
    square around the disc, from the bottom up, transparent outside the cells.
    """
    steps = (np.arange(n_pixels) + 0.5) / n_pixels * 2 - 1
    x, y = (part.ravel() for part in np.meshgrid(steps, steps))
    inside = x**2 + y**2 <= 1
    x, y = x[inside], y[inside]
    z = 1 - x**2 - y**2  # radius^2 = (1 - z^2) / (1 + z)
    pixels = np.column_stack([x * np.sqrt(1 + z), y * np.sqrt(1 + z), side * z])
    known, order = np.unique(_pattern_codes(rows, vectors), return_index=True)
    codes = _pattern_codes(rows, pixels)
    place = np.minimum(np.searchsorted(known, codes), len(known) - 1) if len(known) else np.zeros(len(codes), dtype=int)
    palette = np.column_stack([np.reshape(colors, (-1, 3)), np.ones(len(vectors))])[order]
    found = known[place] == codes if len(known) else np.zeros(len(codes), dtype=bool)
    image = np.zeros((n_pixels * n_pixels, 4))
    image[np.flatnonzero(inside)[found]] = palette[place[found]]
    return image.reshape(n_pixels, n_pixels, 4)


def _pattern_codes(rows, vectors):
    """Return a number for the pattern of each vector: two different ones share it with probability 1e-19."""
    bits = pattern_bits(rows, vectors)
    words = np.pad(bits, [(0, 0), (0, -bits.shape[1] % 8)]).view(np.uint64)
    return words @ np.random.default_rng(0).integers(2**63, size=words.shape[1], dtype=np.uint64)
