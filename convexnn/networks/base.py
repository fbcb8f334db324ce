"""What all networks share: checks of their parts, predictions, weight decay and the objective.

    f(x) = sum_j h_j(x) a_j + b_0 (+ x.w_0)          objective L(f(X)) + alpha * weight decay

A kind of network is a frozen dataclass of arrays that says what its hidden activations h_j are.
"""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import gen_batches

from ..geometry.arrangements import BLOCK_ENTRIES
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

__all__ = ["THRESHOLD_TOL", "BaseNetwork", "column_norms"]

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


def column_norms(columns, hidden_norm):
    """Return the norms of the columns of hidden weights, in `hidden_norm`."""
    ratio = {"l2": 0.0, "l1": 1.0}.get(hidden_norm, hidden_norm)
    return ElasticNorm(ratio).block_norms(columns.T[:, :, None])[:, 0]
