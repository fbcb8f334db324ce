"""A network of every kind, with random weights and inputs for it: what explanations, exports and files must handle."""

from dataclasses import replace

import numpy as np

from convexnn import Network
from convexnn.geometry.patches import Patches
from convexnn.model import ACTIVATIONS, Activation
from convexnn.networks.network import CircularNetwork, ConvNetwork

# An activation of one's own.
ACTIVATIONS["bent"] = Activation(-0.4)
DENSE = {
    "relu": {},
    "three outputs": {"n_outputs": 3},
    "skip": {"skip": True, "n_outputs": 2},
    "no hidden bias": {"hidden_bias": "none"},
    "free bias": {"hidden_bias": "free", "hidden_norm": "l1"},
    "leaky_relu": {"activation": "leaky_relu", "negative_slope": 0.1},
    "negative leaky_relu": {"activation": "leaky_relu", "negative_slope": -0.5, "skip": True},
    "abs": {"activation": "abs", "n_outputs": 2, "output_penalty": "l1"},
    "bent": {"activation": "bent", "hidden_norm": 0.5},
    "linear": {"activation": "linear", "n_outputs": 2},
    "linear skip": {"activation": "linear", "skip": True},
    "gated_relu": {"activation": "gated_relu", "n_outputs": 2},
    "gated_relu skip": {"activation": "gated_relu", "skip": True, "hidden_norm": 0.5},
    "threshold": {"activation": "threshold", "n_outputs": 2},
    "threshold skip": {"activation": "threshold", "skip": True},
}
SIGNAL, IMAGE = {"input_shape": (2, 9), "kernel_size": 3}, {"input_shape": (2, 4, 5), "kernel_size": (2, 3)}
CONVOLUTIONAL = {
    "conv mean": {**SIGNAL, "n_outputs": 2},
    "conv sum": {**SIGNAL, "pooling": "sum", "stride": 2, "padding": 2},
    "conv max": {**SIGNAL, "pooling": "max", "padding": 1},
    "conv none": {**SIGNAL, "pooling": "none", "stride": 2, "n_outputs": 2},
    "conv leaky_relu": {**SIGNAL, "activation": "leaky_relu", "negative_slope": 0.2, "padding": 1},
    "conv abs": {**SIGNAL, "activation": "abs", "pooling": "sum"},
    "conv linear": {**SIGNAL, "activation": "linear", "stride": 3},
    "conv linear none": {**SIGNAL, "activation": "linear", "pooling": "none"},
    "conv gated_relu": {**SIGNAL, "activation": "gated_relu", "padding": 1},
    "conv max leaky_relu": {**SIGNAL, "activation": "leaky_relu", "negative_slope": 0.2, "pooling": "max"},
    "conv bent": {**SIGNAL, "activation": "bent", "n_outputs": 2, "output_penalty": "l1"},
    "conv max abs": {**SIGNAL, "activation": "abs", "pooling": "max"},
    "conv max linear": {**SIGNAL, "activation": "linear", "pooling": "max"},
    "conv max gated_relu": {**SIGNAL, "activation": "gated_relu", "pooling": "max"},
    "image mean": {**IMAGE, "padding": (1, 0), "stride": (2, 1), "n_outputs": 3},
    "image sum": {**IMAGE, "pooling": "sum", "hidden_bias": "none"},
    "image max": {**IMAGE, "pooling": "max", "padding": (0, 2)},
    "image none gated_relu": {**IMAGE, "pooling": "none", "activation": "gated_relu", "padding": 1},
}
CIRCULAR = {
    "circular": {"shape": (6,), "n_outputs": 2},
    "circular image": {"shape": (3, 4)},
    "circular gated_relu": {"shape": (5,), "activation": "gated_relu", "output_penalty": "l1"},
    "circular linear": {"shape": (2, 3), "activation": "linear"},
}
NETWORKS = [*DENSE, *CONVOLUTIONAL, *CIRCULAR]
N_NEURONS = 5


def make_network(name):
    """Return the network of a name, and inputs of shape (25, n_features)."""
    rng = np.random.default_rng(sum(name.encode()))
    kind = dict({**DENSE, **CONVOLUTIONAL, **CIRCULAR}[name])
    make = _dense if name in DENSE else _convolutional if name in CONVOLUTIONAL else _circular
    network, n_features = make(kind, kind.pop("n_outputs", 1), rng)
    return network, rng.standard_normal((25, n_features))


def without_neurons(network):
    """Return a network of the same kind that has no neurons."""
    present = [name for name in ("U", "W1", "b1", "gates") if getattr(network, name, None) is not None]
    return replace(network, W2=network.W2[..., :0, :], **{name: getattr(network, name)[..., :0] for name in present})


def _dense(kind, c, rng):
    d, m = 3, N_NEURONS
    if kind.pop("skip", False):
        kind["skip"] = rng.standard_normal((d, c))
    if kind.get("activation") == "gated_relu":
        kind["gates"] = rng.standard_normal((d + 1, m))
    b1 = np.zeros(m) if kind.get("hidden_bias") == "none" else rng.standard_normal(m)
    return Network(rng.standard_normal((d, m)), b1, rng.standard_normal((m, c)), rng.standard_normal(c), **kind), d


def _convolutional(kind, c, rng):
    places = {
        key: kind.pop(key) for key in ("input_shape", "kernel_size", "stride", "padding", "pooling") if key in kind
    }
    patches, m = Patches(**places), N_NEURONS
    if kind.get("activation") == "gated_relu":
        kind["gates"] = rng.standard_normal((patches.patch_size + 1, m))
    b1 = np.zeros(m) if kind.get("hidden_bias") == "none" else rng.standard_normal(m)
    shape = (patches.n_patches, m, c) if patches.pooling == "none" else (m, c)
    W1, W2 = rng.standard_normal((patches.patch_size, m)), rng.standard_normal(shape)
    return ConvNetwork(W1, b1, W2, rng.standard_normal(c), patches, **kind), patches.n_features


def _circular(kind, c, rng):
    d, m = int(np.prod(kind["shape"])), N_NEURONS
    U = rng.standard_normal((d, m))
    if kind.get("activation") == "gated_relu":
        kind["gates"] = rng.standard_normal((d + 1, m))
    U /= np.linalg.norm(U, axis=0)
    return CircularNetwork(
        U, rng.standard_normal((d, m)), rng.standard_normal((m, c)), rng.standard_normal(c), **kind
    ), d
