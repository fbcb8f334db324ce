"""Pictures of paths, convergence, sums and certificates: what the artists hold, against formulas."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from networks import make_network
from plots import dense, holding, random_network

from convexnn import Certificate, ConvexReLURegressor, regularization_path
from convexnn.baselines import train_adam, train_sgd
from convexnn.plotting import CertificateDisplay, ContributionsDisplay, ConvergenceDisplay, RegularizationPathDisplay
from convexnn.plotting.display import counted, panel_axes, percent
from convexnn.plotting.path import match_neurons


@pytest.fixture(scope="module")
def data():
    x = np.random.default_rng(0).uniform(-2, 2, (24, 1))
    return x, np.sin(2 * x[:, 0])


@pytest.fixture(scope="module")
def path(data):
    x, y = data
    estimator = ConvexReLURegressor(arrangements="all")
    scoring = "neg_mean_squared_error"
    return regularization_path(
        x[::2], y[::2], estimator=estimator, n_alphas=6, X_val=x[1::2], y_val=y[1::2], scoring=scoring
    )


@pytest.fixture(scope="module")
def fitted(data):
    return ConvexReLURegressor(0.1, arrangements="all").fit(*data)


@pytest.fixture(scope="module")
def runs(data):
    options = {"n_epochs": 15, "learning_rate": 0.01, "n_neurons": 20}
    adam = [train_adam(*data, 0.1, random_state=seed, **options) for seed in range(3)]
    return {"Adam": adam, "SGD": [train_sgd(*data, 0.1, random_state=0, **options)]}


# panels


def test_a_grid_has_a_panel_for_each_place():
    axes = panel_axes(None, 5, 2, (3.0, 2.0))
    assert len(axes) == 5
    assert axes[0].figure.get_size_inches().tolist() == [6.0, 6.0]
    assert axes[2].get_subplotspec().rowspan.start == 1


def test_panels_go_in_the_place_of_one_axes():
    figure, (left, right) = plt.subplots(1, 2, layout="constrained")
    axes = panel_axes(right, 3, 2, (3.0, 2.0))
    figure.canvas.draw()
    assert not right.axison
    assert all(one.figure is figure and one.get_position().x0 > left.get_position().x1 for one in axes)


def test_given_axes_are_used_as_they_are_or_do_not_fit():
    figure, given = plt.subplots(1, 2)
    assert panel_axes(given, 2, 3, (3.0, 2.0)).tolist() == given.tolist()
    assert panel_axes(given[0], 1, 1, (3.0, 2.0))[0] is given[0]
    with pytest.raises(ValueError, match="array of 3 Axes"):
        panel_axes(given, 3, 1, (3.0, 2.0))
    with pytest.raises(ValueError, match="array of 2 Axes"):
        panel_axes([given[0], "right"], 2, 1, (3.0, 2.0))
    with pytest.raises(ValueError, match="one of a grid"):
        panel_axes(figure.add_axes([0.1, 0.1, 0.5, 0.5]), 2, 1, (3.0, 2.0))


def test_numbers_in_words():
    assert [counted(n, "knot") for n in (0, 1, 2000)] == ["no knots", "1 knot", "2,000 knots"]
    assert [percent(gap) for gap in (0.0, 2.04e-7, 0.00123, 0.25, 1.5)] == ["0", "2e-7", "0.12%", "25%", "150%"]


# paths


def test_every_panel_shows_the_path(path):
    display = path.plot()
    assert isinstance(display, RegularizationPathDisplay)
    shown = {name: line.get_ydata() for name, line in display.lines_.items()}
    assert [one.get_title(loc="left").split(",")[0] for one in display.axes_] == [
        "Neurons", "Number of neurons", "Weight decay", "Error", "Objective and bound", "Gap",
    ]  # fmt: skip
    np.testing.assert_array_equal(shown["n_neurons"], path.n_neurons)
    np.testing.assert_array_equal(shown["regularizer"], path.regularizers)
    np.testing.assert_array_equal(shown["objective"], path.objectives)
    np.testing.assert_array_equal(shown["lower_bound"], path.lower_bounds)
    np.testing.assert_array_equal(shown["gap"], np.maximum(path.gaps, 1e-12))
    for line in display.lines_.values():
        np.testing.assert_array_equal(line.get_xdata(), path.alphas)
    assert all(one.get_xscale() == "log" and "alpha" in one.get_xlabel() for one in display.axes_)


def test_scores_that_are_negative_errors_are_drawn_as_errors(path, data):
    x, y = data
    display = path.plot(panels=["scores"])
    errors = [np.mean((model.predict(x[1::2]) - y[1::2]) ** 2) for model in path.estimators]
    np.testing.assert_allclose(display.lines_["validation"].get_ydata(), errors)
    assert display.axes_[0].get_ylabel() == "mean squared error (lower is better)"
    best = path.alphas[np.argmin(errors)]
    assert f"alpha = {best:.3g}" in display.axes_[0].get_legend().texts[-1].get_text()


def test_the_sizes_of_the_lines_add_up_to_the_weight_decay(path):
    display = path.plot(panels=["norms"])
    totals = dict.fromkeys(path.alphas, 0.0)
    for line in display.norm_lines_:
        for alpha, size in zip(line.get_xdata(), line.get_ydata(), strict=True):
            if not np.isnan(size):
                totals[alpha] += abs(size)
    np.testing.assert_allclose(list(totals.values()), path.regularizers, rtol=1e-9, atol=1e-12)
    signs = {np.sign(line.get_ydata()[~np.isnan(line.get_ydata())]).mean() for line in display.norm_lines_}
    assert signs == {1.0, -1.0}


def test_lines_follow_neurons_by_direction():
    turn = [np.cos(0.2), np.sin(0.2)]
    first = dense([[1, 0], [0, 1]], [0, 0], [2, 3])
    second = dense(np.array([[0, 2], np.array(turn)[::-1] * 2]).T, [0, 0], [1, 1])  # both near the second
    third = dense(np.array([[0, 1], [1, 0]]).T, [0, 0], [-4, 5])  # the second again, of the other sign, and the first
    norms, groups, styles = match_neurons([first, second, third], ["y"])
    lines = sorted(norms.tolist())
    assert lines == [[0, 0, 4], [0, 0, 5], [0, 2, 0], [2, 0, 0], [3, 2, 0]]
    assert sorted(groups.tolist()) == [0, 0, 0, 0, 1]
    assert [style[2] for style in styles] == [1, -1]
    several = dense([[3, 1]], [4, 0], [[1, 0], [0, -2]])
    norms, groups, styles = match_neurons([several], ["class a", "class b"])
    assert norms.ravel().tolist() == [5, 2]
    assert [styles[group][0] for group in groups] == ["mostly class a", "mostly class b"]


@pytest.mark.parametrize(
    "name", ["conv mean", "conv none", "image sum", "circular", "gated_relu", "threshold", "free bias"]
)
def test_sizes_of_all_networks_are_their_least_weight_decay(name):
    network = make_network(name)[0]
    sizes = match_neurons([network], [f"{k}" for k in range(len(network.b2))])[0].ravel()
    biases = {} if name == "circular" else {"b1": 0 * network.b1}
    for j, size in enumerate(sizes):
        alone = np.arange(len(sizes)) == j
        # 1/2 (s^2 |w|^2 + |a|^2 / s^2) is |w| |a| for the best s
        inner = replace(
            network, W1=network.W1 * alone, W2=0 * network.W2, **{key: network.b1 * alone for key in biases}
        )
        outer = replace(network, W1=0 * network.W1, W2=network.W2 * (alone[:, None]), **biases)
        least = 2 * np.sqrt(inner.weight_decay() * outer.weight_decay())
        assert size == pytest.approx(outer.weight_decay() if name == "threshold" else least)


def test_a_path_of_zero_networks_is_drawn(data):
    path = regularization_path(*data, alphas=[1e4, 1e3], estimator=ConvexReLURegressor(arrangements="all"))
    display = path.plot()
    assert display.norm_lines_ == []
    assert display.lines_["n_neurons"].get_ydata().tolist() == [0, 0]
    assert "validation" not in display.lines_


def test_panels_of_a_path(path):
    _, axes = plt.subplots(1, 2)
    display = RegularizationPathDisplay.from_path(path, panels=("gap", "norms"), ax=axes)
    assert display.axes_.tolist() == axes.tolist()
    assert display.figure_ is axes[0].figure
    with pytest.raises(ValueError, match=r"panels must be one of .* got 'error'"):
        display.plot(panels=["error"])
    for panels in ("gap", []):
        with pytest.raises(ValueError, match="panels must be a sequence"):
            display.plot(panels=panels)
    display = RegularizationPathDisplay(replace(path, train_scores=None, validation_scores=None))
    with pytest.raises(ValueError, match="no scores"):
        display.plot(panels=["scores"])
    assert len(display.plot().axes_) == 5


# convergence


def test_the_history_is_drawn(fitted):
    display = ConvergenceDisplay.from_estimator(fitted)
    for name, key in (("objective", "objective"), ("lower_bound", "lower_bound")):
        line = display.lines_[name]
        np.testing.assert_array_equal(line.get_ydata(), [record[key] for record in fitted.history_])
        np.testing.assert_array_equal(line.get_xdata(), [record["time"] for record in fitted.history_])
    gaps = [max(record["gap"], 1e-12) for record in fitted.history_]
    np.testing.assert_array_equal(display.lines_["gap"].get_ydata(), gaps)
    words = [text.get_text() for one in display.axes_ for text in one.get_legend().texts]
    assert "convex: lower bound, proved over all networks" in words
    assert "tol = 0.0001" in words


def test_runs_are_measured_from_the_last_bound(fitted, runs):
    display = ConvergenceDisplay.from_estimator(fitted, runs=runs, time_scale="linear")
    low = fitted.history_[-1]["lower_bound"]
    assert [len(lines) for lines in display.run_lines_.values()] == [6, 2]
    for k, run in enumerate(runs["Adam"]):
        objectives = np.array([record["objective"] for record in run.history])
        above, below = display.run_lines_["Adam"][k], display.run_lines_["Adam"][3 + k]
        np.testing.assert_array_equal(above.get_ydata(), objectives)
        np.testing.assert_allclose(below.get_ydata(), 1 - low / objectives)
        bottom, top = display.axes_[0].get_ylim()
        assert bottom < low < objectives[-1] < top
    assert display.axes_[0].get_legend().texts[0].get_text() == "Adam, 3 runs"
    assert display.axes_[0].get_xscale() == "linear"


def test_a_history_of_one_record_is_drawn():
    history = [{"time": 0.02, "objective": 2.0, "lower_bound": 2.0, "gap": 0.0, "scope": "global"}]
    display = ConvergenceDisplay.from_history(history, panels=["gap", "objective"])
    assert display.lines_["gap"].get_ydata().tolist() == [1e-12]
    low, high = display.axes_[0].get_xlim()
    assert low < 0.02 < high


def test_bad_histories(fitted):
    with pytest.raises(ValueError, match="at least one record"):
        ConvergenceDisplay.from_history([])
    for options, message in (
        ({"runs": {"Adam": []}}, "at least one run"),
        ({"runs": {"Adam": [3.0]}}, "'Adam'"),
        ({"panels": ["time"]}, "panels must be one of"),
        ({"time_scale": "symlog"}, "time_scale"),
    ):
        with pytest.raises(ValueError, match=message):
            ConvergenceDisplay.from_estimator(fitted, **options)
    with pytest.raises(TypeError, match="estimator of convexnn"):
        ConvergenceDisplay.from_estimator(fitted.network_)


# contributions


def check_sum(display, prediction):
    """The bars follow one another from the output bias to the prediction."""
    ends = [display.start]
    for bar in display.bars_:
        assert bar.get_x() == pytest.approx(ends[-1], abs=1e-12)
        ends.append(bar.get_x() + bar.get_width())
    assert ends[-1] == pytest.approx(prediction, abs=1e-12)
    assert display.prediction_ == pytest.approx(prediction, abs=1e-12)


@pytest.mark.parametrize(
    "name", ["relu", "leaky_relu", "abs", "linear skip", "gated_relu skip", "conv max", "circular image"]
)
def test_bars_add_up_to_the_prediction(name):
    network, X = make_network(name)
    model = holding(network)
    model.n_features_in_ = X.shape[1]
    for x in X[:3]:
        output = None if len(network.b2) == 1 else 1
        display = ContributionsDisplay.from_estimator(model, x, output=output, max_neurons=2)
        check_sum(display, np.ravel(network.predict(x[None]))[output or 0])


def test_bars_are_the_contributions_the_largest_first():
    network = random_network(3, 12)
    x = np.array([0.3, -1.0, 0.7])
    display = ContributionsDisplay.from_estimator(holding(network), x, max_neurons=3)
    parts = np.maximum(x @ network.W1 + network.b1, 0.0) * network.W2[:, 0]
    order = np.argsort(-np.abs(parts))
    np.testing.assert_allclose(display.contributions, [*parts[order[:3]], parts[order[3:]].sum()])
    n_active = int((parts != 0).sum())
    assert display.labels == [*(f"neuron {j}" for j in order[:3]), f"{n_active - 3} other neurons"]
    assert display.ax_.get_title(loc="left") == f"{n_active} neurons active, {12 - n_active} off"
    ticks = [tick.get_text() for tick in display.ax_.get_yticklabels()]
    assert ticks == ["output bias", *display.labels, "sum"]


def test_the_decision_of_two_classes_is_explained():
    x = np.array([0.3, -1.0])
    one, two = random_network(2, 5), random_network(2, 5, 2)
    for network in (one, two):
        model = holding(network, ["no", "yes"])
        display = ContributionsDisplay.from_estimator(model, x)
        check_sum(display, model.decision_function(x[None])[0])
        assert "yes" in display.ax_.get_xlabel()
        with pytest.raises(ValueError, match="output must be None"):
            ContributionsDisplay.from_estimator(model, x, output=0)


def test_of_several_classes_the_predicted_one_is_explained():
    network, x = random_network(2, 6, 3), np.array([0.3, -1.0])
    model = holding(network, ["a", "b", "c"])
    outputs = network.predict(x[None])[0]
    display = ContributionsDisplay.from_estimator(model, x)
    check_sum(display, outputs.max())
    assert display.ax_.get_xlabel() == f"output of class {model.predict(x[None])[0]}"
    check_sum(ContributionsDisplay.from_estimator(model, x, output=2), outputs[2])


def test_rows_of_data_frames_name_the_features_of_neurons():
    X = pd.DataFrame({"age": [1.0, 2.0, 3.0], "bmi": [0.0, 2.0, -1.0], "sex": [1.0, 0.0, 1.0]})
    model = ConvexReLURegressor(0.01, arrangements=20, random_state=0).fit(X, [1.0, 3.0, 1.0])
    for row in (X.iloc[1], X.iloc[[1]]):
        display = ContributionsDisplay.from_estimator(model, row)
        check_sum(display, model.predict(X)[1])
        j = int(display.labels[0].split(":")[0].split()[1])
        matter = np.abs(model.network_.W1[:, j] * X.iloc[1].to_numpy())
        assert display.labels[0] == "neuron {}: {}, {}".format(j, *X.columns[np.argsort(-matter)[:2]])


def test_no_bar_for_a_zero_network_and_one_for_all_neurons():
    display = ContributionsDisplay.from_estimator(holding(dense(np.zeros((2, 0)), [], np.zeros((0, 1)), 1.5)), [1, 2])
    check_sum(display, 1.5)
    assert len(display.bars_) == 0
    assert display.ax_.get_title(loc="left") == "no neurons active"
    network = dense([[1, 2]], [0, 0], [1, 1])
    display = ContributionsDisplay.from_estimator(holding(network), [1.0], max_neurons=0)
    assert display.labels == ["2 neurons"]


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        ([1.0, 2.0], {}, "output must be one of 0 to 1"),
        ([1.0, 2.0], {"output": 2}, "output must be below 2"),
        (np.ones((2, 2)), {"output": 0}, "x must be one input; got 2"),
        ([1.0, 2.0], {"output": 0, "max_neurons": -1}, "max_neurons"),
    ],
)
def test_bad_inputs_of_a_sum(x, options, message):
    with pytest.raises(ValueError, match=message):
        ContributionsDisplay.from_estimator(holding(random_network(2, 3, 2)), x, **options)


# certificates


@pytest.mark.parametrize(
    ("certificate", "zones", "words"),
    [
        (Certificate(2.0, 1.98, "global"), {"global": (1, 0.01), "open": (0.01, 0)}, "Proved: no network of"),
        (Certificate(2.0, 1.98, "local"), {"global": (1, 1), "local": (1, 0.01), "open": (0.01, 0)}, "no proof."),
        (
            Certificate(2.0, 1.98, "sampled", proved_bound=1.5),
            {"global": (1, 0.25), "sampled": (0.25, 0.01), "open": (0.01, 0)},
            "Proved: none of any width is more than 25% below.",
        ),
        (Certificate(2.0, -1.0, "local"), {"global": (1, 1), "local": (1, 1), "open": (1, 0)}, "150%"),
        (Certificate(2.0, 2.0, "global"), {"global": (1, 0), "open": (0, 0)}, "up to rounding"),
        (Certificate(0.0, 0.0, "global"), {"global": (1, 0), "open": (0, 0)}, "up to rounding"),
    ],
)  # fmt: skip
def test_zones_of_a_certificate(certificate, zones, words):
    display = CertificateDisplay({"it": certificate}).plot()
    assert {zone: pytest.approx(ends) for zone, ends in display.zones_[0].items()} == zones
    assert words in display.words_[0]
    drawn = {bar.get_label(): bar.patches[0].get_bbox() for bar in display.ax_.containers}
    least = display.ax_.get_xlim()[1]
    wide = [ends for ends in zones.values() if max(ends[1], least) < ends[0]]
    assert sorted(round(max(box.x0, box.x1), 9) for box in drawn.values()) == sorted(round(ends[0], 9) for ends in wide)
    legend = [text.get_text() for text in display.ax_.get_legend().texts]
    assert ("proved: no network of any width" in legend) == (zones["global"][1] < 1)
    assert ("search found none, which is no proof" in legend) == (min(zones.get("local", [1])) < 1)


def test_certificates_of_estimators(fitted):
    display = CertificateDisplay.from_estimator(fitted)
    assert list(display.certificates) == ["ConvexReLURegressor"]
    texts = [text.get_text() for text in display.ax_.texts]
    assert f"objective\n{fitted.certificate_.objective:.7g}" in texts
    _, ax = plt.subplots()
    several = CertificateDisplay.from_estimators({"a": fitted, "b": fitted}, ax=ax)
    assert several.ax_ is ax
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b"]


def test_bad_certificates():
    with pytest.raises(ValueError, match="at least one"):
        CertificateDisplay({})
    with pytest.raises(TypeError, match="Certificate"):
        CertificateDisplay({"a": 1.0})
