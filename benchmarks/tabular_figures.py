"""The figure of benchmarks.tabular: held-out error and time of every model, a panel for each data set."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

__all__ = ["draw_scores"]

# Error, and what it is called; the first that a row has.
ERRORS = {"rmse": "test RMSE", "log_loss": "test log loss"}
COLORS = {
    "convex network": "black",
    "MLP": "tab:orange",
    "gradient boosting": "tab:green",
    "kernel": "tab:blue",
    "linear": "tab:purple",
    "lasso": "tab:pink",
}


def draw_scores(rows, path):
    """Draw the error of each model against the seconds of its search, with standard errors."""
    names = list(dict.fromkeys(row["data"] for row in rows))
    figure, axes = plt.subplots(
        1, len(names), figsize=(max(4.5, 2.9 * len(names)), 3.4), squeeze=False, layout="constrained"
    )
    for name, axis in zip(names, axes[0], strict=True):
        own = [row for row in rows if row["data"] == name]
        error = next(key for key in ERRORS if key in own[0])
        for row in own:
            bar = row.get(f"{error}_error")
            axis.errorbar(row["cpu_seconds"], row[error], bar, fmt="o", color=COLORS[row["model"]], label=row["model"])
        axis.set(xscale="log", xlabel="processor seconds", ylabel=ERRORS[error])
        axis.set_title(f"{name}, {own[0]['shape']}", fontsize=10)
        axis.grid(alpha=0.3)
    handles = {h.get_label(): h for axis in axes.flat for h in axis.get_legend_handles_labels()[0]}
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=len(handles), fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)
