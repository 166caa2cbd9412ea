"""Recommendations from a finished run, by raw ids or names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from spike_dgl.data.dataset import Dataset, Vocabulary
from spike_dgl.data.popularity import recent_popularity
from spike_dgl.errors import SpikeError
from spike_dgl.recommend.cold_start import ColdStart
from spike_dgl.recommend.matched import ItemMatch
from spike_dgl.runs.folder import RunFolder
from spike_dgl.typing import FloatArray, IndexArray

if TYPE_CHECKING:
    from spike_dgl.models.fold_in import NewItems


@dataclass(frozen=True)
class Item:
    """Item with raw id and name."""

    id: str
    name: str


@dataclass(frozen=True)
class ScoredItem(Item):
    """Entry of a list: an item and its score, an inner product or a cosine.

    For users without training interactions, the score is the item's number of training users; recent ones count more if
    the data has times.
    """

    score: float


@dataclass(frozen=True)
class MatchedItem(ScoredItem):
    """Entry of the list for a text, with the words of the text that match the item."""

    match: ItemMatch = field(default_factory=ItemMatch)


@dataclass(frozen=True)
class TextRanking(Sequence[MatchedItem]):
    """List for a text: a sequence of items, best first.

    Parameters
    ----------
    items
        Items, best first.
    unknown_words
        Words of the text that occur in no profile and no name, so that they were ignored in matching.
    """

    items: tuple[MatchedItem, ...]
    unknown_words: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, place: int) -> MatchedItem: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[MatchedItem, ...]: ...

    def __getitem__(self, place: int | slice) -> MatchedItem | tuple[MatchedItem, ...]:
        return self.items[place]


@dataclass(frozen=True)
class NewItem:
    """Item that was not in the training data.

    Parameters
    ----------
    id
        Raw id, not used by another item.
    triples
        Pairs of relation and tail entity, each by raw id or name.
    text
        Description of the item, like a profile.
    name
        Readable name. Default: the raw id.
    """

    id: str
    triples: tuple[tuple[str, str], ...] = ()
    text: str = ""
    name: str = ""


class Recommender:
    """Top-k recommendation for the users of a trained run, and for new users and items.

    Users and items are given by raw id or exact name; ambiguous names are rejected. For users and items of the data it
    uses the stored final embeddings, which needs neither torch nor DGL. New ones are embedded by the run's model,
    which is loaded when first needed. A recommender is immutable, so threads may share it.

    Parameters
    ----------
    dataset
        Data of the run.
    users, items
        Final embeddings, [U, D] and [I, D].
    cold_start
        Embedder of new users and items; None if there are none.

    Attributes
    ----------
    users, items
        Raw ids and names of all users and items, added items last.
    """

    def __init__(
        self, dataset: Dataset, users: FloatArray, items: FloatArray, cold_start: ColdStart | None = None
    ) -> None:
        self.dataset, self._users, self._items, self._cold_start = dataset, users, items, cold_start
        self.users, self.items = dataset.users, dataset.items
        self._has_history = np.isin(np.arange(dataset.num_users), dataset.train.users)
        self._seen = dataset.train.union(dataset.valid)
        self._seen_offsets = self._seen.offsets(dataset.num_users)

    @classmethod
    def load(cls, run: str | Path) -> Recommender:
        """Load from a run folder.

        Raises `DataError` if the run is not finished, its model is untrained, or its data has changed.
        """
        folder = RunFolder.open(Path(run))
        embeddings = folder.read_arrays("embeddings.npz")
        dataset = folder.load_dataset()
        cold_start = ColdStart.from_run(folder, dataset, embeddings)
        return cls(dataset, embeddings["users"], embeddings["items"], cold_start)

    @overload
    def recommend(  # type: ignore[overload-overlap]  # a text is a sequence of texts, too
        self,
        users: str,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: Sequence[str] | None = None,
    ) -> list[ScoredItem]: ...

    @overload
    def recommend(
        self,
        users: Sequence[str],
        k: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: Sequence[str] | None = None,
    ) -> list[list[ScoredItem]]: ...

    def recommend(
        self,
        users: str | Sequence[str],
        k: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: Sequence[str] | None = None,
    ) -> list[ScoredItem] | list[list[ScoredItem]]:
        """Return the top k items of one or several users, best first; ties are broken by the order of the data.

        A user without training interactions gets the most popular items, since the model has no embedding for them;
        see `has_history`.

        Parameters
        ----------
        users
            A user, or a sequence of users.
        k
            Length of a list; lists are shorter if fewer items are left.
        exclude_seen
            Whether to exclude the items of the user's training and validation interactions.
        candidates
            Items to rank. Default: all.

        Returns
        -------
        list of ScoredItem
            Top k items; a list of such lists for a sequence of users. A user's list does not depend on other users.

        Raises
        ------
        UnknownIdError
            If a user or candidate is unknown or its name is ambiguous.
        """
        allowed = self._mask(candidates)
        if isinstance(users, str):
            return self._list_of(self.users.find(users), k, exclude_seen, allowed)
        return [self._list_of(row, k, exclude_seen, allowed) for row in self.users.find_all(users).tolist()]

    def recommend_for_items(
        self,
        items: Sequence[str],
        k: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: Sequence[str] | None = None,
    ) -> list[ScoredItem]:
        """Return the top k items for a new user who likes some items.

        Parameters
        ----------
        items
            Items that the user likes; at least one.
        k
            Length of the list.
        exclude_seen
            Whether to exclude these items.
        candidates
            Items to rank. Default: all.

        Raises
        ------
        UnknownIdError
            If an item is unknown or its name is ambiguous.
        """
        if not items or isinstance(items, str):
            raise SpikeError("a new user needs a sequence of at least one liked item")
        liked, allowed = np.unique(self.items.find_all(items)), self._mask(candidates)
        user = self.cold_start.user_of_items(liked)
        return self._ranked(self._items @ user, k, liked if exclude_seen else None, allowed)

    def recommend_for_text(
        self, text: str, k: int = 10, *, candidates: Sequence[str] | None = None
    ) -> TextRanking:
        """Return the top k items for a query or a new user's taste, such as "dark synth-pop from the 80s".

        The text is folded in by the model, and matched with the profiles of items and of the entities that they are
        linked to: genres, people and so on. A short query is mostly a matter of matching, a long description of the
        model. Scores are sums of standardised scores. Each item has the words that match it, and the list has the words
        that match nothing.

        Parameters
        ----------
        text
            Description; it is encoded by the encoder of the run's profiles.
        k
            Length of the list.
        candidates
            Items to rank. Default: all.

        Raises
        ------
        SpikeError
            If the run has no profiles, its encoder is not available, or it knows no word of the text.
        """
        if not text.strip():
            raise SpikeError("the text that describes a taste is empty")
        allowed = self._mask(candidates)
        listed = self._ranked(self.cold_start.scores_of_text(text, self._items), k, None, allowed)
        matching = self.cold_start.text_match()
        matches = matching.explain(text, [self.items.index(item.id) for item in listed])
        items = (
            MatchedItem(item.id, item.name, item.score, match)
            for item, match in zip(listed, matches, strict=True)
        )
        return TextRanking(tuple(items), matching.unknown_words(text))

    def add_item(
        self, id: str, triples: Sequence[tuple[str, str]] = (), text: str = "", *, name: str = ""
    ) -> Recommender:
        """Return a recommender with one more item; see `add_items`.

        Parameters
        ----------
        id, triples, text, name
            See `NewItem`.
        """
        return self.add_items([NewItem(id, tuple(triples), text, name)])

    def add_items(self, items: Sequence[NewItem]) -> Recommender:
        """Return a recommender with additional items that were not in the training data; this one does not change.

        Nothing is trained: a new item is embedded from its neighbours in the knowledge graph and its text. The
        embeddings of the other items stay the same.

        Raises
        ------
        UnknownIdError
            If a relation or entity is unknown or its name is ambiguous.
        SpikeError
            If an id is already used, an item has neither triples nor text, or the run has no text encoder.
        """
        for item in items:
            if item.id in self.items or [other.id for other in items].count(item.id) > 1:
                raise SpikeError(f"item '{item.id}' already exists\n  Use another id for the new item.")
            if not item.triples and not item.text.strip():
                raise SpikeError(
                    f"item '{item.id}' has neither triples nor text\n  Give it at least one of them."
                )
        cold_start, embedded = self.cold_start.with_items(
            self._new_items(items), [f"{item.name} {item.text}".strip() for item in items]
        )
        grown = Recommender(self.dataset, self._users, np.concatenate([self._items, embedded]), cold_start)
        grown.items = Vocabulary(
            "item",
            (*self.items.ids, *(item.id for item in items)),
            (*self.items.names, *(item.name or item.id for item in items)),
        )
        return grown

    def _new_items(self, items: Sequence[NewItem]) -> NewItems:
        from spike_dgl.models.fold_in import NewItems

        rows = [(row, *triple) for row, item in enumerate(items) for triple in item.triples]
        vectors = None
        if any(item.text.strip() for item in items):
            vectors = self.cold_start.encoded([item.text for item in items])
        return NewItems(
            len(items),
            np.array([row for row, _, _ in rows], dtype=np.int64),
            self.dataset.relations.find_all(relation for _, relation, _ in rows),
            self.dataset.entities.find_all(tail for _, _, tail in rows),
            vectors,
        )

    @property
    def cold_start(self) -> ColdStart:
        """Embedder of new users and items. Raises `SpikeError` if there is none."""
        if self._cold_start is None:
            raise SpikeError("new users and items need the run's model\n  Use Recommender.load(RUN).")
        return self._cold_start

    def score(self, user: str, items: Sequence[str]) -> FloatArray:
        """Return the scores [n] of some items for a user; the items may be seen."""
        scores: FloatArray = self.scores_of(self.users.find(user))[self.items.find_all(items)]
        return scores

    def similar_items(self, item: str, k: int = 10) -> list[ScoredItem]:
        """Return the k items most similar to an item by cosine of final embeddings, without the item itself."""
        row = self.items.find(item)
        lengths = np.linalg.norm(self._items, axis=1)
        scale = lengths * lengths[row]
        cosines = np.divide(
            self._items @ self._items[row], scale, out=np.zeros_like(lengths), where=scale > 0
        )
        return self._ranked(cosines, k, np.array([row]), None)

    def has_history(self, user: str) -> bool:
        """Return whether the user has training interactions; others get the most popular items."""
        return bool(self._has_history[self.users.find(user)])

    def history(self, user: str) -> list[Item]:
        """Return the items of a user's training and validation interactions, in the order of the data."""
        return [
            Item(self.items.ids[row], self.items.names[row])
            for row in self._seen_items(self.users.find(user)).tolist()
        ]

    def _list_of(self, user: int, k: int, exclude_seen: bool, allowed: np.ndarray | None) -> list[ScoredItem]:
        return self._ranked(
            self.scores_of(user), k, self._seen_items(user) if exclude_seen else None, allowed
        )

    @property
    def user_embeddings(self) -> FloatArray:
        """Final user embeddings [U, D]."""
        return self._users

    @property
    def item_embeddings(self) -> FloatArray:
        """Final item embeddings [I, D], added items last."""
        return self._items

    def scores_of(self, user: int) -> FloatArray:
        """Return the scores [I] of all items for a user row; popularity if the user has no training interactions."""
        if not self._has_history[user]:
            return self._popularity
        # One user at a time and always all items, so that a score does not depend on the rest of the request.
        scores: FloatArray = self._items @ self._users[user]
        return scores

    @cached_property
    def _popularity(self) -> FloatArray:
        """Recent popularity [I] of each item, added items last."""
        return recent_popularity(self.dataset.train, len(self.items))

    def _mask(self, candidates: Sequence[str] | None) -> np.ndarray | None:
        """Return True [I] for the candidates; None for all items."""
        if candidates is None:
            return None
        allowed = np.zeros(len(self.items), dtype=bool)
        allowed[self.items.find_all(candidates)] = True
        return allowed

    def _ranked(
        self, scores: FloatArray, k: int, excluded: IndexArray | None, allowed: np.ndarray | None
    ) -> list[ScoredItem]:
        listed = np.ones(len(scores), dtype=bool) if allowed is None else allowed.copy()
        if excluded is not None:
            listed[excluded] = False
        rows = np.flatnonzero(listed)
        of_rows = scores[rows]
        if k < len(rows):
            # Keep all ties with the k-th best score, so that they are broken by the order of the data, too.
            rows = rows[of_rows >= np.partition(of_rows, -k)[-k]]
        best = rows[np.lexsort((rows, -scores[rows]))][:k]
        ids, names = self.items.ids, self.items.names
        return [ScoredItem(ids[row], names[row], float(scores[row])) for row in best.tolist()]

    def _seen_items(self, user: int) -> IndexArray:
        return self._seen.items[self._seen_offsets[user] : self._seen_offsets[user + 1]]
