"""SPiKE in the order of time: only newest interactions send messages, and steps predict interactions after the cut."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spike_dgl.config import build
from spike_dgl.errors import ConfigError
from spike_dgl.evaluation import EvaluationOptions, evaluate
from spike_dgl.graph import build_graph
from spike_dgl.models.base import Batch, ModelInputs
from spike_dgl.models.spike import Spike
from spike_dgl.models.spike.options import SpikeOptions
from spike_dgl.runs.metrics_log import MetricsLog
from spike_dgl.training.options import TrainingOptions
from spike_dgl.training.sampling import BprSampler
from spike_dgl.training.seeding import seed_everything
from spike_dgl.training.trainer import Trainer
from tests.toy import random_dataset, sequence

DATA = sequence()


def spike(**options: object) -> Spike:
    seed_everything(0)
    return Spike(ModelInputs(build_graph(DATA)), SpikeOptions(**{"embedding_dim": 16, **options}))


def recall_of_the_next(model: Spike, folder: Path, recency: float) -> float:
    options = TrainingOptions(epochs=40, batch_size=128, learning_rate=1e-2, patience=None, metric="recall@1")
    sampler = BprSampler(DATA.train, DATA.num_users, DATA.num_items, batch_size=128, seed=1, recency=recency)
    folder.mkdir()
    log = MetricsLog(folder / "log")
    Trainer(model, sampler, options, folder=folder, log=log, progress=False).fit()
    model.eval()
    with torch.no_grad():
        return evaluate(model.score_function(), DATA, "valid", EvaluationOptions(cutoffs=(1,))).means[
            "recall@1"
        ]


def test_it_learns_where_users_walk(tmp_path: Path) -> None:
    in_time = {"newest_interactions": 1, "user_transform": True}
    assert recall_of_the_next(spike(**in_time), tmp_path / "time", recency=1.0) > 0.9
    assert recall_of_the_next(spike(), tmp_path / "gaps", recency=0.0) < 0.7


def test_messages_are_those_of_the_newest_interactions() -> None:
    messages = spike(newest_interactions=2).views.messages
    assert len(messages.pooled) == 2 * DATA.num_users
    newest = {(user, (user * 7 + step) % DATA.num_items) for user in range(DATA.num_users) for step in (6, 7)}
    items = messages.pooled.src - messages.num_users
    assert set(zip(messages.pooled.dst.tolist(), items.tolist(), strict=True)) == newest
    senders = messages.src.tolist()
    assert set(zip(senders, messages.attended.dst.tolist(), strict=True)) == newest


def test_a_step_ranks_what_came_after_the_cut_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = spike(newest_interactions=3, message_dropout=0.0, kg_dropout=0.0).train()
    before = torch.full((DATA.num_users,), 6)
    monkeypatch.setattr(model.views.history, "cut", lambda: before)
    walk = torch.arange(8) + 7  # of user 1
    batch = Batch(torch.ones(8, dtype=torch.int64), walk, (walk + 9) % DATA.num_items)
    whole, late = (model.loss(part)["softmax"] for part in (batch, batch.select(torch.tensor([6, 7]))))
    assert whole == late
    early = model.loss(batch.select(torch.tensor([0, 1])))["softmax"]
    assert early.isfinite()  # nothing is after the cut, so the whole batch counts
    assert early != late
    assert model.eval().loss(batch)["softmax"] != late


def test_cuts_differ_from_step_to_step() -> None:
    model = spike(newest_interactions=3).train()
    assert model.views.history is not None
    assert not torch.equal(model.views.history.cut(), model.views.history.cut())


def test_users_take_transformed_means_of_states() -> None:
    model = spike(user_transform=True).eval()
    state = torch.randn(len(model.embedding), 16)
    plain, _ = model.conv.aggregate(model.views.messages, state)
    with torch.no_grad():
        model.conv.mean_transform.copy_(torch.randn(16, 16))
    transformed, _ = model.conv.aggregate(model.views.messages, state)
    users = DATA.num_users
    torch.testing.assert_close(transformed[:users], plain[:users] @ model.conv.mean_transform)
    torch.testing.assert_close(transformed[users:], plain[users:])
    model.train().loss(Batch(*torch.tensor([[0, 1], [1, 8], [15, 4]])))["softmax"].backward()
    assert model.conv.mean_transform.grad.abs().sum() > 0


@pytest.mark.parametrize("fanout", [(), (-1, -1)])
def test_without_user_embeddings_a_user_is_what_the_items_say(fanout: tuple[int, ...]) -> None:
    model = spike(user_embedding=False, user_transform=True, fanout=fanout).eval()
    assert len(model.embedding) == model.num_nodes - DATA.num_users
    known = model.embeddings().users
    histories = [DATA.train.items[DATA.train.users == user] for user in range(DATA.num_users)]
    as_new = model.fold_in(None).users_of_items(histories)  # type: ignore[arg-type]
    torch.testing.assert_close(torch.from_numpy(as_new), known.detach(), atol=1e-5, rtol=1e-4)
    assert known.abs().sum() > 0
    batch = Batch(*torch.tensor([[0, 1], [1, 8], [15, 4]]))
    terms = spike(user_embedding=False, l2_weight=1.0).train().loss(batch)
    assert terms["l2"].isfinite()


def test_data_without_times_and_sampled_neighbourhoods_are_refused() -> None:
    inputs = ModelInputs(build_graph(random_dataset(1)))
    with pytest.raises(ConfigError, match="does not say when"):
        Spike(inputs, SpikeOptions(newest_interactions=5))
    with pytest.raises(ConfigError, match="leave out fanout"):
        build(SpikeOptions, {"newest_interactions": 5, "fanout": (3, 3)}, "model")
