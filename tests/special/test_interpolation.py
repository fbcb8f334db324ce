"""Minimum-norm interpolation: cvxpy on the formula over cells found by linear programs, closed forms, limits."""

import itertools
from functools import cache

import cvxpy as cp
import numpy as np
import pytest
from oracles import NetworkProblem, best_of_restarts
from scipy.optimize import linprog
from sklearn.exceptions import ConvergenceWarning
from specials import check_result, least

from convexnn import Architecture
from convexnn.geometry.patches import Patches
from convexnn.model import build_program
from convexnn.solvers import solve_given
from convexnn.special import minimum_norm_interpolation

PLAIN = {"hidden_bias": "none", "fit_intercept": False}
NETWORKS = {
    "relu": PLAIN,
    "biases": {},
    "penalised bias alone": {"fit_intercept": False},
    "skip": {"skip": True},
    "free bias": {"hidden_bias": "free"},
    "leaky": {"activation": "leaky_relu", "negative_slope": 0.3, **PLAIN},
    "abs": {"activation": "abs"},
    "l1 norm": {"hidden_norm": "l1", **PLAIN},
    "outputs": {"output_penalty": "l1", **PLAIN},
}
SEEDS = range(2)


@cache
def data(seed, n=5, d=2, n_outputs=1):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, rng.standard_normal((n, n_outputs))


@cache
def cells(seed, bias):
    """Return the patterns of all full-dimensional cells, by a linear program for each of the 2^n patterns."""
    rows = hidden_rows(data(seed)[0], bias)
    found = []
    for pattern in itertools.product([0.0, 1.0], repeat=len(rows)):
        A = (2 * np.array(pattern) - 1)[:, None] * rows
        box = [(-1.0, 1.0)] * rows.shape[1] + [(None, 1.0)]
        inside = linprog(
            [0.0] * rows.shape[1] + [-1.0], np.hstack([-A, np.ones((len(A), 1))]), np.zeros(len(A)), None, None, box
        )
        if -inside.fun > 1e-9:
            found.append(pattern)
    return np.array(found)


def hidden_rows(X, bias):
    return np.column_stack([X, np.ones(len(X))]) if bias else X


def formula(X, Y, patterns, network, cones=True):
    """Solve min sum |u| + |v| subject to the cones and an exact fit, in cvxpy, written from the formula."""
    network = Architecture(**network)
    rows = hidden_rows(X, network.hidden_bias != "none")
    slope = {"relu": 0.0, "gated_relu": 0.0, "leaky_relu": network.negative_slope, "abs": -1.0, "linear": 1.0}
    total, constraints = 0.0, []
    for y in Y.T:
        fit = 0.0
        for D, sign in itertools.product(patterns, (1.0, -1.0)):
            u = cp.Variable(rows.shape[1])
            fit = fit + sign * np.diag(D + slope[network.activation] * (1 - D)) @ rows @ u
            charged = u[:-1] if network.hidden_bias == "free" else u
            total = total + cp.norm(charged, 1 if network.hidden_norm == "l1" else 2)
            constraints += [np.diag(2 * D - 1) @ rows @ u >= 0] if cones else []
        fit = fit + (cp.Variable() if network.fit_intercept else 0.0)
        fit = fit + (X @ cp.Variable(X.shape[1]) if network.skip else 0.0)
        constraints.append(fit == y)
    return least(total, constraints)


def neuron_sizes(network):
    """Return sum_j |w_j| |a_j| from the weights."""
    weights = network.W1 if network.hidden_bias == "free" else np.vstack([network.W1, network.b1])
    order = 1 if network.hidden_norm == "l1" else 2
    return np.sum(np.linalg.norm(weights, order, axis=0) * np.abs(network.W2).sum(axis=1))


def check(result, X, Y, optimum, scope="global", tol=1e-6):
    certificate, size = result.certificate, np.linalg.norm(Y)
    predictions = result.network.predict(X).reshape(Y.shape)
    assert np.linalg.norm(predictions - Y) <= 1e-11 * size
    check_result(result, optimum, neuron_sizes(result.network), scope=scope, tol=tol)
    assert certificate.objective == pytest.approx(optimum, rel=tol)
    assert certificate.objective >= optimum * (1 - 2e-8)
    assert certificate.lower_bound == pytest.approx(optimum, rel=tol)
    assert certificate.lower_bound <= optimum * (1 + 2e-8)


@pytest.mark.parametrize("name", NETWORKS)
def test_all_ways_have_the_optimum_of_the_formula(name):
    network = NETWORKS[name]
    architecture = Architecture(**network)
    for seed in SEEDS:
        X, Y = data(seed, n_outputs=2 if name == "outputs" else 1)
        optimum = formula(X, Y, cells(seed, architecture.hidden_bias != "none"), network)
        reference = minimum_norm_interpolation(X, Y, architecture, "all", solver="cvxpy")
        check(reference, X, Y, optimum, tol=2e-8)
        result = minimum_norm_interpolation(X, Y, architecture, "all")
        check(result, X, Y, optimum)
        assert np.sum(Y * result.dual) == pytest.approx(optimum, rel=1e-2)
        products = result.solution.program.free.T @ result.dual
        assert np.abs(products).max(initial=0.0) <= 1e-10 * np.abs(result.dual).max()
        if seed == 1 and name != "l1 norm":
            check(minimum_norm_interpolation(X, Y, architecture, scope="global", random_state=0), X, Y, optimum)


@pytest.mark.parametrize("solver", ["auto", "conic", "cvxpy"])
def test_gates_and_linear_networks(solver):
    X, Y = data(3, n=4)
    gates = np.random.default_rng(0).standard_normal((6, 2))
    patterns = np.unique((X @ gates.T >= 0).T.astype(float), axis=0)
    gated = {"activation": "gated_relu", **PLAIN}
    result = minimum_norm_interpolation(X, Y, Architecture(**gated), gates, solver=solver)
    check(result, X, Y, formula(X, Y, patterns, gated, cones=False), scope="sampled")
    X, Y, linear = X[:2], Y[:2], {"activation": "linear", **PLAIN}
    result = minimum_norm_interpolation(X, Y, Architecture(**linear), solver=solver if solver != "conic" else "auto")
    check(result, X, Y, np.linalg.norm(np.linalg.solve(X, Y)))


@pytest.mark.parametrize("arrangements", ["all", "adaptive"])
def test_closed_forms(arrangements):
    """One sample: |y| / |x|. Orthonormal rows: |y_+| + |y_-|. Both for any of these activations."""
    for activation in ("relu", "abs"):
        network = Architecture(activation, **PLAIN)
        x, Y = np.array([[3.0, -4.0, 12.0]]), np.array([[-2.0]])
        check(minimum_norm_interpolation(x, Y, network, arrangements, random_state=0), x, Y, 2.0 / 13.0)
        rng = np.random.default_rng(1)
        X, Y = np.linalg.qr(rng.standard_normal((6, 4)))[0].T, np.array([[3.0], [-1.0], [0.5], [-2.0]])
        result = minimum_norm_interpolation(X, Y, network, arrangements, random_state=0)
        check(result, X, Y, np.linalg.norm(np.maximum(Y, 0)) + np.linalg.norm(np.minimum(Y, 0)))


def test_free_biases_and_a_skip_are_a_spline():
    """One feature: the least total variation of the slope is that of the line through the points."""
    rng = np.random.default_rng(0)
    for n in (2, 3, 6, 9):
        x, Y = np.sort(rng.uniform(-3, 3, n)), rng.standard_normal((n, 1))
        optimum = np.abs(np.diff(np.diff(Y[:, 0]) / np.diff(x))).sum()
        architecture = Architecture(hidden_bias="free", skip=True)
        result = minimum_norm_interpolation(x[:, None], Y, architecture, "all")
        assert result.certificate.objective == pytest.approx(optimum, rel=1e-6, abs=1e-9)
        assert result.certificate.lower_bound <= optimum * (1 + 1e-8)
        assert np.allclose(result.network.predict(x[:, None]), Y[:, 0], rtol=0, atol=1e-10)


def test_it_is_the_limit_of_small_alpha():
    """p*(alpha) = alpha R - alpha^2 |V|^2 / 2 + o(alpha^2)."""
    for seed, network in itertools.product(range(3), (PLAIN, {})):
        X, Y = data(seed)
        result = minimum_norm_interpolation(X, Y, Architecture(**network), "all", tol=1e-9)
        program, differences = build_program(X, Y, 1.0, "all", Architecture(**network)), []
        for alpha in (1e-2, 1e-3, 1e-4):
            value = solve_given(program.at(alpha), tol=1e-9).certificate.objective / alpha
            differences.append(result.certificate.objective - value)
        assert differences[0] > differences[1] > differences[2] > 0
        assert differences[2] <= 1e-2 * result.certificate.objective
        assert differences[2] == pytest.approx(5e-5 * np.sum(result.dual**2), rel=1e-2)


def test_no_network_of_the_restarts_is_below():
    """Weights trained on the absolute error: for alpha |v_k| < 1 it is an exact penalty, and its optimum is alpha R."""
    for seed, network in enumerate((PLAIN, {})):
        X, Y = data(seed, n=4)
        result = minimum_norm_interpolation(X, Y, Architecture(**network), random_state=0)
        alpha, options = 0.3 / np.abs(result.dual).max(), {"hidden_bias": "penalized", "fit_intercept": True} | network
        problem = NetworkProblem(X, Y, alpha, 8, loss="absolute_error", **options)
        best, values = best_of_restarts(problem, 4, 0)
        assert min(best, *values) / alpha >= result.certificate.lower_bound * (1 - 1e-6)
        assert best / alpha == pytest.approx(result.certificate.objective, rel=1e-3)


def test_generation_has_the_optimum_of_all_patterns():
    X, Y = data(0, n=20, d=3)
    architecture = Architecture(**PLAIN)
    whole = minimum_norm_interpolation(X, Y, architecture, "all")
    result = minimum_norm_interpolation(X, Y, architecture, random_state=0)
    check(result, X, Y, whole.certificate.objective)
    loose = minimum_norm_interpolation(X, Y, architecture, scope="local", tol=1e-2, random_state=0).certificate
    assert loose.scope == "local"
    assert loose.gap <= 1e-2
    assert loose.lower_bound <= whole.certificate.objective <= loose.objective * (1 + 1e-9)
    assert loose.proved_bound <= whole.certificate.objective
    sampled = minimum_norm_interpolation(X, Y, architecture, 60, random_state=0).certificate
    assert (sampled.scope, sampled.proved_bound) == ("sampled", 0.0)
    assert sampled.objective >= whole.certificate.objective * (1 - 1e-9)


def test_units():
    """R is of degree one in y and minus one in X, and a constant of y is the intercept's."""
    X, Y = data(5)
    optimum = minimum_norm_interpolation(X, Y, arrangements="all").certificate.objective
    plain = minimum_norm_interpolation(X, Y, Architecture(**PLAIN), "all").certificate.objective
    check(minimum_norm_interpolation(X, 1e-6 * Y, arrangements="all"), X, 1e-6 * Y, 1e-6 * optimum)
    check(minimum_norm_interpolation(X, Y + 1e4, arrangements="all"), X, Y + 1e4, optimum)
    scaled = minimum_norm_interpolation(1e5 * X, 1e-5 * Y, Architecture(**PLAIN), random_state=0)
    check(scaled, 1e5 * X, 1e-5 * Y, 1e-10 * plain)


def test_convolutions_and_circular_filters():
    """Patches that are all of the input are that input; so is a mean of equal ones. Filters: the reference."""
    X, Y = data(6)
    one = Architecture(patches=Patches((1, 2), 2, 2), **PLAIN)
    two = Architecture(patches=Patches((1, 4), 2, 2, pooling="mean"), **PLAIN)
    optimum = minimum_norm_interpolation(X, Y, Architecture(**PLAIN), "all").certificate.objective
    for network, rows in ((one, X), (two, np.hstack([X, X]))):
        for arrangements in ("all", "adaptive"):
            result = minimum_norm_interpolation(rows, Y, network, arrangements, random_state=0)
            assert result.certificate.objective == pytest.approx(optimum, rel=1e-6)
            assert np.allclose(result.network.predict(rows), Y[:, 0], rtol=0, atol=1e-10)
    X, Y = data(7, n=4, d=3)
    circular = Architecture(hidden_norm="circular", circular_shape=(3,), **PLAIN)
    results = [minimum_norm_interpolation(X, Y, circular, "all", solver=solver) for solver in ("auto", "cvxpy")]
    values = [result.certificate.objective for result in results]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert np.allclose(results[0].network.predict(X), Y[:, 0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("arrangements", ["all", "adaptive"])
def test_what_the_free_part_fits_needs_no_neurons(arrangements):
    X, Y = data(0)
    linear = X @ np.array([[2.0], [-1.0]]) + 7.0
    for targets, network in ((0 * Y, PLAIN), (0 * Y, {}), (0 * Y + 3.0, {}), (linear, {"skip": True})):
        result = minimum_norm_interpolation(X, targets, Architecture(**network), arrangements)
        assert result.certificate.objective == result.certificate.lower_bound == result.certificate.gap == 0.0
        assert result.certificate.scope == "global"
        assert result.network.n_neurons == 0
        assert np.allclose(result.network.predict(X), targets[:, 0], rtol=0, atol=1e-12)


def degenerate(kind):
    X, Y = data(1, n=6)
    X, Y = X.copy(), Y.copy()
    X[3] = {"equal": X[5], "parallel": 2.5 * X[5], "opposite": -2.5 * X[5], "zero": 0.0 * X[5]}[kind]
    return X, Y


@pytest.mark.parametrize("arrangements", ["all", "adaptive"])
def test_rows_that_are_one(arrangements):
    """Equal rows, and parallel ones without biases, need targets that match; opposite ones do for |t| alone."""
    bent = {"activation": "abs", **PLAIN}
    free = {"hidden_bias": "free"}
    missed = [("equal", {}), ("equal", free), ("parallel", PLAIN), ("zero", PLAIN), ("opposite", bent)]
    for kind, network in missed:
        with pytest.raises(ValueError, match=r"smallest relative residual is 0\.\d+; rows of X that are equal"):
            minimum_norm_interpolation(*degenerate(kind), Architecture(**network), arrangements)
    matched = [("equal", 1.0, {}), ("parallel", 2.5, PLAIN), ("zero", 0.0, PLAIN), ("opposite", 2.5, bent)]
    for kind, factor, network in matched:
        X, Y = degenerate(kind)
        Y[3] = factor * Y[5]
        kept, architecture = np.delete(np.arange(6), 3), Architecture(**network)
        whole = minimum_norm_interpolation(X[kept], Y[kept], architecture, "all", solver="cvxpy").certificate
        result = minimum_norm_interpolation(X, Y, architecture, arrangements, random_state=0)
        check(result, X, Y, whole.objective)
    X, Y = degenerate("opposite")
    network = minimum_norm_interpolation(X, Y, Architecture(**PLAIN), arrangements, random_state=0).network
    assert np.allclose(network.predict(X), Y[:, 0], rtol=1e-11)


def test_the_distance_of_what_cannot_be_interpolated():
    X, Y = data(2, n=6)
    linear = Architecture("linear", **PLAIN)
    distance = np.linalg.norm(Y - X @ np.linalg.lstsq(X, Y, rcond=None)[0]) / np.linalg.norm(Y)
    with pytest.raises(ValueError, match=f"residual is {distance:.3g};"):
        minimum_norm_interpolation(X, Y, linear)
    for solver in ("auto", "cvxpy"):
        with pytest.raises(ValueError, match="more patterns"):
            minimum_norm_interpolation(X, Y, Architecture(**PLAIN), 2, solver=solver, random_state=0)


def test_limits(capsys):
    X, Y = data(2)
    with pytest.raises(RuntimeError, match="no exact fit was found in 1 steps"):
        minimum_norm_interpolation(X, Y, time_limit=1e-9, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"above tol=1.00e-17 \(scope \"global\"\)"):
        result = minimum_norm_interpolation(X, Y, arrangements="all", tol=1e-17, verbose=2)
    assert np.allclose(result.network.predict(X), Y[:, 0], rtol=1e-12)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1 + len(result.history)].startswith("Not solved to tol=1e-17: the solver was stopped for lack of")
    fields = "time mu residual scope objective lower_bound gap provisional"
    assert list(result.history[0]) == fields.split()
    assert result.history[0]["objective"] == np.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": Architecture("gated_relu")}, 'arrangements="adaptive" is for networks'),
        ({"architecture": Architecture(hidden_norm="l1")}, "arrangements must be given for hidden_norm='l1'"),
        ({"architecture": Architecture(patches=Patches((1, 2), 1, pooling="max"))}, 'pooling "sum" or "mean"'),
        ({"solver": "conic"}, 'solver must be "auto" for "adaptive"'),
        ({"arrangements": 5, "scope": "local"}, "scope='local'"),
        ({"solver": "fista"}, "solver must be one of"),
        ({"scope": "sampled"}, "scope must be one of"),
        ({"tol": 0.0}, "tol must be"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    X, Y = data(0)
    with pytest.raises(ValueError, match=message):
        minimum_norm_interpolation(X, Y, **arguments)


@pytest.mark.parametrize(("activation", "arrangements"), [("relu", "all"), ("relu", "adaptive"), ("gated_relu", 5)])
def test_several_outputs_with_weight_decay_are_refused(activation, arrangements):
    with pytest.raises(ValueError, match='output_penalty="l1" with several outputs'):
        minimum_norm_interpolation(*data(0, n_outputs=2), Architecture(activation), arrangements)


@pytest.mark.parametrize("arrangements", ["all", "adaptive"])
def test_rows_of_both_signs_that_cannot_be_fitted_are_said(arrangements):
    """(t)_+ - (-t)_+ = t, and three linear functions of two coordinates are dependent."""
    X, y = [[1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [-1, -1]], [1, 0, 1, 0, 5, 0]
    plain = Architecture(hidden_bias="none", fit_intercept=False)
    with pytest.raises(ValueError, match=r"smallest relative residual is 0[.]236"):
        minimum_norm_interpolation(X, y, plain, arrangements)
