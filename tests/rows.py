"""Kinds of rows that projections onto their cones have to survive."""

import numpy as np
import pytest


def gaussian(rng):
    return rng.standard_normal((int(rng.integers(1, 30)), int(rng.integers(1, 8))))


def integer(rng):
    return rng.integers(-2, 3, gaussian(rng).shape).astype(float)


def duplicated(rng):
    X = gaussian(rng)
    return np.vstack([X, X, X[:1]])


def parallel(rng):
    X = gaussian(rng)
    return np.vstack([X, 3 * X, -0.7 * X[: len(X) // 2], -X[:2]])


def with_zero_rows(rng):
    X = gaussian(rng)
    X[rng.random(len(X)) < 0.4] = 0.0
    return X


def rank_deficient(rng):
    X = gaussian(rng)
    rank = max(1, X.shape[1] // 2)
    return X[:, :rank] @ rng.standard_normal((rank, X.shape[1]))


def scaled_rows(rng):
    X = gaussian(rng)
    return X * 10.0 ** rng.uniform(-8, 8, (len(X), 1))


def scaled_columns(rng):
    X = gaussian(rng)
    return X * 10.0 ** rng.uniform(-2, 2, X.shape[1])


def equal_columns(rng):
    X = gaussian(rng)
    X[:, 0] = X[:, -1]
    return X


def wide(rng):
    return rng.standard_normal((int(rng.integers(1, 6)), int(rng.integers(6, 12))))


def far_from_zero(rng):
    X = gaussian(rng)[:, :5]
    return np.column_stack([X + 2000, np.ones(len(X))])


def integers_far_from_zero(rng):
    X = rng.integers(0, 4, gaussian(rng)[:, :5].shape)
    return np.column_stack([X + 2000.0, np.ones(len(X))])


KINDS = [
    *(gaussian, integer, duplicated, parallel, with_zero_rows, rank_deficient, scaled_rows, scaled_columns),
    *(equal_columns, wide, far_from_zero, integers_far_from_zero),
]


each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
