"""The penalties: norms and their duals by cvxpy and closed forms, the prox."""

import numpy as np
import pytest
from checks import check_penalty

from convexnn.geometry.fourier import fourier_basis
from convexnn.model.penalties import ElasticNorm, GroupL2, GroupNorm, group_l1


def random_basis(n_features, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n_features, n_features)))[0]


PENALTIES = {
    "l2": GroupL2(),
    "l1": group_l1(3),
    "groups": GroupNorm(random_basis(3), np.array([1, 0, 1]), np.array([5.0, 4.0])),
    "l1 in a basis": GroupNorm(random_basis(3, 1), np.array([2, 0, 1]), np.array([4.5, 4.0, 6.0])),
    "one group": GroupNorm(random_basis(3, 2), np.zeros(3, int), np.array([2.0])),
    "fourier": GroupNorm(*fourier_basis((3,))),
    "elastic": ElasticNorm(0.3),
    "elastic l1": ElasticNorm(1.0),
    "elastic l2": ElasticNorm(0.0),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_penalty(name):
    check_penalty(PENALTIES[name], np.random.default_rng(3))


@pytest.mark.parametrize("name", PENALTIES)
def test_terms_add_up_to_the_norm_and_bound_its_dual(name):
    penalty, rng = PENALTIES[name], np.random.default_rng(4)
    W = rng.standard_normal((6, 3, 2))
    basis, terms = penalty.terms(3)
    Q = W if basis is None else np.einsum("de,bdc->bec", basis, W)
    norms = sum(w * np.linalg.norm(Q[:, members], axis=1) for w, members in terms)
    assert np.allclose(penalty.block_norms(W), norms)
    assert np.isclose(penalty.value(W), norms.sum())
    assert (penalty.dual_norms(W) <= penalty.dual_factor * np.linalg.norm(W, axis=1).max(axis=1) * (1 + 1e-12)).all()


@pytest.mark.parametrize("n_features", [1, 2, 7, 8])
def test_fourier_norm_is_the_l1_norm_of_the_transform(n_features):
    penalty = GroupNorm(*fourier_basis((n_features,)))
    W = np.random.default_rng(5).standard_normal((4, n_features, 2))
    expected = np.abs(np.fft.fft(W, axis=1)).sum(axis=1) / n_features
    assert np.allclose(penalty.block_norms(W), expected)


@pytest.mark.parametrize("ratio", [0.0, 1e-9, 0.2, 0.5, 0.9, 1 - 1e-9, 1.0])
def test_elastic_dual_norm_solves_its_equation(ratio):
    """|S(g, ratio t)| = (1 - ratio) t, also with ties, zeros and entries of any size."""
    rng = np.random.default_rng(6)
    G = np.concatenate([rng.standard_normal((50, 6, 1)), rng.integers(-2, 3, (50, 6, 1)).astype(float)])
    G[::3] *= 10.0 ** rng.uniform(-150, 150, (34, 1, 1))
    G[-1] = 0.0
    norms = ElasticNorm(ratio).dual_norms(G)
    assert norms[-1] == 0.0
    sizes = np.abs(G[:-1, :, 0]).max(axis=1)
    assert (norms[:-1][sizes == 0] == 0).all()
    entries = np.abs(G[:-1, :, 0][sizes > 0]) / sizes[sizes > 0, None]
    t = norms[:-1][sizes > 0] / sizes[sizes > 0]

    def excess(t):
        return np.linalg.norm(np.maximum(entries - ratio * t[:, None], 0.0), axis=1) - (1 - ratio) * t

    assert (excess(t * (1 + 1e-9)) <= 1e-14).all()
    assert (excess(t * (1 - 1e-9)) >= -1e-14).all()
    assert ((t >= entries.max(axis=1) * (1 - 1e-14)) | (ratio < 1)).all()


def test_sizes_do_not_matter():
    penalty, W = PENALTIES["groups"], np.random.default_rng(7).standard_normal((2, 3, 1))
    for size in (1e-180, 1e180):
        assert np.allclose(penalty.block_norms(size * W), size * penalty.block_norms(W), rtol=1e-12, atol=0)
        assert np.allclose(penalty.dual_norms(size * W), size * penalty.dual_norms(W), rtol=1e-12, atol=0)
    assert penalty.value(np.zeros((2, 3, 1))) == 0.0
