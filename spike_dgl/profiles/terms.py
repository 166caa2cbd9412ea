"""Sparse TF-IDF vectors of texts over word stems, in which texts are compared with each other and with queries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def fit_terms(texts: Sequence[str]) -> tuple[Any, csr_matrix] | None:
    """Fit TF-IDF on texts.

    A stem that occurs c times in a text gets the weight (1 + ln c) * idf, and each vector has unit length. Nothing is
    projected: cosines in these vectors find items that the same users like better than cosines after a projection.

    Parameters
    ----------
    texts
        Texts [n].

    Returns
    -------
    tuple or None
        Scikit-learn's vectorizer, and the vectors [n, V] of the texts, zeros for a text without words. None if no text
        has a word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not any(map(stems, texts)):
        return None
    vectorizer = TfidfVectorizer(analyzer=stems, sublinear_tf=True, dtype=np.float32)
    return vectorizer, vectorizer.fit_transform(texts).tocsr()


def stems(text: str) -> list[str]:
    """Return the stems of a text's words, without English stop words."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return [_stem(word) for word in words_of(text) if word not in ENGLISH_STOP_WORDS]


def words_of(text: str) -> list[str]:
    """Return the lower-case words of at least two letters or digits."""
    return re.findall(r"\w\w+", text.lower())


@lru_cache(maxsize=200_000)
def _stem(word: str) -> str:
    import snowballstemmer

    return str(snowballstemmer.stemmer("english").stemWord(word))
