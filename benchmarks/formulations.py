"""Every formulation and every loss that it allows, on tiny random problems with all cells enumerated.

    python -m benchmarks.formulations [--problems 10] [--restarts 32] [--cases F18] [--quick] [--output DIR]

For each problem: the optimum of the whole program in cvxpy (reference), over all given patterns (engine), and over
patterns that are found (generation); the bounds that they prove; the objective of the networks recovered, written out;
and the least of many restarts of L-BFGS on the network's own nonconvex objective, which can only be above the optimum.
Restarts are doubled until one is near it. Results go to formulations.json, those of cases not asked for are kept, and
the table to formulations.md. A difference is (value - optimum) / optimum.
"""

import argparse
import importlib.util
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from .formulation_cases import CASES
from .formulation_problems import pose
from .harness import environment, write_json

__all__ = ["QUICK", "failures", "main", "measure"]

# Differences that are allowed: of solvers, of recovered networks, of bounds and of restarts below and above.
SOLVED, RECOVERED, BOUND, BELOW, NEAR = 1e-6, 1e-8, 1e-9, 1e-7, 1e-3
SOLVERS = ("reference", "engine", "generation")
# The first restarts, and the numbers from which networks are so many times wider.
FIRST_RESTARTS, WIDER = 2, {0: 1, 8: 3, 32: 10, 64: 30}
# Cases of a quick run: the first loss of every network, and all losses of one.
QUICK = tuple(
    case
    for i, case in enumerate(CASES)
    if case.network == "output bias" or case.network not in {other.network for other in CASES[:i]}
)
HEADER = """# Formulations

Written by `python -m benchmarks.formulations`. {n_problems} random problems of 5 to 8 samples for each loss, all cells
enumerated (gated networks: given gates). Numbers are worst relative differences over problems and losses, of
objectives to that of the reference: the whole program in cvxpy, with the relative gap that it proves itself ("written
out": a program that is solved in the benchmark alone), the engine over given patterns, generation, the objective of the
recovered network, written out, to that of its program, and restarts of L-BFGS on the network's own objective: the least
and the largest difference of the best one ({n_restarted} of the {n_records} problems). A dash: there is none.

"""


def measure(case, seed, most_restarts):
    """Solve a problem in every way.

    Parameters
    ----------
    case : Case
        The case.
    seed : int
        The number of the problem.
    most_restarts : int
        The most restarts; 0 for none.

    Returns
    -------
    dict
        A record: the differences, scopes and errors.
    """
    posed, outcomes, record = pose(case, seed), {}, {"seed": seed, "errors": {}, "seconds": {}}
    for name in SOLVERS:
        solve = getattr(posed, name)
        if solve is None:
            continue
        start = time.perf_counter()
        try:
            outcomes[name] = solve()
        except (RuntimeError, ValueError, ArithmeticError) as error:
            record["errors"][name] = f"{type(error).__name__}: {error}".split(" (")[0]
        record["seconds"][name] = time.perf_counter() - start
    objectives = [outcome.objective for outcome in outcomes.values() if np.isfinite(outcome.objective)]
    for name, outcome in outcomes.items():
        if not np.isfinite(outcome.objective):
            record["errors"][name] = f"an objective of {outcome.objective}"
    if not objectives:
        return record
    first = next(outcome.objective for outcome in outcomes.values() if np.isfinite(outcome.objective))
    least = min(objectives)
    record["optimum"] = first
    if posed.restarts is not None and most_restarts:
        record["restarts"], record["n_restarts"] = _restarted(posed, seed, most_restarts, least)
        least = min(least, (1 + record["restarts"]) * least)
    record["scopes"] = {name: outcome.scope for name, outcome in outcomes.items() if outcome.scope}
    bounds = [outcome.lower_bound for outcome in outcomes.values() if outcome.lower_bound is not None]
    networks = [o.network / o.objective - 1 for o in outcomes.values() if o.network is not None]
    record["bound"] = max((bound / least - 1 for bound in bounds), default=None)
    record["recovery"] = max(map(abs, networks), default=None)
    record["differences"] = {name: outcome.objective / first - 1 for name, outcome in outcomes.items()}
    if "reference" in outcomes and outcomes["reference"].lower_bound is not None:
        record["reference_gap"] = 1 - outcomes["reference"].lower_bound / first
    return record


def failures(record):
    """Return what misses its tolerance in a record.

    Parameters
    ----------
    record : dict
        Made by `measure`.

    Returns
    -------
    list of str
        A sentence each; none where all is well.
    """
    found = [f"{name}: {error}" for name, error in record["errors"].items()]
    for name, difference in record.get("differences", {}).items():
        if not abs(difference) <= SOLVED:
            found.append(f"{name} {difference:+.1e}")
    if record.get("recovery") is not None and not record["recovery"] <= RECOVERED:
        found.append(f"recovery {record['recovery']:.1e}")
    if record.get("bound") is not None and not record["bound"] <= BOUND:
        found.append(f"a bound {record['bound']:.1e} above the optimum")
    if "restarts" in record and not -BELOW <= record["restarts"] <= NEAR:
        found.append(f"the best of {record['n_restarts']} restarts {record['restarts']:+.1e}")
    return found


def main(arguments=None):
    """Run the cases and write the results; return these."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=10)
    parser.add_argument("--restarts", type=int, default=32, help="the most restarts for a problem")
    parser.add_argument("--cases", default="", help="the beginning of the names of cases to run")
    parser.add_argument("--part", default="1/1", help="2/5 for the second fifth of these")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("results/formulations"))
    options = parser.parse_args(arguments)
    problems, restarts = (1, 4) if options.quick else (options.problems, options.restarts)
    cases = [case for case in (QUICK if options.quick else CASES) if case.name.startswith(options.cases)]
    part, parts = map(int, options.part.split("/"))
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "formulations.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"cases": {}}
    for case in cases[(part - 1) * len(cases) // parts : part * len(cases) // parts]:
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            records = [measure(case, seed, restarts) for seed in range(problems)]
        results["cases"][case.name] = records
        results["environment"] = environment()
        write_json(path, results)
        print(_line(case, records, time.perf_counter() - start), flush=True)
    (options.output / "formulations.md").write_text(_markdown(results), encoding="utf-8")
    return results


def _restarted(posed, seed, most, optimum):
    """Return the difference of the best restart and their number, doubled while it is not near the optimum."""
    best, total, n = np.inf, 0, min(FIRST_RESTARTS, most)
    while total < most and best / optimum - 1 > NEAR:
        if callable(posed.restarts):
            found = posed.restarts(n, [seed, total])
        else:
            oracles = _oracles()
            size = posed.restarts["n_neurons"] * WIDER[max(least for least in WIDER if least <= total)]
            problem = oracles.NetworkProblem(**posed.restarts | {"n_neurons": size})
            found = oracles.best_of_restarts(problem, n, [seed, total])[0]
        best, total = min(best, found * posed.scale), total + n
        n = min(total, most - total)
    return best / optimum - 1, total


def _oracles():
    """Return the module tests/oracles.py, which uses nothing of the package."""
    if "oracles" not in sys.modules:
        path = Path(__file__).parent.parent / "tests" / "oracles.py"
        spec = importlib.util.spec_from_file_location("oracles", path)
        sys.modules["oracles"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["oracles"])
    return sys.modules["oracles"]


def _line(case, records, seconds):
    """Return a line of what was found for a case."""
    return f"{case.name:45s} {seconds:6.1f} s  " + (_missed(records) or "as it should be")


def _missed(records):
    """Return what misses its tolerance in the records of a case, and in which problems."""
    found = {}
    for record in records:
        for text in failures(record):
            found.setdefault(text, []).append(str(record["seed"]))
    return "; ".join(f"{text} (problem {', '.join(seeds)})" for text, seeds in found.items())


def _worst(records, get):
    """Return the value of largest size over records, as text; a dash where there is none."""
    values = [get(record) for record in records]
    values = [value for value in values if value is not None]
    return format(max(values, key=abs), ".0e") if values else "-"


def _markdown(results):
    """Return the table, and what falls short, as markdown."""
    networks = {}
    for case in CASES:
        if case.name in results["cases"]:
            networks.setdefault((case.formulation, case.network), []).append(case)
    columns = ("formulation", "network", "losses", *SOLVERS, "scope", "recovery", "restarts")
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for (formulation, network), cases in networks.items():
        records = [record for case in cases for record in results["cases"][case.name]]
        losses = dict.fromkeys(case.loss.replace("_", " ") for case in cases)
        cells = [formulation, network, ", ".join(losses) + " (weighted samples, too)" * any(c.weighted for c in cases)]
        cells.append(_worst(records, lambda record: record.get("reference_gap")))
        if cells[-1] == "-" and any("reference" in record.get("differences", {}) for record in records):
            cells[-1] = "written out"
        cells += [_worst(records, lambda record, name=name: _difference(record, name)) for name in SOLVERS[1:]]
        cells += [_scopes(records), _worst(records, lambda record: record.get("recovery")), _range(records)]
        lines.append("| " + " | ".join(cells) + " |")
    counts = sorted({len(records) for records in results["cases"].values()})
    count = " to ".join(map(str, counts[:1] + counts[-1:] * (len(counts) > 1)))
    short = [f"* {name}: {missed}" for name, records in results["cases"].items() if (missed := _missed(records))]
    every = [record for records in results["cases"].values() for record in records]
    restarted = sum("restarts" in record for record in every)
    table = HEADER.format(n_problems=count, n_restarted=restarted, n_records=len(every)) + "\n".join(lines)
    return table + ("\n\n## What falls short\n\n" + "\n".join(short) if short else "") + "\n"


def _difference(record, name):
    return record.get("differences", {}).get(name)


def _scopes(records):
    """Return the scopes of the engine, or of generation where there is none, and of generation where they differ."""
    kinds = [{record.get("scopes", {}).get(name) for record in records} - {None} for name in ("engine", "generation")]
    texts = [" or ".join(sorted(kind)) for kind in kinds if kind]
    return "; ".join(dict.fromkeys(texts)) or "-"


def _range(records):
    values = [record["restarts"] for record in records if "restarts" in record]
    return f"{min(values):.0e} to {max(values):.0e}" if values else "-"


if __name__ == "__main__":
    main()
