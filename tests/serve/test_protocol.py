"""HTTP protocol: methods, paths, pages of other sites, proxies with a prefix, probes, and overload."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from spike_dgl.errors import SpikeError
from spike_dgl.serve import limits, security
from spike_dgl.serve.api import create_app
from spike_dgl.serve.service import Service
from tests.serve.conftest import NASTY_USER, local_client

TOKEN = "a-token-of-some-length"
SHOP = "https://shop.example"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docs",
        "/health",
        "/ready",
        "/metrics",
        "/api/run",
        "/api/recommendations?user=0",
    ],
)
def test_head_is_get_without_body(client: TestClient, path: str) -> None:
    got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code == 200
    assert head.content == b""
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
    if path != "/metrics":
        assert int(head.headers["Content-Length"]) == len(got.content)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/health", "GET, HEAD, OPTIONS"),
        ("/api/scores", "OPTIONS, POST"),
        ("/api/recommendations", "GET, HEAD, OPTIONS, POST"),
    ],
)
def test_a_path_returns_all_its_methods(client: TestClient, path: str, allowed: str) -> None:
    options = client.options(path)
    assert (options.status_code, options.headers["Allow"]) == (204, allowed)
    refused = client.delete(path)
    assert (refused.status_code, refused.headers["Allow"]) == (405, allowed)
    assert refused.json()["detail"]
    if "HEAD" not in allowed:
        assert client.head(path).status_code == 405


@pytest.mark.parametrize("prefix", ["", "/rec"])
def test_a_trailing_slash_is_redirected_behind_any_proxy(service: Service, prefix: str) -> None:
    client = local_client(service, root_path=prefix)
    moved = client.get("/api/history/?user=0&limit=2", follow_redirects=False)
    assert (moved.status_code, moved.headers["Location"]) == (307, "../history?user=0&limit=2")
    body = {"user": "0", "items": ["2"]}
    assert client.post("/api/scores/", json=body).json() == client.post("/api/scores", json=body).json()
    assert client.get("/api/nothing/").status_code == 404


def test_only_pages_of_allowed_origins_may_read(service: Service) -> None:
    preflight = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    assert (
        "Access-Control-Allow-Origin"
        not in local_client(service).options("/api/scores", headers=preflight).headers
    )

    client = local_client(service, token=TOKEN, origins=[SHOP])
    allowed = client.options("/api/scores", headers=preflight)
    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == SHOP
    assert client.get("/api/run", headers={"Origin": SHOP}).status_code == 401
    for headers in ({}, BEARER):  # pages must be able to read the 401
        assert (
            client.get("/api/run", headers={"Origin": SHOP, **headers}).headers["Access-Control-Allow-Origin"]
            == SHOP
        )
    for other in ("https://shop.example.attacker.example", "http://shop.example", "null"):
        assert client.options("/api/scores", headers={**preflight, "Origin": other}).status_code == 400
        read = client.get("/api/run", headers={"Origin": other, **BEARER})
        assert "Access-Control-Allow-Origin" not in read.headers


@pytest.mark.parametrize(
    "origin", ["https://shop.example:8443", "http://localhost:3000", "http://[::1]:3000"]
)
def test_origins_as_browsers_send_them(origin: str) -> None:
    security.check_origins([origin])


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "",
        "shop.example",
        "https://shop.example/",
        "https://Shop.example",
        "https://shop.example:443",
        "http://shop.example:80",
        "https://user@shop.example",
        "https://*.example",
        "ftp://shop.example",
        "https://shop.example\n",
    ],
)
def test_an_invalid_origin_is_refused(service: Service, origin: str) -> None:
    with pytest.raises(SpikeError, match=r"--cors-origin https://shop\.example"):
        create_app(service, origins=[origin])


@pytest.mark.parametrize("path", ["/rec/api/run", "/api/run"], ids=["prefix passed on", "prefix stripped"])
def test_a_proxy_may_publish_the_server_under_a_prefix(service: Service, path: str) -> None:
    client = local_client(service, token=TOKEN, root_path="/rec/")
    assert client.get(path).status_code == 401
    assert client.get(path, headers=BEARER).status_code == 200
    explorer = client.get("/rec", follow_redirects=False)
    assert (explorer.status_code, explorer.headers["Location"]) == (307, "rec/")
    assert client.get("/rec/static/explorer.js").status_code == 200
    assert client.get("/rec/openapi.json").json()["servers"] == [{"url": "/rec"}]


def test_the_token_is_needed_inside_another_application_too(service: Service) -> None:
    outer = FastAPI()
    outer.mount("/rec", create_app(service, token=TOKEN))
    client = TestClient(outer)
    for path in ("/rec/api/run", "/rec/api/recommendations?user=0", "/rec/metrics"):
        assert client.get(path).status_code == 401
        answer = client.get(path, headers=BEARER)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
    assert client.get("/rec/health").status_code == 200


def test_an_answer_has_the_id_of_its_request(client: TestClient) -> None:
    assert client.get("/health", headers={"X-Request-ID": "trace-1.2"}).headers["X-Request-ID"] == "trace-1.2"
    made = {client.get("/health").headers["X-Request-ID"] for _ in range(2)}
    for odd in ("x" * 200, 'a"b', "a b"):
        made.add(client.get("/health", headers={"X-Request-ID": odd}).headers["X-Request-ID"])
    assert len(made) == 5
    assert {len(request) for request in made} == {32}


def test_an_internal_error_is_json_and_refers_to_the_log(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "describe", lambda: 1 / 0)
    answer = client.get("/api/run", headers={"X-Request-ID": "trace-3"})
    assert answer.status_code == 500
    assert "trace-3" in answer.json()["detail"]
    assert answer.headers["X-Request-ID"] == "trace-3"
    assert "trace-3" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_the_access_log_contains_neither_users_nor_tokens(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    client = local_client(service, token=TOKEN)
    with caplog.at_level(logging.INFO, "spike_dgl.serve.access"):
        client.get("/api/history", params={"user": NASTY_USER}, headers={**BEARER, "X-Request-ID": "trace-4"})
        client.get("/no%0Asuch%22page")
    lines = [json.loads(record.message) for record in caplog.records]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("GET", "/api/history", 200),
        ("GET", '/no\nsuch"page', 401),
    ]
    assert lines[0]["request_id"] == "trace-4"
    assert 0 < lines[0]["seconds"] < 20
    assert "user" not in caplog.text
    assert TOKEN not in caplog.text


def test_probes_are_answered_while_other_requests_get_503(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REQUESTS", 0)
    refused = client.get("/api/recommendations?user=0")
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert "retry later" in refused.json()["detail"]
    for path in ("/health", "/ready", "/metrics"):
        assert client.get(path).status_code == 200


@pytest.fixture
def opening(run: Path) -> Iterator[tuple[Service, threading.Event]]:
    """Create a service whose model is loading until the event is set."""
    service, go_on = Service(run, with_model=False), threading.Event()
    service.worker.start(lambda: go_on.wait(20))
    service._open_model(run)
    yield service, go_on
    go_on.set()
    service.close()


def test_the_server_is_ready_once_the_model_is_loaded(opening: tuple[Service, threading.Event]) -> None:
    service, go_on = opening
    client = local_client(service)
    assert client.get("/health").status_code == 200
    loading = client.get("/ready")
    assert (loading.status_code, loading.json()) == (503, {"status": "loading"})
    go_on.set()
    service.worker.start(lambda: None).result(20)
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
