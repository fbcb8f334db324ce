"""Selections of a ReLU network with max pooling: which patch of each sample is the largest, if any is positive.

    max(0, max_k x_ik.u) = x_is.u   for the selected patch s = s(i), or 0 where none is selected

is linear in u on the cells of the arrangement of all x_ik and all differences x_ik - x_il. A selection is kept as the
pattern of the stacked rows x_ik that has a 1 at the selected patch of each sample, and no other: as for sums over
patches, predictions are S D X u for the sums S over the patches of a sample. Its cone is

    K = {u : r_il.u >= 0},   r_il = x_is - x_il  for l != s,   r_is = x_is,   and r_il = -x_il where none is selected

so that every block has rows of its own, as many as X has (`convexnn.model.cones`). Patches whose difference is rounding
are one patch, the first. The arrangement of all rows and differences is enumerated as any other
(`convexnn.geometry.enumeration`); cells with one selection are one.
"""

from functools import cached_property

import numpy as np

from ..utils.kernels import kernel
from ..utils.validation import check_count
from .arrangements import (
    Rows,
    batches_of,
    count_arrangements,
    enumerate_patterns,
    resolve_patterns,
    sample_patterns,
)
from .enumeration import distinct_walls

__all__ = [
    "enumerate_selections",
    "resolve_selections",
    "sample_selections",
    "selected_patches",
    "selection_bits",
    "selection_rows",
    "selection_walls",
    "write_row",
]

# Differences of patches below this, relative to the patches and times the number of features, are rounding.
NOISE = 4 * np.finfo(float).eps
# Entries of the differences of patches up to which their arrangement is looked at.
MOST_ENTRIES = 50_000_000


def enumerate_selections(X, n_patches, max_cells=1_000_000):
    """Enumerate the selections of all full-dimensional cells, each with a gate inside.

    `max_cells` bounds the cells of the arrangement of rows and differences, several of which may have one selection.
    """
    return enumerate_patterns(_Patches(X, n_patches), max_cells, "max_cells")


def sample_selections(X, n_patches, n_selections, random_state=None):
    """Sample distinct selections of Gaussian gates, or enumerate them where there are no more cells than that."""
    return sample_patterns(_Patches(X, n_patches), n_selections, random_state)


def resolve_selections(X, arrangements, n_patches, random_state=None):
    """Turn what a user may ask for into selections of the rows X, patterns with at most one 1 a sample."""
    return resolve_patterns(_Patches(X, n_patches), arrangements, random_state)


class _Patches(Rows):
    """The patches X (n_samples * n_patches, n_features) of samples: the patterns of gates are their selections."""

    def __init__(self, X, n_patches):
        super().__init__(X)
        if len(self.X) % check_count("n_patches", n_patches):
            raise ValueError(
                f"X must have a row for each of the {n_patches} patches of every sample; got {len(self.X)} rows"
            )
        self.n_patches, self.samples = n_patches, self.X.reshape(-1, n_patches * self.X.shape[1])

    @cached_property
    def walls(self):
        """The distinct walls of rows and their differences."""
        return selection_walls(self.X, self.n_patches)

    @cached_property
    def most_cells(self):
        """A bound of the number of cells; inf where there are too many walls to look at."""
        if self.X.size * (self.n_patches + 1) // 2 > MOST_ENTRIES:
            return np.inf
        return count_arrangements(*self.walls.rows.shape)

    @property
    def what(self):
        """The arrangement, in words."""
        return (
            f"the arrangement of the {self.n_patches} patches of {len(self.samples):,} samples and of their "
            f"differences may have {self.most_cells:,} cells"
        )

    def has_at_most(self, n_cells):
        """Return whether there are no more cells than that; False at once where walls would have to coincide for it."""
        return len(self.X) * (self.n_patches + 1) // 2 <= n_cells and self.most_cells <= n_cells

    def bits(self, gates):
        """Return the selections of gates as bits."""
        return selection_bits(self.X, gates, self.n_patches)

    def are_cells(self, found, n_cells):
        """Return whether every gate is strictly inside the cone of its selection, which several cells may have."""
        for gate, own in zip(found.gates, selected_patches(found.patterns(), self.n_patches), strict=True):
            rows = selection_rows(self.X, np.broadcast_to(own, (len(self.X), len(own))), np.arange(len(self.X)))
            if (rows[rows.any(axis=1)] @ gate <= 0.0).any():
                return False
        return True

    def fit(self, arrangements):
        """Return whether the gates are in the closures of the cones of their selections, up to rounding."""
        sizes = np.linalg.norm(self.X, axis=1).reshape(-1, self.n_patches)
        for batch in batches_of(len(arrangements), len(self.X)):
            gates = arrangements.gates[batch]
            products = (gates @ self.X.T).reshape(-1, *sizes.shape)
            chosen = arrangements.patterns(batch).reshape(products.shape)
            value = (products * chosen).sum(axis=2)
            slack = 1e-13 * np.linalg.norm(gates, axis=1)[:, None] * sizes.max(axis=1)
            if (chosen.sum(axis=2) > 1).any() or (value < np.maximum(products.max(axis=2), 0.0) - slack).any():
                return False
        return True


def selection_walls(X, n_patches):
    """Return the `Walls` of the rows (first in `reach`) and their differences."""
    d, (k, m) = X.shape[1], np.triu_indices(n_patches, 1)
    patches = X.reshape(-1, n_patches, d)
    sizes, differences = np.linalg.norm(patches, axis=2), patches[:, k] - patches[:, m]
    noise = NOISE * d * np.maximum(sizes[:, k], sizes[:, m])
    differences[np.linalg.norm(differences, axis=2) <= noise] = 0.0
    return distinct_walls(np.concatenate([X, differences.reshape(-1, d)]))


def selection_bits(X, gates, n_patches):
    """Return the selections of gates as bits: the first patch that is largest up to rounding, if it is positive.

    X (n_samples * n_patches, n_features) has the rows of a sample one after the other, as everywhere in this module;
    the bits have shape (n_gates, ceil(n_rows / 8)).
    """
    bits = np.empty((len(gates), -(-len(X) // 8)), np.uint8)
    noise = NOISE * X.shape[1] * np.linalg.norm(X, axis=1).reshape(-1, n_patches)
    for batch in batches_of(len(gates), len(X)):
        products = (gates[batch] @ X.T).reshape(-1, *noise.shape)
        lengths = np.linalg.norm(gates[batch], axis=1)[:, None, None]
        largest = products.max(axis=2, keepdims=True)
        first = np.argmax(products >= largest - lengths * noise, axis=2)[:, :, None]
        chosen = np.zeros(products.shape, bool)
        np.put_along_axis(chosen, first, (products > lengths * noise).any(axis=2, keepdims=True), axis=2)
        bits[batch] = np.packbits(chosen.reshape(len(chosen), -1), axis=1)
    return bits


def selected_patches(patterns, n_patches):
    """Return the selected patches (n_selected, n_samples), -1 for none, of patterns (n_selected, n_rows)."""
    chosen = patterns.reshape(len(patterns), patterns.shape[1] // n_patches, n_patches)
    return np.where(chosen.any(axis=2), chosen.argmax(axis=2), -1)


def selection_rows(X, selected, rows):
    """Return rows of the cones of selections at unit length, zero where they are differences that are rounding.

    `rows` (n_selected,) are their numbers, i n_patches + l for r_il, and `selected` (n_selected, n_samples) the
    selection of each. Zero rows stay.
    """
    out, sizes = np.empty((len(rows), X.shape[1])), np.linalg.norm(X, axis=1)
    _write_rows(X, sizes, selected, rows, out)
    return out


@kernel
def write_row(X, sizes, selected, r, out):
    """Write row r of the cone of a selection to `out` at unit length; return its length before, 0 for rounding.

    `sizes` are the lengths of the rows of X, `selected` (n_samples,) is of `selected_patches`, and r the number of the
    row as in `selection_rows`.
    """
    n_patches = len(X) // len(selected)
    i = r // n_patches
    base = i * n_patches + selected[i]
    noise = 0.0
    if selected[i] < 0:
        out[:] = -X[r]
    elif base == r:
        out[:] = X[r]
    else:
        out[:] = X[base] - X[r]
        noise = NOISE * len(out) * max(sizes[base], sizes[r])
    largest = np.abs(out).max()
    if largest == 0.0:
        return 0.0
    out /= largest
    length = np.sqrt((out * out).sum())
    out /= length
    if largest * length <= noise:
        out[:] = 0.0
        return 0.0
    return largest * length


@kernel
def _write_rows(X, sizes, selected, rows, out):
    """Write to `out` the rows that `selection_rows` returns."""
    for j in range(len(rows)):
        write_row(X, sizes, selected[j], rows[j], out[j])
