"""The command line, `convexnn`: fit, predict, path, certify, ecg."""

from .commands import main

__all__ = [
    "main",
]
