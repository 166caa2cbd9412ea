"""Latency of loading a run and of recommending."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from spike_dgl.errors import SpikeError
from spike_dgl.markdown import markdown_table
from spike_dgl.profiles.stored import read_profile_texts
from spike_dgl.recommend.recommender import NewItem, Recommender
from spike_dgl.runs.folder import RunFolder

LOADS, PROCESSES = 10, 3
"""Number of times that a run is loaded, in this process and in a new process."""
LIKED = 2
"""Number of liked items of a new user."""


@dataclass(frozen=True)
class Latency:
    """Wall-clock times of one kind of call, in milliseconds.

    Parameters
    ----------
    what
        Kind of call.
    calls
        Number of timed calls.
    median, percentile_95
        Median and 95th percentile of the times.
    """

    what: str
    calls: int
    median: float
    percentile_95: float


def measure(run: Path, calls: int = 1000) -> list[Latency]:
    """Time loading a run, and calls for random users, items and texts, sequentially on one thread.

    Parameters
    ----------
    run
        Run folder. Calls with texts are included if it has a text encoder, and those that need embeddings if it has
        any.
    calls
        Number of calls of each kind; a tenth of it for the slower cold-start requests.
    """
    recommender = Recommender.load(run)  # first, so that a wrong folder is an error at once
    random = np.random.default_rng(0)
    with threadpool_limits(limits=1):
        found = [*_of_known(run, recommender, calls, random)]
        if not recommender.has_embeddings:
            return found
        found.append(
            _timed(
                "first cold-start request, which loads the model",
                lambda _: recommender.cold_start.fold_in(),
                1,
            )
        )
    # Set again, because loading the model has loaded further libraries.
    with threadpool_limits(limits=1):
        return [*found, *_of_cold_start(run, recommender, max(1, calls // 10), random)]


def _of_known(
    run: Path, recommender: Recommender, calls: int, random: np.random.Generator
) -> Iterator[Latency]:
    load = (
        "import sys; from spike_dgl.recommend.recommender import Recommender; Recommender.load(sys.argv[1])"
    )
    start = [sys.executable, "-c", load, str(run)]
    # Loading fits a model without embeddings again, which may take minutes.
    processes, loads = (PROCESSES, LOADS) if recommender.has_embeddings else (1, 1)
    yield _timed("a process that loads the run", lambda _: subprocess.run(start, check=True), processes)
    yield _timed("load", lambda _: Recommender.load(run), loads)
    users = random.choice(recommender.users.ids, calls).tolist()
    items = random.choice(recommender.items.ids, calls).tolist()
    yield _timed("recommend, one user", lambda call: recommender.recommend(users[call]), calls)
    each = recommender.users.ids
    yield _timed("recommend, all users", lambda _: recommender.recommend(each), LOADS)
    if recommender.has_embeddings:
        yield _timed("similar_items", lambda call: recommender.similar_items(items[call]), calls)


def _of_cold_start(
    run: Path, recommender: Recommender, calls: int, random: np.random.Generator
) -> Iterator[Latency]:
    liked = random.choice(recommender.items.ids, (calls, LIKED)).tolist()
    by_items = f"recommend_for_items, {LIKED} items"
    yield _timed(by_items, lambda call: recommender.recommend_for_items(liked[call]), calls)
    try:
        recommender.cold_start.encoder()
    except SpikeError:
        pass  # the run has no text encoder
    else:
        known = read_profile_texts(RunFolder.open(run).file("profiles.jsonl.gz"))
        texts = random.choice([text for text in known.users if text], calls).tolist()
        yield _timed("recommend_for_text", lambda call: recommender.recommend_for_text(texts[call]), calls)
    rows = random.integers(len(recommender.items), size=calls).tolist()
    new = [_copy_of(recommender, row) for row in rows]
    yield _timed("add_items, one item", lambda call: recommender.add_items([new[call]]), calls)


def _copy_of(recommender: Recommender, item: int) -> NewItem:
    """Return a new item with the triples of an existing one, or with any one triple if it has none."""
    data = recommender.dataset
    facts = np.flatnonzero(data.triples.heads == item)
    pairs = [
        (data.relations.ids[data.triples.relations[fact]], data.entities.ids[data.triples.tails[fact]])
        for fact in (facts if len(facts) else np.array([0])).tolist()
    ]
    return NewItem("new item", tuple(pairs))


def _timed(what: str, call: Callable[[int], object], calls: int) -> Latency:
    times = []
    for number in range(calls):
        started = time.perf_counter()
        call(number)
        times.append(1000 * (time.perf_counter() - started))
    median, percentile_95 = np.percentile(times, [50, 95]).tolist()
    return Latency(what, calls, median, percentile_95)


def render(run: Path, found: list[Latency]) -> str:
    """Render a table, with a first line about the run."""
    folder = RunFolder.open(run)
    data = folder.load_dataset()
    rows = [["call", "calls", "median, ms", "95 % within, ms"]]
    rows += [
        [one.what, f"{one.calls:,}", _readable(one.median), _readable(one.percentile_95)] for one in found
    ]
    sizes = f"{data.num_users:,} users, {data.num_items:,} items, {data.num_entities:,} entities"
    return f"{folder.path.name}: {sizes}; one thread\n\n{markdown_table(rows)}"


def _readable(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"
