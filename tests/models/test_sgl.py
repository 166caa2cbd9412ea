"""SGL against dense matrices, and its views."""

from __future__ import annotations

import torch

from spike_dgl.models.base import contrast_of_batch
from spike_dgl.models.sgl import SGL, SGLOptions
from tests.models.dense import BATCH, ITEMS, USERS, U, bpr, info_nce, inputs, mean_of_powers, normalised


def build(**options: float) -> SGL:
    torch.manual_seed(1)
    return SGL(inputs(), SGLOptions(embedding_dim=5, **options))


def test_the_loss_equals_its_equation_on_dense_matrices() -> None:
    model = build(edge_dropout=0.3, contrastive_weight=0.7, temperature=0.4)
    torch.manual_seed(9)
    terms = model.loss(BATCH)
    torch.manual_seed(9)
    graph = model.interactions
    kept = [torch.rand(len(graph.users)) >= 0.3 for _ in range(2)]
    one, other = (mean_of_powers(normalised(graph, part), model.embedding, 3) for part in kept)
    contrast = sum(info_nce(one[rows], other[rows], 0.4) for rows in (USERS, ITEMS))
    torch.testing.assert_close(terms["contrastive"], 0.7 * contrast)
    torch.testing.assert_close(terms["bpr"], bpr(mean_of_powers(normalised(graph), model.embedding, 3)))
    assert list(terms) == ["bpr", "l2", "contrastive"]


def test_two_views_differ_and_the_contrast_falls_where_they_agree() -> None:
    model = build(edge_dropout=0.3)
    one, other = model.view(), model.view()
    assert not torch.allclose(one, other)
    apart, same = (contrast_of_batch(one, view, BATCH, U, 0.2) for view in (other, one))
    assert same < apart


def test_training_lets_the_views_of_a_node_agree() -> None:
    model = build(edge_dropout=0.3, contrastive_weight=1.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    losses = []
    for _ in range(25):
        loss = model.loss(BATCH)["contrastive"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_scores_do_not_depend_on_the_views() -> None:
    first, second = (build(edge_dropout=share).train().embeddings() for share in (0.0, 0.9))
    assert torch.equal(first.users, second.users)
    assert torch.equal(first.items, second.items)


def test_without_a_weight_there_is_no_contrast() -> None:
    assert list(build(contrastive_weight=0.0).loss(BATCH)) == ["bpr", "l2"]
