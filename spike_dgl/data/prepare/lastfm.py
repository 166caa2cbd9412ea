"""Preparation of Last.fm of HetRec 2011, with a knowledge graph of tags.

Reads ``user_artists.dat``, ``artists.dat``, ``tags.dat`` and ``user_taggedartists.dat``
(https://grouplens.org/datasets/hetrec-2011/). The interactions have no times, so the split is random.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.data.prepare.collect import InteractionTable
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.knowledge import Fact, ItemKnowledge, attribute
from spike_dgl.data.prepare.layouts import LAYOUTS
from spike_dgl.data.prepare.matching import Matches
from spike_dgl.data.prepare.options import PrepareOptions, Split
from spike_dgl.data.prepare.pipeline import Source
from spike_dgl.data.prepare.streams import needed_file
from spike_dgl.data.prepare.tables import Reading, read_rows

RELATIONS = ("has_tag",)
ORIGIN = "hetrec2011-lastfm-2k"
FILES = ("user_artists.dat", "artists.dat", "tags.dat", "user_taggedartists.dat")
TABS = LAYOUTS[".dat"]
LATIN = replace(TABS, encoding="latin-1")
"""Layout of the list of tags, the only file that is not UTF-8."""


@dataclass(frozen=True, config=STRICT)
class LastFmOptions(PrepareOptions):
    """`PrepareOptions`, where `min_rating` is the minimum number of plays.

    Parameters
    ----------
    split
        Only "random", since there are no times.
    min_taggers
        Minimum number of listeners who gave a tag to an artist for it to be a fact. Listeners tag artists they listen
        to, so the tag of a single listener would reveal a pair that may be held out.
    """

    split: Split = "random"
    min_taggers: int = Field(default=2, ge=1)


def lastfm(source: Path, options: LastFmOptions) -> Source:
    """Return the `Source` of hetrec2011-lastfm-2k, given its folder or zip archive.

    Raises
    ------
    DataError
        If a file is missing.
    """
    files = [needed_file(source, name, ORIGIN) for name in FILES]
    plays, artists, tags, tagged = files

    def describe(items: Mapping[str, str], reading: Reading) -> ItemKnowledge:
        names = _names(artists, items, reading)
        facts = list(_facts(tagged, items, _tags(tags, reading), options.min_taggers, reading))
        return ItemKnowledge(names, facts, RELATIONS)

    return Source(
        name="lastfm",
        made_by="prepare lastfm",
        interactions=InteractionTable(
            plays,
            user=Column("userID", "integer"),
            item=Column("artistID", "integer"),
            rating=Column("weight", "number"),
            layout=TABS,
            rows_are="listeners_of_artists",
        ),
        item_kind="artist",
        describe=describe,
        files=files,
        options=options,
    )


def _names(artists: Path, items: Mapping[str, str], reading: Reading) -> dict[str, str]:
    matches = Matches(artists, "id", items)
    names = {
        entity: " ".join(name.split())
        for _, (raw, name) in read_rows(artists, ("id", "name"), reading, TABS)
        if (entity := matches.find(raw)) is not None
    }
    matches.check()
    return names


def _tags(tags: Path, reading: Reading) -> dict[str, str]:
    rows = read_rows(tags, ("tagID", "tagValue"), reading, LATIN)
    return {raw.strip(): " ".join(text.split()) for _, (raw, text) in rows if text.strip()}


def _facts(
    tagged: Path, items: Mapping[str, str], tags: Mapping[str, str], min_taggers: int, reading: Reading
) -> Iterator[Fact]:
    taggers: dict[tuple[str, str, str], set[str]] = {}
    artists, names = Matches(tagged, "artistID", items), Matches(tagged, "tagID", tags, "tags.dat")
    for _, (user, artist, tag) in read_rows(tagged, ("userID", "artistID", "tagID"), reading, TABS):
        item, name = artists.find(artist), names.find(tag)
        if item is not None and name is not None:
            taggers.setdefault((item, tag, name), set()).add(user)
    artists.check()
    names.check()
    for (item, _, name), users in taggers.items():
        if len(users) >= min_taggers:
            yield attribute(item, "has_tag", "tag", name)
