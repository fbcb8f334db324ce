"""Ill-conditioned problems, and networks that try to refute what is proved about them, in exact rational arithmetic."""

import warnings
from fractions import Fraction

import numpy as np
from exact_networks import Data, ExactNetwork
from sklearn.exceptions import ConvergenceWarning

from convexnn import ConvexReLUClassifier, ConvexReLURegressor, Network
from convexnn.geometry.enumeration import ThinCellsError

QUANTILE, DELTA = 0.3, 1.5
LOSSES = (
    "squared_error",
    "squared_error",
    "squared_error",
    "absolute_error",
    "huber",
    "quantile",
    "hinge",
    "squared_hinge",
)


def attack(seed, time_limit=1.5):
    """Check every bound that is proved of a problem, and the objective, against exact values of networks."""
    X, y, weights, loss, parameters, part = problem(seed)
    kind = ConvexReLUClassifier if "hinge" in loss else ConvexReLURegressor
    steepest = 1.0 if weights is None else weights[:, None]
    sizes = np.linalg.norm(X * steepest, axis=0).max() * (1.0 if "hinge" in loss else np.abs(y - np.median(y)).max())
    alpha = part * float(np.clip(sizes, 1e-9, 1e9))

    def fit(**changed):
        options = {"loss": loss, "alpha": alpha, "time_limit": time_limit, **parameters, **changed}
        options |= {} if "hinge" in loss else {"quantile": QUANTILE, "delta": DELTA}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return kind(**options).fit(X, y, weights)

    try:
        model = fit()
    except ThinCellsError:  # which is what there is to say of all cells of such data
        return
    certificate, data = model.certificate_, Data.of(X, y, alpha, loss, weights, DELTA, QUANTILE)
    own, intercept = ExactNetwork.of(model.network_), parameters["fit_intercept"]
    exact = own.objective(data)
    allowed = Fraction(max(certificate.rounding, 1e-12 * certificate.objective))
    assert abs(exact - Fraction(certificate.objective)) <= allowed, "the objective is not what it says"
    local = {"scope": "local"} if "scope" in parameters else {}
    challengers = [
        own,
        ExactNetwork.of(fit(random_state=1, max_iter=10, **local).network_),
        _without_neurons(X, parameters),
    ]
    bound = max(certificate.lower_bound if certificate.scope == "global" else 0.0, certificate.proved_bound)
    for challenger in challengers:
        for network in (challenger, challenger.refitted(data, intercept)):
            assert network.objective(data) >= Fraction(bound), "a network is below what is proved"


def problem(seed):
    """Return X, y, sample weights, the loss, parameters of the estimator, and alpha relative to the data."""
    rng = np.random.default_rng(seed)

    def often(p):
        return rng.random() < p

    n, d = int(rng.integers(3, 11)), int(rng.integers(1, 4))
    X = rng.standard_normal((n, d)) if often(0.5) else rng.integers(-3, 4, (n, d)).astype(float)
    if often(0.7) and d > 1:  # columns that are nearly, or quite, multiples of one another
        j, k = rng.choice(d, 2, replace=False)
        noise = 10.0 ** -rng.integers(8, 17) * rng.integers(-3, 4, n)
        X[:, j] = X[:, k] * rng.choice([1.0, 2.0, -1.0, 3.3]) * (1 + noise * often(0.8))
    if often(0.4):  # a column that is nearly constant
        X[:, rng.integers(d)] = 1 + rng.integers(0, 20, n) * 2.0 ** -rng.integers(30, 53)
    if often(0.4):  # rows that are nearly parallel
        i, k = rng.choice(n, 2, replace=False)
        X[i] = X[k] * rng.choice([1.0, 2.0, -1.0, 0.3]) * (1 + 10.0 ** -rng.integers(8, 17) * rng.integers(-3, 4, d))
    if often(0.3):
        X += 10.0 ** rng.integers(0, 9) * rng.integers(-1, 2, d)
    if often(0.4):
        X *= 10.0 ** rng.integers(-8, 9, d)
    elif often(0.3):
        X *= 10.0 ** rng.integers(-8, 9)
    loss = str(rng.choice(LOSSES))
    y = rng.standard_normal(n) if often(0.5) else rng.integers(-3, 4, n).astype(float)
    y += 10.0 ** rng.integers(0, 9) * often(0.3)
    y *= 10.0 ** (rng.integers(-8, 9) * often(0.3))
    if "hinge" in loss:
        y = np.where(rng.random(n) < 0.5, 1.0, -1.0)
        y[:2] = 1.0, -1.0
    weights = None
    if often(0.3):
        weights = 10.0 ** rng.uniform(-9, 9, n) if often(0.5) else rng.integers(1, 4, n).astype(float)
    hidden_bias = str(rng.choice(["none", "penalized", "free"]))
    parameters = {
        "skip": often(0.7),
        "hidden_bias": hidden_bias,
        "fit_intercept": hidden_bias == "free" or often(0.7),
        "activation": str(rng.choice(["relu", "relu", "leaky_relu", "abs"])),
        "random_state": 0,
    }
    parameters |= {"arrangements": "all"} if often(0.3) else {"scope": "global"}
    return X, y, weights, loss, parameters, float(10.0 ** rng.uniform(-4, 0))


def _without_neurons(X, parameters):
    d = X.shape[1]
    skip = np.zeros((d, 1)) if parameters["skip"] else None
    kind = {name: parameters[name] for name in ("activation", "hidden_bias")}
    return ExactNetwork.of(Network(np.zeros((d, 0)), np.zeros(0), np.zeros((0, 1)), np.zeros(1), skip=skip, **kind))
