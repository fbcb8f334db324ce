"""Exports compute what the networks do: by PyTorch, onnxruntime and scikit-learn."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from networks import make_network
from runtime import run_onnx
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from convexnn import (
    CircularCNNClassifier,
    CircularCNNRegressor,
    ConvexCNNClassifier,
    ConvexCNNRegressor,
    ConvexReLUClassifier,
    ConvexReLURegressor,
    Network,
    as_network,
)
from convexnn.networks.export import to_mlp, to_onnx, to_torch

RNG = np.random.default_rng(0)
X = RNG.standard_normal((24, 3))
y = np.abs(X[:, 0]) - X[:, 1]
THREE = np.digitize(y, [-0.5, 0.7])


def outputs(network, inputs):
    return network.predict(inputs).reshape(len(inputs), -1)


def assert_close(values, expected, tol):
    assert np.shape(values) == expected.shape
    assert np.abs(values - expected).max() <= tol * np.abs(expected).max()


def fitted(kind, inputs, targets, **options):
    return kind(alpha=0.05, random_state=0, **options).fit(inputs, targets)


def test_plain_networks_are_sequentials_that_are_read_back():
    torch = pytest.importorskip("torch")
    for name in ("relu", "three outputs", "no hidden bias", "free bias"):
        network = make_network(name)[0]
        module = to_torch(network)
        assert [type(layer) for layer in module] == [torch.nn.Linear, torch.nn.ReLU, torch.nn.Linear]
        again = as_network(module, network.hidden_bias)
        assert (module[0].bias is None) == (network.hidden_bias == "none")
        for part in ("W1", "b1", "W2", "b2"):
            np.testing.assert_array_equal(getattr(again, part), getattr(network, part))
    network, _ = make_network("circular")
    np.testing.assert_array_equal(as_network(to_torch(network)).W1, network.effective())
    slope = to_torch(make_network("leaky_relu")[0])[1]
    assert isinstance(slope, torch.nn.LeakyReLU)
    assert slope.negative_slope == 0.1
    with pytest.raises(ValueError, match="Linear, ReLU, Linear"):
        as_network(to_torch(make_network("skip")[0]))
    network = Network(np.array([[1.0, -1.0]]), np.zeros(2), np.array([[1.0], [1.0]]), np.zeros(1))
    assert str(to_torch(network)) in to_torch.__doc__.replace("\n    ", "\n")


def test_torch_trains_weights_but_no_gates():
    pytest.importorskip("torch")
    module = to_torch(make_network("gated_relu skip")[0])
    trained = {name: weights.requires_grad for name, weights in module.named_parameters()}
    assert trained == {
        "hidden.weight": True,
        "hidden.bias": True,
        "gates.weight": False,
        "gates.bias": False,
        "output.weight": True,
        "output.bias": True,
        "skip.weight": True,
    }


def test_threshold_neurons_whose_walls_hold_samples(tmp_path):
    """The sample (1, 1) is on the wall of both neurons but for rounding, and predict counts it as active."""
    W1, b1 = np.array([[0.1, 0.3], [0.2, -0.1]]), np.array([-0.1 - 0.2, -0.2])
    network = Network(W1, b1 - 1e-16, np.array([[1.0], [2.0]]), np.zeros(1), "threshold")
    assert network.predict([[1.0, 1.0]]) == [3.0]
    assert ((np.ones(2) @ W1 + network.b1) < 0).any()
    to_onnx(network, tmp_path / "net.onnx")
    assert run_onnx(tmp_path / "net.onnx", [[1.0, 1.0]])["prediction"] == [3.0]
    torch = pytest.importorskip("torch")
    assert to_torch(network)(torch.ones(1, 2, dtype=torch.float64)).item() == 3.0


CLASSIFIERS = {
    "logistic, strings": (np.where(y > 0, "yes", "no"), {}),
    "logistic, objects": (np.where(y > 0, "yes", "no").astype(object), {}),
    "logistic, booleans": (np.abs(X[:, 0]) > 0.6, {"skip": True}),
    "softmax of two": (np.where(y > 0, 7, -2), {"loss": "softmax"}),
    "softmax of three": (2.0 * THREE, {}),
    "hinge": (np.where(RNG.permutation(y) > 0, 3, 1).astype(np.int32), {"loss": "hinge", "arrangements": 20}),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_onnx_of_classifiers(name, dtype, tmp_path):
    labels, options = CLASSIFIERS[name]
    model = fitted(ConvexReLUClassifier, X, labels, **options)
    to_onnx(model, tmp_path / "model.onnx", dtype=dtype)
    results, tol = run_onnx(tmp_path / "model.onnx", X, dtype), 1e-12 if dtype == "float64" else 1e-6
    assert_close(results["decision"], model.decision_function(X), tol)
    assert results["label"].tolist() == model.predict(X).tolist()
    assert_close(results["probabilities"], model.predict_proba(X), tol)
    assert (model.probability_scale_ != 1) == (name == "hinge")
    props = {entry.key: entry.value for entry in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert json.loads(props["classes"]) == model.classes_.tolist()


def test_onnx_of_images_and_circular_classifiers(tmp_path):
    signals = RNG.standard_normal((20, 6))
    labels = np.abs(signals[:, 1:] - signals[:, :-1]).mean(axis=1) > 1.1
    for model in [
        fitted(ConvexCNNClassifier, signals, labels, input_shape=(1, 6), kernel_size=2),
        fitted(CircularCNNClassifier, signals, labels, arrangements=30),
    ]:
        to_onnx(model, tmp_path / "model.onnx")
        results = run_onnx(tmp_path / "model.onnx", signals)
        assert_close(results["probabilities"], model.predict_proba(signals), 1e-12)
        np.testing.assert_array_equal(results["label"], model.predict(signals))


def test_metadata_of_onnx(tmp_path):
    pd = pytest.importorskip("pandas")
    model = fitted(ConvexReLURegressor, pd.DataFrame(X, columns=["a", "b", "c"]), y, tol=1e-3)
    to_onnx(SimpleNamespace(estimator_=model), tmp_path / "model.onnx")
    proto = onnx.load(tmp_path / "model.onnx")
    props = {entry.key: entry.value for entry in proto.metadata_props}
    import convexnn

    assert props["convexnn_version"] == proto.producer_version == convexnn.__version__
    assert proto.producer_name == "convexnn"
    assert props["estimator"] == "ConvexReLURegressor"
    assert json.loads(props["parameters"]) == model.get_params()
    certificate = json.loads(props["certificate"])
    assert certificate["objective"] == model.certificate_.objective
    assert certificate["lower_bound"] == model.certificate_.lower_bound
    assert certificate["gap"] == model.certificate_.gap
    assert certificate["scope"] == model.certificate_.scope
    assert props["certificate_in_words"] == str(model.certificate_)
    assert float(props["alpha"]) == model.alpha_
    assert json.loads(props["feature_names"]) == ["a", "b", "c"]


def test_onnx_that_is_refused(tmp_path, monkeypatch):
    network, _ = make_network("relu")
    with pytest.raises(ValueError, match="dtype must be one of 'float64', 'float32'; got 'float16'"):
        to_onnx(network, tmp_path / "a.onnx", dtype="float16")
    model = fitted(ConvexReLUClassifier, X, y > 0)
    model.classes_ = np.array(["2020-01-01", "2021-01-01"], dtype="datetime64[D]")
    with pytest.raises(ValueError, match=r"classes_ must be numbers, booleans or strings for ONNX; got dtype datetime"):
        to_onnx(model, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"to_onnx needs onnx: pip install convexnn\[onnx\]"):
        to_onnx(network, tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"to_torch needs torch: pip install convexnn\[torch\]"):
        to_torch(network)


@pytest.mark.parametrize("targets", [y, np.column_stack([y, X[:, 2]])], ids=["one output", "two outputs"])
def test_perceptrons_of_regressors(targets):
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    model = fitted(ConvexReLURegressor, X, targets, hidden_bias="free", output_penalty="l1", arrangements=20)
    mlp = to_mlp(model)
    assert_close(mlp.predict(X), model.predict(X), 1e-13)
    assert mlp.alpha == model.alpha_
    assert mlp.hidden_layer_sizes == (model.n_neurons_,)
    assert mlp.random_state is None
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
    # a tiny step leaves all as it is: training goes on from these weights
    weights = [weights.copy() for weights in mlp.coefs_]
    mlp.set_params(solver="sgd", learning_rate_init=1e-300).partial_fit(X, targets)
    for before, after in zip(weights, mlp.coefs_, strict=True):
        np.testing.assert_allclose(before, after, rtol=0, atol=1e-290)
    assert mlp.n_iter_ == 1


@pytest.mark.parametrize("name", ["logistic, strings", "softmax of two", "softmax of three"])
def test_perceptrons_of_classifiers(name):
    labels, options = CLASSIFIERS[name]
    model = fitted(ConvexReLUClassifier, X, labels, **options)
    mlp = to_mlp(model)
    assert_close(mlp.predict_proba(X), model.predict_proba(X), 1e-12)
    assert mlp.predict(X).tolist() == model.predict(X).tolist()
    assert mlp.classes_.tolist() == model.classes_.tolist()
    assert mlp.score(X, labels) == model.score(X, labels)
    before = mlp.predict_proba(X)
    mlp.set_params(solver="sgd", learning_rate_init=1e-300).partial_fit(X, labels)
    np.testing.assert_allclose(mlp.predict_proba(X), before, rtol=1e-15)


def test_perceptrons_keep_feature_names():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    mlp = to_mlp(fitted(ConvexReLURegressor, frame, y))
    assert mlp.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        mlp.predict(frame[["b", "a", "c"]])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("conv mean", "got a convolutional network"),
        ("abs", "got activation 'abs'"),
        ("circular linear", "got activation 'linear'"),
        ("skip", "got a skip"),
    ],
)
def test_networks_that_scikit_learn_does_not_have(name, message):
    with pytest.raises(ValueError, match=f'needs a network of activation "relu" without a skip .*{message}'):
        to_mlp(make_network(name)[0])


def test_the_probabilities_of_hinges_are_not_those_of_the_outputs():
    with pytest.raises(ValueError, match="no hinge loss; got loss='hinge'"):
        to_mlp(fitted(ConvexReLUClassifier, X, y > 0, loss="hinge"))


FEW = {"alpha": 0.05, "arrangements": 10, "random_state": 0}
PIPELINES = {
    "regressor": ConvexReLURegressor(skip=True, **FEW),
    "plain": ConvexReLURegressor(**FEW),
    "gated": ConvexReLURegressor(activation="gated_relu", **FEW),
    "threshold": ConvexReLURegressor(activation="threshold", **FEW),
    "circular": CircularCNNRegressor(**FEW),
    "cnn": ConvexCNNRegressor(kernel_size=2, padding=1, **FEW),
}


@pytest.mark.parametrize("options", [{}, {"with_mean": False}, {"with_std": False}])
@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_of_a_scaler(name, options, tmp_path):
    """The inputs are in units far from 1."""
    inputs = X * [1e3, 1e-3, 1.0] + [5e3, 0.0, -2.0]
    model = make_pipeline(StandardScaler(**options), clone(PIPELINES[name])).fit(inputs, y)
    to_onnx(model, tmp_path / "model.onnx")
    assert_close(run_onnx(tmp_path / "model.onnx", inputs)["prediction"], model.predict(inputs), 1e-10)
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        values = to_torch(model)(torch.tensor(inputs)).numpy()
    assert_close(values[:, 0], model.predict(inputs), 1e-10)


def test_a_pipeline_of_a_classifier_in_onnx_knows_names_and_classes(tmp_path):
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(5.0 + 100.0 * X, columns=["a", "b", "c"])
    estimator = ConvexReLUClassifier(output_penalty="l1", **FEW)
    model = make_pipeline(StandardScaler(), estimator).fit(table, np.array(["p", "q", "r"])[THREE])
    to_onnx(model, tmp_path / "model.onnx")
    found = run_onnx(tmp_path / "model.onnx", table)
    assert found["label"].tolist() == model.predict(table).tolist()
    assert_close(found["probabilities"], model.predict_proba(table), 1e-10)
    names = {entry.key: entry.value for entry in onnx.load(tmp_path / "model.onnx").metadata_props}["feature_names"]
    assert json.loads(names) == ["a", "b", "c"]


@pytest.mark.parametrize("dtype", [">i4", ">f8", ">u2", ">U1", "|b1", "<f2"])
def test_labels_of_any_byte_order_in_onnx(dtype, tmp_path):
    labels = np.array([0, 1]).astype(dtype)[(y > 0).astype(int)]
    model = ConvexReLUClassifier(0.05, arrangements=10, random_state=0).fit(X.astype(">f8"), labels)
    to_onnx(model, tmp_path / "model.onnx")
    assert run_onnx(tmp_path / "model.onnx", X)["label"].tolist() == model.predict(X).tolist()
