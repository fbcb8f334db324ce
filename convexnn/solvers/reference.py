"""The reference: the exact program, whole, in cvxpy. It is what every other solver is checked against, and it is slow.

    minimise over U, V, beta   L(Z) + alpha (sum_i |U_i| + sum_i |V_i|)
    subject to                 Z = sum_i D_i X (U_i - V_i) + F beta,   (2 D_i - I) X U_i >= 0,   (2 D_i - I) X V_i >= 0

Gated networks have U only and no cones. The solver's point is polished (projected onto the cones, pruned, unsplit), and
the certificate is computed from a dual feasible point made of the polished fit or of the dual variable of the
constraint on Z, whichever proves more. The solver's own opinion of its accuracy is not used.
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..model.program import Program, Solution
from ..model.reduction import Reduction
from ..model.summary import Status
from ..pricing.proof import certified
from ..utils.deadline import TimeIsUp, affords, aside, check, is_up, remaining
from ..utils.quiet import solve_quietly
from ..utils.validation import check_count, check_positive
from .monitor import run_watched
from .polish import polish

__all__ = ["ReferenceProgram", "build_reference_program", "solve_cvxpy", "solve_reference"]

# Names that each solver gives to its accuracy, iteration limit and time limit in seconds.
OPTION_NAMES = {
    "CLARABEL": (("tol_gap_rel", "tol_feas"), "max_iter", "time_limit"),
    "SCS": (("eps_abs", "eps_rel"), "max_iters", "time_limit_secs"),
}
# Exponential cones may make a solver fail at the accuracy it is asked for: it is asked again, for shorter steps, then
# for less accuracy.
SHORTER_STEPS, LOOSER = {"CLARABEL": {"max_step_fraction": 0.9}}, (1e2, 1e4)
# The fraction of the time that is left which a solver has: its point is polished and certified after it.
SOLVER_FRACTION = 0.8
# Most nonzeros that the constraint matrix may have: at this size it takes gigabytes, and the solver hours.
MAX_NONZEROS = 100_000_000
# Products that take as long as cvxpy takes for a nonzero, at its fastest.
WRITING = 300
ADVICE = "columns of X far from zero or of very different sizes are the usual cause: standardise them"


@dataclass(frozen=True, eq=False)
class ReferenceProgram:
    """A program in cvxpy, not yet solved.

    Parameters
    ----------
    problem : cvxpy.Problem
        The problem.
    variables : dict of str to cvxpy.Variable
        "U" and, for ReLU, "V" of shape (n_arrangements, n_hidden_features), the blocks of sign + and -; "Z" of shape
        (n_samples,), the predictions; "beta" of shape (n_free,), the output bias and then the skip, where there are
        any. With several outputs "U1", "U2", ..., and "Z" and "beta" have a column for each. Where patches have
        output weights of their own, there is a "U" for each of these, those of the first patch first.
    constraints : dict of str to cvxpy constraint
        "fit" (Z - A(W) - F beta = 0; its dual value is the dual vector v), and for ReLU "cone_U" and "cone_V", with
        several outputs "cone_U1" and so on.

    Examples
    --------
    >>> from convexnn.model import build_program
    >>> from convexnn.solvers import build_reference_program
    >>> reference = build_reference_program(build_program([[1.0], [-1.0]], [1.0, 0.0], 0.1, "all"))
    >>> round(float(reference.problem.solve(solver="CLARABEL")), 4), reference.variables["U"].shape
    (0.0657, (4, 2))
    """

    problem: Any
    variables: dict
    constraints: dict

    def point(self, reduction: Reduction) -> tuple[np.ndarray, np.ndarray]:
        """Return W and beta of the whole program, where the problem is that of the reduction, and solved."""
        program, Z = reduction.program, self.variables["Z"].value
        rows = np.concatenate([variable.value for name, variable in self.variables.items() if name[0] in "UV"])
        W = rows.reshape(program.block_shape[2], -1, rows.shape[1]).transpose(1, 2, 0)
        fit = Z.reshape(program.Y.shape) - program.design.matvec(W)
        return reduction.invert(W, program.free_basis[0].T @ fit)


def build_reference_program(program: Program) -> ReferenceProgram:
    """Write a program in cvxpy, with named variables and constraints.

    Parameters
    ----------
    program : Program
        Made by `build_program`.

    Returns
    -------
    ReferenceProgram
        The unsolved problem; `problem.solve()` solves it with any solver that cvxpy has for second-order cones.

    Examples
    --------
    >>> from convexnn.model import build_program
    >>> from convexnn.solvers import build_reference_program
    >>> program = build_program([[2, 2], [3, 3], [1, 0]], [1, 2, -1], 0.1, "all")
    >>> sorted(build_reference_program(program).constraints)
    ['cone_U', 'cone_V', 'fit']
    """
    import cvxpy as cp

    if not affords(WRITING * _n_nonzeros(program)):
        raise TimeIsUp
    design, n_outputs = program.design, program.Y.shape[1]
    patterns, activity = design.arrangements.patterns(), design.activity(np.arange(len(design.arrangements)))
    names = [name for name, _ in zip("UV", design.signs, strict=False)]
    n_columns = program.block_shape[2]
    suffixes = [""] if n_columns == 1 else [str(c + 1) for c in range(n_columns)]
    shape, free_bias = (len(patterns), design.X.shape[1]), program.architecture.hidden_bias == "free"
    blocks = {name + suffix: cp.Variable(shape, name=name + suffix) for suffix in suffixes for name in names}
    tail = () if n_outputs == 1 else (n_outputs,)
    Z = cp.Variable((len(program.Y), *tail), name="Z")
    variables = {**blocks, "Z": Z}
    sums, fits = design.sums(), [0.0] * n_outputs
    for c, suffix in enumerate(suffixes):
        difference = sum(sign * blocks[name + suffix] for sign, name in zip(design.signs, names, strict=True))
        values = cp.sum(cp.multiply(activity.T.astype(float), design.X @ difference.T), axis=1)
        fits[c % n_outputs] = fits[c % n_outputs] + sums[c // n_outputs] @ values
    fit = fits[0] if n_outputs == 1 else cp.vstack(fits).T
    if program.free.shape[1]:
        variables["beta"] = cp.Variable((program.free.shape[1], *tail), name="beta")
        fit = fit + program.free @ variables["beta"]
    constraints = {"fit": Z - fit == 0}
    for name, W in blocks.items():
        cone = program.cones.to_cvxpy(W, patterns)
        if cone is not None:
            constraints[f"cone_{name}"] = cone
    charged = {name: W[:, :-1] if free_bias else W for name, W in blocks.items()}
    penalty = sum(program.penalty.to_cvxpy(*(charged[name + suffix] for suffix in suffixes)) for name in names)
    y = program.Y[:, 0] if n_outputs == 1 else program.Y
    objective = program.loss.to_cvxpy(y, Z) + program.alpha * penalty
    return ReferenceProgram(cp.Problem(cp.Minimize(objective), list(constraints.values())), variables, constraints)


def solve_reference(
    program: Program,
    *,
    solver: str = "CLARABEL",
    tol: float = 1e-6,
    max_iter: int | None = None,
    time_limit: float | None = None,
    verbose: int | bool = 0,
) -> Solution:
    """Solve a program whole through cvxpy.

    Parameters
    ----------
    program : Program
        Made by `build_program`.
    solver : str, default="CLARABEL"
        An installed solver of cvxpy.
    tol : float, default=1e-6
        Compared with the relative gap of the certificate. The solver itself is asked for far more (at most 1e-10), for
        CLARABEL and SCS; other solvers run at their own settings.
    max_iter : int or None, default=None
        Limit of the solver's iterations, for CLARABEL and SCS.
    time_limit : float or None, default=None
        Limit in seconds, for CLARABEL and SCS: the solver has what is left when the program is written out.
    verbose : int or bool, default=0
        0 is silent; 1 shows the result and a summary, on stderr; 2 also what the solver prints itself, on stdout.

    Returns
    -------
    Solution
        The polished point with its certificate. When the solver was stopped by a limit, the better of its last point
        and the zero network; when it was interrupted (Ctrl-C), the zero network.

    Raises
    ------
    ValueError
        If the solver is not installed, an option does not apply to it, or the program is too large to be written out
        whole (more than 1e8 nonzeros, n_blocks x n_samples x n_features).
    RuntimeError
        If the solver fails; the message has its status.

    Warns
    -----
    ConvergenceWarning
        If the relative gap is above `tol`, with the solver's status.

    Examples
    --------
    >>> from convexnn.model import build_program
    >>> from convexnn.solvers import solve_reference
    >>> solution = solve_reference(build_program([[1.0], [-1.0]], [1.0, 0.0], 0.1, "all"))
    >>> round(solution.certificate.objective, 6), solution.certificate.scope
    (0.065711, 'global')
    """
    program.require_patterns()
    _check_options(solver, max_iter, time_limit)
    _check_size(program)
    accuracy, n_iter = min(1e-10, 1e-2 * check_positive("tol", tol)), 0

    def iterate(monitor):
        nonlocal n_iter
        certificate, V = certified(program, *program.zero())
        monitor.bound(certificate.lower_bound, V)
        if certificate.gap > 1e-12:
            n_iter = _solve(program, monitor, solver, accuracy, max_iter, verbose == 2)
        monitor.record(np.count_nonzero(monitor.W.any(axis=1)))

    limits = {"tol": tol, "max_iter": None, "time_limit": time_limit, "callback": None, "verbose": verbose}
    # a bound of scope "global" is charged for rounding by `certified`
    return run_watched(
        iterate, program, **limits, scope=program.scope, finish=lambda found: replace(found, n_iter=n_iter)
    )


def solve_cvxpy(problem, solver="CLARABEL", accuracy=1e-10, *, max_iter=None, verbose=False, **own):
    """Solve a problem of cvxpy in most of the time that is left; return the Status of what is not solved then.

    `own` are further options of the solver. Variables may have no values where a limit stopped it. Raise RuntimeError
    where it fails, even when it is asked again, and TimeIsUp, in a `breakable` block, where the time is up.
    """
    import cvxpy as cp

    options, limit = {}, np.inf
    if solver in OPTION_NAMES:
        tolerances, iterations, seconds = OPTION_NAMES[solver]
        options = dict.fromkeys(tolerances, accuracy) | ({} if max_iter is None else {iterations: max_iter})
        options |= {"tol_gap_abs": 1e-4 * accuracy} if solver == "CLARABEL" else {}
        if np.isfinite(remaining()):
            aside(problem.get_problem_data, solver)  # which is kept, and takes its part of the time
            options[seconds] = limit = max(SOLVER_FRACTION * remaining(), 1e-6)
    attempts, start = _attempts(solver, options | own), time.perf_counter()
    for attempt in attempts:
        try:
            aside(solve_quietly, problem, solver=solver, verbose=verbose, **attempt)
            break
        except cp.SolverError as error:
            if attempt is attempts[-1]:
                raise RuntimeError(f"{solver} failed on the convex program ({error}); {ADVICE}") from error
    if problem.status == cp.USER_LIMIT:
        return Status.TIME_LIMIT if time.perf_counter() - start >= limit else Status.MAX_ITER
    if any(variable.value is None for variable in problem.variables()):
        raise RuntimeError(f"{solver} failed on the convex program: status {problem.status!r}; {ADVICE}")
    return Status.NO_PROGRESS


def _n_nonzeros(program):
    """Return the number of nonzeros of the program written out whole."""
    return program.design.n_blocks * program.design.X.size * program.Y.shape[1]


def _check_size(program):
    """Raise ValueError where the program is too large to be written out whole."""
    n_nonzeros = _n_nonzeros(program)
    if n_nonzeros > MAX_NONZEROS:
        raise ValueError(
            f"arrangements: {len(program.design.arrangements):,} patterns make a program of {n_nonzeros:,} nonzeros, "
            f"more than the {MAX_NONZEROS:,} that can be written out whole; use fewer patterns"
        )


def _check_options(solver, max_iter, time_limit):
    """Raise ValueError where a solver is not installed, or does not take the limits that are given."""
    import cvxpy as cp

    installed = cp.installed_solvers()
    if solver not in installed:
        raise ValueError(
            f"solver must be one of the installed solvers of cvxpy, {', '.join(installed)}; got {solver!r}"
        )
    for name, value, check_limit in (("max_iter", max_iter, check_count), ("time_limit", time_limit, check_positive)):
        if value is not None and solver not in OPTION_NAMES:
            raise ValueError(f"{name} must be None for solver {solver!r}: only {', '.join(OPTION_NAMES)} take it")
        if value is not None:
            check_limit(name, value)


def _solve(program, monitor, solver, accuracy, max_iter, verbose):
    """Solve for what the best free fit leaves of y, in units of the data; return the solver's number of iterations."""
    reduction = Reduction.of(program, monitor.beta, tol=1.0)  # free biases, which cost nothing, in any unit
    check()
    try:
        reference = build_reference_program(reduction.program)
    except TimeIsUp:
        monitor.status = None if is_up() else Status.TIME_LIMIT  # it is too short to write the program out
        raise
    monitor.status = solve_cvxpy(reference.problem, solver, accuracy, max_iter=max_iter, verbose=verbose)
    if reference.variables["Z"].value is not None:
        W, beta = reference.point(reduction)
        W = polish(program, W, beta)
        V = reduction.invert_dual(reference.constraints["fit"].dual_value.reshape(program.Y.shape))
        certificate, dual = certified(program, W, beta, V)
        blocks = np.flatnonzero(W.any(axis=(1, 2)))
        monitor.offer(W[blocks], blocks, beta)
        monitor.bound(certificate.lower_bound, dual)
    return max(1, int(getattr(reference.problem.solver_stats, "num_iters", None) or 1))


def _attempts(solver, options):
    """Return the options to try: those given, with shorter steps, and with larger tolerances."""
    if solver not in OPTION_NAMES:
        return [options]
    shorter = SHORTER_STEPS.get(solver, {})
    attempts = [options] + [options | shorter] * bool(shorter)
    for factor in LOOSER:
        looser = {name: value * factor for name, value in options.items() if "tol" in name or "eps" in name}
        attempts.append(options | shorter | looser)
    return attempts
