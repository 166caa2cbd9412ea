"""The interface of text encoders, and the hash that identifies a text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from spike_dgl.typing import FloatArray


class Encoder(Protocol):
    """A text encoder: maps texts to vectors of one dimension d_t."""

    @property
    def name(self) -> str:
        """Identity of the vector space: encoders with the same name give a text the same vector."""

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return vectors [n, d_t] of unit length, zeros for an empty text."""


def text_hash(text: str) -> str:
    """Return the SHA-256 of a text in hex, the key of its vector. It also shows whether a vector is stale."""
    return hashlib.sha256(text.encode()).hexdigest()


def unit_length(vectors: FloatArray) -> FloatArray:
    """Scale vectors [n, d_t] to length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: FloatArray = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return scaled
