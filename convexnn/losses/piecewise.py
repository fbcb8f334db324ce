"""The losses by name: values, gradients, conjugates. A loss sees targets and predictions, never X.

The bounds l and u define the losses that have the form described in `losses.base`. Labels y are -1 or 1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..utils.validation import check_choice, check_numeric, check_size, check_sizes, shown
from .base import Loss
from .entropy import Logistic, Softmax
from .fits import fit_squares

__all__ = [
    "LOSSES",
    "Absolute",
    "Hinge",
    "Huber",
    "Logistic",
    "Loss",
    "Quantile",
    "Softmax",
    "Squared",
    "SquaredHinge",
    "make_loss",
]


class Squared(Loss):
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

    def inverse_grad(self, Y: np.ndarray, T: np.ndarray) -> np.ndarray:
        """Return predictions Z with grad L(Z) = T."""
        return Y + T / self.weights

    def fit_free(self, Y: np.ndarray, basis: np.ndarray, offset: np.ndarray | float = 0.0) -> np.ndarray:
        """Return the coefficients of the (weighted) least squares fit."""
        return fit_squares(Y, basis, offset, self.sample_weight)

    def to_cvxpy(self, Y: np.ndarray, Z: Any) -> Any:
        """Return L(Z) as a cvxpy expression."""
        import cvxpy as cp

        return 0.5 * (cp.sum_squares(Z - Y) if self.sample_weight is None else self._sum(cp.square(Z - Y)))


@dataclass(frozen=True, eq=False)
class Huber(Loss):
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

    def _box(self, Y):
        return -self.delta, self.delta

    def to_cvxpy(self, Y: np.ndarray, Z: Any) -> Any:
        """Return L(Z) as a cvxpy expression."""
        import cvxpy as cp

        return 0.5 * self._sum(cp.huber(Z - Y, self.delta))


@dataclass(frozen=True, eq=False)
class Quantile(Loss):
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

    def _box(self, Y):
        return -self.quantile, 1.0 - self.quantile


class Absolute(Loss):
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

    def _box(self, Y):
        return -1.0, 1.0


class SquaredHinge(Loss):
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

    def _box(self, Y):
        return np.where(Y > 0, -np.inf, 0.0), np.where(Y > 0, 0.0, np.inf)

    def to_cvxpy(self, Y: np.ndarray, Z: Any) -> Any:
        """Return L(Z) as a cvxpy expression."""
        import cvxpy as cp

        return 0.5 * self._sum(cp.square(cp.pos(1.0 - cp.multiply(Y, Z))))


class Hinge(Loss):
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

    def _box(self, Y):
        return np.where(Y > 0, -1.0, 0.0), np.where(Y > 0, 0.0, 1.0)


LOSSES = {
    "squared_error": Squared,
    "huber": Huber,
    "quantile": Quantile,
    "absolute_error": Absolute,
    "log_loss": Logistic,
    "hinge": Hinge,
    "squared_hinge": SquaredHinge,
    "softmax": Softmax,
}


def make_loss(name: str, sample_weight: ArrayLike | None = None, *, delta: float = 1.0, quantile: float = 0.5) -> Loss:
    """Return the loss of a name.

    Parameters
    ----------
    name : str
        A key of `LOSSES`, such as "squared_error" or "squared_hinge".
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Positive weights of the samples.
    delta : float, default=1.0
        Of `Huber`, above 0; the other losses ignore it.
    quantile : float, default=0.5
        Of `Quantile`, in (0, 1); the other losses ignore it.

    Returns
    -------
    Loss
        The loss.

    Raises
    ------
    ValueError
        If a parameter is not of the values above.
    TypeError
        If `delta` or `quantile` is not a number.

    Examples
    --------
    >>> from convexnn.losses import make_loss
    >>> make_loss("huber", delta=2.0).delta
    2.0
    """
    if name == "interpolation":
        raise ValueError('"interpolation" is not a loss: networks that fit exactly are for minimum_norm_interpolation')
    check_choice("name", name, LOSSES)
    if sample_weight is not None:
        check_numeric("sample_weight", sample_weight)
        sample_weight = np.asarray(sample_weight, dtype=float)
        if sample_weight.ndim != 1 or not (np.isfinite(sample_weight) & (sample_weight > 0)).all():
            raise ValueError(f"sample_weight must be a vector of finite numbers above 0; got {sample_weight!r}")
        check_sizes("sample_weight", sample_weight)
    options = {}
    if name == "huber":
        options["delta"] = check_size("delta", delta)
    if name == "quantile":
        options["quantile"] = check_size("quantile", quantile)
        if options["quantile"] >= 1:
            raise ValueError(f"quantile must be a number above 0 and below 1; got {shown(quantile)}")
    return LOSSES[name](sample_weight=sample_weight, **options)
