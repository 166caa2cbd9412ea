"""Vectors of all profiles, by the encoder that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spike_dgl.profiles.encoders import Encoder, TfidfSvdEncoder
from spike_dgl.profiles.encoders.cache import PretrainedEncoder, VectorCache, encode_once
from spike_dgl.profiles.encoders.openai import OpenAIEncoder
from spike_dgl.profiles.encoders.sentence_transformers import SentenceTransformersEncoder
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.typing import FloatArray


def encode_profiles(
    texts: Sequence[str], options: ProfileOptions, *, progress: bool = False
) -> tuple[Encoder, FloatArray]:
    """Turn texts into vectors.

    Parameters
    ----------
    texts
        All profiles of a data set.
    options
        `ProfileOptions.encoder` and its settings.
    progress
        Whether to show a progress bar where a text can take long.

    Returns
    -------
    tuple
        The encoder, for further texts, and the vectors [n, d_t].
    """
    encoder = pretrained_encoder(options)
    if encoder is None:
        return TfidfSvdEncoder.fit(texts, options.vector_dim, options.seed)
    with VectorCache.open(Path(options.vector_cache)) as cache:
        return encoder, encode_once(encoder, texts, cache, progress=progress)


def pretrained_encoder(options: ProfileOptions) -> PretrainedEncoder | None:
    """The encoder that the settings name; None for the one that is fitted on the texts."""
    if options.encoder == "openai":
        return OpenAIEncoder(options.openai)
    if options.encoder == "sentence-transformers":
        return SentenceTransformersEncoder(options.sentence_transformers)
    return None
