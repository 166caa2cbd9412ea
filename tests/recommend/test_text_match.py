"""Queries: matching with texts of items and of their entities, beside the model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spike_dgl.api import Run, train
from spike_dgl.errors import ConfigError, UnknownIdError
from spike_dgl.measure.queries import query_results, read_queries
from spike_dgl.recommend import NewItem
from spike_dgl.recommend.text_match import SHORT, Match, TextIndex, TextMatch, standardised
from tests.command_line import run_command

FILMS = (
    "Shaun of the Dead. Zombies in a pub.",
    "Alien. Terror in a spaceship.",
    "Up. A house flies.",
    "Bambi. A deer grows up.",
)
GENRES = ("Horror. Frightening films.", "Animation. Drawn films for children.")
LINKS = (np.array([0, 1, 2, 3]), np.array([0, 0, 1, 1]))


def match(films: tuple[str, ...] = FILMS) -> TextMatch:
    return TextMatch(TextIndex(films), TextIndex(GENRES), *LINKS, num_trained=len(FILMS))


def best(found: Match) -> set[int]:
    return set(np.flatnonzero(found.scores > found.scores.mean()).tolist())


def test_a_query_matches_stems_of_an_items_own_text() -> None:
    found = match().find("a zombie")
    assert found.num_terms == 1
    assert int(found.scores.argmax()) == 0


def test_a_query_matches_the_texts_of_an_items_entities() -> None:
    """No film says that it is frightening or drawn; their genres do."""
    assert best(match().find("something frightening")) == {0, 1}
    assert best(match().find("drawn")) == {2, 3}


def test_own_and_entities_texts_count_alike() -> None:
    """By hand: each part is standardised, so that one film of four has sqrt(3), and two of four have 1."""
    scores = match().find("frightening terror").scores
    np.testing.assert_allclose(scores, [1 - 3**-0.5, 1 + 3**0.5, -1 - 3**-0.5, -1 - 3**-0.5], rtol=1e-6)


def test_unknown_and_stop_words_match_nothing() -> None:
    for query in ("qwertz", "the of and", ""):
        found = match().find(query)
        assert found.num_terms == 0
        assert not found.scores.any()
    assert match(("",) * 4).find("frightening").num_terms == 1


def test_the_longer_a_text_the_less_it_is_a_query() -> None:
    weights = [Match(np.zeros(1, np.float32), number).weight for number in (1, SHORT, 2 * SHORT, 10 * SHORT)]
    assert weights == [1.0, 1.0, 0.25, pytest.approx(0.01)]


def test_added_items_are_matched_by_their_text_and_their_entities() -> None:
    # Entity rows count from the items of the training data on: 4 is the genre horror.
    grown = match().with_items(["Nosferatu. A vampire."], np.array([0]), np.array([4]))
    assert int(grown.find("vampires").scores.argmax()) == 4
    assert best(grown.find("frightening")) == {0, 1, 4}
    again = grown.with_items(["Dracula. Another vampire."], np.array([0]), np.array([4]))
    assert best(again.find("vampire")) == {4, 5}
    assert len(match().find("vampire").scores) == 4


def test_equal_scores_are_standardised_to_zero() -> None:
    assert not standardised(np.full(5, 0.1, np.float32)).any()
    scores = standardised(np.array([1.0, 2.0, 3.0]))
    assert (scores.mean(), scores.std()) == (pytest.approx(0), pytest.approx(1))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of one epoch on the bundled data, whose texts a language model wrote."""
    return train(out=tmp_path_factory.mktemp("queries") / "run", epochs=1, threads=1, progress=False)


def test_sentences_are_answered_with_films_that_fit(run: Run) -> None:
    queries = read_queries(Path("configs/queries/movielens.yaml"), run.dataset)
    assert len(queries) >= 60
    found = list(query_results(run.recommender, queries))
    precision = {
        by: np.mean([each.precision for each in found if each.by == by])
        for by in ("search", "fold-in alone", "popularity")
    }
    assert precision["search"] >= 0.85
    assert precision["search"] > precision["fold-in alone"] > precision["popularity"]


def test_a_name_finds_the_films_of_a_person(run: Run) -> None:
    films = {item.name for item in run.recommender.recommend_for_text("Kubrick", 7)}
    assert {"A Clockwork Orange (1971)", "The Shining (1980)", "2001: A Space Odyssey (1968)"} <= films


def test_one_known_word_is_enough_and_an_added_item_is_found(run: Run) -> None:
    assert run.recommender.recommend_for_text("qwertz zombies", 3) == run.recommender.recommend_for_text(
        "zombies", 3
    )
    item = NewItem("new", (("has genre", "Horror"),), "A zombie opens a bakery.", name="Bread of the Dead")
    found = run.recommender.add_items([item]).recommend_for_text("zombies in a bakery", 10)
    assert "new" in [each.id for each in found]


def test_bench_queries(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "queries.yaml"
    file.write_text(
        '- {text: horror, any: [[has genre, Horror]]}\n- {text: "1980s", all: [[released in, 1980s]]}\n'
    )
    code, out, _ = run_command(monkeypatch, capsys, "bench", "queries", run.path, "--file", file)
    assert code == 0
    assert "| search" in out
    code, out, _ = run_command(monkeypatch, capsys, "bench", "queries", run.path, "--file", file, "--json")
    lines = list(map(json.loads, out.splitlines()))
    assert {line["by"] for line in lines} == {"search", "matching alone", "fold-in alone", "popularity"}
    assert all(0 <= line["precision"] <= 1 for line in lines)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("text: horror\n", ConfigError, "expected a list"),
        ("- horror\n", ConfigError, "query 1 needs text"),
        ("- {text: horror}\n", ConfigError, "no item is right"),
        ("- {text: horror, some: []}\n", ConfigError, "query 1 needs text"),
        ("- {text: horror, any: [[genre, Horror]]}\n", UnknownIdError, "unknown relation 'genre'"),
        (
            "- {text: x, all: [[has genre, Western], [has genre, Documentary]]}\n",
            ConfigError,
            "no item is right",
        ),
    ],
)
def test_a_file_of_queries_with_a_mistake(
    run: Run, tmp_path: Path, content: str, error: type[Exception], message: str
) -> None:
    (tmp_path / "queries.yaml").write_text(content)
    with pytest.raises(error, match=message):
        read_queries(tmp_path / "queries.yaml", run.dataset)
