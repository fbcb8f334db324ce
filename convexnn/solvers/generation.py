"""Generation: the optimum over ALL activation patterns, which are found as they are needed.

Start from a network (`descent`, or blocks that are given), take the cells of its neurons, and repeat:

1. Solve the convex program over the cells at hand by `newton`, to a fraction of the gap.
2. Climb from the cell of every neuron to the maximum of h(u) = s V'(Xu)_+ that it belongs to. Neurons of one maximum
   are one neuron that lies on a wall and was split over the cells around it: they are put together in one cell, where
   that costs no more than a fraction of the gap.
3. Price: search for maxima of h above alpha over all cells (`search`), from more starts when none are found. They are
   the cells where a new neuron lowers the objective; the largest one scales V, which gives the lower bound.
4. Keep the cells of neurons and those that are nearly active, add what was found.

Several outputs, each with neurons of its own, share the cells. The bound of step 3 is of scope "local": what search
does not find, it does not know. At a small gap a `Prover` proves that kappa(V) is what search found, and the scope is
"global", or it refutes that by points whose cells are added. Where cells are thin, neurons are moved across walls
between convex programs (`movement`), and pricing is by a `Survey`.

References
----------
M. Pilanci and T. Ergen (2020), Neural networks are convex regularizers, ICML. S. Rosset, G. Swirszcz, N. Srebro and
J. Zhu (2007), l1 regularization in infinite dimensional feature spaces, COLT.
"""

from collections.abc import Callable
from copy import copy

import numpy as np
from sklearn.utils import check_random_state

from ..model.program import Program, Solution
from ..model.reduction import Reduction, bias_stages
from ..model.selection_cones import gates_in_cones
from ..model.summary import Status
from ..pricing.proof import Prover
from ..pricing.search import CellSearch, join_maxima
from ..pricing.survey import SURVEYED, THIN_DATA, Survey
from ..pricing.zero_dual import ZeroDual, least_kappa, neurons_of_search
from ..utils.validation import check_choice, check_count
from .cell_pool import CellPool
from .monitor import check_blocks, check_generated, run_watched
from .movement import move_neurons, random_neurons
from .newton import solve_newton
from .subproblem import Iterate
from .working_set import start_blocks

__all__ = ["solve_generation"]

# The length of new neurons that are moved, relative to the longest.
NEW_NEURON = 1e-2
# Neurons shorter than this fraction of the longest are left out of the start.
NEGLIGIBLE = 1e-3
# The program over the cells at hand is solved to this gap at first, then to a fraction of the gap, or of tol.
FIRST_GAP, THIN_FIRST_GAP, INNER_FRACTION, LAST_FRACTION = 1e-3, 1e-2, 0.02, 0.3
# Starts of a search: as many times the usual number a level.
ESCALATION = 4
# A search that finds less than the first number of cells is followed by one with more starts, more than the second by
# one with fewer.
FEW_FOUND, MANY_FOUND = 10, 100
# The level whose search has to find nothing before the end, and the last one that is tried.
LAST_LEVEL, HIGHEST_LEVEL = 1, 3
# Surveys, which cost little beside the rest, are as large as the last one from this multiple of the gap wanted.
NEARLY = 50.0
# Cells that join at a time: this many, or as many as there are neurons.
FEWEST_CELLS = 200
# Cells are kept where |Proj(s X'D V)| is above this fraction of alpha; of thin ones, that within an angle in units of
# n_features / n_rows are one as good as the other, the best.
NEARLY_ACTIVE, THIN_ACTIVE, THIN_ANGLE = 0.99, 0.97, 30.0
# Part of the gap that it may cost to merge neurons.
MERGING_FRACTION = 0.1
# Part of the step of the prox that is left after neurons have moved: from a point that is not near the optimum over its
# cells a long step takes many times longer than several shorter ones.
MOVED_STEP = 0.04
# Iterations that find nothing, after which there is no progress to wait for.
PATIENCE = 4
# An unasked proof: cones, and its seconds as a part of those that the solution took, at least LEAST_PROOF; both are
# counted, not measured, as what a fit says is not to depend on the clock.
PROOF_NODES, PROOF_FRACTION, LEAST_PROOF = 200_000, 0.5, 0.5
# Seconds that an iteration takes, about: a + b n_rows n_features, measured.
ITERATION = 3e-2, 1.3e-4
# Parts of a time limit left to a proof that was asked for, and of tol that the dual vector may take of it.
PROOF_RESERVE, PROOF_SLACK = 0.3, 0.5
# Relative excess over alpha that counts as rounding, and that is worth a neuron to be moved, as a part of tol.
EXCESS_TOL, EXCESS_FRACTION = 1e-11, 0.05


def solve_generation(
    program: Program,
    *,
    W_init: np.ndarray | None = None,
    tol: float = 1e-6,
    max_iter: int | None = None,
    time_limit: float | None = None,
    callback: Callable | None = None,
    verbose: int | bool = 0,
    scope: str = "auto",
    rank: int | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Solution:
    """Solve the problem of a network over all activation patterns.

    Parameters
    ----------
    program : Program
        Made by `build_program`, with arrangements="adaptive" or any patterns: they matter for `W_init` only.
    W_init : ndarray of shape (n_blocks, n_features, n_outputs) or None, default=None
        Blocks of the program to start from; None starts from a network trained by L-BFGS.
    tol : float, default=1e-6
        Compared with the relative gap over all patterns, of the kind that `scope` says.
    max_iter, time_limit, callback, verbose
        As in `solve_working_set`; an iteration is a solve over the cells at hand and a search over all.
    scope : {"auto", "local", "global"}, default="auto"
        "local" ends when search finds no violated pattern, which proves nothing. "global" goes on until the gap is
        proved (seconds up to rank 6 or so, more beyond it; a time limit keeps the best bound). "auto" tries a proof by
        less work than the solution took: the certificate says which of the two it is. Max pooling has "local" only.
    rank : int or None, default=None
        Train in the leading `rank` singular directions of the hidden rows only, which is faster and easier to prove.
        The certificate is for the whole data: where kappa of the data of this rank is at most k, that of all is at most
        k + sigma |V|, for the largest singular value sigma left out. `tol` is compared with the gap without that part.
    random_state : int, RandomState instance or None, default=None
        Source of the starts of descent and search.

    Returns
    -------
    Solution
        The best network found, its certificate, and the program over the patterns of its neurons.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or the patterns of the network are not those of its weights.

    Warns
    -----
    ConvergenceWarning
        As in `solve_working_set`.

    Examples
    --------
    >>> from convexnn.model import build_program
    >>> from convexnn.solvers import solve_generation
    >>> program = build_program([[1.0], [-1.0], [2.0]], [1.0, 0.0, 1.0], 0.1, "adaptive")
    >>> solution = solve_generation(program, random_state=0)
    >>> solution.status, solution.certificate.scope
    ('solved', 'global')
    """
    check_choice("scope", scope, ("auto", "local", "global"))
    check_generated(program)
    if program.selects:  # whose patterns are searched, but nothing is proved
        check_choice("scope", scope, ("auto", "local"))
        scope = "local"
    W_init = check_blocks(program, W_init)
    rank = None if rank is None else check_count("rank", rank)
    rng = check_random_state(random_state)

    def iterate(monitor):
        current, W = program, W_init
        for stage in bias_stages(program, W_init, tol):
            _Generation(current, stage, scope if stage == tol else "local", rank, rng, monitor).run(W)
            current, W = monitor.resume() if stage > tol else (current, W)
            if monitor.over():
                return

    limits = {"tol": tol, "max_iter": max_iter, "time_limit": time_limit}
    shown = {"callback": callback, "verbose": verbose, "scope": "global" if scope == "global" else "local"}
    shown["finish"] = lambda solution: gates_in_cones(solution.trimmed())
    return run_watched(iterate, program, **limits, **shown)


class _Generation:
    """The state of a run: the cells at hand, the dual vector V, the coefficients of the free columns, the gap."""

    def __init__(self, whole, tol, scope, rank, rng, monitor):
        self.whole, self.tol, self.scope, self.rank, self.rng = whole, tol, scope, rank, rng
        self.monitor, monitor.scope = monitor, "local"
        monitor.reserve = PROOF_RESERVE if scope == "global" else 0.0
        self.reduction = Reduction.of(whole, monitor.beta, rank, tol)
        self.program = self.reduction.program
        search = CellSearch(self.program.design, rng, whole.selects)
        self.pool = CellPool(self.program, whole, search.bits)
        self.searches = [copy(search) for _ in range(whole.Y.shape[1])]  # one an output: each remembers its maxima
        self.large, self.n_starts, self.prover = search.large, search.n_starts, Prover(self.program)
        self.thin = self.program.design.X.size > THIN_DATA and not whole.selects
        self.survey = Survey(search) if self.thin and not whole.bias_unit else None  # whose angles are not in units
        self.target = tol if scope == "local" else PROOF_SLACK * tol
        self.V, self.step, self.gap = None, 0.0, 1.0
        self.zero = ZeroDual(self.program.any_dual_at_zero(), np.inf, 0.0)

    def run(self, W_init):
        """Iterate until the gap is reached or the monitor says that it is over."""
        try:
            self._take(*(self._given(W_init) if W_init.any() else self._random()))
            if self.large or not W_init.any():
                self._move()
            self._generate()
            if self.scope == "global" and self.monitor.lower_bound == 0 and self.monitor.status is Status.TIME_LIMIT:
                self._prove(refute=False)
        finally:
            if self.scope == "global":
                self.monitor.scope = "global"
            if self.rank is not None and not self.monitor.status:
                self.monitor.status = Status.LOW_RANK

    def _generate(self):
        """Solve, price, merge and renew the cells, and move neurons, until the gap is reached or nothing is found."""
        level, idle = 0, 0
        while True:
            if not self.large or idle:
                part = max(INNER_FRACTION * self.gap, LAST_FRACTION * self.target)
                self._solve(min(THIN_FIRST_GAP if self.survey else FIRST_GAP, part))
            found = self._price(level)
            if self.monitor.record(len(self.pool)):
                if self.monitor.provisional and not self.monitor.late:  # time is left to look once more
                    self._price(self._last_level())
                return
            reached = self.gap <= self.target
            proving = reached and level >= self._last_level()
            if proving:
                self._tidy()
                found = self._prove()
                if found is None:
                    return
            else:
                level = self._next_level(level, len(found))
            idle = 0 if len(found) or (reached and not proving) else idle + 1
            if idle > PATIENCE:
                self.monitor.status = Status.NO_PROGRESS
                return
            if not proving:
                self._merge(MERGING_FRACTION * self.gap)
            moving = self.large or (self.thin and self.gap > self.target)
            self._renew(found, moving)
            if moving:
                self._move()

    def _next_level(self, level, n_found):
        """Return the level of the next search: higher where one found little, or the gap is reached."""
        if self.gap <= self.target or n_found < FEW_FOUND:
            return min(level + 1, HIGHEST_LEVEL)
        if self.survey and self.gap <= NEARLY * self.target:
            return max(level, self._last_level())
        return max(level - 1, 0) if n_found > MANY_FOUND else level

    def _last_level(self):
        """Return the level of a thorough search: higher where searches were found to have missed cells."""
        return min(LAST_LEVEL + self.monitor.n_refuted, HIGHEST_LEVEL)

    def _given(self, W_init):
        """Return cells, signs, points and blocks of W_init."""
        blocks, W = start_blocks(self.program, self.reduction.apply(W_init))
        design = self.program.design
        self.beta = self.program.loss.fit_free(self.program.Y, self.program.free_basis[0], design.matvec(W, blocks))
        return design.arrangements.bits[design.pattern_index(blocks)], design.sign(blocks), W.sum(axis=2), W

    def _random(self):
        """Return cells, signs, points and blocks of random neurons."""
        self.beta = self.program.loss.fit_free(self.program.Y, self.program.free_basis[0])
        return self.pool.cells_of(*random_neurons(self.program, self.searches[0].units, self.rng))

    def _take(self, *cells):
        """Replace the cells at hand by those given to `CellPool.take`, and show the point to the monitor."""
        self.pool.take(*cells)
        self._observe(self.pool.W, self.beta)

    def _observe(self, W=None, beta=None, objective=None, slack=0.0):
        """Show a point to the monitor; return whether to stop."""
        if W is not None:
            W, beta = self.reduction.invert(W, beta)
            self.monitor.offer(W, self.pool.blocks, beta, self.pool.shown, slack)
        return self.monitor.over()

    def _solve(self, tol):
        """Solve the program over the cells at hand."""
        pool, loss, Y = self.pool, self.program.loss, self.program.Y
        if not len(pool):
            self.beta, self.V = loss.fit_free(Y, self.program.free_basis[0]), None
        if self.V is None:
            self.V = -loss.grad(Y, pool.sub.fit(pool.W, self.beta))
        if len(pool):
            start = Iterate(pool.W, self.beta, self.V, self.step)
            pool.W, self.beta, self.V, self.step = solve_newton(pool.sub, start, tol, self._observe)
        self.V = self.program.project_dual(self.V)

    def _move(self):
        """Move the neurons across walls: a start for convex programs, for large data instead of them while it helps."""
        program, pool = self.program, self.pool
        rows, outputs = pool.pairs
        neurons = pool.W[rows, :, outputs], pool.signs[rows], outputs, self.beta
        known = {"gap": self.gap, "tol": self.tol, "thin": self.survey is not None, "observe": self.monitor.over}
        U, signs, outputs, self.beta = move_neurons(program, neurons, **known)
        sizes = np.linalg.norm(U, axis=1)
        kept = sizes > NEGLIGIBLE * sizes.max(initial=0.0)
        cells = self.pool.cells_of(U[kept], signs[kept], outputs[kept])
        if self.survey and not self.large and self.V is not None:  # cells that are left still bound the dual vector
            apart = pool.apart(self.V, THIN_ACTIVE, THIN_ANGLE * U.shape[1] / len(program.design.X))
            others = pool.bits[apart], pool.signs[apart], pool.points[apart], np.zeros_like(pool.W[apart])
            cells = (np.concatenate(pair) for pair in zip(cells, others, strict=True))
        self._take(*cells)
        self.step *= MOVED_STEP
        self.V = program.project_dual(-program.loss.grad(program.Y, pool.sub.fit(pool.W, self.beta)))

    def _price(self, level):
        """Search for maxima above alpha, and estimate the lower bound; leave those of the neurons in `directions`."""
        program, pool, over = self.program, self.pool, lambda: self.monitor.late
        n_starts = (SURVEYED if self.survey else self.n_starts) * ESCALATION**level
        (rows, outputs), parts = pool.pairs, []
        if not (len(rows) or program.loss.smooth):  # many dual vectors: the best one proves most
            if self.zero.lower <= program.alpha:
                neurons = neurons_of_search(program, self.searches, (0.1, 1), self.monitor.over)
                options = {"enough": program.alpha, "over": self.monitor.over}
                self.zero = least_kappa(program, self.zero.V, neurons, **options)
            if not len(pool) or self.zero.value <= program.alpha:
                self.V = self.zero.V
        V = self.V
        self.directions = np.zeros((len(rows), program.design.X.shape[1]))
        neurons = pool.W[rows, :, outputs] / np.linalg.norm(pool.W[rows, :, outputs], axis=1, keepdims=True)
        for c, search in enumerate(self.searches):
            own, v = outputs == c, V[:, [c]]
            signs = pool.signs[rows[own]]
            if self.large:
                climbed = search.ascend(v, signs, neurons[own], over)
            else:
                climbed = search.climb(v, signs, pool.patterns(rows[own]))
            self.directions[np.flatnonzero(own)[: len(climbed)]] = climbed.directions
            parts.append(climbed)
            if not self.survey:
                parts.append(search.maxima(v, program.alpha, neurons[own], signs, n_starts, over))
        if self.survey:
            parts.append(self.survey.maxima(V, neurons, pool.signs[rows], outputs, n_starts, over))
        maxima = join_maxima(*parts)
        kappa, bound = self._bound(maxima)
        if self.monitor.refutes(bound):  # by a neuron of the best network, which search missed
            maxima = join_maxima(maxima, *self._refuting())
            kappa, bound = self._bound(maxima)
        self.priced = V
        # without what the rank neglects, which no iteration can mend
        self.gap = self.monitor.gap_to(self.reduction.unit_loss * program.dual_value(V, kappa))
        dual = self.reduction.invert_dual(program.dual_point(V, kappa + program.dual_neglected(V)))
        self.monitor.suggest(bound, dual, level >= self._last_level())
        if not len(rows):  # inside the dual feasible set, where blocks become active a few at a time
            self.V = V * min(1.0, program.alpha / kappa)
        return pool.unknown(maxima.above((1 + EXCESS_TOL) * program.alpha), max(FEWEST_CELLS, len(rows)))

    def _bound(self, maxima):
        """Return kappa of the dual vector as far as it is known, and the lower bound that follows."""
        program, V = self.program, self.V
        prices = np.zeros(0) if self.large else self.pool.prices(V, 1.0)
        kappa = max(program.alpha, prices.max(initial=0.0), maxima.values.max(initial=0.0)) + program.dual_rounding(V)
        return kappa, self.reduction.unit_loss * program.dual_value(V, kappa + program.dual_neglected(V))

    def _refuting(self):
        """Climb from the neurons of the best network; return what is reached, a Maxima for each output."""
        best, design = self.monitor, self.monitor.program.design
        W = self.reduction.apply(best.W)
        rows, outputs = np.nonzero(W.any(axis=1))
        blocks, U = best.blocks[rows], W[rows, :, outputs]
        patterns, signs = design.arrangements.patterns(design.pattern_index(blocks)), design.sign(blocks)
        for c, search in enumerate(self.searches):
            own, v = outputs == c, self.V[:, [c]]
            yield search.ascend(v, signs[own], U[own]) if self.large else search.climb(v, signs[own], patterns[own])

    def _merge(self, part):
        """Put neurons of one maximum together in one cell, if the objective grows by this part at most."""
        if not self.large:
            self.beta = self.pool.merge(self.directions, self.beta, part)
            self._observe(self.pool.W, self.beta)

    def _renew(self, found, moving):
        """Drop the cells that are far from active, and add those found."""
        pool = self.pool
        kept = pool.W.any(axis=(1, 2))
        if not self.large:
            kept |= pool.nearly_active(self.V, THIN_ACTIVE if self.survey else NEARLY_ACTIVE)
        new = np.zeros((len(found), *pool.W.shape[1:]))
        if moving:  # the descent has to have neurons to move
            length = NEW_NEURON * np.linalg.norm(pool.W, axis=1).max(initial=0.0)
            outputs = pool.outputs_of(found, self.V)
            # of the others the cell joins
            least = 0.0 if self.large else (1 + EXCESS_FRACTION * self.tol) * self.program.alpha
            grow = np.flatnonzero(found.values > least)
            new[grow, :, outputs[grow]] = length * found.directions[grow]
        pool.keep(kept, found.bits, found.signs, found.directions, new)
        self._observe(pool.W, self.beta)

    def _tidy(self):
        """Solve once more over as few cells as the neurons need."""
        if self.large:
            return
        self._merge(MERGING_FRACTION * self.target)
        self.pool.keep(self.pool.W.any(axis=(1, 2)))
        self._solve(LAST_FRACTION * self.target)
        self._observe(self.pool.W, self.beta, slack=MERGING_FRACTION * self.target)

    def _prove(self, refute=True):
        """Try to prove the gap; return a Maxima that refutes it, None where the run is over."""
        if self.scope == "local" or (self.scope == "auto" and self.large):
            return None
        if not self.whole.free_columns.resolved:
            if self.scope == "global":
                self.monitor.status = Status.UNRESOLVED
            return None
        monitor, nodes = self.monitor, None
        if self.scope == "auto":
            solved = len(monitor.history) * (ITERATION[0] + ITERATION[1] * self.program.design.X.size)
            afforded = max(LEAST_PROOF, PROOF_FRACTION * solved)
            nodes = min(PROOF_NODES, self.prover.nodes_in(afforded))
        objective = monitor.objective / self.reduction.unit_loss
        limits = {"time_limit": monitor.remaining, "max_nodes": nodes}
        limits |= {"starts": [search.found for search in self.searches], "refute": refute}
        proof = self.prover.prove(self.priced, objective, self.tol, **limits)
        dual = self.reduction.invert_dual(self.priced)
        monitor.bound(self.whole.proved_bound(dual, self.reduction.invert_kappa(proof.kappa)))
        if len(proof.directions):
            patterns = proof.directions @ self.program.design.X.T >= 0
            v = self.priced[:, [proof.output]]
            return self.pool.unknown(self.searches[proof.output].climb(v, proof.signs, patterns), len(patterns))
        if proof.status is Status.INTERRUPTED:
            monitor.status = Status.INTERRUPTED
        if proof.complete and (self.scope == "global" or monitor.certificate.proved_gap <= self.tol):
            monitor.scope = "global"
        elif self.scope == "global" and proof.status is not Status.INTERRUPTED:
            monitor.status = Status.UNPROVED
        return None
