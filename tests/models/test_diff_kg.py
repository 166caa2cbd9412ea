from __future__ import annotations

from typing import Any

import pytest
import torch

from spike_dgl.graph import build_graph
from spike_dgl.models.base import Batch, ModelInputs
from spike_dgl.models.diff_kg import DiffKG, DiffKGOptions
from spike_dgl.nn.losses import contrastive_loss
from tests.toy import random_dataset

DATA = random_dataset(3)
U, I, N = DATA.num_users, DATA.num_items, DATA.num_entities  # noqa: E741
BATCH = Batch(torch.tensor([0, 1, 1]), torch.tensor([3, 4, 4]), torch.tensor([6, 7, 8]))


def build(**changes: Any) -> DiffKG:
    torch.manual_seed(0)
    return DiffKG(ModelInputs(build_graph(DATA)), DiffKGOptions(**{"embedding_dim": 8, **changes}))


def test_items_hear_from_the_knowledge_graph_and_then_from_users() -> None:
    model = build(num_layers=2).eval().double()
    items = model.attention(model.embedding[U:])[:I]
    pairs = torch.zeros(U + I, U + I, dtype=torch.float64)
    pairs[DATA.train.users, DATA.train.items + U] = 1.0
    pairs += pairs.T.clone()
    scale = pairs.sum(1).clamp(min=1).rsqrt()
    hop = scale[:, None] * pairs * scale
    start = torch.cat([model.embedding[:U], items])
    expected = start + hop @ start + hop @ hop @ start
    torch.testing.assert_close(model.propagate(), expected, rtol=1e-5, atol=1e-6)


def test_the_generated_graph_is_contrasted_with_the_whole() -> None:
    model = build(message_dropout=0.0, generated_links=1)
    whole, generated = model.propagate(), model.propagate(model.generated_edges())
    expected = 0.1 * sum(
        contrastive_loss(whole[rows], generated[rows], 0.1) for rows in ([0, 1], [U + 3, U + 4])
    )
    torch.testing.assert_close(model.loss(BATCH)["contrastive"], expected)
    same = build(message_dropout=0.0, generated_links=N)
    assert same.loss(BATCH)["contrastive"] < expected


def test_the_generated_graph_has_so_many_links_of_each_entity_and_their_reverses() -> None:
    model = build(generated_links=1)
    kept = model.generated_edges()
    heads = torch.zeros(N, dtype=torch.bool)
    heads[model.diffusion.head[model.diffusion.link_of_edge[kept]]] = True
    assert heads.sum() == len(model.diffusion.linked)
    assert build(generated_links=N).generated_edges().all()


def test_the_collaborative_term_is_that_over_whole_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(collaborative_share=0.25)
    rows = torch.arange(5)
    hidden = torch.randn(5, 65)
    monkeypatch.setattr(model.diffusion, "sample_rows", lambda _: rows)
    monkeypatch.setattr(model.diffusion, "denoise", lambda _: (torch.tensor([1.0, 3.0]), hidden))
    terms = model.denoiser_terms()
    estimate = (hidden @ model.diffusion.writing.T)[:, :I]
    pairs = torch.zeros(U, I)
    pairs[DATA.train.users, DATA.train.items] = 1.0
    expected = estimate @ pairs.T @ model.embedding[:U] - model.embedding[U : U + 5]
    torch.testing.assert_close(terms["collaborative"], 0.25 * expected.square().mean())
    assert terms["denoising"].item() == pytest.approx(0.75 * 2.0)


def test_the_denoiser_learns_from_its_own_terms_alone_and_they_teach_nothing_else() -> None:
    model = build()
    terms = model.loss(BATCH)
    assert list(terms) == ["bpr", "l2", "contrastive", "denoising", "collaborative"]
    denoiser = list(model.diffusion.parameters())
    others = [model.embedding, *model.attention.parameters()]
    own = terms["denoising"] + terms["collaborative"]
    recommender = terms["bpr"] + terms["contrastive"]
    assert all(
        grad is None for grad in torch.autograd.grad(own, others, retain_graph=True, allow_unused=True)
    )
    assert all(
        grad is None
        for grad in torch.autograd.grad(recommender, denoiser, retain_graph=True, allow_unused=True)
    )
    assert all(grad is not None for grad in torch.autograd.grad(own, denoiser))


def test_without_contrast_there_is_no_denoiser() -> None:
    model = build(contrastive_weight=0.0)
    assert list(model.loss(BATCH)) == ["bpr", "l2"]
    assert not any("diffusion" in name for name, _ in model.named_parameters())


def test_noise_must_grow_and_leave_something() -> None:
    with pytest.raises(ValueError, match="noise_min must be below"):
        DiffKGOptions(noise_min=0.5, noise_max=0.1)
    with pytest.raises(ValueError, match="noise_scale times noise_max below 1"):
        DiffKGOptions(noise_scale=1.0, noise_max=1.0)
