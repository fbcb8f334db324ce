"""The network in what a user hands over: an estimator, a pipeline, a network, or a network of another library.

    as_network(model).predict(X) = the outputs of the model: predictions, or logits of a classifier

Of other libraries only the weights are taken over, and which of them weight decay includes; how the model was trained
does not matter. torch is never imported: its modules are recognised by the names of their classes.
"""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from ..utils.validation import check_array
from .network import CircularNetwork, ConvNetwork, Network

__all__ = ["NETWORKS", "as_network", "split_pipeline", "trained_model", "two_layers"]

NETWORKS = (Network, ConvNetwork, CircularNetwork)
ACCEPTED = (
    "a Network, a fitted estimator of convexnn, a fitted MLPRegressor or MLPClassifier of scikit-learn, "
    "arrays (W1, b1, W2, b2), or a torch module of Linear, ReLU and Linear"
)
# Largest relative difference of a torch module's outputs, in double precision, from its layers applied in order.
MODULE_TOL = 1e-6


def as_network(model: Any, hidden_bias: str | None = None) -> Network:
    """Turn a two-layer ReLU network of another library into a `Network`.

    Parameters
    ----------
    model : object
        - A `Network`, returned as it is, or a fitted estimator of this package;
        - or a fitted `MLPRegressor` or `MLPClassifier` of scikit-learn with one hidden layer and activation "relu". Its
          weight decay leaves biases out. The outputs of a classifier are its logits, before the sigmoid or softmax;
        - or a tuple or list (W1, b1, W2, b2) of arrays of shapes (n_features, n_neurons), (n_neurons,),
          (n_neurons, n_outputs) or (n_neurons,), and (n_outputs,) or a scalar. Biases may be None, that is zero;
        - or a torch module made of Linear, ReLU and Linear, in this order; Identity, Dropout (it does nothing outside
          training) and Flatten may stand between them. A module that is no plain Sequential is run on random inputs,
          to see that its forward applies its layers in order and does nothing else.
    hidden_bias : {"penalized", "none", "free"} or None, default=None
        Whether weight decay includes the hidden biases. None: as the model says; else "free" for scikit-learn's
        networks, "none" for arrays and torch modules without hidden biases and "penalized" for those with them, as
        the weight_decay of torch's optimisers includes all parameters.

    Returns
    -------
    Network
        Its predictions are the model's outputs.

    Raises
    ------
    TypeError
        If `model` is none of these; of a Pipeline, pass the last step.
    ValueError
        If the model is no two-layer ReLU network, or its weights are not finite.
    sklearn.exceptions.NotFittedError
        If an estimator is not fitted.

    Examples
    --------
    >>> from convexnn.networks.conversion import as_network
    >>> as_network(([[1.0, -1.0]], None, [1.0, 1.0], 0.5)).predict([[-2.0], [3.0]])
    array([2.5, 3.5])
    """
    if isinstance(model, Network):
        network = model
    elif isinstance(getattr(model, "network_", None), Network):
        network = model.network_
    elif isinstance(model, (MLPRegressor, MLPClassifier)):
        network = _from_sklearn(model)
    elif isinstance(model, (tuple, list)):
        network = _from_arrays(model)
    elif _is_torch_module(model):
        network = _from_torch(model)
    else:
        raise _refusal(model, ACCEPTED)
    for name in ("W1", "b1", "W2", "b2", "skip", "gates"):
        weights = getattr(network, name)
        if weights is not None and not np.isfinite(weights).all():
            raise ValueError(f"the weights of model must be finite; {name} is not")
    return network if hidden_bias is None else replace(network, hidden_bias=hidden_bias)


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
    raise _refusal(model, "a fitted estimator of convexnn or a network")


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
    W1, b1 = network.effective(), np.zeros(network.n_neurons)
    kind = {"hidden_bias": "none", "gates": network.gates, "output_penalty": network.output_penalty}
    return Network(W1, b1, network.W2, network.b2, network.activation, **kind)


def _refusal(model, accepted):
    """Return the error that says why a model is not one of those that are accepted."""
    if isinstance(model, type):
        return TypeError(f"model must be {accepted}; got the class {model.__name__}")
    if isinstance(model, Pipeline):
        return TypeError("model must not be a Pipeline: pass its last step, and X as the steps before it transform it")
    own = any(kind.__module__.split(".")[0] == "convexnn" for kind in type(model).__mro__)
    if own and isinstance(model, BaseEstimator):
        return NotFittedError(f"model must be fitted; this {type(model).__name__} is not")
    return TypeError(f"model must be {accepted}; got an object of type {type(model).__name__}")


def _from_sklearn(model):
    check_is_fitted(model, "coefs_")
    if len(model.coefs_) != 2:
        raise ValueError(f"model must have one hidden layer; got hidden_layer_sizes={model.hidden_layer_sizes!r}")
    if model.activation != "relu":
        raise ValueError(f'model must have activation "relu"; got {model.activation!r}')
    outputs = ("identity",) if isinstance(model, MLPRegressor) else ("logistic", "softmax")
    if model.out_activation_ not in outputs:
        raise ValueError(f"model must have out_activation_ {' or '.join(outputs)}; got {model.out_activation_!r}")
    (W1, W2), (b1, b2) = model.coefs_, model.intercepts_
    return Network(W1, b1, W2, b2, hidden_bias="free")


def _from_arrays(arrays):
    if len(arrays) != 4:
        raise ValueError(f"arrays must be four, (W1, b1, W2, b2); got {len(arrays)}")
    options = {"ensure_2d": False, "ensure_min_samples": 0, "ensure_min_features": 0, "ensure_all_finite": False}
    W1, b1, W2, b2 = (
        None if array is None else check_array(array, input_name=name, **options)
        for name, array in zip(("W1", "b1", "W2", "b2"), arrays, strict=True)
    )
    if W1 is None or W2 is None:
        raise ValueError("W1 and W2 must be arrays; got None")
    if W1.ndim != 2 or W2.ndim not in (1, 2):
        raise ValueError(
            "W1 must have shape (n_features, n_neurons) and W2 (n_neurons, n_outputs) or (n_neurons,); "
            f"got {W1.shape} and {W2.shape}"
        )
    W2 = W2[:, None] if W2.ndim == 1 else W2
    hidden_bias = "none" if b1 is None else "penalized"
    b1 = np.zeros(W1.shape[1]) if b1 is None else b1
    b2 = np.zeros(W2.shape[1]) if b2 is None else b2
    return Network(W1, b1, W2, b2[None] if b2.ndim == 0 else b2, hidden_bias=hidden_bias)


def _is_torch_module(model):
    return any(kind.__name__ == "Module" and kind.__module__.startswith("torch.nn") for kind in type(model).__mro__)


def _torch_name(layer):
    """Return the name of a layer; layers from outside torch get their module too, lest they be mistaken for torch's."""
    kind = type(layer)
    return kind.__name__ if kind.__module__.startswith("torch.nn.modules.") else f"{kind.__module__}.{kind.__name__}"


def _from_torch(model):
    layers, plain = _torch_layers(model)
    names = [_torch_name(layer) for layer in layers]
    parts = [name for name in names if name not in ("Identity", "Dropout", "Flatten")]
    if parts != ["Linear", "ReLU", "Linear"]:
        raise ValueError(f"model must be made of the layers Linear, ReLU, Linear; got {', '.join(names) or 'none'}")
    first, last = (layer for layer, name in zip(layers, names, strict=True) if name == "Linear")
    for layer, name in zip(layers, names, strict=True):
        # rows must stay rows: only at the end may (n_samples, 1) become (n_samples,)
        behind = last.out_features == 1 and layers.index(layer) > layers.index(last)
        if name == "Flatten" and layer.start_dim != 1 and not behind:
            raise ValueError(f"the Flatten of model must have start_dim=1; got {layer.start_dim}")
    W1, b1, W2, b2 = (
        None if weights is None else weights.detach().cpu().double().numpy().T.copy()
        for weights in (first.weight, first.bias, last.weight, last.bias)
    )
    network = _from_arrays((W1, b1, W2, b2))
    if not plain and np.isfinite(W1).all():
        _check_forward(model, network)
    return network


def _torch_layers(module):
    """Return the innermost layers in order, and whether only plain Sequentials, which hide no code, hold them."""
    children = list(module.children())
    if not children:
        return [module], True
    plain = _torch_name(module) == "Sequential"
    layers = []
    # a Sequential is iterated: children() leaves out the repetitions of a layer
    for child in module if plain else children:
        inner, inner_plain = _torch_layers(child)
        layers += inner
        plain &= inner_plain
    return layers, plain


def _check_forward(model, network):
    """Raise ValueError unless a copy of the module in evaluation mode predicts what the network does."""
    copy = deepcopy(model).double().eval()
    X = np.random.default_rng(0).standard_normal((16, len(network.W1)))
    expected = network.predict(X)
    weight = next(copy.parameters())
    try:
        outputs = copy(weight.new_tensor(X)).detach().cpu().numpy()
    except Exception as error:
        raise ValueError(f"model must accept inputs of shape (n_samples, {X.shape[1]}); it raised: {error}") from error
    outputs = outputs.reshape(expected.shape) if outputs.size == expected.size else np.full(1, np.nan)
    if not np.abs(outputs - expected).max() <= MODULE_TOL * np.abs(expected).max():
        raise ValueError("model must apply its layers Linear, ReLU, Linear in order and do nothing else; it does not")
