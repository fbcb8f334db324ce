"""scikit-learn estimators of convolutional networks: patches in, filters out.

References
----------
T. Ergen and M. Pilanci (2021), Implicit convex regularizers of CNN architectures: convex optimization of two- and
three-layer networks in polynomial time. ICLR.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import StrOptions

from ..geometry.patches import POOLINGS, Patches
from ..model.architecture import ACTIVATIONS, Architecture
from ..networks.conv_network import ConvNetwork
from ..networks.persistence import persistent
from .classifiers import ConvexClassifier
from .dense import ConvexRegressor

__all__ = ["ConvexCNNClassifier", "ConvexCNNRegressor"]

CONSTRAINTS = {"activation": [StrOptions(ACTIVATIONS.keys() - {"threshold"})], "pooling": [StrOptions(set(POOLINGS))]}


@persistent(ConvNetwork)
class ConvexCNNRegressor(ConvexRegressor):
    """Two-layer convolutional network for regression, trained to the global optimum of a convex program.

    The network f(x) = sum_j pool_k act(p_k.w_j + b_j) a_j + b_0 over the patches p_k of x minimises

        sum_i loss(y_i, f(x_i)) + alpha / 2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2)

    over all filters, of any number. A filter is applied as deep-learning libraries do it, by cross-correlation.
    The activation patterns are those of patches, in the dimension of the filter: the number of patterns grows with the
    size of the filter, not of the image.

    Parameters
    ----------
    input_shape : tuple of int or None, default=None
        (channels, length) or (channels, height, width); None is (1, n_features).
    kernel_size : int or tuple of int, default=3
        Size of the filters along each spatial axis.
    stride : int or tuple of int, default=1
        Steps between patches.
    padding : int or tuple of int, default=0
        Zeros on either side of the input.
    pooling : {"mean", "sum", "max", "none"}, default="mean"
        How the activations at all patches become one; "none" gives each patch an output weight of its own, for
        activation "linear" and "gated_relu"; "max" is for "relu".
    alpha : float or "auto", default="auto"
        Strength of the weight decay, above 0. "auto" is 0.01 alpha_max.
    loss : {"squared_error", "huber", "quantile", "absolute_error"}, default="squared_error"
        As in `ConvexReLURegressor`.
    delta, quantile
        Of the Huber and the quantile loss.
    activation : {"relu", "gated_relu", "leaky_relu", "abs", "linear"}, default="relu"
        As in `ConvexReLURegressor`.
    negative_slope : float, default=0.01
        Of "leaky_relu", below 1.
    arrangements : "adaptive", int, "all", or array-like of shape (n_gates, n_hidden_features), default="adaptive"
        Activation patterns of the patches of all samples. "adaptive" generates those that matter, among all; for gated
        networks and max pooling it means 1000. A number to sample, "all", or gates, as in `ConvexReLURegressor`.
    hidden_bias, fit_intercept
        Biases b_j of the filters and b_0 of the output, as in `ConvexReLURegressor`.
    output_penalty : {"weight_decay", "l1"}, default="weight_decay"
        Norm |a_j| of the output weights of a filter, where there are several outputs: Euclidean, or l1, with which each
        output has filters of its own.
    solver, scope
        As in `ConvexReLURegressor`.
    rank : int or None, default=None
        Where patterns are generated: train in this many leading singular directions of the patches.
    tol, max_iter, time_limit, random_state, verbose
        As in `ConvexReLURegressor`.

    Attributes
    ----------
    network_ : ConvNetwork
        The trained network.
    filters_ : ndarray of shape (n_filters, channels, *kernel_size)
        Filters, laid out as the weight of a convolution of PyTorch.
    certificate_ : Certificate
        Objective (of `network_` on the data at `alpha_`), lower bound, gap and scope, as in `ConvexReLURegressor`.
    alpha_ : float
        The alpha used. 1.0 for "auto" when no alpha activates a neuron.
    alpha_max_ : float
        Smallest alpha at which no filter is active, over the patterns used, or over all where they are generated.
    arrangements_ : Arrangements
        The patterns used, of the patches of samples of positive weight.
    coefs_ : list of ndarray, shapes (patch_size, n_filters) and (n_filters, n_outputs)
        Weights; with pooling="none" the second has a first axis for the patches. `intercepts_` are the biases.
    intercepts_, n_neurons_, n_iter_, history_, n_features_in_, feature_names_in_
        As in `ConvexReLURegressor`.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import ConvexCNNRegressor
    >>> X = np.random.default_rng(0).standard_normal((20, 6))
    >>> y = np.abs(X[:, 1:] - X[:, :-1]).mean(axis=1)
    >>> model = ConvexCNNRegressor((1, 6), 2, alpha=1e-3).fit(X, y)
    >>> model.filters_.shape[1:], model.score(X, y) > 0.99
    ((1, 2), True)
    """

    _parameter_constraints: ClassVar[dict] = ConvexRegressor._parameter_constraints | CONSTRAINTS

    def __init__(
        self,
        input_shape: tuple[int, ...] | None = None,
        kernel_size: int | tuple[int, ...] = 3,
        *,
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        pooling: str = "mean",
        alpha: float | str = "auto",
        loss: str = "squared_error",
        delta: float = 1.0,
        quantile: float = 0.5,
        activation: str = "relu",
        negative_slope: float = 0.01,
        arrangements: str | int | ArrayLike = "adaptive",
        hidden_bias: str = "penalized",
        fit_intercept: bool = True,
        output_penalty: str = "weight_decay",
        solver: str = "auto",
        scope: str = "auto",
        rank: int | None = None,
        tol: float = 1e-4,
        max_iter: int | None = None,
        time_limit: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int | bool = 0,
    ):
        self.input_shape = input_shape
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.pooling = pooling
        self.alpha = alpha
        self.loss = loss
        self.delta = delta
        self.quantile = quantile
        self.activation = activation
        self.negative_slope = negative_slope
        self.arrangements = arrangements
        self.hidden_bias = hidden_bias
        self.fit_intercept = fit_intercept
        self.output_penalty = output_penalty
        self.solver = solver
        self.scope = scope
        self.rank = rank
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.random_state = random_state
        self.verbose = verbose

    def _architecture(self):
        return _architecture(self)

    def _publish(self, training, solution):
        super()._publish(training, solution)
        self.filters_ = self.network_.filters
        return self


@persistent(ConvNetwork)
class ConvexCNNClassifier(ConvexClassifier):
    """Two-layer convolutional network for classification, trained to the global optimum of a convex program.

    The network f(x) = sum_j pool_k act(p_k.w_j + b_j) a_j + b_0 over the patches p_k of x minimises

        sum_i loss(y_i, f(x_i)) + alpha / 2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2)

    over all filters, of any number. A filter is applied as deep-learning libraries do it, by cross-correlation.
    The activation patterns are those of patches, in the dimension of the filter: the number of patterns grows with the
    size of the filter, not of the image.

    Parameters
    ----------
    input_shape, kernel_size, stride, padding, pooling
        As in `ConvexCNNRegressor`.
    alpha : float or "auto", default="auto"
        Strength of the weight decay, above 0. "auto" is 0.01 alpha_max.
    loss : {"log_loss", "softmax", "hinge", "squared_hinge"}, default="log_loss"
        As in `ConvexReLUClassifier`: softmax with more than two classes; the hinges are for two.
    activation, negative_slope, arrangements, hidden_bias, fit_intercept, output_penalty
        As in `ConvexCNNRegressor`; with output_penalty="l1" each class has filters of its own.
    solver, scope, rank, tol, max_iter, time_limit, random_state, verbose
        As in `ConvexCNNRegressor`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    network_ : ConvNetwork
        The trained network, of one output for two classes, but with loss="softmax" one for each class.
    filters_, certificate_, alpha_, alpha_max_, arrangements_, coefs_, intercepts_, and others
        As in `ConvexCNNRegressor`.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import ConvexCNNClassifier
    >>> X = np.random.default_rng(0).standard_normal((20, 4))
    >>> y = np.maximum(X[:, 1:] - X[:, :-1], 0).sum(axis=1) > 1  # how much the signal rises
    >>> model = ConvexCNNClassifier((1, 4), kernel_size=2, alpha=1e-3, pooling="sum", random_state=0).fit(X, y)
    >>> model.score(X, y)
    1.0
    """

    _parameter_constraints: ClassVar[dict] = ConvexClassifier._parameter_constraints | CONSTRAINTS

    def __init__(
        self,
        input_shape: tuple[int, ...] | None = None,
        kernel_size: int | tuple[int, ...] = 3,
        *,
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        pooling: str = "mean",
        alpha: float | str = "auto",
        loss: str = "log_loss",
        activation: str = "relu",
        negative_slope: float = 0.01,
        arrangements: str | int | ArrayLike = "adaptive",
        hidden_bias: str = "penalized",
        fit_intercept: bool = True,
        output_penalty: str = "weight_decay",
        solver: str = "auto",
        scope: str = "auto",
        rank: int | None = None,
        tol: float = 1e-4,
        max_iter: int | None = None,
        time_limit: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int | bool = 0,
    ):
        self.input_shape = input_shape
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.pooling = pooling
        self.alpha = alpha
        self.loss = loss
        self.activation = activation
        self.negative_slope = negative_slope
        self.arrangements = arrangements
        self.hidden_bias = hidden_bias
        self.fit_intercept = fit_intercept
        self.output_penalty = output_penalty
        self.solver = solver
        self.scope = scope
        self.rank = rank
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.random_state = random_state
        self.verbose = verbose

    def _architecture(self):
        return _architecture(self)

    def _publish(self, training, solution):
        super()._publish(training, solution)
        self.filters_ = self.network_.filters
        return self


def _architecture(model):
    """Return the architecture that the parameters of an estimator describe, for the features it was given."""
    shape = (1, model.n_features_in_) if model.input_shape is None else model.input_shape
    patches = Patches(shape, model.kernel_size, model.stride, model.padding, model.pooling)
    if patches.n_features != model.n_features_in_:
        raise ValueError(
            f"X must have {patches.n_features} features, as input_shape {patches.input_shape}; got "
            f"{model.n_features_in_}"
        )
    return Architecture(
        model.activation,
        model.hidden_bias,
        model.fit_intercept,
        negative_slope=model.negative_slope,
        output_penalty=model.output_penalty,
        patches=patches,
    )
