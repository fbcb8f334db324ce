"""Polynomial activations: the rank-one split, closed forms, and local optimisation of the network itself."""

import numpy as np
import pytest
from scipy.optimize import minimize
from specials import check_result

from convexnn.losses import Absolute, Hinge, Huber, Logistic, Squared
from convexnn.special.polynomial import polynomial_kappa, rank_one_split, solve_polynomial

RELU_LIKE, QUADRATIC = (0.09, 0.5, 0.47), (1.0, 0.0, 0.0)


def data(n=8, d=2, n_outputs=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal((n, n_outputs)), rng


@pytest.mark.parametrize("seed", range(30))
def test_rank_one_split(seed):
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 9))
    P = rng.standard_normal((d + 1, int(rng.integers(1, d + 2)))) * 10.0 ** rng.integers(-3, 4)
    P[:, 0] *= 10.0 ** -rng.integers(0, 6)
    scale = np.linalg.norm(P[:-1]) / np.linalg.norm(P[-1])
    P[-1] *= scale  # tr Z1 = Z4
    Z = P @ P.T
    W, sizes = rank_one_split(Z)
    vectors = np.vstack([W, np.ones(len(sizes))])
    assert np.abs((vectors * sizes) @ vectors.T - Z).max() <= 1e-12 * np.abs(Z).max()
    assert np.allclose(np.linalg.norm(W, axis=0), 1, rtol=1e-13)
    assert (sizes > 0).all()
    assert len(sizes) <= P.shape[1]
    assert rank_one_split(0 * Z)[0].shape == (d, 0)


@pytest.mark.parametrize("coefficients", [RELU_LIKE, QUADRATIC, (-0.5, 0.3, 0.2), (0.0, 1.0, 0.0), (1.0, 1e-6, 0.0)])
@pytest.mark.parametrize("d", [1, 2])
def test_kappa_is_the_largest_response(coefficients, d):
    X, V, _ = data(d=d, n_outputs=2, seed=d)
    a, b, c = coefficients
    angles = np.linspace(0, 2 * np.pi, 20_001)
    W = np.array([[1.0, -1.0]]) if d == 1 else np.array([np.cos(angles), np.sin(angles)])
    T = X @ W
    largest = np.abs(V.T @ (a * T**2 + b * T + c)).max()
    assert largest <= polynomial_kappa(X, V, coefficients) <= largest * (1 + 1e-6)


def test_kappa_in_the_hard_case():
    """q orthogonal to the leading eigenvectors: act(t) = t^2 + t with samples +-e_1 and e_2 weighed apart."""
    X, v = np.array([[1.0, 0], [-1, 0], [0, 1], [0, 1]]), np.array([2.0, 2.0, 0.5, 0.5])
    # w = (s, t): 4 s^2 + t^2 + t, the largest at t = 1/6: 4 - 3 t^2 + t = 4 + 1/12
    assert polynomial_kappa(X, v[:, None], (1.0, 1.0, 0.0)) == pytest.approx(4 + 1 / 12, rel=1e-12)
    X, v = np.array([[1.0, 0], [-1, 0]]), np.ones(2)
    assert polynomial_kappa(X, v[:, None], (1.0, 1.0, 0.0)) == pytest.approx(2.0, rel=1e-12)


@pytest.mark.parametrize("coefficients", [RELU_LIKE, QUADRATIC, (-0.5, 0.3, 0.2)])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_local_optimisation_of_the_network_comes_close_and_not_below(coefficients, fit_intercept, seed):
    X, Y, rng = data(seed=seed)
    alpha, m, (a, b, c) = 0.2, 6, coefficients
    solution = solve_polynomial(X, Y, alpha, Squared(), coefficients, fit_intercept)
    optimum = solution.certificate.objective

    def objective(theta):
        V, out = theta[: 2 * m].reshape(2, m), theta[2 * m : 3 * m]
        lengths = np.linalg.norm(V, axis=0)
        W = V / lengths
        T = X @ W
        hidden, smooth = a * T**2 + b * T + c, np.sqrt(out**2 + 1e-14)
        residual = hidden @ out + theta[-1] * fit_intercept - Y[:, 0]
        slopes = X.T @ ((2 * a * T + b) * out * residual[:, None])
        slopes = (slopes - W * np.sum(W * slopes, axis=0)) / lengths
        grad = [slopes.ravel(), hidden.T @ residual + alpha * out / smooth, [residual.sum() * fit_intercept]]
        return 0.5 * residual @ residual + alpha * smooth.sum(), np.concatenate(grad)

    options = {"jac": True, "options": {"maxiter": 500}}
    values = [minimize(objective, rng.standard_normal(3 * m + 1), **options).fun for _ in range(12)]
    assert min(values) >= solution.certificate.lower_bound - 1e-6
    assert min(values) >= optimum - 1e-6
    assert min(values) <= optimum + 1e-3


@pytest.mark.parametrize("coefficients", [RELU_LIKE, QUADRATIC, (1.0, 0.0, 0.3), (0.0, 1.0, 0.0)])
@pytest.mark.parametrize("loss", [Squared(), Huber(delta=0.3), Absolute(), Logistic(), Hinge()])
@pytest.mark.parametrize(("fit_intercept", "n_outputs"), [(True, 1), (False, 1), (True, 2)])
def test_certificates(coefficients, loss, fit_intercept, n_outputs):
    X, Y, _ = data(n=14, d=3, n_outputs=n_outputs, seed=5)
    Y = np.where(Y > 0, 1.0, -1.0) if isinstance(loss, (Logistic, Hinge)) else Y
    for alpha in (0.1, 2.0):
        solution = solve_polynomial(X, Y, alpha, loss, coefficients, fit_intercept)
        network = solution.network
        assert np.allclose(np.linalg.norm(network.W1, axis=0), 1, rtol=1e-12)
        assert (np.count_nonzero(network.W2, axis=1) == 1).all()
        assert fit_intercept or not network.b2.any()
        value = loss.value(Y, network.predict(X).reshape(Y.shape)) + alpha * np.abs(network.W2).sum()
        check_result(solution, value, value, tol=1e-7)
        assert solution.certificate.objective == pytest.approx(value, rel=1e-12)
        assert network.n_neurons <= (3 if coefficients[1] == 0 else 8) * n_outputs


def test_one_sample():
    """The best neuron maximises |act(t)| over |t| <= |x|; then it is a lasso in one variable."""
    x, y, alpha = np.array([[3.0, 4.0]]), 7.0, 2.0
    for coefficients in (RELU_LIKE, QUADRATIC, (-1.0, 2.0, 0.5)):
        a, b, c = coefficients
        T = np.linspace(-5, 5, 100_001)
        best = np.abs(a * T**2 + b * T + c).max()
        size = max(y - alpha / best, 0.0) / best
        expected = 0.5 * (y - best * size) ** 2 + alpha * size
        solution = solve_polynomial(x, [y], alpha, Squared(), coefficients, fit_intercept=False)
        assert solution.certificate.objective == pytest.approx(expected, rel=1e-8)
    assert solve_polynomial(x, [y], alpha, Squared()).certificate.objective == pytest.approx(0.0, abs=1e-20)


def test_quadratic_activation_is_the_nuclear_norm():
    """With samples e_i e_j the program is separable: y on the diagonal is soft-thresholded."""
    X, y = np.diag([1.0, 1.0, 1.0]), np.array([3.0, -2.0, 0.3])
    solution = solve_polynomial(X, y, 0.5, Squared(), QUADRATIC, fit_intercept=False)
    assert solution.network.predict(X) == pytest.approx([2.5, -1.5, 0.0], abs=1e-6)
    assert solution.certificate.objective == pytest.approx(0.5 * (0.25 + 0.25 + 0.09) + 0.5 * 4.0, rel=1e-8)


def test_large_alpha_gives_no_neurons():
    X, Y, _ = data()
    alpha = polynomial_kappa(X, Y - Y.mean(), RELU_LIKE)
    assert solve_polynomial(X, Y, 1.001 * alpha, Squared()).network.n_neurons == 0
    assert solve_polynomial(X, Y, 0.99 * alpha, Squared()).network.n_neurons > 0


def test_the_limit_of_time():
    X, Y, _ = data(n=30, d=10)
    with pytest.warns(UserWarning, match="relative gap"):
        solution = solve_polynomial(X, Y, 0.1, Squared(), time_limit=1e-9)
    assert solution.certificate.lower_bound <= solve_polynomial(X, Y, 0.1, Squared()).certificate.objective
    assert not solution.converged


def test_wrong_arguments():
    X, Y, _ = data()
    for coefficients in ((0.0, 0.0, 0.0), (1.0, 2.0), (np.nan, 1.0, 1.0)):
        with pytest.raises(ValueError, match="coefficients"):
            solve_polynomial(X, Y, 1.0, Squared(), coefficients)
    with pytest.raises(ValueError, match="alpha"):
        solve_polynomial(X, Y, -1.0, Squared())
