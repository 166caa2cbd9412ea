"""Requests to a local server with all kinds of failures."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from spike_dgl.errors import ConfigError, LanguageModelError
from spike_dgl.profiles.llm import completion
from spike_dgl.profiles.llm.answers import Completion
from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.completion import complete
from spike_dgl.profiles.llm.estimate import Budget
from spike_dgl.profiles.llm.outcome import NO_MONEY, Outcome
from spike_dgl.profiles.llm.prices import Price, PriceTable
from spike_dgl.profiles.llm.store import Store
from tests.profiles.llm_requests import KEY, client_of, identity, some_requests
from tests.profiles.openai_server import (
    Call,
    OpenAIServer,
    Reply,
    dropped,
    error,
    junk,
    quota_exhausted,
    rate_limited,
    says,
    server_error,
    slow,
)

ROOT = Path(__file__).parents[2]
PRICES = PriceTable({"gpt-4o-mini": Price(input=1000.0, output=1000.0)}, {}, "", "")
"""0.1 cents per token, on any server."""


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def first_time(reply: Reply) -> Callable[[Call], Reply | None]:
    """Return a reply to the first attempt of every request."""
    return lambda call: reply if call.attempt == 1 else None


def always(reply: Reply) -> Callable[[Call], Reply | None]:
    return lambda call: reply


def test_answers_are_stored_and_not_asked_for_again(server: OpenAIServer, store: Store) -> None:
    requests = some_requests(5)
    outcome = complete(requests, store, client_of(server))
    assert (outcome.total, outcome.answered, outcome.unsent) == (5, 5, 0)
    assert outcome.is_complete
    answers = store.answers(request.key for request in requests)
    assert len({answer.text for answer in answers.values()}) == 5
    assert all(answer.prompt_tokens and answer.model == "gpt-4o-mini" for answer in answers.values())
    again = complete(requests, store, client_of(server))
    assert (again.stored, again.answered) == (5, 0)
    assert server.calls["/chat/completions"] == 5


def test_request_bodies(server: OpenAIServer, store: Store) -> None:
    sent: list[Call] = []
    server.reply = lambda call: sent.append(call)
    complete(some_requests(1), store, client_of(server))
    assert sent[0].body == {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "You write profiles."},
            {"role": "user", "content": "Write about film 0."},
        ],
        "temperature": 0.0,
        "seed": 2020,
        "max_tokens": 400,
    }
    complete(
        some_requests(1, seed=None, temperature=None, top_p=0.5),
        store,
        client_of(server, token_limit="max_completion_tokens"),
    )
    assert sent[1].body.keys() == {"model", "messages", "top_p", "max_completion_tokens"}


def test_requests_with_one_prompt_are_paid_once(server: OpenAIServer, store: Store) -> None:
    request = some_requests(1)[0]
    twins = [request, type(request)(**{**vars(request), "node": "twin"})]
    assert complete(twins, store, client_of(server)).total == 1
    assert store.texts("item").keys() == {"0", "twin"}
    assert server.calls["/chat/completions"] == 1


@pytest.mark.parametrize("fault", [server_error(), rate_limited(0.05), dropped(), error(409, "locked")])
def test_the_client_retries(server: OpenAIServer, store: Store, fault: Reply) -> None:
    server.reply = first_time(fault)
    outcome = complete(some_requests(3), store, client_of(server))
    assert outcome.is_complete
    assert set(server.answered.values()) == {1}
    assert store.failures() == ()


def test_retry_after_holds_up_all_requests(server: OpenAIServer, store: Store) -> None:
    server.reply = lambda call: rate_limited(1) if len(server.arrivals) == 1 else None
    complete(some_requests(4), store, client_of(server, concurrency=1, max_retries=1))
    assert server.arrivals[1] - server.arrivals[0] > 0.95
    server.reply = lambda call: rate_limited(1) if len(server.arrivals) == 6 else slow(0.1)
    complete(some_requests(30)[10:], store, client_of(server, concurrency=2))
    limited = server.arrivals[5]
    assert sum(limited + 0.3 < arrival < limited + 0.95 for arrival in server.arrivals) == 0


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (says(""), "empty"),
        (says(None), "empty"),
        (says("I'm sorry, but I can't help with that."), "refused"),
        (says("Half of", "content_filter"), "refused"),
        (says(None, refusal="No."), "refused"),
        (says("A film that", "length"), "cut off"),
        (says("word " * 200), "too long"),
        (junk(), "unreadable"),
        (error(400, "maximum context length", "context_length_exceeded"), "prompt too long"),
        (error(400, "filtered", "content_filter"), "refused"),
    ],
)
def test_a_bad_answer_is_a_failure_of_that_request_alone(
    server: OpenAIServer, store: Store, reply: Reply, reason: str
) -> None:
    requests = some_requests(4)
    server.reply = lambda call: reply if call.identity == identity(requests[1]) else None
    for run in (1, 2, 3, 4):
        outcome = complete(requests, store, client_of(server))
        assert (outcome.failed, outcome.given_up) == ((1, 0) if run < 4 else (0, 1))
    (failure,) = store.failures()
    assert (failure.reason, failure.nodes, failure.attempts) == (reason, 1, 3)
    assert store.texts("item").keys() == {"0", "2", "3"}


def test_rejected_answers_are_paid_for(server: OpenAIServer, store: Store) -> None:
    server.reply = always(says("word " * 200))
    outcome = complete(some_requests(1), store, client_of(server), Budget(prices=PRICES))
    assert outcome.completion_tokens == store.usage().completion_tokens > 200
    assert outcome.cost == pytest.approx(store.spent())
    assert store.spent() == pytest.approx((outcome.prompt_tokens + outcome.completion_tokens) / 1000)


def test_server_errors_do_not_count_as_rejected_attempts(server: OpenAIServer, store: Store) -> None:
    server.reply = always(server_error())
    client = client_of(server, max_retries=0, attempts=1)
    assert [complete(some_requests(1), store, client).failed for _ in range(3)] == [1, 1, 1]
    server.reply = lambda call: None
    assert complete(some_requests(1), store, client).is_complete


def test_a_time_out_is_a_failure(server: OpenAIServer, store: Store) -> None:
    server.reply = always(slow(5))
    started = time.monotonic()
    assert complete(some_requests(1), store, client_of(server, timeout=0.2, max_retries=1)).failed == 1
    assert time.monotonic() - started < 4
    assert store.failures()[0].reason == "timed out"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (quota_exhausted(), "add credit"),
        (error(402, "Insufficient Balance"), "add credit"),
        (error(404, "no such model", "model_not_found"), "gpt-4o-mini"),
        (error(400, "Unsupported parameter: 'max_tokens'", "unsupported_parameter"), "max_completion_tokens"),
        (rate_limited(3600), "3600 s"),
    ],
)
def test_errors_of_the_settings_stop_the_run_at_once(
    server: OpenAIServer, store: Store, reply: Reply, words: str
) -> None:
    server.reply = lambda call: reply if len(server.arrivals) > 10 else None
    client = client_of(server, concurrency=4, max_retries=0 if words.endswith(" s") else 6)
    started = time.monotonic()
    with pytest.raises(LanguageModelError, match=words):
        complete(some_requests(60), store, client)
    assert time.monotonic() - started < 5
    assert len(server.arrivals) <= 10 + 2 * 4
    assert len(store.texts("item")) == 10
    assert store.failures() == ()


def test_a_wrong_key_stops_the_run_and_is_not_shown(store: Store) -> None:
    with OpenAIServer(api_key="another") as server, pytest.raises(LanguageModelError) as caught:
        complete(some_requests(60), store, client_of(server))
    assert "OPENAI_API_KEY" in str(caught.value)
    assert KEY not in str(caught.value)
    assert "[key]" in str(caught.value)


def test_limits_do_not_delay_the_end(store: Store) -> None:
    started = time.monotonic()
    with OpenAIServer(api_key="another") as server, pytest.raises(LanguageModelError):
        complete(some_requests(60), store, client_of(server, requests_per_minute=6))
    assert time.monotonic() - started < 5


def test_the_key_reaches_no_file(
    tmp_path: Path, store: Store, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with OpenAIServer(api_key=KEY) as server:
        server.reply = lambda call: error(400, f"header was {call.headers['authorization']}, {call.attempt}")
        outcome = complete(some_requests(2), store, client_of(server))
        assert outcome.failed == 2
        assert "[key]" in store.failures()[0].example
        with pytest.raises(LanguageModelError) as caught:
            complete(some_requests(9), store, client_of(server))
        assert KEY not in str(caught.value)
    for file in tmp_path.rglob("*"):
        assert KEY.encode() not in file.read_bytes()
    assert KEY not in "".join(capfd.readouterr()) + caplog.text


def test_without_a_key_local_servers_work_and_others_say_what_to_do(
    server: OpenAIServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert complete(some_requests(1), store, client_of(server)).is_complete
    with pytest.raises(ConfigError, match="OTHER_KEY"):
        complete(some_requests(2), store, ClientOptions(base_url=None, api_key_variable="OTHER_KEY"))
    monkeypatch.setenv("OPENAI_API_KEY", f"two\n{KEY}")
    with pytest.raises(ConfigError, match="characters") as caught:
        complete(some_requests(2), store, client_of(server))
    assert KEY not in str(caught.value)


def test_an_unreachable_server_stops_the_run_after_one_request(store: Store) -> None:
    with OpenAIServer() as gone:
        client = client_of(gone, max_retries=0, concurrency=2)
    with pytest.raises(LanguageModelError, match=r"no connection.*127\.0\.0\.1"):
        complete(some_requests(50), store, client)
    assert store.failures()[0].nodes <= 2


def test_many_consecutive_failures_stop_the_run(server: OpenAIServer, store: Store) -> None:
    server.reply = lambda call: says("") if len(server.arrivals) > 10 else None
    with pytest.raises(LanguageModelError, match="5 consecutive failures"):
        complete(some_requests(100), store, client_of(server, stop_after=5, concurrency=2))
    assert len(store.texts("item")) == 10
    assert store.failures()[0].nodes <= 5 + 2


def test_concurrency_and_requests_per_minute(server: OpenAIServer, store: Store) -> None:
    server.reply = always(slow(0.05))
    complete(some_requests(40), store, client_of(server, concurrency=7))
    assert 2 <= server.most_at_once <= 7
    server.reply = lambda call: None
    server.arrivals.clear()
    complete(some_requests(60)[40:], store, client_of(server, requests_per_minute=1200))
    assert 19 * 0.05 - 0.1 < server.arrivals[-1] - server.arrivals[0] < 3


def test_tokens_per_minute(server: OpenAIServer, store: Store) -> None:
    # Each request may take 400 tokens and a few for its prompt: 240,000 a minute are less than 10 requests a second.
    complete(some_requests(11), store, client_of(server, tokens_per_minute=240_000))
    assert 1.0 < server.arrivals[-1] - server.arrivals[0] < 3


def test_a_cost_limit_is_not_exceeded(server: OpenAIServer, store: Store) -> None:
    server.reply = always(slow(0.01))
    server.answer = lambda body: " ".join(f"word{number}" for number in range(180))
    budget = Budget(max_cost=2.0, prices=PRICES)
    outcome = complete(some_requests(200), store, client_of(server, concurrency=10), budget)
    assert outcome.stopped == NO_MONEY
    assert outcome.unsent == 200 - outcome.answered > 0
    assert 1.3 < store.spent() <= 2.0
    paid = store.spent()
    assert complete(some_requests(200), store, client_of(server), budget).answered == 0
    assert store.spent() == paid


def test_a_cost_limit_needs_prices(server: OpenAIServer, store: Store) -> None:
    unknown = Budget(max_cost=1.0, prices=PriceTable({}, {}, "", ""))
    remote = ClientOptions(base_url="https://models.example/v1")
    with pytest.raises(ConfigError, match="price of 'gpt-4o-mini' unknown"):
        complete(some_requests(1), store, remote, unknown)
    assert complete(some_requests(1), store, client_of(server), unknown).cost == 0.0


def test_progress_is_reported_from_the_start(server: OpenAIServer, store: Store) -> None:
    told: list[Outcome] = []
    final = complete(some_requests(9), store, client_of(server), progress=told.append)
    assert [outcome.answered for outcome in told] == list(range(10)), "at once, and after every response"
    assert told[-1] == final


def test_progress_is_reported_before_a_slow_server_answers(
    server: OpenAIServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "HEARTBEAT_SECONDS", 0.05)
    told: list[Outcome] = []
    server.reply = lambda call: slow(5) if call.attempt < 3 else None
    complete(some_requests(1), store, client_of(server, timeout=0.3, max_retries=2), progress=told.append)
    before = [outcome for outcome in told if not outcome.answered]
    assert (before[0].total, before[0].retries) == (1, 0)
    assert len([outcome for outcome in before if outcome.retries == 0]) > 3
    assert {outcome.under_way for outcome in before} == {0, 1}
    assert [(outcome.retries, outcome.trouble) for outcome in told[-1:]] == [(2, "timed out")]


@pytest.mark.parametrize(
    ("word", "reported", "cut"),
    [
        ("film", 0.9, False),
        ("film", 0.45, True),
        ("film", None, False),
        ("फ़िल्म", 0.9, False),
        ("映画", 2.0, False),
    ],
)
def test_truncated_prompts_are_counted(
    server: OpenAIServer, store: Store, word: str, reported: float | None, cut: bool
) -> None:
    """Token counts are fractions of characters / 4. Ollama silently drops all but the last 4,096 tokens."""
    request = dataclasses.replace(some_requests(1)[0], prompt=f"{word} " * 1000)
    usage = (
        {"prompt_tokens": reported * len(request.prompt) / 4, "completion_tokens": 5} if reported else None
    )
    choices = [{"message": {"content": "A film."}, "finish_reason": "stop"}]
    server.reply = always(Reply(body={"choices": choices, "usage": usage}))
    assert complete([request], store, client_of(server)).cut_prompts == cut
    server.reply = always(server_error())
    unanswered = dataclasses.replace(request, prompt=f"{word} {reported} " * 1000)
    assert complete([unanswered], store, client_of(server, max_retries=0)).cut_prompts == 0
    server.reply = always(Reply(body={"choices": choices, "usage": usage}))
    short = dataclasses.replace(request, prompt="A short prompt.")
    assert complete([short], store, client_of(server)).cut_prompts == 0


def test_slightly_truncated_prompts_are_detected_by_measured_ratios(
    server: OpenAIServer, store: Store
) -> None:
    """Check Ollama with a context of 4,096, which reads 2,050 of 3,000 tokens."""
    client = client_of(server)
    complete(some_requests(30), store, client)
    assert store.usage().prompt_tokens > 0
    request = dataclasses.replace(some_requests(1)[0], prompt="film " * 2400)
    for share, cut in ((0.9, 0), (0.68, 1)):
        usage = {"prompt_tokens": share * store.usage().prompt_tokens / store.usage().prompt_bytes * 12_020}
        choices = [{"message": {"content": "A film."}, "finish_reason": "stop"}]
        server.reply = always(Reply(body={"choices": choices, "usage": usage}))
        asked = dataclasses.replace(request, prompt=f"{request.prompt} {share}")
        assert complete([asked], store, client).cut_prompts == cut


def test_works_inside_a_running_event_loop(server: OpenAIServer, store: Store) -> None:
    async def notebook() -> Outcome:
        return complete(some_requests(3), store, client_of(server))

    assert asyncio.run(notebook()).is_complete


def test_only_the_prompt_with_invalid_unicode_fails(server: OpenAIServer, store: Store) -> None:
    requests = some_requests(3)
    broken = type(requests[0])(**{**vars(requests[0]), "node": "9", "prompt": "half a pair: \ud800"})
    outcome = complete([*requests, broken], store, client_of(server))
    assert (outcome.answered, outcome.failed) == (3, 1)
    assert store.failures()[0].reason == "invalid"


SCRIPT = """
import sys
from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.completion import complete
from spike_dgl.profiles.llm.store import Store
from tests.profiles.llm_requests import some_requests

with Store.open(sys.argv[1]) as store:
    print("open", flush=True)
    client = ClientOptions(base_url=sys.argv[2], concurrency=int(sys.argv[4]))
    print(complete(some_requests(int(sys.argv[3])), store, client).is_complete)
"""


def start(path: Path, server: OpenAIServer, number: int, concurrency: int = 8) -> subprocess.Popen[str]:
    """Another process that completes requests."""
    command = [sys.executable, "-c", SCRIPT, str(path), server.base_url, str(number), str(concurrency)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ,
        # If the tests run as a shell's background job, child processes inherit that Ctrl-C is ignored.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def test_after_a_kill_only_requests_in_progress_are_paid_twice(server: OpenAIServer, tmp_path: Path) -> None:
    server.reply = always(slow(0.02))
    path = tmp_path / "profiles.sqlite"
    for enough in (60, 150):
        process = start(path, server, 300)
        while len(server.answered) < enough and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert len(server.answered) < 300
    with Store.open(path) as store:
        before = len(store.texts("item"))
        assert before >= 150 - 2 * 8
        store.database.execute("UPDATE owners SET until = 0")  # as if the lease of 30 s had expired
        assert complete(some_requests(300), store, client_of(server)).is_complete
    assert len(server.answered) == 300
    assert sum(server.answered.values()) <= 300 + 2 * 8


def test_claims_of_a_killed_process_expire(server: OpenAIServer, tmp_path: Path) -> None:
    path = tmp_path / "profiles.sqlite"
    with Store.open(path) as dead, Store.open(path) as store:
        requests = some_requests(4)
        assert dead.claim([requests[0].key, requests[1].key]) == {requests[0].key, requests[1].key}

        def last_words() -> None:
            dead.record(requests[1], Completion("A text.", "m", 1, 1), 0.0)
            dead.database.execute("UPDATE owners SET until = 0 WHERE owner = ?", [dead.owner])

        threading.Timer(0.5, last_words).start()
        outcome = complete(requests, store, client_of(server))
    assert (outcome.answered, outcome.stored) == (3, 1)


def test_two_processes_share_one_store(server: OpenAIServer, tmp_path: Path) -> None:
    server.reply = always(slow(0.02))
    processes = [start(tmp_path / "profiles.sqlite", server, 200) for _ in range(2)]
    for process in processes:
        said, _ = process.communicate(timeout=60)
        assert said.endswith("True\n"), said
    assert len(server.answered) == 200
    assert set(server.answered.values()) == {1}


def test_ctrl_c_waits_for_requests_in_progress(server: OpenAIServer, tmp_path: Path) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("before Python 3.11, asyncio cannot take Ctrl-C as a wish")
    server.reply = always(slow(0.3))
    process = start(tmp_path / "profiles.sqlite", server, 300)
    while len(server.answered) < 20 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in said
    with Store.open(tmp_path / "profiles.sqlite") as store:
        assert len(store.texts("item")) == len(server.answered) < 300
        assert store.claim([request.key for request in some_requests(300)])


def test_ctrl_c_ends_retries(server: OpenAIServer, tmp_path: Path) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("before Python 3.11, asyncio cannot take Ctrl-C as a wish")
    server.reply = always(server_error())
    process = start(tmp_path / "profiles.sqlite", server, 20)
    while len(server.arrivals) < 16 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    arrived = len(server.arrivals)
    assert "KeyboardInterrupt" in process.communicate(timeout=20)[0]
    assert len(server.arrivals) <= arrived + 8, "those that were about to leave"
    with Store.open(tmp_path / "profiles.sqlite") as store:
        assert store.failures() == (), "a mishap after Ctrl-C says nothing"


def faulty(seed: int) -> Callable[[Call], Reply | None]:
    """Return a reply function with one or two faults for every third request, determined by the request."""
    faults = [
        rate_limited(0.02), server_error(), dropped(), slow(0.2), junk(), says(""), says("I cannot assist with that."),
        says("A film", "length"),
    ]  # fmt: skip

    def reply(call: Call) -> Reply | None:
        chance = random.Random(f"{seed} {call.identity}")
        number = chance.choice([0, 0, 0, 0, 1, 2])
        return chance.choice(faults) if call.attempt <= number else None

    return reply


@pytest.mark.parametrize("number", [500, pytest.param(5000, marks=pytest.mark.slow)])
def test_despite_all_faults_every_request_is_answered_and_paid_once(
    server: OpenAIServer, store: Store, number: int
) -> None:
    """Dropped connections are not charged here: the server drops them before it answers."""
    server.reply = faulty(number)
    requests = some_requests(number)
    runs = 0
    while not complete(requests, store, client_of(server, concurrency=32)).is_complete:
        runs += 1
        assert runs < 4
    assert server.answered == {identity(request): 1 for request in requests}
    assert len(store.answers(request.key for request in requests)) == number
    assert 0 < store.usage().responses - number < number
