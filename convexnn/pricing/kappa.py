"""What is asked about a dual vector of a program: kappa(V) over its blocks, bounds of it, and certificates from them.

V is dual feasible where kappa(V) = max_b |Proj_{K_b}(s_b X'D_b V)| <= alpha and F'V = 0, in the dual norm of the
penalty.
"""

from contextlib import suppress

import numpy as np

from ..model.certificate import Certificate, uncontradicted
from ..model.cones import ArrangementCones
from ..model.program import Program
from ..utils.deadline import TimeIsUp, breakable
from .given import bound_blocks, kappa_blocks
from .groups import kappa_groups
from .zero_dual import least_kappa, neurons_of_blocks

__all__ = ["certified", "dual_at_zero", "kappa", "kappa_bound"]


def kappa(program: Program, V: np.ndarray) -> float:
    """Return the largest dual norm over the blocks of a program, on their cones, of s_b X'D_b V."""
    by_blocks = kappa_blocks if program.by_prox else kappa_groups
    return by_blocks(program.design, program.cones, program.penalty, V)


def kappa_bound(program: Program, V: np.ndarray) -> float:
    """Return an upper bound of kappa(V) over the blocks of a program, rounding included."""
    by_bounds = program.by_prox and isinstance(program.cones, ArrangementCones)
    norm = bound_blocks(program.design, V) if by_bounds else kappa(program, V)
    left_out = program.left_out @ np.linalg.norm(program.design.spread(V), axis=1)
    return float(norm + program.penalty.dual_factor * left_out + program.dual_rounding(V))


def dual_at_zero(program: Program, enough: float = 0.0) -> np.ndarray:
    """Return the dual vector of the zero network, of a loss with kinks the one of least kappa over the patterns.

    Its kappa is alpha_max over these patterns. With `enough` above 0 any of a kappa of at most this will do.
    """
    V = program.any_dual_at_zero()
    with suppress(TimeIsUp), breakable():  # then any of them has to do
        V = V if program.loss.smooth else least_kappa(program, V, neurons_of_blocks(program), enough=enough).V
    return V


def certified(
    program: Program, W: np.ndarray, beta: np.ndarray, V: np.ndarray | None = None
) -> tuple[Certificate, np.ndarray]:
    """Bound the optimum from below; return the certificate of W and beta, and the dual vector of its bound.

    The bound is D(t V) = -L*(-t V), V the projection of -grad L(Z) onto {F'V = 0} and t the best scale with kappa(t V)
    <= alpha, over the patterns of the program. Another V, which need not be feasible, is tried too, and the better
    bound taken. The blocks W must be feasible.
    """
    best, norm = (0.0, np.zeros_like(program.Y)), None  # losses and penalties are not negative
    Z, kinks_at_zero = program.predict(W, beta), not (W.any() or program.loss.smooth)
    own = dual_at_zero(program, program.alpha) if kinks_at_zero else -program.loss.grad(program.Y, Z)
    for candidate in [own] + ([] if V is None else [V]):
        dual = program.project_dual(candidate)
        with suppress(TimeIsUp), breakable():
            last, norm = norm, kappa_bound(program, dual)
            bound = (program.proved_bound if program.scope == "global" else program.dual_value)(dual, norm)
            if last is None or bound > best[0]:
                best = bound, program.dual_point(dual, norm)
    objective, rounding = program.objective(W, beta), program.rounding(beta, Z)
    bound = uncontradicted(objective, best[0], rounding + program.negligible)
    return Certificate(objective, bound, program.scope, program.negligible, rounding=rounding), best[1]
