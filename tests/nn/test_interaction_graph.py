"""The user-item graph, against dense matrices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spike_dgl.graph import build_graph
from spike_dgl.models.base import CPU
from spike_dgl.nn import dispatch
from spike_dgl.nn.graphs.interactions import InteractionGraph
from tests.toy import random_dataset

DATA = random_dataset(3)


def dense(users: Tensor, items: Tensor) -> Tensor:
    matrix = torch.zeros(DATA.num_users + DATA.num_items, DATA.num_users + DATA.num_items)
    matrix[users, items + DATA.num_users] = 1.0
    return matrix + matrix.T


@pytest.mark.parametrize("with_dgl", [True, False])
def test_hops_equal_products_with_the_normalised_matrix(
    monkeypatch: pytest.MonkeyPatch, with_dgl: bool
) -> None:
    if not with_dgl:
        monkeypatch.setattr(dispatch, "COMPILED_FOR", set())
    graph = InteractionGraph.from_graph(build_graph(DATA), CPU)
    matrix = dense(graph.users, graph.items)
    scale = matrix.sum(1).clamp(min=1).rsqrt().unsqueeze(1)
    normalised = scale * matrix * scale.T
    rows, same = (torch.randn(len(matrix), 4, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    rows.requires_grad_()
    same = rows.detach().clone().requires_grad_()
    result = graph.mean_of_hops(rows, 2)
    expected = (same + normalised @ same + normalised @ normalised @ same) / 3
    torch.testing.assert_close(result, expected)
    result.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(rows.grad, same.grad)


def test_a_part_of_the_pairs_has_degrees_of_its_own() -> None:
    graph = InteractionGraph.from_graph(build_graph(DATA), CPU)
    kept = torch.arange(len(graph.users)) % 2 == 0
    part = graph.keep(kept)
    matrix = dense(graph.users[kept], graph.items[kept])
    torch.testing.assert_close(part.scale, matrix.sum(1).clamp(min=1).rsqrt().unsqueeze(1))
    rows = torch.randn(len(matrix), 3)
    torch.testing.assert_close(part.sum_of_neighbours(rows), matrix @ rows)


def test_dropping_leaves_out_about_that_share_of_the_pairs_and_none_of_the_nodes() -> None:
    torch.manual_seed(0)
    pairs = torch.arange(1000) % 50
    graph = InteractionGraph(pairs, pairs.flip(0), 50, 60, CPU)
    part = graph.drop(0.3)
    assert len(part.users) / 1000 == pytest.approx(0.7, abs=0.05)
    assert len(part.scale) == 110
    assert len(graph.drop(0.0).users) == 1000
