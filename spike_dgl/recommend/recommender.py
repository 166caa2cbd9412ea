"""Recommendations from a finished run: raw ids or names in, raw ids and names out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from spike_dgl.data.dataset import Dataset, Vocabulary
from spike_dgl.errors import SpikeError
from spike_dgl.recommend.cold_start import ColdStart
from spike_dgl.runs.folder import RunFolder
from spike_dgl.typing import FloatArray, IndexArray

if TYPE_CHECKING:
    from spike_dgl.models.fold_in import NewItems


@dataclass(frozen=True)
class Item:
    """An item by its raw id and its name."""

    id: str
    name: str


@dataclass(frozen=True)
class ScoredItem(Item):
    """One place of a list: the item, and the number that ranks it, an inner product or a cosine.

    In lists of users without training interactions it is the number of the item's training users.
    """

    score: float


@dataclass(frozen=True)
class NewItem:
    """An item that was not there in training.

    Parameters
    ----------
    id
        Raw id that no other item has.
    triples
        Pairs of a relation and the entity it leads to, each by raw id or name.
    text
        Describes the item, as profiles do.
    name
        Readable name; the raw id by default.
    """

    id: str
    triples: tuple[tuple[str, str], ...] = ()
    text: str = ""
    name: str = ""


class Recommender:
    """Ranks items for the users of a trained run, and for users and items that came later.

    Users and items are named by raw id or by exact name; a name that several have is refused. Final embeddings that
    training stored are read, which needs neither torch nor DGL; what is new is embedded by the run's model, which is
    opened the first time. Nothing that can be asked for changes after construction, so threads may share one.

    Parameters
    ----------
    dataset
        The data the run was trained on.
    users, items
        Final embeddings, [U, D] and [I, D].
    cold_start
        Embeds users and items that came later; None where only those of the data are asked for.

    Attributes
    ----------
    users, items
        Raw ids and names of all that are known, added items last.
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
        """Open a run folder.

        Raises `DataError` where it is unfinished, its model is not trained, or the data has changed since.
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
        """The best k items of a user, or of each of several, best first; of equal scores the first item of the data.

        A user without training interactions gets the most popular items: the model never learned an embedding of them.
        `has_history` tells who has some.

        Parameters
        ----------
        users
            A user, or a sequence of users.
        k
            Length of a list; shorter where fewer items are left.
        exclude_seen
            Leave out the items of the user's training and validation interactions.
        candidates
            The only items that may be listed; all by default.

        Returns
        -------
        list of ScoredItem
            For a sequence of users a list of such lists. A user's list is the same in any company, to the last bit.

        Raises
        ------
        UnknownIdError
            For a user or candidate that the run does not know, or whose name others have too.
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
        """The best k items for someone new who likes some items.

        Parameters
        ----------
        items
            What the person likes; one at least.
        k
            Length of the list.
        exclude_seen
            Leave those items out.
        candidates
            The only items that may be listed; all by default.

        Raises
        ------
        UnknownIdError
            For an item that the run does not know, or whose name others have too.
        """
        if not items or isinstance(items, str):
            raise SpikeError("someone new is known by a sequence of one liked item at least")
        liked, allowed = np.unique(self.items.find_all(items)), self._mask(candidates)
        user = self.cold_start.user_of_items(liked)
        return self._ranked(self._items @ user, k, liked if exclude_seen else None, allowed)

    def recommend_for_text(
        self, text: str, k: int = 10, *, candidates: Sequence[str] | None = None
    ) -> list[ScoredItem]:
        """The best k items for someone new who describes a taste, such as "dark synth-pop from the 80s".

        Parameters
        ----------
        text
            Is encoded by what made the vectors of the run's profiles.
        k
            Length of the list.
        candidates
            The only items that may be listed; all by default.

        Raises
        ------
        SpikeError
            Where the run has no profiles or its encoder is not there, or knows no word of the text.
        """
        if not text.strip():
            raise SpikeError("there is no text that describes a taste")
        allowed = self._mask(candidates)
        return self._ranked(self._items @ self.cold_start.user_of_text(text), k, None, allowed)

    def add_item(
        self, id: str, triples: Sequence[tuple[str, str]] = (), text: str = "", *, name: str = ""
    ) -> Recommender:
        """A recommender that also knows an item which was not there in training; see `add_items`.

        Parameters
        ----------
        id, triples, text, name
            Of the item; see `NewItem`.
        """
        return self.add_items([NewItem(id, tuple(triples), text, name)])

    def add_items(self, items: Sequence[NewItem]) -> Recommender:
        """A recommender that also knows some items which were not there in training; this one stays as it is.

        Nothing is trained: an item is embedded from its neighbours in the knowledge graph and its text. What the others
        are embedded as does not change.

        Raises
        ------
        UnknownIdError
            For a relation or entity that the run does not know, or whose name others have too.
        SpikeError
            Where an id is taken, an item has neither triple nor text, or the run has no encoder for texts.
        """
        for item in items:
            if item.id in self.items or [other.id for other in items].count(item.id) > 1:
                raise SpikeError(f"there is an item '{item.id}' already\n  Give the new one another id.")
            if not item.triples and not item.text.strip():
                raise SpikeError(f"nothing is known of item '{item.id}'\n  Give it a triple or a text.")
        cold_start, embedded = self.cold_start.with_items(self._new_items(items))
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
        """What embeds users and items that came later. Raises `SpikeError` where there is none."""
        if self._cold_start is None:
            raise SpikeError(
                "users and items that are new need the run's model\n  Use Recommender.load(RUN)."
            )
        return self._cold_start

    def score(self, user: str, items: Sequence[str]) -> FloatArray:
        """Scores [n] of some items for a user, as they rank lists; seen ones too."""
        scores: FloatArray = self.scores_of(self.users.find(user))[self.items.find_all(items)]
        return scores

    def similar_items(self, item: str, k: int = 10) -> list[ScoredItem]:
        """The k items whose final embeddings point most nearly the same way, by cosine; not the item itself."""
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
        """The items of a user's training and validation interactions, in the order of the data."""
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
        """[U, D]."""
        return self._users

    @property
    def item_embeddings(self) -> FloatArray:
        """[I, D], added items last: what a user's embedding is multiplied with."""
        return self._items

    def scores_of(self, user: int) -> FloatArray:
        """Scores [I] of all items for the user of a row: their popularity, for a user without training interactions."""
        if not self._has_history[user]:
            return self._popularity
        # One user at a time and always all items, so that a score depends on nothing else that is asked for.
        scores: FloatArray = self._items @ self._users[user]
        return scores

    @cached_property
    def _popularity(self) -> FloatArray:
        """[I] training users of each item, added items last."""
        return np.bincount(self.dataset.train.items, minlength=len(self.items)).astype(np.float32)

    def _mask(self, candidates: Sequence[str] | None) -> np.ndarray | None:
        """True [I] for the candidates; None for all."""
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
            # Everything from the k-th best score up, so that ties at the end are settled by the order of the data too.
            rows = rows[of_rows >= np.partition(of_rows, -k)[-k]]
        best = rows[np.lexsort((rows, -scores[rows]))][:k]
        ids, names = self.items.ids, self.items.names
        return [ScoredItem(ids[row], names[row], float(scores[row])) for row in best.tolist()]

    def _seen_items(self, user: int) -> IndexArray:
        return self._seen.items[self._seen_offsets[user] : self._seen_offsets[user + 1]]
