"""Nonconvex training of two-layer networks, to compare the convex programs with.

    F(theta) = 1/2 |act(R W') a + C beta - y|^2 + alpha / 2 (|W|^2 + |a|^2)

is `Network.objective`. R are the hidden rows (X, and a column of ones for a penalised bias), W (n_neurons,
n_hidden_features) their weights, a the output weights, C the free columns and beta their coefficients; theta is
(W, a, beta) in one vector. The gradient of a minibatch B is that of the mean objective F / n: of the loss on B and the
fraction |B| / n of the weight decay, divided by |B|. So learning rates have their usual meaning, for standardised X
and y.

All methods start at W ~ N(0, 1 / n_features) without biases, |a_j| = |w_j| with random signs, and beta = mean(y). W and
a are then divided by n_neurons^(1/4), so that the outputs of a wide network do not drown y at the start.

References
----------
D. P. Kingma and J. Ba (2015), Adam: a method for stochastic optimization, ICLR.
I. Loshchilov and F. Hutter (2017), SGDR: stochastic gradient descent with warm restarts, ICLR (the cosine decay).
"""

from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from time import perf_counter

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from sklearn.utils import check_consistent_length, check_random_state

from .losses import Squared
from .model.architecture import Architecture
from .networks.network import Network
from .solvers.descent import Objective
from .utils.validation import check_array, check_choice, check_count, check_positive, check_size, shown

__all__ = ["Training", "train_adam", "train_lbfgs", "train_sgd"]

SGD_RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
ADAM_RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
MAX_RECORDS = 200  # of a history


@dataclass(frozen=True, eq=False)
class Training:
    """A network trained by a nonconvex method, and what its training cost.

    Parameters
    ----------
    network : Network
        The best of the recorded iterates.
    objective : float
        `network.objective(X, y, alpha)`.
    history : list of dict
        At most 200 records, evenly spaced from the start to the last finite iterate: time (s, as `seconds`),
        objective and epoch (iteration for L-BFGS).
    learning_rate : float or None
        The learning rate of the training, given or chosen; None for L-BFGS.
    seconds : float
        Training time (s), without choosing the learning rate and without evaluating objectives for the history.
    tuning_seconds : float
        Training time (s) of the runs that chose the learning rate, counted in the same way.
    diverged : bool
        Whether weights or objective became infinite or NaN, which ends a training early.

    Examples
    --------
    >>> from convexnn.baselines import train_adam
    >>> sorted(train_adam([[0.0], [1.0]], [0.0, 1.0], 0.1, n_epochs=20, random_state=0).history[-1])
    ['epoch', 'objective', 'time']
    """

    network: Network
    objective: float
    history: list
    learning_rate: float | None
    seconds: float
    tuning_seconds: float = 0.0
    diverged: bool = False


def train_sgd(
    X: ArrayLike,
    y: ArrayLike,
    alpha: float,
    *,
    architecture: Architecture | None = None,
    n_neurons: int = 100,
    gates: ArrayLike | None = None,
    learning_rate: float | str = "grid",
    schedule: str = "cosine",
    momentum: float = 0.9,
    batch_size: int = 32,
    n_epochs: int = 500,
    time_limit: float | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Training:
    """Train a network by gradient descent on shuffled minibatches, with momentum.

    Parameters
    ----------
    X, y : array-like of shape (n_samples, n_features), and (n_samples,) or (n_samples, 1)
        Inputs and targets.
    alpha : float
        Regularisation strength, above 0.
    architecture : Architecture or None, default=None
        The network; None is `Architecture()`.
    n_neurons : int, default=100
        Number of ReLU neurons; a gated ReLU network has one neuron a gate instead.
    gates : array-like of shape (n_gates, n_hidden_features) or None, default=None
        Fixed gates of a gated ReLU network, as `Arrangements.gates`: a hidden bias is one more feature.
    learning_rate : float or "grid", default="grid"
        Step length for gradients of F / n. "grid" trains with each of five (SGD: 1e-3 to 1e-1, Adam: 3e-4 to 3e-2)
        from the same start and keeps the run of the lowest objective; they share the `time_limit`.
    schedule : {"cosine", "constant"}, default="cosine"
        Whether the learning rate decays to 0 over the epochs (over `time_limit`, if that ends first) or stays.
    momentum : float, default=0.9
        At least 0, below 1.
    batch_size, n_epochs : int, default=32 and 500
        Samples in a minibatch, and passes over the data.
    time_limit : float or None, default=None
        Training time (s) after which no epoch begins. With it, results depend on the speed of the machine.
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
    if not isinstance(momentum, Real) or isinstance(momentum, bool) or not 0 <= momentum < 1:
        raise ValueError(f"momentum must be a number of at least 0 and below 1; got {shown(momentum)}")
    problem = _check_problem(X, y, alpha, architecture, n_neurons, gates)
    options = _check_options(learning_rate, schedule, batch_size, n_epochs, time_limit)
    return _train(problem, partial(_momentum_step, momentum=momentum), SGD_RATES, options, random_state)


def train_adam(
    X: ArrayLike,
    y: ArrayLike,
    alpha: float,
    *,
    architecture: Architecture | None = None,
    n_neurons: int = 100,
    gates: ArrayLike | None = None,
    learning_rate: float | str = "grid",
    schedule: str = "cosine",
    batch_size: int = 32,
    n_epochs: int = 500,
    time_limit: float | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Training:
    """Train a network by Adam (not AdamW) with the constants of its paper, beta = (0.9, 0.999) and eps = 1e-8.

    Parameters
    ----------
    X, y, alpha, architecture, n_neurons, gates, learning_rate, schedule, batch_size, n_epochs, time_limit, random_state
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
    problem = _check_problem(X, y, alpha, architecture, n_neurons, gates)
    options = _check_options(learning_rate, schedule, batch_size, n_epochs, time_limit)
    return _train(problem, _adam_step, ADAM_RATES, options, random_state)


def train_lbfgs(
    X: ArrayLike,
    y: ArrayLike,
    alpha: float,
    *,
    architecture: Architecture | None = None,
    n_neurons: int = 100,
    gates: ArrayLike | None = None,
    max_iter: int = 2000,
    random_state: int | np.random.RandomState | None = None,
) -> Training:
    """Train a network by L-BFGS on the full objective (scipy, 20 corrections, ftol 1e-15, gtol 1e-10).

    Parameters
    ----------
    X, y, alpha, architecture, n_neurons, gates
        As in `train_sgd`.
    max_iter : int, default=2000
        Most iterations.
    random_state : int, RandomState instance or None, default=None
        Source of the start.

    Returns
    -------
    Training
        The best iterate.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from convexnn.baselines import train_lbfgs
    >>> round(train_lbfgs([[0.0], [1.0], [2.0]], [0.0, 0.0, 1.0], 0.1, random_state=0).objective, 6)
    0.108701
    """
    problem = _check_problem(X, y, alpha, architecture, n_neurons, gates)
    # A line search makes at most 20 evaluations, so that max_iter is the only limit.
    max_iter = check_count("max_iter", max_iter)
    options = {"maxiter": max_iter, "maxfun": 21 * max_iter, "maxcor": 20, "ftol": 1e-15, "gtol": 1e-10}
    start = _initial(problem, check_random_state(random_state))

    def record(intermediate_result):
        now = perf_counter() - begin
        history.append({"time": now, "objective": float(intermediate_result.fun), "epoch": len(history)})

    with np.errstate(over="ignore", invalid="ignore"):
        history, begin = [{"time": 0.0, "objective": problem.objective(start)[0], "epoch": 0}], perf_counter()
        found = minimize(problem.objective, start, method="L-BFGS-B", jac=True, options=options, callback=record)
        seconds = perf_counter() - begin
        # Descent is monotone, so that the last iterate is the best; only a start can fail to be finite.
        diverged = not np.isfinite(found.fun)
        kept = np.linspace(0, len(history) - 1, min(len(history), MAX_RECORDS)).astype(int)
        theta, history = (start, []) if diverged else (found.x, [history[k] for k in kept])
        return problem.training(theta, history, None, seconds, diverged)


@dataclass(frozen=True, eq=False)
class _Problem:
    """The data, the network (`gates` in the space of X and a one), and F."""

    X: np.ndarray
    y: np.ndarray
    architecture: Architecture
    gates: np.ndarray | None
    objective: Objective

    def minibatches(self, rng, batch_size):
        """Yield F on shuffled batches of samples."""
        shuffled = self.objective.select(rng.permutation(len(self.X)))
        for first in range(0, len(self.X), batch_size):
            yield shuffled.select(slice(first, first + batch_size))

    def training(self, theta, history, learning_rate, seconds, diverged):
        """Return the result of a training with the weights theta."""
        (W, a, beta), d, architecture = self.objective.unpack(theta), self.X.shape[1], self.architecture
        bias = np.zeros(len(a)) if architecture.hidden_bias == "none" else W[:, d].copy()
        b2, skip = architecture.split_free(beta, d)
        weights = W[:, :d].T.copy(), bias, a.copy(), b2
        network = Network(*weights, architecture.activation, skip, architecture.hidden_bias, self.gates)
        objective = network.objective(self.X, self.y, self.objective.alpha)
        return Training(network, objective, history, learning_rate, seconds, 0.0, diverged)


def _momentum_step(theta, grad, rate, t, state, momentum):
    """Take the step v = momentum v + grad, theta = theta - rate v, with v in the state."""
    state[0] *= momentum
    state[0] += grad
    theta -= rate * state[0]


def _adam_step(theta, grad, rate, t, state, beta1=0.9, beta2=0.999, eps=1e-8):
    """Take step t of algorithm 1 of Kingma and Ba, with both bias corrections in the rate and in eps."""
    mean, square = state
    mean += (1 - beta1) * (grad - mean)
    square += (1 - beta2) * (grad**2 - square)
    correction = np.sqrt(1 - beta2**t)
    theta -= (rate * correction / (1 - beta1**t)) * mean / (np.sqrt(square) + eps * correction)


def _check_problem(X, y, alpha, architecture, n_neurons, gates):
    """Check the data, the regularisation and the network; return the _Problem."""
    architecture = Architecture() if architecture is None else architecture
    alpha, n_neurons = check_size("alpha", alpha), check_count("n_neurons", n_neurons)
    X = check_array(X, order="C", input_name="X")
    y = check_array(y, input_name="y", ensure_2d=False)
    check_consistent_length(X, y)
    if y.size != len(X):
        raise ValueError(f"y must have one output, shape (n_samples,) or (n_samples, 1); got shape {y.shape}")
    if (architecture.activation == "gated_relu") != (gates is not None):
        given = "gates" if gates is not None else "no gates"
        raise ValueError(f'gates are for activation "gated_relu", which needs them; got {given} for {architecture}')
    rows, free = (np.ascontiguousarray(part(X)) for part in (architecture.hidden_rows, architecture.free_columns))
    mask = planes = None
    if gates is not None:
        gates = check_array(gates, input_name="gates")
        if gates.shape[1] != rows.shape[1]:
            shape = f"(n_gates, {rows.shape[1]})"
            raise ValueError(f"gates must have one column a hidden feature, shape {shape}; got shape {gates.shape}")
        n_neurons, planes = len(gates), np.zeros((X.shape[1] + 1, len(gates)))
        planes[: rows.shape[1]] = gates.T
        # Computed as in Network.hidden, so that samples on a hyperplane are on the same side of it.
        mask = X @ planes[:-1] + planes[-1] >= 0
    objective = Objective(
        rows, free, y.reshape(-1, 1), Squared(), alpha, n_neurons, slope=architecture.slope, gates=mask
    )
    return _Problem(X, y.ravel(), architecture, planes, objective)


def _check_options(learning_rate, schedule, batch_size, n_epochs, time_limit):
    if not (isinstance(learning_rate, str) and learning_rate == "grid"):
        learning_rate = check_positive('learning_rate, if not "grid",', learning_rate)
    check_choice("schedule", schedule, ("cosine", "constant"))
    sizes = {"batch_size": check_count("batch_size", batch_size), "n_epochs": check_count("n_epochs", n_epochs)}
    time_limit = np.inf if time_limit is None else check_positive("time_limit", time_limit)
    return {"rate": learning_rate, "schedule": schedule, "time_limit": time_limit, **sizes}


def _initial(problem, rng):
    """Draw the weights that a training starts from."""
    objective, n_features = problem.objective, problem.X.shape[1]
    m = objective.n_neurons
    theta = np.zeros(objective.n_weights + objective.free.shape[1])
    W, a, beta = objective.unpack(theta)
    W[:, :n_features] = rng.standard_normal((n_features, m)).T / (np.sqrt(n_features) * m**0.25)
    a[:, 0] = np.linalg.norm(W, axis=1) * rng.choice([-1.0, 1.0], m)
    if problem.architecture.fit_intercept:
        beta[0] = problem.y.mean()
    return theta


def _train(problem, step, rates, options, random_state):
    """Train at the learning rate given, or at each of a grid and keep the best run."""
    rng = check_random_state(random_state)
    start, seed = _initial(problem, rng), rng.randint(np.iinfo(np.int32).max)
    if options["rate"] != "grid":
        rates = (options["rate"],)
    options = options | {"time_limit": options["time_limit"] / len(rates)}
    with np.errstate(over="ignore", invalid="ignore"):
        runs = [_descend(problem, step, start, seed, **(options | {"rate": rate})) for rate in rates]
    best = min(runs, key=lambda run: (run.diverged, run.objective))
    return replace(best, tuning_seconds=float(sum(run.seconds for run in runs if run is not best)))


def _descend(problem, step, start, seed, *, rate, schedule, batch_size, n_epochs, time_limit):
    """Run epochs of minibatch steps from a start; epoch 0 only records it."""
    rng, theta, state, best = np.random.default_rng(seed), start.copy(), np.zeros((2, len(start))), start
    history, lowest, seconds, t = [], np.inf, 0.0, 0
    wanted = np.linspace(0, n_epochs, min(n_epochs + 1, MAX_RECORDS)).astype(int).tolist()
    batches = np.arange(0, len(problem.X), batch_size) / len(problem.X)
    for epoch in range(n_epochs + 1):
        if epoch > 0:
            begin = perf_counter()
            progress = np.maximum((epoch - 1 + batches) / n_epochs, seconds / time_limit)
            rates = rate * (0.5 + 0.5 * np.cos(np.pi * progress) if schedule == "cosine" else np.ones(len(batches)))
            for batch, now in zip(problem.minibatches(rng, batch_size), rates, strict=True):
                t += 1
                step(theta, batch.gradient(theta) / len(batch.Y), now, t, state)
            seconds += perf_counter() - begin
        last = epoch == n_epochs or seconds >= time_limit
        if last or epoch in wanted or not np.isfinite(theta).all():
            objective = problem.objective(theta)[0]
            if not np.isfinite(objective):
                return problem.training(best, history, rate, seconds, True)
            history.append({"time": seconds, "objective": float(objective), "epoch": epoch})
            if objective < lowest:
                lowest, best = objective, theta.copy()
        if last:
            break
    return problem.training(best, history, rate, seconds, False)
