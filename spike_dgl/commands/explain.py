"""``python main.py explain``: explanation of a user's score of an item."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from spike_dgl.explain.explanation import Explanation, Over

OVER = "all: all paths; facts: only paths over the knowledge graph, without other users and text neighbours."


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--user", required=True, help="Raw user id.")
@click.option("--item", required=True, help="Raw item id, or exact name.")
@click.option("--paths", default=5, show_default=True, type=click.IntRange(min=1), help="Number of paths.")
@click.option("--over", type=click.Choice(["all", "facts"]), default="all", show_default=True, help=OVER)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "dot", "png"]),
    default="text",
    show_default=True,
)
@click.option("--out", type=click.Path(path_type=Path), help="Output file; required for png.")
def explain(run: Path, user: str, item: str, paths: int, over: Over, form: str, out: Path | None) -> None:
    """Explain the score of an item for a user.

    Prints the paths of the graph whose removal lowers the score most, and the parts of the score by ID embeddings,
    graph and profiles. RUN must be a run of SPiKE.
    """
    from spike_dgl.explain import Explainer
    from spike_dgl.plots import require_matplotlib

    if form == "png":
        if out is None:
            raise click.UsageError("png needs an output file: --out FILE.png")
        require_matplotlib()
    explanation = Explainer.load(run).explain(user, item, num_paths=paths, over=over)
    if out is not None:
        _write(explanation, form, out)
        click.echo(f"-> {out}")
    else:
        click.echo(_in_words(explanation, form))


def _in_words(explanation: Explanation, form: str) -> str:
    if form == "json":
        return json.dumps(explanation.to_dict(), ensure_ascii=False)
    return explanation.to_dot() if form == "dot" else explanation.to_text()


def _write(explanation: Explanation, form: str, file: Path) -> None:
    from spike_dgl.atomic_files import atomic_write_for_user
    from spike_dgl.plots import save

    with atomic_write_for_user(file) as partial:
        if form == "png":
            save(explanation.to_figure(), partial)
        else:
            partial.write_text(_in_words(explanation, form) + "\n", encoding="utf-8")
