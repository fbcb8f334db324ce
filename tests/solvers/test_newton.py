"""Newton's directions, the inner solvers by themselves, and losses other than the squared one."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from checks import check_feasible, dense_prediction
from scipy.linalg import LinAlgError, null_space

from convexnn import Architecture
from convexnn.losses import Absolute, Hinge, Huber, Logistic, Quantile, Squared, SquaredHinge
from convexnn.model import build_program
from convexnn.pricing.alpha_max import kappa_at_zero
from convexnn.solvers import build_reference_program, face_systems, newton, solve_working_set
from convexnn.solvers.fista import solve_fista
from convexnn.solvers.subproblem import Iterate, Subproblem

ARCHITECTURES = {
    "relu": Architecture(hidden_bias="none", fit_intercept=False),
    "relu, free columns": Architecture(skip=True),
    "gated": Architecture("gated_relu", hidden_bias="none", fit_intercept=False),
    "gated, free columns": Architecture("gated_relu", skip=True),
}
by_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)


def random_program(architecture, seed, part=0.05, n=14, d=3, n_patterns=20):
    rng = np.random.default_rng([17, seed])
    X = rng.standard_normal((n, d))
    y = np.abs(X[:, 0]) + rng.standard_normal(n)
    program = build_program(X, y, 1.0, n_patterns, architecture, random_state=seed)
    return program.at(part * kappa_at_zero(program)), rng


def all_blocks(program):
    tight = np.full(program.block_shape, -1, np.int32)
    return Subproblem(program, np.arange(program.design.n_blocks), tight, program.design)


def cvxpy_optimum(program):
    problem = build_reference_program(program).problem
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        return problem.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)


def make_face(program, rng, part=0.5):
    """A proximal point equation at a random point, over 15 blocks in any order, about this part of them not active."""
    blocks = rng.permutation(program.design.n_blocks)[:15]
    W = program.cones.project(rng.standard_normal((15, *program.block_shape[1:])), blocks)
    beta = rng.standard_normal((program.free_basis[0].shape[1], 1))
    center = newton.Center(program.loss, W, beta, 0.3, 7.0)
    Z = rng.standard_normal(program.Y.shape)
    T = W + center.step * program.design.rmatvec(program.Y - Z, blocks)
    norms = np.linalg.norm(program.cones.project(T, blocks), axis=1)
    program = program.at(1.01 * np.quantile(norms, part) / center.step)
    sub = Subproblem(program, blocks, np.full(W.shape, -1, np.int32), program.design)
    point = newton._evaluate(sub, center, Z)
    return face_systems.Face(sub, center, point, 0), center, point


def dense_system(face, center, h):
    """I + step C C' H by the formula, tight rows found anew: those that vanish at the projection."""
    program, P = face.sub.program, face.P
    X, patterns = program.design.X, face.activity()
    spread = center.free_step * face.sub.basis @ face.sub.basis.T
    for b in range(len(P)):
        p = P[b] / np.linalg.norm(P[b])
        c = center.step * program.alpha / np.linalg.norm(P[b])
        N = np.eye(len(p))
        if program.architecture.activation == "relu":
            N = null_space(X[np.abs(X @ p) <= 1e-10 * np.linalg.norm(X, axis=1)])
        A = np.diag(patterns[b].astype(float)) @ X  # its sign cancels
        spread = spread + center.step * A @ ((1 - c) * N @ N.T + c * np.outer(p, p)) @ A.T
    return np.eye(len(X)) + spread @ np.diag(h)


@by_architecture
@pytest.mark.parametrize("seed", range(6))
def test_directions_solve_the_dense_system(architecture, seed, monkeypatch):
    program, rng = random_program(architecture, seed)
    face, center, _ = make_face(program, rng)
    assert 0 < len(face.blocks) < 15
    assert face.unconstrained == (architecture.activation == "gated_relu")
    h, residual = rng.uniform(0.01, 1.0, 14), rng.standard_normal(14)
    system = dense_system(face, center, h)
    expected = np.linalg.solve(system, residual)
    assert face.factor().shape == (14, face.n_columns)
    every = np.arange(14)
    for solve in (face_systems._by_columns, face_systems._by_samples):
        found = solve(face, h, residual, every)
        assert np.allclose(found, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
    found = face_systems.direction_of_output(face, h, residual)
    assert np.allclose(found, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
    found = face_systems._by_gradients(face, h, residual, every)
    assert np.linalg.norm(np.sqrt(h) * (system @ found - residual)) <= 1.01 * face_systems.CG_TOL * np.linalg.norm(
        residual
    )
    monkeypatch.setattr(face_systems, "LARGEST_FACTOR", 1)  # too large for factors: by gradients
    assert np.array_equal(face_systems.direction_of_output(face, h, residual), found)
    monkeypatch.setattr(face_systems, "CG_TOL", 1e-7)
    expected_size = np.linalg.norm(np.sqrt(h) * expected)
    error = np.sqrt(h) * (face_systems._by_gradients(face, h, residual, every) - expected)
    assert np.linalg.norm(error) <= 1e-3 * expected_size


@pytest.mark.parametrize("unit", [1e-200, 1e-60, 1e60, 1e200])
def test_gradients_are_in_the_range_of_single_precision(unit):
    program, rng = random_program(Architecture(), 0)
    face, _, _ = make_face(program, rng)
    h, residual = rng.uniform(0.01, 1.0, 14), rng.standard_normal(14)
    expected = face_systems._by_gradients(face, h, residual, np.arange(14))
    assert np.allclose(face_systems._by_gradients(face, h, unit * residual, np.arange(14)) / unit, expected)


@by_architecture
@pytest.mark.parametrize("n_curved", [0, 1, 5, 11])
@pytest.mark.parametrize("seed", range(3))
def test_samples_without_curvature_are_left_out_of_systems(architecture, n_curved, seed):
    """The directions of all samples, of a loss whose gradient saturates at some of them."""
    program, rng = random_program(architecture, seed)
    face, center, _ = make_face(program, rng)
    h, residual = np.zeros(14), rng.standard_normal(14)
    curved = np.sort(rng.permutation(14)[:n_curved])
    h[curved] = rng.uniform(0.01, 1.0, n_curved)
    expected = np.linalg.solve(dense_system(face, center, h), residual)
    solvers = (face_systems._by_columns, face_systems._by_samples) if n_curved else ()
    found = [
        face_systems.direction_of_output(face, h, residual),
        *(solve(face, h, residual, curved) for solve in solvers),
    ]
    for direction in found:
        assert np.allclose(direction, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())


@by_architecture
@pytest.mark.parametrize("seed", range(6))
def test_the_system_is_the_derivative_of_the_residual(architecture, seed):
    """By finite differences of Z - A prox(W_k + step A' V) - Q (b_k + free Q' V), whose prox is made block by block."""
    program, rng = random_program(architecture, seed)
    face, center, point = make_face(program, rng)
    sub, program, n = face.sub, face.sub.program, len(program.Y)

    def residual(Z):
        V = program.Y - Z
        T = center.W + center.step * np.array([program.design.block(b).T @ V for b in sub.blocks])
        W = program.penalty.prox(program.cones.project(T, sub.blocks), center.step * program.alpha)
        fit = sum(program.design.block(b) @ w for b, w in zip(sub.blocks, W, strict=True))
        return (Z - fit - sub.basis @ (center.beta + center.free_step * sub.basis.T @ V))[:, 0]

    assert np.allclose(residual(point.Z), (point.Z - sub.fit(point.W, point.beta))[:, 0], atol=1e-12)
    steps = 1e-6 * np.eye(n)[:, :, None]
    slopes = np.array([residual(point.Z + step) - residual(point.Z - step) for step in steps]).T / 2e-6
    assert np.allclose(slopes, dense_system(face, center, np.ones(n)), atol=1e-6)
    # and the residual, with the curvature, is the gradient of phi
    phi = [newton._evaluate(sub, center, point.Z + t * steps[3]).phi for t in (1, -1)]
    assert (phi[0] - phi[1]) / 2e-6 == pytest.approx(residual(point.Z)[3], rel=1e-5, abs=1e-7)


@by_architecture
def test_without_active_blocks_or_free_columns_nothing_bends(architecture):
    program, rng = random_program(architecture, 0)
    face, *_ = make_face(program, rng, 1.0)
    assert len(face.blocks) == 0
    assert face.n_columns == program.free_basis[0].shape[1]
    residual = rng.standard_normal(14)
    direction = face_systems.direction_of_output(face, np.ones(14), residual)
    Q = face.free
    assert np.allclose(direction, np.linalg.solve(np.eye(14) + 0.3 * Q @ Q.T, residual))


def test_singular_systems_are_regularised():
    rng = np.random.default_rng(0)
    B = rng.standard_normal((5, 2))
    x = B @ rng.standard_normal(2)
    found = face_systems._solve(lambda: np.asfortranarray(B @ B.T), B @ (B.T @ x))
    assert np.allclose(B @ (B.T @ found), B @ (B.T @ x), atol=1e-5)
    with pytest.raises(LinAlgError, match="X or y is out of range"):
        face_systems._solve(lambda: -np.eye(3, order="F"), np.ones(3))


@by_architecture
@pytest.mark.parametrize(("solve", "tol", "part"), [(newton.solve_newton, 1e-9, 0.01), (solve_fista, 1e-5, 0.4)])
@pytest.mark.parametrize("seed", range(3))
def test_inner_solvers_reach_the_optimum(architecture, solve, tol, part, seed):
    program, _ = random_program(architecture, seed, part)
    optimum, sub, seen = cvxpy_optimum(program), all_blocks(program), []

    def observe(W=None, beta=None, objective=None):
        if W is not None:
            seen.append((program.objective(W, program.free_basis[1] @ beta), objective))

    start = Iterate(np.zeros(program.block_shape), np.zeros((sub.basis.shape[1], 1)), program.Y, 0.0)
    point = solve(sub, start, tol, observe)
    Z = dense_prediction(program, point.W, program.free_basis[1] @ point.beta)
    objective = 0.5 * np.sum((Z - program.Y) ** 2) + program.alpha * np.linalg.norm(point.W, axis=1).sum()
    assert objective == pytest.approx(optimum, rel=max(10 * tol, 1e-8))
    assert np.allclose(point.V, program.Y - Z, atol=1e-2 * np.linalg.norm(program.Y - Z))
    check_feasible(program, point.W)
    assert seen
    assert all(own == pytest.approx(given, rel=1e-10) for given, own in seen)
    assert seen[-1][0] == pytest.approx(objective, rel=1e-12)
    calls = []
    stopped = solve(sub, start, 1e-12, lambda *args: calls.append(args) or len(calls) >= 3)
    assert len(calls) <= 4
    check_feasible(program, stopped.W)


WEIGHTS = 0.5 * 4.0 ** (np.arange(18) % 3)
LOSSES = [
    Logistic(),
    SquaredHinge(),
    Huber(delta=0.7),
    Squared(sample_weight=WEIGHTS),
    Logistic(sample_weight=WEIGHTS),
    Hinge(),
    Absolute(sample_weight=WEIGHTS),
    Quantile(quantile=0.8),
]
LOSS_IDS = [f"{type(loss).__name__}{', weighted' * (loss.sample_weight is not None)}" for loss in LOSSES]
by_loss = pytest.mark.parametrize("loss", LOSSES, ids=LOSS_IDS)


def targets(loss, rng, n):
    if isinstance(loss, (Logistic, Hinge, SquaredHinge)):
        return np.where(np.arange(n) < 2, [1.0, -1.0] * (n // 2) + [1.0] * (n % 2), rng.choice([-1.0, 1.0], n))
    return 3 * rng.standard_normal(n)


@by_loss
@by_architecture
@pytest.mark.parametrize("seed", range(2))
def test_every_loss_drops_in(loss, architecture, seed):
    """With an intercept, and a skip but for losses of labels, which it could separate."""
    rng = np.random.default_rng([23, seed])
    X, y = rng.standard_normal((18, 2)), targets(loss, rng, 18)
    architecture = replace(architecture, skip=architecture.skip and loss.translation_invariant)
    program = build_program(X, y, 1.0, 20, architecture, random_state=seed, loss=loss)
    largest = kappa_at_zero(program)
    silent = solve_working_set(program.at(1.001 * largest), tol=1e-7)
    assert silent.converged
    assert not silent.W.any()
    for part in (0.5, 0.05, 0.005):
        smaller = program.at(part * largest)
        solution, optimum = solve_working_set(smaller, tol=1e-7), cvxpy_optimum(smaller)
        certificate = solution.certificate
        assert solution.converged
        assert certificate.objective == pytest.approx(optimum, rel=1e-6)
        assert certificate.lower_bound <= optimum * (1 + 1e-8)
        assert certificate.lower_bound <= certificate.objective * (1 + 1e-12)
        check_feasible(smaller, solution.W)
        Z = dense_prediction(smaller, solution.W, solution.beta)
        penalty = smaller.alpha * np.linalg.norm(solution.W, axis=1).sum()
        assert certificate.objective == pytest.approx(loss.value(smaller.Y, Z) + penalty, rel=1e-10)


@pytest.mark.parametrize(
    "loss", [Logistic(), Huber(delta=0.7), Squared(sample_weight=WEIGHTS)], ids=lambda loss: type(loss).__name__
)
def test_other_losses_by_gradients(loss):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((18, 2))
    architecture = Architecture(hidden_bias="none")
    program = build_program(X, targets(loss, rng, 18), 1.0, 15, architecture, random_state=0, loss=loss)
    program = program.at(0.2 * kappa_at_zero(program))
    solution = solve_working_set(program, tol=1e-4, inner="fista")
    assert solution.converged
    assert solution.certificate.objective == pytest.approx(cvxpy_optimum(program), rel=1e-4)
