"""Threads for large products.

The threads of BLAS and of OpenMP wait for one another in busy loops: with another process on the machine, products on
two threads were measured to take 30 times as long as on one. So BLAS runs on one thread, and large products are shared
out by batches over threads that sleep while they wait.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache

from joblib import cpu_count
from threadpoolctl import ThreadpoolController

from .deadline import check

__all__ = ["map_batches", "one_blas_thread"]


@cache
def _pools():
    """Return the thread pools of the process: to look for them takes milliseconds."""
    return ThreadpoolController()


def one_blas_thread():
    """Return a context in which BLAS uses one thread."""
    return _pools().limit(limits=1, user_api="blas")


def map_batches(function, batches, timed=False):
    """Apply a function to every batch, on all processors where there are several.

    Parameters
    ----------
    function : callable
        Called with one batch; what it does is to be mostly numpy, which lets other threads run.
    batches : sequence
        The batches.
    timed : bool, default=False
        Whether to raise TimeIsUp when the time of the call is up, unless there is one batch alone.

    Returns
    -------
    list
        The results, in the order of the batches.
    """
    if len(batches) < 2:
        return [function(batch) for batch in batches]
    if timed:
        check()
    with one_blas_thread(), ThreadPoolExecutor(min(len(batches), cpu_count())) as pool:
        results = []
        with closing(pool.map(function, batches)) as arriving:  # which cancels those that did not start
            for result in arriving:
                results.append(result)
                if timed and len(results) < len(batches):
                    check()
        return results
