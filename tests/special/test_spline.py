"""One feature with free hidden biases: against the lasso in cvxpy, dense knots and closed forms."""

import cvxpy as cp
import numpy as np
import pytest
from specials import check_result, least

from convexnn.losses import Absolute, Hinge, Huber, Logistic, Quantile, Squared, SquaredHinge
from convexnn.networks.network import Network
from convexnn.special.spline import _kappa, _split_spline, solve_spline


def data(n=30, seed=0, kind="spread"):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 5, n)
    if kind == "ties":
        x = np.round(x)
    return x, np.sin(2 * x) + 0.4 * x + 0.3 * rng.standard_normal(n), rng


def lasso(x, Y, alpha, loss, skip):
    """The optimum of the program as written, over columns of both families for all knots."""
    knots = np.unique(x)
    columns = np.hstack([np.maximum(x[:, None] - knots, 0), np.maximum(knots - x[:, None], 0)])
    C, free = cp.Variable((columns.shape[1], Y.shape[1])), cp.Variable((2, Y.shape[1]))
    line = np.column_stack([np.ones(len(x)), x * skip])
    return least(loss.to_cvxpy(Y, columns @ C + line @ free) + alpha * cp.sum(cp.abs(C)))


def check(solution, x, Y, alpha, loss, skip):
    """Network, objective and certificate belong together."""
    network = solution.network
    fit = network.predict(x[:, None]).reshape(Y.shape)
    assert np.isin(np.round(-network.b1 / network.W1[0], 9), np.round(x, 9)).all()
    penalty = np.sum(np.abs(network.W1[0])[:, None] * np.abs(network.W2))
    assert network.weight_decay() == pytest.approx(penalty, rel=1e-12, abs=1e-15)
    assert (network.skip is not None) == skip
    assert solution.network.hidden_bias == "free"
    certificate = solution.certificate
    assert certificate.objective == pytest.approx(loss.value(Y, fit) + alpha * penalty, rel=1e-9)
    assert certificate.scope == "global"
    V = solution.dual
    assert np.allclose(V.sum(axis=0), 0, atol=1e-9 * (1 + np.abs(V).sum()))
    knots = np.linspace(x.min() - 1, x.max() + 1, 5001)
    for responses in (np.maximum(x[:, None] - knots, 0), np.maximum(knots - x[:, None], 0)):
        assert np.abs(V.T @ responses).max() <= alpha * (1 + 1e-8)
    assert certificate.lower_bound == pytest.approx(-loss.conjugate(Y, -V), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("kind", ["spread", "ties"])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("alpha", [0.003, 0.1, 1.0, 8.0, 40.0, 1000.0])
def test_squared_loss_agrees_with_the_lasso(kind, skip, alpha):
    for seed in range(3):
        x, y, rng = data(seed=seed, kind=kind)
        loss = Squared(sample_weight=rng.uniform(0.3, 2.0, len(x)) if seed else None)
        y = y if seed < 2 else 100.0 - 3.0 * y - 2 * x  # far from zero, and falling
        solution = solve_spline(x, y, alpha, loss, skip=skip)
        check(solution, x, y[:, None], alpha, loss, skip)
        check_result(solution, lasso(x, y[:, None], alpha, loss, skip), tol=1e-9)


@pytest.mark.parametrize(
    "loss", [Huber(delta=0.2), Absolute(), Quantile(quantile=0.8), Logistic(), Hinge(), SquaredHinge()]
)
@pytest.mark.parametrize("skip", [False, True])
def test_other_losses_agree_with_the_lasso(loss, skip):
    for alpha in (0.02, 0.5, 500.0):
        x, y, _ = data(kind="spread" if alpha < 1 else "ties")
        Y = np.where(y > 0.5, 1.0, -1.0)[:, None] if isinstance(loss, (Logistic, Hinge, SquaredHinge)) else y[:, None]
        solution = solve_spline(x, Y, alpha, loss, skip=skip, tol=1e-6)
        check(solution, x, Y, alpha, loss, skip)
        check_result(solution, lasso(x, Y, alpha, loss, skip))


def test_several_outputs_are_fitted_one_by_one():
    x, y, _ = data()
    Y = np.column_stack([y, np.cos(x), 0 * x + 3.0])
    solution = solve_spline(x, Y, 0.2, Squared())
    check(solution, x, Y, 0.2, Squared(), False)
    single = [solve_spline(x, column, 0.2, Squared()).certificate.objective for column in Y.T]
    assert solution.certificate.objective == pytest.approx(sum(single), rel=1e-9)
    assert single[2] == pytest.approx(0.0, abs=1e-20)
    assert solve_spline(x, np.sign(Y - 0.1), 0.2, Hinge(), tol=1e-6).network.W2.shape[1] == 3


def test_a_case_by_hand():
    """f = (0, s, s + s + k) with s, k >= 0 costs alpha (s + k); y = (0, 0, 1): s = alpha, s + k = 1 - 2 alpha."""
    solution = solve_spline([0.0, 1.0, 2.0], [0.0, 0.0, 1.0], 0.1, Squared())
    network = solution.network
    assert (-network.b1 / network.W1[0]).tolist() == [0.0, 1.0]
    assert network.W1[0] * network.W2[:, 0] == pytest.approx([0.1, 0.7], rel=1e-12)
    assert (network.W1 > 0).all()
    assert solution.certificate.objective == pytest.approx(0.1 - 0.1**2, rel=1e-12)


def test_no_network_with_free_biases_is_better():
    """Networks of random hidden neurons and fitted output weights are all above the bound."""
    x, y, rng = data(n=15)
    alpha, loss = 0.3, Squared()
    best = solve_spline(x, y, alpha, loss).certificate
    for _ in range(300):
        m = int(rng.integers(1, 6))
        W1, b1 = rng.standard_normal((1, m)), 3 * rng.standard_normal(m)
        hidden = np.column_stack([np.maximum(x[:, None] @ W1 + b1, 0), np.ones(len(x))])
        ridge = np.diag([alpha] * m + [0.0])
        a = np.linalg.lstsq(hidden.T @ hidden + ridge, hidden.T @ y, rcond=None)[0]
        scale = np.sqrt((np.abs(a[:m]) + 1e-9) / np.abs(W1[0]))
        network = Network(W1 * scale, b1 * scale, a[:m, None] / scale[:, None], a[m:], hidden_bias="free")
        assert network.objective(x[:, None], y, alpha) >= best.lower_bound * (1 - 1e-9)


def test_many_samples():
    x, _, rng = data(n=10_000)
    y = np.sin(3 * x) + 0.3 * rng.standard_normal(len(x))
    solution = solve_spline(x, y, 1.0, Squared())
    assert solution.certificate.gap <= 1e-9
    assert 20 < solution.network.n_neurons < 200


def test_kappa_is_the_maximum_over_all_knots():
    rng = np.random.default_rng(0)
    for n in (1, 2, 9):
        x, V = rng.standard_normal(n), rng.standard_normal((n, 2))
        V -= V.mean(axis=0)
        knots = np.concatenate([x, rng.uniform(-4, 4, 3000)])
        values = [np.abs(V.T @ np.maximum(sign * (x[:, None] - knots), 0)).max() for sign in (1, -1)]
        assert max(values) <= _kappa(x, V) <= max(values) * (1 + 1e-12) + 1e-15


@pytest.mark.parametrize("seed", range(20))
def test_the_split_is_the_cheapest(seed):
    rng = np.random.default_rng(seed)
    nodes, theta = np.sort(rng.uniform(0, 1, 6)), rng.standard_normal(6) + rng.normal(0, 20) * np.arange(6)
    right, left, _ = _split_spline(nodes, theta, False)
    families = [np.maximum(sign * (nodes[:, None] - nodes), 0) for sign in (1, -1)]
    values = families[0] @ right + families[1] @ left
    assert np.allclose(values - values[0], theta - theta[0])
    c = cp.Variable(12)
    fit = np.hstack(families) @ c
    cheapest = least(cp.norm1(c), [fit - fit[0] == theta - theta[0]])
    assert np.abs(right).sum() + np.abs(left).sum() == pytest.approx(cheapest, rel=1e-7)


def test_degenerate_features():
    constant = solve_spline([2.0, 2.0, 2.0], [0.0, 1.0, 5.0], 0.1, Squared())
    assert constant.network.predict([[2.0]] * 3) == pytest.approx([2.0] * 3)
    assert constant.certificate.gap < 1e-12
    x = np.array([0.0, 1.0, 1.0])
    for loss in (Squared(), Huber()):
        two = solve_spline(x, x, 1e-3, loss, tol=1e-6).certificate.objective
        assert two == pytest.approx(lasso(x, x[:, None], 1e-3, loss, False))
    close = solve_spline([-1.0, 1e-20, 2e-20, 1.0], [0.0, 1.0, 1.0, 0.5], 0.01, Squared())
    assert close.certificate.gap < 1e-9


def test_wrong_arguments():
    for message, arguments in [
        ("one feature", (np.ones((3, 2)), np.ones(3), 1.0)),
        ("alpha", ([1.0, 2.0], [1.0, 2.0], 0.0)),
        ("inconsistent", ([1.0, 2.0], [1.0, 2.0, 3.0], 1.0)),
    ]:
        with pytest.raises(ValueError, match=message):
            solve_spline(*arguments, Squared())
    x, y, _ = data()
    with pytest.warns(UserWarning, match="relative gap"):
        assert not solve_spline(x, y, 0.5, Absolute(), tol=1e-16).converged
