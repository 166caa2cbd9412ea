"""``python main.py recommend`` and ``similar``: lists from a finished run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from spike_dgl.recommend import Recommender, ScoredItem

FILE = click.Path(path_type=Path)
LENGTH = click.IntRange(min=1)


@click.command()
@click.argument("run", type=FILE)
@click.option("--user", "users", multiple=True, help="User id or name; repeat for several.")
@click.option(
    "--item", "liked", multiple=True, help="Instead: an item that someone new likes; repeat for several."
)
@click.option("--text", help="Instead: how someone new describes a taste.")
@click.option(
    "--candidate", "candidates", multiple=True, help="Only this item may be listed; repeat for several."
)
@click.option("-k", default=10, show_default=True, type=LENGTH, help="Length of a list.")
@click.option("--with-seen", is_flag=True, help="Keep items the user already interacted with.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line a list.")
def recommend(
    run: Path,
    users: tuple[str, ...],
    liked: tuple[str, ...],
    text: str | None,
    candidates: tuple[str, ...],
    k: int,
    with_seen: bool,
    as_json: bool,
) -> None:
    """The best items of RUN for some users, or for someone new by liked items or a text."""
    from spike_dgl.recommend import Recommender

    if (bool(users), bool(liked), text is not None).count(True) != 1:
        raise click.UsageError("say for whom: --user, --item or --text, one of the three")
    recommender, allowed = Recommender.load(run), candidates or None
    if liked:
        items = recommender.recommend_for_items(liked, k, exclude_seen=not with_seen, candidates=allowed)
        _show({"liked": liked}, items, as_json)
    elif text is not None:
        _show({"text": text}, recommender.recommend_for_text(text, k, candidates=allowed), as_json)
    for user in users:
        items = recommender.recommend(user, k, exclude_seen=not with_seen, candidates=allowed)
        if not as_json:
            show_user(recommender, user)
        _show({"user": user}, items, as_json)


@click.command()
@click.argument("run", type=FILE)
@click.argument("item")
@click.option("-k", default=10, show_default=True, type=LENGTH, help="Length of the list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def similar(run: Path, item: str, k: int, as_json: bool) -> None:
    """The items of RUN that are most like ITEM, an id or a name, by the cosine of their embeddings."""
    from spike_dgl.recommend import Recommender

    _show({"item": item}, Recommender.load(run).similar_items(item, k), as_json)


def _show(asked: dict[str, object], items: Sequence[ScoredItem], as_json: bool) -> None:
    if as_json:
        line = {**asked, "items": [vars(item) for item in items]}
        click.echo(json.dumps(line, ensure_ascii=False))
    else:
        show_list(items)


def show_user(recommender: Recommender, user: str) -> None:
    """Print who the user is: the beginning of the history."""
    names = [item.name for item in recommender.history(user)]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    click.echo(f"user {user}, who liked {', '.join(names[:3])}{more}")


def show_list(items: Iterable[ScoredItem]) -> None:
    """Print a list, a line an item."""
    for place, item in enumerate(items, start=1):
        click.echo(f"{place:4d}  {item.score:7.3f}  {item.name}  [{item.id}]")
