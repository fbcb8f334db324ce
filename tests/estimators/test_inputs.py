"""Inputs of other kinds than plain arrays of numbers: masks, dates, missing entries, names, units."""

import datetime
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from convexnn import (
    Architecture,
    ConvexCNNRegressor,
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    as_network,
    certify,
    explain,
    regularization_path,
)
from convexnn.losses import make_loss
from convexnn.model import build_program
from convexnn.pricing import alpha_max
from convexnn.special import minimum_norm_interpolation
from convexnn.special.spline import solve_spline

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 2))
Y = np.abs(X[:, 0]) + 0.1 * RNG.standard_normal(20)
CLASSES = (np.median(Y) < Y).astype(int)
WEIGHTS = RNG.uniform(0.5, 2.0, 20)
ADVICE = "masked values: fill them in"


def masked(values):
    return np.ma.array(values, mask=np.arange(np.size(values)).reshape(np.shape(values)) == 3)


FITTED = ConvexReLURegressor(1.0, random_state=0).fit(X, Y)
USES = {
    "fit": lambda X, y, w: ConvexReLURegressor(1.0).fit(X, y, w),
    "classifier": lambda X, y, w: ConvexReLUClassifier(1.0).fit(X, y, w),
    "search": lambda X, y, w: ConvexReLURegressorCV(n_alphas=2, cv=2).fit(X, y, w),
    "classifier search": lambda X, y, w: ConvexReLUClassifierCV(n_alphas=2, cv=2).fit(X, y, w),
    "path": lambda X, y, w: regularization_path(X, y, sample_weight=w, n_alphas=2),
}
WITHOUT_WEIGHTS = {
    "validation": lambda X, y: regularization_path(*DATA[:2], X_val=X, y_val=y, n_alphas=2),
    "certify": lambda X, y: certify(FITTED, X, y, 1.0),
    "certify arrays": lambda X, y: certify((np.ones((2, 1)), None, [1.0], 0.0), X, y, 1.0),
    "objective": lambda X, y: FITTED.network_.objective(X, y, 1.0),
    "alpha_max": lambda X, y: alpha_max(X, y),
    "program": lambda X, y: build_program(X, y, 1.0, 5),
    "interpolation": lambda X, y: minimum_norm_interpolation(X, y),
}
DATA = X, Y, WEIGHTS


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("part", range(3))
def test_masks_are_not_lost_in_training(use, part):
    data = [X, CLASSES if "classifier" in use else Y, WEIGHTS]
    data[part] = masked(data[part])
    with pytest.raises(ValueError, match=f"{('X', 'y', 'sample_weight')[part]} must be numeric; it contains {ADVICE}"):
        USES[use](*data)


@pytest.mark.parametrize("use", WITHOUT_WEIGHTS)
@pytest.mark.parametrize("part", range(2))
def test_masks_are_not_lost_elsewhere(use, part):
    data = [X, Y]
    data[part] = masked(data[part])
    with pytest.raises(ValueError, match=ADVICE):
        WITHOUT_WEIGHTS[use](*data)


@pytest.mark.parametrize("use", [FITTED.predict, FITTED.explain, partial(explain, FITTED), FITTED.network_.predict])
def test_masks_are_not_lost_in_predictions(use):
    for bad in (masked(X), list(masked(X))):
        with pytest.raises(ValueError, match=ADVICE):
            use(bad)
    use(np.ma.array(X, mask=False))


def test_masks_that_hide_nothing_change_nothing():
    plain = [np.ma.array(part, mask=np.zeros(part.shape, bool)) for part in DATA]
    expected = ConvexReLURegressor(1.0, random_state=0).fit(*DATA)
    assert ConvexReLURegressor(1.0, random_state=0).fit(*plain).certificate_ == expected.certificate_
    images = np.ma.array(RNG.standard_normal((6, 3, 3)))
    images[0, 0, 0] = np.ma.masked
    with pytest.raises(ValueError, match=ADVICE):
        ConvexCNNRegressor(input_shape=(3, 3), kernel_size=2, alpha=1.0).fit(images, np.arange(6.0))


DAYS = pd.date_range("2024-01-01", periods=20)
DATES = {
    "numpy": DAYS.to_numpy(),
    "days": DAYS.to_numpy().astype("M8[D]"),
    "index": DAYS,
    "zone": DAYS.tz_localize("Europe/Zurich"),
    "series": pd.Series(DAYS.tz_localize("UTC")),
    "period": DAYS.to_period("D"),
    "timedelta": DAYS - DAYS[0],
    "numpy timedelta": (DAYS - DAYS[0]).to_numpy(),
    "timestamps": list(DAYS),
    "dates": [day.date() for day in DAYS],
    "datetimes": np.array(DAYS.to_pydatetime(), dtype=object),
    "times": [datetime.time(hour) for hour in range(20)],
    "periods with a gap": pd.Series([None, *DAYS.to_period("D")[1:]], dtype=object),
}


@pytest.mark.parametrize("kind", DATES)
def test_dates_are_one_error_wherever_they_are(kind):
    dates = DATES[kind]
    advice = "dates: make numbers of them that mean something"
    frame = pd.DataFrame({"a": X[:, 0], "when": dates})
    with pytest.raises(ValueError, match="X must be numeric; column 'when' contains " + advice):
        ConvexReLURegressor(1.0).fit(frame, Y)
    with pytest.raises(ValueError, match="X must be numeric; it contains " + advice):
        ConvexReLUClassifier(1.0).fit(np.asarray(dates)[:, None], CLASSES)
    with pytest.raises(ValueError, match="y must be numeric; it contains " + advice):
        ConvexReLURegressor(1.0).fit(X, dates)
    with pytest.raises(ValueError, match="y must be numeric; column 'when' contains " + advice):
        ConvexReLURegressor(1.0).fit(X, frame[["when"]])
    with pytest.raises(ValueError, match="sample_weight must be numeric; it contains dates"):
        ConvexReLURegressor(1.0).fit(X, Y, dates)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (pd.DataFrame({"a": [1.0, pd.NA, 2.0]}, dtype=object), ValueError, "column 'a' contains missing values: fill"),
        (pd.DataFrame({"a": pd.array([1, None, 2], dtype="Int64")}), ValueError, "X contains NaN"),
        (np.array([[1 + 2j], [2.0], [3.0]]), ValueError, "Complex data not supported"),
        (np.array([[1 + 2j], [2.0], [3.0]], dtype=object), ValueError, "complex numbers: make columns"),
        (np.array([(1.0, 2)] * 3, dtype=[("a", float), ("b", int)]), ValueError, "fields 'a', 'b': make columns"),
        (pd.DataFrame({"a": [1.0, 2.0, 3.0]}).to_records(index=False), ValueError, "contains fields 'a'"),
        (sparse.csr_array(np.eye(3)), TypeError, "dense data is required"),
        (pd.DataFrame(np.eye(3)).astype(pd.SparseDtype(float)), TypeError, "X must be dense"),
    ],
)
def test_what_is_no_array_of_numbers_says_so(bad, error, message):
    with pytest.raises(error, match=message):
        ConvexReLURegressor(1.0).fit(bad, [1.0, 2.0, 3.0])


def test_missing_targets_and_classes_say_so():
    with pytest.raises(ValueError, match="y contains NaN"):
        ConvexReLURegressor(1.0).fit(X[:3], pd.array([1, None, 2], dtype="Int64"))
    with pytest.raises(ValueError, match="y must be numeric; it contains missing values"):
        ConvexReLUClassifier(1.0).fit(X[:3], pd.array(["a", None, "b"], dtype="string"))
    with pytest.raises(ValueError, match="sample_weight has 3 entries; X has 20 rows"):
        ConvexReLURegressor(1.0).fit(X, Y, [1.0, 2.0, 3.0])


FRAME = pd.DataFrame(X, columns=["a", "b"])


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (ConvexReLURegressor(1.0, random_state=0), Y),
        (ConvexReLUClassifier(0.1, random_state=0), CLASSES),
        (ConvexReLURegressorCV(n_alphas=2, cv=2), Y),
        (MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", max_iter=20, random_state=0), Y),
        (MLPClassifier(hidden_layer_sizes=(3,), solver="lbfgs", max_iter=20, random_state=0), CLASSES),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_certify_takes_the_columns_that_predict_takes(model, y):
    model.fit(FRAME, y)
    for other in (FRAME[["b", "a"]], FRAME.rename(columns={"a": "z"}), FRAME[["a"]], FRAME.assign(c=1.0)):
        with pytest.raises(ValueError) as expected:
            model.predict(other)
        with pytest.raises(ValueError) as caught:
            certify(model, other, y, 1.0)
        assert str(caught.value) == str(expected.value)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        unnamed = certify(model, X, y, 1.0, random_state=0)
    named = certify(model, FRAME, y, 1.0, random_state=0)
    assert [unnamed.objective, unnamed.gap] == pytest.approx([named.objective, named.gap], rel=1e-9, abs=1e-9)
    with pytest.raises(TypeError, match="pass its last step"):
        certify(make_pipeline(StandardScaler(), model).fit(FRAME, y), FRAME, y, 1.0)


def test_certify_takes_any_columns_of_networks_without_names():
    network = as_network((np.ones((2, 1)), None, [1.0], 0.0))
    for frame in (FRAME, FRAME.rename(columns={"a": "z"})):
        known = certify(network, X, Y, 1.0, random_state=0).objective
        assert certify(network, frame, Y, 1.0, random_state=0).objective == pytest.approx(known, rel=1e-12)
    with pytest.raises(NotFittedError):
        certify(ConvexReLURegressor(), FRAME, Y, 1.0)


@pytest.mark.parametrize("size", [1e-300, 1e-101, 1e101, 1e300, 5e-324])
def test_sizes_out_of_range_are_errors(size):
    uses = {
        "alpha": [
            lambda: ConvexReLURegressor(size).fit(X, Y),
            lambda: build_program(X, Y, size, 5),
            lambda: certify(FITTED, X, Y, size),
            lambda: solve_spline(X[:, 0], Y, size, make_loss("squared_error")),
        ],
        "alphas": [
            lambda: regularization_path(X, Y, alphas=[1.0, size]),
            lambda: ConvexReLURegressorCV(alphas=[1.0, size]).fit(X, Y),
        ],
        "sample_weight": [
            lambda: ConvexReLURegressor(1.0).fit(X, Y, np.r_[size, WEIGHTS[1:]]),
            lambda: ConvexReLUClassifier(1.0).fit(X, CLASSES, np.full(20, size)),
            lambda: make_loss("absolute_error", np.full(20, size)),
        ],
        "delta": [lambda: ConvexReLURegressor(1.0, loss="huber", delta=size).fit(X, Y)],
    }
    for name, calls in uses.items():
        for call in calls:
            with pytest.raises(ValueError, match=rf"{name} must be .*from 1e-100 to 1e\+100"):
                call()


@pytest.mark.parametrize(
    ("unit_x", "unit_y", "weight"), [(1.0, 1e60, 1e60), (1.0, 1e-60, 1e-60), (1e60, 1.0, 1e60), (1e99, 1e99, 1.0)]
)
def test_products_out_of_range_are_errors(unit_x, unit_y, weight):
    with pytest.raises(ValueError, match="and their products, must be from 1e-100"):
        ConvexReLURegressor(1.0).fit(unit_x * X, unit_y * Y, weight * WEIGHTS)


@pytest.mark.parametrize("model", [ConvexReLURegressor(0.3), ConvexReLURegressor(0.3, loss="huber"), "log_loss"])
@pytest.mark.parametrize("unit", [2.0**-300, 2.0**-60, 2.0**60, 2.0**300])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_units_of_weights_do_not_matter(model, unit):
    """Weights and alpha in another unit are the same problem: every number of it is in this unit."""
    model, y = (ConvexReLUClassifier(0.1), CLASSES) if model == "log_loss" else (model, Y)
    fits = [
        type(model)(**model.get_params() | {"alpha": scale * model.alpha, "random_state": 0, "tol": 1e-3}).fit(
            X, y, scale * WEIGHTS
        )
        for scale in (1.0, unit)
    ]
    values = [fit.certificate_.objective / scale for fit, scale in zip(fits, (1.0, unit), strict=True)]
    assert values[0] == pytest.approx(values[1], rel=1e-3)
    assert fits[1].alpha_max_ / unit == pytest.approx(fits[0].alpha_max_, rel=1e-6)
    assert fits[1].certificate_.gap <= 1e-3


@pytest.mark.parametrize("unit", [1e-5, 1e-6, 1e-8, 1e-12, 1e-15, 1e-30, 1e6, 1e15])
@pytest.mark.parametrize("shift", [0.0, 3.0])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_features_in_any_unit_are_solved(unit, shift):
    """Tiny ones as with free biases, large ones as without: both do not depend on the unit."""
    kind = "free" if unit < 1 else "none"
    rows = X + shift * (unit < 1)
    reference = ConvexReLURegressor(0.1, hidden_bias=kind, random_state=0, tol=1e-6).fit(rows, Y)
    model = ConvexReLURegressor(0.1 * unit, random_state=0).fit(unit * rows, Y)
    network, certificate = model.network_, model.certificate_
    assert certificate.gap <= 1e-4
    assert certificate.objective == pytest.approx(reference.certificate_.objective, rel=2e-4)
    assert model.alpha_max_ / unit == pytest.approx(reference.alpha_max_, rel=1e-6)
    assert network.hidden_bias == "penalized"
    own = 0.5 * np.sum((network.predict(unit * rows) - Y) ** 2)
    own += 0.05 * unit * sum(np.sum(part**2) for part in (network.W1, network.b1, network.W2))
    assert certificate.objective == pytest.approx(own, rel=1e-12)
    assert certify(model, unit * rows, Y, 0.1 * unit, random_state=0).gap <= 2e-4
    assert alpha_max(unit * rows, Y, random_state=0) / unit == pytest.approx(reference.alpha_max_, rel=1e-6)


@pytest.mark.parametrize("kind", ["penalized", "none", "free"])
@pytest.mark.parametrize(("unit_x", "unit_y"), [(1e-15, 1.0), (1e15, 1e-8), (1e-8, 1e8), (1e8, 1e8), (1e-30, 1e-30)])
def test_units_of_both_do_not_matter(kind, unit_x, unit_y):
    """X in another unit and y in another: alpha is in units of x y."""
    fits = []
    for x, y in ((1.0 if kind != "penalized" else 2.0**20 if unit_x > 1 else 2.0**-20, 1.0), (unit_x, unit_y)):
        model = ConvexReLURegressor(0.1 * x * y, hidden_bias=kind, random_state=0).fit(x * X, y * Y)
        fits.append(model.certificate_.objective / y**2)
        assert model.certificate_.gap <= 1e-4
    assert fits[0] == pytest.approx(fits[1], rel=2e-4)


@pytest.mark.parametrize("small", [1e-3, 1e-8, 1e-15])
def test_columns_of_very_different_units_are_solved(small):
    """A column too small to be used, beside a large one: as without it."""
    rows = np.column_stack([X[:, 0] / small, X[:, 1] * small])
    model = ConvexReLURegressor(0.1 / small, hidden_bias="none", random_state=0).fit(rows, Y)
    alone = ConvexReLURegressor(0.1 / small, hidden_bias="none", random_state=0).fit(rows[:, :1], Y)
    assert model.certificate_.gap <= 1e-4
    assert model.certificate_.objective == pytest.approx(alone.certificate_.objective, rel=2e-4 + small**2)


@pytest.mark.parametrize(("activation", "skip"), [("linear", False), ("abs", False), ("relu", True)])
def test_other_networks_of_tiny_features_are_solved(activation, skip):
    kind = {"activation": activation, "skip": skip, "random_state": 0}
    reference = ConvexReLURegressor(0.1, **kind, hidden_bias="free").fit(X, Y)
    model = ConvexReLURegressor(1e-16, **kind).fit(1e-15 * X, Y)
    assert model.certificate_.gap <= 1e-4
    assert model.certificate_.objective == pytest.approx(reference.certificate_.objective, rel=2e-4)


def test_what_is_below_rounding_is_said_to_be():
    text = ConvexReLURegressor(hidden_norm="l1", random_state=0).fit(1e-16 * X, Y).summary()
    assert "At no alpha would a neuron lower the objective. That is up to rounding: standardise features" in text


def test_only_small_rows_have_free_biases():
    for unit, kind in ((1e-6, "free"), (1.0, "penalized")):
        assert Architecture().solved_for(unit * X).hidden_bias == kind
    assert Architecture(fit_intercept=False).solved_for(1e-6 * X).hidden_bias == "penalized"
    assert Architecture(hidden_norm="l1").solved_for(1e-6 * X).hidden_bias == "penalized"
