"""Speed and memory of preparing a dataset from raw interactions: python -m benchmarks.prepare_speed --help."""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from spike_dgl.config import build
from spike_dgl.data.prepare.own_tables import OwnTablesOptions, own_tables
from spike_dgl.data.prepare.pipeline import Source, prepare

CHUNK = 1_000_000
REVIEW = "A book that I would read again, because the story is told well and the people in it are real. " * 2


@click.command()
@click.option("--rows", default=20_000_000, show_default=True, help="Number of interactions to generate.")
@click.option("--layout", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Parent of the temporary folder.")
def main(rows: int, layout: str, folder: Path | None) -> None:
    """Generate ROWS interactions (jsonl: with reviews), prepare them, and print rows per second and peak memory."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        raw = Path(work)
        write(raw, rows, layout)
        size = (raw / f"rows.{layout}").stat().st_size
        started = time.perf_counter()
        card = prepare(_source(raw, layout), raw / "made", progress=True)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        click.echo(json.dumps(card["interaction_steps"]))
        click.echo(
            f"{rows:,} rows, {size / 1e9:.2f} GB of {layout}: {seconds:.0f} s, {rows / seconds:,.0f} rows per second, "
            f"peak memory {peak:,.0f} MB"
        )


def write(raw: Path, rows: int, layout: str) -> None:
    """Write a file of `rows` interactions, with rows / 10 users and rows / 40 items, and a file of item genres."""
    random = np.random.default_rng(0)
    with (raw / f"rows.{layout}").open("w") as file:
        if layout == "csv":
            file.write("user,item,rating,time,review\n")
        for start in range(0, rows, CHUNK):
            file.writelines(_lines(random, min(CHUNK, rows - start), rows, layout))
    with (raw / "items.csv").open("w") as file:
        file.write("item,genre\n")
        file.writelines(f"B{item:09d},genre {item % 97}\n" for item in range(rows // 40 + 1))


def _lines(random: np.random.Generator, size: int, rows: int, layout: str) -> Iterator[str]:
    users, items = (
        (max(rows // share, 1) * random.random(size) ** 3).astype(int).tolist() for share in (10, 40)
    )
    ratings, times = random.integers(1, 6, size).tolist(), random.integers(10**9, 2 * 10**9, size).tolist()
    for user, item, rating, timestamp in zip(users, items, ratings, times, strict=True):
        if layout == "csv":
            yield f"A{user:013d},B{item:09d},{rating}.0,{timestamp},\n"
        else:
            yield (
                f'{{"user": "A{user:013d}", "item": "B{item:09d}", "rating": {rating}.0, "time": {timestamp}, '
                f'"helpful": [0, 0], "review": "{REVIEW}"}}\n'
            )


def _source(raw: Path, layout: str) -> Source:
    interactions = {
        "file": f"rows.{layout}",
        "user": "user",
        "item": "item",
        "rating": "rating",
        "time": "time",
    }
    description = {
        "interactions": interactions | ({"review": "review"} if layout == "jsonl" else {}),
        "items": [{"file": "items.csv", "item": "item", "relations": {"genre": "has genre"}}],
        "min_rating": 3,
        "k_core": 5,
    }
    return own_tables(raw, build(OwnTablesOptions, description, "tables"))


if __name__ == "__main__":
    main()
