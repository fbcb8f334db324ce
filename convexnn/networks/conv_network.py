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

import numpy as np

from ..geometry.patches import Patches
from ..model.architecture import ACTIVATIONS
from .base import BaseNetwork

__all__ = ["ConvNetwork"]


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
