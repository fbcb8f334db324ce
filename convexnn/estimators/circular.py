"""scikit-learn estimators of circular networks: the l1 norm of the discrete Fourier transform behind fit."""

from math import prod
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import StrOptions

from ..model.architecture import Architecture
from ..networks.circular import CIRCULAR_ACTIVATIONS, CircularNetwork
from ..networks.persistence import persistent
from ..utils.validation import check_count, shown
from .classifiers import ConvexClassifier
from .dense import ConvexRegressor

__all__ = ["CircularCNNClassifier", "CircularCNNRegressor"]

CONSTRAINTS = {"activation": [StrOptions(set(CIRCULAR_ACTIVATIONS))]}


@persistent(CircularNetwork)
class CircularCNNRegressor(ConvexRegressor):
    """Three-layer circular convolutional network for regression, trained by a convex program.

    The network f(x) = sum_j act(x circ(u_j) w_j) a_j + b_0 with filters |u_j| <= 1 minimises

        sum_i loss(y_i, f(x_i)) + alpha / 2 sum_j (|w_j|^2 + |a_j|_1^2)

    over all networks whose neurons have the patterns of `arrangements` [1]_. x circ(u) is the circular
    cross-correlation of x with u. The weight decay is the l1 norm of the discrete Fourier transform of what the neurons
    see of x, so that few frequencies are used.

    Parameters
    ----------
    input_shape : tuple of int or None, default=None
        (length,) or (height, width); None is (n_features,).
    alpha : float or "auto", default="auto"
        Strength of the weight decay, above 0. "auto" is 0.01 alpha_max.
    loss : {"squared_error", "huber", "quantile", "absolute_error"}, default="squared_error"
        As in `ConvexReLURegressor`.
    delta : float, default=1.0
        Of the Huber loss, in units of y.
    quantile : float, default=0.5
        Of the quantile loss, in (0, 1).
    activation : {"relu", "gated_relu", "linear"}, default="relu"
        ReLU, gated ReLU with the gates of `arrangements`, or the identity, which has one pattern.
    arrangements : "adaptive", int, "all", or array-like of shape (n_gates, n_features), default="adaptive"
        Activation patterns: a number to sample, where "adaptive" means 1000; all, enumerated (exact, for few
        features); or those of gates.
    fit_intercept : bool, default=True
        Whether there is a free output bias b_0.
    solver : str, default="auto"
        "auto" and "conic" are `solve_conic`, "cvxpy" is the reference, by Clarabel or the name of a solver of cvxpy.
    tol : float, default=1e-4
        Compared with the relative gap (objective - lower_bound) / objective of `certificate_`.
    max_iter : int or None, default=None
        Limit of the solver's iterations; None is the solver's own.
    time_limit : float or None, default=None
        Limit of the whole fit in seconds, from the validation of the data to the fitted attributes, the compilation of
        kernels included. The best network found by then is kept; `alpha_max_` is a lower bound where its search was
        cut short, fewer patterns may be sampled, and the network may have more neurons than it needs.
    random_state : int, RandomState instance or None, default=None
        Source of the sampled patterns.
    verbose : int or bool, default=0
        0 is silent, 1 shows one live line and a summary in words, 2 a line for each iteration; on stderr.

    Attributes
    ----------
    network_ : CircularNetwork
        The trained network.
    filters_ : ndarray of shape (n_neurons, *input_shape)
        The filters u_j, of length 1.
    certificate_ : Certificate
        Objective (that of `network_` on the data at `alpha_`), lower bound, relative gap, and scope, as in
        `ConvexReLURegressor`.
    alpha_ : float
        The alpha used. 1.0 for "auto" when no alpha activates a neuron.
    alpha_max_ : float
        Smallest alpha at which no neuron is active, over the patterns used.
    arrangements_ : Arrangements
        The patterns used, of the samples of positive weight.
    n_neurons_ : int
        Number of neurons, each with a filter and weights of its own.
    coefs_ : list of ndarray, shapes (n_features, n_neurons), (n_features, n_neurons) and (n_neurons, n_outputs)
        Filters u_j, weights w_j and output weights a_j.
    intercepts_ : list of ndarray, shape (n_outputs,)
        The output biases.
    n_iter_ : int
        Iterations of the solver.
    history_ : list of dict
        Records of time (s), objective, lower_bound, gap, scope, provisional, n_blocks.
    n_features_in_ : int
        Number of features, prod(input_shape).
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, when X has string names.

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
    >>> model = CircularCNNRegressor((4,), alpha=1e-3, arrangements=50, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict] = ConvexRegressor._parameter_constraints | CONSTRAINTS

    def __init__(
        self,
        input_shape: tuple[int, ...] | None = None,
        *,
        alpha: float | str = "auto",
        loss: str = "squared_error",
        delta: float = 1.0,
        quantile: float = 0.5,
        activation: str = "relu",
        arrangements: str | int | ArrayLike = "adaptive",
        fit_intercept: bool = True,
        solver: str = "auto",
        tol: float = 1e-4,
        max_iter: int | None = None,
        time_limit: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int | bool = 0,
    ):
        self.input_shape = input_shape
        self.alpha = alpha
        self.loss = loss
        self.delta = delta
        self.quantile = quantile
        self.activation = activation
        self.arrangements = arrangements
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.random_state = random_state
        self.verbose = verbose

    def _architecture(self):
        return _architecture(self)

    def _weights(self):
        return [self.network_.U, self.network_.W1, self.network_.W2], [self.network_.b2]

    def _publish(self, training, solution):
        super()._publish(training, solution)
        self.filters_ = self.network_.U.T.reshape(-1, *self.network_.shape)
        return self


@persistent(CircularNetwork)
class CircularCNNClassifier(ConvexClassifier):
    """Three-layer circular convolutional network for classification, trained by a convex program.

    The network f(x) = sum_j act(x circ(u_j) w_j) a_j + b_0 with filters |u_j| <= 1 minimises

        sum_i loss(y_i, f(x_i)) + alpha / 2 sum_j (|w_j|^2 + |a_j|_1^2)

    over all networks whose neurons have the patterns of `arrangements`. x circ(u) is the circular
    cross-correlation of x with u. The weight decay is the l1 norm of the discrete Fourier transform of what the neurons
    see of x, so that few frequencies are used.

    Parameters
    ----------
    input_shape, alpha
        As in `CircularCNNRegressor`.
    loss : {"log_loss", "softmax", "hinge", "squared_hinge"}, default="log_loss"
        As in `ConvexReLUClassifier`: softmax with more than two classes; the hinges are for two.
    activation, arrangements, fit_intercept, solver, tol, max_iter, time_limit, random_state, verbose
        As in `CircularCNNRegressor`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    network_ : CircularNetwork
        The trained network, of one output for two classes, but with loss="softmax" one for each class.
    filters_, certificate_, alpha_, alpha_max_, arrangements_, n_neurons_, coefs_, intercepts_, n_iter_, history_
        As in `CircularCNNRegressor`.
    n_features_in_, feature_names_in_
        As in `CircularCNNRegressor`.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import CircularCNNClassifier
    >>> X = np.random.default_rng(0).standard_normal((20, 4))
    >>> y = np.abs(X @ [1.0, -1.0, 1.0, -1.0])
    >>> model = CircularCNNClassifier((4,), alpha=1e-3, arrangements=50, random_state=0).fit(X, y > 1)
    >>> model.score(X, y > 1) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict] = ConvexClassifier._parameter_constraints | CONSTRAINTS

    def __init__(
        self,
        input_shape: tuple[int, ...] | None = None,
        *,
        alpha: float | str = "auto",
        loss: str = "log_loss",
        activation: str = "relu",
        arrangements: str | int | ArrayLike = "adaptive",
        fit_intercept: bool = True,
        solver: str = "auto",
        tol: float = 1e-4,
        max_iter: int | None = None,
        time_limit: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int | bool = 0,
    ):
        self.input_shape = input_shape
        self.alpha = alpha
        self.loss = loss
        self.activation = activation
        self.arrangements = arrangements
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.random_state = random_state
        self.verbose = verbose

    def _architecture(self):
        return _architecture(self)

    def _weights(self):
        return [self.network_.U, self.network_.W1, self.network_.W2], [self.network_.b2]

    def _publish(self, training, solution):
        super()._publish(training, solution)
        self.filters_ = self.network_.U.T.reshape(-1, *self.network_.shape)
        return self


def _architecture(model):
    """Return the architecture that the parameters of an estimator describe, for the features it was given."""
    shape = (model.n_features_in_,) if model.input_shape is None else model.input_shape
    if not isinstance(shape, (tuple, list)) or len(shape) not in (1, 2):
        raise ValueError(f"input_shape must be (length,) or (height, width); got {shown(shape)}")
    shape = tuple(check_count("input_shape", size) for size in shape)
    if prod(shape) != model.n_features_in_:
        raise ValueError(f"X must have {prod(shape)} features, as input_shape {shape}; got {model.n_features_in_}")
    return Architecture(
        model.activation,
        "none",
        model.fit_intercept,
        hidden_norm="circular",
        output_penalty="l1",
        circular_shape=shape,
    )
