"""What is proved where columns are nearly dependent: against exact rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from attacks import attack
from exact_networks import rational
from sklearn.exceptions import ConvergenceWarning

from convexnn import Architecture, ConvexReLURegressor, Network
from convexnn.model import build_program
from convexnn.model.rounding import FreeColumns
from convexnn.utils.exact import exact_products

ULP = 2.0**-52


@pytest.mark.parametrize("seed", range(2000, 2020))
def test_no_network_is_below_a_proved_bound(seed):
    attack(seed, time_limit=1.0)


@pytest.mark.parametrize("seed", range(5))
def test_products_are_rounded_once(seed):
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((30, 2)), rng.standard_normal((30, 3)) * 10.0 ** rng.integers(-200, 200)
    B[:15] = -B[15:] * (A[15:, :1] / A[:15, :1])  # sums that cancel
    a, b = rational(A), rational(B)
    exact = [[float(sum(x[i] * z[j] for x, z in zip(a, b, strict=True))) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(exact_products(A, B), exact, rtol=1e-15)


def test_columns_that_depend_exactly_are_told_from_those_that_do_nearly():
    rng = np.random.default_rng(0)
    F = rng.integers(-9, 10, (40, 3)) / 8.0
    exact = np.column_stack([np.ones(40), F, F @ [1.0, -2.0, 4.0] + 0.5, 1e8 * F[:, 0]])
    assert FreeColumns(exact).resolved
    for column in range(6):
        near = exact.copy()
        near[3, column] *= 1 + ULP
        near[3, column] += ULP * (near[3, column] == 0)
        assert not FreeColumns(near).resolved
    onehot = np.eye(4)[rng.integers(0, 4, 40)]
    assert FreeColumns(np.column_stack([np.ones(40), onehot])).resolved
    assert FreeColumns(np.zeros((5, 2))).resolved
    assert FreeColumns(np.zeros((5, 0))).resolved


@pytest.mark.parametrize("noise", [1e-3, 1e-7, 1e-10, 1e-12])
def test_an_exactly_feasible_dual_vector_is_near(noise):
    """It is orthogonal to columns that are nearly one, and to their difference, but for a small part of the change."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(20)
    F = np.column_stack([np.ones(20), x, x + noise * rng.standard_normal(20)])
    program = build_program(F[:, 1:], rng.standard_normal(20), 0.1, "adaptive", Architecture(skip=True))
    V = program.project_dual(rng.standard_normal((20, 1)))
    change = FreeColumns(F).correction(V, np.full((20, 1), -np.inf), np.full((20, 1), np.inf))
    assert np.linalg.norm(change) <= 1e-11 * np.linalg.norm(V)
    near = [v + dv for v, dv in zip(rational(V[:, 0]), rational(change[:, 0]), strict=True)]
    columns = [rational(column) for column in F.T]
    columns.append([(b - a) / Fraction(noise) for a, b in zip(columns[1], columns[2], strict=True)])
    for column in columns:
        left = float(sum(map(Fraction.__mul__, near, column)))
        assert abs(left) <= 0.01 * np.linalg.norm(change) + 1e-30


@pytest.mark.parametrize("arrangements", ["adaptive", "all"])
def test_nothing_is_proved_where_huge_weights_of_the_skip_fit_the_data(arrangements):
    n, rng = 60, np.random.default_rng(4)
    k = rng.integers(0, 9, n).astype(float)
    X = np.column_stack([np.full(n, 3.0), 3.0 + k * 2.0 * ULP])
    other = Network(
        np.zeros((2, 0)), np.zeros(0), np.zeros((0, 1)), np.zeros(1), skip=np.array([[-0.5 / ULP], [0.5 / ULP]])
    )
    assert other.objective(X, k, 0.1) == 0.0
    model = ConvexReLURegressor(alpha=0.1, skip=True, arrangements=arrangements).fit(X, k)
    assert model.certificate_.scope != "global"
    assert model.certificate_.proved_bound == 0.0


def test_columns_that_agree_exactly_are_proved():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((30, 1))
    X, y = np.hstack([x, 2 * x, np.abs(x)]), np.abs(x[:, 0] - 0.5)
    model = ConvexReLURegressor(alpha=0.1, skip=True, scope="global", random_state=0).fit(X, y)
    assert model.status_ == "solved"
    assert model.certificate_.scope == "global"


def test_an_objective_of_weights_that_cancel_is_known_to_its_rounding():
    x = np.arange(12.0)
    X = np.column_stack([x, x + 1e-9 * (x % 3)])
    with pytest.warns(ConvergenceWarning):
        model = ConvexReLURegressor(alpha=0.1, skip=True, max_iter=3, random_state=0).fit(X, (x % 3) + 0.1 * (x % 2))
    certificate = model.certificate_
    assert certificate.rounding > 1e-12 * certificate.objective
    assert certificate.gap >= certificate.rounding / certificate.objective


def test_no_column_of_many_samples_takes_no_memory_of_their_square():
    V = np.ones((200_000, 1))  # whose square has 320 GB
    columns = FreeColumns(np.zeros((len(V), 0)))
    np.testing.assert_array_equal(columns.correction(V, np.full(V.shape, -np.inf), np.full(V.shape, np.inf)), 0.0)


@pytest.mark.parametrize("d", [1, 3, 12])
def test_dependence_is_exact(d):
    """Sums of columns of integers, one-hot columns and an intercept, multiples; and the same but for one bit."""
    rng = np.random.default_rng(d)
    integers = rng.integers(-9, 10, (40, d)).astype(float)
    reals = rng.standard_normal((40, d))
    for columns in (
        np.column_stack([integers, integers @ rng.integers(1, 4, d)]),
        np.column_stack([np.ones(40), np.eye(d + 1)[np.arange(40) % (d + 1)]]),
        np.column_stack([reals, -4.0 * reals[:, 0]]),
        np.column_stack([np.zeros(40), reals]),
    ):
        assert FreeColumns(columns).resolved
        moved = columns.copy()
        moved[:, -1] = np.nextafter(moved[:, -1], np.where(rng.random(40) < 0.5, np.inf, -np.inf))
        if d > 1 and columns[:, 0].any():
            assert not FreeColumns(moved).resolved


def test_samples_of_small_weight_count():
    """Their residuals are no rounding beside a sample of much weight that is fitted."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((8, 2)), rng.standard_normal(8)
    model = ConvexReLURegressor(alpha=1e-3, max_iter=1, random_state=0).fit(X, y, np.r_[1e30, np.ones(7)])
    assert model.n_neurons_ > 0
    assert model.alpha_max_ > 0.0


@pytest.mark.parametrize("unit", [1.0, 2.0**-530, 2.0**500])
def test_multiples_are_told_from_others_in_every_unit(unit):
    rng = np.random.default_rng(0)
    a = rng.standard_normal(6)
    b = 3.0 * a
    assert FreeColumns(np.column_stack([a, 2.0 * a]) * unit).resolved
    b[2] = np.nextafter(b[2], np.inf)
    assert not FreeColumns(np.column_stack([a, b]) * unit).resolved
