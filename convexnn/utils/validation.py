"""Checks of arguments: each error names the parameter, the value received and what is accepted."""

from datetime import date, time, timedelta
from numbers import Integral, Real

import numpy as np
from sklearn import utils

__all__ = [
    "SIZES",
    "check_array",
    "check_choice",
    "check_count",
    "check_flag",
    "check_numeric",
    "check_positive",
    "check_size",
    "check_sizes",
    "check_verbose",
    "not_numeric",
    "shown",
]

# Sizes of numbers whose products have squares in the range of floating point, with room for small residuals.
SIZES = (1e-100, 1e100)
# Entries of object arrays that are dates, beside those of datetime, and missing ones: by the names of their types.
DATES, MISSING = ("datetime64", "timedelta64", "Period"), ("NAType",)
ADVICE = {
    "dates": "make numbers of them that mean something, such as days since the first, or the month",
    "missing values": "fill them in, such as by sklearn.impute.SimpleImputer, or leave out their samples",
    "complex numbers": "make columns of their real and imaginary parts, or of their moduli and phases",
    "masked values": "fill them in (numpy.ma.filled), or leave out their samples",
}


def check_array(values, *, input_name, **options):
    """Return values as float64, checked as scikit-learn's function of this name does, and by `check_numeric`."""
    check_numeric(input_name, values)
    return utils.check_array(values, dtype=np.float64, input_name=input_name, **options)


def check_numeric(name, values, dates=False):
    """Raise ValueError where values are masked, missing, complex, structured, or (unless `dates`) dates."""
    fields = getattr(getattr(values, "dtype", None), "names", None)
    if fields:
        raise ValueError(
            f"{not_numeric(name, 'fields')} {', '.join(map(repr, fields))}: make columns of them, such as by "
            "numpy.lib.recfunctions.structured_to_unstructured"
        )
    if hasattr(values, "columns"):
        if hasattr(values, "sparse"):
            raise TypeError(f"{name} must be dense; its columns are sparse: use {name}.sparse.to_dense()")
        found = {column: _strange(values[column], dates) for column in values.columns}
    else:
        found = {None: _strange(values, dates)}
    for kind, advice in ADVICE.items():
        if kind in found.values():
            columns = [column for column, other in found.items() if other == kind and column is not None]
            raise ValueError(f"{not_numeric(name, kind, columns)}: {advice}")


def not_numeric(name, kind, columns=()):
    """Return the start of a message: what values contain beside numbers, and in which columns of a table."""
    names = ", ".join(map(repr, columns))
    subject = (
        "it contains"
        if not columns
        else f"column {names} contains"
        if len(columns) == 1
        else f"columns {names} contain"
    )
    return f"{name} must be numeric; {subject} {kind}"


def _strange(values, dates):
    """Return which of `ADVICE` values are, None where there is nothing to say."""
    if _is_masked(values):
        return "masked values"
    dtype = getattr(values, "dtype", None)
    kind = getattr(dtype, "kind", "O")
    if kind in "Mm":
        return None if dates and isinstance(dtype, np.dtype) else "dates"
    if kind != "O" or hasattr(values, "nnz"):  # or sparse
        return None
    kinds = set(map(type, _entries(values)))
    if any(kind.__name__ in MISSING for kind in kinds):
        return "missing values"
    if any(issubclass(kind, (complex, np.complexfloating)) for kind in kinds):
        return "complex numbers"
    if any(kind.__name__ in DATES or issubclass(kind, (date, time, timedelta)) for kind in kinds):
        return "dates"
    return None


def _entries(values):
    """Return the entries of an object array, or of nested lists; none where there is no such array."""
    try:
        values = np.asarray(values)
    except (TypeError, ValueError):  # ragged lists, which are an error elsewhere
        return ()
    return values.ravel() if values.dtype.kind in "OMm" else ()


def _is_masked(values):
    """Return whether an array has masked entries, or a list has one that does."""
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.is_masked(values)
    nested = isinstance(values, (list, tuple)) and not np.isscalar(next(iter(values), 0.0))
    return nested and any(map(_is_masked, values))


def check_count(name, value, least=1):
    """Return `value` as an int of at least `least`; raise ValueError otherwise."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {shown(value)}")
    return int(value)


def check_positive(name, value, *, or_zero=False):
    """Return `value` as a finite float above zero, or zero; raise TypeError for non-numbers, ValueError otherwise."""
    accepted = "of at least 0" if or_zero else "above 0"
    if not isinstance(value, Real) or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a number {accepted}; got {shown(value)} of type {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = np.inf
    if not np.isfinite(number) or number < 0 or (number == 0 and not or_zero):
        raise ValueError(f"{name} must be a finite number {accepted}; got {shown(value)}")
    return number


def check_size(name, value):
    """Return `value` as `check_positive` does; raise ValueError where its squares may leave floating point."""
    number = check_positive(name, value)
    check_sizes(name, np.array([number]))
    return number


def check_sizes(name, values):
    """Raise ValueError unless all of an array of positive numbers have squares in the range of floating point."""
    outside = values[~((values >= SIZES[0]) & (values <= SIZES[1]))]
    if len(outside):
        raise ValueError(f"{name} must be from {SIZES[0]:g} to {SIZES[1]:g}; got {outside[0]:g}: change the units")


def check_choice(name, value, choices):
    """Return `value` if it is one of `choices` (strings); raise ValueError otherwise."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {shown(value)}")
    return value


def check_flag(name, value):
    """Return `value` as a bool; raise ValueError otherwise."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False; got {shown(value)}")
    return bool(value)


def check_verbose(value):
    """Return `value` as 0 (silent), 1 (a live line) or 2 (a line a record); raise ValueError otherwise."""
    if not isinstance(value, (Integral, np.bool_)) or value not in (0, 1, 2):
        raise ValueError(f"verbose must be 0, 1, 2, True or False; got {shown(value)}")
    return int(value)


def shown(value):
    """Return a value as messages write it: scalars of numpy are the numbers and texts that they stand for."""
    if isinstance(value, np.generic):
        plain = value.item()
        return str(value) if isinstance(plain, np.generic) else repr(plain)
    if type(value) in (list, tuple):
        text = ", ".join(map(shown, value))
        return f"[{text}]" if type(value) is list else f"({text}{',' * (len(value) == 1)})"
    return repr(value)
