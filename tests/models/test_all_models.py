"""Tests that every registered model must pass."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spike_dgl.config import build as build_options
from spike_dgl.errors import ConfigError
from spike_dgl.evaluation import EvaluationOptions, evaluate
from spike_dgl.graph import build_graph
from spike_dgl.models.base import (
    Batch,
    EmbeddingModel,
    ModelInputs,
    RecommenderModel,
    model_entry,
    registered_models,
)
from spike_dgl.runs.metrics_log import MetricsLog
from spike_dgl.training.options import TrainingOptions
from spike_dgl.training.sampling import BprSampler
from spike_dgl.training.seeding import seed_everything
from spike_dgl.training.trainer import Trainer, final_embeddings
from tests.toy import checkerboard, with_random_times

DATA = with_random_times(checkerboard())
MODELS = list(registered_models())
TRAINED = [name for name, entry in registered_models().items() if issubclass(entry.model, EmbeddingModel)]
WITH_HEADS = [
    name for name in TRAINED if "num_heads" in {option.name for option in fields(model_entry(name).options)}
]
WITHOUT_HISTORY = [name for name in TRAINED if name != "sas-rec"]
"""Models whose embedding of a user is the same in the loss and in the scores; SASRec's loss has earlier states."""
UNPERSONAL = {"popularity"}
"""Models with the same list for all users, which cannot learn the colours."""


def build(name: str, **options: Any) -> RecommenderModel:
    seed_everything(1)
    entry = model_entry(name)
    # Texts that contain the colour of even and odd rows, as profiles should.
    colours = (torch.eye(2)[torch.arange(n) % 2] for n in (DATA.num_users, DATA.num_entities))
    vectors = [torch.cat([colour, 0.3 * torch.rand(len(colour), 4)], dim=1) for colour in colours]
    return entry.model(ModelInputs(build_graph(DATA), *vectors), entry.options(**options))


def trained(model: EmbeddingModel, folder: Path) -> EmbeddingModel:
    options = TrainingOptions(epochs=60, batch_size=64, learning_rate=1e-2, patience=None)
    sampler = BprSampler(DATA.train, DATA.num_users, DATA.num_items, batch_size=64, seed=1)
    Trainer(model, sampler, options, folder=folder, log=MetricsLog(folder / "log"), progress=False).fit()
    return model


@pytest.mark.parametrize("name", [name for name in MODELS if name not in UNPERSONAL])
def test_it_learns_the_checkerboard(name: str, tmp_path: Path) -> None:
    model = build(name)
    if isinstance(model, EmbeddingModel):
        model = trained(model, tmp_path)
    model.eval()
    with torch.no_grad():
        # Two of the four remaining items of a user's colour are in the test split, two in validation, which is masked.
        result = evaluate(model.score_function(), DATA, "test", EvaluationOptions(cutoffs=(2,)))
    assert result.means["recall@2"] > 0.95


@pytest.mark.parametrize("temperature", [None, 0.2])
@pytest.mark.parametrize("name", WITHOUT_HISTORY)
def test_embeddings_score_as_the_loss_does(name: str, temperature: float | None) -> None:
    model = build(name, score_temperature=temperature, ranking_loss="bpr")
    assert isinstance(model, EmbeddingModel)
    model.eval()
    batch = Batch(torch.tensor([0, 3]), torch.tensor([2, 1]), torch.tensor([5, 4]))
    final = model.scored_embeddings()
    assert final.users.shape[0] == DATA.num_users
    assert final.items.shape[0] == DATA.num_items
    if temperature is not None:
        torch.testing.assert_close(final.items.norm(dim=-1), torch.ones(DATA.num_items))
    users = final.users[batch.users]
    margin = (users * (final.items[batch.positives] - final.items[batch.negatives])).sum(-1)
    expected = torch.nn.functional.softplus(-margin / (temperature or 1.0)).mean()
    torch.testing.assert_close(model.loss(batch)["bpr"], expected)


@pytest.mark.parametrize("name", WITH_HEADS)
def test_heads_must_divide_the_dimension(name: str) -> None:
    with pytest.raises(ConfigError, match="multiple of num_heads"):
        build_options(model_entry(name).options, {"embedding_dim": 64, "num_heads": 3}, "model")


@pytest.mark.parametrize("name", TRAINED)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    model = build(name)
    users, positives = torch.from_numpy(DATA.train.users[:10]), torch.from_numpy(DATA.train.items[:10])
    sum(model.loss(Batch(users, positives, torch.arange(10, 20))).values()).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not without


@pytest.mark.parametrize("name", TRAINED)
def test_final_embeddings_are_plain_numbers(name: str) -> None:
    final = final_embeddings(build(name))
    assert np.isfinite(final.users.numpy()).all()
    assert np.isfinite(final.items.numpy()).all()
