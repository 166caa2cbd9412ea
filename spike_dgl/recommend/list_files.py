"""Lists of all users as one file: CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from spike_dgl.atomic_files import atomic_write_for_user
from spike_dgl.errors import SpikeError
from spike_dgl.recommend.recommender import Recommender, ScoredItem

CHUNK = 2048
"""Users whose lists are held in memory at a time."""
COLUMNS = ("user_id", "rank", "item_id", "item_name", "score")


class UserList(NamedTuple):
    """The list of a user, by raw id, and whether the model ranked it or popularity did."""

    user: str
    items: list[ScoredItem]
    has_history: bool


Chunks: TypeAlias = Iterator[list[UserList]]
"""Lists of some users at a time, with the raw ids of these."""


def write_lists(
    recommender: Recommender,
    file: str | Path,
    k: int = 10,
    *,
    users: Sequence[str] | None = None,
    exclude_seen: bool = True,
    candidates: Sequence[str] | None = None,
) -> None:
    """Write the lists that `Recommender.recommend` gives, for all users or some.

    The lists of a few thousand users are in memory at a time. The file takes its place when all of it is written;
    until then, and after an error, what stood there stays.

    ============ ==========================================================================================
    ``.csv``     a line an item: user_id, rank (from 1), item_id, item_name, score; the first line names them
    ``.jsonl``   a line a user, as ``recommend --json`` prints it; lists of popular items, for users without training
                 interactions, have ``"ranked_by": "popularity"``
    ``.parquet`` the columns of the CSV file; needs pyarrow
    ============ ==========================================================================================

    Parameters
    ----------
    recommender
        Gives the lists.
    file
        Its name says the format. Missing folders above it are made.
    k, exclude_seen, candidates
        As of `Recommender.recommend`.
    users
        Ids or names; all users in the order of the data by default.

    Raises
    ------
    UnknownIdError
        For a user or candidate that the run does not know; nothing is written.
    SpikeError
        For another ending of the name, and where pyarrow is missing.
    DataError
        Where the file cannot be written.
    """
    file = Path(file)
    write = _writer_for(file)
    ids = recommender.users.ids
    chosen = ids if users is None else [ids[row] for row in recommender.users.find_all(users).tolist()]

    def chunks() -> Chunks:
        for start in range(0, len(chosen), CHUNK):
            some = chosen[start : start + CHUNK]
            lists = recommender.recommend(some, k, exclude_seen=exclude_seen, candidates=candidates)
            yield [
                UserList(user, items, recommender.has_history(user))
                for user, items in zip(some, lists, strict=True)
            ]

    with atomic_write_for_user(file) as partial:
        write(partial, chunks())


def _writer_for(file: Path) -> Callable[[Path, Chunks], None]:
    writers = {".csv": _write_csv, ".jsonl": _write_json_lines, ".parquet": _write_parquet}
    write = writers.get(file.suffix.lower())
    if write is None:
        raise SpikeError(
            f"{file}: its name does not say a format of lists\n  Let it end with {', '.join(writers)}."
        )
    if write is _write_parquet:
        try:
            import pyarrow.parquet  # noqa: F401
        except ModuleNotFoundError:
            raise SpikeError(
                f"writing {file} needs the package pyarrow, which is not installed\n"
                '  Install it: pip install "pyarrow>=16"; or name a .csv or .jsonl file.'
            ) from None
    return write


def as_json(asked: dict[str, object], items: Sequence[ScoredItem]) -> str:
    """A list as one line of JSON, after what was asked for."""
    return json.dumps({**asked, "items": [vars(item) for item in items]}, ensure_ascii=False)


def asked_of_user(user: str, has_history: bool) -> dict[str, object]:
    """Return what the JSON line of a user's list begins with; it says so where popularity ranks the list."""
    return {"user": user} if has_history else {"user": user, "ranked_by": "popularity"}


def _write_csv(file: Path, chunks: Chunks) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for chunk in chunks:
            # Nine digits tell every two numbers of float32 apart.
            writer.writerows((*place, f"{score:.9g}") for *place, score in _rows(chunk))


def _write_json_lines(file: Path, chunks: Chunks) -> None:
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        for chunk in chunks:
            stream.writelines(
                as_json(asked_of_user(one.user, one.has_history), one.items) + "\n" for one in chunk
            )


def _write_parquet(file: Path, chunks: Chunks) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    types = (pa.string(), pa.int32(), pa.string(), pa.string(), pa.float32())
    schema = pa.schema(list(zip(COLUMNS, types, strict=True)))
    with parquet.ParquetWriter(file, schema) as writer:
        for chunk in chunks:
            columns = list(zip(*_rows(chunk), strict=True)) or [()] * len(COLUMNS)
            arrays = [pa.array(column, of_type) for column, of_type in zip(columns, types, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _rows(chunk: Sequence[UserList]) -> Iterator[tuple[str, int, str, str, float]]:
    """A row of `COLUMNS` for each item of each list."""
    for user, items, _ in chunk:
        for rank, item in enumerate(items, start=1):
            yield user, rank, item.id, item.name, item.score
