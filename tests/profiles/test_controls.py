from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from spike_dgl.config import build
from spike_dgl.errors import ConfigError
from spike_dgl.profiles import ProfileOptions, Profiles, build_profiles
from tests.profiles.films import films

PLAIN = build_profiles(films(), ProfileOptions())
I = films().num_items  # noqa: E741
KINDS = {"user": ("user", slice(None)), "item": ("entity", slice(I)), "auxiliary": ("entity", slice(I, None))}


def of(profiles: Profiles, kind: str) -> tuple[list[str], list[str], np.ndarray]:
    """Return texts, sources and vectors of a kind of nodes."""
    side, rows = KINDS[kind]
    texts, sources, vectors = (
        getattr(profiles, f"{side}_{field}")[rows] for field in ("texts", "sources", "vectors")
    )
    return list(texts), sources.tolist(), vectors


def test_permuted_profiles_are_of_other_nodes_of_the_same_kind() -> None:
    permuted = build_profiles(films(), ProfileOptions(permute=True))
    again = build_profiles(films(), ProfileOptions(permute=True))
    for kind in KINDS:
        texts, sources, vectors = of(PLAIN, kind)
        new_texts, new_sources, new_vectors = of(permuted, kind)
        assert new_texts == of(again, kind)[0]
        assert Counter(new_texts) == Counter(texts)
        assert all(new != old for new, old in zip(new_texts, texts, strict=True))
        where = [texts.index(text) for text in new_texts]
        np.testing.assert_array_equal(new_vectors, vectors[where])
        marked = [source if source == "none" else f"permuted {source}" for source in sources]
        assert new_sources == [marked[row] for row in where]


@pytest.mark.parametrize("kinds", [("user",), ("item",), ("auxiliary",), ("user", "auxiliary")])
def test_profiles_are_left_out_for_some_kinds_only(kinds: tuple[str, ...]) -> None:
    profiles = build_profiles(films(), ProfileOptions(without=kinds))
    for kind in KINDS:
        texts, sources, vectors = of(profiles, kind)
        if kind in kinds:
            assert not any(texts)
            assert set(sources) == {"none"}
            assert not vectors.any()
        else:
            before = of(PLAIN, kind)
            assert (texts, sources) == before[:2]
            np.testing.assert_array_equal(vectors, before[2])
        assert vectors.dtype == np.float32


@pytest.mark.parametrize(
    "values",
    [
        {"source": "none", "permute": True},
        {"source": "none", "without": ["item"]},
        {"without": ["user", "item", "auxiliary"]},
        {"without": ["entity"]},
    ],
)
def test_contradictory_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"none|without"):
        build(ProfileOptions, values, "profiles")
