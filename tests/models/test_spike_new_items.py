"""SPiKE trained with item dropout: what it drops, and its effect on cold items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spike_dgl.config import build
from spike_dgl.data.dataset import Dataset
from spike_dgl.errors import ConfigError
from spike_dgl.graph import build_graph
from spike_dgl.models.base import Batch, ModelInputs
from spike_dgl.models.fold_in import NewItems
from spike_dgl.models.spike import Spike
from spike_dgl.models.spike.options import SpikeOptions
from spike_dgl.runs.metrics_log import MetricsLog
from spike_dgl.training.options import TrainingOptions
from spike_dgl.training.sampling import BprSampler
from spike_dgl.training.seeding import seed_everything
from spike_dgl.training.trainer import Trainer
from tests.toy import checkerboard, random_dataset


def without_users(data: Dataset, items: list[int]) -> Dataset:
    return data.replace(train=data.train.select(~np.isin(data.train.items, items)))


COLD = [2, 3]
DATA = without_users(checkerboard(), COLD)


def spike(data: Dataset = DATA, **options: object) -> Spike:
    seed_everything(0)
    inputs = ModelInputs(build_graph(data), torch.randn(data.num_users, 5), torch.randn(data.num_entities, 5))
    return Spike(inputs, SpikeOptions(**{"embedding_dim": 16, "similar_items": 0, **options}))


def share_of_own_colour_first(model: Spike, folder: Path, **sampling: bool) -> float:
    """Return the share of users whose list has the cold item of their colour before all items of the other colour."""
    options = TrainingOptions(epochs=60, batch_size=64, learning_rate=1e-2, patience=None)
    sampler = BprSampler(DATA.train, DATA.num_users, DATA.num_items, batch_size=64, seed=1, **sampling)
    folder.mkdir()
    Trainer(model, sampler, options, folder=folder, log=MetricsLog(folder / "log"), progress=False).fit()
    model.eval()
    with torch.no_grad():
        scores = model.score_function()(torch.arange(DATA.num_users))
    colour = torch.arange(DATA.num_items) % 2
    first = [bool((scores[u, COLD[u % 2]] > scores[u, colour != u % 2]).all()) for u in range(DATA.num_users)]
    return float(np.mean(first))


def test_cold_items_are_found_by_their_facts(tmp_path: Path) -> None:
    trained_for_it = spike(item_dropout=0.3, score_temperature=0.2)
    assert share_of_own_colour_first(trained_for_it, tmp_path / "for", seen_negatives=True) == 1.0
    assert share_of_own_colour_first(spike(score_temperature=0.2), tmp_path / "not") < 0.7


def test_an_item_without_users_is_embedded_as_one_that_came_after_training() -> None:
    data = without_users(random_dataset(4, density=60), [2])
    model = spike(data, item_dropout=0.2).eval()
    facts = data.triples
    out, into = facts.heads == 2, facts.tails == 2
    loops = out & into
    heads = np.zeros(int(out.sum() + into.sum()), np.int64)
    assert not loops.any()
    assert len(heads) > 1
    relations = np.concatenate([facts.relations[out], facts.relations[into] + data.num_relations])
    tails = np.concatenate([facts.tails[out], facts.heads[into]])
    new = NewItems(1, heads, relations, tails, model.inject.entity_vectors[2:3].numpy())
    with torch.no_grad():
        embedded = model.embeddings().items[2]
    _, as_new = model.fold_in(None).with_items(new)  # type: ignore[arg-type]
    torch.testing.assert_close(torch.from_numpy(as_new[0]), embedded, atol=1e-5, rtol=1e-4)


def test_an_item_that_a_step_treats_as_cold_has_no_id_and_no_message_from_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = spike(
        item_dropout=0.5, matching_weight=0.0, kg_dropout=0.0, interaction_dropout=0.0, num_layers=1
    )
    users, cold = model.num_users, model.views.whole().cold.clone()
    cold[users + 4] = True
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.where(cold[users:][: DATA.num_items], 0.0, 1.0))
    model.train().propagate().final[users + 4].sum().backward()
    of_ids = model.embedding.grad.abs().sum(dim=1)
    assert of_ids[: users + DATA.num_items].sum() == 0
    assert of_ids[users + DATA.num_items] > 0  # its colour
    model.zero_grad()
    model.propagate().final[users + 5].sum().backward()
    assert model.embedding.grad[users + 5].abs().sum() > 0
    assert model.embedding.grad[:users].abs().sum() > 0


def test_the_share_is_that_of_the_items_with_users_and_evaluation_takes_none_of_them() -> None:
    model = spike(item_dropout=0.5)
    users, items = model.num_users, model.num_items
    assert model.views.whole().cold.nonzero()[:, 0].tolist() == [users + 2, users + 3]
    drawn = torch.stack([model.views.with_edge_dropout().cold for _ in range(400)]).float().mean(dim=0)
    assert drawn[:users].sum() == drawn[users + items :].sum() == 0
    assert drawn[users + 2 : users + 4].tolist() == [1.0, 1.0]
    torch.testing.assert_close(
        drawn[users + 4 : users + items], torch.full((items - 4,), 0.5), atol=0.1, rtol=0
    )
    assert spike().views.with_edge_dropout().cold is None
    assert set(model.loss(Batch(*torch.tensor([[0, 1], [4, 5], [5, 4]])))) == {"softmax", "matching"}


def test_sampled_neighbourhoods_are_refused() -> None:
    with pytest.raises(ConfigError, match="leave out fanout"):
        build(SpikeOptions, {"item_dropout": 0.2, "fanout": (3, 3)}, "model")
