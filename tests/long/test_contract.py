"""scikit-learn's contract, of every estimator as a user makes it."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import convexnn

pytestmark = pytest.mark.long
DEFAULTS = [getattr(convexnn, name)() for name in convexnn.__all__ if name.endswith(("Classifier", "Regressor", "CV"))]


@parametrize_with_checks(DEFAULTS)
def test_scikit_learn_contract(estimator, check):
    check(estimator)
