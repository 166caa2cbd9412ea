"""Encoding of profiles with the encoder of the settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spike_dgl.profiles.encoders import Encoder, TfidfSvdEncoder
from spike_dgl.profiles.encoders.cache import NewTable, PretrainedEncoder, VectorCache, encode_once, in_memory
from spike_dgl.profiles.encoders.openai import OpenAIEncoder
from spike_dgl.profiles.encoders.sentence_transformers import SentenceTransformersEncoder, minilm
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.typing import FloatArray


def encode_profiles(
    texts: Sequence[str],
    options: ProfileOptions,
    *,
    progress: bool = False,
    new_table: NewTable = in_memory,
) -> tuple[Encoder, FloatArray]:
    """Encode texts as vectors.

    Parameters
    ----------
    texts
        All profiles of a data set.
    options
        Settings: `ProfileOptions.encoder` and those of the encoder.
    progress
        Show a progress bar for pretrained encoders.
    new_table
        Creates the table that the vectors of pretrained encoders are written to.

    Returns
    -------
    tuple
        The encoder, for further texts, and the vectors [n, d_t].
    """
    encoder = pretrained_encoder(options)
    if encoder is None:
        return TfidfSvdEncoder.fit(texts, options.vector_dim, options.seed)
    with VectorCache.open(Path(options.vector_cache)) as cache:
        return encoder, encode_once(encoder, texts, cache, progress=progress, new_table=new_table)


def pretrained_encoder(options: ProfileOptions) -> PretrainedEncoder | None:
    """Return the pretrained encoder of the settings; None for ``tfidf-svd``, which is fitted."""
    if options.encoder == "openai":
        return OpenAIEncoder(options.openai)
    if options.encoder == "sentence-transformers":
        return SentenceTransformersEncoder(options.sentence_transformers)
    if options.encoder == "minilm":
        return minilm(options.sentence_transformers)
    return None
