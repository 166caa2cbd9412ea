"""Requests by the Batch API: half the price, answers within a day, same store."""

from __future__ import annotations

import dataclasses
import json
import math
import uuid
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spike_dgl.errors import LanguageModelError
from spike_dgl.profiles.llm.addresses import without_secrets
from spike_dgl.profiles.llm.answers import Completion, read_completion
from spike_dgl.profiles.llm.client import ClientOptions, body
from spike_dgl.profiles.llm.completion import keeping_claims, run_to_end
from spike_dgl.profiles.llm.connection import connect, understand
from spike_dgl.profiles.llm.estimate import Budget, TokenRatios
from spike_dgl.profiles.llm.failures import Failure, read_error, shorten
from spike_dgl.profiles.llm.outcome import NO_MONEY, Outcome, sort_out
from spike_dgl.profiles.llm.pace import Pace
from spike_dgl.profiles.llm.remedies import refuses_all
from spike_dgl.profiles.llm.requests import Asked, Request
from spike_dgl.profiles.llm.server_errors import ServerError, meaning_of, read_server_error
from spike_dgl.profiles.llm.spending import known_prices
from spike_dgl.profiles.llm.store import BatchRecord, Store

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import Batch

MAX_BYTES = 190_000_000
"""Maximum size of a batch. OpenAI's limits are 50,000 requests and 200 MB."""

ENDPOINT: Final = "/v1/chat/completions"
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
            length = len(_line(request, client))
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
    content = b"".join(_line(request, client) for request in part)
    file = await server.files.create(file=(f"{LABEL}-{label}.jsonl", content), purpose="batch")
    # No retry: if only the response was lost, the batch exists, and _find_again finds it.
    batch = await server.with_options(max_retries=0).batches.create(
        input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h", metadata={LABEL: label}
    )
    store.note_batch(label, batch.id)


def _line(request: Request, client: ClientOptions) -> bytes:
    line = {"custom_id": request.key, "method": "POST", "url": ENDPOINT, "body": body(request, client)}
    return json.dumps(line).encode() + b"\n"


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
                _take_in(record, _Batch(status, output, client, known), store, budget)
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


@dataclass(frozen=True)
class _Batch:
    """Result of a batch: its status, the content of its files, and the requests whose prompts are known."""

    status: BatchStatus
    output: bytes
    client: ClientOptions
    known: Mapping[str, Request]

    def completions(self, asked: Iterable[Asked]) -> Iterator[tuple[Asked, Completion | LanguageModelError]]:
        """Yield each request with its completion or error."""
        lines = dict(filter(None, map(_read_line, self.output.splitlines())))
        for each in asked:
            yield each, self._read(lines.get(each.key), each)

    def _read(self, line: Any, asked: Asked) -> Completion | LanguageModelError:
        if line is None:
            ended = f"batch {self.status.id} {self.status.status}: {self.status.problem}"
            return Completion(Failure("expired", ended))
        request = self.known.get(asked.key)
        if not isinstance(line, ServerError):
            prompt = request.prompt if request else ""
            return read_completion(json.dumps(line), asked, prompt, self.client.api_key_variable)
        if line.said.code in ("batch_expired", "batch_cancelled"):
            return Completion(Failure("expired", line.said.message))
        sent = body(request, self.client) if request else {"model": asked.model}
        problem = meaning_of(line, self.client, sent)
        return Completion(problem) if isinstance(problem, Failure) else problem


def _take_in(record: BatchRecord, batch: _Batch, store: Store, budget: Budget) -> None:
    """Store a batch's answers and failures, and close the batch, in one transaction.

    Raises `LanguageModelError` if the settings are wrong, which does not count as a failure of any node.
    """
    found = list(batch.completions(store.asked(record.label)))
    mistake = next((each for _, each in found if isinstance(each, LanguageModelError)), None)
    if mistake is None and not store.rejections(each.key for each, _ in found):
        mistake = refuses_all(
            [each.result for _, each in found if isinstance(each, Completion)], batch.client
        )
        found = found if mistake is None else []
    rows = []
    for each, completion in found:
        if isinstance(completion, Completion):
            price = budget.prices.price(each.model, batch.client.is_local)
            sizes = completion.prompt_tokens, completion.completion_tokens
            rows.append((each, completion, price.cost(*sizes, batch=True) if price else None))
    store.close_batch(record.label, rows)
    if mistake is not None:
        raise mistake


def _read_line(line: bytes) -> tuple[str, Any] | None:
    """Return the key in one line of an output or error file, and the body of its completion or its error."""
    try:
        content = json.loads(line)
        key, response, error = content["custom_id"], content.get("response") or {}, content.get("error")
        status = int(response.get("status_code") or 0)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None  # its request counts as not processed and is sent again
    if error:
        return key, ServerError(status or 500, read_error(error))
    body = response.get("body") or {}
    return key, read_server_error(status, {}, json.dumps(body).encode(), body) or body
