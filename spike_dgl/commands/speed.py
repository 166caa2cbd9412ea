"""Commands of ``python main.py speed``: speed of training and recommendation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from spike_dgl.commands.duration import Duration
from spike_dgl.commands.run_by_default import RunByDefault
from spike_dgl.threads import use_threads

FILE = click.Path(path_type=Path)


@click.group(cls=RunByDefault, default="training")
def speed() -> None:
    """Measure speed and memory.

    Without a command: training.
    """


@speed.command()
@click.argument("path", default="")
@click.option(
    "--nodes", default=30_000, show_default=True, help="Number of nodes of a generated graph, without PATH."
)
@click.option("--edges", default=250_000, show_default=True, help="Number of edges of the generated graph.")
@click.option("--relations", default=9, show_default=True, help="Number of relations of the generated graph.")
@click.option("--batch-size", default=4096, show_default=True)
@click.option("--repeats", default=7, show_default=True, type=click.IntRange(min=1))
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all by default.")
def training(
    path: str, nodes: int, edges: int, relations: int, batch_size: int, repeats: int, threads: int | None
) -> None:
    """Compare training with the reference.

    Times a training step of SPiKE and of the reference implementation, on the dataset in PATH or a generated graph.
    Parts of the reference that would not fit in memory are skipped.
    """
    from spike_dgl.measure.speed import Workload, compare

    use_threads(threads)
    size = (0, 0, 0) if path else (nodes, edges, relations)
    click.echo(compare(Workload(path, *size, batch_size), repeats=repeats))


@speed.command()
@click.option(
    "--nodes",
    default=2_000,
    show_default=True,
    help="Number of nodes of the smallest graph, which has ten times as many edges.",
)
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(min=1))
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all by default.")
def scaling(nodes: int, repeats: int, threads: int | None) -> None:
    """Measure training by graph size.

    Prints time and memory of a training step on graphs of 1, 10 and 100 times the size.
    """
    from spike_dgl.measure.speed import Workload, scale

    use_threads(threads)
    sizes = [
        Workload(num_nodes=nodes * factor, num_edges=10 * nodes * factor, num_relations=9)
        for factor in (1, 10, 100)
    ]
    click.echo(scale(sizes, repeats=repeats))


@speed.command()
@click.argument("path", default="")
@click.option(
    "--nodes", default=20_000, show_default=True, help="Number of nodes of the smallest graph, without PATH."
)
@click.option(
    "--fanout",
    multiple=True,
    default=(10, 10),
    show_default=True,
    help="Number of neighbours to sample; repeat for each layer.",
    type=click.IntRange(min=-1),
)
@click.option(
    "--compare",
    default="propagation",
    show_default=True,
    type=click.Choice(["propagation", "gradients", "vectors"]),
    help="What to compare: see above.",
)
@click.option("--vector-dim", default=384, show_default=True, help="Dimension of vectors, to compare these.")
@click.option("--batch-size", default=512, show_default=True)
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(min=1))
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all by default.")
def sampling(
    path: str,
    nodes: int,
    fanout: tuple[int, ...],
    compare: str,
    vector_dim: int,
    batch_size: int,
    repeats: int,
    threads: int | None,
) -> None:
    """Compare neighbour sampling with the whole graph.

    Prints time and memory of training steps on the dataset in PATH. Without PATH, on three generated graphs: with 10
    times the edges, then with 10 times the nodes as well.

    With --compare gradients: sampled steps with dense and with sparse gradients, optimizer included, on graphs with 1,
    10 and 30 times the nodes. With --compare vectors: memory of sampled training with text vectors in memory and on
    disk, on one graph.
    """
    from spike_dgl.measure.speed import Workload, compare_gradients, compare_sampled, compare_vectors

    use_threads(threads)
    workloads = [Workload(path=path, batch_size=batch_size)]
    if not path:
        sizes = [(nodes, 10 * nodes), (nodes, 100 * nodes), (10 * nodes, 100 * nodes)]
        if compare != "propagation":
            factors = (1, 10, 30) if compare == "gradients" else (1,)
            sizes = [(factor * nodes, 10 * factor * nodes) for factor in factors]
        workloads = [Workload("", *size, 9, batch_size) for size in sizes]
    if compare == "vectors":
        click.echo(compare_vectors(workloads, fanout, vector_dim=vector_dim))
    else:
        table = compare_gradients if compare == "gradients" else compare_sampled
        click.echo(table(workloads, fanout, repeats=repeats))


@speed.command()
@click.argument("run", type=FILE)
@click.option(
    "--calls",
    default=1000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of calls of each kind.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line per kind of call.")
def latency(run: Path, calls: int, as_json: bool) -> None:
    """Measure the latency of recommendation.

    Prints how long RUN takes to load, and to recommend to users of the data and to new users, on one thread.
    """
    from spike_dgl.measure.latency import measure, render

    found = measure(run, calls)
    click.echo("\n".join(json.dumps(vars(one)) for one in found) if as_json else render(run, found))


@speed.command()
@click.option(
    "--budget",
    default="8m",
    show_default=True,
    type=Duration(min=0, min_open=True),
    help="Time after which it ends, such as 480 (seconds) or 8m.",
)
@click.option(
    "--out", required=True, type=FILE, help="File of the rows, as JSON lines; continued if it is there."
)
@click.option(
    "--device",
    default="cuda",
    show_default=True,
    type=click.Choice(["cuda", "cpu"]),
    help="cpu runs the code of a GPU on the CPU, to test the measurement.",
)
@click.option(
    "--edges",
    multiple=True,
    default=(1_000_000, 10_000_000, 100_000_000),
    show_default=True,
    type=click.IntRange(min=100),
    help="Number of edges of a generated graph; repeat for several.",
)
def gpu(budget: float, out: Path, device: Literal["cuda", "cpu"], edges: tuple[int, ...]) -> None:
    """Measure a GPU.

    Compares every model with the CPU, and times steps, attention and ranking. Each row is saved when it is there; the
    same command measures the rows that are missing.
    """
    from spike_dgl.measure.speed_gpu import measure_gpu, render, tasks
    from spike_dgl.training.devices import choose_device

    choose_device(device)
    wanted = tasks(edges, device)
    rows = measure_gpu(
        wanted, out, device=device, budget=budget, tell=lambda line: click.echo(line, err=True)
    )
    click.echo(render(wanted, rows))
