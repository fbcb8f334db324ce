"""Contributions add up, linear models are those of finite differences, regions are counted as by hand."""

import sys

import numpy as np
import pandas as pd
import pytest
from networks import NETWORKS, make_network

from convexnn import ConvexCNNRegressor, ConvexReLUClassifier, ConvexReLURegressor, Network
from convexnn.geometry.patches import Patches
from convexnn.networks.explanation import explain
from convexnn.networks.network import ConvNetwork


def outputs(network, X):
    return network.predict(X).reshape(len(X), -1)


@pytest.mark.parametrize("name", NETWORKS)
def test_one_linear_model_a_region(name):
    network, _ = make_network(name)
    d = len(network.W1) if not isinstance(network, ConvNetwork) else network.patches.n_features
    X = np.random.default_rng(1).standard_normal((300, 2)) @ np.random.default_rng(2).standard_normal((2, d))
    parts = explain(network, X)
    assert parts.regions.shape == (300,)
    assert parts.regions.max() + 1 == parts.n_regions == len(parts.region_sizes)
    np.testing.assert_array_equal(np.bincount(parts.regions), parts.region_sizes)
    assert (np.diff(parts.region_sizes) <= 0).all()
    for region in range(min(parts.n_regions, 20)):
        rows = np.flatnonzero(parts.regions == region)
        # the linear model of one sample predicts all others of its region
        predicted = X[rows] @ parts.coefficients[rows[0]] + parts.offsets[rows[0]]
        np.testing.assert_allclose(predicted, outputs(network, X[rows]), rtol=1e-10, atol=1e-10)


def test_regions_of_a_spline():
    """|x + 1| + (x)_+ - (x - 2)_+ has the knots -1, 0 and 2, and four pieces."""
    network = Network(
        np.array([[1.0, -1.0, 1.0, 1.0]]),
        np.array([1.0, -1.0, 0.0, -2.0]),
        np.array([[1.0], [1.0], [1.0], [-1.0]]),
        np.zeros(1),
    )
    X = np.array([[-5.0], [-3.0], [-0.5], [0.5], [1.0], [1.5], [3.0]])
    parts = explain(network, X)
    assert parts.regions.tolist() == [1, 1, 2, 0, 0, 0, 3]
    assert parts.region_sizes.tolist() == [3, 2, 1, 1]
    assert parts.coefficients.ravel().tolist() == [-1, -1, 1, 2, 2, 2, 1]
    assert parts.offsets.ravel().tolist() == [-1, -1, 1, 1, 1, 1, 3]
    # at the knots: the piece on the right, no pieces of their own
    knots = explain(network, np.concatenate([X, [[-1.0], [0.0], [2.0]]]))
    assert knots.n_regions == 4
    assert knots.regions.tolist() == [1, 1, 2, 0, 0, 0, 3, 2, 0, 3]
    np.testing.assert_array_equal(knots.coefficients.ravel()[-3:], [1, 2, 1])
    local = knots.coefficients[:, 0, 0] * np.append(X, [-1, 0, 2]) + knots.offsets[:, 0]
    np.testing.assert_allclose(local, knots.predictions[:, 0], atol=1e-14)


def test_knots_that_rounding_moves():
    """The knots are at the samples up to the last digit, on either side."""
    x = np.arange(1, 30)[:, None] * 0.1
    knots = np.nextafter(x.ravel(), np.tile([0.0, 9.0], 15)[:29])
    w = np.random.default_rng(0).uniform(0.5, 2, 29)
    W1, b1 = np.concatenate([w, -w])[None], np.concatenate([-w * knots, w * knots])
    network = Network(W1, b1, np.ones((58, 1)), np.zeros(1))
    on_walls = (x @ W1 + b1)[np.arange(29), np.arange(29)]
    assert on_walls.min() < 0 < on_walls.max() < 1e-14
    parts = explain(network, x)
    # each sample is in the piece on its right, of slope sum of w on the left minus those on the right
    slopes = [w[: i + 1].sum() - w[i + 1 :].sum() for i in range(29)]
    np.testing.assert_allclose(parts.coefficients.ravel(), slopes, rtol=1e-12)
    assert parts.n_regions == 29


def test_regions_in_the_plane():
    """Three lines in general position cut the plane into seven regions, |t| knows the same, and linear ones none."""
    W1, b1 = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]), np.array([0.0, 0.0, -1.0])
    grid = np.stack(np.meshgrid(np.linspace(-3, 3, 40), np.linspace(-3, 3, 40)), axis=-1).reshape(-1, 2)
    for activation, count in [("relu", 7), ("leaky_relu", 7), ("abs", 7), ("threshold", 7), ("linear", 1)]:
        network = Network(W1, b1, np.ones((3, 1)), np.zeros(1), activation)
        parts = explain(network, grid)
        assert parts.n_regions == count
        signs = (grid @ W1 + b1 > 0) @ [1, 2, 4]
        if activation != "linear":
            assert np.bincount(signs, minlength=8).max() == parts.region_sizes[0]
            assert len(set(zip(signs, parts.regions, strict=True))) == 7
    gates = np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 2.0]])
    assert explain(Network(W1, b1, np.ones((3, 1)), np.zeros(1), "gated_relu", gates=gates), grid).n_regions == 4


def test_max_pooling_selects_a_patch():
    patches = Patches((1, 4), 2, pooling="max")
    network = ConvNetwork(np.array([[1.0], [2.0]]), np.array([-1.0]), np.array([[3.0]]), np.array([0.5]), patches)
    # patches: (0, 2), (2, 1), (1, 5) of values 3, 3, 10; all of them off
    parts = explain(network, [[0.0, 2.0, 1.0, 5.0], [0.0, -1.0, 0.0, 0.0], [0.0, 4.0, 0.0, 0.0], [9.0, 0.0, 4.0, 6.0]])
    np.testing.assert_array_equal(parts.coefficients[:, :, 0], [[0, 0, 3, 6], [0] * 4, [3, 6, 0, 0], [0, 0, 3, 6]])
    assert parts.offsets.ravel().tolist() == [-2.5, 0.5, -2.5, -2.5]
    assert parts.regions.tolist() == [0, 1, 2, 0]


def fitted():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((12, 2)), columns=["age", "dose"], index=[f"p{i}" for i in range(12)])
    y = np.abs(X["age"]) + 0.3 * X["dose"]
    return ConvexReLURegressor(alpha=0.05, skip=True, random_state=0).fit(X, y), X


def test_tables_of_a_fitted_estimator():
    model, X = fitted()
    parts = explain(model, X)
    frame = parts.to_frame()
    neurons = [f"neuron_{j}" for j in range(model.n_neurons_)]
    assert frame.columns.tolist() == [*neurons, "intercept", "skip", "prediction"]
    assert frame.index.tolist() == X.index.tolist()
    np.testing.assert_array_equal(frame["prediction"], model.predict(X))
    np.testing.assert_allclose(frame.drop(columns="prediction").sum(axis=1), frame["prediction"], rtol=1e-12)
    table = parts.coefficients_frame()
    assert table.columns.tolist() == ["age", "dose", "offset", "region"]
    np.testing.assert_allclose((table[["age", "dose"]] * X).sum(axis=1) + table["offset"], model.predict(X), rtol=1e-12)
    assert parts.feature_names.tolist() == ["age", "dose"]
    assert table["region"].tolist() == parts.regions.tolist()
    text = str(parts)
    assert text.startswith(f"12 predictions of 1 output by {model.n_neurons_} neurons (relu) and a linear skip")
    assert "age" in text.splitlines()[-1 if parts.dual is None else -2]
    assert repr(parts).startswith("Explanation(n_samples=12, n_features=2, n_outputs=1, n_neurons=")


def test_tables_of_several_outputs():
    X = np.random.default_rng(0).standard_normal((20, 2))
    y = np.array(["a", "b", "c"])[np.digitize(X[:, 0], [-0.5, 0.5])]
    model = ConvexReLUClassifier(alpha=0.1, random_state=0).fit(X, y)
    parts = explain(model, X)
    assert parts.output_names.tolist() == ["a", "b", "c"]
    frame = parts.to_frame()
    assert frame.index.names == ["sample", "output"]
    assert len(frame) == 60
    np.testing.assert_array_equal(frame["prediction"].unstack().to_numpy(), model.decision_function(X))
    np.testing.assert_allclose(frame.loc[(3, "b")].iloc[:-1].sum(), model.decision_function(X)[3, 1], rtol=1e-12)
    table = parts.coefficients_frame()
    local = table.loc[(7, "c")]
    assert X[7] @ local[["x0", "x1"]] + local["offset"] == pytest.approx(model.decision_function(X)[7, 2], rel=1e-12)


def test_images_are_taken_as_the_estimator_takes_them():
    images = np.random.default_rng(0).standard_normal((15, 1, 5))
    model = ConvexCNNRegressor(0.01, input_shape=(1, 5), kernel_size=2, random_state=0).fit(
        images, np.abs(images).sum(axis=(1, 2))
    )
    parts = explain(model, images)
    np.testing.assert_array_equal(parts.predictions[:, 0], model.predict(images))
    assert parts.coefficients.shape == (15, 5, 1)


def test_dual_variables():
    model, X = fitted()
    for dual, support in [([[0.0], [3e-9], [-2.0], [1e-7]], [2, 3]), (np.zeros((3, 2)), []), (None, None)]:
        model.dual_ = None if dual is None else np.array(dual)
        parts = explain(model, X)
        assert parts.dual is model.dual_
        assert support is None if parts.support is None else parts.support.tolist() == support
    model.dual_ = np.array([[0.0, 1.0], [0.0, 0.0], [2.0, 0.0]])
    assert "training samples that hold the fit in place: 2 of 3" in str(explain(model, X))


def test_samples_without_dual_variables_do_not_matter():
    """Trained on the support alone, a classifier with the hinge loss has the same optimum."""
    X = np.random.default_rng(0).standard_normal((30, 2))
    labels = np.abs(X[:, 0]) + X[:, 1] > 0.7
    model = ConvexReLUClassifier(alpha=0.1, loss="hinge", tol=1e-6, random_state=0).fit(X, labels)
    parts = explain(model, X)
    assert parts.dual.shape == (30, 1)
    assert 2 <= len(parts.support) < 20
    # beyond the margin, not at it, nothing holds
    margins = np.where(labels, 1, -1) * model.decision_function(X)
    assert not np.isin(np.flatnonzero(margins > 1 + 1e-3), parts.support).any()
    assert np.isin(np.flatnonzero(margins < 1 - 1e-3), parts.support).all()
    again = ConvexReLUClassifier(alpha=0.1, loss="hinge", tol=1e-6, random_state=0)
    again.fit(X[parts.support], labels[parts.support])
    assert again.certificate_.objective == pytest.approx(model.certificate_.objective, rel=1e-5)


def test_names_of_outputs():
    X = np.random.default_rng(0).standard_normal((10, 2))
    model = ConvexReLUClassifier(alpha=0.5, loss="hinge").fit(X, np.where(X[:, 0] > 0, "yes", "no"))
    assert explain(model, X).output_names.tolist() == ["yes"]
    assert explain(model.network_, X).output_names.tolist() == ["y0"]
    assert explain(model, X).feature_names.tolist() == ["x0", "x1"]


def test_tables_without_pandas(monkeypatch):
    network, X = make_network("relu")
    parts = explain(network, X)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="tables need pandas: pip install convexnn"):
        parts.to_frame()
    with pytest.raises(ImportError, match="tables need pandas: pip install convexnn"):
        parts.coefficients_frame()


def test_inputs_that_are_refused():
    model, X = fitted()
    with pytest.raises(ValueError, match="Expected 2D array, got scalar"):
        explain(model.network_, 3)
    with pytest.raises(ValueError, match="feature names should match"):
        explain(model, X.assign(weight=1.0))
    with pytest.raises(ValueError, match="NaN"):
        explain(model, X * np.nan)
    with pytest.raises(ValueError, match="X must have 2 features, as the network; got 3"):
        explain(model.network_, np.zeros((4, 3)))
