"""Calibration of added items: their scores are made comparable with those of trained items."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from spike_dgl.data.dataset import Dataset
from spike_dgl.models.fold_in import FoldIn, LinearFoldIn, NewItems, Regression, fit_regression
from spike_dgl.threads import Once
from spike_dgl.typing import BoolArray, FloatArray, IndexArray

LIST_LENGTH, LIST_SHARE = 10, 0.05
"""Length of the lists in which places are counted: the default of `recommend`, at most this share of the items."""
MOST_USERS, MOST_ITEMS = 1000, 5000
"""Sizes of the samples of users and items that the calibration is computed from."""
KINDS = ((True, True), (True, False), (False, True))
"""Kinds of new items: with or without triples, with or without a text."""


@dataclass(frozen=True)
class Calibration:
    """Correction of the embeddings of one kind of new items: z' = (R f + l) / 2 + b p.

    Parameters
    ----------
    of_embedding
        R; None if the fold-in is the linear one, so that f = l.
    lift
        b p, [D].
    """

    of_embedding: Regression | None
    lift: FloatArray

    def embed(self, embedded: FloatArray, predicted: FloatArray, linear: LinearFoldIn) -> FloatArray:
        """Return z' [n, D] without the lift, from f and l; (R f + l) / 2 has length 1 if scores are cosines."""
        if self.of_embedding is None:
            return predicted
        mean = (self.of_embedding.predict(embedded) + predicted) / 2
        return linear.at_unit_length(mean.astype(np.float32))


Calibrations: TypeAlias = Mapping[tuple[bool, bool], Calibration]
"""Calibration of each kind of items of which there are training items."""


@dataclass(frozen=True)
class CalibratedFoldIn(FoldIn):
    """Fold-in whose added items compete with trained items for places in lists.

    A new item has no ID embedding and no popularity, so its scores are too low. Training items are embedded as if they
    were new, which shows what is missing::

        z' = (R f + l) / 2 + b p

    with the fold-in's embedding f, the ridge regression R from f to trained embeddings, the prediction l of
    `LinearFoldIn`, and the direction p in which trained embeddings change with the logarithm of their number of users.
    b is the smallest number of 0 or more with which training items treated as new have as many places in the users'
    lists as they have by their trained embeddings; at most the logarithm of the most popular item.
    Each kind of items in `KINDS` has its own R and b.

    Users, and the embeddings of trained items, are those of the fold-in.

    Parameters
    ----------
    fold_in
        Fold-in of the model.
    linear
        Function that returns the regressions on the final embeddings of the same run. Only added items need them.
    calibrations
        Function that returns the calibrations. Only added items need them.
    """

    fold_in: FoldIn
    linear: Callable[[], LinearFoldIn]
    calibrations: Callable[[], Calibrations]

    @classmethod
    def fit(
        cls,
        fold_in: FoldIn,
        linear: Callable[[], LinearFoldIn],
        dataset: Dataset,
        users: FloatArray,
        vectors: Mapping[str, FloatArray],
    ) -> CalibratedFoldIn:
        """Calibrate on the training data, which is deterministic, when the first items are added.

        Parameters
        ----------
        fold_in, linear
            Fold-in to calibrate, and the function that returns the regressions.
        dataset
            Dataset that the model was trained on.
        users
            Final user embeddings [U, D].
        vectors
            Text vectors of ``entities`` [N, d_t]; empty without profiles.
        """
        # Drawn here, so that nothing refers to all vectors, which may be larger than the rest of the model.
        treated = {kind: _treated_as_new(dataset, vectors, *kind) for kind in KINDS}
        calibrate = Once(
            lambda: _calibrations(fold_in, linear(), Places(dataset, users, linear().items), treated)
        )
        return cls(fold_in, linear, calibrate)

    def users_of_items(self, histories: Sequence[IndexArray]) -> FloatArray:
        """Embed users [b, D] by the fold-in."""
        return self.fold_in.users_of_items(histories)

    def users_of_profiles(self, vectors: FloatArray) -> FloatArray:
        """Embed users [b, D] by the fold-in."""
        return self.fold_in.users_of_profiles(vectors)

    def with_items(self, new: NewItems) -> tuple[CalibratedFoldIn, FloatArray]:
        """Add items, with calibrated embeddings."""
        linear = self.linear()
        fold_in, embedded = self.fold_in.with_items(new)
        predicted = embedded if self.fold_in is linear else linear.with_items(new)[1]
        linked = np.isin(np.arange(new.number), new.heads)
        described = np.zeros_like(linked) if new.vectors is None else new.vectors.any(axis=1)
        calibrated = embedded.copy()
        for kind, calibration in self.calibrations().items():
            rows = (linked == kind[0]) & (described == kind[1])
            if rows.any():
                of_kind = calibration.embed(embedded[rows], predicted[rows], linear)
                calibrated[rows] = of_kind + calibration.lift
        return replace(self, fold_in=fold_in), calibrated


def _calibrations(
    fold_in: FoldIn,
    linear: LinearFoldIn,
    places: Places,
    treated: Mapping[tuple[bool, bool], tuple[IndexArray, NewItems]],
) -> Calibrations:
    """Calibrate each kind on its training items: their rows, and they themselves as new ones."""
    calibrations = {}
    for kind, (rows, new) in treated.items():
        if len(rows):
            near = linear.near[rows] if kind[0] else np.zeros_like(linear.near[rows])
            predicted = linear.items_of(near, new.vectors)
            found, of_embedding = predicted, None
            if fold_in is not linear:
                found = fold_in.with_items(new)[1]
                of_embedding = fit_regression(found, linear.items[rows])
            as_new = Calibration(of_embedding, np.zeros_like(found[0]))
            embedded = as_new.embed(found, predicted, linear)
            calibrations[kind] = replace(as_new, lift=places.lift(rows, embedded))
    return calibrations


def _treated_as_new(
    dataset: Dataset, vectors: Mapping[str, FloatArray], linked: bool, described: bool
) -> tuple[IndexArray, NewItems]:
    """Return rows of training items with users, and these items as new ones of a kind.

    `linked` items have their triples, `described` ones their texts; training items without them are left out.
    """
    triples = dataset.triples
    is_item = np.bincount(dataset.train.items, minlength=dataset.num_items) > 0
    if linked:
        is_item &= np.isin(np.arange(dataset.num_items), triples.heads)
    texts = vectors["entities"][: dataset.num_items] if vectors and described else None
    if described:
        is_item &= False if texts is None else texts.any(axis=1)
    rows = _sample(np.flatnonzero(is_item), MOST_ITEMS)
    position = np.full(dataset.num_entities, -1)
    position[rows] = np.arange(len(rows))
    chosen = position[triples.heads] >= 0 if linked else np.zeros(len(triples.heads), bool)
    heads = position[triples.heads[chosen]]
    of_rows = None if texts is None else texts[rows]
    new = NewItems(len(rows), heads, triples.relations[chosen], triples.tails[chosen], of_rows, rows)
    return rows, new


class Places:
    """Places in the lists of unseen items of a sample of users.

    Parameters
    ----------
    dataset
        Training data.
    users, items
        Final embeddings [U, D] and [I, D].
    """

    def __init__(self, dataset: Dataset, users: FloatArray, items: FloatArray) -> None:
        counts = np.bincount(dataset.train.items, minlength=dataset.num_items)
        some = _sample(np.unique(dataset.train.users), MOST_USERS)
        self._direction, self._users = _popularity_direction(items, counts), users[some]
        self._seen = _seen(dataset, some)
        scores = np.where(self._seen, -np.inf, self._users @ items.T)
        number = min(LIST_LENGTH, math.ceil(LIST_SHARE * len(items)))
        self._last_place = np.partition(scores, -number, axis=1)[:, -number]
        self._places_of_an_item = number * len(some) / max(int(np.count_nonzero(counts)), 1)
        self._most = float(np.log1p(counts.max(initial=0)))

    def lift(self, rows: IndexArray, embedded: FloatArray) -> FloatArray:
        """Return b p [D] for training items, given by row, with embeddings [n, D] that treat them as new."""
        missing = self._last_place[:, None] - self._users @ embedded.T
        slopes = np.broadcast_to((self._users @ self._direction)[:, None], missing.shape)
        reachable = ~self._seen[:, rows] & np.isfinite(missing) & ((slopes > 0) | (missing <= 0))
        lengths = missing[reachable] / np.where(slopes > 0, slopes, 1.0)[reachable]
        number = min(int(self._places_of_an_item * len(rows)), len(lengths))
        length = float(np.partition(lengths, number - 1)[number - 1]) if number else 0.0
        lift: FloatArray = np.float32(np.clip(length, 0.0, self._most)) * self._direction
        return lift


def _sample(rows: IndexArray, most: int) -> IndexArray:
    """Return at most `most` of the rows, at equal distances."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)]


def _popularity_direction(items: FloatArray, counts: IndexArray) -> FloatArray:
    """Return p [D]: slopes of the embeddings of items with users on the logarithm of 1 + their number of users."""
    logarithms = np.log1p(counts[counts > 0])
    centred = (logarithms - logarithms.mean() if len(logarithms) else logarithms).astype(np.float32)
    variation = float(centred @ centred)
    slopes: FloatArray = centred @ items[counts > 0] / np.float32(variation if variation > 1e-6 else np.inf)
    return slopes


def _seen(dataset: Dataset, users: IndexArray) -> BoolArray:
    """Return True [u, I] for the training items of some users."""
    position = np.full(dataset.num_users, -1)
    position[users] = np.arange(len(users))
    rows = position[dataset.train.users]
    seen = np.zeros((len(users), dataset.num_items), bool)
    seen[rows[rows >= 0], dataset.train.items[rows >= 0]] = True
    return seen
