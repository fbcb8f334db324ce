"""Two-layer networks with a polynomial activation of degree two, f(x) = sum_j act(x.w_j) a_j + b_0.

They are trained by `convexnn.special.polynomial`.
"""

from dataclasses import dataclass

import numpy as np

from .base import BaseNetwork

__all__ = ["PolynomialNetwork"]


@dataclass(frozen=True, eq=False)
class PolynomialNetwork(BaseNetwork):
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
    >>> from convexnn.networks.polynomial_network import PolynomialNetwork
    >>> net = PolynomialNetwork(np.array([[1.0], [0.0]]), np.array([[2.0]]), np.zeros(1), (1.0, 0.0, 0.0))
    >>> net.predict([[3.0, 5.0]]), net.penalty()
    (array([18.]), 2.0)
    """

    W1: np.ndarray
    W2: np.ndarray
    b2: np.ndarray
    coefficients: tuple

    def penalty(self) -> float:
        """Return sum_j |a_j|_1, over all outputs."""
        return float(np.abs(self.W2).sum())

    weight_decay = penalty  # hidden weights have length one

    def _hidden(self, X):
        a, b, c = self.coefficients
        T = X @ self.W1
        return (a * T + b) * T + c
