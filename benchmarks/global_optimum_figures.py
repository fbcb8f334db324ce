"""What benchmarks.global_optimum shows: its tables, its findings in words, and two figures.

The figures: the excess over the best objective against time, and the gaps proved beside their targets.
"""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter

from benchmarks.harness import format_table

__all__ = ["draw_objectives", "draw_proofs", "excess", "findings", "tables"]

OBJECTIVE_COLUMNS = (
    ("label", "problem", "s"),
    ("n_samples", "n", "d"),
    ("n_features", "d", "d"),
    ("sampled_objective", "sampled", ".9g"),
    ("adam_objective", "Adam, best of 5", ".9g"),
    ("objective", "generation", ".10g"),
    ("target_objective", "target", ".10g"),
    ("met_objective", "met", "s"),
    ("below_adam", "below Adam", "s"),
    ("adam_excess", "Adam's excess", "+.1e"),
    ("gap", "local gap", ".1e"),
    ("n_neurons", "neurons", "d"),
    ("n_iter", "iterations", "d"),
)
SECONDS_COLUMNS = (
    ("label", "problem", "s"),
    ("sampled_seconds", "sampled", ".3f"),
    ("adam_seconds", "Adam, one run", ".2f"),
    ("adam_all_seconds", "five runs", ".2f"),
    ("adam_tuning_seconds", "tuning", ".2f"),
    ("adam_close_seconds", "to 1%", ".3f"),
    ("seconds", "generation", ".3f"),
    ("cpu_seconds", "CPU", ".3f"),
    ("target_seconds", "target", "g"),
    ("met_seconds", "met", "s"),
    ("close_text", "to 1%", "s"),
    ("close_before_adam", "<= one run", "s"),
    ("passing_seconds", "to Adam's best", ".3f"),
    ("passes_in_time", "< five runs", "s"),
    ("faster_than_adam", "whole < five runs", "s"),
    ("load_average", "load", ".1f"),
)
ADAM_COLUMNS = (
    ("problem", "problem", "s"),
    ("adam_neurons", "neurons", "d"),
    ("adam_batch_size", "batch", "d"),
    ("adam_epochs", "epochs", "d"),
    ("adam_rate", "learning rate", "g"),
    ("adam_text", "objectives of the five seeds", "s"),
)
PROOF_COLUMNS = (
    ("name", "problem", "s"),
    ("alpha", "alpha", ".4g"),
    ("objective", "objective", ".10g"),
    ("lower_bound", "proved bound", ".10g"),
    ("gap", "gap proved", ".1e"),
    ("target_gap", "target", "g"),
    ("seconds", "seconds", ".2f"),
    ("target_seconds", "target", "g"),
    ("limit", "limit", "g"),
    ("met", "met", "s"),
    ("cpu_seconds", "CPU", ".2f"),
    ("n_neurons", "neurons", "d"),
    ("n_iter", "iterations", "d"),
    ("load_average", "load", ".1f"),
)

# Smaller excesses are rounding; they are drawn here.
FLOOR = 1e-8
TOP = 10.0
# Times before it [s] are not shown.
EARLIEST = 1e-3
STYLES = {
    "generation": {"color": "black", "marker": "o", "ms": 2.5, "lw": 1.4, "zorder": 3},
    "adam": {"color": "tab:blue", "lw": 0.7, "alpha": 0.8},
    "sampled": {"color": "tab:orange", "lw": 1.6, "ls": "--"},
}
LABELS = {
    "generation": "generation, all patterns",
    "adam": "Adam, five seeds, tuning not counted",
    "sampled": "optimum over sampled patterns",
}


def findings(results):
    """Count in words the targets that are met, and name those that are missed."""
    rows, proofs, sentences = results["rows"], results["proofs"], []
    tol, close = (results["settings"][key] for key in ("tol", "close"))
    for key, what in (
        ("met_objective", "Objective at most its target"),
        ("met_seconds", f"Objective and a local gap of {tol:g} in the target's seconds"),
        ("below_adam", "Objective below the best of five Adam runs"),
        ("passes_in_time", "At the best objective of the five Adam runs in less than their time, tuning not counted"),
        ("faster_than_adam", "Whole run, to the gap or the limit, faster than the five Adam runs"),
        ("close_before_adam", f"Within {close:.0%} of the final objective no later than one Adam run takes"),
    ):
        sentences += counted(what, [row["problem"] for row in rows], [row[key] for row in rows])
    sentences += counted("Proofs", [row["name"] for row in proofs], [row["met"] for row in proofs])
    sentences += [
        f"{row['problem']}: generation {row['status']}, at a local gap of {row['gap']:.1e}."
        for row in rows
        if not row["converged"]
    ]
    return sentences + [f"{row['name']}: proof {row['status']}." for row in proofs if row["status"] != "solved"]


def counted(what, names, found):
    """Return how many of the targets set are met, and which are not; nothing if none is set."""
    aimed = [(name, verdict) for name, verdict in zip(names, found, strict=True) if verdict is not None]
    missed = [name for name, verdict in aimed if verdict != "yes"]
    if not aimed:
        return []
    return [f"{what}: {len(aimed) - len(missed)} of {len(aimed)}" + f"; NOT {', '.join(missed)}" * bool(missed) + "."]


def tables(results):
    """Return the tables under their titles, with notes."""
    rows = results["rows"]
    parts = []
    if rows:
        parts += ["Objectives, ReLU, no biases", "", format_table(rows, OBJECTIVE_COLUMNS), ""]
        parts += [
            "Seconds",
            "",
            format_table(rows, SECONDS_COLUMNS),
            "",
            *notes(results["settings"], results["options"]["time_limit"]),
            "",
        ]
        parts += ["Adam: learning rate by grid on the first seed", "", format_table(rows, ADAM_COLUMNS), ""]
    if results["proofs"]:
        title = "Gaps proved over all patterns; NxD: planted teacher of 10 neurons, 10% noise, 0.05 alpha_max"
        parts += [title, "", format_table(results["proofs"], PROOF_COLUMNS), ""]
        parts += ["Seconds: generation, proof and reduction, to the target gap as tolerance, at most the limit.", ""]
    return parts


def notes(settings, limit):
    """Return what the columns of the tables of the comparison problems mean."""
    tol, repeats, short = (settings[key] for key in ("tol", "repeats", "short_seconds"))
    return [
        f"* ended above a local gap of {tol:g}, by its limit of {limit:g} s or for the reason below.",
        "Sampled: optimum over the problem's sampled patterns. Generation: objective of the recovered network, reduced",
        "to at most n neurons, in float64; its seconds are those of solving, recovering and reducing, the median of",
        f"{repeats} runs below {short:g} s, one run above. CPU: its processor seconds, which other work on the machine",
        "does not change. Adam: seconds of training on one core, evaluations of the objective not counted; one run:",
        "the median of the five; tuning: the other rates of the grid. To 1%: until the objective is within 1% of that",
        "of generation; of Adam's soonest seed; <= where the first record of generation was there. To Adam's best:",
        "until generation is at the best objective of the five runs. Local gap: to a bound that search did not refute,",
        "which proves nothing. Load: mean number of processes of the last minute.",
    ]


def excess(objectives, best):
    """Return (objective - best) / best, at least `FLOOR`."""
    return np.maximum(np.asarray(objectives, dtype=float) / best - 1, FLOOR)


def draw_objectives(rows, histories, path):
    """Draw a panel for each problem: a column for each data set, a row for each strength of regularisation."""
    letters = sorted({row["problem"][0] for row in rows})
    strengths = sorted({row["problem"][2:] for row in rows})
    figure, axes = plt.subplots(
        len(strengths),
        len(letters),
        figsize=(max(8.5, 2.6 * len(letters)), 1.2 + 2.5 * len(strengths)),
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    panels = {row["problem"]: (row, history) for row, history in zip(rows, histories, strict=True)}
    for strength, line in zip(strengths, axes, strict=True):
        for letter, axis in zip(letters, line, strict=True):
            panel = panels.get(f"{letter}_{strength}")
            axis.set_visible(panel is not None)
            if panel is not None:
                draw_panel(axis, *panel)
    figure.supxlabel("time [s]", fontsize=10)
    figure.supylabel("relative excess over the best objective", fontsize=10)
    handles = {h.get_label(): h for axis in axes.flat for h in axis.get_lines() if h.get_label() in LABELS.values()}
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=len(handles), fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_panel(axis, row, history):
    """Draw the runs of one problem; time in whole decades."""
    ours = [(record["time"], record["objective"]) for record in history["generation"]]
    ours.append((row["seconds"], row["objective"]))
    runs = [[(record["time"], record["objective"]) for record in run if record["time"] > 0] for run in history["adam"]]
    best = min(value for run in (ours, *runs) for _, value in run)
    for kind, run in [("adam", run) for run in runs] + [("generation", ours)]:
        times, objectives = np.array(run).T
        values = excess(np.minimum.accumulate(objectives), best)
        axis.plot(times, values, drawstyle="steps-post", label=LABELS[kind], **STYLES[kind])
    axis.axhline(excess(row["sampled_objective"], best), label=LABELS["sampled"], **STYLES["sampled"])
    ended = "" if row["converged"] else ", stopped"
    axis.set_title(f"{row['problem']}: n = {row['n_samples']}, d = {row['n_features']}{ended}", fontsize=9)
    limits = decades([max(time, EARLIEST) for run in (ours, *runs) for time, _ in run])
    axis.set(xscale="log", yscale="log", xlim=limits, ylim=(FLOOR / 2, TOP))
    axis.xaxis.set_major_locator(LogLocator(numticks=8))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_major_locator(LogLocator(base=100, numticks=8))
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)


def decades(values):
    """Return limits of whole decades around positive values, with a margin."""
    exponents = np.log10(values)
    return 10.0 ** np.array([np.floor(exponents.min()), np.ceil(exponents.max())]) * (0.7, 1.4)


def draw_proofs(proofs, path):
    """Draw the gap proved and the seconds of every problem, beside the targets."""
    places = np.arange(len(proofs))
    figure, axes = plt.subplots(
        1, 2, figsize=(10, 1.5 + 0.36 * len(proofs)), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, key, label in zip(axes[0], ("gap", "seconds"), ("gap proved, relative", "time [s]"), strict=True):
        reached = np.array([row[key] for row in proofs])
        target = np.array([row[f"target_{key}"] for row in proofs])
        reached, target = (np.maximum(values, FLOOR) for values in (reached, target))
        for place, ends in zip(places, zip(reached, target, strict=True), strict=True):
            axis.plot(ends, (place, place), color="0.75", lw=1, zorder=1)
        axis.plot(target, places, "|", color="tab:red", ms=15, mew=2, label="target, at most")
        met = reached <= target
        axis.plot(reached[met], places[met], "o", color="black", ms=6, label="reached")
        axis.plot(reached[~met], places[~met], "X", color="tab:red", ms=8, label="above the target")
        axis.set(xscale="log", xlabel=label, xlim=decades([*reached, *target]), ylim=(len(proofs) - 0.5, -0.5))
        axis.yaxis.set_major_locator(FixedLocator(places))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
    axes[0, 0].set_yticklabels([f"{row['name']}: n = {row['n_samples']}, d = {row['n_features']}" for row in proofs])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)
