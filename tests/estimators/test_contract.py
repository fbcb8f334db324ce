"""scikit-learn's contract, of every estimator with quick options; that of the defaults is in tests/long."""

import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

import convexnn
from convexnn import (
    CircularCNNClassifier,
    CircularCNNRegressor,
    ConvexCNNClassifier,
    ConvexCNNRegressor,
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
)

GATED = {"activation": "gated_relu", "arrangements": 8, "random_state": 0}
QUICK = [
    ConvexReLURegressor(skip=True, **GATED),
    ConvexReLUClassifier(max_iter=3, scope="local", output_penalty="l1"),
    ConvexCNNRegressor(pooling="none", activation="linear"),
    ConvexCNNClassifier(pooling="none", activation="linear"),
    CircularCNNRegressor(arrangements=10),
    CircularCNNClassifier(activation="linear"),
    ConvexReLURegressorCV(ConvexReLURegressor(skip=True, **GATED), n_alphas=2, cv=2),
    ConvexReLUClassifierCV(
        ConvexReLUClassifier(max_iter=3, scope="local", output_penalty="l1", random_state=0), n_alphas=2, cv=2
    ),
]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 4))
Y = np.abs(X[:, 0]) + 0.1 * RNG.standard_normal(20)
ESTIMATORS = [pytest.param(type(model), id=type(model).__name__) for model in QUICK]
FITTED = [pytest.param(model, id=type(model).__name__) for model in QUICK]


@parametrize_with_checks(QUICK)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_each_parameter_has_a_constraint_and_a_text(kind):
    """The first parameter alone can be given by position."""
    first, *others = list(inspect.signature(kind).parameters.values())
    assert first.name == ("estimator" if kind.__name__.endswith("CV") else "alpha")
    assert first.kind is first.POSITIONAL_OR_KEYWORD
    assert {other.kind for other in others} == {inspect.Parameter.KEYWORD_ONLY}
    names = [first.name, *(other.name for other in others)]
    assert sorted(kind().get_params(deep=False)) == sorted(kind._parameter_constraints) == sorted(names)
    for parameter in (first, *others):
        shown = f'"{parameter.default}"' if isinstance(parameter.default, str) else repr(parameter.default)
        assert f"\n{parameter.name} : " in kind.__doc__
        assert f", default={shown}\n" in kind.__doc__
    with pytest.raises(TypeError, match=rf"{kind.__name__}.__init__\(\) got an unexpected keyword argument 'width'"):
        kind(width=3)


def test_parameters_of_estimators_that_are_derived():
    class Mine(ConvexReLURegressor):
        """As its base."""

    class Narrow(ConvexReLURegressor):
        def __init__(self, alpha=1.0):
            super().__init__(alpha, hidden_bias="none")

    assert Mine(0.5, skip=True).get_params() == ConvexReLURegressor(0.5, skip=True).get_params()
    assert Mine.__doc__ == "As its base."
    assert Narrow().get_params() == {"alpha": 1.0}
    assert Narrow(2.0).hidden_bias == "none"


@pytest.mark.parametrize("model", FITTED)
def test_attributes_of_a_fit_are_documented(model):
    frame = pd.DataFrame(X, columns=list("abcd"))
    y = (np.median(Y) < Y).astype(int) if hasattr(model, "predict_proba") else Y
    fitted = clone(model).set_params(random_state=0).fit(frame, y)
    for name in vars(fitted):
        assert name in model.get_params(deep=False) or name in type(model).__doc__.partition("Attributes")[2]
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict(frame), fitted.predict(frame))
    assert np.array_equal(clone(fitted).fit(frame, y).predict(frame), fitted.predict(frame))
    assert fitted.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame.rename(columns={"a": "z"}))
    for method in {"predict", "explain", "decision_function", "predict_proba"} & set(dir(model)):
        with pytest.raises(NotFittedError):
            getattr(clone(model), method)(X)


@pytest.mark.parametrize("kind", ["ConvexCNN", "CircularCNN"])
@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_defaults_fit_any_number_of_features(kind, d):
    model = getattr(convexnn, f"{kind}Regressor")(arrangements=5 if kind == "CircularCNN" else "adaptive")
    model.set_params(random_state=0).fit(X[:, :d], Y)
    assert model.certificate_.gap <= 1e-4
    if kind == "ConvexCNN":
        assert model.filters_.shape[1:] == (1, min(d, 3))


def test_filters_are_no_longer_than_an_axis():
    images = RNG.standard_normal((6, 1, 2, 5))
    model = ConvexCNNClassifier(0.1, input_shape=(1, 2, 5), random_state=0).fit(images, np.arange(6) % 2)
    assert model.filters_.shape[1:] == (1, 2, 3)
