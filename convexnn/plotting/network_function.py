"""The function of a network of one or two features: the spline and its knots, or level lines and lines of neurons.

The line of a neuron of two features is normal.x + offset = 0. Lines that are the same up to rounding count once, and so
do points in which several lines meet: with L lines through the window and lambda_p of them through each point p inside
of it where lines meet,

    regions = 1 + L + sum_p (lambda_p - 1)
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.utils import column_or_1d

from ..networks.network import Network
from ..utils.validation import check_choice, check_count, check_numeric
from .display import (
    BELOW,
    CYCLE,
    DARK,
    GREY,
    LIGHT,
    NEGATIVE,
    POSITIVE,
    Display,
    add_legend,
    blend,
    class_colors,
    counted,
    frame,
    plain,
    short,
)
from .neurons import check_output, feature_names, fitted_model, neuron_sizes, neuron_walls

__all__ = ["NetworkFunctionDisplay"]

# More knots than this have no line down to the axis, and more lines no arrows.
MOST_MARKS = 40
# Lines and points closer than this, in a window of size 1, are the same.
SAME_TOL = 1e-9


@dataclass(eq=False, repr=False, kw_only=True)
class NetworkFunctionDisplay(Display):
    """What a network of one or two features computes, and where its neurons switch on.

    One feature: the curve of every output, with a knot wherever a neuron switches. Two features: colours and level
    lines of the output, and the line x.w_j + b_j = 0 of every neuron, solid where its output weight is above zero, with
    an arrow to the side on which it is active. Between the lines the network is linear. Classifiers show the
    probability of the classes, and the boundaries between them. Build it with `from_estimator`.

    Parameters
    ----------
    network : Network
        The network.
    grid : list of ndarray
        Points along each axis, increasing; of one feature with NaN where the function jumps.
    values : ndarray of shape (n_points, n_curves), or (n_vertical, n_horizontal, n_curves)
        Values there.
    response : {"predict", "predict_proba", "decision_function"}
        What the values are.
    names, outputs : list of str
        Names of the features and of the curves.
    classes : ndarray or None, default=None
        The classes of a classifier.
    X, y : ndarray or None, default=None
        Data to draw.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Where it is drawn.
    lines_ : list of Line2D
        One feature: a curve for each output.
    knots_ : ndarray of shape (n_knots,)
        One feature: where neurons switch, within the picture, increasing.
    knot_points_ : list of PathCollection
        One feature: the marks of the knots on each curve.
    surface_ : QuadContourSet or AxesImage
        Two features: the colours.
    segments_, segment_neurons_ : ndarray of shape (n_segments, 2, 2) and (n_segments,)
        Two features: both ends of every neuron's line in the picture, and which neuron it is of.
    n_regions_ : int
        Two features: the number of activation regions in the picture.
    points_ : PathCollection or Line2D or None
        The data.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import ConvexReLURegressor
    >>> from convexnn.plotting import NetworkFunctionDisplay
    >>> x = np.linspace(-1, 1, 11)[:, None]
    >>> model = ConvexReLURegressor(0.01, hidden_bias="free").fit(x, np.abs(x[:, 0]))
    >>> NetworkFunctionDisplay.from_estimator(model, x, np.abs(x[:, 0])).knots_.round(6) + 0.0
    array([0.])
    """

    network: Network
    grid: list
    values: np.ndarray
    response: str
    names: list
    outputs: list
    classes: np.ndarray | None = None
    X: np.ndarray | None = None
    y: np.ndarray | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        bounds: Sequence | None = None,
        output: int | None = None,
        response_method: str = "auto",
        n_points: int | None = None,
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Draw the function of an estimator of one or two features, by `plot`; return the display.

        X (n_samples, n_features) are inputs to draw, with targets or classes y of shape (n_samples,) or (n_samples,
        n_outputs). They also say how far to draw, unless `bounds` are the lowest and highest value along each feature;
        without either the range is that of the knots, or of the points of the neurons' lines nearest to the origin.
        `output` chooses one of a regressor; None is all for one feature, and needs a single output for two. Classifiers
        show their `response_method`, "predict_proba" ("auto") or "decision_function". The grid has `n_points` along
        each axis; None is 1000 for one feature and 200 for two.
        """
        estimator, network = fitted_model(estimator)
        if not isinstance(network, Network) or len(network.W1) > 2:
            raise ValueError(
                "estimator must have a dense network of one or two features; got a "
                f"{type(network).__name__} of {estimator.n_features_in_} features. For others see "
                "sklearn.inspection.PartialDependenceDisplay"
            )
        X, y = _check_data(estimator, X, y)
        window = _check_bounds(bounds, network, X)
        size = (1000 if len(window) == 1 else 200) if n_points is None else check_count("n_points", n_points, 2)
        grid = [np.linspace(low, high, size) for low, high in window]
        if len(grid) == 1:
            grid = [_with_knots(grid[0], network)]
        response = _check_response(estimator, response_method)
        values, outputs = _respond(estimator, response, grid)
        values, outputs, y = _select(estimator, output, len(grid), values, outputs, y)
        known = {"names": feature_names(estimator, len(grid)), "classes": getattr(estimator, "classes_", None)}
        display = cls(network=network, grid=grid, values=values, response=response, outputs=outputs, X=X, y=y, **known)
        return display.plot(ax=ax, **options)

    def plot(self, ax: Any = None, *, neurons: bool = True, legend: bool = True) -> Self:
        """Draw the function into `ax` (None is a new figure); return the display.

        `neurons` are knots, or the lines of neurons; `legend` explains lines and marks.
        """
        flat = len(self.grid) == 1
        ax = self._open(ax, (6.4, 4.2) if flat else (6.4, 5.0))
        things = self._plot_curves(neurons) if flat else self._plot_surface(neurons)
        ax.set_title(f"{counted(self.network.n_neurons, 'neuron')}, {things} in view", loc="left")
        ax.set_xlabel(plain(self.names[0]))
        ax.set_xlim(self.grid[0][0], self.grid[0][-1])
        if legend:
            add_legend(ax, **({} if flat else BELOW | {"borderaxespad": 5.0}))
        return self

    # one feature

    def _plot_curves(self, neurons):
        """Draw the curves, the knots and the data; return the number of knots in words."""
        ax, grid = self.ax_, self.grid[0]
        self.knots_ = _knots(self.network, grid[0], grid[-1])
        frame(ax)
        n = self.values.shape[1]
        colors = _shades(n if self.classes is None or n == 1 else len(self.classes), self.classes is not None and n > 1)
        self.points_ = None if self.X is None else self._curve_data(colors)
        kind = "output" if self.classes is None else "class"
        labels = ["network"] if n == 1 else [f"{kind} {plain(name)}" for name in self.outputs]
        self.lines_ = [
            ax.plot(grid, curve, color=color, linewidth=2, label=label, zorder=3)[0]
            for curve, color, label in zip(self.values.T, colors, labels, strict=False)
        ]
        self.knot_points_ = self._plot_knots() if neurons and len(self.knots_) else []
        ax.set_ylabel(self._value_label())
        return counted(len(self.knots_), "knot")

    def _plot_knots(self):
        """Mark the knots on every curve; on the axis where the function jumps there."""
        ax, grid, knots = self.ax_, self.grid[0], self.knots_
        few = len(knots) <= MOST_MARKS
        for knot in knots if few else ():
            ax.axvline(knot, color=LIGHT, linewidth=0.8, zorder=0)
        style = {"color": "white", "edgecolor": DARK, "zorder": 4}
        style |= {"linewidth": 1.2, "s": 26} if few else {"linewidth": 0.6, "s": 9}
        label = "knot: a neuron switches"
        if np.isnan(grid).any():
            style |= {"transform": ax.get_xaxis_transform(), "clip_on": False}
            return [ax.scatter(knots, np.zeros(len(knots)), label=label, **style)]
        heights = [np.interp(knots, grid, curve) for curve in self.values.T]
        return [ax.scatter(knots, at, label=None if k else label, **style) for k, at in enumerate(heights)]

    def _curve_data(self, colors):
        """Draw the data of one feature: targets as dots; classes at their values, or along the axis."""
        ax, x = self.ax_, self.X[:, 0]
        along, style = ax.get_xaxis_transform(), {"s": 16, "zorder": 2, "alpha": 0.8, "linewidth": 0}
        if self.y is None:
            return ax.plot(x, np.full(len(x), 0.015), "|", color=GREY, transform=along, label="data")[0]
        if self.classes is None:
            for k, color in enumerate([GREY] if self.y.shape[1] == 1 else colors):
                dots = ax.scatter(x, self.y[:, k], color=color, label=None if k else "data", **style)
            return dots
        index, two = np.searchsorted(self.classes, self.y), len(self.classes) == 2
        heights, place = np.full(len(x), 0.015), along
        if two:
            heights, place = (index if self.response == "predict_proba" else 2 * index - 1), ax.transData
        for k, (name, color) in enumerate(zip(self.classes, _shades(len(self.classes)), strict=True)):
            chosen, label = index == k, f"class {plain(short(name))}" if two else None
            dots = ax.scatter(x[chosen], heights[chosen], color=color, transform=place, label=label, **style)
        return dots

    def _value_label(self):
        if self.response == "predict":
            return "network output"
        several, name = self.values.shape[-1] > 1, plain(self.outputs[0])
        if self.response == "decision_function":
            return "decision function" if several else f"decision function (above 0: {name})"
        return "probability" if several else f"probability of {name}"

    # two features

    def _plot_surface(self, neurons):
        """Draw the values, the lines of the neurons and the data; return the number of regions in words."""
        ax, (normals, offsets) = self.ax_, neuron_walls(self.network)
        window = np.array([[axis[0], axis[-1]] for axis in self.grid])
        self.segments_, self.segment_neurons_ = clip_lines(normals, offsets, window)
        self.n_regions_ = count_regions(normals, offsets, window)
        self._plot_classes() if self.values.shape[-1] > 1 else self._plot_levels()
        if neurons:
            self._plot_lines(normals)
        self.points_ = None if self.X is None else self._surface_data()
        ax.set_ylabel(plain(self.names[1]))
        ax.set_ylim(window[1])
        return counted(self.n_regions_, "activation region")

    def _plot_levels(self):
        """Fill between level lines of one output."""
        from matplotlib import colormaps
        from matplotlib.colors import LinearSegmentedColormap
        from matplotlib.ticker import MaxNLocator

        ax, values, decided = self.ax_, self.values[..., 0], self.response != "predict"
        low, high = values.min(), values.max()
        if self.response == "predict_proba":
            levels = np.linspace(0, 1, 11)
        elif decided:
            levels = MaxNLocator(15, symmetric=True).tick_values(-max(-low, high), max(-low, high))
        else:
            targets = values if self.y is None else self.y
            low, high = min(low, targets.min()), max(high, targets.max())
            levels = MaxNLocator(15).tick_values(low, high if high > low else low + 1)
        ends = [blend(NEGATIVE, 0.6), "white", blend(POSITIVE, 0.6)]
        shades = ends if decided else [blend(shade, 0.75) for shade in colormaps["viridis"](np.linspace(0, 1, 32))]
        colors = LinearSegmentedColormap.from_list("levels", shades)
        self.surface_ = ax.contourf(*self.grid, values, levels=levels, cmap=colors)
        ax.contour(*self.grid, values, levels=levels, colors="white", linewidths=0.6, linestyles="solid")
        if decided:
            middle = 0.5 if self.response == "predict_proba" else 0.0
            ax.contour(*self.grid, values, levels=[middle], colors=DARK, linewidths=2.2)
            ax.plot([], [], color=DARK, linewidth=2.2, label="decision boundary")
        ax.figure.colorbar(self.surface_, ax=ax, label=self._value_label())

    def _plot_classes(self):
        """Mix the colours of several classes by their probabilities, and draw the boundaries between them."""
        ax, (horizontal, vertical) = self.ax_, self.grid
        shades, values = _shades(len(self.classes)), self.values
        if self.response == "predict_proba":
            # logarithms are linear in each region, so that the boundaries between grid points are exact
            fractions, values = values, np.log(np.maximum(values, np.finfo(float).tiny))
        else:
            fractions = np.eye(len(shades))[values.argmax(axis=-1)]
        image = fractions @ np.array([blend(shade, 0.4) for shade in shades])
        extent = (horizontal[0], horizontal[-1], vertical[0], vertical[-1])
        self.surface_ = ax.imshow(image, origin="lower", extent=extent, aspect="auto", interpolation="bilinear")
        for k in range(len(shades)):
            rest = np.delete(values, k, axis=-1).max(axis=-1)
            ax.contour(horizontal, vertical, values[..., k] - rest, levels=[0.0], colors=DARK, linewidths=1.8)
        ax.plot([], [], color=DARK, linewidth=1.8, label="decision boundary")

    def _plot_lines(self, normals):
        """Draw the neurons' lines, wider for larger ones, with arrows to where they are active."""
        ax, network, sizes = self.ax_, self.network, neuron_sizes(self.network)
        largest, few = sizes.max(initial=np.finfo(float).tiny), len(self.segments_) <= MOST_MARKS
        one_output = network.W2.shape[1] == 1
        for (start, end), j in zip(self.segments_, self.segment_neurons_, strict=True):
            lowers = one_output and network.W2[j, 0] < 0
            label = f"neuron, a {'<' if lowers else '>'} 0" if one_output else "neuron"
            label = None if label in ax.get_legend_handles_labels()[1] else label
            width = (0.6 + 1.2 * sizes[j] / largest) * (1.0 if few else 0.5)
            style = {"linewidth": width, "linestyle": (0, (5, 2)) if lowers else "-", "alpha": 0.75 if few else 0.5}
            ax.plot(*zip(start, end, strict=True), color="black", label=label, **style)
        if network.activation not in ("abs", "linear") and few and len(self.segments_):
            size = np.array([axis[-1] - axis[0] for axis in self.grid])
            # across the line as it is drawn, whatever the scales of the axes
            across = normals[self.segment_neurons_] * size
            across = 0.035 * size * across / np.linalg.norm(across, axis=1)[:, None]
            # not all in the middle, where the lines of neurons without biases meet
            places = (0.25 + 0.5 * np.mod(np.arange(len(across)) * 0.618, 1.0))[:, None]
            middle = places * self.segments_[:, 0] + (1 - places) * self.segments_[:, 1]
            style = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.004, "color": "black", "zorder": 3}
            ax.quiver(*middle.T, *across.T, **style)

    def _surface_data(self):
        """Draw the data of two features, coloured as the surface is."""
        style = {"s": 22, "edgecolor": "white", "linewidth": 0.7, "zorder": 5}
        if self.y is None:
            return self.ax_.scatter(*self.X.T, color=GREY, label="data", **style)
        if self.classes is None:
            style |= {"norm": self.surface_.norm, "cmap": self.surface_.cmap}
            return self.ax_.scatter(*self.X.T, c=self.y[:, 0], label="data", **style)
        for name, shade in zip(self.classes, _shades(len(self.classes)), strict=True):
            chosen = self.X[self.y == name]
            dots = self.ax_.scatter(*chosen.T, color=shade, label=f"class {plain(short(name))}", **style)
        return dots


def _shades(n, classes=True):
    """Return n colours, those of classes or of the cycle; they repeat where there are too many."""
    return (class_colors(n) if classes else None) or [CYCLE[k % len(CYCLE)] for k in range(n)]


def _check_data(estimator, X, y):
    """Return the data to draw as arrays."""
    if X is None:
        if y is not None:
            raise ValueError("X must be given with y; got None")
        return None, None
    X = estimator._checked(X)
    if y is None:
        return X, None
    check_numeric("y", y, dates=True)
    y = np.asarray(y)
    if len(y) != len(X):
        raise ValueError(f"y must have one row for each of the {len(X)} samples of X; got {len(y)}")
    return X, column_or_1d(y) if hasattr(estimator, "classes_") else y.reshape(len(X), -1)


def _check_bounds(bounds, network, X):
    """Return the lowest and highest value along each feature, of shape (n_features, 2)."""
    n_features = len(network.W1)
    if bounds is not None:
        window = np.asarray(bounds, dtype=float)
        if window.shape != (n_features, 2) or not (window[:, 0] < window[:, 1]).all() or not np.isfinite(window).all():
            raise ValueError(f"bounds must be {n_features} pairs (low, high) of finite numbers; got {bounds!r}")
        return window
    X = _nearest_points(network) if X is None else X
    low, high = X.min(axis=0), X.max(axis=0)
    margin = np.where(high > low, 0.08 * (high - low), 1.0)
    return np.column_stack([low - margin, high + margin])


def _nearest_points(network):
    """Return the points of the neurons' knots or lines that are nearest to the origin; without any, the origin."""
    normals, offsets = neuron_walls(network)
    kept = normals.any(axis=1)
    if not kept.any():
        return np.zeros((1, normals.shape[1]))
    normals, offsets = normals[kept], offsets[kept]
    return -offsets[:, None] * normals / np.sum(normals**2, axis=1)[:, None]


def _knots(network, low, high):
    """Return where the neurons of a network of one feature switch between two points, increasing, copies left out."""
    normals, offsets = neuron_walls(network)
    kept = normals[:, 0] != 0
    knots = np.sort(-offsets[kept] / normals[kept, 0])
    knots = knots[(knots > low) & (knots < high)]
    return knots[np.diff(knots, prepend=-np.inf) > 1e-9 * (high - low)]


def _with_knots(grid, network):
    """Return a grid with the knots in it; where the function jumps, both sides of the knot with NaN between them."""
    low, high = grid[0], grid[-1]
    knots = _knots(network, low, high)
    if network.activation not in ("gated_relu", "threshold"):
        return np.union1d(grid, knots)
    step = 1e-7 * (high - low)
    grid = grid[(np.abs(grid[:, None] - knots) > step).all(axis=1)]
    order = np.argsort(np.concatenate([grid, knots - step, knots, knots + step]))
    return np.concatenate([grid, knots - step, np.full(len(knots), np.nan), knots + step])[order]


def _check_response(estimator, method):
    """Return the method whose values are drawn."""
    check_choice("response_method", method, ("auto", "predict_proba", "decision_function"))
    if hasattr(estimator, "classes_"):
        return "predict_proba" if method == "auto" else method
    if method != "auto":
        raise ValueError(f'response_method must be "auto" for a regressor; got {method!r}')
    return "predict"


def _respond(estimator, response, grid):
    """Return the values on a grid, the curves last, and the names of the curves."""
    mesh = np.stack(np.meshgrid(*grid), axis=-1).reshape(-1, len(grid))
    known = ~np.isnan(mesh).any(axis=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")  # a grid has none
        found = getattr(estimator, response)(mesh[known])
    found = found.reshape(len(found), -1)
    if response == "predict_proba" and found.shape[1] == 2:
        found = found[:, 1:]
    values = np.full((len(mesh), found.shape[1]), np.nan)
    values[known] = found
    names = [short(name) for name in getattr(estimator, "classes_", range(found.shape[1]))]
    return values.reshape(*(len(axis) for axis in reversed(grid)), -1), names[-found.shape[1] :]


def _select(estimator, output, n_features, values, outputs, y):
    """Return values, names and targets of the output to draw."""
    if hasattr(estimator, "classes_"):
        if output is not None:
            raise ValueError(f"output must be None for a classifier; got {output!r}")
        return values, outputs, y
    n_outputs = values.shape[-1]
    if y is not None and y.shape[1] != n_outputs:
        raise ValueError(f"y must have {n_outputs} outputs; got {y.shape[1]}")
    if output is None:
        if n_features == 2 and n_outputs > 1:
            raise ValueError(
                f"output must be one of 0 to {n_outputs - 1} for two features and several outputs; got None"
            )
        return values, outputs, y
    check_output(output, n_outputs)
    chosen = slice(output, output + 1)
    return values[..., chosen], outputs[chosen], None if y is None else y[:, chosen]


def clip_lines(normals: np.ndarray, offsets: np.ndarray, window: np.ndarray) -> tuple:
    """Return the segments (n_segments, 2, 2) of the lines that cross a window, and the indices of these lines.

    The window has a row (low, high) for each axis. A zero normal is no line.
    """
    low, size = window[:, 0], np.diff(window, axis=1)[:, 0]
    normals, offsets = normals * size, normals @ low + offsets  # where the window is the unit square
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]) @ normals.T + offsets
    norms = np.linalg.norm(normals, axis=1)
    index = np.flatnonzero((corners.max(axis=0) > SAME_TOL * norms) & (corners.min(axis=0) < -SAME_TOL * norms))
    normals, foot = normals[index], -(offsets[index] / norms[index] ** 2)[:, None] * normals[index]
    along = normals[:, ::-1] * [-1.0, 1.0]
    with np.errstate(divide="ignore"):  # lines along an axis never meet two of the sides
        steps = np.sort([-foot / along, (1 - foot) / along], axis=0)  # at which a line enters and leaves, by axis
    ends = np.stack([steps[0].max(axis=-1), steps[1].min(axis=-1)], axis=1)
    return low + size * (foot[:, None] + ends[..., None] * along[:, None]), index


def count_regions(normals: np.ndarray, offsets: np.ndarray, window: np.ndarray) -> int:
    """Count the regions that lines cut a window into, with arguments as in `clip_lines`; 1 without lines."""
    kept = clip_lines(normals, offsets, window)[1]
    lines = np.column_stack([normals * np.diff(window, axis=1)[:, 0], normals @ window[:, 0] + offsets])[kept]
    lines /= np.linalg.norm(lines[:, :2], axis=1)[:, None]
    # of the two signs of a line, the one whose first entry that is not zero is above zero
    first = np.where(np.abs(lines[:, 0]) > SAME_TOL, lines[:, 0], lines[:, 1])
    lines = _distinct(lines * np.sign(first)[:, None])
    a, b = (lines[pair] for pair in np.triu_indices(len(lines), 1))
    meeting = np.cross(a, b)  # in homogeneous coordinates
    meeting = meeting[np.abs(meeting[:, 2]) > SAME_TOL]
    points = meeting[:, :2] / meeting[:, 2:]
    inside = ((points > SAME_TOL) & (points < 1 - SAME_TOL)).all(axis=1)
    through = [np.abs(lines[:, :2] @ point + lines[:, 2]) <= 10 * SAME_TOL for point in _distinct(points[inside])]
    return 1 + len(lines) + sum(int(near.sum()) - 1 for near in through)


def _distinct(rows):
    """Return rows without those that equal another up to rounding."""
    if len(rows) < 2:
        return rows
    # rows that are the same are neighbours along a direction that no others are likely to agree in
    key = rows @ (np.sqrt([2.0, 3.0, 5.0])[: rows.shape[1]])
    order = np.argsort(key)
    groups = np.split(order, np.flatnonzero(np.diff(key[order]) > 6 * SAME_TOL) + 1)
    kept = []
    for group in groups:
        for k in group:
            if len(group) == 1 or not any(np.abs(rows[k] - rows[j]).max() <= SAME_TOL for j in kept[-len(group) :]):
                kept.append(k)
    return rows[kept]
