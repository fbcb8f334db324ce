"""Tabular data: convex networks of a cross-validated alpha beside tuned MLPs, boosting, kernels and linear models.

    python -m benchmarks.tabular [--data diabetes wine] [--models MLP kernel] [--output results/tabular] [--add]

Diabetes, breast cancer, wine and digits of scikit-learn, and 20,000 rows of Friedman's first problem with noise of
standard deviation 1. A quarter of the rows is held out, several times where there are few rows; classes are stratified.
Every model chooses its parameters by cross-validation on the training part alone, with the same folds and the same
score: the squared error, or the log loss. Features are standardised, and targets for the MLP and kernels; alphas of the
convex networks are fractions of alpha_max. The settings of a model are the same for all data, but for what 20,000 rows
need: three folds in place of five for all models, early stopping of the MLP, and Nystroem's features for the kernel.
Prints a table of held-out scores (mean and standard error over splits) and of the processor seconds of the whole search
and refit, with one thread of BLAS and OpenMP for all models, and of the convex network's fraction of those of the MLP.
Writes tabular.json (every number, with seconds on the clock and the load), tabular.txt and tabular.png.
"""

import argparse
import json
import logging
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_friedman1
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LassoCV, LogisticRegressionCV, Ridge, RidgeCV
from sklearn.metrics import accuracy_score, log_loss, root_mean_squared_error
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from benchmarks.harness import environment, format_table, write_json
from benchmarks.tabular_figures import draw_scores
from convexnn import ConvexReLUClassifier, ConvexReLUClassifierCV, ConvexReLURegressor, ConvexReLURegressorCV

logger = logging.getLogger("benchmarks.tabular")

HELD_OUT = 0.25
# Rows from which data are large.
LARGE = 10_000
# Grids, each from what is too little to what is too much.
MLP_GRID = {
    "hidden_layer_sizes": [(50,), (100,), (100, 50)],
    "alpha": [1e-4, 1e-2, 1.0, 10.0],
    "learning_rate_init": [1e-3, 1e-2],
}
BOOSTING_GRID = {"learning_rate": [0.03, 0.1], "max_leaf_nodes": [4, 16, 31]}
GAMMAS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
RIDGES = [1e-3, 1e-2, 0.1, 1.0, 10.0]
SVC_GRID = {"C": [0.1, 1.0, 10.0, 100.0], "gamma": GAMMAS[:5]}
COLUMNS = [
    ("data", "data", ""),
    ("shape", "n x d", ""),
    ("model", "model", ""),
    ("rmse", "test RMSE", ".4g"),
    ("rmse_error", "+-", ".2g"),
    ("accuracy", "accuracy", ".4f"),
    ("accuracy_error", "+-", ".4f"),
    ("log_loss", "log loss", ".4f"),
    ("log_loss_error", "+-", ".4f"),
    ("cpu_seconds", "seconds", ".1f"),
    ("of_mlp", "of MLP", ".2f"),
    ("gap", "gap", ".1e"),
    ("n_neurons", "neurons", ".0f"),
]


@dataclass(frozen=True)
class Problem:
    """Data: how they are loaded, whether the target is a number, and how often they are split."""

    load: Callable
    regression: bool
    n_splits: int


PROBLEMS = {
    "diabetes": Problem(partial(load_diabetes, return_X_y=True), True, 10),
    "friedman": Problem(partial(make_friedman1, 20_000, noise=1.0, random_state=0), True, 1),
    "breast cancer": Problem(partial(load_breast_cancer, return_X_y=True), False, 10),
    "wine": Problem(partial(load_wine, return_X_y=True), False, 10),
    "digits": Problem(partial(load_digits, return_X_y=True), False, 3),
}


@dataclass(frozen=True)
class Task:
    """What models are made for: the kind of target, the size, the folds, and the options of the run."""

    regression: bool
    large: bool
    options: argparse.Namespace

    @property
    def scoring(self):
        """The score that parameters are chosen by."""
        return "neg_mean_squared_error" if self.regression else "neg_log_loss"

    @property
    def folds(self):
        """The folds, the same for all models."""
        kind = KFold if self.regression else StratifiedKFold
        return kind(3 if self.large or self.options.quick else 5, shuffle=True, random_state=0)

    def search(self, model, grid, prefix=""):
        """Return a grid search over the last step of a pipeline, or a model."""
        grid = {prefix + name: values[:1] if self.options.quick else values for name, values in grid.items()}
        return GridSearchCV(model, grid, cv=self.folds, scoring=self.scoring)


def convex(task):
    """Return the convex network."""
    options = task.options
    shared = {"tol": options.tol, "time_limit": options.time_limit, "random_state": 0}
    path = {"n_alphas": options.alphas, "eps": options.eps, "n_iter_no_change": options.n_iter_no_change}
    path |= {"cv": task.folds, "scoring": task.scoring}
    if task.regression:
        return make_pipeline(StandardScaler(), ConvexReLURegressorCV(ConvexReLURegressor(**shared), **path))
    return make_pipeline(StandardScaler(), ConvexReLUClassifierCV(ConvexReLUClassifier(**shared), **path))


def mlp(task):
    """Return scikit-learn's network, by Adam."""
    kind = MLPRegressor if task.regression else MLPClassifier
    model = kind(max_iter=20 if task.options.quick else 1000, early_stopping=task.large, random_state=0)
    return standardised(task, model, MLP_GRID)


def boosting(task):
    """Return gradient boosting on histograms, its number of trees chosen by early stopping."""
    kind = HistGradientBoostingRegressor if task.regression else HistGradientBoostingClassifier
    return task.search(kind(early_stopping=True, max_iter=500, random_state=0), BOOSTING_GRID)


def kernel(task):
    """Return kernel ridge regression, by Nystroem's features for large data, or a support vector classifier."""
    if not task.regression:
        return standardised(task, SVC(probability=True, random_state=0), SVC_GRID)
    if not task.large:
        return standardised(task, KernelRidge(kernel="rbf"), {"alpha": RIDGES, "gamma": GAMMAS})
    features = Nystroem(n_components=1000, random_state=0)
    model = make_pipeline(StandardScaler(), features, Ridge())
    return task.search(model, {"nystroem__gamma": GAMMAS[1:], "ridge__alpha": RIDGES[:4]})


def linear(task):
    """Return ridge or logistic regression."""
    if task.regression:
        return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 4, 30), cv=task.folds, scoring=task.scoring))
    chosen = {"Cs": 10, "l1_ratios": (0,), "cv": task.folds, "scoring": task.scoring}
    return make_pipeline(StandardScaler(), LogisticRegressionCV(max_iter=5000, use_legacy_attributes=False, **chosen))


def lasso(task):
    """Return the lasso; sparse logistic regression is left out."""
    return make_pipeline(StandardScaler(), LassoCV(cv=task.folds)) if task.regression else None


def standardised(task, model, grid):
    """Return a search over a model of standardised features and, for numbers, targets."""
    name = type(model).__name__.lower()
    pipeline = make_pipeline(StandardScaler(), model)
    if not task.regression:
        return task.search(pipeline, grid, f"{name}__")
    target = TransformedTargetRegressor(pipeline, transformer=StandardScaler())
    return task.search(target, grid, f"regressor__{name}__")


MODELS = {
    "convex network": convex,
    "MLP": mlp,
    "gradient boosting": boosting,
    "kernel": kernel,
    "linear": linear,
    "lasso": lasso,
}


def main(arguments=None):
    """Run the benchmark; return the results as written to tabular.json."""
    options = parse(arguments)
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    kept = others(options) if options.add else []
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # the gap is in the table
        # the log loss of CalibratedClassifierCV, which is to replace it, is 1.5 times as large on digits
        warnings.filterwarnings("ignore", "The `probability` parameter was deprecated", FutureWarning)
        splits = kept + [split for name in options.data for split in run_problem(name, options)]
    results = {
        "environment": environment(),
        "options": vars(options) | {"output": str(options.output)},
        "rows": summarised(splits),
        "splits": splits,
    }
    report(results, options.output)
    return results


def parse(arguments=None):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tabular", description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=PROBLEMS, default=list(PROBLEMS), help="data (default: all)")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="models (default: all)")
    parser.add_argument("--splits", type=int, default=None, help="most splits of each data set (default: its own)")
    parser.add_argument("--alphas", type=int, default=12, help="alphas of the convex network (default: 12)")
    parser.add_argument(
        "--eps", type=float, default=1e-4, help="the smallest, as a fraction of alpha_max (default: 1e-4)"
    )
    parser.add_argument(
        "--n-iter-no-change", type=int, default=2, help="alphas without a better score that end the search (2)"
    )
    parser.add_argument("--tol", type=float, default=1e-2, help="relative gap of the final network (default: 1e-2)")
    parser.add_argument("--time-limit", type=float, default=20.0, help="seconds of the final fit (default: 20)")
    parser.add_argument("--output", type=Path, default=Path("results/tabular"), help="folder of the results")
    parser.add_argument("--add", action="store_true", help="keep the folder's results of other data and models")
    parser.add_argument("--quick", action="store_true", help="a small run that tests the benchmark, not the methods")
    options = parser.parse_args(arguments)
    if options.quick:
        options.splits, options.alphas, options.eps, options.time_limit = 1, 3, 0.1, 5.0
    return options


def others(options):
    """Return the measurements in the folder that are not made again."""
    path = options.output / "tabular.json"
    old = json.loads(path.read_text(encoding="utf-8"))["splits"] if path.exists() else []
    return [split for split in old if split["data"] not in options.data or split["model"] not in options.models]


def run_problem(name, options):
    """Return the measurements of all models on all splits of a problem."""
    problem, measured = PROBLEMS[name], []
    X, y = problem.load()
    if options.quick:  # a few of each class
        X, _, y, _ = train_test_split(X, y, train_size=60, random_state=0, stratify=None if problem.regression else y)
    task = Task(problem.regression, len(X) >= LARGE, options)
    for seed in range(min(problem.n_splits, options.splits or problem.n_splits)):
        parts = train_test_split(
            X, y, test_size=HELD_OUT, random_state=seed, stratify=None if problem.regression else y
        )
        for kind in options.models:
            model = MODELS[kind](task)
            if model is None:
                continue
            row = {"data": name, "shape": f"{len(X)} x {X.shape[1]}", "model": kind, "seed": seed}
            row |= measure(model, *parts, problem.regression)
            measured.append(row)
            logger.info("%s", row)
    return measured


def measure(model, X, X_test, y, y_test, regression):
    """Fit a model; return its held-out scores, the time of search and refit, and what it chose."""
    start, used = time.perf_counter(), time.process_time()
    model.fit(X, y)
    row = {"cpu_seconds": time.process_time() - used, "seconds": time.perf_counter() - start}
    row |= {"load": os.getloadavg()[0], **chosen(model)}
    if regression:
        return row | {"rmse": float(root_mean_squared_error(y_test, model.predict(X_test)))}
    probabilities = model.predict_proba(X_test)
    return row | {
        "accuracy": float(accuracy_score(y_test, model.predict(X_test))),
        "log_loss": float(log_loss(y_test, probabilities, labels=model.classes_)),
    }


def chosen(model):
    """Return the parameters that a search chose, and the certificate of a convex network."""
    if hasattr(model, "best_params_"):
        return {"chosen": {name.rsplit("__", 1)[-1]: value for name, value in model.best_params_.items()}}
    last = model[-1]
    if not hasattr(last, "certificate_"):
        return {}
    certificate = last.certificate_
    numbers = {"alpha": last.alpha_, "alpha_max": last.alpha_max_, "n_neurons": last.n_neurons_}
    return numbers | {"gap": certificate.gap, "scope": certificate.scope, "objective": certificate.objective}


def summarised(splits):
    """Return a row for each data set and model: means over its splits, and standard errors of scores."""
    rows, keys = [], {(split["data"], split["model"]) for split in splits}
    for data, model in sorted(keys, key=lambda key: (list(PROBLEMS).index(key[0]), list(MODELS).index(key[1]))):
        own = [split for split in splits if (split["data"], split["model"]) == (data, model)]
        row = {"data": data, "shape": own[0]["shape"], "model": model, "n_splits": len(own)}
        for key in ("rmse", "accuracy", "log_loss", "cpu_seconds", "seconds", "gap", "n_neurons"):
            values = [split[key] for split in own if key in split]
            if values:
                row[key] = max(values) if key == "gap" else float(np.mean(values))
                if key in ("rmse", "accuracy", "log_loss") and len(values) > 1:
                    row[f"{key}_error"] = float(np.std(values, ddof=1) / np.sqrt(len(values)))
        rows.append(row)
    seconds = {row["data"]: row["cpu_seconds"] for row in rows if row["model"] == "MLP"}
    return [
        row | {"of_mlp": row["cpu_seconds"] / seconds[row["data"]]} if row["data"] in seconds else row for row in rows
    ]


def report(results, folder):
    """Print the table, and write the JSON, the text and the figure."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "tabular.json", results)
    draw_scores(results["rows"], folder / "tabular.png")
    text = format_table(results["rows"], COLUMNS)
    (folder / "tabular.txt").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
