"""Newton directions of programs whose blocks touch several outputs: nuclear norms, and neurons of fixed directions.

    (I + step A M A' H + free Q Q' H) dZ = residual

for the derivative M of the prox at the projections P and the curvature H = B B' of the loss. With w = B' dZ it is the
symmetric system (I + B' K B) w = B' residual, K = step A M A' + free Q Q', solved by conjugate gradients unless it is
small; then dZ = residual - K B w. The derivative of the threshold of singular values, P = U diag(s) V' and f =
(s - step alpha)_+, is

    E -> U (F1 * S + F2 * T) V' + (I - U U') E V diag(f / s) V' + U diag(f / s) U' E (I - V V'),
    F1_ij = (f_i - f_j) / (s_i - s_j),   F2_ij = (f_i + f_j) / (s_i + s_j),

S and T the symmetric and the skew part of U' E V.

References
----------
C. Ding, D. Sun, J. Sun and K.-C. Toh (2018), Spectral operators of matrices. Mathematical Programming 168.
"""

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ..model.design import DirectedDesign
from ..model.penalties import Nuclear
from .face_systems import conjugate_gradients

__all__ = ["joint_direction", "spans_outputs"]

# Columns up to which a system of neurons of fixed directions is factored.
LARGEST_SYSTEM = 1000
# Size of a system up to which it is written out, a product for each column.
LARGEST_WRITTEN = 200
# Relative residual of conjugate gradients: dZ has the error of w times K B, and looser ones cost many more steps.
CG_TOL = 1e-6
# Difference of singular values, relative to the largest, below which they are equal.
EQUAL = 1e-12


def spans_outputs(program):
    """Return whether the blocks of a program touch several outputs."""
    return isinstance(program.penalty, Nuclear) or isinstance(program.design, DirectedDesign)


def joint_direction(sub, center, point, curvature, residual):
    """Return the Newton direction dZ (n_samples, n_outputs) of a proximal point step of coupled outputs.

    `curvature` has the shape of `residual`, or (n_samples, n_outputs, n_outputs) where the loss is not separable.
    """
    program, loss = sub.program, center.loss
    active = np.flatnonzero(point.W.any(axis=(1, 2)))
    blocks = sub.blocks[active]
    if isinstance(program.design, DirectedDesign):
        T, offsets = _roots(sub, center, point, active)
        if T.shape[1] + sub.basis.shape[1] * residual.shape[1] <= LARGEST_SYSTEM:
            columns = _columns(sub, center, T, np.repeat(blocks, np.diff(offsets)))
            return _by_columns(columns, center, curvature, residual)
        derivative = _of_lengths(T, offsets)
    else:
        derivative = _of_singular_values(sub, center, point, active)
    if loss.separable:
        root = np.sqrt(curvature)

        def outer(w):
            return root * w

        inner = outer
    else:
        root = loss.curvature_root(program.Y, point.Z)

        def outer(w):
            return np.einsum("nkl,nl->nk", root, w)

        def inner(R):
            return np.einsum("nkl,nk->nl", root, R)

    def product(R):
        spread = center.free_step * (sub.basis @ (sub.basis.T @ R))
        if len(active):
            spread += center.step * sub.products.matvec(derivative(sub.products.rmatvec(R, blocks)), blocks)
        return spread

    def system(w):
        w = w.reshape(residual.shape)
        return (w + inner(product(outer(w)))).ravel()

    right = inner(residual).ravel()
    if len(right) <= LARGEST_WRITTEN:
        matrix = np.array([system(e) for e in np.eye(len(right))])
        w = cho_solve(cho_factor(0.5 * (matrix + matrix.T)), right)
    else:
        w = conjugate_gradients(system, right, CG_TOL)
    return residual - product(outer(w.reshape(residual.shape)))


def _columns(sub, center, T, index):
    """Return C with C C' = A M A' + free / step Q Q' for roots T of M of blocks, (n_samples, n_outputs, n_columns)."""
    design, shape = sub.program.design, sub.program.Y.shape
    C = design.pool(design.X @ T * design.activity(index).T)[:, None, :] * design.directions[index].T
    free = np.sqrt(center.free_step / center.step) * np.kron(sub.basis, np.eye(shape[1]))
    return np.concatenate([C, free.reshape(*shape, -1)], axis=2)


def _by_columns(columns, center, curvature, residual):
    """Return dZ = residual - C (I / step + C' H C)^-1 C' H residual."""
    C = columns.reshape(residual.size, -1)
    if center.loss.separable:
        bent = curvature.ravel()[:, None] * C
    else:
        bent = np.einsum("nkl,nlr->nkr", curvature, columns, optimize=True).reshape(C.shape)
    S, right = C.T @ bent, bent.T @ residual.ravel()
    S.flat[:: len(S) + 1] += 1.0 / center.step
    for regularisation in (0.0, 1e-14, 1e-11, 1e-8):
        S.flat[:: len(S) + 1] *= 1.0 + regularisation
        try:
            return residual - (C @ cho_solve(cho_factor(S, lower=True), right)).reshape(residual.shape)
        except LinAlgError:
            continue
    raise LinAlgError("the Newton system is not positive definite: X or y is out of range")


def _roots(sub, center, point, active):
    """Return the square roots of the derivatives M_b of active blocks as columns, and where those of each end."""
    P, tight = point.P[active, :, 0], np.ascontiguousarray(sub.tight[active, :, 0])
    shrink = center.step * sub.program.alpha / np.linalg.norm(P, axis=1)
    T, offsets = sub.program.cones.face_bases(P, tight, sub.blocks[active])
    scale = np.repeat(np.sqrt(1.0 - shrink), np.diff(offsets))
    scale[offsets[:-1]] = 1.0  # along P
    return T * scale, offsets


def _of_lengths(T, offsets):
    """Return the derivative of the threshold of the lengths of projections, a map of gradients, from its `_roots`."""
    M = np.array([part @ part.T for part in np.split(T, offsets[1:-1], axis=1)])
    return lambda G: M @ G


def _of_singular_values(sub, center, point, active):
    """Return the derivative of the threshold of singular values, a map of gradients of active blocks."""
    left, s, right = np.linalg.svd(point.P[active], full_matrices=False)
    f = np.maximum(s - center.step * sub.program.alpha, 0.0)
    rows, columns = s[:, :, None], s[:, None, :]
    tiny = np.finfo(float).tiny
    apart, left_over = np.abs(rows - columns) > EQUAL * s[:, :1, None], (f > 0).astype(float)
    change = (f[:, :, None] - f[:, None, :]) / np.where(apart, rows - columns, 1.0)
    first = np.where(apart, change, left_over[:, :, None] * left_over[:, None, :])
    second = (f[:, :, None] + f[:, None, :]) / np.maximum(rows + columns, tiny)
    ratio = (f / np.maximum(s, tiny))[:, :, None]
    up, down = left.transpose(0, 2, 1), right.transpose(0, 2, 1)

    def derivative(E):
        from_left, from_right = up @ E, E @ down
        inside = from_left @ down
        symmetric = 0.5 * (inside + inside.transpose(0, 2, 1))
        core = first * symmetric + second * (inside - symmetric)
        out = left @ core @ right
        out += (from_right - left @ inside) @ (ratio * right)
        out += left @ (ratio * (from_left - inside @ right))
        return out

    return derivative
