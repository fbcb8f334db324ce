"""Trained networks for other libraries: modules of PyTorch, ONNX files, multilayer perceptrons of scikit-learn.

    to_torch(model)(X)                the outputs of the network, (n_samples, n_outputs): of a classifier its logits
    to_onnx(model, path)              a file with predictions, or decision values, probabilities and labels
    to_mlp(model).predict(X)          what the model predicts

All compute what `predict` does, in double precision unless another is asked for. The weights of a circular network are
its products circ(u_j) w_j, and a network without neurons gets one of weight zero, for libraries that need one.
"""

from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from ..utils.files import import_optional, replacing
from ..utils.validation import check_choice
from .conversion import split_pipeline, trained_model, two_layers
from .network import THRESHOLD_TOL, ConvNetwork
from .onnx_graph import onnx_model

if TYPE_CHECKING:
    import torch

__all__ = ["to_mlp", "to_onnx", "to_torch"]


def to_torch(model: object) -> "torch.nn.Module":
    """Turn a trained network into a module of PyTorch, in double precision.

    Parameters
    ----------
    model : estimator, Pipeline or network
        A fitted estimator of this package (of cross-validation: its `estimator_`), alone or after a StandardScaler in a
        pipeline, whose scaling the module does; or a network.

    Returns
    -------
    torch.nn.Module
        Takes inputs of shape (n_samples, n_features), for convolutional networks also (n_samples, *input_shape), and
        returns outputs of shape (n_samples, n_outputs): predictions, or the raw outputs of a classifier (logits). A
        plain Sequential of Linear, ReLU (or LeakyReLU, or nothing for linear networks) and Linear where the network is
        that, which `as_network` reads back; else a `torch.fx.GraphModule`, which shows its code when it is printed and
        is saved by torch without this package. `module.float()` turns it into single precision. Gates are no
        parameters; the other weights can be trained further.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    TypeError
        If `model` is neither.
    sklearn.exceptions.NotFittedError
        If an estimator is not fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import Network
    >>> from convexnn.networks.export import to_torch
    >>> network = Network(np.array([[1.0, -1.0]]), np.zeros(2), np.array([[1.0], [1.0]]), np.zeros(1))
    >>> print(to_torch(network))  # doctest: +SKIP
    Sequential(
      (0): Linear(in_features=1, out_features=2, bias=True)
      (1): ReLU()
      (2): Linear(in_features=2, out_features=1, bias=True)
    )
    """
    torch = import_optional("torch", "torch", "to_torch needs")
    steps, model = split_pipeline(model)
    network, scaler = _exported(model)[1], steps[0][1] if steps else None
    unlike = isinstance(network, ConvNetwork) or network.skip is not None
    if unlike or scaler is not None or network.activation in ("gated_relu", "threshold"):
        return _graph_module(torch, network, scaler)
    bias, slope = None if network.hidden_bias == "none" else network.b1, network.slope
    pieces = {0.0: [torch.nn.ReLU()], 1.0: []}.get(slope, [torch.nn.LeakyReLU(slope)])
    layers = [_layer(torch, network.W1, bias), *pieces, _layer(torch, network.W2, network.b2)]
    return torch.nn.Sequential(*layers)


def to_onnx(model: object, path: str | PathLike, *, dtype: str = "float64") -> None:
    """Write a trained network as an ONNX file (operator set 18), for onnxruntime and other engines.

    The input is called "X", of shape (n_samples, n_features); inputs of convolutional networks are rows as well. The
    output of a regressor, or of a network, is "prediction". A classifier has "decision" (`decision_function`), "label"
    (`predict`) and "probabilities" (`predict_proba`). All have the shapes of the methods. The metadata of the file are
    the version of this package, the estimator, its parameters, alpha_, the certificate, the classes and the names of
    the features.

    Parameters
    ----------
    model : estimator, Pipeline or network
        A fitted estimator of this package (of cross-validation: its `estimator_`), alone or after a StandardScaler in a
        pipeline, whose scaling is part of the file; or a network.
    path : str or path-like
        Where to write.
    dtype : {"float64", "float32"}, default="float64"
        Type of the input and of all weights. In single precision, inputs next to the wall of a gate or a threshold may
        be taken to its other side.

    Raises
    ------
    ImportError
        If onnx is not installed.
    TypeError
        If `model` is neither.
    ValueError
        If dtype is not among those accepted, or the classes are of a type that ONNX does not have.
    sklearn.exceptions.NotFittedError
        If an estimator is not fitted.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from convexnn import ConvexReLURegressor
    >>> from convexnn.networks.export import to_onnx
    >>> model = ConvexReLURegressor(alpha=0.1).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 0.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "model.onnx"
    ...     to_onnx(model, path)
    ...     path.stat().st_size > 0
    True
    """
    check_choice("dtype", dtype, ("float64", "float32"))
    onnx = import_optional("onnx", "onnx", "to_onnx needs")
    steps, model = split_pipeline(model)
    estimator, network = _exported(model)
    proto = onnx_model(onnx, estimator, network, dtype, steps[0][1] if steps else None)
    onnx.checker.check_model(proto, full_check=True)
    with replacing(path) as file:
        onnx.save(proto, file)


def to_mlp(model: object) -> MLPRegressor | MLPClassifier:
    """Turn a trained network into a fitted multilayer perceptron of scikit-learn, with the same weights.

    For networks of activation "relu" without a skip or convolutions: those of ConvexReLURegressor and
    ConvexReLUClassifier, and circular ones; and for classifiers of the logistic and the softmax loss, as the outputs of
    scikit-learn's classifiers are probabilities.

    Parameters
    ----------
    model : estimator or network
        A fitted estimator of this package (of cross-validation: its `estimator_`), or a network.

    Returns
    -------
    MLPRegressor or MLPClassifier
        `predict`, and `predict_proba` of a classifier, are those of the model. Its alpha is `alpha_`, the same strength
        of weight decay; that of scikit-learn leaves biases out, as hidden_bias="free" does. `partial_fit`, or `fit`
        with warm_start=True, train on from these weights.

    Raises
    ------
    TypeError
        If `model` is neither.
    ValueError
        If the network has another activation, a skip or convolutions, or the loss is a hinge.
    sklearn.exceptions.NotFittedError
        If an estimator is not fitted.

    Examples
    --------
    >>> from convexnn import ConvexReLURegressor
    >>> from convexnn.networks.export import to_mlp
    >>> model = ConvexReLURegressor(alpha=0.1).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 0.0])
    >>> bool(abs(to_mlp(model).predict([[0.5]]) - model.predict([[0.5]])) < 1e-12)
    True
    """
    estimator, network = _exported(model)
    _check_perceptron(estimator, network)
    options = {"hidden_layer_sizes": (network.n_neurons,), "random_state": 0}
    if estimator is not None:
        options["alpha"] = estimator.alpha_
    W2, b2, classes = network.W2, network.b2, getattr(estimator, "classes_", None)
    row = np.zeros((1, len(network.W1)))
    # one step sets all that belongs to a fitted perceptron, then the weights are replaced
    if classes is None:
        mlp = MLPRegressor(**options).partial_fit(row, np.zeros((1, len(b2)) if len(b2) > 1 else 1))
    else:
        mlp = MLPClassifier(**options).partial_fit(row, classes[:1], classes=classes)
        if len(b2) == 2:  # perceptrons have one output for two classes
            W2, b2 = W2[:, 1:] - W2[:, :1], b2[1:] - b2[:1]
    del mlp._optimizer
    mlp.coefs_, mlp.intercepts_ = [network.W1.copy(), W2.copy()], [network.b1.copy(), b2.copy()]
    mlp.n_iter_, mlp.t_, mlp.loss_curve_, mlp.random_state = 0, 0, [], None
    if hasattr(estimator, "feature_names_in_"):
        mlp.feature_names_in_ = estimator.feature_names_in_.copy()
    return mlp


def _exported(model):
    """Return the estimator (None for a network) and the two-layer network, with at least one neuron."""
    estimator, network = trained_model(model)
    network = two_layers(network)
    if network.n_neurons:
        return estimator, network
    W2 = np.zeros((*network.W2.shape[:-2], 1, network.W2.shape[-1]))
    gates = None if network.gates is None else np.zeros((len(network.gates), 1))
    return estimator, replace(network, W1=np.zeros((len(network.W1), 1)), b1=np.zeros(1), W2=W2, gates=gates)


def _check_perceptron(estimator, network):
    """Raise ValueError unless scikit-learn can represent the network."""
    wanted = 'to_mlp needs a network of activation "relu" without a skip or convolutions, and no hinge loss; got '
    if isinstance(network, ConvNetwork):
        raise ValueError(wanted + "a convolutional network")
    if network.activation != "relu":
        raise ValueError(f"{wanted}activation {network.activation!r}")
    if network.skip is not None:
        raise ValueError(wanted + "a skip")
    if hasattr(estimator, "classes_") and estimator.loss not in ("log_loss", "softmax"):
        raise ValueError(f"{wanted}loss={estimator.loss!r}")


def _graph_module(torch, network, scaler=None):
    """Return the graph of operations of a network that is not a plain Sequential."""
    root, graph = torch.nn.Module(), torch.fx.Graph()

    def apply(name, layer, inputs):
        root.add_module(name, layer)
        return torch.fx.Proxy(graph.call_module(name, (inputs.node,)))

    def buffer(name, values):
        root.register_buffer(name, torch.tensor(values))
        return torch.fx.Proxy(graph.get_attr(name))

    rows, patches = torch.fx.Proxy(graph.placeholder("X")), getattr(network, "patches", None)
    if scaler is not None:
        d = scaler.n_features_in_
        mean = buffer("mean", scaler.mean_ if scaler.with_mean else np.zeros(d))
        rows = (rows.reshape(-1, d) - mean) / buffer("scale", scaler.scale_ if scaler.with_std else np.ones(d))
    inputs = rows if patches is None else rows.reshape(-1, *patches.input_shape)
    t = apply("hidden", _layer(torch, network.W1, network.b1, patches), inputs)
    if network.activation == "gated_relu":
        gates = _layer(torch, network.gates[:-1], network.gates[-1], patches).requires_grad_(False)
        hidden = t * (apply("gates", gates, inputs) >= 0)
    elif network.activation == "threshold":
        rounding = buffer("rounding", THRESHOLD_TOL * np.linalg.norm(network.W1, axis=0))
        of_biases = buffer("rounding_of_biases", THRESHOLD_TOL * np.abs(network.b1))
        norms = torch.sqrt((rows**2).sum(1, keepdim=True))
        hidden = (t >= -(norms * rounding + of_biases)).type_as(t)
    elif network.slope in (0.0, 1.0):
        hidden = t if network.slope else torch.relu(t)
    else:
        hidden = torch.nn.functional.leaky_relu(t, network.slope)
    if patches is not None:
        hidden = hidden.flatten(2)  # (n_samples, n_filters, n_patches)
        if patches.pooling == "none":
            hidden = hidden.transpose(1, 2).flatten(1)
        else:
            hidden = {"mean": hidden.mean, "sum": hidden.sum, "max": hidden.amax}[patches.pooling](2)
    outputs = apply("output", _layer(torch, network.W2.reshape(-1, len(network.b2)), network.b2), hidden)
    if network.skip is not None:
        outputs = outputs + apply("skip", _layer(torch, network.skip, None), rows)
    graph.output(outputs.node)
    return torch.fx.GraphModule(root, graph)


def _layer(torch, W, b, patches=None):
    """Return a Linear layer, or a convolution over patches, of weights W and biases b (or None) in double precision."""
    if patches is None:
        kind, sizes, weight = torch.nn.Linear, W.shape, W.T
    else:
        kind, weight = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d}[len(patches.kernel_size)], patches.fold(W)
        sizes = (patches.input_shape[0], W.shape[1], patches.kernel_size, patches.stride, patches.padding)
    # skip_init leaves the random numbers of torch alone
    layer = torch.nn.utils.skip_init(kind, *sizes, bias=b is not None, dtype=torch.float64)
    layer.weight = torch.nn.Parameter(torch.tensor(weight))
    if b is not None:
        layer.bias = torch.nn.Parameter(torch.tensor(b))
    return layer
