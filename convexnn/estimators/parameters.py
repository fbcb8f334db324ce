"""Parameters and fitted attributes, each declared once: with its default, its constraint, its type and its text.

    class Regression(ConvexNetworkEstimator):
        delta: float = parameter(1.0, [POSITIVE], "float", "Threshold of the Huber loss, in units of y.")

From what a class and its bases declare, `Declared` makes `__init__`, the constraints that scikit-learn checks, and the
sections Parameters and Attributes of the docstring: those of bases in the order of inheritance. `_formula` of a base is
what the docstring says after its first line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Set
from dataclasses import dataclass
from inspect import Parameter, Signature, cleandoc
from numbers import Integral, Real
from textwrap import fill
from typing import Any, dataclass_transform, get_type_hints

from sklearn.utils._param_validation import Interval, StrOptions

__all__ = ["COUNT", "POSITIVE", "UNIT", "Declared", "choice", "fitted", "parameter"]

POSITIVE, COUNT = Interval(Real, 0, None, closed="neither"), Interval(Integral, 1, None, closed="left")
UNIT = Interval(Real, 0, 1, closed="neither")
# Characters of a line of documentation.
WIDTH = 116


@dataclass(frozen=True)
class _Declaration:
    """A parameter, or an attribute of a fit, which has no constraint."""

    kind: str
    text: str
    default: object = None
    constraint: list | str | None = None
    kw_only: bool = True


def parameter(default: Any, constraint: list | str, kind: str, text: str, *, kw_only: bool = True) -> Any:
    """Declare a parameter; `kind` is its type in words."""
    return _Declaration(kind, text, default, constraint, kw_only)


def choice(default: str, options: Collection[str], text: str) -> Any:
    """Declare a parameter that is one of some strings."""
    ordered = dict.fromkeys((default, *options))
    known = options if isinstance(options, Set) else set(ordered)  # a view of a dictionary has its later entries too
    return parameter(default, [StrOptions(known)], f"{{{', '.join(map(_shown, ordered))}}}", text)


def fitted(kind: str, text: str, *, init: bool = False) -> Any:
    """Declare an attribute that a fit sets; type checkers know by `init` that it is no parameter."""
    return _Declaration(kind, text)


@dataclass_transform(kw_only_default=True, field_specifiers=(parameter, choice, fitted))
class Declared:
    """What has declared parameters and attributes."""

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if len(cls.__bases__) == 1 and not any(isinstance(value, _Declaration) for value in vars(cls).values()):
            return  # a user's subclass is as its base
        cls._own = {name: value for name, value in vars(cls).items() if isinstance(value, _Declaration)}
        for name in cls._own:  # an instance has values, not declarations
            delattr(cls, name)
        declared, annotations = {}, {}
        for base in cls.__mro__:
            declared = declared | {n: value for n, value in vars(base).get("_own", {}).items() if n not in declared}
            annotations = vars(base).get("__annotations__", {}) | annotations
        given = {name: value for name, value in declared.items() if value.constraint is not None}
        given = dict(sorted(given.items(), key=lambda item: item[1].kw_only))
        cls._parameter_constraints = {name: value.constraint for name, value in given.items()}
        if "__init__" not in vars(cls):
            cls.__init__ = _initializer(cls, given, annotations)
        if cls.__doc__ and "Parameters\n" not in cls.__doc__:
            attributes = {name: value for name, value in declared.items() if name not in given}
            cls.__doc__ = _documented(cls.__doc__, getattr(cls, "_formula", ""), given, attributes)


def _initializer(cls, given, annotations):
    """Return an `__init__` that sets the parameters of a class as attributes."""
    kinds = {True: Parameter.KEYWORD_ONLY, False: Parameter.POSITIONAL_OR_KEYWORD}
    signature = Signature(
        [Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)]
        + [
            Parameter(name, kinds[value.kw_only], default=value.default, annotation=annotations[name])
            for name, value in given.items()
        ]
    )

    def __init__(self, *args, **values):
        try:
            bound = signature.bind(self, *args, **values)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}.__init__() {error}") from None
        bound.apply_defaults()
        for name in given:
            setattr(self, name, bound.arguments[name])

    hints = get_type_hints(cls)
    __init__.__signature__, __init__.__annotations__ = signature, {name: hints[name] for name in given}
    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    return __init__


def _documented(doc, formula, parameters, attributes):
    """Return a docstring with a formula, and the sections Parameters and Attributes before its own sections."""
    summary, *text = cleandoc(doc).split("\n\n", maxsplit=1)
    doc = "\n\n".join([summary, *([cleandoc(formula)] if formula else []), *text])
    head, *rest = re.split(r"\n\n(?=[A-Z]\w+\n-+\n)", doc, maxsplit=1)
    listed = [_entry(name, f"{d.kind}, default={_shown(d.default)}", d.text) for name, d in parameters.items()]
    sections = ["Parameters\n----------\n" + "\n".join(listed)] if listed else []
    listed = [_entry(name, d.kind, d.text) for name, d in attributes.items()]
    sections += ["Attributes\n----------\n" + "\n".join(listed)] if listed else []
    return "\n\n".join([head, *sections, *rest]) + "\n"


def _entry(name, kind, text):
    text = fill(text, WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 4, break_on_hyphens=False)
    return f"{name} : {kind}\n{text}"


def _shown(value):
    return f'"{value}"' if isinstance(value, str) else repr(value)
