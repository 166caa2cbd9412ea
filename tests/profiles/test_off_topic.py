"""Texts that name neither their node nor its facts, among them answers of a real small model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from spike_dgl.data.dataset import NodeTexts
from spike_dgl.profiles import ProfileOptions, build_profiles
from spike_dgl.profiles.llm.material import user_message
from spike_dgl.profiles.llm.prompts import load_prompts
from spike_dgl.profiles.llm.rejections import Candidate, rejection
from spike_dgl.profiles.quality import measure
from spike_dgl.profiles.records import NodeType
from tests.profiles.films import ALI, HEAT, films

ITEM = {
    "title": ["Fight Club (1999)"],
    "facts": ["Fight Club (1999) is of the genre Thriller.", "Fight Club (1999) stars Brad Pitt."],
    "related_facts": ["Brad Pitt stars in Ocean's Eleven (2001).", "Thriller is the genre of Rope (1948)."],
}
ENTITY = {
    "name": ["Harrison Ford"],
    "items": [
        "Harrison Ford stars in Star Wars (1977). A farm boy joins rebels, smugglers and droids against an empire.",
        "Harrison Ford stars in Witness (1985). A policeman hides with a gothic family in suburban space from murder.",
    ],
}
ACTION = {
    "name": ["Action"],
    "items": [
        "Action is the genre of Star Wars (1977). A farm boy joins rebels against an empire; a director's dream.",
        "Action is the genre of Braveheart (1995). The film was made by a team of writers and directors.",
    ],
}
USER = {
    "items": [
        "Fight Club (1999) sends an insomniac clerk into bare-knuckle nights with a soap salesman. Savage satire.",
        "The Matrix (1999): a hacker wakes up in a war of humans and machines. Gunfights and philosophy.",
        "Braveheart (1995) leads Scottish rebels into muddy battles against the English crown.",
    ]
}


def asked(stage: NodeType, data: dict[str, list[str]]) -> str:
    prompt = load_prompts("movies_tv").for_stage(stage)
    none: dict[str, Sequence[str]] = {
        name: [] for name in ("title", "name", "description", "facts", "related_facts", "reviews", "items")
    }
    return user_message(prompt, none | data, 3000)


def is_off_topic(text: str, stage: NodeType, data: dict[str, list[str]]) -> bool:
    found = rejection(Candidate(text, 150, asked(stage, data)))
    assert found is None or found[0] == "off topic"
    return found is not None


SMOLLM2: Mapping[str, tuple[NodeType, str]] = {
    "off topic": (
        "entity",
        "The person, genre or other thing named below is a film director, a writer, a writer, a director, a writer, "
        "a writer, a director, a writer, a writer, a director, a writer, a",
    ),
    "repetitive": (
        "entity",
        "The person, genre or other thing named below is a film critic. The person, genre or other thing named below "
        "is a film critic. The person, genre or other thing named below is a film critic. The person,",
    ),
    "markup": (
        "user",
        "<items>\n- Pulp Fiction (1994): The film Pulp Fiction (1994) is a crime fiction film that has been adapted "
        "into a film adaptation. The film was released in ",
    ),
}
"""Answers of SmolLM2-135M to prompts of this project, by the reason why they are rejected."""

GENERIC = (
    "This is a gripping and unforgettable journey of hope and loss, directed with great care and carried by "
    "its stars, which will stay with the audience of the genre for a long time."
)


@pytest.mark.parametrize("reason", SMOLLM2)
def test_answers_of_a_small_model(reason: str) -> None:
    stage, text = SMOLLM2[reason]
    prompt = asked(stage, {"entity": ACTION, "user": USER}[stage])
    found = rejection(Candidate(text, 60, prompt))
    assert found is not None
    assert found[0] == reason


@pytest.mark.parametrize(("stage", "data"), [("item", ITEM), ("entity", ENTITY), ("user", USER)])
def test_a_text_that_fits_every_node(stage: NodeType, data: dict[str, list[str]]) -> None:
    """Words of relations ("directed", "stars", "genre") are in the facts of all nodes."""
    assert is_off_topic(GENERIC, stage, data)


@pytest.mark.parametrize(
    "text",
    [
        "Fight the urge to look away: the film of the year.",
        "The film has Pitt at the top of his form and the rage of a generation.",
        "It is a thrilling film for the night and the nerves.",
    ],
)
def test_a_word_of_the_name_or_of_one_fact_is_enough(text: str) -> None:
    assert not is_off_topic(text, "item", ITEM)


def test_facts_of_related_nodes_are_not_facts_of_the_node() -> None:
    assert is_off_topic("The film has the rope and the ocean as its heroes.", "item", ITEM)


def test_an_entitys_text_must_name_it_and_not_only_repeat_the_texts_of_its_items() -> None:
    text = (
        "The films are of rebels, droids and the gothic family next door, in suburban space and the empire."
    )
    assert is_off_topic(text, "entity", ENTITY)
    assert not is_off_topic(f"Ford: {text}", "entity", ENTITY)


def test_a_users_text_repeats_some_words_of_the_quoted_texts() -> None:
    assert not is_off_topic("Prefers savage satire, and the battles of rebels and hackers.", "user", USER)
    assert not is_off_topic("Prefers the philosophy of gunfights.", "user", USER)
    romance = (
        "Prefers the weddings and the kisses of romantic comedies, in sunny towns of the south of France."
    )
    assert is_off_topic(f"{romance} Not a war.", "user", USER)


def test_a_description_is_a_topic_too() -> None:
    data = {"title": ["B-42"], "description": ["Heavy-duty brown packing tape with strong glue, six rolls."]}
    assert not is_off_topic("A strong tape for the heavy parcels of the house, in brown.", "item", data)
    assert is_off_topic("A lamp for the desk and the evenings of readers, warm and dim.", "item", data)


def test_profile_quality_counts_them() -> None:
    given = films(profiles=NodeTexts(entities={HEAT: GENERIC, ALI: "Ali is a boxer's life, told at length."}))
    options = ProfileOptions()
    texts = measure(given, build_profiles(given, options), options).texts
    assert texts[0].rejected == {"off topic": 1}
