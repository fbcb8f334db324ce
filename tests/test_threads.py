import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from convexnn.threads import map_batches, one_blas_thread


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
