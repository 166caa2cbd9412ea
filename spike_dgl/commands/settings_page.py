"""Every setting as a page of Markdown, from the dataclasses that declare them and their docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, cast, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from spike_dgl.config import write_yaml
from spike_dgl.models.base import ModelEntry, RankingOptions, registered_models
from spike_dgl.runs.config import SECTIONS

_TYPES = {int: "integer", float: "number", str: "text", bool: "true or false", NoneType: "null"}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "min_length": "length at least"}

INTRODUCTION = """\
# Settings

Written by `python main.py settings --out docs/configuration.md` from the code; a test fails where it is out of date.

A run takes its settings from a YAML file (`--config FILE`), and from `section.key=value` on the command line, which
comes last. `python main.py train --show-config` prints all settings of a
run, and every run folder holds them in `config.yaml`. An unknown key or a value out of range is an error that names the
nearest key or the range.
"""


@dataclass(frozen=True)
class Documented:
    """What the docstring of a settings dataclass says.

    Parameters
    ----------
    summary
        Its first paragraph.
    fields
        Description of each field, those of base classes included.
    """

    summary: str
    fields: dict[str, str]


def documented(options: type) -> Documented:
    """Read the docstrings of a settings dataclass and of what it is derived from."""
    fields: dict[str, str] = {}
    for declared in reversed(options.__mro__):
        fields |= _described_fields(declared.__dict__.get("__doc__") or "")
    return Documented(_first_paragraph(options), fields)


def _first_paragraph(documented: Any) -> str:
    return " ".join((inspect.getdoc(documented) or "").split("\n\n")[0].replace("``", "`").split())


def _described_fields(docstring: str) -> dict[str, str]:
    """The entries of a NumPy docstring's section Parameters."""
    _, _, section = inspect.cleandoc(docstring).partition("Parameters\n----------\n")
    entries = re.findall(r"^([a-z]\w*(?:, [a-z]\w*)*)\n((?:(?: {4}.*|)\n?)+)", section, flags=re.MULTILINE)
    return {
        name: " ".join(text.replace("``", "`").split())
        for names, text in entries
        for name in names.split(", ")
    }


def settings_page(models: Iterable[str] | None = None) -> str:
    """All settings of a run, and the options of some models, or of all, as Markdown."""
    entries = registered_models()
    chosen = {name: entries[name] for name in (entries if models is None else models)}
    parts = [INTRODUCTION]
    for section, options in SECTIONS.items():
        parts += _section_parts(section, options)
    parts.append(
        "## model\n\n`model.name` chooses the model, `spike` by default. All trained models share these settings; "
        "where a model has another default, it stands in the model's own table."
    )
    parts.append(_table("model", RankingOptions, _fields(RankingOptions)))
    for name, entry in chosen.items():
        parts += _model_parts(name, entry)
    return "\n\n".join(part.strip() for part in parts) + "\n"


def options_table(options: type, shared: type | None = None) -> str:
    """Options that are set without naming a section, as Markdown.

    Parameters
    ----------
    options
        The dataclass that declares them.
    shared
        What it derives from: only options that this has not, or has with another default, are in the table then.
    """
    return _table("", options, _fields(options) if shared is None else _own_fields(options, shared))


def _section_parts(section: str, options: type) -> Iterator[str]:
    """Heading, first paragraph and table of a section, then those of the sections inside it."""
    own = {name: field for name, field in _fields(options).items() if not _is_section(field)}
    yield f"{'#' * (section.count('.') + 2)} {section}\n\n{documented(options).summary}"
    yield _table(section, options, own)
    for name, field in _fields(options).items():
        if _is_section(field):
            yield from _section_parts(f"{section}.{name}", cast(type, field.annotation))


def _model_parts(name: str, entry: ModelEntry) -> Iterator[str]:
    yield f"### {name}\n\n{_first_paragraph(entry.model)}"
    fields = _own_fields(entry.options, RankingOptions)
    if own := {key: field for key, field in fields.items() if not _is_section(field)}:
        yield _table("model", entry.options, own)
    for key, field in fields.items():
        if _is_section(field):
            options = cast(type, field.annotation)
            yield f"`model.{key}`: {documented(options).summary}"
            yield _table(f"model.{key}", options, _fields(options))
    if entry.search:
        tried = (f"`{key}` {', '.join(map(_plain, values))}" for key, values in entry.search.items())
        yield f"`main.py tune` tries: {'; '.join(tried)}."


def _own_fields(options: type, shared: type) -> dict[str, FieldInfo]:
    """Those that what the options derive from has not, or has with another default."""
    defaults = {key: _default(field) for key, field in _fields(shared).items()}
    return {
        key: field
        for key, field in _fields(options).items()
        if key not in defaults or defaults[key] != _default(field)
    }


def _table(section: str, options: type, fields: dict[str, FieldInfo]) -> str:
    described, prefix = documented(options).fields, f"{section}." if section else ""
    rows = [
        [f"`{prefix}{name}`", _values(field), _shown_default(field), described.get(name, "")]
        for name, field in fields.items()
    ]
    # A bar would end its cell, in code too.
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows]
    return "\n".join(["| setting | values | default | |", "|---|---|---|---|", *lines])


def _fields(options: type) -> dict[str, FieldInfo]:
    TypeAdapter(options)
    fields: dict[str, FieldInfo] = options.__pydantic_fields__  # type: ignore[attr-defined]
    return fields


def _is_section(field: FieldInfo) -> bool:
    return dataclasses.is_dataclass(field.annotation)


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)


def _shown_default(field: FieldInfo) -> str:
    return "needed" if field.is_required() else f"`{_plain(_default(field))}`"


def _plain(value: Any) -> str:
    """A value as one may write it after ``key=``."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    return write_yaml(value).removesuffix("\n").removesuffix("\n...")


def _values(field: FieldInfo) -> str:
    """Type and range of a field, in words."""
    bounds = [
        f"{words} {_plain(getattr(bound, name))}"
        for bound in field.metadata
        for name, words in _BOUNDS.items()
        if getattr(bound, name, None) is not None
    ]
    return ", ".join([_type_in_words(field.annotation), *bounds])


def _type_in_words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _TYPES:
        return _TYPES[annotation]
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if dataclasses.is_dataclass(annotation):
        return "a table, see below"
    if origin is dict:
        return "mapping"
    if origin is Mapping:
        return f"{_type_in_words(arguments[1])} by column"
    if origin is tuple:
        return f"list: {_type_in_words(arguments[0])}"
    if hasattr(annotation, "__metadata__"):
        return _values(FieldInfo.from_annotation(annotation))
    return " or ".join(map(_type_in_words, arguments))
