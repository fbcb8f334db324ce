"""Two-layer convolutional networks.

    f(x) = sum_j pool_k act(p_k.w_j + b_j) a_j + b_0           sum, mean or max over the patches p_k of x
    f(x) = sum_j sum_k act(p_k.w_j + b_j) a_kj + b_0           pooling "none": an output weight for each patch

    weight decay 1/2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2), a_j all the output weights of filter j

References
----------
T. Ergen and M. Pilanci (2021), Implicit convex regularizers of CNN architectures: convex optimization of two- and
three-layer networks in polynomial time. ICLR.
"""

from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from ..geometry.patches import Patches
from ..losses.piecewise import Loss, Squared
from ..utils.validation import check_array, check_choice, check_positive, shown

__all__ = ["CONV_ACTIVATIONS", "OUTPUT_PENALTIES", "ConvNetwork"]

CONV_ACTIVATIONS = ("relu", "gated_relu", "linear", "leaky_relu", "abs")
# The norm of the output weights of a filter that weight decay squares: Euclidean, or the sum of absolute values.
OUTPUT_PENALTIES = ("weight_decay", "l1")


@dataclass(frozen=True, eq=False)
class ConvNetwork:
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
    negative_slope : float, default=0.0
        Slope of "leaky_relu" below zero. Zero for the others; "abs", of slope -1, takes -1 as well.
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
        If patches is not `Patches`, or negative_slope is not a number.
    ValueError
        If shapes do not fit together, or a name or a slope is not among those accepted.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.networks.conv_network import ConvNetwork
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
    negative_slope: float = 0.0
    gates: np.ndarray | None = None
    hidden_bias: str = "penalized"
    output_penalty: str = "weight_decay"

    def __post_init__(self):
        if not isinstance(self.patches, Patches):
            raise TypeError(f"patches must be Patches; got {type(self.patches).__name__}")
        check_choice("activation", self.activation, CONV_ACTIVATIONS)
        check_choice("hidden_bias", self.hidden_bias, ("penalized", "none", "free"))
        check_choice("output_penalty", self.output_penalty, OUTPUT_PENALTIES)
        _check_slope(self.negative_slope, self.activation)
        for name in ("W1", "b1", "W2", "b2", "gates"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        apart, h = self.patches.pooling == "none", self.patches.patch_size
        if self.W1.ndim != 2 or self.W2.ndim != 2 + apart:
            raise ValueError(
                f"W1 must have shape ({h}, n_filters) and W2 ({'n_patches, ' * apart}n_filters, n_outputs); "
                f"got {self.W1.shape} and {self.W2.shape}"
            )
        m, c = self.W1.shape[1], self.W2.shape[-1]
        if (self.activation == "gated_relu") != (self.gates is not None):
            raise ValueError('gates must be given for activation "gated_relu", and for no other')
        outputs = (self.patches.n_patches, m, c) if apart else (m, c)
        wanted = {"W1": (h, m), "b1": (m,), "W2": outputs, "b2": (c,), "gates": (h + 1, m)}
        for name, shape in wanted.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(
                    f"{name} must have shape {shape} to fit patches of size {h} and W1 {self.W1.shape}; "
                    f"got {value.shape}"
                )

    @property
    def n_neurons(self) -> int:
        """Number of filters."""
        return self.W1.shape[1]

    @property
    def filters(self) -> np.ndarray:
        """Filters of shape (n_filters, channels, *kernel_size), as the weight of a convolution of PyTorch."""
        return self.patches.fold(self.W1)

    def hidden(self, X: ArrayLike) -> np.ndarray:
        """Return the activations of the filters, pooled over the patches.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs, each in the C order of `patches.input_shape`.

        Returns
        -------
        ndarray of shape (n_samples, n_filters), or (n_samples, n_patches, n_filters) for pooling "none"
            pool_k act(p_k.w_j + b_j).

        Raises
        ------
        ValueError
            If X is not finite or has another number of features.
        """
        T = self._activations(self.patches.extract(X))
        if self.patches.pooling == "sum":
            return T.sum(axis=1)
        if self.patches.pooling == "mean":
            return T.mean(axis=1)
        return T.max(axis=1) if self.patches.pooling == "max" else T

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict the outputs of inputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs, each in the C order of `patches.input_shape`.

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_outputs) for several outputs
            Predictions.

        Raises
        ------
        ValueError
            If X is not finite or has another number of features.
        """
        hidden = self.hidden(X)
        # the sum over filters, and over the patches if these have weights of their own
        Z = hidden.reshape(len(hidden), -1) @ self.W2.reshape(-1, self.W2.shape[-1]) + self.b2
        return Z[:, 0] if Z.shape[1] == 1 else Z

    def weight_decay(self, hidden_bias: str | None = None, output_penalty: str | None = None) -> float:
        """Compute 1/2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2).

        Parameters
        ----------
        hidden_bias : {"penalized", "none", "free"} or None, default=None
            Whether the b_j^2 are included ("free": they are not); with "none" they must be zero. None is the network's.
        output_penalty : {"weight_decay", "l1"} or None, default=None
            With "l1", |a_j|_1^2 in place of |a_j|^2. None is the network's.

        Returns
        -------
        float
            The weight decay.

        Raises
        ------
        ValueError
            If a name is not among those accepted, or b1 is not zero with hidden_bias="none".
        """
        hidden_bias = self.hidden_bias if hidden_bias is None else hidden_bias
        output_penalty = self.output_penalty if output_penalty is None else output_penalty
        check_choice("hidden_bias", hidden_bias, ("penalized", "none", "free"))
        check_choice("output_penalty", output_penalty, OUTPUT_PENALTIES)
        if hidden_bias == "none" and self.b1.any():
            raise ValueError('b1 must be zero with hidden_bias="none"')
        biases = 0.0 if hidden_bias == "free" else np.sum(self.b1**2)
        if output_penalty == "l1":
            others = (0, 2) if self.W2.ndim == 3 else 1
            outputs = np.sum(np.abs(self.W2).sum(axis=others) ** 2)
        else:
            outputs = np.sum(self.W2**2)
        return 0.5 * float(np.sum(self.W1**2) + biases + outputs)

    def objective(self, X: ArrayLike, y: ArrayLike, alpha: float, loss: Loss | None = None) -> float:
        """Compute the training objective L(f(X)) + alpha times the weight decay.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs, each in the C order of `patches.input_shape`.
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

    def _activations(self, P):
        """Return act(p_k.w_j + b_j), (n_samples, n_patches, n_filters)."""
        T = P @ self.W1 + self.b1
        if self.activation == "relu":
            return np.maximum(T, 0.0, out=T)
        if self.activation == "gated_relu":
            return T * (P @ self.gates[:-1] + self.gates[-1] >= 0)
        if self.activation == "leaky_relu":
            return np.where(T > 0, T, self.negative_slope * T)
        return np.abs(T) if self.activation == "abs" else T


def _check_slope(slope, activation):
    if not isinstance(slope, Real) or isinstance(slope, (bool, np.bool_)):
        raise TypeError(f"negative_slope must be a number; got {shown(slope)} of type {type(slope).__name__}")
    if not np.isfinite(slope):
        raise ValueError(f"negative_slope must be finite; got {shown(slope)}")
    accepted = (0.0, -1.0) if activation == "abs" else (0.0,)
    if activation != "leaky_relu" and slope not in accepted:
        raise ValueError(f'negative_slope must be {accepted[-1]} for activation "{activation}"; got {shown(slope)}')
