"""Estimators of convolutional networks: of two layers over patches, and of circular ones of three layers.

References
----------
T. Ergen and M. Pilanci (2021), Implicit convex regularizers of CNN architectures: convex optimization of two- and
three-layer networks in polynomial time. ICLR.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import ArrayLike

from ..geometry.patches import POOLINGS, Patches
from ..model.architecture import ACTIVATIONS, Architecture
from ..networks.network import CIRCULAR_ACTIVATIONS, CircularNetwork, ConvNetwork
from ..networks.persistence import persistent
from ..utils.validation import check_count, shown
from .base import ConvexNetworkEstimator
from .dense import ARRANGEMENTS, FIT_INTERCEPT, TwoLayer
from .parameters import choice, fitted, parameter
from .tasks import Classification, Regression

__all__ = ["CircularCNNClassifier", "CircularCNNRegressor", "ConvexCNNClassifier", "ConvexCNNRegressor"]

# Filters of this size where none is asked for.
KERNEL_SIZE = 3


class Convolutional(TwoLayer):
    """What the estimators of convolutional networks share; `Patches` checks shapes and sizes."""

    _formula = """
    The network f(x) = sum_j pool_k act(p_k.w_j + b_j) a_j + b_0 over the patches p_k of x minimises

        sum_i loss(y_i, f(x_i)) + alpha / 2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2)

    over all filters, of any number. A filter is applied as deep-learning libraries do it, by cross-correlation.
    The activation patterns are those of patches, in the dimension of the filter: the number of patterns grows with the
    size of the filter, not of the image.
    """

    input_shape: tuple[int, ...] | None = parameter(
        None,
        "no_validation",
        "tuple of int or None",
        "(channels, length) or (channels, height, width); None is (1, n_features).",
    )
    kernel_size: int | tuple[int, ...] | None = parameter(
        None,
        "no_validation",
        "int, tuple of int or None",
        "Size of the filters along each spatial axis. None is 3, or the whole of an axis that is shorter.",
    )
    stride: int | tuple[int, ...] = parameter(
        1, "no_validation", "int or tuple of int", "Steps between patches, along each spatial axis."
    )
    padding: int | tuple[int, ...] = parameter(
        0, "no_validation", "int or tuple of int", "Zeros on either side of the input, along each spatial axis."
    )
    pooling: str = choice(
        "mean",
        POOLINGS,
        'How the activations at all patches become one; "none" gives each patch an output weight of its own, for '
        'activation "linear" and "gated_relu"; "max" is for "relu".',
    )
    activation: str = choice(
        "relu",
        [name for name in ACTIVATIONS if name != "threshold"],
        "(t)_+; gated ReLU with the gates of `arrangements`, a convex model of its own; max(t, negative_slope t); |t|; "
        "or t.",
    )

    network_: ConvNetwork = fitted("ConvNetwork", "The trained network.")
    filters_: np.ndarray = fitted(
        "ndarray of shape (n_filters, channels, *kernel_size)",
        "Filters, laid out as the weight of a convolution of PyTorch.",
    )
    coefs_: list[np.ndarray] = fitted(
        "list of ndarray, shapes (patch_size, n_filters) and (n_filters, n_outputs)",
        'Weights; with pooling="none" the second has a first axis for the patches.',
    )
    intercepts_: list[np.ndarray] = fitted(
        "list of ndarray, shapes (n_filters,) and (n_outputs,)", "Biases of the filters and of the outputs."
    )

    def _architecture(self, **options) -> Architecture:
        shape, kernel = (1, self.n_features_in_) if self.input_shape is None else self.input_shape, self.kernel_size
        if kernel is None:
            kernel = tuple(min(KERNEL_SIZE, size) for size in Patches(shape, 1).input_shape[1:])
        patches = Patches(shape, kernel, self.stride, self.padding, self.pooling)
        if patches.n_features != self.n_features_in_:
            raise ValueError(
                f"X must have {patches.n_features} features, as input_shape {patches.input_shape}; got "
                f"{self.n_features_in_}"
            )
        return super()._architecture(patches=patches)

    def _publish(self, training, solution):
        super()._publish(training, solution)
        self.filters_ = self.network_.filters
        return self


@persistent(ConvNetwork)
class ConvexCNNRegressor(Regression, Convolutional):
    """Two-layer convolutional network for regression, trained to the global optimum of a convex program.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import ConvexCNNRegressor
    >>> X = np.random.default_rng(0).standard_normal((20, 6))
    >>> y = np.abs(X[:, 1:] - X[:, :-1]).mean(axis=1)
    >>> model = ConvexCNNRegressor(1e-3, input_shape=(1, 6), kernel_size=2).fit(X, y)
    >>> model.filters_.shape[1:], model.score(X, y) > 0.99
    ((1, 2), True)
    """


@persistent(ConvNetwork)
class ConvexCNNClassifier(Classification, Convolutional):
    """Two-layer convolutional network for classification, trained to the global optimum of a convex program.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import ConvexCNNClassifier
    >>> X = np.random.default_rng(0).standard_normal((20, 4))
    >>> y = np.maximum(X[:, 1:] - X[:, :-1], 0).sum(axis=1) > 1  # how much the signal rises
    >>> model = ConvexCNNClassifier(1e-3, kernel_size=2, pooling="sum", random_state=0).fit(X, y)
    >>> model.score(X, y)
    1.0
    """


class Circular(ConvexNetworkEstimator):
    """What the estimators of circular networks share."""

    _formula = """
    The network f(x) = sum_j act(x circ(u_j) w_j) a_j + b_0 with filters |u_j| <= 1 minimises

        sum_i loss(y_i, f(x_i)) + alpha / 2 sum_j (|w_j|^2 + |a_j|_1^2)

    over all networks whose neurons have the patterns of `arrangements`. x circ(u) is the circular
    cross-correlation of x with u. The weight decay is the l1 norm of the discrete Fourier transform of what the neurons
    see of x, so that few frequencies are used.
    """

    input_shape: tuple[int, ...] | None = parameter(
        None, "no_validation", "tuple of int or None", "(length,) or (height, width); None is (n_features,)."
    )
    activation: str = choice(
        "relu",
        CIRCULAR_ACTIVATIONS,
        "ReLU, gated ReLU with the gates of `arrangements`, or the identity, which has one pattern.",
    )
    arrangements: str | int | ArrayLike = parameter(
        "adaptive",
        ARRANGEMENTS,
        '"adaptive", int, "all", Arrangements, or array-like of shape (n_gates, n_features)',
        'Activation patterns: a number to sample, where "adaptive" means 1000; all, enumerated (exact, for few '
        "features); or those of gates.",
    )
    fit_intercept: bool = FIT_INTERCEPT
    solver: str = parameter(
        "auto",
        [str],
        "str",
        '"auto" and "conic" are `solve_conic`, "cvxpy" is the reference, by Clarabel or the name of a solver of cvxpy.',
    )

    network_: CircularNetwork = fitted("CircularNetwork", "The trained network.")
    filters_: np.ndarray = fitted("ndarray of shape (n_neurons, *input_shape)", "The filters u_j, of norm 1.")
    coefs_: list[np.ndarray] = fitted(
        "list of ndarray, shapes (n_features, n_neurons), (n_features, n_neurons) and (n_neurons, n_outputs)",
        "Filters u_j, weights w_j and output weights a_j.",
    )
    intercepts_: list[np.ndarray] = fitted("list of ndarray, shape (n_outputs,)", "The output biases.")

    def _architecture(self) -> Architecture:
        shape = (self.n_features_in_,) if self.input_shape is None else self.input_shape
        if not isinstance(shape, (tuple, list)) or len(shape) not in (1, 2):
            raise ValueError(f"input_shape must be (length,) or (height, width); got {shown(shape)}")
        shape = tuple(check_count("input_shape", size) for size in shape)
        if prod(shape) != self.n_features_in_:
            raise ValueError(f"X must have {prod(shape)} features, as input_shape {shape}; got {self.n_features_in_}")
        kind = {"hidden_norm": "circular", "output_penalty": "l1", "circular_shape": shape}
        return Architecture(self.activation, "none", self.fit_intercept, **kind)

    def _weights(self):
        return [self.network_.U, self.network_.W1, self.network_.W2], [self.network_.b2]

    def _publish(self, training, solution):
        super()._publish(training, solution)
        self.filters_ = self.network_.U.T.reshape(-1, *self.network_.shape)
        return self


@persistent(CircularNetwork)
class CircularCNNRegressor(Regression, Circular):
    """Three-layer circular convolutional network for regression, trained by a convex program.

    The convex program is that of [1]_.

    References
    ----------
    .. [1] T. Ergen and M. Pilanci (2021), Implicit convex regularizers of CNN architectures: convex optimization of
       two- and three-layer networks in polynomial time, ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import CircularCNNRegressor
    >>> X = np.random.default_rng(0).standard_normal((20, 4))
    >>> y = np.abs(X @ [1.0, -1.0, 1.0, -1.0])
    >>> model = CircularCNNRegressor(1e-3, arrangements=50, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.99
    True
    """


@persistent(CircularNetwork)
class CircularCNNClassifier(Classification, Circular):
    """Three-layer circular convolutional network for classification, trained by a convex program.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import CircularCNNClassifier
    >>> X = np.random.default_rng(0).standard_normal((20, 4))
    >>> y = np.abs(X @ [1.0, -1.0, 1.0, -1.0])
    >>> model = CircularCNNClassifier(1e-3, arrangements=50, random_state=0).fit(X, y > 1)
    >>> model.score(X, y > 1) > 0.99
    True
    """
