"""The Python API: a run of `spike_dgl.train` is that of the command line, and all of it is at hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import spike_dgl
from spike_dgl.errors import ConfigError, DataError, SpikeError
from tests.command_line import run_command


@pytest.fixture(scope="module")
def run(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> spike_dgl.Run:
    out = tmp_path_factory.mktemp("api") / "run"
    return spike_dgl.train(
        data_folder, settings={"model.num_layers": 1}, out=out, progress=False, epochs=2, threads=1
    )


def test_it_trains_as_the_command_line_does(
    run: spike_dgl.Run,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = (f"data.path={data_folder}", "model.num_layers=1", "training.epochs=2", "training.threads=1")
    code, _, error = run_command(
        monkeypatch, capsys, "train", "--quiet", "--out", tmp_path / "run", *settings
    )
    assert code == 0, error
    other = spike_dgl.Run.open(tmp_path / "run")
    assert other.metrics == run.metrics
    assert [record["loss"] for record in other.history] == [record["loss"] for record in run.history]
    assert other.config == run.config


def test_metrics_lists_and_explanations(run: spike_dgl.Run) -> None:
    assert run.metrics == json.loads((run.path / "result.json").read_text())["test"]
    evaluation = run.evaluate("test")
    assert evaluation.means == pytest.approx(run.metrics)
    vectors = run.folder.read_arrays("profiles.npz")["entities"][: run.dataset.num_items]
    assert evaluation.beyond_accuracy(run.dataset, vectors) == pytest.approx(run.beyond_accuracy)
    assert set(run.baselines) == {"popularity", "item-cosine"}
    user = run.dataset.users.ids[int(evaluation.users[0])]
    items = run.recommend(user, k=3)
    assert items == spike_dgl.Recommender.load(run.path).recommend(user, 3)
    assert run.recommend([user], k=3) == [items]
    explanation = run.explain(user, items[0].id)
    assert explanation.to_dict() == spike_dgl.Explainer.load(run.path).explain(user, items[0].id).to_dict()
    assert run._repr_markdown_().startswith("# spike on")


def test_any_scores_are_evaluated_as_those_of_a_model(run: spike_dgl.Run) -> None:
    stored = run.folder.read_arrays("embeddings.npz")
    scores = spike_dgl.evaluate(
        lambda users: torch.from_numpy(stored["users"][np.asarray(users)] @ stored["items"].T),
        run.dataset,
        "test",
    )
    assert scores.means["recall@20"] == pytest.approx(run.metrics["recall@20"])


def test_a_run_is_resumed_or_returned_if_its_settings_are_the_same(
    run: spike_dgl.Run, data_folder: Path, tmp_path: Path
) -> None:
    def again(out: Path, **training: object) -> spike_dgl.Run:
        settings = {"model.num_layers": 1}
        return spike_dgl.train(
            data_folder, settings=settings, out=out, resume=True, progress=False, threads=1, **training
        )

    before = (run.path / "metrics.jsonl").read_bytes()
    assert again(run.path, epochs=2).metrics == run.metrics
    assert (run.path / "metrics.jsonl").read_bytes() == before
    with pytest.raises(ConfigError, match=r"training\.epochs=2, but the setting is now 3"):
        again(run.path, epochs=3)
    with pytest.raises(SpikeError, match="already exists"):
        spike_dgl.train(data_folder, out=run.path, epochs=2)

    interrupted = again(tmp_path / "run", epochs=2)
    for name in ("result.json", "RESULT.md", "embeddings.npz"):
        (interrupted.path / name).unlink()
    with pytest.raises(DataError, match=r"has no result\.json"):
        spike_dgl.Run.open(interrupted.path)
    assert again(tmp_path / "run", epochs=2).metrics == run.metrics


def test_mistakes_name_the_setting(data_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="epochs"):
        spike_dgl.train(data_folder, out=tmp_path / "run", epoch=3)
    with pytest.raises(ConfigError, match="num_layers"):
        spike_dgl.train(data_folder, out=tmp_path / "run", settings={"model.num_layer": 3})
    with pytest.raises(DataError, match="no such folder"):
        spike_dgl.train(tmp_path / "missing", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_configuration_file_and_what_replaces_it(data_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "lightgcn.yaml"
    file.write_text(
        f"data: {{path: {data_folder}}}\nmodel: {{name: lightgcn}}\ntraining: {{epochs: 1, threads: 1}}\n"
    )
    run = spike_dgl.train(config=file, out=tmp_path / "one", progress=False)
    assert (run.config.model_name, run.config.training.epochs) == ("lightgcn", 1)
    other = spike_dgl.train(config=file, model="bpr-mf", out=tmp_path / "two", progress=False, seed=1)
    assert (other.config.model_name, other.config.training.seed) == ("bpr-mf", 1)
    with pytest.raises(SpikeError, match="only spike can be explained"):
        _ = run.explainer


def test_importing_it_loads_neither_torch_nor_dgl() -> None:
    code = "import sys, spike_dgl; spike_dgl.Recommender; print(*{'torch', 'dgl'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
