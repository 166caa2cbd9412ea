"""Examples and numbers in the README are correct."""

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
    """Return the cells of the lines of a Markdown table, without bold marks."""
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table.splitlines()]


@pytest.mark.parametrize(
    ("study", "first_cell", "cells_before"),
    [
        ("Models on the bundled MovieLens data", "model", 2),
        ("Models on Last.fm", "lastfm", 1),
        ("Models on MovieLens-1M", "ml-1m", 1),
    ],
)
def test_its_results_are_those_of_the_page_of_results(study: str, first_cell: str, cells_before: int) -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").partition(f"## {study}")[2]
    models = re.search(r"^\|  .*?\n\n", page, flags=re.DOTALL | re.MULTILINE)
    shown = re.search(rf"^\| {first_cell} .*?\n\n", README, flags=re.DOTALL | re.MULTILINE)
    assert models
    assert shown
    measured = {
        name: (recall, ndcg, p or "reference")
        for name, _, recall, ndcg, _, p, *_ in rows(models[0].strip())[2:]
    }
    told = {cells[0]: tuple(cells[cells_before : cells_before + 3]) for cells in rows(shown[0].strip())[2:]}
    assert told == {name: measured.get(name) for name in told}
