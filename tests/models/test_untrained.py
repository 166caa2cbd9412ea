"""Untrained baselines against hand-computed values."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from spike_dgl.errors import ConfigError
from spike_dgl.graph import build_graph
from spike_dgl.models.base import ModelInputs, RecommenderModel, model_entry
from spike_dgl.profiles.terms import fit_terms
from tests.toy import dataset

# Item 3 has no user.
DATA = dataset([(0, 0), (0, 1), (1, 1), (2, 1), (2, 2)], [(0, 0, 4)], sizes=(3, 4, 5, 1))
TEXTS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 3.0], [1.0, 0.0], [9.0, 9.0]])


def model(name: str, texts: Tensor | None = TEXTS, terms: csr_matrix | None = None) -> RecommenderModel:
    entry = model_entry(name)
    users = None if texts is None else torch.zeros(3, 2)
    return entry.model(ModelInputs(build_graph(DATA), users, texts, terms), entry.options())


def test_popularity_counts_training_interactions() -> None:
    scores = model("popularity").score_function()(torch.tensor([2, 0]))
    assert scores.tolist() == [[1, 3, 1, 0], [1, 3, 1, 0]]


def test_item_cosine_sums_similarities_to_the_history() -> None:
    scores = model("item-cosine").score_function()(torch.tensor([1, 0]))
    to_item_1 = 1 / math.sqrt(3)  # one common user, of 1 and of 3
    torch.testing.assert_close(
        scores,
        torch.tensor([[to_item_1, 1.0, to_item_1, 0.0], [1 + to_item_1, 1 + to_item_1, to_item_1, 0.0]]),
    )


def test_item_text_cosine_sums_similarities_to_the_history() -> None:
    scores = model("item-text-cosine").score_function()(torch.tensor([0, 1]))
    half = 1 / math.sqrt(2)
    torch.testing.assert_close(scores, torch.tensor([[1.0, 1.0, 2 * half, 1.0], [0.0, 1.0, half, 0.0]]))


def test_item_text_cosine_compares_words_where_there_are_texts() -> None:
    fitted = fit_terms(["space pirates", "space", "love", ""])
    assert fitted is not None
    scores = model("item-text-cosine", terms=fitted[1]).score_function()(torch.tensor([0]))
    shared = (fitted[1] @ fitted[1].T).toarray()[0, 1]
    torch.testing.assert_close(scores, torch.tensor([[1 + shared, 1 + shared, 0.0, 0.0]]))


def test_item_text_cosine_needs_texts() -> None:
    with pytest.raises(ConfigError, match=r"profiles\.source"):
        model("item-text-cosine", None)
