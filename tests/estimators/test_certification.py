"""Certificates of any network: bounds against programs written by hand in cvxpy over all enumerated cells."""

import cvxpy as cp
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor

from convexnn import (
    Certificate,
    ConvexCNNRegressor,
    ConvexReLUClassifier,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    Network,
    certify,
)
from convexnn.geometry import enumerate_arrangements

RNG = np.random.default_rng(3)
X = RNG.normal([4.0, -1.0], 1.0, (9, 2))
Y = np.abs(X[:, 0] - 4) + 0.3 * X[:, 1] + 0.1 * RNG.standard_normal(9)


def optimum(X, y, alpha, *, bias, loss=lambda fit, y: 0.5 * cp.sum_squares(fit - y)):
    """The optimum over all networks with a free output bias, from the convex program on all cells, in cvxpy.

    `bias` is what weight decay does with hidden biases: "free" (the norm leaves the last coordinate out), "penalized".
    """
    rows = np.column_stack([X, np.ones(len(X))])
    patterns = enumerate_arrangements(rows).patterns()
    Z, penalty, constraints = cp.Variable(), 0, []
    fit = Z * np.ones(len(X))
    for pattern in patterns:
        for sign in (1, -1):
            u = cp.Variable(rows.shape[1])
            fit = fit + sign * cp.multiply(pattern, rows @ u)
            penalty = penalty + cp.norm(u[:-1] if bias == "free" else u)
            constraints.append(cp.multiply(2.0 * pattern - 1, rows @ u) >= 0)
    problem = cp.Problem(cp.Minimize(loss(fit, y) + alpha * penalty), constraints)
    return problem.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)


@pytest.mark.parametrize("alpha", [0.05, 0.5])
@pytest.mark.parametrize("width", [3, 100])
def test_mlp_regressor_with_its_free_biases(alpha, width):
    model = MLPRegressor(hidden_layer_sizes=(width,), alpha=alpha, solver="lbfgs", max_iter=3000, random_state=0)
    model.fit(X, Y)
    best = optimum(X, Y, alpha, bias="free")
    for scope in ("local", "global"):
        certificate = certify(model, X, Y, alpha, scope=scope, tol=1e-6, random_state=0)
        assert isinstance(certificate, Certificate)
        assert certificate.scope == scope
        assert certificate.objective == pytest.approx(model.loss_ * len(Y), rel=1e-6)
        assert certificate.lower_bound <= best * (1 + 1e-7)
        assert certificate.lower_bound >= best * (1 - 2e-4)
        assert certificate.gap == pytest.approx(1 - certificate.lower_bound / certificate.objective)


def test_our_own_networks_and_arrays():
    model = ConvexReLURegressor(0.2, tol=1e-8, random_state=0).fit(X, Y)
    best = optimum(X, Y, 0.2, bias="penalized")
    net = model.network_
    for network in (model, net, (net.W1, net.b1, net.W2, net.b2)):
        certificate = certify(network, X, Y, 0.2, scope="global", tol=1e-7)
        assert certificate.scope == "global"
        assert certificate.objective == pytest.approx(best, rel=1e-7)
        assert certificate.lower_bound == pytest.approx(best, rel=1e-6)
        assert certificate.gap < 1e-6


def test_alpha_is_that_of_our_own_models():
    model = ConvexReLURegressor(0.2, random_state=0).fit(X, Y)
    search = ConvexReLURegressorCV(ConvexReLURegressor(random_state=0), alphas=[0.2], cv=2).fit(X, Y)
    for own in (model, search):
        assert certify(own, X, Y, random_state=0).objective == certify(own, X, Y, 0.2, random_state=0).objective
    for foreign in (model.network_, MLPRegressor(hidden_layer_sizes=(3,), max_iter=5).fit(X, Y)):
        with pytest.raises(ValueError, match="alpha must be a number above 0 for a model that is no fitted estimator"):
            certify(foreign, X, Y)


def test_a_bad_network_is_told_how_bad_it_is():
    """The bound does not depend on where it starts."""
    best = optimum(X, Y, 0.2, bias="penalized")
    for seed in range(3):
        rng = np.random.default_rng(seed)
        network = Network(rng.standard_normal((2, 7)), rng.standard_normal(7), rng.standard_normal((7, 1)), np.ones(1))
        certificate = certify(network, X, Y, 0.2, scope="global", tol=1e-6, random_state=seed)
        assert certificate.objective == pytest.approx(network.objective(X, Y, 0.2))
        assert best * (1 - 1e-5) <= certificate.lower_bound <= best * (1 + 1e-7)
    dead = Network(np.zeros((2, 0)), np.zeros(0), np.zeros((0, 1)), np.full(1, Y.mean()))
    certificate = certify(dead, X, Y, 0.2, scope="global", tol=1e-6)
    assert best * (1 - 1e-5) <= certificate.lower_bound <= best * (1 + 1e-7)


def test_a_torch_module():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
    best = optimum(X, Y, 0.2, bias="penalized")
    certificate = certify(module, X, Y, 0.2, scope="global")
    assert best * (1 - 1e-3) <= certificate.lower_bound <= best * (1 + 1e-7)


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_mlp_classifier_of_two_classes(alpha):
    labels = np.where(np.median(Y) < Y, "high", "low")
    model = MLPClassifier(hidden_layer_sizes=(20,), alpha=alpha, solver="lbfgs", max_iter=3000, random_state=0)
    model.fit(X, labels)
    signs = np.where(labels == "low", 1.0, -1.0)
    best = optimum(X, signs, alpha, bias="free", loss=lambda fit, y: cp.sum(cp.logistic(-cp.multiply(y, fit))))
    certificate = certify(model, X, labels, alpha, scope="local", tol=1e-5, random_state=0)
    assert certificate.objective == pytest.approx(model.loss_ * len(Y), rel=1e-6)
    assert best * (1 - 1e-4) <= certificate.lower_bound <= best * (1 + 1e-7)


@pytest.mark.parametrize(
    ("loss", "value"), [("squared_hinge", lambda t: 0.5 * cp.square(cp.pos(1 - t))), ("hinge", lambda t: cp.pos(1 - t))]
)
def test_our_classifiers_keep_their_labels_and_their_loss(loss, value):
    labels = np.where(np.median(Y) < Y, "high", "low")
    best = optimum(
        X,
        np.where(labels == "low", 1.0, -1.0),
        0.5,
        bias="penalized",
        loss=lambda fit, y: cp.sum(value(cp.multiply(y, fit))),
    )
    model = ConvexReLUClassifier(alpha=0.5, loss=loss, random_state=0).fit(X, labels)
    certificate = certify(model, X, labels, 0.5, tol=1e-6, random_state=0)
    assert certificate.objective == pytest.approx(best, rel=2e-4)
    assert best * (1 - 1e-4) <= certificate.lower_bound <= best * (1 + 1e-7)


def test_our_regressors_keep_their_loss():
    best = optimum(X, Y, 0.2, bias="penalized", loss=lambda fit, y: cp.norm1(fit - y))
    model = ConvexReLURegressor(alpha=0.2, loss="absolute_error", random_state=0)
    search = ConvexReLURegressorCV(model, alphas=[0.2], cv=2)
    for fitted in (model.fit(X, Y), search.fit(X, Y)):
        certificate = certify(fitted, X, Y, 0.2, tol=1e-6, random_state=0)
        assert certificate.objective == pytest.approx(best, rel=2e-4)
        assert best * (1 - 1e-4) <= certificate.lower_bound <= best * (1 + 1e-7)


def test_what_is_not_supported_says_so():
    three = MLPClassifier(hidden_layer_sizes=(5,), max_iter=5).fit(X, np.arange(len(X)) % 3)
    two = MLPRegressor(hidden_layer_sizes=(5,), max_iter=5).fit(X, np.column_stack([Y, Y]))
    classifier = MLPClassifier(hidden_layer_sizes=(5,), max_iter=5).fit(X, Y > 0)
    fitted = MLPRegressor(hidden_layer_sizes=(5,), max_iter=5).fit(X, Y)
    cases = [
        (two, np.column_stack([Y, Y]), {}, ValueError, "one output"),
        (three, np.arange(len(X)) % 3, {}, ValueError, "two classes"),
        (classifier, Y, {}, ValueError, "y must have the classes of model"),
        (Ridge().fit(X, Y), Y, {}, TypeError, "Ridge"),
        (ConvexCNNRegressor(0.5, kernel_size=1).fit(X, Y), Y, {}, ValueError, "two dense layers; got ConvexCNN"),
        (fitted, Y, {"scope": "sampled"}, ValueError, "scope must be one of"),
        (fitted, Y, {"alpha": -1.0}, ValueError, "alpha must be"),
        (fitted, Y[:-1], {}, ValueError, "y must have shape"),
    ]
    for model, target, options, error, message in cases:
        with pytest.raises(error, match=message):
            certify(model, X, target, **{"alpha": 0.1, **options})
    with pytest.raises(ValueError, match="fit_intercept must be True or None"):
        certify(Network(np.ones((2, 1)), np.zeros(1), np.ones((1, 1)), np.ones(1)), X, Y, 0.1, fit_intercept=False)
