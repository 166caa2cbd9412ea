"""``python main.py export``: runs for other libraries to check."""

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
@click.option("--format", "export_format", type=FORMAT, required=True, help="Whose files to write.")
@click.option("--out", type=FILE, required=True, help="New folder for them.")
def export(runs: tuple[Path, ...], export_format: ExportFormat, out: Path) -> None:
    """Write the split of RUNS for RecBole or Cornac, and each run's lists and metrics of all test users."""
    from spike_dgl.runs.export import export_runs

    export_runs(_named(runs), out, export_format)
    click.echo((out / "README.md").read_text(encoding="utf-8"))


def _named(runs: Sequence[Path]) -> dict[str, Path]:
    """Runs by the last part of their path, or by the last two where that is not enough to tell them apart."""
    short = {run.name: run for run in runs}
    return short if len(short) == len(runs) else {f"{run.parent.name}-{run.name}": run for run in runs}
