"""Two-layer networks.

f(x) = sum_j act(x.w_j + b_j) a_j + b_0 + x.w_0        weight decay 1/2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2)
"""

from dataclasses import dataclass

import numpy as np

from .base import BaseNetwork

__all__ = ["Network"]


@dataclass(frozen=True, eq=False)
class Network(BaseNetwork):
    """A two-layer network f(x) = act(x W1 + b1) W2 + b2 + x skip.

    Parameters
    ----------
    W1 : ndarray of shape (n_features, n_neurons)
        Hidden weights.
    b1 : ndarray of shape (n_neurons,)
        Hidden biases.
    W2 : ndarray of shape (n_neurons, n_outputs)
        Output weights.
    b2 : ndarray of shape (n_outputs,)
        Output biases.
    activation : {"relu", "gated_relu", "leaky_relu", "abs", "linear", "threshold"}, default="relu"
        As in `Architecture`; gated ReLU is t 1[x.g + h >= 0] for a neuron with gate (g, h).
    skip : ndarray of shape (n_features, n_outputs) or None, default=None
        Weights of the linear skip.
    hidden_bias : {"penalized", "none", "free"}, default="penalized"
        Whether weight decay includes the hidden biases ("free": it does not); with "none" they are zero.
    gates : ndarray of shape (n_features + 1, n_neurons) or None, default=None
        Gates of gated ReLU neurons, the last row their biases. Which side an input is on that lies on the wall of a
        gate is left to rounding.
    negative_slope : float, default=0.01
        Slope of "leaky_relu" for t < 0, below 1.
    hidden_norm : {"l2", "l1"} or float, default="l2"
        Norm of hidden weights (and penalised biases) in the weight decay; a number r strictly between 0 and 1 is the
        elastic norm r |w|_1 + (1 - r) |w|_2.
    output_penalty : {"weight_decay", "l1"}, default="weight_decay"
        Norm of the output weights of a neuron in the weight decay: Euclidean, or l1.

    Raises
    ------
    ValueError
        If shapes do not fit together, or a name or a slope is not among those accepted.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import Network
    >>> net = Network(np.array([[1.0, -1.0]]), np.zeros(2), np.array([[1.0], [1.0]]), np.zeros(1))
    >>> net.predict([[-2.0], [3.0]])
    array([2., 3.])
    """

    W1: np.ndarray
    b1: np.ndarray
    W2: np.ndarray
    b2: np.ndarray
    activation: str = "relu"
    skip: np.ndarray | None = None
    hidden_bias: str = "penalized"
    gates: np.ndarray | None = None
    negative_slope: float = 0.01
    hidden_norm: str | float = "l2"
    output_penalty: str = "weight_decay"

    def __post_init__(self):
        self._check_parts()

    def _hidden(self, X):
        return self._activate(X @ self.W1 + self.b1, X)
