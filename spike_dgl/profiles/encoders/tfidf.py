"""TF-IDF and truncated SVD, fitted on the texts themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from spike_dgl.data.files import read_arrays
from spike_dgl.typing import FloatArray

VOCABULARY_SIZE = 30_000
"""Maximum number of words; the most frequent ones are kept."""
POWER_ITERATIONS = 2
"""Power iterations of the randomised SVD. More make it more accurate, but did not improve validation metrics."""


@dataclass(frozen=True)
class TfidfSvdEncoder:
    """Latent semantic analysis (Deerwester et al., 1990): TF-IDF vectors reduced to a few dimensions.

    A word that occurs c times in a text gets the weight (1 + ln c) * idf. The weights are scaled to unit length,
    projected onto the leading singular vectors of the fitted texts, and scaled again. Bigrams took three times as long
    and did not improve validation metrics.
    The encoder needs no network and no model, and is deterministic for the same texts and seed on one machine.

    Parameters
    ----------
    terms
        Vocabulary [V], sorted.
    idf
        ln((1 + n) / (1 + texts with the term)) + 1 for each term [V].
    components
        Leading right singular vectors [d_t, V].
    """

    terms: tuple[str, ...]
    idf: FloatArray
    components: FloatArray

    @cached_property
    def name(self) -> str:
        """``tfidf-svd/D_T-HASH``, with a hash of the fitted parameters."""
        digest = hashlib.sha256("\n".join(self.terms).encode() + self.components.tobytes()).hexdigest()
        return f"tfidf-svd/{len(self.components)}-{digest[:8]}"

    @classmethod
    def fit(cls, texts: Sequence[str], dim: int, seed: int) -> tuple[TfidfSvdEncoder, FloatArray]:
        """Fit vocabulary and projection on texts.

        Parameters
        ----------
        texts
            All profiles of a data set.
        dim
            Dimension d_t; lower if there are fewer texts or terms.
        seed
            Random seed of the singular value decomposition.

        Returns
        -------
        tuple
            The encoder, and the vectors [n, d_t] of the texts, as `encode` returns them.
        """
        from sklearn.utils.extmath import randomized_svd

        vectorizer = _vectorizer(max_features=VOCABULARY_SIZE)
        if not any(map(vectorizer.build_analyzer(), texts)):
            nothing = cls((), np.zeros(0, np.float32), np.zeros((1, 0), np.float32))
            return nothing, np.zeros((len(texts), 1), np.float32)
        counts = vectorizer.fit_transform(texts)
        frequency = np.bincount(counts.indices, minlength=counts.shape[1])
        idf = (np.log((1 + len(texts)) / (1 + frequency)) + 1).astype(np.float32)
        weighted = _weighted(counts, idf)
        _, _, components = randomized_svd(weighted, dim, n_iter=POWER_ITERATIONS, random_state=seed)
        encoder = cls(tuple(vectorizer.get_feature_names_out()), idf, components.astype(np.float32))
        return encoder, encoder._project(weighted)

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return vectors [n, d_t] of unit length, zeros for a text without any known word."""
        if not self.terms:
            return np.zeros((len(texts), len(self.components)), np.float32)
        return self._project(_weighted(self._counter.transform(texts), self.idf))

    @cached_property
    def _counter(self) -> Any:
        return _vectorizer(vocabulary=list(self.terms))

    def _project(self, weighted: Any) -> FloatArray:
        from sklearn.preprocessing import normalize

        vectors: FloatArray = normalize(weighted @ self.components.T).astype(np.float32)
        return vectors

    def save(self, file: Path) -> None:
        """Write the encoder to an ``.npz`` file."""
        terms = np.frombuffer("\n".join(self.terms).encode(), np.uint8)
        with file.open("wb") as stream:
            np.savez(stream, terms=terms, idf=self.idf, components=self.components)

    @classmethod
    def load(cls, file: Path) -> TfidfSvdEncoder:
        """Read a file of `save`. Raises `DataError` if it is damaged."""
        stored = read_arrays(file, ("terms", "idf", "components"))
        terms = tuple(stored["terms"].tobytes().decode().split("\n")) if len(stored["idf"]) else ()
        return cls(terms, stored["idf"], stored["components"])


def _vectorizer(**settings: Any) -> Any:
    # Imported here because scikit-learn takes a second, which not all commands need.
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(stop_words="english", dtype=np.float32, **settings)


def _weighted(counts: Any, idf: FloatArray) -> Any:
    """Weight sparse counts [n, V] as (1 + ln count) * idf, with rows of unit length."""
    from sklearn.preprocessing import normalize

    weighted = counts.copy()
    weighted.sort_indices()  # same order of summation, so that equal texts get bitwise equal vectors
    weighted.data = (1.0 + np.log(weighted.data)) * idf[weighted.indices]
    return normalize(weighted)
