"""Every public name has an example that runs (`test_imports.test_docstring_examples`) and complete type hints."""

import importlib
import importlib.resources
import inspect
import re
from types import SimpleNamespace
from typing import get_type_hints

import pytest
from public import PUBLIC_MODULES

import convexnn

# What annotations name without importing it: packages that are optional, or modules above.
LATE = {
    "MLPClassifier": object,
    "MLPRegressor": object,
    "Path": object,
    "RegularizationPathDisplay": object,
    "pd": SimpleNamespace(DataFrame=object),
    "torch": SimpleNamespace(nn=SimpleNamespace(Module=object)),
}


def public_names():
    """The callables that are public, by module and name, each once."""
    names = {}
    for module in [convexnn, *(importlib.import_module(f"convexnn.{name}") for name in PUBLIC_MODULES)]:
        for name in module.__all__:
            thing = getattr(module, name)
            if callable(thing):
                names[thing] = f"{thing.__module__}.{thing.__qualname__}"
    return sorted(names.items(), key=lambda item: item[1])


def functions_of(thing):
    """The public functions of a public name: itself, or the methods, properties and __init__ of a class."""
    if not inspect.isclass(thing):
        return [thing]
    found = []
    for name, member in inspect.getmembers_static(thing):
        member = getattr(member, "fget", None) or getattr(member, "__func__", None) or getattr(member, "func", member)
        own = inspect.isfunction(member) and member.__module__.startswith("convexnn")
        if own and (name == "__init__" or not name.startswith("_")):
            found.append(inspect.unwrap(member))
    return found


PUBLIC = [pytest.param(thing, id=name) for thing, name in public_names()]


@pytest.mark.parametrize("thing", PUBLIC)
def test_public_names_have_numpydoc_docstrings(thing):
    doc = inspect.getdoc(thing)
    assert doc, "no docstring"
    assert doc.splitlines()[0].endswith("."), "the first line is a sentence"
    parameters = [p for p in inspect.signature(thing).parameters if p not in {"self", "args", "kwargs"}]
    section = re.split(r"\n\n[A-Z]\w+\n-+\n", "\n\n" + doc.partition("Parameters\n----------\n")[2], maxsplit=1)[0]
    for parameter in parameters:
        listed = re.search(rf"^(\w+, )*\**{parameter}(, \w+)*( : |$)", section, re.MULTILINE)
        assert listed, f"parameter {parameter} is not documented"


@pytest.mark.parametrize("thing", PUBLIC)
def test_public_names_have_an_example(thing):
    section = inspect.getdoc(thing).partition("\nExamples\n--------\n")[2]
    assert section.startswith(">>> "), "no section Examples"


@pytest.mark.parametrize("thing", PUBLIC)
def test_public_functions_have_type_hints(thing):
    for function in functions_of(thing):
        hints = get_type_hints(function, localns=LATE)
        wanted = {name for name in inspect.signature(function).parameters if name not in {"self", "cls"}}
        wanted |= set() if function.__name__ == "__init__" else {"return"}
        assert wanted <= set(hints), f"{function.__qualname__} lacks type hints of {sorted(wanted - set(hints))}"


def test_the_package_is_marked_as_typed():
    assert (importlib.resources.files("convexnn") / "py.typed").is_file()
