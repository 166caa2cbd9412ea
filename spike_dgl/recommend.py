"""Recommendations from a finished run: raw ids or names in, raw ids and names out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from spike_dgl.data.dataset import Dataset
from spike_dgl.training.tracking import RunFolder
from spike_dgl.typing import FloatArray, IndexArray


@dataclass(frozen=True)
class Item:
    """An item by its raw id and its name."""

    id: str
    name: str


@dataclass(frozen=True)
class ScoredItem(Item):
    """One place of a list: the item, and the number that ranks it, an inner product or a cosine."""

    score: float


class Recommender:
    """Ranks items for the users of a trained run, and for someone new by the items that they like.

    Users and items are named by raw id or by exact name; a name that several have is refused. Final embeddings that
    training stored are read, which needs neither torch nor DGL. Nothing changes after construction, so threads may
    share one.

    Parameters
    ----------
    dataset
        The data the run was trained on.
    users, items
        Final embeddings, [U, D] and [I, D].
    """

    def __init__(self, dataset: Dataset, users: FloatArray, items: FloatArray) -> None:
        self.dataset, self._users, self._items = dataset, users, items
        self.users, self.items = dataset.users, dataset.items
        self._seen = dataset.train.union(dataset.valid)
        self._seen_offsets = self._seen.offsets(dataset.num_users)

    @classmethod
    def load(cls, run: str | Path) -> Recommender:
        """Open a run folder.

        Raises `DataError` where it is unfinished, its model is not trained, or the data has changed since.
        """
        folder = RunFolder.open(Path(run))
        embeddings = folder.read_arrays("embeddings.npz")
        return cls(folder.load_dataset(), embeddings["users"], embeddings["items"])

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
        liked = self.items.find_all(items)
        allowed = self._mask(candidates)
        return self._ranked(
            self._items @ self._items[liked].mean(axis=0), k, liked if exclude_seen else None, allowed
        )

    def score(self, user: str, items: Sequence[str]) -> FloatArray:
        """Scores [n] of some items for a user, as they rank lists; seen ones too."""
        scores: FloatArray = self._scores(self.users.find(user))[self.items.find_all(items)]
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

    def history(self, user: str) -> list[Item]:
        """The items of a user's training and validation interactions, in the order of the data."""
        return [
            Item(self.items.ids[row], self.items.names[row])
            for row in self._seen_items(self.users.find(user)).tolist()
        ]

    def _list_of(self, user: int, k: int, exclude_seen: bool, allowed: np.ndarray | None) -> list[ScoredItem]:
        return self._ranked(self._scores(user), k, self._seen_items(user) if exclude_seen else None, allowed)

    def _scores(self, user: int) -> FloatArray:
        # One user at a time and always all items, so that a score depends on nothing else that is asked for.
        scores: FloatArray = self._items @ self._users[user]
        return scores

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
