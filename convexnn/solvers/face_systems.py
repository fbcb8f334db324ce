"""The linear systems of semismooth Newton steps on the face of a point (`newton`).

On its face (blocks that are not zero, and their tight rows) the prox has the derivative

    M_b = N ((1 - c) I + c p p') N',   c = step alpha / |proj_b|,

and with C = [A_b M_b^(1/2)]_b and H the curvature of L the Newton system is (I + step C C' H) dZ = residual. Where the
loss has no curvature dZ follows from that of the other samples, so only these enter. The system is solved on the
smaller side of C, or by conjugate gradients where both sides are large. Without cones C C' is a Hadamard product with
X X', much cheaper. Outputs that the loss does not couple are one system each. The softmax loss couples them: H has a
block for each sample, and the system is solved in the columns of all outputs.
"""

from itertools import pairwise

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.blas import dsyrk
from scipy.sparse.linalg import LinearOperator, cg

__all__ = ["Face", "conjugate_gradients", "coupled_direction", "direction_of_output"]

# Curvature, relative to the largest possible, that is none.
FLAT = 1e-12
# Directions by conjugate gradients beyond these sizes: entries of C, and floating point operations.
LARGEST_FACTOR = 5e7
CG_ITERATIONS = 300
CG_TOL = 1e-2
# Columns of all outputs up to which a coupled system is factored.
COUPLED_COLUMNS = 3000


def direction_of_output(face, h, residual):
    """Solve (I + step C C' H) dZ = residual on the side of C that is cheaper, for the samples with curvature alone.

    `h`, the diagonal of H, `residual` and dZ have shape (n_samples,).
    """
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
        return residual - spread(conjugate_gradients(lambda x: x / center.step + gather(spread(x)), right, CG_TOL))

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

    return conjugate_gradients(product, root * residual, CG_TOL) / root


def conjugate_gradients(product, right, tol):
    """Solve S x = right for a positive definite S, product(x) = S x, to a relative residual of `tol`.

    It works in units of the right side, whose squares may underflow, and stops after `CG_ITERATIONS` in any case.
    """
    unit = np.abs(right).max() or 1.0
    operator = LinearOperator((len(right),) * 2, matvec=lambda x: product(np.ravel(x)), dtype=np.float64)
    return unit * cg(operator, right / unit, rtol=tol, maxiter=CG_ITERATIONS)[0]


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
