"""Users' reviews of items, from which profiles are written; of training interactions only.

A file of reviews may be larger than memory. It is read when profiles need reviews, and only the chosen ones are kept.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spike_dgl.data.dataset import Interactions
from spike_dgl.data.files import COPY_AGAIN, no_match, shorten
from spike_dgl.data.values import is_missing
from spike_dgl.errors import DataError

REVIEWS = "reviews.jsonl"
"""Name of the file of reviews; each line is ``{"user": row, "item": row, "text": "..."}``."""
MIN_REVIEWS = 20
"""Minimum number of reviews to report that none matches: fewer may all be of held-out interactions."""
PORTION = 1 << 14
"""Number of lines to match at a time."""


class Review(NamedTuple):
    """A review: user row, item row, text, and line in the file."""

    user: int
    item: int
    text: str
    line: int


@dataclass(frozen=True)
class ChosenReviews:
    """Chosen texts by item row and by user row; nodes without a text are absent."""

    items: Mapping[int, Sequence[str]]
    users: Mapping[int, Sequence[tuple[int, str]]]
    """Pairs (item row, text)."""


@dataclass(frozen=True)
class Reviews:
    """Reviews of given interactions, in a file that may contain others.

    Parameters
    ----------
    file
        File of reviews (see `REVIEWS`); None for no reviews.
    pairs
        Interactions whose reviews are used; all others are ignored.
    num_users, num_items
        U and I.
    """

    file: Path | None
    pairs: Interactions
    num_users: int
    num_items: int

    def choose(self, an_item: int, a_user: int, characters: int) -> ChosenReviews:
        """Choose a few reviews of each item and by each user.

        Reviews up to the maximum length come first, the longest first, since they say most; then longer reviews, the
        shortest first. Ties are broken by order in the file.

        Parameters
        ----------
        an_item, a_user
            Maximum number of reviews per item and per user.
        characters
            Maximum length of a review; longer ones are cut.

        Raises
        ------
        DataError
            If a line is not a review, or has a user or an item that does not exist.
        """
        of_items, by_users = _Best(an_item), _Best(a_user)
        for review in self._wanted() if an_item or a_user else ():
            text = " ".join(review.text.split())
            rank = (len(text) <= characters, -abs(characters - len(text)), -review.line)
            cut = shortened(text, characters)
            of_items.add(review.item, (rank, review.item, cut))
            by_users.add(review.user, (rank, review.item, cut))
        items = {item: [text for _, text in texts] for item, texts in of_items.ranked().items()}
        return ChosenReviews(items, by_users.ranked())

    def _wanted(self) -> Iterator[Review]:
        """Yield the reviews of the pairs, without missing texts. Raises `DataError` if no review matches a pair."""
        keys, reviews = self.pairs.keys(self.num_items), self._all()
        first: Review | None = None
        rows, found = 0, False
        while portion := list(islice(reviews, PORTION)):
            wanted = np.isin([review.user * self.num_items + review.item for review in portion], keys)
            first, rows, found = first or portion[0], rows + len(portion), found or bool(wanted.any())
            for review, is_wanted in zip(portion, wanted.tolist(), strict=True):
                if is_wanted and not is_missing(review.text):
                    yield review
        if self.file is not None and first is not None and rows >= MIN_REVIEWS and len(keys) and not found:
            example, known = f"{first.user}, {first.item}", f"{self.pairs.users[0]}, {self.pairs.items[0]}"
            raise no_match(self.file, rows, "user, item", example, known, "the training interactions")

    def _all(self) -> Iterator[Review]:
        if self.file is None:
            return
        try:
            with self.file.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, start=1):
                    yield self._parsed(line, number)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(self.file, f"cannot be read: {error}", COPY_AGAIN) from None

    def _parsed(self, line: str, number: int) -> Review:
        try:
            found = json.loads(line)
            review = Review(found["user"], found["item"], found["text"], number)
            is_sound = (
                type(review.user) is type(review.item) is int
                and isinstance(review.text, str)
                and 0 <= review.user < self.num_users
                and 0 <= review.item < self.num_items
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            is_sound = False
        if not is_sound:
            problem = f"expected a user and an item of the data set and a text, found {shorten(line.strip())}"
            raise DataError(self.file or REVIEWS, problem, COPY_AGAIN, number)
        return review


def shortened(text: str, characters: int) -> str:
    """Cut a text longer than `characters` between words and append "..."."""
    if len(text) <= characters:
        return text
    return text[:characters].rsplit(" ", 1)[0] + "..."


class _Best:
    """The best-ranked texts of each node, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heaps: dict[int, list[tuple[tuple[bool, int, int], int, str]]] = {}

    def add(self, node: int, entry: tuple[tuple[bool, int, int], int, str]) -> None:
        heap = self._heaps.setdefault(node, [])
        if len(heap) < self._limit:
            heapq.heappush(heap, entry)
        elif self._limit:
            heapq.heappushpop(heap, entry)

    def ranked(self) -> dict[int, list[tuple[int, str]]]:
        """Return (item, text) pairs by node, the best first."""
        return {
            node: [(item, text) for _, item, text in sorted(heap, reverse=True)]
            for node, heap in self._heaps.items()
            if heap
        }
