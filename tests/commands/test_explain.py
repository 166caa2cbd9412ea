"""``main.py explain`` and ``bench fidelity`` end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import run_command

SHORT = ("training.epochs=1", "training.threads=1", "--quiet")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    return lambda *arguments: run_command(monkeypatch, capsys, *arguments)


def test_explain_and_fidelity(run, data_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run("train", f"data.path={data_folder}", *SHORT, "--out", folder)[0] == 0
    code, shown, error = run("explain", folder, "--user", "0", "--item", "2")
    assert code == 0, error
    assert "score" in shown
    code, shown, _ = run("explain", folder, "--user", "0", "--item", "2", "--format", "json")
    assert json.loads(shown)["item"]["id"] == "2"
    assert run("explain", folder, "--user", "0", "--item", "2", "--format", "dot")[1].startswith("digraph")
    asked = ("explain", folder, "--user", "0", "--item", "2", "--format")
    dot, picture = tmp_path / "new" / "why.dot", tmp_path / "why.png"
    assert run(*asked, "dot", "--out", dot)[0] == 0
    assert dot.read_text() == run(*asked, "dot")[1]
    assert run(*asked, "png", "--out", picture)[0] == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, _, error = run(*asked, "png")
    assert (code, "--out FILE.png" in error) == (2, True)
    code, _, error = run(*asked, "png", "--out", tmp_path)
    assert (code, "is a folder" in error) == (2, True)
    code, shown, error = run("bench", "fidelity", folder, "--users", "5")
    assert code == 0, error
    assert "| attention " in shown

    code, _, error = run("explain", folder, "--user", "nobody", "--item", "2")
    assert (code, "unknown user 'nobody'" in error) == (2, True)
    assert run("explain", folder, "--user", "0", "--item", "2", "--paths", "0")[0] == 2
    assert run("explain", tmp_path, "--user", "0", "--item", "2")[0] == 2


def test_a_model_that_cannot_be_explained_is_named(run, data_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, _, error = run(
        "train", "model.name=popularity", f"data.path={data_folder}", "--quiet", "--out", folder
    )
    assert code == 0, error
    code, _, error = run("explain", folder, "--user", "0", "--item", "2")
    assert code == 2
    assert "the model is popularity, and only spike can be explained" in error
