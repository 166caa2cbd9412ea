"""Generating profiles stage by stage, and what that will cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from spike_dgl.data.dataset import Dataset
from spike_dgl.profiles.bottom_up import STAGES, NodeType
from spike_dgl.profiles.llm.completion import Outcome, complete
from spike_dgl.profiles.llm.estimate import Budget, Estimate, estimate
from spike_dgl.profiles.llm.pipeline import Pipeline, portions
from spike_dgl.profiles.llm.prices import PriceTable
from spike_dgl.profiles.llm.requests import Request
from spike_dgl.profiles.llm.store import Answer, Store
from spike_dgl.profiles.options import ProfileOptions

Progress = Callable[[NodeType, Outcome], None]


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
        Called after every response with the outcome of the stage so far.

    Raises
    ------
    LanguageModelError, ConfigError
        As `spike_dgl.profiles.llm.completion.complete`; answers that came before are stored.
    """
    pipeline, stages = Pipeline(dataset, options, store), {}
    for node_type in STAGES:
        outcomes: list[Outcome] = []
        for portion in portions(pipeline.covered(node_type)):
            report = _reporter(progress, node_type, outcomes)
            outcomes.append(_complete_with_retries(_requests(portion), store, options, budget, report))
            stages[node_type] = _total(outcomes)
            if outcomes[-1].stopped:
                return Generation(stages)
        pipeline.settle(node_type, store.answers)
    return Generation(stages)


def _requests(portion: Sequence[tuple[int, Request]]) -> list[Request]:
    return [request for _, request in portion]


def _complete_with_retries(
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


def estimate_generation(
    dataset: Dataset,
    options: ProfileOptions,
    prices: PriceTable,
    store: Store | None = None,
    batch: bool = False,
) -> list[Estimate]:
    """Requests, tokens and cost that `generate` has ahead of it, by node type and model.

    The prompts of entities and users hold profiles that are not written yet. Each is counted as a text of as many
    words as will be asked for.
    """
    pipeline = Pipeline(dataset, options, store)
    estimates: list[Estimate] = []
    for node_type in STAGES:
        expected: dict[str, Answer] = {}
        for portion in portions(pipeline.covered(node_type)):
            requests = _requests(portion)
            expected |= {request.key: _stand_in(request) for request in requests}
            estimates += estimate(requests, options.llm.client, prices, store, batch)

        def answers(keys: Sequence[str], expected: Mapping[str, Answer] = expected) -> dict[str, Answer]:
            stored = store.answers(keys) if store is not None else {}
            return {key: expected[key] for key in keys if key in expected} | stored

        pipeline.settle(node_type, answers)
    return _merged(estimates)


def _stand_in(request: Request) -> Answer:
    """Six letters a word with its space, as in English prose."""
    return Answer(" ".join(["words"] * request.max_words), request.options.model, 0, 0, None)


def _merged(estimates: Iterable[Estimate]) -> list[Estimate]:
    """One estimate a node type and model."""
    groups: dict[tuple[str, str], list[Estimate]] = {}
    for one in estimates:
        groups.setdefault((one.node_type, one.model), []).append(one)
    return [
        Estimate(
            node_type,
            model,
            requests=sum(one.requests for one in group),
            prompt_tokens=sum(one.prompt_tokens for one in group),
            completion_tokens=sum(one.completion_tokens for one in group),
            cost=_sum_of_known([one.cost for one in group]),
            highest_cost=_sum_of_known([one.highest_cost for one in group]),
        )
        for (node_type, model), group in groups.items()
    ]


def _sum_of_known(costs: Sequence[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
