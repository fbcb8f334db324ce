"""Data as scikit-learn's estimators take them: checked, those of weight zero left out."""

import numpy as np
from sklearn.utils.validation import _check_sample_weight, column_or_1d, validate_data

from ..utils.validation import check_numeric, check_sizes, shown

__all__ = ["check_weights", "checked_inputs", "checked_targets", "refuse_text"]


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
