"""A folder of part files reads as one file, in the layouts that Spark, Dask and Ray write."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from spike_dgl.config import build
from spike_dgl.data.prepare import collect, pipeline
from spike_dgl.data.prepare.amazon import AmazonOptions, amazon
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.layouts import layout_of, pieces
from spike_dgl.data.prepare.part_files import files_of, values_in
from spike_dgl.data.prepare.tables import Reading, _exact, _fast, read_batches, read_records
from spike_dgl.errors import DataError
from tests.data.shop import DESCRIPTION, LINKS, NAMES, ORDERS, THINGS, TRIPLES, make

Records = list[dict[str, Any]]
HEADER, *LINES = (line.split("\t") for line in ORDERS.splitlines())
ORDER_RECORDS: Records = [
    {name: int(cell) if name == "stars" else cell for name, cell in zip(HEADER, line, strict=True)}
    for line in LINES
]
IDS = (Column("user", "id"), Column("item", "id"))


def write(records: Records, file: Path, schema: Any = None, **options: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pa.parquet.write_table(pa.Table.from_pylist(records, schema), file, **options)


def contents(raw: Path, **changes: Any) -> dict[str, bytes]:
    make(raw, **changes)
    files = (raw.parent / "made").rglob("*.*")
    return {file.name: file.read_bytes() for file in files if file.name != "dataset.json"}


def orders(raw: Path, name: str, **changes: Any) -> dict[str, bytes]:
    return contents(raw, interactions={**DESCRIPTION["interactions"], "file": name, **changes})


def left_by_spark(folder: Path) -> None:
    """Files that are no data; reading any of them fails."""
    for name in (
        "_SUCCESS",
        "._SUCCESS.crc",
        "_metadata",
        "_common_metadata",
        ".part-0.parquet.crc",
        "a.crc",
    ):
        (folder / name).write_bytes(b"PAR1")
    (folder / "_temporary" / "0").mkdir(parents=True)
    (folder / "_temporary" / "0" / "part-9.parquet").write_bytes(b"PAR1")


class TestDataSet:
    def test_a_folder_makes_the_data_set_of_one_file(self, raw: Path) -> None:
        expected = contents(raw)
        folder = raw / "orders.parquet"
        write(ORDER_RECORDS[:4], folder / "part-00000-c000.snappy.parquet", compression="snappy")
        names = list(reversed(HEADER))
        backwards = pa.Table.from_pylist(ORDER_RECORDS[4:6]).select(names)
        pa.parquet.write_table(backwards, folder / "part-00001-c000.zstd.parquet", compression="zstd")
        write([], folder / "part-00002.parquet", backwards.schema)
        coded = pa.dictionary(pa.int32(), pa.string())
        types = [("customer", coded), ("thing", pa.large_string()), ("stars", pa.float32()), ("day", coded)]
        write(ORDER_RECORDS[6:9], folder / "part-00003.parquet", pa.schema([*types, ("opinion", coded)]))
        write(ORDER_RECORDS[9:], folder / "part-00004.parquet", row_group_size=1)
        left_by_spark(folder)
        assert orders(raw, "orders.parquet") == expected
        card = json.loads((raw.parent / "made" / "dataset.json").read_text())
        assert card["options"]["interactions"]["file"] == "orders.parquet"
        parts = {name for name in card["inputs"] if name.startswith("orders.parquet/part-0000")}
        assert len(parts) == 5 == len(card["inputs"]) - 1

    def test_columns_in_the_names_of_folders(self, raw: Path) -> None:
        expected = contents(raw)
        for number, record in enumerate(ORDER_RECORDS):
            inside = {name: value for name, value in record.items() if name not in ("day", "stars")}
            of = f"day={record['day']}/stars={record['stars']}"
            write([inside], raw / "orders" / of / f"part-{number}.parquet")
        assert orders(raw, "orders") == expected

    @pytest.mark.parametrize("name", ["orders.csv", "orders.jsonl"])
    def test_folders_of_text_files(self, raw: Path, name: str) -> None:
        expected = contents(raw)
        (raw / name).mkdir()
        for number in (0, 1):
            records = ORDER_RECORDS[5 * number :][: 5 + 99 * number]
            text = "".join(json.dumps(record) + "\n" for record in records)
            if name.endswith(".csv"):
                text = as_csv(records)
            file = raw / name / f"part-{number}{Path(name).suffix}"
            file.write_text(text)
        (raw / name / f"part-2{Path(name).suffix}").write_text("")
        left_by_spark(raw / name)
        assert orders(raw, name) == expected

    def test_tables_of_items_and_triples(self, raw: Path) -> None:
        files = {"triples": "kg.tsv", "links": "links.tsv", "entity_names": "names.tsv"}
        expected = contents(raw, **files)
        things = [json.loads(line) for line in THINGS.splitlines()]
        for given in things:
            thing = {"about": None, **given, "id": str(given["id"])}
            write([thing], raw / "things" / f"{thing['id']}.parquet")
        named = {"triples": ("head", "relation", "tail"), "links": ("item", "entity")}
        for key, text in (("triples", TRIPLES), ("links", LINKS), ("entity_names", NAMES)):
            names = named.get(key, ("entity", "name"))
            rows = [dict(zip(names, line.split("\t"), strict=True)) for line in text.splitlines()]
            if key == "links":
                rows = [{**row, "item": int(row["item"])} for row in rows]
            write(rows[:1], raw / key / "part-0.parquet")
            write(rows[1:], raw / key / "part-1.parquet")
            files[key] = key
        assert contents(raw, **files, items=[{**DESCRIPTION["items"][0], "file": "things"}]) == expected

    def test_reviews_and_metadata_of_amazon(self, tmp_path: Path) -> None:
        reviews = [
            {
                "user_id": f"u{user}",
                "parent_asin": f"i{item}",
                "rating": 5.0,
                "timestamp": 10**12 + item,
                "text": "x",
            }
            for user in range(4)
            for item in range(4)
        ]
        products: Records = [
            {
                "parent_asin": f"i{item}",
                "title": f"T{item}",
                "store": "S",
                "details": {"Author": "A", "Studio": None},
            }
            for item in range(4)
        ]
        for name, rows in (("reviews", reviews), ("meta", products)):
            write(rows[:2], tmp_path / name / "part-0.parquet")
            write(rows[2:], tmp_path / name / "part-1.parquet")
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        made = []
        for of in ("", ".jsonl"):
            options = build(AmazonOptions, {"k_core": 2}, "amazon")
            source = amazon(tmp_path / f"reviews{of}", tmp_path / f"meta{of}", options)
            card = pipeline.prepare(source, tmp_path / f"made{of}")
            made.append(card["outputs"])
        assert made[0] == made[1]


def as_csv(records: Records) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, records[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


def as_lines(records: Records) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def ids(
    table: Path, columns: Sequence[Column] = IDS, reading: Reading | None = None
) -> list[tuple[object, ...]]:
    return [
        row
        for batch in read_batches(table, columns, reading or Reading())
        for row in zip(*(batch.columns[column.name].to_pylist() for column in columns), strict=True)
    ]


def test_numbers_in_names_order_the_files(tmp_path: Path) -> None:
    for name in ("part.10", "part.2", "b/part.1", "part.1"):
        write([{"user": name, "item": "i"}], tmp_path / f"{name}.parquet")
    assert [user for user, _ in ids(tmp_path)] == ["b/part.1", "part.1", "part.2", "part.10"]


def test_values_in_folders() -> None:
    path = (
        Path("a=b")
        / "day=2024-01-31"
        / "place=S%C3%A3o%2FPaulo"
        / "x=__HIVE_DEFAULT_PARTITION__"
        / "y=1.parquet"
    )
    assert values_in(path) == {"a": "b", "day": "2024-01-31", "place": "São/Paulo", "x": None}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        (Column("a", "id"), "007", "007"),
        (Column("a", "number"), "4.5", 4.5),
        (Column("a", "number"), "true", 1.0),
        (Column("a", "date"), "1970-01-02", 86_400_000),
        (Column("a", "seconds"), "7", 7000),
        (Column("a", "text"), "__HIVE_DEFAULT_PARTITION__", ""),
        (Column("a", "number"), "__HIVE_DEFAULT_PARTITION__", None),
        (Column("a", "date"), "soon", None),
    ],
)
def test_a_folder_names_a_column_of_any_kind(
    tmp_path: Path, suffix: str, column: Column, value: str, expected: object
) -> None:
    file = tmp_path / f"a={value}" / f"part-0{suffix}"
    records: Records = [{"user": "u", "item": "i"}, {"user": "v", "item": "j"}]
    write(records, file)
    if suffix != ".parquet":
        file.write_text(as_csv(records) if suffix == ".csv" else as_lines(records))
    columns, reading = (*IDS, column), Reading(limit=2)
    found = [] if expected is None else [("u", "i", expected), ("v", "j", expected)]
    assert ids(tmp_path, columns, reading) == found
    assert reading.count == 2 - len(found)
    assert all(first.startswith(f"a={value}/part-0{suffix}, line ") for first in reading.first)
    piece, *_ = pieces(file, layout_of(file), [one.name for one in columns])
    exact, fast = _exact(file, piece, columns, Reading(limit=2)), _fast(piece, columns)
    assert (fast is not None) == (expected is not None and value != "true")
    assert fast is None or all(
        fast.columns[one.name].to_pylist() == exact.columns[one.name].to_pylist() for one in columns
    )


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_column_of_the_file_counts_more_than_a_folder(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / "user=bob" / f"part-0{suffix}"
    write([{"user": "u", "item": "i"}], file)
    if suffix != ".parquet":
        records: Records = [{"user": "u", "item": "i"}]
        file.write_text(as_csv(records) if suffix == ".csv" else as_lines(records))
    assert ids(tmp_path) == [("u", "i")]
    assert [row.cells for row in read_records(tmp_path, ("user", "item"), Reading())] == [
        {"user": "u", "item": "i"}
    ]


def test_a_broken_row_is_named_with_its_file(tmp_path: Path) -> None:
    write([{"user": "u", "item": "i"}], tmp_path / "part-0.parquet")
    write([{"user": "u", "item": "i"}, {"user": "v", "item": None}], tmp_path / "part-1.parquet")
    with pytest.raises(DataError, match=r"part-1\.parquet, line 2: no value for 'item'"):
        ids(tmp_path)
    reading = Reading(limit=1)
    assert ids(tmp_path, reading=reading) == [("u", "i")] * 2
    assert reading.first == ["part-1.parquet, line 2: no value for 'item'; the row has user, item"]


def test_a_missing_id_among_numbers_is_named_with_its_file(tmp_path: Path) -> None:
    for number, user in enumerate(("1", "NA", "2")):
        write([{"user": user, "item": "i"}], tmp_path / f"part-{number}.parquet")
    reading = Reading(limit=1)
    table = collect.InteractionTable(tmp_path, *IDS)
    assert len(collect.read_log(table, reading)[0]) == 2
    assert reading.first[0].startswith("part-1.parquet, line 1: missing id in column 'user'")


def with_other_type(folder: Path) -> None:
    write([{"user": 7, "item": "i"}], folder / "part-1.parquet")


def without_a_column(folder: Path) -> None:
    write([{"user": "u"}], folder / "part-1.parquet")


def of_another_format(folder: Path) -> None:
    (folder / "part-1.csv").write_text("user,item\nu,i\n")


def cut_short(folder: Path) -> None:
    (folder / "part-1.parquet").write_bytes((folder / "part-0.parquet").read_bytes()[:-9])


def of_no_bytes(folder: Path) -> None:
    (folder / "part-1.parquet").write_bytes(b"")


def of_delta(folder: Path) -> None:
    (folder / "_delta_log").mkdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            with_other_type,
            r"part-1\.parquet: column 'user' has the type int64; in part-0\.parquet it is text",
        ),
        (
            without_a_column,
            r"part-1\.parquet: no column 'item' .*\n  The file must have the columns user,item; ",
        ),
        (of_another_format, "files of different formats, such as part-0.parquet and part-1.csv"),
        (cut_short, r"part-1\.parquet: is not a readable Parquet file"),
        (of_no_bytes, r"part-1\.parquet: is not a readable Parquet file"),
        (of_delta, "is a Delta table"),
    ],
)
def test_a_wrong_file_is_found_before_any_row_is_read(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    write([{"user": "u", "item": "i"}], tmp_path / "part-0.parquet")
    spoil(tmp_path)
    with pytest.raises(DataError, match=message):
        next(read_batches(tmp_path, IDS, Reading()))


def test_types_that_hold_the_same_values_agree(tmp_path: Path) -> None:
    types = [pa.int64(), pa.int32(), pa.float64(), pa.null()]
    for number, kind in enumerate(types):
        values = pa.array([None if kind == pa.null() else number], kind)
        table = pa.table({"user": values, "item": ["i"]})
        pa.parquet.write_table(table, tmp_path / f"part-{number}.parquet")
    assert ids(tmp_path, reading=Reading(limit=1)) == [("0", "i"), ("1", "i"), ("2", "i")]


def test_a_folder_without_data(tmp_path: Path) -> None:
    (tmp_path / "_temporary").mkdir()
    (tmp_path / "_temporary" / "part-0.parquet").write_bytes(b"PAR1")
    (tmp_path / "part-0.csv").write_text("")
    with pytest.raises(DataError, match="is a folder without data files"):
        files_of(tmp_path)


def test_many_small_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(70):
        write([{"user": f"u{number % 7}", "item": f"i{number}"}], tmp_path / f"part-{number}.parquet")
    merged = []
    unify = collect._Codes._unify
    monkeypatch.setattr(collect._Codes, "_unify", lambda self: (merged.append(1), unify(self)))
    log, _ = collect.read_log(collect.InteractionTable(tmp_path, *IDS), Reading())
    assert [str(log.user_ids[code]) for code in log.users] == [f"u{number % 7}" for number in range(70)]
    assert len(merged) == 2, "one merge for each column: small batches are not merged again and again"
    monkeypatch.setattr(collect, "ROWS_A_VOCABULARY", 1)
    again, _ = collect.read_log(collect.InteractionTable(tmp_path, *IDS), Reading())
    assert again.keys().tolist() == log.keys().tolist()
