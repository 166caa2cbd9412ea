"""The Batch API: the same requests and the same store at half the price, with answers within a day."""

from __future__ import annotations

import dataclasses
import json
import math
import uuid
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spike_dgl.errors import LanguageModelError
from spike_dgl.profiles.llm.answers import Completion, Failure, Mishap, read_body, read_error, shorten
from spike_dgl.profiles.llm.client import ClientOptions, body, connect, redact, understand
from spike_dgl.profiles.llm.completion import (
    NO_MONEY,
    Outcome,
    keeping_claims,
    known_prices,
    run_to_end,
    sort_out,
)
from spike_dgl.profiles.llm.estimate import Budget, TokenRatios
from spike_dgl.profiles.llm.pace import Pace
from spike_dgl.profiles.llm.requests import Request
from spike_dgl.profiles.llm.store import BatchRecord, Store

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import Batch

MAX_REQUESTS = 50_000
MAX_BYTES = 190_000_000
"""OpenAI's limits of one batch are 50,000 requests and 200 MB."""

ENDPOINT: Final = "/v1/chat/completions"
LABEL = "spike_dgl"
"""Name of the metadata by which a batch is found again at the server."""

ENDED = ("completed", "expired", "cancelled", "failed")


@dataclass(frozen=True)
class BatchStatus:
    """How far a batch is.

    Parameters
    ----------
    id
        The server's name of it.
    status
        In the server's words. Answers of a batch that is ``completed``, ``expired`` or ``cancelled`` have been
        stored; a ``failed`` one was refused as a whole.
    total, completed, failed
        Its requests, as the server counts them.
    problem
        Why it failed; empty where it did not.
    """

    id: str
    status: str
    total: int
    completed: int
    failed: int
    problem: str = ""

    @property
    def has_ended(self) -> bool:
        """True where nothing more will come of it."""
        return self.status in ENDED


def submit(
    requests: Iterable[Request],
    store: Store,
    client: ClientOptions,
    budget: Budget | None = None,
    size: int = MAX_REQUESTS,
) -> Outcome:
    """Hand what the store does not hold to the Batch API; `collect` brings the answers.

    A batch carries a label that is in the store before it is created, so that one created just before a kill is
    found again at the server, not paid twice.

    Parameters
    ----------
    requests, store, client, budget
        As for `spike_dgl.profiles.llm.completion.complete`.
    size
        Most requests of one batch; less than OpenAI's 50,000 for accounts with a low limit of queued tokens.

    Returns
    -------
    Outcome
        Its `in_batch` counts what is with the server now.

    Raises
    ------
    LanguageModelError
        If the server refuses, or is not there.
    ConfigError
        If there is no key, or a limit of cost cannot be kept because a price is unknown.
    """
    requests = list(requests)
    distinct = {request.key: request for request in requests}
    store.plan(requests)
    stopped = run_to_end(_submit(distinct, store, client, budget or Budget(), size))
    _, outcome = sort_out(distinct, store, client)
    return dataclasses.replace(outcome, stopped=stopped)


def collect(store: Store, client: ClientOptions, budget: Budget | None = None) -> tuple[BatchStatus, ...]:
    """Ask how far the open batches are, and store the answers of those that have ended.

    They pass the same checks as others. What a batch did not get to is left for the next `submit` or `complete`.

    Parameters
    ----------
    store
        Where the batches are noted.
    client
        Their server. Batches of another server are not asked about.
    budget
        Prices.

    Raises
    ------
    LanguageModelError
        If the server refuses, or is not there.
    """
    return tuple(run_to_end(_collect(store, client, budget or Budget())))


async def _submit(
    requests: dict[str, Request], store: Store, client: ClientOptions, budget: Budget, size: int
) -> str:
    """Create batches of what is to be asked; why that ended early, if it did."""
    async with _session(store, client) as server:
        await _find_again(store, client, server)
        waiting, _ = sort_out(requests, store, client)
        affordable = _affordable(waiting, store, client, budget)
        for part, reserved in _parts(affordable, client, size):
            claimed = store.claim([request.key for request in part])
            part = [request for request in part if request.key in claimed]
            if part:
                await _create(part, reserved, store, client, server)
        return NO_MONEY if len(affordable) < len(waiting) else ""


@asynccontextmanager
async def _session(store: Store, client: ClientOptions) -> AsyncIterator[AsyncOpenAI]:
    """A connection whose errors are in words, and during which our claims are kept."""
    import openai

    async with connect(client, Pace(client.requests_per_minute)) as server, keeping_claims(store):
        try:
            yield server
        except openai.OpenAIError as error:
            problem = understand(error, client, "")
            if isinstance(problem, Failure):
                problem = LanguageModelError(f"{problem.reason}: {problem.detail}")
            raise problem from None


async def _find_again(store: Store, client: ClientOptions, server: AsyncOpenAI) -> None:
    """Look at the server for batches that a process noted but did not live to see created."""
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
    """The first requests, as far as the budget goes, and what each can cost at most."""
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
    affordable: Iterable[tuple[Request, float]], client: ClientOptions, size: int
) -> Iterator[tuple[list[Request], float]]:
    """Requests of one model each, within the limits of a batch, and what they can cost at most."""
    by_model: dict[str, list[tuple[Request, float]]] = {}
    for request, cost in affordable:
        by_model.setdefault(request.options.model, []).append((request, cost))
    for group in by_model.values():
        part: list[Request] = []
        num_bytes, reserved = 0, 0.0
        for request, cost in group:
            length = len(_line(request, client))
            if part and (len(part) >= min(size, MAX_REQUESTS) or num_bytes + length > MAX_BYTES):
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
    content = b"".join(_line(request, client) for request in part)
    file = await server.files.create(file=(f"{LABEL}-{label}.jsonl", content), purpose="batch")
    # No retry: a create whose answer was lost may have worked, and _find_again knows.
    batch = await server.with_options(max_retries=0).batches.create(
        input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h", metadata={LABEL: label}
    )
    store.note_batch(label, batch.id)


def _line(request: Request, client: ClientOptions) -> bytes:
    line = {"custom_id": request.key, "method": "POST", "url": ENDPOINT, "body": body(request, client)}
    return json.dumps(line).encode() + b"\n"


async def _collect(store: Store, client: ClientOptions, budget: Budget) -> list[BatchStatus]:
    statuses = []
    async with _session(store, client) as server:
        await _find_again(store, client, server)
        for record in store.batches(client.address):
            if record.id is None:
                continue  # another process is about to create it
            batch = await server.batches.retrieve(record.id)
            statuses.append(status := _status(batch, client))
            if status.has_ended:
                files = (batch.output_file_id, batch.error_file_id)
                output = b"".join([await _download(server, file) for file in files])
                _take_in(record, output, status, store, client, budget)
    return statuses


async def _download(server: AsyncOpenAI, file: str | None) -> bytes:
    return (await server.files.content(file)).content if file else b""


def _status(batch: Batch, client: ClientOptions) -> BatchStatus:
    counts = batch.request_counts
    problems = [
        redact(shorten(each.message or each.code or ""), client)
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
    output: bytes,
    status: BatchStatus,
    store: Store,
    client: ClientOptions,
    budget: Budget,
) -> None:
    """Store a batch's answers and failures, and close it, all at once."""
    completions = dict(filter(None, (_read_line(line, client) for line in output.splitlines())))
    asked = store.asked(record.label)
    rows = []
    for each in asked:
        missing = Completion(Failure("expired", f"batch {status.id} {status.status}: {status.problem}"))
        read = completions.get(each.key, missing)
        completion = read if isinstance(read, Completion) else read_body(read, each.max_words)
        price = budget.prices.price(each.model, client.is_local)
        cost = (
            price.cost(completion.prompt_tokens, completion.completion_tokens, batch=True) if price else None
        )
        rows.append((each, completion, cost))
    store.close_batch(record.label, rows)


def _read_line(line: bytes, client: ClientOptions) -> tuple[str, Any] | None:
    """Key of one line of an output or error file, and the body of its completion or what failed."""
    try:
        content = json.loads(line)
        key, response, error = content["custom_id"], content.get("response") or {}, content.get("error")
        status = int(response.get("status_code") or 0)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None  # its request is missing then, and asked again
    if status == 200 and not error:
        return key, response.get("body")
    message, code = read_error(error or response.get("body"))
    detail = redact(shorten(f"{status or code}: {message}"), client)
    return key, Completion(Failure(_reason(status, code), detail))


def _reason(status: int, code: str) -> Any:
    mishap: Mishap | None = "expired" if code in ("batch_expired", "batch_cancelled") else None
    mishap = mishap or ("rate limited" if status == 429 else "server error" if status >= 500 else None)
    return mishap or ("refused" if code == "content_filter" else "invalid")
