"""The optimum over all networks of one feature with free hidden biases, by the lasso on splines (`spline`).

It is exact and proved, and takes milliseconds where generation takes seconds. Its kinks become the blocks of a program
over the patterns of its neurons, so that it is a solution like those of the other solvers.
"""

import time
from dataclasses import replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..geometry.arrangements import Arrangements, unique_bits
from ..losses.piecewise import Squared
from ..model.free_columns import proved_value
from ..model.program import Solution
from ..model.summary import summary
from ..solvers.generation import solve_generation
from ..utils.progress import Progress
from ..utils.quiet import ignoring
from .spline import solve_spline

__all__ = ["is_spline", "solve_one_feature"]

# Changes of slope, relative to that of the targets over the range of the feature, that are rounding.
ROUNDING = 1e-13


def is_spline(program):
    """Return whether `solve_one_feature` solves a program: one feature, free hidden biases, ReLUs, squared loss.

    Several outputs must have separate penalties (not `coupled`). The patterns are not looked at.
    """
    architecture = program.architecture
    plain = architecture.activation == "relu" and architecture.hidden_bias == "free" and architecture.patches is None
    return plain and program.design.X.shape[1] == 2 and isinstance(program.loss, Squared) and not program.coupled


def solve_one_feature(program, *, tol=1e-6, verbose=0, **options):
    """Solve the problem of a program for which `is_spline` holds over all activation patterns, whatever its own.

    Where rounding keeps the spline from being proved (an alpha so small that it goes through all points), also run
    `solve_generation`, which takes the `options`, and return the better solution. The scope of the spline is "global".
    """
    with Progress(verbose) as progress:
        solution = _as_spline(program, tol)
        (record,) = solution.history
        progress.update(record)
        facts = {"alpha": program.alpha, "time": record["time"], "n_neurons": record["n_blocks"]}
        progress.close(summary(solution.certificate, tol, solution.status, **facts))
    if not solution.converged:
        other = solve_generation(program, tol=tol, verbose=verbose, **options)
        if not solution.certificate.objective < other.certificate.objective:
            return other
    return solution


def _as_spline(program, tol):
    """Fit the spline and return it as a solution over the patterns of its kinks."""
    start = time.perf_counter()
    x, unit = program.design.X[:, 0], program.design.X[0, 1]  # its column of biases is constant
    with ignoring(ConvergenceWarning):
        spline = solve_spline(x, program.Y, program.alpha, program.loss, program.architecture.skip, tol)
    patterns, U, signs, outputs = [], [], [], []
    rounding = ROUNDING * np.abs(program.Y).max() / (np.ptp(x) or 1.0)
    for side, coefficients in ((1.0, spline.right), (-1.0, spline.left)):
        knot, output = np.nonzero(np.abs(coefficients) > rounding)
        sizes, knots = coefficients[knot, output], spline.knots[knot]
        patterns.append(side * (x - knots[:, None]) >= 0)
        U.append(side * np.abs(sizes)[:, None] * np.column_stack([np.ones_like(knots), -knots / unit]))
        signs.append(np.sign(sizes))
        outputs.append(output)
    bits, _, index = unique_bits(np.packbits(np.concatenate(patterns), axis=1))
    over = program.over(Arrangements(bits, np.zeros((len(bits), 0)), len(x)))
    W = np.zeros(over.block_shape)
    blocks = index + len(bits) * (np.concatenate(signs) < 0)
    np.add.at(W, (blocks, slice(None), np.concatenate(outputs)), np.concatenate(U))
    Q, M = over.free_basis
    beta = M @ over.loss.fit_free(over.Y, Q, over.design.matvec(W))
    steepness = np.ptp(x) * np.sqrt(len(x)) / program.alpha  # x is centred, and the free columns are not
    bound = proved_value(program.loss, program.Y, program.free_columns, spline.V, steepness)
    known = replace(spline.certificate, lower_bound=min(spline.certificate.lower_bound, bound))
    certificate = known.of(over.objective(W, beta))
    record = {"time": time.perf_counter() - start, "n_blocks": int(np.count_nonzero(W.any(axis=(1, 2))))}
    record |= {name: getattr(certificate, name) for name in ("objective", "lower_bound", "gap", "scope")}
    Z, converged = over.predict(W, beta), certificate.gap <= tol
    return Solution(over, W, beta, Z, certificate, 1, converged, spline.status, [record], spline.V).trimmed()
