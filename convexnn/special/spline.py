"""One feature with free hidden biases: the network is a linear spline, and the program a lasso over knots at the data.

    f(x) = constant + sum_j right_j (x - t_j)_+ + sum_j left_j (t_j - x)_+ (+ slope x)
    minimise over right, left, constant (, slope)   L(f) + alpha sum_j (|right_j| + |left_j|)

A neuron a (w x + b)_+ with a free bias costs |a w| and is a multiple of (x - t)_+ or (t - x)_+, or with w = 0 a free
constant. So the dual is max -L*(-v) subject to 1'v = 0 (and x'v = 0 with a slope) and kappa(v) <= alpha, for

    kappa(v) = max over all real t of |h(t)| and |h(t) - v'x|,   h(t) = v'(x - t)_+.

Knots at data suffice: v'(t - x)_+ = h(t) - v'x as 1'v = 0, and h is linear between neighbouring data points, zero above
the largest, and h(t) = v'x below the smallest (again 1'v = 0). Its maxima are at data points, in both orientations,
so a v that is feasible for the knots at data is feasible for all, and lower bounds are proved over all networks.

With slopes s_0, ..., s_K between the knots and kinks k_i = s_i - s_{i-1} the least penalty of a spline is

    R(f) = max(sum_i |k_i|, (sum_i |k_i| + |s_0 + s_K|) / 2),   and sum_i |k_i| with a free slope.

For the squared loss an active-set method over knots is exact: on given signs the objective is quadratic in the values
at the knots, its matrix tridiagonal. Other losses go to cvxpy, as a sparse program over all knots, and those with
second derivatives are polished by Newton's method, whose steps are squared losses.

References
----------
P. Savarese, I. Evron, D. Soudry and N. Srebro (2019), How do infinite width bounded norm networks look in function
space?, COLT. C. L. Lawson and R. J. Hanson (1974), Solving least squares problems, chapter 23.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_consistent_length

from ..losses.piecewise import Loss, Squared
from ..model.certificate import Certificate, uncontradicted
from ..model.free_columns import FreeColumns, proved_value
from ..networks.network import Network
from ..utils.quiet import solve_quietly, warn
from ..utils.validation import check_array, check_flag, check_positive, check_size
from .spline_fit import fit_squared_outputs, responses, spline_objective, split_spline

__all__ = ["SplineSolution", "solve_spline"]

# Polishing of smooth losses: Newton steps, and the least second derivative beside the largest.
MAX_NEWTON, LEAST_CURVATURE = 20, 1e-6
# Objective and bound below this part of the loss of zero are both zero, up to rounding.
ROUNDING = (100 * np.finfo(float).eps) ** 2
# Relative growth of the objective that dropping small kinks of an interior-point solution may cost.
SLACK = 1e-11


@dataclass(frozen=True, eq=False)
class SplineSolution:
    """A linear spline and what is proved about it.

    Parameters
    ----------
    knots : ndarray of shape (n_knots,)
        The knots t_j, distinct values of x in rising order.
    right, left : ndarray of shape (n_knots, n_outputs)
        Coefficients of (x - t_j)_+ and of (t_j - x)_+.
    constant, slope : ndarray of shape (n_outputs,)
        The free constant, and the free slope: None without a skip.
    Z, V : ndarray of shape (n_samples, n_outputs)
        Predictions f(x), and the dual vector that proves the lower bound.
    certificate : Certificate
        Objective and lower bound, of scope "global".
    network : Network
        The network, hidden_bias "free"; its weight decay is the penalty.
    converged : bool
        Whether the relative gap is at most the tolerance asked for.
    status : str
        "solved", or how the solver ended.

    Examples
    --------
    >>> from convexnn.losses import Squared
    >>> from convexnn.special.spline import solve_spline
    >>> solution = solve_spline([0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 1.0, 2.0], 0.01, Squared())
    >>> solution.knots, solution.network.n_neurons
    (array([0., 1.]), 2)
    """

    knots: np.ndarray
    right: np.ndarray
    left: np.ndarray
    constant: np.ndarray
    slope: np.ndarray | None
    Z: np.ndarray
    V: np.ndarray
    certificate: Certificate
    network: Network
    converged: bool
    status: str


def solve_spline(
    x: ArrayLike, Y: ArrayLike, alpha: float, loss: Loss, skip: bool = False, tol: float = 1e-9
) -> SplineSolution:
    """Fit the network of one feature and free hidden biases that is optimal among all widths.

    Parameters
    ----------
    x : array-like of shape (n_samples,) or (n_samples, 1)
        The feature.
    Y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets, as the loss wants them. With several outputs the penalty is the sum of theirs.
    alpha : float
        Regularisation strength, above 0.
    loss : loss object
        The loss L, of `convexnn.losses`.
    skip : bool, default=False
        Whether there is a free linear skip.
    tol : float, default=1e-9
        Compared with the relative gap of the certificate.

    Returns
    -------
    SplineSolution
        The spline, its network and its certificate.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    RuntimeError
        If the solver of cvxpy fails (losses other than the squared one).

    Warns
    -----
    ConvergenceWarning
        If the relative gap is above `tol`.

    Examples
    --------
    >>> from convexnn.losses import Squared
    >>> from convexnn.special.spline import solve_spline
    >>> solution = solve_spline([0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 1.0, 2.0], 0.01, Squared())
    >>> solution.Z[:, 0].round(3), solution.certificate.scope
    (array([0.   , 0.005, 1.   , 1.995]), 'global')
    """
    x = check_array(np.reshape(x, (len(x), -1)), input_name="x")
    if x.shape[1] != 1:
        raise ValueError(f"x must have one feature, shape (n_samples,) or (n_samples, 1); got shape {x.shape}")
    Y = check_array(np.reshape(Y, (len(Y), -1)), input_name="Y")
    check_consistent_length(x, Y)
    alpha, skip, tol = check_size("alpha", alpha), check_flag("skip", skip), check_positive("tol", tol)
    x, unit = x[:, 0], np.ptp(x) or 1.0  # in x / unit the kinks are in units of 1 / unit, and so is alpha
    scaled, first, place = np.unique((x - x.min()) / unit, return_index=True, return_inverse=True)
    if len(scaled) == 1:
        basis = _free_basis(x, False)
        nodes, theta, candidates, status = [0], (basis @ loss.fit_free(Y, basis))[:1], [], "optimal"
    elif isinstance(loss, Squared):
        weights, candidates = loss.grad(Y, Y + 1.0), []  # the loss is 1/2 sum of weights (z - y)^2
        nodes, theta, status = fit_squared_outputs(scaled, place, Y, weights, alpha / unit, skip)
    else:
        nodes, theta, candidates, status = _fit_general(scaled, place, Y, loss, alpha / unit, skip)
    solution = _certified(x, Y, alpha, loss, skip, tol, x[first[nodes]], theta, candidates, status)
    if not solution.converged:
        message = f"the spline has a relative gap of {solution.certificate.gap:.2e}, above {tol=:.2e} ({status})"
        warn(message, ConvergenceWarning)
    return solution


def _kappa(x, V):
    """Return max over t of |v'(x - t)_+| and |v'(t - x)_+| for columns v with 1'v = 0, plus the rounding of sums."""
    order = np.argsort(x, kind="stable")
    h, q = responses(x[order], V[order].astype(np.longdouble))
    size = (x.max() - x.min()) * np.abs(V).sum(axis=0).max(initial=0.0)
    rounding = (4 * len(x) * np.finfo(np.longdouble).eps + 4 * np.finfo(float).eps) * size
    return float(max(np.abs(h).max(initial=0.0), np.abs(h - q).max(initial=0.0)) + rounding)


def _free_basis(x, skip):
    """Return orthonormal columns that span 1, and x with a skip."""
    columns = np.column_stack([np.ones(len(x)), (x - x.mean()) / (np.ptp(x) or 1.0)])
    return np.linalg.qr(columns[:, : 1 + (skip and np.ptp(x) > 0)])[0]


def _fit_general(x, place, Y, loss, alpha, skip):
    """Fit through cvxpy, with values and slopes between all knots as variables, and drop kinks that are rounding."""
    import cvxpy as cp

    theta, slopes, Z = (cp.Variable((size, Y.shape[1])) for size in (len(x), len(x) - 1, len(Y)))
    fit = Z - theta[place] == 0
    sizes = cp.sum(cp.abs(slopes[1:] - slopes[:-1]), axis=0) if len(x) > 2 else np.zeros(Y.shape[1])
    if not skip:
        sizes = cp.maximum(sizes, 0.5 * (sizes + cp.abs(slopes[0] + slopes[-1])))
    constraints = [fit, cp.multiply(np.diff(x)[:, None], slopes) == theta[1:] - theta[:-1]]
    problem = cp.Problem(cp.Minimize(loss.to_cvxpy(Y, Z) + alpha * cp.sum(sizes)), constraints)
    solve_quietly(problem, solver="CLARABEL", tol_gap_rel=1e-10, tol_gap_abs=1e-12, tol_feas=1e-10)
    if theta.value is None:
        raise RuntimeError(f"CLARABEL failed on the spline: status {problem.status!r}")
    args, nodes, kinks = (x, place, Y, loss, alpha, skip), np.arange(len(x)), np.diff(slopes.value, axis=0)
    value, kinks = spline_objective(*args, nodes, theta.value), np.abs(kinks).max(axis=1)
    for threshold in kinks.max(initial=0.0) * 10.0 ** -np.arange(2, 13):
        kept = np.concatenate([[0], 1 + np.flatnonzero(kinks > threshold), [len(x) - 1]])
        if spline_objective(*args, kept, theta.value[kept]) <= (1 + SLACK) * value:
            nodes = kept
            break
    values = theta.value[nodes]
    for _ in range(MAX_NEWTON if loss.smooth and loss.separable else 0):
        fits = np.column_stack([np.interp(x, x[nodes], column) for column in values.T])[place]
        H = np.maximum(loss.curvature(Y, fits), LEAST_CURVATURE * loss.smoothness)
        trial = fit_squared_outputs(x, place, fits - loss.grad(Y, fits) / H, H, alpha, skip)[:2]
        if not spline_objective(*args, *trial) < spline_objective(*args, nodes, values):
            break
        nodes, values = trial
    return nodes, values, [fit.dual_value], problem.status


def _certified(x, Y, alpha, loss, skip, tol, nodes, theta, candidates, status):
    """Turn the values at the nodes into coefficients and a network, and bound the optimum from below."""
    right, left, slope = map(np.array, zip(*[split_spline(nodes, values, skip) for values in theta.T], strict=True))
    used = (right != 0).any(axis=0) | (left != 0).any(axis=0)
    knots, constant = nodes[used], theta[0] - left @ (nodes - nodes[0]) - slope * nodes[0]
    right, left = right[:, used].T, left[:, used].T
    Z = np.column_stack([np.interp(x, nodes, values) for values in theta.T])
    basis, best = _free_basis(x, skip), (-np.inf, None)
    free = FreeColumns(np.column_stack([np.ones(len(x)), x])[:, : 1 + skip])
    steepness = np.ptp(x) * np.sqrt(len(x)) / alpha
    for V in [-loss.grad(Y, Z), *candidates]:
        V = loss.project_dual(Y, V, basis)
        norm = _kappa(x, V)
        V = loss.best_scale(Y, V, alpha / norm if norm > 0 else np.inf) * V
        best = max(best, (proved_value(loss, Y, free, V, steepness), V), key=lambda pair: pair[0])
    objective = loss.value(Y, Z) + alpha * float(np.abs(right).sum() + np.abs(left).sum())
    rounding = loss.value(Y, np.zeros_like(Y)) * ROUNDING
    bound = uncontradicted(objective, float(best[0]), rounding)
    certificate = Certificate(objective, bound, "global", rounding)
    slope = slope if skip else None
    network, converged = _network(knots, right, left, constant, slope), certificate.gap <= tol
    status = "solved" if converged else status
    return SplineSolution(knots, right, left, constant, slope, Z, best[1], certificate, network, converged, status)


def _network(knots, right, left, constant, slope):
    """Return the network of a spline, with weights w = +-sqrt|c| and a = sqrt|c| sign(c) for a coefficient c."""
    coefficients = np.concatenate([right, left])
    which, outputs = np.nonzero(coefficients)
    values = coefficients[which, outputs]
    w = np.sqrt(np.abs(values)) * np.where(which < len(knots), 1.0, -1.0)
    W2 = np.zeros((len(values), len(constant)))
    W2[np.arange(len(values)), outputs] = np.sign(values) * np.abs(w)
    slope = None if slope is None else slope[None]
    return Network(w[None], -w * np.tile(knots, 2)[which], W2, constant, skip=slope, hidden_bias="free")
