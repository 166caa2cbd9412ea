"""Final embeddings of a run as plain files, for a vector index."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from spike_dgl.data.dataset import Vocabulary
from spike_dgl.data.prepare.write import new_folder
from spike_dgl.errors import SpikeError
from spike_dgl.recommend.recommender import Recommender
from spike_dgl.typing import FloatArray

ROWS_AT_ONCE = 1 << 16


def write_embeddings(recommender: Recommender, folder: str | Path) -> None:
    """Write the final embeddings of a run; after an error no files are left.

    ================================ =========================================================================
    ``users.npy``, ``items.npy``     float32 [U, D] and [I, D]; the score of a user and an item is their inner
                                     product, the similarity of two items is their cosine
    ``users.csv``, ``items.csv``     columns id and name, one line per row of the array
    ``embeddings.json``              sizes, how to compute scores and similarity, and whether items are normalised
    ================================ =========================================================================

    Parameters
    ----------
    recommender
        Source of the embeddings; added items are included.
    folder
        New or empty folder; missing parent folders are created.

    Raises
    ------
    SpikeError
        If the folder is not empty.
    DataError
        If it cannot be written.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise SpikeError(f"{folder} is not empty\n  Choose another folder, or empty it.")
    users, items = recommender.user_embeddings, recommender.item_embeddings
    with new_folder(folder) as partial:
        _write_side(partial, "users", users, recommender.users)
        _write_side(partial, "items", items, recommender.items)
        facts = {
            "users": len(users),
            "items": len(items),
            "dimension": items.shape[1],
            "score": "inner product",
            "item_similarity": "cosine",
            # If so, inner product, cosine and distance rank items alike, and any type of index can be used.
            "items_have_length_one": _have_length_one(items),
        }
        text = json.dumps(facts, indent=2) + "\n"
        (partial / "embeddings.json").write_text(text, encoding="utf-8")


def _have_length_one(embeddings: FloatArray) -> bool:
    """Return whether all rows have length one; some rows at a time, since they may be larger than memory."""
    starts = range(0, len(embeddings), ROWS_AT_ONCE)
    blocks = (embeddings[start : start + ROWS_AT_ONCE] for start in starts)
    return all(bool(np.allclose(np.linalg.norm(block, axis=1), 1.0, atol=1e-4)) for block in blocks)


def _write_side(folder: Path, name: str, embeddings: FloatArray, vocabulary: Vocabulary) -> None:
    np.save(folder / f"{name}.npy", np.ascontiguousarray(embeddings, dtype=np.float32))
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["id", "name"])
        writer.writerows(zip(vocabulary.ids, vocabulary.names, strict=True))
