"""Measurements of `python main.py speed gpu`, one row at a time, in a process of its own."""

from __future__ import annotations

import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from spike_dgl.data.dataset import Dataset, Interactions
from spike_dgl.data.load import load_dataset
from spike_dgl.dgl_import import dgl
from spike_dgl.evaluation.ranking import rank
from spike_dgl.graph import build_graph
from spike_dgl.measure.same_draws import DrawnOnCpu, options_without_dropout
from spike_dgl.models.base import (
    CPU,
    Batch,
    EmbeddingModel,
    Embeddings,
    ModelInputs,
    model_entry,
    ranking_terms,
)
from spike_dgl.models.spike.options import SpikeOptions
from spike_dgl.nn import dispatch
from spike_dgl.nn.graphs.edge_dropout import EdgeDropout
from spike_dgl.nn.graphs.messages import MessageGraph
from spike_dgl.nn.kernels import Backend, attend
from spike_dgl.nn.layers.spike_conv import SpikeConv
from spike_dgl.runs.environment import peak_memory_mb
from spike_dgl.training.sampling import BprSampler
from spike_dgl.training.seeding import seed_everything

DIM, HEADS, RELATIONS, LAYERS = 64, 2, 20, 2
VECTOR_DIM = 128
EDGES_PER_NODE = 10
BATCH_SIZE = 4096
SECONDS, MOST_REPEATS = 0.5, 20
"""Seconds and number of repetitions after which a measurement ends."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One row of the result: a kind, and what it measures: a model, or a backend and a number of edges."""

    kind: str
    of: str = ""
    edges: int = 0

    @property
    def name(self) -> str:
        """Name of the row in the file."""
        return " ".join(filter(None, (self.kind, self.of, str(self.edges or ""))))

    def measure(self, device: torch.device) -> Row:
        """Measure on a device."""
        kinds: dict[str, Callable[[], Row]] = {
            "device": lambda: describe(device),
            "correctness": lambda: compare_with_cpu(self.of, device),
            "step": lambda: time_step(self.of, device),
            "layer": lambda: time_layer(cast(Backend, self.of), self.edges, device),
            "graph": lambda: time_step_on_graph(self.edges, device),
            "evaluation": lambda: time_evaluation(self.edges, device),
        }
        return kinds[self.kind]()


@contextmanager
def code_of_other_devices(device: torch.device) -> Iterator[None]:
    """Run the code of a GPU; on the CPU as well, to test the measurement."""
    compiled = dispatch.COMPILED_FOR
    dispatch.COMPILED_FOR = compiled - {device.type}
    try:
        yield
    finally:
        dispatch.COMPILED_FOR = compiled


def describe(device: torch.device) -> Row:
    """Return the name of the device, its bandwidth, and the versions of what computes."""
    is_gpu = device.type == "cuda"
    numbers = torch.ones(1 << (28 if is_gpu else 20), device=device)
    copy = torch.empty_like(numbers)
    seconds = timed(lambda: copy.copy_(numbers), device)
    return {
        "device": torch.cuda.get_device_name(device) if is_gpu else "CPU",
        "gb_per_s": 2 * numbers.numel() * numbers.element_size() / seconds / 1e9,
        "torch": torch.__version__,
        "dgl": dgl.__version__,
        "dgl_on_device": dispatch.message_passing_on(device) == "dgl",
        "cpu_threads": torch.get_num_threads(),
    }


def compare_with_cpu(name: str, device: torch.device) -> Row:
    """Return the relative errors of loss and gradients of a model's step, against float64 on the CPU.

    In float32 a model that chooses edges by their scores (DiffKG, KGRec) may choose others, so only float64 tells
    whether the code is right.
    """

    def step(place: torch.device, dtype: torch.dtype) -> list[Tensor]:
        options = options_without_dropout(model_entry(name).options)
        model = model_on(name, place, **options).to(dtype).train()
        with DrawnOnCpu(7):
            terms = model.loss(batch_on(place))
        total = torch.stack(list(terms.values())).sum()
        gradients = torch.autograd.grad(total, list(model.parameters()), allow_unused=True)
        return [tensor.detach().cpu().double() for tensor in (total, *gradients) if tensor is not None]

    expected = step(CPU, torch.float64)
    row: Row = {}
    for ending, dtype in (("", torch.float64), ("_float32", torch.float32)):
        with code_of_other_devices(device):
            found = step(device, dtype)
        errors = [relative_error(one, other) for one, other in zip(found, expected, strict=True)]
        row |= {f"loss{ending}": errors[0], f"gradients{ending}": max(errors[1:])}
    return row


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference over that of what is expected."""
    return float((found - expected).norm() / expected.norm().clamp(min=1e-12))


def time_step(name: str, device: torch.device) -> Row:
    """Time a training step with the optimiser on the bundled data, on the device and compiled on the CPU."""
    of_cpu = timed(stepper(name, CPU), CPU)
    with code_of_other_devices(device):
        step = stepper(name, device)
        memory = memory_of(step, device)
        seconds = timed(step, device)
    return {"ms": seconds * 1e3, "mb": memory, "cpu_ms": of_cpu * 1e3}


def stepper(name: str, device: torch.device) -> Callable[[], object]:
    """Return a function that trains a model by one step."""
    model, batch = model_on(name, device).train(), batch_on(device)
    return trained_by(model, lambda: torch.stack(list(model.loss(batch).values())).sum(), device)


def trained_by(model: nn.Module, loss: Callable[[], Tensor], device: torch.device) -> Callable[[], object]:
    """Return a function that minimises a loss by one step of AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=device.type == "cuda" or None)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss())
        optimizer.step()

    return step


def time_layer(backend: Backend, edges: int, device: torch.device) -> Row:
    """Time SPiKE's attention over a generated graph, forward and backward."""
    place = CPU if backend == "compiled" else device
    graph = generated_graph(edges, place)
    rows = [
        torch.randn(size, DIM, device=place) for size in (graph.num_nodes, graph.num_nodes, RELATIONS + 1)
    ]
    rows = [numbers.requires_grad_() for numbers in rows]

    def forward() -> Tensor:
        return attend(graph, rows[0], rows[1], rows[2], HEADS, backend)[0]

    def both() -> object:
        return torch.autograd.grad(forward().sum(), rows)

    memory = memory_of(both, place)
    with torch.no_grad():
        of_forward = timed(forward, place)
    return {
        "ms": timed(both, place) * 1e3,
        "forward_ms": of_forward * 1e3,
        "mb": memory,
        "gb_to_move": bytes_of_layer(len(graph.attended), graph) / 1e9,
    }


def bytes_of_layer(edges: int, graph: MessageGraph) -> int:
    """Return the bytes that attention has to move, forward and backward, if rows are not in a cache.

    For each edge: two rows of its src node forward and two backward, two of its dst node backward, two indices in each
    pass, and the weights, written and read twice. For each node: its rows and their gradients, and the result.
    """
    row, number, index = 4 * DIM, 4 * HEADS, 8
    return edges * (6 * row + 6 * index + 5 * number) + graph.num_nodes * 8 * row


def time_step_on_graph(edges: int, device: torch.device) -> Row:
    """Time a training step of two hops with edge dropout, softmax loss and AdamW on a generated graph."""
    with code_of_other_devices(device):
        graph = generated_graph(edges, device)
        options = SpikeOptions(embedding_dim=DIM)
        dropout = EdgeDropout(
            graph, kg_dropout=options.kg_dropout, interaction_dropout=options.interaction_dropout
        )
        etypes = [("entity", str(number), "entity") for number in range(RELATIONS + 1)]
        conv = SpikeConv(DIM, HEADS, etypes, feat_drop=options.message_dropout)
        model = nn.ParameterDict({"embedding": nn.Parameter(torch.randn(graph.num_nodes, DIM) / 8)})
        model["conv"] = conv
        model.to(device)
        users = torch.randint(graph.num_users, (BATCH_SIZE,), device=device)
        items = torch.randint(graph.num_users, graph.num_nodes, (2 * BATCH_SIZE,), device=device)

        def loss() -> Tensor:
            messages, state = dropout.draw(), model["embedding"]
            final = state
            for _ in range(LAYERS):
                state, _ = conv.hop(messages, state)
                final = final + state
            terms = ranking_terms(final, model["embedding"], torch.cat([users, items]), options)
            return torch.stack(list(terms.values())).sum()

        step = trained_by(model, loss, device)
        return {"nodes": graph.num_nodes, "mb": memory_of(step, device), "ms": timed(step, device) * 1e3}


def time_evaluation(edges: int, device: torch.device) -> Row:
    """Time ranking of all items for many users, a twentieth of `edges` items and half as many users."""
    num_users, num_items = max(2, edges // 40), max(50, edges // 20)
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(num_users), 20)
    seen = Interactions.from_pairs(users, random.integers(0, num_items, len(users)))
    final = Embeddings(*(torch.randn(size, DIM, device=device) for size in (num_users, num_items)))
    asked = torch.arange(num_users)
    with code_of_other_devices(device):
        seconds = timed(lambda: rank(final.scores, asked, seen, num_items=num_items, k=40), device)
    return {"users": num_users, "items": num_items, "users_per_s": num_users / seconds}


@cache
def bundled_data() -> Dataset:
    """Load the bundled data."""
    return load_dataset("movielens")


def model_on(name: str, device: torch.device, **options: Any) -> EmbeddingModel:
    """Create a model for the bundled data, with the same initial weights on every device."""
    seed_everything(1)
    data, entry = bundled_data(), model_entry(name)
    vectors = (torch.rand(size, VECTOR_DIM) for size in (data.num_users, data.num_entities))
    inputs = ModelInputs(build_graph(data), *vectors, device=device)
    return cast(EmbeddingModel, entry.model(inputs, entry.options(**options))).to(device)


def batch_on(device: torch.device) -> Batch:
    """Return the same batch on every device."""
    data = bundled_data()
    sampler = BprSampler(data.train, data.num_users, data.num_items, batch_size=BATCH_SIZE, seed=1)
    batch = next(sampler.epoch(1))
    return Batch(*(rows.to(device) for rows in (batch.users, batch.positives, batch.negatives)))


def generated_graph(edges: int, device: torch.device) -> MessageGraph:
    """Generate a graph on a device: three quarters of the edges are triples, one quarter interactions.

    Some nodes have far more edges than others, as in `spike_dgl.data.synthetic`.
    """
    torch.manual_seed(0)
    num_nodes = max(20, edges // EDGES_PER_NODE)
    num_users, num_items = num_nodes // 5, 2 * num_nodes // 5
    triples, interactions = 3 * edges // 4, edges // 4

    def skewed(rows: int, size: int) -> Tensor:
        return (torch.rand(size, device=device, dtype=torch.float64) ** 3 * rows).long()

    def uniform(rows: int, size: int) -> Tensor:
        return torch.randint(rows, (size,), device=device)

    users, items = uniform(num_users, interactions), num_users + skewed(num_items, interactions)
    num_entities = num_nodes - num_users
    src = torch.cat([num_users + skewed(num_entities, triples), users])
    dst = torch.cat([num_users + uniform(num_entities, triples), items])
    relation = torch.cat([uniform(RELATIONS, triples), torch.full_like(users, RELATIONS)])
    return MessageGraph.from_edges((src, dst, relation), (items, users), num_users, num_entities)


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Return the median seconds of a function, after a warm-up."""
    wait = torch.cuda.synchronize if device.type == "cuda" else _do_nothing
    run()
    wait()
    seconds: list[float] = []
    while len(seconds) < 3 or (sum(seconds) < SECONDS and len(seconds) < MOST_REPEATS):
        started = time.perf_counter()
        run()
        wait()
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def _do_nothing() -> None:
    """Wait for the CPU, which has no queue."""


def memory_of(run: Callable[[], object], device: torch.device) -> float | None:
    """Return the peak memory in MB of the device's tensors in a second call; of the process on the CPU."""
    run()
    if device.type != "cuda":
        return peak_memory_mb()
    torch.cuda.reset_peak_memory_stats(device)
    run()
    return torch.cuda.max_memory_allocated(device) / 1e6


def main(arguments: str) -> int:
    """Measure the tasks in JSON and print a row of each; end after the first that fails."""
    asked = json.loads(arguments)
    signal.alarm(math.ceil(asked["seconds"]))  # ends this process if the one that started it is gone
    device = torch.device(asked["device"])
    for task in (Task(**task) for task in asked["tasks"]):
        try:
            row = task.measure(device)
        except Exception as error:  # of any kind: what is measured next is not affected
            reason = str(error).strip().splitlines() or [""]
            print(
                json.dumps({"name": task.name, "error": f"{type(error).__name__}: {reason[0]}"[:200]}),
                flush=True,
            )
            return 1
        print(json.dumps({"name": task.name, **row}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
