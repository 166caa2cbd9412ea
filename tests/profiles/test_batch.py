"""Batch API: the same store and checks, half the price, and nothing paid twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spike_dgl.errors import LanguageModelError
from spike_dgl.profiles.llm import batch
from spike_dgl.profiles.llm.batch import collect, submit
from spike_dgl.profiles.llm.completion import complete
from spike_dgl.profiles.llm.estimate import Budget
from spike_dgl.profiles.llm.outcome import NO_MONEY
from spike_dgl.profiles.llm.prices import Price, PriceTable
from spike_dgl.profiles.llm.store import Store
from tests.profiles.llm_requests import KEY, client_of, identity, some_requests
from tests.profiles.openai_server import OpenAIServer, error, junk, says

ROOT = Path(__file__).parents[2]
PRICES = PriceTable({"*": Price(input=1000.0, output=1000.0, batch_discount=0.5)}, {}, "", "")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def test_submit_then_collect(server: OpenAIServer, store: Store) -> None:
    server.batch_polls = 3
    requests, client = some_requests(10), client_of(server)
    assert submit(requests, store, client).in_batch == 10
    (status,) = store.status()
    assert (status.in_batch, status.left) == (10, 0)
    assert submit(requests, store, client).in_batch == 10, "not submitted again"
    assert complete(requests, store, client).in_batch == 10, "and not sent beside the batch"
    assert [collect(store, client)[0].has_ended for _ in range(3)] == [False, False, True]
    assert collect(store, client) == ()
    assert len(store.texts("item")) == 10
    assert set(server.answered.values()) == {1}
    assert submit(requests, store, client).is_complete
    assert len(server.batches) == 1
    assert server.calls["/chat/completions"] == 0


def test_answers_equal_those_of_complete(server: OpenAIServer, store: Store, tmp_path: Path) -> None:
    requests, client = some_requests(3), client_of(server)
    submit(requests, store, client)
    collect(store, client)
    with Store.open(tmp_path / "other.sqlite") as other:
        complete(requests, other, client)
        assert other.texts("item") == store.texts("item")


def test_batches_cost_half_the_price(server: OpenAIServer, store: Store) -> None:
    client, budget = client_of(server), Budget(prices=PRICES)
    submit(some_requests(4), store, client, budget)
    assert store.reserved() > 0
    collect(store, client, budget)
    usage = store.usage()
    assert store.spent() == pytest.approx((usage.prompt_tokens + usage.completion_tokens) / 1000 / 2)
    assert store.reserved() == 0


def test_answers_are_checked_and_errors_are_failures(server: OpenAIServer, store: Store) -> None:
    requests, client = some_requests(6), client_of(server)
    replies = dict(
        zip(
            map(identity, requests),
            [says(""), error(400, "too long"), error(429, "slow"), error(500, "oops"), junk()],
            strict=False,
        )
    )
    replies[identity(requests[4])] = says("A film", "length")
    server.reply = lambda call: replies.get(call.identity)
    submit(requests, store, client)
    (status,) = collect(store, client)
    assert (status.total, status.completed, status.failed) == (6, 3, 3)
    reasons = {failure.reason for failure in store.failures()}
    assert reasons == {"empty", "invalid", "rate limited", "server error", "cut off"}
    assert store.texts("item").keys() == {"5"}
    assert store.usage().responses == 3
    server.reply = lambda call: None
    submit(requests, store, client)
    collect(store, client)
    assert len(store.texts("item")) == 6


def test_an_expired_batch_keeps_its_answers_and_frees_the_rest(server: OpenAIServer, store: Store) -> None:
    requests, client = some_requests(10), client_of(server)
    server.batch_end = "expired"
    submit(requests, store, client)
    collect(store, client)
    assert len(store.texts("item")) == 5
    (failure,) = store.failures()
    assert (failure.reason, failure.nodes) == ("expired", 5)
    server.batch_end = "completed"
    assert submit(requests, store, client).in_batch == 5
    collect(store, client)
    assert len(store.texts("item")) == 10
    assert set(server.answered.values()) == {1}


def test_a_failed_batch_has_a_reason_and_frees_its_requests(server: OpenAIServer, store: Store) -> None:
    client = client_of(server)
    server.batch_end = "failed"
    submit(some_requests(3), store, client)
    (status,) = collect(store, client)
    assert (status.status, status.problem) == ("failed", "Enqueued token limit reached")
    assert store.in_batch(request.key for request in some_requests(3)) == set()
    assert not server.answered


def test_large_jobs_become_several_batches(
    server: OpenAIServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(server)
    submit(some_requests(10), store, client_of(server, batch_requests=4))
    assert [len(server.contents[name].splitlines()) for name in server.files] == [4, 4, 2]
    monkeypatch.setattr(batch, "MAX_BYTES", 1000)
    submit(some_requests(30)[10:], store, client)
    sizes = [len(content) for content in server.contents.values()][3:]
    assert len(sizes) > 3
    assert max(sizes) <= 1000
    collect(store, client)
    assert len(store.texts("item")) == 30


def test_a_batch_has_one_model(server: OpenAIServer, store: Store) -> None:
    submit([*some_requests(3), *some_requests(3, model="gpt-4o")], store, client_of(server))
    for content in server.contents.values():
        assert len({json.loads(line)["body"]["model"] for line in content.splitlines()}) == 1


def test_a_cost_limit_counts_open_batches(server: OpenAIServer, store: Store) -> None:
    client, budget = client_of(server), Budget(max_cost=2.2, prices=PRICES)
    first = submit(some_requests(50), store, client, budget)
    assert 0 < first.in_batch < 50
    assert first.stopped == NO_MONEY
    assert store.reserved() <= 2.2
    assert submit(some_requests(50), store, client, budget).in_batch == first.in_batch
    assert complete(some_requests(50), store, client, budget).stopped == NO_MONEY
    assert not server.answered
    collect(store, client, budget)
    assert store.spent() <= 2.2


SCRIPT = """
import os, signal, sys
from openai.resources.batches import AsyncBatches
from spike_dgl.profiles.llm.batch import submit
from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.store import Store
from tests.profiles.llm_requests import some_requests

create = AsyncBatches.create

async def deadly(self, **arguments):
    if sys.argv[3] == "after":
        await create(self, **arguments)
    os.kill(os.getpid(), signal.SIGKILL)

AsyncBatches.create = deadly
with Store.open(sys.argv[1]) as store:
    submit(some_requests(6), store, ClientOptions(base_url=sys.argv[2]))
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_around_the_creation_of_a_batch(server: OpenAIServer, tmp_path: Path, moment: str) -> None:
    path = tmp_path / "profiles.sqlite"
    command = [sys.executable, "-c", SCRIPT, str(path), server.base_url, moment]
    assert subprocess.run(command, cwd=ROOT, env=os.environ).returncode == -signal.SIGKILL
    assert len(server.batches) == (moment == "after")
    with Store.open(path) as store:
        client = client_of(server)
        assert submit(some_requests(6), store, client).in_batch == 6, "it may still be alive"
        assert collect(store, client) == ()
        store.database.execute("UPDATE owners SET until = 0")  # as if its lease had expired
        assert submit(some_requests(6), store, client).in_batch == 6
        collect(store, client)
        assert len(store.texts("item")) == 6
    assert len(server.batches) == 1
    assert set(server.answered.values()) == {1}


def test_a_batch_whose_creation_response_was_lost_is_not_created_twice(
    server: OpenAIServer, store: Store
) -> None:
    server.lose_next = {"/batches"}
    with pytest.raises(LanguageModelError, match="no connection"):
        submit(some_requests(6), store, client_of(server))
    assert submit(some_requests(6), store, client_of(server)).in_batch == 6
    assert len(server.batches) == 1


def test_two_processes_collect_once(server: OpenAIServer, store: Store, tmp_path: Path) -> None:
    client = client_of(server)
    submit(some_requests(3), store, client)
    with Store.open(tmp_path / "profiles.sqlite") as other:
        (record,) = other.batches(client.address)
        asked = other.asked(record.label)
        collect(store, client)
        other.close_batch(record.label, [(each, None, None) for each in asked])  # type: ignore[misc]
    assert store.usage().responses == 3


def test_a_server_that_refuses(store: Store) -> None:
    refused = pytest.raises(LanguageModelError, match="key is wrong")
    with OpenAIServer(api_key="another") as server, refused as caught:
        submit(some_requests(3), store, client_of(server))
    assert KEY not in str(caught.value)
    with pytest.raises(LanguageModelError, match="no connection"):
        submit(some_requests(3), store, client_of(server, max_retries=0))
