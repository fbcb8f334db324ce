"""scikit-learn's regressor: convex training of two-layer networks behind fit and predict."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import StrOptions

from ..model.architecture import Architecture, check_hidden_norm
from ..networks.network import Network
from ..networks.persistence import persistent
from .base import ConvexNetworkEstimator, flat_inputs
from .inputs import checked_targets
from .training import REGRESSOR_LOSSES, prepare_training, regression_loss

__all__ = ["ConvexReLURegressor", "ConvexRegressor", "dense_architecture"]


class ConvexRegressor(RegressorMixin, ConvexNetworkEstimator):
    """What the regressors share."""

    _parameter_constraints: ClassVar[dict] = ConvexNetworkEstimator._parameter_constraints | {
        "loss": [StrOptions(set(REGRESSOR_LOSSES))]
    }

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions, in the unit of y.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If X is not finite or has another number of features than in `fit`.
        """
        return self._outputs(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _prepare(self, X, y, sample_weight):
        data = checked_targets(self, flat_inputs(X, getattr(self, "input_shape", None)), y, sample_weight)
        return prepare_training(self, *data, self._architecture(), regression_loss(self))


@persistent(Network)
class ConvexReLURegressor(ConvexRegressor):
    """Two-layer network for regression, trained to the global optimum of a convex program.

    The network f(x) = sum_j act(x.w_j + b_j) a_j + b_0 (+ x.w_0), act(t) = (t)_+ for ReLU, minimises

        sum_k loss(y_k, f(x_k)) + alpha / 2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2)

    over all networks, of any width [1]_: over all activation patterns of the neurons, or those of `arrangements`. No
    learning rate, no number of neurons. `certificate_` says how far from the optimum the network is, and whether that
    is proved or an estimate.

    Parameters
    ----------
    alpha : float or "auto", default="auto"
        Strength of the weight decay, above 0: the same number as MLPRegressor's alpha at full batches. "auto" is 0.01
        alpha_max, where alpha_max is the smallest alpha at which no neuron is active.
    loss : {"squared_error", "huber", "quantile", "absolute_error"}, default="squared_error"
        1/2 r^2 for the residual r = y - f(x); the same to |r| = `delta` and linear beyond; the pinball loss of
        `quantile`; or |r|. With several outputs it is summed over them.
    delta : float, default=1.0
        Of the Huber loss, in units of y.
    quantile : float, default=0.5
        Of the quantile loss, in (0, 1).
    activation : {"relu", "gated_relu", "leaky_relu", "abs", "linear", "threshold"}, default="relu"
        (t)_+; gated ReLU with the gates of `arrangements`, a convex model of its own; max(t, negative_slope t); |t|; t;
        or 1[t >= 0], whose decay is alpha sum_j |a_j|.
    negative_slope : float, default=0.01
        Of "leaky_relu", below 1.
    arrangements : "adaptive", int, "all", or array-like of shape (n_gates, n_hidden_features), default="adaptive"
        Activation patterns. "adaptive" trains over all of them: those that matter are generated as they are needed; for
        activations whose patterns are not those of the weights ("gated_relu", "threshold"), and where hidden_norm is
        not "l2", it means 1000. A number samples that many (all of them, where the data have no more), "all" enumerates
        them (exact, for few features), an array gives gates, whose patterns are used. With hidden biases a gate has one
        more entry, for the bias. Linear networks have one pattern.
    hidden_bias : {"penalized", "none", "free"}, default="penalized"
        Whether neurons have a bias b_j, penalised like their weights, or free as in MLPRegressor.
    fit_intercept : bool, default=True
        Whether there is a free output bias b_0; there has to be with free hidden biases.
    skip : bool, default=False
        Whether there is a free linear skip connection x.w_0.
    hidden_norm : {"l2", "l1"} or float, default="l2"
        Norm |w_j| of hidden weights, and penalised biases. "l1" selects features, and so does a number r strictly
        between 0 and 1, the elastic norm r |w_j|_1 + (1 - r) |w_j|_2.
    output_penalty : {"weight_decay", "l1"}, default="weight_decay"
        Norm |a_j| of the output weights of a neuron, where there are several outputs: Euclidean, or l1, with which each
        output has neurons of its own.
    solver : str, default="auto"
        "auto": `solve_generation` with "adaptive", else `solve_working_set`, or `solve_conic` unless hidden_norm="l2";
        for one feature with hidden_bias="free" and the squared loss the exact spline, in one step, whatever the limits.
        With given patterns also "newton" (`solve_working_set`), "fista" (the same with accelerated proximal gradient
        inside), "conic", "cvxpy" (the reference: the whole program in cvxpy, solved by Clarabel), or the name of an
        installed solver of cvxpy, such as "SCS".
    scope : {"auto", "local", "global"}, default="auto"
        Where patterns are generated: what to certify. "local" is an estimate by search over all patterns, "global" is
        proved (seconds up to about six features), "auto" proves what a short attempt can. Given patterns have a scope
        of their own.
    rank : int or None, default=None
        Where patterns are generated: train in this many leading singular directions of the data, as in
        `solve_generation`; the certificate is for the whole data.
    tol : float, default=1e-4
        Compared with the relative gap (objective - lower_bound) / objective of `certificate_`.
    max_iter : int or None, default=None
        Limit of the solver's iterations; None is the solver's own.
    time_limit : float or None, default=None
        Limit of the whole fit in seconds, from the validation of the data to the fitted attributes, the compilation of
        kernels included. The best network found by then is kept; `alpha_max_` is a lower bound where its search was
        cut short, fewer patterns may be sampled, and the network may have more neurons than it needs.
    random_state : int, RandomState instance or None, default=None
        Source of the sampled patterns, and of the starts of "adaptive". With "all" or given gates nothing is random.
    verbose : int or bool, default=0
        0 is silent, 1 shows one live line and a summary in words, 2 a line for each iteration; on stderr.

    Attributes
    ----------
    network_ : Network
        The trained network.
    certificate_ : Certificate
        Objective (that of `network_` on the data at `alpha_`), lower bound, relative gap, and scope: "sampled" when the
        bound holds for the given patterns or gates, "local" when search over all patterns found nothing that violates
        it, "global" when it is proved for every network of the kind.
    alpha_ : float
        The alpha used. 1.0 for "auto" when the free part fits y exactly, and no alpha activates a neuron.
    alpha_max_ : float
        Smallest alpha at which no neuron is active, over the patterns used; with "adaptive" over all of them, as far as
        search finds it (`alpha_max` proves it).
    arrangements_ : Arrangements
        The patterns used, of the samples of positive weight; generated ones are those of the neurons.
    n_neurons_ : int
        Number of neurons.
    coefs_ : list of ndarray, shapes (n_features, n_neurons) and (n_neurons, n_outputs)
        Weights, as in MLPRegressor. The skip is `network_.skip`.
    intercepts_ : list of ndarray, shapes (n_neurons,) and (n_outputs,)
        Biases, as in MLPRegressor.
    n_iter_ : int
        Iterations of the solver.
    history_ : list of dict
        Records of time (s), objective, lower_bound, gap, scope, provisional, n_blocks. With "adaptive" all but the last
        are local; a provisional bound is one that only a short search supports, or that a later network refuted.
    dual_ : ndarray of shape (n_samples, n_outputs)
        Dual variables of the samples given to `fit`, that of the lower bound: zero where a sample does not matter.
    status_, tol_ : str, float
        "solved", or what ended the run before; and the `tol` of the fit.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, when X has string names.

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

    def __init__(
        self,
        alpha: float | str = "auto",
        *,
        loss: str = "squared_error",
        delta: float = 1.0,
        quantile: float = 0.5,
        activation: str = "relu",
        negative_slope: float = 0.01,
        arrangements: str | int | ArrayLike = "adaptive",
        hidden_bias: str = "penalized",
        fit_intercept: bool = True,
        skip: bool = False,
        hidden_norm: str | float = "l2",
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
        self.alpha = alpha
        self.loss = loss
        self.delta = delta
        self.quantile = quantile
        self.activation = activation
        self.negative_slope = negative_slope
        self.arrangements = arrangements
        self.hidden_bias = hidden_bias
        self.fit_intercept = fit_intercept
        self.skip = skip
        self.hidden_norm = hidden_norm
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
        return dense_architecture(self)


def dense_architecture(model) -> Architecture:
    """Return the dense network that the parameters of an estimator describe; raise ValueError where they do not fit."""
    return Architecture(
        model.activation,
        model.hidden_bias,
        model.fit_intercept,
        model.skip,
        model.negative_slope,
        check_hidden_norm(model.hidden_norm),
        model.output_penalty,
    )
