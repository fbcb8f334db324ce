from itertools import product
from math import comb

import numpy as np
import pytest
from exact import count_cells
from scipy.linalg import block_diag
from scipy.optimize import linprog

from convexnn import ConvexReLURegressor
from convexnn.geometry.arrangements import (
    Arrangements,
    count_arrangements,
    enumerate_arrangements,
    resolve_arrangements,
    sample_arrangements,
    unique_bits,
)
from convexnn.geometry.enumeration import distinct_walls

HAND = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]])


def as_set(arrangements):
    return set(map(tuple, arrangements.patterns().astype(int).tolist()))


def brute_force_cells(X):
    """Every sign vector that a linear program finds a gate for; a zero row is on neither side, 1[0 >= 0] = 1."""
    X = np.asarray(X, float)
    rows = np.flatnonzero(np.abs(X).max(axis=1) > 0)
    cells = set()
    for signs in product((1.0, -1.0), repeat=len(rows)):
        A = -np.array(signs)[:, None] * X[rows]
        bounds = [(None, None)] * X.shape[1]
        if len(rows) == 0 or linprog(np.zeros(X.shape[1]), A_ub=A, b_ub=-np.ones(len(rows)), bounds=bounds).status == 0:
            pattern = np.ones(len(X), int)
            pattern[rows] = np.array(signs) > 0
            cells.add(tuple(pattern.tolist()))
    return cells


def equilibrated(X):
    """Rows, columns and rows again scaled to 1: the cells are the same, and the linear programs well scaled."""
    for axis in (1, 0, 1):
        X = X / np.maximum(np.abs(X).max(axis=axis, keepdims=True), 1e-200)
    return X


def check_gates_inside(X, arrangements):
    """Each gate gives its pattern, and no wall passes through it."""
    products = arrangements.gates @ np.asarray(X, float).T
    assert np.array_equal(products >= 0, arrangements.patterns())
    rounding = np.abs(arrangements.gates) @ np.abs(X).T
    assert (np.abs(products) >= 1e-12 * rounding).all()
    assert (np.abs(products)[rounding > 0] > 0).all()


def test_hand_case_has_four_cells():
    arrangements = enumerate_arrangements(HAND)
    assert as_set(arrangements) == {(1, 1, 1), (1, 1, 0), (0, 0, 0), (0, 0, 1)}
    assert arrangements.complete
    check_gates_inside(HAND, arrangements)


@pytest.mark.parametrize("rank", range(1, 6))
@pytest.mark.parametrize("n_samples", range(1, 13))
def test_generic_rows_have_covers_count(n_samples, rank):
    X = np.random.default_rng([n_samples, rank]).standard_normal((n_samples, rank))
    arrangements = enumerate_arrangements(X)
    r = min(n_samples, rank)
    assert len(arrangements) == len(as_set(arrangements)) == 2 * sum(comb(n_samples - 1, k) for k in range(r))
    assert len(arrangements) == count_arrangements(n_samples, r)
    check_gates_inside(X, arrangements)


GRID = np.array(list(product((-1.0, 0.0, 1.0), repeat=2)))
RNG = np.random.default_rng(7)
GENERIC = RNG.standard_normal((6, 3))
DEGENERATE = {
    "duplicates": np.vstack([GENERIC, GENERIC[:3]]),
    "opposites": np.vstack([GENERIC, -GENERIC[:2], -3 * GENERIC[2:3]]),
    "scaled": GENERIC * 10.0 ** np.arange(-150, 150, 50)[:, None],
    "zero rows": np.vstack([np.zeros((1, 3)), GENERIC, np.zeros((2, 3))]),
    "grid with bias": np.column_stack([GRID, np.ones(9)]),
    "grid without bias": GRID,
    "cube": np.array(list(product((-1.0, 1.0), repeat=3))),
    "binary with bias": np.column_stack([np.array(list(product((0.0, 1.0), repeat=3))), np.ones(8)]),
    "coplanar": np.vstack([GENERIC[:4] @ np.diag([1, 1, 0]), GENERIC[4:]]),
    "many through one line": np.column_stack([RNG.standard_normal((5, 2)), np.zeros(5), RNG.integers(0, 2, 5)]),
    "rank deficient": RNG.standard_normal((8, 2)) @ RNG.standard_normal((2, 5)),
    "rank deficient integers": np.array([[1, 2, 3], [2, 4, 6], [1, 0, 1], [0, 2, 2], [3, 2, 5]]),
    "X = 0": np.zeros((3, 2)),
    "one sample": np.array([[1.0, -2.0, 0.5]]),
    "one zero sample": np.zeros((1, 1)),
    "one feature": np.array([[1.0], [-2.0], [0.0], [3.0]]),
    "one feature with bias": np.column_stack([[3.0, 1.0, 1.0, -2.0, 0.0], np.ones(5)]),
    "more features than samples": RNG.standard_normal((4, 9)),
    "huge and tiny": np.column_stack([RNG.standard_normal((7, 2)) * [1e6, 1e-3], np.ones(7)]),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_rows_agree_with_linear_programs(name):
    X = DEGENERATE[name]
    arrangements = enumerate_arrangements(X)
    assert as_set(arrangements) == brute_force_cells(equilibrated(X))
    assert len(arrangements) == len(as_set(arrangements))
    check_gates_inside(X, arrangements)


@pytest.mark.parametrize("seed", range(25))
def test_random_integer_rows_agree_with_linear_programs(seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(-1, 2, (rng.integers(1, 9), rng.integers(1, 5)))
    assert as_set(enumerate_arrangements(X)) == brute_force_cells(X)


def nearly_coplanar(digits):
    """Integer rows of which one is off the plane of two others by 10^-digits."""
    rows = np.random.default_rng(digits).integers(-5, 6, (9, 4)) * 10**digits
    rows[2] = rows[0] + rows[1]
    rows[2, 0] += 1
    return rows


INTEGERS = {
    **{
        f"offset {m}": np.column_stack([m + np.arange(12) ** 2 % 30, np.ones(12, int)])
        for m in (0, 10**4, 1_700_000_000)
    },
    "years and months": np.column_stack([np.arange(2000, 2014), np.arange(14) % 5, np.ones(14, int)]),
    "grid far away": np.array([[10**6 + i, 10**6 + j, 1] for i in range(4) for j in range(4)]),
    "units": np.random.default_rng(0).integers(-9, 10, (12, 3)) * [1, 10**6, 10**9],
    "pairs": np.vstack([[[10**8, k, 1], [10**8, k, 2]] for k in range(5)]),
    **{f"coplanar to 1e-{digits}": nearly_coplanar(digits) for digits in (3, 5, 7, 9, 11)},
}


@pytest.mark.filterwarnings("ignore:some walls of the arrangement")
@pytest.mark.parametrize("name", INTEGERS)
def test_cells_of_integers_are_all_there_or_not_called_complete(name):
    X = INTEGERS[name]
    exact = count_cells(X)
    arrangements = enumerate_arrangements(X)
    assert len(arrangements) <= exact
    assert arrangements.complete == (len(arrangements) == exact)
    assert arrangements.complete == (name not in {"coplanar to 1e-9", "coplanar to 1e-11"})
    check_gates_inside(X, arrangements)


def test_thin_cells_are_warned_of():
    with pytest.warns(UserWarning, match="not marked complete"):
        arrangements = enumerate_arrangements(np.array([[1.0, 0.0], [1.0, 1e-10], [0.0, 1.0]]))
    assert not arrangements.complete


def test_patterns_of_other_data_are_refused():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((8, 2))
    arrangements = enumerate_arrangements(X)
    assert resolve_arrangements(X, arrangements) is arrangements
    with pytest.raises(ValueError, match="made for other data"):
        resolve_arrangements(rng.standard_normal((8, 2)), arrangements)


def test_gates_on_walls_fit_their_own_data():
    """The side of a sample on a wall is rounding, which may differ with the batch: no ground to refuse the patterns."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        X = rng.integers(-9, 10, (30, 3)) / 10
        gates = np.cross(X, np.roll(X, 1, axis=0))
        arrangements = Arrangements.from_gates(X, gates)
        flipped = Arrangements(arrangements.bits.copy(), arrangements.gates, 30)
        terms = np.abs(arrangements.gates) @ np.abs(X).T
        on_wall = np.argwhere((np.abs(arrangements.gates @ X.T) < 1e-14 * terms) & (terms > 0))
        for pattern, sample in on_wall:
            flipped.bits[pattern, sample // 8] ^= 128 >> sample % 8
        assert len(on_wall) > 0
        assert resolve_arrangements(X, arrangements) is arrangements
        assert resolve_arrangements(X, flipped) is flipped


def test_too_many_cells_raise_before_any_work():
    X = np.random.default_rng(0).standard_normal((100_000, 20))
    with pytest.raises(ValueError, match=r"up to [\d,]+ cells \(100,000 distinct walls of rank 20\).*max_arrangements"):
        enumerate_arrangements(X)
    X = np.random.default_rng(0).standard_normal((10, 3))
    assert len(enumerate_arrangements(X, max_arrangements=92)) == 92
    with pytest.raises(ValueError, match=r"up to 92 cells"):
        enumerate_arrangements(X, max_arrangements=91)


def test_count_is_an_integer_of_any_size():
    assert count_arrangements(0, 0) == 1
    assert count_arrangements(3, 0) == 1
    assert count_arrangements(1, 1) == 2
    assert count_arrangements(50, 5) == 463_052
    assert count_arrangements(1000, 1000) == 2**1000
    for bad in [(-1, 0), (2.5, 1), (3, 4), (True, 1)]:
        with pytest.raises(ValueError, match=r"n_samples|rank"):
            count_arrangements(*bad)


def test_larger_enumerations_keep_every_cell():
    X = np.random.default_rng(3).standard_normal((60, 4))
    arrangements = enumerate_arrangements(X)
    assert len(arrangements) == count_arrangements(60, 4)
    check_gates_inside(X, arrangements)


def test_samples_are_distinct_cells():
    X = np.random.default_rng(0).standard_normal((12, 3))
    arrangements = sample_arrangements(X, 40, random_state=0)
    assert len(arrangements) == 40
    assert not arrangements.complete
    assert as_set(arrangements) < as_set(enumerate_arrangements(X))
    check_gates_inside(X, arrangements)
    again = sample_arrangements(X, 40, random_state=0)
    assert np.array_equal(arrangements.bits, again.bits)
    assert not np.array_equal(arrangements.bits, sample_arrangements(X, 40, random_state=1).bits)


def test_sampling_as_many_as_there_are_enumerates():
    arrangements = sample_arrangements(HAND, 6, random_state=0)
    assert arrangements.complete
    assert len(arrangements) == 4


def test_sampling_warns_when_it_finds_no_more():
    X = np.random.default_rng(0).standard_normal((30, 2)) * [1e-7, 0] + [0, 1.0]  # walls within 1e-7 of one another
    with pytest.warns(UserWarning, match="n_arrangements=50"):
        arrangements = sample_arrangements(X, 50, random_state=0)
    assert 0 < len(arrangements) < 50
    assert not arrangements.complete


def test_patterns_are_bits():
    X = np.random.default_rng(0).standard_normal((1000, 6))
    arrangements = sample_arrangements(X, 30, random_state=0)
    assert arrangements.bits.nbytes == 30 * 125
    assert np.array_equal(arrangements.patterns([3, 5]), arrangements.patterns()[[3, 5]])


def test_from_gates_keeps_the_first_gate_of_a_pattern():
    arrangements = Arrangements.from_gates(HAND, [[1, 1], [2, 2.5], [-1, -1]])
    assert arrangements.gates.tolist() == [[1, 1], [-1, -1]]
    with pytest.raises(ValueError, match=r"gates must have one column.*\(n_gates, 2\)"):
        Arrangements.from_gates(HAND, np.ones((4, 3)))
    with pytest.raises(ValueError, match="gates contains NaN"):
        Arrangements.from_gates(HAND, [[np.nan, 1]])


@pytest.mark.parametrize("bad", [[[np.nan, 1.0]], [[np.inf, 1.0]], np.empty((0, 2)), np.empty((3, 0)), [1.0, 2.0]])
def test_bad_rows_raise(bad):
    with pytest.raises(ValueError, match=r"X|sample|feature|array"):
        enumerate_arrangements(bad)
    with pytest.raises(ValueError, match=r"X|sample|feature|array"):
        sample_arrangements(bad, 3)


@pytest.mark.parametrize("bad", [0, -1, 2.5, "many", True, None])
def test_bad_counts_raise(bad):
    with pytest.raises(ValueError, match="n_arrangements must be an integer"):
        sample_arrangements(HAND, bad)
    with pytest.raises(ValueError, match="max_arrangements must be an integer"):
        enumerate_arrangements(HAND, max_arrangements=bad)


@pytest.mark.parametrize(("n", "n_bytes"), [(0, 3), (1, 1), (60, 1), (60, 9), (40, 5000)])
def test_distinct_bits_are_those_of_numpy(n, n_bytes):
    rng = np.random.default_rng(n_bytes)
    bits = rng.integers(0, 256, (n, n_bytes), np.uint8)[rng.integers(0, max(1, n // 2), n)][:, ::-1]
    expected = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    for ours, theirs in zip(unique_bits(bits), expected, strict=True):
        assert np.array_equal(ours, np.reshape(theirs, np.shape(ours)))


def test_given_arrangements_are_complete_of_their_data_alone():
    """Patterns that other data have too: of data that were rounded, or with copies of a sample."""
    X = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    given = enumerate_arrangements(X)
    assert resolve_arrangements(X, given).complete
    X[3, 1] = 1.5
    assert not resolve_arrangements(X, given).complete
    assert len(enumerate_arrangements(X)) > len(given)


@pytest.mark.parametrize(
    ("activation", "hidden_bias"),
    [("relu", "penalized"), ("relu", "free"), ("relu", "none"), ("threshold", "penalized"), ("threshold", "none")],
)
def test_patterns_of_a_fit_are_those_of_the_next(activation, hidden_bias):
    """However many there may be, by the count of generic data: they are there already."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(-3, 4, (9, 2)).astype(float), rng.standard_normal(9)
    X[4] = X[2]
    options = {"alpha": 0.1, "activation": activation, "hidden_bias": hidden_bias, "random_state": 0}
    first = ConvexReLURegressor(arrangements="all", **options).fit(X, y)
    again = ConvexReLURegressor(arrangements=first.arrangements_, **options).fit(X, y)
    assert first.certificate_.scope == again.certificate_.scope == "global"
    assert again.certificate_.objective == first.certificate_.objective


def test_more_patterns_than_are_enumerated_unasked_can_be_given():
    X = block_diag(*np.random.default_rng(0).standard_normal((3, 13, 2)))
    with pytest.raises(ValueError, match="max_arrangements"):
        enumerate_arrangements(X)
    given = enumerate_arrangements(X, max_arrangements=10**8)
    assert len(given) == 26**3  # the cells of the product are products of cells
    assert resolve_arrangements(X, given) is given


@pytest.mark.parametrize("far", [1.0, 1e8])
def test_what_centring_rounds_away_is_charged(far):
    """Walls that a far sample makes one, by rounding of the others."""
    x = np.append(np.linspace(-8e-8, 8e-8, 9), far)
    walls = distinct_walls(np.column_stack([x, np.ones(10)]))
    assert walls.exact == (far == 1.0)
    assert walls.angle >= (0.0 if far == 1.0 else 1e-9)
