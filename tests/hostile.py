"""Hostile fits by hypothesis: data that are legal and hard, in every form that arrays have, and every network.

What has to hold of each of them is in `fit_checks`.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from counts import SEED
from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as st

import convexnn

REGRESSION, LABELS = (
    ("squared_error", "huber", "quantile", "absolute_error"),
    ("log_loss", "softmax", "hinge", "squared_hinge"),
)
# The estimators, each with its losses and its share of the fits.
KINDS = [
    *(("ConvexReLURegressor", loss, 150) for loss in REGRESSION),
    *(("ConvexReLUClassifier", loss, 150) for loss in LABELS),
    *(("ConvexCNNRegressor", loss, 50) for loss in REGRESSION),
    *(("ConvexCNNClassifier", loss, 50) for loss in LABELS),
    *(("CircularCNNRegressor", loss, 25) for loss in REGRESSION),
    *(("CircularCNNClassifier", loss, 25) for loss in LABELS),
    *(("ConvexReLURegressorCV", loss, 25) for loss in REGRESSION),
    *(("ConvexReLUClassifierCV", loss, 25) for loss in LABELS),
]
TIME_LIMIT = 2.0
DEGENERATIONS = (
    "zero row",
    "zero column",
    "constant column",
    "equal rows",
    "nearly equal rows",
    "equal columns",
    "nearly equal columns",
    "collinear rows",
    "one value",
    "offset",
    "few values",
)
FORMS = ("C", "Fortran", "strided", "reversed", "read-only", "big-endian", "float32", "object", "list", "DataFrame")
NUMBERS = ("floats", "floats", "floats", "floats", "integers", "bytes", "booleans")


@dataclass(frozen=True)
class HostileFit:
    """A fit that is legal; its repr is a script."""

    estimator: str
    parameters: dict
    X: object
    y: object
    sample_weight: np.ndarray | None

    def make(self):
        """Return the estimator, not fitted."""
        kind, parameters = getattr(convexnn, self.estimator), dict(self.parameters)
        search = {name: parameters.pop(name) for name in ("cv", "n_alphas", "eps") if name in parameters}
        return kind(getattr(convexnn, self.estimator[:-2])(**parameters), **search) if search else kind(**parameters)

    def fit(self):
        """Return the estimator, fitted."""
        return self.make().fit(self.X, self.y, self.sample_weight)

    def __repr__(self):
        fit, dtype = "\n".join(["", *_assignments(self)]), getattr(self.X, "dtype", type(self.X).__name__)
        return f"{fit}\nmodel = {self.make()!r}.fit(X, y, sample_weight)  # X: {dtype}\n"


def _assignments(fit):
    for name in ("X", "y", "sample_weight"):
        value = getattr(fit, name)
        yield f"{name} = {value if value is None else np.asarray(value).tolist()}"


def for_all(strategy, count, check):
    """Run a check on examples of a strategy, the same ones each time that the seed is the same."""
    healthy = list(HealthCheck)

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=healthy, print_blob=False)
    @seed(SEED)
    @given(strategy)
    def run(example):
        note(repr(example))
        check(example)

    run()


@st.composite
def hostile_fits(draw, estimator, loss):
    """A fit of an estimator with a loss."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    network = draw(_networks(estimator))
    n = draw(st.integers(1, 12))
    d = int(np.prod(network["input_shape"])) if "input_shape" in network else draw(st.integers(1, 3))
    search = estimator.endswith("CV")
    n = max(n, 6) if search else n
    X = draw(_inputs(n, d, rng))
    if loss in REGRESSION:
        several = network.get("output_penalty") is not None and draw(st.integers(0, 3)) == 0
        y = draw(_targets(X, draw(st.integers(2, 3)) if several else 1, rng))
    else:
        n = max(n, 4 if search else 2)
        X = np.resize(X, (n, d))
        y = draw(_labels(X, 3 if loss in ("log_loss", "softmax") and draw(st.booleans()) else 2, search, rng))
    n_outputs = y.shape[1] if y.ndim == 2 else len(np.unique(y)) if loss == "softmax" or len(np.unique(y)) > 2 else 1
    weights = draw(_weights(n, y if loss in LABELS else None, rng))
    X, y = draw(_presented(X, loss)), draw(_presented_targets(y, loss))
    parameters = network | draw(_valid(network, estimator, n_outputs, n, d)) | {"loss": loss}
    if loss in ("huber", "quantile"):
        name, values = ("delta", (1.0, 0.1, 1e3)) if loss == "huber" else ("quantile", (0.5, 0.1, 0.99))
        parameters[name] = draw(st.sampled_from(values))
    parameters |= {"alpha": draw(_alphas(np.asarray(X, float).reshape(n, -1), y if loss in REGRESSION else 1.0, loss))}
    parameters |= {"time_limit": TIME_LIMIT, "random_state": 0, "tol": draw(st.sampled_from((1e-4, 1e-4, 1e-2, 1e-6)))}
    parameters |= {"max_iter": draw(st.sampled_from((None, None, None, 1, 5)))}
    if search:
        del parameters["alpha"]
        parameters |= {"cv": 2, "n_alphas": 3, "eps": 0.05}
    return HostileFit(estimator, parameters, X, y, weights)


@st.composite
def _networks(draw, estimator):
    """Parameters that name a network, which go together but for what depends on the data."""
    if estimator.startswith("Circular"):
        shape = draw(st.sampled_from(((1,), (2,), (3,), (2, 2))))
        activation = draw(st.sampled_from(("relu", "gated_relu", "linear")))
        return {"input_shape": shape, "activation": activation, "fit_intercept": draw(st.booleans())}
    shaped = {}
    activations = ["relu", "relu", "relu", "leaky_relu", "abs", "linear", "gated_relu", "threshold"]
    if "CNN" in estimator:
        shaped["input_shape"] = shape = draw(st.sampled_from(((1, 3), (1, 5), (2, 3), (1, 2, 3))))
        shaped["kernel_size"] = draw(st.integers(1, min(shape[1:])))
        shaped |= {"stride": draw(st.integers(1, 2)), "padding": draw(st.integers(0, 1))}
        shaped["pooling"] = draw(st.sampled_from(("mean", "sum", "max", "none")))
        activations = {"max": ["relu"], "none": ["linear", "gated_relu"]}.get(shaped["pooling"], activations[:-1])
    network = {**shaped, "activation": draw(st.sampled_from(activations)), "output_penalty": "weight_decay"}
    if network["activation"] == "leaky_relu":
        network["negative_slope"] = draw(st.sampled_from((0.01, 0.5, 0.0, -0.5, -2.0)))
    free = network["activation"] not in ("threshold", "gated_relu")
    network["hidden_bias"] = draw(st.sampled_from(("penalized", "penalized", "none", "free")[: 4 if free else 3]))
    network["fit_intercept"] = network["hidden_bias"] == "free" or draw(st.booleans())
    if shaped.get("pooling") != "none":
        network["output_penalty"] = draw(st.sampled_from(("weight_decay", "weight_decay", "l1")))
    if not shaped:
        network["skip"] = draw(st.sampled_from((False, False, True)))
        if network["hidden_bias"] != "free" and network["activation"] != "threshold":
            network["hidden_norm"] = draw(st.sampled_from(("l2", "l2", "l2", "l2", "l1", 0.5)))
    return network


@st.composite
def _valid(draw, network, estimator, n_outputs, n, d):
    """What else goes with a network on data of these sizes: patterns, and changes that several outputs need."""
    l2, constrained = network.get("hidden_norm", "l2") == "l2", network["activation"] in ("relu", "leaky_relu", "abs")
    changed, penalty = {}, network.get("output_penalty")
    if n_outputs > 1 and not l2:
        penalty = changed["output_penalty"] = "l1"
    coupled = n_outputs > 1 and constrained and penalty == "weight_decay" and not estimator.startswith("Circular")
    if network.get("pooling") == "max" and coupled:
        penalty, coupled = changed.setdefault("output_penalty", "l1"), False
    small = n <= 6 and d <= 2 and "input_shape" not in network
    choices = ["adaptive", "adaptive", "adaptive"]
    if not (coupled or (constrained and network.get("pooling") == "max")):
        choices += [1, 20, *["all"] * small]
    arrangements = changed["arrangements"] = draw(st.sampled_from(choices))
    generated = constrained and l2 and arrangements == "adaptive" and network.get("pooling") != "max"
    if generated and not coupled and not estimator.startswith("Circular"):
        changed["scope"] = draw(st.sampled_from(("auto", "auto", "local", "global")))
    elif (
        arrangements != "adaptive"
        and n_outputs == 1
        and network.get("pooling") != "none"
        and not estimator.startswith("Circular")
    ):
        changed["solver"] = draw(st.sampled_from(("auto", "auto", "auto", "conic")))
    return changed


@st.composite
def _inputs(draw, n, d, rng):
    """Floats (n, d), made degenerate in up to two ways and scaled, altogether or column by column."""
    X = rng.standard_normal((n, d))
    i, j, (k, m) = rng.integers(n), rng.integers(d), (rng.integers(n), rng.integers(d))
    near = 10.0 ** -draw(st.sampled_from((6, 10, 12, 14, 16)))
    for name in draw(st.lists(st.sampled_from(DEGENERATIONS), max_size=2, unique=True)):
        if name in ("zero row", "equal rows", "nearly equal rows"):
            X[i] = 0.0 if name == "zero row" else X[k] + near * rng.standard_normal(d) * (name == "nearly equal rows")
        elif name in ("zero column", "constant column"):
            X[:, j] = 0.0 if name == "zero column" else X[0, j]
        elif name in ("equal columns", "nearly equal columns"):
            X[:, j] = X[:, m] + near * rng.standard_normal(n) * (name == "nearly equal columns")
        elif name == "collinear rows":
            X = np.outer(X[:, 0], X[0])
        elif name == "one value":
            X[:] = X[0, 0]
        else:
            X = X + 1e5 if name == "offset" else np.round(X)
    exponents = st.sampled_from((0, 0, 0, 0, -12, -6, -3, 3, 6, 12))
    scales = [draw(exponents) for _ in range(d)] if draw(st.integers(0, 3)) == 0 else draw(exponents)
    return X * 10.0 ** np.asarray(scales)


@st.composite
def _targets(draw, X, n_outputs, rng):
    """Targets of a regression (n,) or (n, n_outputs)."""
    n, Y = len(X), rng.standard_normal((len(X), n_outputs))
    kind = draw(st.sampled_from(("noise", "noise", "kinked", "linear", "constant", "zero", "counts", "few", "outlier")))
    if kind in ("kinked", "linear"):
        Y = X @ rng.standard_normal((X.shape[1], n_outputs)) / (np.abs(X).max() or 1.0)
        Y = np.abs(Y) if kind == "kinked" else Y
    elif kind in ("constant", "zero"):
        Y = np.full((n, n_outputs), 0.0 if kind == "zero" else 3.7)
    elif kind in ("counts", "few"):
        Y = np.maximum(np.round(3 * Y), 0.0) if kind == "counts" else np.sign(Y)
    elif kind == "outlier":
        Y[0] *= 1e6
    Y = Y * 10.0 ** draw(st.sampled_from((0, 0, 0, 0, -12, -6, 6, 12)))
    return Y if n_outputs > 1 else Y[:, 0]


@st.composite
def _labels(draw, X, n_classes, search, rng):
    """Classes (n,), at least two of them, of two samples each where they are to be split."""
    n, kind = len(X), draw(st.sampled_from(("random", "separable", "rare")))
    classes = rng.integers(0, n_classes, n)
    if kind == "separable":
        classes = (X[:, 0] > np.median(X[:, 0])).astype(int)
    elif kind == "rare":
        classes[:] = 0
    least = 2 if search else 1
    classes[:least], classes[least : 2 * least] = 0, 1
    if search and n_classes == 3:
        classes[classes == 2] = 1
    return np.array(draw(st.sampled_from((["a", "b", "c"], [0, 1, 2], [-1.0, 0.0, 7.0]))))[classes]


@st.composite
def _weights(draw, n, labels, rng):
    """Sample weights, or None; at least one sample of every class has one."""
    kind = draw(st.sampled_from(("none", "none", "none", "ones", "counts", "extreme", "zeros")))
    if kind == "none":
        return None
    weights = np.ones(n) if kind == "ones" else rng.integers(1, 4, n) if kind == "counts" else rng.uniform(0.5, 2.0, n)
    if kind == "extreme":
        weights = 10.0 ** rng.uniform(-9, 9, n)
    if kind == "zeros":
        first = [0] if labels is None else np.unique(labels, return_index=True)[1]
        weights = np.where(rng.random(n) < 0.5, 0.0, weights)
        weights[first] = 1.0
    return weights


@st.composite
def _alphas(draw, X, y, loss):
    """alpha as "auto", or from tiny to huge, mostly in the unit of the problem."""
    choice = draw(st.sampled_from(("auto", "auto", "in the unit", "in the unit", "as it is")))
    if choice == "auto":
        return choice
    exponent = draw(st.floats(-9, 2) if choice == "in the unit" else st.floats(-12, 12))
    unit = len(X) * (np.abs(X).max() or 1.0) * ((np.abs(y).max() or 1.0) if loss in ("squared_error", "huber") else 1.0)
    return float(10.0**exponent * (unit if choice == "in the unit" else 1.0))


@st.composite
def _presented(draw, X, loss):
    """Inputs in one of the forms that arrays have."""
    numbers, form = draw(st.sampled_from(NUMBERS)), draw(st.sampled_from(FORMS))
    if numbers == "booleans":
        X = X > 0
    elif numbers != "floats":
        X = np.round(3 * X / (np.abs(X).max() or 1.0)).astype(np.int64 if numbers == "integers" else np.int8)
    return _in_form(X, form)


@st.composite
def _presented_targets(draw, y, loss):
    """Targets in one of the forms that arrays have."""
    forms = [
        form for form in FORMS if form not in ("DataFrame", "object", *["float32", "big-endian"] * (loss in LABELS))
    ]
    return _in_form(y, draw(st.sampled_from(forms)))


def _in_form(values, form):
    if form == "strided":
        values = np.repeat(values, 2, axis=0)[::2]
    elif form == "reversed":
        values = values[::-1].copy()[::-1]
    elif form == "read-only":
        values = values.copy()
        values.flags.writeable = False
    elif form == "big-endian":
        values = values.astype(values.dtype.newbyteorder(">"))
    elif form == "float32" and values.dtype == float:
        values = values.astype(np.float32)
    elif form == "DataFrame":
        values = pd.DataFrame(values, columns=[f"feature {j}" for j in range(values.shape[1])])
    elif form != "C":
        change = {"Fortran": np.asfortranarray, "object": partial(np.asarray, dtype=object), "list": np.ndarray.tolist}
        values = change.get(form, np.asarray)(values)
    return values
