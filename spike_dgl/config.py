"""Settings: frozen dataclasses, filled from YAML and ``key=value`` overrides, strictly checked.

An unknown key is an error that names the nearest one; a value of the wrong type or range is an error that says what
was expected. This module defines no settings. Each part of the package declares its own next to the code that uses
them, as ``@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)``.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from annotated_types import Le, Lt
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from spike_dgl.errors import ConfigError, nearest
from spike_dgl.renamed import with_present_names

Options = TypeVar("Options")
Mapped = dict[str, Any]

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

LARGEST = 2**31 - 1
LARGEST_REAL = 1e30
"""Bounds of settings that declare none: int32, and well within float32, which all libraries support."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2 loader: ``1e-3`` is a number, and ``no``, ``1:30``, ``007`` and dates are text.

    A key that occurs twice in a mapping is an error.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping; raise if a key occurs twice."""
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if isinstance(key, Hashable) and key in lines:
                raise yaml.YAMLError(
                    f"'{key}' occurs twice, in lines {lines[key]} and {line}: keep one of them"
                )
            lines[key] = line
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"-?(0|[1-9][0-9]*)", list("-0123456789")),
    (
        "float",
        r"[-+]?((\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)",
        list("-+.0123456789"),
    ),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), _first)


def read_yaml(file: Path) -> Mapped:
    """Read the mapping in a YAML file. Raises `ConfigError` if it cannot be read or is not a mapping."""
    content = _read(file)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: expected a mapping such as 'training: {{epochs: 50}}'")
    return content


def read_yaml_list(file: Path) -> list[Any]:
    """Read the list in a YAML file. Raises `ConfigError` if it cannot be read or is not a list."""
    content = _read(file)
    if not isinstance(content, list):
        raise ConfigError(f"{file}: expected a list, with a line '- ...' per entry")
    return content


def _read(file: Path) -> Any:
    try:
        return yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({error})\n  Check the path.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: is not valid YAML\n  {error}") from None


def write_yaml(mapping: Mapped) -> str:
    """Render a mapping as YAML, the inverse of `read_yaml`."""
    return yaml.safe_dump(mapping, sort_keys=False, allow_unicode=True)


def to_mapping(settings: Any) -> Mapped:
    """Convert a settings dataclass to a dict of scalars, lists and, for nested sections, dicts."""
    return {field.name: _plain(getattr(settings, field.name)) for field in dataclasses.fields(settings)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_mapping(value)
    return list(value) if isinstance(value, tuple) else value


def key_of(override: str) -> str:
    """Return the key in ``section.key=value``."""
    return override.partition("=")[0].strip()


def apply_overrides(mapping: Mapped, overrides: Iterable[str], known: Iterable[str]) -> Mapped:
    """Return a copy of `mapping` with ``section.key=value`` overrides applied.

    Sections may be nested: ``profiles.llm.model=gpt-4o``. `known` lists the existing dotted keys, for error messages
    about unknown ones.
    """
    known = list(known)
    result: Mapped = copy.deepcopy(mapping)
    for override in overrides:
        key, sign, value = override.partition("=")
        if not sign:
            raise ConfigError(f"'{override}': expected key=value, for example training.epochs=20")
        *sections, name = key.strip().split(".")
        if not sections or not all(sections):
            raise ConfigError(f"unknown setting '{key}'; {nearest_key(key, known)}")
        _section(result, sections, key)[name] = _parse_value(override, value)
    return result


def merge(*layers: Mapping[str, Any]) -> Mapped:
    """Merge settings: later layers override earlier ones, sections are merged."""
    result: Mapped = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            both = isinstance(value, Mapping) and isinstance(below, Mapping)
            result[key] = merge(below or {}, value) if both else copy.deepcopy(value)
    return result


def flat(settings: Mapping[str, Any], prefix: str = "") -> Mapped:
    """Flatten nested settings to dotted keys."""
    result: Mapped = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        result |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return result


def nested(settings: Mapping[str, Any]) -> Mapped:
    """Nest settings with dotted keys into sections, the inverse of `flat`."""
    result: Mapped = {}
    for key, value in settings.items():
        *sections, name = key.split(".")
        _section(result, sections, key)[name] = value
    return result


def _section(mapping: Mapped, sections: Iterable[str], key: str) -> Mapped:
    """Return the mapping of a nested section, creating it if missing."""
    part: Any = mapping
    for section in sections:
        part = part.setdefault(section, {})
        if not isinstance(part, dict):
            raise ConfigError(f"'{section}' must be a mapping before '{key}' can be set")
    return part  # type: ignore[no-any-return]


def _parse_value(override: str, value: str) -> Any:
    try:
        return yaml.load(value, Loader=_Loader)
    except yaml.YAMLError:
        raise ConfigError(f"'{override}': the value is not valid YAML; put text in quotes") from None


def nearest_key(key: str, known: Iterable[str]) -> str:
    """Return a clause for error messages with the dotted key most similar to `key`, or with the same last part."""
    known = list(known)
    last = key.rpartition(".")[2]
    same_name = [candidate for candidate in known if candidate.rpartition(".")[2] == last]
    return f"did you mean '{same_name[0]}'?" if same_name else nearest(key, known)


def dotted_keys(options: type, prefix: str) -> Iterator[str]:
    """Yield ``prefix.field`` for each field of a settings dataclass and of its nested sections."""
    inner = _sections_of(options)
    for field in dataclasses.fields(options):
        key = f"{prefix}.{field.name}"
        if field.name in inner:
            yield from dotted_keys(inner[field.name], key)
        else:
            yield key


def _sections_of(options: type) -> dict[str, type]:
    """Return the fields of a settings dataclass that are settings dataclasses themselves."""
    types = get_type_hints(options)
    return {name: kind for name, kind in types.items() if dataclasses.is_dataclass(kind)}  # type: ignore[misc]


def build(options: type[Options], values: Mapping[str, Any] | None, where: str) -> Options:
    """Fill a settings dataclass from a mapping.

    Parameters
    ----------
    options
        A frozen pydantic dataclass; its field types and `pydantic.Field` ranges are checked.
    values
        Values by field name; fields left out keep their defaults.
    where
        Name of the section, for error messages.

    Raises
    ------
    ConfigError
        If a key is unknown (the message names the nearest), or a value has the wrong type or range.
    """
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise ConfigError(f"'{where}' must be a mapping of settings, not {values!r}")
    values = with_present_names(where, values)
    _check_keys(options, values, where)
    _check_sizes(options, values, where)
    try:
        # Strict validation of JSON, unlike that of Python objects, accepts a list for a tuple.
        return TypeAdapter(options).validate_json(json.dumps(_with_texts(options, values)))
    except ValidationError as error:
        errors = error.errors()
        first, place = errors[0], _place(errors[0])
        # A setting of several types has an error for each.
        messages = [each["msg"].removeprefix("Value error, ") for each in errors if _place(each) == place]
        message = " or ".join(dict.fromkeys(messages))
        # An error without a location is about several settings, and names them itself.
        got = f"; got {first['input']!r}" if first["loc"] else ""
        raise ConfigError(f"{'.'.join([where, *place])}: {message}{got}") from None


def _place(error: ErrorDetails) -> list[str]:
    """Return the keys and positions of a value, without the name of the type that pydantic adds for a union."""
    parts = [str(part) for part in error["loc"]]
    return [part for part in parts if part.isidentifier() or part.isdigit()]


def _check_keys(options: type, values: Mapping[str, Any], where: str) -> None:
    inner, names = _sections_of(options), [field.name for field in dataclasses.fields(options)]
    for key, value in values.items():
        if key not in names:
            raise ConfigError(f"unknown setting '{where}.{key}'; {nearest(str(key), names)}")
        if key in inner:
            if not isinstance(value, Mapping):
                raise ConfigError(f"'{where}.{key}' must be a mapping of settings, not {value!r}")
            _check_keys(inner[key], value, f"{where}.{key}")


def _check_sizes(options: type, values: Mapping[str, Any], where: str) -> None:
    """Reject numbers beyond `LARGEST` and `LARGEST_REAL` for settings that declare no bound."""
    inner = _sections_of(options)
    for field in dataclasses.fields(options):
        value = values.get(field.name)
        if field.name in inner:
            _check_sizes(inner[field.name], value or {}, f"{where}.{field.name}")
        elif not _has_upper_bound(field):
            for number in value if isinstance(value, list | tuple) else [value]:
                largest = LARGEST if isinstance(number, int) else LARGEST_REAL
                if isinstance(number, int | float) and abs(number) > largest:
                    problem = f"Input should be between {-largest} and {largest}"
                    raise ConfigError(f"{where}.{field.name}: {problem}; got {number}")


def _has_upper_bound(field: dataclasses.Field[Any]) -> bool:
    rules = field.default.metadata if isinstance(field.default, FieldInfo) else ()
    return any(isinstance(rule, Le | Lt) for rule in rules)


def _with_texts(options: type, values: Mapping[str, Any]) -> Mapped:
    """Convert integers to text for settings that are text: a folder may be named 2018."""
    types, inner = get_type_hints(options), _sections_of(options)
    result = dict(values)
    for key, value in values.items():
        if key in inner:
            result[key] = _with_texts(inner[key], value)
        elif types[key] in (str, str | None) and type(value) is int:
            result[key] = str(value)
    return result
