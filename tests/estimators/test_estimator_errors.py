"""Bad input of the estimators: each error names the parameter or the data, and what is accepted."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils._param_validation import InvalidParameterError

from convexnn import CircularCNNRegressor, ConvexCNNRegressor, ConvexReLUClassifier, ConvexReLURegressor

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 2))
Y = np.abs(X[:, 0]) + 0.3 * X[:, 1] + 0.1 * RNG.standard_normal(12)


@pytest.mark.parametrize(
    ("bad_X", "bad_y", "message"),
    [
        ([[np.nan, 1.0]] * 3, [1, 2, 3], "X contains NaN"),
        ([[np.inf, 1.0]] * 3, [1, 2, 3], "X contains infinity"),
        (X, np.r_[np.nan, Y[1:]], "y contains NaN"),
        (X, np.r_[np.inf, Y[1:]], "y contains infinity"),
        (np.empty((0, 2)), [], "0 sample"),
        (np.empty((3, 0)), [1, 2, 3], "0 feature"),
        (X, Y[:-1], "inconsistent numbers of samples"),
        (X[:, 0], Y, "Expected 2D array"),
        (X, np.zeros((12, 2, 2)), "dim 3"),
        ([["a", "b"], ["c", "d"]], [1, 2], "could not convert string to float"),
    ],
)
def test_bad_data_raise(bad_X, bad_y, message):
    with pytest.raises(ValueError, match=message):
        ConvexReLURegressor(0.1, arrangements=10).fit(bad_X, bad_y)


@pytest.mark.parametrize("model", [ConvexReLURegressor(0.1), ConvexReLUClassifier(0.1)])
def test_tables_with_text_and_gaps_say_what_to_do(model):
    frame = pd.DataFrame({"size": [1.0, np.nan, 3.0, 4.0], "kind": ["a", "b", "a", "c"], "note": ["x", "y", None, "z"]})
    target = [0, 1, 0, 1]
    with pytest.raises(
        ValueError, match=r"columns 'kind', 'note' contain text .*OneHotEncoder.*Pipeline.*SimpleImputer"
    ):
        model.fit(frame, target)
    with pytest.raises(ValueError, match=r"X must be numeric; it contains text \(could not convert string to float"):
        model.fit(frame.to_numpy(), target)
    with pytest.raises(ValueError, match=r"NaN.*imputer transformer in a pipeline") as caught:
        model.fit(frame[["size"]], target)
    assert "X contains NaN" in str(caught.value)
    dates = frame.assign(day=pd.to_datetime(["2020-01-01", "2020-01-02", "2021-01-01", "2022-01-01"]))
    for names in (["day"], ["size", "day"]):
        with pytest.raises(ValueError, match=r"X must be numeric; column 'day' contains dates: make numbers"):
            model.fit(dates[names], target)
    with pytest.raises(ValueError, match=r"X must be numeric; it contains dates: make numbers"):
        model.fit(dates[["day"]].to_numpy(), target)
    with pytest.raises(
        ValueError, match=r"y must be numeric; it contains text \(.*'high'.*\); a classifier takes classes"
    ):
        ConvexReLURegressor(0.1).fit([[1.0], [2.0]], ["high", "low"])
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer([("numbers", numbers, ["size"]), ("text", OneHotEncoder(), ["kind"])])
    assert make_pipeline(columns, clone(model)).fit(frame, target).predict(frame).shape == (4,)


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("alpha", 0, r"a float in the range \(0.0, inf\) or a str among {'auto'}"),
        ("alpha", -1.0, "a float"),
        ("alpha", np.nan, "a float"),
        ("alpha", np.inf, "a float"),
        ("alpha", "small", "a str among {'auto'}"),
        ("alpha", None, "a float"),
        ("alpha", [0.1], "a float"),
        ("activation", "tanh", "a str among {.*'gated_relu'"),
        ("arrangements", "some", "a str among {'a.*an array-like"),
        ("arrangements", 0, r"an int in the range \[1, inf\)"),
        ("arrangements", 2.5, "an int"),
        ("hidden_bias", "all", "a str among {.*'penalized'"),
        ("loss", "log_loss", "a str among {.*'quantile'"),
        ("delta", 0, r"a float in the range \(0.0, inf\)"),
        ("quantile", 1.5, r"a float in the range \(0.0, 1.0\)"),
        ("negative_slope", 1.0, r"a float in the range \(-inf, 1.0\)"),
        ("hidden_norm", "circular", r"a str among {'l\d', 'l\d'} or a float in the range \(0.0, 1.0\)"),
        ("output_penalty", "l2", "a str among {.*'weight_decay'"),
        ("fit_intercept", 2, "an instance of 'bool'"),
        ("skip", "yes", "an instance of 'bool'"),
        ("scope", "everywhere", "a str among {.*'global'"),
        ("rank", 0, "an int in the range .* or None"),
        ("solver", None, "an instance of 'str'"),
        ("tol", 0, r"a float in the range \(0.0, inf\)"),
        ("tol", "tight", "a float"),
        ("max_iter", 0, r"an int in the range \[1, inf\) or None"),
        ("time_limit", 0, "a float in the range .* or None"),
        ("random_state", "seed", "'numpy.random.mtrand.RandomState'"),
        ("verbose", "loud", "an int in the range"),
    ],
)
def test_parameters_are_checked_as_scikit_learn_does(name, value, accepted):
    message = f"The '{name}' parameter of ConvexReLURegressor must be .*{accepted}.* Got .* instead"
    with pytest.raises(InvalidParameterError, match=message):
        ConvexReLURegressor(**{name: value}).fit(X, Y)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"alpha": True}, TypeError, "alpha must be a number"),
        ({"arrangements": np.ones((2, 2))}, ValueError, r"gates must have one column a feature.*\(n_gates, 3\)"),
        (
            {"solver": "adam"},
            ValueError,
            "solver must be one of 'auto', 'conic', 'generation', 'newton', 'fista', 'cvxpy'.*got 'adam'",
        ),
        ({"verbose": 3}, ValueError, "verbose must be"),
    ],
)
def test_other_bad_parameters_raise_at_fit(bad, error, message):
    model = ConvexReLURegressor(**{"arrangements": 10, **bad})
    with pytest.raises(error, match=message):
        model.fit(X, Y)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"activation": "threshold", "hidden_bias": "free"}, 'hidden_bias="free" is for .* other than "threshold"'),
        ({"activation": "gated_relu", "hidden_bias": "free"}, 'hidden_bias must be "penalized" or "none" for gated'),
        ({"hidden_norm": "l1", "hidden_bias": "free"}, 'hidden_bias="free" is for hidden_norm="l2"'),
        ({"hidden_bias": "free", "fit_intercept": False}, "fit_intercept must be True"),
        ({"activation": "gated_relu", "rank": 1}, "rank must be None but for"),
        ({"activation": "threshold", "scope": "global"}, "scope must be 'auto' but for"),
        ({"hidden_norm": "l1", "scope": "local"}, "scope must be 'auto' but for"),
        ({"arrangements": 5, "scope": "local"}, "scope must be 'auto' but for"),
        ({"hidden_norm": "l1", "solver": "newton"}, 'solver must be "auto", "conic" or "cvxpy" for hidden_norm=\'l1\''),
        ({"hidden_norm": "l1", "solver": "generation"}, "solve_generation needs hidden_norm"),
        ({"activation": "gated_relu", "solver": "generation"}, 'solver "generation" is for activation "relu"'),
        ({"solver": "newton"}, 'arrangements="adaptive" is for solve_generation'),
    ],
)
def test_combinations_that_are_not_supported_say_what_is(bad, message):
    with pytest.raises(ValueError, match=message):
        ConvexReLURegressor(0.1, **bad).fit(X, Y)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(12), "zero"),
        (-np.ones(12), "sample_weight must not be negative"),
        (np.ones(11), "sample_weight"),
        (np.full(12, np.nan), "NaN"),
    ],
)
def test_bad_sample_weights_raise(weights, message):
    with pytest.raises(ValueError, match=message):
        ConvexReLURegressor(0.1, arrangements=10).fit(X, Y, sample_weight=weights)


@pytest.mark.parametrize("kind", [ConvexReLURegressor, ConvexReLUClassifier, CircularCNNRegressor, ConvexCNNRegressor])
@pytest.mark.parametrize("activation", ["linear", "gated_relu"])
@pytest.mark.parametrize("solver", ["generation", "conic"])
def test_solvers_that_do_not_fit_the_network_are_named(kind, activation, solver):
    """Of matrix blocks, and of patterns that are not those of the weights: a fit, or an error of the parameter."""
    shape = (
        {} if kind.__name__.startswith("ConvexReLU") else {"input_shape": (1, 2) if "Convex" in kind.__name__ else (2,)}
    )
    patches = {"kernel_size": 1, "pooling": "none"} if kind is ConvexCNNRegressor else {}
    y = np.arange(12) % 3 if kind is ConvexReLUClassifier else np.column_stack([Y, -Y])
    model = kind(alpha=0.1, activation=activation, solver=solver, arrangements=5, random_state=0, **shape, **patches)
    if solver == "conic" and kind is CircularCNNRegressor:
        assert model.fit(X, y).certificate_.gap <= 1e-4
    else:
        with pytest.raises(ValueError, match="solver"):
            model.fit(X, y)


@pytest.mark.parametrize(
    "model",
    [
        ConvexReLURegressor(0.1, activation="gated_relu"),
        ConvexReLURegressor(0.1, hidden_norm="l1"),
        ConvexCNNRegressor(0.1, kernel_size=1, pooling="max"),
        CircularCNNRegressor(0.1),
    ],
)
def test_patterns_that_nobody_asked_for_are_not_missed(model):
    """The default samples as many patterns as there are, without a warning; a number that is asked for is missed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X[:3], Y[:3])


def test_too_many_cells_say_how_many():
    with pytest.raises(ValueError, match=r"up to [\d,]+ cells .* max_arrangements=1,000,000"):
        ConvexReLURegressor(arrangements="all").fit(RNG.standard_normal((200, 12)), RNG.standard_normal(200))


def test_too_many_patterns_for_the_reference_say_so(monkeypatch):
    monkeypatch.setattr("convexnn.solvers.reference.MAX_NONZEROS", 1000)
    with pytest.raises(ValueError, match=r"arrangements: 24 patterns make a program of 1,152 nonzeros"):
        ConvexReLURegressor(1.0, arrangements="all", hidden_bias="none", solver="cvxpy").fit(X, Y)
