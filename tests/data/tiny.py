"""Tiny valid data sets in each format, small enough to check by hand.

Three users, four items, six entities (two auxiliary: a genre and a director) and two relations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

SPIKE: dict[str, str] = {
    "train.txt": "0 0 1\n1 2\n2 3 0\n",
    "test.txt": "0 2\n1 3\n2\n",
    "valid.txt": "0 3\n",
    "kg_final.txt": "0 0 4\n1 0 4\n2 1 5\n",
    "relation_list.txt": "org_id remap_id\nhasGenre 0\nhttp://example.org/ns/film.directed_by 1\n",
    "entity_names.txt": "Alien\nBlade Runner\nCasablanca\nDune\nScience fiction\nRidley Scott\n",
    "user_list.txt": "org_id remap_id\nann 0\nbob 1\ncarol ann 2\n",
    "item_list.txt": "org_id remap_id freebase_id\nB01 0 m.1\nB02 1 m.2\nB03 2 m.3\nB04 3 m.4\n",
    "entity_list.txt": "org_id remap_id\nm.1 0\nm.2 1\nm.3 2\nm.4 3\nm.5 4\nm.6 5\n",
    "user_profiles.json": json.dumps({"0": "Likes space.", "2": "Likes Paris."}),
    "item_profiles.json": json.dumps({"0": "A ship.", "1": ""}),
    "entity_profiles.json": json.dumps({"1": "A director."}),
}
SPIKE_NEEDED = ("train.txt", "test.txt", "kg_final.txt")

RECBOLE: dict[str, str] = {
    "t.train.inter": "user_id:token\titem_id:token\ttimestamp:float\nu1\ta\t1\nu1\tb\t2\nu2\tc\t3\n",
    "t.valid.inter": "user_id:token\titem_id:token\ttimestamp:float\nu2\ta\t4\n",
    "t.test.inter": "user_id:token\titem_id:token\ttimestamp:float\nu1\tc\t5\n",
    "t.kg": (
        "head_id:token\trelation_id:token\ttail_id:token\n"
        "m.1\tfilm.film.genre\tm.9\nm.2\tfilm.film.genre\tm.9\nm.8\tdirected_film\tm.1\n"
    ),
    "t.link": "item_id:token\tentity_id:token\na\tm.1\nb\tm.2\n",
    "t.item": (
        "item_id:token\ttitle:token_seq\tgenre:token_seq\tyear:float\tprofile:token_seq\n"
        "a\tAlien\tHorror\t1979\tA ship.\nd\tDune\t\t\t\n"
    ),
    "t.user": "user_id:token\tgender:token\tage_group:token\nu1\tF\tUnder 18\n",
    "t.entity": "entity_id:token\tname:token_seq\nm.2\tBlade_Runner\nm.9\t%22Sci%22_Fi\n",
}


def write_folder(folder: Path, files: Mapping[str, str], **changes: str | None) -> Path:
    """Write files to a new folder; `changes` replace files (two underscores for a dot), None omits a file."""
    folder.mkdir(parents=True, exist_ok=True)
    replaced = {name.replace("__", "."): content for name, content in changes.items()}
    for name, content in {**files, **replaced}.items():
        if content is not None:
            (folder / name).write_text(content, encoding="utf-8")
    return folder


def write_vectors(folder: Path, dimension: int = 3) -> None:
    """Write vectors in the authors' format, ids in descending order; row i is filled with i."""
    for kind, size in (("user", 3), ("item", 4), ("entity", 2)):
        ids = np.arange(size)[::-1]
        embeddings = np.repeat(ids[:, None], dimension, axis=1).astype(np.float32)
        np.savez(folder / f"{kind}_embeddings.npz", ids=ids, embeddings=embeddings)
