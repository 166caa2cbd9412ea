"""Recommendations from a finished run: raw ids in, raw ids and names out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spike_dgl.config import build, read_yaml
from spike_dgl.data.dataset import Dataset
from spike_dgl.data.options import DataOptions, load
from spike_dgl.errors import DataError
from spike_dgl.training.tracking import RunFolder
from spike_dgl.typing import FloatArray


@dataclass(frozen=True)
class ScoredItem:
    """One place of a recommendation list: the item's raw id and name, and the inner product that ranks it."""

    id: str
    name: str
    score: float


class Recommender:
    """Ranks items for the users of a trained run.

    Reads the final embeddings that training stored; neither torch nor DGL is needed. Nothing changes after
    construction, so threads may share one.

    Parameters
    ----------
    dataset
        The data the run was trained on.
    users, items
        Final embeddings, [U, D] and [I, D].
    """

    def __init__(self, dataset: Dataset, users: FloatArray, items: FloatArray) -> None:
        self.dataset, self._users, self._items = dataset, users, items
        self._seen = dataset.train.union(dataset.valid)
        self._seen_offsets = self._seen.offsets(dataset.num_users)

    @classmethod
    def load(cls, run: str | Path) -> Recommender:
        """Open a run folder.

        Raises `DataError` where it is unfinished, its model is not trained, or the data has changed since.
        """
        folder = RunFolder.open(Path(run))
        embeddings = folder.read_arrays("embeddings.npz")
        return cls(load_run_dataset(folder), embeddings["users"], embeddings["items"])

    def recommend(
        self, users: str | Sequence[str], k: int = 10, *, exclude_seen: bool = True
    ) -> list[list[ScoredItem]]:
        """The best k items of each user, best first.

        Parameters
        ----------
        users
            Raw id or ids.
        k
            Length of the lists; shorter where a user has fewer items left.
        exclude_seen
            Leave out the items of the user's training and validation interactions.

        Raises
        ------
        UnknownIdError
            For a user the run does not know.
        """
        raw_ids = [users] if isinstance(users, str) else list(users)
        rows = self.dataset.users.indices(raw_ids)
        return [list(self._ranked(int(row), k, exclude_seen)) for row in rows]

    def history(self, user: str) -> list[str]:
        """Names of the items in a user's training and validation interactions."""
        return [self.dataset.items.names[item] for item in self._seen_items(self.dataset.users.index(user))]

    def _ranked(self, user: int, k: int, exclude_seen: bool) -> Iterator[ScoredItem]:
        # One user at a time, so that a list does not depend on which others were asked for along with it.
        scores = self._items @ self._users[user]
        if exclude_seen:
            scores[self._seen_items(user)] = -np.inf
        k = min(k, int(np.isfinite(scores).sum()))
        best = np.argpartition(-scores, max(k - 1, 0))[:k]
        for item in best[np.lexsort((best, -scores[best]))]:
            yield ScoredItem(
                self.dataset.items.ids[item], self.dataset.items.names[item], float(scores[item])
            )

    def _seen_items(self, user: int) -> np.ndarray:
        return self._seen.items[self._seen_offsets[user] : self._seen_offsets[user + 1]]


def load_run_dataset(folder: RunFolder) -> Dataset:
    """The data set of a run. Raises `DataError` where it is no longer what the run was trained on."""
    options = build(DataOptions, read_yaml(folder.file("config.yaml")).get("data"), "data")
    dataset = load(options)
    expected = folder.read_json("environment.json")["data"]["checksum"]
    if dataset.checksum != expected:
        raise DataError(
            options.path,
            f"is no longer the data that {folder.path} was trained on (its checksum differs)",
            "Put the data back as it was, or train again.",
        )
    return dataset
