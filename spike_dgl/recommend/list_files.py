"""Top-k lists of all users in one file: CSV, JSON lines or Parquet."""

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
"""Number of users whose lists are in memory at a time."""
COLUMNS = ("user_id", "rank", "item_id", "item_name", "score")


class UserList(NamedTuple):
    """List of a user, by raw id; it is ranked by the model if the user has a history, else by popularity."""

    user: str
    items: list[ScoredItem]
    has_history: bool


Chunks: TypeAlias = Iterator[list[UserList]]
"""Iterator over lists, some users at a time."""


def write_lists(
    recommender: Recommender,
    file: str | Path,
    k: int = 10,
    *,
    users: Sequence[str] | None = None,
    exclude_seen: bool = True,
    candidates: Sequence[str] | None = None,
) -> None:
    """Write the results of `Recommender.recommend` for all users, or some, to one file.

    The file is written atomically, with the lists of a few thousand users in memory at a time.

    ============ ==========================================================================================
    ``.csv``     one line per item: user_id, rank (from 1), item_id, item_name, score; with a header line
    ``.jsonl``   one line per user, as printed by ``recommend --json``; lists of users without training
                 interactions have ``"ranked_by": "popularity"``
    ``.parquet`` the columns of the CSV file; needs pyarrow
    ============ ==========================================================================================

    Parameters
    ----------
    recommender
        Source of the lists.
    file
        File to write; its suffix determines the format. Missing parent folders are created.
    k, exclude_seen, candidates
        See `Recommender.recommend`.
    users
        Ids or names. Default: all users in the order of the data.

    Raises
    ------
    UnknownIdError
        If a user or candidate is unknown; nothing is written.
    SpikeError
        If the suffix is unknown, or pyarrow is missing.
    DataError
        If the file cannot be written.
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
        raise SpikeError(f"{file}: the suffix is not a format of lists\n  Use one of {', '.join(writers)}.")
    if write is _write_parquet:
        try:
            import pyarrow.parquet  # noqa: F401
        except ModuleNotFoundError:
            raise SpikeError(
                f"writing {file} needs the package pyarrow, which is not installed\n"
                '  Install it (pip install "pyarrow>=16"), or use a .csv or .jsonl file.'
            ) from None
    return write


def as_json(asked: dict[str, object], items: Sequence[ScoredItem]) -> str:
    """Render a list as one line of JSON, with the request first."""
    return json.dumps({**asked, "items": list(items)}, ensure_ascii=False, default=vars)


def asked_of_user(user: str, has_history: bool) -> dict[str, object]:
    """Return the first fields of the JSON line of a user's list; they include a ranking by popularity."""
    return {"user": user} if has_history else {"user": user, "ranked_by": "popularity"}


def _write_csv(file: Path, chunks: Chunks) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for chunk in chunks:
            # Nine digits distinguish all float32 numbers.
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
    """Yield a row of `COLUMNS` for each item of each list."""
    for user, items, _ in chunk:
        for rank, item in enumerate(items, start=1):
            yield user, rank, item.id, item.name, item.score
