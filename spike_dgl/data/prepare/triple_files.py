"""Reading of knowledge graphs from files of triples (Freebase, DBpedia, Wikidata) that are linked to items."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spike_dgl.data.files import no_match
from spike_dgl.data.names import readable_entity
from spike_dgl.data.prepare.csv_rows import SEPARATOR
from spike_dgl.data.prepare.knowledge import Fact
from spike_dgl.data.prepare.layouts import Layout
from spike_dgl.data.prepare.matching import Matches
from spike_dgl.data.prepare.n_triples import parse_triple, resource
from spike_dgl.data.prepare.options import PrepareOptions
from spike_dgl.data.prepare.part_files import extension_of, files_of
from spike_dgl.data.prepare.tables import Reading, read_rows
from spike_dgl.data.values import corrected_ids, is_missing, is_whole

_RECBOLE_COLUMNS = {
    ".kg": ("head_id:token", "relation_id:token", "tail_id:token"),
    ".link": ("item_id:token", "entity_id:token"),
    ".entity": ("entity_id:token", "name:token_seq"),
}
"""Columns of text files that have a header, by extension; all other text files have none."""
_TRIPLE, _LINK, _NAME = ("head", "relation", "tail"), ("item", "entity"), ("entity", "name")
"""Columns of Parquet files."""


@dataclass(frozen=True)
class TripleFiles:
    """Files of triples, links and names; see `PrepareOptions` for `hops`."""

    triples: Path
    links: Path
    entity_names: Path | None
    hops: int

    @classmethod
    def from_options(cls, options: PrepareOptions) -> TripleFiles | None:
        """Take the files from options; None if there are none."""
        if options.triples is None or options.links is None:
            return None
        names = None if options.entity_names is None else Path(options.entity_names)
        return cls(Path(options.triples), Path(options.links), names, options.hops)

    def linked_items(
        self, items: Mapping[str, str], reading: Reading
    ) -> tuple[dict[str, str], dict[str, int]]:
        """Read the links between items and entities of the triples.

        Parameters
        ----------
        items
            Entity id of each item by its raw id; links of other items are ignored.
        reading
            Counter of broken lines and missing values.

        Returns
        -------
        tuple
            The item's entity id by entity of the triples, one to one, where the first link counts. And the numbers of
            links in the file, of links of `items`, and of links used.

        Raises
        ------
        DataError
            If the file has no link of any of the items.
        """
        matches = Matches(self.links, "item", items)
        ours = [
            (item, self._entity(entity))
            for raw, entity in _cells(self.links, _LINK, reading, items)
            if (item := matches.find(raw)) is not None
        ]
        matches.check()
        corrections = corrected_ids({entity for _, entity in ours})
        linked, taken = dict[str, str](), set[str]()
        for item, raw in ours:
            entity = corrections.get(raw, raw)
            if entity not in linked and item not in taken:
                linked[entity] = item
                taken.add(item)
        return linked, {"links": matches.rows, "links_of_items": len(ours), "links_used": len(linked)}

    def facts(self, linked: Mapping[str, str], reading: Reading) -> Iterator[Fact]:
        """Yield triples at most `hops` from a linked entity, with linked entities replaced by their items.

        The file is read once per hop, so that memory holds only entities near the items, not all of Wikidata. Raises
        `DataError` if no triple has a linked entity.
        """
        near, meant = set(linked), self._whole_numbers(linked)
        for hop in range(1, self.hops + 1):
            # Count broken lines in the first pass only.
            this = reading if hop == 1 else Reading(reading.limit, reading.progress)
            ends, rows, found, example = set[str](), 0, False, ""
            for row in _triples(self.triples, this):
                head, relation, tail = (meant(row[0]), row[1], meant(row[2])) if meant else row
                rows, example = rows + 1, example or head
                if head not in near and tail not in near:
                    continue
                found = True
                if hop < self.hops:
                    ends |= {head, tail}
                else:
                    yield Fact(_linked(head, linked), one_word(relation), _linked(tail, linked), "")
            if not found:
                raise no_match(self.triples, rows, "an entity", example, next(iter(linked)), "the links")
            near |= ends

    def names(self, reading: Reading) -> dict[str, str]:
        """Return readable names by entity; empty if there is no file of names."""
        if self.entity_names is None:
            return {}
        names = {
            self._entity(entity): readable_entity(name)
            for entity, name in _cells(self.entity_names, _NAME, reading)
        }
        corrections = corrected_ids(names.keys())
        return {one_word(corrections.get(entity, entity)): name for entity, name in names.items()}

    def check_names(self, names: Mapping[str, str], entities: Sequence[str]) -> None:
        """Raise `DataError` if there is a file of names, but it has none of the entities."""
        if self.entity_names is not None and entities and names.keys().isdisjoint(map(one_word, entities)):
            example = next(iter(names), "")
            raise no_match(self.entity_names, len(names), "an entity", example, entities[0], "the triples")

    def _entity(self, raw: str) -> str:
        """Return an entity of links or names as the triples spell it."""
        return resource(raw) if _is_n_triples(self.triples) else raw

    def _whole_numbers(self, linked: Iterable[str]) -> Callable[[str], str] | None:
        """Return a function that writes 101.0 as 101 if all entities are whole numbers, else None."""
        if all(map(is_whole, linked)) and all(
            is_whole(head) and is_whole(tail)
            for head, _, tail in _triples(self.triples, Reading(limit=sys.maxsize))
        ):
            return lambda entity: entity.removesuffix(".0")
        return None


def _linked(entity: str, linked: Mapping[str, str]) -> str:
    return linked.get(entity) or one_word(entity)


def _is_n_triples(file: Path) -> bool:
    return extension_of(file) == ".nt"


def _triples(file: Path, reading: Reading) -> Iterator[tuple[str, ...]]:
    if not _is_n_triples(file):
        yield from _cells(file, _TRIPLE, reading)
        return
    layout = Layout("csv", SEPARATOR, quoted=False, header=("line",))
    rows = ((part, row) for part in files_of(file) for row in read_rows(part, ("line",), reading, layout))
    for part, (line, [text]) in rows:
        try:
            triple = parse_triple(text)
        except ValueError as error:
            reading.skip(part, line, str(error))
            continue
        if triple is not None and _is_complete(triple, file, reading):
            yield triple


def _cells(
    file: Path, columns: Sequence[str], reading: Reading, known: Container[str] = ()
) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each row without missing values; ids in `known` are never missing values.

    Text files are tab-separated; `columns` are the column names in Parquet.
    """
    extension = extension_of(file)
    named = _RECBOLE_COLUMNS.get(extension)
    layout = Layout("csv", "\t", quoted=False, header=None if named else tuple(columns))
    if extension == ".parquet":
        layout = Layout("parquet")
    for _, cells in read_rows(file, named or columns, reading, layout):
        stripped = tuple("" if cell is None else str(cell).strip() for cell in cells)
        if _is_complete(stripped, file, reading, known):
            yield stripped


def _is_complete(cells: Sequence[str], file: Path, reading: Reading, known: Container[str] = ()) -> bool:
    """Return whether no cell is a missing value; counts the first that is."""
    missing = next((cell for cell in cells if is_missing(cell) and cell not in known), None)
    if missing is not None:
        reading.note_missing(file.name, missing or "blank")
    return missing is None


def one_word(raw: str) -> str:
    """Return a raw id without white space, as in the knowledge graph."""
    return "_".join(raw.split())
