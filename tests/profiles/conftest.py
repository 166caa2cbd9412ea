"""Fixtures for tests of language models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spike_dgl.profiles.llm.store import Store
from tests.profiles.openai_server import OpenAIServer


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """Local server with OpenAI's API."""
    with OpenAIServer() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Empty store of answers."""
    with Store.open(tmp_path / "profiles.sqlite") as opened:
        yield opened
