"""Words of a text as they are matched: without case, accents, endings and English stop words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache


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

    plain = _without_accents(word.lower())
    return "" if plain in ENGLISH_STOP_WORDS else str(snowballstemmer.stemmer("english").stemWord(plain))


def _without_accents(word: str) -> str:
    if word.isascii():
        return word
    letters = unicodedata.normalize("NFKD", word)
    return unicodedata.normalize(
        "NFKC", "".join(filter(lambda each: not unicodedata.combining(each), letters))
    )
