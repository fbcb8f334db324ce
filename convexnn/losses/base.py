"""What all losses share: the interface, dual vectors, best scales, and the smoothing of losses with kinks.

    L(Z) = sum_ik w_i phi(Y_ik, Z_ik),  grad L = w phi'
    L*(T) = max_Z sum(T Z) - L(Z) = sum_ik w_i phi*(Y_ik, T_ik / w_i)

is a sum over samples with weights w (1 where there are none) and over outputs, not a mean. All but the logistic loss
and softmax are of one form: with the residual r = z - y, bounds l <= 0 <= u that may depend on y, and q = 1 (smooth) or
0,

    phi(y, z) = max over l <= s <= u of s r - q s^2 / 2,   phi*(y, s) = s y + q s^2 / 2 on [l, u], infinite outside.

The dual function of a program is D(V) = -L*(-V): a dual vector V has -V in the domain of L*, which contains 0.

References
----------
H. H. Bauschke and P. L. Combettes (2017), Convex analysis and monotone operator theory in Hilbert spaces, chapters 13
(conjugates), 14 (envelopes) and 24 (proximity operators).
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from .fits import fit_clipped, fit_piecewise_linear, fit_smooth
from .tools import interval_in_box, project_box

__all__ = ["EDGE", "Loss", "Smoothed", "advance_inside", "largest_on_segment"]

# Violations of the domain of a conjugate, relative to its size, that are rounding.
DOMAIN_TOL = 1e-12
# Distance of a prediction from a kink, relative to the largest one, that is rounding.
KINK_TOL = 1e-9
# Distance from the edge of where a gradient saturates, relative to the predictions there, at which it does not.
EDGE = 1e-12


@dataclass(frozen=True, eq=False)
class Loss:
    """The interface of all losses, and what is common to those of the form in the module docstring.

    Y and Z have shape (n_samples, n_outputs) throughout; Z may be the number 0.0. Attributes of each class: `smooth`
    (the gradient is Lipschitz continuous), `separable` (the Hessian is diagonal), `translation_invariant` (L depends on
    Z - Y alone), `degree` (of t in L(t Z) for the targets t Y; None where it is no power of t), `invertible` (there is
    `inverse_grad`), `clipped` (it has the form of the module docstring) and, where smooth, `steepest` (the largest
    second derivative of phi).

    Parameters
    ----------
    sample_weight : ndarray of shape (n_samples,) or None, default=None
        Positive weights of the samples; None stands for ones.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.losses import LOSSES, Loss
    >>> all(issubclass(loss, Loss) for loss in LOSSES.values())
    True
    >>> LOSSES["absolute_error"](sample_weight=np.array([1.0, 3.0])).value(np.zeros((2, 1)), np.ones((2, 1)))
    4.0
    """

    sample_weight: np.ndarray | None = field(default=None, kw_only=True)

    smooth = True
    separable = True
    translation_invariant = False
    degree: ClassVar[int | None] = None
    invertible = False
    clipped = True
    steepest = 1.0

    def _box(self, Y):
        """Return the bounds l and u of s, numbers or of the shape of Y."""
        return -np.inf, np.inf

    @property
    def weights(self) -> np.ndarray | float:
        """Weights of the samples, a column of them or 1."""
        return 1.0 if self.sample_weight is None else self.sample_weight[:, None]

    @property
    def smoothness(self) -> float:
        """Lipschitz constant of the gradient, weights included; inf where L is not smooth."""
        largest = 1.0 if self.sample_weight is None else float(np.max(self.sample_weight, initial=0.0))
        return self.steepest * largest if self.smooth else np.inf

    def size(self, Y: np.ndarray) -> float:
        """Return the size of gradients at weight one: the norm of the targets, as far as gradients go both ways."""
        lower, upper = self._box(Y)
        reach = np.minimum(-lower, upper)
        sizes = np.where(reach > 0, np.minimum(np.abs(Y), reach) if self.smooth else reach, np.abs(Y))
        return float(np.linalg.norm(sizes))

    def saturates(self, Y: np.ndarray) -> bool:
        """Return whether the gradient is constant, and the curvature zero, beyond some predictions."""
        return self.clipped and any(np.isfinite(bound).any() for bound in self._box(Y))

    def select(self, rows: np.ndarray | slice) -> Self:
        """Return the loss of some of the samples, for a slice or an array of indices."""
        return self if self.sample_weight is None else replace(self, sample_weight=self.sample_weight[rows])

    def domain(self, Y: np.ndarray) -> tuple:
        """Return lower and upper bounds of T in the domain of L*, both numbers or of shapes that broadcast to Y's."""
        lower, upper = self._box(Y)
        return self.weights * lower, self.weights * upper

    def value(self, Y: np.ndarray, Z: np.ndarray | float) -> float:
        """Return L(Z), a float."""
        residual = Z - Y
        slope = self._slope(Y, residual)
        return float(np.sum(self.weights * (slope * residual - 0.5 * slope**2 * self.smooth)))

    def _slope(self, Y, residual):
        """Return the s that attains phi; 0 at the kinks."""
        lower, upper = self._box(Y)
        if self.smooth:
            return np.clip(residual, lower, upper)
        return np.where(residual > 0, upper, np.where(residual < 0, lower, 0.0))

    def grad(self, Y: np.ndarray, Z: np.ndarray | float) -> np.ndarray:
        """Return the gradient of L, of the shape of Y; where L has a kink, a subgradient."""
        return self.weights * self._slope(Y, Z - Y)

    def stationary_grad(self, Y: np.ndarray, Z: np.ndarray, basis: np.ndarray) -> np.ndarray:
        """Return a subgradient T with basis'T = 0 at the minimum Z over the span of basis; the gradient if L is smooth.

        At kinks the subgradient is free: there T has the least change that makes basis'T = 0. It is unique where the
        columns of the basis are independent on the kinks and no more than these.
        """
        T = self.grad(Y, Z)
        if self.smooth or basis.shape[1] == 0:
            return T
        lower, upper = (np.broadcast_to(bound, Y.shape) for bound in self.domain(Y))
        kinks = self.kinks(Y, Z)
        for c in range(Y.shape[1]):
            k = kinks[:, c]
            fixed = np.where(k, 0.0, T[:, c])
            T[k, c] = np.clip(-np.linalg.lstsq(basis[k].T, basis.T @ fixed, rcond=None)[0], lower[k, c], upper[k, c])
        return T

    def kinks(self, Y: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """Return where predictions are at a kink, a boolean array: there any T of the domain of L* is a subgradient."""
        if self.smooth:
            return np.zeros(Y.shape, bool)
        distance = np.abs(Z - Y)
        rounding = 100 * np.finfo(float).eps * np.abs(Y).max(initial=0.0)
        return distance <= KINK_TOL * distance.max(initial=0.0) + rounding

    def curvature(self, Y: np.ndarray, Z: np.ndarray | float) -> np.ndarray:
        """Return the second derivatives, of the shape of Y; generalised ones where grad has a kink."""
        lower, upper = self._box(Y)
        residual = Z - Y
        return self.weights * ((lower < residual) & (residual < upper) & self.smooth)

    def conjugate(self, Y: np.ndarray, T: np.ndarray) -> float:
        """Return L*(T), a float; inf outside its domain.

        A T outside by at most `DOMAIN_TOL` of the width of the domain (of max(1, |T|) where it has none) is rounding.
        """
        lower, upper = self.domain(Y)
        inside = np.clip(T, lower, upper)
        width = np.where(np.isfinite(upper - lower), upper - lower, np.maximum(1.0, np.abs(T)))
        if not (np.abs(T - inside) <= DOMAIN_TOL * width).all():
            return np.inf
        return float(np.sum(inside * Y) + 0.5 * self.smooth * np.sum(inside * inside / self.weights))

    def prox(self, Y: np.ndarray, Z: np.ndarray, step: float) -> np.ndarray:
        """Return argmin_U L(U) + |U - Z|^2 / (2 step), for losses that are not smooth."""
        return Z - step * np.clip((Z - Y) / step, *self.domain(Y))

    def prox_slope(self, Y: np.ndarray, Z: np.ndarray, step: float) -> np.ndarray:
        """Return the derivative of `prox` in each prediction, 0 or 1, for losses that are not smooth."""
        lower, upper = self.domain(Y)
        residual = Z - Y
        return ((residual <= step * lower) | (residual >= step * upper)).astype(float)

    def smoothed(self, Y: np.ndarray, T: np.ndarray, mu: float) -> Any:
        """Return the loss itself if it is smooth, else one with the conjugate L*(S) + mu/2 |S - T|^2."""
        return self if self.smooth else Smoothed(self, T, mu)

    def advance(self, Y: np.ndarray, Z: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return predictions a step further, Z + step, but in small steps of the gradient.

        Newton's method steps in Z, but is one for the dual vector, and the gradient may saturate. A prediction where it
        does goes no further than to the edge of where it does not: projected Newton's method, for bounds on V. Losses
        whose gradient never quite saturates move it by the step times the curvature, within its bounds.
        """
        lower, upper = self._box(Y)
        return advance_inside(Z, Z + step, Y + lower, Y + upper)

    def project_dual(self, Y: np.ndarray, V: np.ndarray, basis: np.ndarray) -> np.ndarray:
        """Return the V nearest to a given one among those with -V in the domain of L* and basis'V = 0.

        Parameters
        ----------
        Y, V : ndarray of shape (n_samples, n_outputs)
            Targets, and any vector.
        basis : ndarray of shape (n_samples, n_free)
            Orthonormal columns, maybe none.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            It satisfies both up to rounding, also where it is not the nearest because the projection did not converge.
        """
        lower, upper = self.domain(Y)
        return project_box(V, -upper, -lower, basis)

    def best_scale(self, Y: np.ndarray, V: np.ndarray, limit: float) -> float:
        """Return the t of [-limit, limit] that maximises the dual function D(t V); 0 where V = 0 or D is unbounded."""
        lower, upper = self.domain(Y)
        low, high = interval_in_box(V, -upper, -lower, limit)
        slope, square = np.sum(Y * V), np.sum(V * V / self.weights)
        if self.smooth:
            return float(np.clip(slope / square, low, high)) if square > 0 else 0.0
        best = high if slope > 0 else low
        return float(best) if slope != 0 and np.isfinite(best) else 0.0

    def fit_free(self, Y: np.ndarray, basis: np.ndarray, offset: np.ndarray | float = 0.0) -> np.ndarray:
        """Return the coefficients (n_free, n_outputs) that minimise L(offset + basis @ beta), for orthonormal columns.

        Where there is no minimum (labels that the columns separate) they are finite and L is nearly its infimum.
        """
        lower, upper = self.domain(Y)
        if not self.clipped:
            return fit_smooth(self, Y, basis, offset)
        if self.smooth:
            return fit_clipped(self.weights * (offset - Y), lower, upper, self.weights, basis)
        return fit_piecewise_linear(Y - offset, np.broadcast_to(lower, Y.shape), np.broadcast_to(upper, Y.shape), basis)

    def to_cvxpy(self, Y: np.ndarray, Z: Any) -> Any:
        """Return L(Z) as a cvxpy expression, for Y and a cvxpy Z of one shape, with one axis or two."""
        import cvxpy as cp

        lower, upper = (np.broadcast_to(bound, Y.shape) for bound in self._box(Y))
        residual = Z - Y
        return self._sum(cp.maximum(cp.multiply(lower, residual), cp.multiply(upper, residual)))

    def _sum(self, terms):
        """Return the weighted sum of a cvxpy expression whose first axis is that of the samples."""
        import cvxpy as cp

        if self.sample_weight is None:
            return cp.sum(terms)
        weights = self.sample_weight if terms.ndim == 1 else self.sample_weight[:, None]
        return cp.sum(cp.multiply(np.broadcast_to(weights, terms.shape), terms))


@dataclass(frozen=True, eq=False)
class Smoothed:
    """The smooth function with the conjugate L*(S) + mu/2 |S - T|^2, the loss of a proximal method of multipliers.

    `loss` is not smooth, so that L*(T) = sum(T Y) on its domain [l, u]; the centre T (n_samples, n_outputs) is near a
    subgradient of L. With Zt = Z + mu T the gradient is G = (Zt - prox_{mu L}(Zt)) / mu = clip((Zt - Y) / mu, l, u),
    always in the domain of L*, and the value is max_S sum(Z S) - L*(S) - mu/2 |S - T|^2, attained at G: env_mu L(Zt) -
    mu/2 |T|^2 for the Moreau envelope (R. T. Rockafellar, 1976, Mathematics of Operations Research 1(2), 97-116). The
    interface is that of `Loss` but for `to_cvxpy`.
    """

    loss: object
    T: np.ndarray
    mu: float

    smooth = True
    separable = True
    degree = None
    invertible = False

    @property
    def translation_invariant(self):
        """Whether the function depends on Z - Y alone."""
        return self.loss.translation_invariant

    @property
    def smoothness(self):
        """Lipschitz constant of the gradient."""
        return 1.0 / self.mu

    def select(self, rows):
        """Return the function for some of the samples."""
        return replace(self, loss=self.loss.select(rows), T=self.T[rows])

    def domain(self, Y):
        """Return lower and upper bounds of the domain of the conjugate."""
        return self.loss.domain(Y)

    def value(self, Y, Z):
        """Return the value at predictions Z."""
        G = self.grad(Y, Z)
        return float(np.sum(G * (Z - Y)) - 0.5 * self.mu * np.sum((G - self.T) ** 2))

    def grad(self, Y, Z):
        """Return the gradient, in the domain of L*."""
        return np.clip(self.T + (Z - Y) / self.mu, *self.loss.domain(Y))

    def curvature(self, Y, Z):
        """Return the generalised second derivatives (1 - prox_slope) / mu."""
        return (1.0 - self.loss.prox_slope(Y, Z + self.mu * self.T, self.mu)) / self.mu

    def conjugate(self, Y, T):
        """Return L*(T) + mu/2 |T - self.T|^2."""
        return self.loss.conjugate(Y, T) + 0.5 * self.mu * float(np.sum((T - self.T) ** 2))

    def smoothed(self, Y, T, mu):
        """Return the function itself, which is smooth."""
        return self

    def advance(self, Y, Z, step):
        """Return predictions a step further, as `Loss.advance`."""
        lower, upper = self.loss.domain(Y)
        return advance_inside(Z, Z + step, Y + self.mu * (lower - self.T), Y + self.mu * (upper - self.T))

    def project_dual(self, Y, V, basis):
        """Return the nearest V with -V in the domain of L* and basis'V = 0."""
        return self.loss.project_dual(Y, V, basis)

    def best_scale(self, Y, V, limit):
        """Return the t of [-limit, limit] that maximises the dual function D(t V); 0 if V = 0."""
        lower, upper = self.domain(Y)
        low, high = interval_in_box(V, -upper, -lower, limit)
        square = self.mu * np.sum(V * V)
        return float(np.clip(np.sum((Y - self.mu * self.T) * V) / square, low, high)) if square > 0 else 0.0

    def fit_free(self, Y, basis, offset=0.0):
        """Return the coefficients (n_free, n_outputs) that minimise the value at offset + basis @ beta."""
        return fit_clipped(self.T + (offset - Y) / self.mu, *self.domain(Y), 1.0 / self.mu, basis)


def advance_inside(Z, reached, lower, upper):
    """Return `reached`, with predictions Z outside [lower, upper] moved no further than just inside the nearer end."""
    with np.errstate(invalid="ignore"):  # an end at infinity is never reached
        highest = upper - EDGE * np.maximum(1.0, np.abs(upper))
        lowest = lower + EDGE * np.maximum(1.0, np.abs(lower))
    reached = np.where((upper <= Z) & (reached < highest), highest, reached)
    return np.where((lower >= Z) & (reached > lowest), lowest, reached)


def largest_on_segment(slopes, low, high):
    """Return the t of [low, high] that maximises a concave function, by Newton's method in a bracket that shrinks.

    `slopes(t)` returns the first and the second derivative, either of which may be infinite at the ends. The segment is
    finite and contains 0, which is returned where it is a point or the second derivative at its middle is not negative.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if low >= high or not slopes(0.5 * (low + high))[1] < 0:
            return 0.0
        for end, sign in ((high, 1.0), (low, -1.0)):
            if end != 0 and sign * slopes(end)[0] >= 0:
                return end
        t = 0.5 * (low + high)
        for _ in range(200):
            first, second = slopes(t)
            if first == 0:
                return t
            if first > 0:
                low = t
            else:
                high = t
            step = -first / second
            following = t + step if low <= t + step <= high else 0.5 * (low + high)
            if abs(following - t) <= 4e-16 * abs(t):
                return following
            t = following
    return t
