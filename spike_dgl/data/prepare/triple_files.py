"""Knowledge graphs that come as files of triples (Freebase, DBpedia, Wikidata), linked to items."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from spike_dgl.data.names import readable_entity
from spike_dgl.data.prepare.knowledge import Fact
from spike_dgl.data.prepare.layouts import SEPARATOR, Layout
from spike_dgl.data.prepare.options import PrepareOptions
from spike_dgl.data.prepare.streams import unpacked_name
from spike_dgl.data.prepare.tables import Reading, read_rows

_RECBOLE_COLUMNS = {
    ".kg": ("head_id:token", "relation_id:token", "tail_id:token"),
    ".link": ("item_id:token", "entity_id:token"),
    ".entity": ("entity_id:token", "name:token_seq"),
}
"""Such files begin with a header; all others begin with data."""

_N_TRIPLE = re.compile(r'\s*<([^>]*)>\s+<([^>]*)>\s+(?:<([^>]*)>|"(.*)"(?:@[\w-]+|\^\^\S+)?)\s*\.\s*')


@dataclass(frozen=True)
class TripleFiles:
    """Where triples, links and names stand; `hops` is as in `PrepareOptions`."""

    triples: Path
    links: Path
    entity_names: Path | None
    hops: int

    @classmethod
    def of(cls, options: PrepareOptions) -> TripleFiles | None:
        """The files that the options name, if they name any."""
        if options.triples is None or options.links is None:
            return None
        names = None if options.entity_names is None else Path(options.entity_names)
        return cls(Path(options.triples), Path(options.links), names, options.hops)

    @property
    def files(self) -> list[Path]:
        """All that are read."""
        return [file for file in (self.triples, self.links, self.entity_names) if file is not None]

    def linked_items(
        self, items: Mapping[str, str], reading: Reading
    ) -> tuple[dict[str, str], dict[str, int]]:
        """Which item each linked entity is, and how many links there were.

        Parameters
        ----------
        items
            Entity id of each item by its raw id; links of other items are left out.
        reading
            Counts lines that are no link.

        Returns
        -------
        tuple
            Item's entity id by entity of the triples: the first item that is linked to it, and of an item's links
            the first. And the numbers of links in the file, of those of our items, and of those that were used.
        """
        linked: dict[str, str] = {}
        num_links, ours = 0, list[tuple[str, str]]()
        for item, entity in _cells(self.links, 2, reading):
            num_links += 1
            if item in items:
                ours.append((items[item], entity))
        taken: set[str] = set()
        for item, entity in ours:
            if entity not in linked and item not in taken:
                linked[entity] = item
                taken.add(item)
        return linked, {"links": num_links, "links_of_items": len(ours), "links_used": len(linked)}

    def facts(self, linked: Mapping[str, str], reading: Reading) -> Iterator[Fact]:
        """Triples at most `hops` from a linked entity, with items in the place of the entities linked to them.

        The file is read once a hop, so that memory holds what is near the items, not the whole of Wikidata.
        """
        near = set(linked)
        for hop in range(1, self.hops + 1):
            # Broken lines are counted in the first pass.
            this = reading if hop == 1 else Reading(reading.limit, reading.progress)
            ends = set[str]()
            for head, relation, tail in _triples(self.triples, this):
                if head not in near and tail not in near:
                    continue
                if hop < self.hops:
                    ends |= {head, tail}
                else:
                    yield Fact(_linked(head, linked), _one_word(relation), _linked(tail, linked), "")
            near |= ends

    def names(self, reading: Reading) -> dict[str, str]:
        """Readable names of entities, as far as the files have them."""
        if self.entity_names is None:
            return {}
        return {
            _one_word(entity): readable_entity(name) for entity, name in _cells(self.entity_names, 2, reading)
        }


def _linked(entity: str, linked: Mapping[str, str]) -> str:
    return linked.get(entity) or _one_word(entity)


def _triples(file: Path, reading: Reading) -> Iterator[tuple[str, ...]]:
    if unpacked_name(file).suffix.lower() != ".nt":
        yield from _cells(file, 3, reading)
        return
    for line, [text] in read_rows(
        file, ("line",), reading, Layout("csv", SEPARATOR, quoted=False, header=("line",))
    ):
        found = _N_TRIPLE.fullmatch(text)
        if found is not None:
            head, relation, entity, literal = found.groups()
            yield unquote(head), unquote(relation), unquote(entity) if entity is not None else literal
        elif text.strip() and not text.startswith("#"):
            reading.skip(file, line, "is no triple <head> <relation> <tail> .")


def _cells(file: Path, size: int, reading: Reading) -> Iterator[tuple[str, ...]]:
    """The cells of each line, between tabs."""
    columns = _RECBOLE_COLUMNS.get(unpacked_name(file).suffix.lower())
    header = None if columns else tuple(map(str, range(size)))
    layout = Layout("csv", "\t", quoted=False, header=header)
    for line, cells in read_rows(file, columns or header or (), reading, layout):
        stripped = tuple(cell.strip() for cell in cells)
        if all(stripped):
            yield stripped
        else:
            reading.skip(file, line, "an empty cell")


def _one_word(raw: str) -> str:
    return "_".join(raw.split())
