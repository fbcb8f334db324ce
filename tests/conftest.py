"""One BLAS thread a test process: the matrices are tiny, and threads waiting for one another cost time."""

import pytest
from threadpoolctl import threadpool_limits

collect_ignore = ["long"]  # but for make test-long, which names it


@pytest.fixture(autouse=True, scope="session")
def single_thread():
    with threadpool_limits(1):
        yield
