"""Sparse TF-IDF vectors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spike_dgl.profiles.terms import fit_terms, stems


def test_stems_are_lower_case_without_stop_words_and_single_letters() -> None:
    assert stems("The Zombies of X: a zombie's film, 1968") == ["zombi", "zombi", "film", "1968"]


def test_weights_by_hand() -> None:
    fitted = fit_terms(["jazz jazz night", "night", ""])
    assert fitted is not None
    vectorizer, vectors = fitted
    assert list(vectorizer.get_feature_names_out()) == ["jazz", "night"]
    jazz = (1 + math.log(2)) * (1 + math.log(4 / 2))
    night = 1 + math.log(4 / 3)
    length = math.hypot(jazz, night)
    assert vectors.toarray() == pytest.approx(np.array([[jazz / length, night / length], [0, 1], [0, 0]]))


@pytest.mark.parametrize("texts", [[], ["", "the of a"]])
def test_texts_without_words(texts: list[str]) -> None:
    assert fit_terms(texts) is None
