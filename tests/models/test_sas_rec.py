"""SASRec: windows by hand, causality, and a sequence that only the order of time predicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spike_dgl.errors import ConfigError
from spike_dgl.evaluation import EvaluationOptions, evaluate
from spike_dgl.graph import build_graph
from spike_dgl.models.base import Batch, ModelInputs
from spike_dgl.models.sas_rec import SasRec, SasRecOptions
from spike_dgl.runs.metrics_log import MetricsLog
from spike_dgl.training.options import TrainingOptions
from spike_dgl.training.sampling import BprSampler
from spike_dgl.training.seeding import seed_everything
from spike_dgl.training.trainer import Trainer, final_embeddings
from tests.toy import dataset, sequence

# User 0 met items 2, 0 and 1 in this order; user 1 only item 1; user 2 none.
DATA = dataset([(0, 0), (0, 1), (0, 2), (1, 1)], [], sizes=(3, 4, 4, 1))
DATA = DATA.replace(train=replace(DATA.train, times=np.array([20.0, 30.0, 10.0, 5.0])))


def model(**options: int | float | str) -> SasRec:
    seed_everything(1)
    settings = {"embedding_dim": 8, "max_length": 4, **options}
    return SasRec(ModelInputs(build_graph(DATA)), SasRecOptions(**settings)).eval()  # type: ignore[arg-type]


def test_windows_hold_the_newest_items_in_the_order_of_time() -> None:
    sequences = model().sequences
    items, real = sequences.windows(torch.tensor([0, 1, 2]), sequences.count, 2)
    assert items.tolist() == [[0, 1], [0, 1], [0, 0]]
    assert real.tolist() == [[True, True], [False, True], [False, False]]
    items, real = sequences.windows(torch.tensor([0]), torch.tensor([2]), 4)
    assert items[real].tolist() == [2, 0]


def test_places_count_earlier_interactions() -> None:
    users, items = torch.tensor([0, 0, 0, 1]), torch.tensor([1, 2, 0, 1])
    assert model().sequences.places(users, items).tolist() == [2, 0, 1, 0]


def test_later_items_and_padding_change_no_state() -> None:
    made = model(num_heads=2)
    items, real = torch.tensor([[3, 2, 0, 1]]), torch.tensor([[False, True, True, True]])
    states = made.encode(items, real)
    later = made.encode(torch.tensor([[3, 2, 0, 3]]), real)
    padded = made.encode(torch.tensor([[1, 2, 0, 1]]), real)
    torch.testing.assert_close(later[:, :3], states[:, :3])
    assert not torch.allclose(later[:, 3], states[:, 3])
    torch.testing.assert_close(padded, states)
    assert states.isfinite().all()


def test_the_loss_predicts_each_item_of_a_window_from_those_before() -> None:
    made = model(ranking_loss="bpr")
    negatives = torch.tensor([3, 3])
    found = made.loss(Batch(torch.tensor([0, 1]), torch.tensor([1, 1]), negatives))["bpr"]
    # Two interactions give one window, of user 0: items 2, 0 and 1.
    window, real = torch.tensor([[0, 0, 2, 0]]), torch.tensor([[False, False, True, True]])
    states, rows = made.encode(window, real)[0, 1:], made.embedding
    margins = (states * (rows[torch.tensor([2, 0, 1])] - rows[3])).sum(-1)
    torch.testing.assert_close(found, torch.nn.functional.softplus(-margins).mean())


def test_a_user_without_interactions_has_the_state_from_which_first_items_are_predicted() -> None:
    made = model()
    nothing = made.encode(torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 4, dtype=torch.bool))[0, -1]
    torch.testing.assert_close(final_embeddings(made).users[2], nothing.detach())


def test_it_learns_a_sequence(tmp_path: Path) -> None:
    data = sequence(size=10, num_users=30, length=6)
    seed_everything(1)
    options = SasRecOptions(embedding_dim=16, max_length=6, num_layers=1, dropout=0.0)
    made = SasRec(ModelInputs(build_graph(data)), options)
    training = TrainingOptions(epochs=30, batch_size=64, learning_rate=1e-2, patience=None)
    sampler = BprSampler(data.train, data.num_users, data.num_items, batch_size=64, seed=1)
    Trainer(made, sampler, training, folder=tmp_path, log=MetricsLog(tmp_path / "log"), progress=False).fit()
    found = evaluate(final_embeddings(made).scores, data, "valid", EvaluationOptions(cutoffs=(1,)))
    assert found.means["recall@1"] > 0.95


def test_it_needs_times() -> None:
    data = DATA.replace(train=replace(DATA.train, times=None))
    with pytest.raises(ConfigError, match=r"sas-rec needs the order of interactions.*\n.*docs/data\.md"):
        SasRec(ModelInputs(build_graph(data)), SasRecOptions())
