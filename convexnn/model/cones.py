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
    """The cones {u : (2 D_b - I) X u >= 0} of the blocks of a design.

    Parameters
    ----------
    design : Design
        The patterns and the rows X.
    """

    design: Design

    def near_rows(self, blocks, points):
        """Return the rows near some cells, for `project`.

        Parameters
        ----------
        blocks : integer array of shape (n_selected,)
            The blocks.
        points : ndarray of shape (n_selected, n_features)
            A vector in the cell of each, nearly.

        Returns
        -------
        NearRows or None
            None where cells are not thin, or too many.
        """
        design = self.design
        return near_rows(design.unit_columns, design.arrangements.bits[design.pattern_index(blocks)], points)

    def project(self, U, blocks, tight=None, least=0.0, near=None):
        """Project onto the cones.

        Parameters
        ----------
        U : ndarray of shape (n_selected, n_features, n_outputs)
            What is projected, a block a row.
        blocks : integer array of shape (n_selected,)
            The blocks that the rows belong to.
        tight : int32 array of shape (n_selected, n_features, n_outputs) or None, default=None
            Rows of X that are likely tight at each projection, filled up with -1; overwritten by those that are, where
            the projection is longer than `least`. The result does not depend on it (up to rounding), the time does.
        least : float, default=0.0
            A projection no longer than this need not be finished: what is returned for it is at least as long, and no
            longer than `least`.
        near : NearRows or None, default=None
            Of the same blocks: saves most of the products; the result does not depend on it (up to rounding).

        Returns
        -------
        ndarray of the shape of U
            The projections, each output on its own. Violations are rounding.

        Raises
        ------
        RuntimeError
            If the active-set method was stopped by its limit of steps.
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
        """Return orthonormal bases of the faces that projections lie in.

        Parameters
        ----------
        U : ndarray of shape (n_selected, n_features)
            Projections, not zero.
        tight : int32 array of shape (n_selected, n_features)
            Their tight rows, as `project` leaves them.
        blocks : integer array of shape (n_selected,) or None, default=None
            The blocks that the rows belong to; not needed here.

        Returns
        -------
        T : ndarray of shape (n_features, n_columns)
            For each row of U a basis of the null space of its tight rows, the first vector along U.
        offsets : integer array of shape (n_selected + 1,)
            The basis of row j is T[:, offsets[j] : offsets[j + 1]].
        """
        return face_bases(self.design.unit_columns, U, tight)

    def to_cvxpy(self, W, patterns):
        """Return (2 D_i - I) X w_i >= 0, one constraint for the rows w_i of a cvxpy W and D_i of `patterns`."""
        import cvxpy as cp

        return cp.multiply(2.0 * patterns.T - 1.0, self.design.X @ W.T) >= 0


def make_cones(design, architecture):
    """Return the cones that the blocks of a design have in an architecture.

    Parameters
    ----------
    design : Design
        The patterns and the rows X.
    architecture : Architecture
        Says whether blocks are confined, and how patches are pooled.

    Returns
    -------
    ArrangementCones, SelectionCones or FreeCones
        The cones.
    """
    if not architecture.constrained:
        return FreeCones()
    if architecture.patches is not None and architecture.patches.pooling == "max":
        return SelectionCones(design)
    return ArrangementCones(design)
