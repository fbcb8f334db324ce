"""Signals of one channel with what is known of their unit and sampling rate, and the electrocardiograms at hand."""

import importlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..utils.files import as_number, import_optional, read_array, read_cells
from ..utils.validation import check_count, check_positive

__all__ = ["Signal", "as_samples", "load_ecg"]

# What a line of units below the header has, and what may stand around units and names.
VOLTS, AROUND = ("V", "mV", "uV", "\N{MICRO SIGN}V", "\N{GREEK SMALL LETTER MU}V", "nV"), " \t'\"()[]"
# Files of more columns than this, and fewer rows, have a row a channel.
MOST_CHANNELS = 100
# So few samples may rise by chance.
FEW = 10
NO_SAMPLES = "expected samples from line 1, or below a header on line 1; got none"


@dataclass(frozen=True, eq=False)
class Signal:
    """Hold the samples of one channel, and what is known of their unit and sampling rate.

    Parameters
    ----------
    values : array-like of shape (n_samples,)
        Finite samples, kept as a read-only float64 copy. Raises ValueError for anything else.
    unit, sampling_rate : str or None, float or None
        Unit such as "mV", and rate in Hz above 0; None where the source states none.
    description : str, default=""
        Where the samples come from.

    Examples
    --------
    >>> len(Signal([0.1, 0.2, 0.4], unit="mV", sampling_rate=360.0))
    3
    """

    values: np.ndarray
    unit: str | None = None
    sampling_rate: float | None = None
    description: str = ""

    def __post_init__(self):
        values = as_samples(self.values, "values").copy()
        values.flags.writeable = False
        object.__setattr__(self, "values", values)
        if self.sampling_rate is not None:
            object.__setattr__(self, "sampling_rate", check_positive("sampling_rate", self.sampling_rate))

    def __len__(self):
        return self.values.shape[0]


def load_ecg(source: str | os.PathLike = "auto", *, channel: int | str = "auto") -> Signal:
    """Load an electrocardiogram.

    Parameters
    ----------
    source : {"auto", "embedded", "scipy"}, str or os.PathLike, default="auto"
        - "embedded": the 1024 samples of `pywt.data.ecg`. PyWavelets states neither their unit nor their rate.
        - "scipy": `scipy.datasets.electrocardiogram`, 108,000 samples at 360 Hz in mV of MIT-BIH record 208 (Moody and
          Mark, 2001, The impact of the MIT-BIH Arrhythmia Database, IEEE Eng in Med and Biol 20(3):45-50).
        - "auto": "embedded" where PyWavelets is installed, otherwise "scipy".
        - a .csv file, a column a channel. The first line is a header if none of its cells is a number; a second line
          without any has the units.
        - a .npy file, 1-D or of shape (n_samples, n_channels).
        - a WFDB record: its .hea or .dat file, or their path without extension. Needs `wfdb`.

        In .csv and .npy files a single row is one channel, and so is each row where there are more than 100 columns and
        fewer rows.
    channel : int or str, default="auto"
        Channel to load: its number, from 0, or its name. "auto" is the first that is an electrocardiogram by its look:
        in volts, where units are known; not text, such as dates; and not a time, a sample number or a constant, which
        only count.

    Returns
    -------
    Signal
        With the unit and the sampling rate (Hz) that the source states: None for "embedded", .csv without units and
        .npy. Of a WFDB record of several rates, all samples of the channel at its own rate.

    Raises
    ------
    ImportError
        If the package that the source needs is missing; for "auto", if neither source can be had.
    OSError
        If the file behind "scipy" cannot be fetched, or a file cannot be opened.
    ValueError
        If `source` is unknown, there is no such `channel`, or the file is empty, malformed or with non-finite samples.

    Examples
    --------
    >>> len(load_ecg("embedded"))
    1024
    """
    if not isinstance(channel, str):
        channel = check_count("channel", channel, least=0)
    loaders = {"auto": _load_auto, "embedded": _load_embedded, "scipy": _load_scipy}
    if isinstance(source, str) and source in loaders:
        _channel_number(channel, [None])
        return loaders[source]()
    return _load_path(source, channel)


def _load_embedded():
    pywt = _import("pywt", "PyWavelets", "embedded")
    return Signal(pywt.data.ecg(), description="pywt.data.ecg: PyWavelets states neither unit nor sampling rate")


def _load_scipy():
    pooch, datasets = _import("pooch", "pooch", "scipy"), importlib.import_module("scipy.datasets")
    try:
        values = datasets.electrocardiogram()
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong checksum is pooch's ValueError
        raise OSError(
            f"source 'scipy': the file ecg.dat could not be fetched ({error}). It can be put by hand, from "
            f"https://github.com/scipy/dataset-ecg, into pooch's cache folder {pooch.os_cache('scipy-data')}"
        ) from error
    return Signal(values, "mV", 360.0, "MIT-BIH Arrhythmia Database, record 208, lead MLII (Moody and Mark, 2001)")


def _load_auto():
    try:
        return _load_embedded()
    except ImportError as missing:
        try:
            return _load_scipy()
        except (ImportError, OSError) as error:
            raise ImportError(f"source 'auto' found nothing. {missing}. {error}") from error


def _load_path(source, channel):
    path = Path(os.fsdecode(source)) if isinstance(source, (str, os.PathLike)) else Path()
    suffix = path.suffix.lower()
    record = path.with_suffix("") if suffix in (".hea", ".dat") else path
    if suffix in (".csv", ".npy") and path.is_file():
        reader = _read_csv if suffix == ".csv" else _read_npy
    elif Path(f"{record}.hea").is_file():
        path, reader = record, _read_wfdb
    else:
        accepted = "'auto', 'embedded', 'scipy', or the path of a .csv file, a .npy file or a WFDB record with its .hea"
        raise ValueError(f"source must be {accepted}; got {source!r}, {_what_it_is(path, record)}")
    try:
        return reader(path, channel)
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # wfdb's parser raises many
        raise ValueError(f"source {str(path)!r} cannot be read: {error}") from error


def _what_it_is(path, record):
    """Say why a path is no source."""
    if not path.name:
        return "which is none of these"
    if not path.exists():
        return "and there is no such file"
    if path.is_dir():
        return "which is a folder"
    return f"and there is no {record.name}.hea" if path.suffix == ".dat" else "a file of another kind"


def _read_csv(path, channel):
    text = path.read_text(encoding="utf-8-sig")
    lines = text.splitlines()
    if not lines or not lines[0].strip():
        raise ValueError(NO_SAMPLES)
    first = lines[0].rstrip(", ").split(",")
    if all(as_number(cell) is not None for cell in first) and _by_rows(len(lines), len(first)):
        # pandas is slow where there are many columns; cells are read as lines
        cells = [read_cells("\n".join(line.rstrip(", ").split(",")))[0] for line in lines if line]
        return _from_text(path, channel, [None] * len(cells), [None] * len(cells), cells, "line")
    cells = read_cells(text.rstrip())
    if cells.shape[1] > 1 and not cells.iloc[:, -1].any():  # lines that end in a comma
        cells = cells.iloc[:, :-1]
    numeric = [as_number(cell) is not None for cell in cells.iloc[0]]
    has_header = not any(numeric)
    if len(cells) <= has_header:
        raise ValueError(NO_SAMPLES)
    if not has_header and not all(numeric):
        raise ValueError(f"line 1: expected numbers only, or a header without any; got {_shown(cells.iloc[0])}")
    names, units = [None] * len(numeric), [None] * len(numeric)
    if has_header:
        names, second = ([cell.strip(AROUND) for cell in cells.iloc[k]] for k in (0, 1))
        has_units = len(cells) > 2 and any(cell in VOLTS for cell in second)
        units = [cell or None for cell in second] if has_units else units
        cells = cells.iloc[1 + has_units :]
    return _from_text(path, channel, names, units, [column for _, column in cells.items()], "column")


def _from_text(path, channel, names, units, cells, kind):
    """Return a channel as a Signal; `cells` has a Series of text for each, whose index has the lines of its samples."""
    values = [np.array([as_number(cell) for cell in column], dtype=float) for column in cells]
    channel = _channel_number(channel, names, values.__getitem__, units)
    bad = np.flatnonzero(~np.isfinite(values[channel]))
    if len(bad):
        line, cell = cells[channel].index[bad[0]], cells[channel].iloc[bad[0]]
        place = f"line {line}: expected a finite number in column {channel}"
        if kind == "line":
            place = f"line {channel + 1}: expected a finite number in cell {line}"
        raise ValueError(f"{place}; got {cell!r}")
    name = names[channel] or (channel + 1 if kind == "line" else channel)
    return Signal(values[channel], units[channel], description=f"{kind} {name} of {path}")


def _read_npy(path, channel):
    with path.open("rb") as file:
        array = read_array(file, os.fstat(file.fileno()).st_size)
    if array.ndim not in (1, 2):
        raise ValueError(f"expected shape (n_samples,) or (n_samples, n_channels); got {array.shape}")
    by_rows = array.ndim == 2 and _by_rows(*array.shape)
    columns = array.T if by_rows else array[:, np.newaxis] if array.ndim == 1 else array
    channel = _channel_number(channel, [None] * columns.shape[1], columns.T.__getitem__)
    return Signal(columns[:, channel], description=f"{'row' if by_rows else 'channel'} {channel} of {path}")


def _read_wfdb(record, channel):
    wfdb = _import("wfdb", "wfdb", str(record), extra="wfdb")
    header = wfdb.rdheader(str(record), rd_segments=True)
    if len(header.sig_name or ()) != header.n_sig:
        raise ValueError(f"its header must have a line for each of {header.n_sig} signals")

    def read(number):
        # not averaged to the frames of a record of several rates
        return wfdb.rdrecord(str(record), channels=[number], smooth_frames=False)

    units = getattr(header, "units", None) or [None] * header.n_sig
    channel = _channel_number(channel, header.sig_name, lambda number: read(number).e_p_signal[0], units)
    content, line = read(channel), _header_lines(record)[channel]
    unit, name = content.units[0], header.sig_name[channel]
    if not line.isascii():  # wfdb drops letters such as that of micro
        fields = line.split(None, 8)
        unit, name = fields[2].partition("/")[2] or unit, fields[8].strip() if len(fields) > 8 else name
    label = f"channel {channel} ({name}) of WFDB record {record}"
    return Signal(content.e_p_signal[0], unit, content.fs * content.samps_per_frame[0], description=label)


def _header_lines(record):
    """Return the lines of the signals in the header of a WFDB record, or of its first segment."""
    content = Path(f"{record}.hea").read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    first, *lines = [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    if "/" not in first.split()[0]:
        return lines
    return _header_lines(record.with_name(next(line.split()[0] for line in lines if not line.lstrip().startswith("~"))))


def _import(module, package, source, extra="data"):
    return import_optional(module, extra, f"source {source!r} needs", package)


def _shown(row):
    row = list(row)
    return f"{row[:5]} and {len(row) - 5} more" if len(row) > 6 else f"{row}"


def _by_rows(n_rows, n_columns):
    """Return whether rows are channels, not samples."""
    return n_rows < n_columns and (n_rows == 1 or n_columns > MOST_CHANNELS)


def _channel_number(channel, names, read=None, units=()):
    """Return the number of a channel: given, or that of its name, or the first, in volts, that does not only count."""
    n = len(names)
    if isinstance(channel, int):
        if channel >= n:
            raise ValueError(f"channel must be below {n}, the number of channels; got {channel}")
        return channel
    if channel != "auto":
        known = ", ".join(map(repr, names)) if any(names) else "no names"
        if names.count(channel) != 1:
            raise ValueError(
                f"channel must be the name of one channel, or a number from 0; got {channel!r}, of {known}"
            )
        return names.index(channel)
    counting = False
    volts = [k for k, unit in enumerate(units) if unit in VOLTS]
    for k in volts or range(n if read else 0):
        values = np.asarray(read(k))
        if values.dtype.kind not in "iuf" or not (np.isnan(values).all() or _counts(values)):
            return k
        counting |= _counts(values)
    if counting:
        raise ValueError("every channel only counts, as a time does, or is constant; name one by channel to take it")
    return _channel_number(0, names)


def _counts(values):
    """Return whether samples only rise, fall or stay, or go in even steps, as sample numbers that start again do."""
    values = values[np.isfinite(values)].astype(np.float64)
    if len(values) < FEW:
        return False
    steps = np.diff(values)
    step = np.median(steps)
    even = step != 0 and np.mean(np.abs(steps - step) <= 0.1 * abs(step)) >= 0.95
    return bool(even or (steps >= 0).all() or (steps <= 0).all())


def as_samples(values, name="signal"):
    """Return a Signal's samples, or a 1-D array of finite numbers as float64; raise ValueError for anything else."""
    if isinstance(values, Signal):
        return values.values
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be 1-D, of numbers and not empty; got shape {array.shape}, dtype {array.dtype}")
    array = array.astype(np.float64, copy=False)
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise ValueError(f"{name} must have finite samples; got {array[bad[0]]} at index {bad[0]}")
    return array
