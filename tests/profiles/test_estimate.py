"""Requests and their keys, prices, and estimates of cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from spike_dgl.errors import ConfigError
from spike_dgl.profiles.llm.answers import Completion
from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.estimate import ENOUGH_RESPONSES, estimate
from spike_dgl.profiles.llm.prices import Price, PriceTable, read_prices
from spike_dgl.profiles.llm.requests import CompletionOptions, Request
from spike_dgl.profiles.llm.store import Store
from tests.profiles.llm_requests import some_requests

REMOTE = ClientOptions(base_url="https://models.example/v1")
LOCAL = ClientOptions(base_url="http://localhost:8000/v1")


def test_the_key_is_what_decides_an_answer() -> None:
    request = Request("item", "1", "system", "prompt", 150, CompletionOptions())
    same = Request("user", "2", "system", "prompt", 100, CompletionOptions())
    others = [
        Request("item", "1", "systemp", "rompt", 150, CompletionOptions()),
        Request("item", "1", "system", "prompt", 150, CompletionOptions(model="gpt-4o")),
        Request("item", "1", "system", "prompt", 150, CompletionOptions(seed=None)),
        Request("item", "1", "system", "prompt", 150, CompletionOptions(max_tokens=401)),
    ]
    assert request.key == same.key
    assert len({request.key, *(other.key for other in others)}) == 5


def test_keys_stay_the_same_from_version_to_version() -> None:
    # If the key changed, all users would have to pay for their answers again.
    request = Request("item", "1", "system", "prompt", 150, CompletionOptions())
    assert request.key == "343a317c5d4191de2eae5da97a1e470d8295128f506f5ffec2468097b0e88e89"


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("gpt-4o-mini", 0.15),
        ("gpt-4o-mini-2024-07-18", 0.15),
        ("gpt-4o-2024-08-06", 2.5),
        ("gpt-4o-mini-audio-preview", None),
        ("llama3", None),
    ],
)
def test_bundled_prices(model: str, found: float | None) -> None:
    price = read_prices().price(model)
    assert (price.input if price else None) == found
    assert read_prices().price(model, local=True) == Price(0.0)


def test_a_user_s_prices_come_first_and_hold_for_local_servers_too(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("models: {gpt-4o: {input: 1, output: 2}, 'llama*': {input: 0.5}}")
    table = read_prices(file)
    assert table.price("gpt-4o", local=True) == Price(1.0, 2.0)
    assert table.price("llama3.1:8b") == Price(0.5)
    assert table.price("gpt-4o-mini") == Price(0.15, 0.6, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: {m: {inputs: 1}}", r"models\.m\.inputs"),
        ("models: {m: {input: -1}}", r"models\.m\.input"),
        ("models: []", "expected 'models"),
        ("a: b: c", "not valid YAML"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "prices.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_prices(tmp_path / "prices.yaml")


def test_cost_is_per_million_tokens() -> None:
    price = Price(input=2.0, output=8.0, batch_discount=0.5)
    assert price.cost(1_000_000, 500_000) == 6.0
    assert price.cost(1_000_000, 500_000, batch=True) == 3.0


def test_an_estimate_by_node_type() -> None:
    items, users = (
        some_requests(100),
        [Request("user", "1", "s" * 2000, "p" * 2000, 100, CompletionOptions())],
    )
    table = PriceTable({}, {"gpt-4o-mini": Price(1.0, 2.0, 0.5)}, "", "")
    first, second = estimate([*items, *items, *users], REMOTE, table)
    assert (first.node_type, first.requests, second.node_type, second.requests) == ("item", 100, "user", 1)
    assert (second.prompt_tokens, second.completion_tokens) == (1012, 140)
    assert second.cost == pytest.approx((1012 + 2 * 140) / 1e6)
    assert second.highest_cost == pytest.approx((1.2 * 1012 + 2 * 400) / 1e6)
    assert estimate(users, REMOTE, table, batch=True)[0].cost == pytest.approx((1012 + 2 * 140) / 2e6)
    assert estimate(users, LOCAL, table)[0].cost == 0.0
    assert estimate(users, REMOTE, PriceTable({}, {}, "", ""))[0].cost is None


def test_an_estimate_leaves_out_what_is_answered_and_learns_from_it(tmp_path: Path) -> None:
    requests = some_requests(ENOUGH_RESPONSES + 10)
    table = PriceTable({}, {"gpt-4o-mini": Price(1.0, 2.0)}, "", "")
    with Store.open(tmp_path / "profiles.sqlite") as store:
        for request in requests[:ENOUGH_RESPONSES]:
            store.record(request, Completion("Text.", "m", 1000 * request.prompt_bytes, 300), 0.1)
        (left,) = estimate(requests, REMOTE, table, store)
    assert left.requests == 10
    assert left.prompt_tokens == pytest.approx(10 * 1000 * requests[-1].prompt_bytes, rel=0.01)
    assert left.completion_tokens == 3000
