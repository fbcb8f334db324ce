"""Estimators of one feature: the spline is what generation finds, as a network, with a proof."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from convexnn import ConvexReLURegressor
from convexnn.special import spline

KINDS = {
    "plain": {},
    "skip": {"skip": True},
    "outputs": {"n_outputs": 3, "output_penalty": "l1"},
    "weights": {"weighted": True},
    "copies": {"copies": True},
    "far from zero": {"unit": 1e3, "shift": 5e4},
}


def data(n_outputs=1, copies=False, unit=1.0, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3, 3, 40)
    x = np.concatenate([x, x[:10]]) if copies else x
    Y = np.sin(2 * x[:, None] + np.arange(n_outputs)) + 0.2 * rng.standard_normal((len(x), n_outputs))
    return unit * x[:, None] + shift, Y[:, 0] if n_outputs == 1 else Y


def fit(kind, solver, alpha=0.5, **options):
    settings = dict(KINDS[kind])
    weighted = settings.pop("weighted", False)
    X, Y = data(**{name: settings.pop(name) for name in ("n_outputs", "copies", "unit", "shift") if name in settings})
    weights = np.random.default_rng(1).uniform(0.2, 2.0, len(X)) if weighted else None
    alpha *= KINDS[kind].get("unit", 1.0)
    model = ConvexReLURegressor(
        alpha=alpha, hidden_bias="free", solver=solver, tol=1e-6, random_state=0, **settings, **options
    )
    return model.fit(X, Y, sample_weight=weights), X, Y


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_what_generation_finds(kind):
    model, X, _ = fit(kind, "auto")
    other, *_ = fit(kind, "generation")
    certificate = model.certificate_
    assert certificate.scope == "global"
    assert certificate.gap <= 1e-9
    assert abs(certificate.objective - other.certificate_.objective) <= 3e-6 * certificate.objective
    assert np.allclose(model.predict(X), other.predict(X), atol=0.02)
    assert model.n_neurons_ > 0
    assert len(model.arrangements_.gates) > 0
    assert model.n_iter_ == len(model.history_) == 1


def test_no_kinks_are_no_neurons():
    model, X, Y = fit("plain", "auto", alpha=1e3)
    assert model.n_neurons_ == 0
    assert np.allclose(model.predict(X), Y.mean())
    assert model.certificate_.gap <= 1e-12


@pytest.mark.parametrize(
    ("parameters", "n_features"),
    [
        ({"hidden_bias": "free"}, 1),
        ({"solver": "cvxpy", "arrangements": 5}, 2),
        ({"solver": "SCS", "arrangements": 5}, 1),
    ],
)
def test_every_solver_says_solved_where_it_is(parameters, n_features):
    X = np.random.default_rng(0).standard_normal((7, n_features))
    for y in (np.abs(X[:, 0]), np.zeros(7), np.full(7, 2.0)):
        model = ConvexReLURegressor(0.5, random_state=0, tol=1e-3, **parameters).fit(X, y)
        assert model.certificate_.gap <= 1e-3
        assert model.status_ == "solved"


def test_generation_takes_over_where_the_spline_fails(monkeypatch):
    """A spline that is not proved is not kept."""
    solve_spline = spline.solve_spline

    def wrong(x, Y, *args):
        return solve_spline(x, Y + x[:, None] ** 2, *args)

    monkeypatch.setattr(spline, "solve_spline", wrong)
    model, *_ = fit("plain", "auto")
    other, *_ = fit("plain", "generation")
    assert model.certificate_.objective == other.certificate_.objective


@pytest.mark.parametrize("alpha", [1e-7, 1e-10])
def test_a_tiny_alpha_does_not_break_it(alpha):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model, X, Y = fit("plain", "auto", alpha=alpha, time_limit=3)
    assert model.certificate_.lower_bound <= model.certificate_.objective
    assert np.abs(model.predict(X) - Y).max() <= 0.05


def test_it_says_what_it_did(capsys):
    fit("plain", "auto", verbose=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Proved over all activation patterns" in shown.err
