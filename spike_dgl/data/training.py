"""A data set without its answers: what may be read by anything that comes before the evaluation."""

from __future__ import annotations

from dataclasses import dataclass, fields

from spike_dgl.data.dataset import Dataset, HasVocabularies, Interactions, NodeTexts, Triples, Vocabulary


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
    """

    users: Vocabulary
    items: Vocabulary
    entities: Vocabulary
    relations: Vocabulary
    train: Interactions
    triples: Triples
    descriptions: NodeTexts

    @classmethod
    def of(cls, dataset: Dataset) -> TrainingData:
        """The training side of a data set."""
        return cls(**{field.name: getattr(dataset, field.name) for field in fields(cls)})
