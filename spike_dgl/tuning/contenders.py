"""What is tuned: models and the settings around their grids, from a bench file or a run's configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spike_dgl.comparison.definition import BenchFile
from spike_dgl.config import apply_overrides, build, flat, merge, nested, read_yaml
from spike_dgl.errors import ConfigError, nearest
from spike_dgl.experiment import (
    RunConfig,
    known_settings,
    name_of_model,
    overrides_by_model,
    with_absolute_paths,
)
from spike_dgl.models.base import model_entry
from spike_dgl.tuning.space import Grid, Point, as_grid

Settings = Mapping[str, Any]
BENCH_KEYS = ("base", "models", "variants", "axis")
"""One of them tells a bench file from the configuration of a run."""


@dataclass(frozen=True)
class Contender:
    """A model to tune.

    Parameters
    ----------
    model
        Its registered name.
    settings
        Of its runs; a trial lays a point of the grid over them.
    grid
        What is searched; empty for a model without settings to tune.
    own
        Settings that its variant in a bench file has of its own. They come before what tuning finds.
    """

    model: str
    settings: Settings
    grid: Grid
    own: Settings

    @property
    def first(self) -> Point:
        """The point that the settings describe before anything is tuned."""
        values = flat(self.config({}).to_mapping())
        return {key: values[key] for key in self.grid.values}

    @property
    def fixed(self) -> list[str]:
        """Searched settings that the bench file sets itself, so that it will not use what is found."""
        return sorted(self.grid.values.keys() & flat(self.own).keys())

    def config(self, point: Point) -> RunConfig:
        """All settings of a trial. Raises `ConfigError` that names the model."""
        try:
            return with_absolute_paths(RunConfig.from_mapping(merge(self.settings, nested(point))))
        except ConfigError as error:
            raise ConfigError(f"{self.model} with {point}: {error}") from None


def read_contenders(file: Path | None, models: Sequence[str], overrides: Iterable[str]) -> list[Contender]:
    """The models to tune.

    Parameters
    ----------
    file
        A bench file, or the configuration of a run; the defaults where there is none.
    models
        Their names; by default all of the bench file, or the one of the configuration.
    overrides
        ``section.key=value`` for all of them.

    Raises
    ------
    ConfigError
        For a setting or model that does not exist, or a model that is not in the bench file.
    """
    content = read_yaml(file) if file is not None else {}
    if any(key in content for key in BENCH_KEYS):
        return _of_bench_file(content, models, list(overrides))
    model = name_of_model(content)
    settings = {
        name: content if name == model else {**content, "model": {"name": name}}
        for name in (models or [model])
    }
    return _contenders(settings, {}, overrides)


def _of_bench_file(content: Settings, models: Sequence[str], overrides: list[str]) -> list[Contender]:
    file = build(BenchFile, content, "bench")
    found: dict[str, Settings] = {name: {"model": {"name": name}} for name in file.models}
    for own in file.variants.values():
        found.setdefault(name_of_model(merge(file.base, own or {})), own or {})
    for name in models:
        if name not in found:
            raise ConfigError(f"the bench file has no model '{name}'; {nearest(name, found)}")
    found = found or {name_of_model(file.base): {}}
    settings = {name: merge(file.base, {"model": {"name": name}}, found[name]) for name in (models or found)}
    return _contenders(settings, found, overrides)


def _contenders(
    settings: Mapping[str, Settings], own: Mapping[str, Settings], overrides: Iterable[str]
) -> list[Contender]:
    """One of each model, from its settings before and its own in a bench file."""
    overrides = list(overrides)
    for override in overrides:
        if override.startswith("model.name="):
            raise ConfigError(f"'{override}': name the models to tune without model.name=")
    taken = overrides_by_model(settings, overrides)
    return [_contender(settings[name], own.get(name, {}), taken[name]) for name in settings]


def _contender(settings: Settings, own: Settings, overrides: Iterable[str]) -> Contender:
    settings = apply_overrides(dict(settings), overrides, known_settings())
    model = name_of_model(settings)
    return Contender(model, settings, as_grid(model_entry(model).search), own)
