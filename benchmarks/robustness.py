"""How often search alone is wrong: generation against proved optima, on random and degenerate problems.

    python -m benchmarks.robustness --count 300 --output results/robustness

Each problem is solved by generation with scope="local", as a user would, and its optimum over all activation patterns
is proved apart from that: by generation with scope="global", started afresh with another seed, and, where there are few
cells, by the working set over all of them. A miss is a local gap that says "solved" at an objective that is not. Where
the cells are enumerated, kappa by enumeration is also compared with the bounds of branch and bound alone.
Prints tables, and writes robustness.json (every problem) and robustness.txt.
"""

import argparse
import logging
import time
import traceback
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from benchmarks.harness import environment, format_table, write_json
from convexnn import Architecture
from convexnn.geometry import count_arrangements
from convexnn.geometry.enumeration import distinct_walls
from convexnn.model import build_program
from convexnn.pricing import bound_kappa, kappa
from convexnn.pricing.alpha_max import alpha_max_over_all
from convexnn.solvers import solve_generation, solve_working_set

__all__ = ["KINDS", "Case", "main", "make_case"]

logger = logging.getLogger("benchmarks.robustness")

KINDS = (
    *("Gaussian", "integers", "duplicates", "parallel rows", "zero rows", "rank deficient"),
    *("equal columns", "scaled columns", "scaled rows", "offset"),
)
TARGETS = ("teacher", "noisy teacher", "noise")
# What is asked for: of search, of branch and bound, and of the working set over all cells.
LOCAL_TOL, GLOBAL_TOL, ENUMERATED_TOL = 1e-6, 1e-7, 1e-8
# A solution this far above the optimum whose local gap is at most LOCAL_TOL is a miss.
MISS = 1e-5
# Two ways to the optimum agree when no lower bound is above an objective of the other by more than this; so do kappas.
AGREEMENT, KAPPA_TOL = 1e-6, 1e-6
# Most cells, by Cover's count, that are enumerated.
MOST_CELLS = 20_000
COLUMNS = (
    ("group", "problems", "s"),
    ("n_problems", "number", "d"),
    ("n_proved", "proved", "d"),
    ("worst_excess", "worst excess", ".1e"),
    ("n_above", "above 1e-6", "d"),
    ("n_misses", "misses", "d"),
    ("n_enumerated", "enumerated", "d"),
    ("n_disagreements", "disagree", "d"),
    ("n_warned", "warned", "d"),
    ("local_median", "local, median [s]", ".3f"),
    ("local_worst", "worst [s]", ".2f"),
    ("global_median", "global, median [s]", ".3f"),
    ("global_worst", "worst [s]", ".2f"),
)


class Case(NamedTuple):
    """A random problem."""

    kind: str
    target: str
    part: float
    program: object


def main(arguments=None):
    """Run the study; return the results as written to robustness.json."""
    options = parse(arguments)
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    start = time.perf_counter()
    study(make_case(options.seed), options.seed, options.time_limit)  # compiles
    rows = []
    for seed in range(options.seed, options.seed + options.count):
        rows.append(attempt(seed, options.time_limit))
        if len(rows) % 20 == 0:
            logger.info("%d of %d, %.0f s", len(rows), options.count, time.perf_counter() - start)
    results = {"environment": environment(), "options": vars(options), "rows": rows, "findings": findings(rows)}
    report(results | {"seconds": time.perf_counter() - start}, Path(options.output))
    return results


def parse(arguments=None):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robustness", description=__doc__.split("\n\n")[0])
    parser.add_argument("--count", type=int, default=300, help="number of problems (default: 300)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first problem; each has the next one")
    parser.add_argument("--time-limit", type=float, default=10.0, help="limit of a proof in seconds (default: 10)")
    parser.add_argument("--output", default="results/robustness", help="folder of the results")
    return parser.parse_args(arguments)


def make_case(seed):
    """Make a problem: 10 to 200 samples, hidden rows of rank 2 to 5, alpha from 0.001 to 0.9 of alpha_max.

    Parameters
    ----------
    seed : int
        The same problem for the same seed. Kinds and architectures take turns.

    Returns
    -------
    Case
        The problem, its program with arrangements="adaptive".
    """
    rng = np.random.default_rng([2027, seed])
    kind, target = KINDS[seed % len(KINDS)], TARGETS[int(rng.integers(len(TARGETS)))]
    choice = int(rng.integers(8))
    architecture = Architecture("relu", ("none", "penalized")[choice % 2], bool(choice // 2 % 2), bool(choice // 4))
    n_samples = int(np.exp(rng.uniform(np.log(10), np.log(201))))
    n_features = int(rng.integers(2, 6)) - choice % 2
    X = _rows(rng, kind, n_samples, n_features)
    y = _targets(rng, target, X)
    program = build_program(X, y, 1.0, "adaptive", architecture)
    part = 10.0 ** rng.uniform(-3, np.log10(0.9))
    largest = alpha_max_over_all(program, scope="local", random_state=seed).value
    return Case(kind, target, part, program.at(part * largest if largest > 0 else 1.0))


def _rows(rng, kind, n, d):
    X = rng.standard_normal((n, d))
    if kind == "integers":
        X = rng.integers(-2, 3, (n, d)).astype(float)
    elif kind == "duplicates":
        X = X[rng.integers(0, (n + 1) // 2, n)]
    elif kind == "parallel rows":
        X = X[rng.integers(0, (n + 1) // 2, n)] * rng.choice([-2.0, -1.0, 0.5, 1.0, 3.0], (n, 1))
    elif kind == "zero rows":
        X[rng.random(n) < 0.3] = 0.0
    elif kind == "rank deficient":
        X = X @ rng.standard_normal((d, d + 2))
    elif kind == "equal columns":
        X = np.column_stack([X, X[:, :1]])
    elif kind == "scaled columns":
        X *= 10.0 ** rng.uniform(-2, 2, d)
    elif kind == "scaled rows":
        X *= 10.0 ** rng.uniform(-3, 3, (n, 1))
    elif kind == "offset":
        X += 10.0
    return X


def _targets(rng, target, X):
    """Return outputs of a network of a few neurons, with noise or without, or noise alone, of size about one."""
    noise = rng.standard_normal(len(X))
    if target == "noise":
        return noise
    units = np.maximum(X @ (rng.standard_normal((X.shape[1], 4)) / np.maximum(np.abs(X).max(axis=0), 1e-9)[:, None]), 0)
    signal = units @ rng.standard_normal(4)
    signal /= max(signal.std(), 1e-9)
    return signal + 0.3 * noise if target == "noisy teacher" else signal


def attempt(seed, time_limit):
    """Study a problem; return its row, with the error where there was one."""
    try:
        return study(make_case(seed), seed, time_limit) | {"error": None}
    except Exception:  # a failure is a result of the study
        logger.exception("seed %d failed", seed)
        return {"seed": seed, "error": traceback.format_exc()}


def study(case, seed, time_limit):
    """Solve a problem in all ways; return what was found as a dict."""
    program = case.program
    walls = distinct_walls(program.design.X).rows
    row = {"seed": seed, "kind": case.kind, "target": case.target, "alpha_part": case.part, "alpha": program.alpha}
    row |= {name: getattr(program.architecture, name) for name in ("hidden_bias", "fit_intercept", "skip")}
    row |= {"n_samples": len(program.Y), "rank": walls.shape[1], "n_cells": count_arrangements(*walls.shape)}
    ways = {
        "local": lambda: solve_generation(program, tol=LOCAL_TOL, scope="local", random_state=seed),
        "global": lambda: solve_generation(
            program, tol=GLOBAL_TOL, scope="global", random_state=seed + 1_000_003, time_limit=time_limit
        ),
    }
    whole = None
    if row["n_cells"] <= MOST_CELLS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            whole = _over_all_cells(program)
    if whole is not None:
        ways["enumerated"] = lambda: solve_working_set(whole, tol=ENUMERATED_TOL)
        row["n_cells"] = len(whole.design.arrangements)
    dual = None
    for name, solve in ways.items():
        row[name], solution = watch(solve)
        if name == "local":
            dual = program.project_dual(-program.loss.grad(program.Y, solution.Z))
    if whole is not None:
        row["kappa"] = compare_kappa(whole, dual, time_limit)
    return row | judge(row)


def _over_all_cells(program):
    """Return the program over all cells; None where they are too thin to be told apart."""
    X = program.design.X[:, : program.design.X.shape[1] - (program.architecture.hidden_bias != "none")]
    try:
        whole = build_program(X, program.Y, program.alpha, "all", program.architecture)
    except RuntimeError:
        return None
    return whole if whole.design.arrangements.complete else None


def watch(solve):
    """Run a solver; return its certificate, seconds and warnings as a dict, and the solution."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.perf_counter()
        solution = solve()
        seconds = time.perf_counter() - start
    certificate = solution.certificate
    names = ("objective", "lower_bound", "gap", "proved_bound", "proved_gap", "scope")
    found = {name: getattr(certificate, name) for name in names}
    found |= {"seconds": seconds, "n_iter": solution.n_iter, "status": solution.status}
    found["n_neurons"] = int(np.count_nonzero(solution.W.any(axis=(1, 2))))
    found["converged"] = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    found["warnings"] = [str(warning.message) for warning in caught]
    return found, solution


def compare_kappa(whole, V, time_limit):
    """Compare kappa of a dual vector over all cells, one by one, with the bounds of branch and bound."""
    exact, rounding = kappa(whole, V), whole.dual_rounding(V)
    if exact <= rounding:
        return None
    result = bound_kappa(whole.design.X, V[:, 0], exact, refute=False, time_limit=time_limit)
    inside = result.lower <= exact + rounding and exact <= result.upper + rounding
    tight = result.lower >= (1 - KAPPA_TOL) * exact and result.upper <= (1 + KAPPA_TOL) * exact
    return {"exact": exact, "lower": result.lower, "upper": result.upper, "inside": inside, "tight": tight}


def judge(row):
    """Return by how much the local solution exceeds the optimum, whether it is a miss, and whether the proofs agree."""
    proofs = [row[name] for name in ("global", "enumerated") if name in row]
    tiny = np.finfo(float).tiny
    optimum = min([row["local"]["objective"], *(proof["objective"] for proof in proofs)])
    proved = [proof for proof in proofs if proof["scope"] == "global" and proof["converged"]]
    bounds = [max(proof["lower_bound"] for proof in [*proofs, {"lower_bound": row["local"]["proved_bound"]}])]
    excess = (row["local"]["objective"] - optimum) / max(optimum, tiny)
    agree = None
    if len(proofs) == 2:
        first, second = proofs
        agree = all(a["lower_bound"] <= b["objective"] * (1 + AGREEMENT) for a, b in ((first, second), (second, first)))
    bounded = max(bounds) <= optimum * (1 + AGREEMENT)
    miss = row["local"]["gap"] <= LOCAL_TOL and excess > MISS
    return {"excess": excess, "miss": miss, "proved": bool(proved), "agree": agree, "bounded": bounded}


def findings(rows):
    """Return every case that failed, as sentences."""
    found = []
    for row in rows:
        if row["error"] is not None:
            found.append(f"seed {row['seed']}: {row['error'].strip().splitlines()[-1]}")
            continue
        label = f"seed {row['seed']} ({row['kind']}, n={row['n_samples']}, rank {row['rank']}, "
        label += f"alpha {row['alpha_part']:.2g} of the largest)"
        if row["miss"]:
            found.append(f"{label}: missed, {row['excess']:.1e} above the optimum at gap {row['local']['gap']:.1e}")
        elif row["excess"] > LOCAL_TOL:
            found.append(f"{label}: {row['excess']:.1e} above the optimum at gap {row['local']['gap']:.1e}")
        if not row["proved"]:
            found.append(f"{label}: not proved, gap {row['global']['gap']:.1e}")
        if row["agree"] is False or not row["bounded"]:
            found.append(f"{label}: a lower bound is above the objective of another way")
        if row.get("kappa") and not (row["kappa"]["inside"] and row["kappa"]["tight"]):
            values = row["kappa"]
            found.append(f"{label}: kappa {values['exact']:.12g} not [{values['lower']:.12g}, {values['upper']:.12g}]")
        for name in ("local", "global", "enumerated"):
            found += [f"{label}, {name}: {message}" for message in row.get(name, {}).get("warnings", [])]
    return found


def summaries(rows):
    """Return a line of the table for all problems, and for each kind, rank, size and architecture."""
    groups = {"all": rows}
    for key, name in (("kind", "{}"), ("rank", "rank {}"), ("hidden_bias", "hidden bias {}"), ("skip", "skip {}")):
        for value in sorted({row[key] for row in rows}):
            groups[name.format(value)] = [row for row in rows if row[key] == value]
    for low, high, name in ((0, MOST_CELLS, "few cells"), (MOST_CELLS, np.inf, "many cells")):
        groups[name] = [row for row in rows if low < row["n_cells"] <= high]
    for low, high in ((10, 30), (30, 80), (80, 201)):
        groups[f"{low} <= n < {high}"] = [row for row in rows if low <= row["n_samples"] < high]
    for low, high in ((0, 0.01), (0.01, 0.1), (0.1, 1)):
        groups[f"alpha {low:g} to {high:g}"] = [row for row in rows if low <= row["alpha_part"] < high]
    return [summary(name, part) for name, part in groups.items() if part]


def summary(name, rows):
    """Return counts, the worst excess and seconds of some problems."""
    seconds = {way: np.array([row[way]["seconds"] for row in rows]) for way in ("local", "global")}
    return {
        "group": name,
        "n_problems": len(rows),
        "n_proved": sum(row["proved"] for row in rows),
        "worst_excess": max(row["excess"] for row in rows),
        "n_above": sum(row["excess"] > LOCAL_TOL for row in rows),
        "n_misses": sum(row["miss"] for row in rows),
        "n_enumerated": sum(row["agree"] is not None for row in rows),
        "n_disagreements": sum(row["agree"] is False or not row["bounded"] for row in rows),
        "n_warned": sum(bool(row["local"]["warnings"]) for row in rows),
        **{f"{way}_median": float(np.median(times)) for way, times in seconds.items()},
        **{f"{way}_worst": float(times.max()) for way, times in seconds.items()},
    }


def report(results, folder):
    """Print the tables, and write the JSON and the text."""
    folder.mkdir(parents=True, exist_ok=True)
    done = [row for row in results["rows"] if row["error"] is None]
    results |= {"summaries": summaries(done)}
    write_json(folder / "robustness.json", results)
    kappas = [row["kappa"] for row in done if row.get("kappa")]
    enumerated = [row["enumerated"]["seconds"] for row in done if "enumerated" in row]
    lines = [
        format_table(results["summaries"], COLUMNS),
        "",
        'Excess: of the objective of scope="local" over the best objective known, relative. Proved: the optimum, by',
        f'scope="global" to {GLOBAL_TOL:g} or over all cells to {ENUMERATED_TOL:g}. Miss: a local gap of at most',
        f"{LOCAL_TOL:g} and an excess above {MISS:g}. Disagree: a lower bound above an objective of another way.",
        f"kappa: within the bounds of branch and bound alone in {sum(k['inside'] for k in kappas)} of {len(kappas)},",
        f"and these are within {KAPPA_TOL:g} of it in {sum(k['tight'] for k in kappas)}.",
        f'Proved by scope="global": {sum(row["global"]["converged"] for row in done)} of {len(done)}.',
        *([f"Enumerated: median {np.median(enumerated):.3f} s, worst {max(enumerated):.2f} s."] if enumerated else []),
        f"Errors: {len(results['rows']) - len(done)}.",
        "",
        *results["findings"],
        f"{results['seconds']:.0f} s in all. Every number is in {folder / 'robustness.json'}.",
    ]
    (folder / "robustness.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
