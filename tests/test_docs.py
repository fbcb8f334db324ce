"""The documentation: the code of its pages runs, and its reference has every public name and every module."""

import doctest
from pathlib import Path

import pytest
from public import PUBLIC_MODULES

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
    assert set(convexnn.__all__) - {"losses"} <= listed("index.rst")
    assert {f"convexnn.{name}" for name in PUBLIC_MODULES} <= listed("modules.rst")
