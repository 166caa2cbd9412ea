"""MovieLens files -> a data set with a knowledge graph of actors, directors, genres and decades.

Reads ratings and films as GroupLens publishes them (https://grouplens.org/datasets/movielens/: latest-small, 1M, 20M,
25M, 32M) and, where the folder has it, ``movies_enriched.csv`` with actors, directors and release dates. Films without
a row there have the genres and the year of the table of films.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.data.prepare.arrow import pa, pc
from spike_dgl.data.prepare.collect import InteractionTable
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.films import (
    CSV,
    ENRICHED,
    MILLION,
    RELATIONS,
    UNPACK_AGAIN,
    Film,
    FilmTables,
    film_entity,
    film_facts,
    read_films,
)
from spike_dgl.data.prepare.options import PrepareOptions
from spike_dgl.data.prepare.pipeline import ItemKnowledge, Source
from spike_dgl.data.prepare.tables import Batch, BrokenRows
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


@dataclass(frozen=True, config=STRICT)
class MovieLensOptions:
    """How MovieLens ratings become a data set.

    With the defaults every user has at least one pair in each part, so that all of them count in every
    metric, and films that few people rated stay, which is where a knowledge graph has most to add.

    Parameters
    ----------
    min_rating
        A rating of at least this is an interaction: the user liked the film. Lower ones are left out.
    k_core
        Every user and every film has at least this many interactions.
    valid_fraction, test_fraction
        Shares of each user's interactions: the latest are for testing, those before for validation, the
        oldest for training.
    min_entity_items
        Actors, directors, genres and decades of fewer films are left out: what belongs to one film only
        can carry no message to another, and would be most of the entities.
    """

    min_rating: float = 4.0
    k_core: int = Field(default=5, ge=1)
    valid_fraction: float = Field(default=0.1, ge=0.0, lt=1.0)
    test_fraction: float = Field(default=0.2, ge=0.0, lt=1.0)
    min_entity_items: int = Field(default=2, ge=1)


def movielens(source: Path, options: MovieLensOptions) -> tuple[Source, PrepareOptions]:
    """What `prepare` needs to make a data set of a folder of MovieLens files.

    Parameters
    ----------
    source
        Folder of ratings, films, the licence and, optionally, ``movies_enriched.csv``.
    options
        Thresholds and shares; each user is split by time.

    Raises
    ------
    DataError
        If a file is missing or broken, or ratings and films do not belong together.
    """
    tables = MILLION if (source / MILLION.ratings).is_file() else CSV
    inputs = _inputs(source, tables)
    films, counts = read_films(source, tables)

    def describe(movies: Sequence[str], _: BrokenRows) -> ItemKnowledge:
        kept = {movie: films[movie] for movie in map(int, movies)}
        items = {film_entity(movie): film.title for movie, film in kept.items()}
        return ItemKnowledge(items, film_facts(kept), RELATIONS, counts={"films": counts})

    made = Source(
        name="movielens",
        made_by="prepare movielens",
        interactions=_ratings(source, tables, films),
        describe=describe,
        files=inputs,
        options=asdict(options),
        terms={"licence": LICENCE, "citation": CITATION},
        enclosed=[source / tables.readme],
        broken=BrokenRows(remedy=UNPACK_AGAIN),
    )
    return made, PrepareOptions(**asdict(options))


def _inputs(source: Path, tables: FilmTables) -> list[Path]:
    """The files that are read. The licence must travel with the data, so a folder without it is refused."""
    for name in (tables.ratings, tables.movies, tables.readme):
        if not (source / name).is_file():
            problem = "is missing"
            remedy = "Name the folder of an unpacked archive from https://grouplens.org/datasets/movielens/."
            raise DataError(source / name, problem, remedy)
    names = (tables.movies, ENRICHED, tables.ratings, tables.readme)
    return [source / name for name in names if (source / name).is_file()]


def _ratings(source: Path, tables: FilmTables, films: Mapping[int, Film]) -> InteractionTable:
    file, known = source / tables.ratings, pa.array(list(films), pa.int64())

    def check(batch: Batch) -> None:
        movies = batch.columns["movieId"]
        found = pc.is_in(movies, value_set=known)
        if not pc.all(found).as_py():
            row = pc.index(found, False).as_py()
            problem = f"film {movies[row]} has no row in {tables.movies}"
            raise DataError(file, problem, "Take both files from the same archive.", batch.line(row))

    return InteractionTable(
        file,
        user=Column("userId", "integer"),
        item=Column("movieId", "integer"),
        rating=Column("rating", "number"),
        time=Column("timestamp", "seconds"),
        layout=tables.ratings_layout,
        rows_are="ratings",
        check=check,
    )
