"""Docstrings in plain text for Sphinx: formulas that stand apart become literal blocks, and |u| is no substitution.

The docstrings of the package are written to be read as they are, in `help` and in the source. So formulas are indented
without marks, and norms have bars. Here both get the marks of reStructuredText, before numpydoc reads the docstring.
"""

import re

UNDERLINE = re.compile(r"-{3,}\s*$")
# What would be emphasis, and that, a substitution or a reference.
STARS = re.compile(r"(?<=[\s(])\*+(?=\S)")
SPECIAL = re.compile(r"\||(?<=[\s(])\*+(?=\S)|(?<=\w)_(?=[),.;\]\"\s]|$)")
# Sections of prose, in which indented text is a formula; the sections of numpydoc are lists of names.
PROSE = {"Notes", "Warnings"}


def mark(lines, is_module):
    """Return the lines of a docstring with the marks that Sphinx needs."""
    marked, prose, block = [], True, False
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if UNDERLINE.match(following) and line.strip():
            prose, block = is_module or line.strip() in PROSE, False
            if is_module:
                marked.append(f".. rubric:: {line.strip()}")
                continue
        if is_module and UNDERLINE.match(line):
            marked.append("")
            continue
        if prose and line.startswith("    ") and not block and not (marked and marked[-1].strip()):
            block = True
            marked += [".. code-block:: text", ""]
        elif line.strip() and not line.startswith("    "):
            block = False
        if not prose and not line.startswith(" "):  # names, whose underscores numpydoc escapes, and types
            name, colon, kind = line.partition(" : ")
            marked.append(STARS.sub(_escaped, name) + colon + escape(kind))
        else:
            marked.append(line if block else escape(line))
    return marked


def escape(line):
    """Escape what plain text means as it is, outside of code: bars, stars before a name, underscores after one."""
    if line.lstrip().startswith((">>>", "...", ".. ", "*")):
        return line
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(part if part.startswith("`") else SPECIAL.sub(_escaped, part) for part in parts)


def _escaped(match):
    return re.sub(r"(.)", r"\\\1", match[0])


def process(app, what, name, obj, options, lines):
    """Change a docstring in place."""
    lines[:] = mark(lines, what == "module")


def setup(app):
    """Listen to docstrings before numpydoc does, whose priority is 500."""
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
