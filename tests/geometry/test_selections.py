"""Max pooling: selections, their cones, and programs against cvxpy, networks and restarts of their objective."""

from itertools import product

import cvxpy as cp
import numpy as np
import pytest
from checks import distance_to_cone
from oracles import NetworkProblem, best_of_restarts
from scipy.optimize import linprog

from convexnn.geometry.arrangements import Arrangements
from convexnn.geometry.patches import Patches
from convexnn.geometry.selections import (
    enumerate_selections,
    resolve_selections,
    sample_selections,
    selected_patches,
    selection_bits,
)
from convexnn.losses import Logistic
from convexnn.model.architecture import Architecture
from convexnn.model.building import build_program
from convexnn.model.design import Design
from convexnn.model.selection_cones import SelectionCones
from convexnn.networks.recovery import recover
from convexnn.pricing import kappa
from convexnn.pricing.search import CellSearch
from convexnn.solvers.descent import descend
from convexnn.solvers.generation import solve_generation
from convexnn.solvers.reference import solve_reference
from convexnn.solvers.working_set import solve_working_set


def cone_rows(patches, selection):
    """The rows of the cone of a selection (-1 for none), written from the definition; patches (n, K, d)."""
    rows = []
    for x, s in zip(patches, selection, strict=True):
        for patch in range(len(x)):
            rows.append(-x[patch] if s < 0 else x[s] if patch == s else x[s] - x[patch])
    return np.array(rows)


def brute_force(patches):
    """All selections whose cones have inner points, by a linear program each, without copies of patches."""
    n, K, d = patches.shape
    found = []
    for selection in product(range(-1, K), repeat=n):
        rows = cone_rows(patches, selection)
        first = all(s <= 0 or not (x[:s] == x[s]).all(axis=1).any() for x, s in zip(patches, selection, strict=True))
        if not first or any(s >= 0 and not x[s].any() for x, s in zip(patches, selection, strict=True)):
            continue
        rows = rows[rows.any(axis=1)]
        # maximise t subject to rows u >= t
        solved = linprog(
            np.r_[np.zeros(d), -1.0],
            A_ub=np.column_stack([-rows, np.ones(len(rows))]),
            b_ub=np.zeros(len(rows)),
            bounds=[(-1, 1)] * d + [(None, 1)],
        )
        if -solved.fun > 1e-9:
            found.append(selection)
    return sorted(found)


def generic(rng):
    return rng.standard_normal((3, 3, 2))


def integers(rng):
    return rng.integers(-2, 3, (3, 3, 2)).astype(float)


def copies(rng):
    patches = rng.standard_normal((3, 3, 2))
    patches[0, 2], patches[1] = patches[0, 0], patches[1, 1]
    return patches


def with_zeros(rng):
    patches = rng.standard_normal((3, 2, 3))
    patches[0, 1], patches[2] = 0.0, 0.0
    return patches


def with_bias(rng):
    return np.concatenate([rng.standard_normal((3, 2, 2)), np.ones((3, 2, 1))], axis=2)


KINDS = (generic, integers, copies, with_zeros, with_bias)


@pytest.mark.parametrize("kind", KINDS)
def test_enumeration_finds_the_cells_of_linear_programs(kind):
    patches = kind(np.random.default_rng(1))
    K, d = patches.shape[1:]
    selections = enumerate_selections(patches.reshape(-1, d), K)
    assert selections.complete
    found = selected_patches(selections.patterns(), K)
    assert sorted(map(tuple, found.tolist())) == brute_force(patches)
    for selection, gate in zip(found, selections.gates, strict=True):
        rows = cone_rows(patches, selection)
        assert (rows[rows.any(axis=1)] @ gate > 0).all()


def test_selections_of_gates_give_the_maximum():
    rng = np.random.default_rng(0)
    patches = rng.standard_normal((7, 4, 3))
    patches[2, 3], patches[4, 1] = patches[2, 1], 0.0
    X, gates = patches.reshape(-1, 3), rng.standard_normal((50, 3))
    patterns = np.unpackbits(selection_bits(X, gates, 4), axis=1, count=len(X)).view(bool)
    chosen = patterns.reshape(50, 7, 4)
    assert chosen.sum(axis=2).max() == 1
    values = np.einsum("gnk,nkd,gd->gn", chosen.astype(float), patches, gates)
    assert np.allclose(values, np.maximum(0.0, (patches @ gates.T).max(axis=1)).T)
    assert not chosen[:, 2, 3].any()  # a copy is the first of its kind


def test_rounding_of_coordinates_does_not_split_copies():
    rng = np.random.default_rng(0)
    patches = rng.standard_normal((5, 3, 4))
    rotation = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    X = patches.reshape(-1, 4) @ rotation
    X[2::3] = X[0::3] * (1 + 2 * np.finfo(float).eps)
    gates = rng.standard_normal((40, 4))
    assert not np.unpackbits(selection_bits(X, gates, 3), axis=1, count=15).reshape(40, 5, 3)[:, :, 2].any()
    cones = SelectionCones(Design(X, resolve_selections(X, gates, 3), (1.0, -1.0), 0.0, 3))
    rows = cones.rows(0).reshape(5, 3, 4)
    chosen = selected_patches(cones.design.arrangements.patterns([0]), 3)[0]
    assert (chosen == 0).any()
    assert not rows[chosen == 0, 2].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_projections_satisfy_moreaus_conditions(kind, n_outputs):
    rng = np.random.default_rng(3)
    patches = kind(rng)
    K, d = patches.shape[1:]
    design = Design(patches.reshape(-1, d), enumerate_selections(patches.reshape(-1, d), K), (1.0, -1.0), 0.0, K)
    check_projections(design, rng, n_outputs)


def test_projections_in_more_dimensions():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((20 * 6, 7))
    check_projections(Design(X, sample_selections(X, 6, 15, random_state=0), (1.0, -1.0), 0.0, 6), rng, 1)


def check_projections(design, rng, n_outputs):
    K, d, cones = design.n_patches, design.X.shape[1], SelectionCones(design)
    blocks = np.arange(design.n_blocks)
    U, tight = rng.standard_normal((len(blocks), d, n_outputs)), np.full((len(blocks), d, n_outputs), -1, np.int32)
    projected = cones.project(U, blocks, tight)
    selected = selected_patches(design.arrangements.patterns(), K)
    for b in blocks:
        A = cone_rows(design.X.reshape(-1, K, d), selected[b % len(selected)])
        lengths = np.linalg.norm(A, axis=1, keepdims=True)
        A = A / np.where(lengths > 0, lengths, 1.0)
        assert np.allclose(cones.rows(b), A, atol=1e-14)
        for g, u, own in zip(U[b].T, projected[b].T, tight[b].T, strict=True):
            length = np.linalg.norm(g)
            assert (A @ u).min() >= -1e-12 * length
            assert abs(u @ (g - u)) <= 1e-12 * length**2
            assert distance_to_cone(A, (u - g) / length) <= 1e-10
            assert np.abs(A[own[own >= 0]] @ u).max(initial=0.0) <= 1e-12 * length
    again = cones.project(U + 0.01, blocks, tight.copy())
    assert np.allclose(again, cones.project(U + 0.01, blocks), atol=1e-12)
    check_bases(cones, projected[:, :, 0], np.ascontiguousarray(tight[:, :, 0]), blocks)
    check_floor(cones, U, blocks, projected)


def check_bases(cones, P, tight, blocks):
    alive = np.linalg.norm(P, axis=1) > 1e-6
    T, offsets = cones.face_bases(P[alive], tight[alive], blocks[alive])
    for j, b in enumerate(blocks[alive]):
        basis, own = T[:, offsets[j] : offsets[j + 1]], tight[b][tight[b] >= 0]
        assert np.allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)
        assert np.allclose(basis[:, 0], P[b] / np.linalg.norm(P[b]))
        assert np.abs(cones.rows(b)[own] @ basis).max(initial=0.0) <= 1e-12


def check_floor(cones, U, blocks, projected):
    floor = float(np.median(np.linalg.norm(projected, axis=1)))
    bounded, exact = (np.linalg.norm(cones.project(U, blocks, least=least), axis=1) for least in (floor, 0.0))
    assert (bounded >= exact - 1e-12).all()
    assert np.allclose(bounded[exact > floor], exact[exact > floor])
    assert (bounded[exact <= floor] <= floor + 1e-12).all()


def problem(seed, logistic=False):
    """Inputs, targets, patches and the architecture of a tiny network."""
    rng = np.random.default_rng(seed)
    n, K = int(rng.integers(4, 7)), int(rng.integers(2, 4))
    patches = Patches((1, K + 1), 2, pooling="max")
    X, y = rng.standard_normal((n, K + 1)), rng.standard_normal(n)
    bias, intercept = ("none", "penalized")[seed % 2], seed % 3 == 0
    return X, np.sign(y) if logistic else y, Architecture("relu", bias, intercept, patches=patches)


def cvxpy_optimum(X, y, alpha, architecture, logistic=False):
    """The optimum over all selections, a variable and a cone for each, from the definition."""
    patches = np.stack([X[:, k : k + 2] for k in range(X.shape[1] - 1)], axis=1)
    if architecture.hidden_bias == "penalized":
        patches = np.concatenate([patches, np.ones((*patches.shape[:2], 1))], axis=2)
    n, d = patches.shape[0], patches.shape[2]
    rng, selections = np.random.default_rng(0), set()
    for u in rng.standard_normal((20000, d)):
        values = patches @ u
        selections.add(tuple(np.where(values.max(axis=1) > 0, values.argmax(axis=1), -1).tolist()))
    fit, size, constraints = cp.Variable() * np.ones(n) if architecture.fit_intercept else np.zeros(n), 0.0, []
    for selection in selections:
        rows = np.array([np.zeros(d) if s < 0 else x[s] for x, s in zip(patches, selection, strict=True)])
        u, v = cp.Variable(d), cp.Variable(d)
        fit, size = fit + rows @ (u - v), size + cp.norm(u) + cp.norm(v)
        constraints += [cone_rows(patches, selection) @ w >= 0 for w in (u, v)]
    loss = cp.sum(cp.logistic(cp.multiply(-y, fit))) if logistic else 0.5 * cp.sum_squares(fit - y)
    return cp.Problem(cp.Minimize(loss + alpha * size), constraints).solve(solver=cp.CLARABEL)


def check_network(solution, X, y, logistic=False):
    program, network = solution.program, recover(solution)
    Z = network.predict(X)
    assert np.allclose(Z, solution.Z[:, 0], atol=1e-9)
    loss = np.logaddexp(0.0, -y * Z).sum() if logistic else 0.5 * ((Z - y) ** 2).sum()
    decay = network.weight_decay()
    objective = solution.certificate.objective
    assert abs(loss + program.alpha * decay - objective) <= 1e-8 * objective


@pytest.mark.parametrize("seed", range(12))
def test_optimum_is_that_of_cvxpy_and_of_the_network(seed):
    X, y, architecture = problem(seed)
    program = build_program(X, y, 0.1, "all", architecture)
    solution = solve_working_set(program, tol=1e-8)
    assert solution.certificate.scope == "global"
    assert solution.certificate.gap <= 1e-8
    assert np.isclose(solution.certificate.objective, cvxpy_optimum(X, y, 0.1, architecture), rtol=1e-6)
    check_network(solution, X, y)


@pytest.mark.parametrize("seed", [0, 1])
def test_reference_and_free_biases(seed):
    X, y, architecture = problem(seed)
    program = build_program(X, y, 0.1, "all", architecture)
    reference = solve_reference(program, tol=1e-6)
    engine = solve_working_set(program, tol=1e-8)
    assert np.isclose(reference.certificate.objective, engine.certificate.objective, rtol=1e-6)
    check_network(reference, X, y)
    free = Architecture("relu", "free", True, patches=architecture.patches)
    check_network(solve_working_set(build_program(X, y, 0.1, "all", free), tol=1e-7), X, y)


@pytest.mark.parametrize(("seed", "slack"), [(1, 1e-3), (2, 1e-3), (5, 1e-3), (3, 1e-2), (4, 1e-2)])
def test_no_restart_is_below_the_optimum(seed, slack):
    """Restarts end at the optimum, or, for some data, near it at networks that another neuron would improve."""
    X, y, architecture = problem(seed)
    solution = solve_working_set(build_program(X, y, 0.1, "all", architecture), tol=1e-8)
    patches = architecture.patches.extract(X)
    names = {"hidden_bias": architecture.hidden_bias, "fit_intercept": architecture.fit_intercept}
    best = best_of_restarts(NetworkProblem(patches, y, 0.1, 12, pooling="max", **names), 8, seed)[0]
    assert best >= solution.certificate.lower_bound * (1 - 1e-9)
    assert best <= solution.certificate.objective * (1 + slack)


def test_logistic_loss():
    X, y, architecture = problem(5, logistic=True)
    solution = solve_working_set(build_program(X, y, 0.05, "all", architecture, loss=Logistic()), tol=1e-8)
    assert np.isclose(solution.certificate.objective, cvxpy_optimum(X, y, 0.05, architecture, True), rtol=1e-6)
    check_network(solution, X, y, logistic=True)


def test_several_outputs():
    X, y, architecture = problem(4)
    Y = np.column_stack([y, y[::-1]])
    architecture = Architecture("relu", "none", False, patches=architecture.patches, output_penalty="l1")
    both = solve_working_set(build_program(X, Y, 0.1, "all", architecture), tol=1e-8).certificate.objective
    apart = [solve_working_set(build_program(X, y, 0.1, "all", architecture), tol=1e-8) for y in Y.T]
    assert np.isclose(both, sum(one.certificate.objective for one in apart), rtol=1e-7)


def test_sampled_selections_bound_from_above():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 12)), rng.standard_normal(30)
    architecture = Architecture("relu", patches=Patches((1, 12), 4, pooling="max"))
    objectives = []
    for size in (20, 200):
        program = build_program(X, y, 0.5, size, architecture, random_state=0)
        solution = solve_working_set(program, tol=1e-7)
        assert len(program.design.arrangements) == size
        assert program.scope == "sampled"
        check_network(solution, X, y)
        again = build_program(X, y, 0.5, program.design.arrangements, architecture)
        assert again.design.arrangements is program.design.arrangements
        objectives.append(solution.certificate.objective)
    assert objectives[1] < objectives[0] < program.loss.value(program.Y, program.free @ program.zero()[1])


def values(X, n_patches, v, U):
    """h(u) = sum_i v_i max(0, max_k x_ik.u) at the rows of U."""
    return np.maximum(0.0, (U @ X.T).reshape(len(U), -1, n_patches).max(axis=2)) @ v


@pytest.mark.parametrize("seed", range(4))
def test_search_finds_kappa(seed):
    X, _, architecture = problem(seed)
    program = build_program(X, X[:, 0], 0.1, "all", architecture)
    design, K = program.design, architecture.patches.n_patches
    V = np.random.default_rng(seed).standard_normal((len(X), 1))
    exact = kappa(program, V)
    search = CellSearch(design, np.random.RandomState(0), maximum=True)
    none = np.zeros((0, design.X.shape[1]))
    maxima = search.maxima(V, 0.5 * exact, none, none[:, 0], search.n_starts)
    assert np.isclose(maxima.values[0], exact, rtol=1e-10)
    assert np.allclose(maxima.values, maxima.signs * values(design.X, K, V[:, 0], maxima.directions))
    assert bytes(maxima.bits[0]) in {bytes(bits) for bits in design.arrangements.bits}


def test_ascents_rise_and_climbs_end_at_local_maxima():
    rng = np.random.default_rng(1)
    X, K = rng.standard_normal((30 * 5, 4)), 5
    design = Design(X, sample_selections(X, K, 40, random_state=1), (1.0, -1.0), 0.0, K)
    V, signs = rng.standard_normal((30, 1)), rng.choice([-1.0, 1.0], 40)
    search = CellSearch(design, np.random.RandomState(0), maximum=True)
    starts = np.linalg.norm(SelectionCones(design).project(design.rmatvec(V), np.arange(80))[:, :, 0], axis=1)
    ascended = search.ascend(V, signs, U := design.arrangements.gates)
    before = signs * values(X, K, V[:, 0], U) / np.linalg.norm(U, axis=1)
    assert (ascended.values >= before - 1e-12).all()
    assert (ascended.values > before + 0.1).sum() > 20
    assert np.allclose(ascended.values, signs * values(X, K, V[:, 0], ascended.directions))
    climbed = search.climb(V, signs, design.arrangements.patterns(), 500)
    assert (climbed.values >= np.where(signs > 0, starts[:40], starts[40:]) - 1e-12).all()
    alive = climbed.values > 0
    assert alive.any()
    assert np.allclose(climbed.values, np.where(alive, signs * values(X, K, V[:, 0], climbed.directions), 0.0))
    for value, u, sign in zip(climbed.values[alive], climbed.directions[alive], signs[alive], strict=True):
        near = u + 1e-4 * rng.standard_normal((300, 4))
        near /= np.linalg.norm(near, axis=1, keepdims=True)
        assert (sign * values(X, K, V[:, 0], near)).max() <= value + 1e-12


@pytest.mark.parametrize("seed", range(6))
def test_generation_reaches_the_optimum_over_all_selections(seed):
    X, y, architecture = problem(seed)
    optimum = solve_working_set(build_program(X, y, 0.1, "all", architecture), tol=1e-9).certificate
    solution = solve_generation(build_program(X, y, 0.1, "adaptive", architecture), tol=1e-7, random_state=0)
    assert solution.certificate.scope == "local"
    assert solution.certificate.objective >= optimum.lower_bound * (1 - 1e-12)
    assert np.isclose(solution.certificate.objective, optimum.objective, rtol=2e-7)
    check_network(solution, X, y)
    kept = build_program(X, y, 0.1, solution.program.design.arrangements, architecture)
    assert np.isclose(solve_working_set(kept, tol=1e-9).certificate.objective, optimum.objective, rtol=2e-7)


def test_generation_of_two_outputs_refuses_proofs():
    X, y, architecture = problem(4)
    Y = np.column_stack([y, y[::-1]])
    architecture = Architecture("relu", "none", False, patches=architecture.patches, output_penalty="l1")
    optimum = solve_working_set(build_program(X, Y, 0.1, "all", architecture), tol=1e-9).certificate.objective
    program = build_program(X, Y, 0.1, "adaptive", architecture)
    assert np.isclose(solve_generation(program, random_state=0).certificate.objective, optimum, rtol=2e-6)
    with pytest.raises(ValueError, match="scope must be"):
        solve_generation(program, scope="global")


def test_descent_has_the_objective_of_the_network():
    (X, y, architecture), rng = problem(3), np.random.default_rng(0)
    program = build_program(X, y, 0.1, "adaptive", architecture)
    U, signs = rng.standard_normal((12, program.design.X.shape[1])), rng.choice([-1.0, 1.0], 12)
    beta = np.zeros((program.free_basis[0].shape[1], 1))

    limits = {"max_iter": 300, "ftol": 1e-12, "observe": lambda: False}
    U, signs, _, beta = descend(program, U, signs, np.zeros(12, int), beta, **limits)
    names = {"pooling": "max", "hidden_bias": "penalized", "fit_intercept": True}
    best = best_of_restarts(NetworkProblem(architecture.patches.extract(X), y, 0.1, 12, **names), 4, 0)[0]
    hidden = values(program.design.X, architecture.patches.n_patches, np.eye(len(X)), U)
    Z = signs @ hidden + program.free_basis[0] @ beta[:, 0]
    assert 0.5 * np.sum((Z - y) ** 2) + 0.1 * np.linalg.norm(U, axis=1).sum() <= 1.1 * best


def test_what_does_not_fit_is_refused():
    rng = np.random.default_rng(0)
    X, y, patches = rng.standard_normal((6, 4)), rng.standard_normal(6), Patches((1, 4), 2, pooling="max")
    rows = Architecture("relu", "none", patches=patches).hidden_rows(X)
    with pytest.raises(ValueError, match='pooling="max" is for activation="relu"'):
        build_program(X, y, 0.1, 10, Architecture("leaky_relu", patches=patches))
    with pytest.raises(ValueError, match="more than max_cells=10"):
        enumerate_selections(rows, 3, max_cells=10)
    with pytest.raises(ValueError, match="a row for each of the 4 patches"):
        sample_selections(rows, 4, 10)
    with pytest.raises(ValueError, match='"adaptive", a number'):
        resolve_selections(rows, "most", 3)
    with pytest.raises(ValueError, match="gates must have one column a feature"):
        resolve_selections(rows, np.ones((2, 5)), 3)
    with pytest.raises(ValueError, match="other data or another pooling"):
        resolve_selections(rows, Arrangements.from_gates(rows, rng.standard_normal((5, 2))), 3)
    with pytest.raises(ValueError, match="made for 18 samples"):
        resolve_selections(rows[:-3], resolve_selections(rows, 4, 3, 0), 3)
    with pytest.warns(UserWarning, match="distinct patterns were found"):
        sample_selections(rng.standard_normal((12, 1)), 3, 17, random_state=0)
