"""What a model must be like to predict: every part there, of its type, finite, and of shapes that fit one another."""

from dataclasses import fields
from math import prod
from numbers import Integral, Real

import numpy as np

from ..geometry.arrangements import Arrangements
from ..model.certificate import SCOPES, Certificate
from .network import ConvNetwork

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
    if not abs(network.negative_slope) <= STEEPEST:
        wanted = f"a finite number up to {STEEPEST:g}"
        raise ValueError(f"negative_slope of the network must be {wanted}; got {network.negative_slope}")
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
    _check(scaler, "n_features_in_", "a whole number", _is_count)
    scaler._validate_params()
    d = scaler.n_features_in_
    for name, needed in (("mean_", scaler.with_mean), ("scale_", scaler.with_std), ("var_", scaler.with_std)):
        _check(scaler, name, f"{d} finite numbers", lambda value: _is_array(value, (d,)), optional=not needed)
    if scaler.with_std:
        _check(scaler, "scale_", "above zero", lambda value: (np.abs(value) >= 1 / LARGEST).all())
    _check_names(scaler, d)
    return d


def check_estimator(estimator, network_type):
    """Return the number of features of a fitted estimator; raise ValueError if a part is missing or wrong."""
    _check(estimator, "network_", f"a {network_type.__name__}", lambda value: isinstance(value, network_type))
    network = estimator.network_
    d, m, c = check_network(network), network.n_neurons, len(network.b2)
    _check(estimator, "n_features_in_", f"{d}, as the network has", lambda value: _is_count(value) and value == d)
    _check_names(estimator, d)
    if hasattr(estimator, "predict_proba"):
        _check(estimator, "classes_", f"{max(c, 2)} different classes", lambda value: _are_labels(value, max(c, 2)))
        _check(
            estimator, "probability_scale_", f"above 0, up to {LARGEST:g}", lambda s: _is_number(s) and 0 < s <= LARGEST
        )
    elif hasattr(estimator, "classes_"):
        raise ValueError("classes_ are for classifiers")
    estimator._validate_params()
    estimator._architecture()
    coefs, intercepts = estimator._weights()
    record = {
        "n_iter_": ("a whole number", _is_count),
        "n_neurons_": (f"{m}, as the network has", lambda value: _is_count(value) and value == m),
        "alpha_": ("a number", _is_number),
        "alpha_max_": ("a number", _is_number),
        "tol_": ("a number", _is_number),
        "status_": ("text", lambda value: isinstance(value, str)),
        "certificate_": (f"a Certificate of numbers, of scope {', '.join(SCOPES)}", _is_certificate),
        "history_": ("a list of records of time, objective, lower_bound, gap and scope", _is_history),
        "arrangements_": ("Arrangements with the bytes of their patterns and a finite gate for each", _are_patterns),
        "dual_": (f"finite numbers, {c} a sample", lambda value: _is_array(value) and value.shape[1:] == (c,)),
        "coefs_": ("the weights of the network", lambda value: _are_equal(value, coefs)),
        "intercepts_": ("the biases of the network", lambda value: _are_equal(value, intercepts)),
    }
    for name, (wanted, sound) in record.items():
        _check(estimator, name, wanted, sound)
    filters = f"finite, one for each of {m}"
    _check(estimator, "filters_", filters, lambda value: _is_array(value) and value.shape[:1] == (m,), optional=True)
    return d


def _check_names(model, d):
    def sound(names):
        return isinstance(names, np.ndarray) and names.shape == (d,) and all(isinstance(name, str) for name in names)

    _check(model, "feature_names_in_", f"{d} texts", sound, optional=True)


def _check(model, name, wanted, sound, optional=False):
    """Raise ValueError unless the attribute of a model is there, or `optional`, and its value is sound."""
    value = vars(model).get(name)
    if optional and value is None:
        return
    if name not in vars(model):
        raise ValueError(f"{name} is missing")
    if not sound(value):
        text = repr(value)
        if isinstance(value, np.ndarray):
            text = f"an array of shape {value.shape} and dtype {value.dtype}"
        raise ValueError(f"{name} must be {wanted}; got {text if len(text) <= 80 else f'{text[:77]}...'}")


def _is_count(value):
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 0


def _is_number(value):
    """Return whether the value is a real number, maybe infinite but not nan, and no integer of 64 bits or more."""
    known = isinstance(value, Real) and not isinstance(value, (bool, np.bool_)) and value == value
    return known and not (isinstance(value, Integral) and abs(value) >= 2**63)


def _is_array(value, shape=None):
    """Return whether the value is an array of numbers up to LARGEST, of the shape if one is given."""
    known = isinstance(value, np.ndarray) and value.dtype.kind in "iuf" and (np.abs(value) <= LARGEST).all()
    return known and shape in (None, value.shape)


def _are_labels(value, count):
    return isinstance(value, np.ndarray) and value.shape == (count,) and len(np.unique(value)) == count


def _is_certificate(value):
    numbers = ("objective", "lower_bound", "rounding", "proved_bound")
    known = isinstance(value, Certificate) and all(_is_number(getattr(value, name)) for name in numbers)
    return known and value.scope in tuple(SCOPES)  # a tuple: the scope may have no hash


def _is_history(value):
    numbers = ("time", "objective", "lower_bound", "gap")
    return isinstance(value, list) and all(
        isinstance(record, dict)
        and all(_is_number(record.get(name)) for name in numbers)
        and isinstance(record.get("scope"), str)
        for record in value
    )


def _are_patterns(value):
    if not isinstance(value, Arrangements) or not isinstance(value.n_samples, Integral):
        return False
    bits, size = value.bits, -(-value.n_samples // 8)
    known = isinstance(bits, np.ndarray) and bits.dtype == np.uint8 and bits.shape[1:] == (size,)
    return known and _is_array(value.gates) and value.gates.ndim == 2 and len(value.gates) == len(bits)


def _are_equal(given, arrays):
    same = isinstance(given, list) and len(given) == len(arrays)
    return same and all(isinstance(a, np.ndarray) and np.array_equal(a, b) for a, b in zip(given, arrays, strict=True))
