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
@click.option("--user", "users", multiple=True, required=True, help="User id or name; repeat for several.")
@click.option("-k", default=10, show_default=True, type=LENGTH, help="Length of a list.")
@click.option("--with-seen", is_flag=True, help="Keep items the user already interacted with.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line a user.")
def recommend(run: Path, users: tuple[str, ...], k: int, with_seen: bool, as_json: bool) -> None:
    """The best items of RUN for some users."""
    from spike_dgl.recommend import Recommender

    recommender = Recommender.load(run)
    for user, items in zip(users, recommender.recommend(users, k, exclude_seen=not with_seen), strict=True):
        if as_json:
            click.echo(as_line({"user": user}, items))
        else:
            show_user(recommender, user)
            show_list(items)


@click.command()
@click.argument("run", type=FILE)
@click.argument("item")
@click.option("-k", default=10, show_default=True, type=LENGTH, help="Length of the list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def similar(run: Path, item: str, k: int, as_json: bool) -> None:
    """The items of RUN that are most like ITEM, an id or a name, by the cosine of their embeddings."""
    from spike_dgl.recommend import Recommender

    items = Recommender.load(run).similar_items(item, k)
    if as_json:
        click.echo(as_line({"item": item}, items))
    else:
        show_list(items)


def as_line(asked: dict[str, object], items: Sequence[ScoredItem]) -> str:
    """A list as one line of JSON, with what was asked for."""
    return json.dumps({**asked, "items": [vars(item) for item in items]}, ensure_ascii=False)


def show_user(recommender: Recommender, user: str) -> None:
    """Print who the user is: the beginning of the history."""
    names = [item.name for item in recommender.history(user)]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    click.echo(f"user {user}, who liked {', '.join(names[:3])}{more}")


def show_list(items: Iterable[ScoredItem]) -> None:
    """Print a list, a line an item."""
    for place, item in enumerate(items, start=1):
        click.echo(f"{place:4d}  {item.score:7.3f}  {item.name}  [{item.id}]")
