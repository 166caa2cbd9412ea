"""Your own tables can be prepared, loaded and audited."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spike_dgl.data import load_dataset
from spike_dgl.data.audit import audit
from spike_dgl.errors import ConfigError, DataError
from tests.command_line import run_command
from tests.data.shop import DESCRIPTION, FACTS, NAMES, ORDERS, make, raw_pairs, raw_triples


class TestFolder:
    def test_by_hand(self, raw: Path) -> None:
        data, card = make(raw)
        assert data.users.ids == ("ann", "bob c", "zoe")
        assert data.items.ids == ("2", "3", "4", "10")  # by value
        assert data.items.names == ("Teapot", "Cup <b>", "4", "Vase")
        assert raw_pairs(data, "test") == {("ann", "4"), ("bob c", "10"), ("zoe", "4")}
        assert raw_pairs(data, "valid") == {("ann", "3"), ("bob c", "2"), ("zoe", "3")}
        assert raw_triples(data) == FACTS
        assert data.relations.names == ("made by", "good for")
        assert data.descriptions.entities == {0: "Holds tea.", 3: "Tall."}
        assert card["interaction_steps"] == {
            "rows": {"users": 3, "items": 5, "interactions": 13},
            "min_rating": {"users": 3, "items": 5, "interactions": 12},
            "distinct_pairs": {"users": 3, "items": 5, "interactions": 11},
            "k_core": {"users": 3, "items": 4, "interactions": 10},
        }
        assert card["item_rows_used"] == {"things.jsonl": 3}
        assert {found.check for found in audit(data) if found.level == "fail"} == set()

    def test_only_training_reviews_are_kept(self, raw: Path) -> None:
        data, _ = make(raw)
        lines = (raw.parent / "made" / "reviews.jsonl").read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in lines]
        pairs = [(data.users.ids[row["user"]], data.items.ids[row["item"]]) for row in found]
        assert len(pairs) == len(set(pairs))
        assert set(pairs) == raw_pairs(data, "train")
        expected = [f"Review of {item} by {user}." for user, item in pairs]
        assert [row["text"] for row in found] == expected

    def test_the_same_command_twice_gives_identical_bytes(self, raw: Path) -> None:
        def contents() -> dict[str, bytes]:
            files = sorted((raw.parent / "made").rglob("*"))
            return {str(file): file.read_bytes() for file in files if file.is_file()}

        make(raw, also=("recbole",), split="random", triples="kg.tsv", links="links.tsv")
        before = contents()
        make(raw, also=("recbole",), split="random", triples="kg.tsv", links="links.tsv")
        assert contents() == before
        assert len(before) == 15 + 8

    def test_recbole_files_hold_the_same(self, raw: Path) -> None:
        data, _ = make(raw, also=("recbole",))
        other = load_dataset(raw.parent / "made" / "recbole" / "shop")
        for part in ("train", "valid", "test"):
            assert raw_pairs(other, part) == raw_pairs(data, part)
        assert raw_triples(other) == raw_triples(data)
        assert dict(zip(other.items.ids, other.items.names, strict=True)) == dict(
            zip(data.items.ids, data.items.names, strict=True)
        )

    def test_days(self, raw: Path) -> None:
        _, card = make(raw, from_date="2020-01-02", to_date="2020-01-05", k_core=1)
        assert card["interaction_steps"]["dates"]["interactions"] == 7

    def test_an_id_with_a_space_and_one_with_an_underscore_stay_two_items(self, raw: Path) -> None:
        text = re.sub(r"(ann|bob c|zoe)\t3\t", r"\1\ta b\t", ORDERS)
        (raw / "orders.tsv").write_text(re.sub(r"(ann|bob c|zoe)\t4\t", r"\1\ta_b\t", text))
        data, _ = make(raw)
        assert {"item:a_b", "item:a_b_"} < set(data.entities.ids)

    def test_items_can_be_linked_to_items(self, raw: Path) -> None:
        (raw / "similar.csv").write_text("id,like\n2,3|10\n")
        table = {
            "file": "similar.csv",
            "item": "id",
            "relations": {"like": "similar to"},
            "kinds": {"like": "item"},
        }
        data, _ = make(raw, items=[*DESCRIPTION["items"], table])
        assert raw_triples(data) == FACTS | {
            ("item:2", "similar_to", "item:3"),
            ("item:2", "similar_to", "item:10"),
        }

    def test_tables_of_the_same_name(self, raw: Path) -> None:
        (raw / "more").mkdir()
        (raw / "more" / "things.jsonl").write_text('{"id": 3, "use": "breakfast"}\n')
        table = {"file": "more/things.jsonl", "item": "id", "relations": {"use": "good for"}}
        data, card = make(raw, items=[*DESCRIPTION["items"], table])
        assert ("item:3", "good_for", "good_for:breakfast") in raw_triples(data)
        assert set(card["inputs"]) == {"orders.tsv", "raw/things.jsonl", "more/things.jsonl"}


class TestSplits:
    def test_leave_one_out(self, raw: Path) -> None:
        data, _ = make(raw, split="leave-one-out", min_rating=None)
        assert raw_pairs(data, "test") == {("ann", "4"), ("bob c", "10"), ("zoe", "4")}
        assert raw_pairs(data, "valid") == {("ann", "3"), ("bob c", "2"), ("zoe", "3")}

    def test_of_all(self, raw: Path) -> None:
        data, _ = make(raw, split="global-time", valid_fraction=0.2, test_fraction=0.2)
        assert raw_pairs(data, "test") == {("zoe", "3"), ("zoe", "4")}
        # Three pairs are on the fourth and fifth day; the two on the fourth have the same time.
        assert raw_pairs(data, "valid") == {("zoe", "2")}

    def test_the_audit_knows_whether_training_knows_the_future(self, raw: Path) -> None:
        def late(**changes: Any) -> dict[str, int]:
            found = {one.check: one.count for one in audit(make(raw, **changes)[0])}
            checks = {"valid": "validation", "test": "test"}
            return {
                part: found[f"training pairs after {name} pairs of their user"]
                for part, name in checks.items()
            }

        assert late() == late(split="global-time") == {"valid": 0, "test": 0}
        counts = late(split="random")
        data, _ = make(raw, split="random")
        day = {("ann", "10"): 1, ("ann", "2"): 2, ("ann", "3"): 3, ("ann", "4"): 4}
        day |= {("bob c", "10"): 4, ("bob c", "2"): 3, ("bob c", "3"): 2}
        day |= {("zoe", "2"): 5, ("zoe", "3"): 6, ("zoe", "4"): 7}
        for part in ("valid", "test"):
            first = {
                user: min(day[u, i] for u, i in raw_pairs(data, part) if u == user) for user in data.users.ids
            }
            assert counts[part] == sum(day[u, i] > first[u] for u, i in raw_pairs(data, "train"))
        assert sum(counts.values()) > 0

    def test_without_times_none_are_written(self, raw: Path) -> None:
        table = {
            key: value for key, value in DESCRIPTION["interactions"].items() if not key.startswith("time")
        }
        make(raw, interactions=table, split="random")
        assert not list((raw.parent / "made").glob("*_times.txt"))

    def test_by_time_needs_times(self, raw: Path) -> None:
        table = {
            key: value for key, value in DESCRIPTION["interactions"].items() if not key.startswith("time")
        }
        with pytest.raises(DataError, match="need a column of times"):
            make(raw, interactions=table)
        make(raw, interactions=table, split="random")


class TestTriples:
    def test_link_names_and_hops(self, raw: Path) -> None:
        files = {"triples": "kg.tsv", "links": "links.tsv", "entity_names": "names.tsv"}
        data, card = make(raw, **files)
        further = {
            ("item:2", "made_of", "m.clay"),
            ("item:3", "made_of", "m.clay"),
            ("m.clay", "found_in", "m.earth"),
        }
        assert raw_triples(data) == FACTS | further
        assert data.entities.names[data.entities.index("m.clay")] == "Red clay"
        assert data.linked_names == {}, "the file names no entity that an item is linked to"
        assert card["graph_steps"]["links"] == {"links": 4, "links_of_items": 3, "links_used": 2}
        assert raw_triples(make(raw, **files, hops=1)[0]) == FACTS | {t for t in further if t[0] != "m.clay"}
        assert ("m.sand", "found_in", "m.earth") in raw_triples(make(raw, **files, hops=3)[0])

    def test_how_the_triples_name_an_item_is_kept_for_the_audit(self, raw: Path) -> None:
        (raw / "names.tsv").write_text(NAMES + "m.2\tSaucer\nm.77\tUnsold\n")
        data, _ = make(raw, triples="kg.tsv", links="links.tsv", entity_names="names.tsv")
        assert data.linked_names == {0: "Saucer"}
        (wrong,) = [
            found for found in audit(data) if found.check == "items linked to an entity of another name"
        ]
        assert "'Teapot' to 'Saucer'" in wrong.message

    def test_broken_lines_count_once_however_many_hops(self, raw: Path) -> None:
        with (raw / "kg.tsv").open("a") as file:
            file.write("m.2\tno tail\n")
        files = {"triples": "kg.tsv", "links": "links.tsv", "hops": 3, "broken_rows": 1}
        assert make(raw, **files)[1]["broken_rows"] == {
            "count": 1,
            "first": ["kg.tsv, line 6: 2 columns where the header has 3"],
        }

    def test_n_triples(self, raw: Path) -> None:
        text = '<m.2> <made_of> <m.clay> .\n# a comment\n<m.3>\t<label>\t"Cup, \\"red\\""@en\t.\n'
        (raw / "kg.nt").write_text(text)
        data, _ = make(raw, triples="kg.nt", links="links.tsv")
        assert raw_triples(data) - FACTS == {
            ("item:2", "made_of", "m.clay"),
            ("item:3", "label", 'Cup,_"red"'),
        }

    def test_rare_entities_go_until_none_is_left(self, raw: Path) -> None:
        data, _ = make(raw, triples="kg.tsv", links="links.tsv", min_entity_items=2)
        # "Bo" makes one thing. Earth is linked to clay only, and two things are made of clay.
        assert set(data.entities.ids[4:]) == {"person:Ann_Potter", "good_for:tea", "good_for:gift", "m.clay"}
        data, _ = make(raw, triples="kg.tsv", links="links.tsv", min_relation_triples=3)
        assert set(data.relations.ids) == {"made_by", "good_for"}

    def test_inverse_relations(self, raw: Path) -> None:
        data, _ = make(raw, inverse_relations=True)
        assert raw_triples(data) == FACTS | {(tail, f"{r}_inverse", head) for head, r, tail in FACTS}

    def test_triples_without_links(self, raw: Path) -> None:
        with pytest.raises(ConfigError, match="triples and links need each other"):
            make(raw, triples="kg.tsv")


class TestMistakes:
    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"k_core": 9}, "of 13 rows, 12 are at least 2.0, and none is left in their 9-core"),
            ({"from_date": "2030-01-01"}, "0 are within the dates"),
            ({"test_fraction": 0.0}, "none of 10 interactions is in the test split"),
            ({"min_entity_items": 4}, "no fact links any of 4 items to an entity with at least 4"),
            ({"items": [{"file": "orders.tsv", "item": "product"}]}, "no column 'product'"),
            ({"items": [{"file": "nowhere.csv", "item": "id"}]}, "no such file"),
            (
                {"interactions": {**DESCRIPTION["interactions"], "time_unit": "seconds"}},
                "is not a time in seconds",
            ),
        ],
    )
    def test_nothing_is_left_behind(self, raw: Path, changes: dict[str, Any], problem: str) -> None:
        with pytest.raises(DataError, match=problem):
            make(raw, **changes)
        assert [path.name for path in raw.parent.iterdir()] == ["raw"]

    @pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
    def test_disk_full(self, raw: Path) -> None:
        """The operating system limits files to 4 kB, which fails like a full disk."""
        import resource

        with (raw / "orders.tsv").open("a") as file:
            file.writelines(f"ann\t2\t5\t2020-02-01\t{'long ' * 2000}\n" for _ in range(3))
            file.writelines(f"zoe\t10\t5\t2020-01-0{day}\t{'long ' * 2000}\n" for day in (1, 2))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with pytest.raises(DataError, match="cannot be written: File too large\n  Free disk space"):
                make(raw)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert [path.name for path in raw.parent.iterdir()] == ["raw"]

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"k_cor": 3}, "did you mean 'k_core'"),
            ({"from_date": "1.1.2020"}, "expected a day such as 2018-07-07"),
            ({"test_fraction": 0.9}, "sum to less than 1"),
            ({"name": "../up"}, "pattern"),
            (
                {"items": [{"file": "x.csv", "item": "i", "kinds": {"a": "b"}}]},
                "has an entry in kinds but none in relations",
            ),
        ],
    )
    def test_settings(self, raw: Path, changes: dict[str, Any], problem: str) -> None:
        with pytest.raises(ConfigError, match=problem):
            make(raw, **changes)


words = st.text("ab1 ", min_size=1, max_size=3).filter(str.strip)
rows = st.lists(st.tuples(words, words, st.integers(1, 5), st.integers(0, 10**9)), min_size=1, max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    rows=rows,
    split=st.sampled_from(["time", "random", "global-time", "leave-one-out"]),
    k=st.integers(1, 2),
)
def test_any_table_becomes_a_sound_data_set_or_a_clear_error(
    tmp_path: Path, rows: list[tuple[str, str, int, int]], split: str, k: int
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir(exist_ok=True)
    shutil.rmtree(tmp_path / "made", ignore_errors=True)
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    (raw / "t.tsv").write_text(f"u\ti\tr\tt\n{text}")
    table = {"file": "t.tsv", "user": "u", "item": "i", "time": "t", "rating": "r"}
    facts = {"file": "t.tsv", "item": "i", "relations": {"r": "rated"}}
    changes = {"interactions": table, "items": [facts], "min_rating": None, "k_core": k, "split": split}
    try:
        data, _ = make(raw, **changes)
    except DataError as error:
        assert "none is in the 2-core" in str(error) or "interactions is in the" in str(error)  # noqa: PT017
        assert not (tmp_path / "made").exists()
        return
    together = set.union(*(raw_pairs(data, part) for part in ("train", "valid", "test")))
    assert together <= {(user.strip(), item.strip()) for user, item, _, _ in rows}
    assert sum(len(getattr(data, part)) for part in ("train", "valid", "test")) == len(together)
    users = np.concatenate([data.train.users, data.valid.users, data.test.users])
    assert np.bincount(users, minlength=data.num_users).min() >= k
    assert not [found.check for found in audit(data) if found.level == "fail"]


class TestCommand:
    def test_tables(
        self, raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (raw / "shop.yaml").write_text(json.dumps(DESCRIPTION))  # JSON is YAML
        with (raw / "orders.tsv").open("a") as file:
            file.write("only two\tcells\n")
        made = raw.parent / "made"
        arguments = ("prepare", "tables", raw / "shop.yaml", made, "--also", "recbole", "k_core=1")
        code, _, errors = run_command(monkeypatch, capsys, *arguments)
        assert code == 2
        assert "orders.tsv, line 15: 2 columns where the header has 5" in errors
        assert not made.exists()
        code, out, errors = run_command(monkeypatch, capsys, *arguments, "broken_rows=1")
        assert code == 0
        assert "1 broken rows skipped" in errors
        assert "interactions" in out
        assert json.loads((made / "dataset.json").read_text())["broken_rows"]["count"] == 1
