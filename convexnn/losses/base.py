"""What all losses share: values, gradients, conjugates, best scales, and the smoothing of those that are not smooth.

    L(Z) = sum_ik w_i phi(Y_ik, Z_ik),  grad L = w phi'
    L*(T) = max_Z sum(T Z) - L(Z) = sum_ik w_i phi*(Y_ik, T_ik / w_i)

is a sum over samples with weights w (1 where there are none) and over outputs, not a mean. `Loss` has all of it from
phi, phi', phi'' and the inverse of phi', which a loss of one's own defines (docs/guide/add_loss.rst). The losses of the
package but the logistic loss and softmax are of one form (`Clipped`): with the residual r = z - y and bounds
l <= 0 <= u of the slope, that may depend on y,

    phi(y, z) = max over l <= s <= u of s r - q s^2 / 2,   phi*(y, s) = s y + q s^2 / 2 on [l, u], infinite outside,

where q = 1 for smooth losses and 0 for others. The dual function of a program is D(V) = -L*(-V): a dual vector V has -V
in the domain of L*, which contains 0.

References
----------
H. H. Bauschke and P. L. Combettes (2017), Convex analysis and monotone operator theory in Hilbert spaces, chapters 13
(conjugates), 14 (envelopes) and 24 (proximity operators).
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from .duals import fit_clipped, fit_piecewise_linear, fit_smooth, interval_in_box, project_box

__all__ = ["EDGE", "Clipped", "Loss", "largest_on_segment"]

EPS, TINY = float(np.finfo(float).eps), float(np.finfo(float).tiny)
# Violations of the domain of a conjugate, relative to its width, that are rounding.
DOMAIN_TOL = 1e-12
# Distance from the edge of where a gradient saturates, relative to the predictions there, at which it does not.
EDGE = 1e-12


@dataclass(frozen=True, eq=False)
class Loss:
    """A loss sum w phi(y, z) over samples and outputs: the base class of all losses.

    A smooth loss of one's own is a subclass with `phi`, `phi_grad`, `phi_hess` and `phi_grad_inverse`, functions of
    arrays entry by entry, and `slope_bounds` where phi' is bounded; the rest follows. `phi_cvxpy` is for the solvers
    that use cvxpy. These attributes describe a class:

    * `steepest`: the largest phi'' (1.0);
    * `translation_invariant`: phi depends on z - y alone (False);
    * `degree`: of t in phi(t y, t z), None where it is no power of t (None);
    * `vanishes`: phi(y, y) = 0, so that exact fits have no loss (True);
    * `smooth` (True), `separable` (True; softmax is not), `clipped` (False; of the form that `convexnn.losses.base`
      derives) and `invertible` (False; phi' has an inverse everywhere).

    Y and Z have shape (n_samples, n_outputs) throughout; Z may be the number 0.0 in methods.

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
    vanishes = True
    invertible = False
    clipped = False
    steepest = 1.0

    def phi(self, Y: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """Return phi, entry by entry."""
        raise NotImplementedError(f"{type(self).__name__} must define phi(Y, Z)")

    def phi_grad(self, Y: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """Return the derivative s = phi' in z, entry by entry."""
        raise NotImplementedError(f"{type(self).__name__} must define phi_grad(Y, Z)")

    def phi_hess(self, Y: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """Return the second derivative phi'' in z, entry by entry."""
        raise NotImplementedError(f"{type(self).__name__} must define phi_hess(Y, Z)")

    def phi_grad_inverse(self, Y: np.ndarray, S: np.ndarray) -> np.ndarray:
        """Return the z with phi'(y, z) = s, entry by entry; infinite at bounds of the slope that are not reached."""
        raise NotImplementedError(f"{type(self).__name__} must define phi_grad_inverse(Y, S)")

    def phi_conjugate(self, Y: np.ndarray, S: np.ndarray) -> np.ndarray:
        """Return phi*(y, s), entry by entry, for s within the bounds of the slope: s z - phi(z) by default."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            Z = self.phi_grad_inverse(Y, S)
            return np.where(np.isfinite(Z), S * Z - self.phi(Y, np.where(np.isfinite(Z), Z, 0.0)), np.inf)

    def phi_cvxpy(self, Y: np.ndarray, Z: Any) -> Any:
        """Return phi as a cvxpy expression of the shape of Y."""
        raise NotImplementedError(f"{type(self).__name__} must define phi_cvxpy(Y, Z) for solvers that use cvxpy")

    def slope_bounds(self, Y: np.ndarray) -> tuple:
        """Return the bounds l <= 0 <= u of phi', numbers or of the shape of Y: infinite by default."""
        return -np.inf, np.inf

    def check_targets(self, Y: np.ndarray) -> None:
        """Raise ValueError unless the targets are ones that the loss takes: any by default."""

    @property
    def weights(self) -> np.ndarray | float:
        """Weights of the samples, a column of them or 1."""
        return 1.0 if self.sample_weight is None else self.sample_weight[:, None]

    @property
    def smoothness(self) -> float:
        """Lipschitz constant of the gradient, weights included; inf where L is not smooth."""
        largest = 1.0 if self.sample_weight is None else float(np.max(self.sample_weight, initial=0.0))
        return self.steepest * largest if self.smooth else np.inf

    def gradient_scale(self, Y: np.ndarray) -> float:
        """Return the norm of gradients at weight one: that of the targets, as far as slopes go both ways."""
        lower, upper = self.slope_bounds(Y)
        reach = np.minimum(-lower, upper)
        sizes = np.where(reach > 0, np.minimum(np.abs(Y), reach) if self.smooth else reach, np.abs(Y))
        return float(np.linalg.norm(sizes))

    def saturates(self, Y: np.ndarray) -> bool:
        """Return whether the gradient is constant, and the curvature zero, beyond some predictions."""
        return False

    def select(self, rows: np.ndarray | slice) -> Self:
        """Return the loss of some of the samples, for a slice or an array of indices."""
        return self if self.sample_weight is None else replace(self, sample_weight=self.sample_weight[rows])

    def domain(self, Y: np.ndarray) -> tuple:
        """Return lower and upper bounds of T in the domain of L*, both numbers or of shapes that broadcast to Y's."""
        lower, upper = self.slope_bounds(Y)
        return self.weights * lower, self.weights * upper

    def value(self, Y: np.ndarray, Z: np.ndarray | float) -> float:
        """Return L(Z)."""
        return float(np.sum(self.weights * self.phi(Y, Z)))

    def grad(self, Y: np.ndarray, Z: np.ndarray | float) -> np.ndarray:
        """Return the gradient of L, of the shape of Y; at a non-smooth point, a subgradient."""
        return self.weights * self.phi_grad(Y, Z)

    def curvature(self, Y: np.ndarray, Z: np.ndarray | float) -> np.ndarray:
        """Return the second derivatives, of the shape of Y; generalised ones where grad is not differentiable."""
        return self.weights * self.phi_hess(Y, Z)

    def inverse_grad(self, Y: np.ndarray, T: np.ndarray) -> np.ndarray:
        """Return predictions Z with grad L(Z) = T, for T inside the domain of L*."""
        return self.phi_grad_inverse(Y, T / self.weights)

    def stationary_grad(self, Y: np.ndarray, Z: np.ndarray, basis: np.ndarray) -> np.ndarray:
        """Return the (sub)gradient T with basis'T = 0 at the minimum Z over the span of basis.

        At non-smooth points, where it is free, T changes the least that makes basis'T = 0.
        """
        T = self.grad(Y, Z)
        if self.smooth or basis.shape[1] == 0:
            return T
        lower, upper = (np.broadcast_to(bound, Y.shape) for bound in self.domain(Y))
        free = self.nonsmooth_at(Y, Z)
        for c in range(Y.shape[1]):
            k = free[:, c]
            fixed = np.where(k, 0.0, T[:, c])
            T[k, c] = np.clip(-np.linalg.lstsq(basis[k].T, basis.T @ fixed, rcond=None)[0], lower[k, c], upper[k, c])
        return T

    def nonsmooth_at(self, Y: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """Return where predictions are non-smooth points, as booleans: there any T of the domain is a subgradient."""
        if self.smooth:
            return np.zeros(Y.shape, bool)
        distance = np.abs(Z - Y)
        rounding = 100 * EPS * np.abs(Y).max(initial=0.0)
        return distance <= 1e-9 * distance.max(initial=0.0) + rounding

    def conjugate(self, Y: np.ndarray, T: np.ndarray) -> float:
        """Return L*(T); inf outside its domain.

        A T outside by at most `DOMAIN_TOL` of the width of the domain (of max(1, |T|) where it has none) is rounding.
        """
        inside = self._inside_domain(Y, T)
        return np.inf if inside is None else float(np.sum(self.weights * self.phi_conjugate(Y, inside / self.weights)))

    def _inside_domain(self, Y, T):
        """Return T without rounding outside of the domain of L*; None where it is further outside."""
        lower, upper = self.domain(Y)
        inside = np.clip(T, lower, upper)
        width = np.where(np.isfinite(upper - lower), upper - lower, np.maximum(1.0, np.abs(T)))
        return inside if (np.abs(T - inside) <= DOMAIN_TOL * width).all() else None

    def conjugate_error(self, Y: np.ndarray, T: np.ndarray, change: np.ndarray) -> float:
        """Return a bound of the rounding of L*(T), and of what it may rise by where T moves by at most |change|.

        Terms are rounded to a few eps, and move by |dt| |z|; those of an entropy, near its bounds, by |dt| log(1/|dt|).
        """
        lower, upper = self.domain(Y)
        edge = EPS * np.where(np.isfinite(upper - lower), upper - lower, np.maximum(1.0, np.abs(T)))
        Z = np.abs(self.inverse_grad(Y, np.clip(T, lower + edge, upper - edge)))
        moved = 2.0 * float(np.sum((np.abs(change) + EPS * np.abs(T)) * Z))
        return 64 * (EPS * (T.size + abs(self.conjugate(Y, T))) + float(np.abs(change).sum())) + moved

    def smoothed(self, Y: np.ndarray, T: np.ndarray, mu: float) -> "Loss":
        """Return the loss itself if it is smooth, else one with the conjugate L*(S) + mu/2 |S - T|^2."""
        return self if self.smooth else Smoothed(self, T, mu)

    def advance(self, Y: np.ndarray, Z: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return Z + step, or less where the gradient, which is what Newton's method is after, would saturate."""
        return Z + step

    def project_dual(self, Y: np.ndarray, V: np.ndarray, basis: np.ndarray) -> np.ndarray:
        """Return the nearest V with -V in the domain of L* and basis'V = 0, for orthonormal columns, maybe none.

        Both hold up to rounding, also where the projection did not converge and V is not the nearest.
        """
        lower, upper = self.domain(Y)
        return project_box(V, -upper, -lower, basis)

    def best_scale(self, Y: np.ndarray, V: np.ndarray, limit: float) -> float:
        """Return the t of [-limit, limit] that maximises the dual function D(t V); 0 where V = 0 or D is unbounded."""
        lower, upper = self.domain(Y)
        low, high = interval_in_box(V, -upper, -lower, limit)
        moves = V != 0
        Y, rate, V = Y[moves], (V / self.weights)[moves], V[moves]

        def slopes(t):
            Z = self.phi_grad_inverse(Y, -t * rate)
            return np.sum(V * Z), -np.sum(V * rate / self.phi_hess(Y, Z))

        return largest_on_segment(slopes, low, high)

    def fit_free(self, Y: np.ndarray, basis: np.ndarray, offset: np.ndarray | float = 0.0) -> np.ndarray:
        """Return the coefficients (n_free, n_outputs) that minimise L(offset + basis @ beta), for orthonormal columns.

        Where there is no minimum (labels that the columns separate) they are finite and L is nearly its infimum.
        """
        return fit_smooth(self, Y, basis, offset)

    def to_cvxpy(self, Y: np.ndarray, Z: Any) -> Any:
        """Return L(Z) as a cvxpy expression, for Y and a cvxpy Z of one shape, with one axis or two."""
        return self._weighted_sum(self.phi_cvxpy(Y, Z))

    def _weighted_sum(self, terms):
        """Return the weighted sum of a cvxpy expression whose first axis is that of the samples."""
        import cvxpy as cp

        if self.sample_weight is None:
            return cp.sum(terms)
        weights = self.sample_weight if terms.ndim == 1 else self.sample_weight[:, None]
        return cp.sum(cp.multiply(np.broadcast_to(weights, terms.shape), terms))


@dataclass(frozen=True, eq=False)
class Clipped(Loss):
    """Losses whose gradient is a clipped residual: L*(T) = sum(T Y) + c/2 |T - T_0|^2 on a box.

    A subclass has the bounds of the box, `slope_bounds`, and may be not `smooth`.
    """

    clipped = True

    def _quadratic(self):
        """Return c, a number or an array that broadcasts to Y, and T_0."""
        return self.smooth / self.weights, 0.0

    def _slope(self, Y, Z):
        """Return T_0 + (Z - Y) / c, which the gradient is within the domain."""
        c, center = self._quadratic()
        return center + (Z - Y) / c

    def saturates(self, Y: np.ndarray) -> bool:
        """Return whether a slope is bounded."""
        return any(np.isfinite(bound).any() for bound in self.slope_bounds(Y))

    def value(self, Y: np.ndarray, Z: np.ndarray | float) -> float:
        """Return L(Z)."""
        (c, center), G = self._quadratic(), self.grad(Y, Z)
        return float(np.sum(G * (Z - Y) - 0.5 * c * (G - center) ** 2))

    def grad(self, Y: np.ndarray, Z: np.ndarray | float) -> np.ndarray:
        """Return the gradient; at non-smooth points the subgradient 0."""
        lower, upper = self.domain(Y)
        if self.smooth:
            return np.clip(self._slope(Y, Z), lower, upper)
        residual = Z - Y
        return np.where(residual > 0, upper, np.where(residual < 0, lower, 0.0))

    def curvature(self, Y: np.ndarray, Z: np.ndarray | float) -> np.ndarray:
        """Return 1 / c where the gradient is not clipped, else 0."""
        if not self.smooth:
            return np.zeros(Y.shape)
        (lower, upper), slope = self.domain(Y), self._slope(Y, Z)
        return ((lower < slope) & (slope < upper)) / self._quadratic()[0]

    def inverse_grad(self, Y: np.ndarray, T: np.ndarray) -> np.ndarray:
        """Return predictions Z with grad L(Z) = T; Y where L is not smooth."""
        c, center = self._quadratic()
        return Y + c * (T - center)

    def conjugate(self, Y: np.ndarray, T: np.ndarray) -> float:
        """Return L*(T)."""
        (c, center), inside = self._quadratic(), self._inside_domain(Y, T)
        return np.inf if inside is None else float(np.sum(inside * Y) + 0.5 * np.sum(c * (inside - center) ** 2))

    def advance(self, Y: np.ndarray, Z: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return Z + step; predictions whose gradient is clipped stop just inside of where it is not."""
        (c, center), (lower, upper), reached = self._quadratic(), self.domain(Y), Z + step
        lower, upper = Y + c * (lower - center), Y + c * (upper - center)
        with np.errstate(invalid="ignore"):  # an end at infinity is never reached
            highest = upper - EDGE * np.maximum(1.0, np.abs(upper))
            lowest = lower + EDGE * np.maximum(1.0, np.abs(lower))
        reached = np.where((upper <= Z) & (reached < highest), highest, reached)
        return np.where((lower >= Z) & (reached > lowest), lowest, reached)

    def best_scale(self, Y: np.ndarray, V: np.ndarray, limit: float) -> float:
        """Return the best t in closed form."""
        (c, center), (lower, upper) = self._quadratic(), self.domain(Y)
        low, high = interval_in_box(V, -upper, -lower, limit)
        slope, square = np.sum(Y * V) - np.sum(c * center * V), np.sum(c * V * V)
        if self.smooth:
            return float(np.clip(slope / square, low, high)) if square > 0 else 0.0
        best = high if slope > 0 else low
        return float(best) if slope != 0 and np.isfinite(best) else 0.0

    def fit_free(self, Y: np.ndarray, basis: np.ndarray, offset: np.ndarray | float = 0.0) -> np.ndarray:
        """Return the best coefficients, by semismooth Newton or a linear program."""
        lower, upper = self.domain(Y)
        if self.smooth:
            return fit_clipped(self._slope(Y, offset), lower, upper, 1.0 / self._quadratic()[0], basis)
        return fit_piecewise_linear(Y - offset, np.broadcast_to(lower, Y.shape), np.broadcast_to(upper, Y.shape), basis)

    def phi_cvxpy(self, Y: np.ndarray, Z: Any) -> Any:
        """Return the larger of the two lines, for losses that are not smooth."""
        import cvxpy as cp

        lower, upper = (np.broadcast_to(bound, Y.shape) for bound in self.slope_bounds(Y))
        return cp.maximum(cp.multiply(lower, Z - Y), cp.multiply(upper, Z - Y))


@dataclass(frozen=True, eq=False)
class Smoothed(Clipped):
    """The smooth function with the conjugate L*(S) + mu/2 |S - T|^2, the loss of a proximal method of multipliers.

    `loss` is not smooth; the centre T (n_samples, n_outputs) is near a subgradient of it. With Zt = Z + mu T the
    gradient is (Zt - prox_{mu L}(Zt)) / mu, and the value env_mu L(Zt) - mu/2 |T|^2, for the Moreau envelope
    (R. T. Rockafellar, 1976, Mathematics of Operations Research 1(2), 97-116).
    """

    loss: Loss
    T: np.ndarray
    mu: float

    def _quadratic(self):
        return self.mu, self.T

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


def largest_on_segment(slopes, low, high):
    """Return the t of [low, high], which contains 0, that maximises a concave function; 0 if there is none.

    `slopes(t)` returns the first and second derivatives, maybe infinite at the ends.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        low, high = (_finite_end(slopes, end) for end in (low, high))
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
            low, high = (t, high) if first > 0 else (low, t)
            step = -first / second
            following = t + step if low <= t + step <= high else 0.5 * (low + high)
            if abs(following - t) <= 4e-16 * abs(t):
                return following
            t = following
    return t


def _finite_end(slopes, end):
    """Return the end of a segment if it is finite, else a t beyond the maximum on that side, 0 if there is none."""
    if np.isfinite(end):
        return end
    for power in range(-300, 300, 3):
        t = np.copysign(10.0**power, end)
        if slopes(t)[0] * t <= 0:
            return t
    return 0.0
