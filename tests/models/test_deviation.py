"""Standard deviation of scores, from the moments of embeddings."""

from __future__ import annotations

import pytest
import torch

from spike_dgl.models import deviation
from spike_dgl.models.deviation import Moments, deviation_by_moments, score_deviation

DRAW = torch.Generator().manual_seed(0)
USERS, ITEMS = (1 + torch.randn(number, 4, generator=DRAW) for number in (30, 20))


def test_it_is_that_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    # Scores 1, -1, 2 and -2: the mean is 0, and that of squares 2.5.
    users, items = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [-1.0]])
    assert score_deviation(users, items) == pytest.approx(2.5**0.5)
    of_all_pairs = float((USERS @ ITEMS.T).std(unbiased=False))
    assert score_deviation(USERS, ITEMS) == pytest.approx(of_all_pairs, rel=1e-5)
    monkeypatch.setattr(deviation, "ROWS_AT_ONCE", 7)
    assert score_deviation(USERS, ITEMS) == pytest.approx(of_all_pairs, rel=1e-5)


def test_equal_scores_do_not_deviate() -> None:
    assert score_deviation(torch.ones(3, 2) / 3, torch.ones(4, 2) / 7) == pytest.approx(0.0, abs=1e-8)


def test_moments_of_several_sets_of_rows_add_up() -> None:
    parts = [Moments.of(rows) for rows in (USERS[:3], USERS[3:3], USERS[3:])]
    summed = Moments(*(torch.stack(of_parts).sum(dim=0) for of_parts in zip(*parts, strict=True)))
    found = deviation_by_moments(summed, Moments.of(ITEMS))
    assert found == pytest.approx(score_deviation(USERS, ITEMS), rel=1e-12)
