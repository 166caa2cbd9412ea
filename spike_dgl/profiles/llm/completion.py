"""Sending of requests without a stored answer; each answer is stored as it arrives."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from spike_dgl.errors import LanguageModelError
from spike_dgl.profiles.llm.answers import Completion, read_completion
from spike_dgl.profiles.llm.client import ClientOptions, body
from spike_dgl.profiles.llm.connection import connect, understand
from spike_dgl.profiles.llm.estimate import Budget, TokenRatios
from spike_dgl.profiles.llm.failures import MISHAPS, Failure
from spike_dgl.profiles.llm.outcome import INTERRUPTED, NO_MONEY, Outcome, sort_out
from spike_dgl.profiles.llm.pace import Pace
from spike_dgl.profiles.llm.remedies import refuses_all, remedy_of
from spike_dgl.profiles.llm.requests import Asked, Request
from spike_dgl.profiles.llm.spending import Allowance, known_prices
from spike_dgl.profiles.llm.store import LEASE_SECONDS, Store

if TYPE_CHECKING:
    from openai import AsyncOpenAI

Result = TypeVar("Result")

SECONDS_BETWEEN_LOOKS = 1.0
HEARTBEAT_SECONDS = 10.0
LEAST_PROMPT_TOKENS = 200
"""Prompts with fewer tokens are too short to be truncated."""


def complete(
    requests: Iterable[Request],
    store: Store,
    client: ClientOptions,
    budget: Budget | None = None,
    progress: Callable[[Outcome], None] | None = None,
) -> Outcome:
    """Send requests without a stored answer, in the given order, and store each answer as it arrives.

    To continue a killed run, call this again. Only requests in progress at that moment, at most
    `ClientOptions.concurrency`, may be paid twice. Ctrl-C waits for them.

    Parameters
    ----------
    requests
        Requests, the most important first, in case the budget is used up.
    store
        Store of the answers. Several processes may use one.
    client
        Server and limits.
    budget
        Prices and cost limit; None for the built-in prices and no limit.
    progress
        Called after every response with the outcome so far.

    Raises
    ------
    LanguageModelError
        For a wrong key, an unknown model, an account without credit, a server that cannot be reached, or many
        consecutive failures. Answers received before are stored.
    ConfigError
        If there is no key, or there is a cost limit and a price is unknown.
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
    """Run a coroutine and return its result, also if an event loop is already running, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@asynccontextmanager
async def keeping_claims(store: Store) -> AsyncIterator[None]:
    """Renew the store's claims inside the context, and release them at its end."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            store.renew_claims()

    try:
        async with _in_background(renew()):
            yield
    finally:
        store.release_claims()


@asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


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
        self.failed_before = store.rejections(requests)
        self.doubtful: list[tuple[Request, Completion]] = []
        self.elsewhere: list[Request] = []
        self.failures_in_row = 0
        self.error: Exception | None = None

    async def work_through(self) -> None:
        """Send all requests. Those that another process has claimed come last, unless it answers them."""
        self.allowance = Allowance(self.budget.max_cost, self._committed)
        self.requests_pace = Pace(self.client.requests_per_minute)
        self.tokens_pace = Pace(self.client.tokens_per_minute)
        server = connect(self.client, self.requests_pace, self._retried)
        async with server, keeping_claims(self.store), self._heartbeat():
            await self._send_all(server)
            while self.elsewhere and not self.is_stopped:
                await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
                self._check_elsewhere()
                await self._send_all(server)
        if self.error is not None:
            raise self.error
        self._keep_doubtful()

    @asynccontextmanager
    async def _heartbeat(self) -> AsyncIterator[None]:
        """Report progress at once and every `HEARTBEAT_SECONDS`, also if no response arrives."""

        async def report() -> None:
            while True:
                self.progress(self.outcome)
                await asyncio.sleep(HEARTBEAT_SECONDS)

        async with _in_background(report()):
            yield

    def _committed(self) -> float:
        return self.store.spent() + self.store.reserved()

    @property
    def is_stopped(self) -> bool:
        """True if no more requests are to be sent."""
        return bool(self.outcome.stopped)

    def _check_elsewhere(self) -> None:
        """Count requests that another process has answered, and queue the others again."""
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
        except asyncio.CancelledError:  # Ctrl-C: requests in progress are charged, so wait for their answers
            self._stop(INTERRUPTED)
            self.progress(self.outcome)
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
                await self._send_within_budget(request, server)
            except Exception as error:
                self._fail(error)
                return

    async def _send_within_budget(self, request: Request, server: AsyncOpenAI) -> None:
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
                await self._send(request, server)
        finally:
            await self.allowance.settle(most)

    async def _send(self, request: Request, server: AsyncOpenAI) -> None:
        """Send a request and store the response, except for mishaps after the run has stopped and doubtful failures."""
        self._count(under_way=1)
        try:
            completion = await self._ask(request, server)
        finally:
            self._count(under_way=-1)
        result = completion.result
        if isinstance(result, Failure) and result.reason in MISHAPS and self.is_stopped:
            return
        if not isinstance(result, Failure):
            self._keep_doubtful()
        elif self._is_doubtful(request, result):
            self._doubt(request, completion)
            return
        self._keep(request, completion)

    async def _ask(self, request: Request, server: AsyncOpenAI) -> Completion:
        """Send one request, with the client's own retries, and check the answer."""
        sent = body(request, self.client)
        try:
            # As text, since chat.completions.create takes as long to build its types as to send the request.
            response = await server.post("/chat/completions", body=sent, cast_to=str)
            return read_completion(
                response, Asked.from_request(request), request.prompt, self.client.api_key_variable
            )
        except Exception as error:
            problem = understand(error, self.client, sent)
        if isinstance(problem, LanguageModelError):
            raise problem
        return Completion(problem)

    def _is_doubtful(self, request: Request, failure: Failure) -> bool:
        """Return whether a failure may be due to the settings: an unknown reason, and no answer from the server yet."""
        is_new = request.key not in self.failed_before
        return failure.reason == "invalid" and not self.outcome.answered and is_new

    def _doubt(self, request: Request, completion: Completion) -> None:
        self.doubtful.append((request, completion))
        mistake = refuses_all([each.result for _, each in self.doubtful], self.client)
        if mistake is not None:
            self._fail(mistake)

    def _keep_doubtful(self) -> None:
        """Store doubtful failures: since the server answers other requests, the settings are right."""
        for doubtful in self.doubtful:
            self._keep(*doubtful)
        self.doubtful.clear()

    def _keep(self, request: Request, completion: Completion) -> None:
        """Store a response with its cost, count it, and stop after too many consecutive failures."""
        price = self.prices[request.options.model]
        cost = price.cost(completion.prompt_tokens, completion.completion_tokens) if price else None
        self.store.record(request, completion, cost)
        failed = isinstance(completion.result, Failure)
        self.outcome = dataclasses.replace(
            self.outcome,
            prompt_tokens=self.outcome.prompt_tokens + completion.prompt_tokens,
            completion_tokens=self.outcome.completion_tokens + completion.completion_tokens,
            cost=self.outcome.cost + (cost or 0.0),
        )
        least = self.ratios[request.options.model].least_prompt_tokens(request)
        is_cut = least > LEAST_PROMPT_TOKENS and 0 < completion.prompt_tokens < least
        self._count(failed=failed, answered=not failed, cut_prompts=is_cut)
        self.progress(self.outcome)
        self.failures_in_row = self.failures_in_row + 1 if failed else 0
        if isinstance(completion.result, Failure):
            self._judge(completion.result)

    def _judge(self, failure: Failure) -> None:
        # If the first request reaches no server, stop at once instead of after `stop_after` failures.
        is_unreachable = failure.reason == "no connection" and not self.outcome.answered
        if is_unreachable or self.failures_in_row >= self.client.stop_after:
            many = "" if is_unreachable else f"{self.failures_in_row} consecutive failures, the last one "
            remedy = remedy_of(failure, self.client)
            self._fail(LanguageModelError(f"{many}{failure.reason}: {failure.detail}\n  {remedy}"))

    def _fail(self, error: Exception) -> None:
        """Send no more requests, and raise the first error once those in progress have ended."""
        self.error = self.error or error
        self._stop("an error")

    def _stop(self, why: str) -> None:
        self.outcome = dataclasses.replace(self.outcome, stopped=self.outcome.stopped or why)
        self.requests_pace.close()
        self.tokens_pace.close()

    def _retried(self, reason: str) -> None:
        self.outcome = dataclasses.replace(self.outcome, trouble=reason)
        self._count(retries=1)
        self.progress(self.outcome)

    def _count(self, **more: int) -> None:
        counts = {name: getattr(self.outcome, name) + number for name, number in more.items()}
        self.outcome = dataclasses.replace(self.outcome, **counts)
