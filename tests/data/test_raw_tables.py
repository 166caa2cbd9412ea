"""Fast and exact reading of raw tables agree, and errors name the broken rows."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spike_dgl.data.prepare import layouts, raw_rows
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.csv_rows import NO_CSV
from spike_dgl.data.prepare.layouts import Layout
from spike_dgl.data.prepare.tables import Reading, _exact, read_batches, read_rows
from spike_dgl.errors import ConfigError, DataError

COLUMNS = (Column("user", "id"), Column("item", "id"), Column("rating", "number"), Column("review", "text"))
TEXT = 'user,item,rating,review\nann,a b,4.5,"fine, but\nlong"\nbob,ü,1,\n'
ROWS = [("ann", "a b", 4.5, "fine, but\nlong"), ("bob", "ü", 1.0, "")]


def read(file: Path, broken: Reading | None = None, layout: Layout | None = None) -> list[tuple[object, ...]]:
    batches = read_batches(file, COLUMNS, broken or Reading(), layout)
    return [
        row
        for batch in batches
        for row in zip(*(batch.columns[column.name].to_pylist() for column in COLUMNS), strict=True)
    ]


def packed(name: str, content: bytes) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(content)
    if name.endswith(".zst"):
        return bytes(pa.compress(content, codec="zstd", asbytes=True))
    if name.endswith(".zip"):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(name.removesuffix(".zip"), content)
        return stream.getvalue()
    return content


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.csv.zst", "t.csv.zip"])
def test_packed_files_read_as_plain_ones(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(packed(name, b"\xef\xbb\xbf" + TEXT.encode()))
    assert read(tmp_path / name) == ROWS


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv.zst", "t.csv.zip"])
def test_a_packed_file_that_is_cut_short(tmp_path: Path, name: str) -> None:
    content = packed(name, TEXT.encode() * 1000)
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"is damaged|cannot be read"):
        read(tmp_path / name)


def test_json_lines_and_parquet_read_alike(tmp_path: Path) -> None:
    names = [column.name for column in COLUMNS]
    records = [dict(zip(names, row, strict=True)) for row in ROWS]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    pa.parquet.write_table(pa.Table.from_pylist(records), tmp_path / "t.parquet")
    assert read(tmp_path / "t.jsonl") == read(tmp_path / "t.parquet") == ROWS


def test_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(TEXT.encode("latin-1"))
    assert read(tmp_path / "t.csv", layout=Layout("csv", encoding="latin-1")) == ROWS
    with pytest.raises(DataError, match="line 4: is not UTF-8 text"):
        read(tmp_path / "t.csv")
    with pytest.raises(ConfigError, match="unknown encoding 'klingon'"):
        read(tmp_path / "t.csv", layout=Layout("csv", encoding="klingon"))


BROKEN_JSON = b"""{"user": "u", "item": "i", "rating": 1}
{"user": "u", "item": "i", "rating":
{"user": "u", "item": "i"}
[1]
{"user": "u", "item": "i", "rating": "2.5", "review": ["a", "b"]}

{"user": "u\xff", "item": "i", "rating": 1}
{"user": 7, "item": true, "rating": 1}
{"user": 7, "item": "\\ud800", "rating": 1}
{"user": 7, "item": "j", "rating": 3, "review": null}
"""


def test_broken_json_lines_are_counted_and_shown(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_bytes(BROKEN_JSON)
    broken = Reading(limit=6)
    assert read(tmp_path / "t.json", broken) == [("u", "i", 1, ""), ("u", "i", 2.5, "a b"), ("7", "j", 3, "")]
    assert broken.count == 6
    assert broken.first == [
        "t.json, line 2: is not valid JSON: Expecting value",
        "t.json, line 3: no value for 'rating'; the row has user, item",
        "t.json, line 4: expected a JSON object, found '[1]'",
        "t.json, line 7: is not UTF-8 text",
        "t.json, line 8: 'True' in column 'item' is not an id",
    ]
    with pytest.raises(DataError, match=r"line 9: .*more than 5 broken rows, the first: t\.json, line 2"):
        read(tmp_path / "t.json", Reading(limit=5))
    with pytest.raises(DataError, match=r"line 2: is not valid JSON: Expecting value\n  Correct"):
        read(tmp_path / "t.json")


def test_a_quote_left_open_takes_only_its_own_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('user,item,rating,review\nu,i,1,a\nu,i,2,"b\nu,i,3,c\n')
    broken = Reading(limit=1)
    assert [row[2] for row in read(tmp_path / "t.csv", broken)] == [1, 3]
    assert broken.first == [f"t.csv, line 3: {NO_CSV}"]


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("user,item,rating", "no column 'review'"),
        ("user,user,item,rating,review", "more than one column 'user'"),
    ],
)
def test_wrong_columns(tmp_path: Path, header: str, problem: str) -> None:
    (tmp_path / "t.csv").write_text(f"{header}\n")
    with pytest.raises(DataError, match=problem):
        read(tmp_path / "t.csv")


def test_an_ending_that_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has the unknown file extension '\.docx'"):
        read(tmp_path / "t.docx.gz")


@pytest.mark.parametrize(
    ("kind", "cell", "expected"),
    [
        ("seconds", "1530914951", 1530914951000),
        ("seconds", "1530914951.5", 1530914951500),
        ("milliseconds", "1530914951123", 1530914951123),
        ("date", "2018-07-06 22:09:11", 1530914951000),
        ("date", "2018-07-06T22:09:11Z", 1530914951000),
        ("date", "2018-07-07T00:09:11+02:00", 1530914951000),
        ("date", "1970-01-02", 86_400_000),
        ("seconds", "1530914951123", None),  # milliseconds
        ("date", "07.06.2018", None),
        ("milliseconds", "soon", None),
    ],
)
def test_times_become_milliseconds(tmp_path: Path, kind: str, cell: str, expected: int | None) -> None:
    (tmp_path / "t.csv").write_text(f"time\n{cell}\n")
    columns, broken = [Column("time", kind)], Reading(limit=1)  # type: ignore[arg-type]
    found = [
        t
        for batch in read_batches(tmp_path / "t.csv", columns, broken)
        for t in batch.columns["time"].to_pylist()
    ]
    assert found == ([] if expected is None else [expected])
    assert broken.count == (expected is None)


cells = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ['"', ",", "\n", "\r", "\r\n", " x ", "1", "1.5", "nan", "-1e3", "", "ü", "\u2028", "NULL", "True"]
    ),
)
tables = st.lists(st.tuples(cells, cells, cells, cells), max_size=12)


def as_csv(rows: Sequence[Sequence[str]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([[column.name for column in COLUMNS], *rows])
    return stream.getvalue()


def as_written_by_hand(rows: Sequence[Sequence[str]]) -> str:
    """Quotes and line ends at any position."""
    return "".join(",".join(row) + "\n" for row in [[column.name for column in COLUMNS], *rows])


def as_objects(rows: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    names = [column.name for column in COLUMNS]
    return [dict(zip(names, row, strict=True)) for row in rows]


def as_json(rows: Sequence[Sequence[str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in as_objects(rows))


def as_json_array(rows: Sequence[Sequence[str]]) -> str:
    return "\n " + json.dumps(as_objects(rows), indent=1, ensure_ascii=False)


def read_exactly(file: Path, broken: Reading) -> list[tuple[object, ...]]:
    found = []
    for piece in layouts.pieces(file, layouts.layout_of(file), [column.name for column in COLUMNS]):
        batch = _exact(file, piece, COLUMNS, broken)
        columns = (batch.columns[column.name].to_pylist() for column in COLUMNS)
        found += list(zip(*columns, strict=True))
    return found


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("t.csv", as_csv),
        ("by_hand.csv", as_written_by_hand),
        ("t.jsonl", as_json),
        ("array.json", as_json_array),
    ],
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(rows=tables, size=st.integers(1, 80))
def test_fast_and_exact_reading_agree_however_the_file_is_cut(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    write: Callable[[Sequence[Sequence[str]]], str],
    rows: list[tuple[str, str, str, str]],
    size: int,
) -> None:
    file = tmp_path / name
    file.write_bytes(write(rows).encode())
    broken = [Reading(limit=1000) for _ in range(3)]
    monkeypatch.setattr(raw_rows, "PIECE", 1 << 20)
    expected = read_exactly(file, broken[0])
    assert read(file, broken[1]) == expected
    monkeypatch.setattr(raw_rows, "PIECE", size)
    assert read(file, broken[2]) == expected
    assert broken[0].first == broken[1].first == broken[2].first
    assert broken[0].count == broken[1].count == broken[2].count
    if write is not as_written_by_hand:
        assert len(expected) + broken[0].count == len(rows)


def test_rows_one_by_one_know_their_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TEXT, encoding="utf-8")
    assert list(read_rows(tmp_path / "t.csv", ("item",), Reading())) == [(2, ["a b"]), (4, ["ü"])]


def test_arrow_reads_a_copy_of_its_own() -> None:
    """Arrow's threads can outlive a call, and abort the process if they release a Python object while Python exits."""
    content = b"user,item\n" * 1000
    holders = sys.getrefcount(content)
    source = raw_rows.in_arrow_memory(content)
    assert sys.getrefcount(content) == holders
    assert source.read() == content
