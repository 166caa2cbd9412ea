"""Lines of N-Triples: terms, escapes, comments, and invalid lines."""

from __future__ import annotations

import pytest

from spike_dgl.data.prepare.n_triples import parse_triple, resource


@pytest.mark.parametrize(
    ("line", "triple"),
    [
        ("<a> <r> <b> .", ("a", "r", "b")),
        ("<a><r><b>.", ("a", "r", "b")),
        ("\t<a>\t<r>\t<b>\t.\t# <c> .", ("a", "r", "b")),
        ("_:b0 <r> _:c.d .", ("_:b0", "r", "_:c.d")),
        ("_:b0 <r> _:c.", ("_:b0", "r", "_:c")),
        ('<a> <r> "Tea # 5 . <x>" .', ("a", "r", "Tea # 5 . <x>")),
        (r'<a> <r> "say \"tea\"\tor\\n" .', ("a", "r", 'say "tea"\tor\\n')),
        ('<a> <r> "" .', ("a", "r", "")),
        ('<a> <r> "Thé"@fr-CA .', ("a", "r", "Thé")),
        (r'<a> <r> "Th\u00e9"^^<http://www.w3.org/2001/XMLSchema#string>.', ("a", "r", "Thé")),
        ('<a> <r> "1999"^^xsd:gYear . # a short datatype', ("a", "r", "1999")),
        (r"<http://x.org/Th\u00E9> <r> <Th%C3%A9> .", ("http://x.org/Thé", "r", "Thé")),
        (r'<a> <r> "\U0001F375" .', ("a", "r", "🍵")),
        (r'<a> <r> "\ud83c\udf75" .', ("a", "r", "🍵")),  # as Java spells it
    ],
)
def test_triples(line: str, triple: tuple[str, str, str]) -> None:
    assert parse_triple(line) == triple


@pytest.mark.parametrize("line", ["", " \t", "# <a> <r> <b> .", "  # x"])
def test_nothing(line: str) -> None:
    assert parse_triple(line) is None


@pytest.mark.parametrize(
    "line",
    [
        "<a> <r> <b>",
        "<a> <r> .",
        '"a" <r> <b> .',
        "<a> _:r <b> .",
        '<a> <r> "b .',
        '<a> <r> "b"c" .',
        "a r b .",
        "<a> <r> <b> . <c>",
        r'<a> <r> "\x" .',
        r'<a> <r> "\u12" .',
        r'<a> <r> "\U00110000" .',
        r'<a> <r> "\ud83c" .',
    ],
)
def test_no_triples(line: str) -> None:
    with pytest.raises(ValueError, match=r"is not a triple|has an invalid escape"):
        parse_triple(line)


def test_a_resource_in_brackets_or_not() -> None:
    assert resource("<http://x.org/Caf%C3%A9>") == resource(r"http://x.org/Caf\u00e9") == "http://x.org/Café"
