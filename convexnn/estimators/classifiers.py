"""scikit-learn's classifier: convex training of two-layer networks behind fit, predict and predict_proba."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets

from ..losses import make_loss
from ..networks.network import Network
from ..networks.persistence import persistent
from ..utils.validation import check_choice, shown
from .base import ConvexNetworkEstimator, flat_inputs
from .dense import dense_architecture
from .inputs import check_weights, checked_inputs
from .training import prepare_training

__all__ = ["CLASSIFIER_LOSSES", "ConvexClassifier", "ConvexReLUClassifier"]

CLASSIFIER_LOSSES = ("log_loss", "softmax", "hinge", "squared_hinge")
# Logarithms of the scales of probabilities that are tried for hinges.
SCALES = (-10.0, 10.0)


class ConvexClassifier(ClassifierMixin, ConvexNetworkEstimator):
    """What the classifiers share."""

    _parameter_constraints: ClassVar[dict] = ConvexNetworkEstimator._parameter_constraints | {
        "loss": [StrOptions(set(CLASSIFIER_LOSSES))]
    }

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Compute what the network predicts.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,) for two classes, else (n_samples, n_classes)
            Above zero for the second of two classes (with softmax, the difference of the two outputs); else the outputs
            of the classes.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If X is not finite or has another number of features than in `fit`.
        """
        return _decisions(self._outputs(X))

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,)
            The classes of the largest decision function.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If X is not finite or has another number of features than in `fit`.
        """
        values = self.decision_function(X)
        return self.classes_[values.argmax(axis=1) if values.ndim == 2 else (values > 0).astype(int)]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Predict the probabilities of the classes.

        Those of the logistic and the softmax loss are the model's own. A hinge has none: there the probability of the
        second class is 1 / (1 + exp(-s f)) for the decision function f and a scale s > 0, `probability_scale_`, that
        maximises the likelihood of the training labels (Platt's smoothed ones, so that s is finite) [1]_. The order
        and the predicted class are those of f; `sklearn.calibration.CalibratedClassifierCV` uses held-out data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; rows sum to one.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If X is not finite or has another number of features than in `fit`.

        References
        ----------
        .. [1] J. Platt (1999), Probabilistic outputs for support vector machines, Advances in large margin classifiers.
        """
        values = self.decision_function(X)
        if values.ndim == 2:
            return softmax(values, axis=1)
        values = self.probability_scale_ * values
        return np.column_stack([expit(-values), expit(values)])

    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Predict the logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Those of `predict_proba`.
        """
        return np.log(self.predict_proba(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = self.loss not in ("hinge", "squared_hinge")
        return tags

    def _prepare(self, X, y, sample_weight, classes=None):
        X, y = checked_inputs(self, flat_inputs(X, getattr(self, "input_shape", None)), y)
        X, y, kept, weights = check_weights(sample_weight, X, y)
        self.classes_, Y, loss = _encoded_labels(y, self.loss, classes)
        return prepare_training(self, X, Y, kept, weights, self._architecture(), partial(make_loss, loss))

    def _publish(self, training, solution):
        super()._publish(training, solution)
        self.probability_scale_ = 1.0
        if self.loss in ("hinge", "squared_hinge"):
            samples = training.samples
            self.probability_scale_ = _likeliest_scale(
                samples.Y[:, 0], self.network_.predict(samples.X), samples.weights
            )
        return self


@persistent(Network)
class ConvexReLUClassifier(ConvexClassifier):
    """Two-layer network for classification, trained to the global optimum of a convex program.

    The network f(x) = sum_j act(x.w_j + b_j) a_j + b_0 (+ x.w_0), act(t) = (t)_+ for ReLU, minimises

        sum_k loss(y_k, f(x_k)) + alpha / 2 sum_j (|w_j|^2 + b_j^2 + |a_j|^2)

    for one output and labels y = -1 or 1 (the second class), or, with the softmax loss, for an output for each class.
    `certificate_` says how far from the optimum the network is, and whether that is proved or an estimate.

    Parameters
    ----------
    alpha : float or "auto", default="auto"
        Strength of the weight decay, above 0: the same number as MLPClassifier's alpha at full batches. "auto" is 0.01
        alpha_max, where alpha_max is the smallest alpha at which no neuron is active.
    loss : {"log_loss", "softmax", "hinge", "squared_hinge"}, default="log_loss"
        log(1 + exp(-y f)) for two classes, and softmax for more; the cross entropy of softmax, also for two classes;
        (1 - y f)_+; or 1/2 (1 - y f)_+^2. The hinges are for two classes.
    activation : {"relu", "gated_relu", "leaky_relu", "abs", "linear", "threshold"}, default="relu"
        As in `ConvexReLURegressor`.
    negative_slope : float, default=0.01
        Of "leaky_relu", below 1.
    arrangements : "adaptive", int, "all", or array-like of shape (n_gates, n_hidden_features), default="adaptive"
        Activation patterns, as in `ConvexReLURegressor`: all of them, generated as they are needed; a number to sample;
        all, enumerated; or those of gates.
    hidden_bias : {"penalized", "none", "free"}, default="penalized"
        Whether neurons have a bias b_j, penalised like their weights, or free as in MLPClassifier.
    fit_intercept : bool, default=True
        Whether there is a free output bias b_0; there has to be with free hidden biases.
    skip : bool, default=False
        Whether there is a free linear skip connection x.w_0.
    hidden_norm : {"l2", "l1"} or float, default="l2"
        Norm |w_j| of hidden weights, and penalised biases. "l1" selects features, and so does a number r strictly
        between 0 and 1, the elastic norm r |w_j|_1 + (1 - r) |w_j|_2.
    output_penalty : {"weight_decay", "l1"}, default="weight_decay"
        Norm |a_j| of the output weights of a neuron, where there are several outputs: Euclidean, or l1, with which each
        class has neurons of its own.
    solver : str, default="auto"
        As in `ConvexReLURegressor`.
    scope : {"auto", "local", "global"}, default="auto"
        Where patterns are generated: what to certify, as in `ConvexReLURegressor`.
    rank : int or None, default=None
        Where patterns are generated: train in this many leading singular directions of the data.
    tol : float, default=1e-4
        Compared with the relative gap (objective - lower_bound) / objective of `certificate_`.
    max_iter : int or None, default=None
        Limit of the solver's iterations; None is the solver's own.
    time_limit : float or None, default=None
        Limit of the whole fit in seconds, from the validation of the data to the fitted attributes, the compilation of
        kernels included. The best network found by then is kept; `alpha_max_` is a lower bound where its search was
        cut short, fewer patterns may be sampled, and the network may have more neurons than it needs.
    random_state : int, RandomState instance or None, default=None
        Source of the sampled patterns, and of the starts of "adaptive".
    verbose : int or bool, default=0
        0 is silent, 1 shows one live line and a summary in words, 2 a line for each iteration; on stderr.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    probability_scale_ : float
        The factor s of the decision function f in 1 / (1 + exp(-s f)): 1, but for the hinges (`predict_proba`).
    network_ : Network
        The trained network, of one output for two classes, but with loss="softmax" one for each class.
    certificate_ : Certificate
        Objective (that of `network_` on the data at `alpha_`), lower bound, relative gap, and scope, as in
        `ConvexReLURegressor`.
    alpha_ : float
        The alpha used. 1.0 for "auto" when no alpha activates a neuron.
    alpha_max_ : float
        Smallest alpha at which no neuron is active, over the patterns used; with generated patterns over all of them,
        as far as search finds it.
    arrangements_ : Arrangements
        The patterns used, of the samples of positive weight; generated ones are those of the neurons.
    n_neurons_ : int
        Number of neurons.
    coefs_ : list of ndarray, shapes (n_features, n_neurons) and (n_neurons, n_outputs)
        Weights, as in MLPClassifier. The skip is `network_.skip`.
    intercepts_ : list of ndarray, shapes (n_neurons,) and (n_outputs,)
        Biases, as in MLPClassifier.
    n_iter_ : int
        Iterations of the solver.
    history_ : list of dict
        Records of time (s), objective, lower_bound, gap, scope, provisional, n_blocks.
    dual_ : ndarray of shape (n_samples, n_outputs)
        Dual variables of the samples given to `fit`, that of the lower bound: zero where a sample does not matter.
    status_, tol_ : str, float
        "solved", or what ended the run before; and the `tol` of the fit.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, when X has string names.

    Examples
    --------
    >>> from convexnn import ConvexReLUClassifier
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], ["even", "odd", "odd", "even"]
    >>> model = ConvexReLUClassifier(alpha=0.01, arrangements="all").fit(X, y)
    >>> model.predict([[1, 1], [0, 1]]).tolist()
    ['even', 'odd']
    """

    def __init__(
        self,
        alpha: float | str = "auto",
        *,
        loss: str = "log_loss",
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


def _encoded_labels(y, loss, classes=None):
    """Return the classes, the targets that a loss takes, and its name: softmax for logistic and several classes.

    Where classes are known, y may lack some. Targets are -1 and 1, the second class, for one output, and indicators of
    the classes for softmax.
    """
    check_choice("loss", loss, CLASSIFIER_LOSSES)
    check_classification_targets(y)
    if classes is None:
        classes = np.unique(y)
    index = np.searchsorted(classes, y)
    if len(classes) < 2:
        raise ValueError(
            f"y must have at least two classes with positive sample weights; got one class, {shown(classes[0])}"
        )
    if loss == "log_loss" and len(classes) > 2:
        loss = "softmax"
    if loss == "softmax":
        return classes, np.eye(len(classes))[index], loss
    if len(classes) > 2:
        raise ValueError(
            f"Only binary classification is supported for loss={loss!r}; got {len(classes)} classes. Use "
            'loss="log_loss" (softmax), or sklearn.multiclass.OneVsRestClassifier'
        )
    return classes, np.where(index == 1, 1.0, -1.0)[:, None], loss


def _decisions(Z):
    """Return the decision function for the outputs of a network."""
    return Z[:, 1] - Z[:, 0] if Z.ndim == 2 and Z.shape[1] == 2 else Z


def _likeliest_scale(signs, values, weights):
    """Return the s > 0 of the largest likelihood of labels -1 and 1 under 1 / (1 + exp(-s f)), with Platt's targets."""
    weights = np.ones(len(signs)) if weights is None else weights
    counts = weights[signs < 0].sum(), weights[signs > 0].sum()
    target = np.where(signs > 0, (counts[1] + 1) / (counts[1] + 2), 1 / (counts[0] + 2))

    def loss(log_scale):
        z = np.exp(log_scale) * values
        return weights @ (np.logaddexp(0.0, z) - target * z)

    return float(np.exp(minimize_scalar(loss, bounds=SCALES, method="bounded").x))
