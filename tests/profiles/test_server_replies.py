"""Replies of real servers, sent by a local server: stored answers, failures, and ends of the run."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from spike_dgl.errors import LanguageModelError
from spike_dgl.profiles.llm.batch import collect, submit
from spike_dgl.profiles.llm.completion import complete
from spike_dgl.profiles.llm.estimate import Budget
from spike_dgl.profiles.llm.outcome import NO_MONEY
from spike_dgl.profiles.llm.prices import Price, PriceTable
from spike_dgl.profiles.llm.store import Store
from tests.profiles.llm_requests import KEY, client_of, identity
from tests.profiles.openai_server import OpenAIServer
from tests.profiles.server_replies import (
    COMPLETIONS,
    ERRORS,
    REQUEST,
    ROWS,
    Failed,
    Kept,
    Row,
    SentAgain,
    Stops,
    says,
)

PRICES = PriceTable({"*": Price(input=1000.0, output=1000.0)}, {}, "", "")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


def rows(*kinds: type) -> pytest.MarkDecorator:
    chosen = [row for row in ROWS if isinstance(row.becomes, kinds)]
    assert len({row.name for row in ROWS}) == len(ROWS)
    return pytest.mark.parametrize("row", chosen, ids=lambda row: row.name)


def has_json(row: Row) -> bool:
    """Return whether a batch can contain a reply, which has no headers there."""
    try:
        is_json = not isinstance(row.reply.body, bytes) or bool(json.loads(row.reply.body))
    except ValueError:
        return False
    return is_json and not row.reply.headers


@rows(Kept, Failed)
def test_an_answer_is_stored_or_rejected_and_its_cost_is_recorded(
    shared_server: OpenAIServer, store: Store, row: Row
) -> None:
    shared_server.reply = lambda call: row.reply
    outcome = complete([REQUEST], store, client_of(shared_server, max_retries=0), Budget(prices=PRICES))
    if isinstance(row.becomes, Kept):
        assert store.failures() == ()
        assert store.texts("item")["42"].text == row.becomes.text
    else:
        assert isinstance(row.becomes, Failed)
        assert outcome.failed == 1
        (failure,) = store.failures()
        assert failure.reason == row.becomes.reason
        assert row.becomes.detail in failure.example
    usage, tokens = store.usage(), row.tokens if row not in ERRORS else (0, 0)
    assert (usage.prompt_tokens, usage.completion_tokens) == tokens
    assert store.spent() == outcome.cost == pytest.approx(sum(tokens) / 1000)


@rows(Stops)
def test_wrong_settings_end_the_run_and_no_node_counts_as_failed(
    shared_server: OpenAIServer, store: Store, row: Row
) -> None:
    assert isinstance(row.becomes, Stops)
    shared_server.reply = lambda call: row.reply
    shared_server.calls.clear()
    with pytest.raises(LanguageModelError) as caught:
        complete([REQUEST], store, client_of(shared_server))
    assert row.becomes.words in str(caught.value)
    assert row.becomes.more in str(caught.value)
    assert str(caught.value).count("\n") == 1, "one line of what is wrong, one of what to do"
    assert store.failures() == ()
    assert shared_server.calls["/chat/completions"] == 1


def test_failed_requests_are_retried(shared_server: OpenAIServer, store: Store) -> None:
    troubled = [row for row in ROWS if isinstance(row.becomes, SentAgain)]
    requests = [dataclasses.replace(REQUEST, node=row.name, prompt=row.name) for row in troubled]
    replies = dict(zip(map(identity, requests), (row.reply for row in troubled), strict=True))
    seen: list[str] = []

    def reply(call):  # type: ignore[no-untyped-def]
        seen.append(call.identity)
        return replies[call.identity] if seen.count(call.identity) == 1 else says("It is back.")

    shared_server.reply = reply
    outcome = complete(requests, store, client_of(shared_server))
    assert {request.node for request in requests} - store.texts("item").keys() == set()
    assert store.failures() == ()
    assert outcome.retries == len(troubled)
    assert outcome.trouble in ("rate limited", "server error")


@pytest.mark.parametrize("row", list(filter(has_json, [*COMPLETIONS, *ERRORS])), ids=lambda row: row.name)
def test_the_batch_api_has_the_same_rules(shared_server: OpenAIServer, store: Store, row: Row) -> None:
    client = client_of(shared_server)
    shared_server.reply = lambda call: row.reply
    submit([REQUEST], store, client)
    if isinstance(row.becomes, Stops):
        with pytest.raises(LanguageModelError, match=re.escape(row.becomes.words)):
            collect(store, client, requests=[REQUEST])
        assert store.failures() == ()
        return
    collect(store, client, requests=[REQUEST])
    if isinstance(row.becomes, Kept):
        assert store.texts("item")["42"].text == row.becomes.text
    else:
        allowed = (
            ("rate limited", "server error") if isinstance(row.becomes, SentAgain) else (row.becomes.reason,)
        )
        assert [failure.reason in allowed for failure in store.failures()] == [True]


def test_permanent_server_errors_are_shown_with_the_server_s_message(
    shared_server: OpenAIServer, store: Store
) -> None:
    for row in (row for row in ROWS if row.name.startswith("OpenRouter: 502")):
        shared_server.reply = lambda call, row=row: row.reply
        complete([REQUEST], store, client_of(shared_server, max_retries=0))
        (failure,) = store.failures()
        assert failure.reason == "server error"
        assert failure.example in ("502: Provider returned error", "502: overloaded")


def test_unreadable_answers_reach_the_cost_limit(
    shared_server: OpenAIServer, store: Store, tmp_path: Path
) -> None:
    """Check the cost limit with unreadable answers of 16 cents each."""
    shared_server.reply = lambda call: says([1, 2])
    requests = [
        dataclasses.replace(REQUEST, node=str(number), prompt=f"Film {number}") for number in range(99)
    ]
    outcome = complete(
        requests, store, client_of(shared_server, stop_after=99), Budget(max_cost=2.0, prices=PRICES)
    )
    assert outcome.stopped == NO_MONEY
    assert 1.3 < store.spent() <= 2.0


def test_a_server_that_rejects_everything_is_an_error_of_the_settings(
    shared_server: OpenAIServer, store: Store
) -> None:
    """Check rejections with an unknown message."""
    requests = [
        dataclasses.replace(REQUEST, node=str(number), prompt=f"Film {number}") for number in range(30)
    ]
    shared_server.reply = lambda call: next(row for row in ROWS if row.name.startswith("one 400")).reply
    with pytest.raises(LanguageModelError, match="rejects all requests: 400: Bad words"):
        complete(requests, store, client_of(shared_server, concurrency=2))
    assert store.failures() == ()
    shared_server.reply = lambda call: None
    assert complete(requests, store, client_of(shared_server)).is_complete


def test_a_batch_rejected_line_by_line_is_an_error_of_the_settings(
    shared_server: OpenAIServer, store: Store
) -> None:
    requests = [
        dataclasses.replace(REQUEST, node=str(number), prompt=f"Film {number}") for number in range(9)
    ]
    shared_server.reply = lambda call: next(row for row in ROWS if row.name.startswith("one 400")).reply
    submit(requests, store, client_of(shared_server))
    with pytest.raises(LanguageModelError, match="rejects all requests"):
        collect(store, client_of(shared_server))
    assert store.failures() == ()
    assert store.in_batch(request.key for request in requests) == set()


def test_a_batch_of_requests_rejected_before_is_not_an_error_of_the_settings(
    shared_server: OpenAIServer, store: Store
) -> None:
    requests = [
        dataclasses.replace(REQUEST, node=str(number), prompt=f"Film {number}") for number in range(9)
    ]
    good = identity(requests[0])
    bad = next(row for row in ROWS if row.name.startswith("one 400")).reply
    shared_server.reply = lambda call: None if call.identity == good else bad
    for _ in range(3):
        submit(requests, store, client_of(shared_server))
        collect(store, client_of(shared_server))
    (failure,) = store.failures()
    assert (failure.nodes, failure.attempts) == (8, 24)


def test_single_rejected_requests_count_as_failures_of_their_nodes(
    shared_server: OpenAIServer, store: Store
) -> None:
    requests = [
        dataclasses.replace(REQUEST, node=str(number), prompt=f"Film {number}") for number in range(8)
    ]
    unfit = {identity(request) for request in (requests[0], requests[1], *requests[4:])}
    bad = next(row for row in ROWS if row.name.startswith("one 400")).reply
    shared_server.reply = lambda call: bad if call.identity in unfit else None
    client = client_of(shared_server, concurrency=1)
    assert complete(requests, store, client).failed == 6
    assert complete(requests, store, client).failed == 6, "known by now: no mistake of the set-up"
    assert store.failures()[0].nodes == 6
