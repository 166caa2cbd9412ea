"""What a run says of itself: ``result.json`` for programs, ``RESULT.md`` for people."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

import torch
from torch import nn

from spike_dgl.config import read_yaml
from spike_dgl.data.dataset import Dataset
from spike_dgl.evaluation import METRICS, Evaluation, by_source, render_groups
from spike_dgl.markdown import markdown_table
from spike_dgl.profiles.bottom_up import ProfileSources, counted
from spike_dgl.training.checkpoint import load_checkpoint
from spike_dgl.training.tracking import RunFolder, peak_memory_mb

NOT_COMPARED = ("seed", "threads", "device")
"""Training settings in which runs may differ and yet be averaged."""


def result_record(
    folder: RunFolder, dataset: Dataset, model: nn.Module, test: Evaluation, sources: ProfileSources
) -> dict[str, Any]:
    """All figures of a finished run, as plain values.

    Parameters
    ----------
    folder
        The run, with its epoch records and, where the model was trained, ``best.pt``.
    dataset, model
        What was trained, on what.
    test
        Evaluation of the reported epoch on the test split.
    sources
        Where the profiles came from.
    """
    records = folder.metrics().read()
    trained = folder.file("best.pt").is_file()
    reported = int(load_checkpoint(folder.file("best.pt"))["epoch"]) if trained else 0
    best = next((record for record in records if record["epoch"] == reported), {})
    epoch_seconds = sorted(record["seconds"] for record in records)
    return {
        "data": dataset.name,
        "checksum": dataset.checksum,
        "split_hash": dataset.split_hash,
        "reported_epoch": reported,
        "epochs": records[-1]["epoch"] if records else 0,
        "test": test.means,
        "test_users": len(test.users),
        "users_without_test_items": test.users_without_items,
        "test_pairs_seen_in_training": test.pairs_seen_before,
        "valid": {key[len("valid/") :]: value for key, value in best.items() if key.startswith("valid/")},
        "profiles": {"users": counted(sources.users), "entities": counted(sources.entities)},
        "test_by_profile": [
            {"by": table.title, "profile": group.label, **group.sizes, **group.means}
            for table in by_source(test, dataset, sources)
            for group in table.groups
        ],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seconds_per_epoch": epoch_seconds[len(epoch_seconds) // 2] if epoch_seconds else None,
        "seconds_to_reported_epoch": best.get("elapsed_seconds"),
        "seconds": records[-1]["elapsed_seconds"] if records else None,
        "peak_memory_mb": peak_memory_mb(),
        "threads": torch.get_num_threads(),
        "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def render_result(
    record: Mapping[str, Any], title: str, dataset: Dataset, test: Evaluation, sources: ProfileSources
) -> str:
    """``RESULT.md``: test metrics, how they came about, and who is served well."""
    valid = record["valid"]
    reported, epochs = record["reported_epoch"], record["epochs"]
    selection = f"Reported is the last of {epochs} epochs; there was no validation split to choose on."
    if not epochs:
        selection = "This model is not trained."
    elif valid:
        selection = (
            f"The reported epoch, {reported} of {epochs}, was chosen on the validation split; the test split was "
            "ranked once, at the end."
        )
    return (
        "\n\n".join(
            [
                f"# {title}",
                metrics_table(test.means, test.cutoffs),
                selection + _left_out(record),
                _costs(record),
                render_groups(test, dataset, sources),
            ]
        )
        + "\n"
    )


def results_table(folders: Sequence[RunFolder], metrics: Sequence[str] = ("recall@20", "ndcg@20")) -> str:
    """Finished runs as one table: mean and standard deviation over the seeds of runs that are otherwise alike.

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
        Where a run is not finished.
    """
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for folder in folders:
        config = read_yaml(folder.file("config.yaml"))
        record = folder.read_json("result.json")
        seedless = config | {"training": config["training"] | dict.fromkeys(NOT_COMPARED)}
        key = (record["data"], config["model"]["name"], repr(seedless))
        record["seconds_to_quality"] = seconds_to_quality(
            folder.metrics().read(), config["training"]["metric"]
        )
        groups.setdefault(key, []).append(record)
    rows = [["data", "model", "runs", *metrics, "epochs", "s an epoch", "s to 99 %", "s in all", "peak MB"]]
    for (data, model, _), records in sorted(groups.items()):
        scores = [_spread([record["test"][metric] for record in records]) for metric in metrics]
        rows.append([data, model, str(len(records)), *scores, *_mean_costs(records)])
    return markdown_table(rows)


def seconds_to_quality(epochs: Iterable[Mapping[str, Any]], metric: str) -> float | None:
    """Seconds of training until validation was first within 1 % of the best it ever reached; None without validation.

    Parameters
    ----------
    epochs
        Records of ``metrics.jsonl``, in order.
    metric
        Validation metric, such as ``ndcg@20``.
    """
    reached = [
        (epoch[f"valid/{metric}"], epoch["elapsed_seconds"]) for epoch in epochs if f"valid/{metric}" in epoch
    ]
    best = max((value for value, _ in reached), default=None)
    return next((seconds for value, seconds in reached if value >= 0.99 * best), None) if best else None


def _spread(values: Sequence[float]) -> str:
    deviation = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{mean(values):.4f}{deviation}"


def _mean_costs(records: Sequence[Mapping[str, Any]]) -> list[str]:
    memory = [record["peak_memory_mb"] for record in records]
    to_quality = [record["seconds_to_quality"] for record in records]
    return [
        f"{mean(record['reported_epoch'] for record in records):.0f}",
        f"{mean(record['seconds_per_epoch'] for record in records):.2f}",
        "unknown" if None in to_quality else f"{mean(to_quality):.0f}",
        f"{mean(record['seconds'] for record in records):.0f}",
        "unknown" if None in memory else f"{mean(memory):,.0f}",
    ]


def metrics_table(means: Mapping[str, float], cutoffs: tuple[int, ...]) -> str:
    """Metrics as rows, cut-offs as columns."""
    rows = [[name, *(f"{means[f'{name}@{cutoff}']:.4f}" for cutoff in cutoffs)] for name in METRICS]
    return markdown_table([["", *(f"@{cutoff}" for cutoff in cutoffs)], *rows])


def _left_out(record: Mapping[str, Any]) -> str:
    users, without = record["test_users"], record["users_without_test_items"]
    text = f" Mean over {users:,} users; {without:,} without test items are left out"
    seen = record["test_pairs_seen_in_training"]
    return text + (f", and {seen:,} test pairs that stand in training too do not count." if seen else ".")


def _costs(record: Mapping[str, Any]) -> str:
    processes = record["processes"]
    parts = [
        f"{record['seconds_per_epoch']:.2f} s an epoch (median)",
        f"{record['seconds']:.0f} s in all",
        f"{record['threads']} threads" + (f" in each of {processes} processes" if processes > 1 else ""),
        f"{record['parameters']:,} parameters",
    ]
    for place, memory in (("", record["peak_memory_mb"]), (" GPU", record["peak_device_memory_mb"])):
        if memory is not None:
            parts.append(f"{memory:,.0f} MB peak{place} memory")
    return f"On {record['device']}: {', '.join(parts)}."
