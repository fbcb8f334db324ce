"""Losses L(Z) of the predictions: values, gradients and conjugates. A loss sees targets and predictions, never X."""

import numpy as np

__all__ = ["Squared"]


class Squared:
    """Half the sum of squared errors, L(Z) = 1/2 |Z - Y|^2: a sum over samples, not a mean.

    Its conjugate is L*(T) = sum(T Y) + 1/2 |T|^2, so the dual function is D(V) = -L*(-V) = sum(Y V) - 1/2 |V|^2.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.losses import Squared
    >>> Squared().value(np.array([[1.0], [2.0]]), np.array([[0.0], [4.0]]))
    2.5
    """

    smoothness = 1.0
    translation_invariant = True  # L depends on Z - Y alone
    degree = 2  # of t in L(t Z) for the targets t Y; None where it is no power of t

    def value(self, Y, Z):
        """Return L(Z), for Y and Z of shape (n_samples, n_outputs)."""
        return 0.5 * float(np.sum((Z - Y) ** 2))

    def grad(self, Y, Z):
        """Return the gradient Z - Y, shape (n_samples, n_outputs)."""
        return Z - Y

    def inverse_grad(self, Y, T):
        """Return predictions Z with grad L(Z) = T."""
        return Y + T

    def curvature(self, Y, Z):
        """Return the second derivative in each prediction, shape (n_samples, n_outputs); at most `smoothness`."""
        return np.ones_like(Z)

    def conjugate(self, Y, T):
        """Return L*(T) = max_Z sum(T Z) - L(Z)."""
        return float(np.sum(T * Y) + 0.5 * np.sum(T * T))

    def best_scale(self, Y, V, limit):
        """Return the t of [-limit, limit] that maximises the dual function D(t V)."""
        square = np.sum(V * V)
        return float(np.clip(np.sum(Y * V) / square, -limit, limit)) if square > 0 else 0.0

    def fit_free(self, Y, basis, offset=0.0):
        """Return the coefficients (rank, n_outputs) that minimise L(offset + basis @ beta), for orthonormal columns."""
        beta = basis.T @ (Y - offset)
        return beta + basis.T @ (Y - offset - basis @ beta)

    def to_cvxpy(self, Y, Z):
        """Return L(Z) as a cvxpy expression, for a cvxpy Z of the shape of Y."""
        import cvxpy as cp

        return 0.5 * cp.sum_squares(Z - Y)
