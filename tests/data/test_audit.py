"""Statistics and audit of data sets with known errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.data import Dataset, Interactions, NodeTexts, NodeVectors, Triples, Vocabulary, load_dataset
from spike_dgl.data.audit import audit, render, statistics
from spike_dgl.data.findings import Finding
from tests.data.tiny import SPIKE, write_folder


def pairs(*rows: tuple[int, int], times: tuple[int, ...] | None = None) -> Interactions:
    array = np.array(rows, dtype=np.int64).reshape(-1, 2)
    made = Interactions.from_pairs(array[:, 0], array[:, 1])
    return made if times is None else replace(made, times=np.array(times, dtype=np.float64))


def vocabulary(kind: str, size: int) -> Vocabulary:
    return Vocabulary(kind, tuple(f"{kind}{row}" for row in range(size)))


def dataset(**changes: object) -> Dataset:
    """Return a data set without errors: two users, three items, five entities and two relations."""
    clean = Dataset(
        name="tiny",
        users=vocabulary("user", 2),
        items=vocabulary("item", 3),
        entities=vocabulary("entity", 5),
        relations=vocabulary("relation", 2),
        train=pairs((0, 0), (0, 1), (1, 2)),
        valid=pairs((1, 0)),
        test=pairs((0, 2), (1, 1)),
        triples=Triples.from_rows([[0, 0, 3], [1, 0, 3], [2, 1, 4]]),  # type: ignore[arg-type]
    )
    return clean.replace(**changes)


def triples(*rows: tuple[int, int, int]) -> Triples:
    return Triples.from_rows(np.array(rows, dtype=np.int64))


def finding(data: Dataset, check: str) -> Finding:
    return next(found for found in audit(data) if found.check == check)


def test_statistics_by_hand(tmp_path: Path) -> None:
    assert statistics(load_dataset(write_folder(tmp_path, SPIKE))) == {
        "users": 3,
        "items": 4,
        "interactions": 8,
        "train": 5,
        "valid": 1,
        "test": 2,
        "density": 8 / 12,
        "entities": 6,
        "relations": 2,
        "triples": 3,
        "items_without_kg": 1,
        "profile_coverage_users": 2 / 3,
        "profile_coverage_items": 1 / 4,
        "profile_coverage_auxiliary": 1 / 2,
    }


def test_vectors_count_as_profiles() -> None:
    vectors = NodeVectors(np.zeros((2, 1), np.float32), np.zeros((5, 1), np.float32))
    facts = statistics(dataset(vectors=vectors, profiles=NodeTexts({0: "x"})))
    assert facts["profile_coverage_users"] == facts["profile_coverage_auxiliary"] == 1.0


def test_a_clean_data_set_passes_every_check() -> None:
    findings = audit(dataset())
    assert {found.level for found in findings} == {"pass", "skip"}
    assert all(found.message for found in findings if found.level == "skip")
    assert len({found.check for found in findings}) == len(findings) >= 14


@pytest.mark.parametrize(
    ("check", "level", "count", "changes"),
    [
        ("test pairs in train", "fail", 2, {"train": pairs((0, 0), (0, 1), (0, 2), (1, 1), (1, 2))}),
        ("validation pairs in train", "fail", 1, {"train": pairs((0, 0), (0, 1), (1, 0), (1, 2))}),
        ("test pairs in validation", "fail", 1, {"valid": pairs((1, 0), (1, 1))}),
        ("ids out of range", "fail", 1, {"test": pairs((0, 3), (1, 1))}),
        ("ids out of range", "fail", 2, {"triples": triples((0, 2, 5), (1, 0, 3))}),
        (
            "duplicate pairs",
            "warn",
            5,
            {"dropped": {"duplicate pairs in train": 3, "duplicate pairs in test": 2}},
        ),
        ("duplicate triples", "warn", 4, {"dropped": {"duplicate triples": 4}}),
        ("duplicate links", "warn", 1, {"dropped": {"duplicate links": 1}}),
        ("self loops", "warn", 1, {"triples": triples((0, 0, 3), (1, 0, 3), (2, 1, 4), (4, 0, 4))}),
        ("items without a triple", "warn", 2, {"triples": triples((0, 0, 3), (1, 0, 1), (3, 1, 4))}),
        (
            "auxiliary entities without a triple",
            "warn",
            1,
            {"triples": triples((0, 0, 3), (1, 0, 3), (2, 1, 3))},
        ),
        ("users in validation or test only", "warn", 1, {"train": pairs((0, 0), (0, 1))}),
        ("items in validation or test only", "warn", 1, {"train": pairs((0, 0), (0, 1))}),
        ("items without any interaction", "warn", 1, {"items": vocabulary("item", 4)}),
        ("users without any interaction", "warn", 3, {"users": vocabulary("user", 5)}),
        (
            "relations that repeat another",
            "warn",
            1,
            {"triples": triples((0, 0, 3), (1, 0, 3), (0, 1, 3), (1, 1, 3))},
        ),
        (
            "relations that repeat another",
            "pass",
            0,
            {"triples": triples((0, 0, 3), (1, 0, 3), (0, 1, 3))},
        ),
        (
            "training pairs after test pairs of their user",
            "warn",
            2,
            {
                "train": pairs((0, 0), (0, 1), (1, 2), times=(3, 4, 1)),
                "test": pairs((0, 2), (1, 1), times=(2, 2)),
            },
        ),
        (
            "users whose splits meet in one moment",
            "warn",
            1,
            {
                "train": pairs((0, 0), (0, 1), (1, 2), times=(1, 2, 1)),
                "test": pairs((0, 2), (1, 1), times=(2, 2)),
            },
        ),
        (
            "items linked to an entity of another name",
            "fail",
            1,
            {"linked_names": {0: "item0 (film)", 2: "Something else"}},
        ),
        ("users without a profile among others with one", "warn", 1, {"profiles": NodeTexts({1: "x"}, {})}),
        (
            "auxiliary entities without a profile among others with one",
            "warn",
            1,
            {"profiles": NodeTexts({}, {0: "x", 1: "x", 2: "x", 3: "x"})},
        ),
        (
            "inverse relations stored twice",
            "warn",
            1,
            {"triples": triples((0, 0, 3), (3, 1, 0), (1, 0, 3), (3, 1, 1))},
        ),
        (
            "inverse relations stored twice",
            "pass",
            0,
            {"triples": triples((0, 0, 3), (3, 1, 0), (1, 0, 3), (4, 1, 1))},
        ),
        (
            "symmetric relations stored in both directions",
            "warn",
            1,
            {"triples": triples((0, 0, 3), (3, 0, 0))},
        ),
        (
            "symmetric relations stored in both directions",
            "pass",
            0,
            {"triples": triples((0, 0, 0), (3, 1, 3))},
        ),
    ],
)
def test_each_check_finds_its_fault(check: str, level: str, count: int, changes: dict[str, object]) -> None:
    found = finding(dataset(**changes), check)
    assert (found.level, found.count) == (level, count)
    assert bool(found.message) == (level != "pass")


def test_inverse_relations_are_named() -> None:
    data = dataset(triples=triples((0, 0, 3), (3, 1, 0)))
    assert "'relation0' and 'relation1'" in finding(data, "inverse relations stored twice").message


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(0, 4)), max_size=25))
def test_inverse_relations_equal_a_slow_count(rows: list[tuple[int, int, int]]) -> None:
    sets = [{(h, t) for h, s, t in rows if s == r and h != t} for r in (0, 1)]
    reverse = [{(t, h) for h, t in pairs_of} for pairs_of in sets]
    shared = len(sets[0] & reverse[1])
    inverse = shared > 0 and shared >= 0.8 * min(len(sets[0]), len(sets[1]))
    symmetric = sum(bool(s & r) and len(s & r) >= 0.8 * len(s) for s, r in zip(sets, reverse, strict=True))
    data = dataset(triples=Triples.from_rows(np.array(rows, dtype=np.int64)))
    assert finding(data, "inverse relations stored twice").count == inverse
    assert finding(data, "symmetric relations stored in both directions").count == symmetric


def test_the_report_shows_numbers_and_advice(tmp_path: Path) -> None:
    report = render(load_dataset(write_folder(tmp_path, SPIKE, train__txt="0 0 1 2\n1 2\n2 3 0\n")))
    assert "triples" in report
    assert "66.7%" in report
    assert "fail  test pairs in train" in report
    assert "Remove them" in report


def test_ml_1m_has_mislinked_titles(shared_data: Path) -> None:
    data = load_dataset(shared_data / "ml-1m")
    found = {found.check: found for found in audit(data)}
    assert found["items linked to an entity of another name"].count == 26
    assert found["items linked to an entity of another year"].count == 78
    assert "'Kid, The (2000)' to 'Mad Max 2'" in found["items linked to an entity of another name"].message
    assert found["training pairs after test pairs of their user"].level == "pass"
