"""Prometheus metrics."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as open_parser
from starlette.testclient import TestClient

from spike_dgl import __version__
from spike_dgl.serve.service import Service
from tests.serve.conftest import NASTY_USER, local_client

COUNT = "http_request_duration_seconds_count"


def samples(client: TestClient) -> list[tuple[str, dict[str, str], float]]:
    """Return names, labels and values of all metrics, read by Prometheus' own parser."""
    answer = client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    return [
        (sample.name, sample.labels, sample.value)
        for family in parser.text_string_to_metric_families(answer.text)
        for sample in family.samples
    ]


def counted(client: TestClient) -> dict[tuple[str, str, str], float]:
    return {
        (labels["method"], labels["route"], labels["status"]): value
        for name, labels, value in samples(client)
        if name == COUNT
    }


def test_requests_are_counted_by_route_and_status_and_never_by_id(service: Service) -> None:
    client = local_client(service)
    for user in ("0", "1", NASTY_USER):
        client.get("/api/recommendations", params={"user": user})
    client.get("/api/history", params={"user": "who?"})
    client.head("/health")
    client.get("/static/explorer.js")
    client.get("/static/no-such-file")
    for number in range(5):
        client.get(f"/no/such/{number}")
        client.request(f"MADE-UP-{number}", "/health")
    assert counted(client) == {
        ("GET", "/api/recommendations", "200"): 3,
        ("GET", "/api/history", "404"): 1,
        ("HEAD", "/health", "200"): 1,
        ("GET", "/static", "200"): 1,
        ("GET", "/static", "404"): 1,
        ("GET", "other", "404"): 5,
        ("other", "/health", "405"): 5,
    }
    buckets = [
        value
        for name, labels, value in samples(client)
        if name.endswith("_bucket") and labels["route"] == "/api/recommendations"
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 3


def test_metrics_describe_the_run_and_the_queue(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    client = local_client(service)
    values = {name: (labels, value) for name, labels, value in samples(client)}
    trained = client.get("/api/run").json()["trained"]
    assert values["spike_dgl_run_info"][0] == {
        "run": "spike",
        "model": "spike",
        "data": "films",
        "trained": trained,
        "checksum": service.recommender.dataset.checksum,
        "version": __version__,
    }
    assert values["spike_dgl_run_trained_timestamp_seconds"][1] == datetime.fromisoformat(trained).timestamp()
    assert values["spike_dgl_slow_calls"][1] == 0
    assert values["http_requests_in_progress"][1] == 1  # this request
    assert values["process_resident_memory_bytes"][1] > 1e7

    monkeypatch.setattr(service.worker, "capacity", 0)
    client.get("/api/explanations", params={"user": "0", "item": "2"})
    assert counted(client)["GET", "/api/explanations", "503"] == 1


def test_metrics_of_runs_of_older_versions(run: Path, tmp_path: Path) -> None:
    older = Path(shutil.copytree(run, tmp_path / "older"))
    result = older / "result.json"
    result.write_text(json.dumps({"finished": "2025-01-02 03:04:05"}))  # local time
    local = datetime(2025, 1, 2, 3, 4, 5).astimezone()
    assert Service(older, with_model=False).describe().trained == local.isoformat()
    result.unlink()
    client = local_client(Service(older, with_model=False))
    assert client.get("/api/run").json()["trained"] == ""
    assert "spike_dgl_run_trained_timestamp_seconds" not in {name for name, _, _ in samples(client)}


def test_openmetrics_format(service: Service) -> None:
    client = local_client(service)
    answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert list(open_parser.text_string_to_metric_families(answer.text))


def test_metrics_need_the_token_as_the_api_does(service: Service) -> None:
    client = local_client(service, token="a-token-of-some-length")
    assert client.get("/metrics").status_code == 401
    assert (
        client.get("/metrics", headers={"Authorization": "Bearer a-token-of-some-length"}).status_code == 200
    )
