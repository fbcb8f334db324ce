"""Handwritten digits: convex convolutional networks beside Adam, MLPClassifier and logistic regression.

    python -m benchmarks.digits --output results/digits

The 8 x 8 digits of scikit-learn, divided by 16, a stratified third held out. Two tasks: odd or even (logistic loss),
and the ten classes (softmax). The convex CNN and the one that Adam trains minimise the same objective,

    sum of losses + alpha / 2 (|filters|^2 + |filter biases|^2 + |output weights|^2),   an output for each filter,

once at an alpha whose optimum a minute should find, once at that of the best accuracy of Adam's network on a quarter of
the training part, so that the choice does not favour the convex one.
Prints a table, and writes digits.json (every number), digits.txt and digits.png.
"""

import argparse
import logging
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from benchmarks.digits_adam import import_torch, train_adam
from benchmarks.digits_figures import describe, draw_all, findings
from benchmarks.harness import environment, write_json
from convexnn import CircularCNNClassifier, ConvexCNNClassifier
from convexnn.geometry.patches import Patches
from convexnn.losses import make_loss

logger = logging.getLogger("benchmarks.digits")

HELD_OUT = 1 / 3
# Part of the training part on which alpha is chosen.
VALIDATION_PART = 0.25
# Of the reference models to choose from; the first of equal ones is taken, so the largest.
REFERENCE_ALPHAS = (10.0, 1.0, 0.1, 0.01)
PATCHES = Patches((1, 8, 8), kernel_size=3, pooling="mean")
# Learning rates of Adam, of which the one of the least objective of the first seed is taken.
RATES = (1e-2, 3e-2, 1e-1)
MISSING_TORCH = "PyTorch is missing (pip install convexnn[torch]): no rows of Adam, nor of the alpha chosen by it"


@dataclass(frozen=True)
class Task:
    """What is to be told apart, and the settings of its models.

    `fast_alpha` is the alpha of the convex CNN that a minute is meant for, `alphas` those to choose from, `circular`
    has the activation, alpha and number of patterns of each circular CNN, `n_filters` is for Adam.
    """

    name: str
    loss: str
    fast_alpha: float
    alphas: tuple
    circular: tuple
    n_filters: int


TASKS = (
    Task("odd/even", "log_loss", 0.5, (0.3, 0.1, 0.03, 0.01), (("relu", 60.0, 100), ("gated_relu", 15.0, 400)), 50),
    Task("ten classes", "softmax", 1.0, (0.3, 0.1, 0.03, 0.01), (("gated_relu", 80.0, 200),), 100),
)


@dataclass(frozen=True, eq=False)
class Data:
    """Images as rows and labels: the training and the held-out part."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def main(arguments=None):
    """Run the benchmark; return the results as written to digits.json."""
    options = parse(arguments)
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    start = time.perf_counter()
    tasks = [task for task in TASKS if task.name in options.tasks]
    if options.quick:
        tasks = [
            replace(task, alphas=task.alphas[:2], circular=((*task.circular[-1][:2], 2),), n_filters=10)
            for task in tasks
        ]
    parts = Parallel(n_jobs=options.jobs)(delayed(run_task)(task, options) for task in tasks)
    rows = [row for part in parts for row in part["rows"]]
    torch = import_torch()
    results = {
        "environment": environment() | {"torch": None if torch is None else str(torch.__version__)},
        "options": vars(options),
        "rows": rows,
        "selection": {task.name: part["selection"] for task, part in zip(tasks, parts, strict=True)},
        "n_train": parts[0]["n_train"],
        "n_test": parts[0]["n_test"],
        "findings": findings(rows, options) + ([MISSING_TORCH] if torch is None else []),
        "seconds": time.perf_counter() - start,
    }
    report(results, Path(options.output))
    return results


def parse(arguments=None):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.digits", description=__doc__.split("\n\n")[0])
    parser.add_argument("--tol", type=float, default=1e-3, help="relative gap of the convex networks (default: 1e-3)")
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds of a convex fit (default: 60)")
    parser.add_argument("--target", type=float, default=60.0, help="seconds a fit should take (default: 60)")
    names = [task.name for task in TASKS]
    parser.add_argument("--tasks", nargs="+", choices=names, default=names, help="tasks to run (default: both)")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of Adam and MLPClassifier (default: 5)")
    parser.add_argument("--epochs", type=int, default=600, help="epochs of Adam (default: 600)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split and of the patterns (default: 0)")
    parser.add_argument("--samples", type=int, default=None, help="samples in all (default: 1797)")
    parser.add_argument("--jobs", type=int, default=2, help="tasks run at a time, on a core each (default: 2)")
    parser.add_argument("--output", default="results/digits", help="folder of the results (default: results/digits)")
    parser.add_argument("--quick", action="store_true", help="a small run that tests the benchmark, not the methods")
    options = parser.parse_args(arguments)
    if options.quick:
        options.samples, options.seeds, options.epochs, options.jobs = 90, 2, 3, 1
        options.time_limit, options.tol = 0.5, 1e-2
    return options


def load(task, options):
    """Return the data of a task: stratified parts, the same digits for all tasks."""
    X, digits = load_digits(return_X_y=True)
    X, digits = X[: options.samples] / 16.0, digits[: options.samples]
    X_train, X_test, train, test = train_test_split(
        X, digits, test_size=HELD_OUT, stratify=digits, random_state=options.seed
    )
    if task.name == "odd/even":
        train, test = train % 2, test % 2
    return Data(X_train, train, X_test, test)


def run_task(task, options):
    """Return the rows of a task, and what alphas were chosen by, with one thread."""
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the gap, or the number of seeds, is in the table
        data = load(task, options)
        if not options.quick:
            compile_kernels(task, data)
        selection = choose_alphas(task, data, options)
        chosen = selection.get("CNN", {"alpha": task.fast_alpha})["alpha"]
        rows = [logistic_row(data, selection["logistic regression"]["alpha"])]
        rows += [mlp_row(data, selection["MLPClassifier"]["alpha"], options)]
        for alpha in dict.fromkeys((task.fast_alpha, chosen)):
            kind = "fast alpha" if alpha == task.fast_alpha else "chosen alpha"
            rows += adam_rows(task, data, alpha, kind, options)
            rows.append(convex_row(f"convex CNN, {kind}", convex_cnn(task, alpha, options), data, options))
        for settings in task.circular:
            rows.append(convex_row(circular_name(*settings), circular_cnn(task, *settings, options), data, options))
    rows = [{"task": task.name, **row} for row in rows]
    return {"rows": rows, "selection": selection, "n_train": len(data.y_train), "n_test": len(data.y_test)}


def compile_kernels(task, data):
    """Fit once to a few samples, so that compilation is not timed."""
    few, options = data.X_train[:60], argparse.Namespace(tol=1e-2, time_limit=1.0, seed=0)
    convex_cnn(task, 1.0, options).fit(few, data.y_train[:60])
    for settings in task.circular:
        circular_cnn(task, *settings, options).fit(few, data.y_train[:60])


def convex_cnn(task, alpha, options):
    """Return the convex CNN: 3 x 3 filters, mean pooling, an output for each filter."""
    return ConvexCNNClassifier(
        alpha,
        input_shape=PATCHES.input_shape,
        kernel_size=PATCHES.kernel_size,
        pooling=PATCHES.pooling,
        loss=task.loss,
        output_penalty="l1",
        scope="local",
        tol=options.tol,
        time_limit=options.time_limit,
        random_state=options.seed,
    )


def circular_name(activation, _, n_patterns):
    """Return the name of the row of a circular CNN."""
    return f"circular CNN, {'gated, ' if activation == 'gated_relu' else ''}{n_patterns} patterns"


def circular_cnn(task, activation, alpha, n_patterns, options):
    """Return a circular CNN on 8 x 8 images."""
    return CircularCNNClassifier(
        alpha,
        input_shape=PATCHES.input_shape[1:],
        loss=task.loss,
        activation=activation,
        arrangements=n_patterns,
        tol=options.tol,
        time_limit=options.time_limit,
        random_state=options.seed,
    )


def choose_alphas(task, data, options):
    """Return for every family the alpha of the best accuracy on a quarter of the training part."""
    X, X_validation, y, y_validation = train_test_split(
        data.X_train, data.y_train, test_size=VALIDATION_PART, stratify=data.y_train, random_state=options.seed
    )
    part = Data(X, y, X_validation, y_validation)

    def adam_accuracy(alpha):
        return adam_run(task, part, alpha, RATES[1], options.seed, options.epochs)["accuracy"]

    families = {
        "logistic regression": (lambda alpha: fitted(logistic(alpha), part)["accuracy"], REFERENCE_ALPHAS),
        "MLPClassifier": (lambda alpha: fitted(mlp(alpha, options.seed), part)["accuracy"], REFERENCE_ALPHAS),
    }
    if import_torch() is not None:
        families["CNN"] = (adam_accuracy, task.alphas)
    selection = {}
    for name, (score, alphas) in families.items():
        scores = [score(alpha) for alpha in alphas]
        selection[name] = {"alpha": alphas[int(np.argmax(scores))], "alphas": alphas, "validation_accuracy": scores}
    return selection


def logistic(alpha):
    """Return logistic regression with sum of losses + alpha / 2 |w|^2."""
    return LogisticRegression(C=1 / alpha, max_iter=10_000)


def mlp(alpha, seed):
    """Return MLPClassifier with one layer of 100 neurons; full batches, for which its alpha is ours."""
    return MLPClassifier((100,), alpha=alpha, solver="lbfgs", max_iter=1000, random_state=seed)


def clocked(call):
    """Return what a call returns, and its seconds on the clock and of the processor."""
    start, start_cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - start_cpu}


def fitted(model, data):
    """Fit a model; return the seconds and the accuracies."""
    _, clock = clocked(lambda: model.fit(data.X_train, data.y_train))
    return clock | {
        "train_accuracy": float(model.score(data.X_train, data.y_train)),
        "accuracy": float(model.score(data.X_test, data.y_test)),
    }


def logistic_row(data, alpha):
    """Return the row of logistic regression."""
    return {"model": "logistic regression", "alpha": alpha, **fitted(logistic(alpha), data)}


def mlp_row(data, alpha, options):
    """Return the row of MLPClassifier: means over the seeds, the worst and the best."""
    runs = [fitted(mlp(alpha, seed), data) for seed in range(options.seeds)]
    return {"model": f"MLPClassifier, {options.seeds} seeds", "alpha": alpha, "n_neurons": 100, **over_seeds(runs)}


def over_seeds(runs):
    """Return means of numbers over the seeds, and the accuracies of all, the worst and the best."""
    accuracies = [run["accuracy"] for run in runs]
    keys = ("train_accuracy", "accuracy", "seconds", "cpu_seconds")
    means = {key: float(np.mean([run[key] for run in runs])) for key in keys}
    return {**means, "worst": min(accuracies), "best": max(accuracies), "accuracies": accuracies}


def convex_row(name, model, data, options):
    """Fit a convex network; return its row."""
    measured = fitted(model, data)
    certificate = model.certificate_
    logger.info("%s: %s; %.1f s", name, certificate, measured["seconds"])
    return {
        "model": name,
        "alpha": model.alpha_,
        "alpha_max": model.alpha_max_,
        "objective": certificate.objective,
        "lower_bound": certificate.lower_bound,
        "gap": certificate.gap,
        "scope": certificate.scope,
        "met": bool(certificate.gap <= options.tol and measured["seconds"] <= options.target),
        "n_neurons": model.n_neurons_,
        "n_patterns": len(model.arrangements_),
        "solver_seconds": model.history_[-1]["time"],
        **measured,
    }


def adam_rows(task, data, alpha, kind, options):
    """Return the row of Adam, at the learning rate that is best for the first seed; no row without PyTorch."""
    if import_torch() is None:
        logger.info(MISSING_TORCH)
        return []
    trials = {rate: adam_run(task, data, alpha, rate, 0, options.epochs) for rate in RATES}
    rate = min(RATES, key=lambda rate: trials[rate]["objective"])
    runs = [trials[rate]]
    runs += [adam_run(task, data, alpha, rate, seed, options.epochs) for seed in range(1, options.seeds)]
    objectives = [run["objective"] for run in runs]
    row = {
        "model": f"Adam CNN, {options.seeds} seeds, {kind}",
        "alpha": alpha,
        "objective": min(objectives),
        "objectives": objectives,
        "learning_rate": rate,
        "n_neurons": task.n_filters,
        **over_seeds(runs),
    }
    logger.info("%s: objectives %s", row["model"], np.round(objectives, 3).tolist())
    return [row]


def adam_run(task, data, alpha, rate, seed, epochs):
    """Train the network in PyTorch; return its objective, in double precision, its accuracies and the seconds."""
    Y, loss = targets(task, data.y_train), make_loss(task.loss, None)
    settings = {"alpha": alpha, "rate": rate, "seed": seed, "epochs": epochs, "n_filters": task.n_filters}
    network, clock = clocked(lambda: train_adam(PATCHES, task.loss, data.X_train, Y, **settings))
    return clock | {
        "objective": network.objective(data.X_train, Y, alpha, loss),
        "train_accuracy": accuracy(network, data.X_train, data.y_train),
        "accuracy": accuracy(network, data.X_test, data.y_test),
    }


def targets(task, y):
    """Return labels as the loss takes them: -1 and 1, or indicators."""
    return np.where(y == 1, 1.0, -1.0)[:, None] if task.loss == "log_loss" else np.eye(10)[y]


def accuracy(network, X, y):
    """Return the fraction of samples whose class a network predicts."""
    Z = network.predict(X)
    return float(np.mean((Z.argmax(axis=1) if Z.ndim == 2 else Z > 0) == y))


def report(results, folder):
    """Print the tables, and write the JSON, the text and the figure."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "digits.json", results)
    draw_all(results, folder)
    text = describe(results)
    (folder / "digits.txt").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
