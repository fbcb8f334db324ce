"""Nonconvex training of two-layer networks, to compare the convex programs with.

    F(theta) = 1/2 |act(R H) a + C beta - y|^2 + alpha / 2 (|H|^2 + |a|^2)

R are the hidden rows (X, and a column of ones for a penalised bias), H (n_hidden_features, n_neurons) their weights, a the
output weights, C the free columns and beta their coefficients; theta is H, a and beta in one vector. F is
`Network.objective`. Gradients of minibatches B are those of the mean objective F / n: of |B| samples with the share
alpha |B| / n of the regularisation, divided by |B|. So learning rates have their usual meaning.

All methods start at H ~ N(0, 1 / n_features) without bias, |a_j| = |h_j| with random signs, and the best constant fit.

References
----------
D. P. Kingma and J. Ba (2015), Adam: a method for stochastic optimization, ICLR.
I. Loshchilov and F. Hutter (2017), SGDR: stochastic gradient descent with warm restarts, ICLR (the cosine decay).
R. H. Byrd, P. Lu, J. Nocedal and C. Zhu (1995), A limited memory algorithm for bound constrained optimization, SIAM
Journal on Scientific Computing 16(5), 1190-1208.
"""

from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from time import perf_counter

import numpy as np
from scipy.optimize import minimize
from sklearn.utils import check_array, check_consistent_length, check_random_state

from .architecture import Architecture
from .network import Network
from .validation import check_choice, check_count, check_positive

__all__ = ["Training", "train_adam", "train_lbfgs", "train_sgd"]

SCHEDULES = ("cosine", "constant")
SGD_RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
ADAM_RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
# Rates of a grid are tried for this part of the epochs.
TUNING_PART = 5
# Most records of a history.
MAX_RECORDS = 200


@dataclass(frozen=True, eq=False)
class Training:
    """A network trained by a nonconvex method, and what its training cost.

    Parameters
    ----------
    network : Network
        The best of the iterates whose objective was recorded.
    objective : float
        `network.objective(X, y, alpha)`.
    history : list of dict
        At most 200 records, evenly spaced, the first and the last iterate included: time (training seconds until then),
        objective, epoch (iteration for L-BFGS; 0 is the start).
    learning_rate : float or None
        The learning rate of the training, given or found; None for L-BFGS.
    seconds : float
        Training time (s), without that of the grid and that of evaluating the objective for the history.
    tuning_seconds : float
        Training time (s) of the runs that chose the learning rate, counted in the same way.
    diverged : bool
        Whether weights or objective became infinite or NaN, which ends a training early.

    Examples
    --------
    >>> from convexnn.baselines import train_adam
    >>> training = train_adam([[0.0], [1.0], [2.0]], [0.0, 0.0, 1.0], 0.1, n_epochs=20, random_state=0)
    >>> sorted(training.history[-1]), training.history[-1]["epoch"], training.diverged
    (['epoch', 'objective', 'time'], 20, False)
    """

    network: Network
    objective: float
    history: list
    learning_rate: float | None
    seconds: float
    tuning_seconds: float = 0.0
    diverged: bool = False


def train_sgd(
    X,
    y,
    alpha,
    *,
    architecture=None,
    n_neurons=100,
    gates=None,
    learning_rate="grid",
    schedule="cosine",
    momentum=0.9,
    batch_size=32,
    n_epochs=500,
    time_limit=None,
    random_state=None,
):
    """Train a network by minibatch gradient descent with momentum.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Inputs.
    y : array-like of shape (n_samples,) or (n_samples, 1)
        Targets.
    alpha : float
        Regularisation strength, above 0.
    architecture : Architecture or None, default=None
        The network; None is `Architecture()`.
    n_neurons : int, default=100
        Number of ReLU neurons; gated ReLU networks have one neuron a gate instead.
    gates : array-like of shape (n_gates, n_hidden_features) or None, default=None
        Fixed gates of a gated ReLU network, as `Arrangements.gates`: a hidden bias is one more feature.
    learning_rate : float or "grid", default="grid"
        Step length for gradients of F / n. "grid" tries five (SGD: 1e-3 to 1e-1, Adam: 3e-4 to 3e-2) for a fifth of
        the epochs and of `time_limit` each, from the same start, and trains with that of the best last objective.
    schedule : {"cosine", "constant"}, default="cosine"
        Whether the learning rate decays to 0 over the epochs (over `time_limit`, where that ends first) or stays.
    momentum : float, default=0.9
        At least 0, below 1.
    batch_size : int, default=32
        Samples in a minibatch; the samples are shuffled in each epoch.
    n_epochs : int, default=500
        Passes over the data.
    time_limit : float or None, default=None
        Seconds of training after which no epoch begins. With a limit, results depend on the speed of the machine.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights and of the shuffles.

    Returns
    -------
    Training
        The best network of the recorded epochs.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from convexnn.baselines import train_sgd
    >>> train_sgd([[0.0], [1.0], [2.0]], [0.0, 0.0, 1.0], 0.1, n_epochs=20, random_state=0).network.n_neurons
    100
    """
    if not isinstance(momentum, Real) or not 0 <= momentum < 1:
        raise ValueError(f"momentum must be a number of at least 0 and below 1; got {momentum!r}")
    options = _Options(learning_rate, schedule, batch_size, n_epochs, time_limit)
    problem = _check_problem(X, y, alpha, architecture, n_neurons, gates)
    return _train(problem, partial(_Momentum, momentum), SGD_RATES, options, random_state)


def train_adam(
    X,
    y,
    alpha,
    *,
    architecture=None,
    n_neurons=100,
    gates=None,
    learning_rate="grid",
    schedule="cosine",
    batch_size=32,
    n_epochs=500,
    time_limit=None,
    random_state=None,
):
    """Train a network by Adam with the constants of its paper, beta = (0.9, 0.999) and eps = 1e-8.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Inputs.
    y : array-like of shape (n_samples,) or (n_samples, 1)
        Targets.
    alpha : float
        Regularisation strength, above 0; its gradient goes through Adam, as the objective asks (not AdamW).
    architecture, n_neurons, gates : optional
        The network, as in `train_sgd`.
    learning_rate, schedule, batch_size, n_epochs, time_limit, random_state : optional
        As in `train_sgd`.

    Returns
    -------
    Training
        The best network of the recorded epochs.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from convexnn.baselines import train_adam
    >>> train_adam([[0.0], [1.0]], [0.0, 1.0], 0.1, learning_rate=0.01, n_epochs=20, random_state=0).learning_rate
    0.01
    """
    options = _Options(learning_rate, schedule, batch_size, n_epochs, time_limit)
    problem = _check_problem(X, y, alpha, architecture, n_neurons, gates)
    return _train(problem, _Adam, ADAM_RATES, options, random_state)


def train_lbfgs(X, y, alpha, *, architecture=None, n_neurons=100, gates=None, max_iter=2000, random_state=None):
    """Train a network by L-BFGS on the full objective (scipy, 20 corrections, ftol 1e-15, gtol 1e-10).

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Inputs.
    y : array-like of shape (n_samples,) or (n_samples, 1)
        Targets.
    alpha : float
        Regularisation strength, above 0.
    architecture, n_neurons, gates : optional
        The network, as in `train_sgd`.
    max_iter : int, default=2000
        Most iterations.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights.

    Returns
    -------
    Training
        The last network, or the best recorded one should it not be finite.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from convexnn.baselines import train_lbfgs
    >>> round(train_lbfgs([[0.0], [1.0], [2.0]], [0.0, 0.0, 1.0], 0.1, random_state=0).objective, 6)
    0.13
    """
    max_iter = check_count("max_iter", max_iter)
    problem = _check_problem(X, y, alpha, architecture, n_neurons, gates)
    theta = _initial(problem, check_random_state(random_state))
    run = _Run()
    # 20 evaluations is the most that a line search makes, so that max_iter is the only limit.
    limits = {"maxiter": max_iter, "maxfun": 21 * max_iter, "ftol": 1e-15, "gtol": 1e-10, "maxcor": 20}
    begin = perf_counter()

    def callback(intermediate_result):
        run.seconds = perf_counter() - begin
        run.record(len(run.history), intermediate_result.x, intermediate_result.fun)

    with np.errstate(over="ignore", invalid="ignore"):
        run.record(0, theta, problem.objective(theta))
        begin = perf_counter()
        minimize(problem.value_and_grad, theta, method="L-BFGS-B", jac=True, options=limits, callback=callback)
        run.seconds = perf_counter() - begin
    kept = _spaced(len(run.history) - 1)
    run.history = [record for k, record in enumerate(run.history) if k in kept]
    return run.training(problem)


@dataclass(frozen=True)
class _Options:
    """The options that methods on minibatches share, checked."""

    learning_rate: float | str
    schedule: str
    batch_size: int
    n_epochs: int
    time_limit: float | None

    def __post_init__(self):
        if isinstance(self.learning_rate, str):
            check_choice("learning_rate", self.learning_rate, ("grid",))
        else:
            check_positive("learning_rate", self.learning_rate)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_count("batch_size", self.batch_size)
        check_count("n_epochs", self.n_epochs)
        if self.time_limit is not None:
            check_positive("time_limit", self.time_limit)

    def for_tuning(self):
        """Return the options of a run of the grid: a fifth of the work."""
        limit = None if self.time_limit is None else self.time_limit / TUNING_PART
        return replace(self, n_epochs=-(-self.n_epochs // TUNING_PART), time_limit=limit)


@dataclass(frozen=True, eq=False)
class _Problem:
    """The data of F, and how theta is laid out: H row by row, then a, then beta."""

    X: np.ndarray
    y: np.ndarray
    alpha: float
    architecture: Architecture
    gates: np.ndarray | None
    n_neurons: int
    rows: np.ndarray
    free: np.ndarray
    mask: np.ndarray | None

    def value_and_grad(self, theta):
        """Return F(theta) and its gradient."""
        return _objective_and_grad(theta, self.rows, self.free, self.mask, self.y, self.alpha, self.n_neurons)

    def objective(self, theta):
        """Return F(theta)."""
        return self.network(theta).objective(self.X, self.y, self.alpha)

    def network(self, theta):
        """Return the network with weights theta."""
        hidden, a, beta = _split(theta, self.rows.shape[1], self.n_neurons)
        n_features, architecture = self.X.shape[1], self.architecture
        bias = np.zeros(self.n_neurons) if architecture.hidden_bias == "none" else hidden[n_features].copy()
        b2, skip = architecture.split_free(beta[:, None], n_features)
        W1, W2 = hidden[:n_features].copy(), a[:, None].copy()
        return Network(W1, bias, W2, b2, architecture.activation, skip, architecture.hidden_bias, self.gates)


class _Run:
    """The records of a training, and the best of the weights recorded."""

    def __init__(self):
        self.history, self.seconds, self.diverged = [], 0.0, False
        self.theta, self.best = None, np.inf

    def record(self, epoch, theta, objective):
        """Add a record of finite weights; with an objective that is not finite the run has diverged."""
        if self.theta is None or objective < self.best:
            self.theta, self.best = theta.copy(), objective
        self.diverged = not np.isfinite(objective)
        if not self.diverged:
            self.history.append({"time": self.seconds, "objective": float(objective), "epoch": epoch})

    @property
    def last(self):
        """The last objective, inf if the run has diverged."""
        return np.inf if self.diverged else self.history[-1]["objective"]

    def training(self, problem, learning_rate=None, tuning_seconds=0.0):
        """Return the result of the run."""
        network = problem.network(self.theta)
        with np.errstate(over="ignore", invalid="ignore"):
            objective = network.objective(problem.X, problem.y, problem.alpha)
        return Training(
            network, objective, self.history, learning_rate, self.seconds, tuning_seconds, bool(self.diverged)
        )


class _Momentum:
    """The step v = momentum v + grad, theta = theta - rate v."""

    def __init__(self, momentum, size):
        self.momentum, self.velocity = momentum, np.zeros(size)

    def step(self, theta, grad, rate):
        """Change theta in place; grad is overwritten."""
        self.velocity *= self.momentum
        self.velocity += grad
        theta -= np.multiply(self.velocity, rate, out=grad)


class _Adam:
    """The step of Adam: algorithm 1 of Kingma and Ba, in the order of the remark that ends its section 2."""

    def __init__(self, size):
        self.mean, self.square, self.t = np.zeros(size), np.zeros(size), 0

    def step(self, theta, grad, rate):
        """Change theta in place; grad is overwritten."""
        self.t += 1
        beta1, beta2, eps = 0.9, 0.999, 1e-8
        self.mean *= beta1
        self.mean += (1 - beta1) * grad
        grad *= grad
        grad *= 1 - beta2
        self.square *= beta2
        self.square += grad
        correction = np.sqrt(1 - beta2**self.t)
        scale = np.sqrt(self.square, out=grad)
        scale += eps * correction
        np.divide(self.mean, scale, out=scale)
        scale *= rate * correction / (1 - beta1**self.t)
        theta -= scale


def _check_problem(X, y, alpha, architecture, n_neurons, gates):
    """Check the arguments that all methods share."""
    architecture = Architecture() if architecture is None else architecture
    if not isinstance(architecture, Architecture):
        raise TypeError(f"architecture must be an Architecture or None; got {architecture!r}")
    alpha, n_neurons = check_positive("alpha", alpha), check_count("n_neurons", n_neurons)
    X = check_array(X, dtype=np.float64, order="C", input_name="X")
    y = check_array(y, dtype=np.float64, input_name="y", ensure_2d=False)
    check_consistent_length(X, y)
    if y.size != len(X):
        raise ValueError(f"y must have one output, shape (n_samples,) or (n_samples, 1); got shape {y.shape}")
    if (architecture.activation == "gated_relu") != (gates is not None):
        raise ValueError(
            f'gates must be given for activation "gated_relu", and for no other; got {type(gates).__name__} '
            f"for {architecture.activation!r}"
        )
    rows, mask, hyperplanes = np.ascontiguousarray(architecture.hidden_rows(X)), None, None
    if gates is not None:
        gates = check_array(gates, dtype=np.float64, input_name="gates")
        if gates.shape[1] != rows.shape[1]:
            raise ValueError(
                f"gates must have one column a feature of the hidden layer, shape (n_gates, {rows.shape[1]}); "
                f"got shape {gates.shape}"
            )
        n_neurons = len(gates)
        hyperplanes = np.zeros((X.shape[1] + 1, n_neurons))
        hyperplanes[: rows.shape[1]] = gates.T
        # The comparison of Network.hidden, so that samples on a hyperplane are on the same side of it.
        mask = X @ hyperplanes[:-1] + hyperplanes[-1] >= 0
    free = np.ascontiguousarray(architecture.free_columns(X))
    return _Problem(X, y.ravel(), alpha, architecture, hyperplanes, n_neurons, rows, free, mask)


def _initial(problem, rng):
    """Draw the weights that a training starts from."""
    n_features = problem.X.shape[1]
    theta = np.zeros((problem.rows.shape[1] + 1) * problem.n_neurons + problem.free.shape[1])
    hidden, a, beta = _split(theta, problem.rows.shape[1], problem.n_neurons)
    hidden[:n_features] = rng.standard_normal((n_features, problem.n_neurons)) / np.sqrt(n_features)
    a[:] = np.linalg.norm(hidden, axis=0) * rng.choice([-1.0, 1.0], problem.n_neurons)
    if problem.architecture.fit_intercept:
        beta[0] = problem.y.mean()
    return theta


def _split(theta, n_hidden_features, n_neurons):
    """Return theta as views: H (n_hidden_features, n_neurons), a and beta."""
    first = n_hidden_features * n_neurons
    return (
        theta[:first].reshape(n_hidden_features, n_neurons),
        theta[first : first + n_neurons],
        theta[first + n_neurons :],
    )


def _objective_and_grad(theta, rows, free, mask, y, alpha, n_neurons):
    """Return F and its gradient on samples; mask None is a ReLU, else the neurons that are on."""
    hidden, a, beta = _split(theta, rows.shape[1], n_neurons)
    active = rows @ hidden
    if mask is None:
        np.maximum(active, 0.0, out=active)
        mask = active > 0
    else:
        active *= mask
    residual = active @ a
    residual += free @ beta
    residual -= y
    grad = alpha * theta
    grad[theta.size - beta.size :] = 0.0
    value = 0.5 * (residual @ residual + theta @ grad)
    grad_hidden, grad_a, grad_beta = _split(grad, rows.shape[1], n_neurons)
    grad_a += residual @ active
    grad_beta += residual @ free
    # d f / d H = R' (act'(R H) a'), in the memory of the activations.
    back = np.multiply(residual[:, None], a, out=active)
    back *= mask
    grad_hidden += rows.T @ back
    return value, grad


def _train(problem, update, rates, options, random_state):
    """Choose the learning rate if asked to, then train."""
    rng = check_random_state(random_state)
    start = _initial(problem, rng)
    seed = rng.randint(np.iinfo(np.int32).max)
    rate, tuning_seconds = options.learning_rate, 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        if rate == "grid":
            # Only the start and the end are recorded: the last objective is what counts.
            runs = [_descend(problem, start, seed, update, r, options.for_tuning(), 2) for r in rates]
            rate = rates[int(np.argmin([run.last for run in runs]))]
            tuning_seconds = sum(run.seconds for run in runs)
        run = _descend(problem, start, seed, update, rate, options, MAX_RECORDS)
    return run.training(problem, float(rate), tuning_seconds)


def _descend(problem, start, seed, update, rate, options, n_records):
    """Run epochs of minibatch steps from a start."""
    rng, theta, update, run = np.random.default_rng(seed), start.copy(), update(size=len(start)), _Run()
    n, size, n_epochs = len(problem.y), min(options.batch_size, len(problem.y)), options.n_epochs
    limit, wanted = options.time_limit or np.inf, _spaced(n_epochs, n_records)
    run.record(0, theta, problem.objective(theta))
    for epoch in range(n_epochs):
        begin = perf_counter()
        order = rng.permutation(n)
        rows, free, y = problem.rows[order], problem.free[order], problem.y[order]
        mask = None if problem.mask is None else problem.mask[order]
        for first in range(0, n, size):
            batch = slice(first, min(first + size, n))
            part = batch.stop - first
            on = None if mask is None else mask[batch]
            _, grad = _objective_and_grad(
                theta, rows[batch], free[batch], on, y[batch], problem.alpha * part / n, problem.n_neurons
            )
            grad /= part
            progress = max((epoch + first / n) / n_epochs, run.seconds / limit)
            decay = 0.5 * (1 + np.cos(np.pi * progress)) if options.schedule == "cosine" else 1.0
            update.step(theta, grad, rate * decay)
        run.seconds += perf_counter() - begin
        run.diverged = not np.isfinite(theta).all()
        last = epoch + 1 == n_epochs or run.seconds >= limit
        if not run.diverged and (last or epoch + 1 in wanted):
            run.record(epoch + 1, theta, problem.objective(theta))
        if run.diverged or last:
            break
    return run


def _spaced(last, n_records=MAX_RECORDS):
    """Return at most n_records evenly spaced integers from 0 to last."""
    return set(np.linspace(0, last, min(last + 1, n_records)).round().astype(int).tolist())
