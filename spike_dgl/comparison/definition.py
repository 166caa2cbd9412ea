"""What a study compares: the bench file, read and checked."""

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
By: TypeAlias = Literal["activity of users", "popularity of items"]
METRICS = ("recall@20", "ndcg@20")


@dataclass(frozen=True, config=STRICT)
class Axis:
    """A setting that takes several values in turn, to be drawn as lines.

    Parameters
    ----------
    name
        What it is called in tables and plots.
    setting
        Its dotted key, such as ``model.profile_scale``.
    values
        The numbers it takes.
    """

    name: str
    setting: str
    values: tuple[Number, ...] = Field(min_length=2)


@dataclass(frozen=True, config=STRICT)
class BenchFile:
    """A bench file as it is written; `docs/benchmark.md` describes it.

    Parameters
    ----------
    title
        Heading of table and plot.
    base
        Settings that all runs share: an ordinary run configuration.
    models
        Names of models, each a variant of that label.
    variants
        Settings on top of `base`, by label.
    axis
        Repeats every variant for each value of one setting.
    seeds
        Training seeds; each variant is run with each.
    reference
        Variant (of a single variant: value of the axis) that all others are tested against; by default the best on
        validation.
    tuned
        Folder of ``DATA/MODEL.yaml`` with the settings that tuning chose. They lie over `base`.
    overrides
        Settings given on the command line. They lie over `base` and `tuned`; one of a model goes to the variants whose
        model has it.
    metrics
        Test metrics to show; the first is the one in groups of users and items, and in sentences.
    plot_by
        Draw the metrics by ``activity of users`` or ``popularity of items``; None draws those of all users.
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
    """One row of the table: settings that are run with every seed.

    Parameters
    ----------
    label
        Unique in the study.
    variant
        Label of its variant.
    contender
        What is compared: the variant, or of a single variant the value of the axis.
    value
        Place on the axis.
    settings
        Of its runs, apart from the seed.
    """

    label: str
    variant: str
    contender: str
    value: Number | None
    settings: Settings

    @property
    def slug(self) -> str:
        """The label as the name of a folder."""
        return re.sub(r"[^\w.]+", "-", self.label.lower()).strip("-.")

    def config(self, seed: int) -> RunConfig:
        """All settings of the run with a seed. Raises `ConfigError` that names the row."""
        try:
            if _sets(self.settings, "training.seed"):
                raise ConfigError("training.seed is set; list seeds under `seeds` instead")
            with_seed = merge(self.settings, {"training": {"seed": seed}})
            return with_absolute_paths(RunConfig.from_mapping(with_seed))
        except ConfigError as error:
            raise ConfigError(f"variant '{self.label}': {error}") from None


@dataclasses.dataclass(frozen=True)
class Study:
    """Variants x seeds, ready to be run.

    Parameters
    ----------
    file
        What was written, overrides included.
    rows
        In the order of the file.
    tuned
        Models that have tuned settings.
    """

    file: BenchFile
    rows: tuple[Row, ...]
    tuned: tuple[str, ...] = ()

    @property
    def reference(self) -> str | None:
        """The contender that all others are tested against, where the file names it."""
        return None if self.file.reference is None else _as_label(self.file.reference)

    def to_yaml(self) -> str:
        """The study as a bench file that `read_study` reads back."""
        return write_yaml({key: value for key, value in to_mapping(self.file).items() if value not in EMPTY})


def read_study(path: Path, overrides: Iterable[str] = ()) -> Study:
    """Read a bench file, and work out the settings of every row.

    Parameters
    ----------
    path
        A YAML file; see `BenchFile`.
    overrides
        ``section.key=value`` for all rows.

    Raises
    ------
    ConfigError
        For an unknown key, labels that are not clear, a reference that is no row, or an override that would undo what
        makes the rows different.
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
            raise ConfigError(f"variants: YAML reads the label {label} as no text; put it in quotes")


def _study(file: BenchFile) -> Study:
    variants = _variants(file)
    _check_overrides(file, variants)
    tuned: dict[str, Settings] = {}
    rows = tuple(_rows(file, variants, tuned))
    _check_rows(file, rows)
    if len(set(file.seeds)) < len(file.seeds):
        raise ConfigError("seeds: the same one stands twice; it would count as two runs")
    return Study(file, rows, tuple(sorted(model for model, settings in tuned.items() if settings)))


def _variants(file: BenchFile) -> dict[str, Settings]:
    """Each label's own settings."""
    twice = [model for model in file.models if model in file.variants or file.models.count(model) > 1]
    if twice:
        raise ConfigError(
            f"'{twice[0]}' stands twice among models and variants; give one of them another label"
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
                f"'{text}' would undo what {setters[0]} sets\n  Change it in a copy of the file."
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
    """What tuning chose for a model on this data; nothing where it was not tuned."""
    if file.tuned is None:
        return {}
    if not Path(file.tuned).is_dir():
        raise ConfigError(
            f"tuned: no such folder '{file.tuned}'; make it with main.py tune, or leave `tuned` out"
        )
    data = _override(file.base, file.overrides).get("data") or {}
    chosen = tuned_file(Path(file.tuned), str(data.get("path", "movielens")), model)
    if not chosen.is_file():
        return {}
    settings = read_yaml(chosen)
    if name_of_model(settings) != model:
        raise ConfigError(
            f"{chosen}: these are settings of {name_of_model(settings)}, and its name is {model}'s"
        )
    try:
        RunConfig.from_mapping(settings)
    except ConfigError as error:
        raise ConfigError(f"{chosen}: {error}") from None
    return settings


def tuned_file(folder: Path, data_path: str, model: str) -> Path:
    """Where the settings stand that tuning chose for a model on the data of a path."""
    return folder / Path(data_path).name / f"{model}.yaml"


def _check_rows(file: BenchFile, rows: tuple[Row, ...]) -> None:
    by_slug: dict[str, str] = {}
    for row in rows:
        if not row.slug or row.slug in by_slug:
            raise ConfigError(
                f"the labels '{by_slug.get(row.slug, '')}' and '{row.label}' would share a folder"
            )
        by_slug[row.slug] = row.label
    contenders = list(dict.fromkeys(row.contender for row in rows))
    if file.reference is not None and _as_label(file.reference) not in contenders:
        raise ConfigError(f"reference: no row '{file.reference}'; {nearest(str(file.reference), contenders)}")


def _as_label(reference: Number | str) -> str:
    return reference if isinstance(reference, str) else f"{reference:g}"
