"""Newton's method on neurons with output weights of their own: a local method, exact on the cells that they reach.

    phi(U, A, b) = L(sum_j S D_j X u_j a_j' + Q b) + alpha / 2 sum_j (|u_j|^2 + |a_j|^2),   u_j in K_j

With the balance |u_j| = |a_j| the penalty is alpha sum_j |u_j| |a_j|: what a nuclear norm charges neurons of the same
gate (K_j is the whole space), and weight decay neurons of cells. phi is not convex in U and A together. Its minima are
those of the convex program over all rank-one neurons where the dual vector V = -grad L prices no other neuron above
alpha, which is for the caller to find out.

A projected gradient step puts neurons on walls, the faces of their cells. A Newton step follows in (N_j' u_j, a_j, b),
N_j an orthonormal basis of the face, with the Hessian

    J' H J + alpha I - cross,   cross between u_j and a_j: N_j' X' D_j S' V,

J the derivative of the predictions and H the curvature of L, shifted until it is positive definite; what leaves a cell
is projected. phi never rises. Where a multiplier says that phi falls behind a wall that u_j is on, D_j changes sides:
u_j is in both cells. So neurons walk over walls.

References
----------
S. Burer and R. D. C. Monteiro (2003), A nonlinear programming algorithm for solving semidefinite programs via low-rank
factorization. Mathematical Programming 95(2). D. P. Bertsekas (1982), Projected Newton methods for optimization
problems with simple constraints. SIAM Journal on Control and Optimization 20(2).
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.blas import dsyrk

from ..model.cones import FreeCones
from .neurons import Neurons

__all__ = ["solve_factors"]

# Shifts of the Hessian relative to alpha: the first, the factor to the next, that after a good step, the largest.
FIRST_SHIFT, SHIFT_FACTOR, SHIFT_DECAY, LARGEST_SHIFT = 1e-8, 10.0, 0.1, 1e4
# The step length from which on the shift falls.
GOOD_STEP = 0.5
# Part of the decrease predicted that a step must reach, and the shortest one.
SUFFICIENT_DECREASE, SHORTEST_STEP = 1e-3, 1e-4
# Coordinates up to which the Hessian is factored; beyond it steps are made by conjugate gradients.
LARGEST_HESSIAN, CG_ITERATIONS, CG_TOL = 600, 200, 0.1
# Relative decrease of phi that is rounding.
ROUNDING = 1e-15
# Distance from a wall, relative to |u_j|, that is rounding; part of alpha by which it has to be worth crossing.
ON_WALL, CROSSING_TOL = 1e-11, 1e-11


def solve_factors(neurons, loss, tol, over, max_steps=60):
    """Minimise phi for a smooth loss, to a promised decrease of `tol` or until `over()`; return balanced neurons."""
    neurons, shift, t = neurons.balanced(), FIRST_SHIFT, 1.0 / neurons.program.alpha
    value = neurons.value(loss)
    for _ in range(max_steps):
        if not len(neurons) or over():
            break
        before = value
        neurons, value, on_face, t = _descend(neurons, loss, value, t)
        if not len(neurons):
            break
        trial, reached, promised, shift = _newton(neurons, on_face, loss, value, shift)
        if reached < value:
            neurons, value = trial.balanced(), reached
        if promised <= max(tol, ROUNDING * value) or before - value <= ROUNDING * value:
            break
    return neurons


def _descend(neurons, loss, value, t):
    """Step along the projected gradient by at most t, and over walls; return neurons, phi, face bases, the next t."""
    program = neurons.program
    if isinstance(program.cones, FreeCones) or not len(neurons):
        return neurons, value, [np.eye(neurons.U.shape[1])] * len(neurons), t
    V = -loss.grad(program.Y, neurons.fit())
    dU, dA = neurons.pulls(V)
    dU, dA = dU - program.alpha * neurons.U, dA - program.alpha * neurons.A
    db = program.free_basis[0].T @ V
    while True:
        tight, moved = np.full((*dU.shape, 1), -1, np.int32), neurons.U + t * dU
        U = program.cones.project(moved[:, :, None], neurons.blocks, tight)[:, :, 0]
        trial = replace(neurons, U=U, A=neurons.A + t * dA, beta=neurons.beta + t * db)
        reached = trial.value(loss)
        if reached <= value or t * program.alpha < ROUNDING:
            break
        t *= 0.25
    if reached > value:
        trial, reached = neurons, value
    sizes = np.linalg.norm(trial.U, axis=1) * np.linalg.norm(trial.A, axis=1)
    if not sizes.all():
        return _descend(trial.balanced(), loss, reached, t)
    tight = np.ascontiguousarray(tight[:, :, 0])
    trial = _cross(trial, tight, (U - moved) / (t * np.linalg.norm(neurons.A, axis=1)[:, None]), V)
    bases, offsets = trial.program.cones.face_bases(trial.U, tight, trial.blocks)
    return trial, reached, [bases[:, first:last] for first, last in pairwise(offsets)], 2.0 * t


def _cross(neurons, tight, reactions, V):
    """Change the sides of tight rows behind which phi falls, and drop these from `tight`, in place; return the neurons.

    The reactions of the walls are sum_k mu_k s_k x_k, for sides s and a multiplier mu_k >= 0 for each tight row.
    """
    program, design, patterns, crossed = neurons.program, neurons.program.design, neurons.patterns, False
    columns, lengths = design.unit_columns, np.linalg.norm(design.X, axis=1)
    units = neurons.A / np.linalg.norm(neurons.A, axis=1, keepdims=True)
    for j in range(len(neurons)):
        rows = tight[j][tight[j] >= 0]
        on_wall = np.abs(neurons.U[j] @ columns[:, rows]) <= ON_WALL * np.linalg.norm(neurons.U[j])
        if len(rows) == 0 or not on_wall.any():
            tight[j] = -1
            continue
        sides = np.where(patterns[j, rows], 1.0, -1.0)
        mu = np.linalg.lstsq(columns[:, rows] * sides, reactions[j], rcond=None)[0]
        weights = (1.0 - design.slope) * design.spread(V @ units[j])[rows] * lengths[rows]
        flips = on_wall & (mu > -weights + CROSSING_TOL * program.alpha)
        patterns[j, rows[flips]] = ~patterns[j, rows[flips]]
        crossed |= flips.any()
        kept = rows[on_wall & ~flips]
        tight[j] = -1
        tight[j, : len(kept)] = kept
    return Neurons.in_cells(program, patterns, neurons.U, neurons.A, neurons.beta) if crossed else neurons


def _newton(neurons, on_face, loss, value, shift):
    """Return the neurons after a Newton step on their faces, phi there, the decrease promised, and the next shift."""
    program = neurons.program
    model = _Model(neurons, loss, on_face)
    step = None
    while step is None:
        if not (np.isfinite(model.gradient).all() and shift < np.inf):  # out of range: stay
            return neurons, value, 0.0, FIRST_SHIFT
        step = model.solve(shift * program.alpha)
        shift *= SHIFT_FACTOR if step is None else 1.0
    promised, t = -0.5 * float(model.gradient @ step), 1.0
    while True:
        trial, reached = _moved(neurons, *model.split(t * step), loss)
        if reached <= value - SUFFICIENT_DECREASE * t * promised or t < SHORTEST_STEP:
            break
        t *= 0.5
    good = t >= GOOD_STEP
    shift = max(FIRST_SHIFT, shift * SHIFT_DECAY) if good else max(shift, FIRST_SHIFT) * SHIFT_FACTOR
    return trial, reached, promised, min(shift, LARGEST_SHIFT)


def _moved(neurons, dU, dA, db, loss):
    """Return the neurons after a step, projected onto their cells or in those that they come to, and phi there."""
    program, U, A, beta = neurons.program, neurons.U + dU, neurons.A + dA, neurons.beta + db
    if isinstance(program.cones, FreeCones):
        trial = replace(neurons, U=U, A=A, beta=beta)
        return trial, trial.value(loss)
    inside = program.cones.project(U[:, :, None], neurons.blocks)[:, :, 0]
    trials = [replace(neurons, U=inside, A=A, beta=beta)]
    products = U @ program.design.unit_columns
    on_wall = np.abs(products) <= ON_WALL * np.linalg.norm(U, axis=1, keepdims=True)
    patterns = np.where(on_wall, neurons.patterns, products > 0)
    trials.append(Neurons.in_cells(program, patterns, U, A, beta))
    values = [trial.value(loss) for trial in trials]
    best = int(np.argmin(values))
    return trials[best], values[best]


class _Model:
    """The gradient and the Hessian of phi at neurons on faces, in coordinates of these."""

    def __init__(self, neurons, loss, on_face):
        program = neurons.program
        self.offsets = offsets = np.cumsum([0] + [N.shape[1] for N in on_face])
        self.neurons, self.on_face = neurons, on_face
        sizes = np.diff(offsets)
        self.inside = np.arange(sizes.max(initial=0)) < sizes[:, None]
        self.padded = np.zeros((*neurons.U.shape, self.inside.shape[1]))  # the bases, with zeros behind
        self.padded.transpose(0, 2, 1)[self.inside] = np.hstack(on_face).T
        self.alpha, self.basis = program.alpha, program.free_basis[0]
        Z = neurons.fit()
        V = -loss.grad(program.Y, Z)
        self.G, self.hidden = neurons.adjoint(V), neurons.hidden()
        self.n_faces, self.separable = offsets[-1], loss.separable
        self.curvature = loss.curvature(program.Y, Z)
        of_U, of_A = neurons.pulls(V, self.hidden)
        self.gradient = self._join(self.alpha * neurons.U - of_U, self.alpha * neurons.A - of_A, -(self.basis.T @ V))
        self.hessian = self._hessian() if len(self.gradient) <= LARGEST_HESSIAN else None

    def _hessian(self):
        """Return the lower triangle of the Hessian."""
        neurons, offsets, curvature = self.neurons, self.offsets, self.curvature
        (m, q), cross = neurons.A.shape, [-(N.T @ g) for N, g in zip(self.on_face, self.G, strict=True)]
        J = self._jacobian(neurons.program.Y.shape[1])
        if self.separable:
            J *= np.sqrt(curvature)[:, :, None]
            J = J.reshape(-1, J.shape[2])
            S = dsyrk(1.0, J.T, lower=1)
        else:
            weighted = np.einsum("nkl,nlr->nkr", curvature, J, optimize=True)
            S = np.tril(J.reshape(-1, J.shape[2]).T @ weighted.reshape(-1, J.shape[2]))
        for j, part in enumerate(cross):
            rows = slice(self.n_faces + j * q, self.n_faces + (j + 1) * q)
            S[rows, offsets[j] : offsets[j + 1]] += part.T
        diagonal = np.full(len(self.gradient), self.alpha)
        diagonal[self.n_faces + m * q :] = 0.0
        S.flat[:: len(diagonal) + 1] += diagonal
        return S

    def _product(self, step):
        """Return the Hessian times a step."""
        neurons, alpha = self.neurons, self.alpha
        dU, dA, db = self.split(step)
        n, n_outputs = len(self.hidden), db.shape[1]
        change = neurons.hidden(dU).reshape(n, -1) @ neurons.A.reshape(-1, n_outputs)
        change += self.hidden.reshape(n, -1) @ dA.reshape(-1, n_outputs) + self.basis @ db
        bent = self.curvature * change if self.separable else np.einsum("nkl,nl->nk", self.curvature, change)
        of_U, of_A = neurons.pulls(bent, self.hidden)
        of_U += alpha * dU - np.einsum("jdq,jq->jd", self.G, dA)
        of_A += alpha * dA - np.einsum("jdq,jd->jq", self.G, dU)
        return self._join(of_U, of_A, self.basis.T @ bent)

    def _join(self, of_U, of_A, of_b):
        """Return derivatives with respect to U, A and b as one in the coordinates of the faces."""
        of_faces = (of_U[:, None, :] @ self.padded)[:, 0][self.inside]
        return np.concatenate([of_faces, of_A.ravel(), of_b.ravel()])

    def _by_gradients(self, shift):
        """Return a step by conjugate gradients, as far as the curvature is positive."""
        step, residual = np.zeros_like(self.gradient), -self.gradient
        direction, square = residual.copy(), float(residual @ residual)
        limit = square * min(CG_TOL, np.sqrt(square) / (self.alpha * len(residual))) ** 2
        for iteration in range(CG_ITERATIONS):
            bent = self._product(direction) + shift * direction
            curvature = float(direction @ bent)
            if curvature <= 0:
                return step if iteration else direction
            step += square / curvature * direction
            residual -= square / curvature * bent
            square, last = float(residual @ residual), square
            if square <= limit:
                break
            direction = residual + square / last * direction
        return step

    def _jacobian(self, n_outputs):
        """Return the derivatives of predictions, shape (n_samples, n_outputs, n_coordinates)."""
        neurons, design, n_free = self.neurons, self.neurons.program.design, self.basis.shape[1]
        (m, q), n = neurons.A.shape, design.n_samples
        n_patches = q // n_outputs
        J = np.zeros((n, n_outputs, len(self.gradient)))
        rows = design.X @ np.hstack(self.on_face)
        activity = design.activity(design.pattern_index(neurons.blocks))
        weights = neurons.A.reshape(m, n_patches, n_outputs)
        for j, (first, last) in enumerate(pairwise(self.offsets)):
            part = rows[:, first:last] * activity[j][:, None]
            if n_patches == 1:
                J[:, :, first:last] = design.pool(part)[:, None, :] * weights[j, 0][:, None]
            else:
                part = part.reshape(n, n_patches, -1)
                J[:, :, first:last] = np.einsum("nkp,kc->ncp", part, weights[j], optimize=True)
        hidden = neurons.hidden().reshape(n, -1)
        for c in range(n_outputs):
            end = self.n_faces + m * q
            J[:, c, self.n_faces + c : end : n_outputs] = hidden
            J[:, c, end + c : end + n_free * n_outputs : n_outputs] = self.basis
        return J

    def solve(self, shift):
        """Return the Newton step of the shifted Hessian, None where it is not positive definite."""
        if self.hessian is None:
            return self._by_gradients(shift)
        S = self.hessian.copy()
        S.flat[:: len(S) + 1] += shift
        try:
            factor = cho_factor(S, lower=True, overwrite_a=True, check_finite=False)
            return -cho_solve(factor, self.gradient, check_finite=False)
        except LinAlgError:
            return None

    def split(self, step):
        """Return the changes of U, A and beta of a step."""
        m, q = self.neurons.A.shape
        x = np.zeros(self.inside.shape)
        x[self.inside] = step[: self.n_faces]
        dU = (self.padded @ x[:, :, None])[:, :, 0]
        dA, db = np.split(step[self.n_faces :], [m * q])
        return dU, dA.reshape(m, q), db.reshape(self.neurons.beta.shape)
