"""Minimum-norm interpolation, the limit of training as alpha goes to 0: the least R(W) that fits the targets exactly.

    minimise over W, beta   R(W)   subject to   A(W) + F beta = Y,  W_b in K_b         (the network: sum_j |w_j| |a_j|)
    maximise over V         sum(Y V)   subject to   kappa(V) <= 1,  F'V = 0

for the A, F, K and R of `convexnn.model.program`. A step of the method of multipliers (Bregman iteration) is a program
with the squared loss, at alpha = mu and the targets Y + mu V_k, for the solvers of the package:

    W_{k+1} = argmin 1/2 |A(W) + F beta - (Y + mu V_k)|^2 + mu R(W),    V_{k+1} = V_k + (Y - A(W_{k+1}) - F beta) / mu.

It converges superlinearly as mu falls. An exact fit has the objective 1/2 |mu V_k|^2 + mu R(W) there, so a bound b of a
step, of any scope, gives R(W) >= (b - 1/2 |mu V_k|^2) / mu. W_{k+1} has the least norm of all with its predictions, so
to fit what is left of Y by the least change on its face (`_change`) costs a change of the second order.
Blocks of both signs share a cell, so their fits are all D_i X u, u in R^d: what can be interpolated is a linear space.

References
----------
M. J. D. Powell (1969), A method for nonlinear constraints in minimization problems, in Optimization, ed. R. Fletcher.
S. Osher, M. Burger, D. Goldfarb, J. Xu and W. Yin (2005), An iterative regularization method for total variation-based
image restoration, Multiscale Modeling and Simulation 4(2).
"""

import time
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import lstsq, qr
from scipy.sparse import block_diag, csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from ..geometry.arrangements import Arrangements
from ..model.architecture import Architecture
from ..model.building import build_program
from ..model.certificate import Certificate, uncontradicted
from ..model.cones import FreeCones
from ..model.penalties import Nuclear
from ..model.program import Solution
from ..model.reduction import Reduction
from ..model.summary import Status, summary
from ..networks.recovery import recover
from ..pricing.alpha_max import alpha_max_over_all, kappa_at_zero
from ..pricing.groups import cone_rows
from ..pricing.proof import certified
from ..solvers import build_reference_program, get_solver, solve_generation
from ..solvers.polish import polish
from ..solvers.reference import solve_cvxpy
from ..utils.deadline import check, interrupted, is_up, until_up, within
from ..utils.progress import Progress
from ..utils.quiet import ignoring
from ..utils.validation import check_choice, check_positive, check_verbose
from .results import SpecialResult, conclude

__all__ = ["minimum_norm_interpolation"]

EPS = float(np.finfo(float).eps)
# The first mu, as a fraction of alpha_max, and the least gap to which a step is solved.
FIRST_MU, LEAST_TOL = 1e-2, 1e-12
# A fit is exact at this distance from Y, relative to |Y|, or to the fits that blocks have.
FIT_TOL, SUM_TOL = 1e-12, 1e-14
# Columns that are dependent.
RANK_TOL = 1e-12
ADVICE = "rows of X that are equal, or parallel without biases, need y to match; else more patterns or biases may do"


def minimum_norm_interpolation(
    X: ArrayLike,
    y: ArrayLike,
    architecture: Architecture | None = None,
    arrangements: str | int | Arrangements | ArrayLike = "adaptive",
    *,
    solver: str = "auto",
    scope: str = "auto",
    tol: float = 1e-6,
    time_limit: float | None = None,
    random_state: int | np.random.RandomState | None = None,
    verbose: int | bool = 0,
) -> SpecialResult:
    """Find the network of least norm sum_j |w_j| |a_j| among those that fit the targets exactly.

    It is the limit of the best networks as alpha goes to 0. Output biases and skips are free.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Inputs.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets; several outputs need output_penalty="l1".
    architecture : Architecture or None, default=None
        The network, without max pooling; None is a ReLU network with penalised hidden biases and an output bias.
    arrangements : "adaptive", "all", int, Arrangements, or array-like of gates, default="adaptive"
        As in `build_program`. "adaptive" generates them: for "relu", "leaky_relu" and "abs" with hidden_norm="l2".
    solver : {"auto", "newton", "conic", "cvxpy"}, default="auto"
        Solver over given patterns: the engine "newton" (Euclidean norms) or "conic" (any), chosen by "auto", or the
        whole program with its equality constraint in cvxpy, a reference for small problems.
    scope : {"auto", "local", "global"}, default="auto"
        With "adaptive": what is wanted of the lower bound, as in `solve_generation`.
    tol : float, default=1e-6
        Compared with the relative gap of the certificate; a ConvergenceWarning is given where it is above. The fit is
        exact, up to rounding, whatever the gap.
    time_limit : float or None, default=None
        Limit in seconds, not for "cvxpy".
    random_state : int, RandomState instance or None, default=None
        Source of sampled patterns and of the starts of searches.
    verbose : int or bool, default=0
        0 is silent, 1 shows one live line and a summary at the end, 2 each record of the history; on stderr.

    Returns
    -------
    SpecialResult
        The network, without neurons where the free part alone fits y; the certificate of its norm; the dual vector V,
        kappa(V) <= 1 up to the accuracy of the solution; a record a step, with mu, the residual of the step and the
        objective of the best exact fit so far (inf before there is one); and the `solution` over the patterns that were
        given or found, in whose program the loss and alpha are not used.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or no network of these patterns fits y.
    RuntimeError
        If no exact fit was found, by the limits of time or of rounding.

    Examples
    --------
    >>> from convexnn import Architecture
    >>> from convexnn.special import minimum_norm_interpolation
    >>> X, plain = [[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]], Architecture(hidden_bias="none", fit_intercept=False)
    >>> result = minimum_norm_interpolation(X, [3.0, 4.0, 25.0], plain)
    >>> round(result.certificate.objective, 6), result.network.n_neurons
    (5.0, 1)
    """
    check_choice("solver", solver, ("auto", "newton", "conic", "cvxpy"))
    check_choice("scope", scope, ("auto", "local", "global"))
    tol, verbose = check_positive("tol", tol), check_verbose(verbose)
    time_limit = None if time_limit is None else check_positive("time_limit", time_limit)
    rng = check_random_state(random_state)
    return within(time_limit, _interpolate, X, y, arrangements, architecture, solver, scope, tol, rng, verbose)


def _interpolate(X, y, arrangements, architecture, solver, scope, tol, rng, verbose):
    program = build_program(X, y, 1.0, arrangements, architecture, rng)
    _check_supported(program, solver, scope)
    with Progress(verbose) as progress:
        run = _Run(program, tol, progress)
        if run.best is None:
            _check_reachable(program)
            # the best exact fit so far is kept
            with until_up():
                _solve_whole(run) if solver == "cvxpy" else _iterate(run, solver, scope, rng)
        return run.result()


def _check_supported(program, solver, scope):
    architecture, adaptive = program.architecture, not len(program.design.arrangements)
    if program.shares_neurons or isinstance(program.penalty, Nuclear) or program.selects:
        raise ValueError(
            'architecture must have output_penalty="l1" with several outputs, and pooling "sum" or "mean"; got '
            f"{architecture!r} and {program.Y.shape[1]} outputs"
        )
    if adaptive and not program.penalty.rotation_invariant:
        raise ValueError(f'arrangements must be given for hidden_norm={architecture.hidden_norm!r}; got "adaptive"')
    if (solver if adaptive else scope) != "auto":
        raise ValueError(f'solver must be "auto" for "adaptive" arrangements, else scope; got {solver=}, {scope=}')


def _check_reachable(program):
    """Raise ValueError if no network of the patterns of `program`, or of all where it has none, fits the targets."""
    C = (_of_patterns if len(program.design.arrangements) else _of_lines)(program)
    M = np.hstack([C / (np.linalg.norm(C, axis=0).max(initial=0.0) or 1.0), program.free_basis[0]])
    Q, R, _ = qr(M, mode="economic", pivoting=True)
    Q = Q[:, np.abs(np.diagonal(R)) > RANK_TOL * np.abs(R).max()]
    distance = np.linalg.norm(program.Y - Q @ (Q.T @ program.Y)) / np.linalg.norm(program.Y)
    if distance > 1e-11:
        raise ValueError(f"y cannot be interpolated: the smallest relative residual is {distance:.3g}; {ADVICE}")


def _of_patterns(program):
    """Return random fits of given patterns, which span all of them."""
    design, rng = program.design, np.random.default_rng(0)
    blocks, scale = np.arange(len(design.arrangements)), np.linalg.norm(design.X, axis=0)[:, None]
    W = rng.standard_normal((len(blocks), len(scale), 2 * len(program.Y) + 10)) / np.where(scale > 0, scale, 1.0)
    return design.matvec(W, blocks)


def _of_lines(program):
    """Return columns that span the fits of all patterns: for each line, the sums of |x| over its rows, and S X.

    act(t) = ((1 - slope) |t| + (1 + slope) t) / 2, and |x.u| of different lines are independent functions of u.
    """
    design = program.design
    rows = design.X * (1.0 if design.units is None else design.units)
    lengths = np.linalg.norm(rows, axis=1)
    units = rows / np.where(lengths > 0, lengths, 1.0)[:, None]
    first = np.argmax(np.abs(units) > 0.5 * np.abs(units).max(axis=1, keepdims=True), axis=1)
    units = units * np.sign(units[np.arange(len(units)), first])[:, None]
    lines = np.unique(np.round(units, 13) + 0.0, axis=0, return_inverse=True)[1].ravel()
    samples = np.arange(len(rows)) // design.n_patches
    sums = np.zeros((len(program.Y), lines.max() + 1))
    np.add.at(sums, (samples, lines), lengths)
    return sums if design.slope == -1.0 else np.hstack([sums, design.pool(rows)])


class _Run:
    """The best exact fit so far, the bounds, the dual vector and the history of a run."""

    def __init__(self, program, tol, progress):
        self.program, self.tol, self.progress = program, tol, progress
        self.Y, self.V, self.history = program.Y, np.zeros_like(program.Y), []
        self.size = np.linalg.norm(self.Y) or 1.0
        self.start = time.perf_counter()
        W, beta = program.zero()
        self.residual = np.linalg.norm(program.predict(W, beta) - self.Y) / self.size
        exact = self.residual <= FIT_TOL
        self.best = (program, W, beta) if exact else None
        self.objective, self.bound, self.proved = 0.0 if exact else np.inf, 0.0, 0.0
        self.scope, self.gap = "global" if exact else program.scope, np.inf  # no norm is below 0
        self.provisional = False

    def take(self, mu, solution):
        """Take a step: its bound, its dual vector, and the exact fit that is near it."""
        own, certificate = replace(solution.program, Y=self.Y, alpha=1.0), solution.certificate
        fit = own.predict(solution.W, solution.beta)
        self.residual = np.linalg.norm(fit - self.Y) / self.size
        # 1/2 |mu V|^2 + mu R is at least the bound of the step
        values = np.array([certificate.lower_bound, certificate.proved_bound]) / mu
        size = np.linalg.norm(self.V)
        bound, proved = values - 0.5 * mu * size**2 - 4 * EPS * (np.abs(values) + size * (self.size + mu * size))
        self.scope, self.provisional = certificate.scope, certificate.provisional
        self.proved = max(self.proved, proved if self.scope == "local" else bound)
        self.bound = max(bound, 0.0) if self.scope == "local" else self.proved
        self.V = own.loss.project_dual(self.Y, self.V + (self.Y - fit) / mu, own.free_basis[0])
        refitted = _refit(own, solution.W, solution.beta) if self.residual <= 1e-2 else None
        if refitted is not None and own.decay(refitted[0]) < self.objective:
            self.best, self.objective = (own, *refitted), own.decay(refitted[0])
        known = self.certify(self.objective)
        self.gap = np.inf if self.best is None else known.gap
        record = {"time": time.perf_counter() - self.start, "mu": mu, "residual": self.residual, "scope": self.scope}
        record |= {"objective": self.objective, "lower_bound": known.lower_bound, "gap": self.gap}
        self.history.append(record | {"provisional": known.provisional})
        self.progress.update(self.history[-1])

    def certify(self, objective):
        """Return the certificate of an exact fit with this objective."""
        proved = uncontradicted(objective, self.proved) if self.scope == "local" else 0.0
        bound = max(uncontradicted(objective, self.bound), proved)
        provisional = self.provisional and bound > proved
        return Certificate(objective, bound, self.scope, proved_bound=proved, provisional=provisional)

    def result(self):
        """Return the best exact fit; warn where its gap is above the tolerance, raise where there is none."""
        if self.best is None:
            raise RuntimeError(
                f"no exact fit was found in {len(self.history)} steps (time limit, or rounding): the relative residual "
                f"is {self.residual:.2e}, the norm at least {self.bound:.2e}; {ADVICE}"
            )
        program, W, beta = self.best
        Z, known = program.predict(W, beta), self.certify(self.objective)
        solution = Solution(program, W, beta, Z, known, len(self.history), True, "", self.history, self.V)
        network = recover(solution)
        certificate = self.certify(network.weight_decay())
        limit = Status.INTERRUPTED if interrupted() else Status.TIME_LIMIT
        status = limit if is_up() else Status.NO_PROGRESS
        self.progress.close(summary(certificate, self.tol, status, n_neurons=network.n_neurons))
        known = {"n_iter": len(self.history), "dual": self.V, "history": self.history, "solution": solution}
        return conclude(network, certificate, self.tol, status, **known)


def _iterate(run, solver, scope, rng):
    """Run the method of multipliers until the gap is reached, and proved where that is asked for."""
    program, W, fraction, proving = run.program, None, 0.1, False  # of tol, the gap of a step
    generated = not len(program.design.arrangements)
    stiff = solver == "auto" and program.bias_unit  # free biases at a small mu
    solve = solve_generation if generated else get_solver("conic" if stiff else solver)
    largest = alpha_max_over_all(program, "local", random_state=rng).value if generated else kappa_at_zero(program)
    mu, least = FIRST_MU * (largest or 1.0), 1e-9 * (largest or 1.0)
    for _ in range(40):
        before, stepped = run.residual, replace(program, Y=run.Y + mu * run.V, alpha=mu)
        options = {"tol": max((0.5 if proving else fraction) * run.tol, LEAST_TOL)}
        if generated:
            options |= {"scope": scope if proving else "local", "random_state": rng}
        if not generated or not program.bias_unit:  # which do better without
            options["W_init"] = W
        with ignoring(ConvergenceWarning):  # the certificate says how far it is
            solution = solve(stepped, **options)
        run.take(mu, solution)
        program, W, reached = solution.program, solution.W, run.gap <= run.tol
        if reached and (proving or not generated or scope == "local"):
            return
        slow, idle = run.residual > 0.1 * before, run.best is not None and options["tol"] == LEAST_TOL
        if idle or is_up() or (slow and mu <= least):
            return
        proving = reached
        fraction *= 0.1 if run.best is not None and not reached else 1.0
        mu *= 0.1 if slow else 1.0


def _solve_whole(run):
    """Solve the program with its equality constraint in cvxpy, as one step from its dual solution."""
    import cvxpy as cp

    program = run.program
    program.require_patterns()
    reduction = Reduction.of(program, program.zero()[1], tol=1.0)
    scaled = reduction.program.at(1.0)
    written = build_reference_program(scaled)  # whose squared loss vanishes where Z = Y
    fit = written.variables["Z"] == scaled.Y.reshape(written.variables["Z"].shape)
    problem = cp.Problem(written.problem.objective, [*written.problem.constraints, fit])
    solve_cvxpy(problem, accuracy=1e-11)
    check()
    W, beta = written.point(reduction)
    V = written.constraints["fit"].dual_value.reshape(run.Y.shape) * (reduction.unit_w / reduction.unit_y)
    mu, run.V = FIRST_MU * kappa_at_zero(program), program.loss.project_dual(run.Y, V, program.free_basis[0])
    stepped = replace(program, Y=run.Y + mu * run.V, alpha=mu)
    W = polish(stepped, W, beta)
    found = stepped.predict(W, beta), certified(stepped, W, beta, mu * run.V)[0]
    run.take(mu, Solution(stepped, W, beta, *found, 1, True, problem.status))


def _refit(program, W, beta):
    """Return an exact fit near a point, by changes of its blocks on the faces of their cones; None without one."""
    for _ in range(3):
        changed = [_change(program, W, beta, c) for c in range(W.shape[2])]
        W, beta = (np.stack(parts, axis=-1) for parts in zip(*changed, strict=True))
        blocks = np.flatnonzero(W.any(axis=(1, 2)))
        W[blocks] = program.cones.project(W[blocks], blocks)
        parts = sum(np.linalg.norm(program.design.matvec(W[[b]], [b])) for b in blocks)
        misfit = np.linalg.norm(program.predict(W, beta) - program.Y)
        if misfit <= FIT_TOL * np.linalg.norm(program.Y) + SUM_TOL * parts:
            return W, beta
    return None


def _change(program, W, beta, c):
    """Return blocks and free coefficients of one output after the change least in sum_b |dW_b|^2 / |W_b| that fits it.

    Tight rows of cones stay tight, others are not crossed. Coefficients that are zero stay zero.
    """
    blocks = np.flatnonzero(W[:, :, c].any(axis=1))
    basis, terms = program.penalty.terms(W.shape[1])
    basis = np.eye(W.shape[1]) if basis is None else basis
    spans = []
    for w, size in zip(W[blocks, :, c], program.penalty.block_norms(W[blocks])[:, c], strict=True):
        q = np.abs(basis.T @ w)
        kept = np.unique(np.concatenate([part for _, part in terms if q[part].max() > 1e-10 * q.max()]))
        spans.append(basis[:, kept] * np.sqrt(size))
    columns = [program.design.block(b) @ span for b, span in zip(blocks, spans, strict=True)]
    weight = max((np.abs(part).max() for part in columns), default=0.0) or 1.0
    C = np.hstack([*columns, weight * program.free_basis[0]])
    error = program.Y[:, c] - program.predict(W, beta)[:, c]
    slack, A = np.zeros(0), csr_array((0, C.shape[1]))
    if not isinstance(program.cones, FreeCones) and len(blocks):
        units = [cone_rows(program.cones, b) / np.linalg.norm(W[b, :, c]) for b in blocks]
        slack = np.concatenate([unit @ w for unit, w in zip(units, W[blocks, :, c], strict=True)])
        A = block_diag([unit @ span for unit, span in zip(units, spans, strict=True)], format="csr")
        A.resize(A.shape[0], C.shape[1])
    tight = slack <= 1e-9
    for _ in range(20):
        system, right = np.vstack([C, A[tight].toarray()]), np.append(error, -slack[tight])
        x = lstsq(system, right, cond=RANK_TOL, lapack_driver="gelsy")[0]
        crossed = (slack + A @ x < -1e-13) & ~tight
        if not crossed.any():
            break
        tight |= crossed
    *changes, free = np.split(x, np.cumsum([span.shape[1] for span in spans]))
    W = W[:, :, c].copy()
    for b, span, change in zip(blocks, spans, changes, strict=True):
        W[b] += span @ change
    return W, beta[:, c] + program.free_basis[1] @ (weight * free)
