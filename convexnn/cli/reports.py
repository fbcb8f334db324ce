"""What the commands report: as one JSON object, or as lines of text. Both are made of the same dictionary."""

import json
import math
from argparse import Namespace
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, mean_squared_error, r2_score

from ..model.certificate import Certificate

__all__ = [
    "certify_lines",
    "describe_certificate",
    "describe_fit",
    "ecg_lines",
    "fit_lines",
    "path_lines",
    "print_report",
    "scores_of",
]

PATH_COLUMNS = ("alphas", "n_neurons", "objectives", "gaps", "scopes", "train_scores", "validation_scores")


def print_report(args: Namespace, report: dict, lines: Callable[[dict], Iterator[str]]) -> None:
    """Print the report to stdout: one JSON object with --json, else lines of text."""
    if args.json:
        report = {"command": args.command, "version": version("convexnn")} | report
        print(json.dumps(_plain(report), allow_nan=False))
    else:
        for line in lines(report):
            print(line)


def describe_certificate(certificate: Certificate, tol: float) -> dict:
    """Return the numbers of the certificate, and `tol`."""
    names = ("objective", "lower_bound", "gap", "scope", "proved_bound", "proved_gap", "provisional")
    return {name: getattr(certificate, name) for name in names} | {"tol": tol}


def describe_fit(estimator: Any) -> dict:
    """Return what was trained: alpha, neurons, status, parameters, certificate and summary."""
    names = ("alpha_", "alpha_max_", "n_neurons_", "status_")
    report = {name.rstrip("_"): getattr(estimator, name) for name in names}
    options = ("loss", "hidden_bias", "skip", "random_state")
    report["parameters"] = {name: getattr(estimator, name) for name in options}
    return report | {
        "certificate": describe_certificate(estimator.certificate_, estimator.tol),
        "summary": estimator.summary(),
    }


def scores_of(model: Any, X: np.ndarray, y: np.ndarray) -> dict:
    """Compute the scores of the model: accuracy for classifiers, else R2 and RMSE."""
    predictions, scores = model.predict(X), {"n_rows": len(y)}
    if hasattr(model, "classes_"):
        return scores | {"accuracy": accuracy_score(y, predictions)}
    r2 = r2_score(y, predictions) if len(y) > 1 else math.nan
    return scores | {"r2": r2, "rmse": math.sqrt(mean_squared_error(y, predictions))}


def fit_lines(report: dict) -> Iterator[str]:
    """Yield the lines of `convexnn fit`."""
    yield _data_line(report["data"])
    yield report["summary"]
    yield from _score_lines(report["scores"])
    if report["output"]:
        yield f"written to {report['output']}; next: convexnn predict {report['output']} NEW.csv"


def path_lines(report: dict) -> Iterator[str]:
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


def certify_lines(report: dict) -> Iterator[str]:
    """Yield the lines of `convexnn certify`."""
    known, data = report["certificate"], report["data"]
    yield f"{report['model']} on {data['n_rows']} rows of {data['file']}, alpha={report['alpha']:.4g}"
    yield report["summary"]
    kind = (
        "proved" if known["scope"] == "global" else "provisional" if known["provisional"] else "estimated, not proved"
    )
    within = "within" if known["gap"] <= known["tol"] and not known["provisional"] else "not within"
    yield f"Gap to the best network of any width: {known['gap']:.2e} ({kind}), {within} tol={known['tol']:g}."
    yield from _score_lines(report["scores"])


def ecg_lines(report: dict) -> Iterator[str]:
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
