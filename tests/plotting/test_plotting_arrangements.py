"""Pictures of arrangements: cells, walls and neurons, against enumeration and a case by hand."""

import numpy as np
import pytest
from networks import make_network
from plots import dense, holding, random_network

from convexnn import ConvexReLURegressor
from convexnn.geometry import enumerate_arrangements
from convexnn.plotting import ArrangementDisplay
from convexnn.plotting.arrangement import cell_image, cells_around, great_circle, sector_bounds, sectors, to_disc

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


# the display


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


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (random_network(3, 2), {}, r"two or three dimensions.* 3 features and a hidden bias"),
        (random_network(1, 2, hidden_bias="none"), {}, "1 feature and no hidden bias"),
        (random_network(2, 2, activation="linear"), {}, "linear"),
        (make_network("conv mean")[0], {}, "dense network"),
        (random_network(1, 2), {"dual": True}, "dual must be False"),
    ],
)
def test_what_has_no_arrangement_to_draw(network, options, message):
    X = np.random.default_rng(0).standard_normal((5, 3))[:, : len(network.W1)]
    with pytest.raises(ValueError, match=message):
        ArrangementDisplay.from_estimator(holding(network), X, **options)


def test_the_dual_is_of_the_samples_of_the_fit(spline, line):
    with pytest.raises(ValueError, match="20 samples of the fit"):
        ArrangementDisplay.from_estimator(spline, line[0][:-1], dual=True)
