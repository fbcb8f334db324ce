import warnings
from itertools import product

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import approx_fprime
from threadpoolctl import threadpool_limits

from convexnn import baselines
from convexnn.baselines import train_adam, train_lbfgs, train_sgd
from convexnn.geometry.arrangements import sample_arrangements
from convexnn.model.architecture import Architecture
from convexnn.model.building import build_program
from convexnn.solvers.descent import Objective

TRAINERS = [train_sgd, train_adam, train_lbfgs]
ARCHITECTURES = [
    Architecture(*kind) for kind in product(("relu", "gated_relu"), ("penalized", "none"), (True, False), (True, False))
]
GATED = [architecture for architecture in ARCHITECTURES if architecture.activation == "gated_relu"]


@pytest.fixture(autouse=True)
def one_thread():
    """Threads do not help products this small, and wait for each other where other processes use the cores."""
    with threadpool_limits(1):
        yield


def planted(n_samples=200, n_features=5, n_neurons=4, noise=0.1, seed=0):
    """Standardised targets of a random ReLU network, with noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features))
    y = np.maximum(X @ rng.standard_normal((n_features, n_neurons)), 0) @ rng.standard_normal(n_neurons)
    return X, (y - y.mean()) / y.std() + noise * rng.standard_normal(n_samples)


def draw_gates(architecture, X, n_gates=6):
    if architecture.activation == "relu":
        return None
    return sample_arrangements(architecture.hidden_rows(X), n_gates, random_state=0).gates


def quick(trainer):
    """Options that end a training at once, with a learning rate that is used as it is."""
    return {"max_iter": 20} if trainer is train_lbfgs else {"n_epochs": 5, "learning_rate": 1e-2}


def convex_gated_optimum(X, y, alpha, gates, architecture):
    """The group lasso min 1/2 |sum_j D_j R u_j + C beta - y|^2 + alpha sum_j |u_j|, written out for cvxpy."""
    rows = np.column_stack([X, np.ones(len(X))]) if architecture.hidden_bias == "penalized" else X
    fit, penalty = 0, 0
    for gate in gates:
        u = cp.Variable(rows.shape[1])
        fit += ((rows @ gate >= 0)[:, None] * rows) @ u
        penalty += cp.norm(u)
    if architecture.fit_intercept:
        fit += cp.Variable()
    if architecture.skip:
        fit += X @ cp.Variable(X.shape[1])
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(fit - y) + alpha * penalty))
    return problem.solve(cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_gradient_matches_finite_differences(architecture):
    X, y = planted(n_samples=12, n_features=3)
    problem = baselines._check_problem(X, y, 0.7, architecture, 6, draw_gates(architecture, X))
    theta = np.random.default_rng(1).standard_normal(len(baselines._initial(problem, np.random.RandomState(0))))
    value, grad = problem.objective(theta)
    # The objective is that of the network that theta stands for, whose formula is written down elsewhere.
    assert problem.training(theta, [], None, 0.0, False).objective == pytest.approx(value, rel=1e-13)
    step = 1e-7
    approximate = approx_fprime(theta, lambda t: problem.training(t, [], None, 0.0, False).objective, step)
    np.testing.assert_allclose(grad, approximate, rtol=0, atol=1e-4 * np.abs(grad).max())


@pytest.mark.parametrize("architecture", [Architecture(), GATED[1]], ids=str)
def test_gradients_of_minibatches_add_up(architecture):
    X, y = planted(n_samples=23, n_features=3)
    problem = baselines._check_problem(X, y, 0.7, architecture, 6, draw_gates(architecture, X))
    theta = baselines._initial(problem, np.random.RandomState(0))
    batches = list(problem.minibatches(np.random.default_rng(0), 5))
    assert [len(batch.Y) for batch in batches] == [5, 5, 5, 5, 3]
    parts = [batch(theta) for batch in batches]
    value, grad = problem.objective(theta)
    assert sum(part[0] for part in parts) == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(sum(part[1] for part in parts), grad, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(sum(batch.gradient(theta) for batch in batches), grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_objective_is_that_of_the_network(trainer, architecture):
    X, y = planted(n_samples=40, n_features=3)
    gates = draw_gates(architecture, X)
    training = trainer(
        X, y[:, None], 0.3, architecture=architecture, n_neurons=6, gates=gates, random_state=0, **quick(trainer)
    )
    network = training.network
    assert training.objective == network.objective(X, y, 0.3)
    assert training.objective == pytest.approx(min(r["objective"] for r in training.history), rel=1e-12)
    assert training.objective < training.history[0]["objective"]
    assert network.activation == architecture.activation
    assert network.hidden_bias == architecture.hidden_bias
    assert (network.skip is not None) == architecture.skip
    assert network.b1.any() == (architecture.hidden_bias == "penalized")
    assert network.b2.any() == architecture.fit_intercept
    if gates is not None:
        rows = architecture.hidden_rows(X)
        np.testing.assert_array_equal(X @ network.gates[:-1] + network.gates[-1] >= 0, rows @ gates.T >= 0)


@pytest.mark.parametrize("architecture", GATED, ids=str)
def test_gated_optimum_is_that_of_the_convex_program(architecture):
    X, y = planted(n_samples=40, n_features=3)
    alpha = 1.5
    gates = build_program(X, y, alpha, 8, architecture, random_state=0).design.arrangements.gates
    optimum = convex_gated_optimum(X, y, alpha, gates, architecture)
    objectives = [
        train_lbfgs(X, y, alpha, architecture=architecture, gates=gates, random_state=seed).objective
        for seed in range(10)
    ]
    assert min(objectives) <= optimum * (1 + 1e-6)
    assert min(objectives) >= optimum * (1 - 1e-7)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_skip_gets_the_least_squares_fit(trainer):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    teacher = np.array([1.0, -2.0, 0.5])
    options = {} if trainer is train_lbfgs else {"n_epochs": 400, "learning_rate": 3e-2, "batch_size": 8}
    training = trainer(
        X, X @ teacher + 3, 1e-3, architecture=Architecture(skip=True), n_neurons=4, random_state=0, **options
    )
    # The network of the teacher alone has objective 0; weight decay makes the neurons vanish.
    assert training.objective < 1e-2
    np.testing.assert_allclose(training.network.predict(X), X @ teacher + 3, atol=2e-2)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_huge_alpha_gives_the_mean(trainer):
    X, y = planted(n_samples=50, n_features=3)
    y = y + 2.0
    options = {} if trainer is train_lbfgs else {"learning_rate": 1e-2, "n_epochs": 300}
    training = trainer(X, y, 100.0, n_neurons=5, random_state=0, **options)
    np.testing.assert_allclose(training.network.predict(X), y.mean(), atol=2e-2)
    assert training.objective == pytest.approx(0.5 * np.sum((y - y.mean()) ** 2), rel=1e-3)


def test_minibatch_methods_come_near_lbfgs():
    X, y = planted()
    best = min(train_lbfgs(X, y, 1.0, n_neurons=50, max_iter=1000, random_state=seed).objective for seed in range(4))
    assert train_adam(X, y, 1.0, n_neurons=50, random_state=0).objective <= 1.04 * best
    assert train_sgd(X, y, 1.0, n_neurons=50, random_state=0).objective <= 1.04 * best


@pytest.mark.parametrize("trainer", [train_sgd, train_adam])
def test_history(trainer):
    X, y = planted(n_samples=20, n_features=2)
    training = trainer(X, y, 0.1, n_neurons=5, learning_rate=1e-2, n_epochs=450, batch_size=100, random_state=0)
    epochs = [record["epoch"] for record in training.history]
    times = [record["time"] for record in training.history]
    assert len(epochs) == baselines.MAX_RECORDS
    assert (epochs[0], epochs[-1]) == (0, 450)
    assert set(np.diff(epochs)) <= {2, 3}
    assert (np.diff(times) > 0).all()
    assert (times[0], times[-1]) == (0, training.seconds)
    assert (training.learning_rate, training.tuning_seconds, training.diverged) == (1e-2, 0, False)


def test_history_of_lbfgs_decreases():
    X, y = planted(n_samples=30, n_features=3)
    training = train_lbfgs(X, y, 0.1, n_neurons=10, max_iter=500, random_state=0)
    objectives = [record["objective"] for record in training.history]
    assert len(objectives) <= baselines.MAX_RECORDS
    assert (np.diff(objectives) <= 0).all()
    assert training.history[0]["epoch"] == 0
    assert training.learning_rate is None
    assert training.seconds > 0


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("trainer", [train_sgd, train_adam])
def test_divergence_ends_with_finite_weights(trainer, schedule):
    X, y = planted(n_samples=40, n_features=3)
    # Adam's steps are as long as the learning rate, so that only an astronomical one overflows.
    rate = 1e6 if trainer is train_sgd else 1e200
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training = trainer(X, y, 0.1, n_neurons=5, learning_rate=rate, n_epochs=50, schedule=schedule, random_state=0)
        moderate = trainer(X, y, 0.1, n_neurons=5, learning_rate=1e6, n_epochs=50, schedule=schedule, random_state=0)
    assert training.diverged
    assert training.history[-1]["epoch"] < 50
    for result in (training, moderate):
        assert result.objective == result.network.objective(X, y, 0.1) < np.inf
        assert all(np.isfinite(getattr(result.network, name)).all() for name in ("W1", "b1", "W2", "b2"))
        assert all(np.isfinite(record["objective"]) for record in result.history)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_inputs_that_overflow_are_not_an_error(trainer):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training = trainer([[1e200], [-1e200]], [1e200, 0.0], 1.0, n_neurons=3, random_state=0, **quick(trainer))
    assert training.diverged
    assert training.history == []
    assert np.isfinite(training.network.W1).all()


def test_grid_takes_the_best_rate_and_skips_those_that_diverge(monkeypatch):
    X, y = planted(n_samples=60, n_features=3)
    monkeypatch.setattr(baselines, "SGD_RATES", (1e-6, 1e-2, 1e6))
    options = {"n_neurons": 10, "n_epochs": 30, "random_state": 0}
    training = train_sgd(X, y, 0.1, **options)
    assert (training.learning_rate, training.diverged) == (1e-2, False)
    assert training.tuning_seconds > 0
    assert training.objective == train_sgd(X, y, 0.1, learning_rate=1e-2, **options).objective


@pytest.mark.parametrize("trainer", TRAINERS)
def test_random_state(trainer):
    X, y = planted(n_samples=40, n_features=3)
    one, same, other = (trainer(X, y, 0.1, n_neurons=5, random_state=s, **quick(trainer)) for s in (0, 0, 1))
    assert one.objective == same.objective != other.objective
    np.testing.assert_array_equal(one.network.W1, same.network.W1)


def test_methods_start_alike_and_balanced():
    X, y = planted(n_samples=40, n_features=3)
    starts = {
        trainer(X, y, 0.1, n_neurons=5, random_state=0, **quick(trainer)).history[0]["objective"]
        for trainer in TRAINERS
    }
    assert len(starts) == 1
    network = train_sgd(X, y + 7, 0.1, n_neurons=5, learning_rate=1e300, n_epochs=1, random_state=0).network
    np.testing.assert_allclose(np.abs(network.W2[:, 0]), np.linalg.norm(network.W1, axis=0))
    assert not network.b1.any()
    np.testing.assert_allclose(network.b2, np.mean(y + 7))


def test_time_limit_ends_training():
    X, y = planted(n_samples=40, n_features=3)
    training = train_adam(X, y, 0.1, n_neurons=5, learning_rate=1e-2, n_epochs=10**6, time_limit=1e-9, random_state=0)
    assert [record["epoch"] for record in training.history] == [0, 1]
    unlimited = train_adam(X, y, 0.1, n_neurons=5, learning_rate=1e-2, n_epochs=5, random_state=0)
    generous = train_adam(X, y, 0.1, n_neurons=5, learning_rate=1e-2, n_epochs=5, time_limit=1e9, random_state=0)
    assert unlimited.objective == generous.objective


@pytest.mark.parametrize("trainer", [train_sgd, train_adam])
def test_cosine_decay_ends_lower(trainer):
    X, y = planted(n_samples=100, n_features=4, noise=0.5)
    options = {"n_neurons": 20, "learning_rate": 3e-2, "n_epochs": 100, "batch_size": 8, "random_state": 0}
    cosine, constant = (trainer(X, y, 1.0, schedule=s, **options).history[-1] for s in ("cosine", "constant"))
    assert cosine["objective"] < constant["objective"]


def test_keyboard_interrupt_is_not_swallowed(monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Objective, "_of_loss", interrupt)
    for trainer in TRAINERS:
        with pytest.raises(KeyboardInterrupt):
            trainer([[1.0], [2.0]], [1.0, 2.0], 1.0)


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"alpha": 0.0}, ValueError, "alpha"),
        ({"alpha": "1"}, TypeError, "alpha"),
        ({"n_neurons": 0}, ValueError, "n_neurons must be an integer of at least 1; got 0"),
        ({"X": [[np.nan], [1.0], [2.0]]}, ValueError, "X contains NaN"),
        ({"X": [1.0, 2.0, 3.0]}, ValueError, "2D"),
        ({"y": [1.0, 2.0]}, ValueError, "inconsistent"),
        ({"y": np.ones((3, 2))}, ValueError, r"y must have one output.*\(3, 2\)"),
        ({"y": [np.inf, 0.0, 0.0]}, ValueError, "y contains infinity"),
        ({"gates": [[1.0, 0.0]]}, ValueError, "gates are for activation"),
        ({"architecture": Architecture("gated_relu")}, ValueError, "got no gates"),
        ({"architecture": Architecture("gated_relu"), "gates": [[1.0]]}, ValueError, r"\(n_gates, 2\).*\(1, 1\)"),
        ({"random_state": "x"}, ValueError, "seed"),
    ],
)
def test_bad_input(trainer, changes, error, message):
    arguments = {"X": [[0.0], [1.0], [2.0]], "y": [0.0, 1.0, 3.0], "alpha": 0.1, **changes}
    with pytest.raises(error, match=message):
        trainer(arguments.pop("X"), arguments.pop("y"), arguments.pop("alpha"), **arguments)


@pytest.mark.parametrize(
    ("trainer", "name", "value", "error"),
    [
        (train_sgd, "learning_rate", "auto", TypeError),
        (train_adam, "learning_rate", -1.0, ValueError),
        (train_adam, "learning_rate", None, TypeError),
        (train_sgd, "schedule", "linear", ValueError),
        (train_sgd, "momentum", 1.0, ValueError),
        (train_sgd, "momentum", "x", ValueError),
        (train_sgd, "batch_size", 0, ValueError),
        (train_adam, "n_epochs", 2.5, ValueError),
        (train_adam, "time_limit", 0, ValueError),
        (train_lbfgs, "max_iter", 0, ValueError),
    ],
)
def test_bad_options(trainer, name, value, error):
    with pytest.raises(error, match=name):
        trainer([[0.0], [1.0]], [0.0, 1.0], 0.1, **{name: value})
