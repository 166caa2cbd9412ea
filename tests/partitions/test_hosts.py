"""Training on partitions from the command line: one host, two hosts (network namespaces), and hosts that are lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from spike_dgl.partitions.partition import partition
from spike_dgl.recommend import Recommender
from spike_dgl.runs.config import load_config
from tests.command_line import run_command
from tests.partitions.tiny import write_tiny
from tests.partitions.whole_graph import check_against_whole_graph, records

ROOT = Path(__file__).parents[2]
SETTINGS = [
    "model.fanout=[5,5]",
    "model.embedding_dim=8",
    "model.similar_items=3",
    "training.threads=1",
    "training.batch_size=100",
    "training.patience=null",
    "training.learning_rate=0.01",
]
SCRIPTS = ROOT / "benchmarks"


def _why_no_namespaces() -> str:
    """Return why network namespaces cannot be made here; empty if they can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("ip"):
        return "two hosts on one machine need root and `ip`"
    made = subprocess.run([SCRIPTS / "hosts.sh", "2", "true"], capture_output=True, text=True)
    return "" if made.returncode == 0 else f"network namespaces: {made.stderr.strip()[-100:]}"


@pytest.fixture(scope="module")
def namespaces() -> None:
    if why := _why_no_namespaces():
        pytest.skip(why)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Partition the same data into one and into two parts."""
    folder = tmp_path_factory.mktemp("parts")
    write_tiny(folder / "data")
    overrides = [f"data.path={folder / 'data'}", "profiles.vector_dim=8", "model.similar_items=3"]
    for number in (1, 2):
        partition(load_config(None, overrides), folder / str(number), number)
    return {number: folder / str(number) for number in (1, 2)}


@contextmanager
def train(*arguments: object, hosts: int) -> Iterator[subprocess.Popen[str]]:
    """Start training, on one host or on each of two."""
    words = [*map(str, arguments), "--quiet"]
    on_hosts = [SCRIPTS / "hosts.sh", "2", SCRIPTS / "train_on_host.sh", *words]
    process = subprocess.Popen(
        [sys.executable, "main.py", "train", *words] if hosts == 1 else on_hosts,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHON": sys.executable,
            "TEST_PROCESS": str(os.getpid()),
        },
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate()


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=400)
    return process.returncode, output


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="DistDGL needs Linux")
def test_a_run_on_partitions_is_an_ordinary_run(parts: dict[int, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--partitions", parts[1], "--out", run, *SETTINGS, "training.epochs=3"]
    with train(*options, "training.map_embeddings_above=0", hosts=1) as process:
        code, output = finish(process)
    assert code == 0, output
    assert not (run / "embeddings.npz").exists(), "they are memory-mapped"
    recommender = Recommender.load(run)
    assert len(recommender.recommend(recommender.users.ids[0], 3)) == 3
    losses = [record["loss/softmax"] for record in records(run)]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) == 3
    assert all(record["input_rows"] > record["input_rows_of_others"] == 0 for record in records(run))
    check_against_whole_graph(run)
    assert not [file for file in Path("/dev/shm").iterdir() if "kvdata" in file.name]


def test_the_number_of_hosts_is_that_of_parts(
    parts: dict[int, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = run_command(monkeypatch, capsys, "train", "--partitions", parts[2], *SETTINGS)
    assert code == 2
    assert "1 hosts, but" in error
    assert "has 2 parts" in error


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.valid_fraction=0.2", "the parts have their data"),
        ("model.name=lightgcn", "cannot train on partitions"),
        ("training.epoch=3", "did you mean 'epochs'"),
    ],
)
def test_settings_are_checked_before_anything_starts(
    parts: dict[int, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    setting: str,
    message: str,
) -> None:
    code, _, error = run_command(monkeypatch, capsys, "train", "--partitions", parts[1], setting)
    assert code == 2
    assert message in error


@pytest.mark.parametrize("change", ["another pair", "no file", "a note"])
def test_changed_data_is_an_error_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    train_file = tmp_path / "data" / "train.txt"
    write_tiny(tmp_path / "data")
    partition(
        load_config(None, [f"data.path={tmp_path / 'data'}", "profiles.source=none"]), tmp_path / "parts", 1
    )
    if change == "another pair":
        lines = train_file.read_text().splitlines()
        train_file.write_text("\n".join(line.rpartition(" ")[0] for line in lines))
    elif change == "no file":
        train_file.unlink()
    else:
        (tmp_path / "data" / "notes.txt").write_text("added later")
    options = ["--partitions", tmp_path / "parts", "--out", tmp_path / "run", "model.fanout=[]"]
    code, _, error = run_command(monkeypatch, capsys, "train", *options)
    assert code == 2
    expected = {
        "another pair": "is no longer the data",
        "no file": "no such file",
        "a note": "Set model.fanout",
    }
    assert expected[change] in error
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hosts_train_and_one_resumes(namespaces: None, parts: dict[int, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    with train("--partitions", parts[2], "--out", run, *SETTINGS, "training.epochs=6", hosts=2) as process:
        code, output = finish(process)
    assert code == 0, output
    check_against_whole_graph(run)
    assert records(run)[-1]["loss/softmax"] < records(run)[0]["loss/softmax"]
    assert all(record["input_rows"] > record["input_rows_of_others"] > 0 for record in records(run))
    last = torch.load(run / "checkpoints" / "epoch-6" / "shard-0-of-2-0.pt", weights_only=True)
    assert len(last["rows"]) < len(torch.load(run / "best.pt", weights_only=True)["model"]["embedding"])
    # Other parts, another number of hosts and trainers.
    options = ["--partitions", parts[1], "--trainers", 3, "--resume", run, "training.epochs=8"]
    with train(*options, hosts=1) as process:
        code, output = finish(process)
    assert code == 0, output
    assert [record["epoch"] for record in records(run)] == list(range(1, 9))
    assert records(run)[6]["loss/softmax"] < records(run)[1]["loss/softmax"]
    check_against_whole_graph(run)
    # Without one shard, the nodes of a host are missing.
    shutil.rmtree(run / "checkpoints" / "epoch-7")
    for epoch in (run / "checkpoints").iterdir():
        (epoch / "shard-1-of-3-0.pt").unlink(missing_ok=True)
        (epoch / "shard-1-of-2-0.pt").unlink(missing_ok=True)
    with train(*options, hosts=1) as process:
        code, output = finish(process)
    assert code == 2
    assert "copy all shards" in output


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_r_gcn_trains_on_two_hosts(namespaces: None, tmp_path: Path) -> None:
    write_tiny(tmp_path / "data")
    config = load_config(None, [f"data.path={tmp_path / 'data'}", "model.name=r-gcn"])
    partition(config, tmp_path / "parts", 2)
    settings = [word for word in SETTINGS if "similar_items" not in word]
    options = ["--partitions", tmp_path / "parts", "--out", tmp_path / "run", "model.name=r-gcn", *settings]
    with train(*options, "training.epochs=3", "model.popularity_weight=0.3", hosts=2) as process:
        code, output = finish(process)
    assert code == 0, output
    check_against_whole_graph(tmp_path / "run")


def process_of(host: int, role: str) -> int:
    """Return the id of a process on a host: ``server``, ``trainer`` or ``first``, which watches both."""
    marks = {"first": b"main.py\0train", "server": b"\0server\0", "trainer": b"\0trainer 0\0"}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, variables = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:  # ended meanwhile
            continue
        own = all(
            f"{name}\0".encode() in variables for name in (f"HOST_RANK={host}", f"TEST_PROCESS={os.getpid()}")
        )
        if own and marks[role] in command and b"torch.distributed.run" not in command:
            return int(folder.name)
    raise AssertionError(f"no {role} on host {host}")


def wait_for_epoch(process: subprocess.Popen[str], run: Path, epoch: int) -> None:
    deadline = time.monotonic() + 200
    while len(records(run)) < epoch:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("host", "role", "message"),
    [
        (1, "trainer", "trainer 0 (rank 1) on host 1 (10.77.0.2) was killed by signal 9"),
        (0, "server", "the server on host 0 (10.77.0.1) was killed by signal 9"),
        (1, "first", "host 1 (10.77.0.2) has not responded"),
        (0, "first", "host 0 (10.77.0.1) does not respond"),
        (1, "network", "host 1 (10.77.0.2) has not responded"),
    ],
)
def test_all_hosts_end_within_a_minute_and_say_who_died(
    namespaces: None, parts: dict[int, Path], tmp_path: Path, host: int, role: str, message: str
) -> None:
    run = tmp_path / "run"
    options = ["--partitions", parts[2], "--out", run, *SETTINGS]
    with train(*options, "training.epochs=9000", hosts=2) as process:
        wait_for_epoch(process, run, 2)
        started = time.monotonic()
        if role == "network":
            of_host = f"spike{process.pid}-{host}"  # as hosts.sh names it
            subprocess.run(["ip", "-n", of_host, "link", "set", f"v{host}", "down"], check=True)
        else:
            os.kill(process_of(host, role), signal.SIGKILL)
        code, output = finish(process)
    assert code != 0
    # Without a network, torchrun itself waits longer for its store before it ends.
    assert time.monotonic() - started < (150 if role == "network" else 60)
    # A killed process says nothing, and a host without a network names the first host.
    assert output.count(f"error: {message}") == (1 if role in ("first", "network") else 2)
    assert not [name for name in os.listdir("/dev/shm") if "kvdata" in name]
    epochs = len(records(run)) + 2
    with train("--partitions", parts[2], "--resume", run, f"training.epochs={epochs}", hosts=2) as process:
        code, output = finish(process)
    assert code == 0, output
    assert [record["epoch"] for record in records(run)] == list(range(1, epochs + 1))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_wrong_part_is_told_on_all_hosts(namespaces: None, parts: dict[int, Path], tmp_path: Path) -> None:
    wrong = tmp_path / "parts"
    shutil.copytree(parts[2], wrong)
    shutil.rmtree(wrong / "part1")
    shutil.copytree(wrong / "part0", wrong / "part1")
    with train("--partitions", wrong, "--out", tmp_path / "run", *SETTINGS, hosts=2) as process:
        code, output = finish(process)
    assert code != 0
    assert output.count("belongs to another partition") == 2
    assert not (tmp_path / "run").exists()
