"""What the displays read off networks of every kind: sizes, directions and walls of neurons, and names.

    f(x) = sum_j hidden_j(x) a_j + b_2 (+ x skip)        the size of neuron j is |w_j| |a_j|

The sizes add up to the weight decay of a balanced network, which every optimum is.
"""

from typing import Any

import numpy as np

from ..networks.conversion import trained_model
from ..networks.network import CircularNetwork, Network
from ..utils.validation import check_count
from .display import CYCLE, GREY, NEGATIVE, POSITIVE, short

__all__: list[str] = []


def fitted_model(estimator: Any) -> tuple:
    """Return the fitted estimator in what a user gives (the `estimator_` of a cross-validation), and its network."""
    fitted, network = trained_model(estimator)
    if fitted is None:
        raise TypeError(f"estimator must be a fitted estimator of convexnn; got a {type(network).__name__}")
    return fitted, network


def feature_names(estimator: Any, n_features: int) -> list:
    """Return the names of features: those of a fit to a DataFrame, or x0, x1 and so on (x for a single one)."""
    if hasattr(estimator, "feature_names_in_"):
        return [short(name) for name in estimator.feature_names_in_]
    return ["x"] if n_features == 1 else [f"x{k}" for k in range(n_features)]


def output_names(estimator: Any, n_outputs: int) -> list:
    """Return the names of the outputs of a network: classes where each has its own output, else numbers."""
    classes = getattr(estimator, "classes_", ())
    if len(classes) == n_outputs:
        return [f"class {short(name)}" for name in classes]
    return [f"output {k}" for k in range(n_outputs)]


def check_output(output: int | None, n_outputs: int) -> None:
    """Raise ValueError unless `output` is None or the number of an output."""
    if output is not None and check_count("output", output, 0) >= n_outputs:
        raise ValueError(f"output must be below {n_outputs}, the number of outputs; got {output}")


def neuron_sizes(network: Any) -> np.ndarray:
    """Return |w_j| |a_j| of each neuron, as the weight decay counts them (|a_j| for threshold networks)."""
    if isinstance(network, Network):
        outer = network.output_sizes()
        return outer if network.activation == "threshold" else network.input_sizes() * outer
    outer = np.linalg.norm(_output_rows(network), 1 if network.output_penalty == "l1" else 2, axis=1)
    charged = [network.W1]
    if not isinstance(network, CircularNetwork) and network.hidden_bias != "free":
        charged.append(network.b1[None])
    return np.linalg.norm(np.vstack(charged), axis=0) * outer


def neuron_directions(network: Any) -> tuple:
    """Return unit vectors that tell neurons apart, a column each: of hidden weights, output weights, and gates if any.

    For circular networks the hidden weights are those that act on the inputs, without biases.
    """
    circular = isinstance(network, CircularNetwork)
    hidden = network.effective() if circular else np.vstack([network.W1, network.b1])
    vectors = [hidden, _output_rows(network).T]
    if network.gates is not None:
        vectors.append(network.gates)
    return tuple(part / np.maximum(np.linalg.norm(part, axis=0), np.finfo(float).tiny) for part in vectors)


def neuron_groups(network: Any, names: list) -> tuple:
    """Sort neurons by what they do to the output: raise or lower it, or which of several outputs they act on most.

    Returns the group of every neuron, and for each group its legend, its colour and its direction: -1 for output
    weights below zero, else 1.
    """
    outputs = _output_rows(network)
    if outputs.shape[1] == 1:
        styles = [("a > 0", POSITIVE, 1), ("a < 0", NEGATIVE, -1)]
        return (outputs[:, 0] < 0).astype(int), styles
    n_outputs = len(network.b2)
    if n_outputs > len(CYCLE) or outputs.shape[1] != n_outputs:
        return np.zeros(len(outputs), dtype=int), [("neurons", GREY, 1)]
    styles = [(f"mostly {name}", color, 1) for name, color in zip(names, CYCLE, strict=False)]
    return np.abs(outputs).argmax(axis=1), styles


def neuron_walls(network: Network) -> tuple:
    """Return normals (n_neurons, n_features), zero without a wall, and offsets of where neurons switch."""
    if network.activation == "linear":
        return np.zeros_like(network.W1.T), np.ones(network.n_neurons)
    if network.gates is not None:
        return network.gates[:-1].T, network.gates[-1]
    return network.W1.T, network.b1


def _output_rows(network):
    """Return the output weights of each neuron as a row; those of all patches where each patch has its own."""
    return network.W2 if network.W2.ndim == 2 else np.moveaxis(network.W2, 1, 0).reshape(network.n_neurons, -1)
