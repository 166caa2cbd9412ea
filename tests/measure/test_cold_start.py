"""Evaluation of cold start: its results, and the runs it rejects."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.command_line import run_command


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    return lambda *arguments: run_command(monkeypatch, capsys, *arguments)


def train(run, data: Path, out: Path, *settings: str) -> Path:
    common = ("training.epochs=20", "training.learning_rate=0.01", "training.threads=1")
    assert run("train", "--quiet", "--out", out, f"data.path={data}", *common, *settings)[0] == 0
    return out


def test_cold_users_and_items_of_a_genre_are_served_better_than_by_popularity(
    run, data_folder: Path, tmp_path: Path
) -> None:
    trained = train(run, data_folder, tmp_path / "run", "data.hidden_users=0.3", "data.hidden_items=0.2")
    code, out, _ = run("bench", "cold", trained, "--json")
    assert code == 0
    found = {(line["nodes"], line["by"]): line for line in map(json.loads, out.splitlines())}
    users = found["users", "items, all liked"]
    assert users["users"] <= 9
    assert users["ndcg"] > found["users", "popularity"]["ndcg"]
    items = "items, among new ones"
    assert found[items, "add_item"]["ndcg"] > found[items, "popularity"]["ndcg"]
    assert found[items, "add_item, text alone"]["ndcg"] > found[items, "popularity"]["ndcg"]
    code, table, _ = run("bench", "cold", trained, trained, "--csv", tmp_path / "cold.csv")
    assert "± 0.0000" in table
    with (tmp_path / "cold.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows == [{key: str(value) for key, value in line.items()} for line in [*found.values()] * 2]


def test_a_run_that_hid_nothing_is_refused(run, data_folder: Path, tmp_path: Path) -> None:
    code, _, error = run("bench", "cold", train(run, data_folder, tmp_path / "run"))
    assert code == 2
    assert "Train with, for example, data.hidden_users=0.2" in error
