"""The search without training: its runs, and the settings it chooses."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from spike_dgl.data import load_dataset
from spike_dgl.models.base import registered_models
from spike_dgl.runs.config import RunConfig
from spike_dgl.runs.processes import PlannedRun
from spike_dgl.tuning import search
from spike_dgl.tuning.contenders import Contender, read_contenders
from tests.command_line import run_command

TUNED = [name for name, entry in registered_models().items() if entry.search]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[PlannedRun]:
    """Runs that the search starts; the third is the best on validation, the fourth on test, and the second fails."""
    runs: list[PlannedRun] = []

    def pretend(planned: Sequence[PlannedRun], **_: object) -> dict[str, str]:
        for run in planned:
            number = int(run.folder.name.removeprefix("trial-"))
            run.folder.mkdir(parents=True)
            parts = {"valid": 0.5 if number == 3 else 0.1, "test": 0.5 if number == 4 else 0.1}
            record = {part: {"ndcg@20": value} for part, value in parts.items()}
            run.result.write_text(json.dumps(record | {"device": "cpu"}))
            runs.append(run)
        return {run.name: "out of luck" for run in planned if run.folder.name == "trial-2"}

    monkeypatch.setattr(search, "run_missing", pretend)
    return runs


def of_any_data(tuned: Contender) -> RunConfig:
    """Read the settings of a file that tuning wrote, without the data."""
    config = tuned.config({})
    assert load_dataset(config.data.path).has_checksum(config.data.checksum)
    return replace(config, data=replace(config.data, checksum=None))


@pytest.mark.parametrize("sampler", ["random", "optuna"])
def test_every_model_has_the_same_budget_begins_as_it_is_and_gets_what_was_best(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    started: list[PlannedRun],
    sampler: str,
) -> None:
    pytest.importorskip(sampler)
    arguments = [
        "--trials",
        4,
        "--sampler",
        sampler,
        "--out",
        tmp_path / "out",
        "--write",
        tmp_path / "tuned",
    ]
    code, _, error = run_command(monkeypatch, capsys, "tune", *TUNED, *arguments)
    assert code == 0, error
    assert Counter(run.config.model_name for run in started) == dict.fromkeys(TUNED, 4)
    assert not any(run.is_tested for run in started)
    for contender in read_contenders(None, TUNED, []):
        first, _, third, _ = (run.config for run in started if run.config.model_name == contender.model)
        assert first == contender.config({})
        [tuned] = read_contenders(tmp_path / "tuned" / "movielens" / f"{contender.model}.yaml", [], [])
        assert of_any_data(tuned) == third != first


def test_the_test_part_of_the_inner_split_decides(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    started: list[PlannedRun],
) -> None:
    arguments = [
        "data.inner_split=true",
        "--trials",
        4,
        "--out",
        tmp_path / "out",
        "--write",
        tmp_path / "tuned",
    ]
    code, _, error = run_command(monkeypatch, capsys, "tune", "bpr-mf", *arguments)
    assert code == 0, error
    assert all(run.is_tested and run.config.data.inner_split for run in started)
    file = tmp_path / "tuned" / "movielens" / "bpr-mf.yaml"
    [tuned] = read_contenders(file, [], ["data.inner_split=true"])
    assert of_any_data(tuned) == started[3].config
    assert "on the test split of the inner split of movielens" in file.read_text(encoding="utf-8")
    assert (tmp_path / "out" / "bpr-mf" / "trials.csv").read_text().startswith("trial,")
    assert "inner split ndcg@20" in (tmp_path / "out" / "bpr-mf" / "trials.csv").read_text()


def test_finalists_are_run_with_more_seeds_and_the_best_mean_is_chosen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # Of five trials the first three are the finalists. The second was lucky, and the third fails with another seed.
    reached = {1: [0.3, 0.4, 0.5], 2: [0.6, 0.1, 0.1], 3: [0.5, 0.9], 4: [0.28], 5: [0.1]}
    started: list[PlannedRun] = []

    def pretend(planned: Sequence[PlannedRun], **_: object) -> dict[str, str]:
        failures = {}
        for run in planned:
            number, more = int(run.folder.name.split("-")[1]), run.config.training.seed - 2020
            started.append(run)
            if more < len(reached[number]):
                run.folder.mkdir(parents=True)
                valid = {"ndcg@20": reached[number][more]}
                run.result.write_text(json.dumps({"valid": valid, "device": "cpu"}))
            else:
                failures[run.name] = "out of memory"
        return failures

    monkeypatch.setattr(search, "run_missing", pretend)
    arguments = ["--trials", 5, "--seeds", 3, "--out", tmp_path / "out", "--write", tmp_path / "tuned"]
    code, _, error = run_command(monkeypatch, capsys, "tune", "bpr-mf", *arguments)
    assert code == 0, error
    assert len({run.folder for run in started}) == len(started) == 5 + 3 * 2
    file = tmp_path / "tuned" / "movielens" / "bpr-mf.yaml"
    [tuned] = read_contenders(file, [], [])
    assert of_any_data(tuned) == started[0].config
    assert "the best 3 with 3 seeds" in file.read_text(encoding="utf-8")
    assert "best 0.4000" in file.read_text(encoding="utf-8")
    lines = (tmp_path / "out" / "bpr-mf" / "trials.csv").read_text().splitlines()
    table = list(csv.DictReader(lines))
    assert [(row["trial"], row["runs"]) for row in table] == [
        ("1", "3"),
        ("2", "3"),
        ("4", "1"),
        ("5", "1"),
        ("3", "3"),
    ]
    assert table[-1]["failure"] == "out of memory"


@pytest.mark.parametrize(
    ("model", "setting", "value"), [("bpr-mf", "training.recency", 0.0), ("gf-cf", "model.half_life", None)]
)
def test_recency_is_searched_where_the_data_has_times(
    model: str, setting: str, value: float | None, tmp_path: Path
) -> None:
    (tmp_path / "train.txt").write_text("0 0 1 2 3 4 5\n1 0 1 2 3 4 5\n")
    (tmp_path / "test.txt").write_text("0 6\n1 7\n")
    (tmp_path / "kg_final.txt").write_text("0 0 8\n")
    [timed] = search.fit_to_data(read_contenders(None, [model], []))
    [timeless] = search.fit_to_data(read_contenders(None, [model], [f"data.path={tmp_path}"]))
    assert timed.grid.values.keys() - timeless.grid.values.keys() == {setting}
    assert timed.first[setting] == value
