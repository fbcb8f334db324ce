"""Names of features, classes, methods and estimators are drawn letter by letter, whatever they are made of."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import matplotlib.text
import numpy as np
import pandas as pd
import pytest
from matplotlib import cbook, rc_context
from networks import make_network
from plots import dense, holding, random_network

from convexnn import Certificate, PathResult
from convexnn.plotting import (
    ArrangementDisplay,
    CertificateDisplay,
    ContributionsDisplay,
    ConvergenceDisplay,
    FiltersDisplay,
    NetworkFunctionDisplay,
)
from convexnn.plotting.display import plain, short

NAMES = [
    "income ($)",
    "$ per m$^2",
    "$$",
    r"a\$b",
    r"\frac{1}",
    "x_1^{2",
    r"$\alpha$",
    "\\",
    "_low",
    "50% & #1 ~",
    "$\\$",
]


def drawn(text):
    """Return what matplotlib draws for a text that is no formula."""
    assert not cbook.is_math_text(text)
    return text.replace(r"\$", "$")


def texts(figure):
    """Draw a figure, and return its texts as they are to be read, without the formulas of the figure's own."""
    figure.canvas.draw()
    found = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    found = [text.replace("$\\rightarrow$", ">").replace("$\\leftarrow$", "<") for text in found]
    return [drawn(text) for text in found if "|w_j|" not in text and "mathdefault" not in text]


def check_names(display, names):
    shown = texts(display.figure_)
    assert all(any(short(name) in text for text in shown) for name in names)


def frame(names):
    return pd.DataFrame(np.random.default_rng(0).standard_normal((40, len(names))), columns=names)


def named(n_features, names):
    model = holding(random_network(n_features, 4, hidden_bias="none" if n_features > 1 else "penalized"))
    model.feature_names_in_ = np.array(names, dtype=object)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_plain_text_is_drawn_as_it_is(name):
    assert drawn(plain(name)).strip() == name.strip()
    assert not plain(name).startswith("_")
    with rc_context({"text.usetex": True}):
        assert "$" not in plain(name).replace(r"\$", "")
        assert "%" not in plain(name).replace(r"\%", "")


def test_short_names():
    assert short("a\nb\tc") == "a b c"
    assert short(1.5) == "1.5"
    assert short("x" * 40) == "x" * 40
    assert len(short("a" * 300 + "$" * 300)) == 40
    assert short("a" * 300 + "z" * 300) == "a" * 20 + "\N{HORIZONTAL ELLIPSIS}" + "z" * 19


@pytest.mark.parametrize("pair", [*pairwise(NAMES), ("", "$" * 200)])
def test_names_of_features(pair):
    model, X = named(2, pair), frame(list(pair))
    check_names(ContributionsDisplay.from_estimator(model, X.iloc[:1]), pair)
    check_names(NetworkFunctionDisplay.from_estimator(model, X, n_points=20), pair)
    check_names(ArrangementDisplay.from_estimator(model, X), pair)


def test_names_in_three_dimensions_and_of_one_feature():
    names = ["$a", "b$", r"\c_"]
    check_names(ArrangementDisplay.from_estimator(named(3, names), frame(names)), names)
    check_names(NetworkFunctionDisplay.from_estimator(named(1, ["$$"])), ["$$"])


@pytest.mark.parametrize("classes", [["$", "$$"], ["a$", "b$", "$c$"], [r"\$", "_", "x" * 90], [1, 2, -3]])
@pytest.mark.parametrize("n_features", [1, 2])
def test_labels_of_classes(classes, n_features):
    X, classes = frame(list("ab"[:n_features])).to_numpy(), sorted(classes)
    model = holding(random_network(n_features, 4, 1 if len(classes) == 2 else len(classes)), classes)
    y = np.array(classes)[np.arange(40) % len(classes)]
    check_names(ArrangementDisplay.from_estimator(model, X, y), classes)
    check_names(NetworkFunctionDisplay.from_estimator(model, X, y, n_points=20), classes)
    shown = texts(ContributionsDisplay.from_estimator(model, X[0]).figure_)
    assert any(short(name) in text for text in shown for name in classes)


def test_names_of_classes_in_paths_and_filters():
    names, ones = ["$a$", "b_$", "c%"], np.ones(2)
    model = holding(dense(np.eye(4)[:, :3], np.zeros(3), np.eye(3)), names)
    model.certificate_ = Certificate(2.0, 1.0, "local")
    path = PathResult(np.array([1.0, 0.1]), (model, model), ones, None, "accuracy", ones, 2.0)
    check_names(path.plot(), names)
    model = holding(replace(make_network("conv mean")[0], W2=np.eye(5)[:, :2]), names[:2])
    check_names(FiltersDisplay.from_estimator(model), names[:2])


def test_names_of_methods_and_estimators():
    record = {"time": 1.0, "objective": 2.0, "lower_bound": 1.0, "gap": 0.5, "scope": "local"}
    runs = {name: [SimpleNamespace(history=[record])] for name in ("$Adam$", "_adam", "Adam 50%")}
    check_names(ConvergenceDisplay.from_history([record], runs=runs), runs)
    names = ("$1 $2", "_x", 3)
    check_names(CertificateDisplay(dict.fromkeys(names, Certificate(2.0, 1.0, "local"))).plot(), names)
