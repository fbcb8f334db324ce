"""What rounding costs: dual vectors that are exactly feasible, and how far objectives are from their exact values.

A lower bound needs F'V = 0 without any rounding: a coefficient of F costs nothing, so that a component of V along F of
any size makes the bound that of other networks. V is a vector of doubles and never quite orthogonal. So a dual vector
that is exactly feasible is shown to be near: dV with F'(V + dV) = 0 and V + dV in the domain, from products F'V that
are exact (`exact_products`). What lies between V and V + dV is charged to the bound.

Columns that are dependent up to rounding are told apart in rational arithmetic. Where they are dependent exactly, those
of a basis have the same range. Where they are not, a direction that numerical rank leaves out is one that huge
coefficients can reach, and nothing is proved: `resolved` is False.

A prediction is a sum of products. Each operation rounds to a part eps of what it returns, so that the error of a sum is
at most eps times the number of operations that an entry goes through, times the same sum of the absolute values: the
prediction of the network of the absolute weights at the absolute inputs. Large weights that cancel make it large.
"""

from dataclasses import fields, replace
from functools import cached_property

import numpy as np
from scipy.linalg import qr

from ..utils.deadline import TimeIsUp
from ..utils.exact import are_multiples, exact_products, in_span, powers_of_two

__all__ = ["POINT_TOL", "FreeColumns", "dual_domain", "loss_rounding", "objective_rounding", "proved_value"]

EPS = float(np.finfo(float).eps)
# Entries of a dual vector are rounded to this fraction of their sizes; changes of it are known to CHANGE_TOL of theirs.
POINT_TOL, CHANGE_TOL = 4 * EPS, 0.01
# Singular values of columns of unit length that are well above the rounding of a decomposition, times n.
RESOLVED = 64.0
# Columns are stiff where the least singular value is this fraction of the largest.
STIFF = 1e-6
# Times that coordinates which would leave the domain are set aside.
ROUNDS = 20


class FreeColumns:
    """The free columns F (n_samples, n_free) of a program."""

    def __init__(self, F):
        self.F = F

    @cached_property
    def basis(self):
        """An orthonormal basis Q (n_samples, rank) of the columns, and M (n_free, rank) such that Q = F M."""
        if self.F.shape[1] == 0:
            return self.F, np.zeros((0, 0))
        U, singular, Vt = np.linalg.svd(self.F / self._scale, full_matrices=False)
        kept = singular > len(U) * EPS * singular[0]
        return U[:, kept], Vt[kept].T / singular[kept] / self._scale[:, None]

    @property
    def resolved(self):
        """Whether the basis spans the columns but for rounding: those left out depend on it exactly."""
        try:
            return self._resolved
        except TimeIsUp:  # then it is not known
            return False

    @cached_property
    def _resolved(self):
        rank, own = self.basis[0].shape[1], self._independent
        if rank == 0:
            return not self.F.any()
        if np.linalg.svd(self._unit(own), compute_uv=False)[-1] <= RESOLVED * len(self.F) * EPS:
            return False
        others = np.setdiff1d(np.arange(self.F.shape[1]), own)
        others = [k for k in others if not any(are_multiples(self.F[:, [k]], self.F[:, [j]])[0] for j in own)]
        return not others or in_span(self.F[:, own], self.F[:, others])

    @cached_property
    def is_stiff(self):
        """Whether the columns are so near to dependent that the basis spans them to a few digits only."""
        if self.F.shape[1] == 0:
            return False
        singular = np.linalg.svd(self.F / self._scale, compute_uv=False)
        kept = singular > len(self.F) * EPS * singular[0]
        return bool(singular[kept].min(initial=np.inf) <= STIFF * singular[0])

    def correction(self, V, lower, upper):
        """Return a change dV that makes V exactly feasible: F'(V + dV) = 0, within `lower` and `upper`.

        Its entries are right to a small fraction of the largest. None where none was found, or columns are not
        `resolved`.
        """
        change = np.zeros_like(V)
        if not self.resolved:
            return None
        columns = self._unit(self._independent)
        if columns.shape[1] == 0:
            return change
        for c, residual in enumerate(exact_products(columns, V).T):
            moved = _least_change(columns, -residual, lower[:, c] - V[:, c], upper[:, c] - V[:, c])
            if moved is None:
                return None
            change[:, c] = moved
        return change

    @cached_property
    def _scale(self):
        """Powers of two near the lengths of the columns, so that scaling is exact."""
        return powers_of_two(np.linalg.norm(self.F, axis=0))

    @cached_property
    def _independent(self):
        """Columns that are a basis, as many as the numerical rank."""
        rank = self.basis[0].shape[1]
        if not rank:  # of nothing qr makes a square of the number of samples
            return np.zeros(0, int)
        return np.sort(qr(self.F / self._scale, mode="r", pivoting=True)[1][:rank])

    def _unit(self, columns):
        return self.F[:, columns] / self._scale[columns]


def dual_domain(loss, Y):
    """Return lower and upper bounds of the entries of V, a little within the exact ones of the domain of the dual.

    They have the shape of Y, and may be infinite.
    """
    lower, upper = (np.broadcast_to(bound, Y.shape) for bound in loss.domain(Y))
    return -upper * (1 - POINT_TOL), -lower * (1 - POINT_TOL)


def proved_value(loss, Y, free_columns, V, steepness):
    """Return the dual value of an exactly feasible vector near V, or less: a lower bound of the optimum.

    V has kappa(V) <= alpha, and need not be quite orthogonal to F; kappa(V + dV) / alpha exceeds kappa(V) / alpha by at
    most `steepness` |dV|. Rounding of the value is charged. 0, which no objective is below, where no such vector is
    near.
    """
    lower, upper = dual_domain(loss, Y)
    inside = np.clip(V, lower, upper)
    change = free_columns.correction(inside, lower, upper)
    if change is None:
        return 0.0
    moved = np.linalg.norm(inside - V) + (1 + CHANGE_TOL) * np.linalg.norm(change)
    point = (inside + change) / (1.0 + POINT_TOL + steepness * moved)
    if not loss.clipped:
        return max(-loss.conjugate(Y, -point) - loss.conjugate_error(Y, -point, change), 0.0)
    squares = 0.5 * loss.smooth * np.sum(point * point / loss.weights)
    linear = exact_products(point.reshape(-1, 1), Y.reshape(-1, 1))[0, 0]
    slopes = np.abs(Y) + loss.smooth * np.abs(point / loss.weights)
    rounding = np.sum(slopes * (POINT_TOL * np.abs(point) + CHANGE_TOL * np.abs(change).max(initial=0.0)))
    rounding += POINT_TOL * (len(Y) * squares + abs(linear))
    return max(float(linear - squares - rounding), 0.0)


def objective_rounding(network, X, Y, alpha, loss):
    """Return a bound of the rounding error of a network's objective."""
    sizes = np.reshape(_absolute(network).predict(np.abs(X)), Y.shape)
    error = EPS * (X.shape[1] + network.W1.shape[1] + 8) * (sizes + np.abs(Y))
    moved = loss_rounding(loss, Y, np.reshape(network.predict(X), Y.shape), error)
    value, decay = network.objective(X, Y, alpha, loss), alpha * network.weight_decay()
    return float(moved + EPS * ((8 + np.log2(len(Y))) * value + (X.shape[1] + 8) * decay))


def loss_rounding(loss, Y, Z, error):
    """Return a bound of how far the loss at predictions Z may be from that at the exact ones.

    `error`, of the shape of Z, bounds the errors of the predictions.
    """
    if loss.smooth:
        return float(np.sum(np.abs(loss.grad(Y, Z)) * error) + 0.5 * loss.smoothness * np.sum(error**2))
    return float(np.sum(np.maximum(*map(np.abs, loss.domain(Y))) * error))


def _least_change(columns, wanted, lower, upper):
    """Return the shortest x with columns'x = wanted, nearly, within bounds; None where there is none."""
    if not wanted.any():
        return np.zeros(len(columns))
    inside = np.ones(len(columns), bool)
    for _ in range(ROUNDS):
        U, singular, Vt = np.linalg.svd(columns[inside], full_matrices=False)
        if len(singular) < columns.shape[1] or singular[-1] <= RESOLVED * len(columns) * EPS:
            return None
        change = np.zeros(len(columns))
        change[inside] = U @ (Vt @ wanted / singular)
        outside = inside & ((change < 0.5 * lower) | (change > 0.5 * upper))
        if not outside.any():
            return change
        inside &= ~outside
    return None


def _absolute(network):
    """Return the network of absolute weights, whose neurons are all active."""
    names = {"W1", "b1", "W2", "b2", "skip", "U"} & {field.name for field in fields(network)}
    changed = {name: None if getattr(network, name) is None else np.abs(getattr(network, name)) for name in names}
    if network.gates is not None:
        changed |= {"activation": "relu", "gates": None}
    changed["W2"] = changed["W2"] * max(1.0, abs(network.slope))
    return replace(network, **changed)
