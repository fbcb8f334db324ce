"""Programs, alpha_max and certificates."""

from fractions import Fraction

import numpy as np
import pytest
from exact import kappa_of_lines

from convexnn import Architecture, Certificate, ConvexReLURegressor, Network
from convexnn.geometry import Arrangements
from convexnn.model import build_program
from convexnn.pricing import alpha_max, kappa
from convexnn.pricing.proof import certified
from convexnn.solvers import solve_reference

HAND_X, HAND_Y = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]]), np.array([1.0, 2.0, -1.0])
PLAIN = {"hidden_bias": "none", "fit_intercept": False}
PARTS = [
    {**PLAIN},
    {"fit_intercept": False},
    {"hidden_bias": "none"},
    {"hidden_bias": "none", "fit_intercept": False, "skip": True},
    {"skip": True},
]


def test_alpha_max_of_the_hand_case():
    assert alpha_max(HAND_X, HAND_Y, **PLAIN) == pytest.approx(10.630145812735, abs=1e-11)
    assert alpha_max(HAND_X, HAND_Y, **PLAIN) == pytest.approx(np.sqrt(113), rel=1e-12)
    assert alpha_max(HAND_X, HAND_Y, activation="gated_relu", arrangements="all", **PLAIN) == pytest.approx(
        np.sqrt(128), rel=1e-12
    )


def test_alpha_max_of_xor_and_parity():
    X = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    assert alpha_max(X, X.prod(axis=1), **PLAIN) == pytest.approx(np.sqrt(2), rel=1e-12)
    cube = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
    assert alpha_max(cube, cube.prod(axis=1), **PLAIN) == pytest.approx(0, abs=1e-12)
    assert alpha_max(cube, cube.prod(axis=1), fit_intercept=False) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("activation", ["relu", "gated_relu"])
@pytest.mark.parametrize("parts", PARTS)
def test_neurons_appear_just_below_alpha_max(activation, parts):
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((7, 2)), rng.standard_normal(7)
    largest = alpha_max(X, y, arrangements="all", activation=activation, **parts)
    architecture = Architecture(activation, **parts)
    above = solve_reference(build_program(X, y, 1.0001 * largest, "all", architecture))
    below = solve_reference(build_program(X, y, 0.99 * largest, "all", architecture))
    assert not above.W.any()
    assert below.W.any()
    assert above.certificate.gap <= 1e-12
    assert above.certificate.objective >= below.certificate.objective


def test_alpha_max_is_zero_when_the_free_part_fits():
    X = np.random.default_rng(0).standard_normal((8, 2))
    assert alpha_max(X, np.full(8, 1e6)) == 0.0
    assert alpha_max(X, X @ [1.0, 2.0] + 3, skip=True) == 0.0
    assert alpha_max(X, np.zeros(8), **PLAIN) == 0.0
    assert alpha_max(np.zeros((8, 2)), X[:, 0], **PLAIN) == 0.0
    assert alpha_max(X, X[:, 0]) > 0.1


def test_sampled_patterns_never_beat_all():
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((8, 3)), rng.standard_normal(8)
    architecture = Architecture(**PLAIN)
    everything = solve_reference(build_program(X, y, 0.1, "all", architecture)).certificate
    for seed in range(5):
        sampled = solve_reference(build_program(X, y, 0.1, 9, architecture, random_state=seed)).certificate
        assert sampled.scope == "sampled"
        assert sampled.objective >= everything.objective * (1 - 1e-9)
        assert sampled.gap < 1e-8
        assert alpha_max(X, y, arrangements=9, random_state=seed, **PLAIN) <= alpha_max(X, y, **PLAIN) * (1 + 1e-12)
    assert everything.scope == "global"
    # the sampled gap says nothing about the network problem: here it is zero, and the excess is not
    assert sampled.objective > 1.01 * everything.objective


@pytest.mark.parametrize("activation", ["relu", "gated_relu"])
@pytest.mark.parametrize("parts", PARTS)
def test_any_feasible_point_has_a_valid_bound(activation, parts):
    """At points far from optimal, and with any dual vector, the bound stays below the optimum."""
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((7, 2)), rng.standard_normal(7)
    program = build_program(X, y, 0.2, "all", Architecture(activation, **parts))
    optimum = solve_reference(program).certificate.objective
    assert optimum > 0
    for trial in range(30):
        scale = 10.0 ** rng.uniform(-3, 1)
        W = scale * rng.standard_normal(program.block_shape) * (rng.random(program.block_shape[0]) < 0.3)[:, None, None]
        W = program.cones.project(W, np.arange(len(W)))
        beta = scale * rng.standard_normal((program.free.shape[1], 1))
        certificate = certified(program, W, beta, rng.standard_normal((7, 1)) if trial % 2 else None)[0]
        assert certificate.lower_bound <= optimum * (1 + 1e-9)
        assert certificate.objective >= optimum * (1 - 1e-9)
        assert certificate.objective == pytest.approx(program.objective(W, beta))


@pytest.mark.parametrize("offset", [0, 100, 10**4, 10**5])
def test_alpha_max_of_integers_far_from_zero(offset):
    """Cells are wedges of angle 1 / offset^2: the projection is compared with rational arithmetic."""
    x = [offset + k for k in range(9)]
    y = [Fraction(max(0, k - 4)) for k in range(9)]
    mean = sum(y) / 9
    expected = kappa_of_lines(x, [value - mean for value in y])
    found = alpha_max(np.array(x, float)[:, None], [float(value) for value in y])
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("units", [(1e-7, 1e7), (1e7, 1e-7), (1e-3, 1e3)])
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.filterwarnings("ignore:only .* distinct patterns")
def test_bounds_hold_in_any_units(units, offset):
    """With a skip that fits y, the optimum is 0: no bound may exceed it."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 2)) * units
    y = X[:, 0] / units[0] + offset
    for alpha in (1e-3, 1.0, 1e9):
        program = build_program(X, y, alpha, 20, Architecture(skip=True), random_state=0)
        certificate = solve_reference(program).certificate
        assert certificate.lower_bound <= 1e-20 * y @ y
        assert certificate.objective <= 1e-20 * y @ y
        assert certificate.gap == 0.0


def test_an_offset_of_y_changes_nothing():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((10, 2)), rng.standard_normal(10)
    plain, shifted = (solve_reference(build_program(X, y + t, 0.1, "all")).certificate for t in (0.0, 1e6))
    assert shifted.objective == pytest.approx(plain.objective, rel=1e-8)
    assert shifted.gap < 1e-8


def test_gated_bounds_are_never_called_global():
    """A gate on a wall has a pattern that no cell has, and may do better: here 0.4375 against 0.75."""
    X, y = np.array([[1.0], [-1.0]]), np.array([1.0, -1.0])
    solution = solve_reference(build_program(X, y, 0.5, "all", Architecture("gated_relu", **PLAIN)))
    assert solution.certificate.objective == pytest.approx(0.75)
    assert solution.certificate.scope == "sampled"
    w = np.sqrt(0.75)
    on_wall = Network(np.array([[w]]), np.zeros(1), np.array([[w]]), np.zeros(1), "gated_relu", gates=np.zeros((2, 1)))
    assert on_wall.objective(X, y, 0.5) == pytest.approx(0.4375)


def test_the_gap_is_relative_and_the_words_say_the_scope():
    certificate = Certificate(2.0, 1.5, "sampled")
    assert certificate.gap == 0.25
    assert Certificate(0.0, 0.0, "global").gap == 0.0
    for bounds in ({"lower_bound": 2.0}, {"lower_bound": 1.0 + 1e-11}, {"lower_bound": 0.0, "proved_bound": 2.0}):
        with pytest.raises(ValueError, match=r"_bound must be at most the objective, 1\.0, which refutes it; got"):
            Certificate(1.0, scope="local", **bounds)
    assert Certificate(1.0, 1.0 + 1e-14, "global").gap == 0.0  # that is rounding
    assert Certificate(1e-30, 0.0, "global", negligible=1e-28).gap == 0.0
    assert "other patterns may do better" in str(certificate)
    assert "no network of any width" in str(Certificate(2.0, 2.0, "global"))
    assert "no network of any width" not in str(certificate)


def test_duplicated_rows_count_twice():
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((6, 2)), rng.standard_normal(6)
    architecture = Architecture(**PLAIN)
    once = solve_reference(build_program(X, y, 0.3, "all", architecture)).certificate.objective
    twice = solve_reference(build_program(np.r_[X, X], np.r_[y, y], 0.6, "all", architecture)).certificate.objective
    assert twice == pytest.approx(2 * once, rel=1e-8)


def test_rotations_change_nothing():
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((6, 3)), rng.standard_normal(6)
    Q = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    one, other = (solve_reference(build_program(x, y, 0.3, "all")).certificate.objective for x in (X, X @ Q))
    assert one == pytest.approx(other, rel=1e-8)


def test_programs_check_their_input():
    for bad, message in [
        (dict(alpha=0), "alpha"),
        (dict(alpha=-1.0), "alpha"),
        (dict(alpha=np.inf), "alpha"),
        (dict(y=[1, 2]), "inconsistent numbers of samples"),
        (dict(y=[1, np.nan, 2]), "y contains NaN"),
        (dict(X=[[np.inf, 1]] * 3), "X contains infinity"),
        (dict(arrangements="some"), 'arrangements must be "adaptive", a number'),
        (dict(arrangements=0), "arrangements must be an integer"),
        (dict(arrangements=True), 'arrangements must be "adaptive", a number'),
        (dict(arrangements=None), 'arrangements must be "adaptive", a number'),
        (dict(arrangements=np.ones((2, 5))), r"gates must have one column.*\(n_gates, 3\)"),
        (dict(arrangements=[["a", "b", "c"]]), 'arrangements must be "adaptive", a number'),
        (dict(arrangements=Arrangements.from_gates(HAND_X, [[1, 1]])), "arrangements were made for 3 samples and 2"),
    ]:
        arguments = {"X": HAND_X, "y": HAND_Y, "alpha": 0.1, "arrangements": "all", **bad}
        with pytest.raises(ValueError, match=message):
            build_program(**arguments)
    for wrong in ("large", None, True, [1.0], 1j):
        with pytest.raises(TypeError, match="alpha must be a number"):
            build_program(HAND_X, HAND_Y, wrong, "all")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"activation": "tanh"}, "activation must be one of 'relu', 'gated_relu', 'leaky_relu', .*; got 'tanh'"),
        ({"hidden_bias": True}, "hidden_bias must be one of"),
        ({"fit_intercept": "yes"}, "fit_intercept must be True or False; got 'yes'"),
        ({"skip": 1}, "skip must be True or False"),
    ],
)
def test_architectures_check_their_names(bad, message):
    with pytest.raises(ValueError, match=message):
        Architecture(**bad)
    with pytest.raises(ValueError, match=message):
        alpha_max(HAND_X, HAND_Y, **bad)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", [{}, {"activation": "leaky_relu", "negative_slope": -2.0}, {"hidden_norm": "l1"}])
def test_the_free_bound_of_kappa_is_one(seed, options):
    """It is above kappa over all patterns, and that of the distinct rows with the sums of their entries."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((4, 2))
    program = build_program(rows[[0, 1, 2, 3, 1, 1, 2]], np.ones(7), 1.0, "all", Architecture(**options))
    V = rng.standard_normal((7, 1))
    sums = np.array([V[0], V[1] + V[4] + V[5], V[2] + V[6], V[3]])[:, 0]
    lengths = np.linalg.norm(np.hstack([rows, np.ones((4, 1))]), axis=1)  # the bias is an input
    steepest = 2.0 if options.get("negative_slope") else 1.0
    bound = program.free_kappa(V)
    assert kappa(program, V) <= bound == pytest.approx(steepest * np.abs(sums) @ lengths, rel=1e-10)


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_features_that_do_not_vary_take_no_search(loss, outputs, monkeypatch):
    """Nothing is compiled either; the network is that of the best constant."""
    monkeypatch.setattr("convexnn.pricing.search.CellSearch.__init__", lambda *_: pytest.fail("a search"))
    Y = np.random.default_rng(0).standard_normal((9, outputs))
    model = ConvexReLURegressor(loss=loss, delta=100.0).fit(np.full((9, 2), 5.0), Y)
    assert (model.status_, model.n_neurons_, model.alpha_max_) == ("solved", 0, 0.0)
    assert model.certificate_.objective == pytest.approx(0.5 * np.sum((Y - Y.mean(axis=0)) ** 2), rel=1e-12)
    assert model.certificate_.scope == "global"


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize(
    ("activation", "arrangements"), [("threshold", "all"), ("gated_relu", 6), ("linear", "all"), ("relu", "all")]
)
def test_the_free_bound_of_kappa_is_one_of_every_network(activation, arrangements, outputs):
    """Samples that a network sees as equal need not be active together: a threshold network sees ones alone."""
    rng = np.random.default_rng(outputs)
    X = rng.standard_normal((6, 2))[[0, 1, 2, 3, 4, 5, 1, 2]]
    architecture = Architecture(activation, output_penalty="weight_decay" if activation == "linear" else "l1")
    program = build_program(X, rng.standard_normal((8, outputs)), 1.0, arrangements, architecture, 0)
    for _ in range(20):
        V = rng.standard_normal((8, outputs))
        assert kappa(program, V) <= program.free_kappa(V)
