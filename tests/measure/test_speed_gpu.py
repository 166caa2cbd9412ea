"""The measurement of a GPU, on the CPU: what it saves, and that it ends in time."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from spike_dgl.cli import cli
from spike_dgl.measure import speed_gpu
from spike_dgl.measure.speed_gpu import measure_gpu, render, tasks
from spike_dgl.measure.speed_gpu_tasks import Task, compare_with_cpu, generated_graph
from spike_dgl.models.base import CPU

# A process that does not measure: it prints a row, waits for ever, or ends.
WORKER = """
import json, os, sys, time
for task in json.loads(sys.argv[1])["tasks"]:
    kind = task["kind"]
    if kind == "wait":
        time.sleep(600)
    if kind == "end":
        os._exit(3)
    print(json.dumps({"name": kind, **({"error": "no"} if kind == "fail" else {"pid": os.getpid()})}), flush=True)
    if kind == "fail":
        break
"""


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setattr(speed_gpu, "SECONDS_TO_END", 0.0)
    monkeypatch.setattr(speed_gpu, "WORKER", (sys.executable, "-S", "-c", WORKER))
    return {"device": "cpu", "tell": lambda _: None}


def kinds(*names: str) -> list[Task]:
    return [Task(name) for name in names]


def test_what_fails_ends_or_takes_too_long_does_not_stop_the_rest(tmp_path: Path, quiet: dict) -> None:
    file, wanted = tmp_path / "rows", kinds("a", "fail", "b", "end", "wait", "c")
    rows = measure_gpu(wanted, file, budget=60.0, seconds_per_row=3.0, **quiet)
    assert [row.get("error") for row in rows.values()] == [
        None, "no", None, "the process ended with exit code 3", "not done in 3 s", None,
    ]  # fmt: skip
    assert list(map(json.loads, file.read_text().splitlines())) == list(rows.values())


def test_it_ends_when_its_time_is_over_and_goes_on_where_it_ended(tmp_path: Path, quiet: dict) -> None:
    file, started = tmp_path / "rows", time.monotonic()
    rows = measure_gpu(kinds("a", "wait", "b"), file, budget=3.0, **quiet)
    assert time.monotonic() - started < 6.0
    assert list(rows) == ["a"]
    assert "Not measured in time: wait, b." in render(kinds("a", "wait", "b"), rows)
    before = rows["a"]["pid"]
    rows = measure_gpu(kinds("a", "b"), file, budget=60.0, **quiet)
    assert rows["a"]["pid"] == before != rows["b"]["pid"]


def test_rows_become_tables(tmp_path: Path) -> None:
    wanted = [
        Task("device"),
        Task("layer", "torch", 400),
        Task("layer", "compiled", 400),
        Task("evaluation", edges=400),
    ]
    rows = measure_gpu(wanted, tmp_path / "rows", device="cpu", budget=120.0, tell=lambda _: None)
    page = render(wanted, rows)
    assert "GB/s in a copy" in page
    assert "| 400   |                torch |" in page
    assert "compiled, on the CPU" in page
    assert "users ranked a second" in page
    assert "Not measured" not in page
    assert "error" not in page


def test_a_model_is_compared_with_the_cpu() -> None:
    row = compare_with_cpu("lightgcn", CPU)
    assert max(row["loss"], row["gradients"]) < 1e-12
    assert 1e-12 < row["gradients_float32"] < 1e-4


def test_all_models_are_compared_and_timed() -> None:
    names = {task.name for task in tasks((1_000_000, 100_000_000), "cuda")}
    assert {"correctness spike", "step kgat", "layer triton 100000000", "graph 100000000"} <= names
    assert "layer compiled 100000000" not in names  # a CPU would take the whole budget


def test_a_generated_graph_has_each_interaction_in_both_directions() -> None:
    graph = generated_graph(1000, CPU)
    from_users = graph.src < graph.num_users
    assert from_users.sum() == len(graph.pooled) == 250
    users, items = graph.src[from_users], graph.attended.dst[from_users] + graph.num_users
    pairs = sorted(zip(users.tolist(), items.tolist(), strict=True))
    assert pairs == sorted(zip(graph.pooled.dst.tolist(), graph.pooled.src.tolist(), strict=True))


def test_the_command_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    out = str(tmp_path / "rows")
    result = CliRunner().invoke(cli, ["speed", "gpu", "--out", out, "--budget", "soon"])
    assert result.exit_code == 2
    assert "'soon' is not a duration such as 480, 90s, 8m or 1h" in result.output
    if not torch.cuda.is_available():
        result = CliRunner().invoke(cli, ["speed", "gpu", "--out", out])
        assert "training.device is 'cuda'" in str(result.exception)
