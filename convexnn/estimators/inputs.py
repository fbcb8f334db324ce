"""Checks of the data of estimators: as scikit-learn does them, with what to do about text, dates and gaps."""

import numpy as np
from sklearn.utils.validation import _check_sample_weight, validate_data

from ..utils.validation import check_numeric, check_sizes, not_numeric, shown

__all__ = ["check_inputs", "check_weights", "flat_inputs", "refuse_text"]


def check_inputs(model, X, *targets, **options):
    """Return X, and y where it is given, checked; set or compare what `model` knows of the features (`reset`).

    X may have the axes of the `input_shape` of the model. `options` are those of `validate_data`.
    """
    check_numeric("X", X)
    numeric = options.get("y_numeric", False)
    for y in targets:
        check_numeric("y", y, dates=not numeric)
        if numeric:
            refuse_text("y", y)
    X = flat_inputs(X, getattr(model, "input_shape", None))
    try:
        return validate_data(model, X, *targets, dtype=np.float64, **options)
    except ValueError as error:
        columns = _columns_of_text(X) if "could not convert string to float" in str(error) else None
        if columns is None:
            raise
        raise ValueError(
            f"{not_numeric('X', 'text', columns)} ({error}). Encode it first, such as by "
            "sklearn.preprocessing.OneHotEncoder in a ColumnTransformer at the start of a Pipeline; missing values are "
            "filled in there by sklearn.impute.SimpleImputer"
        ) from error


def flat_inputs(X, input_shape):
    """Return inputs given as arrays of `input_shape` as rows, each in C order; rows as they are."""
    shape = np.shape(X) if isinstance(X, (list, tuple)) else getattr(X, "shape", ())
    if len(shape) <= 2:
        return X
    if input_shape is None or shape[1:] != tuple(input_shape):
        raise ValueError(f"X must have shape (n_samples, n_features) or (n_samples, *input_shape); got {shape}")
    return np.reshape(X, (shape[0], -1))


def check_weights(sample_weight, X, y):
    """Return X and y of the samples of positive weight, their mask (n_samples,), and their weights (or None).

    Weights are finite, at least 0 and not all zero, one for each sample or one number.
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


def refuse_text(name, y):
    """Raise ValueError where targets are text."""
    if _has_text(y):
        raise ValueError(f"{not_numeric(name, 'text')} ({shown(np.asarray(y).ravel()[0])}); a classifier takes classes")


def _columns_of_text(X):
    """Return the columns of a data frame that have text, none of an array; None where there is no text."""
    columns = [name for name in X.columns if _has_text(X[name])] if hasattr(X, "columns") else []
    return columns if columns or _has_text(X) else None


def _has_text(values):
    values = np.asarray(values)
    return values.dtype.kind in "OUT" and any(isinstance(value, str) for value in values.ravel())
