"""The arrangement of the data in the space of weights, and which of its cells the optimum uses.

Every sample x_k is a wall x_k.w + b = 0 there: weights on either side of it are active on the sample or not. The walls
cut the space into cells, one for each activation pattern, and a neuron is a direction in it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import type_of_target

from ..geometry.arrangements import count_arrangements
from ..geometry.enumeration import distinct_walls
from ..networks.network import Network
from ..utils.validation import check_count
from .neurons import feature_names, fitted_model, neuron_groups, neuron_sizes, output_names
from .style import DARK, GREY, blend, class_colors, counted, plain, short, single_axes
from .weight_space import (
    cell_image,
    cells_around,
    circle,
    great_circle,
    on_wall,
    sector_bounds,
    sectors,
    to_disc,
    unit_vectors,
)

__all__ = ["ArrangementDisplay"]

N_ANGLES = 1440
# Where there are more neurons than this they have no line from the origin.
MOST_RAYS = 60
# Cells beside a neuron that is on a wall.
PALE = (0.92, 0.92, 0.92)
# Where the discs of the two hemispheres are.
CENTRES = np.array([[-1.15, 0.0], [1.15, 0.0]])


class ArrangementDisplay:
    """Walls and cells of the data in the space of hidden weights, and the neurons of the optimum in it.

    The space has to have two dimensions (two features without hidden bias, or one with) or three (three features
    without, or two with). In two, walls are lines, and cells the sectors between them. In three, directions are shown
    on two discs, the halves of the unit sphere, on which walls are arcs. A neuron is a dot at its direction, the larger
    its size |w_j| |a_j| the larger. Cells with a neuron inside are coloured; a neuron on a wall, where cells end, is a
    diamond, and the cells beside it are pale: a block of the convex program in any of them is this neuron. Build it
    with `from_estimator`.

    Parameters
    ----------
    rows : array-like of shape (n_samples, n_dimensions)
        What hidden weights act on: the inputs, with a last column of ones for a bias.
    weights : array-like of shape (n_neurons, n_dimensions)
        Hidden weights, with their biases.
    sizes : array-like of shape (n_neurons,)
        Sizes of the neurons.
    neuron_groups : array-like of int, shape (n_neurons,)
        The group of each neuron.
    groups : list of (str, str, int)
        Legend and colour of each group, and 1 or -1.
    names : list of str
        Name of every dimension.
    gates : array-like of shape (n_neurons, n_dimensions) or None, default=None
        Vectors whose cells are those of the neurons; None are the weights.
    targets : array-like of shape (n_samples,) or None, default=None
        Targets, by which walls are coloured.
    dual : array-like of shape (n_angles, 2) or None, default=None
        In two dimensions: angles, and |v'act(Hu)| / (alpha |w|) for unit vectors u at them. It is at most 1 where the
        bound is proved, and 1 at every neuron.

    Attributes
    ----------
    ax_ : Axes
        The axes.
    figure_ : Figure
        The figure.
    n_cells_ : int
        Number of cells; in three dimensions the largest possible number for the walls there are.
    used_cells_ : ndarray of bool, shape (n_used, n_samples)
        Activation patterns of the distinct cells with a neuron inside.
    on_wall_ : ndarray of bool, shape (n_neurons,)
        Which neurons are on a wall.
    walls_ : LineCollection
        The walls drawn.
    neurons_ : list of PathCollection
        Dots for the neurons of each group: first those inside cells, then those on walls.

    Examples
    --------
    >>> from convexnn import ConvexReLURegressor
    >>> from convexnn.plotting import ArrangementDisplay
    >>> X, y = [[2, 2], [3, 3], [1, 0]], [1, 2, -1]
    >>> model = ConvexReLURegressor(0.1, hidden_bias="none", fit_intercept=False, arrangements="all").fit(X, y)
    >>> ArrangementDisplay.from_estimator(model, X, y).n_cells_
    4
    """

    def __init__(
        self,
        *,
        rows: Sequence,
        weights: Sequence,
        sizes: Sequence,
        neuron_groups: Sequence,
        groups: list,
        names: list,
        gates: Sequence | None = None,
        targets: Sequence | None = None,
        dual: Sequence | None = None,
    ):
        self.rows = np.asarray(rows, dtype=float)
        self.weights = np.asarray(weights, dtype=float)
        self.gates = self.weights if gates is None else np.asarray(gates, dtype=float)
        self.sizes = np.asarray(sizes, dtype=float)
        self.neuron_groups = np.asarray(neuron_groups, dtype=int)
        self.groups, self.names, self.targets, self.dual = groups, names, targets, dual
        if self.rows.shape[1] not in (2, 3):
            raise ValueError(f"rows must have two or three columns; got {self.rows.shape[1]}")

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any = None, *, dual: bool = False, ax: Any = None, **options: Any
    ) -> Self:
        """Draw the arrangement of data, and the neurons of an estimator in it.

        Parameters
        ----------
        estimator : ConvexReLURegressor or ConvexReLUClassifier
            A fitted estimator.
        X : array-like of shape (n_samples, n_features)
            Inputs; those of the fit, unless the arrangement of others is wanted.
        y : array-like of shape (n_samples,) or None, default=None
            Targets or classes, by which walls are coloured.
        dual : bool, default=False
            Whether to draw, in two dimensions, how far each direction is from being worth a neuron, from `dual_`. X has
            to be that of the fit.
        ax, **options
            As in `plot`.

        Returns
        -------
        ArrangementDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the weight space does not have two or three dimensions, the network has no arrangement (linear, or not
            dense), or there is no dual to draw.
        """
        estimator, network = fitted_model(estimator)
        rows = _hidden_rows(estimator, network, X)
        names = feature_names(estimator, len(network.W1))
        names = [f"weight of {name}" for name in names] + ["bias"] * (network.hidden_bias != "none")
        weights, size = np.vstack([network.W1, network.b1]).T, rows.shape[1]
        gates = None if network.gates is None else network.gates.T[:, :size]
        groups, styles = neuron_groups(network, output_names(estimator, len(network.b2)))
        display = cls(
            rows=rows,
            weights=weights[:, :size],
            gates=gates,
            sizes=neuron_sizes(network),
            neuron_groups=groups,
            groups=styles,
            names=names,
            targets=None if y is None else column_or_1d(y),
            dual=_dual_curve(estimator, network, rows) if dual else None,
        )
        return display.plot(ax=ax, **options)

    def plot(self, ax: Any = None, *, max_walls: int = 300, legend: bool = True) -> Self:
        """Draw the arrangement.

        Parameters
        ----------
        ax : Axes or None, default=None
            Where; None is a new figure.
        max_walls : int, default=300
            Most walls to draw, of samples evenly spread over the rows; cells and neurons are those of all samples.
        legend : bool, default=True
            Whether to explain lines and colours beside the picture.

        Returns
        -------
        ArrangementDisplay
            This display.
        """
        flat, walls = self.rows.shape[1] == 2, np.flatnonzero(self.rows.any(axis=1))
        most = min(len(walls), check_count("max_walls", max_walls, 0))
        drawn = walls[np.arange(most) * len(walls) // max(most, 1)]
        # wider than the discs need, so that the layout has room for what is beside or below them
        self.ax_ = single_axes(ax, (8.0, 4.8) if flat else (9.6, 4.9))
        self.figure_ = self.ax_.figure
        self.on_wall_ = on_wall(self.rows, self.gates)
        self.used_cells_ = np.unique(self.gates[~self.on_wall_] @ self.rows.T >= 0, axis=0)
        self._plot_plane(drawn) if flat else self._plot_sphere(drawn)
        if most < len(walls):
            self.ax_.plot([], [], linestyle="", label=f"{most:,} of {len(walls):,} walls drawn")
        self.ax_.set_aspect("equal", anchor="W" if flat else "C")
        self.ax_.set(xticks=[], yticks=[])
        self.ax_.spines[:].set_visible(False)
        self.ax_.set_title(self._title(), loc="left")
        if self.on_wall_.any():
            self.ax_.fill([], [], color=PALE, label="cell beside a neuron on a wall")
        if legend and self.ax_.get_legend_handles_labels()[0]:
            beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
            below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "ncols": 2}
            style = {"fontsize": "small", "frameon": False, "labelspacing": 0.8}
            self.ax_.legend(**style, **(beside if flat else below))
        return self

    def _title(self):
        walls, inside = int(self.on_wall_.sum()), int((~self.on_wall_).sum())
        cells = f"{'up to ' * (self.rows.shape[1] == 3)}{counted(self.n_cells_, 'cell')}"
        if not inside:
            return f"{counted(walls, 'neuron')} on walls between {cells}" if walls else f"{cells}, no neurons"
        words = f"{counted(inside, 'neuron')} inside {len(self.used_cells_)} of {cells}"
        return words + (f", {walls} on walls" if walls else "")

    def _cells(self):
        """Return vectors inside the cells to colour, and their colours: pale ones first, which others may cover."""
        vectors, colors = [], []
        for j in np.argsort(~self.on_wall_, kind="stable"):
            wall, color = self.on_wall_[j], self.groups[self.neuron_groups[j]][1]
            around = cells_around(self.rows, self.gates[j])
            vectors += list(around)
            colors += [PALE if wall else blend(color, 0.4)] * len(around)
        return np.array(vectors).reshape(-1, self.rows.shape[1]), colors

    def _plot_plane(self, drawn):
        """Draw sectors, walls and neurons on the unit disc."""
        from matplotlib.patches import Wedge

        self.n_cells_ = max(1, len(sector_bounds(self.rows)))
        vectors, colors = self._cells()
        for span, color in zip(np.degrees(sectors(self.rows, vectors)), colors, strict=True):
            self.ax_.add_patch(Wedge((0, 0), 1.0, *span, facecolor=color, linewidth=0, zorder=1))
        normals = unit_vectors(self.rows[drawn])
        across = np.column_stack([-normals[:, 1], normals[:, 0]])
        self._walls(np.stack([-across, across], axis=1), drawn)
        self.ax_.plot(*circle().T, color=GREY, linewidth=0.8)
        if self.dual is not None:
            angles, values = np.asarray(self.dual).T
            label = "dual value; its bound alpha is the circle"
            self.ax_.plot(values * np.cos(angles), values * np.sin(angles), color=DARK, linewidth=1.3, label=label)
        self._neurons(unit_vectors(self.weights))
        self._names(0.0, *self.names)
        self.ax_.set(xlim=(-1.2, 1.1), ylim=(-1.2, 1.1))

    def _plot_sphere(self, drawn):
        """Draw cells, walls and neurons on the discs of the two hemispheres."""
        self.n_cells_ = count_arrangements(*distinct_walls(self.rows).rows.shape)
        vectors, colors = self._cells()
        for centre, side in zip(CENTRES, (1, -1), strict=True):
            image = cell_image(self.rows, vectors, colors, side)
            extent = (centre[0] - 1, centre[0] + 1, -1, 1)
            self.ax_.imshow(image, origin="lower", extent=extent, interpolation="nearest", zorder=1)
            self.ax_.plot(*(circle() + centre).T, color=GREY, linewidth=0.8)
            self.ax_.text(
                centre[0], 1.1, f"{plain(self.names[2])} {'>' if side > 0 else '<'} 0", ha="center", va="bottom"
            )
            self._names(centre[0], *self.names[:2])
        halves = [half + place for k in drawn for half, place in zip(great_circle(self.rows[k]), CENTRES, strict=True)]
        self._walls(halves, np.repeat(drawn, 2))
        places = to_disc(unit_vectors(self.weights)) + CENTRES[(self.weights[:, 2] < 0).astype(int)]
        self._neurons(places)
        self.ax_.set(xlim=(-2.35, 2.25), ylim=(-1.25, 1.25))

    def _walls(self, segments, samples):
        """Draw the walls of samples, coloured by their targets."""
        from matplotlib.collections import LineCollection

        width = float(np.clip(40 / max(len(samples), 1), 0.3, 1.0))
        colors, legend = _target_colors(self.ax_, self.targets, "bottom" if self.rows.shape[1] == 2 else "right")
        chosen = GREY if colors is None else [colors[k] for k in samples]
        self.walls_ = LineCollection(segments, colors=chosen, linewidths=width, zorder=2)
        self.ax_.add_collection(self.walls_)
        for label, color in legend:
            self.ax_.plot([], [], color=color, label=label)

    def _neurons(self, places):
        """Draw the neurons of each group, inside cells and on walls."""
        areas = 25 + 150 * self.sizes / self.sizes.max(initial=np.finfo(float).tiny)
        self.neurons_ = []
        for k, (label, color, _) in enumerate(self.groups):
            for walls, marker in ((False, "o"), (True, "D")):
                chosen = (self.neuron_groups == k) & (self.on_wall_ == walls)
                if not chosen.any():
                    continue
                style = {"s": areas[chosen], "color": color, "edgecolor": "white", "linewidth": 0.8, "zorder": 4}
                words = f"neuron{' on a wall' * walls}, {plain(label)}"
                self.neurons_.append(self.ax_.scatter(*places[chosen].T, marker=marker, label=words, **style))
                if self.rows.shape[1] == 2 and len(self.sizes) <= MOST_RAYS:
                    for x, y in places[chosen]:
                        self.ax_.plot([0, x], [0, y], color=color, linewidth=1.2, zorder=3)

    def _names(self, centre, horizontal, vertical):
        """Write the names of the two directions of a disc beside it."""
        self.ax_.text(centre, -1.1, f"{plain(horizontal)} $\\rightarrow$", ha="center", va="top")
        self.ax_.text(centre - 1.1, 0, f"{plain(vertical)} $\\rightarrow$", ha="right", va="center", rotation=90)


def _target_colors(ax, targets, side):
    """Return a colour for each sample, or None, and the legend of classes; numbers get a colour bar."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    if targets is None:
        ax.plot([], [], color=GREY, linewidth=0.8, label="wall of a sample")
        return None, []
    classes, index = np.unique(targets, return_inverse=True)
    colors = class_colors(len(classes))
    if type_of_target(targets) in ("binary", "multiclass") and colors is not None:
        legend = [
            (f"wall of class {plain(short(name))}", blend(color, 0.6))
            for name, color in zip(classes, colors, strict=True)
        ]
        return [blend(colors[k], 0.6) for k in index], legend
    scale = ScalarMappable(Normalize(np.min(targets), np.max(targets)), colormaps["viridis"])
    ax.figure.colorbar(scale, ax=ax, location=side, shrink=0.5, aspect=25, label="wall of a sample: target y")
    return list(scale.to_rgba(targets)), []


def _hidden_rows(estimator, network, X):
    """Return what the hidden weights act on, one row a sample."""
    if not isinstance(network, Network) or network.activation == "linear":
        kind = f"{type(network).__name__} of activation {network.activation!r}"
        raise ValueError(f"estimator must have a dense network with an arrangement; got a {kind}")
    X = estimator._checked(X)
    rows = X if network.hidden_bias == "none" else np.column_stack([X, np.ones(len(X))])
    if rows.shape[1] not in (2, 3):
        bias = "no hidden bias" if network.hidden_bias == "none" else "a hidden bias"
        raise ValueError(
            "estimator must have hidden weights of two or three dimensions, features and hidden bias together; got "
            f"{X.shape[1]} feature{'s' * (X.shape[1] != 1)} and {bias}"
        )
    return rows


def _dual_curve(estimator, network, rows):
    """Return angles, and |v'act(Hu)| / (alpha |w|) for the unit vectors u at them."""
    dual = getattr(estimator, "dual_", None)
    if rows.shape[1] != 2 or dual is None or network.gates is not None or network.activation == "threshold":
        raise ValueError(
            "dual must be False unless the weight space has two dimensions, the estimator a dual_, and the activation "
            f'is "relu", "leaky_relu" or "abs"; got {rows.shape[1]} dimensions and {network.activation!r}'
        )
    if len(dual) != len(rows):
        raise ValueError(f"X must be the {len(dual)} samples of the fit to draw the dual; got {len(rows)}")
    bounds = sector_bounds(rows)
    # half a step off the axes: the norm of free biases is zero there
    angles = np.sort(np.append(bounds, (np.arange(N_ANGLES) + 0.5) * 2 * np.pi / N_ANGLES))
    units = np.array([np.cos(angles), np.sin(angles)])
    T = rows @ units
    values = dual.T @ np.maximum(T, network.slope * T)
    values = np.linalg.norm(values, np.inf if network.output_penalty == "l1" else 2, axis=0)
    split = len(network.W1)
    biases = units[split] if split < 2 else np.zeros(len(angles))
    probes = replace(network, W1=units[:split], b1=biases, W2=np.zeros((len(angles), dual.shape[1])))
    return np.column_stack([angles, values / (estimator.alpha_ * probes.input_sizes())])
