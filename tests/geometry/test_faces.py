"""All patterns 1[X u >= 0], on walls too, against linear programs for every pattern and rational arithmetic."""

import warnings
from fractions import Fraction
from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from scipy.optimize import linprog

from convexnn import Architecture, ConvexReLURegressor
from convexnn.geometry.arrangements import enumerate_arrangements, resolve_arrangements
from convexnn.geometry.faces import boundary_patterns
from convexnn.model import build_program


def as_set(arrangements):
    return set(map(tuple, arrangements.patterns().astype(int).tolist()))


def brute_force_patterns(X):
    """Every pattern that some u has: x.u >= 0 on its ones, and x.u < 0, that is <= -1 by scaling, on its zeros."""
    X = np.asarray(X, float)
    found = set()
    for pattern in product((0, 1), repeat=len(X)):
        ones = np.array(pattern, bool)
        A = np.where(ones[:, None], -X, X)
        if linprog(np.zeros(X.shape[1]), A_ub=A, b_ub=np.where(ones, 0.0, -1.0), bounds=(None, None)).status == 0:
            found.add(pattern)
    return found


def exact_faces(rows):
    """Sign vectors of integer rows at all faces, by composition of those of lines, in rational arithmetic.

    Every face of an essential arrangement is a composition of the signs at its rays (rows of full column rank).
    """
    rows = [[Fraction(int(x)) for x in row] for row in rows]
    rays = set()
    for chosen in combinations(rows, len(rows[0]) - 1):
        u = null_vector(chosen)
        if u is not None:
            signs = tuple(int(np.sign(sum(a * b for a, b in zip(row, u, strict=True)))) for row in rows)
            rays |= {signs, tuple(-s for s in signs)}
    faces, new = {(0,) * len(rows)}, {(0,) * len(rows)}
    while new:
        new = {tuple(a or b for a, b in zip(face, ray, strict=True)) for face in new for ray in rays} - faces
        faces |= new
    return faces


def null_vector(rows):
    """Return the vector that rows of rank one below their length are orthogonal to, by minors; None at lower rank."""
    rows = [list(row) for row in rows]
    d = len(rows) + 1
    u = [(-1) ** k * determinant([row[:k] + row[k + 1 :] for row in rows]) for k in range(d)]
    return u if any(u) else None


def determinant(rows):
    if not rows:
        return Fraction(1)
    first, *others = rows
    return sum((-1) ** k * x * determinant([r[:k] + r[k + 1 :] for r in others]) for k, x in enumerate(first) if x)


def check_patterns(X, arrangements):
    """Distinct patterns, among them all cells; each gate has its pattern, counting products up to rounding as zero."""
    X = np.asarray(X, float)
    assert len(as_set(arrangements)) == len(arrangements)
    cells = as_set(enumerate_arrangements(X))
    assert cells <= as_set(arrangements)
    assert resolve_arrangements(X, arrangements) is arrangements
    products = arrangements.gates @ X.T
    on_wall = np.abs(products) <= 1e-13 * (np.abs(arrangements.gates) @ np.abs(X).T)
    patterns = arrangements.patterns()
    assert np.array_equal((products > 0) | on_wall, patterns)
    inside = [pattern in cells for pattern in map(tuple, patterns.astype(int).tolist())]
    assert np.array_equal(inside, ~on_wall[:, X.any(axis=1)].any(axis=1))


RNG = np.random.default_rng(7)
GENERIC = RNG.standard_normal((6, 3))
GRID = np.array(list(product((-1.0, 0.0, 1.0), repeat=2)))
SQUARE = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
CASES = {
    "generic": GENERIC,
    "generic in the plane": RNG.standard_normal((6, 2)),
    "generic in four dimensions": RNG.standard_normal((6, 4)),
    "half space": np.abs(GENERIC),
    "duplicates": np.vstack([GENERIC[:5], GENERIC[:3]]),
    "opposites": np.vstack([GENERIC[:5], -GENERIC[:2], -4 * GENERIC[2:3]]),
    "opposites in four dimensions": np.vstack([M := RNG.standard_normal((5, 4)), -M[:3]]),
    "opposites alone": np.vstack([GENERIC[:3], -GENERIC[:3]]),
    "zero rows": np.vstack([np.zeros((1, 3)), GENERIC[:5], -GENERIC[:1], np.zeros((1, 3))]),
    "collinear": np.array([[1.0], [-2.0], [0.0], [3.0], [1.0]]),
    "collinear in the plane": np.outer([1.0, -2.0, 0.5, 0.0], [0.3, -0.7]),
    "grid": np.delete(GRID, 4, axis=0),
    "grid with ones": np.column_stack([GRID[:8], np.ones(8)]),
    "signed ones": np.column_stack([GRID[:8], [1, 1, 1, 1, -1, -1, -1, -1]]),
    "cube": np.array(list(product((-1.0, 1.0), repeat=3))),
    "octahedron": np.vstack([np.eye(4), -np.eye(4)]),
    "triangle and others": np.array([[1, 0, 0], [0, 1, 0], [-1, -1, 0], [0, 0, 1], [1, 1, 1], [2, -1, 3], [0, -1, 0]]),
    "two triangles": np.array(
        [[1, 0, 0, 0], [0, 1, 0, 0], [-1, -1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, -1, -2], [1, 1, 1, 1]]
    ),
    "cyclic plane below a half space": np.column_stack([np.vstack([SQUARE, GENERIC[:3, :2]]), [0, 0, 0, 0, 1, 2, 1]]),
    "rank deficient": RNG.integers(-2, 3, (7, 2)) @ RNG.integers(-2, 3, (2, 4)),
    "X = 0": np.zeros((3, 2)),
    "one sample": np.array([[1.0, -2.0]]),
}


@pytest.mark.parametrize("name", CASES)
def test_patterns_agree_with_linear_programs(name):
    X = CASES[name]
    arrangements = boundary_patterns(X)
    assert as_set(arrangements) == brute_force_patterns(X)
    assert arrangements.complete
    check_patterns(X, arrangements)


@pytest.mark.parametrize("seed", range(20))
def test_random_integer_rows_agree_with_linear_programs(seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(-1, 2, (rng.integers(1, 9), rng.integers(1, 5)))
    arrangements = boundary_patterns(X)
    assert as_set(arrangements) == brute_force_patterns(X)
    check_patterns(X, arrangements)


@pytest.mark.parametrize(("n", "d", "size"), [(14, 2, 3), (11, 3, 1), (12, 3, 2), (10, 4, 1)])
def test_more_integer_rows_agree_with_rational_arithmetic(n, d, size):
    rng = np.random.default_rng([n, d])
    X = np.vstack([np.eye(d, dtype=int), rng.integers(-size, size + 1, (n - d, d))])
    arrangements = boundary_patterns(X)
    assert as_set(arrangements) == {tuple(int(s >= 0) for s in face) for face in exact_faces(X)}
    check_patterns(X, arrangements)


def test_generic_rows_have_one_pattern_more_than_cells():
    X = np.random.default_rng(0).standard_normal((20, 4))
    cells = 2 * sum(comb(19, k) for k in range(4))
    arrangements = boundary_patterns(X)
    assert len(arrangements) == cells + 1
    assert as_set(arrangements) - as_set(enumerate_arrangements(X)) == {(1,) * 20}
    assert not arrangements.gates[arrangements.patterns().all(axis=1)].any()
    X = np.column_stack([1e6 + X, np.ones(20)])
    assert as_set(boundary_patterns(X)) == as_set(enumerate_arrangements(X))


def test_pairs_of_opposite_rows_have_three_patterns_each():
    """On each axis: u > 0, u < 0 and u = 0."""
    arrangements = boundary_patterns(np.kron(np.eye(5), [[1.0], [-1.0]]))
    assert len(arrangements) == 3**5
    assert arrangements.complete


def test_scaled_rows_and_columns_have_the_same_patterns():
    rng = np.random.default_rng(1)
    X = CASES["triangle and others"]
    scaled = X * np.array([1.0, 8.0, 1 / 32, 1024, 2, 1, 4])[:, None] * np.array([1.0, 2.0**10, 2.0**-10])
    assert as_set(boundary_patterns(scaled)) == as_set(boundary_patterns(X))
    turned = X @ np.linalg.qr(rng.standard_normal((3, 3)))[0]
    assert as_set(boundary_patterns(turned)) == as_set(boundary_patterns(X))


def test_angles_that_rounding_cannot_tell_from_zero_are_warned_of():
    X = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, -1.0, 1e-10], [0.0, 0.0, 1.0], [0.3, -0.2, -1.0]])
    with pytest.warns(UserWarning, match="not marked complete"):
        arrangements = boundary_patterns(X)
    assert not arrangements.complete


def test_too_many_patterns_raise():
    X = np.random.default_rng(0).standard_normal((100_000, 20))
    with pytest.raises(ValueError, match=r"up to [\d,]+ cells \(100,000 distinct walls of rank 20\).*max_patterns"):
        boundary_patterns(X)
    X = CASES["opposites alone"]
    assert len(boundary_patterns(X, max_patterns=27)) == 27
    for limit in (7, 8, 15, 26):
        with pytest.raises(ValueError, match="max_patterns"):
            boundary_patterns(X, max_patterns=limit)
    for bad in (0, 2.5, True, None):
        with pytest.raises(ValueError, match="max_patterns must be an integer"):
            boundary_patterns(X, max_patterns=bad)


@pytest.mark.parametrize("bad", [[[np.nan, 1.0]], np.empty((0, 2)), np.empty((3, 0)), [1.0, 2.0]])
def test_bad_rows_raise(bad):
    with pytest.raises(ValueError, match=r"X|sample|feature|array"):
        boundary_patterns(bad)


@pytest.mark.parametrize("seed", [77, 78, 80])
def test_gates_are_on_their_walls_as_far_as_products_tell(seed):
    rng = np.random.default_rng(seed)
    d = rng.integers(3, 6)
    X = rng.standard_normal((9, d)) * 10.0 ** rng.uniform(-3, 3, d)
    X = np.vstack([X, -X[:6]])
    arrangements = boundary_patterns(X)
    products = np.abs(arrangements.gates @ X.T)
    terms = np.abs(arrangements.gates) @ np.abs(X).T
    assert (products <= 2e-14 * terms).any()
    assert ((products <= 2e-14 * terms) | (products > 1e-9 * terms)).all()


@pytest.mark.parametrize(
    "x",
    [
        [0.0, 1.0, 1.0 + 4e-13, 2.0],  # walls that are nearly one
        [0.0, 1e-8, 2e-8, 3e-8, 1e8],  # what centring would round away
        [3.0, 3.0 + 2e-15, -1.0],
    ],
)
def test_a_step_between_near_samples_is_not_forgotten(x):
    """Cells however thin cost a step its whole height: nothing is complete without them, and no bound excludes them."""
    x = np.sort(x)
    y = (np.arange(len(x)) >= 2).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        patterns = boundary_patterns(np.column_stack([x, np.ones(len(x))]))
        model = ConvexReLURegressor(alpha=0.01, activation="threshold", arrangements="all").fit(x[:, None], y)
    steps = {tuple(step) for step in np.append(x, np.inf)[:, None] <= x}
    found = {tuple(pattern) for pattern in patterns.patterns()}
    assert steps <= found or not patterns.complete
    certificate = model.certificate_
    bound = max(certificate.proved_bound, certificate.lower_bound * (certificate.scope == "global"))
    assert bound <= 0.01 * (1 + 1e-9)  # one step of height 1


def test_copies_and_small_integers_stay_complete():
    """Rows that are multiples of one another, and walls that meet, exactly."""
    rng = np.random.default_rng(0)
    for X in (
        np.column_stack([rng.integers(-3, 4, (12, 2)), np.ones(12)]),
        np.column_stack([rng.standard_normal(5)[[0, 1, 2, 3, 4, 1, 1]], np.ones(7)]),
        rng.integers(-2, 3, (9, 3)) / 4.0,
    ):
        assert boundary_patterns(X).complete


@pytest.mark.parametrize(
    "X", [[[1.0, 1 / 3], [3.0, 1.0]], [[0.1, 0.7], [0.3, 2.1]], [[1.0, 2.0], [2.0, 4.0000000000000009]]]
)
def test_rows_that_are_multiples_but_for_rounding_are_no_copies(X):
    """Where a product is exactly zero the other is not: a step has its whole height between them."""
    with pytest.warns(UserWarning, match="not marked complete"):
        assert not boundary_patterns(X).complete
    assert boundary_patterns(np.vstack([X[0], np.multiply(X[0], -4.0)])).complete


def test_patterns_of_cells_alone_are_not_all_of_a_threshold_network():
    """Of rows and their opposites: points on their walls are on both sides."""
    X, y = np.array([[1.0, 2.0], [-1.0, -2.0], [3.0, -1.0]]), [1.0, 1.0, 0.5]
    options = Architecture("threshold", hidden_bias="none", fit_intercept=False)
    scopes = [
        build_program(X, y, 0.01, given, options).scope for given in (enumerate_arrangements(X), boundary_patterns(X))
    ]
    assert scopes == ["sampled", "global"]
    moved = X.copy()
    moved[1, 1] = np.nextafter(-2.0, 0.0)
    assert build_program(moved, y, 0.01, boundary_patterns(X), options).scope == "sampled"
