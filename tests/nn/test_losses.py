"""Losses against textbook implementations, and precision of the matching loss in float32."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cosine_similarity

from spike_dgl.nn import losses
from spike_dgl.nn.losses import bpr_loss, l2_loss, matching_loss


def dense_matching(embeddings: Tensor, profiles: Tensor) -> Tensor:
    """Compute the definition with k x k matrices."""
    ours = cosine_similarity(embeddings[:, None], embeddings[None], dim=-1)
    theirs = cosine_similarity(profiles[:, None], profiles[None], dim=-1)
    return (ours - theirs).square().mean()


@settings(max_examples=30)
@given(k=st.integers(1, 12), dim=st.integers(1, 6), seed=st.integers(0, 1000))
def test_matching_equals_the_dense_form_with_its_gradients(k: int, dim: int, seed: int) -> None:
    torch.manual_seed(seed)
    inputs = [torch.randn(k, dim, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    ours, theirs = matching_loss(*inputs), dense_matching(*inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    for a, b in zip(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_matching_averages_over_samples() -> None:
    inputs = [torch.randn(9, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    samples = torch.tensor([[0, 1, 2, 3], [8, 2, 5, 1], [3, 4, 0, 7]])
    ours = matching_loss(*inputs, samples)
    theirs = torch.stack([dense_matching(*(rows[nodes] for rows in inputs)) for nodes in samples]).mean()
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), strict=True):
        torch.testing.assert_close(a, b)


def test_matching_keeps_its_precision_in_float32_where_both_sides_are_close() -> None:
    torch.manual_seed(0)
    a = torch.randn(500, 16, dtype=torch.float64)
    b = a + 1e-3 * torch.randn_like(a)
    exact = dense_matching(a, b).item()
    assert exact < 1e-5
    assert matching_loss(a.float(), b.float()).item() == pytest.approx(exact, rel=1e-4)


def test_matching_by_hand() -> None:
    # Cosines 0 and 1 off the diagonal: (0 - 1)^2 twice among four entries.
    a, b = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [1.0, 0.0]])
    assert matching_loss(a, b).item() == pytest.approx(0.5)


def test_bpr_by_hand_and_far_out() -> None:
    assert bpr_loss(torch.tensor([1.0]), torch.tensor([0.0])).item() == pytest.approx(
        math.log(1 + math.exp(-1))
    )
    assert bpr_loss(torch.tensor([0.0]), torch.tensor([500.0])).item() == pytest.approx(500.0)


def test_l2_is_half_the_squared_norm_a_row() -> None:
    assert l2_loss(torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.ones(2, 2)).item() == pytest.approx(
        (6 + 4) / 4
    )


def test_softmax_is_the_cross_entropy_of_the_positive_among_the_negatives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(losses, "USERS_PER_BLOCK", 4)  # several blocks, the last one short
    torch.manual_seed(0)
    inputs = [torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (10, 10, 6)]
    users, positives, negatives = inputs
    scores = torch.cat([(users * positives).sum(-1, keepdim=True), users @ negatives.T], dim=1)
    expected = torch.nn.functional.cross_entropy(scores, torch.zeros(10, dtype=torch.int64))
    torch.testing.assert_close(losses.softmax_loss(*inputs), expected)
    assert torch.autograd.gradcheck(losses.softmax_loss, inputs)


def test_softmax_sums_the_negatives_of_a_user_once_for_all_their_positives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(losses, "USERS_PER_BLOCK", 2)
    torch.manual_seed(0)
    inputs = [torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (5, 10, 6)]
    user_of = torch.tensor([4, 0, 0, 2, 4, 4, 1, 0, 4, 2])  # the fourth has none
    users, positives, negatives = inputs
    expected = losses.softmax_loss(users[user_of], positives, negatives)
    torch.testing.assert_close(losses.softmax_loss(*inputs, user_of), expected)
    assert torch.autograd.gradcheck(lambda *ends: losses.softmax_loss(*ends, user_of), inputs)


def test_softmax_of_large_scores_is_finite() -> None:
    rows = torch.full((2, 4), 30.0)
    assert losses.softmax_loss(rows, rows, rows[:1]).item() == pytest.approx(0.6931, abs=1e-3)


def test_contrast_is_the_cross_entropy_of_the_same_row_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "USERS_PER_BLOCK", 4)
    torch.manual_seed(0)
    anchors, others = inputs = [torch.randn(10, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    cosines = cosine_similarity(anchors[:, None], others[None], dim=-1)
    expected = torch.nn.functional.cross_entropy(cosines / 0.2, torch.arange(10))
    torch.testing.assert_close(losses.contrastive_loss(*inputs, 0.2), expected)
    assert torch.autograd.gradcheck(lambda a, b: losses.contrastive_loss(a, b, 0.2), inputs)


def test_contrast_by_hand() -> None:
    # Cosines 1 and 0 at temperature 1: log(e + 1) - 1 for each row, for any lengths.
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    expected = math.log(math.e + 1) - 1
    assert losses.contrastive_loss(rows, 5 * rows, 1.0).item() == pytest.approx(expected)
