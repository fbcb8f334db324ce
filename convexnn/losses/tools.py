"""Dual vectors of the losses: projections onto the domain of a conjugate and the complement of the free columns.

With orthonormal columns B the projection of V onto {V in C, B'V = 0} is Proj_C(V - B M) for the multipliers M that
maximise a concave dual function with the gradient B' Proj_C(V - B M), found by semismooth Newton. For a box that is,
for each output, the equation

    B'clip(u, lower, upper) = 0,   u = v - w (B m),

with w = 1; with other weights w it is that of a free fit to a loss whose gradient is a clipped residual. Newton's
method has the curvature 0 where u is clipped; where too many are, the curvature clip(u) / u of a quadratic majorant is
the better one, so each step takes the better of both directions, with an exact line search: the slope is piecewise
linear. What Newton leaves of B'V is taken away on the face that was found; failing that, V is pulled towards 0, which C
contains.

References
----------
L. Qi and J. Sun (1993), A nonsmooth version of Newton's method, Mathematical Programming 58, 353-367.
P. J. Huber (1981), Robust statistics, section 7.8 (the two directions: Newton's, and that of modified weights).
J. Duchi et al. (2008), Efficient projections onto the l1-ball for learning in high dimensions, ICML (the simplex).
"""

import numpy as np

__all__ = ["box_multipliers", "interval_in_box", "kronecker", "project_box", "project_simplices"]

MAX_NEWTON_STEPS = 100
# B'V that is rounding, relative to |V|, and V that is rounding, relative to the vector it was projected from.
ORTHOGONAL_TOL = 1e-13
EPS = float(np.finfo(float).eps)
# Distance to a bound, relative to the width of the domain, at which a coordinate does not help to correct B'V.
FACE_TOL, FACE_MOST = 1e-10, 1e-6
MAX_CORRECTIONS = 6
# Regularisation of Newton's systems, relative to their size and to the part of the residual that is left.
RIDGE, LEAST_RIDGE = 1e-3, 1e-14
# B'V, relative to that of the first projection, that is rounding, and below which steps are judged by it: values are
# rounding there.
ROUNDING, STALLED, NEAR = 1e-16, 1e-13, 1e-7
MAX_BISECTIONS = 40
# Changes of a coordinate, relative to |V|, that are rounding.
NOISE = 1e-12


def interval_in_box(V, lower, upper, limit):
    """Return the least and the largest t of [-limit, limit] with t V in a box that contains 0; 0 and 0 where V = 0.

    lower and upper broadcast to V; the ends hold up to the rounding of the product.
    """
    V, lower, upper = (a.ravel() for a in np.broadcast_arrays(V, lower, upper))
    moves = V != 0
    if not moves.any():
        return 0.0, 0.0
    with np.errstate(over="ignore"):
        ends = np.stack([lower[moves], upper[moves]]) / V[moves]
    return max(-limit, float(ends.min(axis=0).max())), min(limit, float(ends.max(axis=0).min()))


def project_box(V, lower, upper, basis):
    """Project V (n_samples, n_outputs) onto {lower <= V <= upper, basis'V = 0} for a box that contains 0.

    lower and upper broadcast to V; the columns of `basis` are orthonormal. Where Newton's method does not converge for
    an output, the result is a point of the set near the projection. It is zero where V is not finite.
    """
    if not np.isfinite(V).all():
        return np.zeros_like(V)
    plain = _orthogonal(V, basis)
    if ((lower <= plain) & (plain <= upper)).all():
        rounding = np.linalg.norm(basis.T @ plain) > ORTHOGONAL_TOL * np.linalg.norm(plain)  # B spans everything
        return np.zeros_like(V) if rounding else plain
    if basis.shape[1] == 0:
        return np.clip(V, lower, upper)
    lower, upper = np.broadcast_to(lower, V.shape), np.broadcast_to(upper, V.shape)
    return np.stack([_project_column(*column, basis) for column in zip(V.T, lower.T, upper.T, strict=True)], axis=1)


def _orthogonal(V, basis):
    """Return V less its part in the span of the orthonormal columns of `basis`."""
    for _ in range(2):  # once more: what is left may be small beside the rounding of what was taken away
        V = V - basis @ (basis.T @ V)
    return V


def _project_column(v, lower, upper, basis):
    """Project one output as `project_box`: by Newton's method, then by corrections on the face that was found."""
    size = np.linalg.norm(v)
    p = np.clip(v - basis @ box_multipliers(v, lower, upper, 1.0, basis), lower, upper)
    margin, last = FACE_TOL * np.minimum(upper - lower, size), np.inf
    for _ in range(MAX_CORRECTIONS):
        inside = (p > lower + margin) & (p < upper - margin)
        p = np.where(inside, p, np.where(p <= lower + margin, lower, upper))
        residual = basis.T @ p
        left = np.linalg.norm(residual) / max(np.linalg.norm(p), np.finfo(float).tiny)
        if left <= EPS or 0.5 * last < left <= 0.1 * ORTHOGONAL_TOL:  # the rest is rounding
            break
        last = left
        p[inside] -= np.linalg.lstsq(basis[inside].T, residual, rcond=1e-14)[0]
    return _checked(p, size, basis, lambda p: interval_in_box(p, lower, upper, 1.0)[1])


def box_multipliers(v, lower, upper, weights, basis):
    """Solve basis'clip(v - weights * (basis @ m), lower, upper) = 0 for m (n_free,), by semismooth Newton.

    There is a solution as lower <= 0 <= upper; weights are positive, a number or (n_samples,), and the columns of
    `basis` orthonormal. Returns the iterate with the least residual, rounding where the method converges.
    """
    m, best = np.zeros(basis.shape[1]), (np.inf, np.zeros(basis.shape[1]))
    weights = np.broadcast_to(weights, v.shape)
    size = max(np.linalg.norm(np.clip(v, lower, upper)), np.finfo(float).tiny)
    for _ in range(MAX_NEWTON_STEPS):
        u = v - weights * (basis @ m)
        p = np.clip(u, lower, upper)
        residual = basis.T @ p
        part = np.linalg.norm(residual) / size
        best = min(best, (part, m), key=lambda pair: pair[0])
        if part <= ROUNDING:
            break
        ridge = max(RIDGE * min(part, 1.0) ** 2, LEAST_RIDGE)
        steps = []
        for kept in ((lower < u) & (u < upper), np.where(u == 0, 1.0, p / np.where(u == 0, 1.0, u))):
            J = (basis * (weights * kept)[:, None]).T @ basis
            J.flat[:: len(m) + 1] += ridge * np.trace(J) / len(m) + LEAST_RIDGE**2 * weights.max()
            step = np.linalg.solve(J, residual)
            step = step * _exact_step(u, basis @ step, weights, lower, upper)
            moved = u - weights * (basis @ step)
            p = np.clip(moved, lower, upper)
            # values are rounding near the solution
            steps.append(
                (np.sum(p * (moved - 0.5 * p) / weights) if part > NEAR else np.linalg.norm(basis.T @ p), step)
            )
        reached, step = min(steps, key=lambda pair: pair[0])
        if part <= STALLED and not reached < np.linalg.norm(residual):
            break
        m = m + step
    return best[1]


def _exact_step(u, move, weights, lower, upper):
    """Return the t where the slope move'clip(u - t weights move, lower, upper), which falls, is zero."""

    def slope(t):
        return move @ np.clip(u - t * rate, lower, upper)

    rate = weights * move
    moves = rate != 0
    with np.errstate(over="ignore"):
        kinks = np.concatenate([(u - lower)[moves] / rate[moves], (u - upper)[moves] / rate[moves]])
    kinks = np.sort(kinks[np.isfinite(kinks) & (kinks > 0)])
    last = kinks[-1] if len(kinks) else 0.0
    kinks = np.concatenate([[0.0], kinks, [2.0 * last + 1.0]])
    low, high = 0, len(kinks) - 1  # the last may be before the root: the slope is linear beyond it
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if slope(kinks[middle]) > 0 else (low, middle)
    start, end = slope(kinks[low]), slope(kinks[high])
    return kinks[low] + (kinks[high] - kinks[low]) * start / (start - end) if start > end else kinks[low]


def _checked(V, size, basis, largest):
    """Return V if basis'V is rounding, else what of it is orthogonal, scaled to be feasible; 0 if V is rounding."""
    for candidate in (V, _orthogonal(V, basis)):
        t = largest(candidate)
        length = np.linalg.norm(candidate)
        if not length > ORTHOGONAL_TOL * size:
            break
        if t > 0 and np.linalg.norm(basis.T @ candidate) <= ORTHOGONAL_TOL * length:
            return min(t, 1.0) * candidate
    return np.zeros_like(V)


def project_simplices(V, Y, weights, basis):
    """Project V (n_samples, n_outputs) onto {rows of Y - V / weights in the simplex, basis'V = 0}.

    Rows of Y are in the simplex, so 0 is feasible; weights are a number or (n_samples, 1), the columns of `basis`
    orthonormal. Where Newton's method does not converge, the result is a point of the set near the projection. It is
    zero where V is not finite.
    """
    if not np.isfinite(V).all():
        return np.zeros_like(V)

    def largest(V):
        inside = (np.abs(V.sum(axis=1, keepdims=True)) <= ORTHOGONAL_TOL * weights).all()
        return interval_in_box(V, weights * (Y - 1.0), weights * Y, 1.0)[1] if inside else 0.0

    plain = _orthogonal(V - V.mean(axis=1, keepdims=True), basis)
    if largest(plain) == 1.0 and np.linalg.norm(basis.T @ plain) <= ORTHOGONAL_TOL * np.linalg.norm(plain):
        return plain
    if basis.shape[1] == 0:
        return _simplex_rows(V, Y, weights)[0]
    U = _simplex_newton(V, Y, weights, basis)
    point = _simplex_rows(U, Y, weights)[0]
    # of P: relative to the row, or what is rounding of V
    margin = np.maximum(FACE_TOL * np.abs(point).max(axis=1, keepdims=True), NOISE * np.linalg.norm(V)) / weights
    margin = np.minimum(margin, FACE_MOST)
    support = Y - point / weights > margin
    for _ in range(MAX_CORRECTIONS):
        support &= Y - point / weights > margin
        point = np.where(support, point, weights * Y)
        point = _sum_to_zero(point, support)
        residual = basis.T @ point
        if np.linalg.norm(residual) <= 0.1 * ORTHOGONAL_TOL * np.linalg.norm(point):
            break
        J = kronecker(basis, _face_projections(support))
        point -= basis @ np.linalg.lstsq(J, residual.ravel(), rcond=1e-14)[0].reshape(residual.shape) * support
    point = _sum_to_zero(point, support)

    return _checked(point, np.linalg.norm(V), basis, largest)


def _sum_to_zero(V, support):
    """Shift the entries of V on the support so that its rows sum to zero."""
    return V - support * (V.sum(axis=1) / np.maximum(support.sum(axis=1), 1))[:, None]


def _simplex_newton(V, Y, weights, basis):
    """Return V - basis @ M for the multipliers M, up to what Newton leaves."""
    M = np.zeros((basis.shape[1], V.shape[1]))

    def at(M):
        U = V - basis @ M
        point, support = _simplex_rows(U, Y, weights)
        return 0.5 * np.sum((point - V) ** 2) + np.sum(M * (basis.T @ point)), M, U, point, support

    def search(step, start):
        """Return the trial along a step where the slope, which falls, is nearly zero, or the whole step if positive."""
        low, high, t = 0.0, 1.0, 1.0
        for _ in range(MAX_BISECTIONS):
            trial = at(M + t * step)
            slope = np.sum(step * (basis.T @ trial[3]))
            if slope >= 0 and (t == 1.0 or slope <= 0.5 * start):
                break
            low, high = (t, high) if slope > 0 else (low, t)
            t = 0.5 * (low + high)
        return trial

    state, best = at(M), (np.inf, V)
    first = max(np.linalg.norm(state[3]), np.finfo(float).tiny)
    for _ in range(MAX_NEWTON_STEPS):
        _, M, U, point, support = state
        residual = basis.T @ point
        part = np.linalg.norm(residual) / first
        best = min(best, (part, U), key=lambda pair: pair[0])
        if part <= ROUNDING:
            break
        shrunk = np.linalg.norm(point, axis=1) / np.maximum(np.linalg.norm(U, axis=1), np.finfo(float).tiny)
        trials = []
        for Q in (_face_projections(support), shrunk[:, None, None] * _face_projections(np.ones_like(support))):
            J = kronecker(basis, Q)
            J.flat[:: len(J) + 1] += max(RIDGE * min(part, 1.0) ** 2, LEAST_RIDGE) * np.trace(J) / len(J) + LEAST_RIDGE
            step = np.linalg.lstsq(J, residual.ravel(), rcond=None)[0].reshape(M.shape)
            trials.append(search(step, np.sum(step * residual)))
        if part > NEAR:
            state = max(trials, key=lambda trial: trial[0])
        else:
            state = min(trials, key=lambda trial: np.linalg.norm(basis.T @ trial[3]))
            if part <= STALLED and not np.linalg.norm(basis.T @ state[3]) < np.linalg.norm(residual):
                break
    return best[1]


def _simplex_rows(U, Y, weights):
    """Return w (Y - P) for the projections P of the rows of Y - U / w onto the simplex, and where P is positive.

    With P = Y - U / w - theta there, w (Y - P) = U + w theta, without the rounding of Y - P.
    """
    scaled = U / weights
    ordered = -np.sort(scaled - Y, axis=1)
    excess = (np.cumsum(ordered, axis=1) - 1.0) / np.arange(1, U.shape[1] + 1)
    last = np.count_nonzero(ordered > excess, axis=1) - 1
    support = Y - scaled > np.take_along_axis(excess, last[:, None], axis=1)
    theta = (np.sum(Y * support, axis=1) - 1.0 - np.sum(scaled * support, axis=1)) / np.sum(support, axis=1)
    V = np.where(support, U + weights * theta[:, None], weights * Y)
    return _sum_to_zero(V, support), support


def _face_projections(support):
    """Return diag(s) - s s' / |s|_1 for the rows s of a support."""
    S = support.astype(float)
    return (
        S[:, :, None] * np.eye(S.shape[1])
        - S[:, :, None] * S[:, None, :] / np.maximum(S.sum(axis=1), 1.0)[:, None, None]
    )


def kronecker(basis, H):
    """Sum the Kronecker products (b_i b_i') x H_i over samples, for the rows b_i of `basis`.

    H has shape (n_samples, n_outputs, n_outputs); the sum acts on coefficients (n_free, n_outputs) in one row.
    """
    size = basis.shape[1] * H.shape[1]
    return np.einsum("ia,ib,icd->acbd", basis, basis, H, optimize=True).reshape(size, size)
