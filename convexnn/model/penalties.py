"""Penalties R(W) on the blocks of a program; W has shape (n_blocks, n_features, n_outputs).

A penalty is a norm rho of each block and output, R(W) = sum_b sum_c rho(W_bc), and rho is a sum of weighted
Euclidean norms of some of the coefficients q = B'u of a block u in an orthonormal basis B,

    rho(u) = sum_t w_t |q_t|,

which `terms` lists. Where rho is a multiple of |u|, it does not depend on the basis (`rotation_invariant`): then the
prox with a cone is the threshold of the projection, and the dual norm over a cone that of the projection. For the
others neither holds, and `prox` and `dual_norms` are those without cones.

The exception is `Nuclear`, a norm of each block with all its outputs.

References
----------
N. Simon, J. Friedman, T. Hastie and R. Tibshirani (2013), A sparse-group lasso. Journal of Computational and Graphical
Statistics 22(2).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

__all__ = ["ElasticNorm", "GroupL2", "GroupNorm", "Nuclear", "group_l1"]


class Penalty:
    """What the penalties share. They have `block_norms`, `prox`, `dual_norms` and, but for `Nuclear`, `terms`."""

    rotation_invariant = True
    separable = True  # a sum over blocks
    dual_factor = 1.0  # the dual norm of a vector is at most this times its norm

    def value(self, W: np.ndarray) -> float:
        """Return R(W)."""
        return float(self.block_norms(W).sum())

    def to_cvxpy(self, *columns: Any) -> Any:
        """Return R(W) as a cvxpy expression, for cvxpy matrices W[:, :, c], an argument each."""
        return sum(_sum_of_terms(W, *self.terms(W.shape[1])) for W in columns)


class GroupL2(Penalty):
    """Sum of the Euclidean norms of the blocks, R(W) = sum_b |W_b|, one norm for each output."""

    def block_norms(self, W: np.ndarray) -> np.ndarray:
        """Return the norm of each block and output, shape (n_blocks, n_outputs)."""
        return np.linalg.norm(W, axis=1)

    def prox(self, P: np.ndarray, step: float) -> np.ndarray:
        """Return argmin_W 1/2 |W - U|^2 + step R(W) over W in the cones, for P the projections of U onto them.

        The prox of a norm and a cone is the block soft threshold of the projection: (1 - step / |P_b|)_+ P_b.
        """
        norms = self.block_norms(P)
        return P * np.where(norms > step, 1.0 - step / np.where(norms > step, norms, 1.0), 0.0)[:, None, :]

    def dual_norms(self, G: np.ndarray) -> np.ndarray:
        """Return for each block the dual norm of a projected gradient G_b, the largest over outputs."""
        return self.block_norms(G).max(axis=1)

    def steepest(self, P: np.ndarray) -> np.ndarray:
        """Return for each block the U with R(U) <= 1 that maximises <P, U>, for projected gradients P."""
        norms, rows = self.block_norms(P), np.arange(len(P))
        outputs, U = norms.argmax(axis=1), np.zeros_like(P)
        largest = norms[rows, outputs]
        U[rows, :, outputs] = P[rows, :, outputs] / np.where(largest > 0, largest, 1.0)[:, None]
        return U

    def terms(self, n_features: int) -> tuple[np.ndarray | None, list]:
        """Return a basis (None: that of the features) and the pairs (w_t, coefficients of t) of a block's norm."""
        return None, [(1.0, np.arange(n_features))]


class Nuclear(Penalty):
    """Sum of the nuclear norms of the blocks, R(W) = sum_b |W_b|_*, the sum of the singular values of (W_bdc)_dc.

    It is the least sum_j |u_j| |a_j| over all sums W_b = sum_j u_j a_j': the weight decay of neurons that share a gate.
    It is for blocks without cones.

    B. Recht, M. Fazel and P. Parrilo (2010), Guaranteed minimum-rank solutions of linear matrix equations via nuclear
    norm minimization. SIAM Review 52(3).
    """

    def block_norms(self, W: np.ndarray) -> np.ndarray:
        """Return the norm of each block, shape (n_blocks, 1)."""
        return _singular_values(W).sum(axis=1, keepdims=True)

    def prox(self, P: np.ndarray, step: float) -> np.ndarray:
        """Return argmin_W 1/2 |W - P|^2 + step R(W): the singular values less `step`, zero where they are smaller.

        Blocks whose Euclidean norm is at most `step` are zero without a decomposition.
        """
        W, large = np.zeros_like(P), np.flatnonzero(np.linalg.norm(P, axis=(1, 2)) > step)
        left, values, right = np.linalg.svd(P[large], full_matrices=False)
        W[large] = (left * np.maximum(values - step, 0.0)[:, None, :]) @ right
        return W

    def dual_norms(self, G: np.ndarray) -> np.ndarray:
        """Return for each block the largest singular value, the dual norm."""
        return _singular_values(G).max(axis=1, initial=0.0)

    def steepest(self, P: np.ndarray) -> np.ndarray:
        """Return for each block the U of nuclear norm one that maximises <P, U>."""
        left, _, right = np.linalg.svd(P, full_matrices=False)
        return left[:, :, :1] @ right[:, :1]

    def to_cvxpy(self, *columns: Any) -> Any:
        """Return R(W) as a cvxpy expression, for cvxpy matrices W[:, :, c], an argument each."""
        import cvxpy as cp

        blocks = range(columns[0].shape[0])
        return sum(cp.normNuc(cp.vstack([W[b] for W in columns])) for b in blocks)


@dataclass(frozen=True, eq=False)
class GroupNorm(Penalty):
    """Weighted norms of groups of coefficients, R(W) = sum_b sum_c sum_g weights_g |(B' W_bc)_g|.

    With groups of one it is a weighted l1 norm. The l1 norm of the discrete Fourier transform of a real vector is of
    this kind: B is the real Fourier basis, and a group is the cosine and the sine of one frequency.

    `basis` (n_features, n_features) has orthonormal columns (None: the identity), `groups` (n_features,) numbers the
    groups from 0, and `weights` (n_groups,) are above 0.
    """

    basis: np.ndarray | None
    groups: np.ndarray
    weights: np.ndarray

    rotation_invariant = False

    def block_norms(self, W: np.ndarray) -> np.ndarray:
        """Return the norm of each block and output, shape (n_blocks, n_outputs)."""
        return np.einsum("g,bgc->bc", self.weights, self._group_norms(self._coefficients(W)))

    def prox(self, P: np.ndarray, step: float) -> np.ndarray:
        """Return argmin_W 1/2 |W - P|^2 + step R(W), without cones: the soft threshold of each group."""
        Q = self._coefficients(P)
        norms, thresholds = self._group_norms(Q), step * self.weights[:, None]
        factors = np.where(norms > thresholds, 1.0 - thresholds / np.where(norms > thresholds, norms, 1.0), 0.0)
        Q = Q * factors[:, self.groups]
        return Q if self.basis is None else self.basis @ Q

    def dual_norms(self, G: np.ndarray) -> np.ndarray:
        """Return for each block max_g |(B'G_b)_g| / weights_g, the dual norm without cones, largest over outputs."""
        return (self._group_norms(self._coefficients(G)) / self.weights[:, None]).max(axis=(1, 2))

    def derivative_roots(self, P: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
        """Return T with T_b T_b' the derivative of `prox` at rows P_b of one output, and where the columns of each end.

        A group q that is not zero moves by (1 - c) I + c qq' / |q|^2, c = step weight / |q|.
        """
        Q, (n_blocks, d) = P if self.basis is None else P @ self.basis, P.shape
        blocks, columns = [np.zeros(0, int)], [np.zeros((0, d))]
        for g, weight in enumerate(self.weights):
            members = np.flatnonzero(self.groups == g)
            lengths = np.linalg.norm(Q[:, members], axis=1)
            active = np.flatnonzero(lengths > step * weight)
            roots = _roots(Q[np.ix_(active, members)], step * weight / lengths[active])
            basis = np.eye(d)[:, members] if self.basis is None else self.basis[:, members]
            columns.append((roots @ basis.T).reshape(-1, d))
            blocks.append(np.repeat(active, len(members)))
        blocks = np.concatenate(blocks)
        order = np.argsort(blocks, kind="stable")
        ends = np.concatenate([[0], np.cumsum(np.bincount(blocks, minlength=n_blocks))])
        return np.concatenate(columns)[order].T, ends

    @property
    def dual_factor(self) -> float:
        """The dual norm of a vector is at most this times its norm."""
        return 1.0 / float(self.weights.min())

    def terms(self, n_features: int) -> tuple[np.ndarray | None, list]:
        """Return the basis (None: that of the features) and the pairs (w_g, coefficients of g) of a block's norm."""
        return self.basis, [(float(w), np.flatnonzero(self.groups == g)) for g, w in enumerate(self.weights)]

    @cached_property
    def _members(self):
        """Which coefficients are in which group, shape (n_groups, n_features)."""
        return (self.groups == np.arange(len(self.weights))[:, None]).astype(float)

    def _coefficients(self, W):
        """Return B' W_b."""
        return W if self.basis is None else self.basis.T @ W

    def _group_norms(self, Q):
        """Return the Euclidean norm of each group, shape (n_blocks, n_groups, n_outputs)."""
        if len(self.weights) == len(self.groups):
            return np.abs(Q)[:, np.argsort(self.groups)]
        size = np.abs(Q).max(initial=0.0) or 1.0  # squares of tiny numbers vanish
        return size * np.sqrt(self._members @ (Q / size) ** 2)


@dataclass(frozen=True, eq=False)
class ElasticNorm(Penalty):
    """The sparse group lasso of each block, R(W) = sum_b sum_c ratio |W_bc|_1 + (1 - ratio) |W_bc|."""

    ratio: float

    rotation_invariant = False

    def block_norms(self, W: np.ndarray) -> np.ndarray:
        """Return the norm of each block and output, shape (n_blocks, n_outputs)."""
        return self.ratio * np.abs(W).sum(axis=1) + (1.0 - self.ratio) * np.linalg.norm(W, axis=1)

    def prox(self, P: np.ndarray, step: float) -> np.ndarray:
        """Return argmin_W 1/2 |W - P|^2 + step R(W), without cones: the soft threshold, then that of blocks."""
        soft = np.sign(P) * np.maximum(np.abs(P) - step * self.ratio, 0.0)
        return GroupL2().prox(soft, step * (1.0 - self.ratio))

    def derivative_roots(self, P: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
        """Return T with T_b T_b' the derivative of `prox` at rows P_b of one output, and where the columns of each end.

        On the entries that the soft threshold q leaves it is (1 - c) I + c qq' / |q|^2, c = step (1 - ratio) / |q|.
        """
        soft, ends, columns = np.sign(P) * np.maximum(np.abs(P) - step * self.ratio, 0.0), [0], []
        for q in soft:
            left = np.flatnonzero(q)
            shrink = step * (1.0 - self.ratio) / (np.linalg.norm(q) or np.inf)
            if len(left) and shrink < 1.0:
                columns.append(np.eye(len(q))[:, left] @ _roots(q[None, left], np.array([shrink]))[0])
            ends.append(ends[-1] + (len(left) if shrink < 1.0 else 0))
        return np.hstack([np.zeros((P.shape[1], 0)), *columns]), np.array(ends)

    def dual_norms(self, G: np.ndarray) -> np.ndarray:
        """Return for each block the dual norm without cones, the largest over outputs.

        It is the t with |S(g, ratio t)| = (1 - ratio) t for the soft threshold S: the left side less the right falls
        in t, so its signs at t = |g_j| / ratio say how many entries S leaves, and t solves a quadratic equation.
        """
        size = np.abs(G).max(axis=1, keepdims=True)
        a = -np.sort(-np.abs(G) / np.where(size > 0, size, 1.0), axis=1)
        count = np.arange(1, G.shape[1] + 1)[None, :, None]
        sums, squares = np.cumsum(a, axis=1), np.cumsum(a * a, axis=1)
        spread = squares - 2.0 * a * sums + count * a * a  # |S(a, a_j)|^2
        left = (self.ratio**2 * spread <= ((1.0 - self.ratio) * a) ** 2).sum(axis=1, keepdims=True)
        last = np.maximum(left, 1) - 1
        linear, constant = self.ratio * np.take_along_axis(sums, last, 1), np.take_along_axis(squares, last, 1)
        quadratic = self.ratio**2 * (last + 1) - (1.0 - self.ratio) ** 2
        below = linear + np.sqrt(np.maximum(linear**2 - quadratic * constant, 0.0))
        t = constant / np.where(below > 0, below, 1.0)
        for _ in range(2):  # Newton: near ratio = 1 the root cancels
            soft = np.maximum(a - self.ratio * t, 0.0)
            length = np.linalg.norm(soft, axis=1, keepdims=True)
            slope = self.ratio * soft.sum(axis=1, keepdims=True) / np.where(length > 0, length, 1.0) + 1.0 - self.ratio
            t = t + np.where(length > 0, (length - (1.0 - self.ratio) * t) / np.where(length > 0, slope, 1.0), 0.0)
        return (size * t).max(axis=(1, 2))

    def terms(self, n_features: int) -> tuple[np.ndarray | None, list]:
        """Return a basis (None: that of the features) and the pairs (w_t, coefficients of t) of a block's norm."""
        entries = [(self.ratio, np.array([j])) for j in range(n_features)] if self.ratio > 0 else []
        return None, entries + ([(1.0 - self.ratio, np.arange(n_features))] if self.ratio < 1 else [])


def group_l1(n_features: int) -> GroupNorm:
    """Return the l1 norm of the blocks, R(W) = sum_b |W_b|_1."""
    return GroupNorm(None, np.arange(n_features), np.ones(n_features))


def _roots(Q, shrink):
    """Return the symmetric roots of (1 - c) I + c qq' / |q|^2 for rows q of Q and c of `shrink`."""
    units = Q / np.linalg.norm(Q, axis=1, keepdims=True)
    along, root = units[:, :, None] * units[:, None, :], np.sqrt(1.0 - shrink)[:, None, None]
    return root * (np.eye(Q.shape[1]) - along) + along


def _singular_values(W):
    """Return the singular values of each block, shape (n_blocks, min(n_features, n_columns))."""
    return np.linalg.svd(W, compute_uv=False)


def _sum_of_terms(W, basis, terms):
    """Return the sum over rows u of a cvxpy W of sum_t w_t |(B'u)_t|."""
    import cvxpy as cp

    Q = W if basis is None else W @ basis
    singles = [(w, members[0]) for w, members in terms if len(members) == 1]
    total = sum(w * cp.sum(cp.norm(Q[:, members], 2, axis=1)) for w, members in terms if len(members) > 1)
    if singles:
        weights, entries = zip(*singles, strict=True)
        total = total + cp.sum(cp.abs(Q[:, list(entries)]) @ np.array(weights))
    return total
