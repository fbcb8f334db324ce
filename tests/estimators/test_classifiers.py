"""The classifier: right optima for every loss, probabilities, labels, weights, and bad input."""

import warnings

import numpy as np
import pytest
from scipy.special import expit, logsumexp
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier

from convexnn import ConvexReLUClassifier, ConvexReLURegressor
from convexnn.losses import make_loss

RNG = np.random.default_rng(1)
X = RNG.standard_normal((14, 2))
LABELS = np.where(X[:, 0] * X[:, 1] + 0.3 * RNG.standard_normal(14) > 0, "yes", "no")
SIGNS = np.where(LABELS == "yes", 1.0, -1.0)
THREE = np.digitize(X[:, 0] + 0.5 * RNG.standard_normal(14), [-0.5, 0.5])
LOSSES = {
    "log_loss": lambda y, f: np.logaddexp(0.0, -y * f),
    "hinge": lambda y, f: np.maximum(1 - y * f, 0.0),
    "squared_hinge": lambda y, f: 0.5 * np.maximum(1 - y * f, 0.0) ** 2,
}


def decay(model):
    """The weight decay of a fitted ReLU model without free biases, written out."""
    (W1, W2), (b1, _) = model.coefs_, model.intercepts_
    order = 1 if model.output_penalty == "l1" else 2
    return 0.5 * (np.sum(W1**2) + np.sum(b1**2) + np.sum(np.linalg.norm(W2, order, axis=1) ** 2))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("activation", "bias"), [("relu", "none"), ("relu", "penalized"), ("abs", "free")])
def test_two_classes_reach_the_optimum_of_the_reference(loss, activation, bias):
    options = {"loss": loss, "activation": activation, "hidden_bias": bias, "tol": 1e-6}
    model = ConvexReLUClassifier(0.1, arrangements="all", **options).fit(X, LABELS)
    assert model.certificate_.scope == "global"
    assert model.certificate_.gap <= 1e-6
    f = model.decision_function(X)
    if bias != "free":
        assert LOSSES[loss](SIGNS, f).sum() + 0.1 * decay(model) == pytest.approx(
            model.certificate_.objective, rel=1e-9
        )
    recomputed = model.network_.objective(X, SIGNS, 0.1, make_loss(loss))
    assert recomputed == pytest.approx(model.certificate_.objective, rel=1e-12)
    reference = ConvexReLUClassifier(0.1, arrangements="all", solver="cvxpy", **options).fit(X, LABELS)
    assert model.certificate_.objective == pytest.approx(reference.certificate_.objective, rel=3e-6)
    adaptive = ConvexReLUClassifier(0.1, random_state=0, **options).fit(X, LABELS)
    assert adaptive.certificate_.objective == pytest.approx(model.certificate_.objective, rel=3e-6)
    assert adaptive.alpha_max_ == pytest.approx(model.alpha_max_, rel=1e-7)


@pytest.mark.parametrize("activation", ["relu", "gated_relu", "linear", "threshold"])
def test_softmax_with_the_l1_penalty_reaches_the_optimum_of_the_reference(activation):
    options = {"activation": activation, "arrangements": "all", "output_penalty": "l1", "tol": 1e-6}
    model = ConvexReLUClassifier(0.3, **options).fit(X, THREE)
    reference = ConvexReLUClassifier(0.3, solver="cvxpy", **options).fit(X, THREE)
    assert model.certificate_.gap <= 1e-6
    assert model.certificate_.objective == pytest.approx(reference.certificate_.objective, rel=3e-6)
    Z, hot = model.decision_function(X), np.eye(3)[THREE]
    loss = np.sum(logsumexp(Z, axis=1) - np.sum(hot * Z, axis=1))
    if activation != "threshold":
        assert loss + 0.3 * decay(model) == pytest.approx(model.certificate_.objective, rel=1e-9)
    assert model.network_.objective(X, hot, 0.3, make_loss("softmax")) == pytest.approx(
        model.certificate_.objective, rel=1e-12
    )


@pytest.mark.parametrize("activation", ["gated_relu", "linear", "threshold"])
def test_softmax_with_weight_decay_shares_neurons(activation):
    options = {"activation": activation, "arrangements": "all", "tol": 1e-5}
    shared = ConvexReLUClassifier(0.3, **options).fit(X, THREE)
    apart = ConvexReLUClassifier(0.3, output_penalty="l1", **options).fit(X, THREE)
    assert shared.certificate_.gap <= 1e-5
    assert shared.certificate_.objective < apart.certificate_.objective


def test_two_classes_with_softmax_are_the_logistic_loss():
    """With the l1 penalty |a_1 - a_2| costs as much on one output as on two."""
    options = {"arrangements": "all", "output_penalty": "l1", "tol": 1e-8}
    one = ConvexReLUClassifier(0.1, **options).fit(X, LABELS)
    two = ConvexReLUClassifier(0.1, loss="softmax", **options).fit(X, LABELS)
    assert two.certificate_.objective == pytest.approx(one.certificate_.objective, rel=1e-7)
    assert two.network_.W2.shape[1] == 2
    assert two.decision_function(X).shape == (14,)
    assert np.allclose(two.decision_function(X), one.decision_function(X), atol=1e-3)
    assert np.allclose(two.predict_proba(X), one.predict_proba(X), atol=1e-3)


def test_probabilities_and_predictions():
    binary = ConvexReLUClassifier(0.1, arrangements="all").fit(X, LABELS)
    assert binary.classes_.tolist() == ["no", "yes"]
    assert np.allclose(binary.predict_proba(X)[:, 1], expit(binary.decision_function(X)))
    assert np.array_equal(binary.predict(X), np.where(binary.decision_function(X) > 0, "yes", "no"))
    several = ConvexReLUClassifier(0.1, arrangements="all", output_penalty="l1").fit(X, THREE * 10)
    P = several.predict_proba(X)
    assert np.allclose(P.sum(axis=1), 1.0)
    assert np.array_equal(several.predict(X), several.classes_[P.argmax(axis=1)])
    assert several.classes_.tolist() == [0, 10, 20]


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_probabilities_of_hinges_are_scaled_decisions(loss):
    model = ConvexReLUClassifier(0.5, loss=loss, arrangements=10, random_state=0).fit(X, LABELS)
    f, P = model.decision_function(X), model.predict_proba(X)
    n = {sign: np.sum(sign == SIGNS) for sign in (-1.0, 1.0)}
    target = np.where(SIGNS > 0, (n[1.0] + 1) / (n[1.0] + 2), 1 / (n[-1.0] + 2))
    scales = np.linspace(0.01, 20, 20_000)[:, None]
    likelihood = -np.logaddexp(0, -scales * f) @ target - np.logaddexp(0, scales * f) @ (1 - target)
    best = scales[likelihood.argmax(), 0]
    assert model.probability_scale_ == pytest.approx(best, abs=2e-3)
    assert np.allclose(P[:, 1], expit(best * f), atol=1e-3)
    assert np.allclose(P.sum(axis=1), 1.0)
    assert np.array_equal(model.classes_[P.argmax(axis=1)], model.predict(X))
    assert np.allclose(np.exp(model.predict_log_proba(X)), P)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_hinges_are_for_two_classes(loss):
    with pytest.raises(ValueError, match=f"Only binary classification is supported for loss='{loss}'; got 3 classes"):
        ConvexReLUClassifier(0.1, loss=loss).fit(X, THREE)
    rest = OneVsRestClassifier(ConvexReLUClassifier(0.1, loss=loss, arrangements=20, random_state=0)).fit(X, THREE)
    assert rest.score(X, THREE) > 0.9


@pytest.mark.parametrize("loss", ["log_loss", "hinge", "squared_hinge", "softmax"])
def test_separable_data_are_separated(loss):
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
    xor = np.array([0, 1, 1, 0])
    model = ConvexReLUClassifier(1e-3, loss=loss, output_penalty="l1", random_state=0).fit(corners, xor)
    assert model.score(corners, xor) == 1.0
    assert model.certificate_.gap <= 1e-4


def test_a_linear_skip_without_neurons_is_logistic_regression():
    model = ConvexReLUClassifier(1e3, skip=True, arrangements=10, tol=1e-9, random_state=0).fit(X, LABELS)
    linear = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, LABELS)
    assert model.n_neurons_ == 0
    assert np.allclose(model.decision_function(X), linear.decision_function(X), atol=1e-4)


@pytest.mark.parametrize("loss", ["log_loss", "hinge", "squared_hinge", "softmax"])
def test_weights_are_copies_of_samples(loss):
    weights = np.array([0, 1, 2, 3, 1, 0, 2, 1, 1, 4, 1, 2, 1, 1])
    options = {"loss": loss, "arrangements": "all", "output_penalty": "l1", "tol": 1e-7}
    weighted = ConvexReLUClassifier(0.2, **options).fit(X, LABELS, sample_weight=weights)
    rows = X.repeat(weights, axis=0)
    rows = rows + 1e-10 * np.arange(len(rows))[:, None]  # copies that are not recognised as such
    apart = ConvexReLUClassifier(0.2, **options | {"arrangements": "adaptive", "random_state": 0}).fit(
        rows, LABELS.repeat(weights)
    )
    assert weighted.certificate_.objective == pytest.approx(apart.certificate_.objective, rel=1e-6)


def test_free_biases_are_below_every_seed_of_mlp_classifier():
    """n (log loss) + alpha / 2 |W|^2 is n times what scikit-learn minimises."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((40, 2)) + 3.0
    y = (np.sin(2 * x[:, 0]) + 0.5 * rng.standard_normal(40) > x[:, 1] - 3).astype(int)
    model = ConvexReLUClassifier(0.3, hidden_bias="free", tol=1e-6, random_state=0).fit(x, y)
    assert model.certificate_.gap <= 1e-6
    for seed in range(5):
        mlp = MLPClassifier((20,), solver="lbfgs", alpha=0.3, max_iter=3000, tol=1e-9, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mlp.fit(x, y)
        assert model.certificate_.objective <= len(x) * mlp.loss_ * (1 + 1e-6)
    # scikit-learn's own forward pass
    mlp.coefs_, mlp.intercepts_, mlp.hidden_layer_sizes = model.coefs_, model.intercepts_, (model.n_neurons_,)
    assert np.allclose(mlp.predict_proba(x), model.predict_proba(x))
    fit = np.logaddexp(0.0, -(2 * y - 1) * model.decision_function(x)).sum()
    assert fit + 0.15 * sum(np.sum(W**2) for W in mlp.coefs_) == pytest.approx(model.certificate_.objective, rel=1e-9)


def test_iris():
    features, species = load_iris(return_X_y=True)
    model = ConvexReLUClassifier(0.3, output_penalty="l1", random_state=0, scope="local").fit(features, species)
    assert model.score(features, species) >= 0.97
    assert model.certificate_.gap <= 1e-4


def test_auto_alpha_and_alpha_max():
    model = ConvexReLUClassifier(arrangements="all").fit(X, LABELS)
    assert model.alpha_ == pytest.approx(0.01 * model.alpha_max_)
    above = ConvexReLUClassifier(1.001 * model.alpha_max_, arrangements="all").fit(X, LABELS)
    assert above.n_neurons_ == 0
    share = np.mean(LABELS == "yes")
    assert np.allclose(above.predict_proba(X)[:, 1], share, atol=1e-6)
    below = ConvexReLUClassifier(0.99 * model.alpha_max_, arrangements="all", tol=1e-9).fit(X, LABELS)
    assert below.n_neurons_ > 0


@pytest.mark.parametrize(
    ("bad", "y", "message"),
    [
        ({"loss": "squared_error"}, LABELS, "The 'loss' parameter of ConvexReLUClassifier .*'squared_hinge'"),
        ({}, np.full(14, "yes"), "y must have at least two classes"),
        ({}, X[:, 0], "Unknown label type: continuous"),
        ({"hidden_norm": "circular"}, LABELS, "The 'hidden_norm' parameter of ConvexReLUClassifier must be"),
        ({"activation": "threshold", "hidden_bias": "free"}, LABELS, 'hidden_bias="free"'),
        ({"arrangements": 20}, THREE, 'arrangements must be "adaptive" for several outputs'),
        ({"scope": "global"}, THREE, 'scope must be "auto" or "local"'),
        ({"solver": "newton"}, THREE, "solve_vector_generation"),
    ],
)
def test_bad_parameters_and_labels_raise(bad, y, message):
    with pytest.raises(ValueError, match=message):
        ConvexReLUClassifier(0.1, **bad).fit(X, y)


def test_a_class_without_weight_is_no_class():
    with pytest.raises(ValueError, match="at least two classes with positive sample weights"):
        ConvexReLUClassifier(0.1).fit(X, LABELS, sample_weight=(LABELS == "yes").astype(float))
    model = ConvexReLUClassifier(0.1, arrangements=20).fit(X, THREE, sample_weight=(THREE > 0).astype(float))
    assert model.classes_.tolist() == [1, 2]


def test_squared_hinge_of_far_labels_is_half_the_squared_loss():
    """While no margin is reached, 1/2 (1 - y f)^2 is 1/2 (y - f)^2."""
    options = {"arrangements": "all", "tol": 1e-9, "fit_intercept": False}
    alpha = 0.5 * ConvexReLURegressor(**options).fit(X, SIGNS).alpha_max_
    squared = ConvexReLURegressor(alpha, **options).fit(X, SIGNS)
    assert (SIGNS * squared.predict(X) < 1).all()
    hinge = ConvexReLUClassifier(alpha, loss="squared_hinge", **options).fit(X, LABELS)
    assert hinge.certificate_.objective == pytest.approx(squared.certificate_.objective, rel=1e-8)


def test_weight_decay_of_several_classes_is_the_default():
    model = ConvexReLUClassifier(0.3, tol=1e-5, random_state=0).fit(X, THREE)
    apart = ConvexReLUClassifier(0.3, output_penalty="l1", tol=1e-5, random_state=0).fit(X, THREE)
    assert model.certificate_.gap <= 1e-5
    assert model.certificate_.scope == "local"
    assert model.certificate_.objective < apart.certificate_.objective
    assert model.alpha_max_ >= apart.alpha_max_
    Z = model.decision_function(X)
    loss = np.sum(logsumexp(Z, axis=1) - Z[np.arange(14), THREE])
    assert loss + 0.3 * decay(model) == pytest.approx(model.certificate_.objective, rel=1e-9)
