"""``python main.py settings``: documentation of all settings."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("models", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), help="File to write instead of printing.")
def settings(models: tuple[str, ...], out: Path | None) -> None:
    """Print the documentation of all settings.

    It has values, default and description of each setting, and the options of MODELS (default: all).
    """
    from spike_dgl.commands.settings_page import settings_page
    from spike_dgl.models.base import model_entry

    for name in models:
        model_entry(name)
    page = settings_page(models or None)
    if out is None:
        click.echo(page, nl=False)
    else:
        out.write_text(page, encoding="utf-8")
