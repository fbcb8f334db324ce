"""What all tests of pictures have: figures that are closed, and the spline of a line of samples."""

import numpy as np
import pytest

from convexnn import ConvexReLURegressor


@pytest.fixture(autouse=True)
def closed_figures():
    """Close all figures after a test; an artist that cannot be drawn is an error in it."""
    from matplotlib import pyplot as plt

    yield
    for number in plt.get_fignums():
        if plt.figure(number).stale:
            plt.figure(number).canvas.draw()
    plt.close("all")


@pytest.fixture(scope="module")
def line():
    x = np.sort(np.random.default_rng(0).uniform(-2, 2, 20))[:, None]
    return x, np.abs(x[:, 0]) + 0.3 * np.sin(5 * x[:, 0])


@pytest.fixture(scope="module")
def spline(line):
    return ConvexReLURegressor(0.02, hidden_bias="free").fit(*line)
