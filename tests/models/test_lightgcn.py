"""LightGCN and matrix factorisation, against dense matrices."""

from __future__ import annotations

import pytest
import torch

from spike_dgl.models.bpr_mf import BprMf, BprMfOptions
from spike_dgl.models.lightgcn import LightGCN, LightGCNOptions
from tests.models.dense import BATCH, I, U, bpr, inputs, mean_of_powers, normalised


def l2_of_batch(ids: torch.Tensor) -> torch.Tensor:
    """Compute half the squared norm of the batch's nodes, one by one, over the number of interactions."""
    rows = [*BATCH.users.tolist(), *(BATCH.positives + U).tolist(), *(BATCH.negatives + U).tolist()]
    return torch.stack([ids[row].square().sum() for row in rows]).sum() / (2 * len(BATCH.users))


@pytest.mark.parametrize("num_layers", [1, 3])
def test_lightgcn_equals_its_equation_on_dense_matrices(num_layers: int) -> None:
    model = LightGCN(inputs(), LightGCNOptions(embedding_dim=6, num_layers=num_layers, l2_weight=0.5))
    ids = model.embedding
    final = mean_of_powers(normalised(model.interactions), ids, num_layers)
    terms = model.loss(BATCH)
    assert list(terms) == ["bpr", "l2"]
    torch.testing.assert_close(terms["bpr"], bpr(final))
    torch.testing.assert_close(terms["l2"], 0.5 * l2_of_batch(ids))
    embeddings = model.embeddings()
    torch.testing.assert_close(torch.cat([embeddings.users, embeddings.items]), final)


def test_factorisation_scores_by_its_embeddings_alone() -> None:
    model = BprMf(inputs(), BprMfOptions(embedding_dim=6, l2_weight=0.5))
    assert model.embedding.shape == (U + I, 6)
    terms = model.loss(BATCH)
    torch.testing.assert_close(terms["bpr"], bpr(model.embedding))
    torch.testing.assert_close(terms["l2"], 0.5 * l2_of_batch(model.embedding))
    scores = model.score_function()(torch.tensor([3]))
    torch.testing.assert_close(scores[0], model.embedding[U:] @ model.embedding[3])
