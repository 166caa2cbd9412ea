"""TF-IDF and a truncated SVD: vectors from nothing but the texts themselves."""

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
"""Words at most, the most frequent ones."""
POWER_ITERATIONS = 2
"""Of the randomised decomposition. More make its singular vectors truer, and validation metrics no better."""


@dataclass(frozen=True)
class TfidfSvdEncoder:
    """Bags of weighted words, reduced to a few dimensions: latent semantic analysis (Deerwester et al., 1990).

    A text counts each of its words c times as (1 + ln c) * idf, is scaled to unit length, projected onto the
    leading singular vectors of the texts it was fitted on, and scaled again. Pairs of adjacent words would take
    three times as long and validate no better.
    It needs no network and no model download, and gives equal vectors for equal texts and seed on one machine.

    Parameters
    ----------
    terms
        The vocabulary [V], sorted.
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
        """``tfidf-svd/D_T-HASH``: fitted on other texts it is another encoder."""
        digest = hashlib.sha256("\n".join(self.terms).encode() + self.components.tobytes()).hexdigest()
        return f"tfidf-svd/{len(self.components)}-{digest[:8]}"

    @classmethod
    def fit(cls, texts: Sequence[str], dim: int, seed: int) -> tuple[TfidfSvdEncoder, FloatArray]:
        """Learn vocabulary and projection from texts.

        Parameters
        ----------
        texts
            All profiles of a data set.
        dim
            Dimension d_t aimed at; at most the number of texts and of terms.
        seed
            Of the randomised singular value decomposition.

        Returns
        -------
        tuple
            The encoder, and the vectors [n, d_t] of the texts, as `encode` gives them.
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
        """Vectors [n, d_t] of unit length; zeros for a text without any known word."""
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
        """Read what `save` wrote. Raises `DataError` where that is broken."""
        stored = read_arrays(file, ("terms", "idf", "components"))
        terms = tuple(stored["terms"].tobytes().decode().split("\n")) if len(stored["idf"]) else ()
        return cls(terms, stored["idf"], stored["components"])


def _vectorizer(**settings: Any) -> Any:
    # scikit-learn takes a second to import, which commands that encode nothing need not wait for.
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(stop_words="english", dtype=np.float32, **settings)


def _weighted(counts: Any, idf: FloatArray) -> Any:
    """Counts [n, V] (sparse) as (1 + ln count) * idf in rows of unit length."""
    from sklearn.preprocessing import normalize

    weighted = counts.copy()
    weighted.sort_indices()  # equal texts are summed in equal order, to the last bit
    weighted.data = (1.0 + np.log(weighted.data)) * idf[weighted.indices]
    return normalize(weighted)
