"""Embedding of cold-start users and items with the model and encoder of a run, which are loaded lazily."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from spike_dgl.config import build
from spike_dgl.data.dataset import Dataset
from spike_dgl.errors import SpikeError
from spike_dgl.profiles.encode import pretrained_encoder
from spike_dgl.profiles.encoders import Encoder, TfidfSvdEncoder
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.runs.folder import RunFolder
from spike_dgl.typing import FloatArray, IndexArray

if TYPE_CHECKING:
    from spike_dgl.models.fold_in import FoldIn, NewItems

Value = TypeVar("Value")


class Once(Generic[Value]):
    """Thread-safe lazy value: computed by the first call, and shared by all threads."""

    def __init__(self, make: Callable[[], Value]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._made: list[Value] = []

    def __call__(self) -> Value:
        """Return the value."""
        with self._lock:
            if not self._made:
                self._made.append(self._make())
        return self._made[0]


@dataclass(frozen=True)
class ColdStart:
    """Embedder of new users and items by the model of a run, and of texts by its encoder.

    Parameters
    ----------
    fold_in, encoder
        Functions that load the model and the encoder. The first call takes seconds, to import torch and DGL and to
        load the weights.
    """

    fold_in: Callable[[], FoldIn]
    encoder: Callable[[], Encoder]

    @classmethod
    def from_run(cls, folder: RunFolder, dataset: Dataset, embeddings: Mapping[str, FloatArray]) -> ColdStart:
        """Create from a run folder."""

        def open_model() -> FoldIn:
            from spike_dgl.runs.set_up import open_fold_in

            return _unchanged(folder, open_fold_in(folder, dataset, embeddings))

        return cls(Once(open_model), Once(lambda: _unchanged(folder, open_encoder(folder))))

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
                raise SpikeError(
                    f"the run's encoder knows no word of '{text[:60]}'\n  Use words that are in the run's profiles."
                )
        return vectors

    def with_items(self, new: NewItems) -> tuple[ColdStart, FloatArray]:
        """Return a copy with n more items, and the embeddings [n, D] of these."""
        fold_in, embedded = self.fold_in().with_items(new)
        return ColdStart(lambda: fold_in, self.encoder), embedded


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
    options = build(ProfileOptions, folder.settings().get("profiles"), "profiles")
    encoder = pretrained_encoder(options)
    if encoder is None or encoder.name != used:
        raise SpikeError(
            f"the text vectors of {folder.path} were made by '{used}', which is not available\n"
            "  Train with profiles.source=template or llm, whose texts are encoded by the run itself."
        )
    return encoder
