"""Parsing of N-Triples (https://www.w3.org/TR/n-triples/), the format of Freebase, DBpedia and Wikidata dumps."""

from __future__ import annotations

import re
from urllib.parse import unquote

_IRI, _BLANK_NODE = r"<[^<>]*>", r"_:[^\s<>\"#]*[^\s<>\"#.]"
_LITERAL = r"\"(?:[^\"\\]|\\.)*\"(?:@[\w-]+|\^\^(?:<[^<>]*>|\S+))?"
_TRIPLE = re.compile(
    rf"\s*({_IRI}|{_BLANK_NODE})\s*({_IRI})\s*({_IRI}|{_BLANK_NODE}|{_LITERAL})\s*\.\s*(?:#.*)?", re.DOTALL
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_CHARACTERS = {"t": "\t", "b": "\b", "n": "\n", "r": "\r", "f": "\f", '"': '"', "'": "'", "\\": "\\"}


def parse_triple(line: str) -> tuple[str, str, str] | None:
    """Return head, relation and tail of a line; None for a blank line or a comment.

    Resources are returned without brackets and escapes, and texts without quotes, escapes, language and datatype, so
    that all spellings of an entity have the same id.

    Raises
    ------
    ValueError
        If the line is not valid.

    Examples
    --------
    >>> parse_triple(r'<http://x.org/Caf%C3%A9> <http://x.org/sells> "Th\\u00e9"@fr . # a comment')
    ('http://x.org/Café', 'http://x.org/sells', 'Thé')
    """
    if not line.strip() or line.lstrip().startswith("#"):
        return None
    found = _TRIPLE.fullmatch(line)
    if found is None:
        raise ValueError("is not a triple <head> <relation> <tail> .")
    head, relation, tail = map(_term, found.groups())
    return head, relation, tail


def resource(text: str) -> str:
    """Return an IRI, with or without brackets, as `parse_triple` spells it."""
    return unquote(_unescaped(text.removeprefix("<").removesuffix(">")))


def _term(text: str) -> str:
    if text.startswith("<"):
        return resource(text)
    return _unescaped(text[1 : text.rindex('"')]) if text.startswith('"') else text


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    try:
        # Some programs write a character beyond 16 bits as a UTF-16 surrogate pair.
        return _ESCAPE.sub(_character, text).encode("utf-16", "surrogatepass").decode("utf-16")
    except (KeyError, OverflowError, ValueError):
        raise ValueError("has an invalid escape") from None


def _character(escape: re.Match[str]) -> str:
    short, long, letter = escape.groups()
    return _CHARACTERS[letter] if letter else chr(int(short or long, 16))
