"""Names of features, classes, methods and estimators are drawn letter by letter, whatever they are made of."""

from itertools import pairwise

import matplotlib.text
import numpy as np
import pytest
from matplotlib import cbook, rc_context
from plots import closed_figures, holding, random_network  # noqa: F401

from convexnn import Certificate, ConvexCNNClassifier, ConvexReLUClassifier, ConvexReLURegressor, regularization_path
from convexnn.plotting import (
    ArrangementDisplay,
    CertificateDisplay,
    ContributionsDisplay,
    ConvergenceDisplay,
    FiltersDisplay,
    NetworkFunctionDisplay,
    RegularizationPathDisplay,
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


def frame(names, n=40):
    pd = pytest.importorskip("pandas")
    return pd.DataFrame(np.random.default_rng(0).standard_normal((n, len(names))), columns=names)


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
    model = holding(random_network(2, 4, hidden_bias="none"))
    model.feature_names_in_ = np.array(pair, dtype=object)
    model.certificate_ = Certificate(1.0, 0.5, "local")
    for display in (
        ContributionsDisplay.from_estimator(model, frame(list(pair)).iloc[:1]),
        NetworkFunctionDisplay.from_estimator(model, frame(list(pair))),
        ArrangementDisplay.from_estimator(model, frame(list(pair))),
    ):
        shown = texts(display.figure_)
        for name in pair:
            assert any(short(name) in text for text in shown)


def test_names_in_three_dimensions_and_of_one_feature():
    names = ["$a", "b$", r"\c_"]
    model = holding(random_network(3, 4, hidden_bias="none"))
    model.feature_names_in_ = np.array(names, dtype=object)
    shown = texts(ArrangementDisplay.from_estimator(model, frame(names)).figure_)
    assert all(any(name in text for text in shown) for name in names)
    model = holding(random_network(1, 4))
    model.feature_names_in_ = np.array(["$$"], dtype=object)
    assert "$$" in texts(NetworkFunctionDisplay.from_estimator(model).figure_)


@pytest.mark.parametrize("classes", [["$", "$$"], ["a$", "b$", "$c$"], [r"\$", "_", "x" * 90], [1, 2, -3]])
@pytest.mark.parametrize("n_features", [1, 2])
def test_labels_of_classes(classes, n_features):
    rng = np.random.default_rng(0)
    X, n_outputs = rng.standard_normal((40, n_features)), 1 if len(classes) == 2 else len(classes)
    y = np.array(sorted(classes))[np.arange(40) % len(classes)]
    model = holding(random_network(n_features, 4, n_outputs), sorted(classes))
    model.certificate_ = Certificate(1.0, 0.5, "local")
    displays = [ArrangementDisplay.from_estimator(model, X, y), NetworkFunctionDisplay.from_estimator(model, X, y)]
    for display in displays:
        shown = texts(display.figure_)
        assert all(any(short(name) in text for text in shown) for name in classes)
    shown = texts(ContributionsDisplay.from_estimator(model, X[0]).figure_)
    assert any(short(name) in text for text in shown for name in classes)


def test_names_of_classes_in_paths_and_filters():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 4)), np.array(["$a$", "b_$", "c%"])[np.arange(30) % 3]
    estimator = ConvexReLUClassifier(output_penalty="l1", arrangements=8, random_state=0)
    path = regularization_path(X, y, estimator=estimator, n_alphas=3, eps=0.1)
    assert any("$a$" in text for text in texts(RegularizationPathDisplay.from_path(path).figure_))
    model = ConvexCNNClassifier((1, 4), 2, alpha=0.05, output_penalty="l1", arrangements=8, random_state=0).fit(X, y)
    assert any("$" in text for text in texts(FiltersDisplay.from_estimator(model).figure_))


def test_names_of_methods_and_estimators():
    from convexnn.baselines import train_adam

    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 2)), rng.standard_normal(20)
    model = ConvexReLURegressor(0.5, arrangements=8, random_state=0).fit(X, y)
    runs = {name: [train_adam(X, y, 0.5, n_epochs=5, random_state=0)] for name in ("$Adam$", "_adam", "Adam 50%")}
    shown = texts(ConvergenceDisplay.from_estimator(model, runs=runs).figure_)
    assert all(any(name in text for text in shown) for name in runs)
    names = {name: model.certificate_ for name in ("$1 $2", "_x", 3)}
    shown = texts(CertificateDisplay(names).plot().figure_)
    assert all(any(str(name) in text for text in shown) for name in names)
