"""The cells of .csv files as text, read by pandas."""

from io import StringIO
from typing import Any

__all__ = ["as_number", "import_pandas", "read_cells"]


def import_pandas() -> Any:
    """Return pandas; raise ImportError, which says how to install it."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError("tables need pandas: pip install convexnn[cli]") from error
    return pandas


def read_cells(text: str, delimiter: str = ",") -> Any:
    """Return the stripped cells of a text as a DataFrame, its index the line, from 1, in which each row ends.

    A blank line is a row of empty cells. Raises ValueError where lines differ in their numbers of cells.
    """
    options = {"header": None, "dtype": str, "keep_default_na": False, "skip_blank_lines": False}
    # the other engine fills short lines up
    cells = import_pandas().read_csv(StringIO(text), sep=delimiter, engine="python", **options)
    found = cells.notna().sum(axis=1)
    cells = cells.fillna("")
    cells.index += 1 + cells.apply(lambda column: column.str.count("\n")).sum(axis=1).cumsum()
    short = (found > 0) & (found < cells.shape[1])
    if short.any():
        line = cells.index[short.to_numpy().argmax()]
        raise ValueError(f"Expected {cells.shape[1]} fields in line {line}, saw {found[short].iloc[0]}")
    return cells.apply(lambda column: column.str.strip())


def as_number(cell: str) -> float | None:
    """Return a cell as a number, None if it is not one; "nan" is one, and 1_0, which Python reads as 10, is not."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None
