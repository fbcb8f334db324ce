"""How `NetworkFunctionDisplay` draws: curves of one feature, surfaces of two."""

from typing import Any

import numpy as np

from .style import CYCLE, DARK, GREY, LIGHT, NEGATIVE, POSITIVE, blend, class_colors, counted, frame, plain, short

__all__ = ["plot_curves", "plot_surface"]

# More knots than this have no line down to the axis, and more lines no arrows.
MOST_MARKS = 40
N_LEVELS = 15


def plot_curves(display: Any, knots: bool) -> None:
    """Draw the curves of a network of one feature, its knots and the data.

    Draws in `display.ax_` and keeps the artists in `display`.
    """
    ax, grid = display.ax_, display.grid[0]
    frame(ax)
    colors = _curve_colors(display)
    display.points_ = _curve_data(display, colors)
    display.lines_ = [
        ax.plot(grid, curve, color=color, linewidth=2, label=_curve_label(display, k), zorder=3)[0]
        for k, (curve, color) in enumerate(zip(display.values.T, colors, strict=True))
    ]
    display.knot_points_ = _plot_knots(display) if knots and len(display.knots_) else []
    words = counted(display.network.n_neurons, "neuron"), counted(len(display.knots_), "knot")
    ax.set_title(f"{words[0]}, {words[1]} in view", loc="left")
    ax.set_xlabel(plain(display.names[0]))
    ax.set_ylabel(_value_label(display))
    ax.set_xlim(grid[0], grid[-1])


def plot_surface(display: Any, normals: np.ndarray, sizes: np.ndarray, lines: bool) -> None:
    """Draw the values of a network of two features, the lines of its neurons and the data.

    Draws in `display.ax_` and keeps the artists in `display`. `normals` (n_neurons, 2) are those of the neurons'
    lines, whose width `sizes` (n_neurons,) sets.
    """
    ax, (horizontal, vertical) = display.ax_, display.grid
    scale = _plot_classes(display) if display.values.shape[-1] > 1 else _plot_levels(display)
    if lines:
        _plot_lines(display, normals, sizes)
    display.points_ = _surface_data(display, scale)
    words = counted(display.network.n_neurons, "neuron"), counted(display.n_regions_, "activation region")
    ax.set_title(f"{words[0]}, {words[1]} in view", loc="left")
    ax.set_xlabel(plain(display.names[0]))
    ax.set_ylabel(plain(display.names[1]))
    ax.set(xlim=(horizontal[0], horizontal[-1]), ylim=(vertical[0], vertical[-1]))


def _curve_colors(display):
    n = display.values.shape[1]
    colors = class_colors(len(display.classes)) if display.classes is not None and n > 1 else CYCLE
    return [colors[k % len(colors)] for k in range(n)] if colors else [CYCLE[k % len(CYCLE)] for k in range(n)]


def _curve_label(display, k):
    if display.values.shape[1] == 1:
        return "network"
    return f"{'output' if display.classes is None else 'class'} {plain(display.outputs[k])}"


def _value_label(display):
    if display.response == "predict":
        return "network output"
    several = display.values.shape[-1] > 1
    if display.response == "decision_function":
        return "decision function" if several else f"decision function (above 0: {plain(display.outputs[0])})"
    return "probability" if several else f"probability of {plain(display.outputs[0])}"


def _plot_knots(display):
    """Mark the knots on every curve; on the axis where the function jumps there."""
    ax, grid, knots = display.ax_, display.grid[0], display.knots_
    few = len(knots) <= MOST_MARKS
    for knot in knots if few else ():
        ax.axvline(knot, color=LIGHT, linewidth=0.8, zorder=0)
    style = {"color": "white", "edgecolor": DARK, "linewidth": 1.2 if few else 0.6, "s": 26 if few else 9, "zorder": 4}
    label = "knot: a neuron switches"
    if np.isnan(grid).any():
        style |= {"transform": ax.get_xaxis_transform(), "clip_on": False}
        return [ax.scatter(knots, np.zeros(len(knots)), label=label, **style)]
    heights = [np.interp(knots, grid, curve) for curve in display.values.T]
    return [ax.scatter(knots, at, label=None if k else label, **style) for k, at in enumerate(heights)]


def _curve_data(display, colors):
    """Draw the data of one feature: targets as dots; classes at their values, or along the axis."""
    ax = display.ax_
    if display.X is None:
        return None
    x, style = display.X[:, 0], {"s": 16, "zorder": 2, "alpha": 0.8, "linewidth": 0}
    if display.y is None:
        return ax.plot(x, np.full(len(x), 0.015), "|", color=GREY, transform=ax.get_xaxis_transform(), label="data")[0]
    if display.classes is None:
        shades = [GREY] if len(colors) == 1 else colors
        for k, color in enumerate(shades):
            dots = ax.scatter(x, display.y[:, k], color=color, label="data" if k == 0 else None, **style)
        return dots
    index = np.searchsorted(display.classes, display.y)
    shades = np.array(class_colors(len(display.classes)) or [GREY] * len(display.classes))
    if len(display.classes) > 2:
        heights, place = np.full(len(x), 0.015), ax.get_xaxis_transform()
    else:
        heights, place = (index if display.response == "predict_proba" else 2 * index - 1), ax.transData
    for k, name in enumerate(display.classes):
        chosen = index == k
        label = f"class {plain(short(name))}" if len(display.classes) == 2 else None
        dots = ax.scatter(x[chosen], heights[chosen], color=shades[k], transform=place, label=label, **style)
    return dots


def _plot_levels(display):
    """Fill between level lines of one output; return the colour scale."""
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import MaxNLocator

    ax, values = display.ax_, display.values[..., 0]
    decided = display.response != "predict"
    low, high = values.min(), values.max()
    if display.response == "predict_proba":
        levels = np.linspace(0, 1, 11)
    elif decided:
        levels = MaxNLocator(N_LEVELS, symmetric=True).tick_values(-max(-low, high), max(-low, high))
    else:
        targets = values if display.y is None else display.y
        low, high = min(low, targets.min()), max(high, targets.max())
        levels = MaxNLocator(N_LEVELS).tick_values(low, high if high > low else low + 1)
    ends = [blend(NEGATIVE, 0.6), "white", blend(POSITIVE, 0.6)]
    shades = ends if decided else [blend(shade, 0.75) for shade in colormaps["viridis"](np.linspace(0, 1, 32))]
    colors = LinearSegmentedColormap.from_list("levels", shades)
    display.surface_ = ax.contourf(*display.grid, values, levels=levels, cmap=colors)
    ax.contour(*display.grid, values, levels=levels, colors="white", linewidths=0.6, linestyles="solid")
    if decided:
        middle = 0.5 if display.response == "predict_proba" else 0.0
        ax.contour(*display.grid, values, levels=[middle], colors=DARK, linewidths=2.2)
        ax.plot([], [], color=DARK, linewidth=2.2, label="decision boundary")
    ax.figure.colorbar(display.surface_, ax=ax, label=_value_label(display))
    return display.surface_.norm, display.surface_.cmap


def _plot_classes(display):
    """Mix the colours of several classes by their probabilities, and draw the boundaries between them."""
    from matplotlib.colors import to_rgb

    ax, (horizontal, vertical) = display.ax_, display.grid
    shades = class_colors(len(display.classes)) or [CYCLE[k % len(CYCLE)] for k in range(len(display.classes))]
    values = display.values
    if display.response == "predict_proba":
        # logarithms are linear in each region, so that the boundaries between grid points are exact
        shares, values = values, np.log(np.maximum(values, np.finfo(float).tiny))
    else:
        shares = np.eye(len(shades))[values.argmax(axis=-1)]
    image = shares @ np.array([blend(to_rgb(shade), 0.4) for shade in shades])
    extent = (horizontal[0], horizontal[-1], vertical[0], vertical[-1])
    display.surface_ = ax.imshow(image, origin="lower", extent=extent, aspect="auto", interpolation="bilinear")
    for k in range(len(shades)):
        rest = np.delete(values, k, axis=-1).max(axis=-1)
        ax.contour(horizontal, vertical, values[..., k] - rest, levels=[0.0], colors=DARK, linewidths=1.8)
    ax.plot([], [], color=DARK, linewidth=1.8, label="decision boundary")
    return None


def _plot_lines(display, normals, sizes):
    """Draw the neurons' lines, wider for larger ones, with arrows to where they are active."""
    ax, largest = display.ax_, sizes.max(initial=np.finfo(float).tiny)
    groups, styles = display.groups
    drawn, few = set(), len(display.segments_) <= MOST_MARKS
    for (start, end), j in zip(display.segments_, display.segment_neurons_, strict=True):
        label, _, direction = styles[groups[j]]
        label = f"neuron, {plain(label)}" if len(styles) == 2 and styles[1][2] < 0 else "neuron"
        width = (0.6 + 1.2 * sizes[j] / largest) * (1.0 if few else 0.5)
        dashes = "-" if direction > 0 else (0, (5, 2))
        new = None if label in drawn else label
        drawn.add(label)
        style = {"linewidth": width, "linestyle": dashes, "alpha": 0.75 if few else 0.5}
        ax.plot(*zip(start, end, strict=True), color="black", label=new, **style)
    one_sided = display.network.activation not in ("abs", "linear")
    if one_sided and few and len(display.segments_):
        size = np.array([axis[-1] - axis[0] for axis in display.grid])
        # across the line as it is drawn, whatever the scales of the axes
        across = normals[display.segment_neurons_] * size
        across = 0.035 * size * across / np.linalg.norm(across, axis=1)[:, None]
        # not all in the middle, where the lines of neurons without biases meet
        shares = (0.25 + 0.5 * np.mod(np.arange(len(across)) * 0.618, 1.0))[:, None]
        middle = shares * display.segments_[:, 0] + (1 - shares) * display.segments_[:, 1]
        style = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.004, "color": "black", "zorder": 3}
        ax.quiver(*middle.T, *across.T, **style)


def _surface_data(display, scale):
    """Draw the data of two features, coloured as the surface is."""
    ax = display.ax_
    if display.X is None:
        return None
    style = {"s": 22, "edgecolor": "white", "linewidth": 0.7, "zorder": 5}
    if display.y is None:
        return ax.scatter(*display.X.T, color=GREY, label="data", **style)
    if display.classes is None:
        norm, colors = scale
        return ax.scatter(*display.X.T, c=display.y[:, 0], norm=norm, cmap=colors, label="data", **style)
    shades = class_colors(len(display.classes)) or [CYCLE[k % len(CYCLE)] for k in range(len(display.classes))]
    for name, shade in zip(display.classes, shades, strict=True):
        chosen = display.y == name
        dots = ax.scatter(*display.X[chosen].T, color=shade, label=f"class {plain(short(name))}", **style)
    return dots
