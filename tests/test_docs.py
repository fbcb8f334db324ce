"""The documentation: the code of its pages runs, and its reference has every public name and every module."""

import doctest
import pkgutil
from pathlib import Path

import pytest

import convexnn

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = sorted(page for folder in (".", "guide", "mathematics") for page in (DOCS / folder).glob("*.rst"))
# What the code of a page needs beside the package.
EXTRAS = {"export.rst": ("torch", "onnx", "onnxruntime"), "data.rst": ("pandas",)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_code_of_pages_runs(page, tmp_path, monkeypatch):
    for name in EXTRAS.get(page.name, ()):
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testfile(str(page), module_relative=False, optionflags=flags).failed == 0


def listed(page):
    return {line.strip() for line in (DOCS / "api" / page).read_text(encoding="utf-8").splitlines()}


def test_the_reference_has_every_public_name():
    assert set(convexnn.__all__) <= listed("index.rst")


def test_the_reference_has_every_module():
    modules = {name for _, name, _ in pkgutil.walk_packages(convexnn.__path__, "convexnn.")}
    # a function of the same name hides the module of alpha_max; its other names are in index.rst
    assert modules - {"convexnn.__main__", "convexnn.pricing.alpha_max"} <= listed("modules.rst")
