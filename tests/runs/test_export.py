"""Exported splits and lists give the same metrics in other libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spike_dgl.data import load_dataset
from spike_dgl.data.dataset import Dataset, Vocabulary
from spike_dgl.data.export import cornac, recbole
from spike_dgl.data.formats import recbole as recbole_format
from spike_dgl.errors import DataError
from tests.command_line import run_command
from tests.toy import checkerboard, random_dataset


@pytest.fixture
def run(monkeypatch, capsys):
    return lambda *arguments: run_command(monkeypatch, capsys, *arguments)


def facts(dataset: Dataset) -> set[tuple[str, str, str]]:
    entities, relations, triples = dataset.entities.ids, dataset.relations.ids, dataset.triples
    return {
        (entities[h], relations[r], entities[t])
        for h, r, t in zip(triples.heads, triples.relations, triples.tails, strict=True)
    }


def without_validation() -> Dataset:
    data = random_dataset(3)
    return data.replace(test=data.train.select(np.arange(5)))


@pytest.mark.parametrize(
    "dataset",
    [load_dataset("movielens"), checkerboard(), without_validation()],
    ids=["movielens", "toy", "no valid"],
)
def test_our_reader_reads_the_same_split_and_graph_from_recboles_files(
    dataset: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    recbole.write(dataset, folder)
    assert recbole_format.recognises(folder)
    again = load_dataset(folder, valid_fraction=0.0)
    assert again.split_hash == dataset.split_hash
    assert (again.users.ids, again.items.ids) == (dataset.users.ids, dataset.items.ids)
    assert again.items.names == dataset.items.names
    assert again.entities.ids[: dataset.num_items] == dataset.entities.ids[: dataset.num_items]
    assert facts(again) == facts(dataset)


def test_cornacs_triples_are_those_of_the_split(tmp_path: Path) -> None:
    dataset = checkerboard()
    cornac.write(dataset, tmp_path)
    for part, pairs in (("train", dataset.train), ("valid", dataset.valid), ("test", dataset.test)):
        lines = (tmp_path / f"{part}.uir").read_text().splitlines()
        triples = [(user, item, float(rating)) for user, item, rating in (line.split("\t") for line in lines)]
        assert triples == cornac.user_item_rating(dataset, pairs)
        assert triples == [(f"u{u}", f"i{i}", 1.0) for u, i in zip(pairs.users, pairs.items, strict=True)]


def test_an_id_that_would_break_a_table_is_refused(tmp_path: Path) -> None:
    dataset = checkerboard()
    ids = ("a\tb", *dataset.items.ids[1:])
    with pytest.raises(DataError, match="tab or a line break"):
        recbole.write(dataset.replace(items=Vocabulary("item", ids)), tmp_path)


@pytest.fixture(scope="module")
def popularity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the bundled data; many of its scores are equal."""
    from spike_dgl.runs.config import RunConfig
    from spike_dgl.runs.folder import RunFolder
    from spike_dgl.runs.set_up import start

    settings = {"model": {"name": "popularity"}, "profiles": {"source": "none"}}
    folder = tmp_path_factory.mktemp("runs") / "popular"
    start(RunConfig.from_mapping(settings), RunFolder.create(folder)).train(progress=False)
    return folder


def rows(file: Path) -> list[list[str]]:
    return [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()]


def test_lists_and_metrics_of_a_run(run, popularity: Path, tmp_path: Path) -> None:
    out = tmp_path / "export"
    code, text, error = run("export", popularity, "--format", "recbole", "--out", out)
    assert code == 0, error
    assert "benchmark_filename: [train, valid, test]" in text
    assert load_dataset(out / "movielens").split_hash == load_dataset("movielens").split_hash
    relevant = {(user, item) for user, _, item, _ in rows(out / "relevant.tsv")}
    lists: dict[str, list[str]] = {}
    for user, _, item, rank, score, name in rows(out / "popular.lists.tsv"):
        lists.setdefault(user, []).append(item)
        assert (len(lists[user]), name, float(score) >= 0) == (int(rank), "popular", True)
    header, *users = rows(out / "popular.users.tsv")
    column = header.index("recall@20")
    assert {user for user, _ in relevant} == set(lists) == {row[0] for row in users}
    for row in users:
        liked = {item for user, item in relevant if user == row[0]}
        assert float(row[column]) == len(liked & set(lists[row[0]][:20])) / len(liked)

    code, _, error = run("export", popularity, "--format", "recbole", "--out", out)
    assert (code, "is not empty" in error) == (2, True)


def test_runs_of_two_splits_are_not_exported_as_one(run, popularity: Path, tmp_path: Path) -> None:
    from spike_dgl.runs.config import RunConfig
    from spike_dgl.runs.folder import RunFolder
    from spike_dgl.runs.set_up import start

    other = tmp_path / "other"
    settings = {
        "model": {"name": "popularity"},
        "profiles": {"source": "none"},
        "data": {"cold_items": 0.1},
    }
    start(RunConfig.from_mapping(settings), RunFolder.create(other)).train(progress=False)
    code, _, error = run("export", popularity, other, "--format", "cornac", "--out", tmp_path / "export")
    assert (code, "another split" in error) == (2, True)


@pytest.mark.slow
@pytest.mark.timeout(900)  # ranx compiles its metrics
@pytest.mark.filterwarnings("ignore:.*unsafe cast")  # inside ranx's compiled functions
def test_ranx_finds_the_same_metrics(run, tmp_path: Path) -> None:
    ranx = pytest.importorskip("ranx", reason='needs ranx: pip install -e ".[crosscheck]"')
    folder, out = tmp_path / "run", tmp_path / "export"
    settings = ["training.epochs=3", "training.threads=1", "profiles.source=none", "--out", folder, "--quiet"]
    assert run("train", "model.name=lightgcn", "training.learning_rate=0.01", *settings)[0] == 0
    assert run("export", folder, "--format", "cornac", "--out", out)[0] == 0
    relevant: dict[str, dict[str, int]] = {}
    for user, _, item, grade in rows(out / "relevant.tsv"):
        relevant.setdefault(user, {})[item] = int(grade)
    lists: dict[str, dict[str, float]] = {}
    for user, _, item, _, score, _ in rows(out / "run.lists.tsv"):
        lists.setdefault(user, {})[item] = float(score)
    header, *users = rows(out / "run.users.tsv")
    metrics = ["recall@20", "ndcg@20", "mrr@20", "precision@10", "mrr@100"]
    qrels, ranking = ranx.Qrels(relevant), ranx.Run(lists)
    means = ranx.evaluate(qrels, ranking, [*metrics, "mrr"])
    for metric in metrics:
        column = header.index(metric)
        ours = {row[0]: float(row[column]) for row in users}
        for user, value in ranking.scores[metric].items():
            assert value == pytest.approx(ours[user], abs=1e-9), (metric, user)
        assert means[metric] == pytest.approx(np.mean(list(ours.values())), abs=1e-9)
    assert means["mrr"] == pytest.approx(means["mrr@100"], abs=1e-9)
