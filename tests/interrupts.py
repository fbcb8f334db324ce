"""Fits of every kind that are interrupted, and what has to be true afterwards."""

import warnings
from copy import copy

import numpy as np

from convexnn import (
    ConvexCNNRegressor,
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    regularization_path,
)

__all__ = ["KINDS", "fit", "interrupted_fit"]


def _data(n, d, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.maximum(X @ rng.standard_normal((d, 3)), 0).sum(axis=1) + 0.1 * rng.standard_normal(n)


def _classes(n, d, seed=0):
    X, y = _data(n, d, seed)
    return X, np.digitize(y, np.quantile(y, [0.3, 0.7]))


def _images(n, shape, seed=0):
    X = np.random.default_rng(seed).standard_normal((n, np.prod(shape)))
    return X, np.maximum(X[:, 1:] - X[:, :-1], 0).mean(axis=1)


class _Path(ConvexReLURegressor):
    """The last network of a regularization path, as a fit."""

    def fit(self, X, y):
        path = regularization_path(X, y, estimator=ConvexReLURegressor(tol=1e-2, random_state=0), n_alphas=4)
        self.__dict__ = vars(copy(path.estimators[-1]))
        return self


# What is fitted to which data; `scale` is how many times as many samples a longer fit has.
KINDS = {
    "default": lambda scale: (ConvexReLURegressor(random_state=0), *_data(40 * scale, 3)),
    "classifier": lambda scale: (
        ConvexReLUClassifier(alpha=0.5, tol=1e-2, random_state=0),
        *_classes(40 * scale, 2),
    ),
    "outputs apart": lambda scale: (
        ConvexReLUClassifier(alpha=0.5, output_penalty="l1", tol=1e-2, random_state=0),
        *_classes(30 * scale, 2),
    ),
    "search": lambda scale: (
        ConvexReLURegressorCV(ConvexReLURegressor(tol=1e-2, random_state=0), n_alphas=4, cv=2),
        *_data(30 * scale, 2),
    ),
    "search of a classifier": lambda scale: (
        ConvexReLUClassifierCV(ConvexReLUClassifier(tol=1e-2, random_state=0), n_alphas=3, cv=2),
        *_classes(30 * scale, 2),
    ),
    "path": lambda scale: (_Path(), *_data(30 * scale, 2)),
    "filters": lambda scale: (
        ConvexCNNRegressor(0.05, input_shape=(1, 4, 4), kernel_size=2, tol=1e-2, random_state=0),
        *_images(10 * scale, (4, 4)),
    ),
    "filters, max pooling": lambda scale: (
        ConvexCNNRegressor(0.05, input_shape=(1, 4, 4), kernel_size=2, pooling="max", arrangements=20, random_state=0),
        *_images(15 * scale, (4, 4)),
    ),
    "sampled": lambda scale: (ConvexReLURegressor(arrangements=100, random_state=0), *_data(40 * scale, 4)),
    "all": lambda scale: (ConvexReLURegressor(alpha=0.1, arrangements="all"), *_data(12 * scale, 2)),
    "conic": lambda scale: (
        ConvexReLURegressor(alpha=0.1, arrangements=40, hidden_norm="l1", random_state=0),
        *_data(15 * scale, 2),
    ),
    "cvxpy": lambda scale: (
        ConvexReLURegressor(alpha=0.1, arrangements=30, solver="cvxpy", random_state=0),
        *_data(15 * scale, 2),
    ),
    "global": lambda scale: (ConvexReLURegressor(alpha=0.05, scope="global", random_state=0), *_data(25 * scale, 2)),
    "spline": lambda scale: (
        ConvexReLURegressor(alpha=0.05, hidden_bias="free", random_state=0),
        *_data(30 * scale, 1),
    ),
}


def fit(model, X, y):
    """Fit a model without its warnings, or leave it to an interrupt."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y)


def interrupted_fit(kind, scale, interrupt, complete):
    """Fit with an interrupt under way, and check what is left.

    Parameters
    ----------
    kind : str
        One of KINDS.
    scale : int
        Of its data.
    interrupt : callable
        Returns a context in which KeyboardInterrupt is raised at some time.
    complete : estimator
        What the same fit is without an interrupt.

    Returns
    -------
    bool
        Whether the fit returned.
    """
    model, X, y = KINDS[kind](scale)
    before = dict(vars(model))
    try:
        with interrupt():
            fit(model, X, y)
    except KeyboardInterrupt:  # which leaves the estimator as it was
        assert vars(model).keys() == before.keys()
        assert all(vars(model)[name] is value for name, value in before.items())
        return False
    assert vars(complete).keys() <= vars(model).keys()
    assert np.isfinite(np.asarray(model.predict(X), float)).all()
    certificate = model.certificate_
    assert 0 <= certificate.lower_bound <= certificate.objective * (1 + 1e-9) + certificate.rounding
    assert np.isfinite([certificate.objective, model.alpha_max_]).all()
    assert model.summary()
    return True
