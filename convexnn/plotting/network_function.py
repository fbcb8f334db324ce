"""The function of a network of one or two features: the spline and its knots, or level lines and lines of neurons."""

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.utils import column_or_1d

from ..networks.network import Network
from ..utils.validation import check_choice, check_count, check_numeric
from .function_panels import plot_curves, plot_surface
from .lines import clip_lines, count_regions
from .neurons import feature_names, fitted_model, neuron_groups, neuron_sizes, neuron_walls, output_names
from .style import inside_legend, short, single_axes

__all__ = ["NetworkFunctionDisplay"]

RESPONSES = ("auto", "predict_proba", "decision_function")
# Points of the grid along each axis, for one and two features.
N_POINTS = {1: 1000, 2: 200}
# Part of the range of the data that is shown beyond them.
MARGIN = 0.08


class NetworkFunctionDisplay:
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
    groups : tuple
        As `neuron_groups` returns them.
    classes : ndarray or None, default=None
        The classes of a classifier.
    X, y : ndarray or None, default=None
        Data to draw.

    Attributes
    ----------
    ax_ : Axes
        The axes.
    figure_ : Figure
        The figure.
    lines_ : list of Line2D
        One feature: a curve for each output.
    knots_ : ndarray of shape (n_knots,)
        One feature: where neurons switch, within the picture, increasing.
    knot_points_ : list of PathCollection
        One feature: the marks of the knots on each curve.
    surface_ : QuadContourSet or AxesImage
        Two features: the colours.
    segments_ : ndarray of shape (n_segments, 2, 2)
        Two features: both ends of every neuron's line in the picture.
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

    def __init__(
        self,
        *,
        network: Network,
        grid: list,
        values: np.ndarray,
        response: str,
        names: list,
        outputs: list,
        groups: tuple,
        classes: np.ndarray | None = None,
        X: np.ndarray | None = None,
        y: np.ndarray | None = None,
    ):
        self.network, self.grid, self.values, self.response = network, grid, values, response
        self.names, self.outputs, self.groups = names, outputs, groups
        self.classes, self.X, self.y = classes, X, y

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
        """Draw the function of an estimator.

        Parameters
        ----------
        estimator : ConvexReLURegressor or ConvexReLUClassifier
            A fitted estimator of one or two features.
        X : array-like of shape (n_samples, n_features) or None, default=None
            Inputs to draw, which also say how far to draw; without them the range is that of the knots, or of the
            points of the neurons' lines that are nearest to the origin.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None, default=None
            Their targets or classes; needs X.
        bounds : sequence of (float, float), or None, default=None
            Lowest and highest value along each feature, in place of the range of X.
        output : int or None, default=None
            Which output of a regressor; None is all for one feature, and needs a single output for two.
        response_method : {"auto", "predict_proba", "decision_function"}, default="auto"
            Of classifiers, what to draw; "auto" is the probability.
        n_points : int or None, default=None
            Points of the grid along each axis; None is 1000 for one feature and 200 for two.
        ax, **options
            As in `plot`.

        Returns
        -------
        NetworkFunctionDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there are more features than two, or an argument is not as described.
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
        size = N_POINTS[len(window)] if n_points is None else check_count("n_points", n_points, 2)
        grid = [np.linspace(low, high, size) for low, high in window]
        if len(grid) == 1:
            grid = [_with_knots(grid[0], network)]
        response = _check_response(estimator, response_method)
        values, outputs = _respond(estimator, response, grid)
        groups = neuron_groups(network, output_names(estimator, len(network.b2)))
        values, outputs, y = _select(estimator, output, len(grid), values, outputs, y)
        classes, names = getattr(estimator, "classes_", None), feature_names(estimator, len(grid))
        display = cls(
            network=network, grid=grid, values=values, response=response, names=names, outputs=outputs, groups=groups,
            classes=classes, X=X, y=y,
        )  # fmt: skip
        return display.plot(ax=ax, **options)

    def plot(self, ax: Any = None, *, neurons: bool = True, legend: bool = True) -> Self:
        """Draw the function.

        Parameters
        ----------
        ax : Axes or None, default=None
            Where; None is a new figure.
        neurons : bool, default=True
            Whether to draw knots, or the lines of neurons.
        legend : bool, default=True
            Whether to explain lines and marks.

        Returns
        -------
        NetworkFunctionDisplay
            This display.
        """
        flat = len(self.grid) == 1
        self.ax_ = single_axes(ax, (6.4, 4.2) if flat else (6.4, 5.0))
        self.figure_ = self.ax_.figure
        normals, offsets = neuron_walls(self.network)
        if flat:
            self.knots_ = _knots(self.network, self.grid[0][0], self.grid[0][-1])
            plot_curves(self, neurons)
        else:
            window = np.array([[axis[0], axis[-1]] for axis in self.grid])
            self.segments_, self.segment_neurons_ = clip_lines(normals, offsets, window)
            self.n_regions_ = count_regions(normals, offsets, window)
            plot_surface(self, normals, neuron_sizes(self.network), neurons)
        n_labels = len(self.ax_.get_legend_handles_labels()[0])
        if legend and flat:
            inside_legend(self.ax_)
        elif legend and n_labels:
            below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "borderaxespad": 5.0, "frameon": False}
            self.ax_.legend(fontsize="small", ncols=min(2, n_labels), **below)
        return self


def _check_data(estimator, X, y):
    """Return the data to draw as arrays."""
    if X is None:
        if y is not None:
            raise ValueError("X must be given with y")
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
    if X is None:
        X = _nearest_points(network)
    low, high = X.min(axis=0), X.max(axis=0)
    margin = np.where(high > low, MARGIN * (high - low), 1.0)
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
    points = np.concatenate([grid, knots - step, knots, knots + step])
    values = np.where(np.isin(np.arange(len(points)), len(grid) + len(knots) + np.arange(len(knots))), np.nan, points)
    return values[np.argsort(points)]


def _check_response(estimator, method):
    """Return the method whose values are drawn."""
    check_choice("response_method", method, RESPONSES)
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
    shape = [len(axis) for axis in reversed(grid)]
    names = [short(name) for name in getattr(estimator, "classes_", range(found.shape[1]))]
    return values.reshape(*shape, -1), names[-found.shape[1] :]


def _select(estimator, output, n_features, values, outputs, y):
    """Return values, names and targets of the output to draw."""
    if hasattr(estimator, "classes_"):
        if output is not None:
            raise ValueError(f"output must be None for a classifier; got {output!r}")
        return values, outputs, y
    n_outputs = values.shape[-1]
    if y is not None and y.shape[1] != n_outputs:
        raise ValueError(f"y must have {n_outputs} outputs; got {y.shape[1]}")
    if output is None and n_features == 2 and n_outputs > 1:
        raise ValueError(f"output must be one of 0 to {n_outputs - 1} for two features and several outputs; got None")
    if output is None:
        return values, outputs, y
    if check_count("output", output, 0) >= n_outputs:
        raise ValueError(f"output must be below {n_outputs}, the number of outputs; got {output}")
    chosen = slice(output, output + 1)
    return values[..., chosen], outputs[chosen], None if y is None else y[:, chosen]
