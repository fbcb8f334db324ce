"""The samples that training sees: checked, those of weight zero left out, copies merged.

Samples that are equal in X and y are one, of the sum of their weights: the objective is the same for every network, so
a weight of k is k copies of a sample, to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils.validation import _check_sample_weight, column_or_1d, validate_data

from ..geometry.arrangements import Arrangements, unique_bits
from ..utils.validation import check_numeric, check_sizes, shown

__all__ = ["Samples", "check_weights", "checked_inputs", "checked_targets", "distinct_samples", "refuse_text"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Distinct samples.

    X (n_distinct, n_features), Y (n_distinct, n_outputs) and `weights` (None: ones); `place` (n_samples,) is the index
    of each given sample among them.
    """

    X: np.ndarray
    Y: np.ndarray
    weights: np.ndarray | None
    place: np.ndarray

    @property
    def merged(self) -> bool:
        """Whether the samples are not those given, one by one."""
        return len(self.X) != len(self.place) or not np.array_equal(self.place, np.arange(len(self.X)))

    def patterns_of(self, arrangements):
        """Return given patterns of all samples as those of the distinct ones; what else was asked for as it is."""
        if not isinstance(arrangements, Arrangements) or not self.merged:
            return arrangements
        if arrangements.n_samples % len(self.place):
            return arrangements  # of other data, which is an error where the program is built
        n_patches = arrangements.n_samples // len(self.place)
        first = np.unique(self.place, return_index=True)[1]
        bits = np.packbits(arrangements.patterns()[:, _rows(first, n_patches)], axis=1)
        kept = np.sort(unique_bits(bits)[1])
        gates, n_rows = arrangements.gates[kept], n_patches * len(first)
        return replace(arrangements, bits=bits[kept], gates=gates, n_samples=n_rows)

    def patterns_of_all(self, arrangements):
        """Return patterns of the distinct samples as those of all."""
        if not self.merged:
            return arrangements
        n_patches = arrangements.n_samples // len(self.X)
        bits = np.packbits(arrangements.patterns()[:, _rows(self.place, n_patches)], axis=1)
        return replace(arrangements, bits=bits, n_samples=n_patches * len(self.place))

    def dual_of_all(self, dual, weights):
        """Return a dual vector of the distinct samples as one of all: copies share it by their weights (None: ones)."""
        weights = np.ones(len(self.place)) if weights is None else weights
        shares = weights / np.bincount(self.place, weights)[self.place]
        return shares[:, None] * dual[self.place]


def checked_inputs(model, X, *targets, **options):
    """Check X, and y where it is given, as scikit-learn does; say what to do with text and dates.

    `options` are those of `validate_data`, which sets or compares the attributes of `model` about features. Raise
    TypeError or ValueError unless the data are finite numbers of the shapes wanted.
    """
    check_numeric("X", X)
    for y in targets:
        check_numeric("y", y, dates=not options.get("y_numeric", False))
    try:
        return validate_data(model, X, *targets, dtype=np.float64, **options)
    except ValueError as error:
        text = _text_of(X) if "could not convert string to float" in str(error) else None
        if text is None:
            raise
        raise ValueError(
            f"X must be numbers, and has text{text} ({error}). Encode it first, such as by "
            "sklearn.preprocessing.OneHotEncoder in a ColumnTransformer at the start of a Pipeline; missing values are "
            "filled in there by sklearn.impute.SimpleImputer"
        ) from error


def _text_of(X):
    """Return where inputs have text: in columns of a data frame, or nowhere in particular; None where there is none."""
    if hasattr(X, "columns"):
        columns = [name for name in X.columns if _has_text(X[name])]
        return f" in column {', '.join(map(repr, columns))}" if columns else None
    return "" if _has_text(X) else None


def refuse_text(name, y):
    """Raise ValueError where targets are text."""
    if _has_text(y):
        raise ValueError(
            f"{name} must be numbers, and has text ({shown(np.asarray(y).ravel()[0])}); a classifier takes classes"
        )


def _has_text(values):
    values = np.asarray(values)
    return values.dtype.kind in "OUT" and any(isinstance(value, str) for value in values.ravel())


def check_weights(sample_weight, X, y):
    """Check sample weights, and leave out samples whose weight is zero.

    Return X and y of the samples kept, the boolean mask of those (n_samples,), and their weights, None where none are
    given. Raise ValueError unless weights are finite, at least 0 and not all zero, one for each sample or one number.
    """
    if sample_weight is None:
        return X, y, np.ones(len(X), bool), None
    check_numeric("sample_weight", sample_weight)
    shape = np.asarray(sample_weight).shape
    if len(shape) == 1 and shape[0] != len(X):
        raise ValueError(f"sample_weight has {shape[0]} entries; X has {len(X)} rows")
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
    if not (weights >= 0).all():
        raise ValueError(f"sample_weight must not be negative; got {weights.min()}")
    kept = weights > 0
    if not kept.any():
        raise ValueError("sample_weight must have at least one number above zero; all weights are zero")
    check_sizes("sample_weight", weights[kept])
    return X[kept], y[kept], kept, weights[kept]


def checked_targets(model, X, y, sample_weight):
    """Check the data of a regression, and leave out samples whose weight is zero.

    Return X, Y (n_kept, n_outputs), the mask and the weights of `check_weights`. Raise ValueError for text, and as
    `checked_inputs`.
    """
    refuse_text("y", y)
    X, y = checked_inputs(model, X, y, y_numeric=True, multi_output=True)
    y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
    return check_weights(sample_weight, X, y.reshape(len(y), -1))


def distinct_samples(X, Y, weights):
    """Return the `Samples` without copies; where there are weights or copies, in an order that is theirs alone.

    That order does not depend on the one given. `weights` are above zero, None is ones; those of copies are added up.
    """
    rows = np.ascontiguousarray(np.column_stack([X, Y]) + 0.0)  # -0.0 is 0.0
    keys = rows.view(f"V{rows.itemsize * rows.shape[1]}").ravel()
    first, place = np.unique(keys, return_index=True, return_inverse=True)[1:]
    totals = np.bincount(place, weights)
    if len(first) == len(X) and (totals == 1).all():
        return Samples(X, Y, None, np.arange(len(X)))
    return Samples(X[first], Y[first], None if (totals == 1).all() else totals.astype(float), place)


def _rows(index, n_patches):
    """Return the rows of samples, of which each has `n_patches`."""
    return (index[:, None] * n_patches + np.arange(n_patches)).ravel()
