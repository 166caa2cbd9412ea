"""Generation of profiles, stage by stage, with single requests or batches."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from spike_dgl.data.dataset import Dataset
from spike_dgl.errors import LanguageModelError
from spike_dgl.profiles.llm.batch import BatchStatus, collect, submit
from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.completion import complete
from spike_dgl.profiles.llm.estimate import Budget
from spike_dgl.profiles.llm.outcome import Outcome
from spike_dgl.profiles.llm.pipeline import PORTION, Pipeline, portions
from spike_dgl.profiles.llm.requests import Request
from spike_dgl.profiles.llm.store import Store, Usage
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.records import STAGES, NodeType

Progress: TypeAlias = Callable[[NodeType, Outcome], None]


@dataclass(frozen=True)
class Generation:
    """Result of a run: the outcome of each stage that was started."""

    stages: Mapping[NodeType, Outcome]

    @property
    def stopped(self) -> str:
        """Reason why the run stopped early; empty if it did not."""
        return next((outcome.stopped for outcome in self.stages.values() if outcome.stopped), "")

    @property
    def cost(self) -> float:
        """Cost of this run in US dollars."""
        return sum(outcome.cost for outcome in self.stages.values())

    @property
    def cut_prompts(self) -> int:
        """Number of answers in this run to prompts that the server truncated."""
        return sum(outcome.cut_prompts for outcome in self.stages.values())

    @property
    def has_nothing(self) -> bool:
        """True if requests failed and there is no answer at all."""
        answered = sum(outcome.answered + outcome.stored for outcome in self.stages.values())
        return self.unanswered > 0 and not answered

    @property
    def unanswered(self) -> int:
        """Number of requests that were sent and have no usable answer."""
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
    """Generate all covered profiles that are not in the store.

    The stages are items, auxiliary entities and users, each in order of decreasing degree. A failed request is sent up
    to `ClientOptions.attempts` times. Then the next stage starts without its answer.

    Parameters
    ----------
    dataset
        Data set.
    options
        Settings of prompts, model and server.
    store
        Store of the answers.
    budget
        Prices and cost limit.
    progress
        Called after every response, or every check of a batch, with the outcome of the stage so far.
    batch
        Use the Batch API and wait for each stage. If the run is stopped, the next run continues it.

    Raises
    ------
    LanguageModelError, ConfigError
        See `spike_dgl.profiles.llm.completion.complete`. Answers received before are stored.
    """
    pipeline = Pipeline(dataset, options, store)
    stages: dict[NodeType, Outcome] = {}
    finish = _finish_in_batches if batch else _finish
    # One batch at a time, since accounts have a limit on queued tokens.
    size = options.llm.client.batch_requests if batch else PORTION
    for node_type in STAGES:
        outcomes: list[Outcome] = []
        stages[node_type] = Outcome()
        for portion in portions(pipeline.covered(node_type), size):
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
        report_sum = partial(_report_sum, report, outcome)
        outcome = _after(outcome, complete(requests, store, client, budget, report_sum))
    return outcome


def _report_sum(report: Callable[[Outcome], None], before: Outcome, again: Outcome) -> None:
    report(_after(before, again))


def _after(before: Outcome, again: Outcome) -> Outcome:
    """Combine the outcomes of a pass over requests, and of another pass over those that failed."""
    summed = ("answered", "prompt_tokens", "completion_tokens", "cost", "cut_prompts", "retries")
    sums = {name: getattr(before, name) + getattr(again, name) for name in summed}
    return dataclasses.replace(again, stored=before.stored, **sums)


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
            _check(collect(store, client, budget, requests), client)
            report(_since(before, store, dataclasses.replace(outcome, stored=stored), keys))
            if not store.in_batch(keys):
                break
            time.sleep(options.llm.poll_seconds)
        outcome = _since(before, store, dataclasses.replace(outcome, stored=stored), keys)
        if outcome.stopped or not outcome.failed:
            break
    return outcome


def _check(batches: Iterable[BatchStatus], client: ClientOptions) -> None:
    for batch in batches:
        if batch.status == "failed":
            remedy = f"If it queues too many tokens, lower {client.setting('batch_requests')}."
            raise LanguageModelError(f"batch {batch.id} was rejected: {batch.problem}\n  {remedy}")


def _since(before: Usage, store: Store, outcome: Outcome, keys: Sequence[str]) -> Outcome:
    """Return the present outcome of requests, with the cost since the usage `before`."""
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
    """Sum the outcomes of a stage's portions, with the last portion's reason to stop."""
    last = outcomes[-1]
    names = [name for name, value in dataclasses.asdict(last).items() if not isinstance(value, str)]
    return dataclasses.replace(
        last, **{name: sum(getattr(outcome, name) for outcome in outcomes) for name in names}
    )
