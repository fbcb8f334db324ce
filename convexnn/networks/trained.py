"""What was trained: the estimator and the network in what a user hands to explanations, exports and files."""

from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from .circular import CircularNetwork
from .conv_network import ConvNetwork
from .network import Network

__all__ = ["NETWORKS", "split_pipeline", "trained_model", "two_layers"]

NETWORKS = (Network, ConvNetwork, CircularNetwork)


def trained_model(model: object) -> tuple:
    """Return the fitted estimator in a model, and its network.

    Parameters
    ----------
    model : object
        A fitted estimator of this package; one with an `estimator_` that is such (cross-validation); or a network.

    Returns
    -------
    estimator : estimator or None
        The fitted estimator, that of `estimator_` where the model has one; None for a network.
    network : Network, ConvNetwork or CircularNetwork
        The network.

    Raises
    ------
    TypeError
        If `model` is none of these; of a Pipeline, pass the last step.
    sklearn.exceptions.NotFittedError
        If an estimator is not fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import ConvexReLURegressor
    >>> from convexnn.networks.trained import trained_model
    >>> model = ConvexReLURegressor(alpha=0.1).fit([[0.0], [1.0]], [0.0, 1.0])
    >>> estimator, network = trained_model(model)
    >>> estimator is model, network is model.network_
    (True, True)
    """
    if isinstance(model, NETWORKS):
        return None, model
    estimator = getattr(model, "estimator_", model)
    network = getattr(estimator, "network_", None)
    if isinstance(network, NETWORKS):
        return estimator, network
    name = type(model).__name__
    if isinstance(model, type):
        raise TypeError(f"model must be a fitted estimator of convexnn or a network; got the class {model.__name__}")
    if isinstance(model, Pipeline):
        raise TypeError("model must not be a Pipeline: pass its last step, and X as the steps before it transform it")
    if isinstance(model, BaseEstimator) and type(model).__module__.split(".")[0] == "convexnn":
        raise NotFittedError(f"model must be fitted; this {name} is not")
    raise TypeError(f"model must be a fitted estimator of convexnn or a network; got an object of type {name}")


def split_pipeline(model: object) -> tuple:
    """Return the steps of a pipeline of a StandardScaler and an estimator, and the latter; of others none, and them.

    Parameters
    ----------
    model : object
        What a user wants to keep or export.

    Returns
    -------
    steps : list of (str, estimator)
        The two steps; empty where the model is no pipeline.
    model : object
        The last step, or the model.

    Raises
    ------
    TypeError
        If the model is another pipeline.
    sklearn.exceptions.NotFittedError
        If the scaler is not fitted.

    Examples
    --------
    >>> from convexnn.networks.trained import split_pipeline
    >>> split_pipeline("model")
    ([], 'model')
    """
    if not isinstance(model, Pipeline):
        return [], model
    if len(model.steps) != 2 or type(model.steps[0][1]) is not StandardScaler:
        raise TypeError("model must not be a Pipeline, but for one of a StandardScaler and an estimator of convexnn")
    check_is_fitted(model.steps[0][1])
    return model.steps, model.steps[1][1]


def two_layers(network: Network | ConvNetwork | CircularNetwork) -> Network | ConvNetwork:
    """Return a circular network as one of two layers, whose weights are its products circ(u_j) w_j.

    Parameters
    ----------
    network : Network, ConvNetwork or CircularNetwork
        Any network.

    Returns
    -------
    Network or ConvNetwork
        A network of the same outputs; those of two layers as they are.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.networks.circular import CircularNetwork
    >>> from convexnn.networks.trained import two_layers
    >>> U, W1 = np.array([[0.0], [1.0], [0.0]]), np.array([[1.0], [2.0], [3.0]])
    >>> two_layers(CircularNetwork(U, W1, np.ones((1, 1)), np.zeros(1), (3,))).W1.ravel().round(12)
    array([3., 1., 2.])
    """
    if not isinstance(network, CircularNetwork):
        return network
    W1 = network.effective()
    return Network(
        W1,
        W1[0] * 0.0,
        network.W2,
        network.b2,
        network.activation,
        hidden_bias="none",
        gates=network.gates,
        output_penalty=network.output_penalty,
    )
