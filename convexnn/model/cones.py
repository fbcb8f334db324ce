"""The cones of the blocks, K_b = {u : (2 D_b - I) X u >= 0}: projections, and bases of their faces."""

from dataclasses import dataclass

import numpy as np

from ..geometry.face_bases import face_bases
from ..geometry.near_rows import near_rows
from ..geometry.projection import project_blocks
from ..utils.deadline import check
from .design import Design
from .selection_cones import SelectionCones

__all__ = ["ArrangementCones", "FreeCones", "make_cones"]


@dataclass(frozen=True, eq=False)
class FreeCones:
    """No constraint: K_b is the whole space (gated networks)."""

    def project(self, U, blocks, tight=None, least=0.0, near=None):
        """Return U."""
        return U

    def near_rows(self, blocks, points):
        """Return None: there are no rows."""
        return None

    def face_bases(self, U, tight=None, blocks=None):
        """Return an orthonormal basis of the space for each row of U, the first vector along it."""
        return face_bases(np.empty((U.shape[1], 0)), U, np.full(U.shape, -1, np.int32))

    def to_cvxpy(self, W, patterns):
        """Return None: there is no constraint."""
        return None


@dataclass(frozen=True, eq=False)
class ArrangementCones:
    """The cones {u : (2 D_b - I) X u >= 0} of the blocks of a design."""

    design: Design

    def near_rows(self, blocks, points):
        """Return the `NearRows` of `blocks`, for `project`; None where cells are not thin, or too many.

        `points` (n_selected, n_features) are vectors nearly in the cells of the blocks.
        """
        design = self.design
        return near_rows(design.unit_columns, design.arrangements.bits[design.pattern_index(blocks)], points)

    def project(self, U, blocks, tight=None, least=0.0, near=None):
        """Return the projections of U (n_selected, n_features, n_outputs) onto the cones of `blocks`, output by output.

        `tight`, int32 of the shape of U, has rows of X that are likely tight at each projection, filled up with -1. It
        is overwritten by those that are, where the projection is longer than `least`; what is returned for a shorter
        one may be unfinished: at least as long, and no longer than `least`. Neither `tight` nor `near` (of `near_rows`)
        changes the result but for rounding: they save time. Raise RuntimeError if the active-set method runs out of
        steps.
        """
        tight = np.full(U.shape, -1, np.int32) if tight is None else tight
        out, left = np.empty_like(U), np.ones((len(U), U.shape[2]), bool)
        for c in range(U.shape[2] if near else 0):
            rows = np.ascontiguousarray(tight[:, :, c])
            out[:, :, c], done = near.project(U[:, :, c], rows, least)
            tight[:, :, c], left[:, c] = rows, ~done
        some = np.flatnonzero(left.any(axis=1))
        patterns = self.design.arrangements.patterns(self.design.pattern_index(np.asarray(blocks)[some]))
        for c in range(U.shape[2]):
            if c:
                check()
            own = np.flatnonzero(left[some, c])
            rows = np.ascontiguousarray(tight[some[own], :, c])
            own_patterns = patterns if len(own) == len(some) else patterns[own]
            out[some[own], :, c] = project_blocks(
                self.design.unit_columns, own_patterns, U[some[own], :, c], rows, least
            )
            tight[some[own], :, c] = rows
        return out

    def face_bases(self, U, tight, blocks=None):
        """Return orthonormal bases of the faces that projections U (n_selected, n_features), not zero, lie in.

        They are T (n_features, n_columns) and offsets (n_selected + 1,): T[:, offsets[j] : offsets[j + 1]] spans the
        null space of the `tight` rows of U_j, as `project` leaves them, its first vector along U_j. `blocks` is not
        needed here.
        """
        return face_bases(self.design.unit_columns, U, tight)

    def to_cvxpy(self, W, patterns):
        """Return (2 D_i - I) X w_i >= 0, one constraint for the rows w_i of a cvxpy W and D_i of `patterns`."""
        import cvxpy as cp

        return cp.multiply(2.0 * patterns.T - 1.0, self.design.X @ W.T) >= 0


def make_cones(design, architecture):
    """Return the cones that the blocks of a design have in an architecture."""
    if not architecture.constrained:
        return FreeCones()
    if architecture.patches is not None and architecture.patches.pooling == "max":
        return SelectionCones(design)
    return ArrangementCones(design)
