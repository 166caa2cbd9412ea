"""Comparison of a run on partitions with the same weights on the whole graph."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spike_dgl.models.base import EmbeddingModel
from spike_dgl.runs.embeddings import read_embeddings
from spike_dgl.runs.experiment import Experiment
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.popularity_weight import FILE
from spike_dgl.runs.set_up import reopen
from spike_dgl.training.trainer import final_embeddings


def records(run: Path) -> list[dict[str, float]]:
    file = run / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def check_against_whole_graph(run: Path) -> None:
    """Check embeddings, metrics and a chosen popularity weight against those computed on the whole graph."""
    experiment = reopen(RunFolder.open(run))
    experiment.load_best()
    assert isinstance(experiment.model, EmbeddingModel)
    final = final_embeddings(experiment.model)
    stored = read_embeddings(RunFolder.open(run))
    np.testing.assert_allclose(stored["users"], final.users.numpy(), atol=1e-5)
    np.testing.assert_allclose(stored["items"], final.items.numpy(), atol=1e-5)
    result = json.loads((run / "result.json").read_text())
    assert result["test"] == pytest.approx(experiment.evaluate(final.scores, "test").means, abs=1e-9)
    if experiment.config.model.popularity_weight == "auto":
        _check_choice(experiment)
        experiment.model.popularity_term = None  # validation during training has none
    best = records(run)[result["reported_epoch"] - 1]
    valid = experiment.evaluate(final_embeddings(experiment.model).scores, "valid").means
    assert {f"valid/{name}": value for name, value in valid.items()} == pytest.approx(
        {key: value for key, value in best.items() if key.startswith("valid/")}, abs=1e-6
    )


def _check_choice(experiment: Experiment) -> None:
    assert isinstance(experiment.model, EmbeddingModel)
    chosen = experiment.folder.read_json(FILE)
    experiment._choose_popularity_weight(experiment.model)
    again = experiment.folder.read_json(FILE)
    assert (again["weight"], again["metric"]) == (chosen["weight"], chosen["metric"])
    assert again["valid"] == pytest.approx(chosen["valid"], abs=1e-6)
