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

import logging
import warnings
from threading import Timer

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..pricing import price
from ..program import Solution
from ..projection import compile_kernels
from ..threads import one_blas_thread
from ..validation import check_choice, check_count, check_positive
from .fista import solve_fista
from .monitor import Monitor
from .newton import solve_newton
from .subproblem import Iterate, Subproblem

__all__ = ["INNER_SOLVERS", "solve_working_set"]

logger = logging.getLogger(__name__)

INNER_SOLVERS = {"newton": solve_newton, "fista": solve_fista}
# Blocks that join the working set at a time: this many, or as many as are active, or the root of all.
FEWEST_BLOCKS = 100
# The working set is solved to this part of the gap over all patterns, and where that is within NEAR of tol, of tol.
INNER_PART, LAST_PART, NEAR = 0.1, 0.3, 100.0
# A gap below which products in single precision prove nothing.
SINGLE_GAP = 1e-3
# Iterations that do not halve the gap nor find blocks, after which there is no progress to wait for.
PATIENCE = 4


def solve_working_set(
    program,
    *,
    W_init=None,
    tol=1e-6,
    max_iter=None,
    time_limit=None,
    callback=None,
    verbose=False,
    inner="newton",
    precision="double",
):
    """Solve a program over all its patterns.

    Parameters
    ----------
    program : Program
        Made by `build_program`.
    W_init : ndarray of shape (n_blocks, n_features, n_outputs) or None, default=None
        Blocks to start from, such as those of a solution at another alpha, or those of a solution over fewer patterns
        (`transfer_blocks`). They are projected onto their cones.
    tol : float, default=1e-6
        Compared with the relative gap over all given patterns.
    max_iter : int or None, default=None
        Limit of the iterations, each a pricing of all blocks and a solve over the working set.
    time_limit : float or None, default=None
        Limit in seconds, looked at between the steps of the inner solver.
    callback : callable or None, default=None
        Called with each record of the history; a true value ends the run.
    verbose : bool, default=False
        Whether to print each record of the history.
    inner : {"newton", "fista"}, default="newton"
        Solver of the working set: semismooth Newton, or accelerated proximal gradient for loose tolerances.
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
    """
    check_positive("tol", tol)
    check_choice("inner", inner, tuple(INNER_SOLVERS))
    check_choice("precision", precision, ("double", "single"))
    max_iter = None if max_iter is None else check_count("max_iter", max_iter)
    time_limit = None if time_limit is None else check_positive("time_limit", time_limit)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable or None; got {callback!r}")
    W_init = _check_blocks(program, W_init)
    _compile(verbose)
    monitor = Monitor(program, max_iter, time_limit, callback, verbose)
    try:
        with one_blas_thread():
            _run(program, W_init, tol, INNER_SOLVERS[inner], precision, monitor)
    except KeyboardInterrupt:
        monitor.status = "interrupted"
    certificate, n_iter = monitor.certificate, len(monitor.history)
    converged = certificate.gap <= tol
    status = "solved" if converged else monitor.status
    if not converged:
        warnings.warn(
            f"the solver was {status} at a relative gap of {certificate.gap:.2e}, above tol={tol:.2e}; the best "
            "feasible network found is kept",
            ConvergenceWarning,
            stacklevel=2,
        )
    logger.info("%s after %d iterations; %s", status, n_iter, certificate)
    W, beta = monitor.best()
    return Solution(W, beta, program.predict(W, beta), certificate, n_iter, converged, status, monitor.history)


def _check_blocks(program, W_init):
    """Return the blocks to start from and their indices."""
    if W_init is None:
        return np.zeros(program.block_shape)
    message = f"W_init must be real, finite and of shape {program.block_shape}"
    try:
        W = np.array(W_init)
        real = W.dtype.kind in "biuf"
    except ValueError as error:
        raise ValueError(f"{message}; got {W_init!r}") from error
    if not real or W.shape != program.block_shape or not np.isfinite(W).all():
        raise ValueError(f"{message}; got shape {W.shape} of {W.dtype}")
    return W.astype(np.float64)


def _compile(verbose):
    """Compile the kernels before the clock starts, and say so if it takes a while."""
    message = "compiling the kernels, once on a machine: some 15 seconds"
    timer = Timer(1.0, print, [message], {"flush": True})
    if verbose:
        timer.start()
    try:
        compile_kernels()
    finally:
        timer.cancel()


def _run(whole, W_init, tol, solve_inner, precision, monitor):
    """Iterate until the monitor has a gap of `tol` or says that it is over."""
    simplified = _Simplified(whole, monitor.beta)
    program = simplified.program
    products, last = program.design, tol
    if precision == "single":
        products, last = program.design.single, max(tol, SINGLE_GAP)
    tight = np.full(program.block_shape, -1, np.int32)
    working, W = _start(program, simplified.simplify(W_init), tight)
    sub = Subproblem(program, working, tight[working], products)
    beta = program.loss.fit_free(program.Y, sub.basis, program.design.matvec(W, working))
    point = Iterate(W, beta, -program.loss.grad(program.Y, sub.fit(W, beta)), 0.0)

    def observe(W=None, beta=None, objective=None):
        if W is not None:
            W, beta = simplified.restore(W, beta)
            monitor.offer(W, sub.blocks, beta)
        return monitor.over()

    observe(W, beta)
    if len(working):  # over the blocks to start from first: it takes few steps, and prices are better
        point = solve_inner(sub, point, LAST_PART * last, observe)
    gaps = []
    while True:
        V = program.project_dual(point.V)
        limit = max(FEWEST_BLOCKS, np.count_nonzero(point.W.any(axis=1)), int(program.design.n_blocks**0.5))
        prices = price(products, program.cones, program.penalty, V, program.alpha, limit, tight)
        bound = program.dual_value(V, prices.bound + program.dual_rounding(V, products.X.dtype))
        monitor.bound(bound * simplified.unit_loss)
        gap = monitor.certificate.gap
        if monitor.record(len(working)) or gap <= tol:
            return
        found = np.setdiff1d(prices.blocks[:limit], working)
        gaps = [gap] if len(found) else [*gaps, gap]
        patience = PATIENCE if products is program.design else 1
        stalled = len(gaps) > patience and gap > 0.5 * gaps[-1 - patience]
        if products is not program.design and (stalled or gap <= last):
            products, last, gaps, stalled = program.design, tol, [], False
        if stalled:
            monitor.status = "stopped for lack of progress (rounding, or the limits of the inner solver)"
            return
        if not point.W.any():  # inside the dual feasible set, where blocks become active a few at a time
            V = V * min(1.0, program.alpha / prices.bound)
        tight[working] = sub.tight
        working = np.concatenate([working, found])
        sub = Subproblem(program, working, tight[working], products)
        W = np.concatenate([point.W, np.zeros((len(found), *point.W.shape[1:]))])
        inner_tol = LAST_PART * last if gap <= NEAR * last else INNER_PART * gap
        point = solve_inner(sub, Iterate(W, point.beta, V, point.step), inner_tol, observe)


def _start(program, W, tight):
    """Return the blocks to start from: W projected, and scaled by the first of 1, 1/2, 1/4, ... that beats zero."""
    blocks = np.flatnonzero(W.any(axis=(1, 2)))
    rows = tight[blocks]
    W = program.cones.project(W[blocks], blocks, rows)
    tight[blocks] = rows
    basis, fit, size = program.free_basis[0], program.design.matvec(W, blocks), program.alpha * program.penalty.value(W)

    def objective(t):
        beta = program.loss.fit_free(program.Y, basis, t * fit)
        return program.loss.value(program.Y, t * fit + basis @ beta) + t * size

    W = W * next((t for t in 0.5 ** np.arange(60) if objective(t) < objective(0.0)), 0.0)
    left = W.any(axis=(1, 2))
    return blocks[left], W[left]


class _Simplified:
    """An equal `program` that is easier to solve, and the way there and back.

    It is in coordinates of the row space of X, its targets are what the free fit F beta leaves of Y (a large mean would
    cost digits), and X and Y have sizes of about one, by powers of two.
    """

    def __init__(self, whole, beta):
        program, self.rotation = whole.in_row_space()
        self.offset, self.free_map = np.zeros_like(beta), whole.free_basis[1]
        if program.loss.translation_invariant:
            program, self.offset = program.centred(beta), beta
            self.free_map = self.free_map @ program.free_basis[1]
        unit_x, self.unit_y = _power_of_two(program.design.X), 1.0
        if program.loss.degree is not None:
            self.unit_y = _power_of_two(program.Y)
        self.program = program.rescaled(unit_x, self.unit_y)
        self.unit_w = self.unit_y / unit_x
        self.unit_loss = self.unit_y ** (program.loss.degree or 0)

    def simplify(self, W):
        """Return blocks of the whole program as blocks of `program`."""
        return np.einsum("bdc,dr->brc", W, self.rotation) / self.unit_w

    def restore(self, W, beta):
        """Return blocks and free coefficients of `program` as those of the whole."""
        return np.einsum(
            "brc,dr->bdc", W, self.rotation
        ) * self.unit_w, self.offset + self.free_map @ beta * self.unit_y


def _power_of_two(values):
    """Return the power of two nearest to the root mean square, 1 for zeros: to divide by it costs no digits."""
    size = np.abs(values).max(initial=0.0)
    return 2.0 ** np.round(np.log2(size * np.sqrt(np.mean((values / size) ** 2)))) if size > 0 else 1.0
