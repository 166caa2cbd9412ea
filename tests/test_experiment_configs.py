"""Every bench file in configs/ can be run, has its command, and compares what its name says."""

from __future__ import annotations

from pathlib import Path

import pytest

from spike_dgl.comparison.definition import read_study
from spike_dgl.config import read_yaml

CONFIGS = Path(__file__).parents[1] / "configs"
BENCH_FILES = sorted(
    file
    for folder in ("bench", "experiments")
    for file in (CONFIGS / folder).glob("*.yaml")
    if "base" in read_yaml(file)
)


@pytest.mark.parametrize("file", BENCH_FILES, ids=lambda file: file.stem)
def test_every_run_of_a_bench_file_is_valid(file: Path) -> None:
    study = read_study(file)
    first, second, *_ = file.read_text(encoding="utf-8").splitlines()
    assert first.startswith(f"# python main.py bench --config configs/{file.parent.name}/{file.name}")
    assert second.startswith("# ")
    configs = [row.config(seed) for row in study.rows for seed in study.file.seeds]
    assert len({config.to_yaml() for config in configs}) == len(configs)
    assert len(study.file.seeds) >= 3
    if file.parent.name == "experiments":
        assert {config.data.path for config in configs} == {"movielens"}


@pytest.mark.parametrize("file", BENCH_FILES, ids=lambda file: file.stem)
def test_a_bench_file_takes_other_data_by_override(file: Path) -> None:
    study = read_study(file, ["data.path=/data/books"])
    assert {row.config(1).data.path for row in study.rows} == {"/data/books"}


@pytest.mark.parametrize(
    ("name", "by"), [("user-activity", "activity of users"), ("cold-items", "popularity of items")]
)
def test_what_is_asked_about_groups_is_drawn_by_groups(name: str, by: str) -> None:
    assert read_study(CONFIGS / "experiments" / f"{name}.yaml").file.plot_by == by


def test_the_papers_experiments_are_there() -> None:
    assert {
        "ablations",
        "profile-source",
        "lambda-p",
        "gamma",
        "matching-weight",
        "weak-kg",
        "cold-items",
        "item-dropout",
        "user-activity",
        "controls",
    } <= {file.stem for file in BENCH_FILES}


def test_new_items_are_trained_for_as_the_inner_split_chose() -> None:
    settings = read_yaml(CONFIGS / "new-items.yaml")
    rows = read_study(CONFIGS / "experiments" / "cold-items.yaml").rows
    chosen = next(row for row in rows if row.label == "spike, item dropout, cosines")
    assert settings["model"].items() <= chosen.settings["model"].items()
    assert settings["training"].items() <= chosen.settings["training"].items()
