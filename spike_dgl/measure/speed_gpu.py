"""Correctness and speed on a GPU, within a budget of time.

A second process measures and this one waits for its rows. A row is saved when it is there. If the process fails or a
row takes too long, it is ended, the row says so, and a new process measures the others.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from spike_dgl.markdown import markdown_table
from spike_dgl.measure.speed_gpu_tasks import Row, Task
from spike_dgl.models.base import EmbeddingModel, registered_models
from spike_dgl.nn.kernels import has_triton

SECONDS_PER_ROW = 120.0
SECONDS_TO_END = 5.0
"""Part of the budget that is left for ending the process and printing the table."""
TOLERANCE = 1e-6
WORKER = (sys.executable, "-m", "spike_dgl.measure.speed_gpu_tasks")
LARGEST_ON_CPU = 10_000_000
"""Largest number of edges of an attention layer that is also timed on the CPU."""

Rows = dict[str, Row]


def tasks(edges: Sequence[int], device: str) -> list[Task]:
    """Return what to measure, the most important first."""
    models = [
        name for name, entry in registered_models().items() if issubclass(_class(entry.model), EmbeddingModel)
    ]
    backends = ["torch", "triton", "dgl"] if device == "cuda" else ["torch"]
    if not has_triton():
        backends = [backend for backend in backends if backend != "triton"]
    small = [size for size in edges if size <= LARGEST_ON_CPU]

    def layers(sizes: Sequence[int], some: Sequence[str]) -> list[Task]:
        return [Task("layer", backend, size) for size in sizes for backend in some]

    return [
        Task("device"),
        *layers(small, [backend for backend in backends if backend != "dgl"]),
        Task("correctness", "spike"),
        Task("step", "spike"),
        *(Task("graph", edges=size) for size in edges),
        *(Task("correctness", name) for name in models if name != "spike"),
        *(Task("step", name) for name in models if name != "spike"),
        *(Task("evaluation", edges=size) for size in small[:1]),
        *layers(
            [size for size in edges if size > LARGEST_ON_CPU],
            ["triton"] if "triton" in backends else ["torch"],
        ),
        *layers(small, ["dgl"] if "dgl" in backends else []),
        *layers(small, ["compiled"]),
    ]


def _class(model: object) -> type:
    return model if isinstance(model, type) else object


def measure_gpu(
    wanted: Sequence[Task],
    file: Path,
    *,
    device: str,
    budget: float,
    seconds_per_row: float = SECONDS_PER_ROW,
    tell: Callable[[str], object] = print,
) -> Rows:
    """Measure tasks and return their rows by name.

    Parameters
    ----------
    wanted
        The tasks; those whose rows are in the file already, without an error, are not measured again.
    file
        JSON lines, one a row, appended to when the row is there.
    device
        ``cuda``; ``cpu`` runs the code of a GPU on the CPU, to test the measurement.
    budget
        Seconds after which it ends, whatever is left.
    seconds_per_row
        Seconds after which a row is given up.
    tell
        Called with a line for each row.
    """
    deadline = time.monotonic() + budget - SECONDS_TO_END
    rows = saved_rows(file)
    pending = [task for task in wanted if "error" in rows.get(task.name, {"error": ""})]
    while pending and time.monotonic() < deadline:
        for row in _rows_of_a_process(pending, device, deadline, seconds_per_row):
            rows[row["name"]] = row
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(row) + "\n")
            tell(f"{row['name']}: {row.get('error') or 'measured'}")
            pending = pending[1:]
    return rows


def saved_rows(file: Path) -> Rows:
    """Read the rows of a file by name; the last of each, and none if there is no file."""
    if not file.is_file():
        return {}
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {row["name"]: row for row in lines}


def _rows_of_a_process(
    pending: Sequence[Task], device: str, deadline: float, seconds_per_row: float
) -> Iterator[Row]:
    """Yield the rows that one process measures, the last with an error unless all are there or time is over."""
    left = deadline - time.monotonic()
    arguments = json.dumps(
        {"device": device, "seconds": left + 1.0, "tasks": [asdict(task) for task in pending]}
    )
    command = [*WORKER, arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_forward, args=(process.stdout, lines))
        reader.start()
        try:
            for task in pending:
                row = _next_row(task, lines, process, deadline, seconds_per_row)
                if row is not None:
                    yield row
                if row is None or "error" in row:
                    return
        finally:
            process.kill()
            reader.join()


def _next_row(
    task: Task,
    lines: queue.Queue[str | None],
    process: subprocess.Popen[str],
    deadline: float,
    seconds_per_row: float,
) -> Row | None:
    """Return the row of a task, with an error if there is none; None if time is over."""
    limit = min(seconds_per_row, deadline - time.monotonic())
    problem = f"not done in {limit:.0f} s"
    try:
        line = lines.get(timeout=max(0.0, limit))
        if line is not None:
            row: Row = json.loads(line)
            return row
        problem = f"the process ended with exit code {process.wait()}"
    except queue.Empty:
        pass
    return {"name": task.name, "error": problem} if time.monotonic() < deadline else None


def _forward(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def render(wanted: Sequence[Task], rows: Rows) -> str:
    """Render the rows as Markdown tables, with what is missing and why."""
    parts = [_device_line(rows.get("device", {}))]
    for kind, header, cells in TABLES:
        found = [(task, rows[task.name]) for task in wanted if task.kind == kind and task.name in rows]
        table = [cells(task, row, rows) for task, row in found if "error" not in row]
        if table:
            parts.append(markdown_table([list(header), *table]))
    parts += [f"{name}: {row['error']}" for name, row in rows.items() if "error" in row]
    missing = [task.name for task in wanted if task.name not in rows]
    if missing:
        parts.append(f"Not measured in time: {', '.join(missing)}.")
    return "\n\n".join(filter(None, parts))


def _device_line(row: Row) -> str:
    if "gb_per_s" not in row:
        return ""
    dgl = f"DGL {row['dgl']}{'' if row['dgl_on_device'] else ' without kernels for it'}"
    return (
        f"{row['device']}, {row['gb_per_s']:,.0f} GB/s in a copy, torch {row['torch']}, {dgl}; "
        f"CPU with {row['cpu_threads']} threads."
    )


def _correctness(task: Task, row: Row, _: Rows) -> list[str]:
    holds = max(row["loss"], row["gradients"]) < TOLERANCE
    errors = (row[name] for name in ("loss", "gradients", "loss_float32", "gradients_float32"))
    return [task.of, *(f"{error:.1e}" for error in errors), "yes" if holds else "NO"]


def _step(task: Task, row: Row, _: Rows) -> list[str]:
    return [task.of, f"{row['ms']:.2f}", _mb(row), f"{row['cpu_ms']:.1f}", f"{row['cpu_ms'] / row['ms']:.1f}"]


def _layer(task: Task, row: Row, rows: Rows) -> list[str]:
    cpu = rows.get(Task("layer", "compiled", task.edges).name, {}).get("ms")
    bandwidth = rows.get("device", {}).get("gb_per_s")
    floor = row["gb_to_move"] / bandwidth * 1e3 if bandwidth and task.of != "compiled" else None
    return [
        f"{task.edges:,}",
        "compiled, on the CPU" if task.of == "compiled" else task.of,
        f"{row['forward_ms']:.2f}",
        f"{row['ms']:.2f}",
        "-" if floor is None else f"{floor:.2f}",
        "-" if floor is None else f"{row['ms'] / floor:.1f}",
        "-" if cpu is None else f"{cpu / row['ms']:.1f}",
        _mb(row),
    ]


def _graph(task: Task, row: Row, _: Rows) -> list[str]:
    return [f"{row['nodes']:,}", f"{task.edges:,}", f"{row['ms']:.1f}", _mb(row)]


def _evaluation(_: Task, row: Row, __: Rows) -> list[str]:
    return [f"{row['users']:,}", f"{row['items']:,}", f"{row['users_per_s']:,.0f}"]


def _mb(row: Mapping[str, Any]) -> str:
    return "unknown" if row["mb"] is None else f"{row['mb']:,.0f}"


TABLES: tuple[tuple[str, tuple[str, ...], Callable[[Task, Row, Rows], list[str]]], ...] = (
    (
        "correctness",
        ("error of", "loss", "gradients", "loss, float32", "gradients, float32", "as on the CPU"),
        _correctness,
    ),
    ("step", ("step on movielens", "ms", "MB", "CPU, ms", "CPU / device"), _step),
    (
        "layer",
        (
            "edges",
            "attention layer",
            "forward, ms",
            "with backward, ms",
            "floor, ms",
            "/ floor",
            "CPU /",
            "MB",
        ),
        _layer,
    ),
    ("graph", ("nodes", "edges", "training step, ms", "MB"), _graph),
    ("evaluation", ("users", "items", "users ranked a second"), _evaluation),
)
