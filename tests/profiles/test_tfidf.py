from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spike_dgl.errors import DataError
from spike_dgl.profiles import TfidfSvdEncoder

TEXTS = [
    "a heist film in Los Angeles, directed by Michael Mann",
    "Michael Mann films a boxer",
    "a boxer trains for the fight of a lifetime",
    "jazz trumpet and late night piano",
    "piano trio plays jazz standards",
    "",
]


def fit(texts: list[str], dim: int = 4) -> tuple[TfidfSvdEncoder, np.ndarray]:
    return TfidfSvdEncoder.fit(texts, dim, seed=0)


def test_vectors_have_unit_length_and_empty_texts_none() -> None:
    encoder, vectors = fit(TEXTS)
    assert vectors.shape == (6, 4)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1, 1, 1, 0], abs=1e-6)
    assert encoder.name.startswith("tfidf-svd/4-")


def test_fitted_on_other_texts_it_has_another_name() -> None:
    assert fit(TEXTS)[0].name == fit(TEXTS)[0].name != fit([*TEXTS, "one more"])[0].name


def test_texts_with_common_words_are_similar() -> None:
    _, vectors = fit(TEXTS)
    cosine = vectors @ vectors.T
    assert cosine[3, 4] > 0.1 > abs(cosine[3, 0])
    assert cosine[0, 1] > cosine[0, 4]


def test_fitting_again_gives_the_same_bits() -> None:
    assert np.array_equal(fit(TEXTS)[1], fit(TEXTS)[1])


def test_the_fitted_encoder_encodes_as_it_did_when_fitting() -> None:
    encoder, vectors = fit(TEXTS)
    assert np.array_equal(encoder.encode(TEXTS), vectors)


def test_new_texts_are_near_similar_texts() -> None:
    encoder, vectors = fit(TEXTS)
    new = encoder.encode(["an evening of jazz", "never seen words"])
    assert np.argmax(vectors @ new[0]) in (3, 4)
    assert not new[1].any()


def test_weights_by_hand() -> None:
    """Check that a projection to n dimensions for n texts preserves the cosines of (1 + ln count) * idf."""
    _, vectors = fit(["red red blue", "blue green"], dim=10)
    idf = {1: np.log(3 / 2) + 1, 2: 1.0}
    log = 1 + np.log(2)
    # red, blue, green
    first = np.array([log * idf[1], idf[2], 0])
    second = np.array([0, idf[2], idf[1]])
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert vectors.shape == (2, 2)
    assert vectors[0] @ vectors[1] == pytest.approx(cosine, abs=1e-6)


@pytest.mark.parametrize("texts", [["word"], ["", "word", ""], ["same text", "same text"]])
def test_a_tiny_corpus_gets_fewer_dimensions(texts: list[str]) -> None:
    encoder, vectors = fit(texts, dim=128)
    assert vectors.shape[1] == len(encoder.components) <= len(texts)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1.0 if text else 0.0 for text in texts])


@pytest.mark.parametrize("texts", [[], ["", ""], ["the of and", "a"]])
def test_without_any_word_all_vectors_are_zero(texts: list[str]) -> None:
    encoder, vectors = fit(texts)
    assert vectors.shape == (len(texts), 1)
    assert not vectors.any()
    assert encoder.encode(["word", ""]).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("texts", [TEXTS, ["", ""]])
def test_saved_and_loaded_it_encodes_the_same(tmp_path: Path, texts: list[str]) -> None:
    encoder, vectors = fit(texts)
    encoder.save(tmp_path / "encoder.npz")
    loaded = TfidfSvdEncoder.load(tmp_path / "encoder.npz")
    assert loaded.name == encoder.name
    assert np.array_equal(loaded.encode(texts), vectors)
    (tmp_path / "encoder.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="not a readable npz file"):
        TfidfSvdEncoder.load(tmp_path / "encoder.npz")
