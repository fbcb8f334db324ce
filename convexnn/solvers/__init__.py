"""Solvers of convex programs: functions solve(program, *, tol, max_iter, time_limit, ...) -> Solution."""

from .reference import ReferenceProgram, build_reference_program, solve_reference

__all__ = ["SOLVERS", "ReferenceProgram", "build_reference_program", "solve_reference"]

SOLVERS = {"cvxpy": solve_reference}
