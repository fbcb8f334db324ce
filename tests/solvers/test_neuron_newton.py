"""Newton's method in neuron space: its kernels, where it ends, and what it keeps; objectives are written out here."""

import numpy as np
import pytest
from written import Written, constant, value

from convexnn import Architecture
from convexnn.geometry.patches import Patches
from convexnn.losses import make_loss
from convexnn.model import build_program
from convexnn.solvers import movement
from convexnn.solvers.descent import descend
from convexnn.solvers.movement import move_neurons
from convexnn.solvers.neuron_newton import _activations, _bend, _expand, newton_descend

PROBLEMS = {
    "squared_error": {"loss": "squared_error", "alpha": 20.0},
    "squared, two outputs": {"loss": "squared_error", "alpha": 20.0, "n_outputs": 2},
    "log_loss": {"loss": "log_loss", "alpha": 8.0},
    "logistic, patches": {"loss": "log_loss", "alpha": 4.0, "n_patches": 5},
    "squared, patches, leaky": {"loss": "squared_error", "alpha": 20.0, "n_patches": 3, "slope": 0.2},
    "softmax": {"loss": "softmax", "alpha": 8.0, "n_outputs": 3},
    "squared, slope -0.5": {"loss": "squared_error", "alpha": 20.0, "slope": -0.5},
}


def make(loss, alpha, n_outputs=1, n_patches=1, slope=0.0, n=3000, d=4, seed=0):
    """Return a thin problem twice: written out, and as a program of the package; the targets are a noisy network's."""
    rng = np.random.default_rng(seed)
    n //= n_patches
    X = rng.standard_normal((n, n_patches, d))
    Z = np.maximum(X @ rng.standard_normal((d, 3)), 0).sum(axis=1) @ rng.standard_normal((3, n_outputs))
    Z = Z - Z.mean(axis=0) + rng.standard_normal(Z.shape)
    labels = np.eye(n_outputs)[Z.argmax(axis=1)]
    Y = {"squared_error": Z, "softmax": labels}.get(loss, np.where(Z > 0, 1.0, -1.0))
    network = {"hidden_bias": "none", "output_penalty": "l1"}
    if slope:
        network |= {"activation": "leaky_relu", "negative_slope": slope}
    if n_patches > 1:
        network["patches"] = Patches((1, n_patches * d), d, d, pooling="sum")
    rows = X.reshape(n, -1)
    program = build_program(rows, Y, alpha, "adaptive", Architecture(**network), loss=make_loss(loss))
    return Written(X, Y, alpha, loss, slope), program


def neurons_of(written, m, seed=1, size=0.05):
    rng = np.random.default_rng(seed)
    c = written.Y.shape[1]
    U = size * rng.standard_normal((m, written.X.shape[2]))
    return U, rng.choice([-1.0, 1.0], m), np.arange(m) % c, np.zeros((1, c))


def never():
    return False


def run(program, neurons, max_iter=40, ftol=1e-9, observe=never):
    return newton_descend(program, *neurons, max_iter=max_iter, ftol=ftol, observe=observe)


def smoothed(t, delta):
    """(t)_+ smoothed over |t| < delta, from the formula."""
    inside = np.abs(t) < delta
    return np.where(inside, delta * (1 + t / np.where(inside, delta, 1.0)) ** 2 / 4, np.maximum(t, 0))


def kernel_data(n_patches, seed=0, n=60, d=3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n * n_patches, d)) * rng.uniform(0.1, 10, (n * n_patches, 1))
    X[4] = 0.0
    return X, np.linalg.norm(X, axis=1), rng.standard_normal(d), rng.standard_normal(n)


def activations(X, lengths, u, width, slope, n_patches):
    """Return the activations of a neuron that is computed beside two others, as the kernel takes several."""
    hidden = np.full((len(X) // n_patches, 5), np.nan)
    _activations(X, lengths, np.column_stack([u[::-1], u, -3 * u]), width, slope, n_patches, hidden[:, 1:4])
    return hidden[:, 2]


def derivatives(X, lengths, u, width, slope, n_patches):
    J = np.full((len(X) // n_patches, 5, len(u)), np.nan)
    _expand(X, lengths, np.column_stack([u[::-1], u, -3 * u]), width, slope, n_patches, J[:, 1:4])
    return J[:, 2]


def differences(function, u, step=1e-6):
    """Return central differences, the coordinate of u last."""
    return np.stack([(function(u + e) - function(u - e)) / (2 * step) for e in step * np.eye(len(u))], axis=-1)


each_kernel = pytest.mark.parametrize(("slope", "n_patches"), [(0.0, 1), (0.3, 1), (-1.0, 4), (0.0, 5)])


@each_kernel
def test_activations_are_those_of_the_formula(slope, n_patches):
    X, lengths, u, _ = kernel_data(n_patches)
    for width in (0.0, 0.02, 0.5):
        t = X @ u
        rows = slope * t + (1 - slope) * smoothed(t, width * lengths * np.linalg.norm(u))
        expected = rows.reshape(-1, n_patches).sum(axis=1)
        found = activations(X, lengths, u, width, slope, n_patches)
        assert np.allclose(found, expected, rtol=1e-12, atol=1e-12)
        assert np.allclose(activations(X, lengths, 7 * u, width, slope, n_patches), 7 * found, rtol=1e-12, atol=1e-11)
    exact = np.where(X @ u > 0, X @ u, slope * (X @ u)).reshape(-1, n_patches).sum(axis=1)
    assert np.allclose(activations(X, lengths, u, 0.0, slope, n_patches), exact, rtol=1e-13, atol=1e-13)
    assert not np.allclose(found, exact, rtol=1e-3)


@each_kernel
def test_derivatives_are_differences_of_activations(slope, n_patches):
    X, lengths, u, _ = kernel_data(n_patches)
    for width in (0.02, 0.5):
        J = derivatives(X, lengths, u, width, slope, n_patches)
        expected = differences(lambda w, a=width: activations(X, lengths, w, a, slope, n_patches), u)
        assert np.allclose(J, expected, rtol=1e-5, atol=1e-6)
        hidden = activations(X, lengths, u, width, slope, n_patches)
        assert np.allclose(J @ u, hidden, rtol=1e-12, atol=1e-11)  # of degree one
    activity = np.where(X @ u > 0, 1.0, slope)[:, None] * X
    J = derivatives(X, lengths, u, 0.0, slope, n_patches)
    assert np.allclose(J, activity.reshape(-1, n_patches, len(u)).sum(axis=1), rtol=1e-13, atol=1e-13)


@each_kernel
def test_bending_is_the_difference_of_derivatives(slope, n_patches):
    X, lengths, u, v = kernel_data(n_patches)
    unit = u / np.linalg.norm(u)
    for width in (0.1, 0.5):
        K = np.zeros((3, 3))
        _bend(X, lengths, (1 - slope) * np.repeat(v, n_patches), unit, width, K)
        expected = differences(lambda w, a=width: v @ derivatives(X, lengths, w, a, slope, n_patches), unit)
        assert np.linalg.norm(expected) > 1.0
        assert np.allclose(K, expected, rtol=1e-4, atol=1e-4 * np.linalg.norm(expected))
        assert np.allclose(K, K.T, atol=1e-10)
        assert np.abs(K @ unit).max() <= 1e-10 * np.abs(K).max()  # of degree one
    K = np.zeros((3, 3))
    _bend(X, lengths, np.repeat(v, n_patches), unit, 0.0, K)
    assert not K.any()


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_ends_where_descent_cannot_go_on(name):
    written, program = make(**PROBLEMS[name])
    start = neurons_of(written, 12)
    U, signs, outputs, beta = run(program, start)
    reached = value(written, U, signs, outputs, beta)
    assert reached < 0.9 * value(written, *start)
    roots = np.sqrt(np.linalg.norm(U, axis=1))
    improved = written.improve(U / roots[:, None], signs * roots, outputs, constant(beta, len(written.Y)), 300)
    assert improved >= reached * (1 - 1e-4)
    again = value(written, *run(program, (U, signs, outputs, beta)))
    assert again == pytest.approx(reached, rel=1e-3)


def test_losses_with_kinks_fall_too():
    written, program = make("hinge", 8.0)
    start = descend(program, *neurons_of(written, 12), max_iter=5, ftol=0.0, observe=never)
    assert value(written, *run(program, start)) < 0.9 * value(written, *start)


def test_neurons_keep_signs_and_outputs_and_are_dropped_not_turned():
    """Each is known by its sign and output; steps are taken one at a time."""
    written, program = make("softmax", 12.0, n_outputs=3)
    kinds = [(sign, output) for sign in (1.0, -1.0) for output in range(3)]
    for seed in range(4):
        U, _, _, beta = neurons_of(written, 6, seed)
        signs, outputs = (np.array(part) for part in zip(*kinds, strict=True))
        for _ in range(15):
            old = dict(zip(zip(signs, outputs, strict=True), U, strict=True))
            U, signs, outputs, beta = run(program, (U, signs, outputs, beta), max_iter=1, ftol=0.0)
            new = dict(zip(zip(signs, outputs, strict=True), U, strict=True))
            assert len(new) == len(U)
            assert set(new) <= set(old)
            assert all(new[kind] @ old[kind] >= 0 for kind in new)
            if not len(U):
                break
        assert len(U) < 6
        assert U.any(axis=1).all()


def test_parallel_neurons_are_one():
    _, program = make("squared_error", 20.0, n_outputs=2)
    u, other = np.array([1.0, 2.0, 0.0, -1.0]), np.array([0.0, 1.0, 1.0, 0.0])
    U = np.array([u, 2 * u, 3 * u, other, u + 1e-4, -u, 0.5 * u])
    signs, outputs = np.array([1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0]), np.array([0, 0, 0, 0, 0, 0, 1])
    beta = np.array([[0.5, -1.0]])
    found, s, e, b = run(program, (U, signs, outputs, beta), max_iter=0)
    assert np.allclose(found, [U[0] + U[1] + U[4], U[2], U[3], U[5], U[6]], rtol=1e-14)
    assert s.tolist() == [1.0, -1.0, 1.0, 1.0, 1.0]
    assert e.tolist() == [0, 0, 0, 0, 1]
    assert np.array_equal(b, beta)


def test_the_observer_stops_it():
    written, program = make("log_loss", 8.0)
    start, calls = neurons_of(written, 8), []
    for limit in (1, 3):
        calls.clear()
        stopped = run(program, start, ftol=0.0, observe=lambda n=limit: calls.append(0) or len(calls) == n)
        limited = run(program, start, max_iter=limit, ftol=0.0)
        assert len(calls) == limit
        assert np.array_equal(stopped[0], limited[0])
    calls.clear()
    loose = run(program, start, ftol=1e-2, observe=lambda: calls.append(0))
    assert 3 < len(calls) < 40
    assert value(written, *loose) < value(written, *limited) < value(written, *start)


def test_moves_are_descent_unless_cells_are_thin(monkeypatch):
    _, program = make("squared_error", 20.0, n=600)
    written, _ = make("squared_error", 20.0, n=600)
    start = neurons_of(written, 8)
    known = {"tol": 1e-3, "observe": never}
    plain = descend(program, *start, max_iter=movement.DESCENT_STEPS, ftol=1e-6, observe=never)
    for gap in (1.0, 1e-2):
        assert np.array_equal(move_neurons(program, start, gap=gap, thin=False, **known)[0], plain[0])
    monkeypatch.setattr(movement, "LARGEST_SYSTEM", 8 * 4 - 1)
    assert np.array_equal(move_neurons(program, start, gap=1.0, thin=True, **known)[0], plain[0])
    monkeypatch.setattr(movement, "LARGEST_SYSTEM", 8 * 4)
    assert not np.array_equal(move_neurons(program, start, gap=1.0, thin=True, **known)[0], plain[0])


@pytest.mark.parametrize("name", ["logistic, patches", "softmax"])
def test_moves_come_near_what_descent_reaches(name):
    """A first move, of both methods, and a second one, of Newton's; long descents may find other maxima."""
    written, program = make(**PROBLEMS[name])
    start = neurons_of(written, 12)
    first = move_neurons(program, start, gap=1.0, tol=1e-3, thin=True, observe=never)
    second = move_neurons(program, first, gap=1e-3, tol=1e-3, thin=True, observe=never)
    roots = np.sqrt(np.linalg.norm(start[0], axis=1))
    unaided = written.improve(start[0] / roots[:, None], start[1] * roots, start[2], start[3][0], 400)
    values = [value(written, *neurons) for neurons in (start, first, second)]
    assert values[2] < values[1] < 0.9 * values[0]
    assert values[2] <= unaided * 1.03
