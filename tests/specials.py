"""What holds of every result of `convexnn.special`, and cvxpy at a high accuracy."""

import cvxpy as cp
import pytest

from convexnn.special import SpecialResult


def least(objective, constraints=()):
    """The optimum of a program in cvxpy."""
    options = {"solver": "CLARABEL", "tol_gap_rel": 1e-10, "tol_gap_abs": 1e-12, "tol_feas": 1e-10}
    return cp.Problem(cp.Minimize(objective), list(constraints)).solve(**options)


def check_result(result, optimum, own=None, *, scope="global", tol=1e-6):
    """The objective is the optimum, and `own`, that of the weights of the network; the bound is below both."""
    certificate, tiny = result.certificate, 1e-15
    assert isinstance(result, SpecialResult)
    assert (result.converged, result.status, certificate.scope) == (True, "solved", scope)
    assert certificate.gap <= tol
    assert certificate.objective == pytest.approx(optimum, rel=max(tol, 1e-6), abs=tiny)
    assert certificate.objective >= optimum * (1 - 1e-6) - tiny
    assert certificate.lower_bound <= optimum * (1 + 1e-7) + tiny
    assert own is None or certificate.objective == pytest.approx(own, rel=1e-8, abs=tiny)
