"""Three-layer networks of circular convolutions, and the norm that weight decay is on their products.

    f(x) = sum_j act(x circ(u_j) w_j) a_j + b_0,  |u_j| <= 1         weight decay 1/2 sum_j (|w_j|^2 + |a_j|^2)

    circ(u)[i, k] = u[i - k], indices modulo the shape:   circ(u) w = ifft(fft(u) fft(w)), circular convolution

so that x circ(u), x a row, is the circular cross-correlation of x with u, and circ(u) w is one vector q of d weights.
Write ^ for numpy's fft, over both axes of images. For q = circ(u) w a the least weight decay is a norm of q:

    |w| |a| <= 1/2 (|w|^2 + a^2), equal where |w| = |a|;  |w|^2 a^2 = 1/d sum_k |q^_k|^2 / |u^_k|^2,
    least over sum_k |u^_k|^2 <= d at |u^_k|^2 = d |q^_k| / sum |q^| (Cauchy-Schwarz), where it is
    |w| |a| = 1/d sum_k |q^_k| = circular_norm(q)

The dual norm of g is max_k |g^_k|. In the real orthonormal basis of the discrete Fourier transform the norm is a group
norm: a cosine alone has weight 1 / sqrt(d), the pair of a cosine and its sine sqrt(2 / d).

References
----------
T. Ergen and M. Pilanci (2021), Implicit convex regularizers of CNN architectures: convex optimization of two- and
three-layer networks in polynomial time. ICLR.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array

from .losses import Loss, Squared
from .validation import check_choice, check_count, check_positive

__all__ = [
    "CIRCULAR_ACTIVATIONS",
    "CircularNetwork",
    "circulant",
    "circular_dual_norm",
    "circular_norm",
    "fourier_basis",
    "split_circular",
]

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
    >>> from convexnn.circular import CircularNetwork
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
        object.__setattr__(self, "shape", _check_shape(self.shape))
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
        spectrum = _spectrum(self.U, self.shape) * _spectrum(self.W1, self.shape)
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
        X = check_array(X, dtype=np.float64, input_name="X")
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
        y = check_array(y, dtype=np.float64, input_name="y", ensure_2d=False)
        if y.shape not in {Z.shape, (len(Z),)} or y.size != Z.size:
            raise ValueError(f"y must have shape {Z.shape} to fit X and the network; got {y.shape}")
        loss = Squared() if loss is None else loss
        return loss.value(y.reshape(Z.shape), Z) + alpha * self.weight_decay()


def circulant(u: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Return the matrix circ(u) of circular convolution with u: circ(u)[i, k] = u[i - k], modulo the shape.

    Parameters
    ----------
    u : array-like of shape (n_features,)
        Filter, in the C order of `shape`.
    shape : tuple of int
        (length,) or (height, width).

    Returns
    -------
    ndarray of shape (n_features, n_features)
        circ(u), with u as its first column; block circulant for images.

    Raises
    ------
    ValueError
        If u is not one filter of the shape.
    """
    u, shape = _check_columns("u", u, shape)
    if u.ndim != 1:
        raise ValueError(f"u must be one filter of shape ({prod(shape)},); got {u.shape}")
    places = np.indices(shape).reshape(len(shape), -1)
    differences = (places[:, :, None] - places[:, None, :]) % np.array(shape)[:, None, None]
    return u[np.ravel_multi_index(tuple(differences), shape)]


def circular_norm(Q: ArrayLike, shape: tuple[int, ...]) -> float | np.ndarray:
    """Compute 1/d sum_k |q^_k|, the least 1/2 (|w|^2 + a^2) with circ(u) w a = q and |u| <= 1.

    Parameters
    ----------
    Q : array-like of shape (n_features,) or (n_features, n_vectors)
        Vectors q, as columns; q^ is numpy's `fftn(q)`.
    shape : tuple of int
        (length,) or (height, width), of d = n_features values.

    Returns
    -------
    float or ndarray of shape (n_vectors,)
        The norm of every column.

    Raises
    ------
    ValueError
        If Q does not fit the shape.
    """
    Q, shape = _check_columns("Q", Q, shape)
    return np.abs(_spectrum(Q, shape)).reshape(Q.shape).sum(axis=0) / len(Q)


def circular_dual_norm(G: ArrayLike, shape: tuple[int, ...]) -> float | np.ndarray:
    """Compute max_k |g^_k|, the maximum of g.q over circular_norm(q) <= 1.

    Parameters
    ----------
    G : array-like of shape (n_features,) or (n_features, n_vectors)
        Vectors g, as columns; g^ is numpy's `fftn(g)`.
    shape : tuple of int
        (length,) or (height, width).

    Returns
    -------
    float or ndarray of shape (n_vectors,)
        The dual norm of every column.

    Raises
    ------
    ValueError
        If G does not fit the shape.
    """
    G, shape = _check_columns("G", G, shape)
    return np.abs(_spectrum(G, shape)).reshape(G.shape).max(axis=0)


def fourier_basis(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Build the real orthonormal basis of the discrete Fourier transform, and the group norm that circular_norm is.

    circular_norm(q) = sum_g weights[g] |(B'q)_g|. A frequency k that is its own opposite has the column cos(2 pi k.i)
    and a group of its own; k and -k share the columns cos(2 pi k.i) and sin(2 pi k.i) and one group.

    Parameters
    ----------
    shape : tuple of int
        (length,) or (height, width).

    Returns
    -------
    B : ndarray of shape (n_features, n_features)
        The basis vectors, as columns; the columns of a group are next to one another.
    groups : ndarray of shape (n_features,)
        The group of every column, from 0, in increasing order.
    weights : ndarray of shape (n_groups,)
        1 / sqrt(n_features) for one column, sqrt(2 / n_features) for two.

    Raises
    ------
    ValueError
        If shape is not of one or two positive sizes.
    """
    shape = _check_shape(shape)
    d, sizes = prod(shape), np.array(shape)[:, None]
    places = np.indices(shape).reshape(len(shape), -1)
    opposites = np.ravel_multi_index(tuple(-places % sizes), shape)
    columns, groups, weights = [], [], []
    for k in np.flatnonzero(opposites >= np.arange(d)):
        # whole turns are taken off as integers: the angles, and the basis, are exact to rounding
        angles = 2 * np.pi * (places * places[:, [k]] % sizes / sizes).sum(axis=0)
        waves = [np.cos(angles)] if opposites[k] == k else [np.cos(angles), np.sin(angles)]
        scale = np.sqrt(len(waves) / d)
        columns += [scale * wave for wave in waves]
        groups += [len(weights)] * len(waves)
        weights.append(scale)
    return np.column_stack(columns), np.array(groups), np.array(weights)


def split_circular(q: ArrayLike, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, float | np.ndarray]:
    """Split q = circ(u) w a, |u| = 1 and a > 0, with the least weight decay: 1/2 (|w|^2 + a^2) = circular_norm(q).

    u^_k = sqrt(d |q^_k| / sum |q^|), w^_k = a u^_k q^_k / |q^_k| and a = sqrt(sum |q^| / d), which is |w|.

    Parameters
    ----------
    q : array-like of shape (n_features,) or (n_features, n_vectors)
        Vectors to split, as columns.
    shape : tuple of int
        (length,) or (height, width).

    Returns
    -------
    u : ndarray of the shape of q
        Filters of length 1.
    w : ndarray of the shape of q
        Weights of length a.
    a : float or ndarray of shape (n_vectors,)
        The square root of circular_norm(q). A zero q has w = 0 and a = 0, and the unit impulse as u.

    Raises
    ------
    ValueError
        If q does not fit the shape.
    """
    q, shape = _check_columns("q", q, shape)
    axes = tuple(range(len(shape)))
    largest = np.abs(q).max(axis=0)
    spectrum = _spectrum(q / np.where(largest > 0, largest, 1.0), shape)
    sizes = np.abs(spectrum)
    total = sizes.sum(axis=axes)
    # a zero q: the constant spectrum of the unit impulse
    shares = np.where(total > 0, sizes / np.where(total > 0, total, 1.0), 1.0 / len(q))
    roots = np.sqrt(len(q) * shares)
    a = np.sqrt(total / len(q)) * np.sqrt(largest)
    phases = np.divide(spectrum, sizes, out=np.zeros_like(spectrum), where=sizes > 0)
    u = np.fft.ifftn(roots, axes=axes).real.reshape(q.shape)
    w = a * np.fft.ifftn(roots * phases, axes=axes).real.reshape(q.shape)
    return u, w, a


def _spectrum(Q, shape):
    """Return fftn of every column, as an array (*shape, ...)."""
    return np.fft.fftn(Q.reshape(*shape, *Q.shape[1:]), axes=tuple(range(len(shape))))


def _check_shape(shape):
    if not isinstance(shape, (tuple, list)) or len(shape) not in (1, 2):
        raise ValueError(f"shape must be (length,) or (height, width); got {shape!r}")
    return tuple(check_count("shape", size) for size in shape)


def _check_columns(name, Q, shape):
    """Return a vector or columns as floats, and the shape they are of."""
    shape, Q = _check_shape(shape), np.asarray(Q, dtype=np.float64)
    if Q.ndim not in (1, 2) or len(Q) != prod(shape):
        raise ValueError(f"{name} must have {prod(shape)} rows, as shape {shape}; got {Q.shape}")
    return Q, shape
