"""RLMRec against dense matrices, and the effects of texts."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional

from spike_dgl.errors import ConfigError
from spike_dgl.models.rlmrec import RLMRec, RLMRecOptions
from tests.models.dense import BATCH, USERS, U, bpr, info_nce, inputs, mean_of_powers, normalised

ITEMS = torch.tensor([0, 1, 2, 4, 5, 8]) + U


def build(**options: float) -> RLMRec:
    torch.manual_seed(1)
    return RLMRec(inputs(), RLMRecOptions(embedding_dim=5, **options))


def projected(model: RLMRec) -> torch.Tensor:
    """Compute s."""
    first, _, last = model.projection
    hidden = functional.leaky_relu(model.vectors @ first.weight.T + first.bias, 0.01)
    return hidden @ last.weight.T + last.bias


def test_the_loss_equals_its_equation_on_dense_matrices() -> None:
    model = build(edge_dropout=0.3, alignment_weight=0.7, temperature=0.4)
    torch.manual_seed(9)
    terms = model.loss(BATCH)
    torch.manual_seed(9)
    kept = torch.rand(len(model.interactions.users)) >= 0.3
    z, s = mean_of_powers(normalised(model.interactions, kept), model.embedding, 3), projected(model)
    contrast = sum(info_nce(z[rows], s[rows], 0.4) for rows in (USERS, ITEMS))
    torch.testing.assert_close(terms["alignment"], 0.7 * contrast)
    torch.testing.assert_close(terms["bpr"], bpr(z))


def test_alignment_moves_embeddings_towards_their_texts() -> None:
    model = build(edge_dropout=0.0, temperature=0.2)
    with torch.no_grad():
        towards = projected(model)
    before = model.alignment(BATCH, model.propagate())
    assert model.alignment(BATCH, towards) < before
    (gradient,) = torch.autograd.grad(before, model.embedding)
    with torch.no_grad():
        model.embedding -= 0.01 * gradient
    assert model.alignment(BATCH, model.propagate()) < before


def test_texts_do_not_score() -> None:
    model = build().eval()
    before = model.embeddings()
    model.vectors.normal_()
    assert torch.equal(model.embeddings().items, before.items)


def test_the_whole_graph_scores() -> None:
    model = build(edge_dropout=0.9).eval()
    expected = mean_of_powers(normalised(model.interactions), model.embedding, 3)
    torch.testing.assert_close(model.embeddings().users, expected[:U])


@pytest.mark.parametrize("missing", ["user_vectors", "entity_vectors"])
def test_without_profiles_it_says_what_to_set(missing: str) -> None:
    with pytest.raises(ConfigError, match=r"rlmrec .* no profiles\n.*profiles\.source"):
        RLMRec(dataclasses.replace(inputs(), **{missing: None}), RLMRecOptions())


def test_without_a_weight_there_is_no_contrast() -> None:
    assert list(build(alignment_weight=0.0).loss(BATCH)) == ["bpr", "l2"]
