"""Triples as sentences: ``("Heat", "directed_by", "Michael Mann")`` becomes "Heat is directed by Michael Mann."

Names of relations look like ``directed_by``, ``associatedBand`` or
``http://rdf.freebase.com/ns/music.recording.producer``. Common relations have a phrase for each direction; the others
are labelled with the words of their name: "Heat - record label: Warp."
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Phrase:
    """Wording of a relation.

    Parameters
    ----------
    label
        Label of a list of tails: "Directed by".
    inverse_label
        Label of a list of heads: "Directed".
    forward
        Verb between head and tail: "is directed by". Empty if none is known.
    inverse
        Verb between tail and head: "directed". Empty if none is known.
    """

    label: str
    inverse_label: str
    forward: str = ""
    inverse: str = ""


_KNOWN: Mapping[str, Phrase] = {
    "directed by, director, directed by director": Phrase(
        "Directed by", "Directed", "is directed by", "directed"
    ),
    "starring, starred by, starred by actor, actor, actors, cast": Phrase(
        "Starring", "Stars in", "stars", "stars in"
    ),
    "written by, wrote by, wrote by writter, writer, screenwriter": Phrase(
        "Written by", "Wrote", "is written by", "wrote"
    ),
    "author, authors, authored by": Phrase("Author", "Author of", "is by", "is the author of"),
    "produced by, producer, produced by producer": Phrase(
        "Produced by", "Produced", "is produced by", "produced"
    ),
    "produced by prodcompany, production company, studio": Phrase(
        "Studio", "Produced", "is produced by", "produced"
    ),
    "composed by, composer, composed by composer, music by": Phrase(
        "Music by", "Composed the music of", "has music by", "composed the music of"
    ),
    "edited by, editor, edited by editor": Phrase("Edited by", "Edited", "is edited by", "edited"),
    "cinematographer, cinematography, cinematography by cinematographer": Phrase(
        "Cinematography by", "Filmed", "is filmed by", "filmed"
    ),
    "genre, genres, has genre": Phrase("Genre", "Genre of", "is of the genre", "is the genre of"),
    "category, categories, belong to category, belongs to category": Phrase(
        "Category", "Includes", "belongs to", "includes"
    ),
    "released in, release year, year, decade": Phrase("Released in", "Year of", "was released in"),
    "country, produced in country": Phrase("Country", "Country of", "comes from", "is the country of"),
    "birth place, place of birth": Phrase("Born in", "Birthplace of", "was born in", "is the birthplace of"),
    "hometown": Phrase("Hometown", "Hometown of", "comes from", "is the hometown of"),
    "instrument, instruments": Phrase("Instrument", "Played by", "plays", "is played by"),
    "occupation, profession": Phrase("Occupation", "Occupation of", "works as", "is the occupation of"),
    "record label, label": Phrase(
        "Record label", "Record label of", "is signed to", "is the record label of"
    ),
    "band member": Phrase("Band member", "Member of", "has the member", "is a member of"),
    "former band member": Phrase("Former member", "Former member of", "had the member", "was a member of"),
    "associated band": Phrase(
        "Associated with", "Associated with", "is associated with", "is associated with"
    ),
    "artist": Phrase("Artist", "Performs", "is performed by", "performs"),
    "engineer": Phrase("Engineer", "Engineered", "is engineered by", "engineered"),
    "featured artists": Phrase("Featuring", "Featured on", "features", "is featured on"),
    "publisher, published by": Phrase("Publisher", "Published", "is published by", "published"),
    "related to, related to wikipage": Phrase("Related to", "Related to", "is related to", "is related to"),
    "similar text": Phrase("Described like", "Described like", "is described like", "is described like"),
}
"""Phrases by the words of a relation. Relations with the same meaning share an entry."""

PHRASE_WORDS = " ".join(
    f"{each.label} {each.inverse_label} {each.forward} {each.inverse}" for each in _KNOWN.values()
)
"""Words of all phrases."""

_PHRASES = {words: reading for names, reading in _KNOWN.items() for words in names.split(", ")}


@lru_cache(maxsize=4096)
def relation_words(relation: str) -> str:
    """Return a relation's name as lower-case words: ``associatedBand`` becomes "associated band".

    Only the last part of a URI is used.
    """
    last = re.split(r"[/#]", relation.rstrip("/#"))[-1].rsplit(".", 1)[-1]
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", last)
    words = " ".join(re.findall(r"[^\s_:~-]+", spaced)).lower()
    return f"relation {words}" if words.isdigit() else words or "is linked to"


@lru_cache(maxsize=4096)
def phrase(relation: str) -> Phrase:
    """Return the phrase of a relation, given its raw id or name."""
    words = relation_words(relation)
    label = words[:1].upper() + words[1:]
    return _PHRASES.get(words, Phrase(label, f"{label} of"))


def readable(name: str) -> str:
    """Return a readable name: ``The_Quest_(film)`` becomes "The Quest (film)", ``Category:Drama`` "Drama"."""
    return " ".join(name.removeprefix("Category:").replace("_", " ").split()) or name


def sentence(head: str, relation: str, tail: str, *, inverse: bool = False) -> str:
    """Write a triple as one sentence.

    Parameters
    ----------
    head, tail
        Names of the entities.
    relation
        Raw id or name of the relation.
    inverse
        Make the tail the subject: "Michael Mann directed Heat."

    Examples
    --------
    >>> sentence("Heat", "directed_by", "Michael Mann")
    'Heat is directed by Michael Mann.'
    >>> sentence("Duran Duran", "http://example.org/chartPosition", "1")
    'Duran Duran - chart position: 1.'
    """
    reading = phrase(relation)
    subject, target = map(readable, (tail, head) if inverse else (head, tail))
    verb, label = (reading.inverse, reading.inverse_label) if inverse else (reading.forward, reading.label)
    return f"{subject} {verb} {target}." if verb else f"{subject} - {label[:1].lower()}{label[1:]}: {target}."
