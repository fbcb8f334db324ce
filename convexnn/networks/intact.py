"""What a model must be like to predict: every part there, of its type, finite, and of shapes that fit one another."""

from dataclasses import fields
from math import prod
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from ..geometry.arrangements import Arrangements
from ..model.certificate import SCOPES, Certificate
from .circular import CircularNetwork
from .conv_network import ConvNetwork
from .network import Network

__all__ = ["check_estimator", "check_network", "check_scaler"]

# Weights up to here have finite products, and one input at most so many values in its patches.
LARGEST, MOST_VALUES = 1e100, 2**26
STEEPEST = 1e50


def check_network(network: Network | ConvNetwork | CircularNetwork) -> int:
    """Return the number of features of a network; raise ValueError if its predictions might not be finite."""
    for part in fields(network):
        value = getattr(network, part.name)
        if isinstance(value, np.ndarray) and not (np.abs(value) <= LARGEST).all():
            raise ValueError(f"the weights {part.name} of the network must be finite numbers up to {LARGEST:g}")
    slope = getattr(network, "negative_slope", 0.0)
    if not _is_number(slope) or not abs(slope) <= STEEPEST:
        raise ValueError(f"negative_slope of the network must be a finite number up to {STEEPEST:g}; got {slope!r}")
    if not len(network.W1) or not len(network.b2):
        raise ValueError(f"the network must have features and outputs; got {len(network.W1)} and {len(network.b2)}")
    if not isinstance(network, ConvNetwork):
        return len(network.W1)
    patches = network.patches
    padded = prod(size + 2 * pad for size, pad in zip(patches.input_shape[1:], patches.padding, strict=True))
    if max(padded * patches.input_shape[0], patches.n_patches * patches.patch_size) > MOST_VALUES:
        raise ValueError(f"patches of the network must have at most {MOST_VALUES} values an input; got {patches}")
    return patches.n_features


def check_scaler(scaler: StandardScaler) -> int:
    """Return the number of features of a fitted scaler; raise ValueError unless it keeps finite values finite."""
    d = _count(scaler, "n_features_in_")
    scaler._validate_params()
    for name, wanted in (("mean_", scaler.with_mean), ("scale_", scaler.with_std), ("var_", scaler.with_std)):
        value = _attribute(scaler, name) if wanted else getattr(scaler, name, None)
        if value is not None and not _is_array(value, (d,)):
            raise ValueError(f"{name} of the scaler must be {d} finite numbers; got {_short(value)}")
    if scaler.with_std and not (np.abs(scaler.scale_) >= 1 / LARGEST).all():
        raise ValueError(f"scale_ of the scaler must not be zero; got {_short(scaler.scale_)}")
    _check_names(scaler, d)
    return d


def check_estimator(estimator: Any, network_type: type) -> int:
    """Return the number of features of a fitted estimator; raise ValueError if a part is missing or wrong."""
    network = _attribute(estimator, "network_")
    if not isinstance(network, network_type):
        raise ValueError(f"network_ must be a {network_type.__name__}; got {_short(network)}")
    d, c = check_network(network), len(network.b2)
    if _count(estimator, "n_features_in_") != d:
        raise ValueError(f"n_features_in_ must be {d}, as the network has; got {estimator.n_features_in_}")
    _check_names(estimator, d)
    if hasattr(estimator, "predict_proba"):
        _check_classes(estimator, c)
    elif hasattr(estimator, "classes_"):
        raise ValueError("classes_ are for classifiers")
    estimator._validate_params()
    estimator._architecture()
    _check_record(estimator, network)
    return d


def _check_record(estimator, network):
    """Raise ValueError unless the attributes that record the fit have the right types."""
    _count(estimator, "n_iter_")
    if _count(estimator, "n_neurons_") != network.n_neurons:
        raise ValueError(f"n_neurons_ must be {network.n_neurons}, as the network has; got {estimator.n_neurons_}")
    filters = getattr(estimator, "filters_", None)
    if filters is not None and not (_is_array(filters) and filters.shape[:1] == (network.n_neurons,)):
        raise ValueError(f"filters_ must be finite, one for each of {network.n_neurons}; got {_short(filters)}")
    for name in ("alpha_", "alpha_max_", "tol_"):
        if not _is_number(_attribute(estimator, name)):
            raise ValueError(f"{name} must be a number; got {_short(getattr(estimator, name))}")
    if not isinstance(_attribute(estimator, "status_"), str):
        raise ValueError(f"status_ must be text; got {_short(estimator.status_)}")
    _check_certificate(_attribute(estimator, "certificate_"))
    _check_history(_attribute(estimator, "history_"))
    _check_arrangements(_attribute(estimator, "arrangements_"))
    dual = _attribute(estimator, "dual_")
    if not _is_array(dual) or dual.ndim != 2 or dual.shape[1] != len(network.b2):
        raise ValueError(f"dual_ must be finite numbers, {len(network.b2)} a sample; got {_short(dual)}")
    for name, arrays in zip(("coefs_", "intercepts_"), estimator._weights(), strict=True):
        given = _attribute(estimator, name)
        if not isinstance(given, list) or not all(_equal(*pair) for pair in zip(given, arrays, strict=True)):
            raise ValueError(f"{name} must be the weights of the network; got {_short(given)}")


def _check_classes(estimator, n_outputs):
    """Raise ValueError unless a classifier has a class for each output and a valid probability scale."""
    classes, scale = _attribute(estimator, "classes_"), _attribute(estimator, "probability_scale_")
    if not isinstance(classes, np.ndarray) or classes.ndim != 1 or len(np.unique(classes)) != len(classes):
        raise ValueError(f"classes_ must be an array of different classes; got {_short(classes)}")
    if len(classes) != max(n_outputs, 2):
        raise ValueError(f"classes_ must be {max(n_outputs, 2)}, for {n_outputs} outputs; got {len(classes)}")
    if not _is_number(scale) or not 0 < scale <= LARGEST:
        raise ValueError(f"probability_scale_ must be a finite number above 0; got {_short(scale)}")


def _check_names(model, d):
    names = getattr(model, "feature_names_in_", None)
    known = isinstance(names, np.ndarray) and names.shape == (d,) and all(isinstance(name, str) for name in names)
    if names is not None and not known:
        raise ValueError(f"feature_names_in_ must be {d} texts; got {_short(names)}")


def _check_certificate(certificate):
    numbers = ("objective", "lower_bound", "rounding", "proved_bound")
    if not isinstance(certificate, Certificate) or not all(_is_number(getattr(certificate, name)) for name in numbers):
        raise ValueError(f"certificate_ must be a Certificate of numbers; got {_short(certificate)}")
    if certificate.scope not in tuple(SCOPES):
        raise ValueError(f"certificate_ must be of scope {', '.join(SCOPES)}; got {_short(certificate.scope)}")


def _check_history(history):
    numbers = ("time", "objective", "lower_bound", "gap")
    for record in history if isinstance(history, list) else [history]:
        known = isinstance(record, dict) and all(_is_number(record.get(name)) for name in numbers)
        if not known or not isinstance(record.get("scope"), str):
            raise ValueError(
                f"history_ must be a list of records of {', '.join(numbers)} and scope; got {_short(record)}"
            )


def _check_arrangements(given):
    if not isinstance(given, Arrangements) or not isinstance(given.n_samples, Integral):
        raise ValueError(f"arrangements_ must be Arrangements; got {_short(given)}")
    size = -(-given.n_samples // 8)
    if not isinstance(given.bits, np.ndarray) or given.bits.dtype != np.uint8 or given.bits.shape[1:] != (size,):
        raise ValueError(f"bits of arrangements_ must be bytes, {size} a pattern; got {_short(given.bits)}")
    if not _is_array(given.gates) or given.gates.ndim != 2 or len(given.gates) != len(given.bits):
        raise ValueError(f"gates of arrangements_ must be finite, one a pattern; got {_short(given.gates)}")


def _attribute(model, name):
    if name not in vars(model):
        raise ValueError(f"{name} is missing")
    return vars(model)[name]


def _count(model, name):
    value = _attribute(model, name)
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} must be a whole number; got {_short(value)}")
    return value


def _is_number(value):
    """Return whether the value is a real number, maybe infinite but not nan, and no integer of 64 bits or more."""
    known = isinstance(value, Real) and not isinstance(value, (bool, np.bool_)) and value == value
    return known and not (isinstance(value, Integral) and abs(value) >= 2**63)


def _is_array(value, shape=None):
    """Return whether the value is an array of numbers up to LARGEST, of the shape if one is given."""
    known = isinstance(value, np.ndarray) and value.dtype.kind in "iuf" and (np.abs(value) <= LARGEST).all()
    return known and shape in (None, value.shape)


def _equal(one, other):
    return isinstance(one, np.ndarray) and np.array_equal(one, other)


def _short(value):
    """Return a short description of the value."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
