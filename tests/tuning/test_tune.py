"""main.py tune end to end: on validation only, resumable, and with results that bench reads."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from spike_dgl.comparison.definition import read_study
from spike_dgl.models import base
from spike_dgl.models.base import registered_models
from tests.command_line import run_command, wait_until_unlocked

GRID = {"training.weight_decay": (1e30,)}
"""The first trial has the default learning rate, and must fail."""


@pytest.fixture
def run(monkeypatch, capsys):
    return lambda *arguments: run_command(monkeypatch, capsys, *arguments)


@pytest.fixture(autouse=True)
def _small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registered_models()["lightgcn"]
    monkeypatch.setitem(base._REGISTRY, "lightgcn", dataclasses.replace(entry, search=GRID))


def write_data(folder: Path, test_seed: int) -> Path:
    """Users like items of one of two colours; which of them are asked for in the test depends on the seed."""
    folder.mkdir(parents=True)
    train, test = [], []
    for user in range(12):
        liked = np.random.default_rng(user).permutation(np.arange(user % 2, 20, 2))
        asked = np.random.default_rng([test_seed, user]).permutation(liked[7:])
        train.append(" ".join(map(str, [user, *liked[:7]])))
        test.append(" ".join(map(str, [user, *asked[:1]])))
    (folder / "train.txt").write_text("\n".join(train) + "\n")
    (folder / "test.txt").write_text("\n".join(test) + "\n")
    (folder / "kg_final.txt").write_text("".join(f"{item} 0 {20 + item % 2}\n" for item in range(20)))
    return folder


def arguments(folder: Path, data: Path, trials: int = 2) -> list[object]:
    return [
        "tune", "lightgcn", f"data.path={data}", "profiles.source=none", "model.embedding_dim=8",
        "training.epochs=2", "training.threads=1", "--trials", trials, "--seed", 3, "--jobs", 2,
        "--out", folder / "out", "--write", folder / "tuned",
    ]  # fmt: skip


def table(folder: Path) -> list[dict[str, str]]:
    """Read the table of trials."""
    text = (folder / "out" / "lightgcn" / "trials.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def findings(folder: Path) -> list[object]:
    """Return the files that tuning wrote, without times, paths and the data's checksum."""
    tuned = (folder / "tuned" / "toy" / "lightgcn.yaml").read_text().splitlines()
    rows = [row | {"failure": row["failure"].partition("; see")[0]} for row in table(folder)]
    written = [file.name.lower() for file in (folder / "out/lightgcn").glob("trial-?/*")]
    assert not [name for name in written if "test" in name or "result" in name]
    out = folder / "out"
    epochs = [
        [json.loads(line) for line in file.read_text().splitlines()]
        for file in sorted(out.rglob("metrics.jsonl"))
    ]
    records = [json.loads(file.read_text()) for file in sorted(out.rglob("validation.json"))]
    for entry in itertools.chain(rows, *epochs, records):
        for key in [*entry]:
            if (
                "seconds" in key
                or "memory" in key
                or key in ("finished", "checksum", "checksum_without_times", "split_hash")
            ):
                del entry[key]
    tuned = [line for line in tuned if "checksum" not in line]
    return [tuned[1:3] + tuned[4:], rows, epochs, records]


def test_tuning_never_sees_the_test_part_and_goes_on_where_it_was(run, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    code, out, error = run(*arguments(one, write_data(tmp_path / "a" / "toy", 1)))
    assert code == 0, error
    assert "lightgcn.yaml" in out
    assert "trial 2: FAILED, some scores are infinite" in out
    first, second = table(one)
    assert [first["trial"], second["trial"]] == ["1", "2"]
    assert float(first["validation ndcg@20"]) > 0
    assert second["validation ndcg@20"] == ""
    assert "infinite" in second["failure"]
    assert run(*arguments(other, write_data(tmp_path / "b" / "toy", 2)))[0] == 0
    hashes = [
        json.loads((folder / "out/lightgcn/trial-1/environment.json").read_text())["data"]["split_hash"]
        for folder in (one, other)
    ]
    assert hashes[0] != hashes[1]
    assert findings(one) == findings(other)

    finished = one / "out/lightgcn/trial-1"
    before, wrote = {file: file.stat().st_mtime_ns for file in finished.iterdir()}, findings(one)
    assert run(*arguments(one, tmp_path / "a" / "toy"))[0] == 0
    assert {file: file.stat().st_mtime_ns for file in finished.iterdir()} == before
    assert findings(one) == wrote
    used_by_bench(tmp_path, one)


def test_settings_tuned_on_other_data_of_the_same_name_are_neither_replaced_nor_used(
    run, tmp_path: Path
) -> None:
    one = write_data(tmp_path / "a" / "toy", 1)
    other = write_data(tmp_path / "b" / "toy", 2)
    assert run(*arguments(tmp_path / "one", one))[0] == 0
    written = tmp_path / "one" / "tuned" / "toy" / "lightgcn.yaml"
    before = written.read_text()
    command = [*arguments(tmp_path / "two", other)[:-1], tmp_path / "one" / "tuned"]
    code, _, error = run(*command)
    assert (code, "tuned on other data of the name 'toy'" in error) == (2, True), error
    assert not (tmp_path / "two").exists()
    assert written.read_text() == before
    for data, expected in ((one, 0), (other, 2)):
        code, _, error = run(
            "train", "--config", written, f"data.path={data}", "--out", tmp_path / f"run-{data.parent.name}"
        )
        assert code == expected, error
    assert "expected data.checksum=" in error


def used_by_bench(folder: Path, tuned: Path) -> None:
    """Check that a bench file of the same data uses the tuned settings."""
    best = table(tuned)[0]
    (folder / "bench.yaml").write_text(
        f"base: {{data: {{path: {folder / 'a' / 'toy'}}}}}\nmodels: [lightgcn]\ntuned: {tuned / 'tuned'}\n"
    )
    study = read_study(folder / "bench.yaml")
    config = study.rows[0].config(1)
    assert study.tuned == ("lightgcn",)
    assert config.training.weight_decay == float(best["training.weight_decay"])
    assert config.model.embedding_dim == 64  # the value of the tuning runs is not in the tuned file
    comments = [
        line for line in (tuned / "tuned/toy/lightgcn.yaml").read_text().splitlines() if line[0] == "#"
    ]
    assert "main.py tune lightgcn" in comments[0]
    assert "2 trials (random search, seed 3) of 1 in the grid" in comments[1]
    assert f"best {float(best['validation ndcg@20']):.4f}" in comments[2]


@pytest.mark.slow
def test_a_killed_search_goes_on(run, tmp_path: Path, monkeypatch) -> None:
    write_data(tmp_path / "a" / "toy", 1)
    command = [*map(str, arguments(tmp_path / "killed", tmp_path / "a" / "toy", 3)), "training.epochs=40"]
    grid = {"training.learning_rate": (1e-3, 1e-2)}
    entry = base._REGISTRY["lightgcn"]
    monkeypatch.setitem(base._REGISTRY, "lightgcn", dataclasses.replace(entry, search=grid))
    script = (
        "import dataclasses\nfrom spike_dgl import cli\nfrom spike_dgl.models import base\n"
        f"entry = base.registered_models()['lightgcn']\n"
        f"base._REGISTRY['lightgcn'] = dataclasses.replace(entry, search={grid!r})\ncli.main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, *command], start_new_session=True)
    second = tmp_path / "killed/out/lightgcn/trial-2/last.pt"
    while not second.is_file():
        assert process.poll() is None
        time.sleep(0.02)
    process_group(process, signal.SIGKILL)
    wait_until_unlocked(tmp_path / "killed/out")
    code, _, error = run(*command)
    assert code == 0, error
    command[command.index(str(tmp_path / "killed/out"))] = str(tmp_path / "whole/out")
    command[command.index(str(tmp_path / "killed/tuned"))] = str(tmp_path / "whole/tuned")
    assert run(*command)[0] == 0
    assert findings(tmp_path / "killed") == findings(tmp_path / "whole")


def process_group(process: subprocess.Popen[bytes], signal_number: int) -> None:
    """Signal a process and those it started."""
    os.killpg(process.pid, signal_number)
    process.wait()


def test_without_validation_nothing_is_run(run, tmp_path: Path) -> None:
    command = arguments(tmp_path, write_data(tmp_path / "a" / "toy", 1))
    code, _, error = run(*command, "data.valid_fraction=0.0")
    assert code == 2
    assert "tuning must not use the test split" in error
    assert not list((tmp_path / "out").glob("lightgcn/*"))
