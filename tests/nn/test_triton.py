"""The Triton kernels, on a GPU if there is one, else in Triton's interpreter on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")
if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("needs a GPU, or TRITON_INTERPRET=1", allow_module_level=True)

from spike_dgl.errors import ConfigError
from spike_dgl.measure.reference import ReferenceSpike
from spike_dgl.measure.speed import Contest, Workload
from spike_dgl.nn import kernels
from spike_dgl.nn.graphs import spans
from spike_dgl.nn.graphs.messages import MessageGraph
from spike_dgl.nn.graphs.spans import Spans
from spike_dgl.nn.kernels import with_torch, with_triton

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
NUM_USERS, NUM_ENTITIES, NUM_RELATIONS = 2, 5, 3
HUB = NUM_USERS
Function = Callable[..., Tensor | tuple[Tensor, Tensor]]


def random_graph(num_edges: int, hub_edges: int = 0) -> MessageGraph:
    """Return a graph with repeated edges and a last entity and user without edges; the first entity may be a hub."""
    draw = torch.Generator().manual_seed(num_edges)
    nodes = NUM_USERS + NUM_ENTITIES
    src = torch.randint(0, nodes, (num_edges,), generator=draw)
    dst = torch.randint(NUM_USERS, nodes - 1, (num_edges,), generator=draw)
    dst[:hub_edges] = HUB
    relation = torch.randint(0, NUM_RELATIONS, (num_edges,), generator=draw)
    users = torch.randint(0, NUM_USERS - 1, (num_edges,), generator=draw)
    items = torch.randint(NUM_USERS, nodes, (num_edges,), generator=draw)
    return MessageGraph.from_edges((src, dst, relation), (items, users), NUM_USERS, NUM_ENTITIES).to(DEVICE)


def random_rows(dim: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(dim)
    nodes = NUM_USERS + NUM_ENTITIES
    sizes = (nodes, nodes, NUM_RELATIONS + 1)  # one relation without edges
    return [torch.randn(size, dim, dtype=dtype, device=DEVICE, requires_grad=True) for size in sizes]


def results(module: object, graph: MessageGraph, rows: list[Tensor], num_heads: int) -> list[Tensor]:
    """Return attention, sums and means, and the gradients of a function of them."""
    gathered, attention = module.attend(graph, *rows, num_heads)  # type: ignore[attr-defined]
    mean = module.mean_of_sources(graph.pooled, rows[1])  # type: ignore[attr-defined]
    loss = (gathered * (gathered + 1).cumsum(0)).sum() + (mean * (mean + 1).cumsum(0)).sum()
    return [attention, gathered, mean, *torch.autograd.grad(loss, rows)]


def assert_same(graph: MessageGraph, dim: int, num_heads: int) -> None:
    rows = random_rows(dim)
    expected, found = (results(module, graph, rows, num_heads) for module in (with_torch, with_triton))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("dim", "num_heads"), [(6, 2), (3, 1), (5, 5)])
def test_results_and_gradients_are_those_in_torch(dim: int, num_heads: int) -> None:
    assert_same(random_graph(20), dim, num_heads)


def test_without_edges_all_is_zero() -> None:
    assert_same(random_graph(0), 4, 2)


def test_rows_of_256_numbers_in_8_heads() -> None:
    assert_same(random_graph(9), 256, 8)


def test_long_rows_are_split_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "EDGES_PER_SPAN", 4)
    assert_same(random_graph(20, hub_edges=13), 4, 2)


def test_a_hub_of_ten_thousand_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    if DEVICE.type == "cpu":  # the interpreter takes as long for a small tile as for a large one
        monkeypatch.setattr(with_triton, "NUMBERS_PER_TILE", 1 << 14)
        monkeypatch.setattr(with_triton, "EDGES_PER_TILE", 1 << 11)
        monkeypatch.setattr(spans, "EDGES_PER_SPAN", 1 << 12)
    assert_same(random_graph(10_050, hub_edges=10_000), 4, 2)


def test_results_are_the_same_bits_in_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "EDGES_PER_SPAN", 4)
    graph, rows = random_graph(12, hub_edges=9), random_rows(4, torch.float32)
    once, again = (results(with_triton, graph, rows, 2) for _ in range(2))
    assert all(map(torch.equal, once, again))


@pytest.mark.skipif(DEVICE.type != "cpu", reason="the reference runs on the CPU")
def test_the_model_is_that_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "EDGES_PER_SPAN", 8)
    contest = Contest(Workload(num_nodes=10, num_edges=30, num_relations=3, batch_size=16))
    model = contest.model.double().eval()
    model.conv.backend = "triton"
    parameters = [model.embedding, *model.conv.parameters()]
    found = []
    for final in (model.propagate().final, ReferenceSpike(model).propagate()[0]):
        found.append([final, *torch.autograd.grad(final.square().cumsum(0).sum(), parameters)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("length", "edges_per_span"), [(4, 4), (9, 4), (17, 4), (1, 1), (2, 1)])
def test_spans_cover_every_edge_once(
    monkeypatch: pytest.MonkeyPatch, length: int, edges_per_span: int
) -> None:
    monkeypatch.setattr(spans, "EDGES_PER_SPAN", edges_per_span)
    lengths = torch.tensor([0, length, 1, 0, 2 * length + 1])
    start = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    found = Spans.from_rows(start, int(start[-1]))
    covered = [
        (row, edge)
        for row, first, last in zip(*(part.tolist() for part in found[:3]), strict=True)
        for edge in range(first, last)
    ]
    rows = torch.repeat_interleave(torch.arange(5), lengths).tolist()
    assert sorted(covered) == list(zip(rows, range(len(rows)), strict=True))
    assert (found.last - found.first).max() <= edges_per_span
    if found.part is not None:
        for row in range(5):
            assert set(found.row[found.part[row] : found.part[row + 1]].tolist()) <= {row}


def test_a_large_graph_has_longer_spans_instead_of_ever_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "EDGES_PER_SPAN", 4)
    monkeypatch.setattr(spans, "MOST_PARTS", 6)
    lengths = torch.tensor([50, 0, 3, 47])
    start = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    found = Spans.from_rows(start, 100)
    assert len(found.row) <= 4 + 6
    assert (found.last - found.first).sum() == 100
    assert (found.last - found.first).max() <= 34  # 100 edges in spans of six parts at most
    assert_same(random_graph(40, hub_edges=30), 4, 2)


@pytest.mark.skipif(DEVICE.type != "cpu", reason="maps a file of 4 GB without reading it")
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_rows_beyond_two_billion_numbers_are_found(tmp_path: Path, dtype: torch.dtype) -> None:
    dim, last = 64, (1 << 31) // 64 + 7
    size = (last + 1) * dim
    rows = torch.from_file(str(tmp_path / "rows"), shared=True, size=size, dtype=torch.float16).view(-1, dim)
    rows[last], rows[3] = 2.0, 1.0
    index, start = torch.tensor([last, 3, last], dtype=dtype), torch.tensor([0, 2, 3])
    found = with_triton._sums_of(Spans.from_rows(start, 3), index, rows)
    assert found.tolist() == [[3.0] * dim, [2.0] * dim]


def test_it_is_the_choice_on_a_gpu_with_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rows:
        device, shape = torch.device("cuda"), (10, 64)

    assert kernels._best_backend(Rows()) == "triton"
    monkeypatch.setattr(Rows, "shape", (10, 512))
    assert kernels._best_backend(Rows()) == "torch"
    monkeypatch.setattr(Rows, "shape", (10, 64))
    monkeypatch.setattr(kernels, "has_triton", lambda: False)
    assert kernels._best_backend(Rows()) == "torch"
    with pytest.raises(ConfigError, match=r"not installed\n.*pip install triton"):
        kernels.require_backend_on(torch.device("cuda"), "triton")
    with pytest.raises(ConfigError, match=r"runs on a GPU only.*\n.*model\.backend=auto"):
        kernels.require_backend_on(torch.device("cpu"), "triton")


COMPILE = """
import json
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from spike_dgl.nn.kernels import with_triton

INTEGERS = {"row", "first", "last", "part", "srcs", "dsts", "edges", "index", "relation_rows"}
SIZES = {"H": 2, "W": 32, "HP": 2, "WP": 32, "B": 32, "D": 64}

for name, kernel in vars(with_triton).items():
    if isinstance(kernel, triton.JITFunction) and name not in ("_cells", "_rows_at"):
        constants = {name: SIZES[name] for name in kernel.arg_names if name in SIZES}
        signature = {name: "*i64" if name in INTEGERS else "*fp32" for name in kernel.arg_names}
        source = ASTSource(kernel, signature | dict.fromkeys(constants, "constexpr"), constants)
        made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4}).asm
        adds = [word for word in ("atom.", "red.global") if word in made["ptx"]]
        print(json.dumps([name, len(made["cubin"]), adds]))
"""


@pytest.mark.slow
def test_all_kernels_compile_for_a_gpu_without_atomic_additions() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", COMPILE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    made = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"_attend", "_to_queries", "_to_src", "_to_relations", "_sum"} < {name for name, _, _ in made}
    assert all(size > 1000 and not adds for _, size, adds in made)
