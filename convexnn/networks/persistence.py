"""Trained models as files: one .npz with all arrays, and JSON text that says what they are. Nothing is pickled.

    save(model, "model.npz"), load("model.npz")

The member "metadata" of the file is the JSON text: the format, the version of the package, the kind of the model and
what it holds; arrays are named in it and are members of their own. A file holds data only: to load one runs no code of
its own, whoever wrote it. What is loaded is equal to what was saved, to the last bit, and so are its predictions.

Values in JSON are themselves (null, booleans, integers, finite floats, strings, lists), or an object with one key that
says what the other is: "float" (not finite), "tuple", "dict", "numpy" (a scalar), "array" (a member of the file, maybe
with the order of its axes in memory), "objects" (an array of Python objects), "random_state", or the name of one of the
classes in `CLASSES`.
"""

import json
from dataclasses import fields
from importlib.metadata import version
from math import isfinite
from os import PathLike, fspath
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from ..geometry.arrangements import Arrangements
from ..geometry.patches import Patches
from ..model.certificate import Certificate
from ..utils.files import read_arrays, replacing
from .conversion import NETWORKS, split_pipeline, trained_model
from .intact import check_estimator, check_network, check_scaler
from .network import CircularNetwork, ConvNetwork, Network

__all__ = ["load", "persistent", "save"]

# The format that is written; files of later ones are refused.
FORMAT = 1
CLASSES = {kind.__name__: kind for kind in (Network, ConvNetwork, CircularNetwork, Certificate, Arrangements, Patches)}
# The estimators that can be written, and the classes of their networks, by name: `persistent` adds them.
ESTIMATORS = {}
# Bytes up to which files are packed: that takes 0.04 s a megabyte, and weights become no smaller by it than by 4%.
PACKED = 2**20
# How deep lists and objects may be inside of one another: what is deeper could not be read.
DEEPEST = 100
# Characters of what a damaged file says that an error repeats.
LONGEST = 300
KEPT = (
    "None, booleans, numbers, strings, lists, tuples, dictionaries with keys that are strings, arrays of these, "
    "RandomState and Arrangements"
)


def persistent(network_type):
    """Return a class decorator: estimators of the class, whose networks are of a type, can be written and read."""

    def register(kind):
        ESTIMATORS[kind.__name__] = kind, network_type
        return kind

    return register


def save(model: object, path: str | PathLike) -> None:
    """Write a trained model to one .npz file, as a whole or not at all: a file of that name is replaced at the end.

    All parameters and all attributes of the fit are written: `load` returns an estimator that is fitted, with equal
    predictions, certificate, history and explanations. A RandomState among the parameters is written with its state at
    present. Of an estimator with an `estimator_` (cross-validation) that refitted estimator is written, not the search.
    A pipeline of scikit-learn's StandardScaler and an estimator is written with its scaling.

    Parameters
    ----------
    model : estimator, Pipeline or network
        A fitted estimator of this package, alone or after a StandardScaler; or a network.
    path : str or path-like
        Where to write; ends in ".npz".

    Raises
    ------
    TypeError
        If `model` is none of these, or has a parameter or attribute that JSON and arrays cannot hold.
    ValueError
        If the path does not end in ".npz", or the model could not be loaded again: its weights are not finite, or its
        attributes do not fit together.
    OSError
        If the file cannot be written. One that was there before stays as it was.
    sklearn.exceptions.NotFittedError
        If an estimator is not fitted.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from convexnn import ConvexReLURegressor
    >>> from convexnn.networks.persistence import load, save
    >>> model = ConvexReLURegressor(alpha=0.1).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 0.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(model, Path(folder) / "model.npz")
    ...     again = load(Path(folder) / "model.npz")
    >>> again
    ConvexReLURegressor(alpha=0.1)
    >>> again.predict([[0.5]]) == model.predict([[0.5]]), again.certificate_ == model.certificate_
    (array([ True]), True)
    """
    if not fspath(path).endswith(".npz"):
        raise ValueError(f'path must end in ".npz"; got {fspath(path)!r}')
    steps, model = split_pipeline(model)
    estimator, network = trained_model(model)
    arrays = _Arrays()
    metadata = {"format": FORMAT, "convexnn_version": version("convexnn")}
    if steps:
        (first, scaler), (last, _) = steps
        metadata["pipeline"] = {"names": [first, last], "scaler": _encode_fit(scaler, arrays)}
    if estimator is None:
        metadata |= {"kind": "network", "network": arrays.encode(network, "model")}
    elif type(estimator) is ESTIMATORS.get(type(estimator).__name__, [None])[0]:
        metadata |= {"kind": type(estimator).__name__} | _encode_fit(estimator, arrays)
    else:
        raise TypeError(f"model must be one of {', '.join(ESTIMATORS)}, or a network; got {type(estimator)!r}")
    _check_depth(metadata)
    _check_model(network if estimator is None else estimator, steps)
    members = {"metadata": np.array(json.dumps(metadata, indent=1, allow_nan=False)), **arrays.members}
    small = sum(array.nbytes for array in members.values()) <= PACKED
    with replacing(path) as file:
        (np.savez_compressed if small else np.savez)(file, **members)


def load(path: str | PathLike) -> Any:
    """Read a trained model that `save` wrote.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    estimator, Pipeline or network
        A fitted estimator, a pipeline of StandardScaler and one, or the network.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file is something else, is damaged, or is of a later format.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from convexnn import Network
    >>> from convexnn.networks.persistence import load, save
    >>> network = Network(np.array([[1.0, -1.0]]), np.zeros(2), np.array([[1.0], [1.0]]), np.zeros(1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(network, Path(folder) / "network.npz")
    ...     load(Path(folder) / "network.npz").predict([[-2.0], [3.0]])
    array([2., 3.])
    """
    wanted = f"path must be a file of convexnn.save; {fspath(path)!r}"
    try:
        members = read_arrays(path)
    except ValueError as error:
        raise ValueError(f"{wanted} is not, or is damaged ({_words(error)})") from error
    try:
        metadata = _parse(members)
    except RecursionError as error:
        raise ValueError(f"{wanted} is too deep") from error
    except (ValueError, MemoryError) as error:
        raise ValueError(f"{wanted} holds no model ({_words(error)})") from error
    made_by = metadata["convexnn_version"]
    if metadata["format"] > FORMAT:
        raise ValueError(
            f"{fspath(path)!r} is of format {metadata['format']}, written by convexnn {made_by}; this is convexnn "
            f"{version('convexnn')}, which reads formats up to {FORMAT}: install a later version"
        )
    try:
        return _decode_model(metadata, members)
    except Exception as error:  # values of wrong types end in errors of all kinds
        raise ValueError(f"{fspath(path)!r}, written by convexnn {made_by}, cannot be read: {_words(error)}") from error


def _parse(members):
    """Return the metadata of a file; raise ValueError unless it is strict JSON, not too deep, and names its format."""

    def refuse(text):
        raise ValueError(f"{text} is no number of JSON")

    text = members.get("metadata")
    if text is None or text.shape or text.dtype.kind != "U":
        raise ValueError("its member 'metadata' must be one text")
    metadata = json.loads(str(text), parse_constant=refuse)
    _check_depth(metadata)
    wanted = {"format": int, "convexnn_version": str}
    if not isinstance(metadata, dict) or not all(type(metadata.get(name)) is kind for name, kind in wanted.items()):
        raise ValueError("its metadata must have a format, a whole number, and a convexnn_version, a text")
    return metadata


def _words(error):
    """Return in words what is wrong with a value, from the error that it caused."""
    text = str(error) if len(str(error)) <= LONGEST else f"{str(error)[:LONGEST]}..."
    if isinstance(error, KeyError):
        return f"{text} is missing"
    return text if isinstance(error, ValueError) else f"a value is of a wrong type ({text})"


def _check_depth(metadata):
    """Raise ValueError if lists and dictionaries are nested more than DEEPEST deep."""
    level = [metadata]
    for _ in range(DEEPEST):
        parts = [part.values() if isinstance(part, dict) else part for part in level if isinstance(part, (dict, list))]
        level = [item for part in parts for item in part]
        if not level:
            return
    raise ValueError(f"parameters and attributes must not be more than {DEEPEST} lists and dictionaries deep")


def _check_model(model, steps):
    """Raise ValueError unless the model, to be written or just read, is intact and predicts finite values."""
    name = type(model).__name__
    d = check_estimator(model, ESTIMATORS[name][1]) if name in ESTIMATORS else check_network(model)
    if steps:
        (first, scaler), (last, _) = steps
        if not isinstance(first, str) or not isinstance(last, str) or first == last:
            raise ValueError(f"names of the steps must be two different texts; got {first!r} and {last!r}")
        if check_scaler(scaler) != d:
            raise ValueError(f"the scaler must have {d} features, as the network; got {scaler.n_features_in_}")


def _decode_model(metadata, members):
    name, steps = metadata["kind"], []
    if name == "network":
        model = _decode(metadata["network"], members)
        if not isinstance(model, NETWORKS):
            raise ValueError(f"network must be a network; got {type(model).__name__}")
    elif name not in ESTIMATORS:
        raise ValueError(f"there is no estimator {name!r}")
    else:
        model = _decode_fit(ESTIMATORS[name][0], metadata, members)
        missing = set(model.get_params(deep=False)).difference(metadata["parameters"])
        if missing and metadata["convexnn_version"] == version("convexnn"):  # others may know fewer parameters
            raise ValueError(f"parameters lack {', '.join(sorted(missing))}")
    if "pipeline" in metadata:
        first, last = metadata["pipeline"]["names"]
        scaler = _decode_fit(StandardScaler, metadata["pipeline"]["scaler"], members)
        steps = [(first, scaler), (last, model)]
    _check_model(model, steps)
    return Pipeline(steps) if steps else model


def _encode_fit(estimator, arrays):
    """Return the parameters and the fitted attributes of an estimator."""
    fitted = {key: value for key, value in vars(estimator).items() if key.endswith("_") and not key.startswith("_")}
    parts = {"parameters": estimator.get_params(deep=False), "attributes": fitted}
    return {part: {key: arrays.encode(value, key) for key, value in values.items()} for part, values in parts.items()}


def _decode_fit(kind, metadata, members):
    parts = {}
    for part in ("parameters", "attributes"):
        parts[part] = {}
        for key, value in metadata[part].items():
            try:
                parts[part][key] = _decode(value, members)
            except Exception as error:
                raise ValueError(f"{key}: {_words(error)}") from error
    estimator = kind(**parts["parameters"])
    for key, value in parts["attributes"].items():
        if not key.endswith("_") or key.startswith("_"):
            raise ValueError(f"{key!r} is no attribute of a fit")
        setattr(estimator, key, value)
    return estimator


class _Arrays:
    """The arrays of a file, by member name; an array that is met twice is written once."""

    def __init__(self):
        self.members, self._met = {}, {}

    def encode(self, value, name):
        """Return the value as JSON; raise TypeError, with the `name` of its holder, if it cannot be encoded."""
        if isinstance(value, np.ndarray):
            return self._encode_array(value, name)
        if isinstance(value, np.generic) and not isinstance(value, (float, str)):
            if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
                raise TypeError(f"{name} must be one of {KEPT}, to be saved; got {value!r}")
            return {"numpy": [value.dtype.name, self.encode(value.item(), name)]}
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return float(value) if isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, (list, tuple)):
            items = [self.encode(item, f"{name}_{i}") for i, item in enumerate(value)]
            return items if type(value) is list else {"tuple": items}
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {"dict": {key: self.encode(item, f"{name}.{key}") for key, item in value.items()}}
        if type(value) in CLASSES.values():
            parts = {part.name: getattr(value, part.name) for part in fields(value)}
            return {type(value).__name__: {key: self.encode(item, f"{name}.{key}") for key, item in parts.items()}}
        if isinstance(value, np.random.RandomState) and value.get_state(legacy=False)["bit_generator"] == "MT19937":
            return {"random_state": self.encode(value.get_state(legacy=False), name)}
        raise TypeError(f"{name} must be one of {KEPT}, to be saved; got {value!r} of type {type(value).__name__}")

    def _encode_array(self, value, name):
        if value.dtype == object:
            items = [self.encode(item, f"{name}_{i}") for i, item in enumerate(value.ravel())]
            return {"objects": [list(value.shape), items]}
        if value.dtype.kind not in "biufUSmM":
            raise TypeError(f"{name} must be one of {KEPT}, to be saved; got an array of dtype {value.dtype}")
        if id(value) not in self._met:
            member = name if name not in self.members else f"{name} ({len(self.members)})"
            self.members[member] = value
            # the order of the axes in memory is kept: products of matrices round as before
            axes = np.argsort([-abs(stride) for stride in value.strides], kind="stable").tolist()
            self._met[id(value)] = value, {"array": member if axes == sorted(axes) else [member, axes]}
        return self._met[id(value)][1]


def _decode(value, members):
    """Return the value that a JSON value stands for."""
    if isinstance(value, list):
        return [_decode(item, members) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise ValueError(f"an object of the metadata must have one key, its kind; got {len(value)}")
    ((kind, content),) = value.items()
    if kind == "array":
        return members[content] if isinstance(content, str) else _ordered(members[content[0]], content[1])
    if kind == "objects":
        return _objects(content[0], [_decode(item, members) for item in content[1]])
    if kind == "float":
        return {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}[content]
    if kind == "tuple":
        return tuple(_decode(item, members) for item in content)
    if kind == "numpy":
        return _scalar(content[0], _decode(content[1], members))
    if kind == "random_state":
        return _random_state(_decode(content, members))
    if kind != "dict" and kind not in CLASSES:
        raise ValueError(f"{kind!r} is no kind of value")
    content = {key: _decode(item, members) for key, item in content.items()}
    return content if kind == "dict" else _instance(CLASSES[kind], content)


def _instance(kind, content):
    """Return an object of class `kind`; raise ValueError if the weights of a network are not float64 arrays."""
    made = kind(**content)
    if isinstance(made, NETWORKS):
        for name, value in content.items():
            wrong = not isinstance(value, np.ndarray) or value.dtype != np.float64
            if wrong and isinstance(getattr(made, name), np.ndarray):
                raise ValueError(f"{name} must be an array of float64; got {getattr(value, 'dtype', type(value))}")
    return made


def _scalar(name, value):
    """Return a numpy scalar; refuse all but numbers and booleans, as other dtypes take the value for a size."""
    dtype = np.dtype(name)
    if dtype.kind not in "biuf" or not isinstance(value, (bool, int, float)):
        raise ValueError(f"a scalar must be a number; got {name!r}")
    with np.errstate(over="ignore"):
        return dtype.type(value)


def _random_state(state):
    """Return a RandomState; check its position, which numpy does not."""
    key, pos = state["state"]["key"], state["state"]["pos"]
    if key.shape != (624,) or key.dtype != np.uint32 or type(pos) is not int or not 0 <= pos <= 624:
        raise ValueError("the state of a RandomState must be 624 numbers and a place in them")
    if state["has_gauss"] not in (0, 1) or not isfinite(state["gauss"]):
        raise ValueError("the state of a RandomState must have one finite Gaussian number, or none")
    random_state = np.random.RandomState()
    random_state.set_state(state)
    return random_state


def _ordered(array, axes):
    """Return the array with its axes in this order in memory."""
    return np.ascontiguousarray(array.transpose(axes)).transpose(np.argsort(axes))


def _objects(shape, items):
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)
