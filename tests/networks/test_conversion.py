import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from convexnn import Certificate, ConvexReLURegressor, Network, explain, save, to_mlp, to_onnx, to_torch
from convexnn.networks.conversion import as_network, trained_model

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 4))
y = np.sin(X[:, 0]) + X[:, 1]
W1, b1, W2, b2 = (
    RNG.standard_normal((4, 6)),
    RNG.standard_normal(6),
    RNG.standard_normal((6, 2)),
    RNG.standard_normal(2),
)


def trained(kind, targets, inputs=X, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return kind(hidden_layer_sizes=(7,), random_state=0, max_iter=5, **options).fit(inputs, targets)


@pytest.mark.parametrize("targets", [y, np.column_stack([y, -(X[:, 2] ** 2)])], ids=["one output", "two outputs"])
def test_regressors_of_sklearn(targets):
    model = trained(MLPRegressor, targets)
    network = as_network(model)
    assert network.hidden_bias == "free"
    assert network.predict(X).shape == targets.shape
    assert np.allclose(network.predict(X), model.predict(X), rtol=1e-13, atol=1e-13)
    half = (model.coefs_[0] ** 2).sum() / 2 + (model.coefs_[1] ** 2).sum() / 2  # sklearn's weight decay
    assert network.weight_decay() == pytest.approx(half, rel=1e-14)
    single = trained(MLPRegressor, y.astype(np.float32), X.astype(np.float32))
    assert as_network(single).W1.dtype == np.float64


def test_the_objective_is_the_loss_of_sklearn():
    """At the last evaluation of L-BFGS, loss_ is 1/2 mean squares + alpha / 2n squared weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = MLPRegressor(hidden_layer_sizes=(7,), solver="lbfgs", alpha=0.3, random_state=0, max_iter=200).fit(X, y)
    assert as_network(model).objective(X, y, 0.3) == pytest.approx(len(X) * model.loss_, rel=1e-10)


def test_classifiers_of_sklearn_give_logits():
    model = trained(MLPClassifier, y > 0)
    logits = as_network(model).predict(X)
    assert np.allclose(1 / (1 + np.exp(-logits)), model.predict_proba(X)[:, 1], rtol=1e-12)
    model = trained(MLPClassifier, np.digitize(y, [-0.5, 0.5]))
    exponentials = np.exp(as_network(model).predict(X))
    assert np.allclose(exponentials / exponentials.sum(axis=1, keepdims=True), model.predict_proba(X), rtol=1e-12)


def test_networks_and_estimators_of_the_package():
    network = Network(W1, b1, W2, b2)
    assert as_network(network) is network
    assert as_network(network, "free").hidden_bias == "free"
    model = ConvexReLURegressor(0.1, arrangements=20, random_state=0)
    with pytest.raises(NotFittedError, match="this ConvexReLURegressor is not"):
        as_network(model)
    assert as_network(model.fit(X, y)) is model.network_


def test_arrays():
    expected = np.maximum(X @ W1 + b1, 0) @ W2 + b2
    network = as_network((W1, b1, W2, b2))
    assert np.allclose(network.predict(X), expected, rtol=1e-13)
    assert network.hidden_bias == "penalized"
    assert as_network([W1, b1, W2, b2], hidden_bias="free").hidden_bias == "free"
    for last, bias in [(W2[:, 0], b2[0]), (W2[:, :1], b2[:1]), (list(W2[:, 0]), b2[0])]:
        assert np.allclose(as_network((W1, b1, last, bias)).predict(X), expected[:, 0], rtol=1e-13)
    plain = as_network((W1, None, W2, None))
    assert np.allclose(plain.predict(X), np.maximum(X @ W1, 0) @ W2, rtol=1e-13)
    assert plain.hidden_bias == "none"
    assert as_network((W1, None, W2, None), "penalized").hidden_bias == "penalized"


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (make_pipeline(StandardScaler(), Ridge()), TypeError, "must not be a Pipeline: pass its last step"),
        (Ridge(), TypeError, "model must be a Network, .*; got an object of type Ridge"),
        ("net", TypeError, "got an object of type str"),
        (None, TypeError, "got an object of type NoneType"),
        (W1, TypeError, "got an object of type ndarray"),
        (Network, TypeError, "got the class Network"),
        (MLPRegressor, TypeError, "got the class MLPRegressor"),
        (MLPRegressor(), NotFittedError, "not fitted"),
        (trained(MLPRegressor, y, activation="tanh"), ValueError, "activation \"relu\"; got 'tanh'"),
        ((W1, b1, W2), ValueError, r"arrays must be four, \(W1, b1, W2, b2\); got 3"),
        ((None, b1, W2, b2), ValueError, "W1 and W2 must be arrays; got None"),
        ((W1[0], b1, W2, b2), ValueError, r"W1 must have shape \(n_features, n_neurons\)"),
        ((W1, b1[:3], W2, b2), ValueError, r"b1 must have shape \(6,\)"),
        ((W1, b1, W2[:3], b2), ValueError, r"W2 must have shape \(6, 2\)"),
        ((W1, b1, W2, 1.0), ValueError, r"b2 must have shape \(2,\)"),
        ((W1 + 1j, b1, W2, b2), ValueError, "Complex data not supported"),
        ((W1, b1 * np.nan, W2, b2), ValueError, "the weights of model must be finite; b1 is not"),
        (Network(W1, b1, W2, b2 * np.inf), ValueError, "the weights of model must be finite; b2 is not"),
    ],
)
def test_what_is_refused(model, error, message):
    with pytest.raises(error, match=message):
        as_network(model)


def to_file(export):
    return lambda model: export(model, "never.npz")


@pytest.mark.parametrize(
    "use",
    [to_mlp, to_torch, to_file(to_onnx), to_file(save), lambda model: explain(model, X), trained_model],
    ids=["mlp", "torch", "onnx", "file", "explanation", "model"],
)
def test_models_that_are_refused(use, request):
    """By all that take an estimator or a network; some take pipelines of a scaler too."""
    if use is to_torch:
        pytest.importorskip("torch")
    for model, error, message in [
        (ConvexReLURegressor(), NotFittedError, "model must be fitted; this ConvexReLURegressor is not"),
        (ConvexReLURegressor, TypeError, "got the class ConvexReLURegressor"),
        (Ridge(), TypeError, "model must be a fitted estimator of convexnn or a network; got an object of type Ridge"),
        (None, TypeError, "got an object of type NoneType"),
        (Certificate(1.0, 0.5, "local"), TypeError, "got an object of type Certificate"),
        (make_pipeline(MinMaxScaler(), ConvexReLURegressor()), TypeError, "must not be a Pipeline"),
    ]:
        with pytest.raises(error, match=message):
            use(model)
    if request.node.callspec.id in ("torch", "onnx", "file"):
        with pytest.raises(NotFittedError, match="StandardScaler instance is not fit"):
            use(make_pipeline(StandardScaler(), ConvexReLURegressor()))
        with pytest.raises(TypeError, match="got an object of type Ridge"):
            use(make_pipeline(StandardScaler().fit(X), Ridge()))


def test_of_a_search_the_refitted_estimator_is_taken():
    model = ConvexReLURegressor(0.1, arrangements=20, random_state=0).fit(X, y)
    assert trained_model(SimpleNamespace(estimator_=model)) == (model, model.network_)


def test_hidden_bias_is_checked():
    with pytest.raises(ValueError, match="hidden_bias must be one of"):
        as_network((W1, b1, W2, b2), hidden_bias="some")
    with pytest.raises(ValueError, match="b1 must be zero"):
        as_network((W1, b1, W2, b2), hidden_bias="none")


def test_exponential_outputs_of_sklearn_are_refused():
    if "loss" not in MLPRegressor().get_params():
        pytest.skip("scikit-learn has no Poisson loss here")
    with pytest.raises(ValueError, match="out_activation_ identity; got 'exp'"):
        as_network(trained(MLPRegressor, y**2, loss="poisson"))


def test_deep_networks_of_sklearn_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = MLPRegressor(hidden_layer_sizes=(3, 2), max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match=r"one hidden layer; got hidden_layer_sizes=\(3, 2\)"):
        as_network(model)


def outputs(torch, module, inputs=X):
    with torch.no_grad():
        return module.double().eval()(torch.from_numpy(inputs)).numpy()


def test_torch_modules():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.act, self.drop, self.out = nn.Linear(4, 5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 2)

        def forward(self, x):
            return self.out(self.drop(self.act(self.hidden(x))))

    class Held(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1), nn.Flatten(0))

        def forward(self, x):
            return self.net(x)

    for module in [
        nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)),
        nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1), nn.Flatten(0, 1)),
        nn.Sequential(
            nn.Flatten(), nn.Sequential(nn.Linear(4, 5), nn.ReLU()), nn.Dropout(), nn.Linear(5, 3), nn.Identity()
        ),
        Wrapped(),
        Held(),
    ]:
        network = as_network(module)
        assert module.training
        assert next(module.parameters()).dtype == torch.float32
        assert network.hidden_bias == "penalized"
        expected = outputs(torch, module)
        assert np.allclose(network.predict(X), expected.reshape(network.predict(X).shape), rtol=1e-12, atol=1e-14)
    module = nn.Sequential(nn.Linear(4, 5, bias=False), nn.ReLU(), nn.Linear(5, 1, bias=False))
    network = as_network(module)
    assert network.hidden_bias == "none"
    assert np.allclose(network.predict(X), outputs(torch, module)[:, 0], rtol=1e-12, atol=1e-14)
    assert as_network(module, "free").hidden_bias == "free"


def test_torch_modules_that_are_refused():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    first, last, relu = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU()

    class Linear(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.relu, self.last = first, relu, last

        def forward(self, x):
            return x + self.last(self.relu(self.first(x)))

    class Images(Skip):
        def forward(self, x):
            return self.last(self.relu(self.first(x[:, 0, 0])))

    for module, message in [
        (nn.Sequential(first, nn.Tanh(), last), "got Linear, Tanh, Linear"),
        (nn.Sequential(first, last), "got Linear, Linear"),
        (nn.Sequential(first, relu, last, relu), "got Linear, ReLU, Linear, ReLU"),
        (nn.Sequential(first, relu, first, relu, last), "got Linear, ReLU, Linear, ReLU, Linear"),
        (nn.Sequential(first, relu, Linear(4, 4)), r"got Linear, ReLU, .*\.Linear"),
        (nn.Sequential(nn.Flatten(0), first, relu, last), "must have start_dim=1; got 0"),
        (nn.Sequential(first, relu, last, nn.Flatten(0)), "must have start_dim=1; got 0"),
        (nn.Linear(4, 1), "got Linear"),
        (Skip(), "in order and do nothing else; it does not"),
        (Images(), r"must accept inputs of shape \(n_samples, 4\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            as_network(module)
    broken = nn.Sequential(nn.Linear(4, 4), relu, last)
    with torch.no_grad():
        broken[0].weight[0, 0] = np.nan
    with pytest.raises(ValueError, match="the weights of model must be finite; W1 is not"):
        as_network(broken)
