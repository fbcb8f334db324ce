"""Two-layer networks.

    f(x) = sum_j act(x.w_j + b_j) a_j + b_0 + x.w_0        weight decay 1/2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2)

Parallel neurons of the same sign are one neuron: they add up to |u_1| + |u_2| = |u_1 + u_2|, for u = w |a|.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from ..losses.piecewise import Loss, Squared
from ..model.architecture import ACTIVATIONS, HIDDEN_BIASES, OUTPUT_PENALTIES, check_hidden_norm
from ..model.penalties import ElasticNorm
from ..utils.validation import check_array, check_choice, check_positive

__all__ = ["Network", "activate", "merge_parallel"]

# Relative difference of every weight, up to scale, below which two neurons are parallel.
PARALLEL_TOL = 1e-10
# A threshold neuron is active down to this part of |x| |w| + |b| below zero: its weights may lie on walls of the data.
THRESHOLD_TOL = 1e-12


@dataclass(frozen=True, eq=False)
class Network:
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
        Slope of "leaky_relu" below zero.
    hidden_norm : {"l2", "l1"} or float, default="l2"
        Norm of hidden weights (and penalised biases) in the weight decay; a number r strictly between 0 and 1 is the
        elastic norm r |w|_1 + (1 - r) |w|_2.
    output_penalty : {"weight_decay", "l1"}, default="weight_decay"
        Norm of the output weights of a neuron in the weight decay: Euclidean, or l1.

    Raises
    ------
    ValueError
        If shapes do not fit together, or a name is not among those accepted.

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
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("hidden_bias", self.hidden_bias, HIDDEN_BIASES)
        object.__setattr__(self, "hidden_norm", check_hidden_norm(self.hidden_norm))
        check_choice("output_penalty", self.output_penalty, OUTPUT_PENALTIES)
        for name in ("W1", "b1", "W2", "b2", "skip", "gates"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        if self.W1.ndim != 2 or self.W2.ndim != 2:
            raise ValueError(
                "W1 must have shape (n_features, n_neurons) and W2 (n_neurons, n_outputs); "
                f"got {self.W1.shape} and {self.W2.shape}"
            )
        (d, m), c = self.W1.shape, self.W2.shape[1]
        if (self.activation == "gated_relu") != (self.gates is not None):
            raise ValueError('gates must be given for activation "gated_relu", and for no other')
        wanted = {"b1": (m,), "W2": (m, c), "b2": (c,), "skip": (d, c), "gates": (d + 1, m)}
        for name, shape in wanted.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"{name} must have shape {shape} to fit W1 {self.W1.shape}; got {value.shape}")
        if self.hidden_bias == "none" and self.b1.any():
            raise ValueError('b1 must be zero with hidden_bias="none"')

    @property
    def n_neurons(self) -> int:
        """Number of hidden neurons."""
        return self.W1.shape[1]

    def hidden(self, X: ArrayLike) -> np.ndarray:
        """Return the activations of the hidden neurons.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_neurons)
            Activations act(x.w_j + b_j).
        """
        X = self._check_X(X)
        T = X @ self.W1 + self.b1
        if self.activation == "gated_relu":
            return T * (X @ self.gates[:-1] + self.gates[-1] >= 0)
        if self.activation == "threshold":
            sizes = np.linalg.norm(X, axis=1)[:, None] * np.linalg.norm(self.W1, axis=0) + np.abs(self.b1)
            return (-THRESHOLD_TOL * sizes <= T).astype(float)
        return activate(T, self.activation, self.negative_slope)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict the outputs of inputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_outputs) for several outputs
            Predictions.

        Raises
        ------
        ValueError
            If X is not finite or has another number of features.
        """
        Z = self._outputs(X)
        return Z[:, 0] if Z.shape[1] == 1 else Z

    def input_sizes(self) -> np.ndarray:
        """Return |w_j|, in the norm and with the biases that weight decay counts, shape (n_neurons,)."""
        weights = self.W1 if self.hidden_bias == "free" else np.vstack([self.W1, self.b1])
        return _lengths(weights, self.hidden_norm)

    def output_sizes(self) -> np.ndarray:
        """Return |a_j|, in the norm that weight decay counts, shape (n_neurons,)."""
        return np.linalg.norm(self.W2, 1 if self.output_penalty == "l1" else 2, axis=1)

    def weight_decay(self) -> float:
        """Return 1/2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2), without the b_j^2 if hidden biases are free.

        sum_j |a_j| for threshold networks, whose hidden weights have no scale: their neurons are s 1[x.w + b >= 0] a,
        and weight decay is 1/2 sum_j (s_j^2 + |a_j|^2).
        """
        if self.activation == "threshold":
            return float(np.sum(self.output_sizes()))
        return 0.5 * float(np.sum(self.input_sizes() ** 2) + np.sum(self.output_sizes() ** 2))

    def objective(self, X: ArrayLike, y: ArrayLike, alpha: float, loss: Loss | None = None) -> float:
        """Compute the training objective L(f(X)) + alpha / 2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2).

        Free hidden biases b_j are left out of the weight decay.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
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
        alpha = check_positive("alpha", alpha)
        Z = self._outputs(X)
        y = check_array(y, input_name="y", ensure_2d=False)
        if y.shape not in {Z.shape, (len(Z),)} or y.size != Z.size:
            raise ValueError(f"y must have shape {Z.shape} to fit X and the network; got {y.shape}")
        loss = Squared() if loss is None else loss
        return loss.value(y.reshape(Z.shape), Z) + alpha * self.weight_decay()

    def _outputs(self, X):
        Z = self.hidden(X) @ self.W2 + self.b2
        return Z if self.skip is None else Z + self._check_X(X) @ self.skip

    def _check_X(self, X):
        X = check_array(X, input_name="X")
        if X.shape[1] != len(self.W1):
            raise ValueError(f"X must have {len(self.W1)} features, as the network; got {X.shape[1]}")
        return X


def activate(T: np.ndarray, activation: str, negative_slope: float = 0.01) -> np.ndarray:
    """Apply an activation that depends on its argument alone.

    Parameters
    ----------
    T : ndarray
        Pre-activations.
    activation : {"relu", "leaky_relu", "abs", "linear"}
        The activation.
    negative_slope : float, default=0.01
        Slope of "leaky_relu" below zero.

    Returns
    -------
    ndarray of the shape of T
        Activations.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.networks.network import activate
    >>> activate(np.array([-2.0, 3.0]), "leaky_relu", 0.5)
    array([-1.,  3.])
    """
    if activation == "linear":
        return T
    if activation == "abs":
        return np.abs(T)
    return np.maximum(T, 0.0 if activation == "relu" else negative_slope * T)


def merge_parallel(network: Network) -> Network:
    """Merge parallel neurons of the same sign into one; f does not change, and weight decay never grows.

    Parameters
    ----------
    network : Network
        Any network. Neurons with gates or thresholds are left as they are: two gates do not add up to one.

    Returns
    -------
    Network
        Balanced (|w_j| = |a_j|, and |w_j| counts penalised biases only) where neurons were merged, the others
        untouched. Merged constants, free biases with w_j = 0, keep the first one's a_j.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import Network
    >>> from convexnn.networks import merge_parallel
    >>> net = Network(np.array([[1.0, 3.0, -1.0]]), np.zeros(3), np.array([[1.0], [1.0], [2.0]]), np.zeros(1))
    >>> merged = merge_parallel(net)
    >>> merged.n_neurons, net.predict([[2.0], [-1.0]]), merged.predict([[2.0], [-1.0]]).round(12)
    (2, array([8., 2.]), array([8., 2.]))
    """
    if network.activation in ("gated_relu", "threshold") or network.n_neurons < 2:
        return network
    hidden = np.vstack([network.W1, network.b1])
    lengths, sizes = np.linalg.norm(hidden, axis=0), network.output_sizes()
    alive = lengths * sizes > 0
    if not alive.all():
        return merge_parallel(_select(network, hidden, network.W2, alive))
    directions = np.vstack([hidden / lengths, (network.W2 / sizes[:, None]).T])
    leader = np.arange(network.n_neurons)
    for j in range(1, network.n_neurons):
        others, own = directions[:, :j], directions[:, [j]]
        # weight by weight: a small weight may belong to a feature of large values
        same = (np.abs(others - own) <= PARALLEL_TOL * np.maximum(np.abs(others), np.abs(own))).all(axis=0)
        close = np.flatnonzero(same & (leader[:j] == np.arange(j)))
        if len(close):
            leader[j] = close[0]
    W2 = network.W2.copy()
    for j in np.flatnonzero(np.bincount(leader, minlength=len(leader)) > 1):
        group = leader == j
        vector = hidden[:, group] @ sizes[group]
        charged = vector[:-1] if network.hidden_bias == "free" else vector
        length = _lengths(charged[:, None], network.hidden_norm)[0]
        root = np.sqrt(length) if length > 0 else sizes[j]  # the length of a constant's weights is zero
        hidden[:, j] = vector / root
        W2[j] *= root / sizes[j]
    return _select(network, hidden, W2, leader == np.arange(network.n_neurons))


def _lengths(columns, hidden_norm):
    """Return the norms of the columns of hidden weights, in `hidden_norm`."""
    ratio = {"l2": 0.0, "l1": 1.0}.get(hidden_norm, hidden_norm)
    return ElasticNorm(ratio).block_norms(columns.T[:, :, None])[:, 0]


def _select(network, hidden, W2, keep):
    return replace(network, W1=hidden[:-1, keep], b1=hidden[-1, keep], W2=W2[keep])
