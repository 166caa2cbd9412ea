"""Examples in docs/prepare.md work, and its options and the audit's checks agree with the code."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spike_dgl.data import NodeTexts
from spike_dgl.data.audit import audit
from tests.command_line import run_command
from tests.data.test_audit import dataset

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "prepare.md").read_text(encoding="utf-8")


def test_the_example_from_tables_to_a_trained_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    files = re.findall(r"^`(shop/[\w.]+)`[^`]*\n\n```\w+\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    assert len(files) == 6
    for name, text in files:
        Path(name).write_text(text, encoding="utf-8")
    typed = re.findall(r"^python main\.py (.*\b(?:data/)?shop\b.*)$", PAGE, flags=re.MULTILINE)
    words = [shlex.split(line, comments=True) for line in typed]
    assert [line[0] for line in words] == ["prepare", "data", "train"]
    printed = []
    for line in words:
        threads = ["training.threads=1", "--quiet"] if line[0] == "train" else []
        code, out, errors = run_command(monkeypatch, capsys, *line, *threads)
        assert code == 0, errors
        printed.append(out)
    prepared, audited, trained = printed
    shown = re.search(
        r"^The statistics begin with\n\n```text\n(.*?)```$", PAGE, flags=re.DOTALL | re.MULTILINE
    )
    assert shown
    assert shown[1] in prepared
    assert shown[1] in audited
    assert not re.search(r"^  (warn|fail)", audited, flags=re.MULTILINE)
    assert "recall" in trained
    assert Path("data/shop/entity_names.txt").read_text().split("\n")[-2] == "ware"


def test_its_options_are_up_to_date(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run_command(monkeypatch, capsys, "prepare", "options")
    assert code == 0
    assert PAGE.endswith(out), "put what `python main.py prepare options` prints at its end"
    assert r"`'\|'`" in out, "a bar would end its cell"
    rows = re.findall(r"^\| `(\w+)` \|.* \| (.*) \|$", out, flags=re.MULTILINE)
    assert [name for name, description in rows if not description] == []
    assert {"k_core", "co_purchases", "min_taggers", "time_unit", "kinds"} <= {name for name, _ in rows}


def test_every_check_of_the_audit_is_explained() -> None:
    _, _, rest = (DOCS / "data.md").read_text(encoding="utf-8").partition("## The audit\n")
    explained = {
        name
        for row in re.findall(r"^\| (`.*?`) \|", rest, flags=re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
    }
    clean = dataset()
    parts = {
        name: replace(part, times=np.zeros(len(part)))
        for name, part in (("train", clean.train), ("valid", clean.valid), ("test", clean.test))
    }
    timed = {**parts, "linked_names": {0: "x"}, "altered": ("y",)}
    variants = [clean, dataset(**timed), dataset(profiles=NodeTexts(users={0: "x"}, entities={0: "x"}))]
    assert {found.check for variant in variants for found in audit(variant)} <= explained
