"""The nonconvex objective of networks with one output, and its gradient.

    F(theta) = 1/2 |act(R H) a + C beta - y|^2 + alpha / 2 (|H|^2 + |a|^2)

for hidden rows R, hidden weights H, output weights a, free columns C and their coefficients beta; theta is (H, a, beta)
in one vector.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["objective_and_grad", "split_weights"]


def objective_and_grad(theta: np.ndarray, data: Sequence, alpha: float) -> tuple[float, np.ndarray]:
    """Return F and its gradient in theta on the samples of `data`, (R, C, y, mask).

    mask (n_samples, n_neurons) tells which gated neurons are on, and is None for ReLUs.
    """
    rows, free, y, mask = data
    H, a, beta = split_weights(theta, data)
    active = rows @ H
    if mask is None:
        mask = active > 0
    active *= mask
    residual = active @ a + free @ beta - y
    grad = alpha * theta
    grad[len(theta) - len(beta) :] = 0.0
    value = 0.5 * (residual @ residual + theta @ grad)
    grad_H, grad_a, grad_beta = split_weights(grad, data)
    grad_a += residual @ active
    grad_beta += residual @ free
    # dL/dH = R' (mask * residual a'), in the memory of the activations.
    back = np.multiply(residual[:, None], a, out=active)
    grad_H += rows.T @ np.multiply(back, mask, out=back)
    return value, grad


def split_weights(theta: np.ndarray, data: Sequence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return H (n_hidden_features, n_neurons), a (n_neurons,) and beta (n_free,) as views of theta.

    `data` is that of `objective_and_grad`.
    """
    p, n_free = data[0].shape[1], data[1].shape[1]
    m = (len(theta) - n_free) // (p + 1)
    return theta[: p * m].reshape(p, m), theta[p * m : (p + 1) * m], theta[(p + 1) * m :]
