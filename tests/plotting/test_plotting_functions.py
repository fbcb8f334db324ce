"""Pictures of functions: knots, lines of neurons and regions, against formulas and counts."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from plots import dense, holding, random_network

from convexnn import ConvexReLURegressor
from convexnn.plotting import NetworkFunctionDisplay
from convexnn.plotting.network_function import clip_lines, count_regions

WINDOW = np.array([[-3.0, 5.0], [-1.0, 2.0]])


# lines


def test_parts_of_lines_end_on_the_window():
    rng = np.random.default_rng(0)
    normals, offsets = rng.standard_normal((40, 2)), rng.standard_normal(40)
    normals[3] = 0.0
    segments, index = clip_lines(normals, offsets, WINDOW)
    on_line = np.einsum("ked,kd->ke", segments, normals[index]) + offsets[index, None]
    np.testing.assert_allclose(on_line, 0, atol=1e-12)
    borders = np.abs(segments[..., None] - WINDOW).reshape(len(segments), 2, -1).min(axis=2)
    np.testing.assert_allclose(borders, 0, atol=1e-12)
    grid = np.stack(np.meshgrid(*(np.linspace(*axis, 300) for axis in WINDOW)), axis=-1).reshape(-1, 2)
    values = grid @ normals.T + offsets
    crossing = (values > 0).any(axis=0) & (values < 0).any(axis=0)
    assert index.tolist() == np.flatnonzero(crossing & normals.any(axis=1)).tolist()


@pytest.mark.parametrize(
    ("normals", "offsets", "regions"),
    [
        (np.zeros((0, 2)), [], 1),
        ([[0, 0]], [1], 1),
        ([[1, 0]], [100], 1),
        ([[1, 0]], [3], 1),  # along the border
        ([[1, 0], [-2, 0], [1e-3, 0]], [0, 0, 0], 2),  # one line, three times
        ([[1, 0], [2, 0]], [0, 2], 3),
        ([[1, 0], [0, 1], [1, 1], [1, -1]], [0, 0, 0, 0], 8),  # all through one point
        ([[1, 0], [0, 1], [1, 1], [1, -1]], [0, 0, 0, 0.5], 10),
        ([[1, 0], [0, 1], [1, 1], [1, -1.1]], [0, 0, -0.5, 0.3], 11),  # in general position: 1 + 4 + 6
    ],
)
def test_regions_of_special_lines(normals, offsets, regions):
    assert count_regions(np.array(normals, dtype=float), np.array(offsets, dtype=float), WINDOW) == regions


def test_regions_are_the_patterns_of_a_grid():
    normals, offsets = random_network(2, 7, seed=2).W1.T, 0.4 * np.arange(-3, 4)
    grid = np.stack(np.meshgrid(*(np.linspace(*axis, 900) for axis in WINDOW)), axis=-1).reshape(-1, 2)
    patterns = np.unique(np.packbits(grid @ normals.T + offsets > 0, axis=1), axis=0)
    assert count_regions(normals, offsets, WINDOW) == len(patterns)


# functions of one feature


def test_the_knots_of_a_spline_are_samples(spline, line):
    display = NetworkFunctionDisplay.from_estimator(spline, *line)
    network = spline.network_
    expected = np.unique((-network.b1 / network.W1[0]).round(9))
    inside = expected[(expected > display.grid[0][0]) & (expected < display.grid[0][-1])]
    np.testing.assert_allclose(display.knots_, inside, atol=1e-8)
    assert np.abs(display.knots_[:, None] - line[0][:, 0]).min(axis=1).max() < 1e-8
    marks = display.knot_points_[0].get_offsets()
    np.testing.assert_allclose(marks[:, 1], spline.predict(display.knots_[:, None]), atol=1e-9)
    x, curve = display.lines_[0].get_data()
    np.testing.assert_allclose(curve, spline.predict(x[:, None]))
    assert x[0] < line[0].min()
    assert x[-1] > line[0].max()
    np.testing.assert_array_equal(display.points_.get_offsets(), np.column_stack(line))


def test_several_outputs_have_a_curve_each():
    network = random_network(1, 4, 2)
    x, Y = np.linspace(-1, 1, 5)[:, None], np.zeros((5, 2))
    display = NetworkFunctionDisplay.from_estimator(holding(network), x, Y)
    assert [line.get_label() for line in display.lines_] == ["output 0", "output 1"]
    one = NetworkFunctionDisplay.from_estimator(holding(network), x, Y, output=1)
    np.testing.assert_array_equal(one.lines_[0].get_ydata(), display.lines_[1].get_ydata())
    assert one.points_.get_offsets().shape == (5, 2)


@pytest.mark.parametrize("activation", ["threshold", "gated_relu"])
def test_jumps_are_gaps_in_the_curve(activation):
    gates = np.array([[1.0, 2.0], [0.5, -1.0]]) if activation == "gated_relu" else None
    network = dense([[1, 2]], [0.5, -1], [3, -2], activation=activation, gates=gates)
    display = NetworkFunctionDisplay.from_estimator(holding(network), bounds=[(-1, 1)])
    np.testing.assert_allclose(display.knots_, [-0.5, 0.5])
    x, curve = display.lines_[0].get_data()
    gap = np.flatnonzero(np.isnan(curve))
    assert len(gap) == 2
    for k, knot in zip(gap, display.knots_, strict=True):
        assert x[k - 1] < knot < x[k + 1]
        np.testing.assert_allclose(x[[k - 1, k + 1]], knot, atol=1e-6)
        np.testing.assert_allclose(curve[[k - 1, k + 1]], network.predict(x[[k - 1, k + 1], None]))


def test_without_data_the_knots_say_how_far_to_draw():
    display = NetworkFunctionDisplay.from_estimator(holding(dense([[1, 2, 0]], [3, -8, 1], [1, 1, 1])))
    low, high = display.ax_.get_xlim()
    assert low < -3 < 4 < high < 5
    assert display.points_ is None
    constant = NetworkFunctionDisplay.from_estimator(holding(dense(np.zeros((1, 0)), [], np.zeros((0, 1)), 2.5)))
    assert constant.ax_.get_title(loc="left") == "no neurons, no knots in view"
    assert (constant.lines_[0].get_ydata() == 2.5).all()


@pytest.mark.parametrize(("classes", "n_outputs"), [(["a", "b"], 1), (["a", "b"], 2), (["a", "b", "c"], 3)])
@pytest.mark.parametrize("response", ["auto", "decision_function"])
def test_curves_of_classifiers(classes, n_outputs, response):
    model = holding(random_network(1, 5, n_outputs), classes)
    x, y = np.linspace(-2, 2, 6)[:, None], np.array((classes * 3)[:6])
    display = NetworkFunctionDisplay.from_estimator(model, x, y, response_method=response, n_points=50)
    values = (model.predict_proba if response == "auto" else model.decision_function)(display.grid[0][:, None])
    expected = values.reshape(len(values), -1)
    expected = expected[:, 1:] if len(classes) == 2 and response == "auto" else expected
    np.testing.assert_allclose(np.column_stack([line.get_ydata() for line in display.lines_]), expected)
    if len(classes) == 2:
        assert "b" in display.ax_.get_ylabel()
    else:
        assert [line.get_label() for line in display.lines_] == ["class a", "class b", "class c"]


# functions of two features


def test_lines_of_neurons_and_regions():
    network = random_network(2, 8)
    X = np.random.default_rng(3).standard_normal((30, 2))
    model = holding(network)
    display = NetworkFunctionDisplay.from_estimator(model, X, model.predict(X), n_points=60)
    np.testing.assert_array_equal(display.points_.get_array(), model.predict(X))
    assert display.points_.norm is display.surface_.norm
    for segment, j in zip(display.segments_, display.segment_neurons_, strict=True):
        np.testing.assert_allclose(segment @ network.W1[:, j] + network.b1[j], 0, atol=1e-12)
    window = np.array([display.ax_.get_xlim(), display.ax_.get_ylim()])
    assert (window[:, 0] < X.min(axis=0)).all()
    assert (window[:, 1] > X.max(axis=0)).all()
    grid = np.stack(np.meshgrid(*(np.linspace(*axis, 600) for axis in window)), axis=-1).reshape(-1, 2)
    n_regions = len(np.unique(np.packbits(grid @ network.W1 + network.b1 > 0, axis=1), axis=0))
    assert n_regions <= display.n_regions_ <= n_regions + 1  # the grid may miss a small one
    assert display.ax_.get_title(loc="left") == f"8 neurons, {display.n_regions_} activation regions in view"
    rows, columns = np.meshgrid(display.grid[1], display.grid[0], indexing="ij")
    np.testing.assert_allclose(
        display.values[..., 0].ravel(), model.predict(np.column_stack([columns.ravel(), rows.ravel()]))
    )


def test_probabilities_of_several_classes_are_mixed_colours():
    model = holding(random_network(2, 5, 3), ["a", "b", "c"])
    X = np.random.default_rng(0).standard_normal((6, 2))
    display = NetworkFunctionDisplay.from_estimator(model, X, list("abcabc"), n_points=30)
    image = display.surface_.get_array()
    probabilities = model.predict_proba(np.array([[display.grid[0][4], display.grid[1][7]]]))[0]
    pale = [0.6 + 0.4 * np.array(to_rgb(color)) for color in ("#0072B2", "#D55E00", "#009E73")]
    np.testing.assert_allclose(image[7, 4], probabilities @ np.array(pale))


def test_the_boundary_of_two_classes():
    model = holding(dense([[1], [0]], [5], [2], -12), ["no", "yes"])  # 2 x0 - 2 in view, 0 at x0 = 1
    display = NetworkFunctionDisplay.from_estimator(model, bounds=[(-2, 2), (-1, 1)], n_points=41)
    thick = [one for one in display.ax_.collections if np.max(one.get_linewidth()) > 2]
    points = np.vstack([path.vertices for path in thick[0].get_paths()])
    np.testing.assert_allclose(points[:, 0], 1, atol=1e-3)


def test_functions_without_neurons_or_data():
    empty = holding(dense(np.zeros((2, 0)), [], np.zeros((0, 1)), 1.0))
    display = NetworkFunctionDisplay.from_estimator(empty)
    assert display.n_regions_ == 1
    assert len(display.segments_) == 0
    bare = NetworkFunctionDisplay.from_estimator(holding(random_network(2, 3)))
    bare.plot(neurons=False, legend=False)
    assert bare.ax_.get_legend() is None


def test_names_of_features_are_on_the_axes(line):
    X = pd.DataFrame({"age": line[0][:, 0], "height": line[1]})
    model = ConvexReLURegressor(0.5, arrangements=5, random_state=0).fit(X, line[1])
    display = NetworkFunctionDisplay.from_estimator(model, X, line[1], n_points=20)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("age", "height")


SAMPLES = np.zeros((4, 1))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((3, 3), {}, "one or two features; got a Network of 3 features"),
        ((2, 3, 2), {}, "output must be one of 0 to 1"),
        ((2, 3, 2), {"output": 2}, "output must be below 2"),
        ((1, 3), {"y": [1.0]}, "X must be given"),
        ((1, 3), {"X": SAMPLES, "y": [1.0]}, "each of the 4 samples"),
        ((1, 3), {"X": SAMPLES, "y": np.zeros((4, 2))}, "y must have 1 output"),
        ((1, 3), {"bounds": [(1, 0)]}, "bounds must be 1 pair"),
        ((1, 3), {"bounds": [(0, 1), (0, 1)]}, "bounds must be 1 pair"),
        ((1, 3), {"bounds": [(0, np.inf)]}, "bounds must be 1 pair"),
        ((1, 3), {"response_method": "predict_proba"}, "response_method"),
        ((1, 3), {"n_points": 1}, "n_points"),
    ],
)
def test_bad_requests_of_a_function(shape, options, message):
    with pytest.raises(ValueError, match=message):
        NetworkFunctionDisplay.from_estimator(holding(random_network(*shape)), **options)


def test_classifiers_have_no_output_to_choose():
    with pytest.raises(ValueError, match="output must be None"):
        NetworkFunctionDisplay.from_estimator(holding(random_network(1, 3), ["a", "b"]), output=0)
