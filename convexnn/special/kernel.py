"""Gated ReLU networks with a ridge penalty: kernel methods.

    minimise over u_i, beta   L(Z) + alpha/2 sum_i |u_i|^2,   Z = sum_i D_i X u_i + F beta

has u_i = X' D_i V / alpha for the dual vector V = -grad L(Z), so Z = K V / alpha + F beta with the kernel

    K = sum_i D_i X X' D_i = (X X') * (M M')   entry by entry, M the patterns, shape (n_samples, n_arrangements),

however many patterns there are. The dual is max -L*(-V) - V'KV / (2 alpha) subject to F'V = 0. For the squared loss the
optimum is one linear system; for other smooth losses, Newton's method solves one with weights H, the second derivatives
of L, in each step: with S = H^(1/2), Q an orthonormal basis of F and r = H Z - grad L(Z),

    (I + H K / alpha) V + H Q b = r,   Q'V = 0,   (I + H K / alpha)^-1 = I - S (I + S K S / alpha)^-1 S K / alpha.

References
----------
C. E. Rasmussen and C. K. I. Williams (2006), Gaussian processes for machine learning, section 3.4. M. Pilanci and T.
Ergen (2020), Neural networks are convex regularizers, ICML.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_factor, cho_solve

from ..geometry.arrangements import BLOCK_ENTRIES, Arrangements, pattern_bits
from ..model.certificate import Certificate, uncontradicted
from ..model.program import Program, Solution
from ..model.summary import Status
from ..networks.recovery import recover
from ..utils.validation import check_array, check_count, check_positive
from .results import SpecialResult, conclude

__all__ = ["gated_kernel", "solve_gated_ridge"]


def gated_kernel(X: ArrayLike, arrangements: Arrangements, X2: ArrayLike | None = None) -> np.ndarray:
    """Compute the kernel sum_i (x.x2) 1[x.g_i >= 0] 1[x2.g_i >= 0] of gated networks.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_hidden_features)
        The rows that the patterns were made for, with the column of ones where there are hidden biases; with `X2`
        any rows: their patterns are those of the gates.
    arrangements : Arrangements
        The patterns, and their gates.
    X2 : array-like of shape (n_samples_2, n_hidden_features) or None, default=None
        Other rows; None stands for X, with the patterns as they are.

    Returns
    -------
    ndarray of shape (n_samples, n_samples) or (n_samples, n_samples_2)
        The kernel.

    Raises
    ------
    ValueError
        If the rows do not fit the patterns.

    Examples
    --------
    >>> from convexnn.geometry.arrangements import Arrangements
    >>> from convexnn.special import gated_kernel
    >>> rows = [[1.0, 0.0], [1.0, 1.0]]
    >>> gated_kernel(rows, Arrangements.from_gates(rows, [[1.0, 0.0], [-1.0, 2.0]]))
    array([[1., 1.],
           [1., 4.]])
    """
    X = check_array(X, input_name="X")
    X2 = None if X2 is None else check_array(X2, input_name="X2")
    for name, rows in (("X", X), *([] if X2 is None else [("X2", X2)])):
        if rows.shape[1] != arrangements.gates.shape[1]:
            raise ValueError(f"{name} must have {arrangements.gates.shape[1]} columns, as gates; got {rows.shape[1]}")
    if X2 is None and len(X) != arrangements.n_samples:
        raise ValueError(f"X must have {arrangements.n_samples} rows, as the patterns; got {len(X)}")
    counts = np.zeros((len(X), len(X if X2 is None else X2)))
    step = max(1, BLOCK_ENTRIES // max(counts.shape))
    for first in range(0, len(arrangements), step):
        batch = slice(first, first + step)
        if X2 is None:
            own = other = arrangements.patterns(batch).astype(np.float64)
        else:
            gates = arrangements.gates[batch]
            own, other = (np.unpackbits(pattern_bits(R, gates), axis=1, count=len(R)) for R in (X, X2))
            own, other = own.astype(np.float64), other.astype(np.float64)
        counts += own.T @ other
    return (X @ (X if X2 is None else X2).T) * counts


def solve_gated_ridge(program: Program, *, tol: float = 1e-9, max_iter: int = 100) -> SpecialResult:
    """Minimise L(Z) + alpha/2 sum_i |u_i|^2 over gated networks with given gates.

    Parameters
    ----------
    program : Program
        Of activation "gated_relu", made by `build_program`, with a smooth loss that has a second derivative in each
        prediction. Its penalty is replaced by the ridge.
    tol : float, default=1e-9
        Compared with the relative gap of the certificate; a ConvergenceWarning is given where it is above.
    max_iter : int, default=100
        Limit of Newton's steps; the squared loss takes one, and one more for its rounding.

    Returns
    -------
    SpecialResult
        The network, with a neuron for every pattern; the certificate of L(Z) + alpha/2 |W|^2, scope "sampled"; the
        `dual` V, of which predictions are `gated_kernel(new, arrangements, rows) @ V / alpha` and the free columns; and
        the blocks u_i, `solution.W`.

    Examples
    --------
    >>> from convexnn import Architecture
    >>> from convexnn.model import build_program
    >>> from convexnn.special import solve_gated_ridge
    >>> gated = Architecture("gated_relu", hidden_bias="none", fit_intercept=False)
    >>> solution = solve_gated_ridge(build_program([[1.0], [2.0]], [1.0, 2.0], 1.0, [[1.0]], gated))
    >>> round(solution.certificate.objective, 6)  # one gate, all on: ridge regression, u = 5 / (5 + 1)
    0.416667
    """
    tol, max_iter = check_positive("tol", tol), check_count("max_iter", max_iter)
    _check_program(program)
    design, basis = program.design, program.free_basis[0]
    kernel = design.pool(design.pool(gated_kernel(design.X, design.arrangements)).T) / program.alpha
    V, b = np.zeros_like(program.Y), program.loss.fit_free(program.Y, basis, np.zeros_like(program.Y))
    best, n_iter = _certified(program, kernel, V, b), 0
    while best[0].gap > 0 and n_iter < max_iter:
        n_iter += 1
        V, b = _step(program, kernel, V, b)
        other = _certified(program, kernel, V, b)
        improved = other[0].gap < best[0].gap
        best = other if improved else best
        if best[0].gap <= tol and not (improved and other[0].gap > 1e-14):
            break
    certificate, W, beta, V, Z = best
    status = Status.MAX_ITER if n_iter == max_iter else Status.NO_PROGRESS
    solution = Solution(program, W, beta, Z, certificate, n_iter, certificate.gap <= tol, status, dual=V)
    return conclude(recover(solution), certificate, tol, status, n_iter=n_iter, dual=V, solution=solution)


def _check_program(program):
    architecture, loss = program.architecture, program.loss
    if architecture.activation != "gated_relu":
        raise ValueError(f'program must have activation "gated_relu"; got {architecture.activation!r}')
    if not (loss.smooth and loss.separable):
        raise ValueError(f"program must have a smooth and separable loss; got {type(loss).__name__}")
    program.require_patterns()


def _step(program, kernel, V, b):
    """Take one step of Newton's method in V and b, Z = kernel V + Q b, with a line search on the objective."""
    Y, loss, basis = program.Y, program.loss, program.free_basis[0]
    Z = kernel @ V + basis @ b
    grad, H = loss.grad(Y, Z), loss.curvature(Y, Z)
    towards = [_newton_target(kernel, basis, h, r) for h, r in zip(H.T, (H * Z - grad).T, strict=True)]
    dV, db = (np.column_stack(parts) - old for parts, old in zip(zip(*towards, strict=True), (V, b), strict=True))

    def objective(V, b):
        fit = kernel @ V
        return loss.value(Y, fit + basis @ b) + 0.5 * np.sum(V * fit)

    start, scale = objective(V, b), 1.0
    slope = np.sum((grad + V) * (kernel @ dV)) + np.sum((basis.T @ grad) * db)
    for _ in range(40):
        if objective(V + scale * dV, b + scale * db) <= start + 1e-4 * scale * min(slope, 0.0) + 1e-14 * abs(start):
            return V + scale * dV, b + scale * db
        scale *= 0.5
    return V, b


def _newton_target(kernel, basis, h, r):
    """Solve (I + H K) V + H Q b = r and Q'V = 0 for one output, with diag(h) for H."""
    root = np.sqrt(h)
    factor = cho_factor(np.eye(len(h)) + root[:, None] * kernel * root)
    if h.min() > 1e-6 * h.max():  # the same without cancellation where K is large beside alpha
        V = root * cho_solve(factor, r / root)
    else:
        V = r - root * cho_solve(factor, root * (kernel @ r))
    along = root[:, None] * cho_solve(factor, root[:, None] * basis)  # (I + H K)^-1 H Q
    b = np.linalg.lstsq(basis.T @ along, basis.T @ V, rcond=None)[0]
    return V - along @ b, b


def _certified(program, kernel, V, b):
    """Return the certificate, blocks, free coefficients, dual vector and fit of a dual vector."""
    loss, basis = program.loss, program.free_basis[0]
    V = loss.project_dual(program.Y, V, basis)
    W = program.design.rmatvec(V) / program.alpha
    beta = program.free_basis[1] @ b
    Z = program.predict(W, beta)
    objective = loss.value(program.Y, Z) + 0.5 * program.alpha * float(np.sum(W**2))
    candidates = [V, loss.project_dual(program.Y, -loss.grad(program.Y, Z), basis)]
    bound = max(-loss.conjugate(program.Y, -U) - 0.5 * float(np.sum(U * (kernel @ U))) for U in candidates)
    bound = uncontradicted(objective, float(bound), program.negligible)
    return Certificate(objective, bound, "sampled", program.negligible), W, beta, V, Z
