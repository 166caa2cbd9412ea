"""Data-parallel training: processes started by torchrun against a single one, and shares of batches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.graph import build_graph
from spike_dgl.models.base import Batch, ModelInputs
from spike_dgl.models.spike import Spike
from spike_dgl.models.spike.options import SpikeOptions
from spike_dgl.training.distributed import TorchrunProcesses
from tests.toy import random_dataset

ROOT = Path(__file__).parents[2]
USERS, ITEMS = 30, 40


@given(size=st.integers(1, 40), number=st.integers(1, 6))
def test_shares_hold_every_interaction_once_with_weights_of_one_in_all(size: int, number: int) -> None:
    batch = Batch(torch.arange(size), torch.arange(size) + 100, torch.arange(size) + 200)
    shares = [TorchrunProcesses(rank, number, rank, number).share_of(batch) for rank in range(number)]
    assert sum(weight for _, weight in shares) == pytest.approx(1.0)
    # Each interaction counts as in the mean over the whole batch, also where the batch is too small to be shared.
    counted = torch.zeros(size, dtype=torch.float64)
    for share, weight in shares:
        assert torch.equal(share.users + 100, share.positives)
        assert torch.equal(share.users + 200, share.negatives)
        counted[share.users] += weight / len(share.users)
    torch.testing.assert_close(counted, torch.full_like(counted, 1.0 / size))


def test_gradients_of_the_shares_add_up_to_that_of_the_whole_batch() -> None:
    torch.manual_seed(0)
    data = random_dataset(3, sizes=(20, 25, 40, 3), density=150)
    vectors = (torch.randn(n, 8) for n in (data.num_users, data.num_entities))
    options = SpikeOptions(embedding_dim=8, ranking_loss="bpr", l2_weight=0.1)
    model = Spike(ModelInputs(build_graph(data), *vectors), options).double().eval()
    batch = Batch(torch.arange(11), torch.arange(11), torch.arange(11, 22))

    def gradients(part: Batch) -> list[torch.Tensor]:
        return list(torch.autograd.grad(sum(model.loss(part).values()), list(model.parameters())))

    shares = [TorchrunProcesses(rank, 3, rank, 3).share_of(batch) for rank in range(3)]
    parts = [[weight * gradient for gradient in gradients(share)] for share, weight in shares]
    for whole, *of_shares in zip(gradients(batch), *parts, strict=True):
        torch.testing.assert_close(sum(of_shares), whole, rtol=1e-10, atol=1e-14)


def test_sparse_gradients_add_up_over_processes_with_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    store, group = torch.distributed.HashStore(), threading.local()
    table = torch.zeros(6, 2, requires_grad=True)

    def total(rank: int) -> list[torch.Tensor]:
        group.own = torch.distributed.ProcessGroupGloo(store, rank, 2, timedelta(seconds=20))
        used = torch.nn.functional.embedding(torch.tensor([[1, 4, 1], [4, 5, 5]][rank]), table, sparse=True)
        sparse, dense = torch.autograd.grad(used.sum(), table)[0], torch.full((3,), float(rank + 1))
        return list(TorchrunProcesses(rank, 2, rank, 2).add_up([sparse, dense], [0.25, 0.75][rank]))

    monkeypatch.setattr(torch.distributed, "all_reduce", lambda each: group.own.allreduce([each]).wait())
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(total, range(2)))
    for sparse, dense in results:
        assert sparse.is_sparse
        assert sparse.to_dense()[:, 0].tolist() == [0.0, 0.5, 0.0, 0.0, 0.25 + 0.75, 1.5]
        assert dense.tolist() == [1.75] * 3


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a small dataset in the authors' format."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    folder.mkdir()
    random = np.random.default_rng(0)
    train, test = [], []
    for user in range(USERS):
        liked = random.permutation(np.arange(user % 2, ITEMS, 2))[:12]
        train.append(" ".join(map(str, [user, *liked[:9]])))
        test.append(" ".join(map(str, [user, *liked[9:]])))
    (folder / "train.txt").write_text("\n".join(train) + "\n")
    (folder / "test.txt").write_text("\n".join(test) + "\n")
    (folder / "kg_final.txt").write_text("".join(f"{item} 0 {ITEMS + item % 2}\n" for item in range(ITEMS)))
    return folder


@contextmanager
def train(*arguments: object, processes: int) -> Iterator[subprocess.Popen[str]]:
    """Start ``main.py train`` with torchrun, or without it for a single process."""
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}"] if processes > 1 else []
    process = subprocess.Popen(
        [sys.executable, *launcher, "main.py", "train", *map(str, arguments), "--quiet"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def overrides(data_folder: Path, **training: object) -> list[str]:
    options = {"device": "cpu", "threads": 1, "batch_size": 45, "patience": "null", **training}
    return [
        f"data.path={data_folder}",
        "model.embedding_dim=8",
        "model.ranking_loss=bpr",  # a softmax compares with the negatives of its own process
        "profiles.vector_dim=16",
        *(f"training.{name}={value}" for name, value in options.items()),
    ]


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, output and errors."""
    out, error = process.communicate(timeout=120)
    return process.returncode, out, error


def wait_for_epochs(process: subprocess.Popen[str], run: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(records(run)) < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def records(run: Path) -> list[dict[str, float]]:
    """Return the epoch records without times."""
    file = run / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [{key: value for key, value in json.loads(line).items() if "seconds" not in key} for line in lines]


def process_of_rank(torchrun: subprocess.Popen[str], rank: int) -> int:
    """Return the process id of one of the processes that a torchrun started."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (folder / "environ").read_bytes().split(b"\0") if parent == torchrun.pid else []
        except OSError:  # ended meanwhile
            continue
        if f"RANK={rank}".encode() in variables:
            return int(folder.name)
    raise AssertionError(f"no process of rank {rank}")


def test_two_processes_train_as_one_and_write_one_run_folder(data_folder: Path, tmp_path: Path) -> None:
    # 240 interactions in batches of 45: the last one, of 15, cannot be halved.
    runs = {number: tmp_path / f"run{number}" for number in (1, 2)}
    output = {}
    for number, run in runs.items():
        with train(*overrides(data_folder, epochs=3), "--out", run, processes=number) as process:
            code, output[number], error = finish(process)
            assert code == 0, error
    assert len(records(runs[2])) == 3
    for one, two in zip(*map(records, runs.values()), strict=True):
        assert two == pytest.approx(one, rel=1e-4)
    with np.load(runs[1] / "embeddings.npz") as one, np.load(runs[2] / "embeddings.npz") as two:
        for side in ("users", "items"):
            np.testing.assert_allclose(two[side], one[side], atol=1e-4)
    names = [sorted(file.name for file in run.iterdir()) for run in runs.values()]
    assert names[0] == names[1]
    assert [run.name for run in sorted(tmp_path.iterdir())] == ["run1", "run2"]
    assert output[2].replace("run2", "run1").splitlines()[0] == output[1].splitlines()[0]
    assert output[2].count(str(runs[2])) == output[1].count(str(runs[1]))  # printed once
    assert json.loads((runs[2] / "result.json").read_text())["processes"] == 2


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the threads in /proc")
def test_no_thread_of_the_group_is_left_when_the_processes_have_parted() -> None:
    # In a separate process, because it depends on whether the group or the optimizer is created first.
    script = """
from pathlib import Path
import torch
from spike_dgl.training.distributed import join_processes

def threads():
    return sum("gloo" in (task / "comm").read_text() for task in Path("/proc/self/task").iterdir())

with join_processes() as processes:
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    processes.gather(1)
    assert threads() > 0
assert threads() == 0, threads()
"""
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node=1", "--no-python", sys.executable]
    done = subprocess.run(
        [sys.executable, *launcher, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes in /proc")
def test_a_killed_process_ends_the_run_with_a_clear_error_and_the_run_goes_on(
    data_folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with train(*overrides(data_folder, epochs=9000), "--out", run, processes=2) as process:
        wait_for_epochs(process, run, 2)
        os.kill(process_of_rank(process, 1), signal.SIGKILL)
        code, _, error = finish(process)
    assert code != 0
    assert error.count("error: another process of this run has ended") == 1
    assert "--resume" in error
    assert "Traceback" not in error.partition("error: ")[2].partition("torch/distributed/elastic")[0]
    epochs = len(records(run)) + 2
    with train("--resume", run, f"training.epochs={epochs}", processes=1) as process:
        code, _, error = finish(process)
        assert code == 0, error
    assert [record["epoch"] for record in records(run)] == list(range(1, epochs + 1))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes in /proc")
def test_a_signal_to_any_process_saves_and_stops_all_and_two_go_on_as_one_would(
    data_folder: Path, tmp_path: Path
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    with train(*overrides(data_folder, epochs=9000), "--out", run, processes=2) as process:
        wait_for_epochs(process, run, 2)
        os.kill(process_of_rank(process, 1), signal.SIGTERM)
        code, _, error = finish(process)
    assert code != 0
    assert error.count("everything is saved") == 1
    total = f"training.epochs={len(records(run)) + 2}"
    with train("--resume", run, total, processes=2) as process:
        code, _, error = finish(process)
        assert code == 0, error
    with train(*overrides(data_folder), total, "--out", whole, processes=1) as process:
        assert finish(process)[0] == 0
    for one, two in zip(records(whole), records(run), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "message"),
    [("training.epoch=3", "did you mean 'epochs'"), ("data.path=nowhere/at/all", "no such folder")],
)
def test_a_mistake_is_told_once(data_folder: Path, tmp_path: Path, setting: str, message: str) -> None:
    with train(setting, "--out", tmp_path / "run", processes=2) as process:
        code, _, error = finish(process)
    assert code != 0
    assert error.count(message) == 1
