"""Readable names of relations and entities."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.data.names import readable_entity, readable_relations


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("http://rdf.freebase.com/ns/music.recording.artist", "artist"),
        ("http://rdf.freebase.com/ns/common.topic.notable_types", "notable types"),
        ("formerBandMember", "former band member"),
        ("produced_by_prodcompany", "produced by prodcompany"),
        ("http://example.org/vocabulary#recordLabel", "record label"),
        ("7", "7"),
        ("...", "..."),
    ],
)
def test_relations_get_the_last_segment_in_words(raw: str, name: str) -> None:
    assert readable_relations([raw]) == (name,)


def test_colliding_relations_grow_until_they_differ() -> None:
    raw = ["music.recording.artist", "music.album.artist", "music.genre"]
    assert readable_relations(raw) == ("recording artist", "album artist", "genre")


def test_relations_that_differ_in_spelling_only_keep_their_raw_ids() -> None:
    assert readable_relations(["bandMember", "band_member"]) == ("bandMember", "band_member")


@given(st.lists(st.text("aB._/", max_size=5), unique=True, max_size=6))
def test_different_relations_have_different_names(raw_ids: list[str]) -> None:
    names = readable_relations(raw_ids)
    assert len(set(names)) == len(raw_ids)


def test_entities_lose_underscores_and_percent_codes() -> None:
    assert readable_entity("%22Crocodile%22_Dundee") == '"Crocodile" Dundee'
    assert readable_entity("100%_Pure") == "100% Pure"
