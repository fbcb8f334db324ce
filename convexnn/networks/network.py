"""Networks: dense, convolutional, circular and polynomial ones, with their predictions, weight decay and objective.

    dense           f(x) = sum_j act(x.w_j + b_j) a_j + b_0 + x.w_0
    convolutional   f(x) = sum_j pool_k act(p_k.w_j + b_j) a_j + b_0         sum, mean or max over the patches p_k of x
                    f(x) = sum_j sum_k act(p_k.w_j + b_j) a_kj + b_0         pooling "none": a weight for each patch
    circular        f(x) = sum_j act(x circ(u_j) w_j) a_j + b_0,             |u_j| <= 1, three layers
    polynomial      f(x) = sum_j act(x.w_j) a_j + b_0,                       act(t) = a t^2 + b t + c

    weight decay    1/2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2), a_j all the output weights of a neuron or filter
    objective       L(f(X)) + alpha * weight decay

Circular convolutions are circ(u)[i, k] = u[i - k], indices modulo the shape:

    circ(u) w = ifft(fft(u) fft(w))

so that x circ(u), x a row, is the circular cross-correlation of x with u. For what is convolved, and the norm that the
weight decay is on q = circ(u) w a, see `convexnn.geometry.fourier`. Polynomial networks are trained by
`convexnn.special.polynomial`.

A kind of network is a frozen dataclass of arrays that says what its hidden activations are.

References
----------
T. Ergen and M. Pilanci (2021), Implicit convex regularizers of CNN architectures: convex optimization of two- and
three-layer networks in polynomial time. ICLR.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import gen_batches

from ..geometry.arrangements import BLOCK_ENTRIES
from ..geometry.fourier import check_shape, spectra
from ..geometry.patches import Patches
from ..losses import Loss, Squared
from ..model.architecture import (
    ACTIVATIONS,
    HIDDEN_BIASES,
    OUTPUT_PENALTIES,
    check_hidden_norm,
    check_slope,
    slope_of,
)
from ..model.penalties import ElasticNorm
from ..utils.validation import check_array, check_choice, check_positive

__all__ = [
    "CIRCULAR_ACTIVATIONS",
    "THRESHOLD_TOL",
    "BaseNetwork",
    "CircularNetwork",
    "ConvNetwork",
    "Network",
    "PolynomialNetwork",
    "column_norms",
]

CIRCULAR_ACTIVATIONS = ("relu", "gated_relu", "linear")
# How far above 1 rounding may leave the norm of a circular filter.
FILTER_TOL = 1e-9
# A threshold neuron is active down to this fraction of |x| |w| + |b| below zero: its weights may lie on walls of the
# data.
THRESHOLD_TOL = 1e-12
# The arrays that networks may have.
ARRAYS = ("U", "W1", "b1", "W2", "b2", "skip", "gates")


class BaseNetwork:
    """Predictions, weight decay and objective of networks with weights W1, W2 and b2; subclasses have `_hidden`."""

    # what kinds of networks lack that do not have a field of this name
    activation, negative_slope, gates, skip = "relu", 0.01, None, None
    hidden_bias, hidden_norm, output_penalty = "none", "l2", "weight_decay"

    @property
    def n_neurons(self) -> int:
        """Number of hidden neurons, or filters."""
        return self.W1.shape[1]

    @property
    def n_features(self) -> int:
        """Number of features of an input."""
        return len(self.W1)

    @property
    def slope(self) -> float:
        """Slope of the activation where a neuron is not active."""
        return slope_of(self.activation, self.negative_slope)

    def hidden(self, X: ArrayLike) -> np.ndarray:
        """Return the activations of inputs X, of shape (n_samples, n_neurons).

        Those of filters are pooled; where they are not, the shape is (n_samples, n_patches, n_neurons).
        """
        return self._hidden(self._check_X(X))

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict the outputs of inputs X, of shape (n_samples,), or (n_samples, n_outputs) for several outputs."""
        Z = self.outputs(X)
        return Z[:, 0] if Z.shape[1] == 1 else Z

    def outputs(self, X: ArrayLike) -> np.ndarray:
        """Return the outputs as `predict` does, of shape (n_samples, n_outputs) always."""
        X = self._check_X(X)
        W2 = self.W2.reshape(-1, self.W2.shape[-1])  # of neurons, and of patches if these have weights of their own
        Z = np.empty((len(X), W2.shape[1]))
        for batch in gen_batches(len(X), max(1, BLOCK_ENTRIES // max(len(W2), 1))):
            hidden = self._hidden(X[batch])
            Z[batch] = hidden.reshape(len(hidden), len(W2)) @ W2
        Z += self.b2
        return Z if self.skip is None else Z + X @ self.skip

    def input_sizes(self) -> np.ndarray:
        """Return |w_j|, in the norm and with the biases that weight decay counts, shape (n_neurons,)."""
        weights = np.vstack([self.W1, self.b1]) if self.hidden_bias == "penalized" else self.W1
        return column_norms(weights, self.hidden_norm)

    def output_sizes(self) -> np.ndarray:
        """Return |a_j|, in the norm that weight decay counts, shape (n_neurons,)."""
        others = (0, 2) if self.W2.ndim == 3 else 1
        if self.output_penalty == "l1":
            return np.abs(self.W2).sum(axis=others)
        return np.sqrt((self.W2**2).sum(axis=others))

    def weight_decay(self) -> float:
        """Return 1/2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2), without the b_j^2 if hidden biases are free.

        sum_j |a_j| for threshold networks, whose hidden weights have no scale: their neurons are s 1[x.w + b >= 0] a,
        and weight decay is 1/2 sum_j (s_j^2 + |a_j|^2).
        """
        if self.activation == "threshold":
            return float(np.sum(self.output_sizes()))
        return 0.5 * float(np.sum(self.input_sizes() ** 2) + np.sum(self.output_sizes() ** 2))

    def objective(self, X: ArrayLike, y: ArrayLike, alpha: float, loss: Loss | None = None) -> float:
        """Compute the training objective L(f(X)) + alpha * weight decay.

        The loss is one of `convexnn.losses`, None the squared one, 1/2 |f(X) - y|^2; y has the shape of predictions.
        """
        alpha = check_positive("alpha", alpha)
        Z = self.outputs(X)
        y = check_array(y, input_name="y", ensure_2d=False)
        if y.shape not in {Z.shape, (len(Z),)} or y.size != Z.size:
            raise ValueError(f"y must have shape {Z.shape} to fit X and the network; got {y.shape}")
        return (Squared() if loss is None else loss).value(y.reshape(Z.shape), Z) + alpha * self.weight_decay()

    def _check_X(self, X):
        X = check_array(X, input_name="X")
        if X.shape[1] != self.n_features:
            raise ValueError(f"X must have {self.n_features} features, as the network; got {X.shape[1]}")
        return X

    def _check_parts(self, activations=ACTIVATIONS, n_rows=None, patches=()):
        """Check the names, make the arrays float64, and check that they fit W1, which has `n_rows`, and one another.

        `patches` is (n_patches,) where W2 has weights for each of them.
        """
        check_choice("activation", self.activation, activations)
        check_choice("hidden_bias", self.hidden_bias, HIDDEN_BIASES)
        check_choice("output_penalty", self.output_penalty, OUTPUT_PENALTIES)
        check_slope("negative_slope", self.negative_slope)
        set_part = object.__setattr__
        set_part(self, "hidden_norm", check_hidden_norm(self.hidden_norm))
        arrays = [name for name in ARRAYS if getattr(self, name, None) is not None]
        for name in arrays:
            set_part(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        if self.W1.ndim != 2 or self.W2.ndim != 2 + len(patches):
            raise ValueError(
                f"W1 must have shape ({n_rows or 'n_features'}, n_neurons) and W2 ({'n_patches, ' * len(patches)}"
                f"n_neurons, n_outputs); got {self.W1.shape} and {self.W2.shape}"
            )
        if (self.activation == "gated_relu") != (self.gates is not None):
            raise ValueError('gates must be given for activation "gated_relu", and for no other')
        d, m, c = n_rows or len(self.W1), self.n_neurons, self.W2.shape[-1]
        shapes = (d, m), (d, m), (m,), (*patches, m, c), (c,), (d, c), (d + 1, m)
        for name, wanted in zip(ARRAYS, shapes, strict=True):
            if name in arrays and (shape := getattr(self, name).shape) != wanted:
                given = f"W1 {self.W1.shape} and W2 {self.W2.shape}"
                raise ValueError(f"{name} must have shape {wanted} to fit {given}; got {shape}")
        if self.hidden_bias == "none" and "b1" in arrays and self.b1.any():
            raise ValueError('b1 must be zero with hidden_bias="none"')

    def _activate(self, T, rows):
        """Return the activations for pre-activations T, which are overwritten, of rows."""
        if self.gates is not None:
            return T * (rows @ self.gates[:-1] + self.gates[-1] >= 0)
        if self.activation == "threshold":
            sizes = np.linalg.norm(rows, axis=1)[:, None] * np.linalg.norm(self.W1, axis=0) + np.abs(self.b1)
            return (-THRESHOLD_TOL * sizes <= T).astype(float)
        if self.slope == 1.0:
            return T
        return np.maximum(T, self.slope * T if self.slope else 0.0, out=T)


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


@dataclass(frozen=True, eq=False)
class ConvNetwork(BaseNetwork):
    """A two-layer convolutional network f(x) = sum_j pool_k act(p_k.w_j + b_j) a_j + b2.

    Parameters
    ----------
    W1 : ndarray of shape (patch_size, n_filters)
        Filters, as columns that act on patches.
    b1 : ndarray of shape (n_filters,)
        Hidden biases.
    W2 : ndarray of shape (n_filters, n_outputs), or (n_patches, n_filters, n_outputs) for pooling "none"
        Output weights.
    b2 : ndarray of shape (n_outputs,)
        Output biases.
    patches : Patches
        Shapes of inputs and kernel, and the pooling.
    activation : {"relu", "gated_relu", "linear", "leaky_relu", "abs"}, default="relu"
        ReLU; gated ReLU, t 1[p.g + h >= 0] for a filter with gate (g, h); the identity; t or negative_slope * t for
        t <= 0; |t|.
    negative_slope : float, default=0.01
        Slope of "leaky_relu" for t < 0, below 1.
    gates : ndarray of shape (patch_size + 1, n_filters) or None, default=None
        Gates of gated ReLU filters, the last row their biases. Which side a patch is on that lies on the wall of a
        gate is left to rounding.
    hidden_bias : {"penalized", "none", "free"}, default="penalized"
        Whether weight decay includes the hidden biases ("free": it does not); with "none" they are zero.
    output_penalty : {"weight_decay", "l1"}, default="weight_decay"
        Norm of the output weights of a filter in the weight decay: Euclidean, or l1.

    Raises
    ------
    TypeError
        If patches is not `Patches`.
    ValueError
        If shapes do not fit together, or a name or a slope is not among those accepted.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.networks import ConvNetwork
    >>> from convexnn.geometry.patches import Patches
    >>> patches = Patches((1, 4), kernel_size=2, pooling="max")
    >>> net = ConvNetwork(np.array([[-1.0], [1.0]]), np.zeros(1), np.ones((1, 1)), np.zeros(1), patches)
    >>> net.predict([[0.0, 2.0, 3.0, 7.0], [4.0, 3.0, 2.0, 1.0]])
    array([4., 0.])
    """

    W1: np.ndarray
    b1: np.ndarray
    W2: np.ndarray
    b2: np.ndarray
    patches: Patches
    activation: str = "relu"
    negative_slope: float = 0.01
    gates: np.ndarray | None = None
    hidden_bias: str = "penalized"
    output_penalty: str = "weight_decay"

    def __post_init__(self):
        if not isinstance(self.patches, Patches):
            raise TypeError(f"patches must be Patches; got {type(self.patches).__name__}")
        apart = self.patches.pooling == "none"
        activations = [name for name in ACTIVATIONS if name != "threshold"]
        self._check_parts(activations, self.patches.patch_size, (self.patches.n_patches,) * apart)

    @property
    def n_features(self) -> int:
        """Number of features of an input."""
        return self.patches.n_features

    @property
    def filters(self) -> np.ndarray:
        """Filters of shape (n_filters, channels, *kernel_size), as the weight of a convolution of PyTorch."""
        return self.patches.fold(self.W1)

    def _check_X(self, X):
        return X  # patches.extract checks it

    def _hidden(self, X):
        P = self.patches.extract(X)
        T = self._activate(P @ self.W1 + self.b1, P)
        pool = {"sum": T.sum, "mean": T.mean, "max": T.max}.get(self.patches.pooling)
        return T if pool is None else pool(axis=1)


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
    >>> from convexnn.networks import CircularNetwork
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
    >>> from convexnn.networks import PolynomialNetwork
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


def column_norms(columns, hidden_norm):
    """Return the norms of the columns of hidden weights, in `hidden_norm`."""
    ratio = {"l2": 0.0, "l1": 1.0}.get(hidden_norm, hidden_norm)
    return ElasticNorm(ratio).block_norms(columns.T[:, :, None])[:, 0]
