"""``python main.py export``: runs in the formats of other libraries, to check the metrics there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from spike_dgl.runs.export import ExportFormat

FILE = click.Path(path_type=Path)
FORMAT = click.Choice(["recbole", "cornac"])


@click.command()
@click.argument("runs", nargs=-1, required=True, type=FILE)
@click.option("--format", "export_format", type=FORMAT, required=True, help="Library.")
@click.option("--out", type=FILE, required=True, help="New folder to write.")
def export(runs: tuple[Path, ...], export_format: ExportFormat, out: Path) -> None:
    """Export RUNS for RecBole or Cornac.

    Writes the split in the library's format, and the lists and metrics of all test users, to check them there.
    """
    from spike_dgl.runs.export import export_runs

    export_runs(_named(runs), out, export_format)
    click.echo((out / "README.md").read_text(encoding="utf-8"))


def _named(runs: Sequence[Path]) -> dict[str, Path]:
    """Name runs by the last part of their path, or by the last two if the last is not unique."""
    short = {run.name: run for run in runs}
    return short if len(short) == len(runs) else {f"{run.parent.name}-{run.name}": run for run in runs}
