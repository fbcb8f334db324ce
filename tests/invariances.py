"""What is known of an optimum from another one: pairs of problems whose optima are equal, multiples, or ordered.

    optimum of the changed problem = scale * optimum of the problem,   or at most that

Two intervals from lower bound to objective have to agree with that; weights are not compared.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import strategies as st

from convexnn import ConvexReLUClassifier, ConvexReLURegressor

REGRESSION, LABELS = ("squared_error", "huber", "quantile", "absolute_error"), ("log_loss", "hinge", "squared_hinge")
ROUNDING = 1e-9


@dataclass(frozen=True)
class Problem:
    """Data and the parameters of an estimator."""

    X: np.ndarray
    y: np.ndarray
    parameters: dict = field(default_factory=dict)
    sample_weight: np.ndarray | None = None

    def fit(self, **changes):
        """Return the fitted estimator."""
        kind = ConvexReLURegressor if self.parameters["loss"] in REGRESSION else ConvexReLUClassifier
        options = {"random_state": 0, "time_limit": 20.0, **self.parameters, **changes}
        return kind(**options).fit(self.X, self.y, self.sample_weight)

    def change(self, X=None, y=None, sample_weight=None, **changes):
        """Return the problem with other data or parameters."""
        X, y = self.X if X is None else X, self.y if y is None else y
        weights = self.sample_weight if sample_weight is None else sample_weight
        return replace(self, X=X, y=y, sample_weight=weights, parameters=self.parameters | changes)

    def __repr__(self):
        weights = None if self.sample_weight is None else self.sample_weight.tolist()
        return f"\nX = {self.X.tolist()}\ny = {self.y.tolist()}\nsample_weight = {weights}\n{self.parameters}\n"


@st.composite
def problems(draw, losses=REGRESSION + LABELS, **fixed):
    """A small problem, of noise or of few values; what is `fixed` is given."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, d = draw(st.integers(2, 9)), draw(st.integers(1, 2))
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    if draw(st.integers(0, 3)) == 0:
        X, y = np.round(2 * X), np.round(2 * y)
    loss = draw(st.sampled_from(losses))
    parameters = {"loss": loss, "activation": draw(st.sampled_from(("relu", "relu", "relu", "leaky_relu", "abs")))}
    parameters["hidden_bias"] = draw(st.sampled_from(("penalized", "none", "free")))
    parameters["fit_intercept"] = parameters["hidden_bias"] == "free" or draw(st.booleans())
    parameters["skip"] = draw(st.integers(0, 3)) == 0
    parameters |= {"quantile": draw(st.sampled_from((0.5, 0.2)))} if loss == "quantile" else {}
    parameters["alpha"] = 10.0 ** draw(st.floats(-3, 1))
    if loss in LABELS:
        y = np.where(np.arange(n) < 1, -1.0, np.where(np.arange(n) < 2, 1.0, np.where(y > 0, 1.0, -1.0)))
    return Problem(X, y, parameters | fixed)


def check_equal(problem, other, scale=1.0):
    """The optimum of `other` is `scale` times that of `problem`."""
    (low, high), (other_low, other_high) = _interval(problem.fit()), _interval(other.fit())
    assert scale * low <= other_high, f"{scale * low} is a bound, {other_high} was reached"
    assert other_low <= scale * high, f"{other_low} is a bound, {scale * high} was reached"


def check_at_most(problem, other):
    """The optimum of `other` is at most that of `problem`."""
    (_, high), (low, _) = _interval(problem.fit()), _interval(other.fit())
    assert low <= high, f"{low} is a bound, {high} was reached"


def _interval(model):
    """Where the optimum is, a bit wider for rounding."""
    certificate = model.certificate_
    slack = certificate.rounding + ROUNDING * certificate.objective
    return certificate.lower_bound - slack, certificate.objective + slack


# Changes that leave the optimum: (problem, rng) -> other problem.
SAME = {
    "rows in another order": lambda p, rng: (lambda i: p.change(p.X[i], p.y[i]))(rng.permutation(len(p.X))),
    "columns in another order": lambda p, rng: p.change(p.X[:, rng.permutation(p.X.shape[1])]),
    "a rotation": lambda p, rng: p.change(p.X @ np.linalg.qr(rng.standard_normal((p.X.shape[1],) * 2))[0]),
    "a column of zeros": lambda p, rng: p.change(np.column_stack([p.X, np.zeros(len(p.X))])),
    "a column twice, turned": lambda p, rng: p.change(np.column_stack([0.6 * p.X, 0.8 * p.X])),
    "rows without weight": lambda p, rng: p.change(
        np.vstack([p.X, 10 * rng.standard_normal((2, p.X.shape[1]))]),
        np.append(p.y, p.y[:2]),
        np.append(np.ones(len(p.X)), [0.0, 0.0]),
    ),
    "a sample in two halves": lambda p, rng: p.change(
        np.vstack([p.X, p.X[:1]]), np.append(p.y, p.y[0]), np.append(np.append(0.5, np.ones(len(p.X) - 1)), 0.5)
    ),
}
# Changes of the units: (problem) -> other problem, and its optimum by that of the problem.
SCALED = {
    "X and alpha, free biases": (
        {"hidden_bias": "free", "fit_intercept": True},
        lambda p: (p.change(64 * p.X, alpha=64 * p.parameters["alpha"]), 1.0),
    ),
    "X and alpha, no biases": (
        {"hidden_bias": "none"},
        lambda p: (p.change(0.01 * p.X, alpha=0.01 * p.parameters["alpha"]), 1.0),
    ),
    "y and alpha": (
        {"loss": "squared_error"},
        lambda p: (p.change(y=1e-3 * p.y, alpha=1e-3 * p.parameters["alpha"]), 1e-6),
    ),
    "y, alpha and delta": (
        {"loss": "huber"},
        lambda p: (p.change(y=10 * p.y, alpha=10 * p.parameters["alpha"], delta=10.0), 100.0),
    ),
    "y": ({"loss": "absolute_error"}, lambda p: (p.change(y=1e3 * p.y), 1e3)),
    "weights and alpha": (
        {},
        lambda p: (p.change(sample_weight=np.full(len(p.X), 7.0), alpha=7 * p.parameters["alpha"]), 7.0),
    ),
    "the sign of y": ({"loss": "squared_error"}, lambda p: (p.change(y=-p.y), 1.0)),
    "the sign of y, absolute": ({"loss": "absolute_error"}, lambda p: (p.change(y=-p.y), 1.0)),
    "the sign of y, quantile": (
        {"loss": "quantile", "quantile": 0.2},
        lambda p: (p.change(y=-p.y, quantile=0.8), 1.0),
    ),
    "the labels": ({"loss": "log_loss"}, lambda p: (p.change(y=-p.y), 1.0)),
    "the labels, hinge": ({"loss": "hinge"}, lambda p: (p.change(y=-p.y), 1.0)),
    "a constant": (
        {"loss": "absolute_error", "fit_intercept": True},
        lambda p: (p.change(y=p.y + 5.0), 1.0),
    ),
    "a linear function": (
        {"loss": "squared_error", "skip": True},
        lambda p: (p.change(y=p.y + 2.0 * p.X[:, 0]), 1.0),
    ),
}
# Changes that never raise the optimum: (problem, rng) -> other problem.
LOWER = {
    "less alpha": lambda p, rng: p.change(alpha=0.5 * p.parameters["alpha"]),
    "a skip": lambda p, rng: p.change(skip=True),
    "an intercept": lambda p, rng: p.change(fit_intercept=True),
    "free biases": lambda p, rng: p.change(hidden_bias="free", fit_intercept=True),
    "one more column": lambda p, rng: p.change(np.column_stack([p.X, rng.standard_normal(len(p.X))])),
    "less weight": lambda p, rng: p.change(sample_weight=rng.uniform(0.1, 1.0, len(p.X))),
    "more patterns": lambda p, rng: p.change(arrangements="adaptive"),
}
