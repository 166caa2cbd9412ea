"""Models to tune, with their settings and grids, from a bench file or a run configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spike_dgl.comparison.definition import BenchFile
from spike_dgl.config import apply_overrides, build, flat, key_of, merge, nested, read_yaml
from spike_dgl.errors import ConfigError, nearest
from spike_dgl.models.base import model_entry
from spike_dgl.runs.config import (
    RunConfig,
    known_settings,
    name_of_model,
    overrides_by_model,
    with_absolute_paths,
)
from spike_dgl.tuning.space import Grid, Point, as_grid

Settings = Mapping[str, Any]
BENCH_KEYS = ("base", "models", "variants", "axis")
"""Keys that distinguish a bench file from a run configuration."""


@dataclass(frozen=True)
class Contender:
    """Model to tune.

    Parameters
    ----------
    model
        Registered name.
    settings
        Settings of its runs; the point of a trial overrides them.
    grid
        Search space; empty for a model without settings to tune.
    held
        Settings of the model's grid that are not tuned, because its variant in the bench file or the command line
        sets them, which would override tuned values in the bench.
    """

    model: str
    settings: Settings
    grid: Grid
    held: tuple[str, ...] = ()

    @property
    def first(self) -> Point:
        """Point of the settings before tuning."""
        values = flat(self.config({}).to_mapping())
        return {key: values[key] for key in self.grid.values}

    def config(self, point: Point) -> RunConfig:
        """Return all settings of a trial. Raises a `ConfigError` that names the model."""
        try:
            return with_absolute_paths(RunConfig.from_mapping(merge(self.settings, nested(point))))
        except ConfigError as error:
            raise ConfigError(f"{self.model} with {point}: {error}") from None


def read_contenders(file: Path | None, models: Sequence[str], overrides: Iterable[str]) -> list[Contender]:
    """Read the models to tune.

    Parameters
    ----------
    file
        A bench file or a run configuration; None for the default settings.
    models
        Names of models. Default: all of the bench file, or the one of the configuration.
    overrides
        ``section.key=value`` for all models.

    Raises
    ------
    ConfigError
        If a setting or model does not exist, or a model is not in the bench file.
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
    of_axis = {file.axis.setting} if file.axis else set()
    given = {name: flat(own).keys() | of_axis for name, own in found.items()}
    return _contenders(settings, given, [*file.overrides, *overrides])


def _contenders(
    settings: Mapping[str, Settings], given: Mapping[str, Set[str]], overrides: Iterable[str]
) -> list[Contender]:
    """Create the contenders from the settings of each model, and the keys that the bench file sets for it."""
    overrides = list(overrides)
    for override in overrides:
        if override.startswith("model.name="):
            raise ConfigError(f"'{override}': give the models to tune by name, without model.name=")
    taken = overrides_by_model(settings, overrides)
    return [_contender(settings[name], given.get(name, set()), taken[name]) for name in settings]


def _contender(settings: Settings, given: Set[str], overrides: Sequence[str]) -> Contender:
    settings = apply_overrides(dict(settings), overrides, known_settings())
    model = name_of_model(settings)
    given = given | {key_of(override) for override in overrides}
    search = model_entry(model).search
    searched = {key: values for key, values in search.items() if key not in given}
    return Contender(model, settings, as_grid(searched), tuple(key for key in search if key in given))
