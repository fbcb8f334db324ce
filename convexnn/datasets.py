"""Electrocardiograms as forecasting problems, and planted networks as problems with a known answer.

A recording x of shape (n_samples,) becomes a regression problem by a sliding window: row t of X is x[t..t+window-1],
its target is y[t] = x[t+window-1+horizon]. The split in time comes first; only training samples set the scaling.
"""

import csv
import importlib
import os
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path

import numpy as np
from sklearn.utils import check_random_state

from .validation import check_count, check_flag, check_positive

__all__ = ["Signal", "WindowedSplit", "ecg_windows", "load_ecg", "make_windows", "planted_network", "split_signal"]


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
        values = _as_samples(self.values, "values").copy()
        values.flags.writeable = False
        object.__setattr__(self, "values", values)
        if self.sampling_rate is not None:
            object.__setattr__(self, "sampling_rate", check_positive("sampling_rate", self.sampling_rate))

    def __len__(self):
        return self.values.shape[0]


@dataclass(frozen=True, eq=False)
class WindowedSplit:
    """Hold the training and test windows of a signal, and the scaling that leads back to its unit.

    Parameters
    ----------
    X_train, y_train, X_test, y_test : ndarray of shape (n_windows, window) or (n_windows,)
        Windows and targets, ``(samples - mean) / scale``.
    mean, scale : float
        Mean and standard deviation of the training samples, in `unit`; 0 and 1 where none was asked for.
    unit, sampling_rate : str or None, float or None
        Unit of the signal, such as "mV", and its sampling rate in Hz.

    Examples
    --------
    >>> split = ecg_windows([0.0, 4.0, 0.0, 4.0, 5.0, 6.0, 7.0], window=2, train=4)
    >>> split.mean, split.scale, split.mse_in_unit(0.5)
    (2.0, 2.0, 2.0)
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    mean: float
    scale: float
    unit: str | None
    sampling_rate: float | None

    def to_unit(self, values):
        """Return windows, targets or predictions, an array of any shape, in the unit of the signal."""
        return np.asarray(values, dtype=np.float64) * self.scale + self.mean

    def mse_in_unit(self, mse):
        """Return a mean squared error of the scaled problem in the squared unit of the signal, such as mV^2."""
        return mse * self.scale**2


def load_ecg(source="auto", *, channel=0):
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


def make_windows(signal, window=15, horizon=1):
    """Slide a window over a signal: row t is x[t..t+window-1], its target x[t+window-1+horizon].

    Parameters
    ----------
    signal : Signal or array-like of shape (n_samples,)
        Samples in order, at least ``window + horizon`` of them.
    window, horizon : int
        Samples in a row, and steps from the last of them to the target, at least 1 each.

    Returns
    -------
    X, y : ndarray of shape (n_windows, window) and (n_windows,)
        Contiguous copies, with ``n_windows = n_samples - window - horizon + 1``.

    Raises
    ------
    ValueError
        If `window` or `horizon` is not an integer of at least 1, or `signal` is too short.

    Examples
    --------
    >>> X, y = make_windows([0, 1, 2, 3, 4], window=2, horizon=2)
    >>> X.tolist(), y.tolist()
    ([[0.0, 1.0], [1.0, 2.0]], [3.0, 4.0])
    """
    values = _as_samples(signal)
    window, horizon = check_count("window", window), check_count("horizon", horizon)
    if values.shape[0] < window + horizon:
        raise ValueError(
            f"signal (its training part, if split) must have {window + horizon} samples; got {values.shape[0]}"
        )
    # .copy(), not ascontiguousarray: for window=1 the view is already contiguous and would be shared
    X = np.lib.stride_tricks.sliding_window_view(values[:-horizon], window).copy()
    return X, values[window - 1 + horizon :].copy()


def split_signal(signal, train=0.7):
    """Split a signal in time: the first samples to train on, the rest to test on.

    Parameters
    ----------
    signal : Signal or array-like of shape (n_samples,)
        Samples, in order.
    train : float or int, default=0.7
        Fraction of the samples in (0, 1), rounded to the nearest sample; or number of samples, as an int.

    Returns
    -------
    train_signal, test_signal : Signal or ndarray
        Signals with the unit, rate and description of `signal`; float64 copies where `signal` is array-like.

    Raises
    ------
    ValueError
        If `train` is neither of the two, or leaves a part without samples.

    Examples
    --------
    >>> [part.tolist() for part in split_signal([0, 1, 2, 3], train=3)]
    [[0.0, 1.0, 2.0], [3.0]]
    """
    values = _as_samples(signal)
    n_train, n_samples = 0, values.shape[0]
    if isinstance(train, Integral) and not isinstance(train, bool):
        n_train = int(train)
    elif isinstance(train, Real) and 0 < train < 1:
        n_train = round(float(train) * n_samples)
    if not 0 < n_train < n_samples:
        raise ValueError(f"train must be an int from 1 to {n_samples - 1} or a fraction rounding to one; got {train!r}")
    parts = np.split(values, [n_train])
    return tuple(replace(signal, values=part) if isinstance(signal, Signal) else part.copy() for part in parts)


def ecg_windows(signal, *, window=15, horizon=1, train=0.7, scale=True):
    """Build the training and test problems of one-channel forecasting, without leakage.

    The split in time comes first: `mean` and `scale` are those of the training part, whose windows end in it. Every
    sample after it is the target of one test window; the first of these look back at training samples, as a forecast
    would.

    Parameters
    ----------
    signal, window, horizon, train
        As in `make_windows` and `split_signal`; the training part needs ``window + horizon`` samples.
    scale : bool, default=True
        Whether to standardise; otherwise `mean` is 0 and `scale` is 1.

    Returns
    -------
    WindowedSplit
        Its `mse_in_unit` gives errors in the squared unit of the signal.

    Raises
    ------
    ValueError
        If a parameter is not accepted, or the training part is too short or, to be scaled, constant.

    Examples
    --------
    >>> ecg_windows(load_ecg("embedded"), train=700).X_train.shape
    (685, 15)
    """
    first, last = (_as_samples(part) for part in split_signal(signal, train))
    mean, std = (float(first.mean()), float(first.std())) if check_flag("scale", scale) else (0.0, 1.0)
    # equal samples are not std == 0: rounding of the mean gives 1000 samples of 0.1 a std of 1e-17
    if not 0 < std < np.inf or (scale and first.min() == first.max()):
        raise ValueError(f"signal must vary in its training part; got a standard deviation of {std}")
    train_windows = make_windows((first - mean) / std, window, horizon)
    past = first[len(first) - window - horizon + 1 :]
    test_windows = make_windows((np.concatenate([past, last]) - mean) / std, window, horizon)
    unit, rate = (signal.unit, signal.sampling_rate) if isinstance(signal, Signal) else (None, None)
    return WindowedSplit(*train_windows, *test_windows, mean=mean, scale=std, unit=unit, sampling_rate=rate)


def planted_network(n_samples, n_features, n_neurons=10, noise=0.1, random_state=None):
    """Draw a regression problem whose target is a random two-layer ReLU network, plus noise.

    ``y = f + noise * std(f) * e`` with ``f = relu(X @ W) @ a``: X, a and e are standard normal, W is standard normal
    divided by ``sqrt(n_features)``.

    Parameters
    ----------
    n_samples, n_features, n_neurons : int
        Rows and columns of X, and neurons of the teacher (10), at least 1 each.
    noise : float, default=0.1
        Standard deviation of the noise over that of f, at least 0.
    random_state : int, numpy Generator, RandomState or None, default=None
        An int gives the same problem each time.

    Returns
    -------
    X, y : ndarray of shape (n_samples, n_features) and (n_samples,)
        Inputs and targets.

    Raises
    ------
    ValueError
        If a parameter is not accepted.

    Examples
    --------
    >>> X, y = planted_network(100, 5, random_state=0)
    """
    sizes = {"n_samples": n_samples, "n_features": n_features, "n_neurons": n_neurons}
    n_samples, n_features, n_neurons = (check_count(name, size) for name, size in sizes.items())
    if not isinstance(noise, Real) or isinstance(noise, bool) or not 0 <= noise < np.inf:
        raise ValueError(f"noise must be a finite number of at least 0; got {noise!r}")
    rng = random_state if isinstance(random_state, np.random.Generator) else check_random_state(random_state)
    X = rng.standard_normal((n_samples, n_features))
    W = rng.standard_normal((n_features, n_neurons)) / np.sqrt(n_features)
    f = np.maximum(X @ W, 0.0) @ rng.standard_normal(n_neurons)
    return X, f + noise * f.std() * rng.standard_normal(n_samples)


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


def _as_samples(values, name="signal"):
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
