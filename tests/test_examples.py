"""The gallery: what every example looks like, and the fastest run. The docs build runs all of them."""

import ast
import re
import runpy
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

matplotlib.use("Agg")

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
FAST = ("plot_cell_count", "plot_first_network", "plot_spline")


@pytest.fixture
def figures():
    """Figures are open after a run, as sphinx-gallery wants them, and closed after the test."""
    plt.close("all")
    yield plt.get_fignums
    plt.close("all")


def test_gallery_has_a_header_and_only_plots():
    assert len(EXAMPLES) >= 15
    assert all(path.stem.startswith("plot_") for path in EXAMPLES)
    header = (EXAMPLES[0].parent / "GALLERY_HEADER.rst").read_text().splitlines()
    assert header[1] == "=" * len(header[0])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short_and_of_one_form(path):
    source = path.read_text()
    assert source.count("\n") < 100
    docstring = ast.get_docstring(ast.parse(source)).splitlines()
    # the title of the page, a rule as long as it, and what the example shows
    assert docstring[1] == "=" * len(docstring[0])
    assert docstring[2] == ""
    assert len(" ".join(docstring[3:])) > 150
    assert re.search(r"^# %%$", source, re.MULTILINE)
    assert source.endswith("\nplt.show()\n")
    # pages of the gallery show figures; they are not for files, nor for a backend of their own
    assert not re.search(r"savefig|matplotlib\.use|__main__|time_limit", source)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.filterwarnings("error", "ignore:.*non-interactive:UserWarning")
def test_fast_examples_run(name, figures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = next(path for path in EXAMPLES if path.stem == name)
    variables = runpy.run_path(str(path))
    assert 1 <= len(figures()) <= 2
    assert capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    check = {"plot_cell_count": _check_counts, "plot_first_network": _check_proofs, "plot_spline": _check_knots}[name]
    check(variables)


def _check_counts(variables):
    """Cover's numbers 2 sum_{k < r} C(n - 1, k) by Pascal's rule: T(n, r) = T(n - 1, r) + T(n - 1, r - 1)."""

    def cells(n, r):
        return 0 if r == 0 else 2 if n == 1 else cells(n - 1, r) + cells(n - 1, r - 1)

    for rank in (2, 3, 4):
        wanted = [cells(n, rank) for n in variables["sizes"]]
        assert variables["random"][rank] == wanted
        assert all(count <= most for count, most in zip(variables["integer"][rank], wanted, strict=True))


def _check_proofs(variables):
    assert all(model.certificate_.proved_gap <= 1e-4 for model in variables["models"].values())


def _check_knots(variables):
    x = variables["x"]
    for model in variables["models"].values():
        knots = -model.network_.b1 / model.network_.W1[0]
        assert abs(knots[:, None] - x).min(axis=1).max() < 1e-9
