"""Tables of numbers in text files, .csv and .tsv, for the command line.

The first line names the columns. Every error names the column, the line and the cell, and says what to do: what is
missing or is no number is never guessed.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike

import numpy as np

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
    """The cells of a table as text, by column.

    `path` names the file; `columns` maps each name to its stripped cells; `lines` has the line of each row in the file,
    from 1.
    """

    path: str
    columns: dict[str, list[str]]
    lines: list[int]

    def __len__(self):
        return len(self.lines)

    def cells(self, name: str) -> list[str]:
        """Return the cells of a column; raise ValueError, which lists the columns, if there is no such column."""
        if name not in self.columns:
            raise ValueError(f"{self.path} has no column {name!r}; its columns are {_listed(self.columns)}")
        return self.columns[name]

    def without(self, names: list[str]) -> "Table":
        """Return the table without the named columns; raise ValueError if one of them does not exist."""
        for name in names:
            self.cells(name)
        return replace(self, columns={name: cells for name, cells in self.columns.items() if name not in names})

    def without_missing(self) -> "Table":
        """Return the table of the rows that have no missing cell."""
        rows = zip(*self.columns.values(), strict=True)
        kept = [k for k, row in enumerate(rows) if not any(cell.lower() in MISSING for cell in row)]
        columns = {name: [cells[k] for k in kept] for name, cells in self.columns.items()}
        return replace(self, columns=columns, lines=[self.lines[k] for k in kept])

    def numbers(self, names: list[str], options: Sequence[str] = tuple(OPTIONS)) -> np.ndarray:
        """Return columns as finite numbers (n_rows, n_columns).

        Raise ValueError, with column, line and text, if a cell is missing or not a finite number; the message
        recommends `options`, those that the command has.
        """
        values = np.empty((len(self), len(names)))
        for column, name in enumerate(names):
            values[:, column] = [_number(cell) for cell in self.cells(name)]
            if not np.isfinite(values[:, column]).all():
                raise ValueError(self._complaint(name, names, options))
        return values

    def _complaint(self, name, names, options):
        """Return what is wrong with a column: the first cell that is not a number, else the first missing cell."""
        wrong = self._wrong(name)
        texts = [(line, cell) for line, cell in wrong if cell.lower() not in MISSING]
        line, cell = (texts or wrong)[0]
        here = f"column {name!r} of {self.path}, line {line}"
        if not texts:
            count = f"{len(wrong)} of {len(self)} are missing" if len(wrong) > 1 else "the only one missing"
            text = f"{here}: no value ({cell!r}, {count}); {_ways(IMPUTE, options, name)}"
        elif re.fullmatch(r"[-+]?\d+,\d+", cell):
            text = f"{here}: {cell!r} is not a number; write it with a decimal point"
        elif re.fullmatch(r"[-+]?inf(inity)?", cell.lower()):
            text = f"{here}: {cell!r} is not finite"
        else:
            text = f"{here}: {cell!r} is not a number; {_ways(ENCODE, {'--drop'}.intersection(options), name)}"
        others = [other for other in names if other != name and self._wrong(other)]
        return f"{text} (also look at {_listed(others)})" if others else text

    def _wrong(self, name):
        """Return the lines and cells of a column that are not finite numbers."""
        pairs = zip(self.lines, self.cells(name), strict=True)
        return [(line, cell) for line, cell in pairs if not np.isfinite(_number(cell))]


def read_table(path: str | PathLike) -> Table:
    """Read a table whose first line names the columns; commas, semicolons or tabs separate the cells.

    The file is UTF-8; empty lines are skipped. Raise ValueError if there are no rows, if lines differ in the number of
    cells, or if two columns share a name.
    """
    path = str(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=header.count)  # the comma where there is none
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a table of text in UTF-8: {error}") from error
    if not rows:
        raise ValueError(f"{path} is empty: its first line has to name the columns")
    (_, names), *rows = rows
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"{path} has {names.count(twice[0])} columns named {twice[0]!r}; its columns are {_listed(names)}"
        )
    if not rows:
        raise ValueError(f"{path} has no rows below the names of its columns, {_listed(names)}")
    for line, cells in rows:
        if len(cells) != len(names):
            raise ValueError(
                f"line {line} and the first line of {path} differ in their cells: {len(cells)} and {len(names)}"
            )
    columns = dict(zip(names, map(list, zip(*(cells for _, cells in rows), strict=True)), strict=True))
    return Table(path, columns, [line for line, _ in rows])


def read_target(table: Table, name: str, task: str = "auto") -> tuple[np.ndarray, str]:
    """Return the target column `y` (n_rows,), and the task: "regression" or "classification".

    With `task` "auto", the target has classes if it is text, or if it has two to ten different whole numbers, each of
    them more than once. Classes are integers if all cells are whole numbers, else text. Raise ValueError if cells are
    missing, or if they are not numbers as the task requires.
    """
    cells, here = table.cells(name), f"the target, column {name!r} of {table.path}"
    missing = [line for line, cell in zip(table.lines, cells, strict=True) if cell.lower() in MISSING]
    if missing:
        raise ValueError(
            f"{here}, line {missing[0]}: no value ({len(missing)} of {len(cells)} are missing); leave such rows out "
            "with --ignore-missing"
        )
    values = np.array([_number(cell) for cell in cells])
    numeric = np.isfinite(values)
    if not numeric.all() and (task == "regression" or (task == "auto" and numeric.any())):
        first = int(numeric.argmin())
        hint = "; where the values are classes, give --task classification" if task == "auto" else ""
        raise ValueError(f"{here}, line {table.lines[first]}: {cells[first]!r} is not a number{hint}")
    whole = bool(numeric.all() and (values == np.round(values)).all() and np.abs(values).max() < 2**53)
    labels = values.astype(np.int64) if whole else np.array(cells)
    counts = np.unique(labels, return_counts=True)[1]
    if task == "auto":
        few = whole and 1 < len(counts) <= MOST_CLASSES and counts.min() > 1
        task = "classification" if few or not numeric.any() else "regression"
    return (values if task == "regression" else labels), task


def _number(cell):
    """Return the cell as a number, nan if it is not one."""
    try:
        return np.nan if "_" in cell else float(cell)
    except ValueError:
        return np.nan


def _ways(first, options, name):
    """Return what to do about a column: `first`, or what the options do."""
    return ", or ".join([first, *(OPTIONS[option].format(name=_quoted(name)) for option in options)])


def _quoted(name):
    """Return the name as it is written on a command line."""
    return name if re.fullmatch(r"[\w.-]+", name) else f'"{name}"'


def _listed(names, most=12):
    """Return the names in one line, only the first `most` of them if there are more."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
