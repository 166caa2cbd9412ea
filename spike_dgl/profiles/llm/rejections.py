"""Rules that reject a text as a profile. The first of `RULES` that applies is the reason."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache

from spike_dgl.profiles.facts import PHRASE_WORDS
from spike_dgl.profiles.llm.failures import Rejection
from spike_dgl.profiles.llm.refusals import REFUSAL
from spike_dgl.profiles.llm.unwrap import THOUGHT_ENDS, THOUGHT_OPENS, TOKEN
from spike_dgl.profiles.words import num_words, tokens

WORD_TOLERANCE = 1.25
"""Maximum length of an answer relative to the requested words. Models count badly, and the answer is already paid."""
STEM = 4
"""Number of letters by which words are compared, so that "crime" matches "criminal"."""
SHORTEST_WORD = 3
"""Minimum length of words that can show the topic of a text; "by" and "of" are in all facts."""
REPEATED = 4
"""Number of content words of quoted texts that are enough for any text, however long."""
SHORT_PROSE = 10
"""Number of words of descriptions above which their language can be detected."""
COMMON_WORDS = 6
"""Number of most frequent words of a question that are used to detect whether a text is in the same language."""


@dataclass(frozen=True)
class Candidate:
    """A text to check.

    Parameters
    ----------
    text
        Text that `spike_dgl.profiles.llm.unwrap` extracted from an answer.
    max_words
        Maximum number of words requested.
    prompt
        Prompt of the request; empty if unknown.
    """

    text: str
    max_words: int
    prompt: str = ""


def rejection(candidate: Candidate, *, prose: bool = True) -> tuple[Rejection, str] | None:
    """Return the reason why a text is rejected, and the part that shows it; None if it is accepted.

    Parameters
    ----------
    candidate
        Text and its request.
    prose
        False for an answer in JSON, which may contain markup and need not be about its prompt's data.
    """
    for reason, (rule, for_prose_alone) in RULES.items():
        if prose or not for_prose_alone:
            found = rule(candidate)
            if found is not None:
                return reason, found
    return None


_PLACEHOLDERS = re.compile(
    "na|none|null|nil|nan|undefined|unknown|tbd|todo|empty|string|text|profile|paragraph|answer|response|output"
    "|notavailable|notapplicable|no(?:answer|content|data|profile|thing)|done|ok|okay|yes|no|test"
)


def _is_empty(candidate: Candidate) -> str | None:
    """Reject texts without letters, and words for nothing: "N/A", "...", "{}", "None", invisible characters."""
    letters = "".join(each for each in candidate.text.casefold() if each.isalnum())
    says_something = any(map(str.isalpha, letters)) and not _PLACEHOLDERS.fullmatch(letters)
    return None if says_something else candidate.text


_UNFINISHED = re.compile(
    rf"(?!.*(?:{THOUGHT_ENDS}))(?:{THOUGHT_OPENS}|<\|channel\|>\s*(?:analysis|commentary)|(?-i:analysis(?=[A-Z])))",
    re.IGNORECASE | re.DOTALL,
)


def _is_unfinished(candidate: Candidate) -> str | None:
    """Reject reasoning that was cut off before the answer."""
    is_unfinished = _UNFINISHED.match(candidate.text)
    return f"during reasoning, after {candidate.text[-80:]}" if is_unfinished else None


_MARKUP = re.compile(
    rf"{THOUGHT_OPENS}|{THOUGHT_ENDS}|{TOKEN}|<\|channel|```|&lt;/?think|assistantfinal"
    # JSON, tool calls, answer tags, and tags of the prompts.
    r"|^[\[{]\s*[{\"']|\[TOOL_CALLS\]|</?(?:tool_call|function|invoke|parameter)\b"
    r"|</?(?:answer|final_answer|response|output|profile)>"
    r"|</?(?:title|name|description|facts|related_facts|reviews|items|request)>",
    re.IGNORECASE,
)


def _has_markup(candidate: Candidate) -> str | None:
    """Reject unknown markup, since it is unclear which part of it is the answer."""
    found = _MARKUP.search(candidate.text)
    return f"{found[0]} in {candidate.text[max(found.start() - 40, 0) :]}" if found else None


def _is_refusal(candidate: Candidate) -> str | None:
    return candidate.text if REFUSAL.match(candidate.text.replace("’", "'")) else None


def _is_too_long(candidate: Candidate) -> str | None:
    words = num_words(candidate.text)
    is_long = words > WORD_TOLERANCE * candidate.max_words
    return f"{words} words, the limit is {candidate.max_words}" if is_long else None


_SAME_LETTERS = re.compile(r"(?=[^\s*.=_~-])(\S{1,20}?)\1{15,}")


def _is_repetitive(candidate: Candidate) -> str | None:
    """Reject consecutive repetitions: three words five times, eight words three times, twenty words twice."""
    if same := _SAME_LETTERS.search(candidate.text):
        return same[0]
    read = tokens(candidate.text)
    last: dict[tuple[str, ...], int] = {}
    period, length = 0, 0
    for place, passage in enumerate(zip(read, read[1:], read[2:], strict=False)):
        distance = place - last.get(passage, place)
        length = length + 1 if distance == period else 1
        period = distance
        last[passage] = place
        if period and length + 2 >= _repetition_limit(period):
            return " ".join(read[place + 3 - period - length : place + 3])
    return None


def _repetition_limit(period: int) -> int:
    """Return the number of repeated words, at a distance of `period` words, from which a text is rejected."""
    return max(12, period * (3 if period < 8 else 2 if period < 20 else 1))


_DATA = re.compile(r"^<(\w+)>\n(.*?)\n</\1>$", re.DOTALL | re.MULTILINE)
_NAMES, _FACTS, _PROSE = ("title", "name"), ("facts",), ("description", "reviews")


def _is_off_topic(candidate: Candidate) -> str | None:
    """Reject texts that name neither their node nor its facts, and do not repeat words of its quoted texts.

    A word of the name, or of a name in a fact, is enough. If the prompt has neither, as for users, or if it quotes a
    description or reviews, some content words of the quoted texts are enough, too; `_repeated_words` has their number.
    Words of the question, of relations and stop words do not count. Texts are accepted if they, or the data, are in
    another language or script than the question.
    """
    data, question = _DATA.findall(candidate.prompt), _words(_DATA.sub("", candidate.prompt))
    known, words = _words(" ".join(lines for _, lines in data)), _words(candidate.text)
    if not _is_same_language(words, question) or _is_foreign(data, known, words, question):
        return None
    ignored = {*map(_stem, question), *_common_stems()}
    stems = _stems(words)
    names, facts = (_stems(_words(_lines(data, tags))) for tags in (_NAMES, _FACTS))
    named = (names - set(map(_stem, question))) | (facts - names - ignored)
    quoted = _stems(_words(_lines(data, _PROSE if names else (*_PROSE, "items")))) - ignored
    if not (named or quoted) or stems & named or _repeats(stems - ignored, quoted):
        return None
    is_named = any(lines in candidate.text for tag, lines in data if tag in _NAMES)
    joined = "".join(_words(_lines(data, _NAMES)))  # words may be joined in a name, as in a web address
    in_address = any(len(word) > STEM and word not in question and word in joined for word in words)
    return None if is_named or in_address else candidate.text


def _repeats(content: Set[str], quoted: Set[str]) -> bool:
    """Return whether a text repeats a fifth of its content words, or `REPEATED` of them, from quoted texts."""
    return len(content & quoted) >= max(1, min(REPEATED, len(content) / 5))


def _lines(data: Sequence[tuple[str, str]], tags: Collection[str]) -> str:
    return "\n".join(lines for tag, lines in data if tag in tags)


def _stems(words: Sequence[str]) -> set[str]:
    return {_stem(word) for word in words if len(word) >= SHORTEST_WORD}


@cache
def _common_stems() -> frozenset[str]:
    """Stems of English stop words and of the verbs and labels of relations, which are in the facts of all nodes."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(map(_stem, [*ENGLISH_STOP_WORDS, *_words(PHRASE_WORDS)]))


def _is_foreign(
    data: Sequence[tuple[str, str]], known: Sequence[str], words: Sequence[str], question: Sequence[str]
) -> bool:
    """Return whether the data is in another language than the question, or in another script than the text."""
    prose = _words(_lines(data, _PROSE))
    if len(prose) > SHORT_PROSE and not _is_same_language(prose, question):
        return True
    return _is_latin(words) and not _is_latin(_words(_lines(data, _NAMES)) or known)


def _is_same_language(words: Sequence[str], question: Sequence[str]) -> bool:
    """Return whether the words include two of the question's most frequent words, such as "the" and "and"."""
    common = {word for word, _ in Counter(question).most_common(COMMON_WORDS)}
    return len(common.intersection(words)) >= 2


def _is_latin(words: Sequence[str]) -> bool:
    """Return whether most words, whose accents are removed, are in Latin letters."""
    return sum(map(str.isascii, words)) > len(words) / 2


def _words(text: str) -> list[str]:
    """Return the words in lower case without accents."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return re.findall(r"\w+", "".join(each for each in letters if not unicodedata.combining(each)))


def _stem(word: str) -> str:
    return word[:STEM]


RULES: Mapping[Rejection, tuple[Callable[[Candidate], str | None], bool]] = {
    "empty": (_is_empty, False),
    "cut off": (_is_unfinished, False),
    "markup": (_has_markup, True),
    "refused": (_is_refusal, False),
    "too long": (_is_too_long, False),
    "repetitive": (_is_repetitive, False),
    "off topic": (_is_off_topic, True),
}
"""Rule for each reason, and whether it is only for prose."""
