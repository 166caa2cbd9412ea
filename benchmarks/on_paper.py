"""Memory, traffic and time of training on N hosts, computed from constants that were measured on small graphs.

usage: python -m benchmarks.on_paper --nodes 100e6 --items 40e6 --edges 1e9 --interactions 250e6 --hosts 4 --hosts 8

SPiKE with D = 64 and fan-outs 10, 10, parts at random, one trainer per host. docs/distributed.md has the command that
measured each constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import click

from spike_dgl.markdown import markdown_table
from spike_dgl.partitions.memory import FLOAT

DIM, HOPS = 64, 2
GRAPH_BYTES = 26
"""Bytes of the graph per edge, in memory."""
ROWS = 55
"""Input rows of a step per interaction, where neighbourhoods do not overlap."""
SENT_BYTES = 595
"""Bytes sent, by both sides, per input row that is another host's."""
SENT_BY_INFERENCE = 285
"""Bytes sent by inference and for the run folder, per edge from another host and hop."""
SECONDS = 6.2e-6
"""Seconds of a trainer with one thread per input row, without sending."""
LOADING_BYTES, PARTITION_BYTES = 670, 1170
"""Bytes per node for loading a data set without texts, and for `partition`, beside Python, torch and DGL."""
GB = 1e9


@dataclass(frozen=True)
class Job:
    """Size of a graph, of a step of all hosts, and of the network.

    Parameters
    ----------
    nodes, items, edges
        Numbers of all nodes, of items, and of edges of both directions.
    interactions
        Number of training interactions.
    batch
        Interactions of a step of all hosts.
    gbit
        Gbit/s that a host sends.
    text_dim
        d_t, 0 without texts.
    """

    nodes: float
    items: float
    edges: float
    interactions: float
    batch: float
    gbit: float
    text_dim: int

    def memory(self, hosts: int) -> dict[str, float]:
        """Return the GB on a host by purpose, as `spike_dgl.partitions.memory` counts them."""
        nodes = self.nodes / hosts
        of_purpose = {
            "graph": self.edges / hosts * GRAPH_BYTES,
            "texts": nodes * self.text_dim * FLOAT,
            "embeddings and moments": nodes * (3 * DIM + 1) * FLOAT,
            "states of inference": nodes * 3 * DIM * FLOAT,
            "items": 2 * self.items * DIM * FLOAT,
        }
        return {purpose: size / GB for purpose, size in of_purpose.items()}

    def sent(self, interactions: float, hosts: int) -> float:
        """Return the GB that all hosts send for some interactions."""
        return interactions * ROWS * (1 - 1 / hosts) * SENT_BYTES / GB

    def sent_by_inference(self, hosts: int) -> float:
        """Return the GB that all hosts send for the final embeddings of all nodes."""
        return self.edges * HOPS * (1 - 1 / hosts) * SENT_BY_INFERENCE / GB

    def hours(self, hosts: int) -> tuple[float, float]:
        """Return the hours of an epoch in which a trainer computes, and in which it sends."""
        computing = self.interactions * ROWS * SECONDS / hosts
        sending = self.sent(self.interactions, hosts) / hosts * 8 / self.gbit
        return computing / 3600, sending / 3600

    def row(self, hosts: int) -> list[str]:
        """Return the row of a table."""
        memory, (computing, sending) = self.memory(hosts), self.hours(hosts)
        sent = (self.sent(self.batch, hosts), self.sent_by_inference(hosts))
        sizes = [*memory.values(), sum(memory.values()), *sent]
        return [str(hosts), *(f"{size:,.1f}" for size in sizes), f"{computing:,.1f}", f"{sending:,.2f}"]


@click.command()
@click.option("--nodes", default=100e6, show_default=True)
@click.option("--items", default=40e6, show_default=True)
@click.option("--edges", default=1e9, show_default=True, help="Edges of both directions.")
@click.option(
    "--interactions", default=250e6, show_default=True, help="Training interactions, a part of the edges."
)
@click.option("--batch", default=65536.0, show_default=True, help="Interactions of a step of all hosts.")
@click.option("--text-dim", default=0, show_default=True, help="Size of text vectors; 0 without.")
@click.option("--gbit", default=10.0, show_default=True, help="Gbit/s that a host sends.")
@click.option(
    "--hosts", multiple=True, default=(4, 8, 16), show_default=True, help="Number of hosts; repeatable."
)
def main(hosts: tuple[int, ...], **sizes: float) -> None:
    """Print memory of a host in GB by purpose, GB sent a step by all hosts, and hours an epoch by number of hosts."""
    job = Job(**sizes)  # type: ignore[arg-type]  # text_dim is an integer
    header = [
        "hosts",
        *job.memory(1),
        "sum",
        "sent a step",
        "sent by inference",
        "computing, h",
        "sending, h",
    ]
    click.echo(markdown_table([header, *(job.row(number) for number in hosts)]))
    one = job.memory(1)
    on_device = one["embeddings and moments"] + one["texts"]
    loading, partition = (job.nodes * size / GB for size in (LOADING_BYTES, PARTITION_BYTES))
    click.echo(f"\npartition: {partition:,.1f} GB; the data set after training: {loading:,.1f} GB")
    click.echo(f"embeddings, moments and texts on a single device: {on_device:,.1f} GB")


if __name__ == "__main__":
    main()
