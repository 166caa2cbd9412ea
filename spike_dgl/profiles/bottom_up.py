"""Texts of all nodes, stage by stage: ready-made texts, a language model's texts, and templates for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from spike_dgl.data.dataset import NodeTexts
from spike_dgl.data.training import TrainingData
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.records import NodeType, Sources, rows_of
from spike_dgl.profiles.templates import TemplateWriter


class WrittenText(Protocol):
    """A profile and the model that wrote it."""

    @property
    def text(self) -> str:
        """The paragraph."""

    @property
    def model(self) -> str:
        """Name of the model."""


class BottomUpTexts:
    """Profiles of all nodes in the stages filled so far.

    Parameters
    ----------
    data
        Data from which templates are written.
    given
        Ready-made profiles. They take precedence over all others; blank ones count as missing.
    options
        Limits of templates.
    """

    def __init__(self, data: TrainingData, given: NodeTexts, options: ProfileOptions) -> None:
        self._data = data
        self._given = NodeTexts(_without_blanks(given.users), _without_blanks(given.entities))
        self._templates = TemplateWriter(data, options)
        self._texts: dict[NodeType, list[str]] = {}
        self._sources: dict[NodeType, list[str]] = {}
        self._facts: dict[NodeType, list[str]] = {}

    def without_given(self, node_type: NodeType, rows: Iterable[int]) -> list[int]:
        """Return the rows of a node type that have no ready-made profile."""
        given = self._given_of(node_type)
        return [row for row in rows if row not in given]

    @property
    def items(self) -> Sequence[str]:
        """Profiles of all items [I]; empty until their stage is filled."""
        return self._texts.get("item", [""] * self._data.num_items)

    def fill(self, node_type: NodeType, written: Mapping[int, WrittenText]) -> None:
        """Choose the texts of a stage. Stages are filled in the order of `STAGES`.

        Parameters
        ----------
        node_type
            The stage.
        written
            A language model's texts by row of the data set. A node without one gets its template profile.
        """
        given, templates = self._given_of(node_type), self._write_templates(node_type)
        texts, sources, facts = [], [], []
        for row, template in zip(rows_of(node_type, self._data), templates, strict=True):
            text, source, fact = template, "template" if template else "none", ""
            if row in given:
                text, source, fact = given[row], "given", template
            elif row in written:
                text, source, fact = written[row].text, f"llm:{written[row].model}", template
            texts.append(text)
            sources.append(source)
            facts.append(fact)
        self._texts[node_type], self._sources[node_type], self._facts[node_type] = texts, sources, facts

    @property
    def users(self) -> tuple[tuple[str, ...], Sources]:
        """Texts of all users [U], and their sources."""
        return tuple(self._texts["user"]), np.array(self._sources["user"], dtype=np.str_)

    @property
    def entities(self) -> tuple[tuple[str, ...], Sources]:
        """Texts of all entities [N], items first, and their sources."""
        texts = (*self._texts["item"], *self._texts["entity"])
        sources = [*self._sources["item"], *self._sources["entity"]]
        return texts, np.array(sources, dtype=np.str_)

    @property
    def facts(self) -> tuple[str, ...]:
        """Template profiles of all users and entities [U + N], users first; empty if the text is the template."""
        return (*self._facts["user"], *self._facts["item"], *self._facts["entity"])

    def _given_of(self, node_type: NodeType) -> Mapping[int, str]:
        return self._given.users if node_type == "user" else self._given.entities

    def _write_templates(self, node_type: NodeType) -> list[str]:
        if node_type == "item":
            return self._templates.items()
        if node_type == "entity":
            return self._templates.auxiliary_entities(self.items)
        return self._templates.users(self.items)


def _without_blanks(texts: Mapping[int, str]) -> dict[int, str]:
    return {row: text.strip() for row, text in texts.items() if text.strip()}
