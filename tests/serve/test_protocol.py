"""HTTP around the questions: applications around it."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.testclient import TestClient

from spike_dgl.serve.api import create_app
from spike_dgl.serve.service import Service

TOKEN = "a-token-of-some-length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def test_the_token_is_asked_for_inside_another_application_too(service: Service) -> None:
    outer = FastAPI()
    outer.mount("/rec", create_app(service, token=TOKEN))
    client = TestClient(outer)
    for path in ("/rec/api/run", "/rec/api/recommendations?user=0"):
        assert client.get(path).status_code == 401
        answer = client.get(path, headers=BEARER)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
    assert client.get("/rec/health").status_code == 200
