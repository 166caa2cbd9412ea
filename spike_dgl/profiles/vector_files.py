"""Vectors in the authors' files: ``user_embeddings.npz``, ``item_embeddings.npz``, ``entity_embeddings.npz``.

Each contains `ids` and `embeddings`; ids of auxiliary entities start at 0. Files of this program also contain the name
of the `encoder`, and `text_hashes` to find vectors whose text has changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spike_dgl.data.dataset import Dataset, NodeVectors
from spike_dgl.errors import ConfigError, DataError
from spike_dgl.profiles.encode import pretrained_encoder
from spike_dgl.profiles.encoders.encoder import text_hash
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.records import Profiles
from spike_dgl.typing import FloatArray

ENCODE_AGAIN = (
    "Encode again (python main.py profile encode data.path=FOLDER --out FOLDER), or delete *_embeddings.npz."
)


def write_vectors(folder: Path, profiles: Profiles, num_items: int) -> list[Path]:
    """Write the vectors of all nodes and return the files' paths.

    Parameters
    ----------
    folder
        Output folder, created if missing. Files with these names are replaced.
    profiles
        Profiles with vectors and the texts they were made from.
    num_items
        I; the entities after the first I are auxiliary.
    """
    if profiles.user_vectors is None or profiles.entity_vectors is None:
        raise ConfigError("profiles.source is 'none': there is nothing to encode")
    folder.mkdir(parents=True, exist_ok=True)
    items, auxiliary = slice(num_items), slice(num_items, None)
    parts = {
        "user": (profiles.user_texts, profiles.user_vectors),
        "item": (profiles.entity_texts[items], profiles.entity_vectors[items]),
        "entity": (profiles.entity_texts[auxiliary], profiles.entity_vectors[auxiliary]),
    }
    return [
        _write(folder / f"{kind}_embeddings.npz", texts, vectors, profiles.encoder)
        for kind, (texts, vectors) in parts.items()
    ]


def _write(file: Path, texts: Sequence[str], vectors: FloatArray, encoder: str) -> Path:
    hashes = np.array([text_hash(text) for text in texts], dtype="S64")
    np.savez(
        file, ids=np.arange(len(texts)), embeddings=vectors, encoder=np.array(encoder), text_hashes=hashes
    )
    return file


def refuse_unfit_vectors(dataset: Dataset, vectors: NodeVectors, options: ProfileOptions) -> None:
    """Check that a data set's vectors match its texts and the requested encoder.

    Nodes without a text in the data set are not checked, and neither are files without text hashes.

    Raises
    ------
    DataError
        If a text has changed since it was encoded.
    ConfigError
        If the settings name an encoder other than ``tfidf-svd``, and the vectors are not of that encoder.
    """
    asked = pretrained_encoder(options)
    if asked is not None and asked.name != vectors.encoder:
        made_by = f"of '{vectors.encoder}'" if vectors.encoder else "of an unknown encoder"
        raise ConfigError(
            f"profiles.encoder is '{asked.name}', but {dataset.name} has vectors {made_by}\n"
            f"  Leave out profiles.encoder to use them. {ENCODE_AGAIN}"
        )
    texts = dataset.profiles
    _refuse_stale(dataset, "user", dataset.users.ids, texts.users, vectors.user_hashes)
    _refuse_stale(dataset, "item and entity", dataset.entities.ids, texts.entities, vectors.entity_hashes)


def _refuse_stale(
    dataset: Dataset,
    kind: str,
    ids: Sequence[str],
    texts: Mapping[int, str],
    hashes: NDArray[np.bytes_] | None,
) -> None:
    if hashes is None:
        return
    stale = [row for row, text in texts.items() if text_hash(text.strip()).encode() != hashes[row]]
    if stale:
        problem = (
            f"{len(stale):,} of {len(texts):,} {kind} vectors do not match their texts, "
            f"the first is that of '{ids[min(stale)]}'"
        )
        raise DataError(dataset.name, problem, ENCODE_AGAIN)
