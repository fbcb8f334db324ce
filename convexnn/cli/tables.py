"""Tables of numbers in text files, .csv and .tsv, for the command line.

The first line names the columns. Every error names the column, the line and the cell, and says what to do: what is
missing or is no number is never guessed.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from ..utils.files import as_number, read_cells

__all__ = ["Table", "read_table", "read_target"]

# Cells that are missing values, in small letters.
MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "?"})
# A target of at most so many different whole numbers, each of them more than once, has classes.
MOST_CLASSES = 10
ENCODE = "encode it, as OneHotEncoder does in a scikit-learn pipeline"
IMPUTE = "fill it in, as SimpleImputer does in a scikit-learn pipeline"
# What options of the commands do about it.
OPTIONS = {"--ignore-missing": "leave out such rows with --ignore-missing", "--drop": "leave it out with --drop {name}"}


@dataclass(frozen=True)
class Table:
    """The table in a file: a DataFrame of its cells as text, whose index has the line of each row, from 1."""

    path: str
    cells: Any

    def __len__(self):
        return len(self.cells)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.cells.columns)

    def column(self, name: str) -> Any:
        """Return the cells of a column; raise ValueError, which lists the columns, if there is no such column."""
        if name not in self.cells:
            raise ValueError(f"{self.path} has no column {name!r}; its columns are {_listed(self.columns)}")
        return self.cells[name]

    def without(self, names: Iterable[str]) -> "Table":
        """Return the table without the named columns; raise ValueError if one of them does not exist."""
        return replace(self, cells=self.cells.drop(columns=[self.column(name).name for name in names]))

    def without_missing(self) -> "Table":
        """Return the table of the rows that have no missing cell."""
        return replace(self, cells=self.cells[~self.cells.map(_is_missing).any(axis=1)])

    def numbers(self, names: list[str], options: Sequence[str] = tuple(OPTIONS)) -> np.ndarray:
        """Return columns as finite numbers (n_rows, n_columns).

        Raises ValueError, with column, line and text, if a cell is missing or not a finite number; the message
        recommends `options`, those that the command has.
        """
        values = np.column_stack([_numbers(self.column(name)) for name in names])
        wrong = ~np.isfinite(values).all(axis=0)
        if wrong.any():
            name, *others = np.array(names, dtype=object)[wrong]
            also = f" (also look at {_listed(others)})" if others else ""
            raise ValueError(f"{self._complaint(name, options)}{also}")
        return values

    def _complaint(self, name, options):
        """Say what is wrong with a column: the first cell that is not a number, else the first missing cell."""
        column = self.column(name)
        wrong = column[~np.isfinite(_numbers(column))]
        texts = wrong[~wrong.map(_is_missing)]
        line, cell = next((wrong if texts.empty else texts).items())
        here = f"column {name!r} of {self.path}, line {line}"
        if texts.empty:
            count = f"{len(wrong)} of {len(self)} are missing" if len(wrong) > 1 else "the only one missing"
            return f"{here}: no value ({cell!r}, {count}); {_ways(IMPUTE, options, name)}"
        if re.fullmatch(r"[-+]?\d+,\d+", cell):
            return f"{here}: {cell!r} is not a number; write it with a decimal point"
        if re.fullmatch(r"[-+]?inf(inity)?", cell.lower()):
            return f"{here}: {cell!r} is not finite"
        return f"{here}: {cell!r} is not a number; {_ways(ENCODE, {'--drop'}.intersection(options), name)}"


def read_table(path: str | PathLike) -> Table:
    """Read a table in UTF-8 whose first line names the columns; commas, semicolons or tabs separate the cells.

    Empty lines are skipped. Raises ValueError if there are no rows, if lines differ in the number of cells, or if two
    columns share a name.
    """
    path = str(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
        if not text.strip():
            raise ValueError("it is empty: its first line has to name the columns")
        cells = read_cells(text, max(",;\t", key=text.partition("\n")[0].count))  # the comma where there is none
    except ValueError as error:
        raise ValueError(f"{path} is not a table of text in UTF-8: {error}") from error
    cells = cells[(cells != "").any(axis=1)]
    cells, names = cells.iloc[1:], cells.iloc[0].tolist()
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{path} has {names.count(twice)} columns named {twice!r}; its columns are {_listed(names)}")
    if cells.empty:
        raise ValueError(f"{path} has no rows below the names of its columns, {_listed(names)}")
    return Table(path, cells.set_axis(names, axis=1))


def read_target(table: Table, name: str, task: str = "auto") -> tuple[np.ndarray, str]:
    """Return the target column `y` (n_rows,), and the task: "regression" or "classification".

    With `task` "auto", the target has classes if it is text, or if it has two to ten different whole numbers, each of
    them more than once. Classes are integers if all cells are whole numbers, else text. Raises ValueError if cells are
    missing, or if they are not numbers as the task requires.
    """
    cells, here = table.column(name), f"the target, column {name!r} of {table.path}"
    missing = cells[cells.map(_is_missing)]
    if len(missing):
        counts = f"{len(missing)} of {len(cells)} are missing"
        raise ValueError(
            f"{here}, line {missing.index[0]}: no value ({counts}); leave such rows out with --ignore-missing"
        )
    values = _numbers(cells)
    numeric = np.isfinite(values)
    if not numeric.all() and (task == "regression" or (task == "auto" and numeric.any())):
        line, cell = next(cells[~numeric].items())
        hint = "; where the values are classes, give --task classification" if task == "auto" else ""
        raise ValueError(f"{here}, line {line}: {cell!r} is not a number{hint}")
    whole = bool(numeric.all() and (values == np.round(values)).all() and np.abs(values).max() < 2**53)
    labels = values.astype(np.int64) if whole else np.array(cells.tolist())
    counts = np.unique(labels, return_counts=True)[1]
    if task == "auto":
        few = whole and 1 < len(counts) <= MOST_CLASSES and counts.min() > 1
        task = "classification" if few or not numeric.any() else "regression"
    return (values if task == "regression" else labels), task


def _is_missing(cell):
    return cell.lower() in MISSING


def _numbers(cells):
    """Return cells as an array of numbers, nan where they are not."""
    return np.array([as_number(cell) for cell in cells], dtype=float)


def _ways(first, options, name):
    """Return what to do about a column: `first`, or what the options do."""
    name = name if re.fullmatch(r"[\w.-]+", name) else f'"{name}"'  # as on a command line
    return ", or ".join([first, *(OPTIONS[option].format(name=name) for option in options)])


def _listed(names, most=12):
    """Return the names in one line, only the first `most` of them if there are more."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
