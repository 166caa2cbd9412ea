"""Queries: matching with texts of items and of their entities, beside the model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.api import Run, train
from spike_dgl.errors import ConfigError, UnknownIdError
from spike_dgl.measure.queries import query_results, read_queries
from spike_dgl.recommend import EntityMatch, ItemMatch, NewItem
from spike_dgl.recommend.matched import SNIPPET, snippet, words_as_written
from spike_dgl.recommend.text_match import SHORT, Links, Match, TextIndex, TextMatch, standardised
from spike_dgl.recommend.titles import Question
from tests.command_line import run_command

FILMS = (
    "Shaun of the Dead. Zombies in a pub.",
    "Alien. Terror in a spaceship.",
    "Up. A house flies.",
    "Bambi. A deer grows up.",
)
GENRES = ("Horror. Frightening films.", "Animation. Drawn films for children.")
LINKS = Links(np.array([0, 1, 2, 3]), np.zeros(4, np.int64), np.array([0, 0, 1, 1]))
RELATIONS, NAMES = ("has genre", "also_filed_under"), ("Horror", "Animation")


def match(films: tuple[str, ...] = FILMS) -> TextMatch:
    return TextMatch(TextIndex(films), TextIndex(GENRES), LINKS, RELATIONS, NAMES, num_trained=len(FILMS))


def of_horror() -> Links:
    """The triple of an added film. Rows of entities count from the items of the training data on: 4 is horror."""
    return Links(np.array([0]), np.array([1]), np.array([4]))


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
    grown = match().with_items(["Nosferatu."], ["A vampire."], of_horror())
    assert int(grown.find("vampires").scores.argmax()) == 4
    assert best(grown.find("frightening")) == {0, 1, 4}
    again = grown.with_items([""], ["Dracula. Another vampire."], of_horror())
    assert best(again.find("vampire")) == {4, 5}
    assert len(match().find("vampire").scores) == 4


def test_each_item_says_which_words_match_its_text_and_its_entities() -> None:
    film, other = match().explain(Question((), "Frightening zombies at the pub"), [0, 3])
    genre = EntityMatch("genre", "Horror", ("Frightening",))
    # Both words are in one text and count alike, so that they stand in the order of the text.
    assert film == ItemMatch(("Zombies", "pub"), FILMS[0], (genre,))
    assert other == ItemMatch()


def test_relations_to_the_same_entity_are_one_match() -> None:
    twice = Links(np.array([0, 0]), np.array([0, 1]), np.array([0, 0]))
    both = TextMatch(TextIndex(FILMS), TextIndex(GENRES), twice, RELATIONS, NAMES, len(FILMS))
    assert [found.relation for found in both.explain(Question((), "horror"), [0])[0].entities] == [
        "genre, also filed under"
    ]


def test_few_entities_are_shown_and_those_that_hardly_match_are_not() -> None:
    texts = (
        "War. War!",
        "War and peace.",
        "War at sea.",
        "War in " + " ".join(f"word{n}" for n in range(200)),
        "Pax.",
    )
    links = Links(np.zeros(5, np.int64), np.zeros(5, np.int64), np.arange(5))
    names = ("War", "Tolstoy", "Navy", "Library", "Pax")
    found = TextMatch(TextIndex(["A film."]), TextIndex(texts), links, RELATIONS, names, 1)
    assert {each.name for each in found.explain(Question((), "war"), [0])[0].entities} == {
        "War",
        "Tolstoy",
        "Navy",
    }
    of_two = TextMatch(
        TextIndex(["A film."]),
        TextIndex(texts[2:]),
        Links(*(a[:3] for a in (np.zeros(3, np.int64), np.zeros(3, np.int64), np.arange(3)))),
        RELATIONS,
        names[2:],
        1,
    )
    assert [each.name for each in of_two.explain(Question((), "war"), [0])[0].entities] == ["Navy"]


def test_facts_and_words_in_common_with_an_example() -> None:
    """The genre and "house" are in common; numbers, and words of most films, are not shown."""
    films = (
        "Zombies 2001.",
        "A ghost story.",
        "Up, a story of a house, 2001.",
        "Bambi, the story of a deer's house, 2001.",
    )
    others = tuple(f"Story {number}." for number in range(20))
    bambi, zombies = match((*films, *others)).explain(Question((2,), "drawn"), [3, 0])
    assert bambi == ItemMatch(
        ("house",), "…the story of a deer's house, 2001.", (EntityMatch("genre", "Animation", ("Drawn",)),)
    )
    assert zombies == ItemMatch()
    (alone,) = match(films).explain(Question((2,), ""), [3])
    assert alone.entities == (EntityMatch("genre", "Animation", ()),)


def test_words_of_an_added_items_text_and_entities() -> None:
    grown = match().with_items(["Nosferatu."], ["A vampire."], of_horror())
    genre = EntityMatch("also filed under", "Horror", ("Frightening",))
    assert grown.explain(Question((), "frightening vampires"), [4]) == [
        ItemMatch(("vampire",), "Nosferatu. A vampire.", (genre,))
    ]


def test_unknown_words_are_named_as_they_were_typed() -> None:
    found = match()
    assert found.unknown_words("the Qwertz, zombies and ÄÖÜ of qwertz") == ("qwertz", "ÄÖÜ")
    assert found.unknown_words("horror of the deer") == ()


def test_words_are_matched_without_case_accents_and_endings() -> None:
    found = match(("Amélie Poulain. A waitress.", *FILMS[1:])).explain(
        Question((), "AMELIE's waitresses"), [0]
    )[0]
    assert set(found.words) == {"Amélie", "waitress"}


def test_words_as_written_stand_in_the_order_of_their_weights() -> None:
    assert words_as_written("Magic, magical wizards", {"wizard": 0.9, "magic": 0.1}) == ("wizards", "Magic")
    assert words_as_written("Magic", {}) == ()
    assert (
        len(
            words_as_written(
                "one1 two2 three3 four4 five5 six6 seven7",
                dict.fromkeys(("one1", "two2", "three3", "four4", "five5", "six6", "seven7"), 1.0),
            )
        )
        == 5
    )


@given(st.lists(st.sampled_from(["wizard", "of", "magic", "oz", "a" * 30]), max_size=60), st.data())
def test_a_snippet_is_a_short_part_of_the_text_with_the_words(words: list[str], data: st.DataObject) -> None:
    text, weights = " ".join(words), {"wizard": 0.2, "magic": data.draw(st.floats(0.01, 1))}
    found = snippet(text, weights)
    assert found.strip("…") in text
    assert len(found) <= SNIPPET + 2 * 31
    assert bool(found) == bool(weights.keys() & set(words))
    assert not found or any(word in found for word in weights)


def test_a_snippet_is_the_passage_with_the_most_words() -> None:
    far = " ".join(["filler"] * 40)
    assert (
        snippet(f"magic {far} a wizard with magic {far}", {"wizard": 0.2, "magic": 0.3}).count("wizard") == 1
    )
    assert snippet("magic", {"magic": 1.0}) == "magic"


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
    found = run.recommender.recommend_for_text("qwertz zombies", 3)
    assert found.unknown_words == ("qwertz",)
    alone = run.recommender.recommend_for_text("zombies", 3)
    assert (alone.unknown_words, alone.items) == ((), found.items)
    assert all(item.match != ItemMatch() for item in found)
    item = NewItem("new", (("has genre", "Horror"),), "A zombie opens a bakery.", name="Bread of the Dead")
    ranking = run.recommender.add_items([item]).recommend_for_text("zombies in a bakery", 10)
    new = next(each for each in ranking if each.id == "new")
    assert set(new.match.words) == {"zombie", "bakery"}


def test_a_name_is_matched_with_the_person_in_the_graph(run: Run) -> None:
    film = run.recommender.recommend_for_text("Kubrick", 3)[0]
    assert film.match.entities[0] == EntityMatch("directed by", "Stanley Kubrick", ("Kubrick",))
    assert "Kubrick" in film.match.snippet
    assert run.recommender.recommend_for_text("Bunuel", 1)[0].match.words == ("Buñuel",)


def test_an_item_that_matches_nothing_literally_is_the_models(run: Run) -> None:
    ranking = run.recommender.recommend_for_text("Bunuel", 2)
    assert ranking[1].match == ItemMatch()
    assert [item.id for item in ranking[:2]] == [item.id for item in ranking.items]


def test_titles_as_examples_are_liked_items_and_are_not_listed(run: Run) -> None:
    ranking = run.recommender.recommend_for_text("something like toy story", 10)
    assert [item.name for item in ranking.liked] == ["Toy Story (1995)"]
    assert "Toy Story 2 (1999)" in [item.name for item in ranking[:3]]
    assert "Toy Story (1995)" not in [item.name for item in ranking]
    assert "Lasseter" in next(item for item in ranking if item.name == "Toy Story 2 (1999)").match.words
    assert ranking.unknown_words == ()


def test_the_words_beside_a_title_count(run: Run) -> None:
    westerns = [item.name for item in run.recommender.recommend_for_text("westerns like Alien qwertz", 5)]
    alone = [item.name for item in run.recommender.recommend_for_text("like Alien", 5)]
    assert "Aliens (1986)" in alone
    assert not {*alone} & {*westerns}
    assert run.recommender.recommend_for_text("qwertz like Alien").unknown_words == ("qwertz",)


def test_an_added_item_can_be_an_example(run: Run) -> None:
    item = NewItem("new", (("has genre", "Western"),), "A sheriff faces outlaws.", name="Dust and Lead")
    ranking = run.recommender.add_items([item]).recommend_for_text("films like dust & lead", 10)
    assert [each.id for each in ranking.liked] == ["new"]
    assert any(entity.name == "Western" for each in ranking for entity in each.match.entities)


def test_the_command_prints_the_examples(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ("recommend", run.path, "--text", "films like Alien", "-k", "2")
    assert run_command(monkeypatch, capsys, *ask)[1].startswith("for someone who likes Alien (1979)\n")
    answer = json.loads(run_command(monkeypatch, capsys, *ask, "--json")[1])
    assert [each["name"] for each in answer["liked"]] == ["Alien (1979)"]


def test_the_command_prints_the_matched_and_the_unknown_words(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ("recommend", run.path, "--text", "qwertz Bunuel", "-k", "2")
    code, out, _ = run_command(monkeypatch, capsys, *ask)
    assert code == 0
    assert 'Buñuel: "' in out
    assert "no word of the text matches; ranked by the model alone" in out
    assert out.splitlines()[-1] == "not found in any profile: qwertz"
    _, out, _ = run_command(monkeypatch, capsys, *ask, "--json")
    answer = json.loads(out)
    assert (answer["text"], answer["unknown_words"]) == ("qwertz Bunuel", ["qwertz"])
    assert answer["items"][0]["match"]["words"] == ["Buñuel"]
    assert answer["items"][1]["match"] == {"words": [], "snippet": "", "entities": []}


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
