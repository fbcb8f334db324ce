"""Two-layer networks with a polynomial activation of degree two, f(x) = sum_j act(x.w_j) a_j + b_0.

They are trained by `convexnn.special.polynomial`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..losses.piecewise import Loss
from ..utils.validation import check_array, check_positive

__all__ = ["PolynomialNetwork"]


@dataclass(frozen=True, eq=False)
class PolynomialNetwork:
    """A network f(x) = act(x W1) W2 + b2 with act(t) = a t^2 + b t + c.

    Parameters
    ----------
    W1 : ndarray of shape (n_features, n_neurons)
        Hidden weights, columns of length one.
    W2 : ndarray of shape (n_neurons, n_outputs)
        Output weights.
    b2 : ndarray of shape (n_outputs,)
        Output biases.
    coefficients : tuple of float
        (a, b, c).

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.special.polynomial import PolynomialNetwork
    >>> net = PolynomialNetwork(np.array([[1.0], [0.0]]), np.array([[2.0]]), np.zeros(1), (1.0, 0.0, 0.0))
    >>> net.predict([[3.0, 5.0]]), net.penalty()
    (array([18.]), 2.0)
    """

    W1: np.ndarray
    W2: np.ndarray
    b2: np.ndarray
    coefficients: tuple

    @property
    def n_neurons(self) -> int:
        """Number of hidden neurons."""
        return self.W1.shape[1]

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict the outputs of inputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_outputs) for several outputs
            Predictions.

        Raises
        ------
        ValueError
            If X is not finite or has another number of features.
        """
        Z = self.outputs(X)
        return Z[:, 0] if Z.shape[1] == 1 else Z

    def penalty(self) -> float:
        """Return sum_j |a_j|_1, over all outputs."""
        return float(np.abs(self.W2).sum())

    def objective(self, X: ArrayLike, Y: ArrayLike, alpha: float, loss: Loss) -> float:
        """Compute the training objective L(f(X)) + alpha sum_j |a_j|_1.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
        Y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        alpha : float
            Regularisation strength, above 0.
        loss : object
            The loss L, of `convexnn.losses`.

        Returns
        -------
        float
            The objective; with the squared loss in the squared unit of Y.
        """
        Z = self.outputs(X)
        Y = np.asarray(Y, dtype=np.float64).reshape(Z.shape)
        return loss.value(Y, Z) + check_positive("alpha", alpha) * self.penalty()

    def outputs(self, X: ArrayLike) -> np.ndarray:
        """Return the outputs as `predict` does, of shape (n_samples, n_outputs) always."""
        X = check_array(X, input_name="X")
        if X.shape[1] != len(self.W1):
            raise ValueError(f"X must have {len(self.W1)} features, as the network; got {X.shape[1]}")
        a, b, c = self.coefficients
        T = X @ self.W1
        return ((a * T + b) * T + c) @ self.W2 + self.b2
