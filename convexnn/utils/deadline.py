"""The deadline of a call: one clock for all that it does, which deep loops look at without being handed it.

`within` sets it for a function and whatever that calls; in a call inside it is never later. Ctrl-C is a deadline that
is now: `until_up` and `despite_interrupt` turn it into one, so that what follows is brief and what there is so far is
kept. It lives in a context variable, so each thread has its own, and no interrupt can leave it set.
"""

import os
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from threading import TIMEOUT_MAX
from time import perf_counter

import numpy as np

__all__ = [
    "TimeIsUp",
    "affords",
    "aside",
    "breakable",
    "check",
    "despite_interrupt",
    "end_now",
    "go_on",
    "in_time",
    "interrupted",
    "is_limited",
    "is_up",
    "plain_interrupts",
    "remaining",
    "until_up",
    "within",
]

# Products a second of dense linear algebra on one thread of a busy machine.
PRODUCTS_A_SECOND = 1e9


class TimeIsUp(Exception):
    """The time of the call is up."""

    def __init__(self):
        super().__init__("the time of the call is up")


class _Call:
    """The outermost call."""

    interrupted = False  # by Ctrl-C, which ended its time


_clock = ContextVar("clock", default=None)  # (the end in seconds of perf_counter, the outermost call)
_breakable = ContextVar("breakable", default=False)
_left = set()  # calls aside that go on by themselves


def within(seconds, function, *args, **options):
    """Call a function that is to end within some seconds, None for no limit of its own, and the call it is part of."""
    # the context of the function is dropped as it returns, whatever interrupts it
    return copy_context().run(_within, seconds, function, args, options)


def _within(seconds, function, args, options):
    end, call = _clock.get() or (np.inf, _Call())
    _clock.set((end if seconds is None else min(end, perf_counter() + seconds), call))
    return function(*args, **options)


def remaining():
    """Return the seconds that are left; inf without a limit, 0 where the time is up."""
    end, call = _clock.get() or (np.inf, None)
    return 0.0 if call is not None and call.interrupted else max(end - perf_counter(), 0.0)


def is_up():
    """Return whether the time of the call is up: never without a limit or an interrupt."""
    return remaining() == 0.0


def is_limited():
    """Return whether the call has a limit of time, or Ctrl-C ended its time."""
    return remaining() < np.inf


def aside(function, *args, **options):
    """Call a function that looks at no clock: in a thread of its own, which it is left to when the time is up.

    Where there is no limit of time it is called here. TimeIsUp is raised only in a block that is `breakable`: the
    function goes on to its end, for which the process waits as it ends or forks, and what it returns is dropped.
    """
    if not is_limited():
        return function(*args, **options)
    if _breakable.get():
        check()
    thread = ThreadPoolExecutor(1)
    work = thread.submit(function, *args, **options)
    thread.shutdown(wait=False)
    if not wait([work], min(remaining(), TIMEOUT_MAX) if _breakable.get() else None).done:
        _left.add(work)
        work.add_done_callback(_left.discard)
        raise TimeIsUp
    return work.result()


def _wait_for_left():
    """Wait for what was left aside: a copy of the process would have its locks, and nobody to give them back."""
    wait(tuple(_left))


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_wait_for_left)


def affords(products):
    """Return whether there is time, roughly, for so many products of dense linear algebra: it cannot be cut short."""
    return products <= PRODUCTS_A_SECOND * remaining()


def check():
    """Raise TimeIsUp where the time of the call is up."""
    if is_up():
        raise TimeIsUp


def interrupted():
    """Return whether Ctrl-C ended the time of the call."""
    clock = _clock.get()
    return clock is not None and clock[1].interrupted


def end_now():
    """End the time of the call, at Ctrl-C."""
    _clock.get()[1].interrupted = True


def go_on():
    """Forget that Ctrl-C ended a part of the call."""
    _clock.get()[1].interrupted = False


@contextmanager
def breakable(value=True):
    """Let TimeIsUp leave the block anywhere; `value` is False for a part of it that has to be done to its end."""
    token = _breakable.set(value)
    try:
        yield
    finally:
        _breakable.reset(token)


@contextmanager
def plain_interrupts():
    """Raise Ctrl-C inside a kernel, which Python makes a SystemError or a chain of them, as KeyboardInterrupt."""
    try:
        yield
    except SystemError as error:
        cause = error
        while isinstance(cause, SystemError):
            cause = cause.__cause__
        if not isinstance(cause, KeyboardInterrupt):
            raise
        raise cause from None


@contextmanager
def until_up():
    """Leave the block, without an error, where the time of the call is up; Ctrl-C in it, inside `within`, ends it."""
    try:
        with plain_interrupts(), breakable():
            yield
    except TimeIsUp:
        pass
    except KeyboardInterrupt:
        if _clock.get() is None:
            raise
        end_now()


def despite_interrupt(function, *args):
    """Call a function that has to be done; at Ctrl-C, which ends the time of the call, again, now briefly.

    The function has to give the same when it is called again, but for what takes time. A second Ctrl-C raises
    KeyboardInterrupt.
    """
    with breakable(False):
        try:
            with plain_interrupts():
                return function(*args)
        except KeyboardInterrupt:
            end_now()
            return function(*args)


def in_time(function, otherwise):
    """Return what a function gives, or what another does where the time of the call is up before it is done."""
    with until_up():
        return function()
    return otherwise()
