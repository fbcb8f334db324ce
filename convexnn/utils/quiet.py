"""Warnings: at the line of the user, and ignored for a while in one thread.

`warnings.catch_warnings` puts the filters of the process away and back: of two threads in it at once the one that
leaves last puts back what it found, the filters of the other.
"""

import sys
import warnings
from contextlib import contextmanager, suppress
from threading import get_ident

__all__ = ["ignoring", "solve_quietly", "warn"]

# Packages whose lines no user wrote.
OURS = (__name__.split(".")[0], "sklearn", "joblib")


@contextmanager
def ignoring(category, start=""):
    """Ignore warnings of a category in this thread whose messages start with `start`, a text or a tuple of them."""
    here = _Here(get_ident(), start)
    entry = ("ignore", here, category, None, 0)
    warnings.filters.insert(0, entry)
    try:
        yield
    finally:
        here.active = False  # in a copy of the filters that another thread may have put away
        with suppress(ValueError):  # of filters that another thread put back
            warnings.filters.remove(entry)


def warn(message, category):
    """Warn at the line outside of the package that called it."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in OURS:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def solve_quietly(problem, **options):
    """Solve a problem of cvxpy, without a warning of inaccuracy, which certificates tell of."""
    with ignoring(UserWarning, "Solution may be inaccurate"):
        problem.solve(**options)


class _Here:
    """Stands for the pattern of a filter: matches messages of one thread, until it ends."""

    def __init__(self, thread, start):
        self.thread, self.start, self.active = thread, start, True

    def match(self, text):
        """Return whether the filter is for this message."""
        return self.active and get_ident() == self.thread and text.startswith(self.start)
