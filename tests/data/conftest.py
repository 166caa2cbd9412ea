"""Fixtures for the tests of spike_dgl.data."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.shop import LINKS, NAMES, ORDERS, THINGS, TRIPLES


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Return a folder with the shop's tables."""
    folder = tmp_path / "raw"
    folder.mkdir()
    files = {
        "orders.tsv": ORDERS,
        "things.jsonl": THINGS,
        "kg.tsv": TRIPLES,
        "links.tsv": LINKS,
        "names.tsv": NAMES,
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder
