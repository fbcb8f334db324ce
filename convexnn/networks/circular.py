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
from numpy.typing import ArrayLike

from ..geometry.fourier import (
    check_shape,
    spectra,
)
from ..losses.piecewise import Loss, Squared
from ..utils.validation import check_array, check_choice, check_positive

__all__ = ["CIRCULAR_ACTIVATIONS", "CircularNetwork"]

CIRCULAR_ACTIVATIONS = ("relu", "gated_relu", "linear")
# How far above 1 rounding may leave the length of a filter.
FILTER_TOL = 1e-9


@dataclass(frozen=True, eq=False)
class CircularNetwork:
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
        check_choice("activation", self.activation, CIRCULAR_ACTIVATIONS)
        check_choice("output_penalty", self.output_penalty, ("weight_decay", "l1"))
        object.__setattr__(self, "shape", check_shape(self.shape))
        for name in ("U", "W1", "W2", "b2", "gates"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        if self.W1.ndim != 2 or self.W2.ndim != 2:
            raise ValueError(
                "W1 must have shape (n_features, n_neurons) and W2 (n_neurons, n_outputs); "
                f"got {self.W1.shape} and {self.W2.shape}"
            )
        d, m, c = prod(self.shape), self.W1.shape[1], self.W2.shape[1]
        if (self.activation == "gated_relu") != (self.gates is not None):
            raise ValueError('gates must be given for activation "gated_relu", and for no other')
        wanted = {"U": (d, m), "W1": (d, m), "W2": (m, c), "b2": (c,), "gates": (d + 1, m)}
        for name, shape in wanted.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(
                    f"{name} must have shape {shape} to fit shape {self.shape} and W1 {self.W1.shape}; "
                    f"got {value.shape}"
                )
        longest = np.linalg.norm(self.U, axis=0).max(initial=0.0)
        if not longest <= 1 + FILTER_TOL:
            raise ValueError(f"U must have columns of length at most 1; got one of length {longest}")

    @property
    def n_neurons(self) -> int:
        """Number of neurons, each with a filter of its own."""
        return self.W1.shape[1]

    def effective(self) -> np.ndarray:
        """Return the weights that act on the inputs.

        Returns
        -------
        ndarray of shape (n_features, n_neurons)
            The columns circ(u_j) w_j.
        """
        axes = tuple(range(len(self.shape)))
        spectrum = spectra(self.U, self.shape) * spectra(self.W1, self.shape)
        return np.fft.ifftn(spectrum, axes=axes).real.reshape(self.W1.shape)

    def hidden(self, X: ArrayLike) -> np.ndarray:
        """Return the activations of the neurons.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs, each in the C order of `shape`.

        Returns
        -------
        ndarray of shape (n_samples, n_neurons)
            Activations act(x circ(u_j) w_j).

        Raises
        ------
        ValueError
            If X is not finite or has another number of features.
        """
        X = check_array(X, input_name="X")
        if X.shape[1] != len(self.W1):
            raise ValueError(f"X must have {len(self.W1)} features, as the network; got {X.shape[1]}")
        T = X @ self.effective()
        if self.activation == "relu":
            return np.maximum(T, 0.0, out=T)
        return T if self.gates is None else T * (X @ self.gates[:-1] + self.gates[-1] >= 0)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict the outputs of inputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs, each in the C order of `shape`.

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_outputs) for several outputs
            Predictions.

        Raises
        ------
        ValueError
            If X is not finite or has another number of features.
        """
        Z = self.hidden(X) @ self.W2 + self.b2
        return Z[:, 0] if Z.shape[1] == 1 else Z

    def weight_decay(self) -> float:
        """Return 1/2 sum_j (|w_j|^2 + |a_j|^2); the filters u_j have a bounded length and no decay."""
        sizes = np.linalg.norm(self.W2, 1 if self.output_penalty == "l1" else 2, axis=1)
        return 0.5 * float(np.sum(self.W1**2) + np.sum(sizes**2))

    def objective(self, X: ArrayLike, y: ArrayLike, alpha: float, loss: Loss | None = None) -> float:
        """Compute the training objective L(f(X)) + alpha times the weight decay.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs, each in the C order of `shape`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as the loss takes them.
        alpha : float
            Regularisation strength, above 0.
        loss : object or None, default=None
            A loss of `convexnn.losses`; None is the squared one, 1/2 |f(X) - y|^2.

        Returns
        -------
        float
            The objective; with the squared loss in the squared unit of y.

        Raises
        ------
        ValueError
            If X and y do not fit the network and one another.
        """
        alpha, Z = check_positive("alpha", alpha), self.predict(X)
        Z = Z.reshape(len(Z), -1)
        y = check_array(y, input_name="y", ensure_2d=False)
        if y.shape not in {Z.shape, (len(Z),)} or y.size != Z.size:
            raise ValueError(f"y must have shape {Z.shape} to fit X and the network; got {y.shape}")
        loss = Squared() if loss is None else loss
        return loss.value(y.reshape(Z.shape), Z) + alpha * self.weight_decay()
