"""The optimum over all activation patterns: generation beside Adam and the sampled program, and how far it is proved.

    python -m benchmarks.global_optimum --output results/global_optimum

On the comparison problems A to E: the optimum over the sampled patterns, the best of five tuned Adam runs, and the
network that generation finds, whose objective is evaluated anew. Then the gaps proved over all patterns, on problems of
a planted teacher and some of A and B. All on one machine in one run; what was reached is printed beside the targets.
Prints tables, and writes global_optimum.json (every number), global_optimum.txt and two figures.
"""

import argparse
import logging
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from benchmarks.global_optimum_figures import draw_objectives, draw_proofs, findings, tables
from benchmarks.harness import environment, write_json
from benchmarks.problems import PROBLEMS, make_problem, make_teacher
from benchmarks.solvers import load_average, timed
from convexnn import Architecture, Network
from convexnn.baselines import train_adam
from convexnn.model import Solution, build_program
from convexnn.networks import recover
from convexnn.networks.minimal import minimal_network
from convexnn.pricing import alpha_max
from convexnn.solvers import solve_generation, solve_working_set

__all__ = ["PROOFS", "TARGETS", "main", "proof_limit", "time_to_objective"]

logger = logging.getLogger("benchmarks.global_optimum")

ARCHITECTURE = Architecture("relu", hidden_bias="none", fit_intercept=False, skip=False)
TOL = 1e-6
ADAM_SEEDS = 5
# Neurons, minibatch (None: all samples) and epochs of Adam, by trial: those that serve it best in 10 to 20 s a run.
ADAM = {
    "A_hi": (200, None, 10_000),
    "A_lo": (200, None, 10_000),
    "B_hi": (400, None, 20_000),
    "B_lo": (400, None, 20_000),
    "C_hi": (400, None, 6000),
    "C_lo": (400, None, 8000),
    "D_hi": (400, None, 8000),
    "D_lo": (1000, 64, 5000),
    "E_hi": (200, 32, 1500),
    "E_lo": (200, 32, 1500),
}
# Targets: objective at most, and seconds to it and to a local gap of TOL (None: not set).
TARGETS = {
    "A_hi": (29.30731, 0.1),
    "A_lo": (3.831629, 0.3),
    "B_hi": (129.35612, 0.4),
    "B_lo": (17.15552, 5.0),
    "C_hi": (666.2002, 30.0),
    "C_lo": (100.605, None),
    "D_hi": (124.31402, 1.0),
    "D_lo": (75.07285, 20.0),
    "E_hi": (402.4376, None),
}
# Targets of the proofs: relative gap, and seconds to it. NxD: a planted teacher, at 0.05 alpha_max.
PROOFS = {
    "A_hi": (1e-6, 1.0),
    "A_lo": (1e-6, 1.0),
    "1000x4": (1e-6, 3.0),
    "200x5": (1e-6, 3.0),
    "100x6": (1e-4, 30.0),
    "200x6": (1e-4, 30.0),
    "200x7": (1e-2, 120.0),
    "200x8": (5e-2, 600.0),
    "B_hi": (1e-1, 600.0),
}
PROOF_STRENGTH = 0.05
# Runs shorter than this [s] are repeated, and the one of median time counts.
SHORT, REPEATS = 5.0, 3
CLOSE = 0.01  # "within 1%"


class Fit(NamedTuple):
    """A network of generation, and the wall and processor seconds until it was there."""

    solution: Solution
    network: Network
    seconds: float
    cpu_seconds: float


def main(arguments=None):
    """Run the benchmark; return the results as written to global_optimum.json."""
    options = parse(arguments)
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    start = time.perf_counter()
    results = {
        "environment": environment() | {"numba_threads": numba.get_num_threads(), "load_average": load_average()},
        "options": vars(options),
        "settings": {"tol": TOL, "close": CLOSE, "short_seconds": SHORT, "repeats": REPEATS},
        "compile_seconds": warm_up(),
    }
    logger.info("first fit, with compilation where not cached: %.1f s, not counted", results["compile_seconds"])
    results["rows"], results["histories"] = [], []
    for name in options.problems:
        row, history = problem_row(name, options)
        results["rows"].append(row)
        results["histories"].append(history)
    results["proofs"] = [proof_row(name, options) for name in options.proofs]
    results["findings"] = findings(results)
    results["load_average_at_end"] = load_average()
    results["seconds"] = time.perf_counter() - start
    report(results, Path(options.output))
    return results


def parse(arguments=None):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.global_optimum", description=__doc__.split("\n\n")[0])
    parser.add_argument("--problems", nargs="*", choices=PROBLEMS, default=list(PROBLEMS), help="default: all")
    parser.add_argument("--proofs", nargs="*", choices=tuple(PROOFS), default=list(PROOFS), help="default: all")
    parser.add_argument("--time-limit", type=float, default=120.0, help="of generation on a problem, in s (120)")
    parser.add_argument(
        "--adam-fraction", type=float, default=1.0, help="fraction of the epochs of Adam to run (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of generation, and the first of Adam's (default: 0)")
    parser.add_argument("--output", default="results/global_optimum", help="folder (default: results/global_optimum)")
    parser.add_argument("--quick", action="store_true", help="a small run that tests the benchmark, not the methods")
    options = parser.parse_args(arguments)
    if options.quick:
        options.problems, options.proofs = ["A_hi", "B_hi"], ["A_hi", "200x5"]
        options.time_limit, options.adam_fraction = 10.0, 0.01
    if not 0 < options.adam_fraction <= 1:
        parser.error(f"--adam-fraction must be above 0 and at most 1; got {options.adam_fraction}")
    return options


def warm_up():
    """Fit A_hi once with each method; return the seconds that this took."""
    problem = make_problem("A_hi")
    start = time.perf_counter()
    generate(program_of(problem), 1e-2, "global", 10.0, 0)
    solve_working_set(program_of(problem, problem.gates), tol=1e-2)
    train_adam(problem.X, problem.y, problem.alpha, architecture=ARCHITECTURE, learning_rate=1e-3, n_epochs=2)
    return time.perf_counter() - start


def program_of(problem, arrangements="adaptive"):
    """Return the convex program of a problem: no biases, no skip."""
    return build_program(problem.X, problem.y, problem.alpha, arrangements, ARCHITECTURE)


def generate(program, tol, scope, limit, seed):
    """Solve by generation and reduce the network to few neurons; repeat short runs and return the median `Fit`."""
    fits = []
    while len(fits) < REPEATS and (not fits or fits[0].seconds < SHORT):
        start, cpu_start = time.perf_counter(), time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the limit is part of the comparison
            solution = solve_generation(program, tol=tol, scope=scope, time_limit=limit, random_state=seed)
        network = minimal_network(recover(solution), program.design.X)
        fits.append(Fit(solution, network, time.perf_counter() - start, time.process_time() - cpu_start))
    return sorted(fits, key=lambda fit: fit.seconds)[len(fits) // 2]


def problem_row(name, options):
    """Return the row of a comparison problem and the histories of generation and Adam."""
    problem = make_problem(name)
    sampled, sampled_seconds = timed(solve_working_set, program_of(problem, problem.gates), tol=TOL)
    row = {"problem": name, "n_samples": len(problem.X), "n_features": problem.X.shape[1], "alpha": problem.alpha}
    row |= {
        "n_sampled_patterns": len(problem.gates),
        "sampled_objective": sampled.certificate.objective,
        "sampled_gap": sampled.certificate.gap,
        "sampled_seconds": sampled_seconds,
    }
    generated, history = generation_row(problem, options)
    logger.info("%s: generation %.10g in %.2f s", name, generated["objective"], generated["seconds"])
    adam, runs = adam_row(problem, generated["objective"], options)
    logger.info("%s: Adam %s, %.1f s a run", name, adam["adam_text"], adam["adam_seconds"])
    row |= generated | adam | {"load_average": load_average()}
    row["passing_seconds"] = time_to_objective(history, row["adam_objective"])
    row |= verdicts(row)
    return row, {"problem": name, "generation": history, "adam": runs}


def generation_row(problem, options):
    """Run generation over all patterns; return what is reported of it, and its history."""
    fit = generate(program_of(problem), TOL, "local", options.time_limit, options.seed)
    objective = fit.network.objective(problem.X, problem.y, problem.alpha)
    history, certificate = fit.solution.history, fit.solution.certificate
    close = time_to_objective(history, (1 + CLOSE) * objective)
    at_most = close is not None and close == history[0]["time"]
    close = fit.seconds if close is None else close
    row = {
        "objective": objective,
        "network_difference": abs(objective - certificate.objective) / objective,
        "lower_bound": certificate.lower_bound,
        "gap": certificate.gap,
        "seconds": fit.seconds,
        "cpu_seconds": fit.cpu_seconds,
        "converged": fit.solution.converged,
        "status": fit.solution.status,
        "n_neurons": fit.network.n_neurons,
        "n_neurons_recovered": recover(fit.solution).n_neurons,
        "n_iter": fit.solution.n_iter,
        "close_seconds": close,
        "close_is_first_record": at_most,
        "close_text": ("<= " if at_most else "") + f"{close:.3f}",
        "label": problem.name + " *" * (not fit.solution.converged),
    }
    return row, history


def time_to_objective(history, objective):
    """Return the time [s] of the first record of a history with at most this objective, None if there is none."""
    return next((record["time"] for record in history if record["objective"] <= objective), None)


def adam_row(problem, reference, options):
    """Tune Adam's learning rate on one seed, train with five; return what is reported and the histories.

    `reference` is the objective whose excess of 1% is timed.
    """
    n_neurons, batch_size, n_epochs = ADAM[problem.name]
    settings = {
        "architecture": ARCHITECTURE,
        "n_neurons": n_neurons,
        "batch_size": len(problem.X) if batch_size is None else batch_size,
        "n_epochs": max(1, round(options.adam_fraction * n_epochs)),
    }

    def train(rate, seed):
        return train_adam(problem.X, problem.y, problem.alpha, learning_rate=rate, random_state=seed, **settings)

    with threadpool_limits(1):
        first = train("grid", options.seed)
        runs = [first] + [train(first.learning_rate, options.seed + k) for k in range(1, ADAM_SEEDS)]
    objectives, seconds = [run.objective for run in runs], [run.seconds for run in runs]
    times = [time_to_objective(run.history, (1 + CLOSE) * reference) for run in runs]
    row = {
        "adam_objective": min(objectives),
        "adam_objectives": objectives,
        "adam_text": " ".join(f"{value:.8g}" for value in objectives),
        "adam_seconds": float(np.median(seconds)),
        "adam_seconds_of_each": seconds,
        "adam_all_seconds": sum(seconds),
        "adam_tuning_seconds": first.tuning_seconds,
        "adam_close_seconds": min((value for value in times if value is not None), default=None),
        "adam_rate": first.learning_rate,
        **{f"adam_{key.removeprefix('n_')}": value for key, value in settings.items() if key != "architecture"},
    }
    return row, [run.history for run in runs]


def verdicts(row):
    """Return the targets of a row and, for each, "yes", "NO" or None where nothing was set."""
    objective, seconds = TARGETS.get(row["problem"], (None, None))
    at_target = objective is None or row["objective"] <= objective
    in_time = None if seconds is None else at_target and row["gap"] <= TOL and row["seconds"] <= seconds
    return {
        "target_objective": objective,
        "target_seconds": seconds,
        "adam_excess": row["adam_objective"] / row["objective"] - 1,
        "met_objective": None if objective is None else yes(at_target),
        "met_seconds": None if in_time is None else yes(in_time),
        "below_adam": yes(row["objective"] < row["adam_objective"]),
        "passes_in_time": yes((row["passing_seconds"] or np.inf) < row["adam_all_seconds"]),
        "faster_than_adam": yes(row["seconds"] < row["adam_all_seconds"]),
        "close_before_adam": yes(row["close_seconds"] <= row["adam_seconds"]),
    }


def yes(met):
    """Return a verdict in words."""
    return "yes" if met else "NO"


def proof_limit(seconds):
    """Return the time limit [s] of a proof: ten times its target, or 300 s, or its target, to know what it takes."""
    return min(10 * seconds, max(seconds, 300.0))


def proof_problem(name, seed):
    """Return X, y and alpha of a proof: a comparison problem, or a planted teacher at a fraction of alpha_max."""
    if name in PROBLEMS:
        problem = make_problem(name)
        return problem.X, problem.y, problem.alpha
    X, y = make_teacher(*map(int, name.split("x")), seed=0)
    return X, y, PROOF_STRENGTH * alpha_max(X, y, hidden_bias="none", fit_intercept=False, random_state=seed)


def proof_row(name, options):
    """Generate and prove with the gap aimed at as tolerance; return the row."""
    (target_gap, target_seconds), (X, y, alpha) = PROOFS[name], proof_problem(name, options.seed)
    limit = proof_limit(target_seconds)
    fit = generate(build_program(X, y, alpha, "adaptive", ARCHITECTURE), target_gap, "global", limit, options.seed)
    objective, certificate = fit.network.objective(X, y, alpha), fit.solution.certificate
    gap = max(certificate.proved_gap, (objective - certificate.lower_bound) / objective)
    row = {
        "name": name,
        "n_samples": len(X),
        "n_features": X.shape[1],
        "alpha": alpha,
        "objective": objective,
        "lower_bound": certificate.lower_bound,
        "scope": certificate.scope,
        "gap": gap,
        "seconds": fit.seconds,
        "cpu_seconds": fit.cpu_seconds,
        "target_gap": target_gap,
        "target_seconds": target_seconds,
        "limit": limit,
        "met": yes(gap <= target_gap and fit.seconds <= target_seconds),
        "status": fit.solution.status,
        "n_neurons": fit.network.n_neurons,
        "n_iter": fit.solution.n_iter,
        "load_average": load_average(),
        "history": fit.solution.history,
    }
    logger.info("%s: gap %.1e proved in %.2f s, %s", name, gap, fit.seconds, row["status"])
    return row


def report(results, folder):
    """Print the tables, and write the JSON, the text and the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "global_optimum.json", results)
    figures = []
    if results["rows"]:
        draw_objectives(results["rows"], results["histories"], folder / "global_optimum.png")
        figures.append("global_optimum.png")
    if results["proofs"]:
        draw_proofs(results["proofs"], folder / "global_proofs.png")
        figures.append("global_proofs.png")
    load = results["environment"]["load_average"]
    text = "\n".join(
        [
            *tables(results),
            *results["findings"],
            *([] if load is None else [f"Load average: {load:.2f} at the start, {load_average():.2f} at the end."]),
            f"{results['seconds']:.0f} s in all. Every number is in {folder / 'global_optimum.json'}; figures: "
            f"{', '.join(figures) or 'none'}.",
        ]
    )
    (folder / "global_optimum.txt").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
