"""Definition of a study: reading and checking of the bench file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT, apply_overrides, build, key_of, merge, read_yaml, to_mapping, write_yaml
from spike_dgl.errors import ConfigError, nearest
from spike_dgl.runs.config import (
    RunConfig,
    known_settings,
    name_of_model,
    overrides_by_model,
    with_absolute_paths,
)

Settings: TypeAlias = dict[str, Any]
Number: TypeAlias = int | float
Seed = Annotated[int, Field(ge=0)]

EMPTY: tuple[Any, ...] = ("", None, [], {})
By: TypeAlias = Literal["activity of users", "popularity of items", "length of the item's text"]
METRICS = ("recall@20", "ndcg@20")


@dataclass(frozen=True, config=STRICT)
class Axis:
    """Setting that is varied over several values, the x-axis of a plot.

    Parameters
    ----------
    name
        Name in tables and plots.
    setting
        Dotted key, such as ``model.profile_scale``.
    values
        Numbers to try.
    """

    name: str
    setting: str
    values: tuple[Number, ...] = Field(min_length=2)


@dataclass(frozen=True, config=STRICT)
class BenchFile:
    """Content of a bench file; see `docs/benchmark.md`.

    Parameters
    ----------
    title
        Heading of table and plot.
    base
        Settings of all runs: an ordinary run configuration.
    models
        Names of models; each is a variant with this label.
    variants
        Settings by label, which override `base`.
    axis
        Setting that is varied; every variant is run with each of its values.
    seeds
        Training seeds; every variant is run with each.
    reference
        Variant (or value of the axis, with a single variant) that all others are tested against. Default: the best
        on validation.
    tuned
        Folder with the tuned settings of each model, ``DATA/MODEL.yaml``. They override `base`.
    overrides
        Settings from the command line. They override `base` and `tuned`; a setting of a model applies to variants
        whose model has it.
    metrics
        Test metrics to show; the first is used for groups of users and items, and in sentences.
    plot_by
        Groups in the plot: ``activity of users``, ``popularity of items`` or ``length of the item's text``; None for
        all users.
    """

    title: str = ""
    base: Settings = Field(default_factory=dict)
    models: tuple[str, ...] = ()
    variants: dict[str, Settings | None] = Field(default_factory=dict)
    axis: Axis | None = None
    seeds: tuple[Seed, ...] = Field(default=(1, 2, 3), min_length=1)
    reference: Number | str | None = None
    tuned: str | None = None
    overrides: tuple[str, ...] = ()
    metrics: tuple[str, ...] = Field(default=METRICS, min_length=1)
    plot_by: By | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """Row of the table: settings that are run with every seed.

    Parameters
    ----------
    label
        Label, unique in the study.
    variant
        Label of its variant.
    contender
        Name for comparisons: the variant, or the value of the axis with a single variant.
    value
        Value on the axis.
    settings
        Settings of its runs, without the seed.
    """

    label: str
    variant: str
    contender: str
    value: Number | None
    settings: Settings

    @property
    def slug(self) -> str:
        """Folder name made from the label."""
        return re.sub(r"[^\w.]+", "-", self.label.lower()).strip("-.")

    def config(self, seed: int) -> RunConfig:
        """Return all settings of the run with a seed. Raises a `ConfigError` that names the row."""
        try:
            if _sets(self.settings, "training.seed"):
                raise ConfigError("training.seed is set; list seeds under `seeds` instead")
            with_seed = merge(self.settings, {"training": {"seed": seed}})
            return with_absolute_paths(RunConfig.from_mapping(with_seed))
        except ConfigError as error:
            raise ConfigError(f"variant '{self.label}': {error}") from None


@dataclasses.dataclass(frozen=True)
class Study:
    """Study ready to be run.

    Parameters
    ----------
    file
        Content of the bench file, with overrides.
    rows
        Rows in the order of the file.
    tuned
        Models with tuned settings.
    """

    file: BenchFile
    rows: tuple[Row, ...]
    tuned: tuple[str, ...] = ()

    @property
    def reference(self) -> str | None:
        """Contender that all others are tested against; None if the file does not name it."""
        return None if self.file.reference is None else _as_label(self.file.reference)

    def to_yaml(self) -> str:
        """Render the study as a bench file, the inverse of `read_study`."""
        return write_yaml({key: value for key, value in to_mapping(self.file).items() if value not in EMPTY})


def read_study(path: Path, overrides: Iterable[str] = ()) -> Study:
    """Read a bench file, and determine the settings of every row.

    Parameters
    ----------
    path
        A YAML file; see `BenchFile`.
    overrides
        ``section.key=value`` for all rows.

    Raises
    ------
    ConfigError
        If a key is unknown, labels are ambiguous, the reference is not a row, or an override conflicts with a setting
        that the rows vary.
    """
    try:
        content = read_yaml(path)
        _check_labels(content.get("variants"))
        file = build(BenchFile, content, "bench")
        file = dataclasses.replace(
            file, title=file.title or path.stem, overrides=(*file.overrides, *overrides)
        )
        return _study(file)
    except ConfigError as error:
        message = str(error)
        raise ConfigError(message if str(path) in message else f"{path}: {message}") from None


def _check_labels(variants: Any) -> None:
    for label in variants if isinstance(variants, Mapping) else ():
        if not isinstance(label, str):
            raise ConfigError(f"variants: YAML does not read the label {label} as text; put it in quotes")


def _study(file: BenchFile) -> Study:
    variants = _variants(file)
    _check_overrides(file, variants)
    tuned: dict[str, Settings] = {}
    rows = tuple(_rows(file, variants, tuned))
    _check_rows(file, rows)
    if len(set(file.seeds)) < len(file.seeds):
        raise ConfigError("seeds: a seed is listed twice; it would count as two runs")
    return Study(file, rows, tuple(sorted(model for model, settings in tuned.items() if settings)))


def _variants(file: BenchFile) -> dict[str, Settings]:
    """Return the settings of each variant by label."""
    twice = [model for model in file.models if model in file.variants or file.models.count(model) > 1]
    if twice:
        raise ConfigError(
            f"'{twice[0]}' is listed twice among models and variants; give one of them another label"
        )
    variants: dict[str, Settings] = {model: {"model": {"name": model}} for model in file.models}
    variants |= {label: own or {} for label, own in file.variants.items()}
    return variants or {name_of_model(file.base): {}}


def _check_overrides(file: BenchFile, variants: Mapping[str, Settings]) -> None:
    for text in file.overrides:
        key = key_of(text)
        setters = [f"variant '{label}'" for label, own in variants.items() if _sets(own, key)]
        if file.axis is not None and file.axis.setting == key:
            setters.insert(0, "the axis")
        if key == "training.seed":
            setters.insert(0, "the list of seeds")
        if setters:
            raise ConfigError(
                f"'{text}' conflicts with the value that {setters[0]} sets\n  Change it in a copy of the file."
            )


def _sets(settings: Mapping[str, Any], key: str) -> bool:
    part: Any = settings
    for name in key.split("."):
        if not isinstance(part, Mapping) or name not in part:
            return False
        part = part[name]
    return True


def _rows(file: BenchFile, variants: Mapping[str, Settings], tuned: dict[str, Settings]) -> Iterator[Row]:
    shared = _override(file.base, file.overrides)
    models = {label: name_of_model(merge(shared, own)) for label, own in variants.items()}
    overrides = overrides_by_model(models.values(), file.overrides)
    for label, own in variants.items():
        model = models[label]
        if model not in tuned:
            tuned[model] = _tuned(file, model)
        below = _override(merge(file.base, {"model": {"name": model}}, tuned[model]), overrides[model])
        settings = merge(below, own)
        if file.axis is None:
            yield Row(label, label, label, None, settings)
            continue
        for value in file.axis.values:
            place = f"{file.axis.name} = {value:g}"
            of_value = _override(settings, [f"{file.axis.setting}={value}"])
            if len(variants) == 1:
                yield Row(place, label, f"{value:g}", value, of_value)
            else:
                yield Row(f"{label}, {place}", label, label, value, of_value)


def _override(settings: Settings, overrides: Iterable[str]) -> Settings:
    return apply_overrides(settings, overrides, known_settings())


def _tuned(file: BenchFile, model: str) -> Settings:
    """Read the tuned settings of a model on this data; empty if it was not tuned."""
    if file.tuned is None:
        return {}
    if not Path(file.tuned).is_dir():
        raise ConfigError(
            f"tuned: no such folder '{file.tuned}'; create it with main.py tune, or remove `tuned`"
        )
    data = _override(file.base, file.overrides).get("data") or {}
    chosen = tuned_file(Path(file.tuned), str(data.get("path", "movielens")), model)
    if not chosen.is_file():
        return {}
    settings = read_yaml(chosen)
    if name_of_model(settings) != model:
        raise ConfigError(
            f"{chosen}: these are settings of {name_of_model(settings)}, but the file name is that of {model}"
        )
    try:
        RunConfig.from_mapping(settings)
    except ConfigError as error:
        raise ConfigError(f"{chosen}: {error}") from None
    return settings


def tuned_file(folder: Path, data_path: str, model: str) -> Path:
    """Return the path of the tuned settings of a model on the data of a path."""
    return folder / Path(data_path).name / f"{model}.yaml"


def _check_rows(file: BenchFile, rows: tuple[Row, ...]) -> None:
    by_slug: dict[str, str] = {}
    for row in rows:
        if not row.slug or row.slug in by_slug:
            raise ConfigError(
                f"the labels '{by_slug.get(row.slug, '')}' and '{row.label}' would share a folder; change one"
            )
        by_slug[row.slug] = row.label
    contenders = list(dict.fromkeys(row.contender for row in rows))
    if file.reference is not None and _as_label(file.reference) not in contenders:
        raise ConfigError(f"reference: no row '{file.reference}'; {nearest(str(file.reference), contenders)}")


def _as_label(reference: Number | str) -> str:
    return reference if isinstance(reference, str) else f"{reference:g}"
