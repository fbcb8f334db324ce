"""Three-layer networks of circular convolutions, and the norm that weight decay is on their products.

    f(x) = sum_j act(x circ(u_j) w_j) a_j + b_0,  |u_j| <= 1         weight decay 1/2 sum_j (|w_j|^2 + |a_j|^2)

    circ(u)[i, k] = u[i - k], indices modulo the shape:   circ(u) w = ifft(fft(u) fft(w)), circular convolution

so that x circ(u), x a row, is the circular cross-correlation of x with u. For what is convolved, and the norm that the
weight decay is on q = circ(u) w a, see `convexnn.geometry.fourier`.

References
----------
T. Ergen and M. Pilanci (2021), Implicit convex regularizers of CNN architectures: convex optimization of two- and
three-layer networks in polynomial time. ICLR.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from ..geometry.fourier import check_shape, spectra
from .base import BaseNetwork

__all__ = ["CIRCULAR_ACTIVATIONS", "CircularNetwork"]

CIRCULAR_ACTIVATIONS = ("relu", "gated_relu", "linear")
# How far above 1 rounding may leave the length of a filter.
FILTER_TOL = 1e-9


@dataclass(frozen=True, eq=False)
class CircularNetwork(BaseNetwork):
    """A three-layer circular network f(x) = sum_j act(x circ(u_j) w_j) a_j + b2.

    Parameters
    ----------
    U : ndarray of shape (n_features, n_neurons)
        Circular filters u_j, at most of length 1.
    W1 : ndarray of shape (n_features, n_neurons)
        Weights w_j of the second layer.
    W2 : ndarray of shape (n_neurons, n_outputs)
        Output weights.
    b2 : ndarray of shape (n_outputs,)
        Output biases.
    shape : tuple of int
        (length,) of signals or (height, width) of images, which are rows in C order.
    activation : {"relu", "gated_relu", "linear"}, default="relu"
        ReLU; gated ReLU, t 1[x.g + h >= 0] for a neuron with gate (g, h); the identity.
    gates : ndarray of shape (n_features + 1, n_neurons) or None, default=None
        Gates of gated ReLU neurons, the last row their biases. Which side an input is on that lies on the wall of a
        gate is left to rounding.
    output_penalty : {"weight_decay", "l1"}, default="weight_decay"
        Norm of the output weights of a neuron in the weight decay: Euclidean, or l1.

    Raises
    ------
    ValueError
        If shapes do not fit together, activation is unknown, or a filter is longer than 1.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.networks.circular import CircularNetwork
    >>> U, W1 = np.array([[0.0], [1.0], [0.0]]), np.array([[1.0], [2.0], [3.0]])
    >>> net = CircularNetwork(U, W1, np.ones((1, 1)), np.zeros(1), (3,))
    >>> net.effective()[:, 0].round(12)
    array([3., 1., 2.])
    """

    U: np.ndarray
    W1: np.ndarray
    W2: np.ndarray
    b2: np.ndarray
    shape: tuple
    activation: str = "relu"
    gates: np.ndarray | None = None
    output_penalty: str = "weight_decay"

    def __post_init__(self):
        object.__setattr__(self, "shape", check_shape(self.shape))
        self._check_parts(CIRCULAR_ACTIVATIONS, prod(self.shape))
        longest = np.linalg.norm(self.U, axis=0).max(initial=0.0)
        if not longest <= 1 + FILTER_TOL:
            raise ValueError(f"U must have columns of norm at most 1; got one of norm {longest}")

    def effective(self) -> np.ndarray:
        """Return the weights that act on the inputs, the columns circ(u_j) w_j, shape (n_features, n_neurons)."""
        axes = tuple(range(len(self.shape)))
        spectrum = spectra(self.U, self.shape) * spectra(self.W1, self.shape)
        return np.fft.ifftn(spectrum, axes=axes).real.reshape(self.W1.shape)

    def _hidden(self, X):
        return self._activate(X @ self.effective(), X)
