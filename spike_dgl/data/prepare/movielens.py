"""MovieLens CSV files -> a data set with a knowledge graph of actors, directors, genres and decades.

Reads ``ratings.csv`` and ``movies.csv`` as GroupLens publishes them
(https://grouplens.org/datasets/movielens/) and, where the folder has it, ``movies_enriched.csv`` with actors,
directors and release dates. Films without a row there have the genres and the year of ``movies.csv``.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.data.prepare.films import RELATIONS, Film, film_entity, film_facts, read_films
from spike_dgl.data.prepare.interactions import InteractionLog, first_of_each_pair, k_core
from spike_dgl.data.prepare.knowledge import KnowledgeGraph, link
from spike_dgl.data.prepare.tables import parse_number, read_rows
from spike_dgl.data.prepare.write import (
    PreparedDataset,
    check_destination,
    checksum,
    new_folder,
    write_card,
    write_dataset,
)
from spike_dgl.data.splits import split_by_time
from spike_dgl.errors import DataError

README = "README.txt"
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


def prepare(
    source: Path,
    destination: Path,
    options: MovieLensOptions | None = None,
    *,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Turn a folder of MovieLens CSV files into a data set folder.

    Equal files and options give equal bytes. After an error no folder is left behind.

    Parameters
    ----------
    source
        Folder with ``ratings.csv``, ``movies.csv``, ``README.txt`` (the licence) and, optionally,
        ``movies_enriched.csv``.
    destination
        Folder to make.
    options
        Thresholds and shares; `MovieLensOptions()` where None.
    overwrite
        Replace an earlier data set at the destination.

    Returns
    -------
    dict
        What ``dataset.json`` says: options, counts after each step, statistics, checksums, licence.

    Raises
    ------
    DataError
        If a file is missing or broken, no interaction is left, or the destination cannot be written.
    ConfigError
        If an option is out of range.
    """
    options = options or MovieLensOptions()
    check_destination(destination, overwrite)
    inputs = _inputs(source)
    films, film_counts = read_films(source)
    log, interaction_steps = _interactions(source / "ratings.csv", films, options)
    graph, graph_steps = _graph(films, log, options)
    parts = split_by_time(
        log.users,
        log.items,
        log.times,
        valid_fraction=options.valid_fraction,
        test_fraction=options.test_fraction,
    )
    dataset = PreparedDataset(_texts(log.user_ids), _texts(log.item_ids), *parts, graph)
    card = {
        "name": "movielens",
        "made_by": "prepare movielens",
        "options": asdict(options),
        "films": film_counts,
        "interaction_steps": interaction_steps,
        "graph_steps": graph_steps,
        "statistics": dataset.statistics(),
        "licence": LICENCE,
        "citation": CITATION,
        "inputs": {file.name: checksum(file) for file in inputs},
    }
    with new_folder(destination, overwrite) as folder:
        write_dataset(dataset, folder)
        shutil.copyfile(source / README, folder / README)
        return write_card(folder, card)


def _inputs(source: Path) -> list[Path]:
    """The files that are read. The licence must travel with the data, so a folder without it is refused."""
    for name in ("ratings.csv", "movies.csv", README):
        if not (source / name).is_file():
            problem = "is missing"
            remedy = "Name the folder of an unpacked archive from https://grouplens.org/datasets/movielens/."
            raise DataError(source / name, problem, remedy)
    names = ("movies.csv", "movies_enriched.csv", "ratings.csv", README)
    return [source / name for name in names if (source / name).is_file()]


def _interactions(
    file: Path, films: Mapping[int, Film], options: MovieLensOptions
) -> tuple[InteractionLog, dict[str, dict[str, int]]]:
    """The interactions that remain, and the counts after each step."""
    everything, ratings = _read_ratings(file, films)
    liked = everything.select(ratings >= options.min_rating)
    distinct = first_of_each_pair(liked)
    core = k_core(distinct, options.k_core)
    if len(core) == 0:
        problem = (
            f"of {len(everything)} ratings, {len(liked)} are at least {options.min_rating}, "
            f"and none is left in their {options.k_core}-core"
        )
        raise DataError(file, problem, "Lower min_rating or k_core.")
    steps = {"ratings": everything, "min_rating": liked, "distinct_pairs": distinct, "k_core": core}
    return core, {step: log.counts() for step, log in steps.items()}


def _read_ratings(file: Path, films: Mapping[int, Film]) -> tuple[InteractionLog, NDArray[np.float64]]:
    """All ratings as interactions, and their values [X]."""
    users, movies, ratings, times = [], [], [], []
    for line, (user, movie, rating, time) in read_rows(file, ("userId", "movieId", "rating", "timestamp")):
        users.append(parse_number(int, user, file, line, "userId"))
        movies.append(parse_number(int, movie, file, line, "movieId"))
        ratings.append(parse_number(float, rating, file, line, "rating"))
        times.append(parse_number(int, time, file, line, "timestamp"))
        if movies[-1] not in films:
            remedy = "Take both files from the same archive."
            raise DataError(file, f"film {movie} has no row in movies.csv", remedy, line)
    columns = (np.array(column, dtype=np.int64) for column in (users, movies, times))
    return InteractionLog.from_raw(*columns), np.array(ratings, dtype=np.float64)


def _graph(
    films: Mapping[int, Film], log: InteractionLog, options: MovieLensOptions
) -> tuple[KnowledgeGraph, dict[str, dict[str, int]]]:
    """The knowledge graph of the films that remain, and its size before and after rare entities go."""
    kept = {movie: films[movie] for movie in log.item_ids.tolist()}
    facts = list(film_facts(kept))
    items = {film_entity(movie): film.title for movie, film in kept.items()}
    everything = link(facts, items, RELATIONS, min_items=1)
    graph = link(facts, items, RELATIONS, options.min_entity_items)
    return graph, {"facts": everything.counts(), "min_entity_items": graph.counts()}


def _texts(raw_ids: NDArray[Any]) -> list[str]:
    return [str(raw) for raw in raw_ids.tolist()]
