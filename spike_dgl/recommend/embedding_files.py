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


def write_embeddings(recommender: Recommender, folder: str | Path) -> None:
    """Write what scores are made of: all files, or after an error none.

    ================================ =========================================================================
    ``users.npy``, ``items.npy``     float32 [U, D] and [I, D]; the score of a user and an item is their inner
                                     product, likeness of two items the cosine of theirs
    ``users.csv``, ``items.csv``     columns id and name, a line for each row of the array
    ``embeddings.json``              sizes, the two relations above, and whether all items have length one
    ================================ =========================================================================

    Parameters
    ----------
    recommender
        Items that were added to it are written too.
    folder
        New or empty; it is made with the folders above it.

    Raises
    ------
    SpikeError
        Where the folder holds something.
    DataError
        Where it cannot be written.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise SpikeError(f"{folder} already holds files\n  Name another folder, or empty it.")
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
            # Then inner product, cosine and distance order items alike, and any index will do.
            "items_have_length_one": bool(np.allclose(np.linalg.norm(items, axis=1), 1.0, atol=1e-4)),
        }
        text = json.dumps(facts, indent=2) + "\n"
        (partial / "embeddings.json").write_text(text, encoding="utf-8")


def _write_side(folder: Path, name: str, embeddings: FloatArray, vocabulary: Vocabulary) -> None:
    np.save(folder / f"{name}.npy", np.ascontiguousarray(embeddings, dtype=np.float32))
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["id", "name"])
        writer.writerows(zip(vocabulary.ids, vocabulary.names, strict=True))
