"""Networks with free hidden biases beside scikit-learn's MLPRegressor and MLPClassifier, at equal objectives.

    python -m benchmarks.mlp [--seeds 20] [--time-limit 60] [--output results/mlp]

Both minimise L(f(X)) + alpha/2 (|W1|^2 + |W2|^2), biases left out, at the same alpha: scikit-learn over networks of 100
neurons, by L-BFGS from random weights, the best of all seeds; the convex network over all networks of any width, with a
lower bound. Features are standardised. One objective for both: scikit-learn's loss_ times n_samples.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine, make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from convexnn import ConvexReLUClassifier, ConvexReLURegressor

from .harness import environment, format_table, write_json

# Data sets: a loader, and the alpha of both.
PROBLEMS = {
    "diabetes": (lambda: load_diabetes(return_X_y=True), 3.0),
    "friedman": (lambda: make_friedman1(300, noise=1.0, random_state=0), 3.0),
    "breast cancer": (lambda: load_breast_cancer(return_X_y=True), 1.0),
    "iris": (lambda: load_iris(return_X_y=True), 1.0),
    "wine": (lambda: load_wine(return_X_y=True), 1.0),
}
COLUMNS = [
    ("problem", "problem", ""),
    ("shape", "n x d, outputs", ""),
    ("alpha", "alpha", "g"),
    ("mlp", "MLP, best", ".5f"),
    ("mlp_worst", "MLP, worst", ".5f"),
    ("convex", "convex", ".5f"),
    ("bound", "lower bound", ".5f"),
    ("scope", "scope", ""),
    ("gap", "gap", ".1e"),
    ("mlp_seconds", "MLP, s in all", ".1f"),
    ("seconds", "convex, s", ".1f"),
]


def compare(name, n_seeds, time_limit):
    """Return the row of a problem."""
    load, alpha = PROBLEMS[name]
    X, y = load()
    X = StandardScaler().fit_transform(X)
    regression = np.issubdtype(y.dtype, np.floating)
    y = (y - y.mean()) / y.std() if regression else y
    MLP = MLPRegressor if regression else MLPClassifier
    start = time.perf_counter()
    objectives = []
    for seed in range(n_seeds):
        mlp = MLP(hidden_layer_sizes=(100,), alpha=alpha, solver="lbfgs", max_iter=5000, random_state=seed)
        objectives.append(len(X) * mlp.fit(X, y).loss_)
    middle = time.perf_counter()
    kind = ConvexReLURegressor if regression else ConvexReLUClassifier
    model = kind(alpha, hidden_bias="free", scope="local", time_limit=time_limit, random_state=0).fit(X, y)
    end, certificate = time.perf_counter(), model.certificate_
    outputs = 1 if regression or len(np.unique(y)) == 2 else len(np.unique(y))
    return {
        "problem": name,
        "shape": f"{len(X)} x {X.shape[1]}, {outputs}",
        "alpha": alpha,
        "mlp": min(objectives),
        "mlp_worst": max(objectives),
        "convex": certificate.objective,
        "bound": certificate.lower_bound,
        "scope": certificate.scope,
        "gap": certificate.gap,
        "mlp_seconds": middle - start,
        "seconds": end - middle,
    }


def main(argv=None):
    """Run the comparison and write the table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="random starts of scikit-learn's networks")
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds for each convex network")
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--output", type=Path, default=Path("results/mlp"))
    options = parser.parse_args(argv)
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = [compare(name, options.seeds, options.time_limit) for name in options.problems]
    table = format_table(rows, COLUMNS)
    print(table)
    options.output.mkdir(parents=True, exist_ok=True)
    write_json(options.output / "mlp.json", {"environment": environment(), "rows": rows})
    (options.output / "mlp.txt").write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
