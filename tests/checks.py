"""One checker for each protocol, run over every implementation."""

import cvxpy as cp
import numpy as np

from convexnn.networks import recover

DEGENERATE = ["integers", "duplicates", "zero rows", "equal columns", "scaled columns", "offset"]


def check_loss(loss, Y, rng):
    """All that a loss promises, by finite differences, inequalities that define it, search, and cvxpy."""
    Z, step = rng.standard_normal((2, *Y.shape))
    n_outputs = Y.shape[1]
    check_slopes(loss, Y, Z, step)
    check_conjugate(loss, Y, Z, rng)
    if loss.smooth:
        assert loss.smoothed(Y, Z, 0.3) is loss
        check_curvature(loss, Y, Z)
    else:
        assert loss.smoothness == np.inf
        check_smoothed(loss, Y, Z, rng)
    if loss.invertible:
        T = loss.grad(Y, Z)
        assert np.allclose(loss.grad(Y, loss.inverse_grad(Y, T)), T, rtol=1e-12, atol=1e-14)
    columns = np.linalg.qr(np.column_stack([np.ones(len(Y)), rng.standard_normal((len(Y), 2))]))[0]
    for rank in (0, 1, 3):
        for V in (3.0 * Z, -loss.grad(Y, 2.0 * Z)):
            check_dual(loss, Y, V, columns[:, :rank])
        for offset in (0.0, Z):
            check_free_fit(loss, Y, columns[:, :rank], offset)
    assert loss.best_scale(Y, np.zeros_like(Y), 1.0) == loss.best_scale(Y, np.zeros_like(Y), np.inf) == 0.0
    if loss.translation_invariant:
        assert np.isclose(loss.value(Y + step, Z + step), loss.value(Y, Z))
    if loss.degree is not None:
        assert np.isclose(loss.value(3.0 * Y, 3.0 * Z), 3.0**loss.degree * loss.value(Y, Z))
    assert np.isclose(loss.value(Y, 0.0), loss.value(Y, np.zeros_like(Y)))
    assert np.isclose(loss.to_cvxpy(Y, cp.Constant(Z)).value, loss.value(Y, Z))
    if loss.separable:
        assert np.isclose(loss.to_cvxpy(Y[:, 0], cp.Constant(Z[:, 0])).value, loss.value(Y[:, :1], Z[:, :1]))
    parts = [slice(0, 3), np.arange(3, len(Y))]
    assert np.isclose(sum(loss.select(rows).value(Y[rows], Z[rows]) for rows in parts), loss.value(Y, Z))
    assert loss.fit_free(Y, columns[:, :0], Z).shape == (0, n_outputs)


def check_slopes(loss, Y, Z, step):
    """The gradient by finite differences where smooth; everywhere the subgradient inequality, and monotone."""
    G = loss.grad(Y, Z)
    assert G.shape == Y.shape
    if np.isfinite(loss.value(Y, Z)):
        slope = (loss.value(Y, Z + 1e-6 * step) - loss.value(Y, Z - 1e-6 * step)) / 2e-6  # no kink is that near
        assert np.isclose(slope, np.sum(G * step), rtol=1e-6)
    for t in (-10.0, -1.0, 0.1, 1.0, 10.0):
        rest = loss.value(Y, Z + t * step) - t * np.sum(G * step)
        assert rest >= loss.value(Y, Z) - 1e-12 * abs(rest) if np.isfinite(loss.value(Y, Z)) else rest == np.inf
    other = loss.grad(Y, Z + step)
    assert np.sum((other - G) * step) >= 0
    if loss.smooth:
        assert np.linalg.norm(other - G) <= loss.smoothness * np.linalg.norm(step) * (1 + 1e-12)
    kink = loss.grad(Y, Y)  # a subgradient also there
    for t in (-1.0, 1.0):
        assert loss.value(Y, Y + t * step) >= loss.value(Y, Y) + t * np.sum(kink * step) - 1e-12


def check_conjugate(loss, Y, Z, rng):
    """Fenchel-Young, with equality at gradients; the conjugate as a maximum by cvxpy; its domain."""
    solve = {"solver": "CLARABEL", "tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
    for scale in (0.1, 1.0, 10.0):
        T = loss.grad(Y, scale * Z)
        assert np.isclose(loss.value(Y, scale * Z) + loss.conjugate(Y, T), scale * np.sum(T * Z)) or T.max() == 0
        assert np.isfinite(loss.conjugate(Y, T * (1 + 1e-14)))
    for T in (0.5 * loss.grad(Y, Z), -0.7 * loss.project_dual(Y, Z, Z[:, :0])):
        variable = cp.Variable(Y.shape)
        objective = cp.sum(cp.multiply(T, variable)) - loss.to_cvxpy(Y, variable)
        problem = cp.Problem(cp.Maximize(objective), [cp.abs(variable) <= 1e3])
        assert np.isclose(problem.solve(**solve), loss.conjugate(Y, T), rtol=1e-6, atol=1e-5)
        assert loss.value(Y, Z) + loss.conjugate(Y, T) >= np.sum(Z * T) - 1e-12
    T = 2.0 * rng.standard_normal(Y.shape)
    conjugate = loss.conjugate(Y, T)
    assert loss.value(Y, Z) + conjugate >= np.sum(Z * T) - 1e-12
    # a nonzero vector far outside a bounded domain, and one just beyond the tolerance
    lower, upper = (np.broadcast_to(bound, Y.shape) for bound in loss.domain(Y))
    assert (lower <= 0).all()
    assert (upper >= 0).all()
    edge = np.where(np.isfinite(upper), upper, 0.0)
    if np.isfinite(upper).any():
        assert loss.conjugate(Y, np.where(np.isfinite(upper), edge + 1e-6, 0.0)) == np.inf
        if loss.separable:
            assert np.isfinite(loss.conjugate(Y, edge))
    assert loss.conjugate(Y, np.full_like(Y, np.nan)) == np.inf


def check_curvature(loss, Y, Z):
    """The second derivative, one coordinate at a time, and its root; none is above the smoothness."""
    curvature = loss.curvature(Y, Z)
    if loss.separable:
        assert curvature.shape == Y.shape
        curvature = curvature[:, :, None] * np.eye(Y.shape[1])
    else:
        root = loss.curvature_root(Y, Z)
        assert np.allclose(root @ root.transpose(0, 2, 1), curvature, atol=1e-15)
    values = np.linalg.eigvalsh(curvature)
    assert (values >= -1e-15 * loss.smoothness).all()
    assert (values <= loss.smoothness * (1 + 1e-12)).all()
    for index in np.ndindex(Y.shape):
        step = np.zeros_like(Z)
        step[index] = 1e-5
        change = (loss.grad(Y, Z + step) - loss.grad(Y, Z - step)) / 2e-5
        assert np.allclose(change[index[0]], curvature[index[0], :, index[1]], rtol=1e-6, atol=1e-8 * loss.smoothness)
        change[index[0]] = 0.0
        assert not change.any()


def check_smoothed(loss, Y, Z, rng):
    """The smoothed loss is smooth, conjugate to L* + mu/2 |. - T|^2, and an envelope of L; its fits and scales."""
    T = -loss.project_dual(Y, rng.standard_normal(Y.shape), Y[:, :0])
    for mu in (0.05, 1.0, 8.0):
        smoothed = loss.smoothed(Y, T, mu)
        assert smoothed.smooth
        assert np.isclose(smoothed.smoothness, 1 / mu)
        check_slopes(smoothed, Y, Z, rng.standard_normal(Y.shape))
        check_curvature(smoothed, Y, Z)
        shifted, G = Z + mu * T, smoothed.grad(Y, Z)
        U = shifted - mu * G  # the prox: L(U) + |U - shifted|^2 / (2 mu) is strongly convex at its minimum
        envelope = loss.value(Y, U) + np.sum((U - shifted) ** 2) / (2 * mu)
        for size in (1e-3, 0.1, 1.0):
            for D in size * rng.standard_normal((20, *Y.shape)):
                other = loss.value(Y, U + D) + np.sum((U + D - shifted) ** 2) / (2 * mu)
                assert other >= envelope + np.sum(D**2) / (2 * mu) - 1e-12 * envelope
        assert np.isclose(smoothed.value(Y, Z), envelope - 0.5 * mu * np.sum(T**2))
        assert np.isfinite(loss.conjugate(Y, G))
        assert np.isclose(smoothed.conjugate(Y, G), loss.conjugate(Y, G) + 0.5 * mu * np.sum((G - T) ** 2))
        assert np.isclose(smoothed.value(Y, Z) + smoothed.conjugate(Y, G), np.sum(G * Z))
        check_best_scale(smoothed, Y, loss.project_dual(Y, Z, Z[:, :0]))
        columns = np.linalg.qr(rng.standard_normal((len(Y), 2)))[0]
        beta = smoothed.fit_free(Y, columns, Z)
        assert np.allclose(columns.T @ smoothed.grad(Y, Z + columns @ beta), 0, atol=1e-10 * (1 + np.abs(G).max()))
        rows = slice(2, 5)
        assert np.allclose(smoothed.select(rows).grad(Y[rows], Z[rows]), G[rows])


def check_dual(loss, Y, V, basis):
    """The projection of V onto the dual vectors is feasible to rounding and the nearest by cvxpy; its best multiple."""
    projected = loss.project_dual(Y, V, basis)
    length = np.linalg.norm(projected)
    assert projected.shape == Y.shape
    assert np.linalg.norm(basis.T @ projected) <= 1e-13 * length
    assert np.isfinite(loss.conjugate(Y, -projected))
    assert np.allclose(loss.project_dual(Y, projected, basis), projected, atol=1e-12 * max(1.0, length))
    variable = cp.Variable(Y.shape)
    lower, upper = (np.broadcast_to(bound, Y.shape) for bound in loss.domain(Y))
    constraints = [basis.T @ variable == 0] if basis.shape[1] else []
    for bound, sign in ((lower, -1.0), (upper, 1.0)):
        if np.isfinite(bound).any():
            finite = np.isfinite(bound)
            constraints.append(sign * (-variable[finite] - bound[finite]) <= 0)
    if not loss.separable:
        constraints.append(cp.sum(variable, axis=1) == 0)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(variable - V)), constraints)
    nearest = problem.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert np.sum((projected - V) ** 2) <= nearest * (1 + 1e-6) + 1e-8
    check_best_scale(loss, Y, projected)


def check_best_scale(loss, Y, V):
    """The best multiple of a dual vector is feasible, within the limit, and no worse than those of a grid."""
    for direction in (V, -V):
        for limit in (0.01, 0.3, 100.0):
            best = loss.best_scale(Y, direction, limit)
            assert abs(best) <= limit
            grid = np.concatenate([np.linspace(-limit, limit, 201), best * np.array([0.99, 1 - 1e-6, 1 + 1e-6, 1.01])])
            dual = [-loss.conjugate(Y, -t * direction) for t in grid if abs(t) <= limit]
            assert -loss.conjugate(Y, -best * direction) >= max(dual) - 1e-12 * abs(max(dual))


def check_free_fit(loss, Y, basis, offset):
    """The gradient at the fit has no part along the columns, or no fit by cvxpy is better."""
    beta = loss.fit_free(Y, basis, offset)
    assert beta.shape == (basis.shape[1], Y.shape[1])
    Z = offset + basis @ beta
    if loss.smooth:
        assert np.allclose(basis.T @ loss.grad(Y, Z), 0, atol=1e-10)
    elif not np.isfinite(loss.value(Y, Z)):
        assert np.allclose(basis.T @ (Z - Y), 0, atol=1e-12)
    elif basis.shape[1]:
        variable = cp.Variable(beta.shape)
        problem = cp.Problem(cp.Minimize(loss.to_cvxpy(Y, offset + basis @ variable)))
        optimum = problem.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11)
        assert loss.value(Y, Z) <= optimum * (1 + 1e-9)


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
    V = rng.standard_normal((design.n_samples, n_outputs))
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
    assert np.isclose(design.squared_norm, design.n_patches * np.linalg.svd(design.X)[1].max() ** 2)


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
