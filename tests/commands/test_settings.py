"""The page of settings agrees with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spike_dgl.commands.settings_page import documented, settings_page
from spike_dgl.models.base import registered_models
from spike_dgl.runs.config import known_settings
from tests.command_line import run_command

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    hint = "run: python main.py settings --out docs/configuration.md"
    assert PAGE.read_text(encoding="utf-8") == settings_page(), hint


def test_every_setting_is_there_and_described() -> None:
    rows = dict(re.findall(r"^\| `([\w.]+)` \|.*\| (.*) \|$", settings_page(), flags=re.MULTILINE))
    known = {key for model in registered_models() for key in known_settings(model)} - {"model.name"}
    assert rows.keys() == known
    assert [key for key, description in rows.items() if not description] == []


@pytest.mark.parametrize(
    "row",
    [
        "| `data.valid_fraction` | number, at least 0, below 1 | `0.1` | Share",
        "| `evaluation.cutoffs` | list: integer, at least 1, at most 1000000, length at least 1 | `[10, 20, 40]` |",
        "| `training.patience` | integer or null, at least 1 | `20` | Number of validations without",
        "| `training.keep` | `best`, `last` | `best` | Epoch to report",
        "| `model.l2_weight` | number, at least 0 | `0.004` |",
    ],
)
def test_values_defaults_and_ranges(row: str) -> None:
    assert f"\n{row}" in settings_page()


def test_names_that_share_a_description_and_inherited_ones_have_it() -> None:
    options = registered_models()["diff-kg"].options
    fields = documented(options).fields
    assert fields["noise_min"] == fields["noise_max"]
    assert fields["embedding_dim"] == "Embedding dimension D."


def test_the_command_prints_the_models_asked_for_and_names_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed, _ = run_command(monkeypatch, capsys, "settings", "hgt")
    assert code == 0
    assert "### hgt" in printed
    assert "### spike" not in printed
    code, _, errors = run_command(monkeypatch, capsys, "settings", "hgtt")
    assert code == 2
    assert "hgt" in errors
