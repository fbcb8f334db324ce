"""Networks with a polynomial activation of degree two, as a semidefinite program.

    f(x) = sum_j act(x.w_j) a_j + b_0,   act(t) = a t^2 + b t + c,   |w_j| = 1
    minimise over all widths   L(f(X)) + alpha sum_j |a_j|_1

A neuron (w, a > 0) is the matrix p p' of p = sqrt(a) (w, 1). With M_k = [[a x_k x_k', b x_k / 2], [b x_k' / 2, c]] its
output on sample k is p' M_k p. Sums of such matrices are the positive semidefinite Z = [[Z1, Z2], [Z2', Z4]] with
tr Z1 = Z4: by the rank-one decomposition of Sturm and Zhang every such Z is a sum of p p' with |u| = |t|, p = (u, t).
So for each output the network is two matrices, of positive and negative neurons, and the program is

    minimise   L(Z_fit) + alpha (Z4 + Z4'),   Z_fit,k = <M_k, Z - Z'> + b_0,   tr Z1 = Z4,  tr Z1' = Z4'.

Where b = 0 the Z2 have no effect and Z1, Z1' alone are kept, with a x_k x_k' + c I for M_k: for the quadratic
activation the penalty is the nuclear norm of the symmetric matrix Z1 - Z1'. The dual is max -L*(-V) subject to 1'V = 0
(of b_0) and kappa(V) <= alpha, kappa(v) = max over |w| = 1 of |v'act(X w)|. With S = a X' diag(v) X, q = b X'v / 2 and
s = c 1'v,

    max over |w| = 1 of w'Sw + 2 q'w + s = min over m > lambda_max(S) of m + s + q'(m I - S)^-1 q,

and every m on the right gives an upper bound, so that lower bounds of the program are proved over all networks.

References
----------
B. Bartan and M. Pilanci (2021), Neural spectrahedra and semidefinite lifts, arXiv:2101.02429. J. F. Sturm and S. Zhang
(2003), On cones of nonnegative quadratic functions, Mathematics of Operations Research 28(2), 246-267.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from ..losses.base import Loss
from ..model.summary import Status
from ..networks.minimal import prune
from ..networks.network import PolynomialNetwork
from ..solvers.reference import solve_cvxpy
from ..utils.deadline import within
from ..utils.validation import check_flag, check_positive, shown
from .results import LossDual, SpecialResult, check_problem, conclude

__all__ = ["polynomial_kappa", "rank_one_split", "solve_polynomial"]


def solve_polynomial(
    X: ArrayLike,
    Y: ArrayLike,
    alpha: float,
    loss: Loss,
    coefficients: tuple[float, float, float] = (0.09, 0.5, 0.47),
    fit_intercept: bool = True,
    tol: float = 1e-6,
    time_limit: float | None = None,
) -> SpecialResult:
    """Train a network of polynomial activation to global optimality, through cvxpy and CLARABEL.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Inputs; the matrices have (n_features + 1)^2 entries.
    Y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets, as the loss wants them. With several outputs each has neurons of its own.
    alpha : float
        Regularisation strength, above 0.
    loss : object
        The loss L, of `convexnn.losses`.
    coefficients : tuple of float, default=(0.09, 0.5, 0.47)
        (a, b, c) of act(t) = a t^2 + b t + c; the default resembles the ReLU. (1, 0, 0) is the quadratic activation.
    fit_intercept : bool, default=True
        Whether there is a free output bias b_0.
    tol : float, default=1e-6
        Compared with the relative gap of the certificate; a ConvergenceWarning is given where it is above.
    time_limit : float or None, default=None
        Limit in seconds.

    Returns
    -------
    SpecialResult
        A `PolynomialNetwork`, without neurons where that is better, and a certificate over all networks.

    Raises
    ------
    RuntimeError
        If the solver fails.

    Examples
    --------
    >>> from convexnn.losses import Squared
    >>> from convexnn.special import solve_polynomial
    >>> solution = solve_polynomial([[1.0, 2.0]], [3.0], 1.0, Squared(), (1.0, 0.0, 0.0), fit_intercept=False)
    >>> round(solution.certificate.objective, 6)  # 1/2 (5 a - 3)^2 + a at a = 14 / 25
    0.58
    """
    X, Y, alpha, tol = check_problem(X, Y, alpha, tol)
    free = np.ones((len(Y), int(check_flag("fit_intercept", fit_intercept))))
    time_limit = None if time_limit is None else check_positive("time_limit", time_limit)
    coefficients = _check_coefficients(coefficients)

    def kappa(V):
        return polynomial_kappa(X, V, coefficients)

    steepness = np.linalg.norm(_largest_responses(X, coefficients))
    dual = LossDual(loss, Y, alpha, free, free / np.sqrt(len(Y)), kappa, float(steepness))
    best = _network(np.zeros((X.shape[1], 0)), np.zeros((0, Y.shape[1])), coefficients, X, dual)
    candidates, status = [-loss.grad(Y, best.outputs(X))], Status.NO_PROGRESS
    certificate, V = dual.certify(best.objective(X, Y, alpha, loss), candidates)
    if certificate.gap > min(tol, 1e-12):
        trained, own, status = within(time_limit, _solve, X, dual, coefficients)
        if trained is not None:
            candidates += [-loss.grad(Y, trained.outputs(X)), own]
            best = min(best, trained, key=lambda network: network.objective(X, Y, alpha, loss))
            certificate, V = dual.certify(best.objective(X, Y, alpha, loss), candidates)
    return conclude(best, certificate, tol, status, dual=V)


def polynomial_kappa(X, V, coefficients):
    """Bound max |v'act(X w)| over |w| = 1 and columns v of V, by the trust-region dual, rounding errors included."""
    (a, b, c), eps, largest, most = coefficients, np.finfo(float).eps, 0.0, _largest_responses(X, coefficients)
    for v in V.T:
        values, vectors = np.linalg.eigh(a * (X.T @ (v[:, None] * X)))
        q = 0.5 * b * (vectors.T @ (X.T @ v))
        s = c * v.sum()
        rounding = 8 * (len(values) + np.sqrt(len(X))) * eps * (np.abs(v) @ most)
        largest = max(largest, rounding + _largest_value(values, q) + s, rounding + _largest_value(-values, q) - s)
    return float(largest)


def rank_one_split(Z):
    """Return unit columns W (d, n_neurons) and sizes > 0 with Z = sum_j sizes_j (w_j, 1) (w_j, 1)', where tr Z1 = Z4.

    Start from the eigenvectors p = (u, t). While one has g = |u|^2 - t^2 above zero and another below, the pair is
    rotated, which keeps the sum of their p p', so that one g becomes zero (Sturm and Zhang, 2003, proposition 3).
    """
    values, vectors = np.linalg.eigh(Z)
    P = (vectors * np.sqrt(np.maximum(values, 0.0)))[:, values > len(Z) * np.finfo(float).eps * max(values[-1], 0.0)]
    forms = np.sum(P[:-1] ** 2, axis=0) - P[-1] ** 2
    for _ in range(P.shape[1] - 1):
        i, j = np.argmax(forms), np.argmin(forms)
        if not forms[i] > 0 > forms[j]:
            break
        cross = P[:-1, i] @ P[:-1, j] - P[-1, i] * P[-1, j]
        # g(p_i + tau p_j) = 0: both roots are real, and the one of smaller size is computed without cancellation
        root = np.sqrt(cross**2 - forms[i] * forms[j])
        tau = -forms[i] / (cross + np.copysign(root, cross))
        length = np.hypot(1.0, tau)
        rest = forms[i] + forms[j]  # rotations keep the sum
        P[:, [i, j]] = P[:, [i, j]] @ np.array([[1.0, -tau], [tau, 1.0]]) / length
        forms[i], forms[j] = 0.0, rest
    lengths, t = np.linalg.norm(P[:-1], axis=0), P[-1]
    kept = lengths * np.abs(t) > 0
    return P[:-1, kept] / (lengths[kept] * np.sign(t[kept])), lengths[kept] * np.abs(t[kept])


def _largest_value(values, q):
    """Return an upper bound of max over |w| = 1 of sum values w^2 + 2 q'w: least of m + sum q^2 / (m - values)."""
    top, size = values.max(), np.linalg.norm(q)
    if size == 0:
        return top
    margin = np.finfo(float).eps * (np.abs(values).max() + size)

    def slope(m):
        return 1.0 - np.sum((q / (m - values)) ** 2)

    low, high = top + margin, top + size + 2 * margin
    m = low if slope(low) >= 0 else brentq(slope, low, high, xtol=margin)
    return m + np.sum(q**2 / (m - values))


def _check_coefficients(coefficients):
    values = np.asarray(coefficients, dtype=np.float64)
    if values.shape != (3,) or not np.isfinite(values).all() or not values.any():
        raise ValueError(
            f"coefficients must be three finite numbers (a, b, c), not all zero; got {shown(coefficients)}"
        )
    return tuple(values.tolist())


def _largest_responses(X, coefficients):
    """Return a bound of |act(x.w)| over |w| = 1 for each sample."""
    (a, b, c), lengths = np.abs(coefficients), np.linalg.norm(X, axis=1)
    return (a * lengths + b) * lengths + c


def _solve(X, dual, coefficients):
    """Solve the semidefinite program; return the network (None if there is no point), a dual vector and the status."""
    import cvxpy as cp

    (a, b, c), Y, n_outputs = coefficients, dual.Y, dual.Y.shape[1]
    rows = X if b == 0 else np.column_stack([X, np.ones(len(X))])
    M = rows[:, :, None] * rows[:, None, :]
    if b == 0:
        M = a * M + c * np.eye(X.shape[1])
    else:
        M *= np.block(
            [[np.full((X.shape[1],) * 2, a), np.full((X.shape[1], 1), b / 2)], [np.full(X.shape[1], b / 2), c]]
        )
    unit = np.sqrt(np.mean(np.sum(M**2, axis=(1, 2)))) or 1.0
    M = M.reshape(len(X), -1) / unit
    blocks = [[cp.Variable((rows.shape[1],) * 2, PSD=True) for _ in range(n_outputs)] for _ in "+-"]
    Z, beta = cp.Variable(Y.shape), cp.Variable((1, n_outputs))
    fits = [M @ cp.vec(plus - minus, order="C") for plus, minus in zip(*blocks, strict=True)]
    fit = Z - cp.vstack(fits).T - (dual.basis @ beta if dual.basis.shape[1] else 0.0) == 0
    every = [block for sign in blocks for block in sign]
    ties = [] if b == 0 else [cp.trace(block) == 2 * block[-1, -1] for block in every]
    penalty = sum(cp.trace(block) if b == 0 else block[-1, -1] for block in every)
    problem = cp.Problem(cp.Minimize(dual.loss.to_cvxpy(Y, Z) + dual.alpha / unit * penalty), [fit, *ties])
    status = solve_cvxpy(problem)
    if Z.value is None:
        return None, None, status
    pairs = [_neurons(plus.value / unit, minus.value / unit, b == 0) for plus, minus in zip(*blocks, strict=True)]
    return _assemble(pairs, coefficients, X, dual), fit.dual_value, status


def _neurons(plus, minus, symmetric):
    """Return weights (d, m) and output weights (m,) of the neurons of one output."""
    if symmetric:
        values, vectors = np.linalg.eigh(plus - minus)
        return vectors, values
    parts = [rank_one_split(_balanced(Z)) for Z in (plus, minus)]
    return np.hstack([W for W, _ in parts]), np.concatenate([parts[0][1], -parts[1][1]])


def _balanced(Z):
    """Return the nearest positive semidefinite matrix, scaled to tr Z1 = Z4 by a congruence, which keeps its rank."""
    values, vectors = np.linalg.eigh(0.5 * (Z + Z.T))
    Z = (vectors * np.maximum(values, 0.0)) @ vectors.T
    ratio = np.trace(Z[:-1, :-1]) / Z[-1, -1] if Z[-1, -1] > 0 else 0.0
    if not 0 < ratio < np.inf:
        return np.zeros_like(Z)
    scale = np.append(np.full(len(Z) - 1, ratio**-0.25), ratio**0.25)
    return scale[:, None] * Z * scale


def _assemble(pairs, coefficients, X, dual):
    """Put the neurons of all outputs into one network, without those that the objective does not need."""
    W1, sizes = np.hstack([W for W, _ in pairs]), np.concatenate([sizes for _, sizes in pairs])
    W2 = np.zeros((len(sizes), len(pairs)))
    W2[np.arange(len(sizes)), np.repeat(np.arange(len(pairs)), [len(own) for _, own in pairs])] = sizes

    def network(kept):
        return _network(W1[:, kept], W2[kept], coefficients, X, dual)

    return network(prune(np.abs(sizes), lambda kept: network(kept).objective(X, dual.Y, dual.alpha, dual.loss)))


def _network(W1, W2, coefficients, X, dual):
    """Return the network of these weights with the best output bias, if it has one."""
    bare = PolynomialNetwork(W1, W2, np.zeros(W2.shape[1]), coefficients)
    if dual.basis.shape[1] == 0:
        return bare
    free = dual.basis @ dual.loss.fit_free(dual.Y, dual.basis, bare.outputs(X))
    return PolynomialNetwork(W1, W2, free[0], coefficients)
