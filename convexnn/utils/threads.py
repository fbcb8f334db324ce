"""Threads for large products.

The threads of BLAS and of OpenMP wait for one another in busy loops: with another process on the machine, products on
two threads were measured to take 30 times as long as on one. So BLAS runs on one thread, and large products are shared
out by batches over threads that sleep while they wait.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from contextvars import copy_context
from functools import cache
from threading import Lock

from joblib import cpu_count
from threadpoolctl import ThreadpoolController

from .deadline import check

__all__ = ["TIMED_WORK", "map_batches", "one_blas_thread", "share_out"]

# Products from which the work is shared by threads, and the batches that it is then shared in, at least; products of a
# batch at most, between two looks at the clock.
THREADED_WORK, BATCHES, TIMED_WORK = 1e8, 16, 3e8


@cache
def _pools():
    """Return the thread pools of the process: to look for them takes milliseconds."""
    return ThreadpoolController()


class _Limit:
    """The one limit of the process, and who needs it: it is set by the first and lifted by the last."""

    def __init__(self):
        self.lock, self.users, self.limiter = Lock(), set(), None

    @contextmanager
    def __call__(self):
        user = object()
        try:
            with self.lock:
                self.users.add(user)
                if self.limiter is None:
                    self.limiter = _pools().limit(limits=1, user_api="blas")
            yield
        finally:
            with self.lock:
                self.users.discard(user)
                if not self.users and self.limiter is not None:
                    self.limiter.restore_original_limits()
                    self.limiter = None


# A context in which BLAS uses one thread: all of the process, as no BLAS has a number of threads for each thread.
one_blas_thread = _Limit()


def map_batches(function, batches, timed=False):
    """Return what a function gives for every batch, in their order, on all processors where there are several batches.

    `function` is to be mostly numpy, which lets other threads run. `timed` raises TimeIsUp between batches.
    """
    if len(batches) < 2:
        return [function(batch) for batch in batches]
    if timed:
        check()
    with one_blas_thread(), ThreadPoolExecutor(min(len(batches), cpu_count())) as pool:
        results = []
        contexts = [copy_context() for _ in batches]  # with the clock in them
        calls = pool.map(lambda context, batch: context.run(function, batch), contexts, batches)
        with closing(calls) as arriving:  # which cancels those that did not start
            for result in arriving:
                results.append(result)
                if timed and len(results) < len(batches):
                    check()
        return results


def share_out(function, count, work):
    """Apply a function to slices that make up range(count), on all processors where that pays.

    `work` is the number of products that an item takes. Raises TimeIsUp between slices when the call's time is up.
    """
    size = max(1, min(-(-count // BATCHES), int(TIMED_WORK / work))) if count * work > THREADED_WORK else count
    map_batches(function, [slice(first, min(count, first + size)) for first in range(0, count, size or 1)], timed=True)
