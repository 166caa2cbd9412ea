"""Preparation of MovieLens, with a knowledge graph of actors, directors, genres and decades.

Reads ratings and films as GroupLens publishes them (https://grouplens.org/datasets/movielens/: latest-small, 1M, 20M,
25M, 32M) and, if the folder has it, ``movies_enriched.csv`` with actors, directors and release dates. Films without a
row there have the genres and the year of the table of films. Users of 1M are described by gender, age and occupation,
decoded as in its README.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.data.prepare.collect import InteractionTable
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.films import (
    CSV,
    ENRICHED,
    MILLION,
    ORIGIN,
    RELATIONS,
    UNPACK_AGAIN,
    FilmTables,
    film_facts,
    read_films,
)
from spike_dgl.data.prepare.knowledge import ItemKnowledge
from spike_dgl.data.prepare.layouts import Layout
from spike_dgl.data.prepare.matching import Matches
from spike_dgl.data.prepare.options import PrepareOptions
from spike_dgl.data.prepare.pipeline import Source
from spike_dgl.data.prepare.streams import find_file, needed_file
from spike_dgl.data.prepare.tables import Reading, read_rows
from spike_dgl.errors import DataError

LICENCE = (
    "GroupLens terms, in README.txt: research use; no commercial use without permission; redistribution, "
    "also of transformed data, under the same terms; acknowledge the data in publications by the citation."
)
CITATION = (
    "F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. ACM "
    "Transactions on Interactive Intelligent Systems (TiiS) 5, 4: 19:1-19:19. "
    "https://doi.org/10.1145/2827872"
)


AGES = {
    "1": "under 18",
    "18": "18 to 24",
    "25": "25 to 34",
    "35": "35 to 44",
    "45": "45 to 49",
    "50": "50 to 55",
    "56": "56 or older",
}
OCCUPATIONS = (
    "",
    "academic or educator",
    "artist",
    "clerical or administrative worker",
    "college or graduate student",
    "customer service worker",
    "doctor or other health worker",
    "executive or manager",
    "farmer",
    "homemaker",
    "pupil",
    "lawyer",
    "programmer",
    "retired",
    "salesperson or marketer",
    "scientist",
    "self-employed",
    "technician or engineer",
    "tradesperson or craftsperson",
    "unemployed",
    "writer",
)
USERS = Layout("csv", "::", quoted=False, header=("userId", "gender", "age", "occupation", "zip"))


@dataclass(frozen=True, config=STRICT)
class MovieLensOptions(PrepareOptions):
    """`PrepareOptions` with a minimum rating of 4, taken to mean that the user liked the film.

    With the defaults every user has at least one pair in each split, so all users count in every metric. Films with few
    ratings are kept, since a knowledge graph can help most there.

    Parameters
    ----------
    min_rating
        Minimum rating of an interaction; lower ratings are dropped. None keeps all.
    """

    min_rating: float | None = 4.0


def movielens(source: Path, options: MovieLensOptions) -> Source:
    """Return the `Source` of MovieLens files.

    Parameters
    ----------
    source
        Folder or zip archive with ratings, films, the licence and, optionally, ``movies_enriched.csv``.
    options
        Thresholds and shares.

    Raises
    ------
    DataError
        If a file is missing.
    """
    tables = MILLION if find_file(source, MILLION.ratings) else CSV
    users = find_file(source, tables.users) if tables.users else None
    # The licence must be distributed with the data, so it is required.
    movies, ratings, readme = (
        needed_file(source, name, ORIGIN) for name in (tables.movies, tables.ratings, tables.readme)
    )
    further = [file for file in (find_file(source, ENRICHED), users) if file is not None]
    return Source(
        name="movielens",
        made_by="prepare movielens",
        interactions=InteractionTable(
            ratings,
            user=Column("userId", "integer"),
            item=Column("movieId", "integer"),
            rating=Column("rating", "number"),
            time=Column("timestamp", "seconds"),
            layout=tables.ratings_layout,
            rows_are="ratings",
        ),
        item_kind="movie",
        describe=lambda items, reading: _describe(items, source, tables, reading),
        files=[movies, *further, ratings, readme],
        options=options,
        describe_users=lambda ids, reading: _describe_users(ids, users, reading) if users else {},
        terms={"licence": LICENCE, "citation": CITATION},
        enclosed=[readme],
    )


def _describe(items: Mapping[str, str], source: Path, tables: FilmTables, reading: Reading) -> ItemKnowledge:
    films, counts = read_films(source, tables, reading)
    if unknown := [movie for movie in items if int(movie) not in films]:
        problem = f"has no row for {len(unknown)} of the rated films, such as {unknown[0]}"
        raise DataError(source / tables.movies, problem, "Use both files of the same archive.")
    kept = {items[movie]: films[int(movie)] for movie in items}
    names = {entity: film.title for entity, film in kept.items()}
    return ItemKnowledge(names, film_facts(kept), RELATIONS, counts={"films": counts})


def _describe_users(ids: Sequence[str], file: Path, reading: Reading) -> dict[str, str]:
    """Return sentences such as "A woman. Age: 25 to 34. Occupation: writer.", by user id."""
    matches, texts = Matches(file, "userId", dict(zip(ids, ids, strict=True))), {}
    for line, (user, gender, age, occupation) in read_rows(file, USERS.header[:4], reading, USERS):  # type: ignore[index]
        try:
            person, work = {"F": "woman", "M": "man"}[gender], OCCUPATIONS[int(occupation)]
            text = f"A {person}. Age: {AGES[age]}.{f' Occupation: {work}.' if work else ''}"
        except (KeyError, ValueError, IndexError):
            problem = f"'{gender}::{age}::{occupation}' is not a gender, an age and an occupation"
            raise DataError(file, problem, UNPACK_AGAIN, line) from None
        if (known := matches.find(user)) is not None:
            texts[known] = text
    matches.check()
    return texts
