"""Pictures of filters and their spectra, against the transform by its definition."""

import numpy as np
import pytest
from matplotlib import pyplot as plt
from networks import make_network
from plots import holding, random_network

from convexnn import CircularCNNRegressor, ConvexCNNRegressor
from convexnn.plotting import FiltersDisplay


def response(values, frequencies):
    """The transform by its definition, along the first axis."""
    return np.exp(-2j * np.pi * np.outer(frequencies, np.arange(len(values)))) @ values


def convolutional(name):
    network, X = make_network(name)
    model = ConvexCNNRegressor() if "circular" not in name else CircularCNNRegressor()
    model.network_, model.n_features_in_ = network, X.shape[1]
    return model, network


def test_filters_of_signals_and_their_response():
    model, network = convolutional("conv sum")
    display = FiltersDisplay.from_estimator(model, max_filters=3)
    sizes = np.linalg.norm(np.vstack([network.W1, network.b1]), axis=0) * np.abs(network.W2[:, 0])
    order = np.argsort(-sizes)[:3]
    assert display.axes_.shape == (2, 3)
    for k, j in enumerate(order):
        assert display.axes_[0, k].get_title().startswith(f"filter {j}, size {sizes[j]:.2g}")
        for c in range(2):
            weights = network.filters[j, c]
            np.testing.assert_array_equal(display.axes_[0, k].lines[1 + c].get_ydata(), weights)
            np.testing.assert_allclose(display.spectra_[k, c], np.abs(response(weights, display.frequencies_[0])))
            np.testing.assert_array_equal(display.axes_[1, k].lines[c].get_ydata(), display.spectra_[k, c])
    assert display.frequencies_[0][[0, -1]].tolist() == [0, 0.5]


def test_filters_of_images_and_their_response():
    model, network = convolutional("image sum")
    display = FiltersDisplay.from_estimator(model)
    assert display.axes_.shape == (2, 5)
    vertical, horizontal = display.frequencies_
    order = np.argsort(-np.linalg.norm(network.W1, axis=0) * np.abs(network.W2[:, 0]))
    for k, j in enumerate(order):
        for c in range(2):
            weights = network.filters[j, c]
            expected = np.abs(response(response(weights, vertical).T, horizontal).T)
            np.testing.assert_allclose(display.spectra_[k, c], expected, atol=1e-12)
    image = display.axes_[0, 0].images[0].get_array()
    np.testing.assert_array_equal(image[:, :3], network.filters[order[0], 0])
    assert np.ma.getmaskarray(image)[:, 3].all()


def test_circular_filters_are_centred_and_have_their_own_frequencies():
    model, network = convolutional("circular gated_relu")
    display = FiltersDisplay.from_estimator(model)
    order = np.argsort(-np.linalg.norm(network.W1, axis=0) * np.abs(network.W2[:, 0]))
    np.testing.assert_allclose(display.frequencies_[0], [0, 1 / 5, 2 / 5])
    for k, j in enumerate(order):
        filter_j = network.U[:, j]
        np.testing.assert_allclose(display.spectra_[k, 0], np.abs(response(filter_j, [0, 1 / 5, 2 / 5])))
        x, shown = display.axes_[0, k].lines[1].get_data()
        assert x.tolist() == [-2, -1, 0, 1, 2]
        np.testing.assert_array_equal(shown, filter_j[[3, 4, 0, 1, 2]])
        heights = [bar.get_height() for bar in display.axes_[1, k].patches]
        np.testing.assert_allclose(heights, display.spectra_[k, 0])


def test_circular_images():
    model, network = convolutional("circular image")
    display = FiltersDisplay.from_estimator(model, max_filters=1)
    j = np.argmax(np.linalg.norm(network.W1, axis=0) * np.abs(network.W2[:, 0]))
    u = network.U[:, j].reshape(3, 4)
    k, q = display.frequencies_[0][0], display.frequencies_[1][1]
    expected = np.abs(sum(u[a, b] * np.exp(-2j * np.pi * (k * a + q * b)) for a in range(3) for b in range(4)))
    assert display.spectra_[0, 0, 0, 1] == pytest.approx(expected)
    assert display.axes_[0, 0].images[0].get_array()[1, 2] == u[0, 0]  # offset 0 in the middle


def test_one_row_of_filters_in_given_axes():
    model, _ = convolutional("conv none")
    _, axes = plt.subplots(1, 5)
    display = FiltersDisplay.from_estimator(model, rows=["spectra"], ax=axes)
    assert display.axes_.tolist() == [axes.tolist()]


def test_no_filters():
    X = np.random.default_rng(0).standard_normal((8, 5))
    model = ConvexCNNRegressor(kernel_size=2, alpha=1e3).fit(X, X[:, 0])
    display = FiltersDisplay.from_estimator(model)
    assert display.axes_.shape == (2, 0)
    assert "no filters" in display.figure_.axes[0].texts[0].get_text()


def test_bad_requests_of_filters():
    model, _ = convolutional("conv sum")
    with pytest.raises(TypeError, match="must have filters"):
        FiltersDisplay.from_estimator(holding(random_network(2, 3)))
    for name, value, message in (
        ("rows", ["phases"], "rows must be one of"),
        ("rows", "filters", "rows must be a sequence"),
        ("max_filters", 0, "max_filters"),
    ):
        with pytest.raises(ValueError, match=message):
            FiltersDisplay.from_estimator(model, **{name: value})
    with pytest.raises(ValueError, match="filters must have shape"):
        FiltersDisplay(filters=np.ones((2, 3)), titles=["", ""])
