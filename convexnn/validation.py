"""Checks of arguments: each error names the parameter, the value received and what is accepted."""

from numbers import Integral, Real

import numpy as np

__all__ = ["check_choice", "check_count", "check_flag", "check_positive", "check_verbose", "shown"]


def check_count(name, value, least=1):
    """Return `value` as an int of at least `least`; raise ValueError otherwise."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {shown(value)}")
    return int(value)


def check_positive(name, value):
    """Return `value` as a finite float above zero; raise TypeError for non-numbers, ValueError otherwise."""
    if not isinstance(value, Real) or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a number above 0; got {shown(value)} of type {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = np.inf
    if not np.isfinite(number) or number <= 0:
        raise ValueError(f"{name} must be a finite number above 0; got {shown(value)}")
    return number


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
