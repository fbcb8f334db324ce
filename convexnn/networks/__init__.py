"""Networks in weights: recovered from blocks, made minimal, converted, exported, explained, kept in files."""

from .conversion import as_network
from .explanation import Explanation, explain
from .export import to_mlp, to_onnx, to_torch
from .minimal import merge_parallel, minimal_network
from .network import CircularNetwork, ConvNetwork, Network, PolynomialNetwork
from .persistence import load, save
from .recovery import recover

__all__ = [
    "CircularNetwork",
    "ConvNetwork",
    "Explanation",
    "Network",
    "PolynomialNetwork",
    "as_network",
    "explain",
    "load",
    "merge_parallel",
    "minimal_network",
    "recover",
    "save",
    "to_mlp",
    "to_onnx",
    "to_torch",
]
