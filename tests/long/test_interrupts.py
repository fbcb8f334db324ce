"""SIGINT at random times in fits of every kind."""

import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from functools import cache

import numpy as np
import pytest
from interrupts import KINDS, fit, interrupted_fit

pytestmark = pytest.mark.long

ROUNDS = 8  # of each kind: 112 interrupts


@pytest.fixture(autouse=True)
def _default_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@cache
def _complete(kind):
    fit(*KINDS[kind](2))  # what is imported and compiled
    model, X, y = KINDS[kind](2)
    start = time.perf_counter()
    return fit(model, X, y), time.perf_counter() - start


@contextmanager
def _interrupt_after(seconds):
    timer = threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_leaves_a_whole_fit_or_none(kind, seed):
    complete, seconds = _complete(kind)
    when = seconds * np.random.default_rng([seed, len(kind)]).uniform(0.0, 1.0)
    with suppress(KeyboardInterrupt):  # that came as the fit was over
        interrupted_fit(kind, 2, lambda: _interrupt_after(when), complete)
    model, X, y = KINDS["default"](1)
    assert fit(model, X, y).status_ == "solved"  # the next fit has all its time
