"""Results of a run: ``result.json`` for programs, ``RESULT.md`` for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import torch

from spike_dgl.data.dataset import Dataset
from spike_dgl.evaluation import BEYOND_ACCURACY, METRICS, Evaluation, by_count, by_source, render_groups
from spike_dgl.markdown import markdown_table
from spike_dgl.profiles.records import ProfileSources, counted
from spike_dgl.runs.baselines import Baselines
from spike_dgl.runs.environment import peak_memory_mb
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.popularity_weight import popularity_choice
from spike_dgl.training.checkpoint import load_checkpoint


def record_of_training(folder: RunFolder, dataset: Dataset, sources: ProfileSources) -> dict[str, Any]:
    """Return the results of a run without the test, as plain values.

    Parameters
    ----------
    folder
        The run, with its epoch records and, if the model is trained, ``best.pt``.
    dataset
        Data of the run.
    sources
        Sources of the profiles.
    """
    records = folder.metrics().read()
    trained = folder.file("best.pt").is_file()
    reported = int(load_checkpoint(folder.file("best.pt"), mapped=True)["epoch"]) if trained else 0
    best = next((record for record in records if record["epoch"] == reported), {})
    epoch_seconds = sorted(record["seconds"] for record in records)
    return {
        "data": dataset.name,
        "checksum": dataset.checksum,
        "checksum_without_times": dataset.checksum_without_times,
        "split_hash": dataset.split_hash,
        "altered": list(dataset.altered),
        "changed_when_resumed": folder.changed_when_resumed(),
        **({"regime": regime} if (regime := folder.regime()) else {}),
        **({"popularity_weight": chosen} if (chosen := popularity_choice(folder)) else {}),
        "reported_epoch": reported,
        "epochs": records[-1]["epoch"] if records else 0,
        "valid": {key[len("valid/") :]: value for key, value in best.items() if key.startswith("valid/")},
        "profiles": {"users": counted(sources.users), "entities": counted(sources.entities)},
        "seconds_per_epoch": epoch_seconds[len(epoch_seconds) // 2] if epoch_seconds else None,
        "seconds_to_reported_epoch": best.get("elapsed_seconds"),
        "seconds": records[-1]["elapsed_seconds"] if records else None,
        "peak_memory_mb": peak_memory_mb(),
        "threads": torch.get_num_threads(),
        "finished": datetime.now().astimezone().isoformat(" ", "seconds"),
    }


def record_of_test(
    test: Evaluation,
    dataset: Dataset,
    sources: ProfileSources,
    beyond: Mapping[str, float],
    baselines: Baselines,
) -> dict[str, Any]:
    """Return the test results of the reported epoch as plain values.

    Parameters
    ----------
    test
        Test of the reported epoch.
    dataset, sources
        See `record_of_training`.
    beyond
        Metrics of the test's lists beyond accuracy.
    baselines
        Test metrics of the baselines.
    """
    return {
        "test": test.means,
        "test_beyond_accuracy": dict(beyond),
        **baselines.record(),
        "test_users": len(test.users),
        "users_without_test_items": test.users_without_items,
        "test_pairs_seen_in_training": test.pairs_seen_before,
        "test_by_profile": [
            {"by": table.title, "profile": group.label, **group.sizes, **group.means}
            for table in by_source(test, dataset, sources)
            for group in table.groups
        ],
        "test_by_group": [
            {"by": table.title, "group": group.label, **group.sizes, **group.means}
            for table in by_count(test, dataset)
            for group in table.groups
        ],
    }


def render_result(
    record: Mapping[str, Any],
    title: str,
    dataset: Dataset,
    test: Evaluation,
    sources: ProfileSources,
    beside_baselines: str,
) -> str:
    """Render ``RESULT.md``.

    It has the test metrics, those of the baselines (see `render_baselines`), the choice of epoch, popularity weight and
    training regime, costs, metrics beyond accuracy, and metrics of groups of users and items.
    """
    valid = record["valid"]
    reported, epochs, resumed = record["reported_epoch"], record["epochs"], record["changed_when_resumed"]
    selection = f"The last of {epochs} epochs is reported, since there is no validation split."
    if not epochs:
        selection = "This model is not trained."
    elif valid:
        selection = (
            f"The reported epoch, {reported} of {epochs}, was chosen on the validation split; the test split was "
            "evaluated once, at the end."
        )
    return (
        "\n\n".join(
            [
                f"# {title}",
                metrics_table(test.means, test.cutoffs),
                beside_baselines,
                *([f"Changed on purpose: {'; '.join(dataset.altered)}."] if dataset.altered else []),
                *([f"Changed when resumed: {'; '.join(resumed)}."] if resumed else []),
                selection + _left_out(record),
                *([_popularity(chosen)] if (chosen := record.get("popularity_weight")) else []),
                *([choice["text"]] if (choice := record.get("regime", {}).get("choice")) else []),
                _costs(record),
                beyond_accuracy_table(record["test_beyond_accuracy"], test.cutoffs),
                render_groups(test, dataset, sources),
            ]
        )
        + "\n"
    )


def render_baselines(baselines: Baselines, model: str, remedy: str) -> str:
    """Render the metrics of model and baselines, and sentences if the model is below one."""
    sentences = [f"**{below[0].upper()}{below[1:]}.**" for below in baselines.below()]
    return "\n\n".join([baselines.table(model), *([" ".join([*sentences, remedy])] if sentences else [])])


def metrics_table(means: Mapping[str, float], cutoffs: Sequence[int]) -> str:
    """Render metrics as rows and cutoffs as columns."""
    return _table("", means, {name: (name, ".4f") for name in METRICS}, cutoffs)


def beyond_accuracy_table(values: Mapping[str, float], cutoffs: Sequence[int]) -> str:
    """Render metrics beyond accuracy as rows and cutoffs as columns."""
    return _table("Beyond accuracy", values, BEYOND_ACCURACY, cutoffs)


def _table(
    title: str, values: Mapping[str, float], rows: Mapping[str, tuple[str, str]], cutoffs: Sequence[int]
) -> str:
    """Render a table; `rows` has heading and number format by name. A missing value is a dash."""
    header = [title, *(f"@{cutoff}" for cutoff in cutoffs)]
    names = {heading: [f"{name}@{k}" for k in cutoffs] for name, (heading, _) in rows.items()}
    formats = dict(rows.values())
    cells = [
        [heading, *(f"{values[name]:{formats[heading]}}" if name in values else "-" for name in of_row)]
        for heading, of_row in names.items()
    ]
    return markdown_table([header, *cells])


def _left_out(record: Mapping[str, Any]) -> str:
    users, without = record["test_users"], record["users_without_test_items"]
    text = f" Mean over {users:,} users; {without:,} without test items are left out"
    seen = record["test_pairs_seen_in_training"]
    return text + (f", and {seen:,} test pairs that are also in training do not count." if seen else ".")


def _popularity(chosen: Mapping[str, Any]) -> str:
    text = f"Weight of the popularity term: {chosen['weight']:g}"
    if not chosen["valid"]:
        return f"{text}, since there is no validation split to choose it on."
    values = ", ".join(f"{value:.4f} with {weight}" for weight, value in chosen["valid"].items())
    return f"{text}, chosen on the validation split ({chosen['metric']} {values})."


def _costs(record: Mapping[str, Any]) -> str:
    processes = record["processes"]
    parts = [
        f"{record['seconds_per_epoch']:.2f} s per epoch (median)",
        f"{record['seconds']:.0f} s in total",
        f"{record['threads']} threads" + (f" in each of {processes} processes" if processes > 1 else ""),
        f"{record['parameters']:,} parameters",
    ]
    for place, memory in (("", record["peak_memory_mb"]), (" GPU", record["peak_device_memory_mb"])):
        if memory is not None:
            parts.append(f"{memory:,.0f} MB peak{place} memory")
    return f"On {record['device']}: {', '.join(parts)}."
