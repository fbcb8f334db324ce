"""scikit-learn's classifier: convex training of two-layer networks behind fit, predict and predict_proba."""

from functools import partial

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from .architecture import Architecture, check_hidden_norm
from .losses import make_loss
from .training import check_weights, fit_network, predict_inputs
from .validation import check_choice

__all__ = [
    "CLASSIFIER_LOSSES",
    "ConvexReLUClassifier",
    "class_probabilities",
    "class_values",
    "fit_classifier",
    "predicted_classes",
    "require_probabilities",
]

CLASSIFIER_LOSSES = ("logistic", "softmax", "hinge", "squared_hinge")


def require_probabilities(model):
    """Return True if the loss of a classifier gives probabilities; raise AttributeError otherwise.

    Parameters
    ----------
    model : estimator
        A classifier.
    """
    if model.loss in ("hinge", "squared_hinge"):
        raise AttributeError(f'predict_proba needs loss="logistic" or "softmax"; {model.loss!r} gives no probabilities')
    return True


class ConvexReLUClassifier(ClassifierMixin, BaseEstimator):
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
    loss : {"logistic", "softmax", "hinge", "squared_hinge"}, default="logistic"
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
        Limit of the solver's run in seconds.
    random_state : int, RandomState instance or None, default=None
        Source of the sampled patterns, and of the starts of "adaptive".
    verbose : bool, default=False
        Whether the solver prints its progress.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
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
        Records of time (s), objective, lower_bound, gap, scope, n_blocks.
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
        alpha="auto",
        *,
        loss="logistic",
        activation="relu",
        negative_slope=0.01,
        arrangements="adaptive",
        hidden_bias="penalized",
        fit_intercept=True,
        skip=False,
        hidden_norm="l2",
        output_penalty="weight_decay",
        solver="auto",
        scope="auto",
        rank=None,
        tol=1e-4,
        max_iter=None,
        time_limit=None,
        random_state=None,
        verbose=False,
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

    def fit(self, X, y, sample_weight=None):
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,)
            Classes.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Factors of the losses of samples, not negative: k is k copies of a sample.

        Returns
        -------
        ConvexReLUClassifier
            The fitted estimator.

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data are not as described, or parameters do not go together.
        RuntimeError
            If the solver fails.

        Warns
        -----
        ConvergenceWarning
            If the relative gap stays above `tol`.
        """
        architecture = Architecture(
            self.activation,
            self.hidden_bias,
            self.fit_intercept,
            self.skip,
            self.negative_slope,
            check_hidden_norm(self.hidden_norm),
            self.output_penalty,
        )
        X, y = validate_data(self, X, y, dtype=np.float64)
        X, y, weights = check_weights(sample_weight, X, y)
        fit_classifier(self, X, y, weights, architecture)
        self.coefs_ = [self.network_.W1, self.network_.W2]
        self.intercepts_ = [self.network_.b1, self.network_.b2]
        return self

    def decision_function(self, X):
        """Compute what the network predicts.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
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
        return class_values(predict_inputs(self, X))

    def predict(self, X):
        """Predict classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
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
        return predicted_classes(self.classes_, values)

    @available_if(require_probabilities)
    def predict_proba(self, X):
        """Predict the probabilities of the classes, for the logistic and the softmax loss.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; rows sum to one.

        Raises
        ------
        AttributeError
            If the loss is a hinge, which gives no probabilities.
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If X is not finite or has another number of features than in `fit`.
        """
        return class_probabilities(self.decision_function(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = self.loss not in ("hinge", "squared_hinge")
        return tags


def fit_classifier(model, X, y, weights, architecture):
    """Train the network of a classifier, and set the attributes of the fit, `classes_` among them.

    Parameters
    ----------
    model : estimator
        As in `fit_network`, with a `loss`.
    X : ndarray of shape (n_samples, n_features)
        Inputs.
    y : ndarray of shape (n_samples,)
        Labels.
    weights : ndarray of shape (n_samples,) or None
        Sample weights, above zero.
    architecture : Architecture
        The network.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `fit_network`, and if y is not what the loss takes.
    """
    classes, Y, loss = _encoded_labels(y, model.loss)
    fit_network(model, X, Y, weights, architecture, partial(make_loss, loss))
    model.classes_ = classes


def _encoded_labels(y, loss):
    """Return the classes, the targets that a loss takes, and its name: softmax for logistic and several classes.

    Targets are -1 and 1, the second class, for one output, and indicators of the classes for softmax.
    """
    check_choice("loss", loss, CLASSIFIER_LOSSES)
    check_classification_targets(y)
    classes, index = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"y must have at least two classes with positive sample weights; got one class, {classes[0]!r}"
        )
    if loss == "logistic" and len(classes) > 2:
        loss = "softmax"
    if loss == "softmax":
        return classes, np.eye(len(classes))[index], loss
    if len(classes) > 2:
        raise ValueError(
            f"Only binary classification is supported for loss={loss!r}; got {len(classes)} classes. Use "
            'loss="logistic" (softmax), or sklearn.multiclass.OneVsRestClassifier'
        )
    return classes, np.where(index == 1, 1.0, -1.0)[:, None], loss


def class_values(Z):
    """Return the decision function of a classifier.

    Parameters
    ----------
    Z : ndarray of shape (n_samples,) or (n_samples, n_classes)
        What its network predicts.

    Returns
    -------
    ndarray of shape (n_samples,) for two classes, else (n_samples, n_classes)
        Above zero where the second of two classes is predicted; the largest where a class is.
    """
    return Z[:, 1] - Z[:, 0] if Z.ndim == 2 and Z.shape[1] == 2 else Z


def predicted_classes(classes, values):
    """Return the classes of the largest decision function.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        The classes.
    values : ndarray of shape (n_samples,) or (n_samples, n_classes)
        The decision function.

    Returns
    -------
    ndarray of shape (n_samples,)
        A class for each sample.
    """
    return classes[values.argmax(axis=1) if values.ndim == 2 else (values > 0).astype(int)]


def class_probabilities(values):
    """Return the probabilities of the classes, under the logistic or the softmax loss.

    Parameters
    ----------
    values : ndarray of shape (n_samples,) or (n_samples, n_classes)
        The decision function.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)
        Rows that sum to one.
    """
    if values.ndim == 2:
        return softmax(values, axis=1)
    return np.column_stack([expit(-values), expit(values)])
