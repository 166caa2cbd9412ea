"""Export to RecBole's atomic files, one file of interactions per split ("benchmark files" in RecBole)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from spike_dgl.data.dataset import Dataset, Vocabulary
from spike_dgl.data.export.tables import as_cell, check_ids, parts_of, raw_pairs, write_table

HOW_TO_READ = """RecBole reads these files with

```yaml
data_path: FOLDER                # the parent of this folder
dataset: {name}
benchmark_filename: [{parts}]
load_col: {{inter: [user_id, item_id], kg: [head_id, relation_id, tail_id], link: [item_id, entity_id]}}
```"""


def write(dataset: Dataset, folder: Path) -> list[Path]:
    """Write interactions, knowledge graph, links and names as atomic files; return their paths.

    `spike_dgl.data.formats.recbole` reads back the same rows, splits and triples of raw ids.

    Parameters
    ----------
    dataset
        Data set to write.
    folder
        Existing folder to write to; RecBole uses its name as the data set's name.

    Raises
    ------
    DataError
        If a raw id contains a tab or a line break.
    """
    check_ids(dataset.users, dataset.items, dataset.entities, dataset.relations)
    return [
        write_table(folder / f"{folder.name}.{kind}", chain([header], rows))
        for kind, header, rows in _tables(dataset)
    ]


def _tables(dataset: Dataset) -> Iterator[tuple[str, tuple[str, ...], Iterable[Sequence[str]]]]:
    """Yield the extension, header and rows of each file."""
    for part, pairs in parts_of(dataset).items():
        yield f"{part}.inter", ("user_id:token", "item_id:token"), raw_pairs(dataset, pairs)
    yield "kg", ("head_id:token", "relation_id:token", "tail_id:token"), _facts(dataset)
    links = zip(dataset.items.ids, dataset.entities.ids, strict=False)
    yield "link", ("item_id:token", "entity_id:token"), links
    for vocabulary in (dataset.users, dataset.items, dataset.entities):
        yield vocabulary.kind, (f"{vocabulary.kind}_id:token", "name:token_seq"), _names(vocabulary)


def _facts(dataset: Dataset) -> Iterator[tuple[str, str, str]]:
    triples, entities, relations = dataset.triples, dataset.entities.ids, dataset.relations.ids
    for head, relation, tail in zip(triples.heads, triples.relations, triples.tails, strict=True):
        yield entities[head], relations[relation], entities[tail]


def _names(vocabulary: Vocabulary) -> Iterator[tuple[str, str]]:
    for raw, name in zip(vocabulary.ids, vocabulary.names, strict=True):
        yield raw, as_cell(name)


def how_to_read(dataset: Dataset, folder: Path) -> str:
    """Return the RecBole configuration for the files."""
    return HOW_TO_READ.format(name=folder.name, parts=", ".join(parts_of(dataset)))
