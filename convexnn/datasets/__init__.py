"""Signals and the windows that predict their next sample: an ECG, files of others, planted networks."""

from .signals import Signal, load_ecg
from .windows import WindowedSplit, ecg_windows, make_windows, planted_network, split_signal

__all__ = [
    "Signal",
    "WindowedSplit",
    "ecg_windows",
    "load_ecg",
    "make_windows",
    "planted_network",
    "split_signal",
]
