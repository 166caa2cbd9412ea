"""Griffe extension: the reStructuredText in docstrings as Markdown.

Docstrings hold literal blocks (``::``), formulas (``.. math::`` and ``:math:``) and simple tables. Dataclasses checked
by pydantic are shown like those of the standard library, and names link to their pages.
"""

from __future__ import annotations

import re
import textwrap
from functools import partial
from typing import Any

from griffe import (
    Attribute,
    Class,
    Expr,
    ExprAttribute,
    ExprCall,
    ExprKeyword,
    ExprName,
    Extension,
    NameResolutionError,
    Object,
)

INLINE_MATH = re.compile(r":math:`([^`]+)`")
MATH = re.compile(r"^\.\. math::(.*)$")
RULE = re.compile(r"^=+( +=+)+$")
NAMES = re.compile(r"^\w+(, \w+)+$")
NAME = re.compile(r"(?<![`$])`([A-Za-z_][\w.]*)`(?!`)")
PROSE = re.compile(r"(?!\w+(, \w+)* : )\S+ .*(\n\S.*)*")
SECTION = re.compile(r"^\w+\n-+$", flags=re.MULTILINE)


def to_markdown(text: str) -> str:
    """Return a docstring without the indentation of its first line, with Markdown in place of reStructuredText."""
    lines, out = INLINE_MATH.sub(r"$`\1`$", _with_prose_first(text)).splitlines(), []
    while lines:
        line = lines.pop(0)
        if found := MATH.match(line):
            body = [found[1].strip(), *_indented(lines)]
            out += ["```math", *filter(None, body), "```", ""]
        elif NAMES.match(line) and _block_follows(lines):
            # Griffe would give all of them the type of the first.
            description = ["    " + text for text in _indented(lines)]
            out += [entry for name in line.split(", ") for entry in (name, *description)]
        elif RULE.match(line) and len(lines) > 1:
            out += _table(line, lines)
        elif line.endswith("::") and line.strip() != "::" and _block_follows(lines):
            out += [line[:-1], "", "```text", *_indented(lines), "```", ""]
        else:
            out.append(line)
    return "\n".join(out)


def _with_prose_first(text: str) -> str:
    """Move prose after the first section before it, since all lines without indentation are entries of a section.

    Examples, whose lines are no entries, come last and stay.
    """
    first = SECTION.search(text)
    if first is None:
        return text
    before, after = text[: first.start()], text[first.start() :]
    sections, heading, examples = after.partition("Examples\n--------\n")
    paragraphs = re.split(r"\n{2,}", sections)
    prose = [paragraph for paragraph in paragraphs if PROSE.fullmatch(paragraph.strip("\n"))]
    rest = [paragraph for paragraph in paragraphs if paragraph not in prose]
    return before + "\n\n".join([*prose, *rest]) + heading + examples


def _block_follows(lines: list[str]) -> bool:
    following = next((line for line in lines if line.strip()), "")
    return following.startswith("    ")


def _indented(lines: list[str]) -> list[str]:
    """Remove the indented block at the start of `lines`, and return it without its indentation."""
    block = []
    while lines and (not lines[0].strip() or lines[0].startswith("    ")):
        block.append(lines.pop(0))
    return textwrap.dedent("\n".join(block)).strip("\n").splitlines()


def _table(rule: str, lines: list[str]) -> list[str]:
    """Remove the rows of a simple table, up to its last rule, and return it as a Markdown table."""
    columns = [match.span() for match in re.finditer("=+", rule)]
    columns[-1] = (columns[-1][0], None)  # type: ignore[assignment]
    last = max(index for index, line in enumerate(lines) if RULE.match(line))
    rows = [[line[slice(*column)].strip() for column in columns] for line in lines[:last] if line != rule]
    has_header = rule in lines[:last]
    del lines[: last + 1]
    header = rows.pop(0) if has_header else [""] * len(columns)
    return [_row(header), _row(["---"] * len(columns)), *map(_row, rows), ""]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


class Docstrings(Extension):
    """Applies `to_markdown` to every docstring before it is parsed."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Convert the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = NAME.sub(partial(_link, obj), to_markdown(obj.docstring.value))

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """Turn a dataclass of pydantic into one of the standard library, which Griffe knows."""
        for decorator in cls.decorators:
            if decorator.callable_path == "pydantic.dataclasses.dataclass":
                module = ExprName("dataclasses")
                decorator.value = ExprAttribute([module, ExprName("dataclass", parent=module)])
                for member in cls.members.values():
                    if isinstance(member, Attribute):
                        member.value = _default(member.value)


def _link(obj: Object, name: re.Match[str]) -> str:
    """Return a name with a link to its documentation, where there is any."""
    try:
        path = name[1] if name[1].startswith("spike_dgl.") else obj.resolve(name[1])
    except NameResolutionError:
        return name[0]
    return f'<autoref identifier="{path}" optional><code>{name[1]}</code></autoref>'


def _default(value: str | Expr | None) -> str | Expr | None:
    """Return the default of a pydantic field; other values as they are."""
    if not isinstance(value, ExprCall) or value.canonical_path != "pydantic.Field":
        return value
    named = {
        argument.name: argument.value for argument in value.arguments if isinstance(argument, ExprKeyword)
    }
    if "default_factory" in named:
        factory = named["default_factory"]
        return ExprCall(factory, []) if isinstance(factory, Expr) else None
    return named.get("default")
