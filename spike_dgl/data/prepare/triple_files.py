"""Knowledge graphs that come as files of triples (Freebase, DBpedia, Wikidata), linked to items."""

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
from spike_dgl.data.prepare.streams import unpacked_name
from spike_dgl.data.prepare.tables import Reading, read_rows
from spike_dgl.data.values import corrected_ids, is_missing, is_whole

_RECBOLE_COLUMNS = {
    ".kg": ("head_id:token", "relation_id:token", "tail_id:token"),
    ".link": ("item_id:token", "entity_id:token"),
    ".entity": ("entity_id:token", "name:token_seq"),
}
"""Such files begin with a header; all others begin with data."""


@dataclass(frozen=True)
class TripleFiles:
    """Where triples, links and names stand; `hops` is as in `PrepareOptions`."""

    triples: Path
    links: Path
    entity_names: Path | None
    hops: int

    @classmethod
    def from_options(cls, options: PrepareOptions) -> TripleFiles | None:
        """The files that the options name, if they name any."""
        if options.triples is None or options.links is None:
            return None
        names = None if options.entity_names is None else Path(options.entity_names)
        return cls(Path(options.triples), Path(options.links), names, options.hops)

    def linked_items(
        self, items: Mapping[str, str], reading: Reading
    ) -> tuple[dict[str, str], dict[str, int]]:
        """Which item each linked entity is, and how many links there were.

        Parameters
        ----------
        items
            Entity id of each item by its raw id; links of other items are left out.
        reading
            Counts lines that are no link, and links in which something is missing.

        Returns
        -------
        tuple
            Item's entity id by entity of the triples: the first item that is linked to it, and of an item's links
            the first. And the numbers of links in the file, of those of our items, and of those that were used.

        Raises
        ------
        DataError
            If the file has no link of any of the items.
        """
        matches = Matches(self.links, "item", items)
        ours = [
            (item, self._entity(entity))
            for raw, entity in _cells(self.links, 2, reading, items)
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
        """Triples at most `hops` from a linked entity, with items in the place of the entities linked to them.

        The file is read once a hop, so that memory holds what is near the items, not the whole of Wikidata. Raises
        `DataError` if no triple names a linked entity.
        """
        near, meant = set(linked), self._whole_numbers(linked)
        for hop in range(1, self.hops + 1):
            # Broken lines are counted in the first pass.
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
        """Readable names of entities, as far as the files have them."""
        if self.entity_names is None:
            return {}
        names = {
            self._entity(entity): readable_entity(name)
            for entity, name in _cells(self.entity_names, 2, reading)
        }
        corrections = corrected_ids(names.keys())
        return {one_word(corrections.get(entity, entity)): name for entity, name in names.items()}

    def check_names(self, names: Mapping[str, str], entities: Sequence[str]) -> None:
        """Raise `DataError` if there are names, but none of any of some entities."""
        if self.entity_names is not None and entities and names.keys().isdisjoint(map(one_word, entities)):
            example = next(iter(names), "")
            raise no_match(self.entity_names, len(names), "an entity", example, entities[0], "the triples")

    def _entity(self, raw: str) -> str:
        """An entity of links and names as the triples spell it."""
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
    return unpacked_name(file).suffix.lower() == ".nt"


def _triples(file: Path, reading: Reading) -> Iterator[tuple[str, ...]]:
    if not _is_n_triples(file):
        yield from _cells(file, 3, reading)
        return
    layout = Layout("csv", SEPARATOR, quoted=False, header=("line",))
    for line, [text] in read_rows(file, ("line",), reading, layout):
        try:
            triple = parse_triple(text)
        except ValueError as error:
            reading.skip(file, line, str(error))
            continue
        if triple is not None and _is_complete(triple, file, reading):
            yield triple


def _cells(file: Path, size: int, reading: Reading, known: Container[str] = ()) -> Iterator[tuple[str, ...]]:
    """The cells of each line, between tabs, where all of them say something; ids that are known do."""
    columns = _RECBOLE_COLUMNS.get(unpacked_name(file).suffix.lower())
    header = None if columns else tuple(map(str, range(size)))
    layout = Layout("csv", "\t", quoted=False, header=header)
    for _, cells in read_rows(file, columns or header or (), reading, layout):
        stripped = tuple(cell.strip() for cell in cells)
        if _is_complete(stripped, file, reading, known):
            yield stripped


def _is_complete(cells: Sequence[str], file: Path, reading: Reading, known: Container[str] = ()) -> bool:
    """Whether no cell is a missing value; counts the first that is."""
    missing = next((cell for cell in cells if is_missing(cell) and cell not in known), None)
    if missing is not None:
        reading.note_missing(file.name, missing or "blank")
    return missing is None


def one_word(raw: str) -> str:
    """A raw id without white space, as the knowledge graph has it."""
    return "_".join(raw.split())
