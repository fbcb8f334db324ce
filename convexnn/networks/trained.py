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
    """Return the fitted estimator in `model` (its `estimator_` if it has one; None for a network), and its network.

    Raise NotFittedError if the estimator is not fitted, TypeError for anything else, such as a Pipeline.
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
    """Return (steps, estimator) of a Pipeline of a StandardScaler and an estimator; ([], model) of any other model.

    Raise TypeError for other pipelines, NotFittedError if the scaler is not fitted.
    """
    if not isinstance(model, Pipeline):
        return [], model
    if len(model.steps) != 2 or type(model.steps[0][1]) is not StandardScaler:
        raise TypeError("model must not be a Pipeline, but for one of a StandardScaler and an estimator of convexnn")
    check_is_fitted(model.steps[0][1])
    return model.steps, model.steps[1][1]


def two_layers(network: Network | ConvNetwork | CircularNetwork) -> Network | ConvNetwork:
    """Return a circular network as a two-layer one with the weights circ(u_j) w_j; return others as they are."""
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
