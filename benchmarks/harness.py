"""What every benchmark needs: the machine and versions it ran on, JSON, and tables in plain text."""

import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

__all__ = ["environment", "format_table", "write_json"]

PACKAGES = ("convexnn", "numpy", "scipy", "scikit-learn", "numba", "cvxpy", "clarabel", "matplotlib")


def environment():
    """Return the machine and the versions of the packages as a dict."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "processor": _processor(),
        "n_cpus": os.cpu_count(),
        "python": sys.version.split()[0],
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }


def write_json(path, content):
    """Write a dict as JSON; numpy scalars and arrays become numbers and lists."""
    text = json.dumps(content, indent=1, default=lambda value: value.tolist(), allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def format_table(rows, columns):
    """Return rows (dicts) as text, one column for each (key, title, format); missing values are a dash."""
    cells = [[title for _, title, _ in columns]]
    for row in rows:
        cells.append(["-" if row.get(key) is None else format(row[key], spec) for key, _, spec in columns])
    widths = [max(len(line[k]) for line in cells) for k in range(len(columns))]
    lines = []
    for first, *others in cells:
        parts = [first.ljust(widths[0])]
        parts += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(parts).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def _processor():
    """Return the name of the processor where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
