"""Generating profiles stage by stage, one request at a time or in batches."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from spike_dgl.data.dataset import Dataset
from spike_dgl.errors import LanguageModelError
from spike_dgl.profiles.bottom_up import STAGES, NodeType
from spike_dgl.profiles.llm.batch import MAX_REQUESTS, BatchStatus, collect, submit
from spike_dgl.profiles.llm.completion import Outcome, complete
from spike_dgl.profiles.llm.estimate import Budget
from spike_dgl.profiles.llm.pipeline import PORTION, Pipeline, portions
from spike_dgl.profiles.llm.requests import Request
from spike_dgl.profiles.llm.store import Store, Usage
from spike_dgl.profiles.options import ProfileOptions

Progress: TypeAlias = Callable[[NodeType, Outcome], None]


@dataclass(frozen=True)
class Generation:
    """What became of a run: the outcome of each stage that was begun, and why it stopped early, if it did."""

    stages: Mapping[NodeType, Outcome]

    @property
    def stopped(self) -> str:
        """Why the run stopped before its end; empty where it did not."""
        return next((outcome.stopped for outcome in self.stages.values() if outcome.stopped), "")

    @property
    def cost(self) -> float:
        """US dollars paid in this run."""
        return sum(outcome.cost for outcome in self.stages.values())

    @property
    def unanswered(self) -> int:
        """Requests that were sent and have no usable answer."""
        return sum(outcome.failed + outcome.given_up for outcome in self.stages.values())


def generate(
    dataset: Dataset,
    options: ProfileOptions,
    store: Store,
    budget: Budget | None = None,
    progress: Progress | None = None,
    *,
    batch: bool = False,
) -> Generation:
    """Ask for all profiles that are covered and that the store does not hold.

    Items are asked about first, then auxiliary entities, then users, each highest degree first. A failed request is
    sent again up to `ClientOptions.attempts` times before the next stage begins without its answer.

    Parameters
    ----------
    dataset
        The data.
    options
        What to ask, and whom.
    store
        Keeps the answers.
    budget
        Prices and the limit of cost.
    progress
        Called after every response, or every look at a batch, with the outcome of the stage so far.
    batch
        Use the Batch API and wait for each stage; a run that is stopped meanwhile is continued by the next.

    Raises
    ------
    LanguageModelError, ConfigError
        As `spike_dgl.profiles.llm.completion.complete`; answers that came before are stored.
    """
    pipeline = Pipeline(dataset, options, store)
    stages: dict[NodeType, Outcome] = {}
    finish = _finish_in_batches if batch else _finish
    for node_type in STAGES:
        outcomes: list[Outcome] = []
        stages[node_type] = Outcome()
        for portion in portions(pipeline.covered(node_type), MAX_REQUESTS if batch else PORTION):
            report = _reporter(progress, node_type, outcomes)
            outcomes.append(finish([request for _, request in portion], store, options, budget, report))
            stages[node_type] = _total(outcomes)
            if outcomes[-1].stopped:
                return Generation(stages)
        pipeline.settle(node_type, store.answers)
    return Generation(stages)


def _finish(
    requests: Sequence[Request],
    store: Store,
    options: ProfileOptions,
    budget: Budget | None,
    report: Callable[[Outcome], None],
) -> Outcome:
    client = options.llm.client
    outcome = complete(requests, store, client, budget, report)
    for _ in range(client.attempts - 1):
        if outcome.stopped or not outcome.failed:
            break
        again = complete(requests, store, client, budget)
        outcome = dataclasses.replace(
            again,
            stored=outcome.stored,
            answered=outcome.answered + again.answered,
            prompt_tokens=outcome.prompt_tokens + again.prompt_tokens,
            completion_tokens=outcome.completion_tokens + again.completion_tokens,
            cost=outcome.cost + again.cost,
        )
    return outcome


def _finish_in_batches(
    requests: Sequence[Request],
    store: Store,
    options: ProfileOptions,
    budget: Budget | None,
    report: Callable[[Outcome], None],
) -> Outcome:
    client, keys, before = options.llm.client, [request.key for request in requests], store.usage()
    stored = len(store.answered(keys))
    if stored == len(set(keys)):
        return Outcome(total=stored, stored=stored)
    for _ in range(client.attempts):
        outcome = submit(requests, store, client, budget)
        while True:
            _check(collect(store, client, budget))
            report(_since(before, store, dataclasses.replace(outcome, stored=stored), keys))
            if not store.in_batch(keys):
                break
            time.sleep(options.llm.poll_seconds)
        outcome = _since(before, store, dataclasses.replace(outcome, stored=stored), keys)
        if outcome.stopped or not outcome.failed:
            break
    return outcome


def _check(batches: Iterable[BatchStatus]) -> None:
    for batch in batches:
        if batch.status == "failed":
            raise LanguageModelError(f"batch {batch.id} was refused: {batch.problem}")


def _since(before: Usage, store: Store, outcome: Outcome, keys: Sequence[str]) -> Outcome:
    """What became of requests by now, and what was paid since a moment before."""
    now, answered, batched = store.usage(), store.answered(keys), store.in_batch(keys)
    open_keys = {key for key in keys if key not in answered and key not in batched}
    return dataclasses.replace(
        outcome,
        answered=len(answered) - outcome.stored,
        in_batch=len(batched - answered),
        failed=0 if outcome.stopped else len(open_keys) - outcome.given_up,
        prompt_tokens=now.prompt_tokens - before.prompt_tokens,
        completion_tokens=now.completion_tokens - before.completion_tokens,
        cost=now.cost - before.cost,
    )


def _reporter(
    progress: Progress | None, node_type: NodeType, before: Sequence[Outcome]
) -> Callable[[Outcome], None]:
    def report(outcome: Outcome) -> None:
        if progress is not None:
            progress(node_type, _total([*before, outcome]))

    return report


def _total(outcomes: Sequence[Outcome]) -> Outcome:
    """Sums over the portions of a stage, with the last one's reason to stop."""
    names = [field.name for field in dataclasses.fields(Outcome) if field.name != "stopped"]
    sums = {name: sum(getattr(outcome, name) for outcome in outcomes) for name in names}
    return Outcome(**sums, stopped=outcomes[-1].stopped)
