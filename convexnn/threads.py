"""Threads for large products.

The threads of BLAS and of OpenMP wait for one another in busy loops: with another process on the machine, products on
two threads were measured to take 30 times as long as on one. So BLAS runs on one thread, and large products are shared
out by batches over threads that sleep while they wait.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

from joblib import cpu_count
from threadpoolctl import ThreadpoolController

__all__ = ["map_batches", "one_blas_thread", "share_out"]

# Products from which the work is shared by threads, and the batches that it is then shared in.
THREADED_WORK, BATCHES = 1e8, 16


@cache
def _pools():
    """Return the thread pools of the process: to look for them takes milliseconds."""
    return ThreadpoolController()


def one_blas_thread():
    """Return a context in which BLAS uses one thread."""
    return _pools().limit(limits=1, user_api="blas")


def map_batches(function, batches):
    """Apply a function to every batch, on all processors where there are several.

    Parameters
    ----------
    function : callable
        Called with one batch; what it does is to be mostly numpy, which lets other threads run.
    batches : sequence
        The batches.

    Returns
    -------
    list
        The results, in the order of the batches.
    """
    if len(batches) < 2:
        return [function(batch) for batch in batches]
    with one_blas_thread(), ThreadPoolExecutor(min(len(batches), cpu_count())) as pool:
        return list(pool.map(function, batches))


def share_out(function, count, work):
    """Apply a function to slices that make up range(count), on all processors where that pays.

    Parameters
    ----------
    function : callable
        Called with a slice.
    count : int
        The number of items.
    work : float
        Products that an item takes.
    """
    size = -(-count // BATCHES) if count * work > THREADED_WORK else count
    map_batches(function, [slice(first, min(count, first + size)) for first in range(0, count, size or 1)])
