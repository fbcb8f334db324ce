"""What the rows of benchmarks.digits show: the tables, findings in words, and the figure."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.harness import format_table

__all__ = ["describe", "draw_all", "findings"]

COLUMNS = (
    ("model", "model", "s"),
    ("alpha", "alpha", ".3g"),
    ("objective", "objective", ".3f"),
    ("lower_bound", "lower bound", ".3f"),
    ("gap", "gap", ".1e"),
    ("scope", "scope", "s"),
    ("train_accuracy", "train acc.", ".4f"),
    ("accuracy", "held-out acc.", ".4f"),
    ("worst", "worst seed", ".4f"),
    ("best", "best seed", ".4f"),
    ("seconds", "seconds", ".1f"),
    ("cpu_seconds", "CPU s", ".1f"),
    ("n_neurons", "filters", "d"),
)

LABEL = {"va": "center", "fontsize": 9, "color": "white", "weight": "bold"}
BESIDE = {"xytext": (8, 0), "textcoords": "offset points", "va": "center", "fontsize": 9}
# Least percentage drawn, as the axis is logarithmic.
FLOOR = 1e-3
COLORS = {"convex": "black", "circular": "0.45", "Adam": "tab:blue", "MLP": "tab:green", "logistic": "tab:red"}


def draw_all(results, folder):
    """Draw the figure into a folder; return its path."""
    tasks = list(results["selection"])
    figure, axes = plt.subplots(2, len(tasks), figsize=(13, 7), layout="constrained", squeeze=False)
    for (top, bottom), task in zip(axes.T, tasks, strict=True):
        rows = [row for row in results["rows"] if row["task"] == task]
        draw_accuracy(top, rows, f"{task}: {results['n_train']} digits to train, {results['n_test']} held out")
        draw_objective(bottom, [row for row in rows if "CNN" in row["model"] and "circular" not in row["model"]])
    shown = [part for axis in axes[:, 0] for part in zip(*axis.get_legend_handles_labels(), strict=True)]
    figure.legend(*zip(*shown, strict=True), fontsize=9, loc="outside lower center", ncols=len(shown))
    path = folder / "digits.png"
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path


def draw_accuracy(axis, rows, title):
    """Draw held-out accuracies in percent as bars, with a point for every seed."""
    rows = rows[::-1]
    values = [100 * row["accuracy"] for row in rows]
    everything = [100 * value for row in rows for value in row.get("accuracies", [row["accuracy"]])]
    least = max(0.0, 5 * np.floor(min(everything) / 5 - 0.5))
    names = [f"{row['model']}\nalpha = {row['alpha']:.3g}" for row in rows]
    axis.barh(names, values, color=[color_of(row["model"]) for row in rows], alpha=0.75)
    labelled = False
    for k, row in enumerate(rows):
        if "accuracies" in row:
            label = None if labelled else "each seed (bar: their mean)"
            points = 100 * np.array(row["accuracies"])
            axis.plot(points, np.full(len(points), k), "o", color="tab:orange", ms=4, label=label)
            labelled = True
        axis.text(least + 0.015 * (100 - least), k, f"{values[k]:.1f} %", **LABEL)
    axis.set(xlim=(least, 100), xlabel=f"held-out accuracy [%] (axis from {least:g})", title=title)
    axis.tick_params(axis="y", labelsize=8)
    axis.grid(alpha=0.3, axis="x")


def draw_objective(axis, rows):
    """Draw the objectives above the greatest lower bound at the same alpha, in percent of the bound."""
    rows = rows[::-1]
    bounds = {row["alpha"]: row["lower_bound"] for row in rows if "lower_bound" in row}
    names = [f"{row['model']}\nalpha = {row['alpha']:.3g}" for row in rows]
    labels = {"Adam": "Adam, each seed", "convex": "convex CNN (its gap)"}
    for k, row in enumerate(rows):
        bound = bounds[row["alpha"]] or np.nan  # nothing is above no bound
        excess = 100 * (np.array(row.get("objectives", [row["objective"]])) / bound - 1)
        kind = "Adam" if "objectives" in row else "convex"
        style = {"color": color_of(row["model"]), "ms": 9 if kind == "convex" else 5}
        axis.plot(np.maximum(excess, FLOOR), np.full(len(excess), k), "o", label=labels.pop(kind, None), **style)
        axis.annotate(f"{row['seconds']:.0f} s", (np.maximum(excess.max(), FLOOR), k), **BESIDE)
    axis.axvline(0.1, color="tab:red", ls="--", lw=1, label="target: 0.1 %")
    axis.set_yticks(range(len(rows)), names)
    axis.set(xscale="log", ylim=(-0.6, len(rows) - 0.4), xlabel="training objective above the lower bound [%]")
    axis.set_title("Same objective at the same alpha; seconds of a fit", fontsize=10)
    axis.tick_params(axis="y", labelsize=8)
    axis.margins(x=0.12)
    axis.grid(alpha=0.3, axis="x")


def color_of(model):
    """Return the color of a model."""
    return next(color for kind, color in COLORS.items() if model.startswith(kind))


def describe(results):
    """Return the tables, what their columns mean, and the findings as text."""
    lines = []
    for task in results["selection"]:
        rows = [row for row in results["rows"] if row["task"] == task]
        lines += [task, "", format_table(rows, COLUMNS), ""]
    lines += [
        f"{results['n_train']} training and {results['n_test']} held-out digits. Objectives are those of the",
        "training part; those of the convex CNN and of Adam's (best seed) are the same function of a network at the",
        "same alpha, that of the circular CNN is another. Accuracies and seconds of several seeds: means. Scope local:",
        "over all patterns as far as search finds them; sampled: proved over the patterns given, not over all.",
        "Seconds: of one fit, without choosing alpha or learning rate, on the clock and of one core: they differ where",
        "others use the machine.",
        *results["findings"],
        f"{results['seconds']:.0f} s in all.",
    ]
    return "\n".join(lines)


def findings(rows, options):
    """Say in words which targets are missed, how the objectives compare, and who is more accurate."""
    return [sentence for row in rows if "gap" in row for sentence in findings_of(row, rows, options)]


def findings_of(row, rows, options):
    """Say whether a convex network is at its optimum in time, and compare it with the others of its task."""
    name, others = f"{row['task']}, {row['model']}", [other for other in rows if other["task"] == row["task"]]
    met = "meets" if row["met"] else "MISSES"
    found = [
        f"{name}: {met} the target (gap at most {options.tol:g} in {options.target:g} s): "
        f"gap {row['gap']:.1e} in {row['seconds']:.1f} s."
    ]
    same = [o for o in others if "objectives" in o and "convex CNN" in row["model"] and o["alpha"] == row["alpha"]]
    for other in same:
        excess = row["objective"] / min(other["objectives"]) - 1
        found.append(
            f"{name}: its objective is {abs(excess):.2%} {'ABOVE' if excess > 0 else 'below'} that of Adam's best seed."
        )
    better = [other["model"] for other in others if other["accuracy"] > row["accuracy"]]
    found.append(f"{name}: " + (f"LESS accurate than {'; '.join(better)}." if better else "the most accurate."))
    return found
