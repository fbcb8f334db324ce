"""Several outputs with true weight decay: neurons with output weights of their own, found over all cells.

    minimise over neurons   L(sum_j act(X u_j) a_j' + F b) + alpha sum_j |u_j| |a_j|

The convex program has an atom for every cell and every direction g of output weights, and its dual vectors V are
feasible where

    kappa(V) = max over |u| <= 1 of |V' act(X u)| <= alpha

for the Euclidean norm: NP-hard to find in general, though for a given g it is the pricing of one output with v = V g.
Start from a network trained by L-BFGS, and repeat:

1. Move the neurons by Newton's method on the faces of their cells, over walls where phi falls behind them (`factors`).
2. Climb from every neuron, in turn in u for v = V g over the cells (`ascent`), and to g = V' act(X u), normalised.
   Neurons of one maximum are put together where that costs no more than a fraction of the gap.
3. Price: the same from many starts. The largest maximum found scales V, which gives the bound, of scope "local"; those
   above alpha are new neurons.

A solution is the convex program over the cells and directions of its neurons (`model.design.DirectedDesign`).

References
----------
A. Sahiner, T. Ergen, J. Pauly and M. Pilanci (2021), Vector-output ReLU neural network problems are copositive
programs: convex analysis of two-layer networks and polynomial-time algorithms. ICLR.
"""

from dataclasses import replace

import numpy as np
from sklearn.utils import check_random_state

from ..geometry.arrangements import Arrangements
from ..geometry.enumeration import interior_gates
from ..model.cones import make_cones
from ..model.design import Design, DirectedDesign
from ..model.reduction import Reduction
from ..model.summary import Status
from ..pricing.vector_search import VectorMaxima, VectorSearch, join_vector_maxima
from ..pricing.zero_dual import ZeroDual, least_kappa, neurons_of_vectors
from ..utils.validation import check_choice
from .cell_pool import leaders
from .descent import descend_factors
from .factors import solve_factors
from .monitor import check_blocks, run_watched, stalled
from .neurons import FIRST_MU, LAST_MU, MU_FACTOR, Neurons, enlarge
from .newton import solve_newton
from .subproblem import Iterate, Subproblem

__all__ = ["over_neurons", "solve_vector_generation"]

# Neurons of the descent, one for two samples within limits, and its iterations.
FEWEST_NEURONS, MOST_NEURONS, DESCENT_STEPS = 20, 200, 300
# Relative decrease at which the descent ends.
DESCENT_TOL = 1e-7
# Neurons below this fraction of the largest are left out of the start.
NEGLIGIBLE = 1e-4
# The fraction of the gap to which neurons are moved, and that merging them may cost.
INNER_FRACTION, MERGING_FRACTION, LAST_FRACTION = 0.01, 0.1, 0.1
# A search that finds no more than so many neurons, or none that keep the gap above tol, is followed by one with as many
# times the starts.
FEW_FOUND, ESCALATION = 3, 4
# New neurons at a time: this many, or as many as there are.
FEWEST_NEW = 20
# Steps of Newton's method between two convex programs.
MOVES = 8
# Neurons found that are kept for the convex program, the last ones.
POOL_SIZE = 300
# Parts of tol by which kappa has to exceed alpha to be worth a neuron, and by which climbs have to go on.
EXCESS_FRACTION, CLIMB_FRACTION = 0.05, 1e-6
# Iterations that do not halve the gap, after which there is no progress to wait for.
PATIENCE = 12
# Cosine above which directions of maxima are one.
SAME_MAXIMUM = 1 - 1e-7


def solve_vector_generation(
    program,
    *,
    W_init=None,
    tol=1e-6,
    max_iter=None,
    time_limit=None,
    callback=None,
    verbose=0,
    scope="auto",
    random_state=None,
):
    """Solve the problem of a network with several outputs and weight decay over all activation patterns.

    The arguments are those of `solve_generation`, and `program` may be that of a solution of this solver. Scopes "auto"
    and "local" both end when search finds no neuron that lowers the objective, which proves nothing. The program of the
    solution has a block for each neuron, with its cell and direction of outputs: W has shape
    (n_neurons, n_features, 1).
    """
    check_choice("scope", scope, ("auto", "local"))
    _check_supported(program)
    W_init = check_blocks(program, W_init)
    rng = check_random_state(random_state)

    def iterate(monitor):
        _VectorGeneration(program, tol, rng, monitor).run(W_init)

    limits = {"tol": tol, "max_iter": max_iter, "time_limit": time_limit}
    shown = {"callback": callback, "verbose": verbose, "scope": "local", "finish": _trimmed}
    return run_watched(iterate, program, **limits, **shown)


def _check_supported(program):
    """Raise ValueError where the architecture or the loss is not one of `solve_vector_generation`."""
    architecture = program.architecture
    if not architecture.constrained or not program.penalty.rotation_invariant or architecture.hidden_norm != "l2":
        raise ValueError(
            "solve_vector_generation is for activations whose patterns are those of the weights (relu, leaky_relu, "
            f'abs) and hidden_norm="l2"; got {architecture.activation!r} and {architecture.hidden_norm!r}'
        )
    if architecture.output_penalty != "weight_decay" and program.Y.shape[1] > 1:
        raise ValueError('solve_vector_generation is for output_penalty="weight_decay"; for "l1" use solve_generation')
    if architecture.patches is not None and architecture.patches.pooling not in ("sum", "mean"):
        raise ValueError(
            f'solve_vector_generation takes pooling "sum" and "mean"; got {architecture.patches.pooling!r}'
        )
    if not np.isfinite(program.loss.value(program.Y, program.Y + 1.0)):
        raise ValueError("solve_vector_generation needs a loss that is finite everywhere")


def _trimmed(solution):
    """Return a solution without zero blocks, with gates inside the cells."""
    program, active = solution.program, np.flatnonzero(solution.W.any(axis=(1, 2)))
    design, W = program.design, solution.W[active]
    if not isinstance(design, DirectedDesign):  # the zero network
        active, W = active[:0], solution.W[:0, :, :1]
        return replace(solution, program=_directed(program, W[:, :, 0], np.zeros((0, program.Y.shape[1]))), W=W)
    return replace(solution, program=_directed(program, W[:, :, 0], design.directions[active], design, active), W=W)


def _directed(program, U, directions, source=None, index=None):
    """Return the program over the cells of neurons (those of `source` where given) and directions."""
    X = program.design.X
    patterns = U @ X.T >= 0 if source is None else source.arrangements.patterns(index)
    return over_neurons(program, patterns, directions, interior_gates(X, U, patterns) if len(U) else np.zeros(U.shape))


def over_neurons(program, patterns, directions, gates):
    """Return the program over the cells and the directions of neurons, with a block for each.

    `patterns` (n_neurons, n_rows) are booleans, and `directions` (n_neurons, n_outputs) unit vectors of output
    weights. `gates` are vectors in the cells, (n_neurons, n_features), or (n_neurons, 0) where they are not known.
    """
    design = program.design
    bits = np.packbits(patterns, axis=1).reshape(len(patterns), -(-len(design.X) // 8))
    arrangements = Arrangements(bits, gates, len(design.X))
    shape = design.slope, design.n_patches, design.units
    design = DirectedDesign(design.X, arrangements, (1.0,), *shape, directions=directions)
    return replace(program, design=design, cones=make_cones(design, program.architecture))


class _VectorGeneration:
    """The state of a run: the neurons, the dual vector V, the smoothing of a non-smooth loss, the gap."""

    def __init__(self, whole, tol, rng, monitor):
        self.whole, self.tol, self.rng, self.monitor = whole, tol, rng, monitor
        self.reduction = Reduction.of(whole, monitor.beta)
        self.program = self.reduction.program
        self.search = VectorSearch(self.program.design, rng)
        self.gap, self.mu, self.V, self.step = 1.0, None, None, 0.0
        self.zero = ZeroDual(self.program.any_dual_at_zero(), np.inf, 0.0)
        no_outputs, (n_rows, d) = np.zeros((0, whole.Y.shape[1])), self.program.design.X.shape
        self.pool = VectorMaxima(np.zeros(0), np.zeros((0, d)), no_outputs, np.zeros((0, n_rows), bool))

    def run(self, W_init):
        """Iterate until the gap is reached or the monitor says that it is over."""
        self.neurons = self._given(W_init) if W_init.any() else self._trained()
        program, gaps = self.program, []
        self.V = program.project_dual(-program.loss.grad(program.Y, self.neurons.fit()))
        while True:
            self._move()
            self._solve()
            found = self._price()
            if self.monitor.record(len(self.neurons)):
                if self.monitor.provisional and not self.monitor.late:  # time is left to look once more
                    self._price(thorough=True)
                return
            gaps.append(self.gap)
            if self.gap <= self.tol:
                self._merge()
                self._observe(min(MERGING_FRACTION * self.gap, self.tol - self.gap))
                return
            if stalled(gaps, PATIENCE):
                self.monitor.status = Status.NO_PROGRESS
                return
            self._merge()
            self.pool = join_vector_maxima([found, self.pool]).distinct(SAME_MAXIMUM, by_value=False)
            self.pool = self.pool.select(slice(POOL_SIZE))

    def _given(self, W_init):
        """Return the neurons of W_init, scaled until they beat zero."""
        program, whole = self.program, self.whole
        blocks, columns = np.nonzero(W_init.any(axis=1))
        W, design = self.reduction.apply(W_init), whole.design
        if isinstance(design, DirectedDesign):
            directions = design.directions[blocks]
        else:
            directions = np.eye(W.shape[2])[columns] * design.sign(blocks)[:, None]
        patterns = design.arrangements.patterns(design.pattern_index(blocks))
        free = program.loss.fit_free(program.Y, program.free_basis[0])
        neurons = Neurons.in_cells(self._plain(), patterns, W[blocks, :, columns], directions, free)
        neurons = neurons.balanced()
        loss = self._smoothed(neurons)
        return enlarge(neurons, len(neurons), loss)

    def _plain(self):
        """Return the program with a plain design, whose blocks have a column for each output."""
        design = self.program.design
        if not isinstance(design, DirectedDesign):
            return self.program
        plain = Design(design.X, design.arrangements, (1.0, -1.0), design.slope, design.n_patches)
        return replace(self.program, design=plain, cones=make_cones(plain, self.program.architecture))

    def _smoothed(self, neurons):
        """Return the loss, smoothed around the dual vector where it is not smooth."""
        loss, Y = self.program.loss, self.program.Y
        if loss.smooth:
            return loss
        if self.mu is None:
            fit = neurons.fit()
            self.V = self.program.project_dual(-loss.grad(Y, fit))
            self.mu = FIRST_MU * max(np.linalg.norm(Y), np.linalg.norm(fit)) / (np.linalg.norm(self.V) or 1.0)
            self.last_mu = LAST_MU * self.mu
        return loss.smoothed(Y, -self.V, self.mu)

    def _trained(self):
        """Return the neurons of a network trained by L-BFGS from random weights."""
        program, d = self._plain(), self.program.design.X.shape[1]
        n_outputs = program.Y.shape[1]
        m = int(np.clip(len(program.Y) // 2, FEWEST_NEURONS, MOST_NEURONS))
        U = self.rng.standard_normal((m, d)) / (2 * np.sqrt(d))
        A = self.rng.standard_normal((m, n_outputs)) / (2 * np.sqrt(n_outputs))
        free = program.loss.fit_free(program.Y, program.free_basis[0])
        limits = {"max_iter": DESCENT_STEPS, "ftol": DESCENT_TOL, "observe": self.monitor.over}
        U, A, free = descend_factors(program, U, A, free, **limits)
        sizes = np.linalg.norm(U, axis=1) * np.linalg.norm(A, axis=1)
        kept = sizes > NEGLIGIBLE * sizes.max(initial=0.0)
        U, A = U[kept], A[kept]
        return Neurons.in_cells(program, U @ program.design.X.T >= 0, U, A, free)

    def _solve(self):
        """Solve the convex program over the cells and directions of the neurons at hand."""
        neurons, pool, part = self.neurons, self.pool, max(INNER_FRACTION * self.gap, LAST_FRACTION * self.tol)
        if not len(neurons) + len(pool):
            return
        sizes = np.linalg.norm(neurons.A, axis=1, keepdims=True)
        directions = np.concatenate([neurons.A / sizes, pool.outputs])
        W = np.concatenate([neurons.U * sizes, np.zeros_like(pool.directions)])[:, :, None]
        patterns = np.concatenate([neurons.patterns, pool.patterns])
        program = over_neurons(self.program, patterns, directions, np.zeros((len(W), 0)))
        sub = Subproblem(program, np.arange(len(W)), np.full(W.shape, -1, np.int32), program.design)
        start = Iterate(W, neurons.beta, self.V, self.step)
        W, beta, self.V, self.step = solve_newton(sub, start, part, lambda *point: self.monitor.over())
        self.V = self.program.project_dual(self.V)
        left = W.any(axis=(1, 2))
        U, A = W[left, :, 0], directions[left]
        self.neurons = Neurons.in_cells(neurons.program, patterns[left], U, A, beta).balanced()
        self._observe()

    def _move(self):
        """Move the neurons by Newton's method; leave the dual vector in V."""
        program, monitor = self.program, self.monitor
        loss = self._smoothed(self.neurons)
        tol = INNER_FRACTION * max(INNER_FRACTION * self.gap, LAST_FRACTION * self.tol)
        tol *= monitor.objective / self.reduction.unit_loss
        self.neurons = solve_factors(self.neurons, loss, tol, monitor.over, MOVES)
        if not len(self.neurons):
            self.neurons = replace(self.neurons, beta=loss.fit_free(program.Y, program.free_basis[0]))
        fit = self.neurons.fit()
        self.V = program.project_dual(-loss.grad(program.Y, fit))
        if not program.loss.smooth:
            self.mu = max(self.last_mu, MU_FACTOR * self.mu)
        self._observe()

    def _observe(self, slack=0.0):
        """Show the neurons to the monitor, with the best free coefficients; fewer may be worse by `slack`."""
        neurons, program = self.neurons.balanced(), self.program
        basis = program.free_basis[0]
        free = program.loss.fit_free(program.Y, basis, neurons.fit() - basis @ neurons.beta)
        sizes = np.linalg.norm(neurons.A, axis=1, keepdims=True)
        W, beta = self.reduction.invert((neurons.U * sizes)[:, :, None], free)
        shown = over_neurons(self.whole, neurons.patterns, neurons.A / sizes, np.zeros((len(W), 0)))
        self.monitor.offer(W, np.arange(len(W)), beta, shown, slack)

    def _price(self, thorough=False):
        """Search for neurons above alpha, and estimate the lower bound; return those found.

        Search with many starts at once where `thorough`, else where few starts find few. Leaves in `climbed` the maxima
        that the neurons belong to.
        """
        program, neurons, search = self.program, self.neurons, self.search
        if not (len(neurons) or program.loss.smooth):  # many dual vectors: the best one proves most
            if self.zero.lower <= program.alpha:
                known = neurons_of_vectors(program, search, (0.1, 1), self.monitor.over)
                options = {"enough": program.alpha, "over": self.monitor.over}
                self.zero = least_kappa(program, self.zero.V, known, **options)
            if not len(self.pool) or self.zero.value <= program.alpha:
                self.V = self.zero.V
        V = self.V
        units = neurons.A / np.linalg.norm(neurons.A, axis=1, keepdims=True)
        directions = neurons.U / np.linalg.norm(neurons.U, axis=1, keepdims=True)
        limits = {"over": lambda: self.monitor.late, "progress": CLIMB_FRACTION * self.tol}
        maxima = self.climbed = search.climb(V, units, neurons.patterns, **limits)
        for n_starts in (search.n_starts, ESCALATION * search.n_starts)[thorough:]:
            maxima = join_vector_maxima([search.maxima(V, program.alpha, directions, n_starts, **limits), maxima])
            maxima = self._estimate(maxima, n_starts > search.n_starts)
            above = maxima.select(maxima.values > (1 + EXCESS_FRACTION * self.tol) * program.alpha).distinct(
                SAME_MAXIMUM
            )
            same = (above.directions @ directions.T > SAME_MAXIMUM) & (above.outputs @ units.T > SAME_MAXIMUM)
            above = above.select(~same.any(axis=1))
            if (self.gap > self.tol and len(above) > FEW_FOUND) or self.monitor.late:
                break
        return above.select(slice(max(FEWEST_NEW, len(neurons))))

    def _estimate(self, maxima, thorough):
        """Estimate the lower bound by the largest value found of |V' act(X u)|; return what refutes it, too."""
        value, point = self._bound(maxima)
        if self.monitor.refutes(value):  # by a neuron of the best network, which search missed
            maxima = join_vector_maxima([maxima, self._refuting()])
            value, point = self._bound(maxima)
        self.monitor.suggest(value, self.reduction.invert_dual(point), thorough)
        self.gap = self.monitor.gap_to(value)
        return maxima

    def _bound(self, maxima):
        """Return the lower bound that follows from maxima, as far as they are all, and its dual vector."""
        program, V = self.program, self.V
        kappa = (
            max(program.alpha, maxima.values.max(initial=0.0)) + program.dual_rounding(V) + program.dual_neglected(V)
        )
        return self.reduction.unit_loss * program.dual_value(V, kappa), program.dual_point(V, kappa)

    def _refuting(self):
        """Climb from the neurons of the best network, and return the maxima reached."""
        design, blocks = self.monitor.program.design, self.monitor.blocks
        if not len(blocks):
            return self.climbed.select(blocks)
        return self.search.climb(self.V, design.directions[blocks], design.arrangements.patterns(blocks))

    def _merge(self):
        """Put neurons of one maximum together, if phi grows by a fraction of the gap at most."""
        neurons, maxima = self.neurons, self.climbed
        if not len(neurons):
            return
        leader = leaders(maxima.directions, SAME_MAXIMUM, maxima.outputs @ maxima.outputs.T > SAME_MAXIMUM)
        first = np.unique(leader)
        if len(first) == len(neurons):
            return
        roots = np.sqrt(np.bincount(leader, neurons.sizes, len(neurons))[first])[:, None]
        U, A = maxima.directions[first] * roots, maxima.outputs[first] * roots
        merged = Neurons.in_cells(neurons.program, maxima.patterns[first], U, A, neurons.beta)
        loss = self._smoothed(neurons)
        value = neurons.value(loss)
        tol = INNER_FRACTION * self.gap * value
        merged = solve_factors(merged, loss, tol, self.monitor.over, MOVES)
        if merged.value(loss) <= (1 + MERGING_FRACTION * self.gap) * value:
            self.neurons = merged
