"""Numbers and texts in messages are written as people write them, whatever library they come from."""

import numpy as np
import pytest

from convexnn import (
    Certificate,
    ConvexReLUClassifier,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    Network,
    regularization_path,
)
from convexnn.baselines import train_adam
from convexnn.datasets import make_windows, planted_network, split_signal
from convexnn.geometry.arrangements import enumerate_arrangements
from convexnn.geometry.patches import Patches
from convexnn.utils.validation import shown

X = np.random.default_rng(0).standard_normal((12, 2))
TEXTS = {
    "3.5": np.float64(3.5),
    "-1": np.int8(-1),
    "True": np.bool_(True),
    "'a'": np.str_("a"),
    "(1, 2.0)": (np.int64(1), np.float32(2)),
    "(1,)": (np.uint8(1),),
    "[nan, 'b']": [np.float64("nan"), "b"],
    "0.5": np.longdouble(0.5),
}


@pytest.mark.parametrize("text", TEXTS)
def test_shown(text):
    assert shown(TEXTS[text]) == text


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ConvexReLUClassifier().fit(X, np.zeros(12, int)),
        lambda: ConvexReLUClassifier().fit(X, np.full(12, "a")),
        lambda: ConvexReLURegressor().fit(X, ["1"] * 12),
        lambda: ConvexReLURegressor().fit(X, np.full(12, "1")),
        lambda: make_windows(X[:, 0], window=np.float64(3.0)),
        lambda: make_windows(X[:, 0], horizon=np.int64(0)),
        lambda: split_signal(X[:, 0], np.float64(1.5)),
        lambda: planted_network(3, 2, noise=np.float64(-1)),
        lambda: Patches((np.int64(1), np.int64(4)), np.float64(2)),
        lambda: Patches((np.int64(1),), 2),
        lambda: train_adam(X, X[:, 0], np.float64(-0.5)),
        lambda: Network(X, X[0], X, X[0], hidden_norm=np.float64(1.5)),
    ],
)
def test_messages_have_no_scalars_of_numpy(wrong):
    with pytest.raises((TypeError, ValueError)) as caught:
        wrong()
    assert "np." not in str(caught.value)


def test_certificates_hold_plain_numbers():
    certificate = Certificate(np.float64(2.0), np.float32(1.5), "local", proved_bound=np.int64(1))
    assert (
        repr(certificate)
        == "Certificate(objective=2.0, lower_bound=1.5, scope='local', negligible=0.0, proved_bound=1.0, "
        "provisional=False, rounding=0.0)"
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: ConvexReLURegressor(max_iter=1, tol=1e-9).fit(X, np.abs(X[:, 0])),
        lambda: ConvexReLURegressor(arrangements=8, solver="cvxpy", max_iter=1).fit(X, np.abs(X[:, 0])),
        lambda: ConvexReLUClassifier(loss="hinge", alpha=1e-3, max_iter=1, tol=1e-9).fit(X, X[:, 0] * X[:, 1] > 0),
        lambda: enumerate_arrangements([[1.0, 0.0], [1.0, 1e-11], [0.0, 1.0]]),
        lambda: regularization_path(
            X, X[:, 0] ** 2, alphas=[1e-3], estimator=ConvexReLURegressor(max_iter=1, tol=1e-9)
        ),
        lambda: ConvexReLURegressor(arrangements=8, solver="cvxpy", max_iter=1, time_limit=60).fit(X, np.abs(X[:, 0])),
        lambda: ConvexReLURegressorCV(ConvexReLURegressor(time_limit=1e-3), cv=2).fit(X, np.abs(X[:, 0])),
    ],
)
def test_warnings_point_at_the_line_of_the_user(call):
    with pytest.warns(UserWarning, match="gap|walls|kept|taken") as caught:
        call()
    line = call.__code__.co_firstlineno
    assert {(warning.filename, warning.lineno) for warning in caught} == {(__file__, line)}
