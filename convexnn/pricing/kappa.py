"""Pricing of given blocks: kappa(V) = max_b |Proj_{K_b}(s_b X' D_b V)|, its bounds, and the blocks above a level.

A dual vector V is feasible where kappa(V) <= alpha and F'V = 0, in the dual norm of the penalty. The free bound
|Proj_K(g)| <= |g| needs no projection, so all blocks are scored by one blocked product, and cones are projected lazily,
largest free bound first. A projection ends as soon as it is known to be no longer than what is asked about. Norms that
are not rotation invariant take another way, `groups`.
"""

from typing import NamedTuple

import numpy as np

from ..geometry.projection import bound_projections
from ..model.cones import ArrangementCones
from ..model.program import Program
from ..utils.deadline import check, is_up
from .groups import group_bounds

__all__ = ["Prices", "Start", "falling", "kappa", "kappa_bound", "price", "start_of"]

# Blocks projected at a time.
BATCH = 128
# Relative excess over a level that counts as rounding.
EXCESS_TOL = 1e-12


class Prices(NamedTuple):
    """What pricing found: an upper bound of kappa(V), and the blocks above the level, the largest first."""

    bound: float
    blocks: np.ndarray


class Start(NamedTuple):
    """What pricing starts from, overwritten by what it ends with: likely tight rows and points p, of the shape of W.

    `tight` is as in `ArrangementCones.project`; `points` are those of `groups`, None where there is no need of them.
    """

    tight: np.ndarray
    points: np.ndarray | None


def start_of(program):
    """Return a start that knows nothing: no tight rows, and points at zero."""
    shape = program.block_shape
    return Start(np.full(shape, -1, np.int32), None if program.by_prox else np.zeros(shape))


def falling(bounds):
    """Yield the entries of `bounds` in falling order, BATCH of their indices at a time."""
    order = np.argsort(-bounds)
    for first in range(0, len(order), BATCH):
        yield order[first : first + BATCH]


def kappa(program: Program, V: np.ndarray) -> float:
    """Compute kappa(V), the largest dual norm over the blocks of a program, on their cones, of s_b X' D_b V.

    Parameters
    ----------
    program : Program
        With patterns; its alpha is not used.
    V : ndarray of shape (n_samples, n_outputs)
        The dual vector.

    Returns
    -------
    float
        kappa(V), never below the maximum by more than rounding; inf where X' D_b V is not finite. For norms that are
        not rotation invariant an upper bound, within 1e-9 of the maximum.

    Examples
    --------
    >>> from convexnn import Architecture
    >>> from convexnn.model import build_program
    >>> from convexnn.pricing import kappa
    >>> plain = Architecture(hidden_bias="none", fit_intercept=False)
    >>> program = build_program([[1.0, 0.0], [0.0, 1.0]], [3.0, 4.0], 1.0, "all", plain)
    >>> round(kappa(program, program.Y), 6)
    5.0
    """
    if not program.by_prox:
        return float(group_bounds(program, V)[0].max(initial=0.0))
    G, largest = program.design.rmatvec(V), 0.0
    free = program.penalty.dual_norms(G)
    if not np.isfinite(free).all():
        return np.inf
    for batch in falling(free):
        if free[batch[0]] <= largest:
            break
        if largest:
            check()
        projected = program.cones.project(G[batch], batch, least=largest)
        largest = max(largest, float(program.penalty.dual_norms(projected).max()))
    return largest


def kappa_bound(program: Program, V: np.ndarray) -> float:
    """Return an upper bound of kappa(V) over the blocks of a program, rounding included."""
    by_bounds = program.by_prox and isinstance(program.cones, ArrangementCones)
    norm = _bound_blocks(program.design, V) if by_bounds else kappa(program, V)
    left_out = program.left_out @ np.linalg.norm(program.design.spread(V), axis=1)
    return float(norm + program.penalty.dual_factor * left_out + program.dual_rounding(V))


def _bound_blocks(design, V):
    """Bound |Proj_{K_b}(s_b X' D_b v)| from above over blocks and outputs, rounding included but of products.

    Blocks that there is no time for are bounded without a projection; inf where X' D_b v is not finite.
    """
    G, largest = design.rmatvec(V), 0.0
    if not np.isfinite(G).all():
        return np.inf
    for c in range(V.shape[1]):
        lengths = np.linalg.norm(G[:, :, c], axis=1)
        for batch in falling(lengths):
            if lengths[batch[0]] <= largest or is_up():
                largest = max(largest, lengths[batch[0]])
                break
            patterns = design.arrangements.patterns(design.pattern_index(batch))
            projected = bound_projections(design.unit_columns, patterns, G[batch, :, c], largest)
            largest = max(largest, projected[1].max())
    return float(largest)


def price(program, V, level, limit, start=None, design=None):
    """Find blocks of a kappa_b above `level`, until `limit` are found, and bound the largest.

    The bound is max(level, kappa(V)), or where `limit` stopped the search an upper bound of it; inf where X' D_b V is
    not finite. `start`, a Start, is updated. `design` is that of the program in another precision, None for its own.
    """
    if not program.by_prox:
        upper, lower = group_bounds(program, V, level, start)
        order = np.argsort(-lower)[: int(limit)]
        return Prices(max(level, float(upper.max(initial=0.0))), order[lower[order] > (1 + EXCESS_TOL) * level])
    G = (design or program.design).rmatvec(V)
    free = program.penalty.dual_norms(G)
    if not np.isfinite(free).all():
        return Prices(np.inf, np.zeros(0, np.int64))
    tight = start_of(program).tight if start is None else start.tight
    blocks, norms, bound = [np.zeros(0, np.int64)], [np.zeros(0)], level
    for batch in falling(free):
        if sum(map(len, blocks)) >= limit:
            bound = max(bound, float(free[batch[0]]))
            break
        batch = batch[free[batch] > level]
        if not len(batch):
            break
        check()
        rows = tight[batch]
        lengths = program.penalty.dual_norms(program.cones.project(G[batch], batch, rows, level))
        tight[batch] = rows
        above = lengths > (1 + EXCESS_TOL) * level
        blocks.append(batch[above])
        norms.append(lengths[above])
        bound = max(bound, float(lengths.max()))
    return Prices(bound, np.concatenate(blocks)[np.argsort(-np.concatenate(norms))])
