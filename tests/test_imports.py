"""The structure: imports go down only, nothing optional is loaded, every public name is documented."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import convexnn

PACKAGE = Path(convexnn.__file__).parent
MODULES = sorted(name for _, name, _ in pkgutil.walk_packages([str(PACKAGE)], "convexnn."))
# A module may import those in the lines above its own.
LAYERS = [
    ["deadline", "quiet"],
    ["free_columns", "kernels", "threads"],
    [
        "barrier",
        "certificate",
        "cone_pool",
        "enumeration",
        "files",
        "loss_tools",
        "nonconvex",
        "penalties",
        "projection",
        "simplify",
        "solvers.face_systems",
        "solvers.polish",
        "solvers.subproblem",
        "tables",
        "validation",
    ],
    [
        "arrangements",
        "ascent",
        "cli_reports",
        "face_bases",
        "facets",
        "fourier",
        "loss_fits",
        "patches",
        "pricing",
        "progress",
        "signals",
        "solvers.descent",
        "solvers.fista",
        "solvers.neuron_newton",
    ],
    [
        "architecture",
        "cell_pricing",
        "datasets",
        "design",
        "faces",
        "loss_base",
        "moments",
        "near_rows",
        "samples",
        "selections",
        "solvers.movement",
    ],
    ["branch_and_bound", "entropy_losses", "patchwise", "selection_cones"],
    ["losses"],
    [
        "circular",
        "cones",
        "conv_network",
        "feature_points",
        "network",
        "polynomial_network",
        "proof",
        "rounding",
        "search",
        "solvers.coupled",
        "spline_fit",
    ],
    [
        "baselines",
        "conversion",
        "group_pricing",
        "intact",
        "minimal",
        "polynomial",
        "recovery",
        "robustness",
        "solvers.cell_pool",
        "solvers.neurons",
        "solvers.newton",
        "spline",
        "survey",
        "trained",
        "vector_search",
    ],
    ["zero_dual"],
    ["onnx_graph", "program", "solvers.factors"],
    ["adversarial", "building", "kernel", "reach", "solvers.low_rank", "solvers.monitor", "solvers.reference"],
    ["alpha_max", "features", "solvers.vector_generation", "solvers.working_set"],
    ["solvers.conic", "solvers.generation"],
    ["solvers", "solvers.one_feature", "solvers.uncertified"],
    ["interpolation", "training"],
    ["certification", "explanation", "export", "persistence"],
    ["plotting.lines", "plotting.style", "plotting.weight_space"],
    ["plotting.neurons"],
    ["plotting.function_panels"],
    [
        "plotting.arrangement",
        "plotting.certificate",
        "plotting.contributions",
        "plotting.convergence",
        "plotting.filters",
        "plotting.network_function",
        "plotting.regularization_path",
    ],
    ["plotting"],
    ["base"],
    ["estimators"],
    ["classifiers"],
    ["circular_estimators", "cli_options", "conv_estimators", "path"],
    ["folds"],
    ["model_selection"],
    ["cli"],
    ["__main__"],
]
LEVEL = {f"convexnn.{name}": level for level, names in enumerate(LAYERS) for name in names}


def imported_modules(name):
    """The modules of the package that a module's source imports, absolute."""
    module = importlib.import_module(name)
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = module.__package__.rsplit(".", node.level - 1)[0] if node.level > 1 else module.__package__
            yield f"{base}.{node.module}"


def test_every_module_has_a_layer():
    assert set(MODULES) == set(LEVEL)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    for other in imported_modules(name):
        assert LEVEL[other] < LEVEL[name], f"{name} imports {other}"


def test_importing_the_package_loads_nothing_optional():
    optional = ["cvxpy", "clarabel", "torch", "pywt", "wfdb", "pooch", "matplotlib", "onnx", "dask", "tqdm"]
    code = f"import sys, convexnn; print([name for name in {optional} if name in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def public_objects():
    for name in MODULES:
        module = importlib.import_module(name)
        for public in module.__all__:
            yield pytest.param(getattr(module, public), id=f"{name}.{public}")


@pytest.mark.parametrize("thing", list(public_objects()))
def test_public_names_have_numpydoc_docstrings(thing):
    if not callable(thing):
        return
    doc = inspect.getdoc(thing)
    assert doc, "no docstring"
    assert doc.splitlines()[0].endswith("."), "the first line is a sentence"
    parameters = [p for p in inspect.signature(thing).parameters if p not in {"self", "args", "kwargs"}]
    if parameters and thing.__module__ not in INTERNAL:
        section = doc.split("Parameters\n----------\n", 1)[1].split("\n\n", 1)[0]
        for parameter in parameters:
            listed = re.search(rf"^(\w+, )*\**{parameter}(, \w+)*( : |$)", section, re.MULTILINE)
            assert listed, f"parameter {parameter} is not documented"


# Helpers of the package, not of its users: one line says what they do.
INTERNAL = {
    "convexnn.validation",
    "convexnn.enumeration",
    "convexnn.signals",
    "convexnn.cli_reports",
    "convexnn.files",
    "convexnn.intact",
}


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
