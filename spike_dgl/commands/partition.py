"""Command ``python main.py partition``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from spike_dgl.partitions.partition import Method, Partitioned

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("data")
@click.argument("out", type=PATH)
@click.argument("overrides", nargs=-1, metavar="[section.key=value]...")
@click.option("--parts", type=click.IntRange(min=1), required=True, help="Number of parts, one per host.")
@click.option(
    "--method", type=click.Choice(["metis", "random"]), help="Assignment of nodes; METIS by default."
)
@click.option("--config", "config_file", type=PATH, help="YAML file of settings; see configs/.")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
def partition(
    data: str,
    out: Path,
    overrides: tuple[str, ...],
    parts: int,
    method: Method | None,
    config_file: Path | None,
    quiet: bool,
) -> None:
    """Cut the graph of DATA into parts for training on several hosts.

    Each host needs OUT/*.json and its own part, OUT/partN. The first host needs OUT/first-host and the data as well.
    Profiles are written and encoded here.
    """
    from spike_dgl.partitions.partition import partition as cut_into_parts
    from spike_dgl.runs.config import load_config

    config = load_config(config_file, (f"data.path={data}", *overrides))
    result = cut_into_parts(config, out, parts, method, progress=not quiet)
    click.echo(_render(result, config.model.embedding_dim))
    click.echo(f"\nTrain: torchrun ... main.py train --partitions {out} (docs/distributed.md)")


def _render(result: Partitioned, dim: int) -> str:
    from spike_dgl.markdown import markdown_table
    from spike_dgl.partitions.memory import memory_of_part

    layout, cut = result.layout, result.cut
    share = cut.edges_cut / max(1, layout.num_edges)
    lines = [
        f"{layout.num_nodes:,} nodes and {layout.num_edges:,} edges in {layout.num_parts} parts by {cut.method}",
        f"edges between parts: {cut.edges_cut:,} ({share:.1%})",
        "",
    ]
    rows = []
    for part, sizes in enumerate(layout.sizes.tolist()):
        memory = memory_of_part(layout, part, result.bytes[part], dim)
        rows.append(
            [
                str(part),
                *(f"{size:,}" for size in sizes),
                f"{layout.num_train[part]:,}",
                *(f"{size / 1e6:,.1f}" for size in (*memory.values(), sum(memory.values()))),
            ]
        )
    names = ["graph", "texts", "embeddings", "inference", "items", "sum"]
    header = ["part", "users", "items", "other entities", "interactions", *(f"{name}, MB" for name in names)]
    lines.append(markdown_table([header, *rows]))
    lines.append(
        f"\nMemory of a host with one trainer at embedding_dim={dim}, without Python and the batches."
    )
    if result.loading_mb is not None:
        lines.append(
            f"The first host loads the data set when training has ended and these tables are freed: "
            f"{result.loading_mb:,.0f} MB, with Python."
        )
    return "\n".join(lines)
