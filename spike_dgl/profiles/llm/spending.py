"""Spending of a run: prices of its models, and cost reserved for requests in progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from spike_dgl.errors import ConfigError
from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.estimate import Budget
from spike_dgl.profiles.llm.prices import Price
from spike_dgl.profiles.llm.requests import Request


def known_prices(
    requests: Iterable[Request], client: ClientOptions, budget: Budget
) -> dict[str, Price | None]:
    """Look up the price of every requested model.

    Raises
    ------
    ConfigError
        If there is a cost limit and a price is unknown.
    """
    models = {request.options.model for request in requests}
    prices = {model: budget.prices.price(model, client.is_local) for model in sorted(models)}
    unknown = [model for model, price in prices.items() if price is None]
    if unknown and budget.max_cost is not None:
        raise ConfigError(
            f"price of '{unknown[0]}' unknown, but a cost limit needs it\n  Add a file of prices: --prices FILE"
        )
    return prices


class Allowance:
    """Cost reserved for requests in progress, so that they cannot exceed a limit together with the cost `spent`."""

    def __init__(self, limit: float | None, spent: Callable[[], float]) -> None:
        self.limit, self.spent = limit, spent
        self._reserved: list[float] = []
        self._changed = asyncio.Condition()

    async def reserve(self, amount: float) -> bool:
        """Reserve an amount; return False if the limit is reached.

        Wait as long as requests in progress may turn out cheaper than reserved.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._fits(amount) or not self._reserved)
            if not self._fits(amount):
                return False
            self._reserved.append(amount)
            return True

    async def settle(self, amount: float) -> None:
        """Release a reserved amount, after the actual cost was added to the ledger."""
        async with self._changed:
            self._reserved.remove(amount)
            self._changed.notify_all()

    def _fits(self, amount: float) -> bool:
        return self.limit is None or self.spent() + sum(self._reserved) + amount <= self.limit
