"""Words of texts as they are compared, and sparse TF-IDF vectors over them.

Texts are compared with each other and with queries, without case, accents, endings and English stop words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
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

    if not any(map(terms, texts)):
        return None
    vectorizer = TfidfVectorizer(analyzer=terms, sublinear_tf=True, dtype=np.float32)
    return vectorizer, vectorizer.fit_transform(texts).tocsr()


def terms(text: str) -> list[str]:
    """Return the stems of the words of a text, without stop words.

    Examples
    --------
    >>> terms("The Wizards of Amélie")
    ['wizard', 'ameli']
    """
    return [stem for _, stem in words_and_stems(text)]


def words_and_stems(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Yield the place and the stem of each word of a text that is not a stop word."""
    for word in re.finditer(r"\w\w+", text):
        if stem := _stem(word[0]):
            yield word, stem


@lru_cache(maxsize=200_000)
def _stem(word: str) -> str:
    """Return the stem of a word; empty for a stop word."""
    import snowballstemmer
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    bare = plain(word)
    return "" if bare in ENGLISH_STOP_WORDS else str(snowballstemmer.stemmer("english").stemWord(bare))


def plain(word: str) -> str:
    """Return a word in lower case and without accents."""
    word = word.lower()
    if word.isascii():
        return word
    letters = unicodedata.normalize("NFKD", word)
    return unicodedata.normalize(
        "NFKC", "".join(filter(lambda each: not unicodedata.combining(each), letters))
    )
