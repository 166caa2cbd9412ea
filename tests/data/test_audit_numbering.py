"""Numbering mistakes in a data set's files are found, and correct files have no findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from spike_dgl.data import Dataset, load_dataset
from spike_dgl.data.audit import audit, in_short
from spike_dgl.data.findings import Finding
from spike_dgl.errors import DataError
from tests.command_line import run_command
from tests.toy import dataset

USERS, ITEMS, GENRES = 80, 100, 10
PAIRS, TRIPLES = "user item", "head relation tail"


@dataclass(frozen=True)
class Files:
    """Rows of train.txt, test.txt (user, item) and kg_final.txt (head, relation, tail)."""

    train: np.ndarray
    test: np.ndarray
    kg: np.ndarray

    def write(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        for name, rows in (("train", self.train), ("test", self.test)):
            lines = (
                f"{user} {' '.join(map(str, rows[rows[:, 0] == user, 1]))}\n"
                for user in np.unique(rows[:, 0])
            )
            (folder / f"{name}.txt").write_text("".join(lines))
        (folder / "kg_final.txt").write_text("".join(" ".join(map(str, row)) + "\n" for row in self.kg))
        return folder


def right() -> Files:
    """Return files where user u has items of genre u mod 10, six in training, four in test; items have two genres."""
    random = np.random.default_rng(1)
    genre = random.permutation(np.arange(ITEMS) % GENRES)  # so that item numbers carry no information
    train, test = [], []
    for user in range(USERS):
        liked = random.permutation(np.flatnonzero(genre == user % GENRES))
        train += [(user, item) for item in liked[:6]]
        test += [(user, item) for item in liked[6:]]
    kg = [(item, 0, ITEMS + genre[item]) for item in range(ITEMS)]
    seconds = np.unique(random.integers(60, size=ITEMS), return_inverse=True)[1]
    kg += [(item, 1, ITEMS + GENRES + seconds[item]) for item in range(ITEMS)]
    return Files(*(np.array(rows) for rows in (train, test, kg)))


RIGHT = right()


def moved(rows: np.ndarray, *steps: int) -> np.ndarray:
    return rows + np.array(steps)


def with_row(rows: np.ndarray, *row: int) -> np.ndarray:
    return np.vstack([rows, row])


def numbered_apart(ends: int) -> np.ndarray:
    """Return triples whose tails (2) or heads (0) have their own numbers from 0, as in KGCL's files."""
    kg = RIGHT.kg if ends == 2 else RIGHT.kg[:, ::-1]
    return np.column_stack([kg[:, :ends], kg[:, ends] - ITEMS, kg[:, ends + 1 :]])


def many_tails() -> np.ndarray:
    """Return triples with two tails per item, numbered from 0 separately from the items; half exceed the items."""
    tails = np.arange(2 * ITEMS)
    return np.column_stack([tails // 2, 0 * tails, tails])


def audited(files: Files, folder: Path) -> dict[str, Finding]:
    return {found.check: found for found in audit(load_dataset(files.write(folder / "data")))}


def test_what_is_right_has_no_finding(tmp_path: Path) -> None:
    findings = audited(RIGHT, tmp_path).values()
    assert [found for found in findings if found.level in ("warn", "fail")] == []
    assert [found.check for found in findings if "signal" in found.check] == [
        "knowledge graph without signal",
        "training split without signal",
    ]


@pytest.mark.parametrize(
    ("changes", "check", "level", "says"),
    [
        (
            {"kg": numbered_apart(2)},
            "tails that are items",
            "fail",
            "without a gap: they are numbered separately from the items, which are entities 0 to 99. Add 100",
        ),
        (
            {"kg": many_tails()},
            "tails that are items",
            "fail",
            "50% of all tails, and the tails are 0 to 199",
        ),
        (
            {"kg": RIGHT.kg[:, [0, 1, 0]] // np.array([1, 1, 3])},
            "tails that are items",
            "fail",
            "0 to 33 without a gap",
        ),
        (
            {"kg": RIGHT.kg[:, [0, 1, 0]] // np.array([1, 1, 3]) * np.array([1, 1, 2])},
            "tails that are items",
            "warn",
            "100% of all tails: correct if relations join items to items",
        ),
        (
            {"kg": RIGHT.kg[:, [0, 2, 1]]},
            "relations that are entities",
            "fail",
            "all tails are among the first few items: columns are swapped",
        ),
        ({"kg": RIGHT.kg[:, [1, 0, 2]]}, "relations that are entities", "fail", "all heads are among"),
        ({"kg": moved(RIGHT.kg, ITEMS, 0, ITEMS)}, "items without a triple", "fail", "is about other things"),
        (
            {"kg": moved(RIGHT.kg, 1, 0, 1)},
            "knowledge graph without signal",
            "fail",
            "items count from 1 in the graph",
        ),
        (
            {"train": moved(RIGHT.train, 0, 1), "test": moved(RIGHT.test, 0, 1)},
            "knowledge graph without signal",
            "fail",
            "items count from 1 in the interactions",
        ),
        (
            {"kg": moved(RIGHT.kg, 1, 0, 1)},
            "files that count from 1 beside files that count from 0",
            "warn",
            "The only item without a triple is the first: check whether items in the graph count from 1.",
        ),
        (
            {"test": moved(RIGHT.test, 1, 0)},
            "files that count from 1 beside files that count from 0",
            "fail",
            "users are 0 to 79 in the training split and 1 to 80 in the test split",
        ),
        (
            {"train": moved(RIGHT.train, 1, 0)},
            "files that count from 1 beside files that count from 0",
            "fail",
            "users are 0 to 79 in the test split and 1 to 80 in the training split",
        ),
        (
            {"test": moved(RIGHT.test, 0, 1)},
            "training split without signal",
            "fail",
            "items count from 1 in the test split and from 0 in training",
        ),
        (
            {"train": RIGHT.train[:, ::-1]},
            "training split without signal",
            "fail",
            "users and items are swapped in the training split",
        ),
        (
            {"train": with_row(RIGHT.train, 0, 5_000)},
            "items without any interaction",
            "fail",
            "5000 is used as a row",
        ),
        (
            {"train": with_row(RIGHT.train, 5_000, 0)},
            "users without any interaction",
            "fail",
            "5000 is used as a row",
        ),
        (
            {"kg": with_row(RIGHT.kg, 0, 0, 5_000)},
            "auxiliary entities without a triple",
            "fail",
            "5000 is used as a row",
        ),
        (
            {"kg": with_row(RIGHT.kg, 0, 500, 101)},
            "relations without a triple",
            "fail",
            "500 is used as a row",
        ),
        ({"kg": with_row(RIGHT.kg, 0, 3, 101)}, "relations without a triple", "warn", "two edge types"),
    ],
)
def test_a_mistake_is_found(
    tmp_path: Path, changes: dict[str, np.ndarray], check: str, level: str, says: str
) -> None:
    found = audited(replace(RIGHT, **changes), tmp_path)[check]
    assert found.level == level
    assert says in found.message


def test_a_gap_of_numbers_is_found_although_the_rows_between_are_entities_with_triples(
    tmp_path: Path,
) -> None:
    """An item number that is too large turns genres into items."""
    found = audited(replace(RIGHT, train=with_row(RIGHT.train, 0, 168)), tmp_path)
    assert found["items without any interaction"].level == "fail"


@pytest.mark.parametrize(
    "kg",
    [
        np.column_stack(
            [np.arange(ITEMS), np.zeros(ITEMS, int), np.roll(np.arange(ITEMS), 1)]
        ),  # items to items
        RIGHT.kg[:, [2, 1, 0]],  # genre to items: the graph adds inverses, so the direction does not matter
        np.vstack([RIGHT.kg, moved(RIGHT.kg[:, [2, 1, 0]], 0, 2, 0)]),  # both directions
    ],
)
def test_what_is_unusual_does_not_fail(tmp_path: Path, kg: np.ndarray) -> None:
    findings = audited(replace(RIGHT, kg=kg), tmp_path)
    assert [found.check for found in findings.values() if found.level == "fail"] == []


def test_rows_that_a_list_names_are_no_mistake(tmp_path: Path) -> None:
    folder = RIGHT.write(tmp_path / "data")
    names = "".join(f"thing {row}\n" for row in range(1000))
    (folder / "entity_names.txt").write_text(names)
    found = {found.check: found for found in audit(load_dataset(folder))}
    assert (found["auxiliary entities without a triple"].level) == "warn"


@pytest.mark.parametrize("what", ["profiles", "texts"])
def test_texts_that_count_from_1(tmp_path: Path, what: str) -> None:
    folder = RIGHT.write(tmp_path / "data")
    texts = ", ".join(f'"{user}": "A text."' for user in range(1, USERS + 1))
    (folder / f"user_{what}.json").write_text(f"{{{texts}}}")
    found = {found.check: found for found in audit(load_dataset(folder))}
    found_one = found["files that count from 1 beside files that count from 0"]
    assert found_one.level == "fail"
    assert "users are 0 to 79 in the interactions and 1 to 80 in their" in found_one.message


def test_a_huge_relation_is_refused_before_anything_is_made_of_it(tmp_path: Path) -> None:
    folder = replace(RIGHT, kg=with_row(RIGHT.kg, 0, 99_000, 101)).write(tmp_path / "data")
    with pytest.raises(
        DataError, match=r"kg_final\.txt, line 201: relation 99000 is too large: .* 3 different"
    ):
        load_dataset(folder)


def test_what_settings_change_on_purpose_does_not_fail(tmp_path: Path) -> None:
    from spike_dgl.data.options import DataOptions, load

    folder = RIGHT.write(tmp_path / "data")
    for changes in ({"kg_fraction": 0.0}, {"permute_kg": True}, {"hidden_items": 0.5}, {"cold_items": 0.5}):
        data = load(DataOptions(path=str(folder), **changes))
        assert [found.check for found in audit(data) if found.level == "fail"] == [], changes


@pytest.mark.parametrize("sizes", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 3, 3, 1)])
def test_hardly_any_data_has_findings_too(sizes: tuple[int, int, int, int]) -> None:
    assert audit(dataset([], [], sizes=sizes))


def test_many_relations_between_the_same_entities_do_not_fill_the_memory() -> None:
    rows = [(0, relation, 30) for relation in range(8000)]
    data = dataset([(0, 0)], rows, sizes=(1, 30, 31, 8000))
    levels = {found.check: found.level for found in audit(data)}
    assert levels["relations that repeat another"] == "skip"


class TestTraining:
    @pytest.fixture
    def train(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> Callable[[Files], list[str]]:
        def run(files: Files) -> list[str]:
            folder = files.write(tmp_path / "data")
            limits = ("model.name=popularity", "profiles.source=none", "training.threads=1")
            code, out, errors = run_command(
                monkeypatch,
                capsys,
                "train",
                f"data.path={folder}",
                *limits,
                "--out",
                tmp_path / "run",
                "--quiet",
            )
            assert code == 0, errors
            return str(out).splitlines()

        return run

    def test_failed_and_warned_lines_come_before_all_else(self, train: Callable[[Files], list[str]]) -> None:
        lines = train(replace(RIGHT, kg=numbered_apart(2)))
        assert lines[0] == "fail: tails that are items: 200"
        assert lines[1].startswith("what this means: python main.py data ")
        assert lines[2].startswith("popularity on data")

    def test_nothing_is_said_of_what_is_right(self, train: Callable[[Files], list[str]]) -> None:
        assert train(RIGHT)[0].startswith("popularity on data")


def test_real_files_and_a_mistake_in_them(shared_data: Path) -> None:
    """A numbering mistake is found in last.fm's real files too."""
    from spike_dgl.data import Triples

    def shifted(data: Dataset) -> Dataset:
        triples = data.triples
        inside = (triples.heads + 1 < data.num_entities) & (triples.tails + 1 < data.num_entities)
        columns = (triples.heads + 1, triples.relations, triples.tails + 1)
        return data.replace(triples=Triples(*(column[inside] for column in columns)))

    right = load_dataset(shared_data / "lastfm")
    assert in_short(right) == ["warn: items without a triple: 367"]
    data = shifted(right)
    (found,) = [found for found in audit(data) if found.check == "knowledge graph without signal"]
    assert (found.level, "items count from 1 in the graph" in found.message) == ("fail", True)
