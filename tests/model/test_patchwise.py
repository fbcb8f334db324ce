"""An output weight for every patch: linear and gated convolutional networks, against cvxpy on the formula."""

import cvxpy as cp
import numpy as np
import pytest

from convexnn import Architecture
from convexnn.geometry.arrangements import sample_arrangements
from convexnn.geometry.patches import Patches
from convexnn.losses import Softmax, Squared
from convexnn.model import build_program
from convexnn.model.design import DirectedDesign, PatchwiseDesign
from convexnn.networks import recover
from convexnn.solvers import solve_reference, solve_working_set

TIGHT = {"solver": "CLARABEL", "tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
PATCHES = Patches((1, 4), kernel_size=2, pooling="none")


def test_patchwise_design():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((15, 2))
    design = PatchwiseDesign(X, sample_arrangements(X, 5, random_state=0), (1.0,), 0.0, 3)
    W, V = rng.standard_normal((5, 2, 6)), rng.standard_normal((5, 2))
    D = design.arrangements.patterns().reshape(5, 5, 3).astype(float)
    rows = X.reshape(5, 3, 2)
    expected = np.einsum("bnk,nkd,bdko->no", D, rows, W.reshape(5, 2, 3, 2))
    assert np.allclose(design.matvec(W), expected)
    assert np.isclose(np.sum(design.rmatvec(V) * W), np.sum(V * design.matvec(W)))
    some = np.array([3, 0])
    assert np.allclose(design.rmatvec(V, some), design.rmatvec(V)[some])
    assert np.allclose(design.matvec(W[some], some), design.matvec(W * np.isin(np.arange(5), some)[:, None, None]))
    assert np.allclose(design.block(2), (D[2, :, :, None] * rows))
    assert np.allclose(sum(S @ (X @ W[0, :, 0]) for S in design.sums()), (X @ W[0, :, 0]).reshape(5, 3).sum(axis=1))
    for b in range(5):  # an upper bound of the largest singular value, of which steps are made
        dense = (D[b, :, :, None] * rows).transpose(0, 2, 1).reshape(5, -1)
        assert np.linalg.norm(dense, 2) ** 2 <= design.squared_norm * (1 + 1e-12)


def test_directed_design():
    rng = np.random.default_rng(1)
    X, g = rng.standard_normal((12, 3)), rng.standard_normal((4, 2))
    design = DirectedDesign(X, sample_arrangements(X, 4, random_state=0), (1.0,), -0.5, 2, directions=g)
    W, V = rng.standard_normal((4, 3, 1)), rng.standard_normal((6, 2))
    activity = np.where(design.arrangements.patterns(), 1.0, -0.5)
    hidden = (activity * (W[:, :, 0] @ X.T)).reshape(4, 6, 2).sum(axis=2)
    assert np.allclose(design.matvec(W), hidden.T @ g)
    assert np.isclose(np.sum(design.rmatvec(V) * W), np.sum(V * design.matvec(W)))
    some = np.array([2, 1])
    assert np.allclose(design.rmatvec(V, some), design.rmatvec(V)[some])
    assert np.allclose(design.matvec(W[some], some), hidden[some].T @ g[some])
    assert np.allclose(design.block(3) @ W[3, :, 0], hidden[3])


@pytest.mark.parametrize("loss", [Squared(), Softmax()], ids=["squared_error", "softmax"])
@pytest.mark.parametrize("activation", ["gated_relu", "linear"])
@pytest.mark.parametrize("hidden_bias", ["none", "penalized"])
def test_against_the_formula(loss, activation, hidden_bias):
    rng, n, c, K = np.random.RandomState(0), 10, 2, 3
    X, Y = rng.standard_normal((n, 4)), rng.standard_normal((n, c))
    Y = np.eye(c)[rng.randint(0, c, n)] if isinstance(loss, Softmax) else Y
    architecture = Architecture(activation, hidden_bias, fit_intercept=True, patches=PATCHES)
    program = build_program(X, Y, 0.3, 4, architecture, 0, loss)
    rows = np.stack([X[:, k : k + 2] for k in range(K)], axis=1)
    if hidden_bias == "penalized":
        rows = np.concatenate([rows, np.ones((n, K, 1))], axis=2)
    h = rows.shape[2]
    masks = program.design.arrangements.patterns().reshape(-1, n, K).astype(float)
    if activation == "gated_relu":
        gates = program.design.arrangements.gates
        assert np.array_equal(masks, np.einsum("nkh,bh->bnk", rows, gates) >= 0)
    blocks = [cp.Variable((h, K * c)) for _ in masks]
    fit = np.ones((n, 1)) @ cp.Variable((1, c))
    for mask, Z in zip(masks, blocks, strict=True):
        fit = fit + sum((mask[:, [k]] * rows[:, k]) @ Z[:, k * c : (k + 1) * c] for k in range(K))
    penalty = sum(cp.normNuc(Z) for Z in blocks)
    optimum = cp.Problem(cp.Minimize(loss.to_cvxpy(Y, fit) + 0.3 * penalty)).solve(**TIGHT)
    solution = solve_working_set(program, tol=1e-8)
    assert solution.certificate.gap <= 1e-8
    assert abs(solution.certificate.objective - optimum) <= 1e-7 * optimum
    assert abs(solve_reference(program).certificate.objective - optimum) <= 1e-6 * optimum
    network = recover(solution)
    assert network.W2.shape == (K, network.n_neurons, c)
    assert np.allclose(network.predict(X), solution.Z, atol=1e-10)
    value = loss.value(Y, network.predict(X)) + 0.3 * network.weight_decay()
    assert np.isclose(value, solution.certificate.objective, rtol=1e-10)


def test_one_output():
    rng = np.random.RandomState(1)
    X, y = rng.standard_normal((12, 4)), rng.standard_normal(12)
    solution = solve_working_set(build_program(X, y, 0.3, 6, Architecture("gated_relu", patches=PATCHES), 0), tol=1e-8)
    network = recover(solution)
    assert solution.converged
    assert np.allclose(network.predict(X), solution.Z[:, 0], atol=1e-10)


@pytest.mark.parametrize("options", [{"activation": "relu"}, {"activation": "linear", "output_penalty": "l1"}])
def test_what_is_refused(options):
    X, Y = np.ones((3, 4)), np.ones((3, 2))
    with pytest.raises(ValueError, match='pooling="none" needs activation "linear" or "gated_relu"'):
        build_program(X, Y, 0.3, 4, Architecture(patches=PATCHES, **options))
