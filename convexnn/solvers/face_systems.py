"""The linear systems of semismooth Newton steps on the face of a point (`newton`).

On its face (blocks that are not zero, and their tight rows) the prox has the derivative

    M_b = N ((1 - c) I + c p p') N',   c = step alpha / |proj_b|,

and with C = [A_b M_b^(1/2)]_b and H the curvature of L the Newton system is (I + step C C' H) dZ = residual. Where the
loss has no curvature dZ follows from that of the other samples, so only these enter. The system is solved on the
smaller side of C, or by conjugate gradients where both sides are large. Without cones C C' is a Hadamard product with
X X', much cheaper. Outputs that the loss does not couple are one system each. The softmax loss couples them: H has a
block for each sample, and the system is solved in the columns of all outputs.

Blocks of nuclear norms, and neurons of fixed directions, touch several outputs. With H = B B' and w = B' dZ theirs is
the symmetric system (I + B' K B) w = B' residual, K = step A M A' + free Q Q', solved by conjugate gradients unless it
is small; then dZ = residual - K B w. The derivative of the threshold of singular values, P = U diag(s) V' and f =
(s - step alpha)_+, is

    E -> U (F1 * S + F2 * T) V' + (I - U U') E V diag(f / s) V' + U diag(f / s) U' E (I - V V'),
    F1_ij = (f_i - f_j) / (s_i - s_j),   F2_ij = (f_i + f_j) / (s_i + s_j),

S and T the symmetric and the skew part of U' E V.

References
----------
C. Ding, D. Sun, J. Sun and K.-C. Toh (2018), Spectral operators of matrices. Mathematical Programming 168.
"""

from itertools import pairwise

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.blas import dsyrk
from scipy.sparse.linalg import LinearOperator, cg

from ..model.design import DirectedDesign
from ..model.penalties import Nuclear

__all__ = ["newton_direction"]

# Curvature, relative to the largest possible, that is none.
FLAT = 1e-12
# Directions by conjugate gradients beyond these sizes: entries of C, and floating point operations.
LARGEST_FACTOR = 5e7
CG_ITERATIONS = 300
CG_TOL = 1e-2
# Columns of all outputs up to which a coupled system is factored.
COUPLED_COLUMNS = 3000
# Columns up to which a system of neurons of fixed directions is factored, and the size up to which one is written out.
LARGEST_SYSTEM, LARGEST_WRITTEN = 1000, 200
# Relative residual where blocks touch several outputs: dZ has the error of w times K B, and looser ones cost steps.
JOINT_CG_TOL = 1e-6
# Difference of singular values, relative to the largest, below which they are equal.
EQUAL = 1e-12


def newton_direction(sub, center, point, curvature, residual):
    """Return Newton's direction dZ (n_samples, n_outputs) of the equation of a proximal point step."""
    if isinstance(sub.program.penalty, Nuclear) or isinstance(sub.program.design, DirectedDesign):
        return _joint_direction(sub, center, point, curvature, residual)
    if not center.loss.separable:
        return coupled_direction(sub, center, point, curvature, residual)
    outputs = enumerate(zip(curvature.T, residual.T, strict=True))
    return np.column_stack([direction_of_output(Face(sub, center, point, c), h, r) for c, (h, r) in outputs])


def direction_of_output(face, h, residual):
    """Solve for dZ (n_samples,) of an output on the side of C that is cheaper, for the samples with curvature alone."""
    curved = np.flatnonzero(h > FLAT * face.loss.smoothness)
    if face.n_columns == 0 or len(curved) == 0:
        return residual
    n, r, n_active, free = len(curved), face.n_columns, len(face.blocks), face.free.shape[1]
    costs = {
        _by_columns: n * r**2 + r**3 / 3,
        _by_samples: n**2 * (2 * n_active + free if face.unconstrained else r) + n**3 / 3,
        _by_gradients: 4 * CG_ITERATIONS * n_active * face.sub.products.X.size,
    }
    n_rows = len(h)
    if face.sub.program.design.n_patches * n_rows * r > LARGEST_FACTOR:
        del costs[_by_columns]
    if (max(n**2, n_rows * n_active) if face.unconstrained else max(n**2, n_rows * r)) > LARGEST_FACTOR:
        del costs[_by_samples]
    return min(costs, key=costs.get)(face, h, residual, curved)


def coupled_direction(sub, center, point, H, residual):
    """Return dZ = residual - C (I / step + C' H C)^-1 C' H residual, for the columns C of all outputs.

    The columns of an output touch its predictions alone; H has shape (n_samples, n_outputs, n_outputs).
    """
    outputs = range(residual.shape[1])
    factors = [Face(sub, center, point, c).factor() for c in outputs]
    ends = np.cumsum([0] + [C.shape[1] for C in factors])
    parts = [slice(*pair) for pair in pairwise(ends)]

    def spread(x):
        return np.column_stack([C @ x[part] for C, part in zip(factors, parts, strict=True)])

    def gather(R):
        R = np.einsum("nkl,nl->nk", H, R)
        return np.concatenate([C.T @ r for C, r in zip(factors, R.T, strict=True)])

    right = gather(residual)
    if ends[-1] == 0:
        return residual
    if ends[-1] > COUPLED_COLUMNS:
        return residual - spread(_conjugate_gradients(lambda x: x / center.step + gather(spread(x)), right, CG_TOL))

    def matrix():
        S = np.empty((ends[-1], ends[-1]))
        for k in outputs:
            for m in range(k + 1):
                S[parts[k], parts[m]] = (factors[k] * H[:, k, m, None]).T @ factors[m]
        S.flat[:: len(S) + 1] += 1 / center.step
        return S

    return residual - spread(_solve(matrix, right))


class Face:
    """The active blocks of an output of a point: their projections P and patterns, and c of the module docstring."""

    def __init__(self, sub, center, point, output):
        step, free_step = center.step, center.free_step
        active = np.flatnonzero(point.W[:, :, output].any(axis=1))
        self.sub, self.step, self.blocks, self.loss = sub, step, sub.blocks[active], center.loss
        self.P, self.penalty = point.P[active, :, output], sub.program.penalty
        self.lengths = np.linalg.norm(self.P, axis=1)
        self.shrink = step * sub.program.alpha / self.lengths
        self.tight = np.ascontiguousarray(sub.tight[active, :, output])
        n_tight = np.count_nonzero(self.tight >= 0)
        plain = self.penalty.rotation_invariant
        self.unconstrained = plain and n_tight == 0 and sub.program.design.n_patches == 1
        n_columns = self.P.size - n_tight if plain else self.roots()[0].shape[1]
        self.n_columns = n_columns + sub.basis.shape[1]
        self.free = sub.basis * np.sqrt(free_step / step)  # columns of C

    def activity(self):
        """Return the diagonals of D of the active blocks, shape (n_active, n_rows)."""
        design = self.sub.program.design
        return design.activity(design.pattern_index(self.blocks))

    def roots(self):
        """Return M_b^(1/2) as columns for all active blocks, and where each block's columns end."""
        if not self.penalty.rotation_invariant:  # which has no cones
            return self.penalty.derivative_roots(self.P, self.step * self.sub.program.alpha)
        T, offsets = self.sub.program.cones.face_bases(self.P, self.tight, self.blocks)
        scale = np.repeat(np.sqrt(1 - self.shrink), np.diff(offsets))
        scale[offsets[:-1]] = 1.0
        return T * scale, offsets

    def factor(self):
        """Return C up to the signs of its columns, shape (n_samples, n_columns)."""
        design = self.sub.program.design
        T, offsets = self.roots()
        if design.sums_of_rows is not None:
            sums = design.sums_of_rows[:, design.pattern_index(self.blocks)].swapaxes(0, 1)
            parts = np.split(T, offsets[1:-1], axis=1) if len(sums) else []
            return np.concatenate([*(own @ part for own, part in zip(sums, parts, strict=True)), self.free], axis=1)
        C = design.X @ T
        C *= np.repeat(self.activity().T, np.diff(offsets), axis=1)
        return np.concatenate([design.pool(C), self.free], axis=1)


def _by_columns(face, h, residual, curved):
    """Return dZ = residual - C (I / step + C' H C)^-1 C' H residual."""
    C, h = face.factor(), h[curved]
    own = C[curved]
    weighted = own * np.sqrt(h)[:, None]

    def matrix():
        S = dsyrk(1.0, weighted.T, lower=1)
        S.flat[:: len(S) + 1] += 1 / face.step
        return S

    return residual - C @ _solve(matrix, own.T @ (h * residual[curved]))


def _by_samples(face, h, residual, curved):
    """Return dZ = s^-1 (I + step s C C' s)^-1 s residual for s = H^(1/2), where there is curvature, and what follows.

    More accurate than `_by_columns` where these samples are few: S there has eigenvalues of 1 / step alone.
    """
    root = np.sqrt(h[curved])
    scale = np.sqrt(face.step) * root
    if face.unconstrained:
        # sum_b D_b X ((1 - c) I + c p p') X' D_b, the first part by Hadamard's product
        design, activity = face.sub.program.design, face.activity()[:, curved]
        X = design.X[curved]
        shrunk = activity * np.sqrt(1 - face.shrink)[:, None] * scale
        along = activity * (((np.sqrt(face.shrink) / face.lengths)[:, None] * face.P) @ X.T) * scale
        along = np.concatenate([along, face.free[curved].T * scale])
    else:
        C, shrunk = face.factor(), None
        along = C[curved].T * scale

    def matrix():
        if shrunk is None:
            K = dsyrk(1.0, along.T, lower=1)
        else:
            K = dsyrk(1.0, shrunk.T, lower=1)
            K *= design.gram[np.ix_(curved, curved)].T
            K = dsyrk(1.0, along.T, lower=1, beta=1.0, c=K, overwrite_c=1)
        K.flat[:: len(K) + 1] += 1.0
        return K

    y = _solve(matrix, root * residual[curved])
    if len(curved) == len(h):
        return y / root
    if face.unconstrained:
        G = (activity * (root * y)) @ X
        G += (face.shrink / (1 - face.shrink) / face.lengths**2 * np.sum(G * face.P, axis=1))[:, None] * face.P
        G *= (1 - face.shrink)[:, None]
        spread = np.sum(face.activity() * (G @ design.X.T), axis=0) + face.free @ (face.free[curved].T @ (root * y))
    else:
        spread = C @ (C[curved].T @ (root * y))
    direction = residual - face.step * spread
    direction[curved] = y / root
    return direction


def _by_gradients(face, h, residual, curved):
    """As _by_samples, by conjugate gradients, with products by blocks only, in single precision."""
    design, root = face.sub.program.design.single, np.sqrt(np.maximum(h, FLAT * face.loss.smoothness))
    T, offsets = face.roots()
    M = [part @ part.T for part in np.split(T, offsets[1:-1], axis=1)]

    def product(x):
        v = (root * x)[:, None]
        unit = np.abs(v).max() or 1.0  # in which v is in the range of single precision
        G = np.matmul(M, design.rmatvec(v / unit, face.blocks))
        spread = design.matvec(G, face.blocks) + face.free @ (face.free.T @ (v / unit))
        return x + face.step * unit * root * spread[:, 0]

    return _conjugate_gradients(product, root * residual, CG_TOL) / root


def _conjugate_gradients(product, right, tol):
    """Solve S x = right for a positive definite S, product(x) = S x, to a relative residual of `tol`, or nearly."""
    unit = np.abs(right).max() or 1.0  # whose squares may underflow
    operator = LinearOperator((len(right),) * 2, matvec=lambda x: product(np.ravel(x)), dtype=np.float64)
    return unit * cg(operator, right / unit, rtol=tol, maxiter=CG_ITERATIONS)[0]


def _joint_direction(sub, center, point, curvature, residual):
    """Return dZ where blocks touch several outputs: nuclear norms, and neurons of fixed directions."""
    program, loss = sub.program, center.loss
    active = np.flatnonzero(point.W.any(axis=(1, 2)))
    blocks = sub.blocks[active]
    if isinstance(program.design, DirectedDesign):
        T, offsets = _roots(sub, center, point, active)
        if T.shape[1] + sub.basis.shape[1] * residual.shape[1] <= LARGEST_SYSTEM:
            columns = _columns(sub, center, T, np.repeat(blocks, np.diff(offsets)))
            return _joint_by_columns(columns, center, curvature, residual)
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
        w = _solve((0.5 * (matrix + matrix.T)).copy, right)
    else:
        w = _conjugate_gradients(system, right, JOINT_CG_TOL)
    return residual - product(outer(w.reshape(residual.shape)))


def _columns(sub, center, T, index):
    """Return C with C C' = A M A' + free / step Q Q' for roots T of M of blocks, (n_samples, n_outputs, n_columns)."""
    design, shape = sub.program.design, sub.program.Y.shape
    C = design.pool(design.X @ T * design.activity(index).T)[:, None, :] * design.directions[index].T
    free = np.sqrt(center.free_step / center.step) * np.kron(sub.basis, np.eye(shape[1]))
    return np.concatenate([C, free.reshape(*shape, -1)], axis=2)


def _joint_by_columns(columns, center, curvature, residual):
    """Return dZ = residual - C (I / step + C' H C)^-1 C' H residual."""
    C = columns.reshape(residual.size, -1)
    if center.loss.separable:
        bent = curvature.ravel()[:, None] * C
    else:
        bent = np.einsum("nkl,nlr->nkr", curvature, columns, optimize=True).reshape(C.shape)
    S, right = C.T @ bent, bent.T @ residual.ravel()
    S.flat[:: len(S) + 1] += 1.0 / center.step
    return residual - (C @ _solve(S.copy, right)).reshape(residual.shape)


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


def _solve(matrix, b):
    """Solve S x = b for S = matrix(), a new lower triangle each time, regularised where rounding made it indefinite."""
    for regularisation in (0.0, 1e-14, 1e-11, 1e-8):
        S = matrix()
        S.flat[:: len(S) + 1] *= 1 + regularisation
        try:
            return cho_solve(cho_factor(S, lower=True, overwrite_a=True, check_finite=False), b, check_finite=False)
        except LinAlgError:
            continue
    raise LinAlgError("the Newton system is not positive definite: X or y is out of range")
