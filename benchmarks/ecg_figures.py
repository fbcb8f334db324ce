"""The figures of benchmarks.ecg: objective against time, the predicted signal, and the test errors."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

__all__ = ["draw_all"]

COLORS = {"SGD": "tab:orange", "Adam": "tab:blue", "sampled": "0.4", "all": "black", "linear": "tab:red"}
RIGHT = {"ha": "right", "va": "center", "fontsize": 9}
# Samples of the test part that the figure of predictions shows.
SHOWN = 324


def draw_all(results, data, fits, folder):
    """Draw the three figures into a folder; return their paths."""
    figures = {
        "objective.png": draw_objective(results, fits),
        "prediction.png": draw_prediction(results, data, fits),
        "test_error.png": draw_test_error(results),
    }
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=150)
        plt.close(figure)
    return [folder / name for name in figures]


def draw_objective(results, fits):
    """Draw the training objective of every seed against time, beside the convex optima and their lower bounds."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for axis, (name, fit) in zip(axes, fits.items(), strict=True):
        for method in ("SGD", "Adam"):
            for k, run in enumerate(fit[method]["runs"]):
                times = [record["time"] for record in run.history[1:]]
                best = np.minimum.accumulate([record["objective"] for record in run.history[1:]])
                label = f"{method}, {len(fit[method]['runs'])} seeds" if k == 0 else None
                axis.plot(times, best, color=COLORS[method], lw=1, alpha=0.8, label=label)
        history = fit["all"]["row"]["history"]
        times, values = ([record[key] for record in history] for key in ("time", "objective"))
        axis.plot(times, values, color=COLORS["all"], lw=1.4)
        for kind, label in (("sampled", "convex, sampled patterns"), ("all", "convex, all patterns")):
            row, seconds = fit[kind]["row"], fit[kind]["seconds"]
            axis.axhline(row["objective"], color=COLORS[kind], lw=1.2, ls="--")
            axis.plot(seconds, row["objective"], "o", color=COLORS[kind], label=f"{label} ({row['objective']:.3f})")
        lowest, highest = fit["all"]["row"]["objective"], 10 * fit["sampled"]["row"]["objective"]
        axis.set(xscale="log", yscale="log", xlabel="training time [s]", title=f"{name}, alpha = {row['alpha']:g}")
        axis.set_ylim(0.9 * lowest, highest)
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
        lost = [
            f"{m}: a seed ends at {v:.0f}" for m in ("SGD", "Adam") for v in fit[m]["row"]["objectives"] if v > highest
        ]
        axis.text(0.02, 0.075, ", ".join(lost), transform=axis.transAxes, fontsize=8)
        axis.legend(fontsize=8, loc="upper right")
    axes[0].set_ylabel("training objective (best so far)")
    n = results["n_train"]
    figure.suptitle(f"ECG, {n} training windows: SGD and Adam beside convex networks over all activation patterns")
    return figure


def draw_prediction(results, data, fits):
    """Draw the last test samples with their predictions, and the errors."""
    model = fits["with skip"]["all"]["model"]
    rate, unit = results["signal"]["sampling_rate_hz"], results["signal"]["unit"] or "unit not stated"
    shown = slice(0, SHOWN)
    position = results["options"]["train"] + np.arange(len(data.y_test))[shown]
    x = position / rate if rate else position
    truth = data.to_unit(data.y_test[shown])
    convex = data.to_unit(model.predict(data.X_test[shown]))
    coefficients = np.linalg.lstsq(_with_ones(data.X_train), data.y_train, rcond=None)[0]
    linear = data.to_unit(_with_ones(data.X_test[shown]) @ coefficients)
    window, horizon = results["options"]["window"], results["options"]["horizon"]
    title = f"Prediction {horizon} sample{'s' * (horizon > 1)} ahead, from {window} samples"
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(11, 5.4), sharex=True, height_ratios=(2, 1), layout="constrained"
    )
    top.plot(x, truth, color="0.6", lw=3, label="ECG, test part")
    top.plot(x, linear, color=COLORS["linear"], lw=1, label="linear least squares")
    top.plot(x, convex, color=COLORS["all"], lw=1.2, label="convex network with skip, all patterns")
    top.set(ylabel=f"ECG [{unit}]", title=title)
    top.legend(fontsize=9)
    bottom.plot(x, linear - truth, color=COLORS["linear"], lw=1, label="linear least squares")
    bottom.plot(x, convex - truth, color=COLORS["all"], lw=1.2, label="convex network with skip")
    bottom.set(ylabel=f"error [{unit}]", xlabel="time [s]" if rate else "sample (sampling rate not stated)")
    for axis in (top, bottom):
        axis.grid(alpha=0.3)
    return figure


def draw_test_error(results):
    """Draw the test errors of all models as bars, with a point for every seed."""
    rows = [row for row in results["rows"] if row["model"] != "persistence"][::-1]
    figure, axis = plt.subplots(figsize=(11, 4.6), layout="constrained")
    kinds = {"all patterns": "all", "patterns": "sampled", "linear": "linear", "SGD": "SGD", "Adam": "Adam"}
    colors = [next((COLORS[kind] for key, kind in kinds.items() if key in row["model"]), "0.7") for row in rows]
    limit = 2.5 * max(row["test_mse"] for row in rows if row["model"].startswith(("linear", "convex")))
    axis.barh([row["model"] for row in rows], [row["test_mse"] for row in rows], color=colors, alpha=0.75)
    axis.set_xlim(0, limit)
    labelled = False
    for k, row in enumerate(rows):
        if "test_mses" in row:
            label = None if labelled else "each seed (the bar: the seed of least training objective)"
            axis.plot(row["test_mses"], [k] * len(row["test_mses"]), "k.", ms=6, label=label)
            labelled = True
            outside = [f"{value:.2g}" for value in row["test_mses"] if value > limit]
            axis.text(0.99 * limit, k, f"seed at {', '.join(outside)} \N{RIGHTWARDS ARROW}" * bool(outside), **RIGHT)
        axis.text(0.01 * limit, k, f"{row['test_mse']:.4f}", va="center", fontsize=9, color="white", weight="bold")
    linear = next(row["test_mse"] for row in rows if row["model"].startswith("linear"))
    axis.axvline(linear, color=COLORS["linear"], ls="--", lw=1, label="linear least squares")
    persistence = results["rows"][0]["test_mse"]
    axis.set(
        xlabel="test MSE (signal standardised on its training part)",
        title=f"Test error, {results['n_test']} windows (persistence: {persistence:.4f}, not shown)",
    )
    axis.legend(fontsize=9, loc="lower right")
    axis.grid(alpha=0.3, axis="x")
    return figure


def _with_ones(X):
    return np.column_stack([X, np.ones(len(X))])
