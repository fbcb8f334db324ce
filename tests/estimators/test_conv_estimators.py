"""The convolutional estimators: shapes, right optima for every combination, filters, and bad input."""

import numpy as np
import pytest
from scipy.signal import correlate

from convexnn import ConvexCNNClassifier, ConvexCNNRegressor, ConvexReLURegressor
from convexnn.losses import make_loss

RNG = np.random.default_rng(2)
X = RNG.standard_normal((12, 5))
Y = np.abs(X[:, 1:] - X[:, :-1]).mean(axis=1)
LABELS = np.where(np.median(Y) < Y, "rough", "smooth")
THREE = np.digitize(Y, np.quantile(Y, [0.3, 0.7]))
POOL = {"mean": lambda T: T.mean(axis=1), "sum": lambda T: T.sum(axis=1), "max": lambda T: T.max(axis=1)}
ACTIVATE = {
    "relu": lambda T: np.maximum(T, 0.0),
    "leaky_relu": lambda T: np.where(T > 0, T, 0.2 * T),
    "abs": np.abs,
    "linear": lambda T: T,
}


def written_out(model, X, Y):
    """The squared-loss objective of a fitted model, from its filters by loops over inputs, patches and filters."""
    (W1, W2), (b1, b2) = model.coefs_, model.intercepts_
    patches = np.array([[x[k : k + len(W1)] for k in range(len(x) - len(W1) + 1)] for x in X])
    T = patches @ W1 + b1
    if model.activation == "gated_relu":
        G = model.network_.gates
        T = T * (patches @ G[:-1] + G[-1] >= 0)
    else:
        T = ACTIVATE[model.activation](T)
    Z = np.einsum("nkj,kjc->nc", T, W2) + b2 if model.pooling == "none" else POOL[model.pooling](T) @ W2 + b2
    biases = 0.0 if model.hidden_bias == "free" else np.sum(b1**2)
    decay = 0.5 * (np.sum(W1**2) + biases + np.sum(W2**2))
    return 0.5 * np.sum((Z - np.reshape(Y, Z.shape)) ** 2) + model.alpha_ * decay


COMBINATIONS = [
    {"activation": activation, "pooling": pooling, "hidden_bias": bias}
    for activation in ("relu", "leaky_relu", "abs", "linear", "gated_relu")
    for pooling, bias in (("mean", "none"), ("sum", "penalized"), ("mean", "free"))
    if (activation, bias) != ("gated_relu", "free")
]
COMBINATIONS += [{"pooling": "max", "hidden_bias": bias} for bias in ("none", "penalized")]
COMBINATIONS += [
    {"pooling": "none", "activation": activation, "hidden_bias": bias}
    for activation, bias in (("linear", "none"), ("linear", "free"), ("gated_relu", "penalized"))
]


@pytest.mark.parametrize("kind", COMBINATIONS, ids=lambda kind: "-".join(map(str, kind.values())))
def test_every_combination_reaches_the_optimum_of_the_reference(kind):
    """The certificate holds the objective written out; it is that of the whole program in cvxpy, on the same cells."""
    kind = {"activation": "relu", "negative_slope": 0.2, "tol": 1e-6, "random_state": 0, **kind}
    generated = kind["activation"] in ("relu", "leaky_relu", "abs") and kind["pooling"] != "max"
    cells = "all" if generated or kind["pooling"] == "max" else 30
    x, y = X[:5], Y[:5]
    model = ConvexCNNRegressor(kernel_size=2, alpha=0.05, arrangements=cells, **kind).fit(x, y)
    assert model.certificate_.gap <= 1e-6
    assert written_out(model, x, y) == pytest.approx(model.certificate_.objective, rel=1e-9)
    assert model.network_.objective(x, y, 0.05) == pytest.approx(model.certificate_.objective, rel=1e-12)
    assert model.certificate_.scope == ("sampled" if kind["activation"] == "gated_relu" else "global")
    reference = ConvexCNNRegressor(kernel_size=2, alpha=0.05, arrangements=cells, solver="cvxpy", **kind).fit(x, y)
    assert model.certificate_.objective == pytest.approx(reference.certificate_.objective, rel=3e-6)
    if generated:
        adaptive = ConvexCNNRegressor(kernel_size=2, alpha=0.05, **kind).fit(x, y)
        assert adaptive.certificate_.objective == pytest.approx(model.certificate_.objective, rel=3e-6)
        assert adaptive.alpha_max_ == pytest.approx(model.alpha_max_, rel=1e-7)


@pytest.mark.parametrize("loss", ["huber", "quantile", "absolute_error"])
def test_other_losses_of_regression(loss):
    model = ConvexCNNRegressor(kernel_size=2, alpha=0.05, loss=loss, delta=0.2, quantile=0.8, tol=1e-6, random_state=0)
    model.fit(X, Y)
    assert model.certificate_.gap <= 1e-6
    value = model.network_.objective(X, Y, 0.05, make_loss(loss, delta=0.2, quantile=0.8))
    assert value == pytest.approx(model.certificate_.objective, rel=1e-12)


@pytest.mark.parametrize("loss", ["log_loss", "softmax", "hinge", "squared_hinge"])
@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_losses_of_two_classes(loss, activation):
    model = ConvexCNNClassifier(
        kernel_size=2, alpha=0.05, loss=loss, activation=activation, output_penalty="l1", tol=1e-5
    )
    model.set_params(random_state=0).fit(X, LABELS)
    assert model.certificate_.gap <= 1e-5
    assert model.classes_.tolist() == ["rough", "smooth"]
    signs = np.where(LABELS == "smooth", 1.0, -1.0)
    targets = (LABELS[:, None] == model.classes_).astype(float) if loss == "softmax" else signs
    value = model.network_.objective(X, targets, 0.05, make_loss(loss))
    assert value == pytest.approx(model.certificate_.objective, rel=1e-12)
    assert model.decision_function(X).shape == (12,)
    if activation == "relu":
        assert model.score(X, LABELS) == 1.0
    assert (model.probability_scale_ == 1.0) == ("hinge" not in loss)
    assert np.allclose(model.predict_proba(X).sum(axis=1), 1.0)


def test_three_classes():
    model = ConvexCNNClassifier(kernel_size=2, alpha=0.02, output_penalty="l1", random_state=0).fit(X, THREE)
    assert model.certificate_.gap <= 1e-4
    assert model.predict_proba(X).shape == (12, 3)
    assert model.score(X, THREE) == 1.0
    value = model.network_.objective(X, np.eye(3)[THREE], 0.02, make_loss("softmax"))
    assert value == pytest.approx(model.certificate_.objective, rel=1e-12)


def test_a_filter_of_the_size_of_the_input_is_a_dense_neuron():
    cnn = ConvexCNNRegressor(kernel_size=5, alpha=0.1, tol=1e-7, random_state=0).fit(X, Y)
    dense = ConvexReLURegressor(0.1, tol=1e-7, random_state=0).fit(X, Y)
    assert cnn.certificate_.objective == pytest.approx(dense.certificate_.objective, rel=1e-6)


def test_the_mean_is_the_sum_with_a_larger_alpha():
    mean = ConvexCNNRegressor(kernel_size=2, alpha=0.02, tol=1e-7, random_state=0).fit(X, Y)
    total = ConvexCNNRegressor(kernel_size=2, alpha=0.08, pooling="sum", tol=1e-7, random_state=0).fit(X, Y)
    assert mean.certificate_.objective == pytest.approx(total.certificate_.objective, rel=1e-6)


def test_images_filters_and_shapes():
    images = RNG.standard_normal((8, 2, 4, 3))
    y = np.abs(images[:, 0, 1:] - images[:, 0, :-1]).mean(axis=(1, 2))
    options = {"stride": 1, "padding": 1, "pooling": "sum", "alpha": 0.05, "random_state": 0}
    model = ConvexCNNRegressor(input_shape=(2, 4, 3), kernel_size=(3, 2), **options).fit(images, y)
    assert model.filters_.shape == (model.n_neurons_, 2, 3, 2)
    padded = np.pad(images, [(0, 0), (0, 0), (1, 1), (1, 1)])
    maps = np.array([[correlate(x, w, mode="valid")[0] for w in model.filters_] for x in padded])
    hidden = np.maximum(maps + model.intercepts_[0][None, :, None, None], 0.0).sum(axis=(2, 3))
    assert np.allclose(hidden @ model.coefs_[1][:, 0] + model.intercepts_[1], model.predict(images), atol=1e-10)
    flat = ConvexCNNRegressor(input_shape=(2, 4, 3), kernel_size=(3, 2), **options).fit(images.reshape(8, -1), y)
    assert np.array_equal(flat.predict(images), model.predict(images.reshape(8, -1)))
    assert model.n_features_in_ == 24
    nested = model.predict(images.tolist())
    assert np.array_equal(nested, model.predict(images))


def test_weights_are_copies_of_samples():
    weights = np.array([0, 1, 2, 3, 1, 0, 2, 1, 1, 4, 1, 2])
    options = {"alpha": 0.1, "tol": 1e-7, "random_state": 0}
    weighted = ConvexCNNRegressor(kernel_size=2, **options).fit(X, Y, sample_weight=weights)
    repeated = ConvexCNNRegressor(kernel_size=2, **options).fit(X.repeat(weights, axis=0), Y.repeat(weights))
    assert weighted.certificate_.objective == pytest.approx(repeated.certificate_.objective, rel=1e-12)
    targets = Y.repeat(weights) + 1e-9 * np.arange(weights.sum())  # copies that are not recognised as such
    apart = ConvexCNNRegressor(kernel_size=2, **options).fit(X.repeat(weights, axis=0), targets)
    assert weighted.certificate_.objective == pytest.approx(apart.certificate_.objective, rel=1e-6)
    assert repeated.arrangements_.n_samples == 4 * weights.sum()


@pytest.mark.parametrize("activation", ["gated_relu", "linear"])
def test_several_outputs_with_weight_decay_share_filters(activation):
    targets = np.column_stack([Y, Y + 0.1 * X[:, 0]])
    options = {"alpha": 0.05, "activation": activation, "tol": 1e-5, "arrangements": 15, "random_state": 0}
    shared = ConvexCNNRegressor(kernel_size=2, **options).fit(X, targets)
    apart = ConvexCNNRegressor(kernel_size=2, output_penalty="l1", **options).fit(X, targets)
    assert shared.certificate_.gap <= 1e-5
    assert written_out(shared, X, targets) == pytest.approx(shared.certificate_.objective, rel=1e-9)
    assert shared.certificate_.objective < apart.certificate_.objective
    assert shared.predict(X).shape == (12, 2)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"input_shape": (1, 4)}, ValueError, r"X must have 4 features, as input_shape \(1, 4\); got 5"),
        ({"input_shape": 5}, ValueError, r"input_shape must be \(channels, length\)"),
        ({"kernel_size": 6}, ValueError, "kernel_size must be at most"),
        ({"stride": 0}, ValueError, "stride must be an integer"),
        ({"pooling": "min"}, ValueError, "The 'pooling' parameter of ConvexCNNRegressor must be"),
        ({"activation": "threshold"}, ValueError, "The 'activation' parameter of ConvexCNNRegressor must be"),
        ({"pooling": "none"}, ValueError, 'pooling="none" needs activation "linear" or "gated_relu"'),
        ({"pooling": "max", "activation": "abs"}, ValueError, 'pooling="max" is for activation="relu"'),
        ({"pooling": "max", "scope": "local"}, ValueError, "scope must be 'auto' but for"),
        ({"hidden_bias": "free", "activation": "gated_relu"}, ValueError, "hidden_bias must be .* for gated"),
        ({"alpha": 0}, ValueError, "The 'alpha' parameter of ConvexCNNRegressor must be"),
        ({"loss": "log_loss"}, ValueError, "The 'loss' parameter of ConvexCNNRegressor must be"),
    ],
)
def test_bad_parameters_raise_at_fit(bad, error, message):
    with pytest.raises(error, match=message):
        ConvexCNNRegressor(**{"input_shape": (1, 5), "kernel_size": 2, "alpha": 0.1, **bad}).fit(X, Y)


def test_arrays_of_another_shape_raise():
    with pytest.raises(
        ValueError, match=r"X must have shape \(n_samples, n_features\) or \(n_samples, \*input_shape\)"
    ):
        ConvexCNNRegressor(kernel_size=2).fit(np.zeros((3, 5, 1)), np.zeros(3))
