"""LightGCL against dense matrices, and its low-rank view."""

from __future__ import annotations

import torch

from spike_dgl.models.base import CPU
from spike_dgl.models.lightgcl import LightGCL, LightGCLOptions, low_rank
from spike_dgl.nn.graphs.interactions import InteractionGraph
from tests.models.dense import BATCH, ITEMS, USERS, U, bpr, info_nce, inputs, normalised


def best_of_rank(matrix: torch.Tensor, rank: int) -> torch.Tensor:
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return left[:, :rank] * values[:rank] @ right[:rank]


def build(**options: float) -> LightGCL:
    torch.manual_seed(1)
    return LightGCL(inputs(), LightGCLOptions(embedding_dim=5, **options))


def test_the_low_rank_form_is_that_of_a_dense_decomposition() -> None:
    graph = build().interactions
    left, right = low_rank(graph, 3)
    assert left.shape == (U, 3)
    torch.testing.assert_close(left @ right.T, best_of_rank(normalised(graph)[:U, U:], 3))


def test_a_rank_above_the_size_of_the_matrix_gives_the_matrix() -> None:
    graph = build().interactions
    left, right = low_rank(graph, 50)
    torch.testing.assert_close(left @ right.T, normalised(graph)[:U, U:])


def test_on_a_larger_matrix_it_is_nearly_the_best_of_its_rank() -> None:
    torch.manual_seed(2)
    users, items = torch.randint(200, (3000,)), torch.randint(150, (3000,)).square() // 150
    pairs = torch.unique(torch.stack([users, items]), dim=1)
    graph = InteractionGraph(*pairs, 200, 150, CPU)
    matrix = torch.zeros(200, 150)
    matrix[pairs[0], pairs[1]] = 1.0
    matrix *= graph.scale[:200] * graph.scale[200:].T
    left, right = low_rank(graph, 5)
    error, smallest = (matrix - form for form in (left @ right.T, best_of_rank(matrix, 5)))
    assert error.norm() < 1.01 * smallest.norm()


def test_the_loss_equals_its_equation_on_dense_matrices() -> None:
    model = build(rank=2, contrastive_weight=0.7, temperature=0.4)
    terms = model.loss(BATCH)
    matrix, e0 = normalised(model.interactions), model.embedding
    view = torch.zeros_like(matrix)
    view[:U, U:] = best_of_rank(matrix[:U, U:], 2)
    view[U:, :U] = view[:U, U:].T
    e1 = matrix @ e0
    z, g = e0 + e1 + matrix @ e1, e0 + view @ e0 + view @ e1
    contrast = sum(info_nce(g[rows], z[rows], 0.4) for rows in (USERS, ITEMS))
    torch.testing.assert_close(terms["contrastive"], 0.7 * contrast)
    torch.testing.assert_close(terms["bpr"], bpr(z / 3))


def test_a_checkpoint_holds_the_low_rank_form() -> None:
    model, other = build(), build()
    other.left.zero_()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.left, model.left)


def test_without_a_weight_there_is_no_contrast() -> None:
    assert list(build(contrastive_weight=0.0).loss(BATCH)) == ["bpr", "l2"]
