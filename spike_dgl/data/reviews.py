"""Reviews that users wrote about items: raw material for profiles, of training interactions only.

A file of reviews may be larger than memory. It is read when a profile asks for reviews, and the few that are told are
kept.
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
"""The file of a folder: a line ``{"user": row, "item": row, "text": "..."}`` a review."""
FEWEST = 20
"""With fewer reviews, all may be of held-out interactions."""
PORTION = 1 << 14
"""Lines that are looked up at a time."""


class Review(NamedTuple):
    """A review: who wrote it about what, and its line in the file."""

    user: int
    item: int
    text: str
    line: int


@dataclass(frozen=True)
class ChosenReviews:
    """Texts by row of the item and of the user they belong to; a node without one is absent."""

    items: Mapping[int, Sequence[str]]
    users: Mapping[int, Sequence[tuple[int, str]]]
    """With the item that each text is about."""


@dataclass(frozen=True)
class Reviews:
    """Reviews of some interactions, in a file that may hold others.

    Parameters
    ----------
    file
        Where they stand (see `REVIEWS`); None for no reviews.
    pairs
        The interactions; reviews of any other are left out.
    num_users, num_items
        U and I.
    """

    file: Path | None
    pairs: Interactions
    num_users: int
    num_items: int

    def choose(self, an_item: int, a_user: int, characters: int) -> ChosenReviews:
        """A few reviews of each item, and a few by each user.

        The longest of those that fit are taken, since they say most, then the shortest of those that must be cut; of
        equally long ones the earlier in the file.

        Parameters
        ----------
        an_item, a_user
            Most reviews of an item and by a user.
        characters
            From which length on a review is cut.

        Raises
        ------
        DataError
            If a line is no review, or names a user or an item that does not exist.
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
        """Reviews of the pairs, without those that say nothing. Raises `DataError` where there are only others."""
        keys, reviews = self.pairs.keys(self.num_items), self._all()
        first: Review | None = None
        rows, found = 0, False
        while portion := list(islice(reviews, PORTION)):
            wanted = np.isin([review.user * self.num_items + review.item for review in portion], keys)
            first, rows, found = first or portion[0], rows + len(portion), found or bool(wanted.any())
            for review, is_wanted in zip(portion, wanted.tolist(), strict=True):
                if is_wanted and not is_missing(review.text):
                    yield review
        if self.file is not None and first is not None and rows >= FEWEST and len(keys) and not found:
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
    """A text that is cut between words where it is longer than so many characters, and then says so by dots."""
    if len(text) <= characters:
        return text
    return text[:characters].rsplit(" ", 1)[0] + "..."


class _Best:
    """The best ranked texts of each node, at most so many."""

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
        """Item and text of each, the best first."""
        return {
            node: [(item, text) for _, item, text in sorted(heap, reverse=True)]
            for node, heap in self._heaps.items()
            if heap
        }
