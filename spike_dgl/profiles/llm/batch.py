"""Requests by the Batch API: half the price, answers within a day, same store."""

from __future__ import annotations

import dataclasses
import math
import uuid
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spike_dgl.errors import LanguageModelError
from spike_dgl.profiles.llm.addresses import without_secrets
from spike_dgl.profiles.llm.batch_lines import ENDPOINT, read_answer, read_line, request_line, sort_answers
from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.completion import keeping_claims, run_to_end
from spike_dgl.profiles.llm.connection import connect, understand
from spike_dgl.profiles.llm.estimate import Budget, TokenRatios
from spike_dgl.profiles.llm.failures import Failure, shorten
from spike_dgl.profiles.llm.outcome import NO_MONEY, Outcome, sort_out
from spike_dgl.profiles.llm.pace import Pace
from spike_dgl.profiles.llm.requests import Request
from spike_dgl.profiles.llm.spending import known_prices
from spike_dgl.profiles.llm.store import BatchRecord, Store

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import Batch

MAX_BYTES = 190_000_000
"""Maximum size of a batch. OpenAI's limits are 50,000 requests and 200 MB."""

LABEL = "spike_dgl"
"""Metadata key whose value identifies a batch on the server."""

ENDED = ("completed", "expired", "cancelled", "failed")


@dataclass(frozen=True)
class BatchStatus:
    """Status of a batch.

    Parameters
    ----------
    id
        Id of the batch on the server.
    status
        Status reported by the server. Answers of a batch that is ``completed``, ``expired`` or ``cancelled`` have been
        stored; a ``failed`` batch was rejected as a whole.
    total, completed, failed
        Numbers of requests reported by the server.
    problem
        Why the batch failed; empty if it did not.
    """

    id: str
    status: str
    total: int
    completed: int
    failed: int
    problem: str = ""

    @property
    def has_ended(self) -> bool:
        """True if the batch is finished and yields no more answers."""
        return self.status in ENDED


def submit(
    requests: Iterable[Request],
    store: Store,
    client: ClientOptions,
    budget: Budget | None = None,
) -> Outcome:
    """Submit requests without a stored answer to the Batch API; `collect` fetches the answers.

    The label of a batch is stored before the batch is created. So a batch created just before the process was killed
    is found on the server, and not paid twice.

    Parameters
    ----------
    requests, store, client, budget
        See `spike_dgl.profiles.llm.completion.complete`. A batch has at most `ClientOptions.batch_requests` requests.

    Returns
    -------
    Outcome
        Outcome; `in_batch` is the number of requests in open batches.

    Raises
    ------
    LanguageModelError
        If the server rejects the batch or cannot be reached.
    ConfigError
        If there is no key, or there is a cost limit and a price is unknown.
    """
    requests = list(requests)
    distinct = {request.key: request for request in requests}
    store.plan(requests)
    stopped = run_to_end(_submit(distinct, store, client, budget or Budget()))
    _, outcome = sort_out(distinct, store, client)
    return dataclasses.replace(outcome, stopped=stopped)


def collect(
    store: Store,
    client: ClientOptions,
    budget: Budget | None = None,
    requests: Iterable[Request] = (),
) -> tuple[BatchStatus, ...]:
    """Return the status of the open batches, and store the answers of finished ones.

    Answers pass the same checks as those of `complete`. Requests that a batch did not process are sent by the next
    `submit` or `complete`.

    Parameters
    ----------
    store
        Store of the batches.
    client
        Connection to their server. Batches of other servers are ignored.
    budget
        Prices.
    requests
        Requests whose answers are expected. Only their answers are checked to be on topic, since the store contains no
        prompts.

    Raises
    ------
    LanguageModelError
        If the server returns an error or cannot be reached, or all requests of a batch failed because of a wrong
        setting.
    """
    known = {request.key: request for request in requests}
    return tuple(run_to_end(_collect(store, client, budget or Budget(), known)))


async def _submit(requests: dict[str, Request], store: Store, client: ClientOptions, budget: Budget) -> str:
    """Create batches, and return why that stopped early (empty if it did not)."""
    async with _session(store, client) as server:
        await _find_again(store, client, server)
        waiting, _ = sort_out(requests, store, client)
        affordable = _affordable(waiting, store, client, budget)
        for part, reserved in _parts(affordable, client):
            claimed = store.claim([request.key for request in part])
            part = [request for request in part if request.key in claimed]
            if part:
                await _create(part, reserved, store, client, server)
        return NO_MONEY if len(affordable) < len(waiting) else ""


@asynccontextmanager
async def _session(store: Store, client: ClientOptions) -> AsyncIterator[AsyncOpenAI]:
    """Open a connection whose errors are `LanguageModelError`s, and keep claims meanwhile."""
    import openai

    async with connect(client, Pace(client.requests_per_minute)) as server, keeping_claims(store):
        try:
            yield server
        except openai.OpenAIError as error:
            problem = understand(error, client, {})
            if isinstance(problem, Failure):
                problem = LanguageModelError(f"{problem.reason}: {problem.detail}")
            raise problem from None


async def _find_again(store: Store, client: ClientOptions, server: AsyncOpenAI) -> None:
    """Search the server for batches whose process stored a label but was killed before it stored the id."""
    lost = {record.label: record for record in store.batches(client.address) if record.is_lost}
    if not lost:
        return
    earliest = min(record.created for record in lost.values())
    async for batch in server.batches.list(limit=100):
        label = (batch.metadata or {}).get(LABEL, "")
        if lost.pop(label, None) is not None:
            store.note_batch(label, batch.id)
        if not lost or batch.created_at < earliest - 3600:
            break
    for label in lost:
        store.drop_batch(label)


def _affordable(
    waiting: Collection[Request], store: Store, client: ClientOptions, budget: Budget
) -> list[tuple[Request, float]]:
    """Return the first requests that fit into the budget, each with its maximum cost."""
    prices = known_prices(waiting, client, budget)
    ratios = {model: TokenRatios.measured(store.usage(model)) for model in prices}
    left = math.inf if budget.max_cost is None else budget.max_cost - store.spent() - store.reserved()
    affordable = []
    for request in waiting:
        model = request.options.model
        price = prices[model]
        cost = ratios[model].highest_cost(request, price, batch=True) if price else 0.0
        left -= cost
        if left < 0:
            break
        affordable.append((request, cost))
    return affordable


def _parts(
    affordable: Iterable[tuple[Request, float]], client: ClientOptions
) -> Iterator[tuple[list[Request], float]]:
    """Yield batches of requests for one model, within the limits of a batch, each with its maximum cost."""
    by_model: dict[str, list[tuple[Request, float]]] = {}
    for request, cost in affordable:
        by_model.setdefault(request.options.model, []).append((request, cost))
    for group in by_model.values():
        part: list[Request] = []
        num_bytes, reserved = 0, 0.0
        for request, cost in group:
            length = len(request_line(request, client))
            if part and (len(part) >= client.batch_requests or num_bytes + length > MAX_BYTES):
                yield part, reserved
                part, num_bytes, reserved = [], 0, 0.0
            part.append(request)
            num_bytes, reserved = num_bytes + length, reserved + cost
        yield part, reserved


async def _create(
    part: list[Request], reserved: float, store: Store, client: ClientOptions, server: AsyncOpenAI
) -> None:
    label = uuid.uuid4().hex
    store.open_batch(label, client.address, part, reserved)
    content = b"".join(request_line(request, client) for request in part)
    file = await server.files.create(file=(f"{LABEL}-{label}.jsonl", content), purpose="batch")
    # No retry: if only the response was lost, the batch exists, and _find_again finds it.
    batch = await server.with_options(max_retries=0).batches.create(
        input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h", metadata={LABEL: label}
    )
    store.note_batch(label, batch.id)


async def _collect(
    store: Store, client: ClientOptions, budget: Budget, known: Mapping[str, Request]
) -> list[BatchStatus]:
    statuses = []
    async with _session(store, client) as server:
        await _find_again(store, client, server)
        for record in store.batches(client.address):
            if record.id is None:
                continue  # another process is creating it
            batch = await server.batches.retrieve(record.id)
            statuses.append(status := _status(batch, client))
            if status.has_ended:
                files = (batch.output_file_id, batch.error_file_id)
                output = b"".join([await _download(server, file) for file in files])
                _take_in(record, status, output, known, store, client, budget)
    return statuses


async def _download(server: AsyncOpenAI, file: str | None) -> bytes:
    return (await server.files.content(file)).content if file else b""


def _status(batch: Batch, client: ClientOptions) -> BatchStatus:
    counts = batch.request_counts
    problems = [
        shorten(without_secrets(each.message or each.code or "", client.api_key_variable))
        for each in (batch.errors and batch.errors.data) or ()
    ]
    return BatchStatus(
        batch.id,
        batch.status,
        counts.total if counts else 0,
        counts.completed if counts else 0,
        counts.failed if counts else 0,
        "; ".join(dict.fromkeys(problems)),
    )


def _take_in(
    record: BatchRecord,
    status: BatchStatus,
    output: bytes,
    known: Mapping[str, Request],
    store: Store,
    client: ClientOptions,
    budget: Budget,
) -> None:
    """Store a batch's answers and failures, and close the batch, in one transaction.

    Raises `LanguageModelError` if the settings are wrong, which does not count as a failure of any node.
    """
    lines = dict(filter(None, map(read_line, output.splitlines())))
    ended = f"batch {status.id} {status.status}: {status.problem}"
    found = [
        (asked, read_answer(lines.get(asked.key), asked, known.get(asked.key), client, ended))
        for asked in store.asked(record.label)
    ]
    rows, mistake = sort_answers(found, store, client, budget)
    store.close_batch(record.label, rows)
    if mistake is not None:
        raise mistake
