"""Adversarial training: a convex program whose networks keep their loss within a radius of the data.

    minimise over u, v, beta   sum_k phi(m_k) + alpha sum_i (|u_i| + |v_i|),   m_k = y_k z_k - radius |g_k|_1
    subject to                 (2 D_i - I) X u_i >= radius |u_i|_1 (all rows), v_i alike

for labels y = +-1, z = sum_i D_i X (u_i - v_i) + F beta, g_k = sum_i d_ik (u_i - v_i) and phi(m) = (1 - m)_+ (hinge) or
log(1 + exp(-m)) (logistic). The cones say that no neuron changes its pattern when x_k moves by delta, |delta|_inf <=
radius; then the network is linear there, and m_k is its least margin. So the objective is the robust one of the
network recovered, and the optimum an upper bound of that of robust training, where patterns may change. It is no lower
bound of it: certificates are of this program, over the given patterns. A perturbation leaves the constant column of
penalised hidden biases alone: |.|_1 then goes over the other coordinates.

The dual has 0 <= q_k <= 1, H_k with |H_k|_inf <= radius q_k, and mu_b >= 0 for each block: with S_r(t) the soft
threshold at r of the perturbed coordinates,

    maximise sum_k -phi*(-q_k)   subject to   y'q = 0 (output bias),
    |S_{r_b}(s_b sum_k d_bk (q_k y_k x_k + H_k) + sum_k mu_bk (2 d_bk - 1) x_k)|_2 <= alpha,   r_b = radius sum_k mu_bk.

References
----------
Y. Bai, T. Gautam and S. Sojoudi (2022), Efficient global optimization of two-layer ReLU networks: quadratic-time
algorithms and adversarial training, SIAM Journal on Mathematics of Data Science 5(2).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog, minimize_scalar
from scipy.special import xlogy
from sklearn.exceptions import ConvergenceWarning

from ..model.certificate import Certificate, uncontradicted
from ..model.program import Program
from ..utils.quiet import solve_quietly, warn
from ..utils.validation import check_choice, check_positive
from .robustness import MARGIN_LOSSES, check_radius, margin_loss, robust_loss, robust_margin_bound

__all__ = ["AdversarialSolution", "robust_loss", "robust_margin_bound", "solve_adversarial"]

# Relative growth of the objective that dropping small blocks may cost.
SLACK = 1e-10


@dataclass(frozen=True, eq=False)
class AdversarialSolution:
    """A feasible point of the adversarial program; `recover` makes its network.

    Parameters
    ----------
    program : Program
        The program, whose own loss is not used.
    radius : float
        The radius of the perturbations in the l_inf norm, in units of X.
    W : ndarray of shape (n_blocks, n_hidden_features, 1)
        Blocks, each in its cone.
    beta : ndarray of shape (n_free, 1)
        Coefficients of the free columns.
    Z : ndarray of shape (n_samples, 1)
        Predictions.
    margins : ndarray of shape (n_samples,)
        The least margins m_k within the radius.
    certificate : Certificate
        The objective and a lower bound of the optimum of this program, scope "sampled".
    converged : bool
        Whether the relative gap is at most the tolerance asked for.
    status : str
        What the solver said.

    Examples
    --------
    >>> from convexnn.model import build_program
    >>> from convexnn.networks import recover
    >>> from convexnn.special.adversarial import solve_adversarial
    >>> program = build_program([[-1.0], [1.0], [2.0]], [1.0, -1.0, -1.0], 0.01, "all")
    >>> solution = solve_adversarial(program, 0.1)
    >>> round(float(solution.margins.min()), 3), recover(solution).activation
    (1.0, 'relu')
    """

    program: Program
    radius: float
    W: np.ndarray
    beta: np.ndarray
    Z: np.ndarray
    margins: np.ndarray
    certificate: Certificate
    converged: bool
    status: str


def solve_adversarial(
    program: Program, radius: float, loss: str = "hinge", *, tol: float = 1e-6
) -> AdversarialSolution:
    """Train a ReLU network against perturbations of the inputs, through cvxpy and CLARABEL.

    Parameters
    ----------
    program : Program
        Of activation "relu" without a skip or free hidden biases, labels -1 and 1, made by `build_program`. Its data,
        patterns and alpha are used, its loss is not.
    radius : float
        The radius of the perturbations in the l_inf norm, in units of X, at least 0.
    loss : {"hinge", "log_loss"}, default="hinge"
        The loss of the margins.
    tol : float, default=1e-6
        Compared with the relative gap of the certificate.

    Returns
    -------
    AdversarialSolution
        A point that is feasible up to rounding.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    RuntimeError
        If the solver fails.

    Warns
    -----
    ConvergenceWarning
        If the relative gap is above `tol`.

    Examples
    --------
    >>> from convexnn.model import build_program
    >>> from convexnn.special.adversarial import solve_adversarial
    >>> program = build_program([[-1.0], [1.0], [2.0]], [1.0, -1.0, -1.0], 0.01, "all")
    >>> plain, robust = (solve_adversarial(program, radius).certificate.objective for radius in (0.0, 0.3))
    >>> plain < robust
    True
    """
    check_choice("loss", loss, MARGIN_LOSSES)
    radius, tol = check_radius(radius), check_positive("tol", tol)
    _check_program(program)
    W, beta, duals, status = _solve(program, radius, loss)
    W = _pruned(program, radius, loss, _in_cones(program, radius, W), beta)
    Z = program.predict(W, beta)
    bound = _lower_bound(program, radius, loss, *duals)
    objective = _objective(program, radius, loss, W, beta)
    certificate = Certificate(objective, uncontradicted(objective, bound), "sampled")
    converged = certificate.gap <= tol
    if not converged:
        warn(
            f"CLARABEL ended with status {status!r} at a relative gap of {certificate.gap:.2e}, above {tol=:.2e}",
            ConvergenceWarning,
        )
    margins = _margins(program, radius, W, beta)
    return AdversarialSolution(program, radius, W, beta, Z, margins, certificate, converged, status)


def _check_program(program):
    architecture = program.architecture
    plain = architecture.hidden_norm == "l2" and architecture.patches is None and architecture.hidden_bias != "free"
    if architecture.activation != "relu" or architecture.skip or not plain:
        raise ValueError(
            'program must have activation "relu", hidden_norm "l2", hidden_bias "none" or "penalized", and neither a '
            f"skip nor patches; got {architecture!r}"
        )
    if program.Y.shape[1] != 1 or not np.isin(program.Y, (-1.0, 1.0)).all():
        raise ValueError("the targets of program must be one column of labels -1 and 1")
    program.require_patterns()


def _moved(program):
    """Return which hidden features a perturbation moves: all but the constant of hidden biases."""
    n_hidden = program.design.X.shape[1]
    return slice(0, n_hidden - (program.architecture.hidden_bias != "none"))


def _margins(program, radius, W, beta):
    design = program.design
    blocks = np.flatnonzero(W.any(axis=(1, 2)))
    patterns = design.arrangements.patterns(design.pattern_index(blocks)).astype(float)
    gradients = patterns.T @ (design.sign(blocks)[:, None] * W[blocks, :, 0])
    plain = (program.Y * program.predict(W, beta))[:, 0]
    return plain - radius * np.abs(gradients[:, _moved(program)]).sum(axis=1)


def _objective(program, radius, loss, W, beta):
    return float(
        margin_loss(loss, _margins(program, radius, W, beta)).sum() + program.alpha * np.linalg.norm(W, axis=1).sum()
    )


def _solve(program, radius, loss):
    """Return W, beta, the dual variables (q y, H, mu) and the status."""
    import cvxpy as cp

    design, y = program.design, program.Y[:, 0]
    X, moved, P = design.X, _moved(program), len(design.arrangements)
    patterns = design.arrangements.patterns().astype(float)
    blocks = [cp.Variable((P, X.shape[1])) for _ in design.signs]
    difference = blocks[0] - blocks[1]
    z, G, beta = cp.Variable(len(y)), cp.Variable((len(y), len(X[0, moved]))), cp.Variable(program.free.shape[1] or 1)
    fit = cp.sum(cp.multiply(patterns.T, X @ difference.T), axis=1)
    fit = z - fit - (program.free @ beta if program.free.shape[1] else 0.0) == 0
    gradient = G - patterns.T @ difference[:, moved] == 0
    sizes = [cp.Variable(P) for _ in blocks]
    cones, bounds = [], []
    for block, size in zip(blocks, sizes, strict=True):
        bounds.append(cp.norm(block[:, moved], 1, axis=1) <= size)
        reach = radius * np.ones((len(y), 1)) @ cp.reshape(size, (1, P), order="C")
        cones.append(cp.multiply(2.0 * patterns.T - 1.0, X @ block.T) - reach >= 0)
    loss_of = cp.pos if loss == "hinge" else cp.logistic
    shift = 1.0 if loss == "hinge" else 0.0
    losses = loss_of(shift - cp.multiply(y, z) + radius * cp.norm(G, 1, axis=1))
    norms = sum(cp.sum(cp.norm(block, 2, axis=1)) for block in blocks)
    extra = [beta == 0] if program.free.shape[1] == 0 else []
    problem = cp.Problem(cp.Minimize(cp.sum(losses) + program.alpha * norms), [fit, gradient, *cones, *bounds, *extra])
    solve_quietly(problem, solver="CLARABEL", tol_gap_rel=1e-10, tol_gap_abs=1e-12, tol_feas=1e-10)
    if z.value is None:
        raise RuntimeError(f"CLARABEL failed on the adversarial program: status {problem.status!r}")
    W = np.concatenate([block.value for block in blocks])[:, :, None]
    duals = fit.dual_value, gradient.dual_value, np.hstack([cone.dual_value for cone in cones]).T
    return W, beta.value[: program.free.shape[1], None], duals, problem.status


def _in_cones(program, radius, W):
    """Move blocks that are slightly outside their cones along a direction inside, until they are inside.

    The cones are convex: slack(u + t w) >= slack(u) + t slack(w). Blocks whose cones have no inside become zero.
    """
    design, moved = program.design, _moved(program)
    W = np.where(np.linalg.norm(W, axis=1, keepdims=True) > 1e-12 * np.linalg.norm(W, axis=1).max(), W, 0.0)
    for b in np.flatnonzero(W.any(axis=(1, 2))):
        pattern = design.arrangements.patterns([design.pattern_index(b)])[0]
        A = np.where(pattern, 1.0, -1.0)[:, None] * design.X
        if radius == 0:
            A = A[A.any(axis=1)]
        u = W[b, :, 0]
        least = np.min(A @ u, initial=np.inf) - radius * np.abs(u[moved]).sum()
        if least >= 0:
            continue
        inside, slack = _inside(A, radius, moved)
        step = -least * (1 + 1e-6) * inside / slack if slack > 0 else -u
        W[b, :, 0] = u + step if np.linalg.norm(step) < np.linalg.norm(u) else 0.0
    return W


def _inside(A, radius, moved):
    """Return w, |w|_inf <= 1, and the largest s with A w - radius |w_moved|_1 >= s, by a linear program."""
    n, d = A.shape
    m = moved.stop
    # variables w (d), bounds of |w_moved| (m) and s
    rows = np.hstack([-A, np.full((n, m), radius), np.ones((n, 1))])
    unit = np.eye(m, d)
    sizes = np.vstack([np.hstack([sign * unit, -np.eye(m), np.zeros((m, 1))]) for sign in (1.0, -1.0)])
    cost = np.append(np.zeros(d + m), -1.0)
    box = [(-1.0, 1.0)] * d + [(0.0, 1.0)] * m + [(None, None)]
    result = linprog(cost, np.vstack([rows, sizes]), np.zeros(n + 2 * m), bounds=box, method="highs")
    w = result.x[:d]
    return w, float(np.min(A @ w) - radius * np.abs(w[moved]).sum())


def _pruned(program, radius, loss, W, beta):
    """Drop the small blocks that the objective does not need."""
    norms = np.linalg.norm(W, axis=1, keepdims=True)
    limit = (1 + SLACK) * _objective(program, radius, loss, W, beta)
    for threshold in norms.max() * 10.0 ** -np.arange(13):
        kept = np.where(norms > threshold, W, 0.0)
        if _objective(program, radius, loss, kept, beta) <= limit:
            return kept
    return W


def _lower_bound(program, radius, loss, v, H, mu):
    """Return the dual value of the solver's dual variables, made feasible and scaled to the best multiple."""
    design, y, moved = program.design, program.Y[:, 0], _moved(program)
    q = np.clip(y * v, 0.0, 1.0)
    if program.free.shape[1]:  # y'q = 0: the heavier class is scaled down
        sums = {label: q[y == label].sum() for label in (-1.0, 1.0)}
        least = min(sums.values())
        factor = np.array([least / sums[label] if sums[label] > 0 else 0.0 for label in y])
        q, H = factor * q, factor[:, None] * H
    H = np.clip(H, -radius * q[:, None], radius * q[:, None])
    mu = np.maximum(mu, 0.0)
    rows = (q * y)[:, None] * design.X
    rows[:, moved] += H
    largest = 0.0
    for b in range(design.n_blocks):
        pattern = design.arrangements.patterns([design.pattern_index(b)])[0]
        total = design.sign(b) * (pattern @ rows) + (np.where(pattern, 1.0, -1.0) * mu[b]) @ design.X
        total[moved] = np.sign(total[moved]) * np.maximum(np.abs(total[moved]) - radius * mu[b].sum(), 0.0)
        largest = max(largest, float(np.linalg.norm(total)))
    sizes = np.linalg.norm(rows) + np.linalg.norm(design.X) * np.linalg.norm(mu, axis=1).max()
    largest += 8 * np.finfo(float).eps * sizes
    if not q.any():
        return 0.0
    limit = min(program.alpha / largest, 1.0 / q.max())
    if loss == "hinge":
        return float(limit * q.sum())

    def dual(t):
        p = np.clip(t * q, 0.0, 1.0)
        return float(-np.sum(xlogy(p, p) + xlogy(1.0 - p, 1.0 - p)))

    inner = minimize_scalar(lambda t: -dual(t), bounds=(0.0, limit), method="bounded", options={"xatol": 1e-12 * limit})
    return max(dual(limit), dual(inner.x))
