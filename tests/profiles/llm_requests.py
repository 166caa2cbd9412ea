"""Requests to a language model, and their identity on the test server."""

from __future__ import annotations

import hashlib
import json

from spike_dgl.profiles.llm.client import ClientOptions, body
from spike_dgl.profiles.llm.requests import CompletionOptions, Request
from tests.profiles.openai_server import OpenAIServer

KEY = "sk-test-4b7d0c2f9e"


def some_requests(number: int, **options: object) -> list[Request]:
    """Create distinct requests about items 0, 1, 2 ..."""
    chosen = CompletionOptions(**options)  # type: ignore[arg-type]
    return [
        Request("item", str(place), "You write profiles.", f"Write about film {place}.", 150, chosen)
        for place in range(number)
    ]


def client_of(server: OpenAIServer, **changes: object) -> ClientOptions:
    """Create options for the local server."""
    return ClientOptions(base_url=server.base_url, **{"timeout": 20.0, **changes})  # type: ignore[arg-type]


def identity(request: Request) -> str:
    """Return `Call.identity` of a request."""
    return hashlib.sha256(json.dumps(body(request, ClientOptions()), sort_keys=True).encode()).hexdigest()
