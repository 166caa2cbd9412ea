"""What requests will cost, before they are sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.prices import Price, PriceTable, read_prices
from spike_dgl.profiles.llm.requests import TOKENS_PER_BYTE, Request
from spike_dgl.profiles.llm.store import Store, Usage

TOKENS_PER_WORD = 1.4
"""Of answers, for each word that was asked for, until a server has counted some."""

ENOUGH_RESPONSES = 20
"""So many counted responses of a model replace the two ratios above by its own."""

FRAME_TOKENS = 12
"""Of a chat's roles and separators."""

CUT_SHARE = 0.75
"""Share of the tokens that a prompt should have: where a server counts fewer, it has cut the prompt."""

MARGIN = 1.2
"""By which a single prompt may have more tokens than estimated, where money is set aside for it."""


@dataclass(frozen=True)
class Budget:
    """What may be spent.

    Parameters
    ----------
    max_cost
        US dollars that the store's ledger may reach, earlier runs included; None for no limit. Before a request is
        sent, the most it can cost is set aside, so that those under way do not pass the limit either.
    prices
        What tokens cost.
    """

    max_cost: float | None = None
    prices: PriceTable = field(default_factory=read_prices)


@dataclass(frozen=True)
class TokenRatios:
    """Tokens per byte of a prompt, and tokens of an answer per word that was asked for; by a server's counts or not."""

    prompt: float = TOKENS_PER_BYTE
    completion: float = TOKENS_PER_WORD
    is_measured: bool = False

    @classmethod
    def measured(cls, usage: Usage) -> TokenRatios:
        """Ratios from past usage; defaults if there are too few responses."""
        if usage.responses < ENOUGH_RESPONSES or not usage.prompt_tokens or not usage.completion_tokens:
            return cls()
        return cls(usage.prompt_tokens / usage.prompt_bytes, usage.completion_tokens / usage.max_words, True)

    def prompt_tokens(self, request: Request) -> float:
        """Expected of a request's prompt."""
        return request.prompt_bytes * self.prompt + FRAME_TOKENS

    def least_prompt_tokens(self, request: Request) -> float:
        """Fewest tokens of a request's prompt, unless the server cuts it.

        Half of a quarter of the characters, since no script takes more of them a token; more by past usage.
        """
        by_usage = CUT_SHARE * request.prompt_bytes * self.prompt if self.is_measured else 0.0
        return max(by_usage, len(request.system + request.prompt) * TOKENS_PER_BYTE / 2)

    def completion_tokens(self, request: Request) -> float:
        """Expected of its answer."""
        return min(request.max_words * self.completion, request.options.max_tokens)

    def highest_cost(self, request: Request, price: Price, batch: bool = False) -> float:
        """US dollars if the answer is as long as it may be."""
        return price.cost(MARGIN * self.prompt_tokens(request), request.options.max_tokens, batch)


@dataclass(frozen=True)
class Estimate:
    """Expected of the requests about one node type.

    Parameters
    ----------
    node_type, model
        Which requests.
    requests
        How many different ones.
    prompt_tokens, completion_tokens
        Of all of them.
    cost
        US dollars; None where the price is unknown.
    highest_cost
        US dollars if every answer is as long as it may be.
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
    """Requests, tokens and cost by node type and model, in the order in which they come first.

    Tokens are estimated from bytes, without any model's vocabulary; once a store holds `ENOUGH_RESPONSES` counted
    ones of the model, from its own ratio.

    Parameters
    ----------
    requests
        What would be asked; equal ones count once, those that the store answers not at all.
    client
        Whose server is free where it is local.
    prices
        What tokens cost.
    store
        Earlier answers and the tokens they took.
    batch
        At the price of the Batch API.
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
