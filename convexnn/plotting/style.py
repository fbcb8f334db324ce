"""What the displays share: colours that colour-blind readers tell apart, words for scopes, and where panels go.

Blue is positive and orange-red negative everywhere: output weights, contributions, outputs of the network. Matplotlib
is imported where something is drawn, so that the package loads without it.
"""

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ..utils.validation import check_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "CYCLE",
    "DARK",
    "GREY",
    "LEAST_GAP",
    "LIGHT",
    "NEGATIVE",
    "NEUTRAL",
    "POSITIVE",
    "PROVISIONAL_WORDS",
    "SCOPE_MARKERS",
    "SCOPE_WORDS",
    "blend",
    "class_colors",
    "counted",
    "frame",
    "inside_legend",
    "log_scale",
    "panel_axes",
    "percent",
    "plain",
    "short",
    "single_axes",
]

# The palette of Okabe and Ito (2008), darker ones first.
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
POSITIVE, NEGATIVE, NEUTRAL = CYCLE[0], CYCLE[1], CYCLE[2]
DARK, GREY, LIGHT = "#222222", "#767676", "#D9D9D9"
# What a lower bound of each scope is worth, in a few words.
SCOPE_WORDS = {
    "sampled": "over the given patterns only",
    "local": "estimate by search, no proof",
    "global": "proved over all networks",
}
PROVISIONAL_WORDS = "provisional, by a short search"
# Smaller gaps are rounding; they are drawn here.
LEAST_GAP = 1e-12
SCOPE_MARKERS = {"sampled": "s", "local": "o", "global": "D"}
# What TeX reads as commands.
TEX = {letter: f"\\{letter}" for letter in "$%&#_{}"}
TEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
# Longer names lose their middle.
LONGEST_NAME = 40


def single_axes(ax: "Axes | None", size: tuple) -> "Axes":
    """Return the axes to draw one panel in: `ax`, or those of a new figure of `size` inches for None."""
    return panel_axes(ax, 1, 1, size)[0]


def panel_axes(ax: Any, n_panels: int, n_columns: int, size: tuple) -> np.ndarray:
    """Return the axes (n_panels,) of a display, in the order of its panels.

    For None they are in a new figure, with `size` inches a panel. One Axes holds a single panel; with several it is
    switched off, and they are drawn in its place, `n_columns` beside one another. An array has one Axes for each panel.
    Raises ValueError where the array has another number, or one Axes that is to hold several panels is not in a grid.
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
            raise ValueError(
                f"ax must be part of a grid of subplots, or an array of {n_panels} Axes, for {n_panels} panels"
            )
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


def frame(ax: "Axes", grid: str | None = "both") -> None:
    """Give axes a light frame: two spines, and pale grid lines below everything ("both", "x", "y" or None)."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
    if grid is not None:
        ax.grid(True, axis=grid, color=LIGHT, linewidth=0.6)


def inside_legend(ax: "Axes", **options) -> None:
    """Add a legend, if anything is labelled, inside the axes, so that the layout of the figure makes no room for it."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize="small", **options).set_in_layout(False)


def log_scale(ax: "Axes", axis: str, values: np.ndarray) -> None:
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


def blend(color: Any, share: float) -> tuple:
    """Mix `share` of a colour with white; the result is opaque, so that overlaps do not get darker."""
    from matplotlib.colors import to_rgb

    return tuple(share * np.array(to_rgb(color)) + 1 - share)
