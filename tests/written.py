"""The objective of neurons written out."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize


@dataclass
class Written:
    """L(sum_j S act(X w_j) a_j e_j' + 1 b') + alpha / 2 sum_j (|w_j|^2 + a_j^2), with its gradient."""

    X: np.ndarray  # (n_samples, n_patches, n_features)
    Y: np.ndarray
    alpha: float
    loss: str
    slope: float = 0.0

    def value_and_gradient(self, W, a, outputs, b):
        T = self.X @ W.T
        active = np.where(T > 0, 1.0, self.slope)
        hidden = (T * active).sum(axis=1)
        own = (outputs[:, None] == np.arange(self.Y.shape[1])).astype(float)
        value, G = self.loss_and_slopes(hidden @ (a[:, None] * own) + b)
        back = G @ own.T
        active *= (back * a)[:, None]
        gradient = np.tensordot(active, self.X, ((0, 1), (0, 1))) + self.alpha * W
        of_outputs = np.sum(back * hidden, axis=0) + self.alpha * a
        value += self.alpha / 2 * (np.sum(W**2) + np.sum(a**2))
        return value, np.concatenate([gradient.ravel(), of_outputs, G.sum(axis=0)])

    def loss_and_slopes(self, Z):
        Y = self.Y
        if self.loss == "squared_error":
            return 0.5 * np.sum((Z - Y) ** 2), Z - Y
        if self.loss == "hinge":
            return np.sum(np.maximum(1 - Y * Z, 0)), -Y * (Y * Z < 1)
        if self.loss == "log_loss":
            return np.sum(np.logaddexp(0, -Y * Z)), -Y / (1 + np.exp(Y * Z))
        total = np.logaddexp.reduce(Z, axis=1, keepdims=True)
        return np.sum(total) - np.sum(Y * Z), np.exp(Z - total) - Y

    def of_neurons(self, U, signs, outputs, b):
        """Return the objective of neurons as blocks u = w |a|, at the best scale of each."""
        roots = np.sqrt(np.linalg.norm(U, axis=1))
        return self.value_and_gradient(U / roots[:, None], signs * roots, outputs, b)[0]

    def improve(self, W, a, outputs, b, max_iter):
        """Return the least objective that L-BFGS reaches, at the best scale of each neuron."""
        (m, d), c = W.shape, self.Y.shape[1]

        def parts(p):
            return p[: m * d].reshape(m, d), p[m * d : -c], outputs, p[-c:]

        start = np.concatenate([W.ravel(), a, b])
        options = {"maxiter": max_iter, "maxfun": 2 * max_iter, "ftol": 1e-14, "gtol": 1e-10}
        end = minimize(
            lambda p: self.value_and_gradient(*parts(p)), start, jac=True, method="L-BFGS-B", options=options
        )
        W, a, _, b = parts(end.x)
        return self.value_and_gradient(W, a, outputs, b)[0] + self.alpha * np.sum(
            np.linalg.norm(W, axis=1) * np.abs(a) - 0.5 * np.sum(W**2, axis=1) - 0.5 * a**2
        )


def constant(beta, n):
    """Return the output biases that coefficients of the basis stand for, as the basis is +1 / sqrt(n)."""
    return beta[0] / np.sqrt(n)


def value(written, U, signs, outputs, beta):
    """Return the objective, written out."""
    return written.of_neurons(U, signs, outputs, constant(beta, len(written.Y)))
