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

from contextlib import suppress
from functools import partial
from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state, gen_batches

from ..utils.deadline import in_time, is_up, until_up
from ..utils.kernels import kernel
from ..utils.quiet import warn
from ..utils.validation import check_array, check_count
from .arrangements import BLOCK_ENTRIES, FEWEST_PATTERNS, Arrangements, count_arrangements, rows_key, unique_bits
from .enumeration import SAME_TOL, ThinCellsError, cell_points, distinct_walls

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
# Sampling gives up after this many batches in a row without a new selection.
STALE_BATCHES = 20


def selection_bits(X, gates, n_patches):
    """Return the selections of gates as bits: the first patch that is largest up to rounding, if it is positive.

    X (n_samples * n_patches, n_features) has the rows of a sample one after the other, as everywhere in this module;
    the bits have shape (n_gates, ceil(n_rows / 8)).
    """
    bits = np.empty((len(gates), -(-len(X) // 8)), np.uint8)
    noise = NOISE * X.shape[1] * np.linalg.norm(X, axis=1).reshape(-1, n_patches)
    for batch in gen_batches(len(gates), max(1, BLOCK_ENTRIES // len(X))) if len(gates) else ():
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


def enumerate_selections(X, n_patches, max_cells=1_000_000):
    """Enumerate the selections of all full-dimensional cells, each with a gate inside.

    `max_cells` bounds the cells of the arrangement of rows and differences, several of which may have one selection: a
    ValueError before any work where there may be more. `complete` is True unless walls meet at angles that double
    precision cannot tell from 0. Raises ThinCellsError where cells are too thin for double precision.
    """
    X = _check_rows(X, n_patches)
    max_cells = check_count("max_cells", max_cells)
    walls, predicted = (
        selection_walls(X, n_patches) if X.size * (n_patches + 1) // 2 <= MOST_ENTRIES else (None, np.inf)
    )
    if predicted > max_cells:
        raise ValueError(
            f"the arrangement of the {n_patches} patches of {len(X) // n_patches:,} samples and of their differences "
            f"may have {predicted:,} cells, more than max_cells={max_cells:,}: give a number of selections to sample"
        )
    return _enumerate(X, n_patches, walls)


def sample_selections(X, n_patches, n_selections, random_state=None):
    """Sample distinct selections of Gaussian gates; fewer, with a UserWarning, where no new ones are found.

    Where the arrangement of rows and differences has no more than `n_selections` cells, they are enumerated instead.
    """
    X, n_selections = _check_rows(X, n_patches), check_count("n_selections", n_selections)
    if len(X) * (n_patches + 1) // 2 <= n_selections:  # else there are more cells, unless walls coincide
        walls, predicted = selection_walls(X, n_patches)
        if predicted <= n_selections:
            with suppress(ThinCellsError):  # sampling finds the cells that are not too thin
                return _enumerate(X, n_patches, walls)
    rng = check_random_state(random_state)
    found, stale = {}, 0
    size = min(max(64, n_selections), max(1, BLOCK_ENTRIES // len(X)))
    while len(found) < n_selections and stale < STALE_BATCHES and not (found and is_up()):
        with until_up():
            gates, known = rng.standard_normal((size, X.shape[1])), len(found)
            for gate, key in zip(gates, map(bytes, selection_bits(X, gates, n_patches)), strict=True):
                if len(found) < n_selections:
                    found.setdefault(key, gate)
            stale = stale + 1 if len(found) == known else 0
    if len(found) < n_selections:
        cause = "its time was up" if is_up() else "the other cells are too small, or there are no more"
        warn(
            f"only {len(found)} of {n_selections} distinct selections were found by sampling; {cause}",
            UserWarning,
        )
    return Arrangements(np.array([np.frombuffer(key, np.uint8) for key in found]), np.array([*found.values()]), len(X))


def resolve_selections(X, arrangements, n_patches, random_state=None):
    """Turn what a user may ask for into selections of the rows X, patterns with at most one 1 a sample.

    `arrangements` is a number to sample, "all", "adaptive" (none yet), Arrangements made beforehand, or gates (n_gates,
    n_features). Raises ValueError where it is something else, or does not fit X.
    """
    X = _check_rows(X, n_patches)
    if isinstance(arrangements, Arrangements):
        _check_fit(X, arrangements, n_patches)
        return arrangements.of(_samples(X, n_patches))
    if isinstance(arrangements, str) and arrangements == "all":
        few = partial(sample_selections, X, n_patches, FEWEST_PATTERNS, random_state)
        return in_time(lambda: enumerate_selections(X, n_patches), few)
    if isinstance(arrangements, str) and arrangements == "adaptive":
        return Arrangements(np.zeros((0, -(-len(X) // 8)), np.uint8), np.zeros((0, X.shape[1])), len(X))
    if isinstance(arrangements, Integral) and not isinstance(arrangements, bool):
        return sample_selections(X, n_patches, check_count("arrangements", arrangements), random_state)
    if arrangements is None or np.ndim(arrangements) != 2 or np.asarray(arrangements).dtype.kind not in "fiu":
        raise ValueError(
            f'arrangements must be "adaptive", a number of patterns to sample, "all", or an array of gates of shape '
            f"(n_gates, {X.shape[1]}); got {arrangements!r}"
        )
    gates = check_array(arrangements, input_name="gates", copy=True)
    if gates.shape[1] != X.shape[1]:
        raise ValueError(f"gates must have shape (n_gates, {X.shape[1]}), as the hidden layer; got {gates.shape}")
    return _distinct(X, gates, n_patches)


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


def _check_rows(X, n_patches):
    """Return X as floats; raise ValueError unless it has `n_patches` rows for every sample."""
    X = check_array(X, input_name="X")
    if len(X) % check_count("n_patches", n_patches):
        raise ValueError(f"X must have a row for each of the {n_patches} patches of every sample; got {len(X)} rows")
    return X


def _check_fit(X, arrangements, n_patches):
    """Raise ValueError unless the gates are in the closures of the cones of their selections, up to rounding."""
    if arrangements.n_samples != len(X) or arrangements.gates.shape[1] != X.shape[1]:
        raise ValueError(
            f"arrangements were made for {arrangements.n_samples} rows and {arrangements.gates.shape[1]} features of "
            f"the hidden layer; X has {len(X)} and {X.shape[1]}"
        )
    sizes = np.linalg.norm(X, axis=1).reshape(-1, n_patches)
    for batch in gen_batches(len(arrangements), max(1, BLOCK_ENTRIES // len(X))) if len(arrangements) else ():
        gates = arrangements.gates[batch]
        products = (gates @ X.T).reshape(-1, *sizes.shape)
        chosen = arrangements.patterns(batch).reshape(products.shape)
        value = (products * chosen).sum(axis=2)
        slack = 1e-13 * np.linalg.norm(gates, axis=1)[:, None] * sizes.max(axis=1)
        if (chosen.sum(axis=2) > 1).any() or (value < np.maximum(products.max(axis=2), 0.0) - slack).any():
            raise ValueError(
                "arrangements were made for other data or another pooling: their gates select other patches of X; make "
                "them again"
            )


def selection_walls(X, n_patches):
    """Return the `Walls` of the rows (first in `reach`) and their differences, and a bound of the number of cells."""
    d, (k, m) = X.shape[1], np.triu_indices(n_patches, 1)
    patches = X.reshape(-1, n_patches, d)
    sizes, differences = np.linalg.norm(patches, axis=2), patches[:, k] - patches[:, m]
    noise = NOISE * d * np.maximum(sizes[:, k], sizes[:, m])
    differences[np.linalg.norm(differences, axis=2) <= noise] = 0.0
    walls = distinct_walls(np.concatenate([X, differences.reshape(-1, d)]))
    return walls, count_arrangements(*walls.rows.shape)


def _enumerate(X, n_patches, walls):
    """Return the selections of all cells of the walls, sorted; raise ThinCellsError where a gate is not inside."""
    points, angle = cell_points(walls.rows)
    found = _distinct(X, points @ walls.to_gates.T, n_patches)
    order = np.lexsort(found.bits.T[::-1])
    bits, gates = found.bits[order], found.gates[order]
    selected = selected_patches(np.unpackbits(bits, axis=1, count=len(X)).view(bool), n_patches)
    if not _inside(X, selected, gates):
        raise ThinCellsError
    angle = max(walls.angle, angle)
    return Arrangements(bits, gates, len(X), angle <= SAME_TOL, angle, rows_key(_samples(X, n_patches)))


def _samples(X, n_patches):
    """Return the patches of each sample in one row."""
    return X.reshape(-1, n_patches * X.shape[1])


def _distinct(X, gates, n_patches):
    """Return the distinct selections of gates, in the order of their first gates."""
    bits = selection_bits(X, gates, n_patches)
    first = np.sort(unique_bits(bits)[1])
    return Arrangements(bits[first], gates[first], len(X))


def _inside(X, selected, gates):
    """Return whether every gate is strictly inside the cone of its selection."""
    for gate, own in zip(gates, selected, strict=True):
        rows = selection_rows(X, np.broadcast_to(own, (len(X), len(own))), np.arange(len(X)))
        if (rows[rows.any(axis=1)] @ gate <= 0.0).any():
            return False
    return True


@kernel
def _write_rows(X, sizes, selected, rows, out):
    """Write to `out` the rows that `selection_rows` returns."""
    for j in range(len(rows)):
        write_row(X, sizes, selected[j], rows[j], out[j])
