"""One table saved in different ways: encodings, line ends, types, arrays."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spike_dgl.data.prepare import raw_rows
from spike_dgl.data.prepare.collect import InteractionTable, read_log
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.layouts import Layout
from spike_dgl.data.prepare.tables import Reading, read_batches, read_records
from spike_dgl.errors import DataError

TEXT = "user,item,rating\nann,7,4.5\nbé,8,1\n"
ROWS = [("ann", "7", 4.5), ("bé", "8", 1.0)]
COLUMNS = (Column("user", "id"), Column("item", "id"), Column("rating", "number"))


def read(file: Path, layout: Layout | None = None) -> list[tuple[object, ...]]:
    batches = read_batches(file, COLUMNS, Reading(), layout)
    cells = ([batch.columns[column.name].to_pylist() for column in COLUMNS] for batch in batches)
    return [row for columns in cells for row in zip(*columns, strict=True)]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-be-marked"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_and_the_first_line_say_how_text_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, end: str
) -> None:
    text = TEXT.replace("\n", end)
    content = b"\xfe\xff" + text.encode("utf-16-be") if "be" in encoding else text.encode(encoding)
    (tmp_path / "t.csv").write_bytes(content)
    for size in (1, 3, 20, 1 << 20):
        monkeypatch.setattr(raw_rows, "PIECE", size)
        assert read(tmp_path / "t.csv") == ROWS


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_blank_lines_before_the_header(tmp_path: Path, end: str) -> None:
    (tmp_path / "t.csv").write_bytes(f"\n\n{TEXT}".replace("\n", end).encode())
    assert read(tmp_path / "t.csv") == ROWS
    (tmp_path / "t.csv").write_bytes(f"\n\n{TEXT}bob,9,x\n".replace("\n", end).encode())
    with pytest.raises(DataError, match="line 6: 'x' in column 'rating' is not a number"):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (TEXT.replace(",", ";").encode(), r"It has another delimiter: set delimiter: ';'\."),
        (TEXT.replace(",", "\t").encode(), r"delimiter: '\\t'"),
        (TEXT.encode("utf-16-le"), "set the encoding, such as encoding: utf-16-le"),
        (TEXT.replace("rating", "ratings").encode(), "columns user,item,rating; did you mean 'ratings'"),
    ],
)
def test_a_header_without_the_columns_says_what_to_do(tmp_path: Path, content: bytes, remedy: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"t\.csv, line 1: no column '\w+' in the header .*\n  .*{remedy}"):
        read(tmp_path / "t.csv")


def test_a_quote_that_does_not_close_its_cell_is_a_broken_row_to_every_reader(tmp_path: Path) -> None:
    """Arrow alone would read `ab`."""
    file = tmp_path / "t.csv"
    file.write_text('user,item,rating\n"a"b,7,1\n"ann",8,2\n')
    broken = Reading(limit=1)
    (batch,) = read_batches(file, COLUMNS, broken)
    assert batch.columns["user"].to_pylist() == ["ann"]
    assert [row.cells["user"] for row in read_records(file, ("user",), Reading(limit=1))] == ["ann"]
    (problem,) = broken.first
    assert problem.startswith("t.csv, line 2: is not valid CSV")


def test_a_delimiter_of_two_characters_may_stand_in_quotes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('name::item\n"a::b"::7\n')
    layout = Layout("csv", "::")
    assert [row.cells for row in read_records(tmp_path / "t.csv", ("name",), Reading(), layout)] == [
        {"name": "a::b", "item": "7"}
    ]


@pytest.mark.parametrize(("no", "yes"), [("False", "True"), ("false", "TRUE")])
def test_ratings_that_are_true_or_false(tmp_path: Path, no: str, yes: str) -> None:
    (tmp_path / "t.csv").write_text(f"user,item,rating\nann,7,{yes}\nann,8,{no}\n")
    (tmp_path / "t.jsonl").write_text(
        '{"user": "ann", "item": 7, "rating": true}\n{"user": "ann", "item": 8, "rating": false}\n'
    )
    rows = {"user": ["ann", "ann"], "item": [7, 8], "rating": [True, False]}
    pa.parquet.write_table(pa.table(rows), tmp_path / "t.parquet")
    for name in ("t.csv", "t.jsonl", "t.parquet"):
        assert read(tmp_path / name) == [("ann", "7", 1.0), ("ann", "8", 0.0)]


class TestArrays:
    def test_broken_elements_are_named_by_their_line(self, tmp_path: Path) -> None:
        text = '[\n  {"user": "ann",\n   "item": 7, "rating": 4.5},\n  {"user": "bé", "item": 8, "rating": "x"}, 3\n]\n'
        (tmp_path / "t.json").write_text(text, encoding="utf-8")
        broken = Reading(limit=2)
        (batch,) = read_batches(tmp_path / "t.json", COLUMNS, broken)
        assert batch.columns["user"].to_pylist() == ["ann"]
        assert broken.first == [
            "t.json, line 4: 'x' in column 'rating' is not a number",
            "t.json, line 4: expected a JSON object, found '3'",
        ]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ('[{"user": 1},\n{"user": 2}', "line 2: has an array that is incomplete or not valid JSON"),
            ('[{"user": 1},\n{"user" 2}]', "line 2: has an array .*: Expecting ':' delimiter"),
            ('[{"user": 1}]\n{"user": 2}', "line 1: has text after the end of its array"),
        ],
    )
    def test_an_array_that_is_none(self, tmp_path: Path, text: str, problem: str) -> None:
        (tmp_path / "t.json").write_text(text)
        with pytest.raises(DataError, match=problem):
            list(read_records(tmp_path / "t.json", ("user",), Reading()))

    def test_an_object_of_columns_says_how_to_write_rows(self, tmp_path: Path) -> None:
        (tmp_path / "t.json").write_text('{"user": {"0": "ann"}, "item": {"0": 7}, "rating": {"0": 1}}')
        with pytest.raises(DataError, match=r"in column 'user' is not an id: .*orient='records'"):
            read(tmp_path / "t.json")

    def test_an_object_over_several_lines(self, tmp_path: Path) -> None:
        (tmp_path / "t.json").write_text('{\n "user": 1\n}\n')
        with pytest.raises(DataError, match=r"line 1: .*each object must be on one line"):
            read(tmp_path / "t.json")


def test_a_key_that_no_object_has(tmp_path: Path) -> None:
    columns = (Column("user", "id"), Column("text", "text"))
    file = tmp_path / "t.jsonl"
    file.write_text('{"user": 1, "texts": "a"}\n{"user": 2}\n')
    with pytest.raises(
        DataError, match=r"no row has 'text'\n  The first row has user, texts; did you mean 'texts'"
    ):
        list(read_batches(file, columns, Reading()))
    with pytest.raises(DataError, match="no row has 'text'"):
        list(read_records(file, ("user", "text"), Reading()))
    file.write_text('{"user": 1}\n{"user": 2, "text": null}\n')
    (batch,) = read_batches(file, columns, Reading())
    assert batch.columns["text"].to_pylist() == ["", ""]


@pytest.mark.parametrize("value", [1.5, 2.0**60])
def test_floats_that_are_no_ids(tmp_path: Path, value: float) -> None:
    pa.parquet.write_table(pa.table({"user": [1.0, value]}), tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text(f'{{"user": 1.0}}\n{{"user": {value}}}\n')
    for name in ("t.parquet", "t.jsonl"):
        with pytest.raises(DataError, match=r"line 2: .* is not an id: write it as text or as an integer"):
            list(read_batches(tmp_path / name, COLUMNS[:1], Reading()))


@pytest.mark.parametrize("values", [[Decimal("7"), Decimal("8")], pa.array([7, 8], pa.uint8()), [7.0, 8.0]])
def test_types_of_parquet_in_which_ids_are_saved(tmp_path: Path, values: Any) -> None:
    pa.parquet.write_table(pa.table({"user": values}), tmp_path / "t.parquet")
    (batch,) = read_batches(tmp_path / "t.parquet", COLUMNS[:1], Reading())
    assert batch.columns["user"].to_pylist() == ["7", "8"]


Table = Sequence[tuple[object, object, int]]


def as_csv(table: Table) -> bytes:
    stream = io.StringIO()
    csv.writer(stream).writerows([("user", "item", "time"), *table])
    return stream.getvalue().encode("utf-16")


def as_tsv(table: Table) -> bytes:
    return "".join("\t".join(map(str, row)) + "\r" for row in [("user", "item", "time"), *table]).encode()


def objects(table: Table) -> list[Mapping[str, object]]:
    return [dict(zip(("user", "item", "time"), row, strict=True)) for row in table]


def as_lines(table: Table) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in objects(table)).encode()


def as_array(table: Table) -> bytes:
    return json.dumps(objects(table), indent=2).encode()


def as_parquet(table: Table) -> bytes:
    stream = io.BytesIO()
    pa.parquet.write_table(pa.Table.from_pylist(objects(table)), stream)
    return stream.getvalue()


WRITERS = {".csv": as_csv, ".tsv": as_tsv, ".jsonl": as_lines, ".json": as_array, ".parquet": as_parquet}
SAVED_AS: tuple[Callable[[str], object], ...] = (str, int, float, lambda raw: f"{raw}.0")

numbers = st.integers(-99, 99).map(str)
words = st.sampled_from(["1.0", "1.5", "1.10", "7", "nan", "NULL", "NA", "a b", "é", "01"])
columns_of_numbers = st.lists(numbers, min_size=2, max_size=8)
columns_of_words = st.lists(words, min_size=1, max_size=8).map(lambda column: ["ann", *column])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    raw=columns_of_numbers | columns_of_words,
    data=st.data(),
)
def test_a_table_is_the_same_in_all_formats(tmp_path: Path, raw: list[str], data: st.DataObject) -> None:
    """Whole numbers may be saved as integers, floats or text; words stay unchanged."""
    items = data.draw(st.lists(numbers, min_size=len(raw), max_size=len(raw)))
    times = data.draw(st.lists(st.integers(-(10**9), 10**9), min_size=len(raw), max_size=len(raw)))
    are_numbers = raw[0] != "ann"
    found = set()
    for suffix, write in WRITERS.items():
        as_user = data.draw(st.sampled_from(SAVED_AS)) if are_numbers else str
        as_item = data.draw(st.sampled_from(SAVED_AS))
        table = [
            (as_user(user), as_item(item), time) for user, item, time in zip(raw, items, times, strict=True)
        ]
        (tmp_path / f"t{suffix}").write_bytes(write(table))
        log, _ = read_log(
            InteractionTable(
                tmp_path / f"t{suffix}",
                user=Column("user", "id"),
                item=Column("item", "id"),
                time=Column("time", "seconds"),
            ),
            Reading(),
        )
        users, names = log.raw_ids()
        found.add(
            (*(users[row] for row in log.users), *(names[row] for row in log.items), *log.times.tolist())
        )
    assert found == {(*raw, *items, *(1000 * time for time in times))}
