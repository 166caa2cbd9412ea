"""Studies with hand-written runs, so that every number is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spike_dgl.comparison.definition import Study, read_study
from spike_dgl.config import write_yaml


def study(folder: Path, content: Mapping[str, Any], *overrides: str) -> Study:
    """Write a bench file and read it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "bench.yaml"
    file.write_text(write_yaml(dict(content)), encoding="utf-8")
    return read_study(file, overrides)


def write_run(
    folder: Path, recall: Sequence[float], training_items: Sequence[int] | None = None, **changes: Any
) -> None:
    """Write a finished run with the recall@20 of each test user; ndcg@20 is half. `changes` override the record."""
    folder.mkdir(parents=True)
    users = np.array(recall, dtype=np.float64)
    means = {"recall@20": float(users.mean()), "ndcg@20": float(users.mean()) / 2}
    record = {
        "data": "toy", "checksum": "c" * 64, "split_hash": "d" * 64, "test": means, "test_users": len(users),
        "valid": {"ndcg@20": 0.1}, "parameters": 10, "reported_epoch": 2, "seconds_per_epoch": 0.5, "seconds": 2.0,
        "peak_memory_mb": 100.0, "threads": 1, "device": "cpu",
        "test_by_group": [{"by": "By activity of users", "group": "1-3 training items", "users": 3, **means}],
    }  # fmt: skip
    config = {"data": {"path": "toy"}, "training": {"metric": "ndcg@20"}}
    (folder / "config.yaml").write_text(write_yaml(config))
    (folder / "result.json").write_text(json.dumps(record | changes))
    (folder / "environment.json").write_text(json.dumps({"platform": "Linux", "cpu_count": 2}))
    epoch = {"epoch": 1, "valid/ndcg@20": 0.1, "seconds": 0.5, "elapsed_seconds": 1.0}
    (folder / "metrics.jsonl").write_text(json.dumps(epoch) + "\n")
    np.savez(
        folder / "test_users.npz",
        **{"users": np.arange(len(users)), "recall@20": users, "ndcg@20": users / 2},
        **({} if training_items is None else {"training_items": np.array(training_items)}),
    )
