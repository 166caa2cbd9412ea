"""Cells with HTML or printed lists become plain text."""

from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.data.prepare.item_tables import _sentences
from spike_dgl.data.prepare.markup import printed_list, without_markup


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("I <3 NY, 2 < 3 > 1", "I <3 NY, 2 < 3 > 1"),
        ("<Untitled> (1999)", "<Untitled> (1999)"),
        ("<ul><li>fast</li><li>light</li></ul>", "fast\n\nlight"),
        ("Ink.<script>if (a < b) track('<p>');</script> Black.", "Ink. Black."),
        ("Ink.<!-- .header {color:#000} --><style>p {margin: 0}</style>", "Ink."),
        ('<a href="x.html">More', "More"),
        ("<script/>Ink", "Ink"),
    ],
)
def test_markup(cell: str, text: str) -> None:
    assert without_markup(cell) == text


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc"))))
def test_escaped_text_comes_back(text: str) -> None:
    assert without_markup(html.escape(text)) == text.strip()


@given(st.lists(st.text(), min_size=1))
def test_a_list_that_python_printed_comes_back(entries: list[str]) -> None:
    assert printed_list(str(entries)) == entries


@pytest.mark.parametrize(
    ("cell", "values"),
    [
        ("['<b>Fast</b>  ink', '', \"a writer's pen\"]", ["Fast ink", "a writer's pen"]),
        ('["6" wide"]', ['6" wide']),
        ("[REC]", ["[REC]"]),
        ("[1, 2]", ["[1, 2]"]),
        ("<style>p {}</style>", []),
    ],
)
def test_cells(cell: str, values: list[str]) -> None:
    assert [value for value in _sentences({"about": cell}, ["about"]) if value] == values
