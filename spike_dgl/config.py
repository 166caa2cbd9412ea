"""Settings: frozen dataclasses, filled from YAML and ``key=value`` overrides, strictly checked.

Nothing is silently ignored: an unknown key is an error that names the nearest one, a value of the wrong type
or range an error that says what was expected. This module knows no setting itself; the parts of the package
declare theirs next to the code that reads them, as ``@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)``.
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

from spike_dgl.errors import ConfigError, nearest
from spike_dgl.renamed import with_present_names

Options = TypeVar("Options")
Mapped = dict[str, Any]

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

LARGEST = 2**31 - 1
LARGEST_REAL = 1e30
"""Bounds of a setting that declares none of its own: what every library here can count to, and hold as float32."""


class _Loader(yaml.SafeLoader):
    """YAML as in its version 1.2: ``1e-3`` is a number, and ``no``, ``1:30``, ``007`` and days are text.

    A key that occurs twice in a mapping is an error.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping whose keys are all different."""
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
    """The mapping a YAML file holds. Raises `ConfigError` where it cannot be read or is no mapping."""
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({error})\n  Check the path.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: is not valid YAML\n  {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: expected a mapping such as 'training: {{epochs: 50}}'")
    return content


def write_yaml(mapping: Mapped) -> str:
    """A mapping as YAML that `read_yaml` reads back."""
    return yaml.safe_dump(mapping, sort_keys=False, allow_unicode=True)


def to_mapping(settings: Any) -> Mapped:
    """A settings dataclass as a dict of lists, scalars and, for the sections inside it, dicts."""
    return {field.name: _plain(getattr(settings, field.name)) for field in dataclasses.fields(settings)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_mapping(value)
    return list(value) if isinstance(value, tuple) else value


def key_of(override: str) -> str:
    """Which setting ``section.key=value`` is about."""
    return override.partition("=")[0].strip()


def apply_overrides(mapping: Mapped, overrides: Iterable[str], known: Iterable[str]) -> Mapped:
    """A copy of `mapping` in which each ``section.key=value`` has replaced what stood there.

    A section may hold sections: ``profiles.llm.model=gpt-4o``. `known` lists the dotted keys that exist, for the
    error message of one that does not.
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
    """Settings laid over each other: a later one replaces what an earlier one says, sections are merged."""
    result: Mapped = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            both = isinstance(value, Mapping) and isinstance(below, Mapping)
            result[key] = merge(below or {}, value) if both else copy.deepcopy(value)
    return result


def flat(settings: Mapping[str, Any], prefix: str = "") -> Mapped:
    """Settings by dotted key."""
    result: Mapped = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        result |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return result


def nested(settings: Mapping[str, Any]) -> Mapped:
    """Settings by dotted key as the sections they stand in; what `flat` takes apart."""
    result: Mapped = {}
    for key, value in settings.items():
        *sections, name = key.split(".")
        _section(result, sections, key)[name] = value
    return result


def _section(mapping: Mapped, sections: Iterable[str], key: str) -> Mapped:
    """The mapping inside some sections, made where it is missing."""
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
    """A clause naming the dotted key most like `key`, also where only its last part is right."""
    known = list(known)
    last = key.rpartition(".")[2]
    same_name = [candidate for candidate in known if candidate.rpartition(".")[2] == last]
    return f"did you mean '{same_name[0]}'?" if same_name else nearest(key, known)


def dotted_keys(options: type, prefix: str) -> Iterator[str]:
    """``prefix.field`` for every field of a settings dataclass, and of those inside it."""
    inner = _sections_of(options)
    for field in dataclasses.fields(options):
        key = f"{prefix}.{field.name}"
        if field.name in inner:
            yield from dotted_keys(inner[field.name], key)
        else:
            yield key


def _sections_of(options: type) -> dict[str, type]:
    """The fields of a settings dataclass that are settings dataclasses themselves."""
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
        For an unknown key (naming the nearest), a wrong type, or a value out of range.
    """
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise ConfigError(f"'{where}' must be a mapping of settings, not {values!r}")
    values = with_present_names(where, values)
    _check_keys(options, values, where)
    _check_sizes(options, values, where)
    try:
        # Strict checking of JSON, unlike that of Python objects, takes a list where a tuple is declared.
        return TypeAdapter(options).validate_json(json.dumps(_with_texts(options, values)))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([where, *(str(part) for part in first["loc"])])
        message = first["msg"].removeprefix("Value error, ")
        # An error without a place is about several settings at once, and names them itself.
        got = f"; got {first['input']!r}" if first["loc"] else ""
        raise ConfigError(f"{place}: {message}{got}") from None


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
    """Refuse numbers beyond `LARGEST` and `LARGEST_REAL`, where a setting declares no bound of its own."""
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
    """The values, with integers as text where a setting is text: a folder may be called 2018."""
    types, inner = get_type_hints(options), _sections_of(options)
    result = dict(values)
    for key, value in values.items():
        if key in inner:
            result[key] = _with_texts(inner[key], value)
        elif types[key] in (str, str | None) and type(value) is int:
            result[key] = str(value)
    return result
