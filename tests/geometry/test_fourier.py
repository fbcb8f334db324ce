import cvxpy as cp
import numpy as np
import pytest
from scipy.linalg import dft
from scipy.optimize import minimize

from convexnn.geometry.fourier import fourier_basis, split_circular
from convexnn.networks.network import CircularNetwork

SIGNALS = [(d,) for d in range(1, 10)]
IMAGES = [(1, 1), (1, 4), (5, 1), (2, 2), (2, 3), (3, 2), (3, 3), (4, 4), (3, 4), (4, 5)]
SHAPES = SIGNALS + IMAGES


def rng_of(shape):
    return np.random.default_rng([len(shape), *shape])


def dense_circulant(u, shape):
    """circ(u) by its entries u[i - k], index by index."""
    image, places = u.reshape(shape), list(np.ndindex(*shape))
    size = np.array(shape)
    return np.array([[image[tuple((np.array(i) - k) % size)] for k in places] for i in places])


def dense_dft(shape):
    """The matrix of the discrete Fourier transform, not scaled."""
    matrix = dft(shape[0])
    return np.kron(matrix, dft(shape[1])) if len(shape) == 2 else matrix


def circular_norm(q, shape):
    return np.abs(dense_dft(shape) @ q).sum(axis=0) / len(q)


def circular_dual_norm(g, shape):
    return np.abs(dense_dft(shape) @ g).max(axis=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_fourier_basis_is_orthonormal_and_groups_give_the_norms(shape):
    d = int(np.prod(shape))
    B, groups, weights = fourier_basis(shape)
    assert np.allclose(B.T @ B, np.eye(d), atol=1e-14)
    assert groups.shape == (d,)
    assert set(np.diff(groups)) <= {0, 1}
    assert groups[0] == 0
    assert weights.shape == (groups[-1] + 1,)
    assert np.bincount(groups).max() <= 2
    # frequencies that are their own opposite: 1 an odd axis, 2 an even one
    assert (np.bincount(groups) == 1).sum() == np.prod([2 - size % 2 for size in shape])
    Q = rng_of(shape).standard_normal((d, 5))
    lengths = np.sqrt([[((B.T @ q)[groups == g] ** 2).sum() for q in Q.T] for g in range(len(weights))])
    assert np.allclose(weights @ lengths, circular_norm(Q, shape), rtol=1e-12)
    assert np.allclose((lengths / weights[:, None]).max(axis=0), circular_dual_norm(Q, shape), rtol=1e-12)


@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (4,), (5,), (2, 2), (2, 3), (3, 3)])
def test_dual_norm_is_the_maximum_over_the_unit_ball(shape):
    d = int(np.prod(shape))
    g = rng_of(shape).standard_normal(d)
    F, q = dense_dft(shape), cp.Variable(d)
    norm = cp.sum(cp.norm(cp.vstack([F.real @ q, F.imag @ q]), axis=0)) / d
    problem = cp.Problem(cp.Maximize(g @ q), [norm <= 1])
    assert problem.solve(solver="CLARABEL") == pytest.approx(circular_dual_norm(g, shape), rel=1e-6)
    # kappa of a sample: the largest activation |a| (x circ(u) w)_+ at weight decay 1
    u, w, a = split_circular(q.value, shape)
    assert 0.5 * (w @ w + a**2) == pytest.approx(1.0, abs=1e-6)
    assert max(g @ dense_circulant(u, shape) @ w * a, 0) == pytest.approx(circular_dual_norm(g, shape), rel=1e-6)


def least_weight_decay(q, shape, rng):
    """Least 1/2 (|w|^2 + a^2) with circ(u) w a = q and |u| <= 1, from random starts u: |w| a, as w and a balance."""

    def decay(u):
        return np.linalg.norm(np.linalg.solve(dense_circulant(u / np.linalg.norm(u), shape), q))

    starts = [rng.standard_normal(len(q)) + 2 * np.eye(len(q))[0] for _ in range(4)]
    return min(minimize(decay, start, tol=1e-10).fun for start in starts)


@pytest.mark.parametrize("shape", [*[(d,) for d in range(1, 8)], (2, 2), (2, 3), (3, 3)])
def test_no_weights_have_less_decay_than_the_norm(shape):
    rng, d = rng_of(shape), int(np.prod(shape))
    q = rng.standard_normal(d)
    least = least_weight_decay(q, shape, rng)
    assert least >= circular_norm(q, shape) * (1 - 1e-9)
    assert least == pytest.approx(circular_norm(q, shape), rel=1e-4)
    for _ in range(50):
        u, a = rng.standard_normal(d), np.exp(rng.standard_normal())
        w = np.linalg.solve(dense_circulant(u / np.linalg.norm(u), shape), q / a)
        assert (w @ w + a**2) / 2 >= circular_norm(q, shape) * (1 - 1e-9)


@pytest.mark.parametrize("kind", ["random", "constant", "impulse", "wave", "huge", "tiny", "zero"])
@pytest.mark.parametrize("shape", SHAPES)
def test_split_has_the_product_and_the_decay_of_the_norm(shape, kind):
    d = int(np.prod(shape))
    random = rng_of(shape).standard_normal(d)
    q = {
        "random": random,
        "constant": np.full(d, -3.0),
        "impulse": np.eye(d)[d // 2],
        "wave": np.cos(2 * np.pi * np.indices(shape)[-1] / shape[-1]).ravel(),
        "huge": 1e200 * random,
        "tiny": 1e-200 * random,
        "zero": np.zeros(d),
    }[kind]
    u, w, a = split_circular(q, shape)
    decay = 0.5 * (np.sum(w**2) + a**2)
    assert u.shape == w.shape == (d,)
    assert np.linalg.norm(u) == pytest.approx(1.0, rel=1e-14)
    assert decay == pytest.approx(circular_norm(q, shape), rel=1e-12)
    assert np.abs(dense_circulant(u, shape) @ w * a - q).max() <= 1e-13 * d * np.abs(q).max()
    assert (a > 0) == (kind != "zero")
    assert np.linalg.norm(w) == pytest.approx(a, rel=1e-13)


def test_split_of_columns_is_that_of_each():
    Q = np.random.default_rng(0).standard_normal((6, 3))
    Q[:, 1] = 0.0
    U, W, a = split_circular(Q, (2, 3))
    for j in range(3):
        u, w, size = split_circular(Q[:, j], (2, 3))
        assert np.allclose(U[:, j], u, atol=1e-15)
        assert np.allclose(W[:, j], w, atol=1e-15)
        assert a[j] == pytest.approx(size)
    network = CircularNetwork(U, W, a[:, None], np.zeros(1), (2, 3), "linear")
    assert np.allclose(network.effective() * a, Q, atol=1e-14)
    assert network.weight_decay() == pytest.approx(circular_norm(Q, (2, 3)).sum())
    X = np.random.default_rng(1).standard_normal((4, 6))
    assert np.allclose(network.predict(X), X @ Q.sum(axis=1), atol=1e-13)


def test_vectors_that_do_not_fit_are_refused():
    for q in (np.ones(5), np.ones((6, 1, 1))):
        with pytest.raises(ValueError, match=r"q must have 6 rows, as shape \(2, 3\); got \("):
            split_circular(q, (2, 3))
