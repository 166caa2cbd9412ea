"""Speed and memory of preparing a dataset from raw interactions: python -m benchmarks.prepare_speed --help."""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import click
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from spike_dgl.config import build
from spike_dgl.data.prepare.own_tables import OwnTablesOptions, own_tables
from spike_dgl.data.prepare.part_files import files_of
from spike_dgl.data.prepare.pipeline import Source, prepare

Columns: TypeAlias = tuple[list[str], list[str], list[int], list[int]]
"""Users, items, ratings and times."""
CHUNK = 1_000_000
REVIEW = "A book that I would read again, because the story is told well and the people in it are real. " * 2


@click.command()
@click.option("--rows", default=20_000_000, show_default=True, help="Number of interactions to generate.")
@click.option("--layout", type=click.Choice(["csv", "jsonl", "parquet"]), default="csv", show_default=True)
@click.option("--parts", default=1, show_default=True, help="Number of files; several are in a folder.")
@click.option("--folder", type=click.Path(path_type=Path), help="Parent of the temporary folder.")
def main(rows: int, layout: str, parts: int, folder: Path | None) -> None:
    """Generate ROWS interactions (jsonl: with reviews), prepare them, and print rows per second and peak memory."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        raw = Path(work)
        # In a process of its own, so that its memory does not count.
        writer = multiprocessing.get_context("spawn").Process(target=write, args=(raw, rows, layout, parts))
        writer.start()
        writer.join()
        if writer.exitcode:
            raise SystemExit(writer.exitcode)
        size = sum(file.stat().st_size for file in files_of(raw / f"rows.{layout}"))
        started = time.perf_counter()
        card = prepare(_source(raw, layout), raw / "made", progress=True)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        click.echo(json.dumps(card["interaction_steps"]))
        click.echo(
            f"{rows:,} rows, {size / 1e9:.2f} GB of {layout} in {parts:,} files: {seconds:.0f} s, "
            f"{rows / seconds:,.0f} rows per second, peak memory {peak:,.0f} MB"
        )


def write(raw: Path, rows: int, layout: str, parts: int = 1) -> None:
    """Write a table of `rows` interactions, with rows / 10 users and rows / 40 items, and a file of item genres."""
    random = np.random.default_rng(0)
    table = raw / f"rows.{layout}"
    for part in range(parts):
        file = table if parts == 1 else table / f"part-{part:05d}.{layout}"
        file.parent.mkdir(exist_ok=True)
        sizes = [min(CHUNK, rows // parts - start) for start in range(0, rows // parts, CHUNK)]
        columns = (_columns(random, size, rows) for size in sizes)
        _write_parquet(file, columns) if layout == "parquet" else _write_lines(file, columns, layout)
    with (raw / "items.csv").open("w") as stream:
        stream.write("item,genre\n")
        stream.writelines(f"B{item:09d},genre {item % 97}\n" for item in range(rows // 40 + 1))


def _columns(random: np.random.Generator, size: int, rows: int) -> Columns:
    users, items = (
        (max(rows // share, 1) * random.random(size) ** 3).astype(int).tolist() for share in (10, 40)
    )
    ratings, times = random.integers(1, 6, size).tolist(), random.integers(10**9, 2 * 10**9, size).tolist()
    return [f"A{user:013d}" for user in users], [f"B{item:09d}" for item in items], ratings, times


def _write_lines(file: Path, chunks: Iterable[Columns], layout: str) -> None:
    with file.open("w") as stream:
        if layout == "csv":
            stream.write("user,item,rating,time,review\n")
        for chunk in chunks:
            stream.writelines(_lines(chunk, layout))


def _write_parquet(file: Path, chunks: Iterable[Columns]) -> None:
    types = [("user", pa.string()), ("item", pa.string()), ("rating", pa.float64()), ("time", pa.int64())]
    with parquet.ParquetWriter(file, pa.schema(types)) as writer:
        for chunk in chunks:
            writer.write_table(pa.table(list(chunk), schema=pa.schema(types)))


def _lines(chunk: Columns, layout: str) -> Iterator[str]:
    for user, item, rating, timestamp in zip(*chunk, strict=True):
        if layout == "csv":
            yield f"{user},{item},{rating}.0,{timestamp},\n"
        else:
            yield (
                f'{{"user": "{user}", "item": "{item}", "rating": {rating}.0, "time": {timestamp}, '
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
