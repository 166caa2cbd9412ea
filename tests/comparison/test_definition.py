"""Bench files: their rows, and errors in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from spike_dgl.comparison.definition import read_study
from spike_dgl.comparison.results_page import read_report
from spike_dgl.config import read_yaml
from spike_dgl.errors import ConfigError
from tests.comparison.studies import study

CONFIGS = Path(__file__).parents[2] / "configs" / "bench"


def test_models_and_variants_lie_on_the_base(tmp_path: Path) -> None:
    made = study(
        tmp_path,
        {
            "base": {"training": {"epochs": 7, "batch_size": 64}},
            "models": ["lightgcn"],
            "variants": {"without matching": {"model": {"matching_weight": 0.0}, "training": {"epochs": 9}}},
        },
    )
    lightgcn, spike = (row.config(3) for row in made.rows)
    assert (lightgcn.model_name, lightgcn.training.epochs, lightgcn.training.seed) == ("lightgcn", 7, 3)
    assert (spike.model_name, spike.training.epochs, spike.training.batch_size) == ("spike", 9, 64)
    assert spike.model.matching_weight == 0.0
    assert [row.slug for row in made.rows] == ["lightgcn", "without-matching"]
    assert made.file.seeds == (1, 2, 3)


def test_an_axis_repeats_every_variant(tmp_path: Path) -> None:
    axis = {"name": "learning rate", "setting": "training.learning_rate", "values": [0.001, 0.01]}
    one = study(tmp_path, {"axis": axis, "reference": 0.01})
    assert [(row.label, row.contender) for row in one.rows] == [
        ("learning rate = 0.001", "0.001"),
        ("learning rate = 0.01", "0.01"),
    ]
    assert one.reference == "0.01"
    assert [row.config(1).training.learning_rate for row in one.rows] == [0.001, 0.01]
    two = study(tmp_path, {"axis": axis, "models": ["spike", "bpr-mf"], "reference": "spike"})
    assert [(row.label, row.contender) for row in two.rows][2:] == [
        ("bpr-mf, learning rate = 0.001", "bpr-mf"),
        ("bpr-mf, learning rate = 0.01", "bpr-mf"),
    ]


def test_tuned_settings_lie_between_base_and_command_line(tmp_path: Path) -> None:
    (tmp_path / "tuned" / "toy").mkdir(parents=True)
    (tmp_path / "tuned" / "toy" / "lightgcn.yaml").write_text(
        "model: {name: lightgcn, num_layers: 1}\ntraining: {learning_rate: 0.5, epochs: 50, batch_size: 32}\n"
    )
    made = study(
        tmp_path,
        {
            "base": {"data": {"path": "data/toy"}, "training": {"learning_rate": 0.1}},
            "models": ["lightgcn", "spike"],
            "tuned": str(tmp_path / "tuned"),
        },
        "training.epochs=2",
    )
    lightgcn, spike = (row.config(1) for row in made.rows)
    assert lightgcn.model.num_layers == 1
    training = lightgcn.training
    assert (training.learning_rate, training.epochs, training.batch_size) == (0.5, 2, 32)
    assert (spike.training.learning_rate, spike.training.epochs) == (0.1, 2)
    assert made.tuned == ("lightgcn",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model: {name: lightgcn, num_lairs: 3}", "did you mean 'num_layers'"),
        ("model: {name: spike}", "settings of spike, but the file name is that of lightgcn"),
    ],
)
def test_a_mistake_in_a_tuned_file_names_it(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "tuned" / "movielens" / "lightgcn.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        study(tmp_path, {"models": ["lightgcn"], "tuned": str(tmp_path / "tuned")})
    assert str(file) in str(caught.value)


def test_a_setting_of_one_model_on_the_command_line_leaves_the_others_alone(tmp_path: Path) -> None:
    made = study(tmp_path, {"models": ["popularity", "lightgcn", "spike"]}, "model.num_layers=1")
    popularity, *trained = (row.config(1) for row in made.rows)
    assert not hasattr(popularity.model, "num_layers")
    assert [config.model.num_layers for config in trained] == [1, 1]


def test_a_study_that_is_written_and_read_back_is_the_same(tmp_path: Path) -> None:
    axis = {"name": "seed", "setting": "data.split_seed", "values": [0, 1]}
    made = study(tmp_path, {"axis": axis, "reference": 0, "seeds": [0]}, "training.epochs=2")
    (tmp_path / "study.yaml").write_text(made.to_yaml())
    assert read_study(tmp_path / "study.yaml") == made


@pytest.mark.parametrize(
    ("content", "overrides", "message"),
    [
        ({"seed": [1]}, [], "did you mean 'seeds'"),
        ({"seeds": []}, [], "seeds"),
        ({"seeds": [-1]}, [], "seeds"),
        ({"seeds": [1, 2, 1]}, [], "seeds: a seed is listed twice"),
        ({"models": ["spike", "spike"]}, [], "'spike' is listed twice"),
        ({"variants": {"A b": {}, "a-B": {}}}, [], "'A b' and 'a-B' would share a folder"),
        ({"variants": {"!": {}}}, [], "would share a folder"),
        ({"variants": {False: {}}}, [], "put it in quotes"),
        ({"models": ["spike"], "reference": "spiky"}, [], "no row 'spiky'; did you mean 'spike'"),
        ({"plot_by": "users"}, [], "activity of users"),
        ({"tuned": "nowhere"}, [], "no such folder 'nowhere'"),
        (
            {"variants": {"a": {"model": {"num_heads": 1}}}},
            ["model.num_heads=2"],
            "conflicts with the value that variant 'a' sets",
        ),
        (
            {"models": ["spike"]},
            ["model.name=lightgcn"],
            "conflicts with the value that variant 'spike' sets",
        ),
        ({"models": ["popularity", "spike"]}, ["model.num_lairs=2"], "did you mean 'model.num_layers'"),
        ({}, ["training.seed=2"], "conflicts with the value that the list of seeds sets"),
        ({"axis": {"name": "x", "setting": "training.epochs", "values": [1]}}, [], "axis.values"),
    ],
)
def test_mistakes_in_a_bench_file(tmp_path: Path, content: dict, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        study(tmp_path, content, *overrides)
    assert str(tmp_path / "bench.yaml") in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": {"name": "lightgcn", "num_heads": 2}}, "variant 'a': unknown setting 'model.num_heads'"),
        ({"training": {"seed": 5}}, "variant 'a': training.seed is set"),
    ],
)
def test_mistakes_in_a_variant_name_it(tmp_path: Path, settings: dict, message: str) -> None:
    made = study(tmp_path, {"variants": {"a": settings}})
    with pytest.raises(ConfigError, match=message):
        made.rows[0].config(1)


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_our_own_bench_files_are_sound(file: Path) -> None:
    if "studies" in read_yaml(file):  # a page of several
        assert read_report(file).studies
    else:
        assert all(row.config(1) for row in read_study(file).rows)
