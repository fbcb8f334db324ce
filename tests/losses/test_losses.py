"""Losses: one checker over all, and the cases that random data do not reach."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from checks import check_best_scale, check_loss
from own_losses import Exponential, LogCosh, PseudoHuber
from scipy.optimize import linprog

from convexnn import Architecture
from convexnn.losses import LOSSES, Absolute, Huber, Logistic, Loss, Quantile, Softmax, Squared, make_loss
from convexnn.model import build_program
from convexnn.solvers import solve_generation, solve_reference, solve_working_set

LABELLED = ("log_loss", "hinge", "squared_hinge")


def targets(name, n, rng):
    if name in LABELLED:
        return np.where(np.arange(n) % 3 == 0, -1.0, 1.0)[rng.permutation(n), None]
    if name == "softmax":
        return np.eye(3)[np.arange(n) % 3][rng.permutation(n)]
    return rng.standard_normal((n, 2))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, weighted):
    rng = np.random.default_rng(int(weighted))
    weights = rng.uniform(0.2, 3.0, 13) if weighted else None
    check_loss(make_loss(name, weights, delta=0.6, quantile=0.3), targets(name, 13, rng), rng)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", [LogCosh, PseudoHuber])
def test_losses_of_ones_own(kind, weighted):
    rng = np.random.default_rng(0)
    check_loss(kind(sample_weight=rng.uniform(0.2, 3.0, 13) if weighted else None), targets("huber", 13, rng), rng)


@pytest.mark.parametrize("loss", [LogCosh(), PseudoHuber(), Logistic()])
def test_conjugates_without_a_closed_form_follow_from_fenchels_equality(loss):
    rng = np.random.default_rng(0)
    Y = targets("log_loss" if isinstance(loss, Logistic) else "huber", 13, rng)
    S = loss.phi_grad(Y, 3.0 * rng.standard_normal(Y.shape))
    assert np.allclose(Loss.phi_conjugate(loss, Y, S), loss.phi_conjugate(Y, S), atol=1e-12)
    edge = np.where(S > 0, *loss.slope_bounds(Y)[::-1])
    assert (Loss.phi_conjugate(loss, Y, edge) == np.inf).all()  # predictions are infinite there


def test_a_loss_of_ones_own_is_solved_as_by_cvxpy():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((12, 2)), 2.0 * rng.standard_normal(12)
    program = build_program(X, y, 0.3, "all", loss=LogCosh(sample_weight=rng.uniform(0.5, 2.0, 12)))
    best = solve_generation(build_program(X, y, 0.3, "adaptive", loss=program.loss), tol=1e-8, random_state=0)
    assert best.certificate.scope == "global"
    given = solve_working_set(program, tol=1e-9)
    for solution in (best, given):
        reference = solve_reference(program).certificate.objective
        assert solution.certificate.objective == pytest.approx(reference, rel=1e-6)


def test_scales_of_unbounded_duals_are_found():
    """D(t V) = sum q - q log q, q = t w, for exp(-y z) and V = y w: the best t has sum w log(t w) = 0."""
    Y, w = np.array([[1.0], [-1.0]]), np.array([[2.0], [0.5]])
    assert Exponential().best_scale(Y, Y * w, np.inf) == pytest.approx(np.exp(-np.sum(w * np.log(w)) / w.sum()))
    assert Exponential().best_scale(Y, Y * w, 0.1) == pytest.approx(0.1)
    assert Exponential().conjugate(Y, Y * w) == np.inf


def test_what_a_loss_must_define_is_named():
    Y = np.zeros((3, 1))
    for method, call in (
        ("phi", lambda loss: loss.value(Y, 0.0)),
        ("phi_grad", lambda loss: loss.grad(Y, 0.0)),
        ("phi_hess", lambda loss: loss.curvature(Y, 0.0)),
        ("phi_grad_inverse", lambda loss: loss.conjugate(Y, Y)),
        ("phi_cvxpy", lambda loss: loss.to_cvxpy(Y, Y)),
    ):
        with pytest.raises(NotImplementedError, match=rf"Loss must define {method}\("):
            call(Loss())
    with pytest.raises(TypeError, match=r"loss must be a Loss of convexnn.losses or None; got 'huber'"):
        build_program(np.ones((3, 1)), Y, 1.0, "all", loss="huber")


def test_the_squared_loss_is_that_of_the_formula_to_the_last_bit():
    rng = np.random.default_rng(0)
    Y, Z, T = rng.standard_normal((3, 50, 1))
    assert Squared().value(Y, Z) == 0.5 * float(np.sum((Z - Y) ** 2))
    assert np.array_equal(Squared().grad(Y, Z), Z - Y)
    assert Squared().conjugate(Y, T) == float(np.sum(T * Y) + 0.5 * np.sum(T * T))
    assert Squared().best_scale(Y, T, 1e9) == float(np.sum(Y * T) / np.sum(T * T))
    assert Squared().smoothness == 1.0


@pytest.mark.parametrize("name", LOSSES)
def test_weights_are_repetitions(name):
    """A sample of weight 3 is one that occurs three times."""
    rng = np.random.default_rng(0)
    weights = np.array([1.0, 3.0, 2.0, 1.0, 1.0, 2.0, 1.0])
    rows = np.repeat(np.arange(7), weights.astype(int))
    Y = targets(name, 7, rng)
    Z = rng.standard_normal(Y.shape)
    V = make_loss(name).project_dual(Y, rng.standard_normal(Y.shape), Y[:, :0])
    single, weighted = make_loss(name), make_loss(name, weights)
    scaled = weights[:, None] * V
    assert weighted.value(Y, Z) == pytest.approx(single.value(Y[rows], Z[rows]))
    assert weighted.conjugate(Y, -scaled) == pytest.approx(single.conjugate(Y[rows], -V[rows]))
    assert weighted.best_scale(Y, scaled, 5.0) == pytest.approx(single.best_scale(Y[rows], V[rows], 5.0))
    basis = np.linalg.qr(rng.standard_normal((7, 2)))[0]
    fit = basis @ weighted.fit_free(Y, basis)
    q = np.linalg.qr(basis[rows])[0]
    repeated = q @ single.fit_free(Y[rows], q)
    assert single.value(Y[rows], fit[rows]) == pytest.approx(single.value(Y[rows], repeated), rel=1e-9)


@pytest.mark.parametrize("name", LABELLED)
def test_one_label_leaves_no_dual_vector_with_a_bias(name):
    """1'V = 0 and Y V >= 0 leave V = 0 where all labels are equal; the fit of the bias is finite and nearly exact."""
    rng = np.random.default_rng(0)
    Y, basis = np.ones((20, 1)), np.full((20, 1), 20**-0.5)
    loss = make_loss(name)
    assert not loss.project_dual(Y, rng.standard_normal(Y.shape), basis).any()
    beta = loss.fit_free(Y, basis)
    assert np.isfinite(beta).all()
    assert loss.value(Y, basis @ beta) <= 1e-9 * loss.value(Y, 0.0)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("kind", ["integers", "far", "saturated", "tiny", "all directions"])
def test_projections_are_dual_vectors_on_hard_data(name, kind):
    """Ties, faces without a free coordinate, vectors far outside the domain: feasible to rounding all the same."""
    rng = np.random.default_rng(0)
    for trial in range(4):
        n = int(rng.integers(5, 40))
        columns = np.column_stack([np.ones(n), rng.integers(-1, 2, (n, 3))])
        if kind == "all directions":
            columns = np.eye(n)
        U, s, _ = np.linalg.svd(columns, full_matrices=False)
        basis = U[:, s > 1e-10 * s[0]]
        loss = make_loss(name, 10.0 ** rng.uniform(-2, 2, n) if trial % 2 else None)
        Y = targets(name, n, rng)
        V = {"far": 1e3, "tiny": 1e-8}.get(kind, 1.0) * rng.standard_normal(Y.shape)
        if kind == "saturated":
            V = -loss.grad(Y, 30.0 * V)
        P = loss.project_dual(Y, V, basis)
        assert np.linalg.norm(basis.T @ P) <= 1.01e-13 * np.linalg.norm(P)
        assert np.isfinite(loss.conjugate(Y, -P))
        if kind == "all directions":
            assert not P.any()
        check_best_scale(loss, Y, P)
        again = loss.project_dual(Y, P, basis)
        assert np.linalg.norm(again - P) <= 1e-10 * np.linalg.norm(V)
        # nearest: the angle to every other dual vector is obtuse
        if kind in ("integers", "tiny"):
            Q = loss.project_dual(Y, rng.standard_normal(Y.shape), basis)
            assert np.sum((V - P) * (Q - P)) <= 1e-9 * np.linalg.norm(V) * np.linalg.norm(Q - P) + 1e-12 * np.sum(V**2)


@pytest.mark.parametrize("name", LOSSES)
def test_vectors_that_are_no_numbers_project_to_zero(name):
    Y = targets(name, 9, np.random.default_rng(0))
    V = np.full(Y.shape, np.nan)
    for basis in (np.full((9, 1), 1 / 3), np.zeros((9, 0))):
        assert not make_loss(name).project_dual(Y, V, basis).any()


def test_infeasible_vectors_have_the_scale_zero():
    rng = np.random.default_rng(0)
    for name in ("log_loss", "hinge", "squared_hinge", "softmax"):
        Y = targets(name, 12, rng)
        V = rng.standard_normal(Y.shape)
        assert make_loss(name).best_scale(Y, V, np.inf) == 0.0


@pytest.mark.parametrize("delta", [1e-4, 1e-2, 1.0, 1e3])
def test_huber_fits_of_any_width_are_stationary(delta):
    rng = np.random.default_rng(0)
    Y, basis = rng.standard_cauchy((60, 1)), np.linalg.qr(rng.standard_normal((60, 5)))[0]
    loss = Huber(delta, sample_weight=10.0 ** rng.uniform(-1, 1, 60))
    gradient = loss.grad(Y, basis @ loss.fit_free(Y, basis))
    assert np.linalg.norm(basis.T @ gradient) <= 1e-9 * np.linalg.norm(gradient)


@pytest.mark.parametrize("offset", [0.0, 20.0])
def test_newton_fits_of_classes_reach_the_minimum(offset):
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(np.column_stack([np.ones(60), rng.standard_normal((60, 3))]))[0]
    for name in ("log_loss", "squared_hinge", "softmax"):
        loss, Y = make_loss(name), targets(name, 60, rng)
        shift = offset * rng.standard_normal(Y.shape)
        gradient = basis.T @ loss.grad(Y, shift + basis @ loss.fit_free(Y, basis, shift))
        assert np.linalg.norm(gradient) <= 1e-11 * np.linalg.norm(loss.grad(Y, shift))


@pytest.mark.parametrize("far", [1e-4, 1e-9, 1e-14])
def test_conjugates_keep_their_digits_where_the_loss_is_small(far):
    """A label of probability 1 - far: (1 - far) log(1 - far) + far log far, in 40 digits."""
    with localcontext(prec=40):
        small = Decimal(far)
        expected = float((1 - small) * (1 - small).ln() + small * small.ln())
    assert Logistic().conjugate(np.ones((1, 1)), np.full((1, 1), -far)) == pytest.approx(expected, rel=1e-15)
    label, move = np.array([[1.0, 0.0, 0.0]]), np.array([[-far, far, 0.0]])
    assert Softmax().conjugate(label, move) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("name", ["log_loss", "softmax"])
@pytest.mark.parametrize("rare", [1e-3, 1e-9, 1e-12, 1e-18])
def test_constants_of_rare_classes_reach_the_entropy(name, rare):
    """The best constant has the shares of the classes; what columns separate tends to 0, whatever the weights."""
    weights = 1e8 * np.append(np.ones(5), rare)
    labels = np.append(np.ones(5), -1.0)[:, None] if name == "log_loss" else np.eye(2)[[0] * 5 + [1]]
    loss, X = make_loss(name, weights), np.column_stack([np.ones(6), np.arange(6.0)])
    entropy = 1e8 * (rare * np.log1p(5 / rare) + 5 * np.log1p(rare / 5))
    for columns, lowest, highest in ((1, 1 - 1e-12, 1 + 1e-12), (2, 0.0, 1e-10)):
        basis = np.linalg.qr(X[:, :columns])[0]
        value = loss.value(labels, basis @ loss.fit_free(labels, basis))
        assert lowest * entropy <= value <= highest * entropy
        fitted = build_program(X[:, 1:], labels, 1.0, 3, Architecture(skip=columns == 2), 0, loss)
        assert fitted.separated == (columns == 2)


def test_quantile_fits_along_a_column_are_weighted_quantiles():
    rng = np.random.default_rng(0)
    Y, column = rng.standard_normal((101, 1)), np.full((101, 1), 101**-0.5)
    for tau in (0.1, 0.37, 0.9):
        fit = column @ Quantile(tau).fit_free(Y, column)
        assert np.allclose(fit, np.quantile(Y, tau, method="inverted_cdf"))
    assert np.allclose(column @ Absolute().fit_free(Y, column), np.median(Y))
    even, column = Y[:100], np.full((100, 1), 0.1)
    assert np.allclose(column @ Absolute().fit_free(even, column), np.median(even))  # the middle of the minimisers


def test_absolute_fits_of_more_columns_solve_the_linear_program():
    rng = np.random.default_rng(0)
    Y, basis = 1e6 * rng.standard_normal((40, 1)), np.linalg.qr(rng.standard_normal((40, 4)))[0]
    A = np.block([[basis, -np.eye(40)], [-basis, -np.eye(40)]])
    cost, b = np.r_[np.zeros(4), np.ones(40)], np.r_[Y[:, 0], -Y[:, 0]]
    optimum = linprog(cost, A_ub=A, b_ub=b, bounds=(None, None)).fun
    value = Absolute().value(Y, basis @ Absolute().fit_free(Y, basis))
    assert value == pytest.approx(optimum, rel=1e-9)
    assert value <= optimum * (1 + 1e-12)


def test_values_stay_finite_far_out():
    Y = np.array([[1.0], [-1.0]])
    for name in LABELLED:
        loss, Z = make_loss(name), np.array([[-1e4], [1e4]])
        assert np.isfinite(loss.value(Y, Z))
        assert np.isfinite(loss.grad(Y, Z)).all()
        assert np.isfinite(loss.curvature(Y, Z)).all()
        assert loss.value(Y, -Z) == 0.0
    loss, Y, Z = make_loss("softmax"), np.eye(2), np.array([[-1e4, 1e4], [1e4, -1e4]])
    assert loss.value(Y, Z) == 4e4
    assert loss.value(Y, -Z) == 0.0
    assert np.isfinite(loss.curvature_root(Y, Z)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "mse"}, "name must be one of 'squared_error'"),
        ({"name": "interpolation"}, "minimum_norm_interpolation"),
        ({"name": "huber", "delta": 0.0}, "delta must be a finite number above 0; got 0.0"),
        ({"name": "quantile", "quantile": 1.0}, "quantile must be a number above 0 and below 1; got 1.0"),
        ({"name": "quantile", "quantile": -0.5}, "quantile must be a finite number above 0; got -0.5"),
        (
            {"name": "squared_error", "sample_weight": [1.0, 0.0]},
            "sample_weight must be a vector of finite numbers above 0",
        ),
        (
            {"name": "squared_error", "sample_weight": [[1.0]]},
            "sample_weight must be a vector of finite numbers above 0",
        ),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_loss(**arguments)


def test_losses_by_name():
    assert all(issubclass(kind, Loss) for kind in LOSSES.values())
    assert make_loss("huber", delta=2).delta == 2.0
    assert make_loss("quantile", [1, 2], quantile=0.2).quantile == 0.2
    assert Huber(2.0).delta == 2.0
    assert Squared().sample_weight is None


@pytest.mark.parametrize("loss", ["hinge", "absolute_error", "quantile"])
def test_free_fits_of_weights_many_orders_apart(loss):
    """Hundreds of small linear programs, some called unbounded at first; to a part 1e-10 of the weights."""
    for seed in range(150):
        rng = np.random.default_rng(seed)
        n, d = int(rng.integers(4, 13)), int(rng.integers(1, 4))
        basis = np.linalg.qr(np.column_stack([np.ones(n), rng.standard_normal((n, d))]))[0]
        Y = np.where(rng.random((n, 1)) < 0.3, 1.0, -1.0) if loss == "hinge" else rng.standard_normal((n, 1))
        weights = 10.0 ** rng.uniform(-9, 9, n)
        own = make_loss(loss, weights)
        beta = own.fit_free(Y, basis)
        value = own.value(Y, basis @ beta)
        for size in (1e-6, 1e-2, 1.0):
            for change in size * rng.standard_normal((20, *beta.shape)):
                assert value <= own.value(Y, basis @ (beta + change)) * (1 + 1e-6) + 1e-10 * weights.sum()
