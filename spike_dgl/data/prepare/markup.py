"""Conversion of HTML to plain text."""

from __future__ import annotations

import html
import re

_LINE_BREAK = re.compile(r"<(?:br|/?p)\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)


def without_markup(text: str) -> str:
    """Return text without HTML tags and escapes, and without surrounding white space.

    Examples
    --------
    >>> without_markup("Fun.<br />Fun &amp; <b>games</b> for 3 < 4.")
    'Fun.\\nFun & games for 3 < 4.'
    """
    if "<" in text:
        text = _TAG.sub("", _LINE_BREAK.sub("\n", text))
    return (html.unescape(text) if "&" in text else text).strip()
