"""One checker for each protocol, run over every implementation."""

import cvxpy as cp
import numpy as np

from convexnn import recover

DEGENERATE = ["integers", "duplicates", "zero rows", "equal columns", "scaled columns", "offset"]


def check_loss(loss, Y, rng):
    """Derivatives by finite differences, Fenchel-Young, the dual scale by search, the free fits, the cvxpy value."""
    Z = rng.standard_normal(Y.shape)
    step = rng.standard_normal(Y.shape)
    slope = (loss.value(Y, Z + 1e-6 * step) - loss.value(Y, Z - 1e-6 * step)) / 2e-6
    assert np.isclose(slope, np.sum(loss.grad(Y, Z) * step), rtol=1e-6)
    T = rng.standard_normal(Y.shape)
    assert loss.value(Y, Z) + loss.conjugate(Y, T) >= np.sum(Z * T) - 1e-12
    T = loss.grad(Y, Z)
    assert np.isclose(loss.value(Y, Z) + loss.conjugate(Y, T), np.sum(Z * T))
    assert np.allclose(loss.grad(Y, loss.inverse_grad(Y, T)), T, rtol=1e-12, atol=1e-14)
    check_curvature(loss, Y, Z)
    V = rng.standard_normal(Y.shape)
    for direction in (V, -T, T):
        for limit in (0.01, 0.3, 100.0):
            dual = [-loss.conjugate(Y, -t * direction) for t in np.linspace(-limit, limit, 2001)]
            best = loss.best_scale(Y, direction, limit)
            assert abs(best) <= limit
            assert -loss.conjugate(Y, -best * direction) >= max(dual) - 1e-12
    assert loss.best_scale(Y, np.zeros_like(Y), 1.0) == 0.0
    columns = np.linalg.qr(rng.standard_normal((len(Y), 2)))[0]
    for offset in (0.0, Z):
        beta = loss.fit_free(Y, columns, offset)
        assert beta.shape == (2, Y.shape[1])
        assert np.allclose(columns.T @ loss.grad(Y, offset + columns @ beta), 0, atol=1e-10)
    assert np.array_equal(loss.fit_free(Y, columns), loss.fit_free(Y, columns, 0.0))
    assert loss.fit_free(Y, columns[:, :0], Z).shape == (0, Y.shape[1])
    if loss.translation_invariant:
        assert np.isclose(loss.value(Y + V, Z + V), loss.value(Y, Z))
    if loss.degree is not None:
        assert np.isclose(loss.value(3.0 * Y, 3.0 * Z), 3.0**loss.degree * loss.value(Y, Z))
    assert np.isclose(loss.to_cvxpy(Y, cp.Constant(Z)).value, loss.value(Y, Z))


def check_curvature(loss, Y, Z):
    """The second derivative, one coordinate at a time: each prediction has its own, none above the smoothness."""
    curvature = loss.curvature(Y, Z)
    assert curvature.shape == Y.shape
    assert (curvature >= 0).all()
    assert (curvature <= loss.smoothness * (1 + 1e-12)).all()
    for index in np.ndindex(Y.shape):
        step = np.zeros_like(Z)
        step[index] = 1e-5
        change = (loss.grad(Y, Z + step) - loss.grad(Y, Z - step)) / 2e-5
        assert np.isclose(change[index], curvature[index], rtol=1e-6, atol=1e-9)
        change[index] = 0.0
        assert not change.any()


def check_penalty(penalty, rng):
    """Homogeneous, convex, and the cvxpy value; the prox and the dual norm, by random search and by cvxpy."""
    W, V = rng.standard_normal((2, 5, 3, 1))
    assert np.isclose(penalty.value(-2 * W), 2 * penalty.value(W))
    assert penalty.value(W + V) <= penalty.value(W) + penalty.value(V)
    assert np.isclose(penalty.to_cvxpy(cp.Constant(W[:, :, 0])).value, penalty.value(W))
    for step in (1e-3, 1.0, 2.0, 100.0):
        check_prox(penalty, rng.standard_normal((6, 3, 2)), step, rng)
    U = rng.standard_normal((4, 3))
    variable = cp.Variable(U.shape)
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(variable - U) + 1.5 * penalty.to_cvxpy(variable)))
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    assert np.allclose(penalty.prox(U[:, :, None], 1.5)[:, :, 0], variable.value, atol=1e-5)
    G = rng.standard_normal((5, 3, 2))
    norms = penalty.dual_norms(G)
    assert norms.shape == (5,)
    for _ in range(200):
        W = rng.standard_normal(G.shape) * (rng.random((5, 1, 2)) < 0.3)
        assert np.sum(G * W) <= norms.max() * penalty.value(W) + 1e-12
        assert (np.einsum("bdc,bdc->b", G, W) <= norms * [penalty.value(w[None]) for w in W] + 1e-12).all()
    variable, G = cp.Variable(G.shape[:2]), G[:, :, :1]
    problem = cp.Problem(cp.Maximize(cp.sum(cp.multiply(G[:, :, 0], variable))), [penalty.to_cvxpy(variable) <= 1])
    assert np.isclose(problem.solve(solver="CLARABEL"), penalty.dual_norms(G).max(), rtol=1e-6)


def check_prox(penalty, P, step, rng):
    """Without cones: f = 1/2 |W - P|^2 + step R is strongly convex, so f(W + D) >= f(W) + 1/2 |D|^2 at its minimum."""
    W = penalty.prox(P, step)
    value = 0.5 * np.sum((W - P) ** 2) + step * penalty.value(W)
    for D in [
        -W,
        P - W,
        *(10.0 ** rng.uniform(-6, 1, 200)[:, None, None, None] * rng.standard_normal((200, *P.shape))),
    ]:
        other = 0.5 * np.sum((W + D - P) ** 2) + step * penalty.value(W + D)
        assert other >= value + 0.5 * np.sum(D**2) - 1e-12 * (value + np.sum(D**2))
    # Moreau: P - W is in the dual ball of radius step, and aligned with W
    assert penalty.dual_norms(P - W).max() <= step * (1 + 1e-12)
    assert np.isclose(np.sum((P - W) * W), step * penalty.value(W))


def check_design(design, n_outputs, rng):
    """Dense blocks, and the adjoint, for all blocks and for some in any order; single precision; X X'."""
    W = rng.standard_normal((design.n_blocks, design.X.shape[1], n_outputs))
    W[rng.random(design.n_blocks) < 0.3] = 0.0
    V = rng.standard_normal((len(design.X), n_outputs))
    dense = np.array([design.block(b) for b in range(design.n_blocks)])
    predictions, gradients = np.einsum("bnd,bdc->nc", dense, W), np.einsum("bnd,nc->bdc", dense, V)
    assert np.allclose(design.matvec(W), predictions)
    assert np.allclose(design.rmatvec(V), gradients)
    for size in (0, 1, design.n_blocks // 2, design.n_blocks):
        blocks = rng.permutation(design.n_blocks)[:size]
        assert np.allclose(design.matvec(W[blocks], blocks), np.einsum("bnd,bdc->nc", dense[blocks], W[blocks]))
        assert np.allclose(design.rmatvec(V, blocks), gradients[blocks])
    assert design.single.X.dtype == np.float32
    products = design.single.matvec(W), design.single.rmatvec(V)
    assert all(product.dtype == np.float64 for product in products)
    assert np.linalg.norm(products[0] - predictions) <= 1e-5 * np.linalg.norm(predictions)
    assert np.linalg.norm(products[1] - gradients) <= 1e-5 * np.linalg.norm(gradients)
    assert np.allclose(design.gram, [[x @ other for other in design.X] for x in design.X])
    assert np.isclose(design.squared_norm, np.linalg.svd(design.X)[1].max() ** 2)


def check_cones(cones, design, U, tol=1e-10):
    """Moreau's conditions: u feasible and orthogonal to g - u, g - u in the polar cone; u stays when projected.

    `tol` is relative to |g|, for the distance of g - u to the polar cone.
    """
    blocks = np.arange(design.n_blocks)
    projected = cones.project(U, blocks)
    lengths = np.maximum(np.linalg.norm(U, axis=1, keepdims=True), 1e-150)
    assert (np.abs(cones.project(projected, blocks) - projected) <= 1e-12 * lengths).all()
    for b in blocks:
        A = cone_rows(design, b)
        for g, u, length in zip(U[b].T, projected[b].T, lengths[b, 0], strict=True):
            assert (A @ u).min() >= -1e-12 * length
            assert abs(u @ (g - u)) <= 1e-12 * length**2
            # polar: g - u = -A' mu with mu >= 0, by an independent solver
            assert distance_to_cone(A, (u - g) / length) <= tol


def cone_rows(design, b):
    """The rows (2 D_b - I) X at unit length; zero rows stay."""
    X = design.X / np.maximum(np.abs(design.X).max(axis=1, keepdims=True), 1e-300)
    pattern = design.arrangements.patterns([b % len(design.arrangements)])[0]
    return (2.0 * pattern - 1)[:, None] * X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-300)


def distance_to_cone(A, target):
    """Distance of a vector to the cone {A' mu : mu >= 0}, by scipy."""
    from scipy.optimize import nnls

    return nnls(A.T, target, maxiter=100 * len(A))[1]


def dense_prediction(program, W, beta):
    """A(W) + F beta with dense matrices, block by block."""
    design = program.design
    Z = program.free @ beta
    for b in np.flatnonzero(W.any(axis=(1, 2))):
        pattern = design.arrangements.patterns([b % len(design.arrangements)])[0]
        Z = Z + design.signs[b // len(design.arrangements)] * np.diag(pattern.astype(float)) @ design.X @ W[b]
    return Z


def check_feasible(program, W):
    """Every block in its cone: violations of unit rows are at most 1e-12 of its length."""
    if program.architecture.activation == "relu":
        for b in np.flatnonzero(W.any(axis=(1, 2))):
            assert (cone_rows(program.design, b) @ W[b]).min() >= -1e-12 * np.linalg.norm(W[b])


def check_solver(solve, program, optimum, tol=1e-8):
    """Check solve(program, tol=..., W_init=...) on a program with a known optimum (to a relative 1e-8).

    The optimum reached, a valid bound and gap, feasible blocks, the predictions and the network recovered, a monotone
    history, and a restart that ends at once.
    """
    solution = solve(program, tol=tol)
    certificate, tiny = solution.certificate, 1e-10 * np.sum(program.Y**2)
    assert solution.converged
    assert solution.status == "solved"
    assert certificate.gap <= tol
    assert abs(certificate.objective - optimum) <= max(1e-7, tol) * optimum + tiny
    assert certificate.lower_bound <= optimum * (1 + 1e-9) + tiny
    assert certificate.gap * certificate.objective >= certificate.objective - optimum * (1 + 1e-8) - tiny
    check_feasible(program, solution.W)
    Z = dense_prediction(program, solution.W, solution.beta)
    size = np.linalg.norm(program.Y)
    assert np.linalg.norm(solution.Z - Z) <= 1e-12 * size
    objective = program.loss.value(program.Y, Z) + program.alpha * np.linalg.norm(solution.W, axis=1).sum()
    assert np.isclose(objective, certificate.objective, rtol=1e-10, atol=1e-20 * size**2)
    X = program.design.X[:, : program.design.X.shape[1] - (program.architecture.hidden_bias != "none")]
    network = recover(solution)
    assert np.linalg.norm(network.predict(X) - Z[:, 0]) <= 1e-9 * size
    value = network.objective(X, program.Y[:, 0], program.alpha)
    assert np.isclose(value, certificate.objective, rtol=1e-9, atol=1e-20 * size**2)
    check_history(solution)
    again = solve(program, tol=tol, W_init=solution.W)
    assert again.n_iter <= 2
    assert again.certificate.gap <= tol
    assert again.certificate.objective <= certificate.objective * (1 + 1e-12) + tiny
    return solution


def check_history(solution):
    """One record an iteration; objectives never rise, bounds never fall, time goes on."""
    records = solution.history
    assert solution.n_iter == len(records) >= 1
    for name, order in (("objective", -1), ("lower_bound", 1), ("time", 1)):
        assert (order * np.diff([record[name] for record in records]) >= 0).all()
    last = records[-1]
    for name in ("objective", "lower_bound", "gap"):
        assert last[name] == getattr(solution.certificate, name)
    assert last["n_blocks"] == np.count_nonzero(solution.W.any(axis=1))
    assert all(record["n_blocks"] <= record["n_working"] <= len(solution.W) for record in records)


def degenerate_rows(rng, kind):
    """5 to 40 rows of 1 to 6 features in a special position."""
    n, d = int(rng.integers(5, 41)), int(rng.integers(1, 7))
    X = rng.standard_normal((n, d))
    if kind == "integers":
        X = rng.integers(-2, 3, X.shape).astype(float)
    elif kind == "duplicates":
        X[n // 2 :] = X[: n - n // 2]
    elif kind == "zero rows":
        X[rng.random(n) < 0.3] = 0.0
    elif kind == "equal columns":
        X[:, -1] = X[:, 0]
    elif kind == "scaled columns":
        X *= 10.0 ** rng.uniform(-3, 3, d)
    elif kind == "offset":
        X += 30.0
    return X
