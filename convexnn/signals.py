"""Signals of one channel with what is known of their unit and sampling rate, and the electrocardiograms at hand."""

import csv
import importlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .validation import check_count, check_positive

__all__ = ["Signal", "as_samples", "load_ecg"]


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


def load_ecg(source: str | os.PathLike = "auto", *, channel: int = 0) -> Signal:
    """Load an electrocardiogram.

    Parameters
    ----------
    source : {"auto", "embedded", "scipy"}, str or os.PathLike, default="auto"
        - "embedded": the 1024 samples of `pywt.data.ecg`. PyWavelets states neither their unit nor their rate.
        - "scipy": `scipy.datasets.electrocardiogram`, 108,000 samples at 360 Hz in mV of MIT-BIH record 208 (Moody and
          Mark, 2001, The impact of the MIT-BIH Arrhythmia Database, IEEE Eng in Med and Biol 20(3):45-50).
        - "auto": "embedded" where PyWavelets is installed, otherwise "scipy".
        - a .csv file, a column a channel. The first line is a header if none of its cells is a number.
        - a .npy file, 1-D or of shape (n_samples, n_channels).
        - a WFDB record: its .hea or .dat file, or their path without extension. Needs `wfdb`.
    channel : int, default=0
        Channel to load, from 0.

    Returns
    -------
    Signal
        With the unit and the sampling rate (Hz) that the source states: None for "embedded", .csv and .npy.

    Raises
    ------
    ImportError
        If the package that the source needs is missing; for "auto", if neither source can be had.
    OSError
        If the file behind "scipy" can not be fetched, or a file can not be opened.
    ValueError
        If `source` is unknown, `channel` out of range, or the file empty, malformed or with non-finite samples.

    Examples
    --------
    >>> len(load_ecg("embedded"))
    1024
    """
    channel = check_count("channel", channel, least=0)
    loaders = {"auto": _load_auto, "embedded": _load_embedded, "scipy": _load_scipy}
    if isinstance(source, str) and source in loaders:
        _check_channel(channel, 1)
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
        raise ValueError(f"source must be {accepted}; got {source!r}")
    try:
        return reader(path, channel)
    except (ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:  # wfdb's parser raises many
        raise ValueError(f"source {str(path)!r} can not be read: {error}") from error


def _read_csv(path, channel):
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    while rows and not rows[-1]:  # blank lines at the end; further up, a blank line is a missing sample
        rows.pop()
    numeric = [_number(cell) is not None for cell in rows[0]] if rows else []
    has_header = not any(numeric)
    if not numeric or len(rows) <= has_header:
        raise ValueError("expected samples from line 1, or below a header on line 1; got none")
    if not has_header and not all(numeric):
        raise ValueError(f"line 1: expected numbers only, or a header without any; got {rows[0]}")
    _check_channel(channel, len(numeric))
    values = []
    for line, row in enumerate(rows[has_header:], start=1 + has_header):
        value = _number(row[channel]) if len(row) == len(numeric) else None
        if value is None or not np.isfinite(value):
            raise ValueError(f"line {line}: expected {len(numeric)} cells, finite in column {channel}; got {row}")
        values.append(value)
    return Signal(values, description=f"column {rows[0][channel] if has_header else channel} of {path}")


def _read_npy(path, channel):
    with path.open("rb") as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    if array.ndim not in (1, 2):
        raise ValueError(f"expected shape (n_samples,) or (n_samples, n_channels); got {array.shape}")
    columns = array[:, np.newaxis] if array.ndim == 1 else array
    _check_channel(channel, columns.shape[1])
    return Signal(columns[:, channel], description=f"channel {channel} of {path}")


def _read_wfdb(record, channel):
    content = _import("wfdb", "wfdb", str(record), extra="wfdb").rdrecord(str(record))
    _check_channel(channel, content.n_sig)
    label = f"channel {channel} ({content.sig_name[channel]}) of WFDB record {record}"
    return Signal(content.p_signal[:, channel], content.units[channel], content.fs, description=label)


def _import(module, package, source, extra="data"):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"source {source!r} needs {package}: pip install convexnn[{extra}]") from error


def _number(cell):
    try:
        return None if "_" in cell else float(cell)  # float reads '1_0' as 10
    except ValueError:
        return None


def _check_channel(channel, n_channels):
    if channel >= n_channels:
        raise ValueError(f"channel must be below {n_channels}, the number of channels; got {channel}")


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
