import decimal
import locale
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings

import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from convexnn import ConvexReLUClassifier, ConvexReLURegressor
from convexnn.utils import threads
from convexnn.utils.quiet import ignoring
from convexnn.utils.threads import map_batches, one_blas_thread, share_out


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_batches_keep_their_order_and_share_one_blas_thread_each():
    before = blas_threads()
    results = map_batches(lambda k: (k, threading.current_thread().name, blas_threads()), range(20))
    assert [k for k, _, _ in results] == list(range(20))
    assert all(name != threading.main_thread().name for _, name, _ in results)
    assert all(set(threads) == {1} for _, _, threads in results)
    assert blas_threads() == before


def test_one_batch_needs_no_thread():
    assert map_batches(lambda k: threading.current_thread().name, [0]) == [threading.main_thread().name]
    assert map_batches(lambda k: k, []) == []


def test_errors_of_a_batch_are_raised():
    with pytest.raises(ZeroDivisionError):
        map_batches(lambda k: 1 // k, [1, 0, 2])


def test_blas_is_limited_and_given_back():
    before = blas_threads()
    with one_blas_thread():
        np.ones((300, 300)) @ np.ones((300, 300))
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_overlapping_limits_end_in_what_was_before():
    """The first that starts ends first, and the last lifts the limit."""
    before, first, second = blas_threads(), one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(blas_threads()) == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == before
    with pytest.raises(KeyboardInterrupt), one_blas_thread(), one_blas_thread():
        raise KeyboardInterrupt
    assert blas_threads() == before


def test_work_is_shared_out_once(monkeypatch):
    monkeypatch.setattr(threads, "THREADED_WORK", 10)
    for count in (0, 1, 5, 16, 17, 100):
        parts = []
        share_out(parts.append, count, 1)
        assert sorted(k for part in parts for k in range(count)[part]) == list(range(count))
        assert len(parts) == min(count, 1 if count <= 10 else -(-count // -(-count // threads.BATCHES)))


def state():
    """Return what of the process a fit might change."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return (
        blas_threads(),
        list(warnings.filters),
        np.geterr(),
        np.random.mtrand._rand.get_state()[1].tolist(),
        handlers,
        numba.get_num_threads(),
        dict(os.environ),
        sys.getrecursionlimit(),
        locale.setlocale(locale.LC_ALL),
        logging.root.level,
        list(logging.root.handlers),
        decimal.getcontext().prec,
    )


def fit(seed, done):
    """Fit what has inner solvers, whose warnings are ignored, and what warns itself."""
    rng = np.random.default_rng(seed)
    n, d = [(12, 1), (15, 2), (20, 3)][seed % 3]
    X = rng.standard_normal((n, d))
    y = np.abs(X).sum(axis=1) + 0.1 * rng.standard_normal(n)
    if seed % 4 == 3:
        done.append(ConvexReLUClassifier(alpha=0.3, random_state=seed, max_iter=20).fit(X, y > np.median(y)))
    else:
        options = {"solver": "cvxpy", "arrangements": 8} if seed % 4 == 2 else {"max_iter": 20}
        done.append(ConvexReLURegressor(alpha=0.2, **options, random_state=seed).fit(X, y))


def test_fits_in_threads_change_nothing():
    done = []
    fit(2, done)  # loads cvxpy, and its libraries
    with threadpool_limits(2):
        before = state()
        for _ in range(2):
            workers = [threading.Thread(target=fit, args=(seed, done)) for seed in range(8)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        assert state() == before
    assert len(done) == 17


def test_warnings_are_ignored_in_one_thread_only():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before, contexts = list(warnings.filters), [ignoring(UserWarning, "some"), ignoring(UserWarning)]
        contexts[0].__enter__()
        other = threading.Thread(target=warnings.warn, args=("something of another thread",))
        other.start()
        other.join()
        warnings.warn("something here", stacklevel=1)
        warnings.warn("else", stacklevel=1)
        warnings.warn("something of another class", RuntimeWarning, stacklevel=1)
        contexts[1].__enter__()
        contexts[0].__exit__(None, None, None)
        warnings.warn("nothing", stacklevel=1)
        contexts[1].__exit__(None, None, None)
        assert list(warnings.filters) == before
    messages = [str(warning.message) for warning in caught]
    assert messages == ["something of another thread", "else", "something of another class"]


def test_filters_that_others_put_back_ignore_nothing():
    with warnings.catch_warnings(record=True):
        quiet = ignoring(UserWarning)
        quiet.__enter__()
        with warnings.catch_warnings():  # puts the filter back afterwards
            quiet.__exit__(None, None, None)
        with pytest.warns(UserWarning, match="heard"):
            warnings.warn("heard", stacklevel=1)


NUMBERS = """
import warnings, numpy as np
from convexnn import ConvexReLURegressor
warnings.simplefilter("ignore")
for n, d, skip in ((40, 2, False), (60, 3, True)):
    rng = np.random.default_rng(n)
    X = rng.standard_normal((n, d))
    y = np.sin(3 * X[:, 0]) + np.abs(X).sum(axis=1) + 0.1 * rng.standard_normal(n)
    model = ConvexReLURegressor(alpha=0.5, scope="global", skip=skip, random_state=0).fit(X, y)
    print(model.predict(X).tobytes().hex(), float(model.certificate_.lower_bound).hex())
"""


def test_global_fits_do_not_depend_on_the_number_of_threads():
    printed = set()
    for count in ("1", "3"):
        names = (
            "OPENBLAS_NUM_THREADS",
            "OMP_NUM_THREADS",
            "MKL_NUM_THREADS",
            "NUMBA_NUM_THREADS",
            "LOKY_MAX_CPU_COUNT",
        )
        environment = os.environ | dict.fromkeys(names, count)
        done = subprocess.run(
            [sys.executable, "-c", NUMBERS], capture_output=True, text=True, env=environment, check=True
        )
        printed.add(done.stdout)
    assert len(printed) == 1
