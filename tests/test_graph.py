"""The heterograph: edge types, inverses, relation rows, and storing it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spike_dgl.data.dataset import Dataset, Vocabulary
from spike_dgl.errors import DataError
from spike_dgl.graph import build_graph, load_graph, num_relation_rows, save_graph, with_similar_items
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
        "r0": [0], "r1": [1], "r0_inverse": [2], "r1_inverse": [3], "interacts_inverse": [4], "interacts": [5]
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
    assert extended.edges[similar].data["relation"].tolist() == [2 * toy.num_relations + 1] * 2
    assert num_relation_rows(extended) == num_relation_rows(graph) + 1
    for edge_type in graph.canonical_etypes:
        for before, after in zip(graph.edges(etype=edge_type), extended.edges(etype=edge_type), strict=True):
            assert before.equal(after)
        assert extended.edges[edge_type].data["relation"].equal(graph.edges[edge_type].data["relation"])
    assert extended.nodes["entity"].data["is_item"].equal(graph.nodes["entity"].data["is_item"])
