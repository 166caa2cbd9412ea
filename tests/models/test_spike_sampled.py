"""SPiKE with neighbour sampling: sampling all neighbours equals the whole graph, and no other node is used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spike_dgl.config import build
from spike_dgl.errors import ConfigError
from spike_dgl.evaluation import EvaluationOptions, evaluate
from spike_dgl.graph import build_graph
from spike_dgl.models.base import Batch, ModelInputs
from spike_dgl.models.spike import Spike, SpikeOptions, SpikeQuirks
from spike_dgl.runs.metrics_log import MetricsLog
from spike_dgl.training.options import TrainingOptions
from spike_dgl.training.sampling import BprSampler
from spike_dgl.training.seeding import seed_everything
from spike_dgl.training.trainer import Trainer, final_embeddings
from tests.toy import checkerboard, random_dataset

BATCH = Batch(torch.tensor([0, 1, 2, 1]), torch.tensor([0, 3, 5, 0]), torch.tensor([1, 2, 4, 8]))
SEEDS = torch.tensor([0, 1, 2, 7, 8, 9, 10, 11, 12, 15])
NO_DROPOUT = {
    "message_dropout": 0.0,
    "projection_dropout": 0.0,
    "kg_dropout": 0.0,
    "interaction_dropout": 0.0,
}
DATA = random_dataset(4)


def spike(*, vectors: bool = True, **options: object) -> Spike:
    seed_everything(0)
    texts = (torch.randn(n, 5) for n in (DATA.num_users, DATA.num_entities)) if vectors else ()
    return Spike(
        ModelInputs(build_graph(DATA), *texts), SpikeOptions(**{"embedding_dim": 8, **options})
    ).double()


def loss_and_gradients(model: Spike) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    terms = model.train().loss(BATCH)
    total = torch.stack(list(terms.values())).sum()
    total.backward()
    gradients = {name: dense(p.grad) for name, p in model.named_parameters() if p.grad is not None}
    return total.detach(), gradients


def dense(gradient: torch.Tensor) -> torch.Tensor:
    return gradient.to_dense() if gradient.is_sparse else gradient


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 1},
        {"num_layers": 3},
        {"vectors": False},
        {"backend": "dgl"},
        {"item_neighbours": "kg"},
        {"profile_gate": "constant"},
        {"injection": "inject"},
        {"injection": "none"},
        {"quirks": SpikeQuirks(shared_projection=False)},
        {"l2_weight": 0.1},
    ],
    ids=str,
)
def test_every_neighbour_gives_the_whole_graphs_loss_and_gradients(options: dict) -> None:
    options = {**NO_DROPOUT, "matching_weight": 0.0, **options}
    fanout = (-1,) * options.get("num_layers", 2)
    (whole, of_whole), (sampled, of_sampled) = (
        loss_and_gradients(spike(**options, fanout=chosen)) for chosen in ((), fanout)
    )
    torch.testing.assert_close(sampled, whole, rtol=1e-12, atol=0.0)
    assert of_sampled.keys() == of_whole.keys()
    for name, gradient in of_whole.items():
        torch.testing.assert_close(of_sampled[name], gradient, rtol=1e-9, atol=1e-13, msg=name)


@pytest.mark.parametrize("target", ["final", "input"])
def test_matching_is_among_the_nodes_of_the_step(target: str) -> None:
    options = {**NO_DROPOUT, "matching_target": target}
    whole, sampled = spike(**options).train(), spike(**options, fanout=(-1, -1)).train()
    expected = 5.0 * whole.match.on(whole.propagate(), SEEDS[None])
    ours = sampled.loss(BATCH)["matching"]
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=0.0)
    for a, b in zip(
        torch.autograd.grad(ours, list(sampled.parameters()), allow_unused=True),
        torch.autograd.grad(expected, list(whole.parameters()), allow_unused=True),
        strict=True,
    ):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(dense(a), b, rtol=1e-9, atol=1e-13)


def test_matching_samples_are_shares_of_the_steps_nodes() -> None:
    model = spike(fanout=(2, 2), matching_sample_ratio=0.5, matching_samples=3)
    assert model.match.sample(10, model.embedding.device).shape == (3, 5)
    assert model.match.sample(10, model.embedding.device).max() < 10
    assert model.loss(BATCH)["matching"].isfinite()


def test_nodes_that_were_not_drawn_are_not_touched() -> None:
    model = spike(fanout=(1, 1), **NO_DROPOUT).train()
    torch.manual_seed(5)
    nodes = model.views.sampler.draw(SEEDS).input_nodes
    others = torch.tensor([row for row in range(22) if row not in nodes])
    assert len(others) >= 2
    with torch.no_grad():
        model.embedding[others] = torch.nan
        model.inject.user_vectors[others[others < 7]] = torch.nan
        model.inject.entity_vectors[others[others >= 7] - 7] = torch.nan
    torch.manual_seed(5)
    total, gradients = loss_and_gradients(model)
    assert total.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    touched = gradients["embedding"].abs().sum(-1) > 0
    assert not touched[others].any()
    assert touched[SEEDS].all()


@pytest.mark.parametrize("rows", [1, 13, 10_000])
@pytest.mark.parametrize(
    "options", [{}, {"vectors": False}, {"item_neighbours": "kg", "num_layers": 3}, {"injection": "inject"}]
)
def test_embeddings_in_parts_equal_those_of_the_whole_graph(
    rows: int, options: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spike_dgl.nn.graphs.neighbour_sampling.ROWS_PER_PART", rows)
    monkeypatch.setattr("spike_dgl.models.spike.model.NODES_PER_PROJECTION", 4)
    model = spike(**options, fanout=(1,) * options.get("num_layers", 2))
    whole, parts = final_embeddings(spike(**options)), final_embeddings(model)
    torch.testing.assert_close(parts.users, whole.users, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(parts.items, whole.items, rtol=1e-12, atol=1e-14)


def test_evaluation_mode_scores_on_the_whole_graph() -> None:
    whole, sampled = spike().eval(), spike(fanout=(1, 1)).eval()
    torch.testing.assert_close(sampled.loss(BATCH)["softmax"], whole.loss(BATCH)["softmax"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fanout": [10]}, "one number per layer"),
        ({"fanout": [10, 0]}, "at least 1"),
        ({"fanout": [10, -2]}, "at least 1"),
        ({"fanout": "10,10"}, "fanout"),
        ({"fanout": [5, 5], "quirks": {"masked_edges": 512}}, "leave out fanout"),
        ({"fanout": [5, 5], "similar_items": 0, "quirks": {"idle_relations": 1}}, "leave out fanout"),
    ],
)
def test_fanouts_that_make_no_sense_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(SpikeOptions, options, "model")


def test_it_learns_the_checkerboard_from_few_neighbours(tmp_path: Path) -> None:
    data = checkerboard()
    seed_everything(1)
    colours = (torch.eye(2)[torch.arange(n) % 2] for n in (data.num_users, data.num_entities))
    vectors = [torch.cat([colour, 0.3 * torch.rand(len(colour), 4)], dim=1) for colour in colours]
    model = Spike(ModelInputs(build_graph(data), *vectors), SpikeOptions(fanout=(3, 3)))
    options = TrainingOptions(epochs=60, batch_size=64, learning_rate=1e-2, patience=None)
    sampler = BprSampler(data.train, data.num_users, data.num_items, batch_size=64, seed=1)
    Trainer(model, sampler, options, folder=tmp_path, log=MetricsLog(tmp_path / "log"), progress=False).fit()
    final = final_embeddings(model)
    result = evaluate(final.scores, data, "test", EvaluationOptions(cutoffs=(2,)))
    assert result.means["recall@2"] > 0.95
