"""One checker for each protocol, run over every implementation."""

import cvxpy as cp
import numpy as np


def check_loss(loss, Y, rng):
    """Gradient by finite differences, Fenchel-Young, the dual scale by search, the free fit, the cvxpy value."""
    Z = rng.standard_normal(Y.shape)
    step = rng.standard_normal(Y.shape)
    slope = (loss.value(Y, Z + 1e-6 * step) - loss.value(Y, Z - 1e-6 * step)) / 2e-6
    assert np.isclose(slope, np.sum(loss.grad(Y, Z) * step), rtol=1e-6)
    T = rng.standard_normal(Y.shape)
    assert loss.value(Y, Z) + loss.conjugate(Y, T) >= np.sum(Z * T) - 1e-12
    T = loss.grad(Y, Z)
    assert np.isclose(loss.value(Y, Z) + loss.conjugate(Y, T), np.sum(Z * T))
    V = rng.standard_normal(Y.shape)
    for limit in (0.01, 0.3, 100.0):
        dual = [-loss.conjugate(Y, -t * V) for t in np.linspace(-limit, limit, 2001)]
        best = loss.best_scale(Y, V, limit)
        assert abs(best) <= limit
        assert -loss.conjugate(Y, -best * V) >= max(dual) - 1e-12
    assert loss.best_scale(Y, np.zeros_like(Y), 1.0) == 0.0
    columns = np.linalg.qr(rng.standard_normal((len(Y), 2)))[0]
    beta = loss.fit_free(Y, columns)
    assert np.allclose(columns.T @ loss.grad(Y, columns @ beta), 0, atol=1e-10)
    assert np.isclose(loss.to_cvxpy(Y, cp.Constant(Z)).value, loss.value(Y, Z))


def check_penalty(penalty, rng):
    """Homogeneous, convex, and the cvxpy value."""
    W, V = rng.standard_normal((2, 5, 3, 1))
    assert np.isclose(penalty.value(-2 * W), 2 * penalty.value(W))
    assert penalty.value(W + V) <= penalty.value(W) + penalty.value(V)
    assert np.isclose(penalty.to_cvxpy(cp.Constant(W[:, :, 0])).value, penalty.value(W))


def check_design(design, n_outputs, rng):
    """Dense blocks, and the adjoint."""
    W = rng.standard_normal((design.n_blocks, design.X.shape[1], n_outputs))
    W[rng.random(design.n_blocks) < 0.3] = 0.0
    V = rng.standard_normal((len(design.X), n_outputs))
    dense = np.array([design.block(b) for b in range(design.n_blocks)])
    assert np.allclose(design.matvec(W), np.einsum("bnd,bdc->nc", dense, W))
    assert np.allclose(design.rmatvec(V), np.einsum("bnd,nc->bdc", dense, V))


def check_cones(cones, design, U):
    """Moreau's conditions: u feasible and orthogonal to g - u, g - u in the polar cone; u stays when projected."""
    blocks = np.arange(design.n_blocks)
    projected = cones.project(U, blocks)
    assert np.allclose(cones.project(projected, blocks), projected, atol=1e-12)
    scale = np.linalg.norm(design.X, axis=1) + 1e-300
    for b in blocks:
        A = (2.0 * design.arrangements.patterns([b % len(design.arrangements)])[0] - 1)[:, None] * design.X
        A = A / scale[:, None]
        for g, u in zip(U[b].T, projected[b].T, strict=True):
            length = max(np.linalg.norm(g), 1e-300)
            assert (A @ u).min() >= -1e-12 * length
            assert abs(u @ (g - u)) <= 1e-12 * length**2
            # polar: g - u = -A' mu with mu >= 0, by an independent solver
            assert distance_to_cone(A, u - g) <= 1e-10 * length


def distance_to_cone(A, target):
    """Distance of a vector to the cone {A' mu : mu >= 0}, by scipy."""
    from scipy.optimize import nnls

    return nnls(A.T, target, maxiter=100 * len(A))[1]
