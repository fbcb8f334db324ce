"""Estimators of dense two-layer networks, and the parameters that convolutional ones have too."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval, Real, StrOptions

from ..geometry.arrangements import Arrangements
from ..model.architecture import ACTIVATIONS, HIDDEN_BIASES, OUTPUT_PENALTIES, Architecture
from ..networks.network import Network
from ..networks.persistence import persistent
from .base import ConvexNetworkEstimator
from .parameters import COUNT, UNIT, choice, fitted, parameter
from .tasks import Classification, Regression

__all__ = ["ARRANGEMENTS", "FIT_INTERCEPT", "ConvexReLUClassifier", "ConvexReLURegressor", "TwoLayer"]

ARRANGEMENTS = [StrOptions({"adaptive", "all"}), COUNT, "array-like", Arrangements]
FIT_INTERCEPT = parameter(
    True,
    ["boolean"],
    "bool",
    "Whether there is a free output bias b_0; there has to be with free hidden biases.",
)


class TwoLayer(ConvexNetworkEstimator):
    """What dense and convolutional networks share."""

    activation: str = choice(
        "relu",
        ACTIVATIONS.keys(),
        "(t)_+; gated ReLU with the gates of `arrangements`, a convex model of its own; max(t, negative_slope t); |t|; "
        "t; or 1[t >= 0], whose decay is alpha sum_j |a_j|.",
    )
    negative_slope: float = parameter(
        0.01, [Interval(Real, None, 1, closed="neither")], "float", 'Slope of "leaky_relu" for t < 0, below 1.'
    )
    arrangements: str | int | ArrayLike = parameter(
        "adaptive",
        ARRANGEMENTS,
        '"adaptive", int, "all", Arrangements, or array-like of shape (n_gates, n_hidden_features)',
        'Activation patterns, in convolutional networks of the patches of all samples. "adaptive" trains over all of '
        "them: those that matter are generated as they are needed; for activations whose patterns are not those of the "
        'weights ("gated_relu", "threshold"), for max pooling, and where hidden_norm is not "l2", it means 1000. A '
        'number samples that many (or all, if there are fewer), "all" enumerates them (exact, for few features), an '
        "array gives gates, whose patterns are used. With hidden biases a gate has one more entry, for the bias. "
        "Linear networks have one pattern.",
    )
    hidden_bias: str = choice(
        "penalized",
        HIDDEN_BIASES,
        "Whether neurons have a bias b_j, penalised like their weights, or free as in scikit-learn's MLPRegressor and "
        "MLPClassifier.",
    )
    fit_intercept: bool = FIT_INTERCEPT
    output_penalty: str = choice(
        "weight_decay",
        OUTPUT_PENALTIES,
        "Norm |a_j| of the output weights of a neuron, where there are several outputs: Euclidean, or l1, with which "
        "each output has neurons of its own.",
    )
    solver: str = parameter(
        "auto",
        [str],
        "str",
        '"auto": `solve_generation` with "adaptive", else `solve_working_set`, or `solve_conic` unless '
        'hidden_norm="l2"; for one feature of a dense network with hidden_bias="free" and the squared loss the exact '
        'spline, in one step, whatever the limits. With given patterns also "newton" (`solve_working_set`), "fista" '
        '(the same with accelerated proximal gradient inside), "conic", "cvxpy" (the reference: the whole program in '
        'cvxpy, solved by Clarabel), or the name of an installed solver of cvxpy, such as "SCS".',
    )
    scope: str = choice(
        "auto",
        ("local", "global"),
        'Where patterns are generated: what to certify. "local" is an estimate by search over all patterns, "global" '
        'is proved (seconds up to about six features), "auto" proves what a short attempt can. Given patterns have a '
        "scope of their own.",
    )
    rank: int | None = parameter(
        None,
        [COUNT, None],
        "int or None",
        "Where patterns are generated: train in this many leading singular directions of the data (of the patches), as "
        "in `solve_generation`; the certificate is for the whole data.",
    )

    def _architecture(self, **options) -> Architecture:
        return Architecture(
            self.activation,
            self.hidden_bias,
            self.fit_intercept,
            negative_slope=self.negative_slope,
            output_penalty=self.output_penalty,
            **options,
        )


class Dense(TwoLayer):
    """What the estimators of dense networks share."""

    _formula = """
    The network f(x) = sum_j act(x.w_j + b_j) a_j + b_0 (+ x.w_0), act(t) = (t)_+ for ReLU, minimises

        sum_k loss(y_k, f(x_k)) + alpha / 2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2)

    over all networks, of any width: over all activation patterns of the neurons, or those of `arrangements`. No
    learning rate, no number of neurons. `certificate_` says how far from the optimum the network is, and whether that
    is proved or an estimate.
    """

    skip: bool = parameter(
        False,
        ["boolean"],
        "bool",
        "Whether there is a free linear skip connection x.w_0 from the inputs to the outputs.",
    )
    hidden_norm: str | float = parameter(
        "l2",
        [StrOptions({"l2", "l1"}), UNIT],
        '{"l2", "l1"} or float',
        'Norm |w_j| of hidden weights, and penalised biases. "l1" selects features, and so does a number r strictly '
        "between 0 and 1, the elastic norm r |w_j|_1 + (1 - r) |w_j|_2.",
    )

    network_: Network = fitted("Network", "The trained network.")
    coefs_: list[np.ndarray] = fitted(
        "list of ndarray, shapes (n_features, n_neurons) and (n_neurons, n_outputs)",
        "Weights, as in MLPRegressor and MLPClassifier. The skip is `network_.skip`.",
    )
    intercepts_: list[np.ndarray] = fitted(
        "list of ndarray, shapes (n_neurons,) and (n_outputs,)", "Biases, as in MLPRegressor and MLPClassifier."
    )

    def _architecture(self, **options) -> Architecture:
        return super()._architecture(skip=self.skip, hidden_norm=self.hidden_norm)


@persistent(Network)
class ConvexReLURegressor(Regression, Dense):
    """Two-layer network for regression, trained to the global optimum of a convex program.

    The convex program is that of [1]_. alpha is the same number as MLPRegressor's alpha at full batches.

    References
    ----------
    .. [1] M. Pilanci and T. Ergen (2020), Neural networks are convex regularizers: exact polynomial-time convex
       optimization formulations for two-layer networks, ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import ConvexReLURegressor
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> model = ConvexReLURegressor(alpha=0.01, arrangements="all").fit(x, np.abs(x).ravel())
    >>> model.certificate_.scope
    'global'
    >>> model.predict([[0.5]]).round(2)
    array([0.5])
    """


@persistent(Network)
class ConvexReLUClassifier(Classification, Dense):
    """Two-layer network for classification, trained to the global optimum of a convex program.

    There is one output, and labels y = -1 or 1 (the second class); or, with the softmax loss, an output for each class.
    alpha is the same number as MLPClassifier's alpha at full batches.

    Examples
    --------
    >>> from convexnn import ConvexReLUClassifier
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], ["even", "odd", "odd", "even"]
    >>> model = ConvexReLUClassifier(alpha=0.01, arrangements="all").fit(X, y)
    >>> model.predict([[1, 1], [0, 1]]).tolist()
    ['even', 'odd']
    """
