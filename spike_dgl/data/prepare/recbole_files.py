"""Writes a prepared data set once more as RecBole's atomic files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from spike_dgl.data.prepare.write import PreparedDataset, write_lines


def write_recbole(dataset: PreparedDataset, folder: Path) -> None:
    """Write ``NAME.train.inter``, ``.valid.inter``, ``.test.inter``, ``.kg``, ``.link``, ``.item`` and ``.entity``.

    NAME is that of the folder, as RecBole wants it; it reads the split with
    ``benchmark_filename: [train, valid, test]``. Tabs in names and texts become spaces.
    """
    folder.mkdir(parents=True)
    graph, users, items = dataset.graph, dataset.user_ids, dataset.item_ids
    for part in ("train", "valid", "test"):
        pairs = getattr(dataset, part)
        rows = zip(pairs.users.tolist(), pairs.items.tolist(), strict=True)
        _write(
            folder,
            f"{part}.inter",
            ("user_id:token", "item_id:token"),
            ((users[u], items[i]) for u, i in rows),
        )
    entities, relations = graph.entity_ids, graph.relation_ids
    triples = zip(*(column.tolist() for column in vars(graph.triples).values()), strict=True)
    facts = ((entities[head], relations[relation], entities[tail]) for head, relation, tail in triples)
    _write(folder, "kg", ("head_id:token", "relation_id:token", "tail_id:token"), facts)
    _write(folder, "link", ("item_id:token", "entity_id:token"), zip(items, entities, strict=False))
    _write(
        folder,
        "entity",
        ("entity_id:token", "name:token_seq"),
        zip(entities, graph.entity_names, strict=True),
    )
    described = (
        (item, graph.entity_names[row], dataset.item_texts.get(row, "")) for row, item in enumerate(items)
    )
    _write(folder, "item", ("item_id:token", "title:token_seq", "description:token_seq"), described)


def _write(folder: Path, kind: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = ("\t".join(" ".join(cell.split()) for cell in row) for row in rows)
    write_lines(folder / f"{folder.name}.{kind}", ["\t".join(header), *lines])
