"""``main.py serve`` as a user mistypes it: one message that says what to do, and exit code 2."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

import spike_dgl.serve
from tests.command_line import run_command


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.delenv("SPIKE_DGL_TOKEN", raising=False)
    return lambda *arguments: run_command(monkeypatch, capsys, "serve", *arguments)


def test_a_port_in_use_is_named(serve, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, error = serve(tmp_path, "--port", port)
    assert code == 2
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in error
    assert "--port" in error


def test_a_host_that_is_not_there_is_named(serve, tmp_path: Path) -> None:
    code, _, error = serve(tmp_path, "--host", "192.0.2.1", "--without-token", "--port", "0")
    assert code == 2
    assert "cannot listen on 192.0.2.1" in error


def test_a_folder_that_is_no_run_is_named(serve, tmp_path: Path) -> None:
    code, _, error = serve(tmp_path, "--port", "0")
    assert code == 2
    assert str(tmp_path) in error
    assert "Traceback" not in error


def test_other_machines_are_let_in_on_purpose_alone(serve, tmp_path: Path) -> None:
    code, _, error = serve(tmp_path, "--host", "0.0.0.0")
    assert code == 2
    assert "can be reached from other machines" in error
    assert "SPIKE_DGL_TOKEN" in error


@pytest.mark.parametrize("token", ["short", "with spaces in it, though long", "naïve-but-long-enough"])
def test_a_token_that_is_easily_guessed_or_cannot_be_sent_is_refused(
    serve, tmp_path: Path, token: str
) -> None:
    file = tmp_path / "token"
    file.write_text(token, encoding="utf-8")
    code, _, error = serve(tmp_path, "--token-file", file)
    assert code == 2
    assert "a token has at least 16 printable ASCII characters" in error
    assert token not in error


def test_a_token_file_that_is_missing_is_named(serve, tmp_path: Path) -> None:
    code, _, error = serve(tmp_path, "--token-file", tmp_path / "nowhere")
    assert code == 2
    assert "cannot be read" in error


def test_without_the_extra_it_says_what_to_install(
    serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in ("security", "server"):
        monkeypatch.delitem(sys.modules, f"spike_dgl.serve.{module}", raising=False)
        monkeypatch.delattr(spike_dgl.serve, module, raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, error = serve(tmp_path)
    assert code == 2
    assert 'pip install -e ".[serve]"' in error
