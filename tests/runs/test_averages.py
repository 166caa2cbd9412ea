"""Averages of finished runs."""

from __future__ import annotations

import pytest

from spike_dgl.runs.averages import seconds_to_quality


def test_seconds_to_quality_are_those_of_the_first_epoch_within_one_percent_of_the_best() -> None:
    values = [0.1, 0.197, 0.1985, 0.2, 0.1]
    epochs = [{"valid/ndcg@20": value, "elapsed_seconds": 10.0 * (n + 1)} for n, value in enumerate(values)]
    assert seconds_to_quality(epochs, "ndcg@20") == 30.0


@pytest.mark.parametrize("epochs", [[], [{"elapsed_seconds": 1.0}]])
def test_without_validation_there_is_no_time_to_quality(epochs: list) -> None:
    assert seconds_to_quality(epochs, "ndcg@20") is None
