"""Markdown page of all settings, from the dataclasses that declare them and their docstrings."""

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

Generated from the code by `python main.py settings --out docs/configuration.md`; a test fails if it is out of date.

The settings of a run come from a YAML file (`--config FILE`) and from `section.key=value` on the command line, which
has priority. `python main.py train --show-config` prints all settings of a run, and every run folder has them in
`config.yaml`. An unknown key or a value out of range is an error that names the nearest key or the range.
"""


@dataclass(frozen=True)
class Documented:
    """Docstring of a settings dataclass.

    Parameters
    ----------
    summary
        First paragraph.
    fields
        Description of each field, including inherited ones.
    """

    summary: str
    fields: dict[str, str]


def documented(options: type) -> Documented:
    """Parse the docstrings of a settings dataclass and of its base classes."""
    fields: dict[str, str] = {}
    for declared in reversed(options.__mro__):
        fields |= _described_fields(declared.__dict__.get("__doc__") or "")
    return Documented(_first_paragraph(options), fields)


def _first_paragraph(documented: Any) -> str:
    return " ".join((inspect.getdoc(documented) or "").split("\n\n")[0].replace("``", "`").split())


def _described_fields(docstring: str) -> dict[str, str]:
    """Return the entries of the section Parameters in a NumPy docstring."""
    _, _, section = inspect.cleandoc(docstring).partition("Parameters\n----------\n")
    entries = re.findall(r"^([a-z]\w*(?:, [a-z]\w*)*)\n((?:(?: {4}.*|)\n?)+)", section, flags=re.MULTILINE)
    return {
        name: " ".join(text.replace("``", "`").split())
        for names, text in entries
        for name in names.split(", ")
    }


def settings_page(models: Iterable[str] | None = None) -> str:
    """Render all settings of a run, with the options of some models (default: all), as Markdown."""
    entries = registered_models()
    chosen = {name: entries[name] for name in (entries if models is None else models)}
    parts = [INTRODUCTION]
    for section, options in SECTIONS.items():
        parts += _section_parts(section, options)
    parts.append(
        "## model\n\n`model.name` selects the model, `spike` by default. All trained models share these settings; "
        "other defaults of a model are in its own table."
    )
    parts.append(_table("model", RankingOptions, _fields(RankingOptions)))
    for name, entry in chosen.items():
        parts += _model_parts(name, entry)
    return "\n\n".join(part.strip() for part in parts) + "\n"


def options_table(options: type, shared: type | None = None) -> str:
    """Render options without a section as Markdown.

    Parameters
    ----------
    options
        Dataclass that declares them.
    shared
        Base class whose options are omitted, unless `options` has another default.
    """
    return _table("", options, _fields(options) if shared is None else _own_fields(options, shared))


def _section_parts(section: str, options: type) -> Iterator[str]:
    """Yield heading, first paragraph and table of a section, then of its nested sections."""
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
        yield f"Search space of `main.py tune`: {'; '.join(tried)}."


def _own_fields(options: type, shared: type) -> dict[str, FieldInfo]:
    """Return the fields that are not in the base class, or have another default there."""
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
    # A bar would end its cell, even inside code.
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
    """Format a value as after ``key=`` on the command line."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    return write_yaml(value).removesuffix("\n").removesuffix("\n...")


def _values(field: FieldInfo) -> str:
    """Describe type and range of a field."""
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
