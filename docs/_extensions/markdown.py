"""Markdown files of the project, included as they are: headings, lists, tables, code and links, no more."""

import re

from plain_docstrings import escape

# Of a heading of level 1, 2 and 3 below the title of the page.
UNDERLINES = "-~^"
# A cell that would be a list.
CELL = re.compile(r"^-$")


def to_rst(text):
    """Return a Markdown text as reStructuredText; its title, the first heading of level 1, is left out."""
    text = re.sub(r"\A# .*\n", "", text)
    text = "\n".join(line if line.startswith("|") else escape(line) for line in text.split("\n"))
    text = re.sub(r"(?<!`)`([^`\n]+)`(?!`)", r"``\1``", text)
    text = re.sub(r"\[([^\]]+)\]\((https?://[^)]+)\)", r"`\1 <\2>`__", text)
    text = re.sub(r"^(#{2,4}) (.*)$", _heading, text, flags=re.MULTILINE)
    text = re.sub(r"^\* ", "- ", text, flags=re.MULTILINE)
    return re.sub(r"(?:^\|.*\n)+", _table, text, flags=re.MULTILINE)


def _heading(match):
    title = match[2].strip()
    return f"{title}\n{UNDERLINES[len(match[1]) - 2] * len(title)}"


def _table(match):
    """Return a table whose second line only aligns its columns."""
    header, _, *rows = [
        [CELL.sub(r"\\-", cell.strip()) for cell in line.strip("|").split("|")] for line in match[0].splitlines()
    ]
    lines = [".. list-table::", "   :header-rows: 1", "   :class: included", ""]
    for row in [header, *rows]:
        lines += [f"   {'  -' if place else '* -'} {cell}".rstrip() for place, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def read_included(app, path, parent, content):
    """Change what an `include` directive read, where it is a Markdown file."""
    if path.suffix == ".md":
        content[0] = to_rst(content[0])


def setup(app):
    """Listen to what is included."""
    app.connect("include-read", read_included)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
