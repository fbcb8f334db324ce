"""Configuration of Sphinx: `make docs` builds the site in docs/_build/html, without any network."""

import importlib.util
import inspect
import os
import pkgutil
import sys
from pathlib import Path

# The workers of the examples and of the solvers would wait for one another on few processors.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

from sphinx.util.nodes import make_refnode  # noqa: E402

import convexnn  # noqa: E402

project = "convexnn"
author = "the convexnn developers"
copyright = "the convexnn developers, BSD-3-Clause"
version = release = convexnn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "plain_docstrings",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "sphinx.ext.mathjax",
    "markdown",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_extensions"]
default_role = "py:obj"
math_eqref_format = "({number})"

# The classes of other libraries whose members are not ours to document.
FOREIGN = "BaseException, BaseEstimator, RegressorMixin, ClassifierMixin, MetaEstimatorMixin, tuple, dict, object"


def own_names(modules):
    """Return what the page of each module documents: kind, name and value of the public names that are at home there.

    A class or function is at home where it is public with the shortest name: it is documented once.
    """
    homes = {id(getattr(convexnn, name)): "convexnn" for name in convexnn.__all__}
    for module in sorted(modules, key=lambda module: module.__name__.count(".")):
        for thing in _documented(module).values():
            if module.__name__.count(".") < thing.__module__.count(".") or module.__name__ == thing.__module__:
                homes.setdefault(id(thing), module.__name__)
    names = {}
    for module in modules:
        rows, documented = [], _documented(module)
        for name in getattr(module, "__all__", ()):
            value = repr(getattr(module, name))
            if name not in documented:
                rows.append(("data", name, value if len(value) < 100 else "..."))
            elif homes.get(id(documented[name])) == module.__name__:
                rows.append(("class" if inspect.isclass(documented[name]) else "function", name, ""))
        names[module.__name__] = rows
    return names


def _documented(module):
    """Return the public classes and functions of a module by name, compiled ones too."""
    things = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    return {
        name: thing
        for name, thing in things.items()
        if inspect.isclass(thing) or inspect.isroutine(thing) or hasattr(thing, "py_func")
    }


MODULES = [name for _, name, _ in pkgutil.iter_modules(convexnn.__path__, "convexnn.") if "__main__" not in name]

autosummary_generate = True
autosummary_context = {
    "foreign": FOREIGN,
    "own_names": own_names([importlib.import_module(name) for name in MODULES]),
}
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_validation_checks = {
    *("GL03", "GL06", "GL07", "GL09", "GL10", "SS01", "SS02", "SS03", "SS04", "SS06", "PR02"),
    *("PR05", "PR07", "PR09", "PR10", "RT02", "RT03", "RT05"),
}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "remove_config_comments": True,
}

html_theme = "pydata_sphinx_theme"
html_title = f"convexnn {release}"
# MathJax as one file of the site, whose formulas are drawn as SVG: pages are read without a network.
MATHJAX = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static/mathjax/tex-svg.js"
html_static_path = ["_static", str(MATHJAX)]
mathjax_path = MATHJAX.name
html_css_files = ["convexnn.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": ["page-toc"],
    "header_links_before_dropdown": 8,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
html_sidebars = {"index": [], "choosing": [], "benchmarks": [], "changelog": [], "bibliography": []}


def skip(app, what, name, obj, skipped, options):
    """Leave out what Python and scikit-learn add to classes: fields of tuples, requests of metadata."""
    added = type(obj).__name__ == "_tuplegetter" or (name.startswith("set_") and name.endswith("_request"))
    return True if added or name == "get_metadata_routing" else None


def link(app, env, node, content):
    """Return a link to a public name of the package that stands in a page or a docstring of another module."""
    if node.get("refdomain") == "py":
        domain, name = env.get_domain("py"), f"convexnn.{node['reftarget']}"
        if name in domain.objects:
            page, place = domain.objects[name][:2]
            return make_refnode(app.builder, node["refdoc"], page, place, content, name)
    return None


def setup(app):
    """Connect `skip` and `link`."""
    app.connect("autodoc-skip-member", skip)
    app.connect("missing-reference", link)
