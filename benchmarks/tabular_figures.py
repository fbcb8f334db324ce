"""The figure of benchmarks.tabular: held-out error and time of every model, a panel for each data set."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

__all__ = ["draw_scores"]

# Errors above this multiple of the smallest are arrows with a number: they would press the others together.
FAR = 1.5

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
    """Draw the error of each model against the processor time of its search, with standard errors."""
    names = list(dict.fromkeys(row["data"] for row in rows))
    figure, axes = plt.subplots(
        1, len(names), figsize=(max(4.5, 2.9 * len(names)), 3.4), squeeze=False, layout="constrained"
    )
    for name, axis in zip(names, axes[0], strict=True):
        own = [row for row in rows if row["data"] == name]
        error = next(key for key in ERRORS if key in own[0])
        most = FAR * min(row[error] for row in own)
        top = max(row[error] + row.get(f"{error}_error", 0.0) for row in own if row[error] <= most)
        for row in own:
            style = {"color": COLORS[row["model"]]}
            if row[error] <= most:
                axis.errorbar(row["cpu_seconds"], row[error], row.get(f"{error}_error"), fmt="o", **style)
            else:
                axis.plot(row["cpu_seconds"], top, "^", **style)
                number = {"xytext": (0, -12), "textcoords": "offset points", "ha": "center", "fontsize": 8}
                axis.annotate(f"{row[error]:.3g}", (row["cpu_seconds"], top), **number)
        axis.margins(x=0.15)
        axis.set(xscale="log", xlabel="processor seconds", ylabel=ERRORS[error])
        axis.set_title(f"{name}, {own[0]['shape']}", fontsize=10)
        axis.grid(alpha=0.3)
    models = dict.fromkeys(row["model"] for row in rows)
    handles = [axes[0, 0].plot([], [], "o", color=COLORS[model])[0] for model in models]
    figure.legend(handles, models, loc="outside upper center", ncols=len(models), fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)
