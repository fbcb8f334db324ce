"""alpha_max over all patterns: the enumerated value, closed forms, and labels that do not say too much."""

import numpy as np
import pytest
from degenerate import DEGENERATE, degenerate, exact_kappa
from textbook import HAND_X, HAND_Y, XOR_X, XOR_Y

from convexnn import Architecture, ConvexReLURegressor
from convexnn.losses import make_loss
from convexnn.model import build_program
from convexnn.networks import recover
from convexnn.pricing import alpha_max
from convexnn.pricing.alpha_max import alpha_max_over_all
from convexnn.solvers import solve_generation

PLAIN = {"hidden_bias": "none", "fit_intercept": False}
ARCHITECTURES = [
    {"hidden_bias": hidden_bias, "fit_intercept": fit_intercept, "skip": skip}
    for hidden_bias in ("none", "penalized")
    for fit_intercept in (False, True)
    for skip in (False, True)
]
EVERY = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda options: "-".join(map(str, options.values())))


def expected(X, y, architecture):
    """kappa of what the best free fit leaves of y, cell by cell."""
    F = Architecture("relu", **architecture).free_columns(X)
    H = Architecture("relu", **architecture).hidden_rows(X)
    return exact_kappa(H, y - F @ np.linalg.lstsq(F, y, rcond=None)[0])


def small(seed):
    rng = np.random.default_rng([seed, 17])
    n, d = int(rng.integers(6, 13)), int(rng.integers(1, 3))
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    if seed % 3 == 1:  # integers, a duplicate and a zero row
        X = np.vstack([rng.integers(-2, 3, (n - 2, d)), np.zeros((1, d)), np.ones((1, d))])
    elif seed % 3 == 2:
        X[n // 2 :] = -2.0 * X[: n - n // 2]
    return X, y


@EVERY
@pytest.mark.parametrize("seed", range(6))
def test_the_enumerated_value(seed, architecture):
    X, y = small(seed)
    exact = expected(X, y, architecture)
    for scope in ("auto", "global"):
        found = alpha_max(X, y, **architecture, scope=scope, return_bounds=True, random_state=seed)
        assert found.scope == "global"
        assert found.value == pytest.approx(exact, rel=1e-8)
        assert exact * (1 - 1e-12) <= found.upper <= exact * (1 + 1e-8)
    whole = alpha_max(X, y, **architecture, arrangements="all", return_bounds=True)
    assert whole == (pytest.approx(exact, rel=1e-10), pytest.approx(whole.value, rel=1e-12, abs=1e-12), "global")
    assert whole.upper >= whole.value
    searched = alpha_max(X, y, **architecture, scope="local", return_bounds=True, random_state=seed)
    assert searched.scope == "local"
    assert searched.upper == np.inf
    assert searched.value == pytest.approx(exact, rel=1e-10)  # 2500 starts find the maximum of a small problem


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_rows(name):
    X, y = degenerate(name)
    for architecture in (PLAIN, {"hidden_bias": "none"}):
        exact = expected(X, y, {"skip": False, "fit_intercept": True} | architecture)
        found = alpha_max(X, y, **architecture, scope="global", return_bounds=True, random_state=0)
        assert found.value == pytest.approx(exact, rel=1e-8, abs=1e-12)
        assert exact * (1 - 1e-12) <= found.upper <= exact * (1 + 1e-6) + 1e-12


def test_closed_forms():
    for scope in ("local", "auto", "global"):
        assert alpha_max(HAND_X, HAND_Y, **PLAIN, scope=scope) == pytest.approx(113**0.5, rel=1e-12)
        assert alpha_max(XOR_X, XOR_Y, **PLAIN, scope=scope) == pytest.approx(2**0.5, rel=1e-12)
    assert alpha_max([[-2.0]], [3.0], **PLAIN) == pytest.approx(6.0)
    gated = alpha_max(HAND_X, HAND_Y, **PLAIN, activation="gated_relu", arrangements=[[1.0, 0.0], [-1.0, 2.0]])
    assert gated == pytest.approx(128**0.5)


@EVERY
def test_the_network_is_zero_from_alpha_max_on(architecture):
    X, y = small(3)
    largest = alpha_max(X, y, **architecture)
    for factor, is_zero in ((1 + 1e-6, True), (2.0, True), (1e6, True), (0.999, False)):
        program = build_program(X, y, factor * largest, "adaptive", Architecture("relu", **architecture))
        solution = solve_generation(program, tol=1e-10, random_state=0)
        assert (recover(solution).n_neurons == 0) == is_zero
        assert solution.certificate.gap <= 1e-10
        if is_zero:
            zero = program.objective(*program.zero())
            assert solution.certificate.objective == pytest.approx(zero, rel=1e-12)


@EVERY
def test_a_fit_without_neurons_leaves_zero(architecture):
    X, y = small(0)
    targets = {"zero": 0 * y}
    if architecture["fit_intercept"]:
        targets |= {"constant": np.full(len(X), 1.7), "large constant": np.full(len(X), 1e9)}
    if architecture["skip"]:
        targets |= {"linear": X @ np.ones(X.shape[1])}
    for target in targets.values():
        for scope in ("local", "auto", "global"):
            found = alpha_max(X, target, **architecture, scope=scope, return_bounds=True)
            assert found == (0.0, 0.0, "global")
        assert alpha_max(X, target, **architecture, arrangements="all") == 0.0


def test_rows_of_zeros_need_no_neurons():
    X, y = np.zeros((5, 2)), np.arange(5.0)
    found = alpha_max(X, y, **PLAIN, return_bounds=True)
    assert found.value == 0.0
    assert found.upper <= 1e-12


@pytest.mark.parametrize("hidden_norm", ["l1", "l2"])
@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile", "absolute_error"])
@pytest.mark.parametrize("seed", range(3))
def test_constant_features_need_no_neurons(seed, loss, hidden_norm):
    """A skip of them, or an intercept, fits whatever neurons fit, at weights of all sizes."""
    rng = np.random.default_rng(seed)
    X = np.full((7, 1), 10.0 ** rng.uniform(-4, 4))
    y, weights = 10.0 ** rng.uniform(-2, 6) * rng.standard_normal((7, 2)), 10.0 ** rng.uniform(-9, 9, 7)
    options = {"skip": seed % 2 == 0, "fit_intercept": seed % 2 == 1, "output_penalty": "l1", "random_state": 0}
    model = ConvexReLURegressor(loss=loss, hidden_norm=hidden_norm, **options).fit(X, y, weights)
    assert model.alpha_max_ == 0.0
    assert model.n_neurons_ == 0
    assert model.status_ == "solved"


@pytest.mark.parametrize("seed", range(5))
def test_sampled_values_are_lower_bounds_and_say_so(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((10, 3)), rng.standard_normal(10)
    exact = expected(X, y, {"hidden_bias": "none", "fit_intercept": True, "skip": False})
    options = {"hidden_bias": "none", "return_bounds": True, "random_state": seed}
    found = alpha_max(X, y, arrangements=6, **options)
    assert found.scope == "sampled"
    assert found.upper == np.inf
    assert found.value <= exact * (1 + 1e-12)
    assert alpha_max(X, y, arrangements=rng.standard_normal((2, 3)), **options).value <= exact * (1 + 1e-12)


def test_bounds_are_returned_on_demand():
    for options in ({}, {"arrangements": "all"}, {"arrangements": 4, "random_state": 0}):
        value = alpha_max(HAND_X, HAND_Y, **options)
        assert isinstance(value, float)
        assert alpha_max(HAND_X, HAND_Y, **options, return_bounds=True).value == value


@pytest.mark.parametrize("seed", range(3))
def test_a_time_limit_leaves_valid_bounds(seed):
    """Too many cells to enumerate, too little time to prove: the true value is inside."""
    rng = np.random.default_rng([seed, 4])
    X, y = rng.standard_normal((30, 3)), rng.standard_normal(30)
    exact = alpha_max(X, y, hidden_bias="none", arrangements="all")
    for limit in (1e-3, 0.05, 5.0):
        found = alpha_max(X, y, hidden_bias="none", scope="global", time_limit=limit, return_bounds=True)
        assert found.value <= exact * (1 + 1e-12)
        assert found.upper >= exact * (1 - 1e-12)
        assert (found.scope == "global") == (found.upper <= found.value * (1 + 1e-8))
    X, y = rng.standard_normal((300, 12)), rng.standard_normal(300)
    found = alpha_max(X, y, scope="global", time_limit=0.1, return_bounds=True)
    assert found.scope == "local"
    assert 0 < found.value < found.upper < np.inf


@pytest.mark.parametrize("unit_x", [1e-60, 1.0, 1e60])
@pytest.mark.parametrize("unit_y", [1e-30, 1e30])
def test_units_do_not_matter(unit_x, unit_y):
    X, y = small(0)
    for architecture in (PLAIN, {"hidden_bias": "none"}, {"hidden_bias": "none", "skip": True}):
        one = alpha_max(X, y, **architecture)
        found = alpha_max(X * unit_x, y * unit_y, **architecture, return_bounds=True)
        assert found.value / unit_x / unit_y == pytest.approx(one, rel=1e-8)
        assert found.scope == "global"


def test_the_same_seed_gives_the_same_value():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 10)), rng.standard_normal(200)
    values = [alpha_max(X, y, scope="local", random_state=seed) for seed in (0, 0, 1, 2)]
    assert values[0] == values[1]
    assert np.allclose(values, values[0], rtol=0.05)
    program = build_program(X, y, 1.0, "adaptive")
    assert alpha_max_over_all(program, scope="local", random_state=0).value == values[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scope": "sampled"}, "scope must be one of 'auto', 'local', 'global'; got 'sampled'"),
        ({"scope": None}, "scope must be one of"),
        ({"return_bounds": 1}, "return_bounds must be True or False; got 1"),
        (
            {"activation": "gated_relu"},
            'arrangements="adaptive" is for networks whose patterns are those of their weights',
        ),
        ({"arrangements": "some"}, "arrangements must be"),
        ({"time_limit": -1.0, "scope": "global"}, "time_limit must be"),
    ],
)
def test_bad_arguments_raise(options, message):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=message):
        alpha_max(rng.standard_normal((60, 5)), rng.standard_normal(60), **options)


@pytest.mark.parametrize("noise", [1e-15, 1e-14, 1e-12])
def test_nothing_is_proved_of_a_fit_of_few_digits(noise):
    """A skip of columns that are nearly multiples: alpha_max is known to as many digits as its dual vector."""
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((8, 2)), rng.standard_normal(8)
    X[:, 1] = X[:, 0] * (1 + noise * rng.standard_normal(8))
    for arrangements in ("adaptive", 16):
        for limit in (None, 1e-9):
            options = {"skip": True, "arrangements": arrangements, "time_limit": limit, "random_state": 0}
            found = alpha_max(X, y, **options, return_bounds=True)
            assert found.scope != "global"
            assert found.upper == np.inf


def test_a_skip_of_dependent_columns_is_no_obstacle():
    """One-hot columns beside an intercept are dependent exactly, of which nothing is lost."""
    rng = np.random.default_rng(0)
    X, y = np.column_stack([np.eye(3)[np.arange(12) % 3], rng.standard_normal(12)]), rng.standard_normal(12)
    found = alpha_max(X, y, skip=True, return_bounds=True)
    assert found.scope == "global"
    assert found.value <= found.upper <= found.value * (1 + 1e-8)


@pytest.mark.parametrize("size", [1e-8, 1e-3, 1e5])
def test_a_small_sample_counts_beside_a_large_one(size):
    """Of y = (1, 0) all that neurons see is the first: kappa(y) = |x_1|, however small beside the other."""
    found = alpha_max([[size, 0.0], [0.0, 1.0 / size]], [1.0, 0.0], **PLAIN, return_bounds=True)
    assert found.value == pytest.approx(size)
    assert size * (1 - 1e-15) <= found.upper <= size * (1 + 1e-8)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
@pytest.mark.parametrize("weight", [1e9, 1e16])
def test_samples_of_little_weight_count_beside_a_heavy_one(loss, weight):
    """The heavy one is fitted by the intercept, what is left is that of the others."""
    values = []
    for heavy in (1e3, weight):
        weighted = make_loss(loss, [heavy, 1.0, 1.0])
        program = build_program([[1.0], [2.0], [4.0]], [1.0, 2.0, 5.0], 1.0, "adaptive", loss=weighted)
        values.append(alpha_max_over_all(program, random_state=0).value)
    assert values[1] == pytest.approx(values[0], rel=0.2)


@pytest.mark.parametrize("unit", [1e-5, 1.0, 1e3])
def test_hidden_biases_are_charged_in_every_unit(unit):
    """Knots on a grid: no neuron has more than the proved bound."""
    x, y = unit * np.arange(5.0), np.array([0.0, 1.0, 0.3, 2.0, 5.0])
    knots = np.concatenate([np.linspace(-2 * unit, 6 * unit, 4001), x])
    heights = np.maximum(x[:, None] - knots, 0.0).T @ (y - y.mean()) / np.hypot(1.0, knots)
    for arrangements in ("all", "adaptive"):
        found = alpha_max(x[:, None], y, arrangements=arrangements, return_bounds=True)
        assert found.scope == "global"
        assert isinstance(found.upper, float)
        assert np.abs(heights).max() <= found.upper <= found.value * (1 + 1e-6)
