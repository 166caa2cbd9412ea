"""Plain text of cells that hold HTML or a printed Python list."""

from __future__ import annotations

import ast
from html.parser import HTMLParser

BLOCKS = frozenset(
    {
        "article",
        "br",
        "dd",
        "div",
        "dl",
        "dt",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "li",
        "ol",
        "p",
        "pre",
    }
    | {"section", "table", "td", "th", "tr", "ul"}
)
"""Tags that start a new line."""
TAGS = BLOCKS | {
    *(
        "a",
        "abbr",
        "b",
        "big",
        "blockquote",
        "body",
        "caption",
        "center",
        "code",
        "em",
        "embed",
        "font",
        "footer",
    ),
    *(
        "form",
        "head",
        "header",
        "html",
        "i",
        "iframe",
        "img",
        "input",
        "link",
        "main",
        "meta",
        "nav",
        "noscript",
    ),
    *(
        "object",
        "s",
        "script",
        "small",
        "span",
        "strike",
        "strong",
        "style",
        "sub",
        "sup",
        "tbody",
        "thead",
        "title",
    ),
    *("tfoot", "tt", "u", "video"),
}
"""Tags that are removed. Other words in angle brackets, such as ``<untitled>``, are text."""
HIDDEN = frozenset({"script", "style"})
"""Tags whose content is not text."""


class _Reader(HTMLParser):
    """Collects the text of a page, without tags, comments, scripts and style sheets."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._hidden += tag in HIDDEN
        if tag not in TAGS:
            self.handle_data(self.get_starttag_text() or "")
        elif tag in BLOCKS:
            self.parts.append("\n")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in HIDDEN:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        self._hidden = max(0, self._hidden - (tag in HIDDEN))
        if tag in BLOCKS:
            self.parts.append("\n")


def without_markup(text: str) -> str:
    """Return text without HTML tags, escapes, comments, scripts and style sheets, and without surrounding white space.

    Examples
    --------
    >>> without_markup("Fun.<br />Fun &amp; <b>games</b> for 3 < 4.")
    'Fun.\\nFun & games for 3 < 4.'
    >>> without_markup("<style>p {color: red}</style>Red. <!-- draft -->")
    'Red.'
    """
    if "<" not in text and "&" not in text:
        return text.strip()
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return "".join(reader.parts).strip()


def printed_list(text: str) -> list[str] | None:
    """Return the entries of a list that was printed into a text, as pandas writes it to CSV; None for other texts.

    Examples
    --------
    >>> printed_list("['Tom Hanks', \\"O'Hara\\"]")
    ['Tom Hanks', "O'Hara"]
    >>> printed_list("[REC]")
    """
    if not (text.startswith(("['", '["')) and text.endswith(("']", '"]'))):
        return None
    try:
        entries = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        entries = [text[2:-2].replace("\\n", " ")]  # quotation marks that were not escaped
    is_list = isinstance(entries, list) and all(isinstance(entry, str) for entry in entries)
    return entries if is_list else None
