"""Parts of the engine that losses, activations, biases and outputs need, and relations between problems that differ."""

import numpy as np
import pytest
from activations import ACTIVATIONS, solved
from checks import check_design

from convexnn import Architecture
from convexnn.geometry import enumerate_arrangements
from convexnn.geometry.arrangements import Arrangements, pattern_bits, sample_arrangements
from convexnn.geometry.patches import Patches
from convexnn.geometry.projection import unit_columns
from convexnn.losses import LOSSES, Absolute, Huber, Logistic, Quantile, Softmax, Squared, SquaredHinge, make_loss
from convexnn.model import build_program
from convexnn.model.design import Design
from convexnn.model.reduction import Reduction
from convexnn.pricing import kappa
from convexnn.pricing.ascent import ascend, climb
from convexnn.solvers import face_systems as systems
from convexnn.solvers.cell_pool import CellPool
from convexnn.solvers.newton import Center, _evaluate
from convexnn.solvers.subproblem import Subproblem

KINDS = [{}, {"activation": "leaky_relu", "skip": True}, {"patches": Patches((1, 4), 2)}]
WEIGHTS = np.array([0.5, 2.0, 1.0, 3.0, 1.0, 0.2, 1.0, 1.0, 4.0, 1.0])
# Losses whose gradient saturates, and the predictions at which it does, for targets Y.
SATURATING = {
    "squared_error": (Squared(), lambda Y: (-np.inf + Y, np.inf + Y)),
    "huber": (Huber(delta=0.7, sample_weight=WEIGHTS), lambda Y: (Y - 0.7, Y + 0.7)),
    "squared hinge": (SquaredHinge(), lambda Y: (np.where(Y > 0, -np.inf, Y), np.where(Y > 0, Y, np.inf))),
    # the gradient 0.1 + (z - y) / 0.3 is in [-1, 1]
    "smoothed absolute": (Absolute().smoothed(None, np.full((10, 1), 0.1), 0.3), lambda Y: (Y - 0.33, Y + 0.27)),
}


def targets(loss, rng, n=10, n_classes=3):
    if isinstance(loss, Softmax):
        return np.eye(n_classes)[np.arange(n) % n_classes]
    if isinstance(loss, (Logistic, SquaredHinge)):
        return np.where(np.arange(n) % 3 == 0, 1.0, -1.0)[:, None]
    return rng.standard_normal((n, 1))


@pytest.mark.parametrize("name", SATURATING)
def test_predictions_advance_to_the_edge_at_most_from_where_the_gradient_is_saturated(name):
    """Where it is not, and away from there, they take the whole step."""
    loss, edges = SATURATING[name]
    rng = np.random.default_rng(0)
    Y, n_stopped = targets(loss, rng), 0
    lower, upper = edges(Y)
    for _ in range(30):
        Z, step = 3 * rng.standard_normal((2, *Y.shape))
        reached, whole = loss.advance(Y, Z, step), Z + step
        from_above, from_below = (upper < Z) & (whole < upper), (lower > Z) & (whole > lower)
        stopped = from_above | from_below
        assert np.array_equal(reached[~stopped], whole[~stopped])
        assert np.allclose(reached[from_above], upper[from_above], atol=1e-11)
        assert np.allclose(reached[from_below], lower[from_below], atol=1e-11)
        assert (loss.curvature(Y, reached)[stopped] > 0).all()  # just inside: the next step may be any
        assert (loss.curvature(Y, Z)[stopped] == 0).all()
        n_stopped += np.count_nonzero(stopped)
    assert (n_stopped > 20) == (name != "squared_error")


@pytest.mark.parametrize("loss", [Logistic(sample_weight=WEIGHTS), Softmax(sample_weight=WEIGHTS)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_probabilities_advance_by_their_derivative(loss, scale):
    """grad L moves by H step where that leaves more than a tenth of every probability, and never takes more."""
    rng = np.random.default_rng(1)
    Y = targets(loss, rng)
    Z, counts = scale * rng.standard_normal(Y.shape), []

    def probabilities(Z):  # grad L = w (P - Y), or -+w times the probability of the other label
        return np.abs(loss.grad(Y, Z) / WEIGHTS[:, None] + (0 if loss.separable else Y))

    P, H = probabilities(Z), loss.curvature(Y, Z)
    for size in (1e-3, 0.3, 10.0, 1e4):
        step = size * rng.standard_normal(Y.shape)
        change = H * step if loss.separable else np.einsum("nkl,nl->nk", H, step)
        reached = loss.advance(Y, Z, step)
        assert np.isfinite(reached).all()
        small = (np.abs(change) < 0.89 * WEIGHTS[:, None] * np.minimum(P, 1 - P)).all(axis=1)
        moved = loss.grad(Y, reached) - loss.grad(Y, Z)
        assert np.allclose(moved[small], change[small], rtol=1e-6, atol=1e-13)
        assert np.sum(moved * step) >= 0
        counts.append(np.count_nonzero(small))
        if loss.separable:
            assert (probabilities(reached) >= 0.0999 * P).all()
            assert (1 - probabilities(reached) >= 0.0999 * (1 - P)).all()
        else:  # nothing depends on the mean of a row: it moves with the step
            assert np.allclose((reached - Z).mean(axis=1), step.mean(axis=1), atol=1e-12 * max(size, scale))
    assert counts[0] >= 8 > counts[-1]


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("loss", [Absolute(), Quantile(0.3), Absolute(sample_weight=WEIGHTS)])
def test_subgradients_of_free_fits_are_stationary(loss, rank):
    """The minimum over a span has as many kinks as columns: one subgradient is orthogonal to these."""
    rng = np.random.default_rng(2)
    Y, Q = rng.standard_normal((10, 2)), np.linalg.qr(rng.standard_normal((10, rank)))[0]
    Z = Q @ loss.fit_free(Y, Q)
    T, plain = loss.stationary_grad(Y, Z, Q), loss.grad(Y, Z)
    assert np.linalg.norm(Q.T @ T) <= 1e-12
    kinks = np.abs(Z - Y) <= 1e-9
    assert (kinks.sum(axis=0) == rank).all()
    assert np.array_equal(T[~kinks], plain[~kinks])
    assert np.array_equal(Huber().stationary_grad(Y, Z, Q), Huber().grad(Y, Z))
    for D in rng.standard_normal((50, *Y.shape)):
        assert loss.value(Y, Z + D) >= loss.value(Y, Z) + np.sum(T * D) - 1e-12


@pytest.mark.parametrize("slope", [0.0, 0.3, -1.0])
@pytest.mark.parametrize("n_patches", [1, 3])
def test_designs_with_slopes_and_patches(slope, n_patches):
    rng = np.random.default_rng(4)
    X = rng.standard_normal((4 * n_patches, 3))
    design = Design(X, sample_arrangements(X, 9, random_state=0), (1.0, -1.0), slope, n_patches)
    check_design(design, 2, rng)

    def response(u):
        T = X @ u
        return np.where(T > 0, T, slope * T).reshape(4, n_patches).sum(axis=1)

    u = rng.standard_normal(3)
    one = Design(X, Arrangements.from_gates(X, u[None]), (1.0, -1.0), slope, n_patches)
    assert np.allclose([one.block(0) @ u, one.block(1) @ u], [response(u), -response(u)])
    # v'act(Xu) = w'(Xu)_+ + l'u for all u
    v = rng.standard_normal(4)
    w, linear = design.response(v)
    for u in rng.standard_normal((20, 3)):
        assert w @ np.maximum(X @ u, 0) + linear @ u == pytest.approx(v @ response(u), rel=1e-12)
    assert linear.any() == (slope != 0)


@pytest.mark.parametrize("seed", range(8))
def test_climbs_with_a_linear_term(seed):
    """h(u) = w'(Xu)_+ + l'u: values are those of h, no direction beats the best climb of all, no climb loses."""
    rng = np.random.default_rng([seed, 6])
    X, w, linear = rng.standard_normal((7, 2)), rng.standard_normal(7), rng.standard_normal(2)
    columns, weights = unit_columns(X), w * np.linalg.norm(X, axis=1)
    walls = np.arctan2(X[:, 0], -X[:, 1])
    angles = np.concatenate([np.linspace(0, 2 * np.pi, 20_001), walls, walls + np.pi])
    circle = np.column_stack([np.cos(angles), np.sin(angles)])

    def h(U):
        return np.maximum(U @ X.T, 0) @ w + U @ linear

    cells = enumerate_arrangements(X)
    signs, starts = np.repeat([1.0, -1.0], len(cells)), np.tile(cells.gates, (2, 1))
    U = climb(columns, weights, linear, signs, np.tile(cells.patterns(), (2, 1)), 0.0, 100)
    values = np.linalg.norm(U, axis=1)
    assert np.allclose(signs * h(U), values**2, atol=1e-12)
    for sign in (1.0, -1.0):
        most, best = max(0.0, (sign * h(circle)).max()), values[signs == sign].max()
        assert most <= best * (1 + 1e-12)
        assert best <= most * (1 + 1e-6)  # the grid is that fine
    inside = starts / np.linalg.norm(starts, axis=1, keepdims=True)
    assert (values >= signs * h(inside) - 1e-12).all()
    reached = inside.copy()
    ascended = ascend(columns, weights, linear, signs, reached, 15)
    assert np.allclose(ascended, signs * h(reached / np.linalg.norm(reached, axis=1, keepdims=True)), atol=1e-12)
    assert (ascended >= signs * h(inside) - 1e-12).all()
    assert np.allclose(ascend(columns, 0 * weights, linear, signs, reached, 15), np.linalg.norm(linear))


def pool_of(seed):
    rng = np.random.default_rng([seed, 7])
    X, Y = rng.standard_normal((2, 8, 2))
    program = build_program(X, Y, 0.1, "adaptive", Architecture(hidden_bias="none", output_penalty="l1"))
    return CellPool(program, program), rng


def fit_of(pool):
    return pool.sub.products.matvec(pool.W, pool.blocks)


def contents(pool):
    rows = zip(pool.bits, pool.signs, pool.W, pool.tight, strict=True)
    return {(bits.tobytes(), sign): (W.tolist(), tight.tolist()) for bits, sign, W, tight in rows}


@pytest.mark.parametrize("seed", range(3))
def test_cells_take_neurons_and_keep_what_they_are_told(seed):
    """Neurons of one cell and sign are added up; what is kept stays as it is."""
    pool, rng = pool_of(seed)
    X, U = pool.program.design.X, rng.standard_normal((6, 2))
    U[1] = 2 * U[0]
    signs, outputs = np.array([1.0, 1.0, -1.0, 1.0, -1.0, -1.0]), np.arange(6) % 2
    fit = np.maximum(X @ U.T, 0) @ (signs[:, None] * np.eye(2)[outputs])
    bits, _, points, W = pool.cells_of(U, signs, outputs)
    pool.take(bits, signs, points, W)
    assert contents(pool).keys() == {(row.tobytes(), sign) for row, sign in zip(bits, signs, strict=True)}
    assert len(pool) < len(U)
    assert np.allclose(fit_of(pool), fit)
    assert np.allclose(pool.shown.design.matvec(pool.W, pool.blocks), fit)
    assert np.array_equal(pool.patterns(slice(None)), pool.W.sum(axis=2) @ X.T >= 0)
    rows, columns = pool.pairs
    assert len(rows) == len({(b.tobytes(), s, c) for b, s, c in zip(bits, signs, outputs, strict=True)})
    assert pool.W[rows, :, columns].any(axis=1).all()
    pool.tight[:] = rng.integers(-1, 8, pool.tight.shape)
    kept, old = np.arange(len(pool)) % 2 == 0, contents(pool)
    left = {(b.tobytes(), s): old[b.tobytes(), s] for b, s in zip(pool.bits[kept], pool.signs[kept], strict=True)}
    pool.keep(kept, *pool.cells_of(-U[:1], np.ones(1), np.zeros(1, int)))
    found = contents(pool)
    added = found.pop((pattern_bits(X, -U[:1])[0].tobytes(), 1.0))
    assert added == ((np.array([1, 0]) * -U[0][:, None]).tolist(), [[-1, -1], [-1, -1]])
    assert found == left


def test_neurons_of_one_maximum_are_merged():
    """A neuron on a wall, split over the two cells, becomes one; those of other signs, outputs or places stay."""
    pool, _ = pool_of(0)
    X = pool.program.design.X
    on_wall = np.array([-X[0, 1], X[0, 0]]) / np.linalg.norm(X[0])
    patterns = np.array(3 * [X @ on_wall > 0])
    patterns[:, 0] = True, False, True
    bits = np.concatenate([np.packbits(patterns, axis=1), pattern_bits(X, X[:1])])
    signs = np.array([1.0, 1.0, -1.0, 1.0])
    W = np.zeros((4, 2, 2))
    W[0, :, 0], W[1, :, 0], W[1, :, 1], W[2, :, 0], W[3, :, 0] = 2 * on_wall, on_wall, on_wall, on_wall, X[0]

    def taken():
        pool.take(bits, signs, W.sum(axis=2), W)
        neurons = pool.W[pool.pairs[0], :, pool.pairs[1]]
        return neurons / np.linalg.norm(neurons, axis=1, keepdims=True)

    directions, fit, size = taken(), fit_of(pool), pool.program.penalty.value(W)
    assert len(directions) == 5
    refitted = pool.merge(directions, np.zeros((1, 2)), np.inf)
    assert np.allclose(fit_of(pool), fit)
    assert pool.program.penalty.value(pool.W) == pytest.approx(size)
    assert len(pool.pairs[0]) == 4
    assert refitted == pytest.approx(pool.program.loss.fit_free(pool.program.Y, pool.sub.basis, fit))
    # no merging where the objective would have to fall
    assert pool.merge(taken(), refitted, -0.5) is refitted
    assert len(pool.pairs[0]) == 5


@pytest.mark.parametrize("hidden_bias", ["free", "penalized"])
@pytest.mark.parametrize("loss", [Squared(), Absolute(), Logistic()])
def test_simplified_programs_are_equal(hidden_bias, loss):
    """The way there and back is none, and the objective is the same; X has rank 2, far from zero, in other units."""
    rng = np.random.default_rng(8)
    X = 100 * rng.standard_normal((9, 2)) @ rng.standard_normal((2, 4)) + 700 * (hidden_bias == "free")
    y = targets(loss, rng, 9)[:, 0] * (1.0 if isinstance(loss, Logistic) else 50.0)
    whole = build_program(X, y, 3.0, 12, Architecture(hidden_bias=hidden_bias, skip=True), 0, loss)
    reduction = Reduction.of(whole, whole.zero()[1], tol=1e-6)
    program = reduction.program
    assert program.bias_unit == (pytest.approx(3e-4) if hidden_bias == "free" else 0.0)
    assert program.block_shape[1] == 3 < whole.block_shape[1] == 5
    V = rng.standard_normal(program.block_shape)
    b = rng.standard_normal((program.free_basis[0].shape[1], 1))
    W, coefficients = reduction.invert(V, b)
    assert np.allclose(reduction.apply(W), V, rtol=1e-9, atol=1e-12)
    assert np.allclose(reduction.invert(reduction.apply(W), b)[0], W, rtol=1e-9, atol=1e-12 * np.abs(W).max())
    Z = program.design.matvec(V) + program.free_basis[0] @ b
    value = program.loss.value(program.Y, Z) + program.alpha * program.decay(V)
    assert reduction.unit_loss * value == pytest.approx(whole.objective(W, coefficients), rel=1e-9)
    # the same cells: a projected block is feasible in both
    blocks = np.arange(len(V))
    back = reduction.invert(program.cones.project(V, blocks), b)[0]
    assert np.allclose(whole.design.matvec(whole.cones.project(back, blocks)), whole.design.matvec(back), rtol=1e-8)


@pytest.mark.parametrize("unit", [1e-3, 1e-1, 1.0])
def test_the_unit_of_a_free_bias_changes_no_fit(unit):
    rng = np.random.default_rng(9)
    X, y = rng.standard_normal((7, 2)), rng.standard_normal(7)
    program = build_program(X, y, 0.3, 8, Architecture(hidden_bias="free"), 0)
    reduction = Reduction.of(program, np.zeros((1, 1)), tol=(unit / 0.3) ** 2)
    other = reduction.program
    W, beta = rng.standard_normal(program.block_shape), np.zeros((1, 1))
    moved = reduction.apply(W)
    assert np.allclose(reduction.unit_y * other.design.matvec(moved), program.design.matvec(W), rtol=1e-12)
    value = reduction.unit_loss * other.objective(moved, beta)
    assert value == pytest.approx(program.objective(W, beta), rel=1e-12)
    assert other.relaxation == pytest.approx(np.sqrt(1 + unit**2))
    assert other.design.units[-1] == other.bias_unit == pytest.approx(unit)
    assert program.bias_unit == 1e-4  # nothing is changed in place
    assert np.array_equal(other.cones.design.X, other.design.X)
    V = rng.standard_normal((7, 1))
    V -= V.mean()
    small, large = (
        kappa(program, V),
        kappa(other, V) * reduction.unit_x,
    )  # both within the factors hypot(1, unit) below the free one
    assert small <= large * np.hypot(1, unit) * (1 + 1e-12)
    assert large <= small * np.hypot(1, 1e-4) * (1 + 1e-12)


def newton_point(loss, architecture, seed=10):
    """An equation of a proximal point step, predictions, and the residual as a function of these."""
    rng = np.random.default_rng(seed)
    Y = targets(loss, rng, 6)
    X = rng.standard_normal((6, 2)) if architecture.patches is None else rng.standard_normal((6, 4))
    program = build_program(X, Y, 0.05, 8, architecture, 0, loss)
    blocks = np.arange(program.design.n_blocks)
    W = program.cones.project(0.3 * rng.standard_normal(program.block_shape), blocks)
    sub = Subproblem(program, blocks, np.full(W.shape, -1, np.int32), program.design)
    center = Center(loss, W, rng.standard_normal((sub.basis.shape[1], Y.shape[1])), 0.7, 5.0)
    Z = rng.standard_normal(Y.shape)

    def residual(Z):
        point = _evaluate(sub, center, Z)
        return sub.fit(point.W, point.beta) - Z

    return sub, center, Z, residual


def jacobian(residual, Z, step=1e-6):
    steps = step * np.eye(Z.size).reshape(-1, *Z.shape)
    return np.array([(residual(Z + D) - residual(Z - D)).ravel() / (2 * step) for D in steps]).T


@pytest.mark.parametrize("columns", [3000, 0])
@pytest.mark.parametrize("loss", [Softmax(sample_weight=WEIGHTS[:6]), Logistic(sample_weight=WEIGHTS[:6]), Squared()])
@pytest.mark.parametrize("kind", KINDS)
def test_directions_solve_the_dense_system(kind, loss, columns, monkeypatch):
    """(I + step C C'H) dZ = r, its matrix by differences of the residual: dense, and by conjugate gradients."""
    monkeypatch.setattr(systems, "COUPLED_COLUMNS", columns)
    monkeypatch.setattr(systems, "CG_TOL", 1e-12)
    sub, center, Z, residual = newton_point(loss, Architecture(output_penalty="l1", **kind))
    point, r, H = _evaluate(sub, center, Z), residual(Z), loss.curvature(sub.program.Y, Z)
    assert 0 < np.count_nonzero(point.W.any(axis=1)) < point.W[:, 0].size
    if loss.separable:
        direction = systems.direction_of_output(systems.Face(sub, center, point, 0), H[:, 0], r[:, 0])[:, None]
    else:
        direction = systems.coupled_direction(sub, center, point, H, r)
    expected = np.linalg.solve(-jacobian(residual, Z), r.ravel()).reshape(r.shape)
    assert np.allclose(direction, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    assert not np.allclose(direction, r, rtol=1e-2)


def check_equal(one, other, scale=1.0):
    """The optimum of a problem (arguments of `solved`) is that of another times `scale`, by all solvers."""
    values, others = ([s.certificate.objective for s in solved(*problem, tol=3e-9)] for problem in (one, other))
    assert values == pytest.approx([scale * others[0]] * len(values), rel=1e-8)
    assert others == pytest.approx([others[0]] * len(others), rel=1e-8)


def data(seed, n=5, d=2):
    rng = np.random.default_rng([seed, 3])
    return rng.standard_normal((n, d)), 2 * rng.standard_normal(n)


def test_losses_and_activations_that_include_others():
    """Huber's, inside of delta; tau |r| = |r| / 2 for tau = 1/2; slopes 0 and -1."""
    (X, y), network = data(0), Architecture()
    check_equal((X, y, 0.4, network, Huber(delta=100.0)), (X, y, 0.4, network, Squared()))
    check_equal((X, y, 0.2, network, Quantile()), (X, y, 0.4, network, Absolute()), 0.5)
    for slope, activation in ((0.0, "relu"), (-1.0, "abs")):
        leaky = Architecture("leaky_relu", negative_slope=slope)
        check_equal((X, y, 0.3, leaky), (X, y, 0.3, Architecture(activation)))


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_two_classes_are_the_logistic_loss(fit_intercept):
    """Softmax of two outputs is the logistic loss of z_2 - z_1.

    With l1 output weights R(z_1) + R(z_2) >= R(z_2 - z_1), with equality at z_1 = 0: the same alpha. With weight decay
    (gated networks: nuclear norms) output weights (-a, a) have the length sqrt2 |a| and the difference 2 a.
    """
    (X, y), parts = data(1), {"hidden_bias": "none", "fit_intercept": fit_intercept}
    labels = np.sign(y)
    onehot = np.column_stack([labels < 0, labels > 0]).astype(float)
    for activation, penalty, factor in (("relu", "l1", 1.0), ("gated_relu", "weight_decay", 2**-0.5)):
        two, one = Architecture(activation, output_penalty=penalty, **parts), Architecture(activation, **parts)
        check_equal((X, onehot, 0.3, two, Softmax()), (X, labels, 0.3 * factor, one, Logistic()))


@pytest.mark.parametrize("name", LOSSES)
def test_sample_weights(name):
    """A sample twice is a sample of weight 2. Weights and alpha times t are the objective times t."""
    X, y = data(2, n=4)
    y = y if name in ("squared_error", "huber", "absolute_error", "quantile") else np.sign(y)
    y = np.eye(3)[[0, 1, 2, 1]] if name == "softmax" else y
    twice, weights = np.array([0, 1, 1, 2, 3, 3]), np.array([1.0, 2.0, 1.0, 2.0])
    network = Architecture(hidden_bias="none", output_penalty="l1")
    weighted = X, y, 0.4, network, make_loss(name, weights, quantile=0.7)
    check_equal((X[twice], y[twice], 0.4, network, make_loss(name, quantile=0.7)), weighted)
    check_equal((X, y, 0.4 * 7.5, network, make_loss(name, 7.5 * weights, quantile=0.7)), weighted, 7.5)


@pytest.mark.parametrize(("pooling", "factor"), [("mean", 1.0), ("max", 1.0), ("sum", 2.0)])
def test_pooled_patches(pooling, factor):
    """One patch is the input; mean and maximum of two equal ones are the neuron, their sum is twice the neuron.

    The mean of K = 3 patches is their sum for blocks K times as long.
    """
    (X, y), dense = data(3), Architecture()
    one, two = (Architecture(patches=Patches((1, d), 2, 2, pooling=pooling)) for d in (2, 4))
    check_equal((X, y, 0.2, one), (X, y, 0.2, dense))
    check_equal((np.hstack([X, X]), y, 0.2, two), (X, y, 0.2 / factor, dense))
    if pooling == "sum":
        X, *networks = data(4, d=4)[0], *(Architecture(patches=Patches((1, 4), 2, pooling=p)) for p in ("mean", "sum"))
        check_equal((X, y, 0.2, networks[0]), (X, y, 0.6, networks[1]))


@pytest.mark.parametrize("activation", ["relu", "leaky"])
def test_free_hidden_biases_have_no_origin_and_no_unit(activation):
    """A shift of X is one of the biases, which cost nothing; X and alpha times t are w divided by t."""
    (X, y), network = data(5), Architecture(**ACTIVATIONS[activation], hidden_bias="free")
    values = [
        solution.certificate.objective
        for rows, alpha in ((X, 0.3), (X + np.array([50.0, -3.0]), 0.3), (1e3 * X, 300.0))
        for solution in solved(rows, y, alpha, network, tol=1e-7)
    ]
    assert values == pytest.approx([values[0]] * 6, rel=1e-6)
