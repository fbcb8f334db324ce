"""What the displays share: where panels go, colours that colour-blind readers tell apart, legends, scales and words.

Blue is positive and orange-red negative everywhere: output weights, contributions, outputs of the network. Matplotlib
is imported where something is drawn, so that the package loads without it.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ..utils.validation import check_choice, check_count

__all__ = ["Display"]

# The palette of Okabe and Ito (2008), darker ones first.
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
POSITIVE, NEGATIVE = CYCLE[:2]
DARK, GREY, LIGHT = "#222222", "#767676", "#D9D9D9"
# What a lower bound of each scope is worth, in a few words, and its marker.
SCOPE_WORDS = {
    "sampled": "over the given patterns only",
    "local": "estimate by search, no proof",
    "global": "proved over all networks",
}
SCOPE_MARKERS = {"sampled": "s", "local": "o", "global": "D"}
# Smaller gaps are rounding; they are drawn here.
LEAST_GAP = 1e-12
# Where legends stand outside of the axes.
BESIDE = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "frameon": False}
BELOW = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "frameon": False, "ncols": 2}
# What TeX reads as commands.
TEX = {letter: f"\\{letter}" for letter in "$%&#_{}"}
TEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
# Longer names lose their middle.
LONGEST_NAME = 40


class Display:
    """Holds the data of a figure, and after `plot`, which subclasses define, its artists."""

    def _open(self, ax, size):
        """Set and return `ax_`, where one panel is drawn: `ax`, or the axes of a new figure of `size` inches."""
        self.ax_ = panel_axes(ax, 1, 1, size)[0]
        self.figure_ = self.ax_.figure
        return self.ax_

    def _open_panels(self, ax, n_panels, n_columns, size):
        """Set and return `axes_` (n_panels,), as `panel_axes` does."""
        self.axes_ = panel_axes(ax, n_panels, n_columns, size)
        self.figure_ = self.axes_[0].figure
        return self.axes_

    def _draw_panels(self, ax, panels, n_columns, size):
        """Open panels and let the method `_plot_` of its name draw each; yield them, to be finished, one by one."""
        for one, panel in zip(self._open_panels(ax, len(panels), n_columns, size), panels, strict=True):
            frame(one)
            getattr(self, f"_plot_{panel}")(one)
            yield one


def check_panels(name: str, chosen: Sequence, known: Collection) -> list:
    """Return the panels that were chosen, if they are a sequence of known ones; raise ValueError otherwise."""
    if isinstance(chosen, str) or not len(chosen):
        raise ValueError(f"{name} must be a sequence of names of {known}; got {chosen!r}")
    return [check_choice(name, one, known) for one in chosen]


def panel_axes(ax: Any, n_panels: int, n_columns: int, size: tuple) -> np.ndarray:
    """Return the axes (n_panels,) of a display, in the order of its panels.

    For None they are in a new figure, with `size` inches a panel. One Axes holds a single panel; with several it is
    switched off, and they are drawn in its place, `n_columns` beside one another. An array has one Axes for each panel.
    """
    from matplotlib import pyplot as plt
    from matplotlib.axes import Axes

    n_columns = min(check_count("n_columns", n_columns), n_panels)
    n_rows = -(-n_panels // n_columns)
    if ax is None:
        figure = plt.figure(figsize=(size[0] * n_columns, size[1] * n_rows), layout="constrained")
        cells = figure.add_gridspec(n_rows, n_columns)
    elif isinstance(ax, Axes):
        if n_panels == 1:
            return np.array([ax], dtype=object)
        if ax.get_subplotspec() is None:
            raise ValueError(f"ax must be one of a grid of subplots, or an array of {n_panels} Axes; got {ax!r}")
        ax.set_axis_off()
        figure, cells = ax.figure, ax.get_subplotspec().subgridspec(n_rows, n_columns)
    else:
        given = np.array(ax, dtype=object).ravel()
        if len(given) != n_panels or not all(isinstance(one, Axes) for one in given):
            raise ValueError(f"ax must be an Axes or an array of {n_panels} Axes, one for each panel; got {ax!r}")
        return given
    return np.array([figure.add_subplot(cells[divmod(k, n_columns)]) for k in range(n_panels)], dtype=object)


def class_colors(n_classes: int) -> tuple | None:
    """Return a colour for each class, or None for too many; of two, the second has that of positive outputs."""
    if n_classes == 2:
        return NEGATIVE, POSITIVE
    return CYCLE[:n_classes] if n_classes <= len(CYCLE) else None


def frame(ax: Any, grid: str = "both") -> None:
    """Give axes a light frame: two spines, and pale grid lines below everything ("both", "x" or "y")."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
    ax.grid(True, axis=grid, color=LIGHT, linewidth=0.6)


def add_legend(ax: Any, **place: Any) -> None:
    """Add a legend, if anything is labelled; one inside the axes gets no room of its own in the layout."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize="small", **place).set_in_layout("bbox_to_anchor" in place)


def log_scale(ax: Any, axis: str, values: np.ndarray) -> None:
    """Set a logarithmic scale on axis "x" or "y", with readable ticks even where values span less than a decade."""
    from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullFormatter

    getattr(ax, f"set_{axis}scale")("log")
    line = getattr(ax, f"{axis}axis")
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values) & (values > 0)]
    decades = np.log10(values.max() / values.min()) if len(values) else 1.0
    if decades < 2:
        line.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        line.set_major_formatter("{x:g}")
    else:
        line.set_major_locator(LogLocator(numticks=8))
        line.set_major_formatter(LogFormatterSciNotation())
    line.set_minor_formatter(NullFormatter())


def gap_scale(ax: Any, gaps: np.ndarray, room: float) -> None:
    """Set the scale of relative gaps, with some room below them, and say where they are 0 to rounding."""
    least = max(np.min(gaps), LEAST_GAP)
    log_scale(ax, "y", [max(np.max(gaps), LEAST_GAP), least / room])
    if np.min(gaps) < LEAST_GAP:
        ax.text(0.01, LEAST_GAP * 1.3, "0 to rounding", fontsize="small", transform=ax.get_yaxis_transform())


def mark_scopes(ax: Any, x: np.ndarray, values: np.ndarray, scopes: np.ndarray, prefix: str = "", **style: Any) -> None:
    """Mark values by the scopes of their bounds, with a legend of what these are worth."""
    for scope, words in SCOPE_WORDS.items():
        chosen = np.asarray(scopes) == scope
        if chosen.any():
            ax.plot(x[chosen], values[chosen], SCOPE_MARKERS[scope], label=prefix + words, **style)


def counted(number: int, thing: str) -> str:
    """Return a number of things in words, such as "no knots", "1 knot" or "2,000 knots"."""
    return f"{number or 'no':{',' * bool(number)}} {thing}{'s' * (number != 1)}"


def percent(value: float) -> str:
    """Return a relative gap in words: a percentage, or a power of ten where it is small."""
    if value == 0:
        return "0"
    if value < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{100 * value:.2g}%" if value < 1 else f"{100 * value:.0f}%"


def plain(text: Any) -> str:
    """Return text escaped so that matplotlib draws it letter by letter: names with dollar signs are no formulas."""
    from matplotlib import rcParams

    text = str(text).encode("utf-8", "replace").decode("utf-8")
    text = f" {text}" if text.startswith("_") else text  # legends leave out what begins with _
    return text.translate(str.maketrans(TEX)) if rcParams["text.usetex"] else text.replace("$", r"\$")


def short(name: Any) -> str:
    """Return a name in one line, without its middle where it is longer than LONGEST_NAME."""
    name = re.sub(r"\s", " ", str(name))
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}\N{HORIZONTAL ELLIPSIS}{name[1 - half :]}"


def blend(color: Any, fraction: float) -> tuple:
    """Mix a fraction of a colour with white; the result is opaque, so that overlaps do not get darker."""
    from matplotlib.colors import to_rgb

    return tuple(fraction * np.array(to_rgb(color)) + 1 - fraction)
