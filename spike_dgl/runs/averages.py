"""Results of finished runs, averaged over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev
from types import MappingProxyType
from typing import Any, TypeAlias

from spike_dgl.markdown import markdown_table
from spike_dgl.runs.folder import RunFolder

Record: TypeAlias = dict[str, Any]
"""``result.json`` of a run."""

NOT_COMPARED = ("seed", "threads", "device", "map_embeddings_above")
"""Training settings that may differ between runs that are averaged."""

COSTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "parameters": ("parameters", ",.0f"),
        "reported_epoch": ("epochs", ".0f"),
        "seconds_per_epoch": ("s an epoch", ".2f"),
        "seconds_to_quality": ("s to 99 %", ".0f"),
        "seconds": ("s in all", ".0f"),
        "peak_memory_mb": ("peak MB", ",.0f"),
    }
)
"""Costs of runs: heading and number format by name in a record."""


def read_record(folder: RunFolder) -> Record:
    """Read the result of a finished run, with `seconds_to_quality`. Raises `DataError` if it is not finished."""
    metric = folder.settings()["training"]["metric"]
    seconds = seconds_to_quality(folder.metrics().read(), metric)
    return {**folder.read_json("result.json"), "seconds_to_quality": seconds}


def results_table(folders: Sequence[RunFolder], metrics: Sequence[str] = ("recall@20", "ndcg@20")) -> str:
    """Render finished runs as one table: mean and standard deviation over runs that differ in their seeds only.

    "s to 99 %" is `seconds_to_quality`.

    Parameters
    ----------
    folders
        Finished runs, in any order.
    metrics
        Test metrics to show.

    Raises
    ------
    DataError
        If a run is not finished.
    """
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for folder in folders:
        config, record = folder.settings(), read_record(folder)
        seedless = config | {"training": config["training"] | dict.fromkeys(NOT_COMPARED)}
        changed = record.get("changed_when_resumed", [])
        key = (record["data"], config["model"]["name"], repr((seedless, changed)))
        groups.setdefault(key, []).append(record)
    costs = [name for name in COSTS if name != "parameters"]
    rows = [["data", "model", "runs", *metrics, *(COSTS[name][0] for name in costs)]]
    for (data, model, _), records in sorted(groups.items()):
        scores = [render_spread(*spread(records, metric)) for metric in metrics]
        rows.append(
            [data, model, str(len(records)), *scores, *(render_cost(records, cost) for cost in costs)]
        )
    return markdown_table(rows)


def seconds_to_quality(epochs: Iterable[Mapping[str, Any]], metric: str) -> float | None:
    """Return the seconds until the validation metric was first within 1 % of its best; None without validation.

    Parameters
    ----------
    epochs
        Records of ``metrics.jsonl`` in order.
    metric
        Validation metric, such as ``ndcg@20``.
    """
    reached = [
        (epoch[f"valid/{metric}"], epoch["elapsed_seconds"]) for epoch in epochs if f"valid/{metric}" in epoch
    ]
    best = max((value for value, _ in reached), default=None)
    return next((seconds for value, seconds in reached if value >= 0.99 * best), None) if best else None


def spread(records: Sequence[Record], metric: str) -> tuple[float, float | None]:
    """Return mean and standard deviation of a test metric over runs; None as deviation of a single run."""
    return mean_and_deviation([record["test"][metric] for record in records])


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Return mean and standard deviation; None as deviation of a single value."""
    return mean(values), stdev(values) if len(values) > 1 else None


def beyond_accuracy(records: Sequence[Record], metric: str) -> tuple[float, float | None] | None:
    """Return mean and standard deviation of a metric beyond accuracy over runs; None if it is missing in a run.

    Runs of earlier versions have none.
    """
    values = [record.get("test_beyond_accuracy", {}).get(metric) for record in records]
    return mean_and_deviation(values) if values and None not in values else None


def render_spread(average: float, deviation: float | None) -> str:
    """Render as ``0.1344 ± 0.0021``."""
    return f"{average:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def mean_cost(records: Sequence[Record], name: str) -> float | None:
    """Return the mean of one of the `COSTS` over runs; None if it is missing in a run."""
    values = [record[name] for record in records]
    return None if None in values else mean(values)


def render_cost(records: Sequence[Record], name: str) -> str:
    """Render the `mean_cost` for a table."""
    value = mean_cost(records, name)
    return "unknown" if value is None else f"{value:{COSTS[name][1]}}"
