"""Lines of neurons in the plane of two features: their part in a window, and the regions that they cut it into.

A line is normal.x + offset = 0. Lines that are the same up to rounding count once, and so do points in which several
lines meet: with L lines through the window and lambda_p of them through each point p inside of it where lines meet,

    regions = 1 + L + sum_p (lambda_p - 1)
"""

import numpy as np

__all__ = ["clip_lines", "count_regions"]

# Lines and points closer than this, in a window of size 1, are the same.
SAME_TOL = 1e-9


def clip_lines(normals: np.ndarray, offsets: np.ndarray, window: np.ndarray) -> tuple:
    """Return the segments (n_segments, 2, 2) of the lines that cross a window, and the indices of these lines.

    The window has a row (low, high) for each axis. A zero normal is no line.
    """
    low, size = window[:, 0], np.diff(window, axis=1)[:, 0]
    scaled, shifted = _scaled(normals, offsets, low, size)
    segments, index = [], []
    for j in np.flatnonzero(scaled.any(axis=1)):
        ends = _ends(scaled[j], shifted[j])
        if ends is not None:
            segments.append(low + size * ends)
            index.append(j)
    return np.array(segments).reshape(-1, 2, 2), np.array(index, dtype=int)


def count_regions(normals: np.ndarray, offsets: np.ndarray, window: np.ndarray) -> int:
    """Count the regions that lines cut a window into, with arguments as in `clip_lines`; 1 without lines."""
    scaled, shifted = _scaled(normals, offsets, window[:, 0], np.diff(window, axis=1)[:, 0])
    kept = [j for j in np.flatnonzero(scaled.any(axis=1)) if _ends(scaled[j], shifted[j]) is not None]
    lines = np.column_stack([scaled, shifted])[kept]
    lines /= np.linalg.norm(lines[:, :2], axis=1)[:, None]
    # of the two signs of a line, the one whose first entry that is not zero is above zero
    first = np.where(np.abs(lines[:, 0]) > SAME_TOL, lines[:, 0], lines[:, 1])
    lines = _distinct(lines * np.sign(first)[:, None])
    n = len(lines)
    a, b = np.triu_indices(n, 1)
    det = lines[a, 0] * lines[b, 1] - lines[a, 1] * lines[b, 0]
    meet = np.abs(det) > SAME_TOL
    a, b, det = a[meet], b[meet], det[meet]
    x = (lines[a, 1] * lines[b, 2] - lines[b, 1] * lines[a, 2]) / det
    y = (lines[b, 0] * lines[a, 2] - lines[a, 0] * lines[b, 2]) / det
    points = np.column_stack([x, y])
    inside = ((points > SAME_TOL) & (points < 1 - SAME_TOL)).all(axis=1)
    crossings = 0
    for point in _distinct(points[inside]):
        crossings += int((np.abs(lines[:, :2] @ point + lines[:, 2]) <= 10 * SAME_TOL).sum()) - 1
    return 1 + n + crossings


def _scaled(normals, offsets, low, size):
    """Return lines in coordinates in which the window is the unit square."""
    return normals * size, normals @ low + offsets


def _ends(normal, offset):
    """Return where a line enters and leaves the unit square; None where it does not cross its inside."""
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    values = corners @ normal + offset
    rounding = SAME_TOL * np.linalg.norm(normal)
    if not (values > rounding).any() or not (values < -rounding).any():
        return None
    found = []
    for k in range(4):
        start, end = values[k], values[(k + 1) % 4]
        if start * end < 0:
            found.append(corners[k] + start / (start - end) * (corners[(k + 1) % 4] - corners[k]))
        elif start == 0:
            found.append(corners[k])
    return np.array(found[:2])


def _distinct(rows):
    """Return rows without those that equal another up to rounding."""
    if len(rows) < 2:
        return rows
    # rows that are the same are neighbours along a direction that no others are likely to agree in
    key = rows @ (np.sqrt([2.0, 3.0, 5.0])[: rows.shape[1]])
    order = np.argsort(key)
    groups = np.split(order, np.flatnonzero(np.diff(key[order]) > 6 * SAME_TOL) + 1)
    kept = []
    for group in groups:
        for k in group:
            if len(group) == 1 or not any(np.abs(rows[k] - rows[j]).max() <= SAME_TOL for j in kept[-len(group) :]):
                kept.append(k)
    return rows[kept]
