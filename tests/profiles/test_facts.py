from __future__ import annotations

import pytest

from spike_dgl.profiles.facts import phrase, readable, relation_words, sentence


@pytest.mark.parametrize(
    ("relation", "words"),
    [
        ("directed_by", "directed by"),
        ("associatedBand", "associated band"),
        ("http://rdf.freebase.com/ns/music.recording.producer", "producer"),
        ("http://dbpedia.org/ontology/birthPlace/", "birth place"),
        ("http://example.org/terms#Record-Label", "record label"),
        ("release~type", "release type"),
        ("7", "relation 7"),
        ("_", "is linked to"),
    ],
)
def test_relations_become_words(relation: str, words: str) -> None:
    assert relation_words(relation) == words


def test_a_known_relation_has_a_phrase_for_both_directions() -> None:
    assert sentence("Heat", "directed_by", "Michael Mann") == "Heat is directed by Michael Mann."
    assert sentence("Heat", "directed_by", "Michael Mann", inverse=True) == "Michael Mann directed Heat."


@pytest.mark.parametrize(
    "relation", ["directed_by", "director", "directed_by_director", "film.film.directed_by"]
)
def test_spellings_of_one_relation_give_the_same_phrase(relation: str) -> None:
    assert sentence("Heat", relation, "Mann") == "Heat is directed by Mann."


def test_an_unknown_relation_is_named_by_its_words() -> None:
    assert sentence("Heat", "chartPosition", "1") == "Heat - chart position: 1."
    assert sentence("Heat", "chartPosition", "1", inverse=True) == "1 - chart position of: Heat."


def test_a_phrase_may_be_known_for_one_direction_only() -> None:
    assert sentence("Heat", "released_in", "1995") == "Heat was released in 1995."
    assert sentence("Heat", "released_in", "1995", inverse=True) == "1995 - year of: Heat."


def test_labels_head_lists() -> None:
    assert (phrase("has_genre").label, phrase("has_genre").inverse_label) == ("Genre", "Genre of")
    assert (phrase("chartPosition").label, phrase("chartPosition").inverse_label) == (
        "Chart position",
        "Chart position of",
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("The_Quest_(1996_film)", "The Quest (1996 film)"),
        ("Category:Horror_films", "Horror films"),
        ("  two   words ", "two words"),
        ("_", "_"),
    ],
)
def test_names_are_made_readable(name: str, shown: str) -> None:
    assert readable(name) == shown
