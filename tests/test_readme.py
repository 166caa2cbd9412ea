"""The README: its results, and the length of a page that people read."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch

from spike_dgl.evaluation import EvaluationOptions, evaluate
from spike_dgl.models import base
from tests.models.test_all_models import DATA, build, trained

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_model_it_adds_learns_the_checkerboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = re.search(r"```python\n(# spike_dgl/models/sage\.py\n.*?)```", README, flags=re.DOTALL)
    assert block
    assert block[1].count("\n") <= 45
    file = tmp_path / "sage.py"
    file.write_text(block[1])
    spec = importlib.util.spec_from_file_location("sage", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "sage", module)
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))
    spec.loader.exec_module(module)
    model = trained(build("sage"), tmp_path).eval()
    with torch.no_grad():
        result = evaluate(model.score_function(), DATA, "test", EvaluationOptions(cutoffs=(2,)))
    assert result.means["recall@2"] > 0.95


def rows(table: str) -> list[list[str]]:
    """Cells of the lines of a Markdown table, without the marks of bold print."""
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table.splitlines()]


@pytest.mark.parametrize(
    ("study", "column"),
    [
        ("Models on the bundled MovieLens data", 1),
        ("Models on Last.fm", 3),
        ("Models on MovieLens-1M", 5),
    ],
)
def test_its_results_are_those_of_the_page_of_results(study: str, column: int) -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").partition(f"## {study}")[2]
    models = re.search(r"^\|  .*?\n\n", page, flags=re.DOTALL | re.MULTILINE)
    shown = re.search(r"^\| model .*?\n\n", README, flags=re.DOTALL | re.MULTILINE)
    assert models
    assert shown
    measured = {
        name: [recall.partition(" ")[0], p or "reference"]
        for name, _, recall, _, _, p, *_ in rows(models[0].strip())[2:]
    }
    told = {cells[0]: cells[column : column + 2] for cells in rows(shown[0].strip())[2:]}
    assert len(told) >= 9
    assert told == {name: measured.get(name, ["", ""]) for name in told}


def test_it_is_short() -> None:
    assert len(README.split()) <= 960
