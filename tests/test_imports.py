"""The structure: folders import folders above them, nothing optional is loaded, what is exported exists."""

import ast
import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import convexnn

PACKAGE = Path(convexnn.__file__).parent
MODULES = sorted(name for _, name, _ in pkgutil.walk_packages([str(PACKAGE)], "convexnn."))
# A folder may import those before it.
FOLDERS = [
    "utils",
    "geometry",
    "losses",
    "model",
    "pricing",
    "networks",
    "solvers",
    "special",
    "plotting",
    "estimators",
    "datasets",
    "cli",
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_import_folders_above(folder):
    for path in (PACKAGE / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                assert node.module.split(".")[0] in FOLDERS[: FOLDERS.index(folder)], f"{path} imports {node.module}"
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None) or "", *(name.name for name in node.names)]
                assert getattr(node, "level", 0) < 2, f"{path} imports {names}"
                assert not any(name.startswith("convexnn") for name in names), f"{path} imports {names}"


def test_every_module_is_in_a_folder():
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(FOLDERS)
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "baselines.py"}


def test_importing_the_package_loads_nothing_optional():
    optional = ["cvxpy", "clarabel", "torch", "pywt", "wfdb", "pooch", "matplotlib", "onnx", "dask", "tqdm"]
    code = f"import sys, convexnn; print([name for name in {optional} if name in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


@pytest.mark.parametrize("name", ["convexnn", *MODULES])
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


@pytest.mark.parametrize("name", ["convexnn", *MODULES])
def test_all_exists_and_is_sorted(name):
    module = importlib.import_module(name)
    assert all(hasattr(module, public) for public in module.__all__)
    constants = [public for public in module.__all__ if public.isupper()]
    assert constants + sorted(set(module.__all__) - set(constants)) == module.__all__


def test_the_package_says_its_version():
    from importlib.metadata import version

    assert convexnn.__version__ == version("convexnn")
