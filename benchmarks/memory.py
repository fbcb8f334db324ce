"""Peak memory of a fit, in copies of X above what the process held before.

    python -m benchmarks.memory [--samples 20000] [--features 50] [--time-limit 60] [--output results/memory]

Each fit runs in a process of its own, after a small one that loads and compiles all it needs. "allocated" is what
Python and numpy allocate at the peak (tracemalloc); "resident" is what the process holds in memory at its peak above
what it held before (ru_maxrss), with the work space of linear algebra. The target of both is 8 copies.
"""

import argparse
import json
import resource
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from convexnn import ConvexReLUClassifier, ConvexReLURegressor

from .harness import environment, format_table, write_json

TARGET = 8.0
ESTIMATORS = {"regressor": ConvexReLURegressor, "classifier": ConvexReLUClassifier}
COLUMNS = [
    ("estimator", "estimator", ""),
    ("shape", "n x d", ""),
    ("target", "target, copies of X", ".1f"),
    ("allocated", "allocated", ".1f"),
    ("resident", "resident", ".1f"),
    ("met", "met", ""),
]


def problem(n_samples, n_features, classifies):
    """Return X, y and an alpha of about a tenth of alpha_max."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, n_features))
    y = np.maximum(X @ rng.standard_normal(n_features), 0.0) + 0.1 * rng.standard_normal(n_samples)
    alpha = 0.1 * np.linalg.norm(X.T @ (y - y.mean())) / 2.0  # linear neurons are half of two ReLU
    return (X, y > np.median(y), alpha / y.std() / 2.0) if classifies else (X, y, alpha)


def peak(name, tool, n_samples, n_features, time_limit):
    """Return the peak of a fit in this process, in copies of X, by a tool, "allocated" or "resident"."""
    X, y, alpha = problem(n_samples, n_features, name == "classifier")
    model = ESTIMATORS[name](alpha, max_iter=3, time_limit=time_limit, random_state=0)
    ESTIMATORS[name](1.0, max_iter=3, random_state=0).fit(X[:200], y[:200])
    if tool == "allocated":
        tracemalloc.start(1)
        model.fit(X, y)
        return tracemalloc.get_traced_memory()[1] / X.nbytes
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    model.fit(X, y)
    return (1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / X.nbytes


def measure(name, n_samples, n_features, time_limit):
    """Return the row of an estimator: its peaks, each in a process of its own."""
    row = {"estimator": name, "shape": f"{n_samples} x {n_features}", "target": TARGET}
    for tool in ("allocated", "resident"):
        arguments = [name, tool, str(n_samples), str(n_features), str(time_limit)]
        run = [sys.executable, "-m", "benchmarks.memory", "--peak", *arguments]
        row[tool] = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    return row | {"met": max(row["allocated"], row["resident"]) <= TARGET}


def main(argv=None):
    """Measure, and write the table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds for each fit")
    parser.add_argument("--estimators", nargs="+", default=list(ESTIMATORS), choices=list(ESTIMATORS))
    parser.add_argument("--output", type=Path, default=Path("results/memory"))
    parser.add_argument("--peak", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    warnings.simplefilter("ignore", ConvergenceWarning)
    if options.peak:
        name, tool, n_samples, n_features, time_limit = options.peak
        print(json.dumps(peak(name, tool, int(n_samples), int(n_features), float(time_limit))))
        return
    rows = [measure(name, options.samples, options.features, options.time_limit) for name in options.estimators]
    table = format_table(rows, COLUMNS)
    print(table)
    options.output.mkdir(parents=True, exist_ok=True)
    write_json(options.output / "memory.json", {"environment": environment(), "rows": rows})
    (options.output / "memory.txt").write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
