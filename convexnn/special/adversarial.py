"""Adversarial training: a convex program whose networks keep their loss within a radius of the data.

    minimise over u, v, beta   sum_k phi(m_k) + alpha sum_i (|u_i| + |v_i|),   m_k = y_k z_k - radius |g_k|_1
    subject to                 (2 D_i - I) X u_i >= radius |u_i|_1 (all rows), v_i alike

for labels y = +-1, z = sum_i D_i X (u_i - v_i) + F beta, g_k = sum_i d_ik (u_i - v_i) and phi(m) = (1 - m)_+ (hinge) or
log(1 + exp(-m)) (logistic). The cones say that no neuron changes its pattern when x_k moves by delta, |delta|_inf <=
radius; then the network is linear there, and m_k is its least margin. So the objective is the robust one of the
network recovered, and the optimum an upper bound of that of robust training, where patterns may change. It is no lower
bound of it: certificates are of this program, over the given patterns. A perturbation leaves the constant column of
penalised hidden biases alone: |.|_1 then goes over the other coordinates.

How much of its margins any network keeps is known from above by an ascent, `robust_loss`, and from below by
`robust_margin_bound`, in which a neuron that may change its pattern is replaced by a line below its term.

The dual has 0 <= q_k <= 1, H_k with |H_k|_inf <= radius q_k, and mu_b >= 0 for each block: with S_r(t) the soft
threshold at r of the perturbed coordinates,

    maximise sum_k -phi*(-q_k)   subject to   y'q = 0 (output bias),
    |S_{r_b}(s_b sum_k d_bk (q_k y_k x_k + H_k) + sum_k mu_bk (2 d_bk - 1) x_k)|_2 <= alpha,   r_b = radius sum_k mu_bk.

References
----------
Y. Bai, T. Gautam and S. Sojoudi (2022), Efficient global optimization of two-layer ReLU networks: quadratic-time
algorithms and adversarial training, SIAM Journal on Mathematics of Data Science 5(2). H. Zhang, T.-W. Weng, P.-Y. Chen,
C.-J. Hsieh and L. Daniel (2018), Efficient neural network robustness certification with general activation functions,
NeurIPS (the bound of margins).
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog
from sklearn.utils import check_random_state

from ..losses import make_loss
from ..model.certificate import Certificate, uncontradicted
from ..model.program import Program, Solution
from ..networks.minimal import prune
from ..networks.network import Network
from ..networks.recovery import recover
from ..solvers.reference import solve_cvxpy
from ..utils.validation import check_array, check_choice, check_count, check_numeric, check_positive
from .results import SpecialResult, conclude

__all__ = ["robust_loss", "robust_margin_bound", "solve_adversarial"]

MARGIN_LOSSES = ("hinge", "log_loss")


def solve_adversarial(program: Program, radius: float, loss: str = "hinge", *, tol: float = 1e-6) -> SpecialResult:
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
        Compared with the relative gap of the certificate; a ConvergenceWarning is given where it is above.

    Returns
    -------
    SpecialResult
        The network, whose least margins within the radius are its `robust_margin_bound`; a certificate of the program,
        scope "sampled"; and its `solution`, feasible up to rounding.

    Raises
    ------
    RuntimeError
        If the solver fails.

    Examples
    --------
    >>> from convexnn.model import build_program
    >>> from convexnn.special import solve_adversarial
    >>> program = build_program([[-1.0], [1.0], [2.0]], [1.0, -1.0, -1.0], 0.01, "all")
    >>> plain, robust = (solve_adversarial(program, radius).certificate.objective for radius in (0.0, 0.3))
    >>> plain < robust
    True
    """
    loss = make_loss(check_choice("loss", loss, MARGIN_LOSSES))
    radius, tol = check_positive("radius", radius, or_zero=True), check_positive("tol", tol)
    _check_program(program)
    W, beta, duals, status = _solve(program, radius, loss)
    W = _in_cones(program, radius, W)

    def objective(kept=True):
        margins, decay = _margins(program, radius, W * kept, beta), np.linalg.norm(W * kept, axis=1).sum()
        return loss.value(np.ones_like(margins), margins) + program.alpha * float(decay)

    W = W * prune(np.linalg.norm(W, axis=1, keepdims=True), objective, spare=False)
    bound = uncontradicted(objective(), _lower_bound(program, radius, loss, *duals))
    certificate = Certificate(objective(), bound, "sampled")
    solution = Solution(program, W, beta, program.predict(W, beta), certificate, 1, certificate.gap <= tol, status)
    return conclude(recover(solution), certificate, tol, status, solution=solution)


def robust_loss(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    radius: float,
    loss: str = "hinge",
    *,
    n_steps: int = 40,
    n_restarts: int = 4,
    random_state: int | np.random.RandomState | None = None,
) -> float:
    """Estimate the largest loss within a radius from below, by projected gradient ascent.

    Every input found is within the radius, so the true robust loss is at least what is returned.

    Parameters
    ----------
    network : Network
        A network of activation "relu" and one output.
    X : array-like of shape (n_samples, n_features)
        Inputs.
    y : array-like of shape (n_samples,) or (n_samples, 1)
        Labels -1 and 1.
    radius : float
        The radius of the perturbations in the l_inf norm, in units of X, at least 0.
    loss : {"hinge", "log_loss"}, default="hinge"
        The loss of the margins.
    n_steps : int, default=40
        Steps of an ascent, along the signs of the gradient.
    n_restarts : int, default=4
        Ascents from random points, besides the one from X.
    random_state : int, RandomState instance or None, default=None
        Source of the random points.

    Returns
    -------
    float
        The sum of losses at the worst inputs found.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import Network
    >>> from convexnn.special import robust_loss
    >>> net = Network(np.array([[1.0]]), np.zeros(1), np.array([[1.0]]), np.zeros(1))
    >>> round(robust_loss(net, [[1.0]], [1.0], 0.25, random_state=0), 9)  # 1 - f(x) at x = 0.75
    0.25
    """
    X, y, radius = _check_data(network, X, y, radius)
    loss = make_loss(check_choice("loss", loss, MARGIN_LOSSES))
    n_steps, n_restarts = check_count("n_steps", n_steps), check_count("n_restarts", n_restarts, least=0)
    rng = check_random_state(random_state)
    worst = y * network.predict(X)
    for restart in range(n_restarts + 1):
        point = X + (rng.uniform(-radius, radius, X.shape) if restart else 0.0)
        for step in range(n_steps):
            active = (point @ network.W1 + network.b1 > 0) * network.W2[:, 0]
            gradient = active @ network.W1.T + (0.0 if network.skip is None else network.skip[:, 0])
            # full steps reach the corners, where a linear margin is least; shorter ones settle between
            length = 2.0 * radius * (1.0 - step / n_steps)
            point = np.clip(point - length * y[:, None] * np.sign(gradient), X - radius, X + radius)
            worst = np.minimum(worst, y * network.predict(point))
    return loss.value(np.ones((len(y), 1)), worst[:, None])


def robust_margin_bound(network: Network, X: ArrayLike, y: ArrayLike, radius: float) -> np.ndarray:
    """Bound the margins y_k f(x) from below over |x - x_k|_inf <= radius.

    Each neuron is replaced by a line that is below its part in the margin: a neuron that does not change its pattern is
    one itself, so the bound is exact where none does, as at solutions of `solve_adversarial`.

    Parameters
    ----------
    network : Network
        A network of activation "relu" and one output.
    X : array-like of shape (n_samples, n_features)
        Inputs.
    y : array-like of shape (n_samples,) or (n_samples, 1)
        Labels -1 and 1.
    radius : float
        The radius of the perturbations in the l_inf norm, in units of X, at least 0.

    Returns
    -------
    ndarray of shape (n_samples,)
        Lower bounds of the least margins.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import Network
    >>> from convexnn.special import robust_margin_bound
    >>> net = Network(np.array([[1.0]]), np.zeros(1), np.array([[1.0]]), np.zeros(1))
    >>> robust_margin_bound(net, [[1.0]], [1.0], 0.25)
    array([0.75])
    """
    X, y, radius = _check_data(network, X, y, radius)
    T = X @ network.W1 + network.b1
    reach = radius * np.abs(network.W1).sum(axis=0)
    low, high = T - reach, T + reach
    effect = y[:, None] * network.W2[:, 0]
    across = (low < 0) & (high > 0)
    width = np.where(across, high - low, 1.0)
    # above: the chord from (low, 0) to (high, high); below: t or 0, whichever is closer
    above = np.where(across, high / width, low >= 0)
    slope = np.where(effect < 0, above, T > 0)
    offset = np.where(across & (effect < 0), -above * low, 0.0)
    gradient = (effect * slope) @ network.W1.T
    constant = np.sum(effect * (slope * T + offset), axis=1) + y * network.b2[0]
    if network.skip is not None:
        gradient = gradient + y[:, None] * network.skip[:, 0]
        constant = constant + y * (X @ network.skip[:, 0])
    return constant - radius * np.abs(gradient).sum(axis=1)


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
    """Return the least margins m_k of blocks that are in their cones, a column of them."""
    design = program.design
    blocks = np.flatnonzero(W.any(axis=(1, 2)))
    patterns = design.arrangements.patterns(design.pattern_index(blocks)).astype(float)
    gradients = patterns.T @ (design.sign(blocks)[:, None] * W[blocks, :, 0])
    plain = program.Y * program.predict(W, beta)
    return plain - radius * np.abs(gradients[:, _moved(program)]).sum(axis=1, keepdims=True)


def _solve(program, radius, loss):
    """Return W, beta, the dual variables (q y, H, mu) and the status."""
    import cvxpy as cp

    design, y = program.design, program.Y[:, 0]
    X, moved, P = design.X, _moved(program), len(design.arrangements)
    patterns = design.arrangements.patterns().astype(float)
    blocks = [cp.Variable((P, X.shape[1])) for _ in design.signs]
    difference = blocks[0] - blocks[1]
    z, G, beta = (cp.Variable(shape) for shape in (len(y), X[:, moved].shape, program.free.shape[1] or 1))
    fit = cp.sum(cp.multiply(patterns.T, X @ difference.T), axis=1)
    fit = z - fit - (program.free @ beta if program.free.shape[1] else 0.0) == 0
    gradient = G - patterns.T @ difference[:, moved] == 0
    sizes = [cp.Variable(P) for _ in blocks]
    cones, bounds = [], []
    for block, size in zip(blocks, sizes, strict=True):
        bounds.append(cp.norm(block[:, moved], 1, axis=1) <= size)
        reach = radius * np.ones((len(y), 1)) @ cp.reshape(size, (1, P), order="C")
        cones.append(cp.multiply(2.0 * patterns.T - 1.0, X @ block.T) - reach >= 0)
    least = loss.to_cvxpy(np.ones(len(y)), cp.multiply(y, z) - radius * cp.norm(G, 1, axis=1))
    norms = sum(cp.sum(cp.norm(block, 2, axis=1)) for block in blocks)
    problem = cp.Problem(cp.Minimize(least + program.alpha * norms), [fit, gradient, *cones, *bounds])
    status = solve_cvxpy(problem)
    W = np.concatenate([block.value for block in blocks])[:, :, None]
    duals = fit.dual_value, gradient.dual_value, np.hstack([cone.dual_value for cone in cones]).T
    beta = beta.value[:, None] if program.free.shape[1] else program.zero()[1]
    return W, beta, duals, status


def _in_cones(program, radius, W):
    """Move blocks that are slightly outside into their cones, along a w inside; to zero where there is none."""
    # the cones are convex: slack(u + t w) >= slack(u) + t slack(w)
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


def _lower_bound(program, radius, loss, v, H, mu):
    """Return the dual value of the solver's dual variables (q y, H, mu), made feasible, at their best multiple."""
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
    ones, q = np.ones((len(q), 1)), q[:, None]
    return float(-loss.conjugate(ones, -loss.best_scale(ones, q, program.alpha / largest) * q))


def _check_data(network, X, y, radius):
    if network.activation != "relu" or network.W2.shape[1] != 1:
        raise ValueError(
            f'network must have activation "relu" and one output; got {network.activation!r}, {network.W2.shape[1]}'
        )
    check_numeric("y", y)
    X, y = check_array(X, input_name="X"), np.ravel(y)
    if len(y) != len(X) or not np.isin(y, (-1.0, 1.0)).all():
        raise ValueError(f"y must have labels -1 and 1, one for each of the {len(X)} rows of X")
    return X, y.astype(np.float64), check_positive("radius", radius, or_zero=True)
