"""The part of a data set that may be used before evaluation: no validation or test interactions."""

from __future__ import annotations

from dataclasses import dataclass, fields

from spike_dgl.data.dataset import Dataset, HasVocabularies, Interactions, NodeTexts, Triples, Vocabulary
from spike_dgl.data.reviews import Reviews


@dataclass(frozen=True)
class TrainingData(HasVocabularies):
    """The parts of a `Dataset` that profiles may be written from.

    It has no validation and no test interactions, so that profiles cannot leak them.

    Parameters
    ----------
    users, items, entities, relations
        Raw ids and names.
    train
        Training interactions.
    triples
        The knowledge graph, without inverses.
    descriptions
        Texts about nodes, from which profiles are written.
    reviews
        Users' reviews of the items of their training interactions.
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
        """Take the training data out of a data set."""
        same = {field.name: getattr(dataset, field.name) for field in fields(cls) if field.name != "reviews"}
        reviews = Reviews(dataset.review_file, dataset.train, dataset.num_users, dataset.num_items)
        return cls(**same, reviews=reviews)
