"""Reading of MovieLens tables of films, and their facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from spike_dgl.data.prepare.columns import Column, NotOfKindError, value_of
from spike_dgl.data.prepare.film_titles import readable_title, title_year
from spike_dgl.data.prepare.knowledge import Fact, attribute
from spike_dgl.data.prepare.layouts import Layout
from spike_dgl.data.prepare.matching import Matches
from spike_dgl.data.prepare.streams import find_file, needed_file
from spike_dgl.data.prepare.tables import Reading, read_rows, split_list
from spike_dgl.errors import DataError

RELATIONS = ("starring", "directed_by", "has_genre", "released_in")
NO_GENRE = "(no genres listed)"
ENRICHED = "movies_enriched.csv"
ORIGIN = "https://grouplens.org/datasets/movielens/"
UNPACK_AGAIN = "Unpack the original archive again; the file may be cut short or edited."


@dataclass(frozen=True)
class FilmTables:
    """Names and layouts of the files of one edition of MovieLens; `users` is None if it has no table of users."""

    ratings: str
    movies: str
    readme: str
    users: str | None = None
    ratings_layout: Layout | None = None
    movies_layout: Layout | None = None


CSV = FilmTables("ratings.csv", "movies.csv", "README.txt")
"""Files of ml-latest-small, 20M, 25M and 32M."""
MILLION = FilmTables(
    "ratings.dat",
    "movies.dat",
    "README",
    "users.dat",
    Layout("csv", "::", quoted=False, header=("userId", "movieId", "rating", "timestamp")),
    Layout("csv", "::", quoted=False, header=("movieId", "title", "genres"), encoding="latin-1"),
)
"""Files of ml-1m."""


@dataclass(frozen=True)
class Film:
    """Attributes of a film; `year` is None and the lists are empty if unknown."""

    title: str
    year: int | None
    genres: tuple[str, ...]
    actors: tuple[str, ...] = ()
    directors: tuple[str, ...] = ()


def read_films(source: Path, files: FilmTables, reading: Reading) -> tuple[dict[int, Film], dict[str, int]]:
    """Read the table of films and, if it exists, ``movies_enriched.csv``.

    Returns
    -------
    tuple
        Films by MovieLens id, and the numbers of films, of rows of ``movies_enriched.csv``, and of films with people.

    Raises
    ------
    DataError
        If a table is broken or lists a film twice.
    """
    films, file = {}, needed_file(source, files.movies, ORIGIN)
    for movie, line, (title, genres) in _rows_by_film(
        file, ("title", "genres"), reading, files.movies_layout
    ):
        if not title.strip():
            raise DataError(file, f"film {movie} has no title", UNPACK_AGAIN, line)
        films[movie] = Film(readable_title(title), title_year(title), _genres(genres))
    enriched = find_file(source, ENRICHED)
    num_enriched = _enrich(films, enriched, reading) if enriched else 0
    joined = sum(bool(film.actors or film.directors) for film in films.values())
    return films, {"films": len(films), "enriched_rows": num_enriched, "films_with_people": joined}


def film_facts(films: Mapping[str, Film]) -> Iterator[Fact]:
    """Yield all facts about films, which are given by entity id."""
    for item, film in films.items():
        yield from (attribute(item, "starring", "person", actor) for actor in film.actors)
        yield from (attribute(item, "directed_by", "person", director) for director in film.directors)
        yield from (attribute(item, "has_genre", "genre", genre) for genre in film.genres)
        if film.year is not None:
            yield attribute(item, "released_in", "decade", f"{film.year // 10 * 10}s")


def _enrich(films: dict[int, Film], file: Path, reading: Reading) -> int:
    """Add people, and missing genres and years; return the number of rows."""
    matches = Matches(
        file, "movieId", {str(movie): film for movie, film in films.items()}, "the table of films"
    )
    columns = ("released", "actors", "director", "genres")
    for movie, line, (released, actors, directors, genres) in _rows_by_film(file, columns, reading):
        film = matches.find(movie)
        if film is None:  # the enriched table also covers films that nobody rated
            continue
        films[movie] = replace(
            film,
            # The year in the title is when a film was made; the table's release date can be decades later.
            year=film.year if film.year is not None else _year(released, file, line),
            genres=film.genres or _genres(genres),
            actors=tuple(split_list(actors)),
            directors=tuple(split_list(directors)),
        )
    matches.check()
    return matches.rows


def _rows_by_film(
    file: Path, columns: tuple[str, ...], reading: Reading, layout: Layout | None = None
) -> Iterator[tuple[int, int, list[str]]]:
    """Yield film id, line and cells of each row. Raises `DataError` if a film has two rows."""
    seen: set[int] = set()
    for line, (movie_id, *cells) in read_rows(file, ("movieId", *columns), reading, layout):
        movie = _whole_number("movieId", movie_id, file, line)
        if movie in seen:
            raise DataError(file, f"film {movie} has a second row", "Keep one row per film.", line)
        seen.add(movie)
        yield movie, line, cells


def _whole_number(column: str, text: str, file: Path, line: int) -> int:
    try:
        return int(value_of(Column(column, "integer"), text))
    except NotOfKindError as error:
        raise DataError(file, str(error), UNPACK_AGAIN, line) from None


def _genres(cell: str) -> tuple[str, ...]:
    return tuple(genre for genre in split_list(cell) if genre != NO_GENRE)


def _year(released: str, file: Path, line: int) -> int | None:
    """Return the year of a date such as 1995-11-22; None if the cell is empty."""
    year = released.strip().partition("-")[0]
    return _whole_number("released", year, file, line) if year else None
