"""Runs of earlier versions: they are evaluated as they are, and are not resumed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from spike_dgl.api import Run, train
from spike_dgl.dgl_import import DGLGraph
from spike_dgl.errors import DataError, SpikeError
from spike_dgl.graph import with_similar_items
from spike_dgl.models.spike import Spike
from spike_dgl.models.spike import model as spike_model
from spike_dgl.nn.graphs.text_neighbours import text_neighbours
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.set_up import reopen
from spike_dgl.training import checkpoint


@pytest.fixture(scope="module")
def trained(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("earlier") / "run"
    return train(data_folder, out=out, epochs=2, threads=1, progress=False)


@pytest.fixture
def earlier(trained: Run, tmp_path: Path) -> Path:
    """The run as version 0.1.0 would have written it: other names of parameters and settings, no format."""
    folder = tmp_path / "run"
    shutil.copytree(trained.path, folder)
    for name in ("best.pt", "last.pt"):
        state = torch.load(folder / name, weights_only=True)
        del state["format"]
        for former, present in Spike.former_names:
            state["model"] = {
                former + key.removeprefix(present) if key.startswith(present) else key: value
                for key, value in state["model"].items()
            }
        torch.save(state, folder / name)
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["model"]["kernels"] = settings["model"].pop("backend")
    settings["model"] |= settings["model"].pop("quirks")
    settings["data"]["rehearsal"] = settings["data"].pop("inner_split")
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    return folder


@pytest.mark.filterwarnings("error")
def test_a_run_is_evaluated_and_explained_without_a_warning(trained: Run, earlier: Path) -> None:
    weights = torch.load(earlier / "best.pt", weights_only=True)["model"]
    assert any(key.startswith("attention.") for key in weights)
    run = Run.open(earlier)
    assert run.evaluate("test").means == pytest.approx(trained.metrics)
    item = trained.recommend("0", 1)[0].id
    assert run.explain("0", item).to_dict() == trained.explain("0", item).to_dict()
    assert run.config == trained.config


def test_a_run_is_not_resumed(earlier: Path) -> None:
    experiment = reopen(RunFolder.open(earlier), ["training.epochs=3"])
    with pytest.raises(DataError, match="written by an older version") as caught:
        experiment.train(resume=True, progress=False)
    assert "train again with --config" in caught.value.remedy


def test_a_run_of_a_newer_version_is_refused(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained.path, folder)
    monkeypatch.setattr(checkpoint, "FORMAT", 1)
    with pytest.raises(SpikeError, match="newer version of spike_dgl"):
        Run.open(folder).evaluate("test")


def test_profile_texts_may_be_added_to_the_data_but_not_changed(data_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(data_folder, data)
    run = train(data, out=tmp_path / "run", epochs=1, threads=1, progress=False)
    (data / "item_profiles.json").write_text('{"0": "A text that was written later."}')
    assert Run.open(run.path).evaluate("test").means == pytest.approx(run.metrics)
    run = train(data, out=tmp_path / "other", epochs=1, threads=1, progress=False)
    (data / "item_profiles.json").write_text('{"0": "Another text."}')
    with pytest.raises(DataError, match="is no longer the data"):
        Run.open(run.path).evaluate("test")


def test_times_may_not_change_but_a_run_of_an_earlier_version_did_not_record_them(
    data_folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(data_folder, data)
    times = data / "train_times.txt"
    times.write_text((data / "train.txt").read_text())  # any numbers
    run = train(data, model="popularity", out=tmp_path / "run", progress=False)
    environment, without_times = (
        run.folder.read_json("environment.json"),
        run.dataset.checksum_without_times,
    )
    times.write_text(times.read_text().replace(" 1", " 7"))
    with pytest.raises(DataError, match="is no longer the data"):
        Run.open(run.path).evaluate("test")
    environment["data"]["checksum"] = without_times
    run.folder.write_json("environment.json", environment)
    assert Run.open(run.path).evaluate("test").means == run.metrics


def test_a_run_without_sparse_vectors_keeps_the_neighbours_it_was_trained_with(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[set[tuple[int, int]]] = []

    def recorded(graph: DGLGraph, items: Tensor, neighbours: Tensor) -> DGLGraph:
        found.append(set(zip(items.tolist(), neighbours.tolist(), strict=True)))
        return with_similar_items(graph, items, neighbours)

    monkeypatch.setattr(spike_model, "with_similar_items", recorded)
    folder = tmp_path / "run"
    shutil.copytree(trained.path, folder)
    reopen(RunFolder.open(folder))
    (folder / "item_terms.npz").unlink()
    earlier = reopen(RunFolder.open(folder)).model
    assert isinstance(earlier, Spike)
    assert earlier.inject is not None
    dense = text_neighbours(earlier.inject.entity_vectors[: earlier.num_items], 10)
    assert found[0] != found[1] == set(zip(*(rows.tolist() for rows in dense), strict=True))
