"""Proved bounds of kappa, against the cells one by one."""

import _thread
import signal
import threading
from dataclasses import astuple

import numpy as np
import pytest
from degenerate import CASES, IDS, degenerate, exact_kappa, generic
from exact import kappa_of_lines

from convexnn.pricing.branch_and_bound import bound_kappa


def value(X, v, u, sign):
    return sign * v @ np.maximum(X @ u, 0) / np.linalg.norm(u)


def hard_problem(n=60, d=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal(n)


@pytest.mark.parametrize(("X", "v"), CASES, ids=IDS)
def test_bounds_enclose_the_exact_value(X, v):
    exact = exact_kappa(X, v)
    proved = bound_kappa(X, v, exact * (1 + 1e-6))
    assert proved.status == "proved"
    assert exact * (1 - 1e-12) <= proved.upper <= exact * (1 + 1e-6)
    refuted = bound_kappa(X, v, 0.99 * exact)
    assert refuted.status == "refuted"
    assert refuted.upper >= exact * (1 - 1e-12)
    assert 0.99 * exact < refuted.lower <= exact * (1 + 1e-12)
    for u in refuted.points:
        assert value(X, v, u[:-1], u[-1]) > 0.99 * exact
    tight = bound_kappa(X, v, 0.5 * exact, refute=False)
    assert exact * (1 - 1e-12) <= tight.upper <= exact * (1 + 1e-6)
    for bound in (proved, refuted, tight):
        assert bound.lower <= bound.upper
        assert bound.lower == pytest.approx(value(X, v, bound.u, bound.sign), rel=1e-12)
        assert np.linalg.norm(bound.u) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("shift", [0, 1e-9, -1e-9, 1e-12])
@pytest.mark.parametrize("name", ["integers", "duplicates", "grid"])
def test_thresholds_at_the_exact_value_come_to_an_end(name, shift):
    X, v = degenerate(name)
    exact = exact_kappa(X, v)
    bound = bound_kappa(X, v, exact * (1 + shift))
    assert exact * (1 - 1e-12) <= bound.upper
    if shift >= 0:
        assert bound.upper <= exact * (1 + 1e-7)


def test_lines_in_rational_arithmetic():
    x, v = [-5, -3, -2, 0, 1, 4, 7], [3, -2, 4, -7, 2, 5, -4]
    exact = kappa_of_lines(x, v)
    X = np.stack([np.array(x, float), np.ones(7)], 1)
    bound = bound_kappa(X, np.array(v, float), exact * (1 + 1e-9))
    assert bound.status == "proved"
    assert bound.lower <= exact * (1 + 1e-12)
    assert bound_kappa(X, np.array(v, float), exact, refute=False).lower == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(
    ("unit_x", "unit_v"), [(1e80, 1e80), (1e-80, 1e-80), (1e80, 1e-80), (1e-150, 1.0), (1.0, 1e150)]
)
def test_units_do_not_matter(unit_x, unit_v):
    X, v = generic(10, 3, 0)
    exact = exact_kappa(X, v) * (unit_x * unit_v)
    bound = bound_kappa(X * unit_x, v * unit_v, exact * (1 + 1e-6))
    assert bound.status == "proved"
    assert exact * (1 - 1e-12) <= bound.upper
    assert bound.lower <= exact * (1 + 1e-12)


def test_rotated_and_repeated_rows_have_the_same_kappa():
    X, v = generic(30, 4, 1)
    kappa = bound_kappa(X, v, 1e-3, refute=False).upper
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((4, 4)))[0]
    assert bound_kappa(X @ rotation, v, kappa * (1 + 1e-7)).status == "proved"
    assert bound_kappa(np.r_[X, 2 * X], np.r_[v / 2, v / 4], kappa * (1 + 1e-7)).status == "proved"
    assert bound_kappa(X, -v, kappa * (1 + 1e-7)).status == "proved"


def test_nothing_to_bound():
    for X, v in [(np.ones((3, 2)), np.zeros(3)), (np.zeros((3, 2)), np.ones(3)), (np.eye(2), np.zeros(2))]:
        bound = bound_kappa(X, v, 1e-3)
        assert (bound.lower, bound.upper, bound.status) == (0.0, 0.0, "proved")


def test_weights_that_cancel():
    X = np.random.default_rng(0).standard_normal((5, 3))
    bound = bound_kappa(np.r_[X, X], np.r_[np.ones(5), -np.ones(5)], 1e-6)
    assert bound.status == "proved"


def test_limits_leave_a_valid_bound():
    X, v = hard_problem()
    kappa = bound_kappa(X, v, 1e-3, refute=False)
    assert kappa.upper <= kappa.lower * (1 + 1e-6)
    uppers = [bound_kappa(X, v, 1e-3, refute=False, max_nodes=most).upper for most in (2, 8, 32, 128, 512)]
    assert min(uppers) >= kappa.lower
    assert uppers == sorted(uppers, reverse=True)
    assert uppers[-1] < uppers[0]
    stopped = bound_kappa(X, v, kappa.lower * (1 + 1e-7), max_nodes=20)
    assert stopped.status == "stopped at max_nodes"
    assert stopped.n_nodes <= 40
    stopped = bound_kappa(X, v, kappa.lower * (1 + 1e-7), time_limit=1e-3)
    assert stopped.status == "stopped at time_limit"
    assert stopped.upper >= kappa.lower


def test_an_interrupt_leaves_a_valid_bound():
    X, v = hard_problem(200, 9)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    timer = threading.Timer(0.5, _thread.interrupt_main)
    timer.start()
    try:
        bound = bound_kappa(X, v, 1e-3, refute=False)
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)
    assert bound.lower * 1.001 < bound.upper < np.abs(v) @ np.linalg.norm(X, axis=1)
    assert bound.upper >= np.linalg.norm(X.T @ v) / 2


def test_starts_are_tried_first():
    X, v = hard_problem()
    best = bound_kappa(X, v, 1e-3, refute=False)
    bound = bound_kappa(X, v, best.lower * (1 - 1e-9), starts=np.vstack([np.zeros(5), 1e-200 * best.u, 7 * best.u]))
    assert bound.status == "refuted"
    assert bound.lower >= best.lower * (1 - 1e-12)


def test_high_rank_has_a_first_bound():
    X, v = hard_problem(60, 40)
    bound = bound_kappa(X, v, 20.0, refute=False)
    assert bound.lower <= bound.upper
    assert bound.status.startswith("stopped at the first bound")


def test_the_result_is_the_same_again():
    X, v = hard_problem(40, 4)
    first, second = (bound_kappa(X, v, 1e-3, refute=False) for _ in range(2))
    assert first.upper == pytest.approx(second.upper, rel=1e-8)
    assert len(astuple(first)) == 7


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"X": np.ones(3)}, ValueError, "X must"),
        ({"X": np.full((3, 2), np.nan)}, ValueError, "X must"),
        ({"X": np.ones((3, 2), complex)}, TypeError, "X must"),
        ({"v": np.ones(4)}, ValueError, "v must"),
        ({"v": np.array([1.0, np.inf, 0.0])}, ValueError, "v must"),
        ({"threshold": 0.0}, ValueError, "threshold must"),
        ({"threshold": "1"}, TypeError, "threshold must"),
        ({"starts": np.ones((2, 3))}, ValueError, "starts must"),
        ({"time_limit": -1.0}, ValueError, "time_limit must"),
        ({"max_nodes": 0}, ValueError, "max_nodes must"),
        ({"refute": 1}, ValueError, "refute must"),
    ],
)
def test_bad_arguments(change, error, match):
    arguments = {"X": np.ones((3, 2)), "v": np.ones(3), "threshold": 1.0, **change}
    with pytest.raises(error, match=match):
        bound_kappa(**arguments)
