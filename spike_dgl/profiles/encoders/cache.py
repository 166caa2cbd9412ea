"""Cache file of vectors, so that a pretrained encoder encodes no text twice."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from tqdm import tqdm

from spike_dgl.errors import DataError, SpikeWarning
from spike_dgl.profiles.encoders.encoder import Encoder, text_hash
from spike_dgl.typing import FloatArray

SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (
    encoder TEXT NOT NULL,
    text_hash TEXT NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (encoder, text_hash)
) WITHOUT ROWID
"""
BUSY_SECONDS = 60
AT_ONCE = 500
"""Maximum number of hashes per query; some builds of SQLite allow only 999 parameters."""

NewTable: TypeAlias = Callable[[tuple[int, int]], FloatArray]
"""Function that creates a table of vectors of a shape [n, d_t]."""


def in_memory(shape: tuple[int, int]) -> FloatArray:
    """Create a table of vectors in memory."""
    return np.empty(shape, np.float32)


class PretrainedEncoder(Encoder, Protocol):
    """An encoder whose vector of a text does not depend on other texts, so that it can be cached.

    Attributes
    ----------
    batch_size
        Number of texts to encode at once; may change as the encoder learns the server's limit.
    max_tokens
        Maximum number of tokens of a text; None if unknown.
    cut_texts
        Number of texts encoded so far that were truncated.
    on_retry
        Called with the reason before a batch is retried.
    """

    batch_size: int
    max_tokens: int | None
    cut_texts: int
    on_retry: Callable[[str], None] | None


class VectorCache:
    """Vectors by encoder and text, in an SQLite file that several processes can use at once.

    Parameters
    ----------
    file
        Path of the file.
    connection
        Connection to the file.
    """

    def __init__(self, file: Path, connection: sqlite3.Connection) -> None:
        self.file, self._connection = file, connection

    @classmethod
    @contextmanager
    def open(cls, file: Path) -> Iterator[VectorCache]:
        """Open a cache file, creating it if missing. Raises `DataError` if it is not a cache."""
        try:
            with closing(_connect(file)) as connection:
                yield cls(file, connection)
        except sqlite3.Error as error:
            remedy = "Name another file with profiles.vector_cache, or delete this one to encode again."
            raise DataError(file, f"cannot be used as a vector cache ({error})", remedy) from None

    def read(self, encoder: str, hashes: Sequence[str]) -> dict[str, FloatArray]:
        """Return the cached vectors by text hash."""
        parts = (
            self._rows("text_hash, vector", encoder, hashes[at : at + AT_ONCE]) for at in _starts(hashes)
        )
        return {key: np.frombuffer(blob, np.float32) for part in parts for key, blob in part}

    def write(self, encoder: str, hashes: Sequence[str], table: FloatArray) -> None:
        """Write the cached vector of each hash to its row of `table` [n, d_t], zeros for those without one."""
        for start in _starts(hashes):
            part = hashes[start : start + AT_ONCE]
            found, nothing = self.read(encoder, part), np.zeros(table.shape[1], table.dtype)
            table[start : start + AT_ONCE] = [found.get(key, nothing) for key in part]

    def known(self, encoder: str, hashes: Sequence[str]) -> set[str]:
        """Return the hashes whose vectors are cached."""
        rows = (self._rows("text_hash", encoder, hashes[at : at + AT_ONCE]) for at in _starts(hashes))
        return {key for part in rows for (key,) in part}

    def _rows(self, columns: str, encoder: str, hashes: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        marks = ",".join("?" * len(hashes))
        query = f"SELECT {columns} FROM vectors WHERE encoder = ? AND text_hash IN ({marks})"
        return iter(self._connection.execute(query, (encoder, *hashes)))

    def add(self, encoder: str, hashes: Sequence[str], vectors: FloatArray) -> None:
        """Store vectors and commit them."""
        rows = [
            (encoder, key, vector.tobytes())
            for key, vector in zip(hashes, vectors.astype(np.float32), strict=True)
        ]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)


def _starts(hashes: Sequence[str]) -> range:
    return range(0, len(hashes), AT_ONCE)


def _connect(file: Path) -> sqlite3.Connection:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            file, f"cannot be created ({error.strerror})", "Name another file with profiles.vector_cache."
        ) from None
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS)
    try:
        # No write-ahead log: switching to it fails at once if another process does the same.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(SCHEMA)
        connection.commit()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def encode_once(
    encoder: PretrainedEncoder,
    texts: Sequence[str],
    cache: VectorCache,
    *,
    progress: bool = False,
    new_table: NewTable = in_memory,
) -> FloatArray:
    """Return vectors [n, d_t] of texts, encoding only those that the cache lacks, each once.

    Parameters
    ----------
    encoder
        Encoder; its name is part of the cache's key.
    texts
        Texts. Empty ones get zero vectors and are not encoded.
    cache
        Cache in which each batch is stored as soon as it is encoded.
    progress
        Show a progress bar.
    new_table
        Creates the table that the vectors are written to. No other holds more than a batch of them.

    Warns
    -----
    SpikeWarning
        If the model truncates some texts.

    Raises
    ------
    DataError
        If the dimension differs from that of the vectors cached under the same encoder name.
    """
    hashes = [text_hash(text) if text else "" for text in texts]
    text_of = {key: text for key, text in zip(hashes, texts, strict=True) if key}
    known = cache.known(encoder.name, list(text_of))
    missing = [key for key in text_of if key not in known]
    dim = len(next(iter(cache.read(encoder.name, list(known)[:1]).values()), ()))
    done, cut_before = 0, encoder.cut_texts
    with tqdm(total=len(missing), desc="encoding", unit=" texts", disable=not progress) as bar:
        encoder.on_retry = lambda reason: bar.set_postfix_str(f"retry: {reason}")
        while done < len(missing):
            batch = missing[done : done + encoder.batch_size]
            encoded = encoder.encode([text_of[key] for key in batch])
            dim = dim or encoded.shape[1]
            _check_dimension(encoder.name, encoded, dim, cache.file)
            cache.add(encoder.name, batch, encoded)
            done += len(batch)
            bar.update(len(batch))
    encoder.on_retry = None
    _warn_of_cut_texts(encoder, encoder.cut_texts - cut_before, len(missing))
    table = new_table((len(hashes), dim or 1))
    cache.write(encoder.name, hashes, table)
    return table


def _warn_of_cut_texts(encoder: PretrainedEncoder, cut: int, encoded: int) -> None:
    if cut:
        limit = f" of {encoder.max_tokens} tokens" if encoder.max_tokens else ""
        warnings.warn(
            f"{cut:,} of {encoded:,} texts exceed the limit{limit} of {encoder.name} and were truncated. "
            "Use shorter texts (profiles.llm.prompts, profiles.item_words) or another model.",
            SpikeWarning,
            stacklevel=3,
        )


def _check_dimension(name: str, encoded: FloatArray, dim: int, file: Path) -> None:
    if dim != encoded.shape[1]:
        problem = f"has vectors of dimension {dim} by {name}, which now returns {encoded.shape[1]}"
        remedy = "The model has changed under the same name: use another file, profiles.vector_cache=FILE."
        raise DataError(file, problem, remedy)
