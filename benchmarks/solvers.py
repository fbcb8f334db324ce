"""Time to a relative gap: the exact engine beside FISTA and cvxpy with Clarabel, on the comparison problems A to E.

    python -m benchmarks.solvers --output results/solvers

All solve the same convex programs over given patterns, for ReLU (cones) and gated ReLU (no cones), and all gaps are
those of their certificates. Newton's objectives are compared with listed optima, its feasibility and the recovered
networks are checked apart from the solver.
Prints tables, and writes solvers.json (every number), solvers.txt, solvers.md (the first tables) and gap.png.
"""

import argparse
import logging
import os
import time
import warnings
from pathlib import Path

import numba
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from benchmarks.harness import environment, format_table, write_json
from benchmarks.problems import PROBLEMS, make_problem
from benchmarks.solver_figures import draw_gaps
from convexnn import Architecture
from convexnn.model import build_program
from convexnn.networks import recover
from convexnn.solvers import solve_reference, solve_working_set

__all__ = ["GAPS", "SOLVERS", "cone_violation", "main", "time_to_gap"]

logger = logging.getLogger("benchmarks.solvers")

ACTIVATIONS = {"relu": "ReLU", "gated_relu": "gated ReLU"}
SOLVERS = ("newton", "fista", "cvxpy + Clarabel")
# Relative gaps whose times are reported; the iterative solvers are run to the last.
GAPS = tuple(float(f"1e-{k}") for k in range(2, 9))
REFERENCE_TOL = 1e-6
REFERENCE_PROBLEMS = ["A_hi", "A_lo", "B_hi", "B_lo", "D_hi", "D_lo"]
# The targets set for this engine: relative gaps, and seconds (or None) and listed optimum of each problem.
TARGET_GAPS = {"relu": 1e-6, "gated_relu": 1e-8}
TARGETS = {
    "relu": {
        "A_hi": (None, 37.2142458),
        "B_hi": (0.1, 209.7534559),
        "B_lo": (0.5, 39.4209383),
        "C_hi": (1.0, 1165.62052),
        "C_lo": (4.0, 330.958846),
        "D_hi": (0.3, 133.8971475),
        "D_lo": (0.6, 95.4191222),
        "E_hi": (5.0, 423.827423),
    },
    "gated_relu": {
        "B_hi": (0.03, 108.1040794),
        "B_lo": (0.2, 13.3376979),
        "C_hi": (0.5, 730.9948242),
        "C_lo": (5.0, 106.4973865),
        "D_hi": (0.1, 114.2607159),
        "D_lo": (1.5, 36.8818317),
        "E_hi": (5.0, 305.39614),
    },
}
# Listed values that are upper bounds of the optimum only.
UPPER_BOUNDS = {("gated_relu", "E_hi")}
COLUMNS = (
    ("label", "problem", "s"),
    ("n_samples", "n", "d"),
    ("n_features", "d", "d"),
    ("n_patterns", "patterns", "d"),
    ("seconds_to_target", "seconds to target", ".3f"),
    ("target_seconds", "target [s]", "g"),
    ("objective", "objective", ".10g"),
    ("listed_difference", "from listed", "+.1e"),
    ("gap", "gap", ".1e"),
    ("violation", "violation", ".1e"),
    ("n_blocks", "blocks", "d"),
    ("reference_seconds", "Clarabel [s]", ".3f"),
    ("ratio", "Clarabel / newton", ".3g"),
)


def main(arguments=None):
    """Run the benchmark; return the results as written to solvers.json."""
    options = parse(arguments)
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    start = time.perf_counter()
    results = {
        "environment": environment() | {"numba_threads": numba.get_num_threads(), "load_average": load_average()},
        "options": vars(options),
        "compile_seconds": {activation: warm_up(activation) for activation in options.activations},
    }
    for activation, seconds in results["compile_seconds"].items():
        logger.info("first solve, %s, with compilation where not cached: %.1f s, not counted", activation, seconds)
    results["rows"], results["histories"] = run(options)
    results["findings"] = findings(results["rows"])
    results["seconds"] = time.perf_counter() - start
    report(results, Path(options.output))
    return results


def parse(arguments=None):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.solvers", description=__doc__.split("\n\n")[0])
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS), help="default: all")
    parser.add_argument(
        "--activations", nargs="+", choices=tuple(ACTIVATIONS), default=list(ACTIVATIONS), help="default: both"
    )
    parser.add_argument(
        "--reference",
        nargs="*",
        choices=PROBLEMS,
        default=REFERENCE_PROBLEMS,
        help=f"problems that Clarabel solves too (default: {' '.join(REFERENCE_PROBLEMS)})",
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median counts (default: 3)")
    parser.add_argument("--fista-limit", type=float, default=10.0, help="limit of FISTA in seconds (default: 10)")
    parser.add_argument("--reference-limit", type=float, default=300.0, help="limit of Clarabel in s (default: 300)")
    parser.add_argument("--output", default="results/solvers", help="folder of the results (default: results/solvers)")
    parser.add_argument("--quick", action="store_true", help="a small run that tests the benchmark, not the solvers")
    options = parser.parse_args(arguments)
    if options.quick:
        options.problems, options.reference = ["A_hi", "B_hi"], ["A_hi"]
        options.repeats, options.fista_limit = 1, 1.0
    if options.repeats < 1:
        parser.error(f"--repeats must be at least 1; got {options.repeats}")
    return options


def load_average():
    """Return the load of the last minute, None where the system does not tell: other work spoils the times."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def warm_up(activation):
    """Solve A_hi once with each solver; return the seconds of the first solve, the one that compiles."""
    program = program_of(make_problem("A_hi"), activation)
    start = time.perf_counter()
    solve_working_set(program, tol=1e-2)
    seconds = time.perf_counter() - start
    solve_working_set(program, tol=1e-1, inner="fista")
    solve_reference(program)
    return seconds


def program_of(problem, activation):
    """Return the convex program of a problem: no biases, and the problem's own gates."""
    architecture = Architecture(activation, hidden_bias="none", fit_intercept=False)
    return build_program(problem.X, problem.y, problem.alpha, problem.gates, architecture)


def run(options):
    """Return a row for each problem, activation and solver, and their histories."""
    rows, histories = [], []
    for activation in options.activations:
        for name in options.problems:
            problem = make_problem(name)
            program = program_of(problem, activation)
            found = [
                newton_row(problem, program, options.repeats),
                fista_row(program, options.fista_limit),
            ]
            if name in options.reference:
                found.append(reference_row(program, options.reference_limit))
            for solver, (row, history) in zip(SOLVERS, found, strict=False):
                key = {"problem": name, "activation": activation, "solver": solver}
                size = {"n_samples": len(problem.X), "n_features": problem.X.shape[1]}
                size |= {"n_patterns": len(program.design.arrangements), "alpha": problem.alpha}
                times = {f"{gap:.0e}": time_to_gap(history, gap) for gap in GAPS}
                rows.append(key | size | row | {"times_to_gap": times})
                histories.append(key | {"history": history})
                logger.info("%s, %s, %s: %s", activation, name, solver, describe(rows[-1]))
    return rows, histories


def newton_row(problem, program, repeats):
    """Solve to the last gap and to the target's, `repeats` times each; return the checked row and the history."""
    activation = program.architecture.activation
    target_gap = TARGET_GAPS[activation]
    target_seconds, listed = TARGETS[activation].get(problem.name, (None, None))
    runs = [timed(solve_working_set, program, tol=GAPS[-1]) for _ in range(repeats)]
    solution, seconds = sorted(runs, key=lambda run: run[1])[repeats // 2]
    to_target = [timed(solve_working_set, program, tol=target_gap) for _ in range(repeats)]
    reached = all(run.converged for run, _ in to_target)
    objective = solution.certificate.objective
    of_network = recover(solution).objective(problem.X, problem.y, problem.alpha)
    row = solution_row(solution, seconds, GAPS[-1]) | {
        "all_seconds": [seconds for _, seconds in runs],
        "target_gap": target_gap,
        "target_seconds": target_seconds,
        "seconds_to_target": float(np.median([seconds for _, seconds in to_target])) if reached else None,
        "all_seconds_to_target": [seconds for _, seconds in to_target],
        "violation": cone_violation(program, solution) if activation == "relu" else None,
        "network_difference": abs(of_network - objective) / objective,
        "listed_objective": listed,
        "listed_is_upper_bound": (activation, problem.name) in UPPER_BOUNDS,
        "listed_difference": None if listed is None else (objective - listed) / listed,
    }
    return row, solution.history


def fista_row(program, limit):
    """Solve with FISTA on the working sets, within a limit in seconds; return the row and the history."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the limit is part of the comparison
        solution, seconds = timed(solve_working_set, program, tol=GAPS[-1], inner="fista", time_limit=limit)
    return solution_row(solution, seconds, GAPS[-1]), solution.history


def reference_row(program, limit):
    """Solve whole with cvxpy and Clarabel; return the row and the history of one record, none where it failed."""
    try:
        solution, seconds = timed(solve_reference, program, tol=REFERENCE_TOL, time_limit=limit)
    except RuntimeError as error:
        missing = dict.fromkeys(("seconds", "objective", "lower_bound", "gap", "n_iter", "n_blocks"))
        return missing | {"tol": REFERENCE_TOL, "converged": False, "status": str(error)}, []
    return solution_row(solution, seconds, REFERENCE_TOL), solution.history


def timed(solve, program, **options):
    """Return a solution and the seconds of the call."""
    start = time.perf_counter()
    solution = solve(program, **options)
    return solution, time.perf_counter() - start


def solution_row(solution, seconds, tol):
    """Return what is reported of every solution."""
    certificate = solution.certificate
    return {
        "tol": tol,
        "seconds": seconds,
        "objective": float(certificate.objective),
        "lower_bound": float(certificate.lower_bound),
        "gap": float(certificate.gap),
        "converged": bool(solution.converged),
        "status": solution.status,
        "n_iter": solution.n_iter,
        "n_blocks": int(np.count_nonzero(solution.W.any(axis=(1, 2)))),
    }


def time_to_gap(history, gap):
    """Return the time [s] of the first record of a history with at most this gap, None if there is none."""
    return next((record["time"] for record in history if record["gap"] <= gap), None)


def cone_violation(program, solution):
    """Return the largest max(0, -min_k (2 D - I)_k x_k.u) / (|x_k| |u|) over the blocks u that are not zero."""
    X, W = program.design.X, solution.W[:, :, 0]
    active = np.flatnonzero(W.any(axis=1))
    lengths = np.linalg.norm(X, axis=1)
    rows = lengths > 0
    if not len(active) or not rows.any():
        return 0.0
    patterns = program.design.arrangements.patterns(active % len(program.design.arrangements))
    units = W[active] / np.linalg.norm(W[active], axis=1, keepdims=True)
    products = (2.0 * patterns[:, rows] - 1.0) * (units @ (X[rows] / lengths[rows, None]).T)
    return max(0.0, -float(products.min()))


def describe(row):
    """Return the progress line of a row."""
    if row["gap"] is None:
        return row["status"]
    return f"objective {row['objective']:.10g}, gap {row['gap']:.1e}, {row['status']}, {row['seconds']:.3f} s"


def findings(rows):
    """Say in words which targets were missed, where Clarabel was faster, and which gaps were not reached."""
    newton = [row for row in rows if row["solver"] == "newton"]
    aimed = [row for row in newton if row["target_seconds"] is not None]
    missed = [row for row in aimed if (row["seconds_to_target"] or np.inf) > row["target_seconds"]]
    sentences = [f"Targets met: {len(aimed) - len(missed)} of {len(aimed)}."] if aimed else []
    for row in missed:
        seconds = row["seconds_to_target"]
        what = "gap not reached" if seconds is None else f"{seconds:.3f} s"
        sentences.append(f"{name_of(row)}: target of {row['target_seconds']:g} s MISSED, {what}.")
    for row in table_rows(rows):
        if row["ratio"] is not None and row["ratio"] < 1:
            sentences.append(f"{name_of(row)}: Clarabel is FASTER than newton.")
    for row in rows:
        if row["solver"] != "fista" and not row["converged"]:
            gap = "" if row["gap"] is None else f" at a gap of {row['gap']:.1e}"
            sentences.append(f"{name_of(row)}: {row['solver']} did not reach {row['tol']:g}: {row['status']}{gap}.")
    return sentences


def name_of(row):
    """Return the problem and activation of a row in words."""
    return f"{row['problem']}, {ACTIVATIONS[row['activation']]}"


def table_rows(rows):
    """Return newton's rows with Clarabel's seconds (None where it was not run or did not reach its gap)."""
    reference = {(row["activation"], row["problem"]): row for row in rows if row["solver"] == SOLVERS[2]}
    merged = []
    for row in rows:
        if row["solver"] != "newton":
            continue
        other = reference.get((row["activation"], row["problem"]))
        seconds = None if other is None or not other["converged"] else other["seconds"]
        own = row["seconds_to_target"]
        ratio = None if seconds is None or own is None else seconds / own
        label = row["problem"] + " *" * row["listed_is_upper_bound"]
        merged.append(row | {"label": label, "reference_seconds": seconds, "ratio": ratio})
    return merged


def format_markdown(rows, columns):
    """Return rows as a Markdown table, one column for each (key, title, format); missing values are a dash."""
    lines = [[title for _, title, _ in columns], ["---" if k == 0 else "---:" for k in range(len(columns))]]
    for row in rows:
        lines.append(["-" if row.get(key) is None else format(row[key], spec) for key, _, spec in columns])
    return "\n".join("| " + " | ".join(cell.replace("*", r"\*") for cell in line) + " |" for line in lines)


def tables(results, make_table):
    """Return a table for each activation, under its title."""
    parts = []
    for activation in results["options"]["activations"]:
        rows = [row for row in table_rows(results["rows"]) if row["activation"] == activation]
        title = f"{ACTIVATIONS[activation]}: to a relative gap of {TARGET_GAPS[activation]:g}"
        parts += [title, "", make_table(rows, COLUMNS), ""]
    return parts


def gap_tables(results):
    """Return a table of the times to each gap for each activation, under its title."""
    keys = [f"{gap:.0e}" for gap in GAPS]
    columns = (("problem", "problem", "s"), ("solver", "solver", "s"), *((key, key, ".3f") for key in keys))
    parts = []
    for activation in results["options"]["activations"]:
        rows = [row | row["times_to_gap"] for row in results["rows"] if row["activation"] == activation]
        parts += [f"{ACTIVATIONS[activation]}: seconds to a relative gap", "", format_table(rows, columns), ""]
    return parts


def notes(results):
    """Return what the columns of the first tables mean."""
    options = results["options"]
    lines = [
        f"Seconds to target: of a whole call to the gap of the title, median of {options['repeats']}; to build the",
        f"program is counted for none. Objective, gap, violation and blocks: of a solve to {GAPS[-1]:g}. From listed:",
        "relative difference from the optimum listed for the problem. Violation: of the cones, relative to |x_k| |u|,",
        "computed apart from the solver. Clarabel: one solve of the whole program through cvxpy, to a certified gap of",
        f"{REFERENCE_TOL:g} for which solve_reference asks Clarabel for 1e-10; cvxpy's own work is counted.",
    ]
    if any(row.get("listed_is_upper_bound") for row in results["rows"]):
        lines.append("* the listed value is an upper bound of the optimum, not the optimum.")
    return lines


def report(results, folder):
    """Print the tables, and write the JSON, the texts and the figure."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "solvers.json", results)
    draw_gaps(results["rows"], results["histories"], folder / "gap.png")
    load = results["environment"]["load_average"]
    text = "\n".join(
        [
            *tables(results, format_table),
            *notes(results),
            "",
            *gap_tables(results),
            f"Newton: the run of median time. FISTA: one run of at most {results['options']['fista_limit']:g} s.",
            "Clarabel has one point, its end.",
            *results["findings"],
            *([] if load is None else [f"Load average of the machine at the start: {load:.2f}."]),
            f"{results['seconds']:.0f} s in all. Every number is in {folder / 'solvers.json'}; the figure is gap.png.",
        ]
    )
    (folder / "solvers.txt").write_text(text + "\n", encoding="utf-8")
    markdown = "\n".join([*tables(results, format_markdown), *notes(results)]).replace("\n* the", "\n\\* the")
    (folder / "solvers.md").write_text(markdown + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
