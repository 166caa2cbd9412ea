from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spike_dgl.config import build
from spike_dgl.data import load_dataset
from spike_dgl.data.dataset import Dataset, NodeTexts, NodeVectors
from spike_dgl.data.training import TrainingData
from spike_dgl.errors import ConfigError
from spike_dgl.profiles import ProfileOptions, Profiles, build_profiles
from spike_dgl.profiles.templates import TemplateWriter
from tests.profiles.films import ALI, HEAT, films, interactions

GIVEN = NodeTexts(users={1: "Bob likes it tense."}, entities={HEAT: "Heat is tense.", ALI: "  "})
VECTORS = NodeVectors(
    users=np.eye(3, 5, dtype=np.float32),
    entities=np.vstack([np.zeros(5), np.ones((6, 5))]).astype(np.float32),
)


def assert_equal(one: Profiles, other: Profiles) -> None:
    for field in fields(Profiles):
        if field.name != "fitted_encoder":
            first, second = getattr(one, field.name), getattr(other, field.name)
            assert np.array_equal(first, second), field.name


def test_without_texts_all_nodes_get_templates() -> None:
    profiles = build_profiles(films(), ProfileOptions())
    writer = TemplateWriter(TrainingData.from_dataset(films()), ProfileOptions())
    items = writer.items()
    assert profiles.entity_texts == (*items, *writer.auxiliary_entities(items))
    assert profiles.user_texts == tuple(writer.users(items))
    assert set(profiles.entity_sources) == {"template"}
    assert profiles.user_sources.tolist() == ["template", "template", "none"]
    assert profiles.user_vectors is not None
    assert profiles.entity_vectors is not None
    assert profiles.user_vectors.shape[1] == profiles.entity_vectors.shape[1]
    assert (len(profiles.user_vectors), len(profiles.entity_vectors)) == (3, 7)
    assert profiles.encoder.startswith(f"tfidf-svd/{profiles.user_vectors.shape[1]}-")
    assert not profiles.user_vectors[2].any()


def test_given_texts_are_used_and_quoted_in_templates() -> None:
    profiles = build_profiles(films(profiles=GIVEN), ProfileOptions())
    assert profiles.entity_texts[HEAT] == "Heat is tense."
    assert profiles.entity_texts[ALI].startswith("Ali. Directed by")  # a blank text counts as missing
    assert profiles.entity_sources.tolist() == ["given", *["template"] * 6]
    assert "Heat is tense." in profiles.entity_texts[3]  # Michael Mann
    assert "Heat is tense." in profiles.user_texts[0]
    assert profiles.user_texts[1] == "Bob likes it tense."
    assert profiles.user_sources.tolist() == ["template", "given", "none"]


def test_given_vectors_are_used() -> None:
    profiles = build_profiles(films(profiles=GIVEN, vectors=VECTORS), ProfileOptions())
    assert profiles.user_vectors is VECTORS.users
    assert profiles.entity_vectors is VECTORS.entities
    assert profiles.encoder == "given"
    assert profiles.fitted_encoder is None
    assert profiles.user_sources.tolist() == ["vector"] * 3
    assert profiles.entity_sources.tolist() == ["none", *["vector"] * 6]
    assert profiles.entity_texts[HEAT] == "Heat is tense."


def test_template_ignores_texts_of_the_data_set() -> None:
    rich = films(profiles=GIVEN, vectors=VECTORS)
    options = ProfileOptions(source="template")
    assert_equal(build_profiles(rich, options), build_profiles(films(), options))


def test_none_makes_no_vectors() -> None:
    profiles = build_profiles(films(profiles=GIVEN, vectors=VECTORS), ProfileOptions(source="none"))
    assert profiles.user_vectors is None
    assert profiles.entity_vectors is None
    assert set(profiles.user_texts) == set(profiles.entity_texts) == {""}
    assert set(profiles.user_sources) == set(profiles.entity_sources) == {"none"}
    assert profiles.encoder == "none"


def test_the_encoder_takes_further_texts() -> None:
    profiles = build_profiles(films(), ProfileOptions())
    assert profiles.fitted_encoder is not None
    assert profiles.entity_vectors is not None
    wish = profiles.fitted_encoder.encode(["Something starring Will Smith"])
    assert np.argmax(profiles.entity_vectors @ wish[0]) in (ALI, 4)


def test_building_is_deterministic() -> None:
    assert_equal(build_profiles(films(), ProfileOptions()), build_profiles(films(), ProfileOptions()))


held_out = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=9).map(interactions)


@settings(max_examples=25)
@given(held_out, held_out)
def test_validation_and_test_interactions_have_no_influence(valid: object, test: object) -> None:
    changed = build_profiles(films(valid=valid, test=test), ProfileOptions())
    assert_equal(changed, build_profiles(films(), ProfileOptions()))


def test_training_interactions_have_influence() -> None:
    """Check that the test above does not pass only because interactions are never read."""
    changed = build_profiles(films(train=interactions([(2, ALI)])), ProfileOptions())
    assert changed.user_texts != build_profiles(films(), ProfileOptions()).user_texts


@pytest.mark.parametrize(
    "broken",
    [{"source": "gpt"}, {"llm": {"modle": "x"}}, {"vector_dim": 0}, {"item_words": "many"}, {"words": 3}],
)
def test_broken_settings_are_refused(broken: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"profiles\."):
        build(ProfileOptions, broken, "profiles")


def test_importing_needs_neither_torch_nor_scikit_learn() -> None:
    code = "import spike_dgl.profiles, sys; print(*{'torch', 'dgl', 'sklearn'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ""


@pytest.fixture(scope="module")
def lastfm(shared_data: Path) -> Dataset:
    return load_dataset(shared_data / "lastfm")


@pytest.mark.parametrize("source", ["template", "auto"])
def test_on_real_data_linked_nodes_are_more_similar_than_random_nodes(lastfm: Dataset, source: str) -> None:
    profiles = build_profiles(lastfm, ProfileOptions(source=source))  # type: ignore[arg-type]
    vectors = profiles.entity_vectors
    assert vectors is not None
    triples = lastfm.triples
    between_items = (triples.heads < lastfm.num_items) & (triples.tails < lastfm.num_items)
    between_items &= triples.heads != triples.tails
    heads, tails = triples.heads[between_items], triples.tails[between_items]
    assert len(heads) > 500
    linked = (vectors[heads] * vectors[tails]).sum(axis=1)
    random = (vectors[heads] * vectors[np.random.default_rng(0).permutation(tails)]).sum(axis=1)
    separated = np.searchsorted(np.sort(random), linked).mean() / len(random)
    assert separated > 0.85  # area under the ROC curve; 0.5 for meaningless vectors


def test_on_real_data_users_are_more_similar_to_their_test_items(lastfm: Dataset) -> None:
    profiles = build_profiles(lastfm, ProfileOptions(source="template"))
    assert profiles.user_vectors is not None
    assert profiles.entity_vectors is not None
    users, items = lastfm.test.users, lastfm.test.items
    others = np.random.default_rng(0).permutation(items)
    held_out = (profiles.user_vectors[users] * profiles.entity_vectors[items]).sum(axis=1)
    random = (profiles.user_vectors[users] * profiles.entity_vectors[others]).sum(axis=1)
    assert np.searchsorted(np.sort(random), held_out).mean() / len(random) > 0.7
