"""Latency of a run: each kind of call occurs once, in the expected order of size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import run_command


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    return lambda *arguments: run_command(monkeypatch, capsys, *arguments)


@pytest.mark.parametrize("profiles", ["template", "none"])
def test_latency_of_a_run(run, data_folder: Path, tmp_path: Path, profiles: str) -> None:
    folder, short = tmp_path / "run", ("training.epochs=1", "training.threads=1", "--quiet")
    settings = (f"data.path={data_folder}", f"profiles.source={profiles}")
    assert run("train", *settings, *short, "--out", folder)[0] == 0
    code, out, error = run("speed", "latency", folder, "--calls", "20", "--json")
    assert code == 0, error
    found = {line["what"]: line for line in map(json.loads, out.splitlines())}
    assert ("recommend_for_text" in found) == (profiles == "template")
    assert found["recommend, one user"]["calls"] == 20
    assert found["recommend_for_items, 2 items"]["calls"] == 2
    assert all(0 < line["median"] <= line["percentile_95"] for line in found.values())
    process, load, user = (
        found[what]["median"] for what in ("a process that loads the run", "load", "recommend, one user")
    )
    assert process > load > user


def test_latency_of_a_model_without_embeddings(run, data_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = (f"data.path={data_folder}", "profiles.source=none", "model.name=popularity")
    assert run("train", *settings, "--quiet", "--out", folder)[0] == 0
    code, out, error = run("speed", "latency", folder, "--calls", "3", "--json")
    assert code == 0, error
    assert [json.loads(line)["what"] for line in out.splitlines()] == [
        "a process that loads the run",
        "load",
        "recommend, one user",
        "recommend, all users",
    ]


def test_a_wrong_folder_is_named(run, tmp_path: Path) -> None:
    code, _, error = run("speed", "latency", tmp_path)
    assert (code, "not a run folder" in error) == (2, True)
