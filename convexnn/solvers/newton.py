"""Semismooth Newton on the augmented Lagrangian dual, the accurate inner solver.

The proximal point method takes steps W <- argmin L(A W + Q b) + alpha R(W) + |W - W_k|^2 / (2 step) over W in the cones
(and likewise b). Each is one nonsmooth equation in the predictions Z,

    Z = A prox(W_k + step A' V) + Q (b_k + free Q' V),    V = -grad L(Z),

where prox is the block threshold of the cone projection, so every W is feasible and exactly sparse. Newton's method
solves it, with a line search on phi(V) = L*(-V) + |prox(..)|^2 / (2 step) + |b|^2 / (2 free), whose gradient
in V is the residual. On its face (blocks that are not zero, and their tight rows) the prox is smooth, with derivative

    M_b = N ((1 - c) I + c p p') N',   c = step alpha / |proj_b|,

N an orthonormal basis of the null space of the tight rows and p the unit projection. With C = [A_b M_b^(1/2)]_b and H
the curvature of L the Newton system is (I + step C C' H) dZ = residual. It is solved on the smaller side of C, or by
conjugate gradients where both sides are large. Without cones C C' is a Hadamard product with X X', much cheaper.
Outputs that the loss does not couple are one system each. The softmax loss couples them: H has a block for each sample,
and the system is solved in the columns of all outputs.

Losses with kinks (hinge, absolute, quantile) have a step in V too, the proximal method of multipliers: L is replaced by
the smooth loss whose conjugate is L* + mu/2 |. + V_k|^2, V_k the last dual vector. mu falls as the step grows; V stays
in the domain of L* throughout.

The step grows, and with it the systems become those of Newton's method on the identified face itself: (1 - c) step
tends to |W_b| / alpha, the inverse curvature of the norm, so the last steps converge quadratically to rounding. No
separate method finishes the job. Tens of Newton steps reach a relative gap of 1e-9.

References
----------
X. Li, D. Sun and K.-C. Toh (2018), A highly efficient semismooth Newton augmented Lagrangian method for solving Lasso
problems, SIAM Journal on Optimization 28(1), 433-458. R. T. Rockafellar (1976), Augmented Lagrangians and applications
of the proximal point algorithm in convex programming, Mathematics of Operations Research 1(2), 97-116.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.blas import dsyrk
from scipy.sparse.linalg import LinearOperator, cg

from ..loss_base import EDGE
from .coupled import is_coupled, joint_direction
from .subproblem import Iterate

__all__ = ["solve_newton"]

# The step grows by this factor from one proximal point step to the next.
GROWTH = 5.0
# The first step, relative to 1 / |X|^2 (spectral norm).
FIRST_STEP = 100.0
# The step of the free coefficients, relative to that of the blocks: they are not to hold these back.
FREE_RATIO = 1e3
# The largest step, relative to |W_b| / alpha.
LARGEST_STEP = 1e7
MAX_PROXIMAL_STEPS = 40
MAX_NEWTON_STEPS = 30
# Half the squared residual adds to the gap: Newton stops when it is this part of tol, or of this part of the last gap.
RESIDUAL_PART = 0.1
# Curvature, relative to the largest possible, that is none.
FLAT = 1e-12
# Distance from an edge of the loss, beyond which its curvature is looked at, in units of predictions of at least one.
BESIDE = 4 * EDGE
# Part of the decrease predicted that a step must reach.
SUFFICIENT_DECREASE = 1e-4
SHORTEST_STEP = 1e-8
# Directions by conjugate gradients beyond these sizes: entries of C, and floating point operations.
LARGEST_FACTOR = 5e7
CG_ITERATIONS = 300
CG_TOL = 1e-2
# The first and the last mu, relative to the ratio of |Z| and |V|, and its factor from step to step.
FIRST_MU, LAST_MU, MU_FACTOR = 1e-1, 1e-7, 0.2
# Columns of all outputs up to which a coupled system is factored.
COUPLED_COLUMNS = 3000


class Center(NamedTuple):
    """Where a proximal point step starts, its steps, and the loss of its equation.

    Parameters
    ----------
    loss : object
        The loss, smoothed where it has kinks.
    W : ndarray of shape (n_selected, n_features, n_outputs)
        Blocks.
    beta : ndarray of shape (n_free, n_outputs)
        Coefficients of the basis of the free columns.
    step, free_step : float
        The steps of the two.
    """

    loss: object
    W: np.ndarray
    beta: np.ndarray
    step: float
    free_step: float


class Point(NamedTuple):
    """The equation of a proximal point step at some predictions.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_outputs)
        The predictions.
    P, W : ndarray of shape (n_selected, n_features, n_outputs)
        The projections and their prox.
    beta : ndarray of shape (n_free, n_outputs)
        Coefficients of the basis of the free columns.
    phi : float
        The function that Newton's method minimises.
    """

    Z: np.ndarray
    P: np.ndarray
    W: np.ndarray
    beta: np.ndarray
    phi: float


def solve_newton(sub, start, tol, observe):
    """Solve a subproblem to a relative gap.

    Parameters
    ----------
    sub : Subproblem
        The program over the working set.
    start : Iterate
        Feasible blocks, a dual vector near that of the solution, and the step, 0 for the default.
    tol : float
        Compared with the relative gap over the blocks of `sub`.
    observe : callable
        Called after each proximal point step as observe(W, beta, objective), and in between without arguments; a true
        value stops the solver.

    Returns
    -------
    Iterate
        Feasible blocks, the dual vector, and the step to go on with.
    """
    program = sub.program
    size = program.design.squared_norm or 1.0
    first = step = start.step or FIRST_STEP / size
    W, beta = start.W, start.beta
    refitted, V = beta, start.V
    objective = sub.objective(W, beta)
    Z, gap = program.loss.inverse_grad(program.Y, -V) if program.loss.invertible else sub.fit(W, beta), 1.0
    mu = first_mu = FIRST_MU * max(np.linalg.norm(program.Y), np.linalg.norm(Z)) / (np.linalg.norm(V) or 1.0)
    for _ in range(MAX_PROXIMAL_STEPS):
        allowed = RESIDUAL_PART * max(tol, RESIDUAL_PART * gap) * objective
        loss = program.loss.smoothed(program.Y, -V, mu)
        center = Center(loss, W, beta, step, FREE_RATIO * size * step)
        point, n_steps, solved = _proximal_point(sub, center, Z, 2 * allowed / loss.smoothness, observe)
        reached_V = -loss.grad(program.Y, point.Z)
        fitted, reached, bound = sub.measure(point.W, reached_V)
        if not reached <= (1 + gap * solved) * objective:  # or not well enough: stay where we were
            step, mu = step / GROWTH**2, min(mu / MU_FACTOR**2, first_mu / MU_FACTOR**4)
            if observe():
                break
            continue
        W, beta, Z, refitted, objective = point.W, point.beta, point.Z, fitted, reached
        V, mu = reached_V, max(MU_FACTOR * mu, LAST_MU / FIRST_MU * first_mu)
        gap = abs(objective - bound) / max(objective, np.finfo(float).tiny)
        if observe(W, refitted, objective) or gap <= tol:
            break
        if solved:
            step *= GROWTH if n_steps > 1 else GROWTH**2
        # beyond this W = proj - step alpha p is rounding
        step = min(step, LARGEST_STEP * float(program.penalty.block_norms(W).max(initial=0.0)) / program.alpha or step)
    return Iterate(W, refitted, V, max(step / GROWTH, min(first, step)))


def _proximal_point(sub, center, Z, square, observe):
    """Solve the equation of a proximal point step until |residual|^2 <= square.

    Return a Point, Newton's steps, and whether it is solved.
    """
    loss, Y = center.loss, sub.program.Y
    noise = max(1e-12, 10 * float(np.finfo(sub.products.X.dtype).eps))
    point = _evaluate(sub, center, Z)
    for n_steps in range(MAX_NEWTON_STEPS):
        residual = sub.fit(point.W, point.beta) - point.Z
        # at least one step: a grown step amplifies an old residual
        solved = np.sum(residual**2) <= square
        if (n_steps and solved) or not residual.any() or observe():
            return point, n_steps, solved
        # on the side that the residual leads to: a prediction at an edge stays where it would be turned back
        curvature = loss.curvature(Y, point.Z + BESIDE * np.sign(residual) * np.maximum(1.0, np.abs(point.Z)))
        if is_coupled(sub.program):
            direction = joint_direction(sub, center, point, curvature, residual)
        elif loss.separable:
            direction = np.empty_like(residual)
            for c in range(residual.shape[1]):
                direction[:, c] = _direction(Face(sub, center, point, c), curvature[:, c], residual[:, c])
        else:
            direction = _coupled_direction(sub, center, point, curvature, residual)
        change = curvature * direction if loss.separable else np.einsum("nkl,nl->nk", curvature, direction)
        slope = -float(np.sum(residual * change))
        t = 1.0
        while True:
            trial = _evaluate(sub, center, loss.advance(Y, point.Z, t * direction))
            if trial.phi <= point.phi + SUFFICIENT_DECREASE * t * slope + noise * abs(point.phi):
                break
            t *= 0.5
            if t < SHORTEST_STEP:  # phi is flat up to rounding
                return point, n_steps, solved
        point = trial
    return point, MAX_NEWTON_STEPS, False


def _evaluate(sub, center, Z):
    loss, Y, step, free_step = center.loss, sub.program.Y, center.step, center.free_step
    V = -loss.grad(Y, Z)
    P, W = sub.prox(center.W + step * sub.adjoint(V), step)
    beta = center.beta + free_step * (sub.basis.T @ V)
    conjugate = -float(np.sum(Z * V)) - loss.value(Y, Z)  # L*(-V), by Fenchel's equality
    phi = conjugate + np.sum(W**2) / (2 * step) + np.sum(beta**2) / (2 * free_step)
    return Point(Z, P, W, beta, float(phi))


def _direction(face, h, residual):
    """Solve (I + step C C' H) dZ = residual on the side of C that is cheaper, for the samples with curvature alone."""
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


def _coupled_direction(sub, center, point, H, residual):
    """Return dZ = residual - C (I / step + C' H C)^-1 C' H residual, for the columns C of all outputs and H by samples.

    The columns of an output touch its predictions alone.
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
        operator = LinearOperator(
            (ends[-1],) * 2, matvec=lambda x: x / center.step + gather(spread(np.ravel(x))), dtype=np.float64
        )
        return residual - spread(cg(operator, right, rtol=CG_TOL, maxiter=CG_ITERATIONS)[0])

    def matrix():
        S = np.empty((ends[-1], ends[-1]))
        for k in outputs:
            for m in range(k + 1):
                S[parts[k], parts[m]] = (factors[k] * H[:, k, m, None]).T @ factors[m]
        S.flat[:: len(S) + 1] += 1 / center.step
        return S

    return residual - spread(_solve(matrix, right))


class Face:
    """The active blocks of an output of a point: their projections P and patterns, and c of the module docstring.

    Parameters
    ----------
    sub : Subproblem
        The program over the working set.
    center : Center
        Where the proximal point step starts.
    point : Point
        A point of its equation.
    output : int
        The output.
    """

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
        v = (root * np.ravel(x))[:, None]
        G = np.matmul(M, design.rmatvec(v, face.blocks))
        spread = design.matvec(G, face.blocks) + face.free @ (face.free.T @ v)
        return np.ravel(x) + face.step * root * spread[:, 0]

    operator = LinearOperator((len(h), len(h)), matvec=product, dtype=np.float64)
    return cg(operator, root * residual, rtol=CG_TOL, maxiter=CG_ITERATIONS)[0] / root


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
