"""Models to tune, their settings and grids."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from spike_dgl.config import nested, read_yaml
from spike_dgl.errors import ConfigError
from spike_dgl.models.base import SHARED_SEARCH, RankingOptions, model_entry, registered_models
from spike_dgl.models.histories import HISTORY_SEARCH
from spike_dgl.runs.config import RunConfig
from spike_dgl.tuning.contenders import read_contenders


def test_models_of_a_bench_file_each_with_their_settings(tmp_path: Path) -> None:
    file = tmp_path / "bench.yaml"
    file.write_text(
        "base: {training: {epochs: 7}}\nmodels: [popularity, bpr-mf]\n"
        "variants: {ours: {}, light: {model: {name: lightgcn}, training: {learning_rate: 0.01}}}\n"
    )
    by_model = {contender.model: contender for contender in read_contenders(file, [], ["training.threads=1"])}
    assert list(by_model) == ["popularity", "bpr-mf", "spike", "lightgcn"]
    assert {contender.config({}).training.epochs for contender in by_model.values()} == {7}
    assert not by_model["popularity"].grid.values
    assert by_model["bpr-mf"].first["training.learning_rate"] == 3e-3
    assert [c.model for c in read_contenders(file, ["bpr-mf"], [])] == ["bpr-mf"]


def test_what_a_bench_file_or_the_command_line_sets_is_kept_and_not_searched(tmp_path: Path) -> None:
    file = tmp_path / "bench.yaml"
    file.write_text(
        "variants: {light: {model: {name: lightgcn}, training: {learning_rate: 0.5}}, ours: {}}\n"
        "axis: {name: layers, setting: model.num_layers, values: [1, 2]}\n"
        "overrides: [model.ranking_loss=softmax]\n"
    )
    light, spike = read_contenders(file, [], ["model.l2_weight=0.5"])
    kept = ("model.ranking_loss", "model.l2_weight", "model.num_layers")
    assert light.held == ("training.learning_rate", *kept)
    assert spike.held == kept
    searched = model_entry("lightgcn").search.keys() - set(light.held)
    assert light.grid.values.keys() == light.first.keys() == searched
    for point in light.grid.points_at_random(1):
        config = light.config(point)
        assert (config.training.learning_rate, config.model.l2_weight) == (0.5, 0.5)
        assert config.model.ranking_loss == "softmax"


def test_models_may_be_named_beside_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("model: {name: spike, num_heads: 4}\ntraining: {epochs: 3}\n")
    spike, light = read_contenders(file, ["spike", "lightgcn"], [])
    assert spike.config({}).model.num_heads == 4
    assert light.config({}).training.epochs == 3


def test_a_setting_of_one_model_leaves_the_others_alone() -> None:
    overrides = ["model.num_heads=4", "training.epochs=3"]
    untrained, spike = read_contenders(None, ["popularity", "spike"], overrides)
    assert spike.config({}).model.num_heads == 4
    assert untrained.config({}).training.epochs == spike.config({}).training.epochs == 3
    with pytest.raises(
        ConfigError, match=r"unknown setting 'model.num_heds'; did you mean 'model.num_heads'"
    ):
        read_contenders(None, ["popularity", "spike"], ["model.num_heds=4"])
    with pytest.raises(ConfigError, match=r"without model\.name="):
        read_contenders(None, ["spike"], ["model.name=hgt"])


@pytest.mark.parametrize("name", [name for name, entry in registered_models().items() if entry.search])
def test_every_value_of_every_models_grid_is_a_valid_setting(name: str) -> None:
    [contender] = read_contenders(None, [name], [])
    assert contender.first in contender.grid.points_at_random(0), (
        "other settings are never tried with the defaults"
    )
    for point in contender.grid.points_at_random(0)[:200]:
        assert isinstance(contender.config(point), RunConfig)
    for key, values in contender.grid.values.items():
        assert len({str(value) for value in values}) == len(values) > 1
        assert set(nested({key: values[0]})) <= {"model", "training"}


@pytest.mark.parametrize("name", [name for name, entry in registered_models().items() if entry.search])
def test_no_model_is_denied_what_helps_another(name: str) -> None:
    entry = model_entry(name)
    own = {f"model.{option.name}" for option in fields(entry.options)}
    shared = set(SHARED_SEARCH) if issubclass(entry.options, RankingOptions) else set(HISTORY_SEARCH)
    if name == "alpha-rec":  # has no ID embeddings to regularise
        shared -= {"model.l2_weight"}
    of_several = {"model.num_layers", "model.readout", "model.relation_init"}
    assert entry.search.keys() >= shared | (of_several & own)


def test_tuned_settings_are_partial_configurations() -> None:
    files = sorted((Path(__file__).parents[2] / "configs" / "tuned").glob("*/*.yaml"))
    assert files
    for file in files:
        content = read_yaml(file)
        assert content["model"]["name"] == file.stem
        RunConfig.from_mapping(content)
