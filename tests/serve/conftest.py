"""A small trained run, and the web application that serves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from spike_dgl.experiment import RunConfig, start
from spike_dgl.serve.api import create_app
from spike_dgl.serve.service import Service
from spike_dgl.training.tracking import RunFolder

NASTY_TITLE = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\"> & Amélie"
NASTY_ITEM = "2"
NASTY_USER = 'a/b?c=d&e#ü "7"'


def train(data: Path, run: Path, model: str) -> Path:
    """A run of one epoch."""
    settings = {
        "data": {"path": str(data)},
        "model": {"name": model},
        "profiles": {"source": "template"},
        "training": {"epochs": 1, "threads": 1, "device": "cpu"},
    }
    start(RunConfig.from_mapping(settings), RunFolder.create(run)).train(progress=False)
    return run


@pytest.fixture(scope="session")
def data_with_names(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data set, whose films and people have names, one of them hostile."""
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
    """A run of SPiKE on it."""
    return train(data_with_names, data_with_names.parent / "spike", "spike")


@pytest.fixture(scope="session")
def service(run: Path) -> Iterator[Service]:
    """The run, opened."""
    opened = Service(run)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def client(service: Service) -> TestClient:
    """Asks the application without a token, as the browser on this machine does."""
    return local_client(service)


def local_client(service: Service, *, token: str | None = None) -> TestClient:
    """A client of an application that answers to local names; an error of the server comes as status 500."""
    app = create_app(service, token=token, only_local_names=True)
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
