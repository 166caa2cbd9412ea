"""Models on one part, in this process: the same losses, gradients and embeddings as on the whole graph."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor, distributed

from spike_dgl.dgl_import import dgl
from spike_dgl.errors import ConfigError
from spike_dgl.models.base import Batch, EmbeddingModel, Embeddings
from spike_dgl.models.deviation import Moments
from spike_dgl.models.popularity_term import PopularityTerm
from spike_dgl.partitions import shards
from spike_dgl.partitions.inference import embeddings, propagate, with_popularity_term
from spike_dgl.partitions.layout import DGL_LAYOUT, GRAPH, Layout, PartInteractions
from spike_dgl.partitions.models import build_model
from spike_dgl.partitions.partition import partition
from spike_dgl.partitions.report import write_result, write_trained
from spike_dgl.partitions.sampler import PartitionSampler
from spike_dgl.partitions.tables import Own, SummedSparseAdam, Tables
from spike_dgl.partitions.trainer import PartitionTrainer
from spike_dgl.recommend import Recommender
from spike_dgl.runs import popularity_weight
from spike_dgl.runs.config import RunConfig, load_config
from spike_dgl.runs.embeddings import read_embeddings
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.set_up import _build_model
from spike_dgl.runs.text_vectors import TextVectors
from spike_dgl.training.distributed import Processes
from spike_dgl.training.trainer import final_embeddings
from tests.partitions.tiny import write_tiny
from tests.partitions.whole_graph import check_against_whole_graph, records

SPIKE = [
    "model.message_dropout=0",
    "model.projection_dropout=0",
    "model.kg_dropout=0",
    "model.interaction_dropout=0",
    "model.l2_weight=0.1",
    "model.matching_weight=0",
    "model.similar_items=3",
    "model.popularity_weight=0.3",
]
RGCN = ["model.name=r-gcn", "model.self_dropout=0", "model.l2_weight=0.1"]
BATCH = Batch(torch.tensor([0, 3, 5, 3]), torch.tensor([2, 3, 7, 9]), torch.tensor([1, 8, 4, 40]))


@dataclass
class Standalone:
    """One part, loaded into this process."""

    folder: Path
    layout: Layout
    graph: Any


@pytest.fixture(scope="module")
def group() -> Iterator[None]:
    """Join a group of this process alone."""
    # DGL's stand-in for its servers cannot delete tables.
    dgl.distributed.DistTensor.__del__ = lambda _: None
    dgl.distributed.initialize("")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Partition the data for each model."""
    folder = tmp_path_factory.mktemp("one")
    write_tiny(folder / "data")
    made = {"spike": ["model.similar_items=3"], "r-gcn": ["model.name=r-gcn"]}
    for name, overrides in made.items():
        data = [f"data.path={folder / 'data'}", "profiles.vector_dim=8", *overrides]
        partition(load_config(None, data), folder / name, 1)
    return {name: folder / name for name in made}


@pytest.fixture
def part(group: None, folders: dict[str, Path], request: pytest.FixtureRequest) -> Standalone:
    folder = folders[getattr(request, "param", "spike")]
    graph = dgl.distributed.DistGraph(GRAPH, part_config=str(folder / DGL_LAYOUT))
    return Standalone(folder, Layout.read(folder), graph)


def config_of(part: Standalone, *overrides: str) -> RunConfig:
    """Return settings that sample all neighbours."""
    mapping = load_config(None, ["model.embedding_dim=8", "model.fanout=[-1,-1]", *overrides]).to_mapping()
    return RunConfig.from_mapping({**mapping, "data": part.layout.data, "profiles": part.layout.profiles})


def whole_model(part: Standalone, config: RunConfig) -> EmbeddingModel:
    """Build the model on the whole graph, without sampling."""
    mapping = config.to_mapping()
    mapping["model"]["fanout"] = []
    folder = RunFolder.open(part.folder / "first-host")
    torch.manual_seed(1)
    dataset = folder.load_dataset()
    vectors = TextVectors.of_run(folder, dataset.num_users)
    model = _build_model(RunConfig.from_mapping(mapping), folder, dataset, vectors, torch.device("cpu"))
    assert isinstance(model, EmbeddingModel)
    return model


def on_part(
    part: Standalone, config: RunConfig, whole: EmbeddingModel
) -> tuple[Any, Tables, PartitionSampler]:
    """Return the same model on the part, with the same weights."""
    model = build_model(config, part.layout)
    tables = Tables(part.graph, part.layout, Own.of(part.layout, 0, 0, 1), 8, 0.01)
    ids = torch.arange(part.layout.num_nodes)
    with torch.no_grad():
        tables.ids.weight[ids] = whole.embedding.detach()[tables.original_rows(ids)]
        weights = dict(whole.named_parameters())
        for name, parameter in model.parameters.items():
            parameter.copy_(weights[name])
    return model, tables, PartitionSampler(part.graph, part.layout, (-1, -1))


def interactions_of(part: Standalone) -> PartInteractions:
    return PartInteractions.read(
        part.folder / "part0" / "interactions.npz", Own.of(part.layout, 0, 0, 1).part_users
    )


def run_of(
    part: Standalone, out: Path, *overrides: str, resume: bool = False, pairs: PartInteractions | None = None
) -> RunFolder:
    """Train SPiKE on the part, in this process, and test."""
    config = config_of(part, "model.similar_items=3", "training.keep=last", *overrides)
    if not resume:
        shutil.copytree(part.folder / "first-host", out)
    folder = RunFolder.open(out)
    folder.write_text("config.yaml", config.to_yaml())
    trainer = PartitionTrainer(
        config,
        part.graph,
        part.layout,
        Own.of(part.layout, 0, 0, 1),
        pairs or interactions_of(part),
        folder,
        Processes(),
        progress=False,
    )
    if resume:
        trainer.restore()
    left = out.parent / "left"
    left.mkdir(exist_ok=True)
    with patch.object(RunFolder, "load_dataset", side_effect=AssertionError("beside the tables")):
        trainer.fit()
        write_trained(trainer, left, test=True)
    write_result(folder, config, 1, left)
    return folder


@pytest.mark.parametrize("weight", ["auto", "0.3"])
def test_a_run_has_the_popularity_term_of_one_machine(
    part: Standalone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight: str
) -> None:
    monkeypatch.setattr(popularity_weight, "ERRORS", math.inf)  # 0.1 is chosen, so that there is a term
    monkeypatch.setattr(shards, "ROWS_OF_FILE", 50)
    out, setting = tmp_path / "run", f"model.popularity_weight={weight}"
    folder = run_of(part, out, setting, "training.epochs=1")
    check_against_whole_graph(out)
    run_of(part, out, setting, "training.epochs=2", resume=True)
    check_against_whole_graph(out)
    assert len(records(out)) == 2
    assert len(list((out / "checkpoints" / "epoch-2").iterdir())) == -(-part.layout.num_nodes // 50)
    dataset, stored = folder.load_dataset(), read_embeddings(folder)
    term = PopularityTerm.fit(
        dataset.train, dataset.num_items, 0.1 if weight == "auto" else 0.3, torch.device("cpu")
    )
    assert term is not None
    assert stored["items"].shape[1] == 8 + 1
    np.testing.assert_allclose(stored["items"][:, -1:], term.items.numpy(), atol=1e-6)
    own = (torch.from_numpy(stored[side][:, :-1]) for side in ("users", "items"))
    np.testing.assert_allclose(stored["users"][:, -1:], term.of_users(*own).numpy(), atol=1e-6)
    history = dataset.train.items[dataset.train.users == 0]
    folded = Recommender.load(out).cold_start.user_of_items(history)
    assert folded[-1] == pytest.approx(stored["users"][0, -1], rel=1e-3)


def test_without_a_validation_split_the_weight_is_the_usual_one(part: Standalone, tmp_path: Path) -> None:
    pairs = interactions_of(part)
    none = pairs.valid.select(np.zeros(len(pairs.valid), dtype=bool))
    folder = run_of(part, tmp_path / "run", "training.epochs=1", pairs=replace(pairs, valid=none))
    assert folder.read_json(popularity_weight.FILE) == {"weight": 0.1, "metric": "ndcg@20", "valid": {}}
    assert read_embeddings(folder)["users"].shape[1] == 8 + 1


class WithOthers(Processes):
    """Processes of which the others add numbers given in advance."""

    def __init__(self, others: Sequence[Tensor]) -> None:
        self.others = others

    def add_up(self, tensors: Sequence[Tensor], weight: float = 1.0) -> Sequence[Tensor]:
        del weight
        return [own + other for own, other in zip(tensors, self.others, strict=True)]


def test_the_popularity_term_is_scaled_by_the_users_of_all_processes() -> None:
    users, items, popularity = torch.randn(5, 3), torch.randn(4, 3), np.array([3.0, 0.0, 5.0, 1.0])
    others = WithOthers(Moments.of(users[2:]))
    whole = with_popularity_term(Embeddings(users, items), popularity, 0.5, Processes())
    of_first = with_popularity_term(Embeddings(users[:2], items), popularity, 0.5, others)
    torch.testing.assert_close(of_first.users, whole.users[:2])
    torch.testing.assert_close(of_first.items, whole.items)


@pytest.mark.parametrize(
    ("part", "options"),
    [
        ("spike", SPIKE),
        ("spike", [*SPIKE, "model.ranking_loss=bpr"]),
        ("r-gcn", RGCN),
        ("r-gcn", [*RGCN, "model.readout=sum"]),
    ],
    indirect=["part"],
    ids=["spike", "spike bpr", "r-gcn", "r-gcn sum"],
)
def test_all_neighbours_give_the_whole_graphs_loss_gradients_and_embeddings(
    part: Standalone, options: list[str]
) -> None:
    config = config_of(part, *options)
    whole = whole_model(part, config)
    model, tables, sampler = on_part(part, config, whole)
    expected = whole.train().loss(BATCH) if config.model_name != "r-gcn" else whole.loss(BATCH)
    torch.stack(list(expected.values())).sum().backward()

    layout = part.layout
    ids_of = tables.original_rows(torch.arange(layout.num_nodes)).argsort()
    rows = layout.rows(ids_of[BATCH.rows(layout.num_users)])
    flow = sampler.draw(rows)
    nodes = layout.ids(flow.input_nodes)
    ids = tables.ids(nodes)
    terms = model.loss(flow, ids, tables.texts(nodes), rows)
    torch.stack(list(terms.values())).sum().backward()
    tables.ids.reset_trace()

    assert terms.keys() == expected.keys()
    for name, term in expected.items():
        torch.testing.assert_close(terms[name], term, rtol=1e-5, atol=1e-7)
    of_ids = whole.embedding.grad
    assert of_ids is not None
    torch.testing.assert_close(ids.grad, of_ids[tables.original_rows(nodes)], rtol=1e-4, atol=1e-7)
    for name, parameter in whole.named_parameters():
        if name != "embedding" and parameter.grad is not None:
            torch.testing.assert_close(
                model.parameters[name].grad, parameter.grad, rtol=1e-4, atol=1e-6, msg=name
            )

    propagate(model, tables, sampler)
    own, popularity = embeddings(model, tables), interactions_of(part).popularity
    got = with_popularity_term(own, popularity, config.model.popularity_weight, Processes())
    want = final_embeddings(whole)
    users = tables.original_rows(torch.arange(layout.num_users))
    items = tables.original_rows(layout.all_item_ids) - layout.num_users
    torch.testing.assert_close(got.users, want.users[users], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(got.items, want.items[items], rtol=1e-5, atol=1e-6)


def test_gradients_of_a_row_add_up_and_untouched_rows_stay(part: Standalone) -> None:
    table = dgl.distributed.DistEmbedding(
        part.layout.num_nodes, 2, "adam", part_policy=part.graph.get_node_partition_policy("_N")
    )
    ours = SummedSparseAdam([table], lr=0.1)
    reference = torch.nn.Parameter(torch.zeros(2, 2))
    adam = torch.optim.Adam([reference], lr=0.1)
    one, other = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 0.5]])
    for _ in range(3):  # row 4 is used by two processes, row 9 by one
        ours.update(torch.tensor([4, 9, 4]), torch.cat([one, other, other]), table)
        reference.grad = torch.cat([one + other, other])
        adam.step()
    weights = table.weight[torch.arange(part.layout.num_nodes)]
    torch.testing.assert_close(weights[[4, 9]], reference.detach())
    assert weights.count_nonzero() == 4


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.fanout=[]", "model.fanout"),
        ("training.recency=1", "training.recency=0"),
        ("model.similar_items=5", "model.similar_items=3"),
        ("model.user_embedding=false", "model.user_embedding=true"),
    ],
)
def test_settings_that_need_the_whole_graph_or_other_parts_are_refused(
    part: Standalone, setting: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        build_model(config_of(part, "model.similar_items=3", setting), part.layout)


def test_other_models_are_refused(part: Standalone) -> None:
    config = RunConfig.from_mapping({"model": {"name": "bpr-mf"}})
    with pytest.raises(ConfigError, match="spike or r-gcn"):
        build_model(config, part.layout)
    with pytest.raises(ConfigError, match=r"Partition again with model.name=r-gcn"):
        build_model(config_of(part, "model.name=r-gcn"), part.layout)
