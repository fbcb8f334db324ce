"""Accelerated proximal gradient with restarts, the inner solver for loose tolerances and very many samples.

    W <- prox(T + step A' V),   V = -grad L(A T + Q b),   T = W + momentum (W - W_previous)

and likewise for the free coefficients b, with step = 1 / (smoothness |[A, Q]|^2), the norm by power iteration. Each
iteration costs two products with the blocks of the working set and keeps every block in its cone. The momentum is
dropped when it points uphill. Neighbouring patterns are nearly the same column, so convergence is slow beyond a
relative gap of 1e-4: use Newton's method there.

References
----------
A. Beck and M. Teboulle (2009), A fast iterative shrinkage-thresholding algorithm for linear inverse problems, SIAM
Journal on Imaging Sciences 2(1), 183-202. B. O'Donoghue and E. Candes (2015), Adaptive restart for accelerated gradient
schemes, Foundations of Computational Mathematics 15, 715-732.
"""

import numpy as np

from .subproblem import Iterate

__all__ = ["solve_fista"]

MAX_ITERATIONS = 20_000
# Iterations between two looks at the gap.
CHECK = 20
POWER_ITERATIONS = 30
# Power iteration ends below the norm: by less than this, nearly always; backtracking mends the rest.
NORM_MARGIN = 1.05


def solve_fista(sub, start, tol, observe):
    """Solve a subproblem as `solve_newton`; the dual vector and the step of `start` are not used."""
    program, loss, Y = sub.program, sub.program.loss, sub.program.Y
    step = 1 / max(loss.smoothness * NORM_MARGIN * _squared_norm(sub), np.finfo(float).tiny)
    W, beta, momentum = start.W, start.beta, 1.0
    T, b = W, beta
    fit = sub.fit(W, beta)
    fit_T = fit
    for iteration in range(1, MAX_ITERATIONS + 1):
        V = -loss.grad(Y, fit_T)
        G, g = sub.adjoint(V), sub.basis.T @ V
        while True:  # backtracking, which ends where nothing is finite any more
            _, W_next = sub.prox(T + step * G, step)
            beta_next = b + step * g
            fit_next = sub.fit(W_next, beta_next)
            moved = np.sum((W_next - T) ** 2) + np.sum((beta_next - b) ** 2)
            rise = loss.value(Y, fit_next) - loss.value(Y, fit_T) + np.sum(V * (fit_next - fit_T))
            if not rise > moved / (2 * step) + 1e-12 * loss.value(Y, fit_T):
                break
            step /= 2
        uphill = np.sum((T - W_next) * (W_next - W)) + np.sum((b - beta_next) * (beta_next - beta)) > 0
        following = 1.0 if uphill else (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        factor = 0.0 if uphill else (momentum - 1) / following
        T, b = W_next + factor * (W_next - W), beta_next + factor * (beta_next - beta)
        fit_T = fit_next + factor * (fit_next - fit)
        W, beta, fit, momentum = W_next, beta_next, fit_next, following
        if iteration % CHECK == 0 or iteration == MAX_ITERATIONS or observe():
            V = -loss.grad(Y, fit)
            refitted, objective, bound = sub.measure(W, V)
            if not np.isfinite(objective):
                return start
            if observe(W, refitted, objective) or objective - bound <= tol * objective:
                break
    return Iterate(W, refitted, program.project_dual(V), start.step)


def _squared_norm(sub):
    """Estimate the largest eigenvalue of A A' + Q Q'."""
    v = np.random.default_rng(0).standard_normal(sub.program.Y.shape)
    size = 0.0
    for _ in range(POWER_ITERATIONS):
        v /= np.linalg.norm(v)
        v = sub.fit(sub.adjoint(v), sub.basis.T @ v)
        size = float(np.linalg.norm(v))
        if size == 0.0:
            break
    return size
