"""What a text encoder is, and what tells one text from another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from spike_dgl.typing import FloatArray


class Encoder(Protocol):
    """Anything that turns texts into vectors of one dimension d_t."""

    @property
    def name(self) -> str:
        """Tells whose vectors can be compared: encoders of one name give a text the same vector."""

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Vectors [n, d_t] of unit length; zeros for an empty text."""


def text_hash(text: str) -> str:
    """SHA-256 (hex) of a text: under it vectors are kept, and by it stale ones are found."""
    return hashlib.sha256(text.encode()).hexdigest()


def unit_length(vectors: FloatArray) -> FloatArray:
    """Vectors [n, d_t] scaled to length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: FloatArray = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return scaled
