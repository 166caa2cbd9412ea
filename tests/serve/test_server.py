"""The server as a process: it answers over the network, rejects large requests, and stops on signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from benchmarks.live_server import MAIN, serving
from benchmarks.serve_load import Question, ask_at_once, questions
from spike_dgl.recommend import Recommender
from spike_dgl.serve import limits, security
from spike_dgl.serve.signals import ReloadRequest
from tests.command_line import run_command
from tests.serve.conftest import connect, wait_until


def ask(address: str, **headers: str) -> tuple[int, dict]:
    try:
        with urlopen(Request(address, headers=headers), timeout=20) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_server_answers_concurrent_requests_and_stops_on_a_signal(run: Path) -> None:
    with serving(run) as (address, process):
        assert address.startswith("http://127.0.0.1:")
        assert ask(f"{address}/health") == (200, {"status": "ok"})
        users = [f"{address}/api/recommendations?user={user % 7}" for user in range(60)]
        reasons = [f"{address}/api/explanations?user=0&item={item}" for item in range(0, 20, 2)]
        with ThreadPoolExecutor(10) as threads:
            answers = list(threads.map(ask, users + reasons))
        assert {status for status, _ in answers} == {200}
        for place, (_, answer) in enumerate(answers[: len(users)]):
            assert answer == answers[place % 7][1]
        for asked in questions(Recommender.load(run)).values():
            assert len(ask_at_once(address, asked, clients=2, seconds=0).seconds) == 2
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""


def test_an_answer_does_not_wait_for_the_network(run: Path) -> None:
    with serving(run, "--without-model") as (address, _):
        load = ask_at_once(address, [Question("/health")], clients=1, seconds=0.5)
    # Waiting for an acknowledgement would take 40 ms per request.
    assert load.seconds.min() < 0.02


def test_endless_headers_and_a_wrong_token_are_refused(run: Path) -> None:
    token = "0123456789abcdef"
    with serving(run, "--without-model", SPIKE_DGL_TOKEN=token) as (address, process):
        assert ask(f"{address}/api/run")[0] == 401
        assert ask(f"{address}/api/run", Authorization=f"Bearer {token}")[0] == 200
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000)
            assert connection.recv(1000).startswith(b"HTTP/1.1 4")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_the_server_drains_before_it_stops(run: Path) -> None:
    options = "--without-model", "--access-log", "--drain-seconds", "2"
    with serving(run, *options) as (address, process), closing(connect(address)) as kept:
        assert ask(f"{address}/ready") == (200, {"status": "ready"})
        kept.request("GET", "/health")
        assert kept.getresponse().read()
        process.terminate()
        wait_until(lambda: ask(f"{address}/ready")[0] == 503)
        assert ask(f"{address}/ready") == (503, {"status": "draining"})
        assert ask(f"{address}/api/recommendations?user=0")[0] == 200
        kept.request("GET", "/health")
        answer = kept.getresponse()
        # Keep-alive connections are closed, so that clients connect to another server.
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert answer.read()
        assert process.wait(timeout=20) == 0
        requests = [json.loads(line) for line in process.stdout.read().splitlines()]
    assert {(line["path"], line["status"]) for line in requests} == {
        ("/health", 200),
        ("/ready", 200),
        ("/ready", 503),
        ("/api/recommendations", 200),
    }


def test_probes_are_answered_beside_idle_connections(run: Path) -> None:
    with serving(run, "--without-model") as (address, _), ExitStack() as idle:
        for _ in range(300):
            host, port = address.removeprefix("http://").split(":")
            idle.enter_context(socket.create_connection((host, int(port)), timeout=20))
        assert ask(f"{address}/health")[0] == 200


def test_the_server_stops_when_its_terminal_is_closed(run: Path) -> None:
    pty = pytest.importorskip("pty")
    terminal, inside = pty.openpty()
    start = (
        "import os, fcntl, runpy, signal, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL);"  # these tests may run under nohup
        f"sys.argv[0] = {str(MAIN)!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", start, "serve", str(run), "--port", "0", "--without-model"]
    pipes = {"stdin": inside, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        os.close(inside)
        try:
            assert "http://" in process.stdout.readline()
            process.send_signal(signal.SIGHUP)
            assert "now serving" in process.stderr.readline()
            os.close(terminal)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()


def test_a_sighup_while_the_run_is_opened_reloads_later() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with ReloadRequest() as reload:
        signal.raise_signal(signal.SIGHUP)
        assert reload.asked
    assert signal.getsignal(signal.SIGHUP) == before


def test_a_wrong_origin_is_refused_before_the_run_is_opened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, said = run_command(monkeypatch, capsys, "serve", "no-such-run", "--cors-origin", "shop.example")
    assert code == 2
    assert "--cors-origin https://shop.example" in said


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)],
)
def test_addresses_that_only_this_machine_can_reach(host: str, local: bool) -> None:
    assert security.is_local(host) is local


def test_the_largest_request_is_within_the_limits() -> None:
    ids = limits.CANDIDATES + limits.USERS
    assert ids * 200 < limits.BODY_BYTES
