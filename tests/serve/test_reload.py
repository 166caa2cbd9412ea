"""Reload: a newer run replaces the served run, no request fails, and a damaged run is rejected."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import logging
import os
import shutil
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from benchmarks.live_server import serving
from spike_dgl.errors import SpikeError
from spike_dgl.recommend import Recommender
from spike_dgl.serve import deployment as deployment_module
from spike_dgl.serve.api import create_app
from spike_dgl.serve.deployment import Deployment
from spike_dgl.serve.service import Service
from spike_dgl.serve.worker import Busy
from tests.serve.conftest import connect, local_client, train, wait_until

TOKEN = "a-token-of-some-length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def lead(link: Path, run: Path) -> Path:
    """Point a link to a run, atomically as `mv -T` does."""
    new = link.with_name("new-link")
    new.symlink_to(run)
    os.replace(new, link)
    return link


class Client(threading.Thread):
    """Thread that repeats a request and collects the responses."""

    def __init__(self, address: str, path: str, *, keep_alive: bool = True) -> None:
        super().__init__()
        self.address, self.path, self.keep_alive = address, path, keep_alive
        self.answers: list[tuple[int, str]] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        with closing(connect(self.address)) as connection:
            while not self.stopped.is_set():
                try:
                    self.answers.append(ask(connection, self.path))
                except OSError as error:
                    self.answers.append((0, repr(error)))
                if not self.keep_alive:
                    connection.close()  # the next request reopens it


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[int, str]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@contextmanager
def asking(address: str, paths: list[str]) -> Iterator[list[Client]]:
    clients = [Client(address, path, keep_alive=keep) for path in paths for keep in (True, False)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.stopped.set()
        for client in clients:
            client.join()


def test_no_request_fails_while_a_newer_run_takes_over(run: Path, newer: Path, tmp_path: Path) -> None:
    link = lead(tmp_path / "latest", run)
    paths = ["/api/recommendations?user=0&k=3", "/api/explanations?user=0&item=2&num_paths=1"]
    with serving(link) as (address, process), closing(connect(address)) as connection:
        wait_until(lambda: ask(connection, "/ready")[0] == 200)
        old = {path: ask(connection, path)[1] for path in paths}
        with asking(address, paths) as clients:
            wait_until(lambda: all(client.answers for client in clients))
            lead(link, newer)
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: json.loads(ask(connection, "/api/run")[1])["name"] == "newer")
            new = {path: ask(connection, path)[1] for path in paths}
            seen = [len(client.answers) for client in clients]
            wait_until(lambda: all(len(c.answers) > n + 1 for c, n in zip(clients, seen, strict=True)))
        lead(link, tmp_path / "not-there")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: 'outcome="failed"} 1.0' in ask(connection, "/metrics")[1])
        assert ask(connection, paths[0])[1] == new[paths[0]]
        process.terminate()
        assert process.wait(timeout=20) == 0
        said = process.stderr.read()

    assert json.loads(new[paths[0]])["items"] == listed(newer)
    for client in clients:
        assert {status for status, _ in client.answers} == {200}
        answers = [answer for _, answer in client.answers]
        change = answers.index(new[client.path])
        assert change > 0
        assert set(answers[:change]) == {old[client.path]}
        assert set(answers[change:]) == {new[client.path]}
    assert "INFO now serving newer instead of spike" in said
    assert "ERROR the run was not reloaded, newer is still served" in said
    assert "is not a run folder" in said


def listed(run: Path) -> list[dict]:
    return [vars(item) for item in Recommender.load(run).recommend("0", 3)]


def first_list(client: TestClient) -> list[dict]:
    return client.get("/api/recommendations?user=0&k=3", headers=BEARER).json()["items"]


def test_a_request_reloads_only_if_a_token_is_set(run: Path, newer: Path, tmp_path: Path) -> None:
    link = lead(tmp_path / "latest", run)
    with TestClient(create_app(Service(link), token=TOKEN)) as client:
        lead(link, newer)
        assert client.post("/api/reload").status_code == 401
        assert first_list(client) == listed(run)
        reloaded = client.post("/api/reload", headers=BEARER)
        assert (reloaded.status_code, reloaded.json()["name"]) == (200, "newer")
        assert reloaded.json()["explanations"] == "ready"
        assert first_list(client) == listed(newer)

        link.unlink()
        refused = client.post("/api/reload", headers=BEARER)
        assert refused.status_code == 409
        assert "newer is still served" in refused.json()["detail"]
        assert first_list(client) == listed(newer)

        client.app.state.deployment.is_reloading = True
        busy = client.post("/api/reload", headers=BEARER)
        assert (busy.status_code, busy.json()["detail"]) == (
            503,
            "another reload is in progress; retry later",
        )
        assert busy.headers["Retry-After"]
    with TestClient(create_app(Service(newer, with_model=False))) as client:
        assert client.post("/api/reload").status_code == 404


def test_the_same_folder_may_contain_another_run(run: Path, newer: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "nightly"))
    deployment = Deployment(Service(folder, with_model=False))
    old = deployment.service.recommender
    shutil.rmtree(folder)
    shutil.copytree(newer, folder)
    # The old service cannot load its model any more, and must not load the other run's model.
    with pytest.raises(SpikeError, match="has changed since it was opened"):
        old.recommend_for_items(["2"], 3)
    with pytest.raises(SpikeError, match="has changed since it was opened"):
        old.recommend_for_text("comedy", 3)
    asyncio.run(deployment.reload())
    new = deployment.service.recommender
    assert [vars(item) for item in new.recommend("0", 3)] == listed(newer)
    assert new.recommend_for_items(["2"], 3) == Recommender.load(newer).recommend_for_items(["2"], 3)
    deployment.service.close()


def cut(file: str) -> Callable[[Path], None]:
    """Return a function that truncates a file, as a full disk does."""

    def damage(run: Path) -> None:
        content = (run / file).read_bytes()
        (run / file).write_bytes(content[: len(content) // 2])

    return damage


def diverge(run: Path) -> None:
    with np.load(run / "embeddings.npz") as stored:
        arrays = dict(stored)
    arrays["items"][3, 0] = np.nan
    np.savez(run / "embeddings.npz", **arrays)


def train_on(run: Path) -> None:
    """Write the checkpoint of a continued training next to the embeddings of the previous one."""
    shutil.copy(run.parent / "other" / "best.pt", run / "best.pt")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut("embeddings.npz"), "embeddings.npz: cannot be read"),
        (cut("best.pt"), "the new run cannot explain"),
        (cut("encoder.npz"), "the new run cannot recommend for a text"),
        (lambda run: (run / "embeddings.npz").unlink(), "Was the model trained to the end"),
        (diverge, "training diverged"),
        (train_on, "whose scores differ from those of its embeddings"),
    ],
    ids=["embeddings", "weights", "encoder", "unfinished", "diverged", "in training"],
)
def test_a_broken_run_is_refused(
    damage: Callable[[Path], None],
    reason: str,
    run: Path,
    newer: Path,
    tmp_path: Path,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(run, tmp_path / "other")
    damage(Path(shutil.copytree(newer, tmp_path / "broken")))
    monkeypatch.setattr(service, "run", tmp_path / "broken")
    deployment = Deployment(service)
    with caplog.at_level(logging.ERROR), pytest.raises(SpikeError, match=reason):
        asyncio.run(deployment.reload())
    assert deployment.service is service
    assert deployment.reloads == {"succeeded": 0, "failed": 1}
    assert "spike is still served" in caplog.text
    assert reason in caplog.text


def test_a_run_with_fewer_abilities_is_refused(
    service: Service, data_with_names: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lightgcn = train(data_with_names, tmp_path / "lightgcn", "lightgcn")
    monkeypatch.setattr(service, "run", lightgcn)
    with pytest.raises(
        SpikeError, match=r"the new run cannot explain, but spike can: .*only spike can be explained"
    ):
        asyncio.run(Deployment(service).reload())
    deployment = Deployment(Service(lightgcn))
    assert asyncio.run(deployment.reload()) is deployment.service
    deployment.service.close()


def test_a_run_in_training_is_served_without_explanations(run: Path, newer: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(newer, tmp_path / "resumed"))
    shutil.copy(run / "best.pt", folder / "best.pt")
    service = Service(folder)
    answer = local_client(service).get("/api/explanations", params={"user": "0", "item": "2"})
    assert answer.status_code == 409
    assert "scores differ" in answer.json()["detail"]
    service.close()


def test_the_old_run_is_freed_after_its_last_answer(
    run: Path, newer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned = threading.Event()
    monkeypatch.setattr(deployment_module, "return_freed_memory", returned.set)
    link = lead(tmp_path / "latest", run)
    app = create_app(Service(link))
    with TestClient(app) as client:
        old = app.state.deployment.service
        parts = [old, old.recommender, old._explainer.result(20), old._explainer.result().model]
        gone = [weakref.ref(part) for part in parts]
        go_on = threading.Event()
        old.worker.start(lambda: go_on.wait(20))
        with ThreadPoolExecutor(1) as threads:
            late = threads.submit(client.get, "/api/explanations?user=0&item=2")
            wait_until(lambda: app.state.deployment.service.worker.queued == 1)
            del old, parts
            lead(link, newer)
            gc.disable()  # memory must be freed without garbage collection
            try:
                client.portal.call(app.state.deployment.reload)
                assert all(reference() for reference in gone)
                assert not returned.is_set()
                go_on.set()
                assert late.result(20).status_code == 200
                wait_until(lambda: not any(reference() for reference in gone))
            finally:
                gc.enable()
        assert returned.wait(20)


def test_one_reload_at_a_time(run: Path) -> None:
    deployment = Deployment(Service(run, with_model=False))

    async def twice() -> list[object]:
        return await asyncio.gather(deployment.reload(), deployment.reload(), return_exceptions=True)

    first, second = asyncio.run(twice())
    assert first is deployment.service
    assert isinstance(second, Busy)
    deployment.service.close()
