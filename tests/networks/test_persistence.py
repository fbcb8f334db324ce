"""What is loaded is what was saved, to the last bit."""

import json
import pickle
import zipfile
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
from networks import make_network
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import convexnn
from convexnn import (
    CircularCNNClassifier,
    CircularCNNRegressor,
    ConvexCNNClassifier,
    ConvexCNNRegressor,
    ConvexReLUClassifier,
    ConvexReLURegressor,
)
from convexnn.geometry import sample_arrangements
from convexnn.networks.explanation import explain
from convexnn.networks.persistence import load, save

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 4))
y = np.abs(X[:, 0]) - X[:, 1]
LABELS = np.digitize(y, [-0.5, 0.7])


def memory_order(array):
    """Return the axes from the longest to the shortest step in memory, without those of one entry."""
    return [axis for axis in np.argsort(-np.abs(array.strides), kind="stable") if array.shape[axis] > 1]


def assert_same(one, other):
    """Assert that two values are of the same type and equal, bit by bit, arrays in the same order in memory."""
    assert type(one) is type(other) or {type(one), type(other)} == {float, np.float64}
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert memory_order(one) == memory_order(other)
        assert one.tobytes() == other.tobytes() if one.dtype != object else one.tolist() == other.tolist()
    elif is_dataclass(one):
        for part in fields(one):
            assert_same(getattr(one, part.name), getattr(other, part.name))
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, np.random.RandomState):
        assert_same(one.get_state(), other.get_state())
    else:
        assert one == other or (one != one and other != other)


def round_trip(model, folder):
    save(model, folder / "model.npz")
    return load(folder / "model.npz")


MODELS = {
    "regressor": lambda: ConvexReLURegressor(0.05, random_state=0).fit(X, y),
    "gates": lambda: ConvexReLURegressor(0.05, arrangements=[[1.0, 2, 3, 4, 5], [1, 0, 0, 0, 0]]).fit(X, y),
    "skip and weights": lambda: ConvexReLURegressor(np.float32(0.05), skip=True, arrangements=20, random_state=1).fit(
        X, y, sample_weight=np.arange(20) % 3
    ),
    "arrangements": lambda: ConvexReLURegressor(
        0.1, arrangements=sample_arrangements(X, 9, random_state=0), hidden_bias="none", activation="gated_relu"
    ).fit(X, y),
    "no neurons": lambda: ConvexReLURegressor(1e4, arrangements=20, random_state=0).fit(X, y),
    "classifier": lambda: ConvexReLUClassifier("auto", arrangements=20, random_state=0).fit(X, LABELS > 0),
    "hinge": lambda: ConvexReLUClassifier(0.1, loss="hinge", arrangements=20, random_state=0).fit(
        X, np.where(LABELS > 0, "yes", "no")
    ),
    "softmax": lambda: ConvexReLUClassifier(0.1, output_penalty="l1", arrangements=20, random_state=0).fit(
        X, np.array(["a", "bc", "d"], dtype=object)[LABELS]
    ),
    "cnn": lambda: ConvexCNNRegressor(
        0.05, input_shape=(1, 2, 2), kernel_size=(2, 1), padding=[1, 0], random_state=0
    ).fit(X, y),
    "cnn none": lambda: ConvexCNNClassifier(
        0.05, kernel_size=2, pooling="none", activation="gated_relu", arrangements=20, random_state=0
    ).fit(X, LABELS.astype(np.int8)),
    "circular": lambda: CircularCNNRegressor(0.05, input_shape=(2, 2), arrangements=20, random_state=0).fit(X, y),
    "circular classifier": lambda: CircularCNNClassifier(alpha=0.05, arrangements=20, random_state=0).fit(
        X, LABELS > 1
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_estimators(name, tmp_path):
    model = MODELS[name]()
    again = round_trip(model, tmp_path)
    assert type(again) is type(model)
    assert_same(model.get_params(), again.get_params())
    assert_same(vars(model), vars(again))
    for method in ("predict", "decision_function", "predict_proba"):
        assert hasattr(model, method) == hasattr(again, method)
        if hasattr(model, method):
            assert_same(getattr(model, method)(X), getattr(again, method)(X))
    assert str(model.certificate_) == str(again.certificate_)
    assert_same(explain(model, X), explain(again, X))
    # and it can be fitted again
    assert type(again.fit(X, y if not hasattr(again, "classes_") else LABELS > 0)) is type(model)


def test_orders_in_memory_are_kept(tmp_path):
    """Products round as before: transposed arrays, and slices of larger ones, come back with the same axes first."""
    network, _ = make_network("conv none")
    values = {
        "W2": np.asfortranarray(network.W2),
        "W1": np.asfortranarray(network.W1),
        "b1": np.arange(10.0)[::2],
        "gates": np.zeros((3, 2, 4)).transpose(1, 0, 2),
    }
    model = ConvexReLURegressor(1.0, arrangements=5, random_state=0).fit(X, y)
    model.extra_ = list(values.values())
    for value, again in zip(values.values(), round_trip(model, tmp_path).extra_, strict=True):
        assert memory_order(value) == memory_order(again)
        np.testing.assert_array_equal(value, again)


def test_names_of_features(tmp_path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["a", "b", "c", "ünit"])
    model = ConvexReLURegressor(0.5, arrangements=10, random_state=0).fit(frame, y)
    again = round_trip(model, tmp_path)
    assert_same(model.feature_names_in_, again.feature_names_in_)
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))


def test_random_states_keep_their_state(tmp_path):
    random_state = np.random.RandomState(3)
    random_state.standard_normal(5)
    model = ConvexReLURegressor(0.5, arrangements=10, random_state=random_state).fit(X, y)
    again = round_trip(model, tmp_path)
    assert again.random_state is not random_state
    np.testing.assert_array_equal(again.random_state.standard_normal(7), random_state.standard_normal(7))


def test_values_that_json_does_not_have(tmp_path):
    model = ConvexReLURegressor(0.5, arrangements=10, random_state=0).fit(X, y)
    shared = np.arange(3.0)
    model.extra_ = {
        "floats": [np.inf, -np.inf, float("nan"), -0.0, 1e-310, 0.1 + 0.2],
        "scalars": [np.int16(-3), np.uint64(2**63), np.float32(0.1), np.bool_(True), np.float64(0.1)],
        "tuples": ((), (1, (2.0, None)), [(True, "a\n\0ü")]),
        "arrays": [shared, shared, np.array(2.5), np.zeros((0, 3)), np.array([1, "b", None], dtype=object)],
        "dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
        "texts": np.array([["a", "bcd"]]),
        "": {},
    }
    again = round_trip(model, tmp_path)
    assert_same(model.extra_, again.extra_)
    assert np.signbit(again.extra_["floats"][3])
    assert again.extra_["arrays"][0] is again.extra_["arrays"][1]  # written once


def test_arrays_of_one_name_are_two_members(tmp_path):
    model = ConvexReLURegressor(0.5, arrangements=10, random_state=0).fit(X, y)
    model.a_ = {"b": np.zeros(2), "b.c": np.ones(3)}
    model.__dict__["a_.b_"], model.a_["b_"] = np.zeros(1), np.ones(2)
    again = round_trip(model, tmp_path)
    np.testing.assert_array_equal(vars(again)["a_.b_"], [0])
    np.testing.assert_array_equal(again.a_["b_"], [1, 1])


def test_a_pipeline_keeps_its_scaling(tmp_path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(5.0 + 3.0 * X, columns=list("abcd"))
    model = Pipeline([("units", StandardScaler()), ("net", ConvexReLUClassifier(0.5, arrangements=10, random_state=0))])
    model.fit(frame, LABELS > 0)
    save(model, tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    assert list(again.named_steps) == ["units", "net"]
    assert np.array_equal(again.predict_proba(frame), model.predict_proba(frame))
    assert list(again.feature_names_in_) == list("abcd")
    assert list(again.classes_) == list(model.classes_)
    assert again["net"].certificate_ == model["net"].certificate_


def test_the_file_is_arrays_and_text(tmp_path):
    model = ConvexReLURegressor(0.5, arrangements=10, random_state=0).fit(X, y)
    save(model, str(tmp_path / "model.npz"))
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["network_.W1"], model.network_.W1)
        metadata = json.loads(str(file["metadata"]))
        assert not any(file[name].dtype.hasobject for name in file.files)
    assert metadata["format"] == 1
    assert metadata["convexnn_version"] == convexnn.__version__
    assert metadata["kind"] == "ConvexReLURegressor"
    assert metadata["parameters"]["alpha"] == 0.5
    assert metadata["attributes"]["certificate_"]["Certificate"]["objective"] == model.certificate_.objective


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"random_state": np.random}, "random_state must be one of None, booleans, .* to be saved; got <module"),
        ({"random_state": np.random.RandomState(np.random.PCG64(0))}, "random_state must be one of None"),
        ({"verbose": lambda record: None}, "verbose must be one of .* of type function"),
        ({"tol": np.longdouble(1)}, "tol must be one of"),
        ({"tol": 1j}, "tol must be one of .*; got 1j of type complex"),
        ({"arrangements": np.ones((2, 5)) * 1j}, "arrangements must be one of .*; got an array of dtype complex128"),
        ({"arrangements": [[0.0], [{1: 2}]]}, "arrangements_1_0 must be one of"),
    ],
)
def test_parameters_that_are_refused(options, message, tmp_path):
    model = ConvexReLURegressor(0.5, arrangements=10, random_state=0).fit(X, y)
    model.set_params(**options)
    with pytest.raises(TypeError, match=message):
        save(model, tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


def test_subclasses_and_paths_that_are_refused(tmp_path):
    class Mine(ConvexReLURegressor):
        pass

    model = Mine(0.5, arrangements=10, random_state=0).fit(X, y)
    with pytest.raises(TypeError, match=r"model must be one of ConvexReLURegressor, .* got <class .*Mine'>"):
        save(model, tmp_path / "model.npz")
    with pytest.raises(ValueError, match=r'path must end in ".npz"; got .*model'):
        save(make_network("relu")[0], tmp_path / "model")


def rewritten(folder, **changes):
    """Save a network, and write its file again with other metadata."""
    save(make_network("relu")[0], folder / "model.npz")
    with np.load(folder / "model.npz") as file:
        members = {name: file[name] for name in file.files}
    metadata = json.loads(str(members["metadata"])) | changes
    members["metadata"] = np.array(json.dumps({key: value for key, value in metadata.items() if value is not None}))
    np.savez(folder / "model.npz", **members)
    return folder / "model.npz"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2, "convexnn_version": "9.1"}, r"format 2, written by convexnn 9.1; this is .* formats up to 1"),
        ({"format": None}, "holds no model"),
        ({"format": "new"}, "holds no model"),
        ({"kind": "Ridge", "parameters": {}, "attributes": {}}, "cannot be read: there is no estimator 'Ridge'"),
        ({"kind": "ConvexReLURegressor", "parameters": {"gamma": 1}, "attributes": {}}, "cannot be read: .*gamma"),
        ({"kind": "ConvexReLURegressor", "parameters": {}, "attributes": {"fit": 1}}, "'fit' is no attribute of a fit"),
        ({"network": {"Network": {"W1": {"array": "lost"}}}}, "cannot be read: 'lost'"),
        ({"network": {"Network": {"W1": [[1.0]]}}}, "cannot be read: .*missing"),
        ({"network": {"Popen": {"args": "ls"}}}, "cannot be read: 'Popen'"),
        ({"network": {}}, "cannot be read"),
    ],
)
def test_metadata_that_are_refused(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load(rewritten(tmp_path, **changes))


def test_files_that_are_refused(tmp_path):
    path = tmp_path / "model.npz"
    with pytest.raises(FileNotFoundError):
        load(path)
    for content in (b"", b"hello", pickle.dumps({"a": 1}), b"PK\x03\x04 no archive"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"must be a file of convexnn.save; .*model.npz' is not, or is damaged"):
            load(path)
    np.save(tmp_path / "array.npy", X)
    with pytest.raises(ValueError, match="is not, or is damaged"):
        load(tmp_path / "array.npy")
    np.savez(path, X=X)
    with pytest.raises(ValueError, match="holds no model"):
        load(path)
    np.savez(path, metadata=np.array({"a": 1}, dtype=object))
    with pytest.raises(ValueError, match="is not, or is damaged"):
        load(path)
    save(make_network("relu")[0], path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("model.W1.npy").header_offset
    content[place + 70] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not, or is damaged"):
        load(path)


def test_large_files_are_not_packed(tmp_path):
    network = convexnn.Network(RNG.standard_normal((300, 500)), np.zeros(500), np.ones((500, 1)), np.zeros(1))
    save(network, tmp_path / "model.npz")
    with zipfile.ZipFile(tmp_path / "model.npz") as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert_same(load(tmp_path / "model.npz"), network)
