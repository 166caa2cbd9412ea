"""MovieLens film titles with the article in front."""

from __future__ import annotations

import re

_ARTICLE = (
    r"The|An?"  # English
    r"|Le|La|Les|L'|Une?|De"  # French
    r"|Il|Lo|I|Gli|Una"  # Italian
    r"|El|Los|Las"  # Spanish
    r"|Os?|As|Uma?"  # Portuguese
    r"|Der|Die|Das|Den|Eine?"  # German
    r"|Det|En|Et|Da"  # Scandinavian, and "Da Hip Hop Witch"
)
_INVERTED = re.compile(
    rf"(?P<before>\s*(?:a\.?k\.?a\.? )?)(?P<name>\S.*), (?P<article>{_ARTICLE})(?P<after>:.*|\s*)"
)
_YEAR = re.compile(r"\((\d{4})(?:[-–]\d{0,4})?\)$")


def readable_title(title: str) -> str:
    """Move the article to the front: "Silence of the Lambs, The (1991)" -> "The Silence of the Lambs (1991)".

    The same is done for alternative titles in parentheses. These are kept, since two films may differ only in them.
    """
    return re.sub(r"[^()]+", lambda part: _article_first(part[0]), " ".join(title.split()))


def title_year(title: str) -> int | None:
    """Return the year at the end of a title, the first of a span such as (2006-2007), or None."""
    found = _YEAR.search(title.strip())
    return int(found[1]) if found else None


def _article_first(part: str) -> str:
    found = _INVERTED.fullmatch(part)
    if found is None:
        return part
    space = "" if found["article"].endswith("'") else " "
    return f"{found['before']}{found['article']}{space}{found['name']}{found['after']}"
