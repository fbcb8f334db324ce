"""One objective, five ways to train: SGD, Adam, L-BFGS, scnn and this package, on four of the comparison problems.

    python -m benchmarks.peers --output results/peers

Every row is a two-layer ReLU network without biases, and its objective

    1/2 |f - y|^2 + alpha / 2 sum_j (|w_j|^2 + a_j^2)

is evaluated anew in float64. SGD and Adam choose their learning rate by a grid on the first seed. L-BFGS on the whole
objective is what scikit-learn's MLPRegressor does with solver="lbfgs". scnn is the reference implementation of Mishkin,
Sahiner and Pilanci (2022), Fast convex optimization for two-layer ReLU networks, ICML: its ReLU model with 500 sampled
gates by the augmented Lagrangian, with its own settings but for the scaling of columns and the limit of iterations. It
is optional (`pip install pyscnn`); without it its row is left out. "500 sampled gates" is the optimum over the same
patterns. All run on one thread; seconds are of the processor, which other work on the machine spoils less.
Prints a table, and writes peers.json (every number), peers.txt and peers.md (the table).
"""

import argparse
import logging
import time
import warnings
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import numba
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from benchmarks.global_optimum import ADAM, ARCHITECTURE, TOL, program_of, warm_up
from benchmarks.harness import environment, format_table, write_json
from benchmarks.problems import make_problem
from benchmarks.solvers import load_average
from convexnn import Network
from convexnn.baselines import train_adam, train_lbfgs, train_sgd
from convexnn.model import build_program
from convexnn.networks import recover
from convexnn.networks.minimal import minimal_network
from convexnn.solvers import solve_generation, solve_working_set

__all__ = ["main", "relu_network", "scnn_discrepancy", "train_scnn"]

logger = logging.getLogger("benchmarks.peers")

# Neurons, minibatch and epochs of SGD, by trial; those of Adam are ADAM. All are multiplied by --fraction.
SGD = {"A_hi": (200, 16, 10_000), "B_hi": (400, 32, 8000), "D_hi": (400, 32, 3000), "D_lo": (1000, 64, 4000)}
# Iterations of scnn, whose default is 10,000: as many as keep the benchmark to minutes.
SCNN_ITERATIONS = {"A_hi": 10_000, "B_hi": 3000, "D_hi": 400, "D_lo": 400}
N_GATES = 500
LONG = 10.0  # a run of a convex method that takes longer [s] is not repeated with other seeds
NO_SCNN = 'scnn is not installed, its row is left out; "pip install pyscnn" (which needs torch) adds it'
COLUMNS = (
    ("problem", "problem", ""),
    ("method", "method", ""),
    ("best", "objective, best", ".8g"),
    ("worst", "worst", ".8g"),
    ("n_runs", "runs", "d"),
    ("seconds", "s, one run", ".2f"),
    ("all_seconds", "s, all", ".1f"),
    ("lower_bound", "lower bound", ".8g"),
    ("scope", "scope", ""),
    ("proved_bound", "proved bound", ".8g"),
    ("note", "note", ""),
)


def main(arguments=None):
    """Run the benchmark; return the results as written to peers.json."""
    options = parse(arguments)
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    start, cpu_start = time.perf_counter(), time.process_time()
    results = {
        "environment": environment() | {"load_average": load_average(), "scnn": scnn_version()},
        "options": vars(options),
        "settings": {"tol": TOL, "n_gates": N_GATES, "long": LONG},
        "rows": [],
    }
    with one_thread():
        warm_up()
        for name in options.problems:
            results["rows"] += problem_rows(make_problem(name), options)
    results["notes"] = [] if scnn_version() else [NO_SCNN]
    results["load_average_at_end"] = load_average()
    results["seconds"], results["cpu_seconds"] = time.perf_counter() - start, time.process_time() - cpu_start
    report(results, Path(options.output))
    return results


def parse(arguments=None):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.split("\n\n")[0])
    parser.add_argument("--problems", nargs="+", choices=tuple(SGD), default=list(SGD), help="default: all")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each method (default: 5)")
    parser.add_argument("--fraction", type=float, default=0.3, help="of the epochs of SGD and Adam (default: 0.3)")
    parser.add_argument("--scnn-iterations", type=int, help="of scnn; its own default is 10000 (default: by problem)")
    parser.add_argument("--time-limit", type=float, default=60.0, help="of one run of generation, in s (default: 60)")
    parser.add_argument("--output", default="results/peers", help="folder of the results (default: results/peers)")
    parser.add_argument("--quick", action="store_true", help="a small run that tests the benchmark, not the methods")
    options = parser.parse_args(arguments)
    if options.quick:
        options.problems, options.seeds, options.fraction, options.scnn_iterations = ["A_hi"], 2, 0.02, 50
    if not 0 < options.fraction <= 1:
        parser.error(f"--fraction must be above 0 and at most 1; got {options.fraction}")
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1; got {options.seeds}")
    if options.scnn_iterations is not None and options.scnn_iterations < 1:
        parser.error(f"--scnn-iterations must be at least 1; got {options.scnn_iterations}")
    return options


@contextmanager
def one_thread():
    """Run all methods on one thread."""
    n_threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        numba.set_num_threads(n_threads)


def scnn_version():
    """Return the version of scnn, None where it is not installed."""
    try:
        return metadata.version("pyscnn")  # another project has the name scnn
    except metadata.PackageNotFoundError:
        return None


def problem_rows(problem, options):
    """Return the rows of a problem, one a method."""
    methods = {"SGD": sgd_row, "Adam": adam_row, "L-BFGS": lbfgs_row}
    if scnn_version():
        methods["scnn"] = scnn_row
    methods |= {f"{N_GATES} sampled gates": gates_row, "convexnn": convexnn_row}
    rows = []
    for method, run in methods.items():
        row = {"problem": problem.name, "method": method, "alpha": problem.alpha} | run(problem, options)
        row |= {"best": min(row["objectives"]), "worst": max(row["objectives"]), "n_runs": len(row["objectives"])}
        rows.append(row | {"load_average": load_average()})
        logger.info("%s, %s: %.8g, %.1f s", problem.name, method, row["best"], row["all_seconds"])
    return rows


def clocked(function, *arguments, **options):
    """Return what a call returns, and its processor and wall seconds."""
    start, cpu_start = time.perf_counter(), time.process_time()
    returned = function(*arguments, **options)
    return returned, time.process_time() - cpu_start, time.perf_counter() - start


def times(seconds, first_is_tuning=False):
    """Return the times of a row: the median of one run, and all; `seconds` are pairs of processor and wall."""
    runs = seconds[1:] if first_is_tuning and len(seconds) > 1 else seconds
    one, wall = np.median(runs, axis=0)
    everything = np.sum(seconds, axis=0)
    return {"seconds": one, "wall_seconds": wall, "all_seconds": everything[0], "all_wall_seconds": everything[1]}


def sgd_row(problem, options):
    """Tune and train by SGD."""
    return tuned_row(train_sgd, problem, SGD[problem.name], options)


def adam_row(problem, options):
    """Tune and train by Adam."""
    return tuned_row(train_adam, problem, ADAM[problem.name], options)


def tuned_row(train, problem, settings, options):
    """Choose the learning rate on the first seed, train with all; return what is reported."""
    n_neurons, batch_size, n_epochs = settings
    settings = {"n_neurons": n_neurons, "batch_size": batch_size or len(problem.X)}
    settings["n_epochs"] = max(1, round(options.fraction * n_epochs))
    rate, runs, seconds = "grid", [], []
    for seed in range(options.seeds):
        run, *spent = clocked(
            train, *data(problem), architecture=ARCHITECTURE, learning_rate=rate, random_state=seed, **settings
        )
        rate = run.learning_rate
        runs.append(run)
        seconds.append(spent)
    note = f"rate {rate:g}, {settings['n_epochs']} epochs, {n_neurons} neurons"
    objectives = [network_objective(run.network, problem) for run in runs]
    return {"objectives": objectives, "note": note, "learning_rate": rate, **settings, **times(seconds, True)}


def lbfgs_row(problem, options):
    """Train by L-BFGS from every seed."""
    n_neurons, objectives, seconds = ADAM[problem.name][0], [], []
    for seed in range(options.seeds):
        run, *spent = clocked(
            train_lbfgs, *data(problem), architecture=ARCHITECTURE, n_neurons=n_neurons, random_state=seed
        )
        objectives.append(network_objective(run.network, problem))
        seconds.append(spent)
    return {"objectives": objectives, "note": f"{n_neurons} neurons", "n_neurons": n_neurons, **times(seconds)}


def scnn_row(problem, options):
    """Train by scnn; a run that takes long is not repeated."""
    limit = options.scnn_iterations or SCNN_ITERATIONS[problem.name]
    objectives, seconds, n_iter = [], [], []
    while len(objectives) < options.seeds and (not seconds or seconds[0][0] <= LONG):
        (network, iterations), *spent = clocked(train_scnn, problem, len(objectives), limit)
        objectives.append(network_objective(network, problem))
        seconds.append(spent)
        n_iter.append(iterations)
    note = f"{max(n_iter)} of at most {limit} iterations"
    row = {"objectives": objectives, "note": note, "n_iter": n_iter, "max_iter": limit, **times(seconds)}
    return row | {"discrepancy": scnn_discrepancy(problem)}


def train_scnn(problem, seed, max_iter):
    """Train by scnn: its ReLU model, 500 gates of a seed, the augmented Lagrangian; return a network and iterations.

    Its objective is |f - y|^2 / (2 n) + lambda sum_j |u_j|, which for lambda = alpha / n is the convex form of ours
    divided by n. By default it divides every column by its norm, which changes the penalty: that is switched off. On
    these problems it gets further without it in as many iterations.
    """
    from scnn.metrics import Metrics

    model, metrics = run_scnn(problem, seed, max_iter, Metrics(), False)
    return relu_network(*model.parameters), min(len(metrics.objective), max_iter)


def scnn_discrepancy(problem, max_iter=20):
    """Return the relative difference of scnn's objective times n and ours, at its own weights after some iterations."""
    from scnn.metrics import Metrics

    model, metrics = run_scnn(problem, 0, max_iter, Metrics(model_loss=True), True)
    blocks = np.concatenate([np.asarray(part[0], float) for part in model.parameters])
    residual = model(problem.X)[:, 0] - problem.y
    ours = 0.5 * residual @ residual + problem.alpha * np.linalg.norm(blocks, axis=1).sum()
    return abs(float(metrics.model_loss[-1]) * len(problem.X) - ours) / ours


def run_scnn(problem, seed, max_iter, metrics, return_convex):
    """Run scnn; return its model and metrics."""
    from scnn.activations import sample_gate_vectors
    from scnn.models import ConvexReLU
    from scnn.optimize import optimize_model
    from scnn.regularizers import NeuronGL1
    from scnn.solvers import AL

    model = ConvexReLU(sample_gate_vectors(seed, problem.X.shape[1], N_GATES))
    return optimize_model(
        model,
        AL(model, max_primal_iters=max_iter),
        metrics,
        problem.X,
        problem.y,
        regularizer=NeuronGL1(problem.alpha / len(problem.X)),
        return_convex=return_convex,
        unitize_data=False,
        seed=seed,
    )


def relu_network(hidden, output):
    """Return the network of hidden weights (n_neurons, n_features) and output weights (1, n_neurons), balanced."""
    hidden, output = np.asarray(hidden, dtype=np.float64), np.asarray(output, dtype=np.float64)[0]
    sizes, lengths = np.abs(output), np.linalg.norm(hidden, axis=1)
    alive = sizes * lengths > 0
    ratio = np.sqrt(sizes[alive] / lengths[alive])
    W1, W2 = (hidden[alive] * ratio[:, None]).T, (output[alive] / ratio)[:, None]
    return Network(W1, np.zeros(len(ratio)), W2, np.zeros(1), hidden_bias="none")


def gates_row(problem, options):
    """Solve over the gates that scnn draws from each seed: the optimum that it tends to."""
    objectives, seconds, certificates = [], [], []
    for seed in range(options.seeds):
        # as scnn.activations.sample_gate_vectors, which need not be installed
        gates = np.random.default_rng(seed).standard_normal((problem.X.shape[1], N_GATES)).T
        solution, *spent = clocked(solve_gates, problem, gates)
        objectives.append(network_objective(recover(solution), problem))
        seconds.append(spent)
        certificates.append(solution.certificate)
    best = certificates[int(np.argmin(objectives))]
    row = {"objectives": objectives, "lower_bound": best.lower_bound, "scope": best.scope}
    return row | {"note": "convexnn, scnn's gates"} | times(seconds)


def solve_gates(problem, gates):
    """Solve to the tolerance over the patterns of gates, each once."""
    patterns = problem.X @ gates.T >= 0
    _, first = np.unique(patterns, axis=1, return_index=True)
    first = first[patterns[:, first].any(axis=0)]
    program = build_program(problem.X, problem.y, problem.alpha, gates[np.sort(first)], ARCHITECTURE)
    return solve_working_set(program, tol=TOL)


def convexnn_row(problem, options):
    """Solve over all patterns, as far as it goes with a proof; a run that takes long is not repeated."""
    runs, objectives, seconds = [], [], []
    while len(runs) < options.seeds and (not seconds or seconds[0][0] <= LONG):
        (solution, network), *spent = clocked(solve_all, problem, options, len(runs))
        runs.append(solution)
        objectives.append(network_objective(network, problem))
        seconds.append(spent)
    best = runs[int(np.argmin(objectives))]
    certificate = best.certificate
    proved = certificate.lower_bound if certificate.scope == "global" else certificate.proved_bound or None
    row = {"objectives": objectives, "lower_bound": certificate.lower_bound, "scope": certificate.scope}
    row |= {"gap": certificate.gap, "proved_bound": proved, "proved_gap": certificate.proved_gap}
    return row | {"note": best.status, "n_neurons": network.n_neurons} | times(seconds)


def solve_all(problem, options, seed):
    """Return the solution over all patterns and its network, reduced to few neurons."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the limit is part of the comparison
        solution = solve_generation(
            program_of(problem), tol=TOL, scope="auto", time_limit=options.time_limit, random_state=seed
        )
    return solution, minimal_network(recover(solution), problem.X)


def data(problem):
    """Return X, y and alpha."""
    return problem.X, problem.y, problem.alpha


def network_objective(network, problem):
    """Return the one objective of all rows."""
    return network.objective(*data(problem))


def markdown(rows):
    """Return rows as a table in markdown."""
    lines = ["| " + " | ".join(title for _, title, _ in COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for row in rows:
        cells = ["" if row.get(key) is None else format(row[key], spec) for key, _, spec in COLUMNS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def report(results, folder):
    """Print the table, and write the JSON, the text and the markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "peers.json", results)
    (folder / "peers.md").write_text(markdown(results["rows"]) + "\n", encoding="utf-8")
    loads = [results["environment"]["load_average"], results["load_average_at_end"]]
    text = "\n".join(
        [
            format_table(results["rows"], COLUMNS),
            *results["notes"],
            *([] if None in loads else ["Load average: {:.2f} at the start, {:.2f} at the end.".format(*loads)]),
            f"{results['cpu_seconds']:.0f} s of the processor, {results['seconds']:.0f} s in all, on one thread.",
        ]
    )
    (folder / "peers.txt").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
