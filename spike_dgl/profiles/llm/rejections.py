"""Rules by which a text is no profile: `RULES`, in order, of which the first that applies is the reason."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spike_dgl.profiles.llm.failures import Rejection
from spike_dgl.profiles.llm.refusals import REFUSAL
from spike_dgl.profiles.llm.unwrap import THOUGHT_ENDS, THOUGHT_OPENS, TOKEN
from spike_dgl.profiles.words import num_words, tokens

WORD_TOLERANCE = 1.25
"""An answer may have this many times the words that were asked for: models count badly, and it was paid."""
STEM = 4
"""Letters by which words are compared: "crime" and "criminal" are about one thing."""
SHORTEST_WORD = 3
"""Letters of words that may tell what a text is about; "by" and "of" are in all facts."""
SHORT_PROSE = 10
"""Words of descriptions from which on their language is known."""
COMMON_WORDS = 6
"""Commonest words of a question, by which a text is known to be in its language."""


@dataclass(frozen=True)
class Candidate:
    """A text to judge.

    Parameters
    ----------
    text
        Taken out of its answer by `spike_dgl.profiles.llm.unwrap`.
    max_words
        Words that were asked for.
    prompt
        What was asked; empty where it is not known any more.
    """

    text: str
    max_words: int
    prompt: str = ""


def rejection(candidate: Candidate, *, prose: bool = True) -> tuple[Rejection, str] | None:
    """Return why a text is no profile, and the words that show it; None for one that passes.

    Parameters
    ----------
    candidate
        Text and what it answers.
    prose
        False for an answer in JSON, which may hold markup and need not be about its prompt's data.
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


def _says_nothing(candidate: Candidate) -> str | None:
    """No letter, or a word that stands for nothing: "N/A", "...", "{}", "None", invisible characters."""
    letters = "".join(each for each in candidate.text.casefold() if each.isalnum())
    says_something = any(map(str.isalpha, letters)) and not _PLACEHOLDERS.fullmatch(letters)
    return None if says_something else candidate.text


_UNFINISHED = re.compile(
    rf"(?!.*(?:{THOUGHT_ENDS}))(?:{THOUGHT_OPENS}|<\|channel\|>\s*(?:analysis|commentary)|(?-i:analysis(?=[A-Z])))",
    re.IGNORECASE | re.DOTALL,
)


def _is_unfinished(candidate: Candidate) -> str | None:
    """Thoughts that never ended."""
    is_unfinished = _UNFINISHED.match(candidate.text)
    return f"while it was thinking, after {candidate.text[-80:]}" if is_unfinished else None


_MARKUP = re.compile(
    rf"{THOUGHT_OPENS}|{THOUGHT_ENDS}|{TOKEN}|<\|channel|```|&lt;/?think|assistantfinal"
    # JSON, tool calls, tags of our prompts and of other programs' answers.
    r"|^[\[{]\s*[{\"']|\[TOOL_CALLS\]|</?(?:tool_call|function|invoke|parameter)\b"
    r"|</?(?:answer|final_answer|response|output|profile)>"
    r"|</?(?:title|name|description|facts|related_facts|reviews|items|request)>",
    re.IGNORECASE,
)


def _holds_markup(candidate: Candidate) -> str | None:
    """Markup that was not understood, so that nobody knows which part of it is the answer."""
    found = _MARKUP.search(candidate.text)
    return f"{found[0]} in {candidate.text[max(found.start() - 40, 0) :]}" if found else None


def _is_refusal(candidate: Candidate) -> str | None:
    return candidate.text if REFUSAL.match(candidate.text.replace("’", "'")) else None


def _is_too_long(candidate: Candidate) -> str | None:
    words = num_words(candidate.text)
    is_long = words > WORD_TOLERANCE * candidate.max_words
    return f"{words} words, {candidate.max_words} were asked for" if is_long else None


_SAME_LETTERS = re.compile(r"(?=[^\s*.=_~-])(\S{1,20}?)\1{15,}")


def _goes_round(candidate: Candidate) -> str | None:
    """A passage that follows on itself: three words five times, eight words three times, twenty words twice."""
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
        if period and length + 2 >= _longest_echo(period):
            return " ".join(read[place + 3 - period - length : place + 3])
    return None


def _longest_echo(period: int) -> int:
    """Words that may repeat those `period` words before them."""
    return max(12, period * (3 if period < 8 else 2 if period < 20 else 1))


_DATA = re.compile(r"^<(\w+)>\n(.*?)\n</\1>$", re.DOTALL | re.MULTILINE)


def _is_off_topic(candidate: Candidate) -> str | None:
    """No word of the prompt's data: of the node's name, its facts, or what is quoted about it.

    Words of the question itself do not count. A text is not judged where it, or what the data describes, is in another
    language or script than the question.
    """
    data, question = _DATA.findall(candidate.prompt), _words(_DATA.sub("", candidate.prompt))
    told, words = _words(" ".join(lines for _, lines in data)), _words(candidate.text)
    topic = {_stem(word) for word in told if len(word) >= SHORTEST_WORD} - set(map(_stem, question))
    if not topic or not _is_same_language(words, question) or not topic.isdisjoint(map(_stem, words)):
        return None
    names = [lines for tag, lines in data if tag in ("title", "name")]
    prose = _words(" ".join(lines for tag, lines in data if tag in ("description", "reviews")))
    is_foreign = len(prose) > SHORT_PROSE and not _is_same_language(prose, question)
    if is_foreign or (_is_latin(words) and not _is_latin(_words(" ".join(names)) or told)):
        return None
    is_named = any(name in candidate.text for name in names)
    run_together = "".join(told)  # a name may be written as in an address
    in_address = any(len(word) > STEM and word not in question and word in run_together for word in words)
    return None if is_named or in_address else candidate.text


def _is_same_language(words: Sequence[str], question: Sequence[str]) -> bool:
    """Whether two of the commonest words of a question are among the words, such as "the" and "and"."""
    common = {word for word, _ in Counter(question).most_common(COMMON_WORDS)}
    return len(common.intersection(words)) >= 2


def _is_latin(words: Sequence[str]) -> bool:
    """Whether most words are in Latin letters, whose accents are gone by now."""
    return sum(map(str.isascii, words)) > len(words) / 2


def _words(text: str) -> list[str]:
    """Words in small letters without accents."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return re.findall(r"\w+", "".join(each for each in letters if not unicodedata.combining(each)))


def _stem(word: str) -> str:
    return word[:STEM]


RULES: Mapping[Rejection, tuple[Callable[[Candidate], str | None], bool]] = {
    "empty": (_says_nothing, False),
    "cut off": (_is_unfinished, False),
    "markup": (_holds_markup, True),
    "refused": (_is_refusal, False),
    "too long": (_is_too_long, False),
    "repetitive": (_goes_round, False),
    "off topic": (_is_off_topic, True),
}
"""A rule a reason, and whether it is for prose alone."""
