"""All settings of a run, from files and overrides."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spike_dgl.config import (
    apply_overrides,
    build,
    dotted_keys,
    key_of,
    nearest_key,
    read_yaml,
    to_mapping,
    write_yaml,
)
from spike_dgl.data.options import DataOptions
from spike_dgl.errors import ConfigError
from spike_dgl.evaluation import EvaluationOptions, list_length, metric_names
from spike_dgl.models.base import (
    model_entry,
)
from spike_dgl.profiles import ProfileOptions
from spike_dgl.renamed import present_name
from spike_dgl.runs.folder import RunFolder
from spike_dgl.training.options import TrainingOptions

DEFAULT_MODEL = "spike"


@dataclass(frozen=True)
class RunConfig:
    """All settings of a run, by section.

    Parameters
    ----------
    data, profiles, training, evaluation
        See the dataclass of each section.
    model_name
        Name of a registered model; ``model.name`` in files.
    model
        Options of that model.
    """

    model_name: str
    model: Any
    data: DataOptions = field(default_factory=DataOptions)
    profiles: ProfileOptions = field(default_factory=ProfileOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> RunConfig:
        """Create from a mapping of sections. Raises `ConfigError` for anything unknown or out of range."""
        unknown = [name for name in mapping if name not in (*SECTIONS, "model")]
        if unknown:
            raise ConfigError(
                f"unknown setting '{unknown[0]}'; {nearest_key(unknown[0], [*SECTIONS, 'model'])}"
            )
        model = dict(_section(mapping, "model"))
        name = model.pop("name", DEFAULT_MODEL)
        parts = {
            section: build(options, mapping.get(section), section) for section, options in SECTIONS.items()
        }
        config = cls(model_name=name, model=build(model_entry(name).options, model, "model"), **parts)
        metric = config.training.metric
        if list_length(metric) is None:
            hint = nearest_key(metric, metric_names(config.evaluation.cutoffs))
            raise ConfigError(f"training.metric: no metric '{metric}'; {hint}")
        return config

    @property
    def validation(self) -> EvaluationOptions:
        """`evaluation` with the cutoff of ``training.metric`` added."""
        length = list_length(self.training.metric)
        return self.evaluation if length is None else self.evaluation.with_length(length)

    def to_mapping(self) -> dict[str, Any]:
        """Return all settings including defaults, the inverse of `from_mapping`."""
        model = {"model": {"name": self.model_name, **to_mapping(self.model)}}
        return model | {name: to_mapping(getattr(self, name)) for name in SECTIONS}

    def to_yaml(self) -> str:
        """Render all settings including defaults as YAML, the inverse of `load_config`."""
        return write_yaml(self.to_mapping())


SECTIONS: dict[str, Any] = {
    "data": DataOptions,
    "profiles": ProfileOptions,
    "training": TrainingOptions,
    "evaluation": EvaluationOptions,
}


def load_config(file: Path | None = None, overrides: Iterable[str] = ()) -> RunConfig:
    """Load settings from a YAML file (or the defaults) and ``section.key=value`` overrides.

    Raises
    ------
    ConfigError
        If the file cannot be read, a key is unknown (the message names the nearest), or a value has the wrong type
        or range.
    """
    return RunConfig.from_mapping(read_settings(file, overrides))


def read_settings(file: Path | None = None, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Read settings like `load_config`, by section and without defaults."""
    return _with_overrides(read_yaml(file) if file is not None else {}, overrides)


def config_of(folder: RunFolder, overrides: Iterable[str] = ()) -> RunConfig:
    """Load the settings of a run, with overrides. Raises `ConfigError` like `load_config`."""
    return RunConfig.from_mapping(_with_overrides(folder.settings(), overrides))


def _with_overrides(mapping: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    overrides = list(overrides)
    chosen = [value for key, _, value in (item.partition("=") for item in overrides) if key == "model.name"]
    known = known_settings(chosen[-1] if chosen else name_of_model(mapping))
    return apply_overrides(mapping, overrides, known)


def known_settings(model: str | None = None) -> list[str]:
    """Return the dotted keys of all settings, with the options of `model` if given."""
    known = ["model.name", *(dotted_keys(model_entry(model).options, "model") if model else ())]
    for section, options in SECTIONS.items():
        known += dotted_keys(options, section)
    return known


def overrides_by_model(models: Iterable[str], overrides: Iterable[str]) -> dict[str, list[str]]:
    """Assign overrides to the models that have the setting.

    For example, ``model.num_layers`` does not apply to a model without layers.

    Raises
    ------
    ConfigError
        If none of the models has a setting; the message names the nearest.
    """
    taken: dict[str, list[str]] = {model: [] for model in models}
    for override in overrides:
        key = key_of(override)
        takers = list(taken) if not key.startswith("model.") else _models_with(present_name(key), taken)
        for model in takers:
            taken[model].append(override)
    return taken


def _models_with(key: str, models: Iterable[str]) -> list[str]:
    known = {model: known_settings(model) for model in models}
    having = [model for model, keys in known.items() if key in keys]
    if not having:
        every_key = sorted({key for keys in known.values() for key in keys})
        raise ConfigError(f"unknown setting '{key}'; {nearest_key(key, every_key)}")
    return having


def name_of_model(mapping: Mapping[str, Any]) -> str:
    """Return the model name in the settings of a run, or the default."""
    return str(_section(mapping, "model").get("name", DEFAULT_MODEL))


def _section(mapping: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = mapping.get(name) or {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"'{name}' must be a mapping of settings, not {section!r}")
    return section


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """Return the settings with absolute paths, so that they are valid in any working directory."""
    profiles = config.profiles
    llm = dataclasses.replace(profiles.llm, prompts=_absolute(profiles.llm.prompts))
    store, texts = (path and _absolute(path) for path in (profiles.store, profiles.texts))
    local = profiles.sentence_transformers
    local = dataclasses.replace(local, model=_absolute(local.model))
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, path=_absolute(config.data.path)),
        profiles=dataclasses.replace(
            profiles, store=store, texts=texts, llm=llm, sentence_transformers=local
        ),
    )


def _absolute(path: str) -> str:
    """Return the absolute path of a file or folder; other values, such as the name of bundled data, unchanged."""
    return str(Path(path).resolve()) if Path(path).exists() else path
