"""Estimates for generating all profiles, although most prompts do not exist yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from spike_dgl.data.dataset import Dataset
from spike_dgl.profiles.llm.estimate import Estimate, estimate
from spike_dgl.profiles.llm.pipeline import Pipeline, portions
from spike_dgl.profiles.llm.prices import PriceTable
from spike_dgl.profiles.llm.requests import Request
from spike_dgl.profiles.llm.store import Answer, Store
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.records import STAGES


def estimate_generation(
    dataset: Dataset,
    options: ProfileOptions,
    prices: PriceTable,
    store: Store | None = None,
    batch: bool = False,
) -> list[Estimate]:
    """Estimate the requests, tokens and cost of `generate` by node type and model.

    Prompts of entities and users quote profiles that are not written yet. Each of these profiles counts with the
    maximum number of words.
    """
    pipeline = Pipeline(dataset, options, store)
    estimates: list[Estimate] = []
    for node_type in STAGES:
        expected: dict[str, Answer] = {}
        for portion in portions(pipeline.covered(node_type)):
            requests = [request for _, request in portion]
            expected |= {request.key: _placeholder(request) for request in requests}
            estimates += estimate(requests, options.llm.client, prices, store, batch)

        def answers(keys: Sequence[str], expected: Mapping[str, Answer] = expected) -> dict[str, Answer]:
            stored = store.answers(keys) if store is not None else {}
            return {key: expected[key] for key in keys if key in expected} | stored

        pipeline.settle(node_type, answers)
    return _merged(estimates)


def _placeholder(request: Request) -> Answer:
    """Return an answer of `max_words` words of six characters including the space, as in English prose."""
    return Answer(" ".join(["words"] * request.max_words), request.options.model, 0, 0, None)


def _merged(estimates: Iterable[Estimate]) -> list[Estimate]:
    """Merge the estimates of each node type and model."""
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
