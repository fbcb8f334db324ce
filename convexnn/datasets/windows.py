"""Electrocardiograms as forecasting problems, and planted networks as problems with a known answer.

A recording x of shape (n_samples,) becomes a regression problem by a sliding window: row t of X is x[t..t+window-1],
its target is y[t] = x[t+window-1+horizon]. The split in time comes first; only training samples set the scaling.
"""

from dataclasses import dataclass, replace
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from ..utils.validation import check_count, check_flag, shown
from .signals import Signal, as_samples, load_ecg

__all__ = ["Signal", "WindowedSplit", "ecg_windows", "load_ecg", "make_windows", "planted_network", "split_signal"]


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

    def to_unit(self, values: ArrayLike) -> np.ndarray:
        """Return windows, targets or predictions, an array of any shape, in the unit of the signal."""
        return np.asarray(values, dtype=np.float64) * self.scale + self.mean

    def mse_in_unit(self, mse: float) -> float:
        """Return a mean squared error of the scaled problem in the squared unit of the signal, such as mV^2."""
        return mse * self.scale**2


def make_windows(signal: Signal | ArrayLike, window: int = 15, horizon: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Slide a window over a signal: row t is x[t..t+window-1], its target x[t+window-1+horizon].

    Parameters
    ----------
    signal : Signal or array-like of shape (n_samples,)
        Samples in order, at least ``window + horizon`` of them.
    window, horizon : int
        Samples in a row, and steps from the last of them to the target, at least 1 each.

    Returns
    -------
    X : ndarray of shape (n_windows, window)
        The windows, a contiguous copy, with ``n_windows = n_samples - window - horizon + 1``.
    y : ndarray of shape (n_windows,)
        Their targets, a contiguous copy.

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
    values = as_samples(signal)
    window, horizon = check_count("window", window), check_count("horizon", horizon)
    if values.shape[0] < window + horizon:
        raise ValueError(
            f"signal (its training part, if split) must have {window + horizon} samples; got {values.shape[0]}"
        )
    # .copy(), not ascontiguousarray: for window=1 the view is already contiguous and would be shared
    X = np.lib.stride_tricks.sliding_window_view(values[:-horizon], window).copy()
    return X, values[window - 1 + horizon :].copy()


def split_signal(signal: Signal | ArrayLike, train: float | int = 0.7) -> tuple[Signal | np.ndarray, ...]:
    """Split a signal in time: the first samples to train on, the rest to test on.

    Parameters
    ----------
    signal : Signal or array-like of shape (n_samples,)
        Samples, in order.
    train : float or int, default=0.7
        Fraction of the samples in (0, 1), rounded to the nearest sample; or number of samples, as an int.

    Returns
    -------
    train_signal : Signal or ndarray
        The first samples, with the unit, rate and description of `signal`; a float64 copy where that is array-like.
    test_signal : Signal or ndarray
        The rest, alike.

    Raises
    ------
    ValueError
        If `train` is neither of the two, or leaves a part without samples.

    Examples
    --------
    >>> [part.tolist() for part in split_signal([0, 1, 2, 3], train=3)]
    [[0.0, 1.0, 2.0], [3.0]]
    """
    values = as_samples(signal)
    n_train, n_samples = 0, values.shape[0]
    if n_samples < 2:
        raise ValueError("signal must have at least two samples, to train and to test on; got one")
    if isinstance(train, Integral) and not isinstance(train, bool):
        n_train = int(train)
    elif isinstance(train, Real) and 0 < train < 1:
        n_train = round(float(train) * n_samples)
    if not 0 < n_train < n_samples:
        raise ValueError(
            f"train must be an int from 1 to {n_samples - 1} or a fraction rounding to one; got {shown(train)}"
        )
    parts = np.split(values, [n_train])
    return tuple(replace(signal, values=part) if isinstance(signal, Signal) else part.copy() for part in parts)


def ecg_windows(
    signal: Signal | ArrayLike, *, window: int = 15, horizon: int = 1, train: float | int = 0.7, scale: bool = True
) -> WindowedSplit:
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
    first, last = (as_samples(part) for part in split_signal(signal, train))
    mean, std = (float(first.mean()), float(first.std())) if check_flag("scale", scale) else (0.0, 1.0)
    # equal samples are not std == 0: rounding of the mean gives 1000 samples of 0.1 a std of 1e-17
    if not 0 < std < np.inf or (scale and first.min() == first.max()):
        raise ValueError(f"signal must vary in its training part; got a standard deviation of {std}")
    train_windows = make_windows((first - mean) / std, window, horizon)
    past = first[len(first) - window - horizon + 1 :]
    test_windows = make_windows((np.concatenate([past, last]) - mean) / std, window, horizon)
    unit, rate = (signal.unit, signal.sampling_rate) if isinstance(signal, Signal) else (None, None)
    return WindowedSplit(*train_windows, *test_windows, mean=mean, scale=std, unit=unit, sampling_rate=rate)


def planted_network(
    n_samples: int,
    n_features: int,
    n_neurons: int = 10,
    noise: float = 0.1,
    random_state: int | np.random.Generator | np.random.RandomState | None = None,
) -> tuple[np.ndarray, np.ndarray]:
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
    X : ndarray of shape (n_samples, n_features)
        Inputs.
    y : ndarray of shape (n_samples,)
        Targets.

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
        raise ValueError(f"noise must be a finite number of at least 0; got {shown(noise)}")
    rng = random_state if isinstance(random_state, np.random.Generator) else check_random_state(random_state)
    X = rng.standard_normal((n_samples, n_features))
    W = rng.standard_normal((n_features, n_neurons)) / np.sqrt(n_features)
    f = np.maximum(X @ W, 0.0) @ rng.standard_normal(n_neurons)
    return X, f + noise * f.std() * rng.standard_normal(n_samples)
