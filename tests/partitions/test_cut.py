"""Cutting a graph into parts: every node, edge and interaction is in one part, and ids say what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spike_dgl.dgl_import import dgl
from spike_dgl.errors import ConfigError, DataError, SpikeError
from spike_dgl.evaluation import EvaluationOptions
from spike_dgl.graph import build_graph
from spike_dgl.models.base import Embeddings
from spike_dgl.nn.graphs.relational import RelationalGraph
from spike_dgl.partitions.layout import ITEMS, OTHERS, USERS, Layout, PartInteractions
from spike_dgl.partitions.partition import Partitioned, cut_graph, partition
from spike_dgl.partitions.ranking import rank_own
from spike_dgl.partitions.tables import Own
from spike_dgl.runs.config import load_config
from tests.partitions.tiny import write_tiny
from tests.toy import random_dataset


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Partitioned]:
    folder = tmp_path_factory.mktemp("parts")
    write_tiny(folder / "data")
    config = load_config(None, [f"data.path={folder / 'data'}", "profiles.vector_dim=8"])
    return folder / "out", partition(config, folder / "out", 3)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1000), num_parts=st.integers(1, 3))
def test_every_edge_is_in_the_part_of_its_dst_with_its_relation(seed: int, num_parts: int) -> None:
    data = random_dataset(seed, sizes=(30, 40, 60, 3), density=200)
    edges = RelationalGraph.from_heterograph(build_graph(data))
    try:
        cut = cut_graph(edges, (data.num_users, data.num_items), num_parts, "random")
    except SpikeError:
        return  # a part without users or items
    relation_of = cut.edge_starts.flatten()
    found = set()
    bounds = [*cut.node_starts[:, USERS].tolist(), edges.num_nodes]
    for part in range(num_parts):
        graph = cut.part(part)
        ids, inner = graph.ndata[dgl.NID], graph.ndata["inner_node"].bool()
        assert ids[inner].tolist() == list(range(bounds[part], bounds[part + 1]))
        assert not set(ids[inner].tolist()) & set(ids[~inner].tolist())
        assert graph.edata["inner_edge"].all()
        src, dst = (ids[end] for end in graph.edges(order="eid"))
        assert inner[graph.edges(order="eid")[1]].all()
        relations = (torch.searchsorted(relation_of, graph.edata[dgl.EID], right=True) - 1) % 8
        rows = [cut.original_rows[end].tolist() for end in (src, dst)]
        found |= set(zip(*rows, relations.tolist(), strict=True))
    assert found == set(zip(edges.src.tolist(), edges.dst.tolist(), edges.relation.tolist(), strict=True))


def test_ids_say_what_they_are(parts: tuple[Path, Partitioned]) -> None:
    _, result = parts
    layout, rows = result.layout, result.cut.original_rows
    bounds = torch.tensor([layout.num_users, layout.num_users + layout.num_items])
    ids = torch.arange(layout.num_nodes)
    assert torch.equal(layout.kinds(ids), torch.searchsorted(bounds, rows, right=True))
    assert torch.equal(layout.ids(layout.rows(ids)), ids)
    by_row = layout.rows(ids).sort().values
    assert (layout.kinds(layout.ids(by_row))[: layout.num_users] == USERS).all()  # users come first
    assert torch.equal(layout.all_item_ids, ids[layout.kinds(ids) == ITEMS])
    assert int((layout.kinds(ids) == OTHERS).sum()) == layout.num_nodes - layout.num_users - layout.num_items


def test_cold_users_are_ranked_by_the_popularity_among_users_of_all_parts(
    parts: tuple[Path, Partitioned],
) -> None:
    folder, result = parts
    layout = result.layout
    own = [
        PartInteractions.read(folder / f"part{part}" / "interactions.npz", range(layout.num_users))
        for part in range(3)
    ]
    counts = sum(np.bincount(pairs.train.items, minlength=layout.num_items) for pairs in own)
    assert all(pairs.popularity.tolist() == list(counts) for pairs in own)
    # The first user of the part has no training interactions.
    first = own[0].test.users[0]
    cold = replace(own[0], train=own[0].train.select(own[0].train.users != first))
    users = layout.part(0, USERS)
    embedded = Embeddings(torch.rand(len(users), 4), torch.rand(layout.num_items, 4))
    ranked = rank_own(embedded, cold, "test", EvaluationOptions(cutoffs=(5,)))
    listed = counts[ranked.lists[0]]
    assert ranked.users[0] == first
    assert listed.tolist() == sorted(counts, reverse=True)[:5]
    assert (
        rank_own(embedded, own[0], "test", EvaluationOptions(cutoffs=(5,))).lists[1] == ranked.lists[1]
    ).all()


@pytest.mark.parametrize("trainers", [1, 2, 3])
def test_trainers_share_the_nodes_and_interactions_of_their_part(
    parts: tuple[Path, Partitioned], trainers: int
) -> None:
    folder, result = parts
    layout = result.layout
    nodes, pairs = [], set()
    for part in range(3):
        for trainer in range(trainers):
            own = Own.of(layout, part, trainer, trainers)
            nodes += own.nodes
            train = PartInteractions.read(folder / f"part{part}" / "interactions.npz", own.part_users).train
            users = result.cut.original_rows[torch.from_numpy(train.users) + own.users.start]
            items = result.cut.original_rows[layout.item_ids(torch.from_numpy(train.items))]
            pairs |= set(zip(users.tolist(), (items - layout.num_users).tolist(), strict=True))
    assert nodes == list(range(layout.num_nodes))
    data = random_pairs(folder)
    assert pairs == data


def random_pairs(folder: Path) -> set[tuple[int, int]]:
    """Return the training pairs of the partitioned data set."""
    from spike_dgl.runs.folder import RunFolder

    train = RunFolder.open(folder / "first-host").load_dataset().train
    return set(zip(train.users.tolist(), train.items.tolist(), strict=True))


def test_a_damaged_or_missing_part_is_named(parts: tuple[Path, Partitioned], tmp_path: Path) -> None:
    folder, result = parts
    result.layout.check_part(folder, 1)
    own = tmp_path / "part1"
    with pytest.raises(DataError, match=r"part1.*is missing, and this is host 1"):
        result.layout.check_part(tmp_path, 1)
    own.mkdir()
    for file in (folder / "part2").iterdir():  # the part of another host
        (own / file.name).write_bytes(file.read_bytes())
    with pytest.raises(DataError, match="damaged, or belongs to another partition"):
        result.layout.check_part(tmp_path, 1)


def test_files_of_the_data_are_compared_without_loading_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_tiny(data)
    layout = partition(
        load_config(None, [f"data.path={data}", "profiles.source=none"]), tmp_path / "parts", 2, "random"
    ).layout
    with patch("spike_dgl.data.options.load_dataset", side_effect=AssertionError("loaded")):
        assert Layout.read(tmp_path / "parts").has_unchanged_data
    assert not replace(layout, data_checksums={}).has_unchanged_data, "earlier versions did not store them"
    content = (data / "train.txt").read_text()
    (data / "train.txt").write_text(content + "0 1\n")
    assert not layout.has_unchanged_data
    (data / "train.txt").unlink()
    assert not layout.has_unchanged_data


def test_texts_on_the_disk_follow_their_nodes_in_float16(
    parts: tuple[Path, Partitioned], tmp_path: Path
) -> None:
    folder, _ = parts
    overrides = [f"data.path={folder.parent / 'data'}", "profiles.vector_dim=8", "model.fanout=[5,5]"]
    config = load_config(None, [*overrides, "profiles.vectors_on_disk=true"])
    partition(config, tmp_path / "out", 2)
    with np.load(folder / "first-host" / "profiles.npz") as stored:
        texts = np.concatenate([stored["users"], stored["entities"]])
    for part in range(2):
        features = dgl.data.utils.load_tensors(str(tmp_path / "out" / f"part{part}" / "node_feat.dgl"))
        assert features["_N/text"].dtype == torch.float32
        np.testing.assert_allclose(features["_N/text"].numpy(), texts[features["_N/row"].numpy()], atol=1e-3)


def test_the_layout_is_stored(parts: tuple[Path, Partitioned], tmp_path: Path) -> None:
    folder, result = parts
    assert Layout.read(folder).fingerprint == result.layout.fingerprint
    with pytest.raises(DataError, match=r"main.py partition"):
        Layout.read(tmp_path)


def test_a_folder_is_partitioned_once_and_into_parts_with_users(
    parts: tuple[Path, Partitioned], tmp_path: Path
) -> None:
    folder, _ = parts
    config = load_config(None, [f"data.path={folder.parent / 'data'}"])
    with pytest.raises(SpikeError, match="already exists"):
        partition(config, folder, 2)
    with pytest.raises(ConfigError, match="each part needs a user"):
        partition(config, tmp_path / "out", 1000)


def test_texts_follow_their_nodes(parts: tuple[Path, Partitioned]) -> None:
    folder, result = parts
    with np.load(folder / "first-host" / "profiles.npz") as stored:
        texts = np.concatenate([stored["users"], stored["entities"]])
    for part in range(3):
        features = dgl.data.utils.load_tensors(str(folder / f"part{part}" / "node_feat.dgl"))
        rows = features["_N/row"]
        assert torch.equal(rows, result.cut.original_rows[list(result.layout.part(part))])
        np.testing.assert_array_equal(features["_N/text"].numpy(), texts[rows.numpy()])
