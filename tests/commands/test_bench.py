"""``main.py bench`` end to end, with real training in processes on a tiny dataset."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.command_line import run_command, wait_until_unlocked

ROOT = Path(__file__).parents[2]
METRICS = ("recall@20 mean", "ndcg@20 mean", "recall@20 difference", "recall@20 p corrected")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    return lambda *arguments: run_command(monkeypatch, capsys, *arguments)


@pytest.fixture
def bench_file(data_folder: Path, tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(
        f"""
title: Tiny
base:
  data: {{path: '{data_folder}'}}
  training: {{threads: 1, epochs: 30, batch_size: 8, patience: null}}
seeds: [1]
models: [popularity, lightgcn]
reference: popularity
"""
    )
    return file


def kill_when_trained_a_little(file: Path, out: Path) -> None:
    """Start the study in its own process group, and kill the whole group in the middle of an epoch."""
    process = subprocess.Popen(
        [sys.executable, "main.py", "bench", "--config", str(file), "--out", str(out), "--jobs", "2"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    log, finished = out / "lightgcn/seed1/metrics.jsonl", out / "popularity/seed1/result.json"
    deadline = time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n") > 2 and finished.is_file()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wait_until_unlocked(out)


def table(out: Path) -> list[dict[str, str]]:
    with (out / "table.csv").open() as stream:
        return [{name: line.get(name, "") for name in ("label", *METRICS)} for line in csv.DictReader(stream)]


def test_a_killed_study_goes_on_and_ends_as_if_nothing_had_happened(
    run, bench_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    kill_when_trained_a_little(bench_file, out)
    assert not (out / "lightgcn/seed1/result.json").exists()
    first = (out / "popularity/seed1/result.json").stat().st_mtime_ns

    code, shown, error = run("bench", "--config", bench_file, "--out", out)
    assert code == 0, error
    assert "1 of 2 runs to do" in shown
    assert "| popularity" in shown
    assert (out / "popularity/seed1/result.json").stat().st_mtime_ns == first
    code, _, error = run(
        "train", "--config", out / "lightgcn/seed1.yaml", "--out", tmp_path / "whole", "--quiet"
    )
    assert code == 0, error
    resumed, whole = (
        np.load(folder / "test_users.npz") for folder in (out / "lightgcn/seed1", tmp_path / "whole")
    )
    assert all(np.array_equal(resumed[name], whole[name]) for name in whole.files)

    # Nothing is left to do: the same table with and without the file.
    before = table(out)
    for arguments in (["--config", bench_file, "--out", out], ["--out", out]):
        code, shown, _ = run("bench", *arguments)
        assert code == 0
        assert "to do" not in shown
        assert "| popularity" in shown
        assert table(out) == before

    code, _, error = run("bench", "--config", bench_file, "--out", out, "training.epochs=2")
    assert code == 2
    assert "training.epochs=30, but the setting is now 2" in error
    assert table(out) == before
    code, page, _ = run("bench", "report", report_file(tmp_path, out))
    assert code == 0
    assert "## Tiny" in page


def report_file(folder: Path, study: Path) -> Path:
    file = folder / "results.yaml"
    file.write_text(f"title: Results\nstudies: [{{folder: '{study}'}}]\n")
    return file


def test_a_failing_variant_does_not_lose_the_others(run, bench_file: Path, tmp_path: Path) -> None:
    bench_file.write_text(
        bench_file.read_text().replace("models: [popularity, lightgcn]", "models: [popularity]")
        + "variants: {elsewhere: {data: {path: nowhere}, model: {name: popularity}}}\n"
    )
    code, shown, error = run("bench", "--config", bench_file, "--out", tmp_path / "study", "--jobs", 2)
    assert code == 2
    assert "elsewhere, seed 1: FAILED, nowhere: no such folder" in shown
    assert "| 0 of 1 |" in shown
    reason = "- elsewhere/seed1 failed: nowhere: no such folder; see elsewhere/seed1.log."
    assert reason in shown
    assert reason in run("bench", "report", report_file(tmp_path, tmp_path / "study"))[1]
    assert [line["label"] for line in table(tmp_path / "study")] == ["popularity", "elsewhere"]
    assert error.startswith("error: 1 of 2 runs failed\n  elsewhere, seed 1: nowhere: no such folder")


def test_if_all_runs_fail_the_reasons_are_the_error(
    run, bench_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "spike_dgl.comparison.folder.run_missing", lambda runs, **_: {run.name: "no memory" for run in runs}
    )
    code, _, error = run("bench", "--config", bench_file, "--out", tmp_path / "study")
    assert code == 2
    assert (
        error == "error: 2 of 2 runs failed\n  popularity, seed 1: no memory\n  lightgcn, seed 1: no memory\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a bench file"),
        (["--config", "absent.yaml"], "absent.yaml: cannot be read"),
        (["--out", "nowhere"], "nowhere: is not the folder of a study"),
        (
            ["--config", "configs/bench/movielens.yaml", "model.embeding_dim=3"],
            "did you mean 'model.embedding_dim'",
        ),
        (["report", "absent.yaml"], "absent.yaml: cannot be read"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(run, arguments: list[str], message: str) -> None:
    there = set(Path("runs").glob("*"))
    code, _, error = run("bench", *arguments)
    assert code == 2
    assert message in error
    assert "Traceback" not in error
    assert set(Path("runs").glob("*")) == there
