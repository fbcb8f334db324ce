"""The cones of max pooling, {u : R_b u >= 0} for rows R_b that differ from block to block.

The rows are never stored: a projection is one onto the cone of a few of them, to which the most violated ones are added
until none is left. What it returns until then is longer than the projection.
"""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils import gen_batches

from ..geometry.face_bases import face_bases
from ..geometry.projection import ACCEPTED_TOL, FEASIBILITY_TOL, project, unit_columns
from ..geometry.selections import selected_patches, selection_rows, write_row
from ..utils.kernels import kernel
from ..utils.threads import map_batches
from .design import Design

__all__ = ["SelectionCones", "gates_in_cones", "project_selection"]

# Rows of selections that are added to a projection at a time, one a sample at most.
ADDED_ROWS = 4
# Products of a batch of projections that are worth a thread.
BATCH_WORK = 3_000_000


@dataclass(frozen=True, eq=False)
class SelectionCones:
    """The cones of max pooling: where the selected patch of every sample is the largest and positive, or none is.

    Row i K + l of a block, for patch l of sample i and K patches, is x_is - x_il where patch s is selected, x_is for
    l = s, and -x_il where none is (`convexnn.geometry.selections`).
    """

    design: Design

    def rows(self, b):
        """Return the unit rows (n_rows, n_features) of the cone of block b, {u : rows u >= 0}.

        Zero rows stay, and differences of patches that are rounding are zero.
        """
        n_rows = len(self.design.X)
        selected = np.broadcast_to(self._selected([b]), (n_rows, self.design.n_samples))
        return selection_rows(self.design.X, selected, np.arange(n_rows))

    def near_rows(self, blocks, points):
        """Return None: the rows of a block depend on its selection."""
        return None

    def project(self, U, blocks, tight=None, least=0.0, near=None):
        """Return the projections of U (n_selected, n_features, n_outputs) onto the cones of `blocks`, output by output.

        As `ArrangementCones.project`, with `tight` the numbers of rows of each block; there is no `near`.
        """
        tight = np.full(U.shape, -1, np.int32) if tight is None else tight
        out, selected = np.empty_like(U), self._selected(blocks)
        for c in range(U.shape[2]):
            rows = np.ascontiguousarray(tight[:, :, c])
            out[:, :, c] = _project_selections(self.design.X, selected, U[:, :, c], rows, least)
            tight[:, :, c] = rows
        return out

    def face_bases(self, U, tight, blocks):
        """Return orthonormal bases of the faces that projections U lie in, as `ArrangementCones.face_bases`."""
        place, own = np.nonzero(tight >= 0), np.full(tight.shape, -1, np.int32)
        own[place] = np.arange(len(place[0]))
        rows = selection_rows(self.design.X, self._selected(blocks)[place[0]], tight[place])
        return face_bases(unit_columns(rows), U, own)

    def to_cvxpy(self, W, patterns):
        """Return one constraint for the rows w_i of a cvxpy W and the selections of `patterns`: all rows of w_i >= 0.

        The value of the selected patch of a sample, or zero, is at least that of the others; that value itself is not
        negative.
        """
        import cvxpy as cp
        from scipy import sparse

        ones = np.ones((self.design.n_patches, 1))
        spread = sparse.kron(sparse.eye(self.design.n_samples), ones @ ones.T, format="csr")
        values = self.design.X @ W.T
        chosen = patterns.T.astype(float)
        return spread @ cp.multiply(chosen, values) - cp.multiply(1.0 - chosen, values) >= 0

    def _selected(self, blocks):
        patterns = self.design.arrangements.patterns(self.design.pattern_index(blocks))
        return selected_patches(patterns, self.design.n_patches)


def gates_in_cones(solution):
    """Return a trimmed solution whose gates are in the cones of their patterns, in those of max pooling too.

    Where cones are `SelectionCones`, gates are sums of the blocks.
    """
    program, W = solution.program, solution.W
    if not isinstance(program.cones, SelectionCones) or not len(W):
        return solution
    # a sum of points of a cone is in the cone
    points = W.reshape(len(program.design.signs), -1, *W.shape[1:]).sum(axis=(0, 3))
    return replace(solution, program=program.over(replace(program.design.arrangements, gates=points)))


def _project_selections(X, selected, G, tight, least):
    """Project the rows of G onto the cones of selections, as `project_blocks` does onto those of patterns."""
    sizes, out, finished = np.linalg.norm(X, axis=1), np.empty(G.shape), np.empty(len(G), bool)
    X, G = np.ascontiguousarray(X), np.ascontiguousarray(G)

    def part(batch):
        _project_all(X, sizes, selected[batch], G[batch], tight[batch], least, out[batch], finished[batch])

    map_batches(part, list(gen_batches(len(G), max(1, BATCH_WORK // X.size))) if len(G) else [], timed=True)
    if not finished.all():
        raise RuntimeError("a cone projection did not finish; differences of patches are too close to dependent")
    return out


@kernel(nogil=True)
def _project_all(X, sizes, selected, G, tight, least, out, finished):
    mu = np.empty(X.shape[1])
    for b in range(len(G)):
        finished[b] = project_selection(X, sizes, selected[b], G[b], tight[b], least, out[b], mu)


@kernel
def project_selection(X, sizes, selected, g, tight, least, u, mu):
    """Project g onto the cone of a selection: a compiled kernel for others.

    `sizes` are the lengths of the rows of X, `selected` (n_samples,) is of `selected_patches`, the others are as in
    `convexnn.geometry.projection.project` for the unit rows of the cone: `u`, `tight` and `mu` are overwritten. Return
    whether no row is violated.
    """
    d = X.shape[1]
    length = np.sqrt((g * g).sum())
    u[:] = g
    if length <= least:
        return True
    rows, local, columns = np.empty(d + ADDED_ROWS, np.int64), np.empty(d, np.int32), np.empty((d, d + ADDED_ROWS))
    found, row = np.empty(ADDED_ROWS, np.int64), np.empty(d)
    m = 0
    while m < d and tight[m] >= 0:
        rows[m] = tight[m]
        m += 1
    n_tight, worst = m, 0.0
    for _ in range(100 + 30 * d):
        for q in range(m):
            write_row(X, sizes, selected, rows[q], row)
            columns[:, q] = row
        local[:] = -1
        for q in range(n_tight):
            local[q] = q
        few = np.ascontiguousarray(columns[:, :m])
        if not project(few, np.ones(m, np.bool_), g, local, least, u, mu):
            return False
        n_tight = 0
        while n_tight < d and local[n_tight] >= 0:
            tight[n_tight] = rows[local[n_tight]]
            n_tight += 1
        tight[n_tight:] = -1
        remaining, worst = np.sqrt((u * u).sum()), 0.0
        if remaining <= least or remaining == 0.0 or n_tight == d:
            break
        n_found, worst = _violated(X, sizes, selected, u, rows[:m], -FEASIBILITY_TOL * remaining, found)
        if n_found == 0:
            break
        rows[:n_tight] = tight[:n_tight]
        rows[n_tight : n_tight + n_found] = found[:n_found]
        m = n_tight + n_found
    return worst >= -ACCEPTED_TOL * length


@kernel(fastmath={"reassoc", "contract", "nsz"})
def _violated(X, sizes, selected, u, known, least, found):
    """Write the most violated rows that are not known, one a sample at most; return how many, and the least r.u."""
    n, d = len(selected), len(u)
    n_patches, n_found = len(X) // n, 0
    values, base, row = np.zeros(len(found)), np.zeros(d), np.empty(d)
    for i in range(n):
        own = i * n_patches + selected[i]
        base[:] = 0.0
        if selected[i] >= 0:
            base[:] = X[own]
        worst, at = 0.0, -1
        for r in range(i * n_patches, (i + 1) * n_patches):
            t = 0.0
            if r == own:
                for j in range(d):
                    t += base[j] * u[j]
            else:
                for j in range(d):
                    t += (base[j] - X[r, j]) * u[j]
            if t < 0.0:
                length = write_row(X, sizes, selected, r, row)
                if length > 0.0 and t < length * min(worst, least) and not (known == r).any():
                    worst, at = t / length, r
        if at < 0:
            continue
        # the most violated first
        q = min(n_found, len(found) - 1)
        if n_found == len(found) and worst >= values[q]:
            continue
        while q > 0 and values[q - 1] > worst:
            values[q], found[q] = values[q - 1], found[q - 1]
            q -= 1
        values[q], found[q] = worst, at
        n_found = min(n_found + 1, len(found))
    return n_found, values[0]
