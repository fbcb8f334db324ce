"""Files that are written as a whole or not at all, arrays that are read after a look at their sizes, and tables."""

import errno
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from io import StringIO
from math import prod
from pathlib import Path
from secrets import token_hex
from typing import IO, Any

import numpy as np

__all__ = [
    "UNPACKED",
    "as_number",
    "import_optional",
    "import_pandas",
    "read_array",
    "read_arrays",
    "read_cells",
    "replacing",
]

# Bytes that arrays may unpack to in any case; and how many times the size of the file they may where they are more.
UNPACKED, RATIO = 2**28, 100
KINDS = "biufUSmM"


@contextmanager
def replacing(path: str | os.PathLike, mode: str = "wb", **options: Any) -> Iterator[IO]:
    """Open a file that takes the place of `path` once it is written; on any failure `path` stays as it was.

    It keeps the permissions of the file that it replaces. Where `path` is a link, what it leads to is replaced; devices
    and pipes are written as they are.
    """
    target = Path(os.path.realpath(path))
    known = target.exists()
    if known and not target.is_file():
        with open(path, mode, **options) as file:
            yield file
        return
    if known:
        open(path, "r+b").close()  # a file that may not be written may not be replaced
    temporary = target.with_name(f".{token_hex(8)}.tmp{target.suffix}")
    try:
        with open(temporary, mode.replace("w", "x"), **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if known:
            temporary.chmod(target.stat().st_mode & 0o7777)
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, str(temporary)):
            raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from error
        raise


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file; no memory is taken that the sizes in the file do not agree on.

    Raises OSError where the file cannot be opened, and ValueError for whatever is wrong in it: no array is unpacked
    before all sizes are known to add up to no more than `UNPACKED`, or a multiple of the size of the file.
    """
    with open(os.fspath(path), "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                _check_members(members, os.fstat(file.fileno()).st_size)
                return {info.filename.removesuffix(".npy"): _read_member(archive, info) for info in members}
        except Exception as error:  # there is no end to what zipfile raises on damaged files
            if isinstance(error, OSError) and error.errno == errno.EIO:
                raise
            place = isinstance(error, OSError)
            raise ValueError("its directory leads out of it" if place else f"{error}") from error


def _check_members(members, size):
    """Raise ValueError unless members are plain arrays of distinct names, and no larger than `read_arrays` says."""
    names = [info.filename for info in members]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise ValueError(f"two members are named {twice!r}")
    for info in members:
        if not info.filename.endswith(".npy"):
            raise ValueError(f"member {info.filename!r} is no array")
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"member {info.filename!r} is encrypted, or packed by another method than deflate")
    unpacked = sum(info.file_size for info in members)
    if unpacked > max(UNPACKED, RATIO * size):
        raise ValueError(f"its {size} bytes unpack to {unpacked}")


def _read_member(archive, info):
    """Read the array of a member; raise ValueError, with the member's name, for whatever is wrong in it."""
    with archive.open(info) as member:
        try:
            array = read_array(member, info.file_size)
        except ValueError as error:
            raise ValueError(f"member {info.filename!r}: {error}") from error
    if array.dtype.kind not in KINDS:
        raise ValueError(f"member {info.filename!r} is an array of dtype {array.dtype}")
    if array.dtype.kind == "U":
        array.tolist()  # raises where there is no such character
    return array


def read_array(file: IO[bytes], size: int) -> np.ndarray:
    """Read an array from a file of so many bytes; raise ValueError, before memory is taken, where it needs more."""
    try:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = readers[version](file)
    except Exception as error:  # headers are parsed as Python
        raise ValueError(f"it has no header of an array: {error}") from error
    count, rest = prod(shape), size - file.tell()
    if min(shape, default=0) < 0 or max(shape, default=0) >= 2**62 or count * max(dtype.itemsize, 1) > rest:
        raise ValueError(f"it has {rest} bytes for an array of shape {shape} and dtype {dtype}")
    file.seek(0)
    array = np.lib.format.read_array(file, allow_pickle=False)
    file.read()  # to the end, where archives compare a checksum
    return array


def import_optional(module: str, extra: str, needed: str, package: str | None = None) -> Any:
    """Return a module of an extra; raise ImportError, which says what `needed` it and how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"{needed} {package or module}: pip install convexnn[{extra}]") from error


def import_pandas() -> Any:
    """Return pandas, as `import_optional` does."""
    return import_optional("pandas", "cli", "tables need")


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
