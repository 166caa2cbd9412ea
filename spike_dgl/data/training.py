"""A data set without its answers: what may be read by anything that comes before the evaluation."""

from __future__ import annotations

from dataclasses import dataclass, fields

from spike_dgl.data.dataset import Dataset, HasVocabularies, Interactions, NodeTexts, Triples, Vocabulary
from spike_dgl.data.reviews import Reviews


@dataclass(frozen=True)
class TrainingData(HasVocabularies):
    """The parts of a `Dataset` that a profile may be written from.

    It has no validation and no test interactions, so that whoever is given one cannot leak them.

    Parameters
    ----------
    users, items, entities, relations
        Raw ids and names.
    train
        Training interactions.
    triples
        The knowledge graph, without inverses.
    descriptions
        Text about nodes that is raw material for profiles.
    reviews
        What users wrote about the items of their training interactions.
    """

    users: Vocabulary
    items: Vocabulary
    entities: Vocabulary
    relations: Vocabulary
    train: Interactions
    triples: Triples
    descriptions: NodeTexts
    reviews: Reviews

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> TrainingData:
        """The training side of a data set."""
        same = {field.name: getattr(dataset, field.name) for field in fields(cls) if field.name != "reviews"}
        reviews = Reviews(dataset.review_file, dataset.train, dataset.num_users, dataset.num_items)
        return cls(**same, reviews=reviews)
