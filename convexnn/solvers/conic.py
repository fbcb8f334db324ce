"""The engine for norms that are not rotation invariant: a working set of blocks and of cone rows, and interior points.

    minimise over W, beta   L(Z) + alpha R(W),   Z = A(W) + F beta,   W_b in K_b

Repeat: price all blocks at the dual vector V by `price`, which also proves a lower bound; blocks above alpha
join the working set, blocks that are zero and below it leave once. Solve the program over the working set by Clarabel,
with few rows of each cone; rows that are tight where the blocks are projected onto their cones join, until projecting
raises the objective by a fraction of the gap only. The projected blocks are feasible; their objective is reported.

With q = B'u for the basis B of the norm, squared losses are written out for Clarabel, as a quadratic cone program

    minimise 1/2 |M x - Y|^2 + alpha sum_t w_t s_t,   x = (q, beta),   rows B q >= 0,   |q_t| <= s_t,

one for each output, M having the columns A_b B of the working set and an orthonormal basis of F; other losses go
through cvxpy, and V is the dual variable of Z = A(W) + F beta. Only columns of the working set are ever formed.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import sparse

from ..losses import Squared
from ..model.cones import FreeCones
from ..model.penalties import Nuclear
from ..model.program import Program, Solution
from ..model.reduction import Reduction
from ..model.summary import Status
from ..pricing.groups import cone_rows, conic_settings, norm_cones
from ..pricing.kappa import price, start_of
from ..pricing.zero_dual import dual_at_zero
from .monitor import check_blocks, run_watched, stalled
from .polish import polish
from .reference import solve_cvxpy
from .working_set import start_blocks

__all__ = ["solve_conic"]

# Blocks that join the working set at a time: this many, or as many as are active.
FEWEST_BLOCKS = 20
# The working set is solved to this fraction of the gap, and at the end of tol.
INNER_FRACTION, LAST_FRACTION = 0.1, 0.1
# Excess of the dual norm over alpha that need not be resolved, as a part of tol.
PRICING_FRACTION = 0.02
# Accuracy that the interior-point method is asked for: a part of that of the working set, and the least.
SOLVER_FRACTION, SOLVER_TOL = 1e-3, 1e-11
# It is asked again for a hundred times less where it fails, up to this.
LOOSEST_TOL = 1e-3
# Entries of the columns of a working set up to which it is small.
CAREFUL_SIZE = 20_000
# Times that rows join before blocks are priced again.
ROUNDS = 12
# A block is idle where its norm over the largest is below this fraction of the slack of its dual norm over alpha.
IDLE_FRACTION = 0.1
# Iterations that do not halve the gap nor find blocks, after which there is no progress to wait for.
PATIENCE = 4


def solve_conic(
    program: Program,
    *,
    W_init: np.ndarray | None = None,
    tol: float = 1e-6,
    max_iter: int | None = None,
    time_limit: float | None = None,
    callback: Callable | None = None,
    verbose: int | bool = 0,
) -> Solution:
    """Solve a program with any penalty over all its patterns, by interior points over working sets.

    Parameters
    ----------
    program : Program
        The program; its penalty may be a norm that is not rotation invariant.
    W_init, tol, max_iter, time_limit, callback, verbose
        As in `solve_working_set`; the interior-point solver obeys `time_limit` too.

    Returns
    -------
    Solution
        As of `solve_working_set`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or the penalty is a nuclear norm.

    Warns
    -----
    ConvergenceWarning
        As in `solve_working_set`.

    Examples
    --------
    >>> from convexnn import Architecture
    >>> from convexnn.model import build_program
    >>> from convexnn.solvers import solve_conic
    >>> program = build_program([[1.0], [-1.0]], [1.0, 0.0], 0.1, "all", Architecture(hidden_norm="l1"))
    >>> round(solve_conic(program).certificate.objective, 6)
    0.09
    """
    program.require_patterns()
    if isinstance(program.penalty, Nuclear):
        raise ValueError("solve_conic needs a norm of each output's weights; solve_working_set takes the nuclear norm")
    W_init = check_blocks(program, W_init)

    def iterate(monitor):
        _run(program, W_init, tol, monitor)

    limits = {"tol": tol, "max_iter": max_iter, "time_limit": time_limit}
    return run_watched(iterate, program, **limits, callback=callback, verbose=verbose)


def _run(whole, W_init, tol, monitor):
    """Iterate until the monitor has a gap of `tol` or says that it is over."""
    scaled = Reduction.of(whole, monitor.beta)
    program = scaled.program
    start = start_of(program)
    blocks, W = start_blocks(program, scaled.apply(W_init))
    beta = program.loss.fit_free(program.Y, program.free_basis[0], program.design.matvec(W, blocks))
    _offer(monitor, scaled, W, blocks, beta)
    V = -program.loss.grad(program.Y, program.design.matvec(W, blocks) + program.free_basis[0] @ beta)
    working = _Working(program, scaled, monitor, start)
    if len(blocks):
        working.add(blocks)
        V = working.solve(LAST_FRACTION * tol, V)
    elif not program.loss.smooth:
        V = dual_at_zero(program, program.alpha)
    gaps = []
    while True:
        V = program.project_dual(V)
        alpha = program.alpha * (1 + PRICING_FRACTION * tol)
        limit = max(FEWEST_BLOCKS, np.count_nonzero(monitor.W.any(axis=(1, 2))))
        prices = price(program, V, alpha, program.design.n_blocks, start)
        norm = prices.bound + program.dual_rounding(V)
        dual = scaled.invert_dual(program.dual_point(V, norm))
        monitor.bound(program.dual_value(V, norm) * scaled.unit_loss, dual)
        gap = monitor.certificate.gap
        if monitor.record(len(working.blocks)) or gap <= tol:
            return
        found = np.setdiff1d(prices.blocks[:limit], working.blocks)
        gaps = [gap] if len(found) else [*gaps, gap]
        if stalled(gaps, 1):
            working.careful = True
        working.drop_idle()
        working.add(found)
        if not len(working.blocks) or stalled(gaps, PATIENCE):
            monitor.status = Status.NO_PROGRESS
            return
        part = INNER_FRACTION * gap if len(found) else LAST_FRACTION * tol  # without new blocks, only rows are missing
        V = working.solve(max(LAST_FRACTION * tol, part), V)


def _offer(monitor, scaled, W, blocks, beta):
    """Offer a feasible point of the scaled program to the monitor."""
    W, beta = scaled.invert(W, beta)
    monitor.offer(W, blocks, beta)


class _Inner(NamedTuple):
    """What the interior-point method found over the working set."""

    Q: np.ndarray  # (n_working, n_features, n_outputs), the blocks in the basis of the norm
    beta: np.ndarray  # (rank, n_outputs), of the orthonormal free columns
    V: np.ndarray  # (n_samples, n_outputs)
    mu: np.ndarray  # (n_rows, n_outputs), multipliers of the rows, not negative


class _Working:
    """The program over some blocks and some rows of their cones.

    `scaled` leads back from `program`, and `monitor` is offered every feasible point. The tight rows of `start`, the
    Start of pricing, are the first that a block uses; its points are overwritten.
    """

    def __init__(self, program, scaled, monitor, start):
        self.program, self.scaled, self.monitor, self.start = program, scaled, monitor, start
        self.basis, terms = program.penalty.terms(program.block_shape[1])
        self.weights, matrix, self.norm_sizes = norm_cones(terms)
        self.norm_parts = matrix[:, : program.block_shape[1]], matrix[:, program.block_shape[1] :]
        self.blocks, self.rows, self.columns, self.used = np.zeros(0, np.int64), {}, {}, {}
        self.idle, self.dropped, self.careful = np.zeros(0, bool), set(), False

    def add(self, blocks):
        """Add blocks to the working set, with the likely tight rows of `start`."""
        for b in blocks:
            rows = np.zeros((0, self.program.block_shape[1]))
            if not isinstance(self.program.cones, FreeCones):
                rows = cone_rows(self.program.cones, b)
            columns = self.program.design.block(b)
            self.rows[b] = rows if self.basis is None else rows @ self.basis
            self.columns[b] = columns if self.basis is None else columns @ self.basis
            tight = self.start.tight[b]
            self.used[b] = np.unique(tight[tight >= 0])
        self.blocks = np.concatenate([self.blocks, blocks]).astype(np.int64)
        self.idle = np.concatenate([self.idle, np.zeros(len(blocks), bool)])

    def drop_idle(self):
        """Drop the idle blocks that have not been dropped before, so that dropping comes to an end."""
        leaving = np.array([b for b in self.blocks[self.idle] if b not in self.dropped], np.int64)
        for b in leaving:
            del self.rows[b], self.columns[b], self.used[b]
        self.dropped |= set(leaving)
        kept = ~np.isin(self.blocks, leaving)
        self.blocks, self.idle = self.blocks[kept], self.idle[kept]

    def solve(self, tol, V):
        """Solve until the cones cost a fraction `tol` of the objective; return a dual vector, V where that fails."""
        program, basis = self.program, self.program.free_basis[0]
        for _ in range(ROUNDS):
            inner = self._solve_rows(max(SOLVER_TOL, SOLVER_FRACTION * tol))
            if inner is None:
                return V
            V = inner.V
            W = inner.Q if self.basis is None else self.basis @ inner.Q
            Z = program.design.matvec(W, self.blocks) + basis @ inner.beta
            relaxed = program.loss.value(program.Y, Z) + program.alpha * program.penalty.value(W)
            tight = np.full(W.shape, -1, np.int32)
            objective = self._offer(program.cones.project(W, self.blocks, tight), inner.beta)
            self._judge(W, inner)
            if objective - relaxed <= tol * objective or not self._join(inner.Q, tight) or self.monitor.over():
                return V
        return V

    def _offer(self, W, beta):
        """Offer a feasible point, also polished and with the best free coefficients; return its objective."""
        program, (basis, free_map) = self.program, self.program.free_basis
        whole = np.zeros(program.block_shape)
        whole[self.blocks] = W
        whole = polish(program, whole, free_map @ beta)
        left = np.flatnonzero(whole.any(axis=(1, 2)))
        fit = program.design.matvec(whole[left], left)
        fits = [basis @ beta, basis @ program.loss.fit_free(program.Y, basis, fit)]
        losses = [program.loss.value(program.Y, fit + free) for free in fits]
        beta = basis.T @ fits[int(np.argmin(losses))]
        _offer(self.monitor, self.scaled, whole[left], left, beta)
        return min(losses) + program.alpha * program.penalty.value(whole)

    def _judge(self, W, inner):
        """Mark the idle blocks, and write the points with which the multipliers prove bounds to `start.points`."""
        program = self.program
        H = program.design.rmatvec(inner.V, self.blocks)
        first = 0
        for k, b in enumerate(self.blocks):
            last = first + len(self.used[b])
            pull = self.rows[b][self.used[b]].T @ inner.mu[first:last]
            H[k] += pull if self.basis is None else self.basis @ pull
            first = last
        if self.start.points is not None:
            self.start.points[self.blocks] = H
        norms = np.linalg.norm(W, axis=(1, 2))
        slack = 1.0 - program.penalty.dual_norms(H) / program.alpha
        self.idle = norms < IDLE_FRACTION * slack * norms.max(initial=0.0)

    def _join(self, Q, tight):
        """Add rows that are violated, or tight where blocks are projected; return whether there are any."""
        joined = 0
        for k, b in enumerate(self.blocks):
            rows = [self.used[b], tight[k][tight[k] >= 0]]
            if len(self.rows[b]):
                worst = self.rows[b] @ Q[k]
                worst[self.used[b]] = 0.0
                row = worst.min(axis=1).argmin()
                rows.append([row] if worst[row].min() < 0 else [])
            rows = np.unique(np.concatenate(rows)).astype(np.int64)
            joined += len(rows) - len(self.used[b])
            self.used[b] = rows
        return joined > 0

    def _solve_rows(self, tol):
        """Solve over the rows in use to an accuracy; None where the interior-point method fails."""
        program, k = self.program, len(self.blocks)
        M = np.hstack([*(self.columns[b] for b in self.blocks), program.free_basis[0]])
        R = sparse.block_diag([self.rows[b][self.used[b]] for b in self.blocks], format="csr")
        solve = _solve_squared if isinstance(program.loss, Squared) else _solve_any
        found = None
        while found is None or not all(np.isfinite(part).all() for part in found):
            if tol > LOOSEST_TOL or self.monitor.over():
                return None
            found = solve(self, M, R, tol)
            tol *= 100.0
        x, V, mu = found
        size = k * program.block_shape[1]
        return _Inner(x[:size].reshape(k, -1, x.shape[1]), x[size:], V, np.maximum(mu, 0.0))


def _solve_squared(working, M, R, tol):
    """Return (q, beta), the dual vector and the multipliers of the rows R q >= 0 for a squared loss, by Clarabel.

    The objective is divided by alpha. Where the working set is `careful`, or small, the residuals M (q, beta) - Y are
    variables, which costs time; else M'M is formed, which costs digits.
    """
    import clarabel

    program, Y = working.program, working.program.Y
    (n, size), k = M.shape, len(working.blocks)
    weights, curvature = np.tile(working.weights, k), program.loss.curvature(Y, np.zeros_like(Y)) / program.alpha
    A, cones = _cones_of_blocks(working, R, size)
    careful = working.careful or M.size <= CAREFUL_SIZE
    if careful:
        A = sparse.block_array([[np.hstack([M, np.zeros((n, len(weights)))]), -sparse.eye_array(n)], [A, None]])
        cones = [clarabel.ZeroConeT(n), *cones]
    A = sparse.csc_array(A)
    found = []
    for c in range(Y.shape[1]):
        b = np.zeros(A.shape[0])
        if careful:
            b[:n] = Y[:, c]
            P = sparse.diags_array(np.concatenate([np.zeros(size + len(weights)), curvature[:, c]]), format="csc")
            cost = np.concatenate([np.zeros(size), weights, np.zeros(n)])
        else:
            weighted = M * curvature[:, [c]]
            P = sparse.block_diag([np.triu(M.T @ weighted), sparse.csr_array((len(weights),) * 2)], format="csc")
            cost = np.concatenate([-weighted.T @ Y[:, c], weights])
        settings = conic_settings(tol, working.monitor.remaining)
        solution = clarabel.DefaultSolver(P, cost, A, b, cones, settings).solve()
        x, z = np.array(solution.x[:size]), program.alpha * np.array(solution.z)
        V = -z[:n] if careful else program.alpha * curvature[:, c] * (Y[:, c] - M @ x)
        found.append((x, V, z[n * careful :][: R.shape[0]]))
    return [np.array(part).T for part in zip(*found, strict=True)]


def _cones_of_blocks(working, R, size):
    """Return A and cones that -A (q, beta, s) is to be in: first R q, then the s_t and q_t of each block."""
    import clarabel

    each = sparse.eye_array(len(working.blocks))
    inside, bounds = (-sparse.kron(each, part) for part in working.norm_parts)
    R, inside = (
        sparse.hstack([part, sparse.csr_array((part.shape[0], size - part.shape[1]))]) for part in (-R, inside)
    )
    singles, *others = working.norm_sizes
    cones = [clarabel.NonnegativeConeT(singles)] if singles else []
    cones = (cones + [clarabel.SecondOrderConeT(length) for length in others]) * len(working.blocks)
    if R.shape[0]:
        cones = [clarabel.NonnegativeConeT(R.shape[0]), *cones]
    return sparse.block_array([[R, sparse.csr_array((R.shape[0], bounds.shape[1]))], [inside, bounds]]), cones


def _solve_any(working, M, R, tol):
    """Return (q, beta), the dual vector and the multipliers of the rows R q >= 0 for any loss, by cvxpy."""
    import cvxpy as cp

    program, basis = working.program, working.basis
    k, d, n_outputs = len(working.blocks), program.block_shape[1], program.Y.shape[1]
    x, Z = cp.Variable((M.shape[1], n_outputs)), cp.Variable(program.Y.shape)
    fit = Z - M @ x == 0
    size = 0.0
    for c in range(n_outputs):
        Q = cp.reshape(x[: k * d, c], (k, d), order="C")
        size = size + program.penalty.to_cvxpy(Q if basis is None else Q @ basis.T)
    cone = [R @ x[: k * d] >= 0] if R.shape[0] else []
    problem = cp.Problem(cp.Minimize(program.loss.to_cvxpy(program.Y, Z) + program.alpha * size), [fit, *cone])
    try:
        solve_cvxpy(problem, accuracy=tol, tol_gap_abs=tol, max_threads=1)
    except RuntimeError:
        return None
    if x.value is None or fit.dual_value is None:
        return None
    mu = cone[0].dual_value if cone else np.zeros((0, n_outputs))
    return x.value, fit.dual_value.reshape(program.Y.shape), mu.reshape(R.shape[0], n_outputs)
