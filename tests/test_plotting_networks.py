"""Pictures of networks: arrangements, functions and filters, against formulas and counts by hand."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from networks import make_network
from plots import closed_figures, dense, holding, random_network  # noqa: F401 (the fixture closes figures)

from convexnn import CircularCNNRegressor, ConvexCNNRegressor, ConvexReLURegressor, enumerate_arrangements
from convexnn.plotting import ArrangementDisplay, FiltersDisplay, NetworkFunctionDisplay
from convexnn.plotting.lines import clip_lines, count_regions
from convexnn.plotting.weight_space import cell_image, cells_around, great_circle, sector_bounds, sectors, to_disc

WINDOW = np.array([[-3.0, 5.0], [-1.0, 2.0]])


@pytest.fixture(scope="module")
def line():
    x = np.sort(np.random.default_rng(0).uniform(-2, 2, 20))[:, None]
    return x, np.abs(x[:, 0]) + 0.3 * np.sin(5 * x[:, 0])


@pytest.fixture(scope="module")
def spline(line):
    return ConvexReLURegressor(0.02, hidden_bias="free").fit(*line)


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


def test_lines_in_general_position_cut_the_most_regions():
    angles = np.linspace(0, np.pi, 9, endpoint=False) + 0.1
    normals, offsets = np.column_stack([np.cos(angles), np.sin(angles)]), 0.1 * np.arange(9) ** 1.5
    assert count_regions(normals, offsets, np.array([[-1e3, 1e3]] * 2)) == 1 + 9 + 36


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
    ],
)
def test_regions_of_special_lines(normals, offsets, regions):
    assert count_regions(np.array(normals, dtype=float), np.array(offsets, dtype=float), WINDOW) == regions


def test_regions_are_the_patterns_of_a_grid():
    normals, offsets = random_network(2, 7, seed=2).W1.T, 0.4 * np.arange(-3, 4)
    grid = np.stack(np.meshgrid(*(np.linspace(*axis, 900) for axis in WINDOW)), axis=-1).reshape(-1, 2)
    patterns = np.unique(np.packbits(grid @ normals.T + offsets > 0, axis=1), axis=0)
    assert count_regions(normals, offsets, WINDOW) == len(patterns)


# weight space


@pytest.mark.parametrize("rows", [[[2, 2], [3, 3], [1, 0]], [[1, 0], [-1, 0], [0, 0]], [[1, 2], [0, 1], [1, -1e-3]]])
def test_sectors_are_the_cells(rows):
    rows = np.array(rows, dtype=float)
    cells = enumerate_arrangements(rows)
    bounds = sector_bounds(rows)
    assert len(bounds) == len(cells)
    ends = sectors(rows, cells.gates)
    middle = ends.mean(axis=1)
    inside = np.column_stack([np.cos(middle), np.sin(middle)])
    np.testing.assert_array_equal(inside @ rows.T >= 0, cells.patterns())
    assert np.diff(ends, axis=1).sum() == pytest.approx(2 * np.pi)


def test_without_walls_the_plane_is_one_sector():
    assert sectors(np.zeros((1, 2)), np.ones((2, 2))).tolist() == [[0, 2 * np.pi]] * 2


def test_discs_keep_areas_and_walls_are_on_them():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((20_000, 3))
    points = to_disc(vectors / np.linalg.norm(vectors, axis=1)[:, None])
    # uniform on the sphere is uniform on the disc
    assert np.mean(np.sum(points**2, axis=1) < 0.25) == pytest.approx(0.25, abs=0.02)
    for row in (*rng.standard_normal((3, 3)), np.array([0, 0, 2.0]), np.array([1.0, 0, 0])):
        for half, side in zip(great_circle(row), (1, -1), strict=True):
            radius = np.sum(half**2, axis=1)
            z = side * (1 - radius)
            on_sphere = np.column_stack([half * np.sqrt(1 + np.abs(z))[:, None], z])
            np.testing.assert_allclose(np.linalg.norm(on_sphere, axis=1), 1)
            np.testing.assert_allclose(on_sphere @ row, 0, atol=1e-12)


def test_cells_around_a_vector():
    rows = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [1.0, 1.0, 3.0]])
    vertex, edge, inside = np.array([[0, 0, 1.0], [1.0, 0, 1.0], [1.0, 2.0, 3.0]])
    assert cells_around(rows, inside).tolist() == [inside.tolist()]
    for vector, n_cells in ((vertex, 4), (edge, 2)):
        patterns = cells_around(rows, vector) @ rows.T > 0
        assert len(np.unique(patterns, axis=0)) == len(patterns) == n_cells
        off = np.abs(rows @ vector) > 0
        assert (patterns[:, off] == (rows[off] @ vector > 0)).all()
    plane = cells_around(rows[:3, :2], np.array([0.0, -2.0]))
    assert sorted((plane[:, 0] > 0).tolist()) == [False, True]


def test_cells_are_coloured_where_they_are():
    rows = np.random.default_rng(0).standard_normal((5, 3))
    vectors = np.array([[0.1, 0.2, 1.0], [0.3, -0.1, -1.0]])
    colors = [(1.0, 0.0, 0.0), (0.0, 0.0, 1.0)]
    for side in (1, -1):
        image = cell_image(rows, vectors, colors, side, n_pixels=40)
        for row, column in np.ndindex(40, 40):
            x, y = (column + 0.5) / 20 - 1, (row + 0.5) / 20 - 1
            z = 1 - x * x - y * y
            if z < 0:
                assert image[row, column, 3] == 0
                continue
            point = np.array([x * np.sqrt(1 + z), y * np.sqrt(1 + z), side * z])
            same = ((rows @ point >= 0) == (vectors @ rows.T >= 0)).all(axis=1)
            assert image[row, column, 3] == same.any()
            if same.any():
                assert tuple(image[row, column, :3]) == colors[same.argmax()]


# arrangements


def test_the_case_by_hand():
    # alpha <= 1 / sqrt(2): a neuron (0, 1) that raises the output and a neuron (1, -1) that lowers it, on walls
    X, y = [[2, 2], [3, 3], [1, 0]], [1, 2, -1]
    options = {"hidden_bias": "none", "fit_intercept": False, "arrangements": "all", "tol": 1e-10}
    model = ConvexReLURegressor(0.1, **options).fit(X, y)
    display = ArrangementDisplay.from_estimator(model, X, y, dual=True)
    assert display.n_cells_ == 4
    assert display.on_wall_.tolist() == [True, True]
    assert len(display.used_cells_) == 0
    raising, lowering = (dots.get_offsets()[0] for dots in display.neurons_)
    np.testing.assert_allclose(raising, [0, 1], atol=1e-6)
    np.testing.assert_allclose(lowering, np.sqrt([0.5, 0.5]) * [1, -1], atol=1e-6)
    # v with |v'(X u)_+| <= alpha, equal to it at the neurons
    angles, values = display.dual.T
    units = np.array([np.cos(angles), np.sin(angles)])
    expected = np.abs(model.dual_[:, 0] @ np.maximum(np.array(X) @ units, 0.0)) / 0.1
    np.testing.assert_allclose(values, expected)
    assert values.max() <= 1 + 1e-6
    near = [np.abs(np.angle(np.exp(1j * (angles - at)))).argmin() for at in (np.pi / 2, -np.pi / 4)]
    np.testing.assert_allclose(values[near], 1, rtol=1e-3)


def test_one_feature_with_a_free_bias_has_its_neurons_on_walls(spline, line):
    display = ArrangementDisplay.from_estimator(spline, line[0], dual=True)
    network = spline.network_
    knots = -network.b1 / network.W1[0]
    assert display.on_wall_.tolist() == (np.abs(knots[:, None] - line[0][:, 0]).min(axis=1) < 1e-6).tolist()
    assert display.n_cells_ == 2 * len(line[0])
    assert display.dual[:, 1].max() == pytest.approx(1, abs=1e-3)
    assert "bias" in [text.get_text().split()[0] for text in display.ax_.texts]


def test_neurons_inside_cells_colour_them():
    rows = np.array([[1.0, 0.0], [0.0, 1.0]])
    model = holding(dense([[1, -2, 3], [1, 1, 3]], [0, 0, 0], [1, -1, 2], hidden_bias="none"))
    display = ArrangementDisplay.from_estimator(model, rows)
    assert display.used_cells_.tolist() == [[False, True], [True, True]]
    assert display.ax_.get_title(loc="left") == "3 neurons inside 2 of 4 cells"
    wedges = [(patch.theta1 % 360, patch.theta2 % 360) for patch in display.ax_.patches]
    np.testing.assert_allclose(sorted(wedges), [(0, 90), (0, 90), (90, 180)], atol=1e-9)


def test_neurons_of_space_are_on_two_discs():
    network = random_network(2, 9, seed=1)
    X = np.random.default_rng(1).standard_normal((6, 2))
    display = ArrangementDisplay.from_estimator(holding(network), X)
    places = np.vstack([dots.get_offsets() for dots in display.neurons_])
    side = np.where(places[:, 0] < 0, 1, -1)
    local = places - np.column_stack([-1.15 * side, np.zeros(len(places))])
    z = 1 - np.sum(local**2, axis=1)
    shown = np.column_stack([local * np.sqrt(1 + z)[:, None], side * z])
    vectors = np.vstack([network.W1, network.b1]).T
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    for vector in vectors:
        assert np.abs(shown - vector).max(axis=1).min() < 1e-9
    assert display.n_cells_ == len(enumerate_arrangements(np.column_stack([X, np.ones(6)])))
    assert len(display.walls_.get_segments()) == 12


def test_gated_neurons_are_in_the_cells_of_their_gates():
    gates = np.array([[1.0, -1.0], [1.0, 1.0], [0.0, 0.0]])
    model = holding(dense([[1, 1], [-1, -2]], [0, 0], [1, 1], hidden_bias="none", activation="gated_relu", gates=gates))
    display = ArrangementDisplay.from_estimator(model, np.eye(2))
    assert display.used_cells_.tolist() == [[False, True], [True, True]]


def test_of_many_walls_some_are_drawn():
    model, X = holding(random_network(2, 3)), np.random.default_rng(0).standard_normal((10, 2))
    display = ArrangementDisplay.from_estimator(model, X, max_walls=4)
    assert len(display.walls_.get_segments()) == 8
    assert display.ax_.get_legend().texts[-1].get_text() == "4 of 10 walls drawn"
    assert display.n_cells_ == len(enumerate_arrangements(np.column_stack([X, np.ones(10)])))


def test_walls_have_the_colours_of_classes():
    model = holding(random_network(2, 3, hidden_bias="none"), ["no", "yes"])
    X, y = np.random.default_rng(0).standard_normal((5, 2)), np.array(["no", "yes", "yes", "no", "yes"])
    display = ArrangementDisplay.from_estimator(model, X, y)
    colors = {name: {tuple(color) for color in display.walls_.get_colors()[y == name]} for name in ("no", "yes")}
    assert len(colors["no"]) == len(colors["yes"]) == 1
    assert colors["no"] != colors["yes"]


@pytest.mark.parametrize("hidden_bias", ["none", "penalized"])
def test_arrangements_without_neurons(hidden_bias):
    empty = holding(dense(np.zeros((2, 0)), [], np.zeros((0, 1)), hidden_bias=hidden_bias))
    display = ArrangementDisplay.from_estimator(empty, np.eye(2), [0.5, 1.5])
    assert display.ax_.get_title(loc="left").endswith("cells, no neurons")
    assert display.neurons_ == []


def test_what_has_no_arrangement_to_draw():
    X = np.random.default_rng(0).standard_normal((5, 3))
    with pytest.raises(ValueError, match=r"two or three dimensions.* 3 features and a hidden bias"):
        ArrangementDisplay.from_estimator(holding(random_network(3, 2)), X)
    with pytest.raises(ValueError, match="1 feature and no hidden bias"):
        ArrangementDisplay.from_estimator(holding(random_network(1, 2, hidden_bias="none")), X[:, :1])
    with pytest.raises(ValueError, match="linear"):
        ArrangementDisplay.from_estimator(holding(random_network(2, 2, activation="linear")), X[:, :2])
    with pytest.raises(ValueError, match="dense network"):
        ArrangementDisplay.from_estimator(holding(make_network("conv mean")[0]), X)
    with pytest.raises(ValueError, match="dual must be False"):
        ArrangementDisplay.from_estimator(holding(random_network(1, 2)), X[:, :1], dual=True)


def test_the_dual_is_of_the_samples_of_the_fit(spline, line):
    with pytest.raises(ValueError, match="20 samples of the fit"):
        ArrangementDisplay.from_estimator(spline, line[0][:-1], dual=True)


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


def test_dots_have_the_colour_of_the_surface():
    X = np.random.default_rng(0).standard_normal((20, 2))
    model = holding(dense([[1], [0]], [10], [1], -10))  # x0, in view
    display = NetworkFunctionDisplay.from_estimator(model, X, X[:, 0])
    np.testing.assert_array_equal(display.points_.get_array(), X[:, 0])
    assert display.points_.norm is display.surface_.norm


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


def test_bad_requests_of_a_function():
    one, two = holding(random_network(1, 3)), holding(random_network(2, 3, 2))
    draw, X = NetworkFunctionDisplay.from_estimator, np.zeros((4, 1))
    with pytest.raises(ValueError, match="one or two features; got a Network of 3 features"):
        draw(holding(random_network(3, 3)))
    with pytest.raises(ValueError, match="output must be one of 0 to 1"):
        draw(two)
    with pytest.raises(ValueError, match="output must be below 2"):
        draw(two, output=2)
    with pytest.raises(ValueError, match="output must be None"):
        draw(holding(random_network(1, 3), ["a", "b"]), output=0)
    with pytest.raises(ValueError, match="X must be given"):
        draw(one, y=[1.0])
    with pytest.raises(ValueError, match="each of the 4 samples"):
        draw(one, X, [1.0])
    with pytest.raises(ValueError, match="y must have 1 output"):
        draw(one, X, np.zeros((4, 2)))
    for bounds in ([(1, 0)], [(0, 1), (0, 1)], [(0, np.inf)]):
        with pytest.raises(ValueError, match="bounds must be 1 pair"):
            draw(one, bounds=bounds)
    with pytest.raises(ValueError, match="response_method"):
        draw(one, response_method="predict_proba")
    with pytest.raises(ValueError, match="n_points"):
        draw(one, n_points=1)


# filters


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
    with pytest.raises(ValueError, match="rows must be one of"):
        FiltersDisplay.from_estimator(model, rows=["phases"])
    with pytest.raises(ValueError, match="rows must be a sequence"):
        FiltersDisplay.from_estimator(model, rows="filters")
    with pytest.raises(ValueError, match="max_filters"):
        FiltersDisplay.from_estimator(model, max_filters=0)
    with pytest.raises(ValueError, match="filters must have shape"):
        FiltersDisplay(filters=np.ones((2, 3)), titles=["", ""])
