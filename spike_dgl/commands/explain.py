"""``python main.py explain``: why a run gives an item its score for a user."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--user", required=True, help="Raw user id.")
@click.option("--item", required=True, help="Raw item id, or exact name.")
@click.option("--paths", default=5, show_default=True, type=click.IntRange(min=1), help="Paths to show.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "dot"]), default="text", show_default=True
)
def explain(run: Path, user: str, item: str, paths: int, form: str) -> None:
    """Why RUN gives an item its score for a user: the paths whose removal lowers it most, and the score's parts."""
    from spike_dgl.explain import Explainer

    explanation = Explainer.load(run).explain(user, item, num_paths=paths)
    if form == "json":
        click.echo(json.dumps(explanation.to_dict(), ensure_ascii=False))
    else:
        click.echo(explanation.to_dot() if form == "dot" else explanation.to_text())
