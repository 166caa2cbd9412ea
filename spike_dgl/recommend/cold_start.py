"""Embedding of cold-start users and items with the model and encoder of a run, which are loaded lazily."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from spike_dgl.config import build
from spike_dgl.data.dataset import Dataset
from spike_dgl.errors import SpikeError
from spike_dgl.profiles.encode import pretrained_encoder
from spike_dgl.profiles.encoders import Encoder, TfidfSvdEncoder
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.stored import read_profile_texts
from spike_dgl.recommend.text_match import Links, TextMatch, standardised
from spike_dgl.recommend.titles import Question
from spike_dgl.runs.folder import RunFolder
from spike_dgl.threads import Once
from spike_dgl.typing import FloatArray, IndexArray

if TYPE_CHECKING:
    from spike_dgl.models.fold_in import FoldIn, NewItems

Value = TypeVar("Value")

MODEL_WEIGHT = np.float32(6.0)
"""Weight of the model's scores for example items beside the match of their texts, chosen on validation.

On the bundled data, with a random training item of each user as the example, weights of 2, 4, 6 and 8 have recall@20
.077, .104, .122 and .120. Their lists of ten share .366, .381, .374 and .366 of the genres with the example (Jaccard).
"""
EXAMPLES_WEIGHT = np.float32(2.0)
"""Weight of the scores for example items beside those for the other words of a query: "comedies like Alien"."""


class UnknownWordsError(SpikeError):
    """No word of a text is known to the encoder."""


@dataclass(frozen=True)
class ColdStart:
    """Embedder of new users and items by the model of a run, and of texts by its encoder.

    Parameters
    ----------
    fold_in, encoder, text_match
        Functions that load the model, the encoder and the index of texts. The first call takes seconds, to import torch
        and DGL and to load the weights.
    """

    fold_in: Callable[[], FoldIn]
    encoder: Callable[[], Encoder]
    text_match: Callable[[], TextMatch]

    @classmethod
    def from_run(cls, folder: RunFolder, dataset: Dataset, embeddings: Mapping[str, FloatArray]) -> ColdStart:
        """Create from a run folder."""

        def open_model() -> FoldIn:
            from spike_dgl.runs.set_up import open_fold_in

            return _unchanged(folder, open_fold_in(folder, dataset, embeddings))

        return cls(
            Once(open_model),
            Once(lambda: _unchanged(folder, open_encoder(folder))),
            Once(lambda: _unchanged(folder, open_text_match(folder, dataset))),
        )

    def user_of_items(self, items: IndexArray) -> FloatArray:
        """Embed [D] a new user who likes some items, given by row."""
        embedded: FloatArray = self.fold_in().users_of_items([items])[0]
        return embedded

    def user_of_text(self, text: str) -> FloatArray:
        """Embed [D] a new user who describes their taste."""
        embedded: FloatArray = self.fold_in().users_of_profiles(self.encoded([text]))[0]
        return embedded

    def encoded(self, texts: Sequence[str]) -> FloatArray:
        """Encode texts as vectors [n, d_t], zeros for empty ones. Raises `SpikeError` if no word of one is known."""
        vectors = self.encoder().encode(texts)
        for text, vector in zip(texts, vectors, strict=True):
            if text.strip() and not vector.any():
                raise UnknownWordsError(
                    f"the run's encoder knows no word of '{text[:60]}'\n  Use words that are in the run's profiles."
                )
        return vectors

    def with_items(
        self, new: NewItems, names: Sequence[str], texts: Sequence[str]
    ) -> tuple[ColdStart, FloatArray]:
        """Return a copy with n more items, given with their names and texts [n], and the embeddings [n, D] of these."""
        fold_in, embedded = self.fold_in().with_items(new)
        links = Links(new.heads, new.relations, new.tails)
        match = Once(lambda: self.text_match().with_items(names, texts, links))
        return ColdStart(lambda: fold_in, self.encoder, match), embedded

    def open_texts(self) -> None:
        """Load the encoder and build the index of texts, so that the first query does not wait for them."""
        self.encoder()
        self.text_match().find("")

    def read(self, text: str) -> Question:
        """Separate the titles that a text gives as examples from its other words."""
        return self.text_match().titles.read(text)

    def scores_of_text(self, asked: Question, items: FloatArray) -> FloatArray:
        """Score items [I] for a query or for the description of a taste, as `read` returns it.

        The model's standardised scores, by folding the text in, are added to the match of the text with the items,
        which counts less the longer the text is (`Match.weight`). Examples in the text count as items that the user
        likes.

        Parameters
        ----------
        asked
            The query.
        items
            Final embeddings [I, D] of all items.

        Raises
        ------
        SpikeError
            If the run has no profiles, or no word of the text is known.
        """
        match = self.text_match().find(asked.rest)
        if not asked.liked and not match.num_terms:
            return standardised(items @ self.user_of_text(asked.rest))
        scores = np.zeros(len(items), np.float32)
        if asked.liked:
            scores += self._scores_of_examples(np.array(asked.liked), items)
        if match.num_terms:
            scores += self.folded_in_scores(asked.rest, items) + np.float32(match.weight) * match.scores
        return scores

    def _scores_of_examples(self, liked: IndexArray, items: FloatArray) -> FloatArray:
        """Scores [I] for a user who likes some items: the model's, and the match of these items' texts with all."""
        matching = self.text_match()
        by_model = standardised(items @ self.user_of_items(liked))
        by_texts = matching.find(matching.text_of(liked.tolist())).scores
        scores: FloatArray = EXAMPLES_WEIGHT * standardised(MODEL_WEIGHT * by_model + by_texts)
        return scores

    def folded_in_scores(self, text: str, items: FloatArray) -> FloatArray:
        """Standardised scores [I] of the model for a text; zeros if the encoder knows no word of it."""
        try:
            return standardised(items @ self.user_of_text(text))
        except UnknownWordsError:
            return np.zeros(len(items), np.float32)


def open_text_match(folder: RunFolder, dataset: Dataset) -> TextMatch:
    """Load the index of a run's profile texts. Raises `DataError` if their file is missing."""
    texts = read_profile_texts(folder.file("profiles.jsonl.gz")).entities
    return TextMatch.from_texts(dataset, texts, _profile_options(folder))


def _profile_options(folder: RunFolder) -> ProfileOptions:
    options: ProfileOptions = build(ProfileOptions, folder.settings().get("profiles"), "profiles")
    return options


def _unchanged(folder: RunFolder, opened: Value) -> Value:
    """Return `opened`. Raises `DataError` if the run folder has changed since the embeddings were loaded."""
    folder.check_unchanged()
    return opened


def open_encoder(folder: RunFolder) -> Encoder:
    """Load the text encoder of a run.

    Raises
    ------
    SpikeError
        If the run has no profiles, or their vectors were made elsewhere.
    """
    used = folder.read_json("environment.json")["encoder"]
    if used == "none":
        raise SpikeError(
            f"{folder.path} was trained without profiles, so it cannot encode texts\n  Train with profiles."
        )
    if folder.file("encoder.npz").is_file():
        return TfidfSvdEncoder.load(folder.file("encoder.npz"))
    encoder = pretrained_encoder(_profile_options(folder))
    if encoder is None or encoder.name != used:
        raise SpikeError(
            f"the text vectors of {folder.path} were made by '{used}', which is not available\n"
            "  Train with profiles.source=template or llm, whose texts are encoded by the run itself."
        )
    return encoder
