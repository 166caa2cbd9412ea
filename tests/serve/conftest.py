"""Fixtures: a small trained run, and the web application that serves it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from spike_dgl.runs.config import RunConfig
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.set_up import start
from spike_dgl.serve.api import create_app
from spike_dgl.serve.service import Service

NASTY_TITLE = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\"> & Amélie"
NASTY_ITEM = "2"
NASTY_USER = 'a/b?c=d&e#ü "7"'


def train(data: Path, run: Path, model: str, *, seed: int = 2020, **options: float) -> Path:
    """Train a run of one epoch."""
    settings = {
        "data": {"path": str(data)},
        "model": {"name": model, **options},
        "profiles": {"source": "template"},
        "training": {"epochs": 1, "threads": 1, "device": "cpu", "seed": seed},
    }
    start(RunConfig.from_mapping(settings), RunFolder.create(run)).train(progress=False)
    return run


@pytest.fixture(scope="session")
def data_with_names(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small data set with names of films and people, one of them with HTML."""
    folder = tmp_path_factory.mktemp("serve") / "films"
    folder.mkdir()
    for file in data_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    names = [f"Film {item}" for item in range(40)] + ["Comedy", "Horror"]
    names[int(NASTY_ITEM)] = NASTY_TITLE
    (folder / "entity_names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    users = [NASTY_USER if user == 8 else str(user) for user in range(30)]
    rows = [f"{raw} {row}" for row, raw in enumerate(users)]
    (folder / "user_list.txt").write_text("\n".join(["org_id remap_id", *rows]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def run(data_with_names: Path) -> Path:
    """Run of SPiKE on the data set."""
    return train(data_with_names, data_with_names.parent / "spike", "spike")


@pytest.fixture(scope="session")
def newer(data_with_names: Path) -> Path:
    """Another run on the data set, with other answers."""
    return train(data_with_names, data_with_names.parent / "newer", "spike", seed=2021)


@pytest.fixture(scope="session")
def service(run: Path) -> Iterator[Service]:
    """Opened run."""
    opened = open_service(run)
    yield opened
    opened.close()


def open_service(run: Path) -> Service:
    """Open a service, and wait until its model is loaded."""
    opened = Service(run)
    opened.worker.start(lambda: None).result()
    return opened


@pytest.fixture(scope="session")
def client(service: Service) -> TestClient:
    """Client without a token, such as a browser on this machine."""
    return local_client(service)


def local_client(service: Service, **options: Any) -> TestClient:
    """Create a client of an application for local names; exceptions of the server become status 500."""
    app = create_app(service, only_local_names=True, **options)
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


def connect(address: str) -> HTTPConnection:
    """Open a connection to a server for several requests."""
    return HTTPConnection(urlsplit(address).netloc, timeout=30)


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds, at most 20 s."""
    for _ in range(400):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("waited 20 s for nothing")
