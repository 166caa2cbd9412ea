"""AlphaRec against a dense computation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spike_dgl.config import build
from spike_dgl.errors import ConfigError
from spike_dgl.graph import build_graph
from spike_dgl.models.alpha_rec import AlphaRec, AlphaRecOptions
from spike_dgl.models.base import ModelInputs
from tests.toy import dataset

# User 2 and item 3 have no interactions.
DATA = dataset([(0, 0), (0, 1), (1, 1)], [(0, 0, 4)], sizes=(3, 4, 5, 1))
TEXTS = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 1.0], [0.0, 0.0], [9.0, 9.0]])


def model(**options: object) -> AlphaRec:
    torch.manual_seed(1)
    settings = AlphaRecOptions(embedding_dim=3, **options)  # type: ignore[arg-type]
    return AlphaRec(ModelInputs(build_graph(DATA), torch.rand(3, 2), TEXTS), settings)


def test_users_are_the_mean_of_their_items_texts() -> None:
    expected = [[0.3, 0.9], [0.0, 1.0], [0.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.5**0.5, 0.5**0.5], [0.0, 0.0]]
    torch.testing.assert_close(model().embedding, torch.tensor(expected))


@pytest.mark.parametrize("mapping", ["linear", "mlp"])
def test_embeddings_are_the_mean_over_hops_of_mapped_texts(mapping: str) -> None:
    made = model(mapping=mapping, num_layers=2)
    adjacency = np.zeros((7, 7))
    for user, item in ((0, 3), (0, 4), (1, 4)):
        adjacency[user, item] = adjacency[item, user] = 1.0
    scale = np.maximum(adjacency.sum(0), 1.0) ** -0.5
    hop = torch.tensor(scale[:, None] * adjacency * scale, dtype=torch.float32)
    first = made.mapping(made.embedding)
    torch.testing.assert_close(made.propagate(), (first + hop @ first + hop @ hop @ first) / 3)


def test_only_the_map_is_trained() -> None:
    shapes = {name: tuple(each.shape) for name, each in model(mapping="linear").named_parameters()}
    assert shapes == {"mapping.weight": (3, 2), "mapping.bias": (3,)}


def test_there_are_no_id_embeddings_to_regularise() -> None:
    with pytest.raises(ConfigError, match="l2_weight"):
        build(AlphaRecOptions, {"l2_weight": 0.1}, "model")


def test_it_needs_texts() -> None:
    with pytest.raises(ConfigError, match=r"profiles\.source"):
        AlphaRec(ModelInputs(build_graph(DATA)), AlphaRecOptions())
