"""``main.py profile`` as a user meets it: the price first, a run, a kill, what is there, and training on it."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.command_line import run_command
from tests.profiles.openai_server import Call, OpenAIServer, Reply, default_answer, error, rate_limited, slow

ROOT = Path(__file__).parents[2]
KEY = "sk-test-5d1e8a3c77"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(api_key=KEY, models={"gpt-4o-mini"}) as running:
        yield running


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code, output and errors of a command."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return lambda *arguments: run_command(monkeypatch, capsys, *arguments)


@pytest.fixture
def config(tmp_path: Path, server: OpenAIServer) -> Path:
    """Settings of a small data set: 20 users, 24 items of two genres."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.txt").write_text(
        "".join(
            f"{user} {' '.join(str((user + 2 * step) % 24) for step in range(8))}\n" for user in range(20)
        )
    )
    (folder / "test.txt").write_text("".join(f"{user} {(user + 17) % 24}\n" for user in range(20)))
    (folder / "kg_final.txt").write_text("".join(f"{item} 0 {24 + item % 2}\n" for item in range(24)))
    file = tmp_path / "run.yaml"
    file.write_text(
        f"""
data: {{path: "{folder}", valid_fraction: 0.0}}
profiles:
  vector_dim: 16
  store: "{tmp_path / "profiles.sqlite"}"
  llm: {{poll_seconds: 0.0, client: {{base_url: "{server.base_url}", max_retries: 0}}}}
model: {{embedding_dim: 8}}
training: {{epochs: 2, threads: 1}}
"""
    )
    return file


def test_a_dry_run_shows_the_price_and_sends_nothing(
    run: Run, server: OpenAIServer, tmp_path: Path, config: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("models: {gpt-4o-mini: {input: 10.0, output: 40.0}}\n")
    code, out, _ = run("profile", "--config", config, "--dry-run", "--prices", prices)
    assert code == 0
    rows = {
        row[0]: row for line in out.splitlines() if (row := [cell.strip() for cell in line.split("|")[1:-1]])
    }
    assert (rows["item"][2], rows["entity"][2], rows["user"][2], rows["all"][2]) == ("24", "2", "20", "46")
    assert float(rows["all"][5]) == pytest.approx(
        sum(float(rows[kind][5]) for kind in ("item", "entity", "user")), abs=2e-4
    )
    assert float(rows["all"][5]) > 0
    assert "Nothing was sent." in out
    assert not server.calls
    assert not (tmp_path / "profiles.sqlite").exists()


def test_a_dry_run_needs_no_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    code, out, _ = run(
        "profile",
        "--dry-run",
        "profiles.source=llm",
        "profiles.llm.item.coverage=0.01",
        "profiles.llm.user.coverage=0",
    )
    assert code == 0
    assert re.search(r"item +\| gpt-4o-mini \| +20 ", out)


def test_run_status_export_import_and_train(
    run: Run, server: OpenAIServer, config: Path, tmp_path: Path
) -> None:
    code, out, message = run("profile", "--config", config, "--quiet")
    assert code == 0, message
    assert "item: 24 answered" in out
    assert "entity: 2 answered" in out
    assert "user: 20 answered" in out
    calls = server.calls["/chat/completions"]
    assert calls == 46

    code, out, _ = run("profile", "--config", config, "--quiet")
    assert "item: 24 already stored" in out
    assert server.calls["/chat/completions"] == calls

    code, out, _ = run("profile", "status", "--config", config)
    assert re.search(r"\| item +\| +24 \| +0 \| +24 \| +0 \| +0 \| +0 \|", out)

    code, out, _ = run("profile", "export", tmp_path / "out", "--config", config)
    assert len(json.loads((tmp_path / "out/user_profiles.json").read_text())) == 20
    other = f"profiles.store={tmp_path / 'other.sqlite'}"
    code, out, message = run("profile", "import", tmp_path / "out/profiles.json", other, "--config", config)
    assert code == 0, message
    code, out, _ = run("profile", other, "--config", config, "--quiet")
    assert "no requests needed" in out
    assert server.calls["/chat/completions"] == calls

    code, out, message = run("train", "--config", config, "--out", tmp_path / "run", "--quiet")
    assert code == 0, message
    assert "profiles of users: 20 llm:gpt-4o-mini; entities: 26 llm:gpt-4o-mini" in out
    with gzip.open(tmp_path / "run/profiles.jsonl.gz", "rt") as lines:
        records = [json.loads(line) for line in lines]
    assert len(records) == 46
    assert records[0]["text"] == json.loads((tmp_path / "out/user_profiles.json").read_text())["0"]


def test_training_reports_recall_by_profile_source(run: Run, config: Path, tmp_path: Path) -> None:
    half = ["profiles.llm.item.coverage=0.5", "profiles.llm.user.coverage=0.4"]
    assert run("profile", "--config", config, "--quiet", *half)[0] == 0
    code, out, message = run("train", "--config", config, "--out", tmp_path / "run", "--quiet")
    assert code == 0, message
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["profiles"]["users"] == {"llm:gpt-4o-mini": 8, "template": 12}
    assert {(row["by"], row["profile"]) for row in result["test_by_profile"]} == {
        (f"By profile of the {side}", source)
        for side in ("user", "item")
        for source in ("llm:gpt-4o-mini", "template")
    }
    for table in (out, run("evaluate", tmp_path / "run")[1]):
        assert re.search(r"\| By profile of the user +\|", table)
        assert re.search(r"\| llm:gpt-4o-mini +\| +12 \|", table)


def test_a_killed_run_goes_on_and_pays_nothing_twice(run: Run, server: OpenAIServer, config: Path) -> None:
    server.reply = lambda call: slow(0.02)
    process = subprocess.Popen(
        [
            sys.executable,
            "main.py",
            "profile",
            "--config",
            str(config),
            "--quiet",
            "profiles.llm.client.concurrency=1",
        ],
        cwd=ROOT,
        env={**os.environ, "OPENAI_API_KEY": KEY},
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while sum(server.answered.values()) < 27 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert 27 <= sum(server.answered.values()) < 46
    server.reply = lambda call: None
    with sqlite3.connect(config.parent / "profiles.sqlite") as store:
        store.execute("UPDATE owners SET until = 0")  # the half minute until a dead process's claims are free
    store.close()
    code, out, message = run("profile", "--config", config, "--quiet")
    assert code == 0, message
    assert "item: 24 already stored" in out
    assert len(server.answered) == 46
    # The one that was under way when it was killed may have been answered to nobody.
    assert sum(server.answered.values()) <= 47


def test_batches(run: Run, server: OpenAIServer, config: Path) -> None:
    code, out, message = run("profile", "--config", config, "--batch", "--quiet")
    assert code == 0, message
    assert "user: 20 answered" in out
    assert server.calls["/chat/completions"] == 0


def test_much_money_wants_a_yes_and_a_limit_stops(
    run: Run, server: OpenAIServer, config: Path, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("models: {gpt-4o-mini: {input: 1000.0, output: 1000.0}}\n")
    code, _, message = run("profile", "--config", config, "--prices", prices)
    assert code == 2
    assert "more than profiles.llm.confirm_above (1)" in message
    assert not server.calls
    limit = ["--max-cost", "5"]
    code, out, message = run("profile", "--config", config, "--prices", prices, *limit, "--yes", "--quiet")
    assert code == 0, message
    assert "Stopped: the cost limit is reached" in out
    spent = float(re.search(r"Paid in this run: \$(\d+\.\d+)\.", out).group(1))  # type: ignore[union-attr]
    assert 0 < spent <= 5
    code, out, _ = run("profile", "status", "--config", config)
    assert f"Paid in total: ${spent:.4f}" in out


def test_a_wrong_key_is_one_message_without_the_key(
    run: Run, server: OpenAIServer, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-123456789")
    code, out, message = run("profile", "--config", config, "--quiet")
    assert code == 2
    assert "key is wrong" in message
    assert "sk-wrong" not in out + message
    assert "Traceback" not in message


def test_a_mistake_of_the_set_up_is_one_message_and_no_failure(
    run: Run, server: OpenAIServer, config: Path
) -> None:
    server.reply = lambda call: error(422, "Extra inputs are not permitted: seed")
    code, _, message = run("profile", "--config", config, "--quiet")
    assert code == 2
    assert "profiles.llm.seed=null" in message
    assert "Traceback" not in message
    assert "failed" not in run("profile", "status", "--config", config)[1].splitlines()[-1]
    server.reply = lambda call: None
    assert run("profile", "--config", config, "--quiet", "profiles.llm.seed=null")[0] == 0


def test_a_run_without_any_usable_answer_fails(run: Run, server: OpenAIServer, config: Path) -> None:
    server.answer = lambda body: "Hello! How can I assist you today?"
    limits = [
        "profiles.llm.item.coverage=0.5",
        "profiles.llm.user.coverage=0.1",
        "profiles.llm.client.attempts=1",
    ]
    code, out, message = run("profile", "--config", config, "--quiet", *limits)
    assert code == 2
    assert "12 failed" in out
    assert "no answer was usable" in message


def test_cut_prompts_and_trouble_are_told_once(run: Run, server: OpenAIServer, config: Path) -> None:
    counts, more = {"prompt_tokens": 9, "completion_tokens": 9}, " ".join(f"word{n}" for n in range(80))

    def reply(call: Call) -> Reply:
        message = {"content": f"{default_answer(call.body)} {more}"}
        answer = Reply(body={"choices": [{"message": message, "finish_reason": "stop"}], "usage": counts})
        return rate_limited(0.01) if call.attempt == 1 else answer

    server.reply = reply
    code, out, message = run("profile", "--config", config, "--quiet", "profiles.llm.client.max_retries=1")
    assert code == 0, message
    assert message.count("requests are retried") == 1
    assert "the last attempt failed: rate limited. Set profiles.llm.client.requests_per_minute" in message
    assert message.count("the server truncates prompts") == 1
    assert "answers are based on a truncated prompt" in out


def test_ctrl_c_says_what_it_waits_for_and_a_second_one_leaves_it(server: OpenAIServer, config: Path) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("before Python 3.11, asyncio cannot take Ctrl-C as a wish")
    server.reply = lambda call: slow(60)
    process = subprocess.Popen(
        [sys.executable, "main.py", "profile", "--config", str(config), "--quiet"],
        cwd=ROOT,
        env={**os.environ, "OPENAI_API_KEY": KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    while len(server.arrivals) < 16:
        assert process.poll() is None
        time.sleep(0.01)
    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    assert "stopping: waiting for 16 requests that were sent" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert "the same command continues the run" in process.communicate(timeout=20)[1]
    assert process.returncode == 130


def test_failures_are_told(run: Run, server: OpenAIServer, config: Path) -> None:
    unfit = "<name>\n24\n</name>"
    server.reply = lambda call: (
        error(400, "bad words") if unfit in call.body["messages"][1]["content"] else None
    )
    code, out, _ = run("profile", "--config", config, "--quiet")
    assert code == 0
    assert "1 nodes have no answer and keep their template profile" in out
    code, out, _ = run("profile", "status", "--config", config)
    assert "entity: 1 invalid, such as: 400: bad words" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["profile"], "profiles.store is not set"),
        (["profile", "--dry-run", "profiles.llm.prompts=film"], "no domain 'film'"),
        (
            ["profile", "--dry-run", "profiles.llm.modle=x"],
            "unknown setting 'profiles.llm.modle'; did you mean 'model'",
        ),
        (
            ["profile", "--dry-run", "training.epochs=1"],
            "this command has only settings of data and profiles",
        ),
        (["profile", "--dry-run", "profiles.source=none"], "profiles.source is 'none'"),
        (["profile", "--dry-run", "profiles.llm=gpt"], "'profiles.llm' must be a mapping"),
        (["profile", "status", "profiles.store=absent.sqlite"], "no such store of profiles"),
        (["train", "profiles.store=absent.sqlite"], "no such store of profiles"),
    ],
)
def test_mistakes_are_one_message(
    run: Run, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, shown = run(*arguments)
    assert code == 2
    assert message in shown
    assert "Traceback" not in shown
