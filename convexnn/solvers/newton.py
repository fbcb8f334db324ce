"""Semismooth Newton on the augmented Lagrangian dual, the accurate inner solver.

The proximal point method takes steps W <- argmin L(A W + Q b) + alpha R(W) + |W - W_k|^2 / (2 step) over W in the cones
(and likewise b). Each is one nonsmooth equation in the predictions Z,

    Z = A prox(W_k + step A' V) + Q (b_k + free Q' V),    V = -grad L(Z),

where prox is the block threshold of the cone projection, so every W is feasible and exactly sparse. Newton's method
solves it, with a line search on phi(V) = L*(-V) + |prox(..)|^2 / (2 step) + |b|^2 / (2 free), whose gradient
in V is the residual. On its face (blocks that are not zero, and their tight rows) the prox is smooth, with derivative

    M_b = N ((1 - c) I + c p p') N',   c = step alpha / |proj_b|,

N an orthonormal basis of the null space of the tight rows and p the unit projection. With C = [A_b M_b^(1/2)]_b and H
the curvature of L the Newton system is (I + step C C' H) dZ = residual (`face_systems`).

Non-smooth losses (hinge, absolute, quantile) have a step in V too, the proximal method of multipliers: L is replaced by
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

from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError

from ..losses.base import EDGE
from .face_systems import newton_direction
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
# Half the squared residual adds to the gap: Newton stops when it is this fraction of tol, or of the last gap.
RESIDUAL_FRACTION = 0.1
# Part of the gap by which the objective may rise where the equation was not solved, and multiple of the residual
# allowed at which it is, where phi is flat.
UNSOLVED_FRACTION, FLAT_FRACTION = 0.01, 100.0
# Distance from an edge of the loss, beyond which its curvature is looked at, in units of predictions of at least one.
BESIDE = 4 * EDGE
# Part of the decrease predicted that a step must reach.
SUFFICIENT_DECREASE = 1e-4
SHORTEST_STEP = 1e-8
# The first and the last mu, relative to the ratio of |Z| and |V|, and its factor from step to step.
FIRST_MU, LAST_MU, MU_FACTOR = 1e-1, 1e-7, 0.2


class Center(NamedTuple):
    """Where a proximal point step starts, its steps, and the loss of its equation."""

    loss: object  # smoothed where it is not smooth
    W: np.ndarray
    beta: np.ndarray
    step: float
    free_step: float  # that of beta


class Point(NamedTuple):
    """The equation of a proximal point step at predictions Z."""

    Z: np.ndarray
    P: np.ndarray  # projections
    W: np.ndarray  # their prox
    beta: np.ndarray
    phi: float  # what Newton's method minimises


def solve_newton(sub, start, tol, observe):
    """Solve a subproblem to a relative gap of `tol` over its blocks; return an Iterate, with the step to go on with.

    The step of `start` is 0 for the default. A true value of `observe` stops the solver; it is called as
    observe(W, beta, objective) after each proximal point step, and in between without arguments.
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
        allowed = RESIDUAL_FRACTION * max(tol, RESIDUAL_FRACTION * gap) * objective
        loss = program.loss.smoothed(program.Y, -V, mu)
        center = Center(loss, W, beta, step, FREE_RATIO * size * step)
        point, n_steps, solved = _proximal_point(sub, center, Z, 2 * allowed / loss.smoothness, observe)
        reached_V = -loss.grad(program.Y, point.Z)
        fitted, reached, bound = sub.measure(point.W, reached_V)
        rise = gap if solved else UNSOLVED_FRACTION * gap
        if not reached <= (1 + rise) * objective:  # the equation was not solved: stay where we were
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

    Return a Point, the number of Newton steps, and whether it is solved.
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
        try:
            direction = newton_direction(sub, center, point, curvature, residual)
        except LinAlgError:  # rounding, at a step that is too long
            return point, n_steps, False
        change = curvature * direction if loss.separable else np.einsum("nkl,nl->nk", curvature, direction)
        slope = -float(np.sum(residual * change))
        t = 1.0
        while True:
            trial = _evaluate(sub, center, loss.advance(Y, point.Z, t * direction))
            if trial.phi <= point.phi + SUFFICIENT_DECREASE * t * slope + noise * abs(point.phi):
                break
            t *= 0.5
            if t < SHORTEST_STEP:  # phi is flat up to rounding
                return point, n_steps, np.sum(residual**2) <= FLAT_FRACTION * square
        point = trial
    return point, MAX_NEWTON_STEPS, False


def _evaluate(sub, center, Z):
    """Return the Point of the equation at predictions Z; the tight rows of `sub` are updated."""
    loss, Y, step, free_step = center.loss, sub.program.Y, center.step, center.free_step
    V = -loss.grad(Y, Z)
    P, W = sub.prox(center.W + step * sub.adjoint(V), step)
    beta = center.beta + free_step * (sub.basis.T @ V)
    conjugate = -float(np.sum(Z * V)) - loss.value(Y, Z)  # L*(-V), by Fenchel's equality
    phi = conjugate + np.vdot(W, W) / (2 * step) + np.vdot(beta, beta) / (2 * free_step)
    return Point(Z, P, W, beta, float(phi))
