"""Ctrl-C at any time: a fit that is complete, or the estimator as it was."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager, nullcontext
from functools import cache

import numpy as np
import pytest
from interrupts import KINDS, fit, interrupted_fit
from scipy.optimize import linprog
from sklearn.exceptions import ConvergenceWarning

from convexnn import Architecture, ConvexReLURegressor
from convexnn.estimators import training
from convexnn.model import build_program
from convexnn.pricing.kappa import kappa, kappa_bound
from convexnn.utils.deadline import TimeIsUp, aside, breakable, is_up, remaining, within
from convexnn.utils.threads import map_batches

PARTS = (0.02, 0.3, 0.5, 0.7, 0.9, 0.98)


class _Calls:
    """Counts the calls of functions of the package, and raises KeyboardInterrupt at one of them."""

    def __init__(self, last):
        self.count, self.last = 0, last

    def __call__(self, frame, event, arg):
        if event == "call" and "convexnn/" in frame.f_code.co_filename and "/tests/" not in frame.f_code.co_filename:
            self.count += 1
            if self.count == self.last:
                raise KeyboardInterrupt

    @contextmanager
    def counting(self):
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)


@cache
def _complete(kind):
    """Return the estimator fitted without an interrupt, and how many calls that takes."""
    fit(*KINDS[kind](1))  # what is imported and compiled
    (model, X, y), calls = KINDS[kind](1), _Calls(None)
    with calls.counting():
        fit(model, X, y)
    return model, calls.count


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_leaves_a_whole_fit_or_none(kind):
    complete, n_calls = _complete(kind)
    kept = [interrupted_fit(kind, 1, _Calls(max(1, int(part * n_calls))).counting, complete) for part in PARTS]
    assert kept[-1]  # when nearly all is done, nothing is lost
    assert remaining() == np.inf


def test_an_interrupt_leaves_an_earlier_fit():
    model, X, y = KINDS["default"](1)
    fit(model, X, y)
    before = dict(vars(model))
    with pytest.raises(KeyboardInterrupt), _Calls(3).counting():
        model.fit(X[:, :2], y)
    assert vars(model) == before
    np.testing.assert_array_equal(model.predict(X), before["network_"].predict(X).ravel())


def test_an_interrupt_after_training_keeps_the_network(monkeypatch):
    X, y = KINDS["default"](1)[1:]
    whole = fit(ConvexReLURegressor(alpha=0.1, random_state=0), X, y)

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["convexnn.pricing.alpha_max"], "_search", interrupted)
    model = fit(ConvexReLURegressor(alpha=0.1, random_state=0), X, y)
    assert model.status_ == "solved"
    assert model.certificate_.objective == pytest.approx(whole.certificate_.objective, rel=1e-6)
    assert 0 < model.alpha_max_ <= whole.alpha_max_ * (1 + 1e-9)  # what there was of the search


@pytest.mark.parametrize("kind", KINDS)
def test_no_time_at_all_is_the_free_fit(kind):
    complete = _complete(kind)[0]
    model, X, y = KINDS[kind](1)
    if kind == "path":
        return
    estimator = getattr(model, "estimator", model)
    estimator.set_params(time_limit=1e-6)
    with nullcontext() if kind == "spline" else pytest.warns(ConvergenceWarning):  # which takes no time
        model.fit(X, y)
    assert vars(complete).keys() == vars(model).keys()
    certificate, fitted = model.certificate_, getattr(model, "estimator_", model)
    assert fitted.status_ in ("solved", "stopped at time_limit")
    assert 0 <= certificate.lower_bound <= certificate.objective
    assert np.isfinite(model.predict(X)).all()
    assert 0 <= model.alpha_max_ <= complete.alpha_max_ * (1 + 1e-9)
    if model.n_neurons_ == 0 and isinstance(model, ConvexReLURegressor):
        assert certificate.objective == pytest.approx(0.5 * np.sum((y - y.mean()) ** 2))


def test_within_is_never_later_than_the_call_around():
    assert remaining() == np.inf
    assert within(100.0, within, 1000.0, remaining) <= 100.0
    assert within(None, remaining) == np.inf
    assert within(1e-9, lambda: (time.sleep(1e-3), is_up())[1])
    assert remaining() == np.inf


def test_what_goes_on_aside_gives_its_result_or_its_error_in_time():
    def call(function, *args):
        with breakable():
            return aside(function, *args)

    assert aside(threading.get_ident) == threading.get_ident()
    assert within(100.0, call, threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        within(100.0, call, divmod, 1, 0)
    let = threading.Event()
    with pytest.raises(TimeIsUp):
        within(0.01, call, let.wait)
    let.set()
    assert within(0.01, aside, lambda: time.sleep(0.05) or "done") == "done"  # which has to be done


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_waits_for_what_goes_on_aside():
    """Else the copy has locks that nobody is left to give back, such as that of compilation."""
    code = """
        import os, threading, time
        from convexnn.utils.deadline import TimeIsUp, aside, breakable, within
        lock = threading.Lock()
        def hold():
            with lock:
                time.sleep(0.5)
        def call():
            with breakable():
                aside(hold)
        try:
            within(0.1, call)
        except TimeIsUp:
            child = os.fork()
            if child == 0:
                os._exit(0 if lock.acquire(timeout=30) else 1)
            print(os.waitpid(child, 0)[1])
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0"


def test_no_part_of_the_time_spoils_what_is_kept(monkeypatch):
    """The free fit, which alpha_max is the first to ask for, has all of the time."""
    monkeypatch.setattr(training, "SEARCH_FRACTION", 1e-9)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3))
    y = X[:, 0] + 0.1 * rng.standard_t(2, 200)
    model = ConvexReLURegressor(alpha=1e9, loss="absolute_error", skip=True, time_limit=100, random_state=0).fit(X, y)
    columns = np.column_stack([np.ones(200), X])
    zeros, ones = np.zeros(4), np.ones(200)
    best = linprog(  # |r| = p + q with r = p - q
        np.r_[zeros, ones, ones],
        A_eq=np.hstack([columns, np.eye(200), -np.eye(200)]),
        b_eq=y,
        bounds=[(None, None)] * 4 + [(0, None)] * 400,
    ).fun
    assert model.certificate_.objective == pytest.approx(best, rel=1e-9)


def test_what_cannot_be_written_out_in_time_is_not_begun():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((1000, 10)), rng.standard_normal(1000)
    model = ConvexReLURegressor(alpha=1.0, arrangements=600, solver="cvxpy", time_limit=1.0, random_state=0)
    before = threading.active_count()
    with pytest.warns(ConvergenceWarning, match="stopped at time_limit"):
        model.fit(X, y)
    assert threading.active_count() == before
    assert model.certificate_.objective == pytest.approx(0.5 * np.sum((y - y.mean()) ** 2))


def test_a_bound_of_kappa_is_one_without_time():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((12, 3)), rng.standard_normal((12, 2))
    program = build_program(X, y, 1.0, "all", Architecture(output_penalty="l1"))
    V = program.any_dual_at_zero()
    exact = kappa(program, V)
    assert kappa_bound(program, V) == pytest.approx(exact, rel=1e-9)
    assert within(0.0, kappa_bound, program, V) >= exact


def test_threads_have_the_clock():
    def clocks():
        return map_batches(lambda _: remaining(), range(3))

    assert all(0 < seconds <= 100.0 for seconds in within(100.0, clocks))
    assert clocks() == [np.inf] * 3
