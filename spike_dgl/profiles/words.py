"""Words of a text, also in scripts without spaces between words."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping

CHARACTERS_A_WORD: Mapping[str, float] = {
    # Han, Hiragana, Katakana: 1,000 English words are about 1,600 Chinese or 2,300 Japanese characters.
    "\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff": 2.5,
    # Thai, Lao, Burmese, Khmer
    "\u0e01-\u0edf\u1000-\u109f\u1780-\u17df": 5.0,
}
"""Number of characters that count as one word, by ranges of characters; other scripts have spaces."""

_COUNTED = {re.compile(f"[{ranges}]"): size for ranges, size in CHARACTERS_A_WORD.items()}
_WITHOUT_BLANKS = re.compile(f"[{''.join(CHARACTERS_A_WORD)}\u3000-\u303f\uff00-\uff65]")
_TOKEN = re.compile(rf"{_WITHOUT_BLANKS.pattern}|[^\s{_WITHOUT_BLANKS.pattern[1:]}+")


def num_words(text: str) -> int:
    """Count the words of a text.

    Examples
    --------
    >>> num_words("A film about heat.")
    4
    >>> num_words("熱についての映画です。")
    4
    """
    blank = len(_WITHOUT_BLANKS.sub(" ", text).split())
    return blank + math.ceil(sum(len(script.findall(text)) / size for script, size in _COUNTED.items()))


def tokens(text: str) -> list[str]:
    """Split a text at spaces, and scripts without spaces into characters."""
    return _TOKEN.findall(text)


def has_blanks(text: str) -> bool:
    """Return whether all scripts of a text have spaces between words."""
    return _WITHOUT_BLANKS.search(text) is None


def first_words(text: str, number: int) -> str:
    """Cut a text after `number` words; "..." marks the cut.

    Examples
    --------
    >>> first_words("A film about heat.", 3)
    'A film about...'
    >>> first_words("熱についての映画です。", 2)
    '熱について...'
    >>> first_words("Heat 熱 is a film", 3)
    'Heat 熱 is...'
    """
    if has_blanks(text):
        words = text.split(maxsplit=number)  # the last element is the rest of the text, not split
        return " ".join(words) if len(words) <= number else " ".join(words[:number]) + "..."
    text = " ".join(text.split())
    end = bisect_right(range(len(text)), number, key=lambda last: num_words(text[: last + 1]))
    return text if end == len(text) else f"{text[:end].rstrip()}..."
