"""Vectors that were paid for, or took long, kept in a file: no text is encoded twice by one encoder."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

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
"""Hashes asked for in one query; sqlite takes no more than 999 everywhere."""


class PretrainedEncoder(Encoder, Protocol):
    """An encoder whose vector of a text does not depend on other texts, so that it can be kept.

    Attributes
    ----------
    batch_size
        Texts that are best encoded together, as far as is known by now.
    max_tokens
        Tokens of a text that the model reads; None where that is not known.
    cut_texts
        Texts encoded so far of which the model has not read the end.
    on_retry
        Called with the reason where a batch takes longer than it should.
    """

    batch_size: int
    max_tokens: int | None
    cut_texts: int
    on_retry: Callable[[str], None] | None


class VectorCache:
    """Vectors by encoder and text, in an sqlite file that several processes may use at a time.

    Parameters
    ----------
    file
        The file; it is made where it is missing.
    connection
        To that file.
    """

    def __init__(self, file: Path, connection: sqlite3.Connection) -> None:
        self.file, self._connection = file, connection

    @classmethod
    @contextmanager
    def open(cls, file: Path) -> Iterator[VectorCache]:
        """The cache in a file. Raises `DataError` where that is something else."""
        try:
            with closing(_connect(file)) as connection:
                yield cls(file, connection)
        except sqlite3.Error as error:
            remedy = (
                "Name another file with profiles.vector_cache, or delete this one: vectors are made anew."
            )
            raise DataError(file, f"cannot be used to keep vectors ({error})", remedy) from None

    def read(self, encoder: str, hashes: Sequence[str]) -> dict[str, FloatArray]:
        """The vectors that are there, by text hash."""
        found: dict[str, FloatArray] = {}
        for start in range(0, len(hashes), AT_ONCE):
            part = hashes[start : start + AT_ONCE]
            marks = ",".join("?" * len(part))
            query = f"SELECT text_hash, vector FROM vectors WHERE encoder = ? AND text_hash IN ({marks})"
            for key, blob in self._connection.execute(query, (encoder, *part)):
                found[key] = np.frombuffer(blob, np.float32)
        return found

    def add(self, encoder: str, hashes: Sequence[str], vectors: FloatArray) -> None:
        """Keep some vectors; they survive whatever happens afterwards."""
        rows = [
            (encoder, key, vector.tobytes())
            for key, vector in zip(hashes, vectors.astype(np.float32), strict=True)
        ]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)


def _connect(file: Path) -> sqlite3.Connection:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            file, f"cannot be made ({error.strerror})", "Name another with profiles.vector_cache."
        ) from None
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS)
    try:
        # No write-ahead log: switching to it fails at once, without waiting, where another process does the same.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(SCHEMA)
        connection.commit()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def encode_once(
    encoder: PretrainedEncoder, texts: Sequence[str], cache: VectorCache, *, progress: bool = False
) -> FloatArray:
    """Vectors [n, d_t] of texts, of which the encoder sees only those that the cache lacks, each once.

    Parameters
    ----------
    encoder
        Its name is part of what vectors are kept under.
    texts
        Empty ones get zeros without being encoded.
    cache
        Every batch is kept there as soon as it is done.
    progress
        Whether to show a progress bar.

    Warns
    -----
    SpikeWarning
        Where the model does not read the ends of some texts.

    Raises
    ------
    DataError
        Where the encoder's vectors have another dimension than those it made before under the same name.
    """
    hashes = [text_hash(text) if text else "" for text in texts]
    text_of = {key: text for key, text in zip(hashes, texts, strict=True) if key}
    vectors = cache.read(encoder.name, list(text_of))
    missing = [key for key in text_of if key not in vectors]
    done, cut_before = 0, encoder.cut_texts
    with tqdm(total=len(missing), desc="encoding", unit=" texts", disable=not progress) as bar:
        encoder.on_retry = lambda reason: bar.set_postfix_str(f"sent again: {reason}")
        while done < len(missing):
            batch = missing[done : done + encoder.batch_size]
            encoded = encoder.encode([text_of[key] for key in batch])
            _check_dimension(encoder.name, encoded, vectors, cache.file)
            cache.add(encoder.name, batch, encoded)
            vectors.update(zip(batch, encoded, strict=True))
            done += len(batch)
            bar.update(len(batch))
    encoder.on_retry = None
    _warn_of_cut_texts(encoder, encoder.cut_texts - cut_before, len(missing))
    nothing = np.zeros_like(next(iter(vectors.values()), np.zeros(1, np.float32)))
    return np.stack([vectors.get(key, nothing) for key in hashes]) if hashes else nothing[None][:0]


def _warn_of_cut_texts(encoder: PretrainedEncoder, cut: int, encoded: int) -> None:
    if cut:
        limit = f"{encoder.max_tokens} tokens" if encoder.max_tokens else "text"
        warnings.warn(
            f"{cut:,} of {encoded:,} texts are longer than the {limit} that {encoder.name} reads: their ends are in no "
            "vector. Shorter texts (profiles.llm.prompts, profiles.item_words) or another model would fix it.",
            SpikeWarning,
            stacklevel=3,
        )


def _check_dimension(name: str, encoded: FloatArray, kept: dict[str, FloatArray], file: Path) -> None:
    known = next(iter(kept.values()), encoded[0])
    if len(known) != encoded.shape[1]:
        problem = f"holds vectors of dimension {len(known)} by {name}, which now gives {encoded.shape[1]}"
        remedy = "Another model bears the old one's name: use another file, profiles.vector_cache=FILE."
        raise DataError(file, problem, remedy)
