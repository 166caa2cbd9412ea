"""Settings: errors name the key and the nearest valid one, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from spike_dgl.config import read_yaml
from spike_dgl.errors import ConfigError
from spike_dgl.runs.config import RunConfig, load_config

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


def test_defaults_are_a_whole_configuration() -> None:
    config = load_config()
    assert (config.model_name, config.data.path) == ("spike", "movielens")


@pytest.mark.parametrize("override", ["training.learning_rate=1e-3", "training.learning_rate=0.001"])
def test_overrides_win_over_the_file(tmp_path: Path, override: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("training: {learning_rate: 0.5, epochs: 7}\nmodel: {num_heads: 4}\n")
    config = load_config(file, [override, "evaluation.cutoffs=[5, 20]", "training.patience=null"])
    assert config.training.learning_rate == 0.001
    assert config.training.epochs == 7
    assert config.training.patience is None
    assert config.model.num_heads == 4
    assert config.evaluation.cutoffs == (5, 20)


def test_printed_settings_read_back_the_same(tmp_path: Path) -> None:
    config = load_config(None, ["model.name=lightgcn", "training.seed=7", "model.l2_weight=1e-5"])
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml())
    assert load_config(file) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=3", r"unknown setting 'training.epoch'; did you mean 'epochs'"),
        ("epochs=3", r"unknown setting 'epochs'; did you mean 'training.epochs'"),
        ("trainnig.epochs=3", r"unknown setting 'trainnig'; did you mean 'training'"),
        ("model.num_head=3", r"unknown setting 'model.num_head'; did you mean 'num_heads'"),
        ("model.name=spyke", r"unknown model 'spyke'; did you mean 'spike'"),
        ("training.epochs=many", r"training.epochs: .*integer.*got 'many'"),
        ("training.epochs=2.5", r"training.epochs: .*got 2.5"),
        ("training.epochs=0", r"training.epochs: .*greater than or equal to 1; got 0"),
        ("model.kg_dropout=1", r"model.kg_dropout: .*less than 1"),
        ("model.item_neighbours=all", r"model.item_neighbours: .*'kg' or 'kg-and-users'; got 'all'"),
        ("model.quirks.shared_projection=1", r"model.quirks.shared_projection: .*boolean"),
        ("model.num_heads=5", r"model: .*embedding_dim 64 is not a multiple of num_heads 5"),
        ("model.profile_scale=0", r"model: .*a learned profile_gate needs a profile_scale between 0 and 1"),
        ("training.metric=ndgc@20", r"training.metric: no metric 'ndgc@20'; did you mean 'ndcg@20'"),
        ("training.epochs", r"expected key=value"),
        ("training.epochs=[", r"not valid YAML"),
        ("training=3", r"unknown setting 'training'"),
        ("training.learning_rate=.inf", r"training.learning_rate: .*finite number; got inf"),
        ("model.l2_weight=.nan", r"model.l2_weight: .*finite number; got nan"),
        ("training.epochs=1" + 30 * "0", r"training.epochs: .*between -2147483647 and 2147483647"),
        ("data.path=1.10", r"data.path: .*string; got 1.1"),
        ("data.permute_kg=yes", r"data.permute_kg: .*boolean; got 'yes'"),
        ("training.metric=ndcg@0", r"no metric 'ndcg@0'"),
    ],
)
def test_a_mistake_is_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(None, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n- 2\n", "expected a mapping"),
        ("training: [1]\n", "'training' must be a mapping"),
        ("training: {epochs: 3\n", "not valid YAML"),
        ("speed: 3\n", "unknown setting 'speed'"),
        ("model: spike\n", "'model' must be a mapping"),
    ],
)
def test_a_broken_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    ("override", "expected"),
    [("2018", "2018"), ("007", "007"), ("no", "no"), ("1:30", "1:30"), ("1_000", "1_000")],
)
def test_a_folder_may_be_called_like_a_number_or_a_word_of_yaml(override: str, expected: str) -> None:
    assert load_config(None, [f"data.path={override}"]).data.path == expected


@pytest.mark.parametrize(
    "text", ["training:\n  epochs: 3\n  seed: 1\n  epochs: 4\n", "model: {}\ntraining: {}\nmodel: {}\n"]
)
def test_a_key_that_occurs_twice_is_an_error_with_both_lines(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"'(epochs|model)' occurs twice, in lines \d and \d"):
        load_config(tmp_path / "run.yaml")


def test_anchors_and_merged_keys_are_no_repetition(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("training: &t {epochs: 3}\n")
    assert load_config(tmp_path / "run.yaml").training.epochs == 3
    (tmp_path / "two.yaml").write_text("base: &b {epochs: 3, seed: 1}\nother: {<<: *b, epochs: 4}\n")
    assert read_yaml(tmp_path / "two.yaml")["other"] == {"epochs": 4, "seed": 1}


def test_a_setting_that_was_renamed_is_read_by_its_old_name_with_a_warning() -> None:
    old = {
        "data.rehearsal=true": "data.inner_split",
        "model.kernels=torch": "model.backend",
        "model.similar_items=0": "",
        "model.idle_relations=1": "model.quirks.idle_relations",
        "training.negatives_from=met": "training.negatives_from=seen",
    }
    with pytest.warns(FutureWarning) as warned:
        config = load_config(None, old)
    assert all(any(new in str(warning.message) for warning in warned) for new in old.values())
    assert (config.data.inner_split, config.model.backend, config.training.negatives_from) == (
        True,
        "torch",
        "seen",
    )
    assert config.model.quirks.idle_relations == 1
    assert not {"rehearsal", "kernels", "idle_relations"} & {
        key for section in config.to_mapping().values() for key in section
    }


def test_a_metric_of_another_list_length_than_those_reported_chooses_the_epoch() -> None:
    config = load_config(None, ["evaluation.cutoffs=[1, 3]", "training.metric=ndcg@20"])
    assert config.evaluation.cutoffs == (1, 3)
    assert config.validation.cutoffs == (1, 3, 20)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "absent.yaml")


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_config_in_the_folder_is_valid_and_says_how_to_run_it(file: Path) -> None:
    assert isinstance(load_config(file), RunConfig)
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("#")
    assert f"--config configs/{file.name}" in first
    assert read_yaml(file)


def test_configs_exist() -> None:
    assert {"paper", "official", "lastfm", "movielens", "ml-1m", "last-fm-kgat", "new-items"} <= {
        file.stem for file in CONFIGS
    }
