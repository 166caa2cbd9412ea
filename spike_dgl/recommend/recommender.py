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
from spike_dgl.recommend.user_scores import UserScores, embedding_scores, top_items
from spike_dgl.runs.embeddings import has_embeddings, read_embeddings
from spike_dgl.runs.folder import RunFolder
from spike_dgl.typing import BoolArray, FloatArray, IndexArray

if TYPE_CHECKING:
    from spike_dgl.models.fold_in import NewItems
    from spike_dgl.training.devices import Device


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
    liked
        Items that the text gives as examples ("films like Alien"); they are not in the list.
    """

    items: tuple[MatchedItem, ...]
    unknown_words: tuple[str, ...] = ()
    liked: tuple[Item, ...] = ()

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
    """Top-k recommendation for the users of a run, and for new users and items.

    Users and items are given by raw id or exact name; ambiguous names are rejected. For users and items of the data it
    uses the stored final embeddings, which on the CPU needs neither torch nor DGL. New ones are embedded by the run's
    model, which is loaded when first needed. A recommender is immutable, so threads may share it.

    Parameters
    ----------
    dataset
        Data of the run.
    users, items
        Final embeddings, [U, D] and [I, D].
    cold_start
        Embedder of new users and items; None if there are none.
    device
        Device that ranks the items for users of the data: ``cpu``, ``cuda``, or ``auto`` for a GPU if torch finds one.
        Single lists of other kinds, such as similar items, are ranked on the CPU.

    Attributes
    ----------
    users, items
        Raw ids and names of all users and items, added items last.
    has_embeddings
        False for a fitted model, which cannot recommend for new users and items.

    Raises
    ------
    ConfigError
        If there is no such device.
    """

    has_embeddings = True

    def __init__(
        self,
        dataset: Dataset,
        users: FloatArray,
        items: FloatArray,
        cold_start: ColdStart | None = None,
        *,
        device: Device = "cpu",
    ) -> None:
        self._users, self._items, self._cold_start, self._device = users, items, cold_start, device
        self._set_data(dataset)
        self._scores: UserScores = embedding_scores(users, items, self._seen, device)

    def _set_data(self, dataset: Dataset) -> None:
        self.dataset, self.users, self.items = dataset, dataset.users, dataset.items
        self._has_history = np.isin(np.arange(dataset.num_users), dataset.train.users)
        self._seen = dataset.train.union(dataset.valid)
        self._seen_offsets = self._seen.offsets(dataset.num_users)

    @classmethod
    def load(cls, run: str | Path, *, device: Device = "cpu") -> Recommender:
        """Load from a run folder; the model is fitted again if it is not trained.

        Raises `DataError` if the run is not finished or its data has changed, and `ConfigError` if there is no such
        device.
        """
        folder = RunFolder.open(Path(run))
        if not has_embeddings(folder):
            from spike_dgl.recommend.fitted import FittedRecommender, is_fitted

            if is_fitted(folder):
                return FittedRecommender.load(run, device=device)
        embeddings = read_embeddings(folder)
        dataset = folder.load_dataset()
        cold_start = ColdStart.from_run(folder, dataset, embeddings)
        return cls(dataset, embeddings["users"], embeddings["items"], cold_start, device=device)

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
            return self._lists_of(np.array([self.users.find(users)]), k, exclude_seen, allowed)[0]
        return self._lists_of(self.users.find_all(users), k, exclude_seen, allowed)

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
        cold_start, liked = self.cold_start, np.unique(self.items.find_all(items))
        scores = self._items @ cold_start.user_of_items(liked)
        return self._ranked(scores, k, liked if exclude_seen else None, self._mask(candidates))

    def recommend_for_text(
        self, text: str, k: int = 10, *, candidates: Sequence[str] | None = None
    ) -> TextRanking:
        """Return the top k items for a query or a new user's taste, such as "dark synth-pop from the 80s".

        The text is folded in by the model, and matched with the profiles of items and of the entities that they are
        linked to: genres, people and so on. A short query is mostly a matter of matching, a long description of the
        model. Scores are sums of standardised scores. Each item has the words that match it, and the list has the words
        that match nothing. Items that the text names as examples, as in "films like Alien", count as liked: lists are
        those of `recommend_for_items`, matched with their texts, and the rest of the query is added.

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
        cold_start, allowed = self.cold_start, self._mask(candidates)
        matching, asked = cold_start.text_match(), cold_start.read(text)
        liked = np.array(asked.liked, dtype=np.int64)
        listed = self._ranked(cold_start.scores_of_text(asked, self._items), k, liked, allowed)
        matches = matching.explain(asked, [self.items.index(item.id) for item in listed])
        items = (
            MatchedItem(item.id, item.name, item.score, match)
            for item, match in zip(listed, matches, strict=True)
        )
        examples = tuple(Item(self.items.ids[row], self.items.names[row]) for row in asked.liked)
        return TextRanking(tuple(items), matching.unknown_words(asked.rest), examples)

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
            self._new_items(items), [item.name for item in items], [item.text for item in items]
        )
        embeddings = self._users, np.concatenate([self._items, embedded])
        grown = Recommender(self.dataset, *embeddings, cold_start, device=self._device)
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
        row, items = self.items.find(item), self.item_embeddings
        lengths = np.sqrt(np.einsum("id,id->i", items, items))  # np.linalg.norm would copy mapped embeddings
        scale = lengths * lengths[row]
        cosines = np.divide(items @ items[row], scale, out=np.zeros_like(lengths), where=scale > 0)
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
        return self._scores.of(user) if self._has_history[user] else self._popularity

    def _lists_of(
        self, users: IndexArray, k: int, exclude_seen: bool, allowed: BoolArray | None
    ) -> list[list[ScoredItem]]:
        has_history = self._has_history[users]
        by_model = self._scores.lists(users[has_history], k, exclude_seen=exclude_seen, allowed=allowed)
        return [
            self._scored(*next(by_model))
            if known
            else self._ranked(self._popularity, k, self._seen_items(user) if exclude_seen else None, allowed)
            for user, known in zip(users.tolist(), has_history.tolist(), strict=True)
        ]

    @cached_property
    def _popularity(self) -> FloatArray:
        """Recent popularity [I] of each item, added items last."""
        return recent_popularity(self.dataset.train, len(self.items))

    def _mask(self, candidates: Sequence[str] | None) -> BoolArray | None:
        """Return True [I] for the candidates; None for all items."""
        if candidates is None:
            return None
        allowed = np.zeros(len(self.items), dtype=bool)
        allowed[self.items.find_all(candidates)] = True
        return allowed

    def _ranked(
        self, scores: FloatArray, k: int, excluded: IndexArray | None, allowed: BoolArray | None
    ) -> list[ScoredItem]:
        return self._scored(*top_items(scores, k, excluded, allowed))

    def _scored(self, rows: IndexArray, scores: FloatArray) -> list[ScoredItem]:
        ids, names = self.items.ids, self.items.names
        return [
            ScoredItem(ids[row], names[row], score)
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        ]

    def _seen_items(self, user: int) -> IndexArray:
        return self._seen.items[self._seen_offsets[user] : self._seen_offsets[user + 1]]
