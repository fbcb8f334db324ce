"""Losses of numbers: squared, Huber, absolute and quantile. All are `convexnn.losses.base.Clipped`."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .base import Clipped

__all__ = ["Absolute", "Huber", "Quantile", "Squared"]


class Squared(Clipped):
    """Half the sum of squared errors, L(Z) = 1/2 sum w (Z - Y)^2, with L*(T) = sum(T Y + T^2 / (2 w)) for all T.

    Parameters
    ----------
    sample_weight : ndarray of shape (n_samples,) or None, default=None
        Positive weights of the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.losses import Squared
    >>> Squared().value(np.array([[1.0], [2.0]]), np.array([[0.0], [4.0]]))
    2.5
    """

    translation_invariant = True
    degree = 2
    invertible = True

    def fit_free(self, Y: np.ndarray, basis: np.ndarray, offset: np.ndarray | float = 0.0) -> np.ndarray:
        """Return the coefficients of the (weighted) least squares fit, refined once."""
        if self.sample_weight is None:
            beta = basis.T @ (Y - offset)
            return beta + basis.T @ (Y - offset - basis @ beta)
        root = np.sqrt(self.weights)
        beta = np.linalg.lstsq(root * basis, root * (Y - offset), rcond=None)[0]
        return beta + np.linalg.lstsq(root * basis, root * (Y - offset - basis @ beta), rcond=None)[0]

    def to_cvxpy(self, Y: np.ndarray, Z: Any) -> Any:
        """Return L(Z) as a cvxpy expression."""
        import cvxpy as cp

        return 0.5 * (cp.sum_squares(Z - Y) if self.sample_weight is None else self._weighted_sum(cp.square(Z - Y)))


@dataclass(frozen=True, eq=False)
class Huber(Clipped):
    """Squared to |z - y| = delta and linear beyond, with L*(T) = sum(T Y + T^2 / (2 w)) where |T| <= delta w.

    Parameters
    ----------
    delta : float, default=1.0
        Where the loss changes from r^2 / 2 to delta (|r| - delta / 2), in units of y.
    sample_weight : ndarray of shape (n_samples,) or None, default=None
        Positive weights of the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.losses import Huber
    >>> Huber(0.5).grad(np.array([[0.0], [0.0]]), np.array([[0.25], [8.0]]))
    array([[0.25],
           [0.5 ]])
    """

    delta: float = 1.0

    translation_invariant = True

    def slope_bounds(self, Y: np.ndarray) -> tuple:
        """Return -delta and delta."""
        return -self.delta, self.delta

    def phi_cvxpy(self, Y: np.ndarray, Z: Any) -> Any:
        """Return phi as a cvxpy expression."""
        import cvxpy as cp

        return 0.5 * cp.huber(Z - Y, self.delta)


@dataclass(frozen=True, eq=False)
class Quantile(Clipped):
    """The pinball loss tau (y - z)_+ + (1 - tau) (z - y)_+, with L*(T) = sum(T Y) where -tau w <= T <= (1 - tau) w.

    Parameters
    ----------
    quantile : float, default=0.5
        The quantile tau of y given x that is fitted, in (0, 1).
    sample_weight : ndarray of shape (n_samples,) or None, default=None
        Positive weights of the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.losses import Quantile
    >>> Y, Z = np.array([[0.0]]), np.array([[1.0]])
    >>> Quantile(0.75).value(Y, -Z), Quantile(0.75).value(Y, Z)  # below the target is three times as bad
    (0.75, 0.25)
    """

    quantile: float = 0.5

    smooth = False
    translation_invariant = True
    degree = 1

    def slope_bounds(self, Y: np.ndarray) -> tuple:
        """Return -tau and 1 - tau."""
        return -self.quantile, 1.0 - self.quantile


class Absolute(Clipped):
    """The absolute error |z - y|, with L*(T) = sum(T Y) where |T| <= w.

    Parameters
    ----------
    sample_weight : ndarray of shape (n_samples,) or None, default=None
        Positive weights of the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.losses import Absolute
    >>> Absolute().value(np.array([[1.0], [2.0]]), np.array([[0.0], [4.0]]))
    3.0
    """

    smooth = False
    translation_invariant = True
    degree = 1

    def slope_bounds(self, Y: np.ndarray) -> tuple:
        """Return -1 and 1."""
        return -1.0, 1.0
