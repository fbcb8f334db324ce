"""Losses of labels: hinge and squared hinge, the logistic loss, and the cross entropy of softmax."""

from typing import Any

import numpy as np
from scipy.special import expit, softmax, xlog1py, xlogy

from .base import DOMAIN_TOL, TINY, Clipped, Loss, largest_on_segment
from .duals import interval_in_box, project_simplices

__all__ = ["Hinge", "Logistic", "Softmax", "SquaredHinge"]

# Fraction of the way to the bounds of the dual variables that a step of Newton's method may take them.
SATURATION = 0.9


class _Labels:
    """Losses of labels -1 or 1, whose slope has the sign of -y."""

    def check_targets(self, Y: np.ndarray) -> None:
        """Raise ValueError unless the targets are one column of labels -1 and 1."""
        if Y.shape[1] != 1 or not np.isin(Y, (-1.0, 1.0)).all():
            raise ValueError(f"y must have labels -1 and 1, one column of them, for the loss {type(self).__name__}")

    def slope_bounds(self, Y: np.ndarray) -> tuple:
        """Return -1 and 0 for the label 1, and 0 and 1 for the label -1."""
        return np.where(Y > 0, -1.0, 0.0), np.where(Y > 0, 0.0, 1.0)


class Hinge(_Labels, Clipped):
    """(1 - y z)_+ for labels y = -1 or 1, with L*(T) = sum(T Y) where -w <= Y T <= 0.

    Parameters
    ----------
    sample_weight : ndarray of shape (n_samples,) or None, default=None
        Positive weights of the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.losses import Hinge
    >>> Hinge().value(np.array([[1.0], [-1.0]]), np.array([[0.25], [-3.0]]))
    0.75
    """

    smooth = False


class SquaredHinge(_Labels, Clipped):
    """1/2 (1 - y z)_+^2 for labels y = -1 or 1, with L*(T) = sum(T Y + T^2 / (2 w)) where Y T <= 0.

    Parameters
    ----------
    sample_weight : ndarray of shape (n_samples,) or None, default=None
        Positive weights of the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.losses import SquaredHinge
    >>> SquaredHinge().value(np.array([[1.0], [-1.0]]), np.array([[0.0], [-3.0]]))
    0.5
    """

    def slope_bounds(self, Y: np.ndarray) -> tuple:
        """Return -inf and 0 for the label 1, and 0 and inf for the label -1."""
        return np.where(Y > 0, -np.inf, 0.0), np.where(Y > 0, 0.0, np.inf)

    def phi_cvxpy(self, Y: np.ndarray, Z: Any) -> Any:
        """Return phi as a cvxpy expression."""
        import cvxpy as cp

        return 0.5 * cp.square(cp.pos(1.0 - cp.multiply(Y, Z)))


class Logistic(_Labels, Loss):
    """The logistic loss log(1 + exp(-y z)) for labels y = -1 or 1.

    L*(T) = sum w (q log q + (1 - q) log(1 - q)) where q = -Y T / w is in [0, 1].

    Parameters
    ----------
    sample_weight : ndarray of shape (n_samples,) or None, default=None
        Positive weights of the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.losses import Logistic
    >>> Logistic().grad(np.array([[1.0], [-1.0]]), np.array([[0.0], [0.0]]))
    array([[-0.5],
           [ 0.5]])
    """

    vanishes = False
    steepest = 0.25

    def phi(self, Y: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """Return log(1 + exp(-y z))."""
        return np.logaddexp(0.0, -Y * Z)

    def phi_grad(self, Y: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """Return -y sigmoid(-y z)."""
        return -Y * expit(-Y * Z)

    def phi_hess(self, Y: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """Return p (1 - p), p = sigmoid(z)."""
        return expit(Y * Z) * expit(-Y * Z)

    def phi_grad_inverse(self, Y: np.ndarray, S: np.ndarray) -> np.ndarray:
        """Return y log((1 - q) / q), q = -y s."""
        return Y * (np.log1p(Y * S) - np.log(-Y * S))

    def phi_conjugate(self, Y: np.ndarray, S: np.ndarray) -> np.ndarray:
        """Return q log q + (1 - q) log(1 - q), q = -y s."""
        return xlogy(-Y * S, -Y * S) + xlog1py(1.0 + Y * S, Y * S)

    def phi_cvxpy(self, Y: np.ndarray, Z: Any) -> Any:
        """Return phi as a cvxpy expression."""
        import cvxpy as cp

        return cp.logistic(-cp.multiply(Y, Z))

    def advance(self, Y: np.ndarray, Z: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return predictions with q moved by its derivative along step, at most `SATURATION` of the way to 0 or 1."""
        q, p = (np.maximum(expit(side * Y * Z), TINY) for side in (-1.0, 1.0))
        move = np.clip(-q * p * Y * step, -SATURATION * q, SATURATION * p)
        return Z - Y * (np.log1p(move / q) - np.log1p(-move / p))


class Softmax(Loss):
    """The cross entropy sum_i w_i (log sum_c exp(z_ic) - y_i'z_i) of c classes, for one-hot rows y_i.

    L*(T) = sum w P log P where the rows of P = Y + T / w are in the simplex: they sum to one and are not negative.

    Parameters
    ----------
    sample_weight : ndarray of shape (n_samples,) or None, default=None
        Positive weights of the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.losses import Softmax
    >>> Softmax().grad(np.array([[1.0, 0.0]]), np.array([[0.0, 0.0]]))  # probabilities less labels
    array([[-0.5,  0.5]])
    """

    separable = False
    vanishes = False
    steepest = 0.5

    def check_targets(self, Y: np.ndarray) -> None:
        """Raise ValueError unless the rows of the targets are one-hot."""
        if not (np.isin(Y, (0.0, 1.0)).all() and (Y.sum(axis=1) == 1).all()):
            raise ValueError("y must have a column for each class, with a 1 for the class of a sample and 0 elsewhere")

    def slope_bounds(self, Y: np.ndarray) -> tuple:
        """Return -y and 1 - y."""
        return -Y, 1.0 - Y

    def value(self, Y: np.ndarray, Z: np.ndarray | float) -> float:
        """Return L(Z)."""
        # log(1 + sum of exp(z_c - z_y) over the other classes c): no digits are lost where the loss is small
        above = Z - np.sum(Y * Z, axis=1, keepdims=True)
        most = np.maximum(np.max(above, axis=1, keepdims=True), 0.0)
        others = np.sum((1.0 - Y) * np.exp(above - most), axis=1, keepdims=True)
        return float(np.sum(self.weights * (most + np.log1p(others + np.expm1(-most)))))

    def grad(self, Y: np.ndarray, Z: np.ndarray | float) -> np.ndarray:
        """Return the gradient w (P - Y) for the probabilities P."""
        others = (1.0 - Y) * softmax(np.broadcast_to(Z, Y.shape), axis=1)
        return self.weights * (others - Y * others.sum(axis=1, keepdims=True))

    def curvature(self, Y: np.ndarray, Z: np.ndarray | float) -> np.ndarray:
        """Return the Hessians w (diag(p) - p p') of the samples, shape (n_samples, n_outputs, n_outputs)."""
        P = softmax(np.broadcast_to(Z, Y.shape), axis=1)
        H = -(self.weights * P)[:, :, None] * P[:, None, :] * (1.0 - np.eye(Y.shape[1]))
        return H - H.sum(axis=2)[:, :, None] * np.eye(Y.shape[1])  # rows sum to zero: 1 - p would lose its digits

    def curvature_root(self, Y: np.ndarray, Z: np.ndarray | float) -> np.ndarray:
        """Return B = w^(1/2) diag(s) (I - s s'), s = p^(1/2), with B B' = `curvature`, of its shape."""
        s = np.sqrt(softmax(np.broadcast_to(Z, Y.shape), axis=1))
        weighted = np.sqrt(self.weights) * s
        return weighted[:, :, None] * (np.eye(Y.shape[1]) - s[:, :, None] * s[:, None, :])

    def inverse_grad(self, Y: np.ndarray, T: np.ndarray) -> np.ndarray:
        """Return log P."""
        return np.log(Y + T / self.weights)

    def advance(self, Y: np.ndarray, Z: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return predictions with P moved by its derivative along the step, at most `SATURATION` of the way to 0 or 1.

        The mean of a row, on which P does not depend, moves with the step.
        """
        P = np.maximum(softmax(Z, axis=1), TINY)
        move = P * (step - np.sum(P * step, axis=1, keepdims=True))
        moved = Z + np.log1p(np.clip(move, -SATURATION * P, SATURATION * (1.0 - P)) / P)
        return moved + np.mean(Z + step - moved, axis=1, keepdims=True)

    def conjugate(self, Y: np.ndarray, T: np.ndarray) -> float:
        """Return L*(T)."""
        move = T / self.weights
        P = Y + move
        off = np.abs(P.sum(axis=1) - 1.0)
        if not (P >= -DOMAIN_TOL).all() or not (off <= DOMAIN_TOL * Y.shape[1]).all():
            return np.inf
        P = np.maximum(P, 0.0)
        # P log P of the label by what P is below 1: no digits are lost where the loss is small
        near = xlog1py(P, np.maximum(move, -1.0))
        return float(np.sum(self.weights * np.where(Y == 1.0, near, xlogy(P, P))))

    def project_dual(self, Y: np.ndarray, V: np.ndarray, basis: np.ndarray) -> np.ndarray:
        """Return the V nearest to a given one with rows of Y - V / w in the simplex and basis'V = 0."""
        return project_simplices(V, Y, self.weights, basis)

    def best_scale(self, Y: np.ndarray, V: np.ndarray, limit: float) -> float:
        """Return the t of [-limit, limit] that maximises D(t V), P = Y - t V / w; 0 where none is feasible."""
        lower, upper = self.domain(Y)
        low, high = interval_in_box(V, -upper, -lower, limit)
        # the rows of V sum to zero up to rounding, or no multiple is feasible
        sums = np.abs(np.sum(V, axis=1, keepdims=True)) / self.weights
        most = 0.5 * DOMAIN_TOL / max(float(np.max(sums, initial=0.0)), TINY)
        Y, rate, V = Y[V != 0], (V / self.weights)[V != 0], V[V != 0]

        def slopes(t):
            P = Y - t * rate
            return np.sum(V * (np.log(P) + 1.0)), -np.sum(V * rate / P)

        return largest_on_segment(slopes, max(low, -most), min(high, most))

    def to_cvxpy(self, Y: np.ndarray, Z: Any) -> Any:
        """Return L(Z) as a cvxpy expression, for Y and Z with two axes."""
        import cvxpy as cp

        return self._weighted_sum(cp.log_sum_exp(Z, axis=1) - cp.sum(cp.multiply(Y, Z), axis=1))
