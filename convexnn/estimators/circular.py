"""Estimators of circular networks, whose weight decay is the l1 norm of the discrete Fourier transform."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import ArrayLike

from ..model.architecture import Architecture
from ..networks.network import CIRCULAR_ACTIVATIONS, CircularNetwork
from ..networks.persistence import persistent
from ..utils.validation import check_count, shown
from .base import ConvexNetworkEstimator
from .dense import ARRANGEMENTS, FIT_INTERCEPT
from .parameters import choice, fitted, parameter
from .tasks import Classification, Regression

__all__ = ["CircularCNNClassifier", "CircularCNNRegressor"]


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
