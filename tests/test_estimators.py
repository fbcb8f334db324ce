from sklearn.utils.estimator_checks import parametrize_with_checks

from convexnn import ConvexReLURegressor


@parametrize_with_checks([ConvexReLURegressor(), ConvexReLURegressor(activation="gated_relu", skip=True)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)
