"""Every number setting at both ends of its range: a run succeeds, or ends with a readable error."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints

import annotated_types
import pytest
from pydantic.fields import FieldInfo

from spike_dgl.config import LARGEST, LARGEST_REAL
from spike_dgl.errors import ConfigError, SpikeError, lack_of_memory_explained
from spike_dgl.models.base import RankingOptions, registered_models
from spike_dgl.runs.config import SECTIONS, load_config
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.set_up import start

SMALL = {
    "training.epochs": "1",
    "training.batch_size": "64",
    "training.threads": "1",
    "model.embedding_dim": "8",
    "profiles.vector_dim": "8",
    "profiles.vector_cache": "vectors.sqlite",
}
NOT_HERE = ("profiles.llm.", "profiles.openai.", "profiles.sentence_transformers.")
"""Settings of programs that are not started here."""
TAKES_LONG = {
    "model.embedding_dim",
    "model.denoiser_dim",
    "model.num_layers",
    "model.num_kg_layers",
    "model.matching_samples",
}
"""Settings whose largest value takes too long for a test."""


def numbers(options: type, prefix: str) -> Iterator[tuple[str, type, list[Any]]]:
    """Dotted key, int or float, and the rules of each number setting."""
    types = get_type_hints(options)
    for field in dataclasses.fields(options):
        kind = types[field.name]
        if dataclasses.is_dataclass(kind):
            yield from numbers(kind, f"{prefix}{field.name}.")
        elif kind in (int, int | None, float, float | None):
            rules = field.default.metadata if isinstance(field.default, FieldInfo) else []
            yield f"{prefix}{field.name}", int if kind in (int, int | None) else float, list(rules)


def bounds(kind: type, rules: list[Any]) -> tuple[list[str], list[str]]:
    """The smallest and the largest value that are allowed, and values beyond."""
    limits = {type(rule): getattr(rule, type(rule).__name__.lower()) for rule in rules}
    smallest = limits.get(annotated_types.Ge, -LARGEST if kind is int else -LARGEST_REAL)
    largest = limits.get(annotated_types.Le, LARGEST if kind is int else LARGEST_REAL)
    too_large = largest + 1 if kind is int else 1.1 * largest + 1
    if annotated_types.Gt in limits:
        smallest = limits[annotated_types.Gt] + (1 if kind is int else 5e-324)
    if annotated_types.Lt in limits:
        largest = limits[annotated_types.Lt] - 1e-9
    return [str(smallest), str(largest)], [str(too_large), "1" + 40 * "0", ".inf", ".nan", "many"]


SHARED = {key for key, _, _ in numbers(RankingOptions, "model.")}
CASES = [
    ("spike", *entry)
    for name, options in SECTIONS.items()
    for entry in numbers(options, f"{name}.")
    if not entry[0].startswith(NOT_HERE)
]
for model, entry in registered_models().items():
    CASES += [
        (model, *number)
        for number in numbers(entry.options, "model.")
        if model == "spike" or number[0] not in SHARED
    ]
WALK = pytest.mark.parametrize(
    ("model", "key", "kind", "rules"), CASES, ids=[f"{model}-{key}" for model, key, _, _ in CASES]
)


@WALK
def test_a_number_beyond_its_range_is_refused_before_anything_runs(
    model: str, key: str, kind: type, rules: list[Any]
) -> None:
    for value in bounds(kind, rules)[1]:
        with pytest.raises(ConfigError, match=key.rpartition(".")[2]):
            load_config(None, [f"model.name={model}", f"{key}={value}"])


@WALK
def test_a_run_at_the_ends_of_a_range_ends_well_or_with_a_clear_error(
    model: str, key: str, kind: type, rules: list[Any], data_folder: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    small = {name: value for name, value in SMALL.items() if name != key}
    if not issubclass(registered_models()[model].options, RankingOptions):
        del small["model.embedding_dim"]
    for number, value in enumerate(bounds(kind, rules)[0]):
        if key in TAKES_LONG and number == 1:
            continue
        settings = small | {"model.name": model, "data.path": str(data_folder), key: value}
        with suppress(SpikeError), lack_of_memory_explained():
            config = load_config(None, [f"{name}={text}" for name, text in settings.items()])
            start(config, RunFolder.create(tmp_path / str(number))).train(progress=False)
