"""Tables without any match, missing values, and ids saved as floats."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from spike_dgl.data import Dataset
from spike_dgl.data.audit import audit
from spike_dgl.errors import DataError
from tests.command_line import run_command
from tests.data.shop import DESCRIPTION, FACTS, LINKS, NAMES, ORDERS, TRIPLES, make, raw_pairs, raw_triples
from tests.data.test_prepare_sources import FRACTIONS, earlier_review, pairs, write_lines

FILES = {"triples": "kg.tsv", "links": "links.tsv", "entity_names": "names.tsv"}


def edit(file: Path, pattern: str, replacement: str) -> None:
    file.write_text(re.sub(pattern, replacement, file.read_text(), flags=re.MULTILINE))


def parts(data: Dataset) -> list[set[tuple[str, str]]]:
    return [raw_pairs(data, part) for part in ("train", "valid", "test")]


class TestFloats:
    """Any file may come from a join in pandas, which converts whole numbers to floats if one is missing."""

    def test_ids_are_the_same_in_whichever_file_they_are_floats(self, raw: Path) -> None:
        expected, _ = make(raw, **FILES)
        for file, pattern in {
            "orders.tsv": r"^(ann|bob c|zoe)\t(\d+)",
            "things.jsonl": r'^(\{"id": )"?(\d+)"?',
            "links.tsv": r"^()(\d+)",
        }.items():
            before = (raw / file).read_text()
            edit(raw / file, pattern, r"\1\t\2.0" if file == "orders.tsv" else r"\1\2.0")
            data, _ = make(raw, **FILES)
            assert parts(data) == parts(expected), file
            assert raw_triples(data) == raw_triples(expected), file
            assert data.checksum == expected.checksum
            if file != "things.jsonl":  # one file at a time, and then all
                (raw / file).write_text(before)

    def test_entities_that_are_whole_numbers(self, raw: Path) -> None:
        (raw / "links.tsv").write_text("2\t12.0\n3\t13.0\n")
        (raw / "names.tsv").write_text("20.0\tClay\n")
        for head, tail in ((".0", ""), ("", ".0"), ("", "")):
            (raw / "kg.tsv").write_text(
                f"12{head}\tmade_of\t20{tail}\n13{head}\tmade_of\t20{tail}\n20{head}\tis\t21{tail}\n"
            )
            data, _ = make(raw, **FILES)
            assert raw_triples(data) - FACTS == {
                ("item:2", "made_of", "20"),
                ("item:3", "made_of", "20"),
                ("20", "is", "21"),
            }
            assert data.entities.names[data.entities.index("20")] == "Clay"

    def test_a_fraction_among_entities_shows_that_all_are_texts(self, raw: Path) -> None:
        (raw / "links.tsv").write_text("2\t12\n3\t13\n")
        (raw / "kg.tsv").write_text("12\trated\t1.0\n13\trated\t1.5\n13\tmade_of\t1\n")
        data, _ = make(raw, triples="kg.tsv", links="links.tsv")
        assert {tail for _, _, tail in raw_triples(data) - FACTS} == {"1.0", "1.5", "1"}

    def test_years(self, raw: Path) -> None:
        def tails(values: str) -> set[str]:
            (raw / "years.csv").write_text(f"id,year\n2,{values.split()[0]}\n3,{values.split()[1]}\n4,\n")
            table = {"file": "years.csv", "item": "id", "relations": {"year": "made in"}}
            return {tail for _, _, tail in raw_triples(make(raw, items=[table])[0])}

        assert tails("1999.0 2001.0") == {"made_in:1999", "made_in:2001"}
        assert tails("1999.0 nan") == {"made_in:1999"}
        assert tails("7.0 7.5") == {"made_in:7.0", "made_in:7.5"}

    def test_items_that_are_linked_to_items_keep_their_ids(self, raw: Path) -> None:
        edit(raw / "orders.tsv", r"^(ann|bob c|zoe)\t3\t", r"\1\t1.0\t")
        edit(raw / "orders.tsv", r"^(ann|bob c|zoe)\t4\t", r"\1\t1.5\t")
        (raw / "similar.csv").write_text("id,like\n2,1.0\n1.5,1.0\n")
        table = {
            "file": "similar.csv",
            "item": "id",
            "relations": {"like": "like"},
            "kinds": {"like": "item"},
        }
        data, _ = make(raw, items=[table])
        assert raw_triples(data) == {("item:2", "like", "item:1.0"), ("item:1.5", "like", "item:1.0")}

    def test_years_of_parquet_and_json(self, raw: Path) -> None:
        columns = {"id": [2, 3, 4], "year": [1999.0, 2001.0, None]}
        pa.parquet.write_table(pa.table(columns), raw / "years.parquet")
        (raw / "years.json").write_text(
            '[{"id": 2, "year": 1999.0}, {"id": 3, "year": 2001.0}, {"id": 4, "year": NaN}]'
        )
        for name in ("years.parquet", "years.json"):
            data, _ = make(raw, items=[{"file": name, "item": "id", "relations": {"year": "made in"}}])
            assert {tail for _, _, tail in raw_triples(data)} == {"made_in:1999", "made_in:2001"}


class TestMissing:
    def test_ids_beside_whole_numbers_are_broken_rows(self, raw: Path) -> None:
        text = ORDERS + "ann\tnan\t5\t2020-02-01\tx\nann\tNULL\t5\t2020-02-02\tx\n"
        (raw / "orders.tsv").write_text(text)
        problem = r"orders\.tsv, line 15: missing id in column 'thing', whose other ids are whole numbers"
        with pytest.raises(DataError, match=problem):
            make(raw)
        expected = parts(make_without(raw, text, 15, 16))
        (raw / "orders.tsv").write_text(text)
        data, card = make(raw, broken_rows=2)
        assert parts(data) == expected
        assert card["broken_rows"]["count"] == 2
        assert [line.partition(":")[0] for line in card["broken_rows"]["first"]] == [
            "orders.tsv, line 15",
            "orders.tsv, line 16",
        ]
        assert {review["text"] for review in reviews(raw)} <= {
            f"Review of {item} by {user}." for user, item in raw_pairs(data, "train")
        }

    def test_an_id_among_names_is_an_id_and_the_audit_says_so(self, raw: Path) -> None:
        (raw / "orders.tsv").write_text(ORDERS.replace("zoe", "null"))
        data, _ = make(raw)
        assert data.users.ids == ("ann", "bob c", "null")
        (found,) = [found for found in audit(data) if found.check == "ids that spell a missing value"]
        assert (found.level, found.count) == ("warn", 1)
        assert "'null'" in found.message

    def test_attributes_names_and_texts(self, raw: Path) -> None:
        rows = [
            {"id": 2, "title": "nan", "makers": ["NULL", "Bo"], "use": "tea|N/A", "about": "NaN"},
            {"id": 2, "title": "Teapot", "makers": None, "use": "", "about": "Holds tea."},
            {"id": 3, "title": "None", "makers": ["Null"], "use": "nan", "about": "\\N"},
            {"id": 10, "title": "Vase", "makers": [], "use": "gift", "about": None},
        ]
        write_lines(raw / "things.jsonl", rows)
        data, card = make(raw)
        assert data.items.names == ("Teapot", "3", "4", "Vase")
        assert data.descriptions.entities == {0: "Holds tea."}
        assert raw_triples(data) == {
            ("item:2", "made_by", "person:Bo"),
            ("item:2", "good_for", "good_for:tea"),
            ("item:3", "made_by", "person:Null"),  # a name, not a spelling of a missing value
            ("item:10", "good_for", "good_for:gift"),
        }
        assert card["missing_values"] == {
            "texts": {"NaN": 1, "\\N": 1},
            "names": {"None": 1},
            "made_by": {"NULL": 1},
            "good_for": {"N/A": 1, "nan": 1},
        }

    def test_an_item_that_is_called_like_a_missing_value_can_be_linked(self, raw: Path) -> None:
        edit(raw / "orders.tsv", r"^(ann|bob c|zoe)\t3\t", r"\1\tNA\t")
        edit(raw / "orders.tsv", r"^(ann|bob c|zoe)\t4\t", r"\1\tsaucer\t")
        (raw / "links.tsv").write_text("NA\tm.3\n2\tm.2\nNULL\tm.4\n")
        data, card = make(raw, triples="kg.tsv", links="links.tsv")
        assert ("item:NA", "made_of", "m.clay") in raw_triples(data)
        assert card["missing_values"] == {"links.tsv": {"NULL": 1}}

    def test_the_country_code_of_namibia(self, raw: Path) -> None:
        table = {"file": "made.csv", "item": "id", "relations": {"country": "from"}}
        (raw / "made.csv").write_text("id,country\n2,NA\n3,DE\n")
        assert {tail for _, _, tail in raw_triples(make(raw, items=[table])[0])} == {"from:NA", "from:DE"}
        (raw / "made.csv").write_text("id,country\n2,NA\n3,Germany\n")
        assert {tail for _, _, tail in raw_triples(make(raw, items=[table])[0])} == {"from:Germany"}

    def test_triples_links_and_names(self, raw: Path) -> None:
        expected, _ = make(raw, **FILES)
        (raw / "kg.tsv").write_text(TRIPLES + "m.2\tmade_by\tnan\nm.3\tmade_by\tnan\nm.2\tmade_by\t\n")
        (raw / "links.tsv").write_text("10\tNULL\n4\t<NA>\n" + LINKS)
        (raw / "names.tsv").write_text(NAMES + "m.2\tnan\n")
        data, card = make(raw, **FILES)
        assert raw_triples(data) == raw_triples(expected)
        assert data.linked_names == {}
        assert card["missing_values"] == {
            "links.tsv": {"NULL": 1, "<NA>": 1},
            "kg.tsv": {"nan": 2, "blank": 1},
            "names.tsv": {"nan": 1},
        }

    def test_the_command_says_what_was_missing(
        self,
        raw: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        (raw / "shop.yaml").write_text(json.dumps(DESCRIPTION))
        edit(raw / "things.jsonl", "Ann Potter", "nan")
        code, _, errors = run_command(
            monkeypatch, capsys, "prepare", "tables", raw / "shop.yaml", raw.parent / "made"
        )
        assert code == 0
        assert "taken for missing: made_by (2 nan)" in errors

    def test_brands_of_amazon(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        reviews = write_lines(tmp_path / "reviews.json", [earlier_review(*row) for row in pairs()])
        products = [
            {
                "asin": f"B{n}",
                "title": "nan" if n == 1 else f"T{n}",
                "brand": "None",
                "categories": [["Books"]],
            }
            for n in range(1, 5)
        ]
        metadata = write_lines(tmp_path / "meta.json", products)
        code, out, errors = run_command(
            monkeypatch, capsys, "prepare", "amazon", reviews, metadata, tmp_path / "made", *FRACTIONS
        )
        assert code == 0
        assert re.search(r"^  relations +1$", out, flags=re.MULTILINE), "no brand is called None"
        assert "has_brand (4 None)" in errors


def make_without(raw: Path, text: str, *lines: int) -> Dataset:
    kept = [
        line for number, line in enumerate(text.splitlines(keepends=True), start=1) if number not in lines
    ]
    (raw / "orders.tsv").write_text("".join(kept))
    return make(raw)[0]


def reviews(raw: Path) -> list[dict[str, Any]]:
    lines = (raw.parent / "made" / "reviews.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_days_before_1970_keep_their_order(raw: Path) -> None:
    expected = parts(make(raw)[0])
    (raw / "orders.tsv").write_text(ORDERS.replace("2020-01-0", "1969-12-0"))
    data, _ = make(raw)
    assert parts(data) == expected
    assert [found.level for found in audit(data) if found.check.startswith("training pairs after")] == [
        "pass"
    ] * 2
    assert data.train.times is not None
    assert data.train.times.max() < 0
    assert len(set(data.train.times.tolist())) > 2


def renamed(text: str) -> str:
    return text.replace("m.", "Q")


class TestNoMatch:
    @pytest.mark.parametrize(
        ("file", "change", "problem"),
        [
            (
                "things.jsonl",
                lambda text: re.sub(r'"id": "?(\d+)"?', r'"id": "T\1"', text),
                "none of its 4 rows matches the interactions: 'id' is 'T2' here and '2' there",
            ),
            (
                "links.tsv",
                lambda text: "x" + text.rstrip().replace("\n", "\nx"),
                "none of its 4 rows matches the interactions: 'item' is 'x2' here and '2' there",
            ),
            (
                "kg.tsv",
                renamed,
                "none of its 5 rows matches the links: an entity is 'Q2' here and 'm.2' there",
            ),
            (
                "names.tsv",
                renamed,
                "none of its 2 rows matches the triples: an entity is 'Qclay' here and 'm.2' there",
            ),
            ("things.jsonl", lambda _: "", "has no rows"),
            ("kg.tsv", lambda _: "", "has no rows"),
            ("things.jsonl", lambda text: text.replace('"about"', '"abuot"'), "no row has 'about'"),
        ],
    )
    def test_an_id_of_each_side_is_shown(
        self, raw: Path, file: str, change: Callable[[str], str], problem: str
    ) -> None:
        (raw / file).write_text(change((raw / file).read_text()))
        with pytest.raises(DataError) as caught:
            make(raw, **FILES)
        assert (caught.value.file, caught.value.problem) == (raw / file, problem)
        assert not (raw.parent / "made").exists()

    def test_one_hop_as_well(self, raw: Path) -> None:
        (raw / "kg.tsv").write_text(TRIPLES.replace("m.", "Q"))
        with pytest.raises(DataError, match="matches the links"):
            make(raw, **FILES, hops=1)

    def test_a_review_column_that_no_row_has(self, raw: Path) -> None:
        rows = [{"u": f"u{user}", "i": item, "t": item} for user in range(4) for item in (2, 3, 10)]
        write_lines(raw / "orders.jsonl", rows)
        table = {"file": "orders.jsonl", "user": "u", "item": "i", "time": "t", "review": "opinion"}
        with pytest.raises(DataError, match=r"orders\.jsonl: no row has 'opinion'"):
            make(raw, interactions=table, min_rating=None)


class TestNTriples:
    def test_one_entity_however_it_is_spelt(self, raw: Path) -> None:
        lines = [
            r'<http://x.org/2> <made_of> "Th\u00e9"@fr . # French',
            '<http://x.org/3> <made_of> "Thé" .',
            "<http://x.org/3> <has> _:b1 .",
            "_:b1 <of> <http://x.org/Caf%C3%A9> .",
        ]
        (raw / "kg.nt").write_text("\n".join(lines), encoding="utf-8")
        (raw / "links.tsv").write_text("2\thttp://x.org/2\n3\t<http://x.org/3>\n10\thttp://x.org/Café\n")
        data, _ = make(raw, triples="kg.nt", links="links.tsv")
        assert raw_triples(data) - FACTS == {
            ("item:2", "made_of", "Thé"),
            ("item:3", "made_of", "Thé"),
            ("item:3", "has", "_:b1"),
            ("_:b1", "of", "item:10"),
        }

    def test_a_broken_escape_is_a_broken_row(self, raw: Path) -> None:
        (raw / "kg.nt").write_text('<m.2> <made_of> "\\u12" .\n<m.2> <made_of> <m.3> .\n')
        with pytest.raises(DataError, match=r"kg\.nt, line 1: has an invalid escape"):
            make(raw, triples="kg.nt", links="links.tsv")
