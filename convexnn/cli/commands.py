"""The command `convexnn`: train, predict, certify and draw paths from tables in text files.

It is thin: each command reads a table (`convexnn.cli.tables`), calls the Python API and reports what came out. Features
are standardised by default, as alpha and convergence depend on their units; the scaling is the first step of the model.
"""

import json
import math
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, mean_squared_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ..datasets.windows import ecg_windows, load_ecg
from ..estimators import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    certify,
    regularization_path,
)
from ..model.summary import Status
from ..networks.persistence import load, save
from ..utils.deadline import plain_interrupts
from ..utils.files import import_pandas, replacing
from .options import make_parser
from .tables import read_table, read_target

__all__ = ["main"]

# Exit codes.
DONE, NOT_CONVERGED, WRONG, INTERRUPTED = 0, 1, 2, 130
PATH_COLUMNS = ("alphas", "n_neurons", "objectives", "gaps", "scopes", "train_scores", "validation_scores")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on `argv`, by default the arguments of the process; return the exit code.

    0: done; 1: done, but the tolerance was not reached; 2: wrong usage or data; 130: interrupted.
    """
    commands = {"fit": _fit, "predict": _predict, "path": _path, "certify": _certify, "ecg": _ecg}
    try:
        args = make_parser().parse_args(argv)
        args.verbose = min(getattr(args, "verbose", 0), 2)
        with plain_interrupts(), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the report says it
            warnings.filterwarnings("ignore", "X does not have valid feature names")  # they are looked up by name
            warnings.showwarning = _show_warning
            code = commands[args.command](args)
            sys.stdout.flush()
            return code
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED)
    except BrokenPipeError:  # who reads our output, such as head, has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        known = error.filename is not None and error.strerror is not None
        return _say(f"error: {error.filename}: {error.strerror}" if known else f"error: {error}")
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        return _say(f"error: {error}")


def _say(text, code=WRONG):
    """Write one line to stderr; return an exit code."""
    print(f"convexnn: {' '.join(text.split())}", file=sys.stderr)
    return code


def _show_warning(message, *where, **options):
    _say(f"warning: {message}")


@dataclass(frozen=True)
class _Data:
    """The training rows, the held-out rows (maybe none), how they were scaled (None: not), and facts to report."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    scaler: StandardScaler | None
    facts: dict


def _fit(args):
    _check_writable(args.output, ".npz")
    start, data = perf_counter(), _read_data(args)
    estimator = _estimator(args, data.facts["task"])
    if args.alpha == "cv":
        search = ConvexReLUClassifierCV if data.facts["task"] == "classification" else ConvexReLURegressorCV
        estimator = search(estimator.set_params(verbose=0), verbose=args.verbose)
    estimator.fit(data.X, data.y)
    estimator = getattr(estimator, "estimator_", estimator)
    if args.output:
        save(_model(data, estimator), args.output)
    scores = {"training": _scores_of(estimator, data.X, data.y)}
    if len(data.y_test):
        scores["held out"] = _scores_of(estimator, data.X_test, data.y_test)
    report = {"data": data.facts} | _describe_fit(estimator)
    report |= {"scores": scores, "seconds": perf_counter() - start, "output": args.output}
    _print_report(args, report, _fit_lines)
    return _exit_code(estimator)


def _predict(args):
    _check_writable(args.output)
    model, table = load(args.model), read_table(args.data)
    if args.proba and not _classifies(model):
        raise ValueError(f"--proba is for classifiers; {args.model} is none")
    X = table.numbers(_features(model, table), options=())
    predictions = np.asarray(model.predict(X))
    if predictions.ndim == 1:
        columns = {"prediction": predictions}
    else:
        columns = {f"prediction {place}": values for place, values in enumerate(predictions.T, 1)}
    if args.proba:
        columns |= {f"probability {c}": p for c, p in zip(model.classes_, model.predict_proba(X).T, strict=True)}
    written = import_pandas().DataFrame(columns)
    if args.output:
        with replacing(args.output, "w", newline="", encoding="utf-8") as file:
            written.to_csv(file, index=False)
    if args.json:
        _print_report(args, {"model": args.model, "data": {"file": args.data, "n_rows": len(table)}} | columns, None)
    elif not args.output:
        written.to_csv(sys.stdout, index=False)
    return DONE


def _path(args):
    _check_writable(args.output, ".npz")
    _check_writable(args.plot, ".png", ".pdf", ".svg")
    data = _read_data(args)
    estimator = _estimator(args, data.facts["task"]).set_params(time_limit=None, verbose=0)
    options = {"n_alphas": args.n_alphas, "eps": args.eps, "time_limit": args.time_limit, "verbose": args.verbose}
    held_out = {"X_val": data.X_test, "y_val": data.y_test}
    result = regularization_path(data.X, data.y, estimator=estimator, **held_out, **options)
    best = result.best()
    if args.output:
        save(_model(data, best), args.output)
    if args.plot:
        _draw(result, args.plot)
    names = ("alphas", "n_neurons", "objectives", "lower_bounds", "gaps", "scopes", "train_scores", "validation_scores")
    report = {"data": data.facts, "alpha_max": result.alpha_max, "tol": args.tol, "scoring": result.scoring}
    report |= {name: list(getattr(result, name)) for name in names} | {"best_alpha": best.alpha_}
    report |= {"status": result.status, "seconds": result.times[-1], "output": args.output, "plot": args.plot}
    _print_report(args, report, _path_lines)
    code = DONE if result.status == Status.COMPLETE else NOT_CONVERGED
    return INTERRUPTED if result.status == Status.INTERRUPTED else max(code, *map(_exit_code, result.estimators))


def _certify(args):
    model = load(args.model)
    scaler, estimator = model.named_steps.values() if isinstance(model, Pipeline) else (None, model)
    alpha = getattr(estimator, "alpha_", None) if args.alpha is None else args.alpha
    if alpha is None:
        raise ValueError(f"{args.model} is a network that was saved without its alpha: give --alpha")
    X, y = _labelled(args, model, args.data)
    options = {name: getattr(args, name) for name in ("scope", "time_limit", "random_state", "verbose")}
    rows = X if scaler is None else scaler.transform(X)
    certificate = certify(estimator, rows, y, alpha, tol=0.1 * args.tol, **options)
    scores = {args.data: _scores_of(model, X, y)}
    if args.test:
        scores[args.test] = _scores_of(model, *_labelled(args, model, args.test))
    report = {"model": args.model, "data": {"file": args.data, "n_rows": len(y), "target": args.target}, "alpha": alpha}
    words = {"certificate": _describe_certificate(certificate, args.tol), "summary": str(certificate)}
    report |= words | {"scores": scores}
    _print_report(args, report, _certify_lines)
    return DONE if certificate.reaches(args.tol) else NOT_CONVERGED


def _ecg(args):
    signal = load_ecg(args.source, channel=args.channel)
    data = ecg_windows(signal, window=args.window, horizon=args.horizon, train=args.train)
    estimator = _estimator(args, "regression").set_params(skip=True)
    rows = []
    for name, model in {"persistence": None, "linear least squares": LinearRegression(), "convex": estimator}.items():
        start = perf_counter()
        predict = (lambda X: X[:, -1]) if model is None else model.fit(data.X_train, data.y_train).predict
        seconds, row = perf_counter() - start, {"model": name}
        row["train_mse"] = mean_squared_error(data.y_train, predict(data.X_train))
        row["test_mse"] = mean_squared_error(data.y_test, predict(data.X_test))
        rows.append(row | {"test_mse_in_unit": data.mse_in_unit(row["test_mse"]), "seconds": seconds})
    facts = {"signal": signal.description, "unit": data.unit, "sampling_rate": data.sampling_rate}
    facts |= {"mean": data.mean, "scale": data.scale, "n_train": len(data.y_train), "n_test": len(data.y_test)}
    _print_report(args, {"data": facts, "rows": rows} | _describe_fit(estimator), _ecg_lines)
    return _exit_code(estimator)


def _read_data(args):
    """Return the rows of the table that the options select, as `_Data`."""
    table = _complete(args, read_table(args.data).without(args.drop))
    y, task = read_target(table, args.target, args.task)
    names = [name for name in table.columns if name != args.target]
    if "" in names:
        raise ValueError(f'{args.data} has a column without a name (an index?): name it, or leave it out by --drop ""')
    if not names:
        raise ValueError(f"{args.data} has no other column than the target, {args.target!r}")
    if task == "classification":
        _check_classes(args, y)
    X = X_train = table.numbers(names)
    X_test, y_train, y_test = X[:0], y, y[:0]
    if args.test_size is not None:
        split = {"test_size": args.test_size, "random_state": args.random_state}
        X_train, X_test, y_train, y_test = train_test_split(X, y, **split)
    if len(y_train) < 2:
        raise ValueError(f"training needs two rows or more; {args.data} has {len(y)}, {len(y_test)} of them held out")
    scaler = StandardScaler().fit(X_train) if args.standardize else None
    if scaler is not None:
        X_train, X_test = (scaler.transform(rows) if len(rows) else rows for rows in (X_train, X_test))
    facts = {"file": args.data, "n_rows": len(y), "n_held_out": len(y_test), "features": names, "target": args.target}
    facts |= {"task": task, "standardized": args.standardize}
    return _Data(X_train, y_train, X_test, y_test, scaler, facts)


def _check_classes(args, y):
    counts = np.unique(y, return_counts=True)[1]
    if len(counts) == 1:
        raise ValueError(f"column {args.target!r} of {args.data} has one class only, {str(y[0])!r}")
    if counts.max() == 1:
        raise ValueError(f"column {args.target!r} of {args.data} has a class for each row, such as {str(y[0])!r}")


def _complete(args, table):
    """Return the table, without the rows that have a missing cell if --ignore-missing is given."""
    kept = table.without_missing() if args.ignore_missing else table
    if not len(kept):
        raise ValueError(f"{table.path} has no row without a missing value: leave columns out with --drop")
    if len(kept) < len(table):
        _say(f"note: {len(table) - len(kept)} of {len(table)} rows of {table.path} are left out: values are missing")
    return kept


def _labelled(args, model, path):
    """Return the inputs and the targets that the table at `path` has for the model."""
    table = read_table(path)
    table.column(args.target)
    known = getattr(model, "feature_names_in_", None)
    if known is not None:  # values that are missing elsewhere do not matter
        table = table.without([name for name in table.columns if name not in {*known, args.target}])
    table = _complete(args, table)
    y, _ = read_target(table, args.target, "classification" if _classifies(model) else "regression")
    if _classifies(model):
        classes = model.classes_
        y = y if y.dtype.kind == classes.dtype.kind else y.astype(str)
        unknown = y[~np.isin(y, classes)]
        if len(unknown):
            known = ", ".join(map(str, classes))
            raise ValueError(f"column {args.target!r} of {path} has {str(unknown[0])!r}; the model has {known}")
    return table.numbers(_features(model, table, args.target), options=["--ignore-missing"]), y


def _features(model, table, target=None):
    """Return the names of the columns that the model takes: those it knows, or all but the target if it knows none."""
    known = getattr(model, "feature_names_in_", None)
    return [name for name in table.columns if name != target] if known is None else list(known)


def _classifies(model):
    return hasattr(model, "classes_")


def _estimator(args, task):
    """Return the estimator that the options describe; its alpha stays "auto" if cross-validation is to choose it."""
    kind = ConvexReLUClassifier if task == "classification" else ConvexReLURegressor
    known = kind().get_params()
    return kind(**{name: value for name, value in vars(args).items() if name in known and value not in (None, "cv")})


def _model(data, estimator):
    """Return the model that takes features in their own units, and set its feature names."""
    first = data.scaler or estimator
    first.feature_names_in_ = np.array(data.facts["features"], dtype=object)
    return estimator if data.scaler is None else make_pipeline(data.scaler, estimator)


def _draw(result, path):
    """Draw the path into a file."""
    import matplotlib as mpl

    mpl.use("agg")
    with replacing(path) as file:
        result.plot().figure_.savefig(file, format=Path(path).suffix[1:], dpi=150, bbox_inches="tight")


def _exit_code(estimator):
    if estimator.status_ == Status.INTERRUPTED:
        return INTERRUPTED
    solved = estimator.status_ == Status.SOLVED or estimator.certificate_.reaches(estimator.tol)
    return DONE if solved else NOT_CONVERGED


def _check_writable(path, *suffixes):
    """Raise an error, before anything is trained, if `path` lacks an accepted suffix or cannot be written."""
    if path is None:
        return
    if suffixes and Path(path).suffix not in suffixes:
        raise ValueError(f"{path} has to end in {' or '.join(suffixes)}")
    if Path(path).is_dir():
        raise OSError(f"{path} is a folder, not a file")
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise OSError(f"{path} cannot be written: there is no folder {str(Path(path).parent)!r}")
    # a file is written beside the old one, and takes its place; a device is written as it is
    needed = [target] * target.exists() + [target.parent] * (target.is_file() or not target.exists())
    if not all(os.access(place, os.W_OK) for place in needed):
        raise OSError(f"{path} cannot be written: no permission")


# Reports: each is one dictionary, which is written as a JSON object or as lines of text.


def _print_report(args, report, lines):
    """Print the report to stdout: one JSON object with --json, else lines of text."""
    if args.json:
        report = {"command": args.command, "version": version("convexnn")} | report
        print(json.dumps(_plain(report), allow_nan=False))
    else:
        for line in lines(report):
            print(line)


def _describe_certificate(certificate, tol):
    """Return the numbers of the certificate, and `tol`."""
    names = ("objective", "lower_bound", "gap", "scope", "proved_bound", "proved_gap", "provisional")
    return {name: getattr(certificate, name) for name in names} | {"tol": tol}


def _describe_fit(estimator):
    """Return what was trained: alpha, neurons, status, parameters, certificate and summary."""
    names = ("alpha_", "alpha_max_", "n_neurons_", "status_")
    report = {name.rstrip("_"): getattr(estimator, name) for name in names}
    options = ("loss", "hidden_bias", "skip", "random_state")
    report["parameters"] = {name: getattr(estimator, name) for name in options}
    report["certificate"] = _describe_certificate(estimator.certificate_, estimator.tol)
    return report | {"summary": estimator.summary()}


def _scores_of(model, X, y):
    """Compute the scores of the model: accuracy for classifiers, else R2 and RMSE."""
    predictions, scores = model.predict(X), {"n_rows": len(y)}
    if hasattr(model, "classes_"):
        return scores | {"accuracy": accuracy_score(y, predictions)}
    r2 = r2_score(y, predictions) if len(y) > 1 else math.nan
    return scores | {"r2": r2, "rmse": math.sqrt(mean_squared_error(y, predictions))}


def _fit_lines(report):
    """Yield the lines of `convexnn fit`."""
    yield _data_line(report["data"])
    yield report["summary"]
    yield from _score_lines(report["scores"])
    if report["output"]:
        yield f"written to {report['output']}; next: convexnn predict {report['output']} NEW.csv"


def _path_lines(report):
    """Yield the lines of `convexnn path`."""
    yield _data_line(report["data"])
    yield f"{'alpha':>10} {'neurons':>8} {'objective':>14} {'gap':>8} {'scope':>8} {'train':>8} {'held out':>9}"
    rows = zip(*(report[name] for name in PATH_COLUMNS), strict=True)
    for alpha, neurons, objective, gap, scope, train, held in rows:
        mark = " *" if alpha == report["best_alpha"] else ""
        row = f"{alpha:10.3e} {neurons:8d} {objective:14.7g} {gap:8.1e} {scope:>8} {train:8.4g} {held:9.4g}{mark}"
        yield row + (f" not solved to tol={report['tol']:g}" if gap > report["tol"] else "")
    if report["status"] != "complete":
        yield f"the path was {report['status']}, before its last alpha"
    yield f"* alpha={report['best_alpha']:.4g} has the best {report['scoring']} on the rows held out"
    yield from (f"written to {report[name]}" for name in ("output", "plot") if report[name])


def _certify_lines(report):
    """Yield the lines of `convexnn certify`."""
    known, data = report["certificate"], report["data"]
    yield f"{report['model']} on {data['n_rows']} rows of {data['file']}, alpha={report['alpha']:.4g}"
    yield report["summary"]
    kind = "provisional" if known["provisional"] else "estimated, not proved"
    kind = "proved" if known["scope"] == "global" else kind
    within = "within" if known["gap"] <= known["tol"] and not known["provisional"] else "not within"
    yield f"Gap to the best network of any width: {known['gap']:.2e} ({kind}), {within} tol={known['tol']:g}."
    yield from _score_lines(report["scores"])


def _ecg_lines(report):
    """Yield the lines of `convexnn ecg`."""
    data = report["data"]
    yield data["signal"]
    yield f"{data['n_train']} training and {data['n_test']} test windows; errors are of the standardised signal"
    yield f"{'model':<20} {'train MSE':>10} {'test MSE':>10} {'seconds':>8}"
    for row in report["rows"]:
        yield f"{row['model']:<20} {row['train_mse']:10.5f} {row['test_mse']:10.5f} {row['seconds']:8.2f}"
    yield report["summary"]


def _data_line(data):
    held = f", {data['n_held_out']} of them held out" if data.get("n_held_out") else ""
    scaled = ", standardized" if data["standardized"] else ""
    count = len(data["features"])
    return (
        f"{data['file']}: {data['n_rows']} rows{held}; {count} feature{'s' * (count != 1)}{scaled}; target "
        f"{data['target']!r} ({data['task']})"
    )


def _score_lines(scores):
    for part, values in scores.items():
        if "accuracy" in values:
            text = f"accuracy {values['accuracy']:.4f}"
        else:
            text = f"R2 {values['r2']:.4f}, RMSE {values['rmse']:.4g}"
        yield f"{text} on {values['n_rows']} rows: {part}"


def _plain(value):
    """Return the value in types that JSON has; numbers that are not finite become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
