"""What tests of language models share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spike_dgl.profiles.llm.store import Store
from tests.profiles.openai_server import OpenAIServer


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """A local server that answers like OpenAI's."""
    with OpenAIServer() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store of answers."""
    with Store.open(tmp_path / "profiles.sqlite") as opened:
        yield opened
