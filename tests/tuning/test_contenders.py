"""Which models are tuned, with which settings around their grids."""

from __future__ import annotations

from pathlib import Path

import pytest

from spike_dgl.config import nested, read_yaml
from spike_dgl.errors import ConfigError
from spike_dgl.experiment import RunConfig
from spike_dgl.models.base import registered_models
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
    assert by_model["lightgcn"].fixed == ["training.learning_rate"]
    first = by_model["lightgcn"].first
    assert first.keys() == by_model["lightgcn"].grid.values.keys()
    assert first["training.learning_rate"] == 0.01
    assert [c.model for c in read_contenders(file, ["bpr-mf"], [])] == ["bpr-mf"]


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
    for point in contender.grid.points_at_random(0)[:200]:
        assert isinstance(contender.config(point), RunConfig)
    for key, values in contender.grid.values.items():
        assert len({str(value) for value in values}) == len(values) > 1
        assert set(nested({key: values[0]})) <= {"model", "training"}


def test_tuned_settings_are_partial_configurations() -> None:
    for file in sorted((Path(__file__).parents[2] / "configs" / "tuned").glob("*/*.yaml")):
        content = read_yaml(file)
        assert content["model"]["name"] == file.stem
        RunConfig.from_mapping(content)
