"""The arrangement of the data in the space of weights, and which of its cells the optimum uses.

A hidden row h_k (an input, with 1 for a bias) has the wall h_k.u = 0 there: weights on either side of it are active on
the sample or not. The walls cut the space into cells, one for each activation pattern, and a neuron is a direction in
it. In the plane the walls are lines through the origin and the cells are sectors. In space they are great circles of
the unit sphere, which is shown as two discs: each hemisphere u = (x, y, z), z >= 0 or z <= 0, goes to
(x, y) / sqrt(1 + |z|), which keeps the areas of cells.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Self

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import type_of_target

from ..geometry.arrangements import count_arrangements, pattern_bits
from ..geometry.enumeration import distinct_walls
from ..networks.network import Network
from ..utils.validation import check_count
from .display import BELOW, BESIDE, DARK, GREY, Display, add_legend, blend, class_colors, counted, plain, short
from .neurons import feature_names, fitted_model, neuron_groups, neuron_sizes, output_names

__all__ = ["ArrangementDisplay"]

# A unit vector closer than this to a wall of unit normal is on it, for a network trained to a small gap.
WALL_TOL = 1e-6
# Where there are more neurons than this they have no line from the origin.
MOST_RAYS = 60
# Cells beside a neuron that is on a wall.
PALE = (0.92, 0.92, 0.92)
# Where the discs of the two hemispheres are.
CENTRES = np.array([[-1.15, 0.0], [1.15, 0.0]])


@dataclass(eq=False, repr=False)
class ArrangementDisplay(Display):
    """Walls and cells of the data in the space of hidden weights, and the neurons of the optimum in it.

    The space has to have two dimensions (two features without hidden bias, or one with) or three (three features
    without, or two with). In two, walls are lines, and cells the sectors between them. In three, directions are shown
    on two discs, the halves of the unit sphere, on which walls are arcs. A neuron is a dot at its direction, the larger
    its size |w_j| |a_j| the larger. Cells with a neuron inside are coloured; a neuron on a wall, where cells end, is a
    diamond, and the cells beside it are pale: a block of the convex program in any of them is this neuron. Build it
    with `from_estimator`.

    Parameters
    ----------
    network : Network
        The network, whose activation is not "linear".
    rows : array-like of shape (n_samples, n_dimensions)
        What hidden weights act on: the inputs, with a last column of ones for a bias.
    names : list of str
        Name of every dimension.
    outputs : list of str
        Name of every output.
    targets : array-like of shape (n_samples,) or None, default=None
        Targets or classes, by which walls are coloured.
    dual : array-like of shape (n_angles, 2) or None, default=None
        In two dimensions: angles, and |v'act(Hu)| / (alpha |w|) for unit vectors u at them. It is at most 1 where the
        bound is proved, and 1 at every neuron.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Where it is drawn.
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

    network: Network
    rows: Sequence
    _: KW_ONLY
    names: list
    outputs: list
    targets: Sequence | None = None
    dual: Sequence | None = None

    def __post_init__(self):
        network, self.rows = self.network, np.asarray(self.rows, dtype=float)
        size = self.rows.shape[1]
        if size not in (2, 3):
            raise ValueError(f"rows must have two or three columns; got {size}")
        self.weights = np.vstack([network.W1, network.b1]).T[:, :size]
        self.gates = self.weights if network.gates is None else network.gates.T[:, :size]

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any = None, *, dual: bool = False, ax: Any = None, **options: Any
    ) -> Self:
        """Draw the arrangement of data, and the neurons of a dense estimator in it, by `plot`; return the display.

        X are the inputs of the fit, unless the arrangement of others is wanted, and y targets or classes, by which
        walls are coloured. `dual` draws, in two dimensions, how far each direction is from being worth a neuron, by
        `dual_` at the inputs of the fit.
        """
        estimator, network = fitted_model(estimator)
        rows = _hidden_rows(estimator, network, X)
        names = [f"weight of {name}" for name in feature_names(estimator, len(network.W1))]
        display = cls(
            network,
            rows,
            names=names + ["bias"] * (network.hidden_bias != "none"),
            outputs=output_names(estimator, len(network.b2)),
            targets=None if y is None else column_or_1d(y),
            dual=_dual_curve(estimator, network, rows) if dual else None,
        )
        return display.plot(ax=ax, **options)

    def plot(self, ax: Any = None, *, max_walls: int = 300, legend: bool = True) -> Self:
        """Draw the arrangement into `ax` (None is a new figure); return the display.

        At most `max_walls` walls are drawn, of samples evenly spread over the rows; cells and neurons are those of all
        samples. `legend` explains lines and colours beside the picture.
        """
        flat, walls = self.rows.shape[1] == 2, np.flatnonzero(self.rows.any(axis=1))
        most = min(len(walls), check_count("max_walls", max_walls, 0))
        drawn = walls[np.arange(most) * len(walls) // max(most, 1)]
        # wider than the discs need, so that the layout has room for what is beside or below them
        ax = self._open(ax, (8.0, 4.8) if flat else (9.6, 4.9))
        self.on_wall_ = on_wall(self.rows, self.gates)
        self.used_cells_ = np.unique(self.gates[~self.on_wall_] @ self.rows.T >= 0, axis=0)
        self._plot_plane(drawn) if flat else self._plot_sphere(drawn)
        if most < len(walls):
            ax.plot([], [], linestyle="", label=f"{most:,} of {len(walls):,} walls drawn")
        ax.set_aspect("equal", anchor="W" if flat else "C")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.set_title(self._title(), loc="left")
        if self.on_wall_.any():
            ax.fill([], [], color=PALE, label="cell beside a neuron on a wall")
        if legend:
            add_legend(ax, labelspacing=0.8, **(BESIDE if flat else BELOW))
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
        vectors, colors, (groups, styles) = [], [], neuron_groups(self.network, self.outputs)
        for j in np.argsort(~self.on_wall_, kind="stable"):
            around = cells_around(self.rows, self.gates[j])
            vectors += list(around)
            colors += [PALE if self.on_wall_[j] else blend(styles[groups[j]][1], 0.4)] * len(around)
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
        self._rim(0.0, *self.names)
        if self.dual is not None:
            angles, values = np.asarray(self.dual).T
            label = "dual value; its bound alpha is the circle"
            self.ax_.plot(values * np.cos(angles), values * np.sin(angles), color=DARK, linewidth=1.3, label=label)
        self._neurons(unit_vectors(self.weights))
        self.ax_.set(xlim=(-1.2, 1.1), ylim=(-1.2, 1.1))

    def _plot_sphere(self, drawn):
        """Draw cells, walls and neurons on the discs of the two hemispheres."""
        self.n_cells_ = count_arrangements(*distinct_walls(self.rows).rows.shape)
        vectors, colors = self._cells()
        for (centre, _), side, sign in zip(CENTRES, (1, -1), "><", strict=True):
            image = cell_image(self.rows, vectors, colors, side)
            extent = (centre - 1, centre + 1, -1, 1)
            self.ax_.imshow(image, origin="lower", extent=extent, interpolation="nearest", zorder=1)
            self.ax_.text(centre, 1.1, f"{plain(self.names[2])} {sign} 0", ha="center", va="bottom")
            self._rim(centre, *self.names[:2])
        halves = [half + place for k in drawn for half, place in zip(great_circle(self.rows[k]), CENTRES, strict=True)]
        self._walls(halves, np.repeat(drawn, 2))
        self._neurons(to_disc(unit_vectors(self.weights)) + CENTRES[(self.weights[:, 2] < 0).astype(int)])
        self.ax_.set(xlim=(-2.35, 2.25), ylim=(-1.25, 1.25))

    def _rim(self, centre, horizontal, vertical):
        """Draw the rim of a disc, with the names of its two directions beside it."""
        angles = np.linspace(0, 2 * np.pi, 721)
        self.ax_.plot(centre + np.cos(angles), np.sin(angles), color=GREY, linewidth=0.8)
        self.ax_.text(centre, -1.1, f"{plain(horizontal)} $\\rightarrow$", ha="center", va="top")
        self.ax_.text(centre - 1.1, 0, f"{plain(vertical)} $\\rightarrow$", ha="right", va="center", rotation=90)

    def _walls(self, segments, samples):
        """Draw the walls of samples, coloured by their targets."""
        from matplotlib.collections import LineCollection

        colors = self._target_colors()
        chosen = GREY if colors is None else [colors[k] for k in samples]
        width = float(np.clip(40 / max(len(samples), 1), 0.3, 1.0))
        self.walls_ = LineCollection(segments, colors=chosen, linewidths=width, zorder=2)
        self.ax_.add_collection(self.walls_)

    def _target_colors(self):
        """Return a colour for each sample, or None, and label those of classes; numbers get a colour bar."""
        from matplotlib import colormaps
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        ax, targets = self.ax_, self.targets
        if targets is None:
            ax.plot([], [], color=GREY, linewidth=0.8, label="wall of a sample")
            return None
        classes, index = np.unique(targets, return_inverse=True)
        colors = class_colors(len(classes))
        if type_of_target(targets) in ("binary", "multiclass") and colors is not None:
            shades = [blend(color, 0.6) for color in colors]
            for name, shade in zip(classes, shades, strict=True):
                ax.plot([], [], color=shade, label=f"wall of class {plain(short(name))}")
            return [shades[k] for k in index]
        scale = ScalarMappable(Normalize(np.min(targets), np.max(targets)), colormaps["viridis"])
        place = {"location": "bottom" if self.rows.shape[1] == 2 else "right", "shrink": 0.5, "aspect": 25}
        ax.figure.colorbar(scale, ax=ax, label="wall of a sample: target y", **place)
        return list(scale.to_rgba(targets))

    def _neurons(self, places):
        """Draw the neurons of each group, inside cells and on walls."""
        sizes, (groups, styles) = neuron_sizes(self.network), neuron_groups(self.network, self.outputs)
        areas = 25 + 150 * sizes / sizes.max(initial=np.finfo(float).tiny)
        self.neurons_ = []
        for k, (label, color, _) in enumerate(styles):
            for walls, marker in ((False, "o"), (True, "D")):
                chosen = (groups == k) & (self.on_wall_ == walls)
                if not chosen.any():
                    continue
                style = {"s": areas[chosen], "color": color, "edgecolor": "white", "linewidth": 0.8, "zorder": 4}
                words = f"neuron{' on a wall' * walls}, {plain(label)}"
                self.neurons_.append(self.ax_.scatter(*places[chosen].T, marker=marker, label=words, **style))
                if self.rows.shape[1] == 2 and len(sizes) <= MOST_RAYS:
                    for x, y in places[chosen]:
                        self.ax_.plot([0, x], [0, y], color=color, linewidth=1.2, zorder=3)


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
            f"{counted(X.shape[1], 'feature')} and {bias}"
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
    # half a step off the axes: the norm of free biases is zero there
    angles = np.sort(np.append(sector_bounds(rows), (np.arange(1440) + 0.5) * 2 * np.pi / 1440))
    units = np.array([np.cos(angles), np.sin(angles)])
    T = rows @ units
    values = dual.T @ np.maximum(T, network.slope * T)
    values = np.linalg.norm(values, np.inf if network.output_penalty == "l1" else 2, axis=0)
    split = len(network.W1)
    biases = units[split] if split < 2 else np.zeros(len(angles))
    probes = replace(network, W1=units[:split], b1=biases, W2=np.zeros((len(angles), dual.shape[1])))
    return np.column_stack([angles, values / (estimator.alpha_ * probes.input_sizes())])


# The weight space. Rows are the normals of walls; zero rows have none.


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Return rows scaled to norm 1; zero rows stay zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1), np.finfo(float).tiny)[:, None]


def on_wall(rows: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return which vectors, none of them zero, are on a wall, to WALL_TOL of their norm."""
    kept = rows[rows.any(axis=1)]
    return (np.abs(unit_vectors(vectors) @ unit_vectors(kept).T) <= WALL_TOL).any(axis=1)


def sector_bounds(rows: np.ndarray) -> np.ndarray:
    """Return the angles (2 * n_walls,), increasing from 0 to 2 pi, of the rays of the distinct walls in the plane."""
    kept = rows[rows.any(axis=1)]
    angles = np.sort(np.mod(np.arctan2(kept[:, 0], -kept[:, 1]), np.pi))
    if len(angles):
        steps = np.diff(angles, prepend=angles[-1] - np.pi)  # the wall before the first is the last, half a turn back
        angles = angles[steps > WALL_TOL] if (steps > WALL_TOL).any() else angles[:1]
    return np.append(angles, angles + np.pi)


def sectors(rows: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return the two angles that bound the sector of each vector in the plane; a whole turn without walls."""
    bounds = sector_bounds(rows)
    if not len(bounds):
        return np.tile([0.0, 2 * np.pi], (len(vectors), 1))
    around = np.concatenate([bounds[-1:] - 2 * np.pi, bounds, bounds[:1] + 2 * np.pi])
    angles = np.mod(np.arctan2(vectors[:, 1], vectors[:, 0]), 2 * np.pi)
    k = np.searchsorted(around, angles, side="right")
    return np.column_stack([around[k - 1], around[k]])


def cells_around(rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return a vector (as a row) inside each of the cells that a vector is in or on the boundary of.

    That is the vector itself where it is on no wall, else unit vectors beside it. Works in two or three dimensions.
    """
    normals, unit = unit_vectors(rows[rows.any(axis=1)]), vector / np.linalg.norm(vector)
    distances = np.abs(normals @ unit)
    near = distances <= WALL_TOL
    if not near.any():
        return vector[None]
    step = 0.5 * distances[~near].min(initial=1.0)
    tangents = np.linalg.svd(unit[None])[2][1:]
    if len(unit) == 2:
        return unit + step * np.vstack([tangents, -tangents])
    bounds = sector_bounds(normals[near] @ tangents.T)
    middle = 0.5 * (bounds + np.append(bounds[1:], bounds[0] + 2 * np.pi))
    return unit + step * np.column_stack([np.cos(middle), np.sin(middle)]) @ tangents


def to_disc(vectors: np.ndarray) -> np.ndarray:
    """Map unit vectors of space to the disc of their hemisphere."""
    return vectors[:, :2] / np.sqrt(1 + np.abs(vectors[:, 2:]))


def great_circle(row: np.ndarray) -> tuple:
    """Return a wall of space, not zero, on the discs of the two hemispheres: its half with z >= 0, then z <= 0."""
    normal = row / np.linalg.norm(row)
    across = np.array([-normal[1], normal[0], 0.0])  # a point of the wall on the rim of both discs
    across = across / np.linalg.norm(across) if across.any() else np.array([1.0, 0.0, 0.0])
    up = np.cross(normal, across)
    up = up if up[2] >= 0 else -up
    angles = np.linspace(0, np.pi, 181)[:, None]
    first, second = np.cos(angles) * across, np.sin(angles) * up
    return to_disc(first + second), to_disc(first - second)


def cell_image(rows: np.ndarray, vectors: np.ndarray, colors: Sequence, side: int, n_pixels: int = 400) -> np.ndarray:
    """Draw the cells of vectors on the disc of a hemisphere, z >= 0 for side 1 and z <= 0 for side -1.

    The colours are red, green and blue, one for each vector. Returns an RGBA image (n_pixels, n_pixels, 4) of the
    square around the disc, from the bottom up, transparent outside the cells.
    """
    steps = (np.arange(n_pixels) + 0.5) / n_pixels * 2 - 1
    x, y = (one.ravel() for one in np.meshgrid(steps, steps))
    inside = x**2 + y**2 <= 1
    x, y = x[inside], y[inside]
    z = 1 - x**2 - y**2  # radius^2 = (1 - z^2) / (1 + z)
    pixels = np.column_stack([x * np.sqrt(1 + z), y * np.sqrt(1 + z), side * z])
    image = np.zeros((n_pixels * n_pixels, 4))
    if len(vectors):
        known, order = np.unique(_pattern_codes(rows, vectors), return_index=True)
        codes = _pattern_codes(rows, pixels)
        place = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        found = known[place] == codes
        palette = np.column_stack([colors, np.ones(len(vectors))])[order]
        image[np.flatnonzero(inside)[found]] = palette[place[found]]
    return image.reshape(n_pixels, n_pixels, 4)


def _pattern_codes(rows, vectors):
    """Return a number for the pattern of each vector: two different ones share it with probability 1e-19."""
    bits = pattern_bits(rows, vectors)
    words = np.pad(bits, [(0, 0), (0, -bits.shape[1] % 8)]).view(np.uint64)
    return words @ np.random.default_rng(0).integers(2**63, size=words.shape[1], dtype=np.uint64)
