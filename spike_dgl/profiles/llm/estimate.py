"""Estimates of the tokens and cost of requests before they are sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.prices import Price, PriceTable, read_prices
from spike_dgl.profiles.llm.requests import TOKENS_PER_BYTE, Request
from spike_dgl.profiles.llm.store import Store, Usage

TOKENS_PER_WORD = 1.4
"""Estimated answer tokens per requested word, used until a server has reported counts."""

ENOUGH_RESPONSES = 20
"""Number of a model's responses from which measured ratios replace `TOKENS_PER_BYTE` and `TOKENS_PER_WORD`."""

FRAME_TOKENS = 12
"""Tokens of a chat's roles and separators."""

CUT_SHARE = 0.75
"""Fraction of the expected prompt tokens; if a server reports fewer, it has truncated the prompt."""

MARGIN = 1.2
"""Factor on the estimated tokens of a single prompt when its maximum cost is reserved."""


@dataclass(frozen=True)
class Budget:
    """Cost limit and prices.

    Parameters
    ----------
    max_cost
        Maximum total cost in the store's ledger in US dollars, including earlier runs; None for no limit. The maximum
        cost of a request is reserved before it is sent, so that requests in progress cannot exceed the limit.
    prices
        Prices of tokens.
    """

    max_cost: float | None = None
    prices: PriceTable = field(default_factory=read_prices)


@dataclass(frozen=True)
class TokenRatios:
    """Prompt tokens per byte, and answer tokens per requested word: defaults, or measured from past usage."""

    prompt: float = TOKENS_PER_BYTE
    completion: float = TOKENS_PER_WORD
    is_measured: bool = False

    @classmethod
    def measured(cls, usage: Usage) -> TokenRatios:
        """Return ratios from past usage; defaults if there are too few responses."""
        if usage.responses < ENOUGH_RESPONSES or not usage.prompt_tokens or not usage.completion_tokens:
            return cls()
        return cls(usage.prompt_tokens / usage.prompt_bytes, usage.completion_tokens / usage.max_words, True)

    def prompt_tokens(self, request: Request) -> float:
        """Return the expected number of a request's prompt tokens."""
        return request.prompt_bytes * self.prompt + FRAME_TOKENS

    def least_prompt_tokens(self, request: Request) -> float:
        """Return the minimum number of a request's prompt tokens if the server does not truncate it.

        One eighth of the characters, since no script has more characters per token, or more by past usage.
        """
        by_usage = CUT_SHARE * request.prompt_bytes * self.prompt if self.is_measured else 0.0
        return max(by_usage, len(request.system + request.prompt) * TOKENS_PER_BYTE / 2)

    def completion_tokens(self, request: Request) -> float:
        """Return the expected number of tokens of the answer."""
        return min(request.max_words * self.completion, request.options.max_tokens)

    def highest_cost(self, request: Request, price: Price, batch: bool = False) -> float:
        """Return the cost in US dollars if the answer has `max_tokens` tokens."""
        return price.cost(MARGIN * self.prompt_tokens(request), request.options.max_tokens, batch)


@dataclass(frozen=True)
class Estimate:
    """Estimate for the requests of one node type and model.

    Parameters
    ----------
    node_type, model
        Node type and model of the requests.
    requests
        Number of distinct requests.
    prompt_tokens, completion_tokens
        Expected total tokens.
    cost
        Expected cost in US dollars; None if the price is unknown.
    highest_cost
        Cost in US dollars if every answer has `max_tokens` tokens.
    """

    node_type: str
    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    highest_cost: float | None


def estimate(
    requests: Iterable[Request],
    client: ClientOptions,
    prices: PriceTable,
    store: Store | None = None,
    batch: bool = False,
) -> tuple[Estimate, ...]:
    """Estimate requests, tokens and cost by node type and model, in the order of first occurrence.

    Tokens are estimated from bytes, with no tokenizer. From `ENOUGH_RESPONSES` stored responses of a model on, its
    measured ratio is used.

    Parameters
    ----------
    requests
        Requests. Equal requests count once, requests with a stored answer do not count.
    client
        Connection; a local server is free.
    prices
        Prices of tokens.
    store
        Store of earlier answers and usage.
    batch
        Use the prices of the Batch API.
    """
    distinct = {request.key: request for request in requests}
    answered = store.answered(distinct) if store is not None else set()
    groups: dict[tuple[str, str], list[Request]] = {}
    for key, request in distinct.items():
        if key not in answered:
            groups.setdefault((request.node_type, request.options.model), []).append(request)
    result = []
    for (node_type, model), group in groups.items():
        usage = store.usage(model, node_type) if store is not None else Usage()
        price = prices.price(model, client.is_local)
        result.append(_estimate(node_type, model, group, TokenRatios.measured(usage), price, batch))
    return tuple(result)


def _estimate(
    node_type: str, model: str, group: list[Request], ratios: TokenRatios, price: Price | None, batch: bool
) -> Estimate:
    sent = sum(map(ratios.prompt_tokens, group))
    written = sum(map(ratios.completion_tokens, group))
    cost = price.cost(sent, written, batch) if price else None
    highest = sum(ratios.highest_cost(request, price, batch) for request in group) if price else None
    return Estimate(node_type, model, len(group), round(sent), round(written), cost, highest)
