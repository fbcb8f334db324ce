"""The exact engine: a working set of blocks, priced over all given patterns, with an accurate inner solver.

Repeat: price all blocks with the dual vector V = -grad L(Z) of the current fit, |Proj_{K_b}(s_b X' D_b V)| <= alpha, by
one blocked product and lazy projections. The largest excess scales V into the dual feasible set, which gives a lower
bound over all given patterns; blocks above alpha join the working set. Solve the program over the working set to a part
of the gap, from where it was. Stop when the gap over all patterns is at most `tol`.

A solution has few active blocks (n_samples are always enough), so the working set stays small, and the number of
patterns enters in the pricing only. All is done in the row space of X, where blocks have rank(X) coordinates.

References
----------
M. Massias, A. Gramfort and J. Salmon (2018), Celer: a fast solver for the Lasso with dual extrapolation, ICML.
"""

from collections.abc import Callable

import numpy as np

from ..model.penalties import Nuclear
from ..model.program import Program, Solution
from ..model.reduction import Reduction, bias_stages
from ..model.summary import Status
from ..pricing.kappa import price, start_of
from ..pricing.zero_dual import dual_at_zero
from ..utils.validation import check_choice
from .fista import solve_fista
from .low_rank import solve_low_rank
from .monitor import check_blocks, run_watched, stalled
from .newton import solve_newton
from .subproblem import Iterate, Subproblem

__all__ = ["INNER_SOLVERS", "solve_working_set", "start_blocks"]

INNER_SOLVERS = {"newton": solve_newton, "fista": solve_fista}
# Blocks that join the working set at a time: this many, or as many as are active, or the root of all.
FEWEST_BLOCKS = 100
# The working set is solved to this fraction of the gap over all patterns, and where that is within NEAR of tol, of tol.
INNER_FRACTION, LAST_FRACTION, NEAR = 0.1, 0.3, 100.0
# A gap below which products in single precision prove nothing.
SINGLE_GAP = 1e-3
# Iterations that do not halve the gap nor find blocks, after which there is no progress to wait for.
PATIENCE = 4


def solve_working_set(
    program: Program,
    *,
    W_init: np.ndarray | None = None,
    tol: float = 1e-6,
    max_iter: int | None = None,
    time_limit: float | None = None,
    callback: Callable | None = None,
    verbose: int | bool = 0,
    inner: str = "newton",
    precision: str = "double",
) -> Solution:
    """Solve a program over all its patterns.

    Parameters
    ----------
    program : Program
        Made by `build_program`.
    W_init : ndarray of shape (n_blocks, n_features, n_outputs) or None, default=None
        Blocks to start from, such as those of a solution at another alpha. They are projected onto their cones.
    tol : float, default=1e-6
        Compared with the relative gap over all given patterns.
    max_iter : int or None, default=None
        Limit of the iterations, each a pricing of all blocks and a solve over the working set.
    time_limit : float or None, default=None
        Limit in seconds, looked at between the steps of the inner solver.
    callback : callable or None, default=None
        Called with each record of the history; a true value ends the run.
    verbose : int or bool, default=0
        0 is silent, 1 shows one live line and a summary at the end, 2 each record of the history; on stderr.
    inner : {"newton", "fista"}, default="newton"
        Solver of the working set: semismooth Newton (for nuclear norms and curved losses, Newton's method on neurons),
        or accelerated proximal gradient for loose tolerances.
    precision : {"double", "single"}, default="double"
        Precision of the products with X. With "single", double precision takes over at a gap of 1e-3 or `tol`; points
        and certificates are always in double precision.

    Returns
    -------
    Solution
        The best feasible point, its certificate, and a history of one record an iteration; `n_working` is the size of
        the working set then.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Warns
    -----
    ConvergenceWarning
        If the relative gap is above `tol`, with the reason: a limit, the callback, Ctrl-C, or no progress.

    Examples
    --------
    >>> from convexnn.model import build_program
    >>> from convexnn.solvers import solve_working_set
    >>> solution = solve_working_set(build_program([[1.0], [-1.0]], [1.0, 0.0], 0.1, "all"))
    >>> round(solution.certificate.objective, 6), solution.certificate.scope
    (0.065711, 'global')
    """
    program.require_patterns()
    if not program.by_prox:
        raise ValueError("solve_working_set needs a penalty of Euclidean norms, or no cones; solve_conic takes any")
    if inner == "fista" and not program.loss.smooth:
        raise ValueError(f'inner must be "newton" for a non-smooth loss; got "fista" for {type(program.loss).__name__}')
    check_choice("inner", inner, tuple(INNER_SOLVERS))
    check_choice("precision", precision, ("double", "single"))
    W_init = check_blocks(program, W_init)

    def iterate(monitor):
        curved = program.loss.smooth and not program.loss.saturates(program.Y)
        low_rank = inner == "newton" and isinstance(program.penalty, Nuclear) and curved
        W = W_init
        for stage in bias_stages(program, W_init, tol):
            _run(program, W, stage, solve_low_rank if low_rank else INNER_SOLVERS[inner], precision, monitor)
            W = monitor.resume()[1] if stage > tol else W
            if monitor.over():
                return

    limits = {"tol": tol, "max_iter": max_iter, "time_limit": time_limit}
    return run_watched(iterate, program, **limits, callback=callback, verbose=verbose)


def _run(whole, W_init, tol, solve_inner, precision, monitor):
    """Iterate until the monitor has a gap of `tol` or says that it is over."""
    reduction = Reduction.of(whole, monitor.beta, tol=tol)
    program = reduction.program
    products, last = program.design, tol
    if precision == "single":
        products, last = program.design.single, max(tol, SINGLE_GAP)
    start = start_of(program)
    tight = start.tight
    working, W = start_blocks(program, reduction.apply(W_init), tight)
    sub = Subproblem(program, working, tight[working], products)
    beta = program.loss.fit_free(program.Y, sub.basis, program.design.matvec(W, working))
    point = Iterate(W, beta, -program.loss.grad(program.Y, sub.fit(W, beta)), 0.0)

    def observe(W=None, beta=None, objective=None):
        if W is not None:
            W, beta = reduction.invert(W, beta)
            monitor.offer(W, sub.blocks, beta)
        return monitor.over()

    observe(W, beta)
    if len(working):  # over the blocks to start from first: it takes few steps, and prices are better
        point = solve_inner(sub, point, LAST_FRACTION * last, observe)
    gaps, zero = [], None
    while True:
        V = program.project_dual(point.V)
        if zero is None and not (point.W.any() or program.loss.smooth):  # many dual vectors: the best one proves most
            zero = V = dual_at_zero(program, program.alpha)
        limit = max(FEWEST_BLOCKS, np.count_nonzero(point.W.any(axis=1)), int(program.design.n_blocks**0.5))
        prices = price(program, V, program.alpha, limit, start, products)
        slack = program.dual_rounding(V, products.X.dtype) + program.dual_neglected(V)
        bound = program.dual_value(V, prices.bound + slack)
        dual = reduction.invert_dual(program.dual_point(V, prices.bound + slack))
        monitor.bound(bound * reduction.unit_loss, dual)
        gap = monitor.certificate.gap
        if monitor.record(len(working)) or gap <= tol:
            return
        found = np.setdiff1d(prices.blocks[:limit], working)
        gaps = [gap] if len(found) else [*gaps, gap]
        patience = PATIENCE if products is program.design else 1
        stuck = stalled(gaps, patience)
        if products is not program.design and (stuck or gap <= last):
            products, last, gaps, stuck = program.design, tol, [], False
        if stuck:
            monitor.status = Status.NO_PROGRESS
            return
        if not point.W.any():  # inside the dual feasible set, where blocks become active a few at a time
            V = V * min(1.0, program.alpha / prices.bound)
        tight[working] = sub.tight
        working = np.concatenate([working, found])
        sub = Subproblem(program, working, tight[working], products)
        W = np.concatenate([point.W, np.zeros((len(found), *point.W.shape[1:]))])
        inner_tol = LAST_FRACTION * last if gap <= NEAR * last else INNER_FRACTION * gap
        point = solve_inner(sub, Iterate(W, point.beta, V, point.step), inner_tol, observe)


def start_blocks(program, W, tight=None):
    """Return the nonzero blocks of W and their rows, projected, and halved until they beat zero; `tight` is updated."""
    tight = np.full(W.shape, -1, np.int32) if tight is None else tight
    blocks = np.flatnonzero(W.any(axis=(1, 2)))
    rows = tight[blocks]
    W = program.cones.project(W[blocks], blocks, rows)
    tight[blocks] = rows
    if not len(blocks):
        return blocks, W
    basis, fit, size = program.free_basis[0], program.design.matvec(W, blocks), program.alpha * program.penalty.value(W)

    def objective(t):
        beta = program.loss.fit_free(program.Y, basis, t * fit)
        return program.loss.value(program.Y, t * fit + basis @ beta) + t * size

    zero = objective(0.0)
    W = W * next((t for t in 0.5 ** np.arange(60) if objective(t) < zero), 0.0)
    left = W.any(axis=(1, 2))
    return blocks[left], W[left]
