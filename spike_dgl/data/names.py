"""Readable names for raw ids of relations and entities."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from urllib.parse import unquote

_SEPARATORS = re.compile(r"[/#.:]+")
_CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def readable_relations(raw_ids: Sequence[str]) -> tuple[str, ...]:
    """Return names such as "record label" for ids such as ``recordLabel`` or ``http://x.org/ns/music.record_label``.

    A name is the last segment of the id. If two relations would have the same name, preceding segments are added and
    finally the raw id is used, so that different ids have different names.
    """
    candidates = [_relation_names(raw) for raw in raw_ids]
    chosen = [0] * len(candidates)
    while True:
        names = [names[level] for names, level in zip(candidates, chosen, strict=True)]
        occurrences = Counter(names)
        growing = [
            row
            for row, name in enumerate(names)
            if occurrences[name] > 1 and chosen[row] + 1 < len(candidates[row])
        ]
        if not growing:
            return tuple(names)
        for row in growing:
            chosen[row] += 1


def readable_entity(raw: str) -> str:
    """Return a name such as ``"Crocodile" Dundee`` for an id such as ``%22Crocodile%22_Dundee``."""
    return unquote(raw).replace("_", " ").strip() or raw


def _relation_names(raw: str) -> list[str]:
    """Return candidate names of one relation, the shortest first, the raw id last."""
    words = [_split_words(segment) for segment in _SEPARATORS.split(raw)]
    words = [segment for segment in words if segment]
    return [" ".join(words[-count:]) for count in range(1, len(words) + 1)] + [raw]


def _split_words(segment: str) -> str:
    return " ".join(_CAMEL_CASE.sub(" ", segment).replace("_", " ").lower().split())
