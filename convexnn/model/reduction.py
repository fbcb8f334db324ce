"""Reductions: equal problems that are easier to solve, and the way there and back.

Of samples, those that are equal in X and y are one, of the sum of their weights: the objective is the same for every
network, so a weight of k is k copies of a sample, to the last digit.

Of a program, every reduction is one change of variables, for the row space of X with orthonormal basis B, what the free
fit F beta_0 leaves of Y, an orthonormal basis F M of the free columns, and units:

    X' = X B / unit_x     Y' = (Y - F beta_0) / unit_y     W = (unit_y / unit_x) B W'     beta = beta_0 + unit_y M beta'

with the objective in units of unit_loss. Units are powers of two, which cost no digits. Free hidden biases, the last
coordinate, are not rotated, and get a unit of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.linalg import block_diag

from ..geometry.arrangements import Arrangements, unique_bits
from .program import Program

__all__ = ["Reduction", "Samples", "bias_stages"]

EPS = float(np.finfo(float).eps)
# The unit t of free biases, relative to the root of the relative gap: t^2 / 2 is what it may cost of the bound.
BIAS_FRACTION = 0.3
# Tolerances that come before small ones.
STAGES = (1e-1, 1e-3, 1e-5)


@dataclass(frozen=True, eq=False)
class Reduction:
    """An equal `program` in the variables of the module docstring, and the way there and back.

    `unit_alpha` is that of alpha, `unit_bias` that of the last coordinate of blocks, beside the others.
    """

    program: Program
    basis: np.ndarray
    offset: np.ndarray
    free_map: np.ndarray
    unit_x: float
    unit_y: float
    unit_bias: float
    unit_loss: float
    unit_kappa: float

    @classmethod
    def of(cls, whole: Program, beta: np.ndarray, rank: int | None = None, tol: float | None = None) -> Self:
        """Return the reduction of a program whose free fit is beta, which is taken away where the loss allows it.

        `rank` leading singular vectors of X are kept (None: all). Free hidden biases get the largest unit that a
        relative gap of `tol` allows (None: their own).
        """
        unit = whole.bias_unit and max(whole.bias_unit, BIAS_FRACTION * np.sqrt(tol or 0.0))
        unit_bias = whole.bias_unit / unit if unit else 1.0
        basis, neglected = _row_space(whole, rank)
        X, units = whole.design.X if len(basis) == basis.shape[1] else whole.design.X @ basis, whole.design.units
        if unit:
            units = np.append(np.ones(X.shape[1] - 1), unit)
        unit_x = _power_of_two(X, np.ones(X.shape[1]) if units is None else units * np.append(units[:-1], unit_bias))
        X = X / unit_x
        X[:, -1] *= unit_bias
        free, free_map = whole.free_basis
        offset = beta if whole.loss.translation_invariant else np.zeros_like(beta)
        Y = whole.Y - whole.free @ offset
        unit_y = 1.0 if whole.loss.degree is None else _power_of_two(Y)
        weights, loss, unit_loss = whole.loss.sample_weight, whole.loss, unit_y ** (whole.loss.degree or 0)
        if weights is not None:
            unit_weight = _nearest_power(weights.max())
            loss, unit_loss = replace(loss, sample_weight=weights / unit_weight), unit_weight * unit_loss
        program = replace(
            whole.with_design(replace(whole.design, X=X, units=units)),
            Y=Y / unit_y,
            loss=loss,
            alpha=whole.alpha * unit_y / unit_x / unit_loss,
            free=free,
            neglected=neglected / unit_x,
            bias_unit=unit,
        )
        if beta is vars(whole).get("free_fit"):  # then it is known here, too
            vars(program)["free_fit"] = free.T @ (whole.free @ (beta - offset)) / unit_y
        unit_kappa = unit_loss * unit_x / unit_y * program.relaxation / whole.relaxation
        return cls(program, basis, offset, free_map, unit_x, unit_y, unit_bias, unit_loss, unit_kappa)

    @property
    def unit_w(self) -> float:
        """What blocks of `program` are in units of."""
        return self.unit_y / self.unit_x

    @property
    def unit_alpha(self) -> float:
        """What the alpha of `program` is in units of."""
        return self.unit_loss / self.unit_w

    def apply(self, W: np.ndarray) -> np.ndarray:
        """Return blocks of the whole program as blocks of `program`."""
        W = np.einsum("bdc,dr->brc", W, self.basis) / self.unit_w
        W[:, -1] /= self.unit_bias
        return W

    def invert(self, W: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return blocks and free coefficients of `program` as those of the whole."""
        W = W * self.unit_w
        W[:, -1] *= self.unit_bias
        return np.einsum("brc,dr->bdc", W, self.basis), self.offset + self.free_map @ beta * self.unit_y

    def invert_dual(self, V: np.ndarray) -> np.ndarray:
        """Return a dual vector of `program` as one of the whole: a gradient of the loss with respect to predictions."""
        return V * (self.unit_loss / self.unit_y)

    def invert_kappa(self, norm: float) -> float:
        """Return a bound of kappa of a dual vector of `program` as one of the whole, in whose unit biases are."""
        return norm * self.unit_kappa


def bias_stages(program, W_init, tol):
    """Return the falling list of tolerances to solve a program to one after the other, the last of them `tol`.

    Free hidden biases in small units are stiff: coarser units, which loose tolerances allow, are solved first. Only
    `tol` where there are no such biases, or blocks W_init to start from.
    """
    if not program.bias_unit or W_init.any():
        return [tol]
    return [stage for stage in STAGES if stage > tol] + [tol]


@dataclass(frozen=True, eq=False)
class Samples:
    """Distinct samples.

    X (n_distinct, n_features), Y (n_distinct, n_outputs) and `weights` (None: ones); `place` (n_samples,) is the index
    of each given sample among them, None where all are distinct.
    """

    X: np.ndarray
    Y: np.ndarray
    weights: np.ndarray | None
    place: np.ndarray | None = None

    @classmethod
    def distinct(cls, X: np.ndarray, Y: np.ndarray, weights: np.ndarray | None) -> Self:
        """Return samples without copies; where there are weights or copies, in an order that is theirs alone.

        That order does not depend on the one given. `weights` are above zero, None is ones; those of copies are added
        up.
        """
        rows = np.empty((len(X), X.shape[1] + Y.shape[1]))
        np.add(X, 0.0, out=rows[:, : X.shape[1]])  # -0.0 is 0.0
        np.add(Y, 0.0, out=rows[:, X.shape[1] :])
        keys = rows.view(f"V{rows.itemsize * rows.shape[1]}").ravel()
        first, place = np.unique(keys, return_index=True, return_inverse=True)[1:]
        totals = np.bincount(place, weights)
        if len(first) == len(X) and (totals == 1).all():
            return cls(X, Y, None)
        return cls(X[first], Y[first], None if (totals == 1).all() else totals.astype(float), place)

    def apply(self, arrangements):
        """Return given patterns of all samples as those of the distinct ones; what else was asked for as it is."""
        if self.place is None or not isinstance(arrangements, Arrangements) or arrangements.n_samples % len(self.place):
            return arrangements  # those of other data are an error where the program is built
        n_patches = arrangements.n_samples // len(self.place)
        first = np.unique(self.place, return_index=True)[1]
        bits = np.packbits(arrangements.patterns()[:, _rows(first, n_patches)], axis=1)
        kept = np.sort(unique_bits(bits)[1])
        gates, n_rows = arrangements.gates[kept], n_patches * len(first)
        return replace(arrangements, bits=bits[kept], gates=gates, n_samples=n_rows)

    def invert(self, arrangements):
        """Return patterns of the distinct samples as those of all."""
        if self.place is None:
            return arrangements
        n_patches = arrangements.n_samples // len(self.X)
        bits = np.packbits(arrangements.patterns()[:, _rows(self.place, n_patches)], axis=1)
        return replace(arrangements, bits=bits, n_samples=n_patches * len(self.place))

    def invert_dual(self, dual, weights):
        """Return a dual vector of the distinct samples as one of all: copies share it by their weights (None: ones)."""
        if self.place is None:
            return dual
        weights = np.ones(len(self.place)) if weights is None else weights
        shares = weights / np.bincount(self.place, weights)[self.place]
        return shares[:, None] * dual[self.place]


def _row_space(program, most):
    """Return an orthonormal basis (n_features, rank) of the row space of X, and the norm of what it leaves out.

    With `most` only that many of the leading singular vectors are kept, and the program has a higher optimum. What is
    left out is then the largest singular value of the others, and rounding of X where the rank is kept. Coordinates
    that the penalty depends on are kept, and so is the column of free hidden biases.
    """
    X = program.design.X
    if not program.penalty.rotation_invariant:
        return np.eye(X.shape[1]), program.neglected
    n_biases = int(program.architecture.hidden_bias == "free")
    X = X[:, : X.shape[1] - n_biases]
    scale = np.linalg.norm(X, axis=0)
    scale[scale == 0] = 1.0
    relative = np.linalg.svd(X / scale, compute_uv=False)  # a small unit is no reason to drop a column
    rank = int(np.count_nonzero(relative > max(X.shape) * EPS * relative[0]))
    kept = max(rank if most is None else min(rank, most), 1)
    if kept == X.shape[1]:
        return np.eye(program.design.X.shape[1]), program.neglected
    _, singular, Vt = np.linalg.svd(X, full_matrices=False)
    neglected = float(singular[kept]) if kept < len(singular) else 0.0
    neglected += 4 * (X.shape[1] + 4) * EPS * float(np.linalg.norm(X))  # of the singular vectors, and of products
    return block_diag(Vt[:kept].T, np.eye(n_biases)), neglected


def _power_of_two(values, sizes=1.0):
    """Return the power of two nearest to the root mean square of values * sizes, 1 for zeros."""
    squares = np.sum(np.einsum("kj,kj->j", values, values) * np.square(sizes))
    return _nearest_power(np.sqrt(squares / values.size)) if squares > 0 else 1.0


def _nearest_power(size):
    """Return the power of two nearest to a size: to divide by it costs no digits."""
    return float(2.0 ** np.round(np.log2(size)))


def _rows(index, n_patches):
    """Return the rows of samples, of which each has `n_patches`."""
    return (index[:, None] * n_patches + np.arange(n_patches)).ravel()
