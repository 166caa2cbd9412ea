"""Text neighbours."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from torch.nn import functional

from spike_dgl.nn.graphs import text_neighbours as module
from spike_dgl.nn.graphs.text_neighbours import text_neighbours


def pairs(texts: torch.Tensor, number: int, of_texts: torch.Tensor | None = None) -> set[tuple[int, int]]:
    return set(zip(*(rows.tolist() for rows in text_neighbours(texts, number, of_texts)), strict=True))


@settings(max_examples=30)
@given(items=st.integers(1, 12), number=st.integers(1, 5), seed=st.integers(0, 1000))
def test_neighbours_are_the_most_similar_others_whatever_the_block(
    items: int, number: int, seed: int
) -> None:
    texts = torch.randn(items, 4, generator=torch.Generator().manual_seed(seed))
    cosines = functional.cosine_similarity(texts[:, None], texts[None], dim=-1)
    expected = set()
    for item in range(items):
        similar = sorted((float(cosines[item, other]), other) for other in range(items) if other != item)
        expected |= {(item, other) for cosine, other in similar[-number:] if cosine > 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ITEMS_PER_BLOCK", 4)
        assert pairs(texts, number) == expected


@settings(max_examples=30)
@given(items=st.integers(2, 12), number=st.integers(1, 5), seed=st.integers(0, 1000))
def test_sparse_vectors_have_the_same_neighbours(items: int, number: int, seed: int) -> None:
    texts = torch.randn(items, 4, generator=torch.Generator().manual_seed(seed)).relu()
    unit = functional.normalize(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ITEMS_PER_BLOCK", 4)
        found = text_neighbours(csr_matrix(unit.numpy()), number)
    assert set(zip(*(rows.tolist() for rows in found), strict=True)) == pairs(texts, number)


def test_an_item_without_a_text_has_no_neighbours_and_is_none() -> None:
    texts = torch.tensor([[1.0, 0.1], [0.0, 0.0], [1.0, 0.2]])
    assert pairs(texts, 2) == {(0, 2), (2, 0)}


def test_items_ascend() -> None:
    items, _ = text_neighbours(torch.rand(7, 3), 2)
    assert items.tolist() == [item for item in range(7) for _ in range(2)]


def test_texts_of_others_may_equal_an_items() -> None:
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    assert pairs(texts, 2, torch.tensor([[2.0, 0.0], [0.0, 0.0]])) == {(0, 0), (0, 2)}
    assert pairs(texts, 9, torch.tensor([[0.0, 3.0]])) == {(0, 1), (0, 2)}
