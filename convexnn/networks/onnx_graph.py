"""Trained networks as ONNX graphs, from operators that onnxruntime has in single and in double precision.

    X (-> (X - mean) / scale) -> t = X W1 + b1 -> act(t) -> pooling -> prediction = act(t) W2 + b2 (+ X skip)

Convolutions are products with the patches, which are gathered from the input: onnxruntime has none in double precision.
"""

import json
from dataclasses import asdict
from importlib.metadata import version

import numpy as np

from .network import THRESHOLD_TOL, ConvNetwork

__all__ = ["onnx_model"]

# Those of ReduceMean and ReduceMax that take their axes as ReduceSum does; onnxruntime has them since 1.14.
OPERATOR_SET, FORMAT_VERSION = 18, 8


def onnx_model(onnx, estimator, network, dtype, scaler=None):
    """Build the ModelProto of a two-layer network with at least one neuron.

    `onnx` is the module, `dtype` ("float64" or "float32") the type of inputs and weights. `estimator` is None for a
    bare network; inputs pass `scaler` first if one is given. Raise ValueError if ONNX has no type for the classes.
    """
    graph, helper = _Graph(onnx, np.dtype(dtype)), onnx.helper
    inputs, c = "X" if scaler is None else _scaled(graph, scaler), len(network.b2)
    Z = _outputs(graph, network, inputs)
    classes = getattr(estimator, "classes_", None)
    outputs = [_prediction(graph, Z, c)] if classes is None else _classification(graph, Z, c, estimator)
    given = [helper.make_tensor_value_info("X", graph.type, ["n_samples", network.n_features])]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "convexnn", given, outputs, graph.constants),
        producer_name="convexnn",
        producer_version=version("convexnn"),
        opset_imports=[helper.make_opsetid("", OPERATOR_SET)],
        ir_version=FORMAT_VERSION,
    )
    helper.set_model_props(model, _metadata(estimator, network, scaler))
    return model


class _Graph:
    """The nodes and constants of a graph, numbered in the order of their addition."""

    def __init__(self, onnx, dtype):
        self.onnx, self.dtype, self.nodes, self.constants = onnx, dtype, [], []
        self.type = onnx.helper.np_dtype_to_tensor_dtype(dtype)

    def add(self, kind, *inputs, name=None, **attributes):
        """Add a node and return the name of its output; inputs are names, or arrays, which become constants."""
        inputs = [given if isinstance(given, str) else self.constant(given) for given in inputs]
        name = name or f"{kind}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], **attributes))
        return name

    def output(self, name, shape, kind=None):
        """Return the description of an output."""
        return self.onnx.helper.make_tensor_value_info(name, kind or self.type, shape)

    def constant(self, array, exact=False):
        """Add an array and return its name; float64 is cast to the dtype of the graph unless `exact`."""
        array = array.astype(self.dtype) if array.dtype == np.float64 and not exact else array
        name = f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name


def _scaled(graph, scaler):
    """Add the scaling of the inputs and return the name of its output."""
    X = graph.add("Sub", "X", scaler.mean_) if scaler.with_mean else "X"
    return graph.add("Div", X, scaler.scale_) if scaler.with_std else X


def _outputs(graph, network, X):
    """Add the network and return the name of its outputs (n_samples, n_outputs)."""
    convolutional = isinstance(network, ConvNetwork)
    inputs = _patches(graph, network.patches, X) if convolutional else X
    t = graph.add("Add", graph.add("MatMul", inputs, network.W1), network.b1)
    hidden = _activation(graph, network, inputs, t)
    if convolutional:
        kind = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax"}.get(network.patches.pooling)
        if kind is None:
            hidden = graph.add("Reshape", hidden, np.array([-1, network.patches.n_patches * network.n_neurons]))
        else:
            hidden = graph.add(kind, hidden, np.array([1]), keepdims=0)
    W2 = network.W2.reshape(-1, len(network.b2))
    Z = graph.add("Add", graph.add("MatMul", hidden, W2), network.b2)
    return Z if network.skip is None else graph.add("Add", Z, graph.add("MatMul", X, network.skip))


def _patches(graph, patches, X):
    """Add the patches of the inputs and return their name; they are (n_samples, n_patches, patch_size)."""
    places = patches.features()
    padded = (places == patches.n_features).any()  # by a column of zeros behind the features
    return graph.add("Gather", graph.add("Pad", X, np.array([0, 0, 0, 1])) if padded else X, places, axis=1)


def _activation(graph, network, inputs, t):
    """Add the activations of the neurons, given their inputs and pre-activations `t`, and return their name."""
    zero = np.zeros(())
    if network.activation == "gated_relu":
        gates = graph.add("Add", graph.add("MatMul", inputs, network.gates[:-1]), network.gates[-1])
        return graph.add("Mul", t, graph.add("Cast", graph.add("GreaterOrEqual", gates, zero), to=graph.type))
    if network.activation == "threshold":
        lengths = np.linalg.norm(network.W1, axis=0)
        squares = graph.add("ReduceSum", graph.add("Mul", inputs, inputs), np.array([1]), keepdims=1)
        wall = graph.add("Mul", graph.add("Sqrt", squares), -THRESHOLD_TOL * lengths)
        wall = graph.add("Add", wall, -THRESHOLD_TOL * np.abs(network.b1))
        return graph.add("Cast", graph.add("GreaterOrEqual", t, wall), to=graph.type)
    if network.slope in (0.0, 1.0):
        return t if network.slope else graph.add("Relu", t)
    return graph.add("Max", t, graph.add("Mul", t, np.array(network.slope)))


def _prediction(graph, Z, c):
    """Add the output of a regression, in the shape that `predict` returns."""
    if c == 1:
        graph.add("Reshape", Z, np.array([-1]), name="prediction")
        return graph.output("prediction", ["n_samples"])
    graph.add("Identity", Z, name="prediction")
    return graph.output("prediction", ["n_samples", c])


def _classification(graph, Z, c, estimator):
    """Add the outputs of a classifier: decision, label and probabilities."""
    two, classes = c <= 2, estimator.classes_
    if c == 2:
        Z = graph.add("MatMul", Z, np.array([[-1.0], [1.0]]))  # the difference of the outputs
    if two:
        graph.add("Reshape", Z, np.array([-1]), name="decision")
        above = graph.add("Greater", "decision", np.zeros(()))
        index = graph.add("Cast", above, to=graph.onnx.TensorProto.INT64)
    else:
        graph.add("Identity", Z, name="decision")
        index = graph.add("ArgMax", "decision", axis=1, keepdims=0)
    labels = _labels(classes)
    graph.add("Gather", graph.constant(labels, exact=True), index, name="label")
    # objects are strings
    kind = graph.onnx.helper.np_dtype_to_tensor_dtype(labels.dtype)
    if two:
        scaled = graph.add("Mul", Z, np.array(estimator.probability_scale_))  # 1 but for hinges
        second = graph.add("Sigmoid", scaled)
        graph.add("Concat", graph.add("Sigmoid", graph.add("Neg", scaled)), second, axis=1, name="probabilities")
    else:
        graph.add("Softmax", Z, axis=1, name="probabilities")
    return [
        graph.output("decision", ["n_samples"] if two else ["n_samples", c]),
        graph.output("label", ["n_samples"], kind),
        graph.output("probabilities", ["n_samples", len(classes)]),
    ]


def _labels(classes):
    """Return the classes in a type of ONNX: numbers, booleans or strings as objects; else raise ValueError."""
    classes = np.array(classes.tolist()) if classes.dtype == object else classes
    if classes.dtype.kind == "U":
        return classes.astype(object)
    if classes.dtype.kind not in "biuf":
        raise ValueError(f"classes_ must be numbers, booleans or strings for ONNX; got dtype {classes.dtype}")
    return classes.astype(classes.dtype.newbyteorder("="))


def _metadata(estimator, network, scaler):
    """Return the metadata of the file, all strings."""
    data = {"convexnn_version": version("convexnn"), "activation": network.activation}
    if estimator is None:
        return data
    certificate = asdict(estimator.certificate_) | {"gap": estimator.certificate_.gap}
    data |= {
        "estimator": type(estimator).__name__,
        "parameters": json.dumps(estimator.get_params(deep=False), default=repr),
        "alpha": repr(float(estimator.alpha_)),
        "certificate": json.dumps(certificate, default=float),
        "certificate_in_words": str(estimator.certificate_),
    }
    if hasattr(estimator, "classes_"):
        data["classes"] = json.dumps(estimator.classes_.tolist())
    first = estimator if scaler is None else scaler
    if hasattr(first, "feature_names_in_"):
        data["feature_names"] = json.dumps(first.feature_names_in_.tolist())
    return data
