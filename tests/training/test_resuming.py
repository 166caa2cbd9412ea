"""Settings changed when a run is resumed: applied, or rejected with the reason."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from spike_dgl.config import read_yaml, to_mapping
from spike_dgl.errors import ConfigError
from spike_dgl.runs.metrics_log import MetricsLog
from spike_dgl.training.options import TrainingOptions
from spike_dgl.training.resuming import changed_settings, check_changes
from tests.command_line import run_command
from tests.training.test_trainer import trainer

ROOT = Path(__file__).parents[2]
OTHER = {
    "epochs": 6, "batch_size": 16, "learning_rate": 0.1, "schedule": "cosine", "warmup_steps": 3, "weight_decay": 50.0,
    "negative_popularity": 1.0, "negatives_from": "seen", "recency": 2.0, "metric": "other", "evaluate_every": 2,
    "patience": 1, "keep": "last", "seed": 7, "device": "cpu", "precision": "bfloat16", "threads": 1,
    "map_embeddings_above": 0.5,
}  # fmt: skip
BETWEEN_EPOCHS = {"batch_size", "negative_popularity", "negatives_from", "recency"}


def test_every_setting_is_applied_or_refused() -> None:
    assert OTHER.keys() == {field.name for field in fields(TrainingOptions)}
    before = to_mapping(TrainingOptions())
    for name, value in OTHER.items():
        changed = changed_settings(before, TrainingOptions(**{name: value}))
        assert changed == {name: (before[name], value)}
        if name == "seed":
            with pytest.raises(ConfigError, match=r"training\.seed=7 cannot .*\n.*training\.seed=2020"):
                check_changes(changed, epoch=3, step=0)
            continue
        check_changes(changed, epoch=3, step=0)
        if name in BETWEEN_EPOCHS:
            with pytest.raises(ConfigError, match=r"middle of epoch 3.*\n.*training\.epochs=3"):
                check_changes(changed, epoch=3, step=1)
        else:
            check_changes(changed, epoch=3, step=1)


def resumed(folder: Path, scores: list[float] | None = None, **options: object):
    run = trainer(folder, **options)
    if scores is not None:
        values = iter(scores)
        run.validate = lambda _: {"score": next(values)}
    if (folder / "last.pt").exists():
        run.restore()
    return run


def test_weight_decay_and_learning_rate_are_those_of_the_resumed_run(tmp_path: Path) -> None:
    resumed(tmp_path, epochs=1).fit()
    run = resumed(tmp_path, epochs=2, weight_decay=50.0, learning_rate=0.01)
    assert run.changed == {"epochs": (1, 2), "weight_decay": (0.0, 50.0), "learning_rate": (0.003, 0.01)}
    before = run.model.embedding.detach().norm()
    run.fit()
    assert run.model.embedding.detach().norm() < before / 2
    assert [group["lr"] for group in run.optimizer.param_groups] == [0.01]


def two_metrics(first: list[float], second: list[float]):
    values = zip(first, second, strict=True)
    return lambda _: dict(zip(("score", "other"), next(values), strict=True))


def test_another_metric_finds_the_best_epoch_anew(tmp_path: Path) -> None:
    run = trainer(tmp_path, epochs=3)
    run.validate = two_metrics([0.1, 0.3, 0.2], [0.01, 0.02, 0.03])
    run.fit()
    more = trainer(tmp_path, epochs=5, metric="other")
    more.validate = two_metrics([0.9, 0.8], [0.04, 0.01])
    more.restore()
    assert (more.stopping.best, more.stopping.best_epoch) == (0.03, 3)
    assert torch.load(tmp_path / "best.pt")["epoch"] == 3
    more.fit()
    assert torch.load(tmp_path / "best.pt")["epoch"] == 4


def test_the_best_epoch_by_another_metric_must_have_been_kept(tmp_path: Path) -> None:
    run = trainer(tmp_path, epochs=3)
    run.validate = two_metrics([0.1, 0.3, 0.2], [0.05, 0.02, 0.03])
    run.fit()
    with pytest.raises(ConfigError, match=r"epoch 1 would be reported.*not saved.*training\.metric=score"):
        trainer(tmp_path, epochs=5, metric="other").restore()


def test_keep_best_after_keep_last_reports_the_best_or_refuses(tmp_path: Path) -> None:
    resumed(tmp_path, [0.1, 0.2], epochs=2, keep="last").fit()
    resumed(tmp_path, [0.1], epochs=3, keep="best").fit()
    assert torch.load(tmp_path / "best.pt")["epoch"] == 2
    resumed(tmp_path, [0.05], epochs=4, keep="last").fit()
    with pytest.raises(ConfigError, match=r"epoch 2 would be reported.*training\.keep=last"):
        resumed(tmp_path, epochs=5, keep="best")


def test_a_run_without_patience_left_says_so(tmp_path: Path) -> None:
    scores = [0.5, 0.4, 0.3]
    resumed(tmp_path, scores, epochs=9, patience=2).fit()
    run = resumed(tmp_path, epochs=9, patience=2)
    assert "2 validations did not improve score over epoch 1" in run.why_done
    assert "training.patience=null" in run.why_done
    run.fit()
    assert len(MetricsLog(tmp_path / "metrics.jsonl").read()) == 3
    assert "all 3 epochs are done" in resumed(tmp_path, epochs=3, patience=None).why_done
    assert resumed(tmp_path, epochs=9, patience=None).why_done == ""


@pytest.fixture
def run(monkeypatch, capsys):
    return lambda *arguments: run_command(monkeypatch, capsys, *arguments)


SMALL = ["model.embedding_dim=8", "training.threads=1", "profiles.vector_dim=16", "--quiet"]


def test_the_run_folder_tells_what_was_changed_and_where_patience_ran_out(
    run, data_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert run("train", f"data.path={data_folder}", "training.epochs=2", *SMALL, "--out", folder)[0] == 0
    code, _, error = run(
        "train", "--resume", folder, "training.epochs=3", "training.weight_decay=0.5", "--quiet"
    )
    assert code == 0, error
    assert read_yaml(folder / "config.yaml")["training"]["weight_decay"] == 0.5
    result = json.loads((folder / "result.json").read_text())
    assert result["changed_when_resumed"] == ["training.weight_decay=0.5 from epoch 3 on, 0.0 before"]
    assert (
        "Changed when resumed: training.weight_decay=0.5 from epoch 3 on"
        in (folder / "RESULT.md").read_text()
    )
    code, out, error = run("train", "--resume", folder, "--quiet")
    assert (code, "all 3 epochs are done" in out) == (0, True), error
    before = (folder / "config.yaml").read_text()
    code, _, error = run("train", "--resume", folder, "training.seed=1", "--quiet")
    assert (code, "training.seed=1 cannot be applied" in error) == (2, True)
    assert (folder / "config.yaml").read_text() == before


def test_two_programs_do_not_write_to_one_run_and_a_killed_one_leaves_no_lock(
    run, data_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    command = [
        sys.executable,
        "main.py",
        "train",
        f"data.path={data_folder}",
        "training.epochs=100000",
        *SMALL,
    ]
    with subprocess.Popen(
        [*command, "training.patience=null", "--out", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        log = MetricsLog(folder / "metrics.jsonl")
        while len(log.read()) < 2:
            assert process.poll() is None, process.stdout.read()
        for second in (["--resume", folder], [f"data.path={data_folder}", "--out", folder]):
            code, _, error = run("train", *second, "--quiet")
            assert code == 2
            assert "in use" in error or "already exists" in error
        process.send_signal(signal.SIGKILL)
    done = log.read()[-1]["epoch"]
    code, _, error = run("train", "--resume", folder, f"training.epochs={done + 1}", "--quiet")
    assert code == 0, error
    assert [record["epoch"] for record in log.read()] == list(range(1, done + 2))
    assert all(math.isfinite(record["loss"]) for record in log.read())
    assert not (folder / ".lock").exists()
