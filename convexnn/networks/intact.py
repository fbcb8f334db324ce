"""What a model must be like to predict: every part there, of its type, finite, and of shapes that fit one another."""

from dataclasses import fields
from math import prod
from numbers import Integral, Real

import numpy as np

from ..geometry.arrangements import Arrangements
from ..model.certificate import SCOPES, Certificate
from .conv_network import ConvNetwork

__all__ = ["check_estimator", "check_network", "check_scaler"]

# Weights up to here have finite products, and one input at most so many values in its patches.
LARGEST, MOST_VALUES = 1e100, 2**26
STEEPEST = 1e50


def check_network(network):
    """Return the number of features of a network; raise ValueError if its predictions might not be finite."""
    for part in fields(network):
        value = getattr(network, part.name)
        if isinstance(value, np.ndarray) and not (np.abs(value) <= LARGEST).all():
            raise ValueError(f"the weights {part.name} of the network must be finite numbers up to {LARGEST:g}")
    slope = network.negative_slope
    _require(abs(slope) <= STEEPEST, "negative_slope of the network", f"a finite number up to {STEEPEST:g}", slope)
    if not len(network.W1) or not len(network.b2):
        raise ValueError(f"the network must have features and outputs; got {len(network.W1)} and {len(network.b2)}")
    if isinstance(network, ConvNetwork):
        patches = network.patches
        padded = prod(size + 2 * pad for size, pad in zip(patches.input_shape[1:], patches.padding, strict=True))
        if max(padded * patches.input_shape[0], patches.n_patches * patches.patch_size) > MOST_VALUES:
            raise ValueError(f"patches of the network must have at most {MOST_VALUES} values an input; got {patches}")
    return network.n_features


def check_scaler(scaler):
    """Return the number of features of a fitted scaler; raise ValueError unless it keeps finite values finite."""
    d = _count(scaler, "n_features_in_")
    scaler._validate_params()
    for name, wanted in (("mean_", scaler.with_mean), ("scale_", scaler.with_std), ("var_", scaler.with_std)):
        value = _attribute(scaler, name) if wanted else getattr(scaler, name, None)
        _require(value is None or _is_array(value, (d,)), f"{name} of the scaler", f"{d} finite numbers", value)
    small = scaler.with_std and not (np.abs(scaler.scale_) >= 1 / LARGEST).all()
    _require(not small, "scale_ of the scaler", "above zero", scaler.scale_)
    _check_names(scaler, d)
    return d


def check_estimator(estimator, network_type):
    """Return the number of features of a fitted estimator; raise ValueError if a part is missing or wrong."""
    network = _attribute(estimator, "network_")
    _require(isinstance(network, network_type), "network_", f"a {network_type.__name__}", network)
    d, c = check_network(network), len(network.b2)
    n_features = _count(estimator, "n_features_in_")
    _require(n_features == d, "n_features_in_", f"{d}, as the network has", n_features)
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
    m, c, n_neurons = network.n_neurons, len(network.b2), _count(estimator, "n_neurons_")
    _require(n_neurons == m, "n_neurons_", f"{m}, as the network has", n_neurons)
    filters = getattr(estimator, "filters_", None)
    known = filters is None or (_is_array(filters) and filters.shape[:1] == (m,))
    _require(known, "filters_", f"finite, one for each of {m}", filters)
    for name in ("alpha_", "alpha_max_", "tol_"):
        _require(_is_number(_attribute(estimator, name)), name, "a number", getattr(estimator, name))
    _require(isinstance(_attribute(estimator, "status_"), str), "status_", "text", estimator.status_)
    _check_certificate(_attribute(estimator, "certificate_"))
    _check_history(_attribute(estimator, "history_"))
    _check_arrangements(_attribute(estimator, "arrangements_"))
    dual = _attribute(estimator, "dual_")
    known = _is_array(dual) and dual.ndim == 2 and dual.shape[1] == c
    _require(known, "dual_", f"finite numbers, {c} a sample", dual)
    for name, arrays in zip(("coefs_", "intercepts_"), estimator._weights(), strict=True):
        given = _attribute(estimator, name)
        known = isinstance(given, list) and all(_equal(*pair) for pair in zip(given, arrays, strict=True))
        _require(known, name, "the weights of the network", given)


def _check_classes(estimator, n_outputs):
    """Raise ValueError unless a classifier has a class for each output and a valid probability scale."""
    classes, scale = _attribute(estimator, "classes_"), _attribute(estimator, "probability_scale_")
    known = isinstance(classes, np.ndarray) and classes.ndim == 1 and len(np.unique(classes)) == len(classes)
    _require(known, "classes_", "an array of different classes", classes)
    wanted = max(n_outputs, 2)
    _require(len(classes) == wanted, "classes_", f"{wanted}, for {n_outputs} outputs", len(classes))
    known = _is_number(scale) and 0 < scale <= LARGEST
    _require(known, "probability_scale_", "a finite number above 0", scale)


def _check_names(model, d):
    names = getattr(model, "feature_names_in_", None)
    known = isinstance(names, np.ndarray) and names.shape == (d,) and all(isinstance(name, str) for name in names)
    _require(names is None or known, "feature_names_in_", f"{d} texts", names)


def _check_certificate(certificate):
    numbers = ("objective", "lower_bound", "rounding", "proved_bound")
    known = isinstance(certificate, Certificate) and all(_is_number(getattr(certificate, name)) for name in numbers)
    _require(known, "certificate_", "a Certificate of numbers", certificate)
    _require(certificate.scope in tuple(SCOPES), "certificate_", f"of scope {', '.join(SCOPES)}", certificate.scope)


def _check_history(history):
    numbers = ("time", "objective", "lower_bound", "gap")
    for record in history if isinstance(history, list) else [history]:
        known = isinstance(record, dict) and all(_is_number(record.get(name)) for name in numbers)
        known = known and isinstance(record.get("scope"), str)
        _require(known, "history_", f"a list of records of {', '.join(numbers)} and scope", record)


def _check_arrangements(given):
    known = isinstance(given, Arrangements) and isinstance(given.n_samples, Integral)
    _require(known, "arrangements_", "Arrangements", given)
    bits, gates, size = given.bits, given.gates, -(-given.n_samples // 8)
    known = isinstance(bits, np.ndarray) and bits.dtype == np.uint8 and bits.shape[1:] == (size,)
    _require(known, "bits of arrangements_", f"bytes, {size} a pattern", bits)
    known = _is_array(gates) and gates.ndim == 2 and len(gates) == len(bits)
    _require(known, "gates of arrangements_", "finite, one a pattern", gates)


def _require(known, name, wanted, value):
    """Raise ValueError unless a value is known to be as wanted."""
    if not known:
        text = repr(value)
        if isinstance(value, np.ndarray):
            text = f"an array of shape {value.shape} and dtype {value.dtype}"
        raise ValueError(f"{name} must be {wanted}; got {text if len(text) <= 80 else f'{text[:77]}...'}")


def _attribute(model, name):
    if name not in vars(model):
        raise ValueError(f"{name} is missing")
    return vars(model)[name]


def _count(model, name):
    value = _attribute(model, name)
    _require(isinstance(value, Integral) and not isinstance(value, bool) and value >= 0, name, "a whole number", value)
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
