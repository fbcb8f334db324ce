"""Two-layer networks, and their recovery from the blocks of a convex program.

    f(x) = sum_j act(x.w_j + b_j) a_j + b_0 + x.w_0        weight decay 1/2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2)

A block u with sign s is the neuron w = u / sqrt|u|, a = s sqrt|u|: then act(x.w) a = s act(x.u), and its weight decay
is |u|. Parallel neurons of the same sign are one neuron: they add up to |u_1| + |u_2| = |u_1 + u_2|.

References
----------
M. Pilanci and T. Ergen (2020), Neural networks are convex regularizers, theorem 1. ICML.
"""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils import check_array

from .architecture import ACTIVATIONS, HIDDEN_BIASES
from .losses import Squared
from .validation import check_choice, check_positive

__all__ = ["Network", "merge_parallel", "recover"]

# Relative difference of every weight, up to scale, below which two neurons are parallel.
PARALLEL_TOL = 1e-10


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
    activation : {"relu", "gated_relu"}, default="relu"
        ReLU, or gated ReLU: t 1[x.g + h >= 0] for a neuron with gate (g, h).
    skip : ndarray of shape (n_features, n_outputs) or None, default=None
        Weights of the linear skip.
    hidden_bias : {"penalized", "none", "free"}, default="penalized"
        Whether weight decay includes the hidden biases ("free": it does not); with "none" they are zero.
    gates : ndarray of shape (n_features + 1, n_neurons) or None, default=None
        Gates of gated ReLU neurons, the last row their biases. Which side an input is on that lies on the wall of a
        gate is left to rounding.

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

    def __post_init__(self):
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("hidden_bias", self.hidden_bias, (*HIDDEN_BIASES, "free"))
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
    def n_neurons(self):
        """Number of hidden neurons."""
        return self.W1.shape[1]

    def hidden(self, X):
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
        if self.activation == "relu":
            return np.maximum(T, 0.0, out=T)
        return T * (X @ self.gates[:-1] + self.gates[-1] >= 0)

    def predict(self, X):
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

    def weight_decay(self):
        """Return 1/2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2), without the b_j^2 if hidden biases are free."""
        biases = 0.0 if self.hidden_bias == "free" else np.sum(self.b1**2)
        return 0.5 * float(np.sum(self.W1**2) + biases + np.sum(self.W2**2))

    def objective(self, X, y, alpha):
        """Compute the training objective 1/2 |f(X) - y|^2 + alpha / 2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2).

        Free hidden biases b_j are left out of the weight decay.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        alpha : float
            Regularisation strength, above 0.

        Returns
        -------
        float
            The objective, in the squared unit of y.

        Raises
        ------
        ValueError
            If X and y do not fit the network and one another.
        """
        alpha = check_positive("alpha", alpha)
        Z = self._outputs(X)
        y = check_array(y, dtype=np.float64, input_name="y", ensure_2d=False)
        if y.shape not in {Z.shape, (len(Z),)} or y.size != Z.size:
            raise ValueError(f"y must have shape {Z.shape} to fit X and the network; got {y.shape}")
        return Squared().value(y.reshape(Z.shape), Z) + alpha * self.weight_decay()

    def _outputs(self, X):
        Z = self.hidden(X) @ self.W2 + self.b2
        return Z if self.skip is None else Z + self._check_X(X) @ self.skip

    def _check_X(self, X):
        X = check_array(X, dtype=np.float64, input_name="X")
        if X.shape[1] != len(self.W1):
            raise ValueError(f"X must have {len(self.W1)} features, as the network; got {X.shape[1]}")
        return X


def recover(solution):
    """Turn the blocks of a solution into the weights of a network.

    w = u / sqrt|u| and a = s sqrt|u| for a block u of sign s; zero blocks give no neuron; parallel neurons of the same
    sign are merged. On the data the network predicts the fit of the program, and its objective is that of the program.

    Parameters
    ----------
    solution : Solution
        A feasible point of a program.

    Returns
    -------
    Network
        One neuron for each nonzero block that is left after merging.
    """
    program = solution.program
    blocks, outputs = np.nonzero(program.penalty.block_norms(solution.W))
    U = solution.W[blocks, :, outputs].T
    roots = np.sqrt(np.linalg.norm(U, axis=0))
    W2 = np.zeros((len(blocks), solution.W.shape[2]))
    W2[np.arange(len(blocks)), outputs] = program.design.sign(blocks) * roots
    architecture = program.architecture
    n_features = program.design.X.shape[1] - (architecture.hidden_bias != "none")
    weights = _with_bias_row(U / roots, n_features)
    intercept, skip = architecture.split_free(solution.beta, n_features)
    gates = None
    if architecture.activation == "gated_relu":
        index = program.design.pattern_index(blocks)
        gates = _with_bias_row(program.design.arrangements.gates[index].T, n_features)
    network = Network(
        weights[:-1], weights[-1], W2, intercept, architecture.activation, skip, architecture.hidden_bias, gates
    )
    return merge_parallel(network)


def merge_parallel(network):
    """Merge parallel neurons of the same sign into one; f does not change, and weight decay never grows.

    Parameters
    ----------
    network : Network
        Any network. Neurons with gates are left as they are: two gates do not add up to one.

    Returns
    -------
    Network
        Balanced (|w_j| = |a_j|, and |w_j| counts penalised biases only) where neurons were merged, the others
        untouched. Merged constants, free biases with w_j = 0, keep the first one's a_j.
    """
    if network.activation != "relu" or network.n_neurons < 2:
        return network
    hidden = np.vstack([network.W1, network.b1])
    lengths, sizes = np.linalg.norm(hidden, axis=0), np.linalg.norm(network.W2, axis=1)
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
        length = np.linalg.norm(vector[:-1] if network.hidden_bias == "free" else vector)
        root = np.sqrt(length) if length > 0 else sizes[j]  # the length of a constant's weights is zero
        hidden[:, j] = vector / root
        W2[j] *= root / sizes[j]
    return _select(network, hidden, W2, leader == np.arange(network.n_neurons))


def _select(network, hidden, W2, keep):
    return replace(network, W1=hidden[:-1, keep], b1=hidden[-1, keep], W2=W2[keep])


def _with_bias_row(weights, n_features):
    """Append a zero bias row to hidden weights (n_features, m); leave (n_features + 1, m) as they are."""
    if len(weights) > n_features:
        return weights
    return np.vstack([weights, np.zeros((1, weights.shape[1]))])
