"""Sending requests: what the store does not hold is asked, and each answer is committed as it arrives."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from spike_dgl.errors import ConfigError, LanguageModelError
from spike_dgl.profiles.llm.answers import Completion, Failure, read_completion
from spike_dgl.profiles.llm.client import ClientOptions, body, connect, understand
from spike_dgl.profiles.llm.estimate import Budget, TokenRatios
from spike_dgl.profiles.llm.pace import Pace
from spike_dgl.profiles.llm.prices import Price
from spike_dgl.profiles.llm.requests import Request
from spike_dgl.profiles.llm.store import LEASE_SECONDS, Store

if TYPE_CHECKING:
    from openai import AsyncOpenAI

Result = TypeVar("Result")

NO_MONEY = "the cost limit is reached"
SECONDS_BETWEEN_LOOKS = 1.0

_REMEDIES: Mapping[str, str] = {
    "no connection": "Is the server running, and client.base_url right?",
    "timed out": "Raise client.timeout, or lower client.concurrency.",
    "rate limited": "Set client.requests_per_minute and client.tokens_per_minute to the limits of your account.",
    "server error": "Run the same command again when the server is well.",
    "cut off": "Raise completion.max_tokens, or switch off the model's thinking.",
}


@dataclass(frozen=True)
class Outcome:
    """What became of some requests, each different one counted once.

    Parameters
    ----------
    total
        Different requests that were given.
    stored
        Answered before, or meanwhile by another process.
    answered
        Answered now, and stored.
    failed
        Failed now; the store says why.
    given_up
        Left alone, since they were rejected `ClientOptions.attempts` times before.
    in_batch
        Left alone, since they are with the Batch API.
    prompt_tokens, completion_tokens, cost
        Paid now, rejected answers included; US dollars as far as prices are known.
    stopped
        Why the run stopped before its end; empty where it did not.
    """

    total: int = 0
    stored: int = 0
    answered: int = 0
    failed: int = 0
    given_up: int = 0
    in_batch: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    stopped: str = ""

    @property
    def unsent(self) -> int:
        """Requests that were never sent, because the run stopped."""
        return self.total - self.stored - self.answered - self.failed - self.given_up - self.in_batch

    @property
    def is_complete(self) -> bool:
        """True where every request has an answer."""
        return self.stored + self.answered == self.total


def complete(
    requests: Iterable[Request],
    store: Store,
    client: ClientOptions,
    budget: Budget | None = None,
    progress: Callable[[Outcome], None] | None = None,
) -> Outcome:
    """Ask what the store does not hold yet, in the given order, and store each answer as it arrives.

    A run that is killed at any moment is continued by calling this again: only requests that were under way, at most
    `ClientOptions.concurrency`, may be paid twice. Ctrl-C waits for those.

    Parameters
    ----------
    requests
        What to ask; the most important first, in case the budget ends early.
    store
        Where answers are looked up and kept. Several processes may work on one.
    client
        Server and limits.
    budget
        Prices and the limit of cost; without one, the bundled prices and no limit.
    progress
        Called after every response with the outcome so far.

    Raises
    ------
    LanguageModelError
        For a wrong key, an unknown model, an exhausted account, a server that is not there, or many failures in a
        row. What was answered before is stored.
    ConfigError
        If there is no key, or a limit of cost cannot be kept because a price is unknown.
    """
    requests = list(requests)
    store.plan(requests)
    run = _Run(
        {request.key: request for request in requests}, store, client, budget or Budget(), progress or _ignore
    )
    if run.waiting:
        run_to_end(run.work_through())
    return run.outcome


def _ignore(_: Outcome) -> None:
    pass


def run_to_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine and return its result, also where an event loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@asynccontextmanager
async def keeping_claims(store: Store) -> AsyncIterator[None]:
    """Renew the store's claims while entered, and let go of them afterwards."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            store.renew_claims()

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await renewing
        store.release_claims()


def known_prices(
    requests: Iterable[Request], client: ClientOptions, budget: Budget
) -> dict[str, Price | None]:
    """The price of every model that is asked.

    Raises
    ------
    ConfigError
        If one is unknown, and there is a limit of cost to be kept.
    """
    models = {request.options.model for request in requests}
    prices = {model: budget.prices.price(model, client.is_local) for model in sorted(models)}
    unknown = [model for model, price in prices.items() if price is None]
    if unknown and budget.max_cost is not None:
        raise ConfigError(
            f"price of '{unknown[0]}' unknown: a cost limit needs it; give a table with --prices"
        )
    return prices


class _Allowance:
    """Money set aside for requests under way, so that together with what is `spent` they stay below a limit."""

    def __init__(self, limit: float | None, spent: Callable[[], float]) -> None:
        self.limit, self.spent = limit, spent
        self._reserved: list[float] = []
        self._changed = asyncio.Condition()

    async def reserve(self, amount: float) -> bool:
        """Set an amount aside; waits for those under way to turn out cheaper, and gives False if that is no help."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._fits(amount) or not self._reserved)
            if not self._fits(amount):
                return False
            self._reserved.append(amount)
            return True

    async def settle(self, amount: float) -> None:
        """Give an amount back: what was paid is in the ledger now."""
        async with self._changed:
            self._reserved.remove(amount)
            self._changed.notify_all()

    def _fits(self, amount: float) -> bool:
        return self.limit is None or self.spent() + sum(self._reserved) + amount <= self.limit


class _Run:
    """The requests of one call of `complete`, and the workers that share them."""

    def __init__(
        self,
        requests: dict[str, Request],
        store: Store,
        client: ClientOptions,
        budget: Budget,
        progress: Callable[[Outcome], None],
    ) -> None:
        self.store, self.client, self.budget, self.progress = store, client, budget, progress
        self.waiting, self.outcome = sort_out(requests, store, client)
        self.prices = known_prices(self.waiting, client, budget)
        self.ratios = {model: TokenRatios.measured(store.usage(model)) for model in self.prices}
        self.elsewhere: list[Request] = []
        self.failures_in_row = 0
        self.error: Exception | None = None

    async def work_through(self) -> None:
        """Send all requests; those that another process has claimed come last, if it leaves them."""
        self.allowance = _Allowance(self.budget.max_cost, self._committed)
        self.requests_pace = Pace(self.client.requests_per_minute)
        self.tokens_pace = Pace(self.client.tokens_per_minute)
        async with connect(self.client, self.requests_pace) as server, keeping_claims(self.store):
            await self._send_all(server)
            while self.elsewhere and not self.is_stopped:
                await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
                self._look_elsewhere()
                await self._send_all(server)
        if self.error is not None:
            raise self.error

    def _committed(self) -> float:
        return self.store.spent() + self.store.reserved()

    @property
    def is_stopped(self) -> bool:
        """True where nothing more is to be sent."""
        return bool(self.outcome.stopped)

    def _look_elsewhere(self) -> None:
        """Count what another process has answered; the rest is tried again."""
        done = self.store.answered(request.key for request in self.elsewhere)
        self._count(stored=len(done))
        self.waiting.extend(request for request in self.elsewhere if request.key not in done)
        self.elsewhere.clear()

    async def _send_all(self, server: AsyncOpenAI) -> None:
        workers = [
            asyncio.create_task(self._work(server))
            for _ in range(min(self.client.concurrency, len(self.waiting)))
        ]
        if not workers:
            return
        try:
            await asyncio.wait(workers)
        except asyncio.CancelledError:  # Ctrl-C: what is under way is paid, and worth waiting for
            self._stop("interrupted")
            await asyncio.wait(workers)
            raise
        for worker in workers:
            worker.result()

    async def _work(self, server: AsyncOpenAI) -> None:
        while self.waiting and not self.is_stopped:
            request = self.waiting.popleft()
            if not self.store.claim([request.key]):
                self.elsewhere.append(request)
                continue
            try:
                await self._pay_for(request, server)
            except Exception as error:
                self._fail(error)
                return

    async def _pay_for(self, request: Request, server: AsyncOpenAI) -> None:
        """Send a request if the budget allows it."""
        price, ratios = self.prices[request.options.model], self.ratios[request.options.model]
        most = ratios.highest_cost(request, price) if price else 0.0
        if not await self.allowance.reserve(most):
            self._stop(NO_MONEY)
            return
        try:
            await self.tokens_pace.wait(ratios.prompt_tokens(request) + request.options.max_tokens)
            await self.requests_pace.wait()
            if not self.is_stopped:
                completion = await self._ask(request, server)
                cost = price.cost(completion.prompt_tokens, completion.completion_tokens) if price else None
                self.store.record(request, completion, cost)
                self._note(completion, cost or 0.0)
        finally:
            await self.allowance.settle(most)

    async def _ask(self, request: Request, server: AsyncOpenAI) -> Completion:
        """Send one request, with the client's own retries, and check the answer."""
        sent = body(request, self.client)
        try:
            # As text: chat.completions.create would spend as long on its types as on sending.
            response = await server.post("/chat/completions", body=sent, cast_to=str)
            return read_completion(response, request.max_words)
        except Exception as error:
            problem = understand(error, self.client, request.options.model)
        if isinstance(problem, LanguageModelError):
            raise problem
        return Completion(problem)

    def _note(self, completion: Completion, paid: float) -> None:
        """Count a response, and stop after too many failures in a row."""
        failed = isinstance(completion.result, Failure)
        self.outcome = dataclasses.replace(
            self.outcome,
            prompt_tokens=self.outcome.prompt_tokens + completion.prompt_tokens,
            completion_tokens=self.outcome.completion_tokens + completion.completion_tokens,
            cost=self.outcome.cost + paid,
        )
        self._count(failed=failed, answered=not failed)
        self.progress(self.outcome)
        self.failures_in_row = self.failures_in_row + 1 if failed else 0
        if isinstance(completion.result, Failure):
            self._judge(completion.result)

    def _judge(self, failure: Failure) -> None:
        # Where no server is, none of the requests before has arrived, and nobody wants to wait for twenty.
        nobody_there = failure.reason == "no connection" and not self.outcome.answered
        if nobody_there or self.failures_in_row >= self.client.stop_after:
            many = "" if nobody_there else f"{self.failures_in_row} failures in a row, the last one "
            remedy = _REMEDIES.get(failure.reason, "`main.py profile status` counts the reasons.")
            self._fail(LanguageModelError(f"{many}{failure.reason}: {failure.detail}\n  {remedy}"))

    def _fail(self, error: Exception) -> None:
        """Let no more requests leave, and raise the first such error once those under way are done."""
        self.error = self.error or error
        self._stop("an error")

    def _stop(self, why: str) -> None:
        self.outcome = dataclasses.replace(self.outcome, stopped=self.outcome.stopped or why)
        self.requests_pace.close()
        self.tokens_pace.close()

    def _count(self, **more: int) -> None:
        counts = {name: getattr(self.outcome, name) + number for name, number in more.items()}
        self.outcome = dataclasses.replace(self.outcome, **counts)


def sort_out(
    requests: dict[str, Request], store: Store, client: ClientOptions
) -> tuple[deque[Request], Outcome]:
    """Those of some requests that are to be sent, and what is to be said of the others."""
    answered, batched = store.answered(requests), store.in_batch(requests)
    rejections = store.rejections(requests)
    given_up = {
        key for key, count in rejections.items() if count >= client.attempts and key not in answered | batched
    }
    settled = answered | batched | given_up
    waiting = deque(request for key, request in requests.items() if key not in settled)
    outcome = Outcome(
        total=len(requests), stored=len(answered), given_up=len(given_up), in_batch=len(batched - answered)
    )
    return waiting, outcome
