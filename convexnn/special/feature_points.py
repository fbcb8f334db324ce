"""The interior-point method for gated networks that select features, in the variables of the dual.

    minimise over V   L*(-V)   subject to   h_k(V) = (V'K_k V - alpha^2) / 2 <= 0,  F'V = 0,  lower <= V <= upper,

for groups k of features, K_k = sum_{j in k} (x_j x_j') * (M M') entry by entry, M the patterns, F the free columns and
the bounds those of the domain of L*. In the names of the code, the conditions of the optimum with a barrier mu are

    -Z + F b + sum_k lam_k K_k V + (multipliers of the bounds) = 0,   F'V = 0,
    h + slack = 0,   multipliers * slack = mu,

Z the predictions with grad L(Z) = -V. Mehrotra's method takes a Newton step at mu = 0 to choose mu, and another with
its terms of the second order. Without the bounds, which only add to the diagonal, both solve

    (H + sum_k lam_k K_k + G diag(lam_k / s_k) G') dV + F db = r,   F'dV = -F'V,   G = (K_k V)_k,

s_k the slacks and H the curvature of L*, by one Cholesky factor of H + sum_k lam_k K_k, of order n_samples * n_outputs
(an output less for softmax, the rows of whose V sum to zero). G and F are a border of it; its Schur complement has a
row for each group and each coefficient of F. The blocks are U_i = lam_k X'D_i V in the rows of group k.

References
----------
S. Mehrotra (1992), On the implementation of a primal-dual interior point method, SIAM Journal on Optimization 2(4).
F. R. Bach, G. R. G. Lanckriet and M. I. Jordan (2004), Multiple kernel learning, conic duality, and the SMO algorithm,
ICML.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import softmax

__all__ = ["InteriorPoints", "dual_norm"]


def dual_norm(program, V):
    """Return max_k |(X'D_i V)_{i, j in k}| for a gated program and groups k of rows, rounding included."""
    rounding = np.sqrt(len(program.design.arrangements)) * program.dual_rounding(V)
    return float(program.penalty.norms(program.design.rmatvec(V)).max()) + rounding


class InteriorPoints:
    """V, Z with grad L(Z) = -V (bounds aside), b of the free columns, multipliers and slacks (groups, then bounds).

    The first V is a multiple of the dual vector at zero, strictly inside. Smooth losses keep to bounds by themselves.
    """

    def __init__(self, program):
        self.program, self.loss, self.X, self.basis = program, program.loss, program.design.X, program.free_basis[0]
        self.members, self.level = program.penalty.members, 0.5 * program.alpha**2
        patterns = program.design.arrangements.patterns().astype(np.float32)
        self.counts = (patterns.T @ patterns).astype(np.float64)
        Y, Z, self.outputs = program.Y, program.predict(*program.zero()), np.eye(program.Y.shape[1])
        if not self.loss.separable:  # softmax: rows of V sum to zero
            self.outputs = np.linalg.svd(np.ones((1, Y.shape[1])))[2][1:].T
        lower, upper = self.loss.domain(Y) if self.loss.clipped else (-np.inf, np.inf)
        lower, upper = np.broadcast_to(-upper, Y.shape), np.broadcast_to(-lower, Y.shape)
        self.bounds = lower, upper
        self.low, self.high = (np.flatnonzero(np.isfinite(bound)) for bound in self.bounds)
        V = -self.loss.grad(Y, Z)
        width = np.where(np.isfinite(upper - lower), upper - lower, np.abs(V).max() or 1.0)
        V = np.clip(V, lower + 0.1 * width, upper - 0.1 * width)
        self.V = V * min(1.0, 0.7 * program.alpha / max(dual_norm(program, V), np.finfo(float).tiny))
        self.Z, self.b = self.loss.inverse_grad(Y, -self.V), np.zeros((len(self.basis.T), Y.shape[1]))
        self.G = self._products(self.V)
        inside = self.level - 0.5 * self._quadratic(self.G, self.V)
        ends = (self.V - lower).ravel()[self.low], (upper - self.V).ravel()[self.high]
        self.slack = np.concatenate([inside, *ends])
        self.multipliers = self.loss.value(Y, Z) / (len(self.slack) * self.slack)

    @property
    def lam(self):
        """The multipliers of the groups."""
        return self.multipliers[: len(self.G)]

    def blocks(self):
        """Return the blocks lam_k X'D_i V, with zero rows for groups that are not selected."""
        # of the lam and the slack of a group one goes to zero; where that is lam, the group is not selected
        selected = self.lam / self.lam.max() >= self.slack[: len(self.G)] / self.level
        return self.program.design.rmatvec(self.V) * (self.lam * selected)[self.members][:, None]

    def lower(self, alpha):
        """Lower alpha in place, scaling V in proportion; the predictions of the groups stay the same."""
        part = alpha / self.program.alpha
        self.program, self.level = self.program.at(alpha), 0.5 * alpha**2
        self.V, self.G = part * self.V, part * self.G
        self.Z = self.loss.inverse_grad(self.program.Y, -self.V)
        ends = (self.V - self.bounds[0]).ravel()[self.low], (self.bounds[1] - self.V).ravel()[self.high]
        m = len(self.G)
        self.slack = np.concatenate([part**2 * self.slack[:m], *ends])
        self.multipliers = np.append(self.lam / part, self.multipliers[m:])

    def advance(self):
        """Take a step of Mehrotra's method in place; return whether it moved: not if rounding spoils it."""
        hessian = self._curvature()
        ratios = np.bincount(self._bounds, (self.multipliers / self.slack)[len(self.G) :], self.V.size)
        try:
            system = _System(self, hessian + ratios.reshape(self.V.shape))
        except np.linalg.LinAlgError:
            return False
        products = self.multipliers @ self.slack
        affine = self._direction(system, 0.0)
        t = self._length(affine)
        left = (self.multipliers + t * affine[2]) @ (self.slack + t * affine[3])
        step = self._direction(system, min(left / products, 1.0) ** 3 * products / len(self.slack), affine, t**2)
        t = min(1.0, 0.995 * self._length(step))
        if not all(np.isfinite(part).all() for part in step) or t < 1e-9:
            return False
        if not self.loss.clipped:
            self.Z = self.loss.advance(self.program.Y, self.Z, -t * hessian * step[0])
            self.V = -self.loss.grad(self.program.Y, self.Z)
        else:
            self.V = self.V + t * step[0]
            self.Z = self.loss.inverse_grad(self.program.Y, -self.V)
        self.b, self.multipliers, self.slack = (
            old + t * change for old, change in zip((self.b, self.multipliers, self.slack), step[1:], strict=True)
        )
        self.G = self._products(self.V)
        return True

    @property
    def _bounds(self):
        """The entries of V that bounds are on."""
        return np.concatenate([self.low, self.high])

    def _products(self, V):
        """Return K_k V for all groups, shape (n_groups, n_samples, n_outputs)."""
        parts = (self.X[:, :, None] * V[:, None, :]).reshape(len(V), -1)
        parts = self.X[:, :, None] * (self.counts @ parts).reshape(*self.X.shape, V.shape[1])
        total = np.zeros((self.members.max() + 1, *V.shape))
        np.add.at(total, self.members, parts.transpose(1, 0, 2))
        return total

    def _quadratic(self, G, U):
        return np.einsum("knc,nc->k", G, U)

    def _curvature(self):
        """Return the second derivatives of L*(-V) in each entry, for softmax on rows that sum to zero."""
        weights = self.loss.weights + np.zeros_like(self.V)
        if self.loss.clipped:
            return self.loss.smooth / weights
        P = self.loss.curvature(self.program.Y, self.Z) / weights if self.loss.separable else softmax(self.Z, axis=1)
        return 1.0 / (weights * np.maximum(P, P.max() / 1e14))  # steeper variables stay where they are

    def _direction(self, system, target, affine=None, part=0.0):
        """Return changes of V, b, multipliers and slacks to products of `target`, with some second-order terms."""
        m, gradient = len(self.G), self.basis @ self.b - self.Z + self._adjoint(self.multipliers)
        miss = np.zeros_like(self.slack)  # of the linear bounds nothing but rounding
        miss[:m] = 0.5 * self._quadratic(self.G, self.V) - self.level + self.slack[:m]
        products = target - self.multipliers * self.slack
        if affine is not None:
            bent = self._products(affine[0])
            miss[:m] += 0.5 * part * self._quadratic(bent, affine[0])
            gradient += part * np.tensordot(affine[2][:m], bent, 1)
            products -= part * affine[2] * affine[3]
        pull = (products + self.multipliers * miss) / self.slack
        gradient += self._adjoint(pull)
        V, along, b = system.solve(-gradient, -self.basis.T @ self.V)
        along = np.concatenate([along, -V.ravel()[self.low], V.ravel()[self.high]])
        return V, b, pull + self.multipliers * along / self.slack, -miss - along

    def _adjoint(self, multipliers):
        """Return the sum of the gradients of the constraints, with multipliers."""
        groups, low, high = np.split(multipliers, [len(self.G), len(self.G) + len(self.low)])
        of_bounds = np.bincount(self._bounds, np.concatenate([-low, high]), self.V.size)
        return np.tensordot(groups, self.G, 1) + of_bounds.reshape(self.V.shape)

    def _length(self, step):
        """Return the largest t up to 1 to which multipliers and slacks stay positive."""
        values, changes = np.concatenate([self.multipliers, self.slack]), np.concatenate(step[2:])
        return np.min(-values[changes < 0] / changes[changes < 0], initial=1.0)


class _System:
    """The Newton systems of a step, with the groups and the free columns as a border of the factor of the rest.

    [H + K, R; R', -E] (dV, x) = (right, level), R the columns sqrt(lam_k / s_k) K_k V and F, E one for groups alone.
    """

    def __init__(self, points, hessian):
        self.outputs, self.m, self.hessian = points.outputs, len(points.G), hessian
        (n, _), e = points.V.shape, self.outputs.shape[1]
        index, B = np.arange(n), np.zeros((e, n, e, n))
        self.kernel = points.counts * ((points.X * points.lam[points.members]) @ points.X.T)
        for c in range(e):
            B[c, :, c, :] = self.kernel
        B[:, index, :, index] += np.einsum("nc,ca,cb->nab", hessian, self.outputs, self.outputs)
        B = B.reshape(n * e, n * e)
        self.scale = 1.0 / np.sqrt(np.diagonal(B))
        B *= self.scale[:, None] * self.scale
        B.flat[:: n * e + 1] += 4 * n * e * np.finfo(float).eps
        self.factor = cho_factor(B, lower=True, overwrite_a=True, check_finite=False)
        self.roots = np.sqrt(points.lam / points.slack[: self.m])
        groups = [self._flat(root * G) for root, G in zip(self.roots, points.G, strict=True)]
        self.border = np.column_stack([*groups, np.kron(np.eye(e), points.basis)])
        self.across = self._invert(self.border)
        small = self.border.T @ self.across
        small[: self.m, : self.m] += np.eye(self.m)
        self.unit = 1.0 / np.sqrt(np.diagonal(small))
        self.small = np.linalg.pinv(small * self.unit * self.unit[:, None], hermitian=True)

    def solve(self, right, level):
        """Return dV with F'dV = `level`, the products of dV with the K_k V, and db, for the residual `right`."""
        right, level = self._flat(right), np.concatenate([np.zeros(self.m), self._flat(level)])
        V, x = self._solve(right, level)
        for _ in range(2):  # refinements
            left = right - self._flat(self.hessian * self._wide(V) + self.kernel @ self._wide(V)) - self.border @ x
            below = level - self.border.T @ V
            below[: self.m] += x[: self.m]
            V, x = (part + change for part, change in zip((V, x), self._solve(left, below), strict=True))
        return self._wide(V), x[: self.m] / self.roots, self._wide(x[self.m :])

    def _solve(self, right, level):
        own = self._invert(right)
        x = self.unit * (self.small @ (self.unit * (self.border.T @ own - level)))
        return own - self.across @ x, x

    def _flat(self, U):
        return (U @ self.outputs).T.ravel()

    def _wide(self, flat):
        return (self.outputs @ flat.reshape(self.outputs.shape[1], -1)).T

    def _invert(self, R):
        scale = self.scale.reshape(-1, *[1] * (R.ndim - 1))
        return scale * cho_solve(self.factor, scale * R, check_finite=False)
