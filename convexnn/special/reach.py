"""What networks of given patterns, or of all, can interpolate: a linear space.

Blocks of both signs share a cell, so their fits are all D_i X u, u in R^d.
"""

import numpy as np
from scipy.linalg import qr

from ..model.program import Program

__all__ = ["ADVICE", "check_reachable"]

ADVICE = "rows of X that are equal, or parallel without biases, need y to match; else more patterns or biases may do"
# Columns that are dependent, digits in which directions of rows are the same, and distances of Y from a space it is in.
RANK_TOL, SAME_DIGITS, REACH_TOL = 1e-12, 13, 1e-11


def check_reachable(program: Program) -> None:
    """Raise ValueError if no network of the patterns of `program`, or of all where it has none, fits the targets."""
    C = (_of_patterns if len(program.design.arrangements) else _of_lines)(program)
    M = np.hstack([C / (np.linalg.norm(C, axis=0).max(initial=0.0) or 1.0), program.free_basis[0]])
    Q, R, _ = qr(M, mode="economic", pivoting=True)
    Q = Q[:, np.abs(np.diagonal(R)) > RANK_TOL * np.abs(R).max()]
    distance = np.linalg.norm(program.Y - Q @ (Q.T @ program.Y)) / np.linalg.norm(program.Y)
    if distance > REACH_TOL:
        raise ValueError(f"y cannot be interpolated: the smallest relative residual is {distance:.3g}; {ADVICE}")


def _of_patterns(program):
    """Return random fits of given patterns, which span all of them."""
    design, rng = program.design, np.random.default_rng(0)
    blocks, scale = np.arange(len(design.arrangements)), np.linalg.norm(design.X, axis=0)[:, None]
    W = rng.standard_normal((len(blocks), len(scale), 2 * len(program.Y) + 10)) / np.where(scale > 0, scale, 1.0)
    return design.matvec(W, blocks)


def _of_lines(program):
    """Return columns that span the fits of all patterns: for each line, the sums of |x| over its rows, and S X.

    act(t) = ((1 - slope) |t| + (1 + slope) t) / 2, and |x.u| of different lines are independent functions of u.
    """
    design = program.design
    rows = design.X * (1.0 if design.units is None else design.units)
    lengths = np.linalg.norm(rows, axis=1)
    units = rows / np.where(lengths > 0, lengths, 1.0)[:, None]
    first = np.argmax(np.abs(units) > 0.5 * np.abs(units).max(axis=1, keepdims=True), axis=1)
    units = units * np.sign(units[np.arange(len(units)), first])[:, None]
    lines = np.unique(np.round(units, SAME_DIGITS) + 0.0, axis=0, return_inverse=True)[1].ravel()
    samples = np.arange(len(rows)) // design.n_patches
    sums = np.zeros((len(program.Y), lines.max() + 1))
    np.add.at(sums, (samples, lines), lengths)
    return sums if design.slope == -1.0 else np.hstack([sums, design.pool(rows)])
