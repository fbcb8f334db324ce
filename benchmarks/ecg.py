"""One-step prediction of an electrocardiogram: the convex network beside SGD, Adam, MLPRegressor and a straight line.

    python -m benchmarks.ecg --output results/ecg

Windows of 15 samples predict the next. All networks minimise the same objective at the same alpha: that of the least
mean error of Adam's networks on the last quarter of the training windows, so that the choice does not favour the
convex ones.
Prints a table, and writes ecg.json (every number) and three figures.
"""

import argparse
import logging
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

from benchmarks.ecg_figures import draw_all
from benchmarks.harness import environment, format_table, write_json
from convexnn import Architecture, ConvexReLURegressor, Network
from convexnn.baselines import train_adam, train_sgd
from convexnn.datasets import ecg_windows, load_ecg

logger = logging.getLogger("benchmarks.ecg")

# Part of the training windows, the last ones, on which alpha is chosen.
VALIDATION_PART = 0.25
# Learning rate of Adam there.
VALIDATION_RATE = 3e-3
COLUMNS = (
    ("model", "model", "s"),
    ("alpha", "alpha", ".3g"),
    ("objective", "objective", ".5f"),
    ("lower_bound", "lower bound", ".5f"),
    ("gap", "gap", ".1e"),
    ("scope", "scope", "s"),
    ("train_mse", "train MSE", ".5f"),
    ("test_mse", "test MSE", ".5f"),
    ("test_mse_unit", "test MSE [unit^2]", ".4g"),
    ("test_relative", "test MSE / var", ".5f"),
    ("seconds", "seconds", ".2f"),
    ("n_neurons", "neurons", "d"),
)


def main(arguments=None):
    """Run the benchmark; return the results as written to ecg.json."""
    options = parse(arguments)
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    start = time.perf_counter()
    signal = load_ecg(options.source)
    data = ecg_windows(signal, window=options.window, horizon=options.horizon, train=options.train)
    logger.info(
        "%s\n%d training and %d test windows of %d samples",
        signal.description,
        len(data.X_train),
        len(data.X_test),
        options.window,
    )
    start_fit = time.perf_counter()
    ConvexReLURegressor(0.1, arrangements=4).fit(data.X_train[:20], data.y_train[:20])
    compile_seconds = time.perf_counter() - start_fit
    logger.info("first fit, with imports and compilation where not cached: %.1f s, not counted below", compile_seconds)
    with threadpool_limits(1):
        rows, selection, fits = run(data, options)
    results = {
        "environment": environment(),
        "options": vars(options),
        "signal": {
            "description": signal.description,
            "unit": signal.unit,
            "sampling_rate_hz": signal.sampling_rate,
            "n_samples": len(signal),
            "mean": data.mean,
            "scale": data.scale,
        },
        "n_train": len(data.y_train),
        "n_test": len(data.y_test),
        "selection": selection,
        "rows": rows,
        "findings": findings(rows),
        "compile_seconds": compile_seconds,
        "seconds": time.perf_counter() - start,
    }
    report(results, data, fits, Path(options.output))
    return results


def parse(arguments=None):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ecg", description=__doc__.split("\n\n")[0])
    parser.add_argument("--source", default="auto", help='"auto", "embedded", "scipy" or a file (default: auto)')
    parser.add_argument("--window", type=int, default=15, help="samples of a window (default: 15)")
    parser.add_argument("--horizon", type=int, default=1, help="samples ahead to predict (default: 1)")
    parser.add_argument("--train", type=int, default=700, help="samples to train on, the first ones (default: 700)")
    parser.add_argument("--patterns", type=int, default=20_000, help="sampled activation patterns (default: 20000)")
    parser.add_argument("--tol", type=float, default=1e-5, help="relative gap of the convex networks (default: 1e-5)")
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.1, 0.3, 1.0, 3.0], help="alphas to choose from")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of SGD, Adam and MLPRegressor (default: 5)")
    parser.add_argument("--neurons", type=int, default=100, help="neurons of these networks (default: 100)")
    parser.add_argument("--epochs", type=int, default=1000, help="epochs of SGD and Adam (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampled patterns (default: 0)")
    parser.add_argument("--output", default="results/ecg", help="folder of the results (default: results/ecg)")
    parser.add_argument("--quick", action="store_true", help="a small run that tests the benchmark, not the methods")
    options = parser.parse_args(arguments)
    if options.quick:
        options.train, options.patterns, options.alphas = 200, 10, [0.3, 1.0]
        options.seeds, options.neurons, options.epochs = 2, 20, 50
    return options


def run(data, options):
    """Return the rows of the table, the errors by which alpha was chosen, and the fits to draw."""
    rows, selection, fits = reference_rows(data), {}, {}
    for skip in (False, True):
        name = "with skip" if skip else "no skip"
        architecture = Architecture(skip=skip)
        selection[name] = choose_alpha(data, options, architecture)
        alpha = selection[name]["alpha"]
        logger.info("%s: alpha = %g, by the validation part (%.1f s)", name, alpha, selection[name]["seconds"])
        fit = partial(convex_row, data, alpha, skip, seed=options.seed, tol=options.tol)
        sampled = fit(options.patterns, name=f"convex, {options.patterns} patterns, {name}")
        everything = fit("adaptive", name=f"convex, all patterns, {name}")
        trained = {}
        for method, train in (("SGD", train_sgd), ("Adam", train_adam)):
            trained[method] = descend(method, train, data, alpha, architecture, options)
        rows += [trained[method]["row"] | {"model": f"{method}, best of {options.seeds}, {name}"} for method in trained]
        if not skip:
            rows.append(mlp_row(data, alpha, options))
        rows += [sampled["row"], everything["row"]]
        fits[name] = {"sampled": sampled, "all": everything, **trained}
    return rows, selection, fits


def choose_alpha(data, options, architecture):
    """Return the alpha at which Adam's networks err least on the last training windows, fitted to the others."""
    n_fit = round(len(data.y_train) * (1 - VALIDATION_PART))
    X, y = data.X_train, data.y_train
    settings = {"architecture": architecture, "n_neurons": options.neurons, "n_epochs": options.epochs}

    def error(alpha, seed):
        run = train_adam(X[:n_fit], y[:n_fit], alpha, learning_rate=VALIDATION_RATE, random_state=seed, **settings)
        return float(np.mean((run.network.predict(X[n_fit:]) - y[n_fit:]) ** 2))

    start = time.perf_counter()
    seeds = range(options.seed, options.seed + options.seeds)
    errors = Parallel(n_jobs=2)(delayed(error)(alpha, seed) for alpha in options.alphas for seed in seeds)
    means = np.reshape(errors, (len(options.alphas), -1)).mean(axis=1)
    return {
        "alpha": options.alphas[int(np.argmin(means))],
        "alphas": options.alphas,
        "validation_mse": means.tolist(),
        "n_fit": n_fit,
        "n_validation": len(y) - n_fit,
        "seconds": time.perf_counter() - start,
    }


def errors_of(predict, data):
    """Return the training and test errors of a prediction function."""
    train = float(np.mean((predict(data.X_train) - data.y_train) ** 2))
    test = float(np.mean((predict(data.X_test) - data.y_test) ** 2))
    relative = test / float(np.var(data.y_test))
    return {"train_mse": train, "test_mse": test, "test_mse_unit": data.mse_in_unit(test), "test_relative": relative}


def reference_rows(data):
    """Return the rows of persistence and linear least squares."""
    start = time.perf_counter()
    linear = LinearRegression().fit(data.X_train, data.y_train)
    seconds = time.perf_counter() - start
    return [
        {"model": "persistence", **errors_of(lambda X: X[:, -1], data)},
        {"model": "linear least squares", "seconds": seconds, **errors_of(linear.predict, data)},
    ]


def convex_row(data, alpha, skip, arrangements, *, seed, tol, name):
    """Fit the convex network; return its row, its estimator and the seconds until it was there."""
    options = {"scope": "local"} if arrangements == "adaptive" else {}
    model = ConvexReLURegressor(alpha, arrangements=arrangements, skip=skip, tol=tol, random_state=seed, **options)
    start = time.perf_counter()
    model.fit(data.X_train, data.y_train)
    seconds = time.perf_counter() - start
    certificate = model.certificate_
    row = {
        "model": name,
        "alpha": alpha,
        "objective": certificate.objective,
        "lower_bound": certificate.lower_bound,
        "gap": certificate.gap,
        "scope": certificate.scope,
        "history": model.history_,
        **errors_of(model.predict, data),
        "seconds": seconds,
        "n_neurons": model.n_neurons_,
        "n_patterns": len(model.arrangements_),
    }
    logger.info("  %s: %s; %.1f s", name, certificate, seconds)
    return {"row": row, "model": model, "seconds": seconds}


def descend(method, train, data, alpha, architecture, options):
    """Train with every seed at the learning rate that is best for the first; return the runs and a row."""
    settings = {"architecture": architecture, "n_neurons": options.neurons, "n_epochs": options.epochs}

    def one(rate, seed):
        return train(data.X_train, data.y_train, alpha, learning_rate=rate, random_state=seed, **settings)

    first = one("grid", options.seed)
    rate = first.learning_rate
    runs = [first] + [one(rate, options.seed + k) for k in range(1, options.seeds)]
    best = min(runs, key=lambda run: run.objective)
    row = {
        "alpha": alpha,
        "objective": best.objective,
        **errors_of(best.network.predict, data),
        "seconds": best.seconds,
        "n_neurons": best.network.n_neurons,
        "learning_rate": rate,
        "tuning_seconds": first.tuning_seconds,
        "objectives": [run.objective for run in runs],
        "test_mses": [errors_of(run.network.predict, data)["test_mse"] for run in runs],
        "histories": [run.history for run in runs],
    }
    logger.info("  %s: objectives %s at learning rate %g", method, np.round(row["objectives"], 4).tolist(), rate)
    return {"row": row, "runs": runs}


def mlp_row(data, alpha, options):
    """Fit scikit-learn's MLPRegressor with every seed; its objective is ours, with its free hidden biases penalised.

    Full batches (L-BFGS): with minibatches its alpha is divided by their size, not by the number of samples.
    """
    runs = []
    for seed in range(options.seed, options.seed + options.seeds):
        model = MLPRegressor(
            hidden_layer_sizes=(options.neurons,),
            alpha=alpha,
            solver="lbfgs",
            max_iter=options.epochs,
            random_state=seed,
        )
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # iterations are limited as for Adam
            model.fit(data.X_train, data.y_train)
        seconds = time.perf_counter() - start
        network = Network(model.coefs_[0], model.intercepts_[0], model.coefs_[1], model.intercepts_[1])
        runs.append((network.objective(data.X_train, data.y_train, alpha), seconds, network))
    objective, seconds, network = min(runs, key=lambda run: run[0])
    errors = [errors_of(run[2].predict, data)["test_mse"] for run in runs]
    return {
        "model": f"MLPRegressor, best of {options.seeds}, no skip",
        "alpha": alpha,
        "objective": objective,
        **errors_of(network.predict, data),
        "seconds": seconds,
        "n_neurons": network.n_neurons,
        "objectives": [run[0] for run in runs],
        "test_mses": errors,
    }


def findings(rows):
    """Say in words who wins, the convex networks' losses included."""
    seeds = [
        f"{row['model']}: over the seeds, objective {min(row['objectives']):.5g} to {max(row['objectives']):.5g}, "
        f"test MSE {min(row['test_mses']):.5f} to {max(row['test_mses']):.5f}."
        for row in rows
        if "objectives" in row
    ]
    return seeds + [
        sentence for row in rows if row["model"].startswith("convex") for sentence in findings_of(row, rows)
    ]


def findings_of(row, rows):
    """Compare a convex network with the straight line, with Adam, and with all that have a lower test error."""
    name, test = row["model"], row["test_mse"]
    linear = next(other["test_mse"] for other in rows if other["model"] == "linear least squares")
    verdict = "beats" if test < linear else "LOSES TO"
    suffix = name.rsplit(", ", 1)[1]
    seeds = [other for other in rows if "objectives" in other and other["model"].endswith(suffix)]
    best = min((min(other["objectives"]), other["model"].split(",")[0]) for other in seeds)
    excess = row["objective"] / best[0] - 1
    against = (
        f"{'above' if excess > 0 else 'below'} the best seed of {', '.join(o['model'].split(',')[0] for o in seeds)}"
    )
    over = f"its {row['n_patterns']} given patterns" if row["scope"] == "sampled" else "all patterns"
    kind = {"sampled": "proved", "global": "proved", "local": "local: as far as search finds"}[row["scope"]]
    better = [other["model"] for other in rows if other["test_mse"] < test]
    return [
        f"{name}: {verdict} linear least squares on the test part ({test / linear:.3f} times its MSE). "
        + (f"Lower test MSE: {'; '.join(better)}." if better else "The lowest test MSE of all."),
        f"{name}: lower bound {row['lower_bound']:.6g} over {over} (gap {row['gap']:.0e}, {kind}); its training "
        f"objective is {abs(excess):.1%} {against} ({best[1]}).",
    ]


def report(results, data, fits, folder):
    """Print the table, and write the JSON and the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "ecg.json", results)
    figures = draw_all(results, data, fits, folder)
    written = ", ".join(path.name for path in figures)
    unit = results["signal"]["unit"] or "unit not stated by the source"
    text = "\n".join(
        [
            format_table(results["rows"], COLUMNS),
            "",
            f"MSE: of the signal standardised on its training part, and in its unit squared ({unit}).",
            "Scope sampled: optimal over the given activation patterns, not over all. Scope local: over all patterns,",
            "as far as search finds them; that no network is below the bound is not proved.",
            "Seconds: of the fit alone; for SGD, Adam and MLPRegressor of the best seed, without the search for a",
            "learning rate. MLPRegressor does not penalise its hidden biases: its objective is that of its network",
            "with them counted.",
            *results["findings"],
            f"{results['seconds']:.0f} s in all. Every number is in {folder / 'ecg.json'}; the figures are {written}.",
        ]
    )
    (folder / "ecg.txt").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
