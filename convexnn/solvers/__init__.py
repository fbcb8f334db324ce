"""Solvers of convex programs: functions solve(program, *, tol, max_iter, time_limit, verbose) -> Solution."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..model.program import Program, Solution
from .conic import solve_conic
from .generation import solve_generation
from .reference import ReferenceProgram, build_reference_program, solve_reference
from .working_set import solve_working_set

__all__ = [
    "SOLVERS",
    "WARM_STARTED",
    "ReferenceProgram",
    "build_reference_program",
    "get_solver",
    "solve_conic",
    "solve_generation",
    "solve_given",
    "solve_reference",
    "solve_working_set",
]


def solve_given(program: Program, **options: Any) -> Solution:
    """Solve a program over given patterns by the engine that its penalty allows.

    Parameters
    ----------
    program : Program
        With patterns.
    **options : dict
        As of the engine, `solve_working_set` or `solve_conic`.

    Returns
    -------
    Solution
        Its solution.

    Examples
    --------
    >>> from convexnn.model import build_program
    >>> from convexnn.solvers import solve_given
    >>> solve_given(build_program([[1.0], [-1.0]], [1.0, 0.0], 0.1, "all")).status
    'solved'
    """
    return (solve_working_set if program.by_prox else solve_conic)(program, **options)


SOLVERS: dict[str, Callable] = {
    "auto": solve_given,
    "conic": solve_conic,
    "generation": solve_generation,
    "newton": solve_working_set,
    "fista": partial(solve_working_set, inner="fista"),
    "cvxpy": solve_reference,
}
# The names of those that take `W_init`.
WARM_STARTED = tuple(name for name in SOLVERS if name != "cvxpy")


def get_solver(name: str) -> Callable:
    """Return the solver of a name.

    Parameters
    ----------
    name : str
        A key of `SOLVERS`, or an installed solver of cvxpy.

    Returns
    -------
    callable
        solve(program, *, tol, max_iter, time_limit, verbose) -> Solution.

    Raises
    ------
    ValueError
        If there is no such solver.

    Examples
    --------
    >>> from convexnn.solvers import get_solver, solve_working_set
    >>> get_solver("newton") is solve_working_set
    True
    """
    if isinstance(name, str) and name in SOLVERS:
        return SOLVERS[name]
    import cvxpy

    installed = cvxpy.installed_solvers()
    if name in installed:
        return partial(solve_reference, solver=name)
    names = ", ".join(map(repr, [*SOLVERS, *installed]))
    raise ValueError(f"solver must be one of {names}; got {name!r}")
