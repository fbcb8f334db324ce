"""The figure of benchmarks.solvers: relative gap against time, a panel for each problem and activation."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

__all__ = ["draw_gaps"]

STYLES = {
    "newton": {"color": "black", "marker": "o", "ms": 4, "lw": 1.4, "label": "working set, Newton"},
    "fista": {"color": "tab:blue", "marker": "s", "ms": 3.5, "lw": 1.2, "label": "working set, FISTA"},
    "cvxpy + Clarabel": {"color": "tab:orange", "marker": "D", "ms": 6, "lw": 0, "label": "cvxpy + Clarabel"},
}
NAMES = {"relu": "ReLU", "gated_relu": "gated ReLU"}
# Smaller gaps are rounding; they are drawn here.
LEAST_GAP = 1e-12


def draw_gaps(rows, histories, path):
    """Draw the gap over time of every history: a column for each data set, a row for each activation and strength."""
    letters = sorted({row["problem"][0] for row in rows})
    lines = list(dict.fromkeys((row["activation"], row["problem"][1:]) for row in rows))
    figure, axes = plt.subplots(
        len(lines),
        len(letters),
        figsize=(max(5.5, 2.7 * len(letters)), 0.9 + 2.3 * len(lines)),
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    sizes = {(row["activation"], row["problem"]): row for row in rows}
    for (activation, strength), line in zip(lines, axes, strict=True):
        for letter, axis in zip(letters, line, strict=True):
            row = sizes.get((activation, letter + strength))
            axis.set_visible(row is not None)
            if row is not None:
                found = [h for h in histories if (h["activation"], h["problem"]) == (activation, row["problem"])]
                draw_panel(axis, row, found)
    figure.supxlabel("time [s]", fontsize=10)
    figure.supylabel("relative gap", fontsize=10)
    handles = {h.get_label(): h for axis in axes.flat for h in axis.get_lines()}
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=len(handles), fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_panel(axis, row, histories):
    """Draw the histories of the solvers of one problem; time in whole decades."""
    for entry in histories:
        times = [record["time"] for record in entry["history"]]
        gaps = np.maximum([record["gap"] for record in entry["history"]], LEAST_GAP)
        axis.plot(times, gaps, drawstyle="steps-post", **STYLES[entry["solver"]])
    size = f"n = {row['n_samples']}, d = {row['n_features']}, {row['n_patterns']} patterns"
    axis.set_title(f"{row['problem']}, {NAMES[row['activation']]}\n{size}", fontsize=9)
    times = np.log10([record["time"] for entry in histories for record in entry["history"]])
    limits = 10.0 ** np.array([np.floor(times.min()), np.ceil(times.max())]) * (0.8, 1.25)
    axis.set(xscale="log", yscale="log", xlim=limits, ylim=(LEAST_GAP / 3, 3))
    axis.xaxis.set_major_locator(LogLocator(numticks=6))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_major_locator(LogLocator(base=100, numticks=10))
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
