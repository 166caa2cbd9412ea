"""``python main.py recommend``, ``similar`` and ``embeddings``: top-k lists and embeddings of a finished run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from spike_dgl.recommend.matched import EntityMatch
    from spike_dgl.recommend.recommender import MatchedItem, Recommender, ScoredItem, TextRanking
    from spike_dgl.training.devices import Device

NO_HISTORY = "the user has no training interactions, so the model has no embedding for them"
FILE = click.Path(path_type=Path)
LENGTH = click.IntRange(min=1)
DEVICE = click.option(
    "--device",
    default="cpu",
    show_default=True,
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Device that ranks the items for users of the data; auto is a GPU if torch finds one.",
)


@click.command()
@click.argument("run", type=FILE)
@click.option("--user", "users", multiple=True, help="User id or name; repeat for several.")
@click.option("--all-users", is_flag=True, help="All users of the data.")
@click.option("--item", "liked", multiple=True, help="Item that a new user likes; repeat for several.")
@click.option("--text", help="Description of a new user's taste.")
@click.option("--candidate", "candidates", multiple=True, help="Rank only this item; repeat for several.")
@click.option("-k", default=10, show_default=True, type=LENGTH, help="Length of a list.")
@click.option("--with-seen", is_flag=True, help="Include items the user already interacted with.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line per list.")
@click.option("--out", type=FILE, help="Write the lists to a file: .csv, .jsonl or .parquet.")
@DEVICE
def recommend(
    run: Path,
    users: tuple[str, ...],
    all_users: bool,
    liked: tuple[str, ...],
    text: str | None,
    candidates: tuple[str, ...],
    k: int,
    with_seen: bool,
    as_json: bool,
    out: Path | None,
    device: Device,
) -> None:
    """Print top-k lists of RUN.

    The lists are for users of the data (--user, --all-users), or for a new user with liked items (--item) or a
    description of their taste (--text). Give exactly one of these options.
    """
    from spike_dgl.recommend.list_files import asked_of_user, write_lists
    from spike_dgl.recommend.recommender import Recommender

    if (bool(users), all_users, bool(liked), text is not None).count(True) != 1:
        raise click.UsageError("give exactly one of --user, --all-users, --item and --text")
    if out is not None and (as_json or not (users or all_users)):
        raise click.UsageError("--out needs --user or --all-users, and has its format from the file name")
    recommender, allowed = Recommender.load(run, device=device), candidates or None
    if all_users:
        users = recommender.users.ids
    if out is not None:
        write_lists(recommender, out, k, users=users, exclude_seen=not with_seen, candidates=allowed)
        click.echo(f"{len(users):,} lists -> {out}")
        if unknown := sum(not recommender.has_history(user) for user in users):
            click.echo(f"{unknown:,} of them contain the most popular items: {NO_HISTORY}", err=True)
        return
    if liked:
        items = recommender.recommend_for_items(liked, k, exclude_seen=not with_seen, candidates=allowed)
        _show({"liked": liked}, items, as_json)
    elif text is not None:
        _show_matched(text, recommender.recommend_for_text(text, k, candidates=allowed), as_json)
    for user in users:
        items = recommender.recommend(user, k, exclude_seen=not with_seen, candidates=allowed)
        if not as_json:
            show_user(recommender, user)
        _show(asked_of_user(user, recommender.has_history(user)), items, as_json)


@click.command()
@click.argument("run", type=FILE)
@click.argument("item")
@click.option("-k", default=10, show_default=True, type=LENGTH, help="Length of the list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def similar(run: Path, item: str, k: int, as_json: bool) -> None:
    """Print the items most similar to ITEM.

    ITEM is an id or a name. Similarity is the cosine of the final embeddings of RUN.
    """
    from spike_dgl.recommend.recommender import Recommender

    _show({"item": item}, Recommender.load(run).similar_items(item, k), as_json)


@click.command()
@click.argument("run", type=FILE)
@click.option("--out", type=FILE, required=True, help="New folder to write.")
def embeddings(run: Path, out: Path) -> None:
    """Write the final embeddings of RUN.

    The files have ids and names, for a vector index.
    """
    from spike_dgl.recommend.embedding_files import write_embeddings
    from spike_dgl.recommend.recommender import Recommender
    from spike_dgl.runs.embeddings import check_embeddings
    from spike_dgl.runs.folder import RunFolder

    check_embeddings(RunFolder.open(run))
    write_embeddings(Recommender.load(run), out)
    click.echo((out / "embeddings.json").read_text(encoding="utf-8"), nl=False)


def _show(asked: dict[str, object], items: Sequence[ScoredItem], in_json: bool) -> None:
    from spike_dgl.recommend.list_files import as_json

    if in_json:
        click.echo(as_json(asked, items))
    else:
        show_list(items)


def _show_matched(text: str, ranking: TextRanking, in_json: bool) -> None:
    """Print the list for a text, with the words that match each item, and those that match nothing."""
    if in_json:
        liked = [{"id": item.id, "name": item.name} for item in ranking.liked]
        _show({"text": text, "liked": liked, "unknown_words": ranking.unknown_words}, ranking, in_json)
        return
    if ranking.liked:
        click.echo(f"for someone who likes {', '.join(item.name for item in ranking.liked)}")
    for place, item in enumerate(ranking, start=1):
        show_list([item], first=place)
        click.echo(f"{'':15}{matched_words(item)}")
    if ranking.unknown_words:
        click.echo(f"not found in any profile: {', '.join(ranking.unknown_words)}")


def matched_words(item: MatchedItem) -> str:
    """Return the words that match an item as one line: its entities, and a passage of its own text."""
    match = item.match
    own = [f'{", ".join(match.words)}: "{match.snippet}"'] if match.words else []
    entities = [_matched_entity(entity) for entity in match.entities]
    return "; ".join([*own, *entities]) or "no word of the text matches; ranked by the model alone"


def _matched_entity(entity: EntityMatch) -> str:
    words = f" ({', '.join(entity.words)})" if entity.words else ""
    return f"{entity.relation} {entity.name}{words}"


def show_user(recommender: Recommender, user: str) -> None:
    """Print the user and the first items of their history."""
    if not recommender.has_history(user):
        click.echo(f"user {user}, the most popular items: {NO_HISTORY}")
        return
    names = [item.name for item in recommender.history(user)]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    click.echo(f"user {user}, who liked {', '.join(names[:3])}{more}")


def show_list(items: Iterable[ScoredItem], *, first: int = 1) -> None:
    """Print a list, one item per line."""
    for place, item in enumerate(items, start=first):
        click.echo(f"{place:4d}  {item.score:7.3f}  {item.name}  [{item.id}]")
