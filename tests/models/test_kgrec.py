from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from spike_dgl.graph import build_graph
from spike_dgl.models.base import Batch, ModelInputs
from spike_dgl.models.kgrec import KGRec, KGRecOptions, _mean_of_edges
from spike_dgl.nn.graphs.interactions import InteractionGraph
from tests.toy import random_dataset

DATA = random_dataset(3)
U, I, N = DATA.num_users, DATA.num_items, DATA.num_entities  # noqa: E741
BATCH = Batch(torch.tensor([0, 1, 2]), torch.tensor([3, 4, 5]), torch.tensor([6, 7, 8]))


def build(**changes: Any) -> KGRec:
    torch.manual_seed(0)
    still = {"kg_dropout": 0.0, "interaction_dropout": 0.0, "message_dropout": 0.0, "embedding_dim": 8}
    return KGRec(ModelInputs(build_graph(DATA)), KGRecOptions(**{**still, **changes})).double()


def edges() -> list[tuple[int, int, int]]:
    """Return head, relation row and tail of every edge, including inverses."""
    triples = DATA.triples
    rows = list(zip(triples.heads.tolist(), triples.relations.tolist(), triples.tails.tolist(), strict=True))
    return rows + [(tail, DATA.num_relations + relation, head) for head, relation, tail in rows]


def dense_attention(model: KGRec, entities: Tensor) -> dict[tuple[int, int, int], Tensor]:
    """Return omega [H] of every edge."""
    heads = model.options.num_heads
    query = (entities @ model.conv.query_projection).view(N, heads, -1)
    relation = model.conv.relation_embedding.view(-1, heads, query.shape[-1])
    logit = {
        (h, r, t): (query[h] * query[t] * relation[r]).sum(-1) / math.sqrt(query.shape[-1])
        for h, r, t in edges()
    }
    total = {h: sum(logit[edge].exp() for edge in logit if edge[0] == h) for h in {edge[0] for edge in logit}}
    return {edge: logit[edge].exp() / total[edge[0]] for edge in logit}


def dense_propagation(model: KGRec) -> Tensor:
    users, entities = model.embedding[:U], model.embedding[U:]
    final = model.embedding
    relation, heads = model.conv.relation_embedding, model.options.num_heads
    mean = torch.zeros(U, N, dtype=torch.float64)
    mean[DATA.train.users, DATA.train.items] = 1.0
    mean /= mean.sum(1, keepdim=True)
    for _ in range(model.options.num_layers):
        gathered = [torch.zeros(8, dtype=torch.float64) for _ in range(N)]
        for (h, r, t), weight in dense_attention(model, entities).items():
            gathered[h] = gathered[h] + weight.repeat_interleave(8 // heads) * entities[t] * relation[r]
        users, entities = normalize(mean @ entities), normalize(torch.stack(gathered))
        final = final + torch.cat([users, entities])
    return final


def test_it_propagates_as_the_equation_says() -> None:
    model = build().eval()
    torch.testing.assert_close(model.propagate(), dense_propagation(model))


def test_relations_may_begin_around_one_and_all_else_as_without() -> None:
    assert KGRecOptions().relation_init == "random"
    random, identity = (build(relation_init=init) for init in ("random", "identity"))
    torch.testing.assert_close(identity.conv.relation_embedding, random.conv.relation_embedding + 1.0)
    for name, parameter in random.named_parameters():
        if name != "conv.relation_embedding":
            assert torch.equal(parameter, identity.get_parameter(name))


def test_rationale_scores_compare_the_edges_of_a_head() -> None:
    model = build()
    messages = model.messages
    scores = model.rationale_scores(messages)
    attention = dense_attention(model, model.embedding[U:])
    degree = {h: sum(edge[0] == h for edge in attention) for h, _, _ in attention}
    expected = [
        attention[h, r, t].mean() * degree[h]
        for h, r, t in zip(
            messages.attended.dst.tolist(),
            messages.relation.tolist(),
            (messages.src - U).tolist(),
            strict=True,
        )
    ]
    torch.testing.assert_close(scores, torch.stack(expected).detach())
    of_first = scores[messages.attended.dst == messages.attended.dst[0]]
    assert of_first.mean().item() == pytest.approx(1.0)


def test_the_highest_edges_are_left_out_and_rebuilt() -> None:
    model = build(mask_size=2)
    messages = model.messages
    scores = torch.linspace(0, 1, len(messages.attended))
    scores[[3, 7]] = 5.0
    mask = model.mask(messages, scores)
    assert set(mask.tails.tolist()) == set(messages.src[[3, 7]].tolist())
    assert len(mask.kept.attended) == len(messages.attended) - 2
    assert len(mask.kept.pooled) == len(messages.pooled)
    final = model.propagate(mask.kept)
    expected = [
        -torch.log(torch.sigmoid((final[h] * final[t] * model.conv.relation_embedding[r]).sum()))
        for h, r, t in zip(mask.heads, mask.relations, mask.tails, strict=True)
    ]
    torch.testing.assert_close(model.reconstruction(final, mask), torch.stack(expected).mean())


def test_at_most_half_of_the_edges_are_masked() -> None:
    model = build(mask_size=10_000)
    mask = model.mask(model.messages, torch.rand(len(model.messages.attended)))
    assert len(mask.heads) == len(model.messages.attended) // 2


def test_views_without_pruning_are_plain_convolutions() -> None:
    model = build(pruned_share=0.0, num_layers=1)
    messages = model.messages
    scores = model.rationale_scores(messages)
    e, relation = model.embedding, model.conv.relation_embedding
    of_head = [[e[U + t] * relation[r] for h, r, t in edges() if h == item] for item in range(I)]
    gathered = [torch.stack(rows).mean(0) if rows else torch.zeros_like(e[0]) for rows in of_head]
    torch.testing.assert_close(
        model.knowledge_view(messages, scores), e[U : U + I] + normalize(torch.stack(gathered))
    )
    pairs = torch.zeros(U, I, dtype=torch.float64)
    pairs[DATA.train.users, DATA.train.items] = 1.0
    of_users = pairs.T @ (e[:U] / pairs.sum(1, keepdim=True).sqrt())
    torch.testing.assert_close(
        model.interaction_view(messages, scores), e[U : U + I] + normalize(of_users), rtol=1e-5, atol=1e-6
    )


def test_pruned_edges_are_the_lowest() -> None:
    model = build(pruned_share=0.25)
    kept = model._without_lowest(torch.tensor([0.3, 0.1, 0.9, 0.5]))
    assert kept.tolist() == [0, 2, 3]


def test_items_are_scored_by_the_edges_at_either_end() -> None:
    model = build()
    messages = model.messages
    scores = model.rationale_scores(messages)
    ends = list(zip(messages.attended.dst.tolist(), (messages.src - U).tolist(), strict=True))
    for entity, found in enumerate(_mean_of_edges(messages, scores)):
        own = [
            score
            for score, (head, tail) in zip(scores, ends, strict=True)
            for end in (head, tail)
            if end == entity
        ]
        torch.testing.assert_close(found, torch.stack(own).mean() if own else torch.ones_like(found))
    # Over the edges as head alone each mean would be one.
    assert _mean_of_edges(messages, scores)[:I].std() > 0.001


def test_interactions_are_pruned_where_their_items_edges_say_little(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(pruned_share=0.5)
    messages = model.messages
    chosen = int(messages.pooled.src[0]) - U
    seen = []

    def graph_of(users: Tensor, items: Tensor, *sizes: Any) -> InteractionGraph:
        seen.append(items)
        return InteractionGraph(users, items, *sizes)

    monkeypatch.setattr("spike_dgl.models.kgrec.InteractionGraph", graph_of)
    of_chosen = (messages.attended.dst == chosen) | (messages.src == chosen + U)
    model.interaction_view(messages, torch.where(of_chosen, 1000.0, 0.0))
    (items,) = seen
    assert len(items) == len(messages.pooled) - len(messages.pooled) // 2
    assert (items == chosen).sum() == (messages.pooled.src == chosen + U).sum()


def test_contrast_compares_with_one_other_item() -> None:
    model = build(contrastive_temperature=0.5)
    views = torch.randn(2, I, 8, dtype=torch.float64)
    a, b = model.of_interactions(views[0]), model.of_knowledge(views[1])
    torch.manual_seed(5)
    other = torch.randperm(I)
    same, ab, ba = (
        (cosine_similarity(one, two) / 0.5).exp() for one, two in ((a, b), (a, b[other]), (b, a[other]))
    )
    torch.manual_seed(5)
    torch.testing.assert_close(model.contrast(*views), -(same / (2 * same + ab + ba)).log().mean())


def test_a_training_step_has_all_terms() -> None:
    model = build(kg_dropout=0.5, interaction_dropout=0.5, message_dropout=0.1).float()
    assert list(model.loss(BATCH)) == ["bpr", "l2", "reconstruction", "contrastive"]
    without = build(reconstruction_weight=0.0, contrastive_weight=0.0, l2_weight=0.0)
    assert list(without.loss(BATCH)) == ["bpr"]
