"""The heterograph: edge types, inverses, relation rows, and storing it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spike_dgl.data.dataset import Dataset, Triples, Vocabulary
from spike_dgl.errors import DataError
from spike_dgl.graph import (
    build_graph,
    edge_types_by_id,
    entity_edge_types,
    load_graph,
    num_knowledge_relations,
    save_graph,
    with_similar_items,
)
from tests.toy import dataset


@pytest.fixture
def toy() -> Dataset:
    return dataset(
        [(0, 0), (1, 1)],
        [(0, 0, 2), (1, 0, 2), (1, 1, 3)],
        sizes=(2, 2, 4, 2),
        valid=[(0, 1)],
        test=[(1, 0)],
    )


def test_every_relation_has_an_edge_type_and_an_inverse(toy: Dataset) -> None:
    graph = build_graph(toy)
    assert set(graph.canonical_etypes) == {
        ("entity", "r0", "entity"),
        ("entity", "r0_inverse", "entity"),
        ("entity", "r1", "entity"),
        ("entity", "r1_inverse", "entity"),
        ("user", "interacts", "entity"),
        ("entity", "interacts_inverse", "user"),
    }
    heads, tails = graph.edges(etype="r0", order="eid")
    assert (heads.tolist(), tails.tolist()) == ([0, 1], [2, 2])
    for name in ("r0", "r1", "interacts"):
        forward = graph.edges(etype=name, order="eid")
        backward = graph.edges(etype=f"{name}_inverse", order="eid")
        assert torch.equal(forward[0], backward[1])
        assert torch.equal(forward[1], backward[0])


def test_only_training_interactions_are_in_the_graph(toy: Dataset) -> None:
    users, items = build_graph(toy).edges(etype="interacts")
    assert sorted(zip(users.tolist(), items.tolist(), strict=True)) == [(0, 0), (1, 1)]


def test_relation_rows_and_items_are_marked(toy: Dataset) -> None:
    graph = build_graph(toy)
    rows = {name: graph.edges[name].data["relation"].unique().tolist() for name in graph.etypes}
    assert rows == {
        "r0_inverse": [0], "r1_inverse": [1], "r0": [2], "r1": [3], "interacts": [4], "interacts_inverse": [5]
    }  # fmt: skip
    assert graph.nodes["entity"].data["is_item"].tolist() == [True, True, False, False]


def test_relations_whose_names_clash_stay_apart(toy: Dataset) -> None:
    clashing = toy.replace(relations=Vocabulary("relation", ("interacts", "interacts_inverse")))
    graph = build_graph(clashing)
    assert len(graph.canonical_etypes) == 6
    assert graph.num_edges() == 2 * (3 + 2)


def test_saved_and_loaded_it_is_the_same(toy: Dataset, tmp_path: Path) -> None:
    graph = build_graph(toy)
    save_graph(graph, tmp_path / "graph.bin")
    loaded = load_graph(tmp_path / "graph.bin")
    assert set(loaded.canonical_etypes) == set(graph.canonical_etypes)
    for edge_type in graph.canonical_etypes:
        for ours, theirs in zip(
            loaded.edges(etype=edge_type, order="eid"), graph.edges(etype=edge_type, order="eid"), strict=True
        ):
            assert torch.equal(ours, theirs)
        assert torch.equal(loaded.edges[edge_type].data["relation"], graph.edges[edge_type].data["relation"])
    assert torch.equal(loaded.nodes["entity"].data["is_item"], graph.nodes["entity"].data["is_item"])


def test_a_file_that_is_no_graph_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such graph file"):
        load_graph(tmp_path / "graph.bin")
    (tmp_path / "graph.bin").write_bytes(b"not a graph, but long enough to have a header of some kind")
    with pytest.raises(DataError, match="is not a graph saved by DGL"):
        load_graph(tmp_path / "graph.bin")


def test_similar_items_are_one_more_relation_and_change_nothing_else(toy: Dataset) -> None:
    graph = build_graph(toy)
    extended = with_similar_items(graph, torch.tensor([0, 1]), torch.tensor([1, 0]))
    similar = ("entity", "similar text", "entity")
    assert set(extended.canonical_etypes) - set(graph.canonical_etypes) == {similar}
    assert similar not in graph.canonical_etypes
    assert [end.tolist() for end in extended.edges(etype=similar)] == [[1, 0], [0, 1]]
    assert extended.edges[similar].data["relation"].tolist() == [2 * toy.num_relations + 2] * 2
    assert entity_edge_types(extended) == [*entity_edge_types(graph), similar]
    assert num_knowledge_relations(extended) == num_knowledge_relations(graph) == 2 * toy.num_relations
    for edge_type in graph.canonical_etypes:
        for before, after in zip(graph.edges(etype=edge_type), extended.edges(etype=edge_type), strict=True):
            assert before.equal(after)
        assert extended.edges[edge_type].data["relation"].equal(graph.edges[edge_type].data["relation"])
    assert extended.nodes["entity"].data["is_item"].equal(graph.nodes["entity"].data["is_item"])


def test_every_edge_type_has_an_id_of_its_own_also_without_edges(toy: Dataset) -> None:
    graph = build_graph(toy.replace(triples=Triples.from_rows(np.array([[0, 1, 2]]))))
    names = [name for _, name, _ in edge_types_by_id(graph)]
    assert sorted(names) == sorted(["r0", "r0_inverse", "r1", "r1_inverse", "interacts", "interacts_inverse"])
    assert (names[1], names[3], names[4], names[5]) == ("r1_inverse", "r1", "interacts", "interacts_inverse")
    assert [name for _, name, _ in entity_edge_types(graph)] == names[:5]
