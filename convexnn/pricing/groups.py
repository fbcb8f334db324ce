"""Pricing where the norm is not rotation invariant: the dual norms over the cones have to be solved for.

    kappa_b(g) = max g'u  subject to  A_b u >= 0, rho(u) <= 1   =   min over mu >= 0 of rho_dual(g + A_b' mu)

for the gradient g = s_b X' D_b v of a block, the rows A_b of its cone and the norm rho of the penalty. Every mu >= 0
gives an upper bound, and every u of the cone a lower one, g'u / rho(u); both are evaluated, whatever made mu and u.

All blocks together: is kappa_b(g) <= level? It is if g = p - A_b' mu for a p with rho_dual(p) <= level, so accelerated
projected gradients (FISTA) go down 1/2 |Proj_K(g - p)|^2 over such p. At any p, Moreau's decomposition of g - p gives

    g + A_b' mu = p + u,    u = Proj_K(g - p),

that is an upper bound rho_dual(p + u) and a lower bound from u. A block leaves when either decides. The few that stay,
and the largest, are solved one by one, to the end, by an interior-point method with rows that are added as they are
violated: the mu of the others are zero, so that every step is a bound.

References
----------
A. Beck and M. Teboulle (2009), A fast iterative shrinkage-thresholding algorithm for linear inverse problems. SIAM
Journal on Imaging Sciences 2(1).
"""

import numpy as np
from scipy import sparse

from ..model.cones import FreeCones
from ..utils.deadline import check

__all__ = ["cone_rows", "conic_settings", "group_bounds", "norm_cones", "steepest_blocks"]

# Steps of FISTA on all undecided blocks.
STEPS = 40
# Difference of the bounds of a block, relative to them, at which it is solved.
EXACT_TOL = 1e-11
# Accuracy that the interior-point method is asked for.
SOLVER_TOL = 1e-12
# Times that violated rows are added, and how many at a time.
ROUNDS, ROWS = 30, 8
# Violation of a unit row, relative to the length of u, that counts as rounding.
VIOLATION_TOL = 1e-12
# Rounding of a sum of rows, relative to the sum of their lengths.
ROUNDING = 16 * np.finfo(float).eps


def group_bounds(program, V, level=0.0, start=None):
    """Return an upper and a lower bound of kappa_b for all blocks; they meet where it is largest and above `level`.

    Upper bounds are inf where X' D_b V is not finite. `start`, a `kappa.Start`, is updated.
    """
    cones, penalty, G = program.cones, program.penalty, program.design.rmatvec(V)
    upper = penalty.dual_norms(G)
    if not np.isfinite(upper).all():
        return np.full(len(upper), np.inf), np.zeros(len(upper))
    if isinstance(cones, FreeCones):
        return upper, upper
    # each output of a block on its own
    vectors = np.ascontiguousarray(G.transpose(0, 2, 1)).reshape(-1, G.shape[1], 1)
    search = _Search(cones, penalty, vectors, np.repeat(np.arange(len(G)), G.shape[2]))
    if start is not None:
        search.start_from(start)
    search.descend(level, 1)
    level = max(level, search.lower.max(initial=0.0))
    search.descend(level, STEPS)
    search.finish(level)
    if start is not None:
        search.store(start)
    return search.upper.reshape(G.shape[0], -1).max(axis=1), search.lower.reshape(G.shape[0], -1).max(axis=1)


def steepest_blocks(program, V, blocks):
    """Return for each block the U in its cone with R(U) <= 1 that maximises <s_b X' D_b V, U>, for a `GroupNorm` etc.

    Each U, of the result (n_selected, n_features, n_outputs), is zero but in the output where the maximum is largest.
    """
    cones, penalty, G = program.cones, program.penalty, program.design.rmatvec(V, blocks)
    basis, terms = penalty.terms(G.shape[1])
    norms, free, U = norm_cones(terms), isinstance(cones, FreeCones), np.zeros_like(G)
    for k, b in enumerate(blocks):
        rows = np.zeros((0, G.shape[1])) if free else cone_rows(cones, b)
        most = 0.0
        for c, g in enumerate(G[k].T):
            unit = np.abs(g).max() or 1.0
            turned = (rows, g / unit) if basis is None else (rows @ basis, basis.T @ g / unit)
            q = _maximise(turned[1], turned[0], *norms)[0]
            u = cones.project((q if basis is None else basis @ q)[None, :, None], blocks[[k]])
            u = u[0, :, 0] / (penalty.block_norms(u)[0, 0] or 1.0)
            if g @ u > most:
                most, U[k] = g @ u, 0.0
                U[k, :, c] = u
    return U


def cone_rows(cones, block):
    """Return the unit rows s_k x_k / |x_k| of the cone {u : rows u >= 0} of a block, in the order of X.

    Zero rows of X stay, as zero rows.
    """
    design = cones.design
    pattern = design.arrangements.patterns([design.pattern_index(block)])[0]
    return np.where(pattern, 1.0, -1.0)[:, None] * design.unit_columns.T


def norm_cones(terms):
    """Write sum_t w_t |q_t| <= sum_t w_t s_t as cones of (q, s), for the terms (w_t, coefficients of q_t) of a penalty.

    Returns the weights w_t, those of the m single coefficients first; the sparse matrix whose product with (q, s) is
    first the s_t - q_t and the s_t + q_t of these, at least 0, then (s_t, q_t) of every other term, in a second-order
    cone; and sizes, 2 m and those of the second-order cones.
    """
    singles, others = ([term for term in terms if (len(term[1]) == 1) is single] for single in (True, False))
    members = [index for _, index in singles + others]
    n_features, m = max(int(index.max()) for index in members) + 1, len(singles)
    q, s = sparse.eye_array(n_features, format="csr"), sparse.eye_array(len(members), format="csr")
    parts = []
    if m:
        entries = q[np.concatenate(members[:m])]
        parts = [sparse.hstack([-entries, s[:m]]), sparse.hstack([entries, s[:m]])]
    for t, index in enumerate(members[m:], m):
        parts.append(sparse.block_array([[None, s[[t]]], [q[index], None]]))
    weights = np.array([w for w, _ in singles + others])
    return weights, sparse.csr_array(sparse.vstack(parts)), [2 * m, *(1 + len(index) for index in members[m:])]


def conic_settings(tol, time_limit=None):
    """Return settings of Clarabel, quiet and on one thread, with `tol` as its tolerances of gap and feasibility."""
    import clarabel

    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tol
    settings.max_threads = 1
    if time_limit is not None:
        settings.time_limit = time_limit
    return settings


class _Search:
    """Bounds of the dual norms of many vectors G (n_vectors, n_features, 1), each over the cone of its block."""

    def __init__(self, cones, penalty, G, blocks):
        self.cones, self.penalty, self.G, self.blocks = cones, penalty, G, blocks
        self.upper, self.lower = penalty.dual_norms(G), np.zeros(len(G))
        self.tight, self.points = np.full(G.shape, -1, np.int32), np.zeros(G.shape)

    def start_from(self, start):
        """Take the tight rows and points of an earlier pricing."""
        self.tight[:, :, 0] = start.tight.transpose(0, 2, 1).reshape(len(self.G), -1)
        self.points[:, :, 0] = start.points.transpose(0, 2, 1).reshape(len(self.G), -1)

    def store(self, start):
        """Leave the tight rows and points to a later pricing."""
        n_blocks, n_features, n_outputs = start.points.shape
        start.tight[:] = self.tight.reshape(n_blocks, n_outputs, n_features).transpose(0, 2, 1)
        start.points[:] = self.points.reshape(n_blocks, n_outputs, n_features).transpose(0, 2, 1)

    def descend(self, level, steps):
        """Take FISTA steps with the vectors that may be above a level, until a bound decides."""
        penalty, left = self.penalty, np.flatnonzero((self.upper > level) & (self.lower <= level))
        P = last = self.points[left]
        speed = 1.0
        for _ in range(steps):
            if not len(left):
                return
            check()
            G, rows = self.G[left], self.tight[left]
            U = self.cones.project(G - P, self.blocks[left], rows)
            self.tight[left] = rows
            H = P + U  # = G + A' mu
            self.upper[left] = np.minimum(self.upper[left], penalty.dual_norms(H))
            self.lower[left] = np.maximum(self.lower[left], self._ratios(G, U))
            new = H - penalty.prox(H, level)  # the projection onto the dual ball of radius level
            self.points[left] = new
            faster = 0.5 + np.sqrt(0.25 + speed**2)
            kept = (self.upper[left] > level) & (self.lower[left] <= level)
            P = (new + (speed - 1.0) / faster * (new - last))[kept]
            left, last, speed = left[kept], new[kept], faster

    def finish(self, level):
        """Solve vectors to the end, the largest upper bounds first, until the largest value is known or below level."""
        weights, matrix, sizes = norm_cones(self.penalty.terms(self.G.shape[1])[1])
        for k in np.argsort(-self.upper):
            if self.upper[k] <= level:
                return
            check()
            self._solve(k, level, weights, matrix, sizes)
            level = max(level, self.upper[k])

    def _ratios(self, G, U):
        """Return the lower bounds g'u / rho(u) of vectors u of the cones, 0 where u is zero."""
        norms = self.penalty.block_norms(U)[:, 0]
        return np.where(norms > 0, np.sum(G * U, axis=(1, 2)) / np.where(norms > 0, norms, 1.0), 0.0)

    def _solve(self, k, level, weights, matrix, sizes):
        """Close the bounds of vector k, or bring the upper one below level, by an interior-point method."""
        g, block = self.G[k, :, 0], self.blocks[k]
        unit = np.abs(g).max()
        rows = cone_rows(self.cones, block)
        basis = self.penalty.terms(len(g))[0]
        turned, target = (rows, g / unit) if basis is None else (rows @ basis, basis.T @ g / unit)
        used = np.unique(self.tight[k][self.tight[k] >= 0])
        for _ in range(ROUNDS):
            q, mu = _maximise(target, turned[used], weights, matrix, sizes)
            if not (np.isfinite(q).all() and np.isfinite(mu).all()):
                return
            h = g + unit * (mu @ rows[used])
            value = float(self.penalty.dual_norms(h[None, :, None])[0])
            value += ROUNDING * unit * (np.abs(target).sum() + mu.sum()) * self.penalty.dual_factor
            if value < self.upper[k]:
                self.upper[k], self.points[k, :, 0] = value, h
                self._remember(k, used[np.argsort(-mu)])
            violations = turned @ q
            tight = np.full((1, len(g), 1), -1, np.int32)
            u = self.cones.project((q if basis is None else basis @ q)[None, :, None], [block], tight)
            self.lower[k] = max(self.lower[k], self._ratios(self.G[[k]], u)[0])
            if self.upper[k] <= max(level, (1 + EXACT_TOL) * self.lower[k]):
                return
            worst = np.argsort(violations)[:ROWS]
            worst = worst[violations[worst] < -VIOLATION_TOL * np.linalg.norm(q)]
            joined = np.union1d(np.union1d(used, worst), tight[tight >= 0])
            if len(joined) == len(used):
                break
            used = joined

    def _remember(self, k, rows):
        """Keep rows, the most important first, as the tight ones of vector k."""
        kept = rows[: self.tight.shape[1]]
        self.tight[k, :, 0] = -1
        self.tight[k, : len(kept), 0] = kept


def _maximise(g, rows, weights, matrix, sizes):
    """Return the q that maximises g'q with rows q >= 0 and sum_t w_t |q_t| <= 1, and the multipliers of rows."""
    import clarabel

    n_norms, n_rows = len(weights), len(rows)
    budget = sparse.csr_array(weights[None])
    top = sparse.block_array([[sparse.csr_array(-rows), None], [None, budget]]) if n_rows else None
    first = top if n_rows else sparse.hstack([sparse.csr_array((1, len(g))), budget])
    A = sparse.csc_array(sparse.vstack([first, -matrix]))
    b = np.zeros(A.shape[0])
    b[n_rows] = 1.0
    cones = [clarabel.NonnegativeConeT(n_rows + 1 + sizes[0]), *map(clarabel.SecondOrderConeT, sizes[1:])]
    P = sparse.csc_array((len(g) + n_norms, len(g) + n_norms))
    cost = np.concatenate([-g, np.zeros(n_norms)])
    solution = clarabel.DefaultSolver(P, cost, A, b, cones, conic_settings(SOLVER_TOL)).solve()
    return np.array(solution.x[: len(g)]), np.maximum(solution.z[:n_rows], 0.0)
