from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.data.dataset import NodeTexts, Triples, Vocabulary
from spike_dgl.data.training import TrainingData
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.templates import TemplateWriter, limit_words
from tests.profiles.films import ALI, CHICAGO, FISH, HEAT, MANN, NAMES, films

ALI_TEXT = (
    "Ali. Directed by: Michael Mann. Genre: Drama. Starring: Will Smith. Related: Heat, Big Fish, Chicago."
)
HEAT_TEXT = "Heat. Directed by: Michael Mann. Genre: Drama. Related: Ali, Big Fish, Chicago."

NO_TRIPLES = Triples.from_rows(np.empty((0, 3), np.int64))


def writer(**changes: object) -> TemplateWriter:
    return TemplateWriter(TrainingData.from_dataset(films(**changes)), ProfileOptions())


def test_items_have_facts_and_entities_two_hops_away() -> None:
    assert writer().items() == [HEAT_TEXT, ALI_TEXT, "Big Fish. Genre: Drama. Related: Heat, Ali."]


def test_auxiliary_entities_have_facts_and_quotes_of_linked_items() -> None:
    items = ["Heat is tense.", "A boxer's life.", "A tall tale."]
    texts = writer().auxiliary_entities(items)
    assert len(texts) == 4
    assert texts[MANN - 3] == (
        "Michael Mann. Directed: Heat, Ali. Born in: Chicago. Heat is tense. Ali: A boxer's life."
    )
    assert texts[CHICAGO - 3] == "Chicago. Birthplace of: Michael Mann."


def test_users_have_favourites_titles_and_quotes_of_their_training_items() -> None:
    items = ["Heat is tense.", "A boxer's life.", "A tall tale."]
    assert writer().users(items) == [
        "Prefers: Michael Mann, Drama, Will Smith. Liked: Ali, Heat. Ali: A boxer's life. Heat is tense.",
        "Prefers: Michael Mann, Drama. Liked: Heat. Heat is tense.",
        "",
    ]


def test_quotes_are_cut_and_marked() -> None:
    long = "Heat " + "and more " * 50
    assert (
        writer().users([long, "", ""])[1].endswith("Heat and more and more and more and more and more and...")
    )


def test_descriptions_take_part() -> None:
    texts = NodeTexts(users={2: "age 30"}, entities={FISH: "A tall tale", MANN: "Born in 1943!"})
    described = writer(descriptions=texts)
    assert described.items()[FISH].startswith("Big Fish. A tall tale. Genre: Drama.")
    assert described.auxiliary_entities([""] * 3)[0].startswith("Michael Mann. Born in 1943! Directed:")
    assert described.users([""] * 3)[2] == "age 30."


def test_a_long_description_leaves_room_for_facts() -> None:
    texts = NodeTexts(entities={HEAT: "blah " * 500})
    text = writer(descriptions=texts).items()[HEAT]
    assert "Directed by: Michael Mann." in text
    assert len(text.split()) <= 150


def test_the_limit_of_names_per_relation() -> None:
    options = ProfileOptions(neighbours=1)
    text = TemplateWriter(TrainingData.from_dataset(films()), options).auxiliary_entities([""] * 3)[MANN - 3]
    assert "Directed: Heat. Born in: Chicago." in text


def test_titles_in_user_profiles_are_never_cut() -> None:
    """Check that half of six words fit one title of two words."""
    named = Vocabulary("entity", ("Heat of day", "Ali and me", *NAMES[2:]))
    data = films(entities=named, triples=NO_TRIPLES)
    assert (
        TemplateWriter(TrainingData.from_dataset(data), ProfileOptions(user_words=6))
        .users(["-"] * 3)[0]
        .startswith("Liked: Ali and me.")
    )


sizes = st.integers(1, 30)
words = st.text(st.sampled_from("ab ,.\n"), max_size=200)


@given(sizes, sizes, sizes, st.lists(words, min_size=3, max_size=3), words)
def test_no_profile_is_longer_than_allowed(
    item_words: int, entity_words: int, user_words: int, items: list[str], description: str
) -> None:
    options = ProfileOptions(item_words=item_words, entity_words=entity_words, user_words=user_words)
    described = NodeTexts(users={0: description}, entities={HEAT: description, MANN: description})
    limited = TemplateWriter(TrainingData.from_dataset(films(descriptions=described)), options)
    for texts, limit in (
        (limited.items(), item_words),
        (limited.auxiliary_entities(items), entity_words),
        (limited.users(items), user_words),
    ):
        assert max(len(text.split()) for text in texts) <= limit


def test_limit_words() -> None:
    assert limit_words(["one two", "", "three"], 3) == "one two three"
    assert limit_words(["one two", "", "three"], 2) == "one two..."
    assert limit_words([], 2) == ""


def test_a_title_with_its_own_full_stop_gets_no_second_one() -> None:
    named = Vocabulary("entity", ("Monsters, Inc.", *NAMES[1:]))
    assert (
        TemplateWriter(TrainingData.from_dataset(films(entities=named)), ProfileOptions())
        .items()[HEAT]
        .startswith("Monsters, Inc. Directed by")
    )


def test_an_item_without_facts_has_its_title() -> None:
    bare = films(triples=NO_TRIPLES)
    assert TemplateWriter(TrainingData.from_dataset(bare), ProfileOptions()).items()[ALI] == "Ali."
