"""Speed of training: against the reference implementation, and against the size of the graph.

Both are measured in one process, turn by turn, so that what else the machine does falls on both alike; the ratio is
taken pair by pair. Peak memory needs a process of its own for each. A part of the reference that would not fit in
memory is left out, and the result says so.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from spike_dgl.config import build, to_mapping
from spike_dgl.data.dataset import Dataset
from spike_dgl.data.load import load_dataset
from spike_dgl.data.synthetic import synthetic_dataset
from spike_dgl.errors import SpikeError
from spike_dgl.graph import build_graph
from spike_dgl.markdown import markdown_table
from spike_dgl.measure.reference import ReferenceSpike, sample_negatives
from spike_dgl.models.base import Batch, ModelInputs
from spike_dgl.models.spike import Spike
from spike_dgl.models.spike.options import SpikeOptions
from spike_dgl.nn.kernels import attend
from spike_dgl.runs.environment import available_memory_mb, peak_memory_mb
from spike_dgl.training.allocator import keep_freed_memory, return_freed_memory
from spike_dgl.training.sampling import BprSampler
from spike_dgl.training.seeding import seed_everything
from spike_dgl.training.trainer import final_embeddings

VECTOR_DIM = 128
RELEASED_BATCH_SIZE = 1024
"""Interactions a step in the settings that the authors released."""
FORMS = ("reference", "ours")

# The mathematics of the paper, which both forms share: a constant gate, and matching over eight samples.
METHOD = SpikeOptions(
    ranking_loss="bpr",
    profile_gate="constant",
    similar_items=0,
    relation_init="random",
    matching_sample_ratio=0.1,
    matching_samples=8,
)


@dataclass(frozen=True)
class Workload:
    """What a benchmark trains on: a data set by path, or a generated one by size.

    Parameters
    ----------
    path
        A data set; empty for a generated one.
    num_nodes, num_edges, num_relations
        Size of a generated one; see `synthetic_dataset`.
    batch_size
        Interactions a step.
    fanout
        Of sampled neighbourhoods; empty for the whole graph.
    """

    path: str = ""
    num_nodes: int = 0
    num_edges: int = 0
    num_relations: int = 0
    batch_size: int = 4096
    fanout: tuple[int, ...] = ()

    def dataset(self) -> Dataset:
        """Load or generate it."""
        if self.path:
            return load_dataset(self.path)
        return synthetic_dataset(self.num_nodes, self.num_edges, self.num_relations)


@dataclass(frozen=True)
class Timing:
    """Seconds of the two halves of one run."""

    forward: float
    backward: float

    @property
    def total(self) -> float:
        """Of both."""
        return self.forward + self.backward


class Contest:
    """Both forms of one model, ready to be timed.

    Parameters
    ----------
    workload
        What they train on.
    """

    def __init__(self, workload: Workload) -> None:
        self.workload, dataset = workload, workload.dataset()
        seed_everything(0)
        vectors = (torch.randn(n, VECTOR_DIM) for n in (dataset.num_users, dataset.num_entities))
        self.dataset = dataset
        options = build(SpikeOptions, to_mapping(METHOD) | {"fanout": list(workload.fanout)}, "model")
        self.model = Spike(ModelInputs(build_graph(dataset), *vectors), options).train()
        self.sampler = BprSampler(
            dataset.train, dataset.num_users, dataset.num_items, batch_size=workload.batch_size, seed=0
        )
        self.batch: Batch = next(self.sampler.epoch(1))
        self.reference = ReferenceSpike(self.model)
        self.edges = torch.arange(len(self.model.views.messages.attended))

    def step(self, form: str) -> Timing:
        """One training step, the optimiser apart."""
        return self._timed(self._loss_of(form, self.batch))

    def step_as_released(self, form: str) -> Timing:
        """The same on a batch of the size that the authors chose."""
        return self._timed(self._loss_of(form, self.batch.select(slice(RELEASED_BATCH_SIZE))))

    def step_and_embeddings(self) -> tuple[float, float]:
        """Seconds of our training step, and of the embeddings of all nodes for evaluation."""
        step, started = self.step("ours").total, time.perf_counter()
        final_embeddings(self.model)
        return step, time.perf_counter() - started

    def num_nodes_read(self) -> int:
        """Nodes whose embeddings and profiles a training step reads."""
        self.step("ours")
        gradient = self.model.embedding.grad
        assert gradient is not None
        return int((gradient != 0).any(-1).sum())

    def layer(self, form: str) -> Timing:
        """The attention layer alone, over all edges."""
        state = self.model.embedding
        if form == "ours":
            return self._timed(lambda: self._attend(state).sum())
        return self._timed(lambda: self.reference.attend(state, self.edges).sum())

    def _attend(self, state: Tensor) -> Tensor:
        conv = self.model.conv
        return attend(
            self.model.views.messages,
            state @ conv.query_projection,
            state,
            conv.relation_embedding,
            conv.num_heads,
            conv.backend,
        )[0]

    def negatives(self, form: str) -> Timing:
        """The negatives of one epoch."""
        started = time.perf_counter()
        if form == "ours":
            generator = torch.Generator().manual_seed(0)
            self.sampler.negatives(torch.from_numpy(self.dataset.train.users), generator)
        else:
            sample_negatives(self.dataset.train, self.dataset.num_users, self.dataset.num_items)
        return Timing(time.perf_counter() - started, 0.0)

    def _loss_of(self, form: str, batch: Batch) -> Callable[[], Tensor]:
        if form == "ours":
            return lambda: torch.stack(list(self.model.loss(batch).values())).sum()
        return lambda: self.reference.loss(batch)

    def _timed(self, compute: Callable[[], Tensor]) -> Timing:
        self.model.zero_grad(set_to_none=True)
        started = time.perf_counter()
        result = compute()
        between = time.perf_counter()
        torch.autograd.backward(result)
        return Timing(between - started, time.perf_counter() - between)


def compare(workload: Workload, *, repeats: int) -> str:
    """A table of ours against the reference: step, attention layer, epoch, and peak memory.

    Parameters
    ----------
    workload
        What is trained on.
    repeats
        Turns each form gets; medians are shown, and the ratio's smallest and largest value.
    """
    keep_freed_memory()
    contest = Contest(workload)
    needed = {
        "step": contest.reference.step_memory_mb(),
        "attention layer": contest.reference.layer_memory_mb(),
    }
    available = available_memory_mb()
    forms = {part: _forms_that_fit(memory, available) for part, memory in needed.items()}
    # Before the steps in this process, which keeps the memory that they took.
    memory = {form: memory_of_a_step(workload, form) for form in forms["step"]}
    steps = _interleaved(contest.step, repeats, forms["step"])
    layers = _interleaved(contest.layer, repeats, forms["attention layer"])
    rows = [
        ["milliseconds", *FORMS, "ratio", "from", "to"],
        *_rows("step", steps),
        *_rows("attention layer", layers),
        *_rows_of_epochs(contest, steps, repeats),
    ]
    left_out = [
        f"The reference {part} is left out: it needs about {needed[part] / 1e3:,.1f} GB of memory, "
        f"and {available / 1e3:,.1f} GB are available."
        for part in needed
        if available is not None and forms[part] != FORMS
    ]
    return "\n\n".join([_describe(contest), markdown_table(rows), *left_out, _memory_line(memory)])


def _forms_that_fit(reference_mb: float, available_mb: float | None) -> tuple[str, ...]:
    fits = available_mb is None or reference_mb <= available_mb
    return FORMS if fits else ("ours",)


def _rows(name: str, times: dict[str, list[Timing]]) -> list[list[str]]:
    return [
        _row(f"{name}, {part}", {form: [getattr(t, part) for t in times[form]] for form in times})
        for part in ("forward", "backward", "total")
    ]


def _rows_of_epochs(contest: Contest, steps: dict[str, list[Timing]], repeats: int) -> list[list[str]]:
    """An epoch of both forms, and that of the reference as the authors released it against ours."""
    negatives = _interleaved(contest.negatives, 3, tuple(steps))
    epoch = {
        form: [step.total * len(contest.sampler) + negatives[form][0].total for step in steps[form]]
        for form in steps
    }
    rows = [_row(f"epoch, {len(contest.sampler)} steps", epoch)]
    if "reference" in steps:
        released = -(-len(contest.dataset.train) // RELEASED_BATCH_SIZE)
        smaller = _interleaved(contest.step_as_released, repeats, FORMS)["reference"]
        sampling = negatives["reference"][0].total
        epoch["reference"] = [step.total * released + sampling for step in smaller]
        rows.append(_row(f"epoch, {released} steps as released, {len(contest.sampler)} ours", epoch))
    return rows


def scale(sizes: Sequence[Workload], *, repeats: int) -> str:
    """A table of time and peak memory of our step as the graph grows."""
    keep_freed_memory()
    rows = [["nodes", "edges", "step, s", "microseconds an edge", "memory of a step, MB"]]
    for workload in sizes:
        contest = Contest(workload)
        seconds = median(contest.step("ours").total for _ in range(repeats))
        edges = len(contest.model.views.messages.attended)
        memory = memory_of_a_step(workload, "ours")
        rows.append(
            [
                f"{workload.num_nodes:,}",
                f"{edges:,}",
                f"{seconds:.3f}",
                f"{seconds / edges * 1e6:.2f}",
                _mb(memory),
            ]
        )
    return markdown_table(rows)


def compare_sampled(sizes: Sequence[Workload], fanout: tuple[int, ...], *, repeats: int) -> str:
    """A table of time and peak memory on the whole graph and on sampled neighbourhoods, turn by turn.

    Parameters
    ----------
    sizes
        What is trained on.
    fanout
        Of the sampled neighbourhoods.
    repeats
        Turns each gets; medians are shown.
    """
    keep_freed_memory()
    rows = [["nodes", "edges", "fan-out", "step reads", "step, s", "MB", "embeddings, s", "MB"]]
    for workload in sizes:
        contests = [Contest(workload), Contest(replace(workload, fanout=fanout))]
        turns = [[contest.step_and_embeddings() for contest in contests] for _ in range(repeats)]
        for contest, times in zip(contests, zip(*turns, strict=True), strict=True):
            rows.append(_row_of_sampled(contest, times))
    return markdown_table(rows)


def _row_of_sampled(contest: Contest, times: Sequence[tuple[float, float]]) -> list[str]:
    step, embeddings = (f"{median(seconds):.2f}" for seconds in zip(*times, strict=True))
    memory = [_mb(memory_of_a_step(contest.workload, form)) for form in ("ours", "embeddings")]
    return [
        f"{len(contest.model.embedding):,}",
        f"{len(contest.model.views.messages.attended):,}",
        ", ".join(map(str, contest.workload.fanout)) or "whole graph",
        f"{contest.num_nodes_read():,}",
        *(step, memory[0]),
        *(embeddings, memory[1]),
    ]


def memory_of_a_step(workload: Workload, form: str) -> float | None:
    """MB that one training step adds to the peak of a fresh process; None where the system does not tell.

    The form ``embeddings`` stands for our embeddings of all nodes instead of a step.
    """
    arguments = json.dumps({"workload": vars(workload), "form": form})
    child = subprocess.run(
        [sys.executable, "-m", "spike_dgl.measure.speed", arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    if child.returncode:
        raise SpikeError(f"measuring the memory of a step failed:\n{child.stderr[-500:]}")
    added = json.loads(child.stdout)
    return None if added is None else float(added)


def _print_memory_of_a_step(arguments: dict[str, Any]) -> None:
    contest = Contest(Workload(**arguments["workload"]))
    run: Callable[[], object] = partial(contest.step, arguments["form"])
    if arguments["form"] == "embeddings":
        run = partial(final_embeddings, contest.model)
    run()  # loads what is compiled, which is no memory of a step
    contest.model.zero_grad(set_to_none=True)
    before = _start_memory_peak()
    run()
    after = peak_memory_mb()
    print(json.dumps(None if before is None or after is None else after - before))


def _start_memory_peak() -> float | None:
    """Let the peak begin at the memory in use now, which is returned in MB; None where the system cannot."""
    return_freed_memory()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return peak_memory_mb()


def _interleaved(run: Callable[[str], Timing], repeats: int, forms: Sequence[str]) -> dict[str, list[Timing]]:
    times: dict[str, list[Timing]] = {form: [] for form in forms}
    for turn in range(repeats + 1):
        for form in forms:
            timing = run(form)
            if turn:  # the first warms up
                times[form].append(timing)
    return times


def _row(name: str, seconds: dict[str, list[float]]) -> list[str]:
    """Medians of each form; where both were measured, of their ratio too."""
    figures = [f"{median(seconds[form]) * 1e3:.1f}" if form in seconds else "-" for form in FORMS]
    if len(seconds) < len(FORMS):
        return [name, *figures, "-", "-", "-"]
    ratios = [slow / fast for slow, fast in zip(*(seconds[form] for form in FORMS), strict=True)]
    return [name, *figures, f"{median(ratios):.1f}", f"{min(ratios):.1f}", f"{max(ratios):.1f}"]


def _describe(contest: Contest) -> str:
    data, messages = contest.dataset, contest.model.views.messages
    return (
        f"{data.name}: {data.num_users + data.num_entities:,} nodes, {len(messages.attended):,} edges, "
        f"{len(messages.pair_src):,} (source, relation) pairs, batches of {contest.sampler.batch_size:,}, "
        f"{torch.get_num_threads()} threads"
    )


def _memory_line(memory: dict[str, float | None]) -> str:
    figures = ", ".join(f"{form} {_mb(added)} MB" for form, added in memory.items())
    return f"Peak memory that a step adds: {figures}."


def _mb(memory: float | None) -> str:
    return "unknown" if memory is None else f"{memory:,.0f}"


if __name__ == "__main__":
    _print_memory_of_a_step(json.loads(sys.argv[1]))
