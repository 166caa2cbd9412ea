"""Profiles by a language model, bottom-up: items, then auxiliary entities, then users.

Each stage is asked about what the stages before it ended with, so the prompts of a stage exist when those are
settled. A node without an answer keeps its template profile, in the prompts of later stages too. Requests are known
by the hash of their prompt: what is asked again is not paid again, and a changed prompt asks anew for whatever
depends on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from spike_dgl.data.dataset import Dataset, NodeTexts
from spike_dgl.data.training import TrainingData
from spike_dgl.errors import ConfigError, DataError, SpikeError
from spike_dgl.profiles.bottom_up import BottomUpTexts
from spike_dgl.profiles.llm.requests import Request
from spike_dgl.profiles.llm.stages import PromptWriter
from spike_dgl.profiles.llm.store import Answer, Store
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.records import STAGES, NodeType, rows_of
from spike_dgl.profiles.text_files import read_folder

PORTION = 5_000
"""Requests that are in memory at a time."""

Lookup: TypeAlias = Callable[[Sequence[str]], Mapping[str, Answer]]
"""The answers to those of some request keys that have one, such as `Store.answers`."""


class Pipeline:
    """The three stages for one data set under one set of settings.

    Parameters
    ----------
    dataset
        The data. Its validation and test interactions go no further than this.
    options
        Prompts, limits, and which ready-made texts count.
    store
        Holds the texts that were imported; None for none. Answers are looked up where the methods say so.
    """

    def __init__(self, dataset: Dataset, options: ProfileOptions, store: Store | None = None) -> None:
        if options.source not in ("auto", "llm"):
            raise ConfigError(
                f"profiles.source is '{options.source}', which leaves a language model's texts aside\n"
                "  Set it to auto, or to llm to write also what the data set brings along."
            )
        self.data = TrainingData.from_dataset(dataset)
        self.texts = BottomUpTexts(self.data, given_texts(dataset, options), options)
        self._options = options
        self._prompts = PromptWriter(self.data, options.llm)
        self._imported = {node_type: self._imported_of(node_type, store) for node_type in STAGES}

    def rows(self, node_type: NodeType) -> list[int]:
        """Rows of the nodes that have no ready-made text, highest degree first."""
        rows = self.texts.without_given(node_type, self._prompts.by_degree(node_type).tolist())
        return [row for row in rows if row not in self.imported(node_type)]

    def requests(self, node_type: NodeType) -> Iterator[tuple[int, Request]]:
        """Row and request of each of these nodes; the stages before must be settled."""
        return self._prompts.requests(node_type, self.texts.items, self.rows(node_type))

    def covered(self, node_type: NodeType) -> Iterator[tuple[int, Request]]:
        """The first of them, as many as the coverage of the stage says."""
        rows = self.rows(node_type)
        number = math.ceil(self._options.llm.for_stage(node_type).coverage * len(rows))
        return self._prompts.requests(node_type, self.texts.items, rows[:number])

    def settle(self, node_type: NodeType, answers: Lookup) -> dict[int, Answer]:
        """End a stage with the texts there are, by row: imported ones, and answers, also to nodes not covered.

        A node without one gets its template profile.
        """
        written = dict(self.imported(node_type))
        for portion in portions(self.requests(node_type)):
            found = answers([request.key for _, request in portion])
            written |= {row: found[request.key] for row, request in portion if request.key in found}
        self.texts.fill(node_type, written)
        return written

    def imported(self, node_type: NodeType) -> Mapping[int, Answer]:
        """The store's imported texts by row."""
        return self._imported[node_type]

    def _imported_of(self, node_type: NodeType, store: Store | None) -> dict[int, Answer]:
        vocabulary = {"item": self.data.items, "entity": self.data.entities, "user": self.data.users}[
            node_type
        ]
        texts = store.imported(node_type) if store is not None else {}
        return {vocabulary.index(raw): answer for raw, answer in texts.items() if raw in vocabulary}


def stored_texts(dataset: Dataset, options: ProfileOptions) -> BottomUpTexts:
    """The texts of all nodes, a language model's among them where `ProfileOptions.store` has some.

    Raises
    ------
    SpikeError
        Where the store is missing, or holds no answer to what these settings ask.
    """
    if options.store is None or options.source not in ("auto", "llm"):
        return _without_model(dataset, options)
    with open_store(Path(options.store)) as store:
        pipeline = Pipeline(dataset, options, store)
        written = [pipeline.settle(node_type, store.answers) for node_type in STAGES]
    if not any(written):
        raise SpikeError(
            f"{options.store} holds no answer to the prompts that these settings lead to\n"
            "  Name the settings it was written with (--config FILE, or profiles.llm.prompts, .model ... and the\n"
            "  same data and split); python main.py profile status says what it holds."
        )
    return pipeline.texts


def _without_model(dataset: Dataset, options: ProfileOptions) -> BottomUpTexts:
    texts = BottomUpTexts(TrainingData.from_dataset(dataset), given_texts(dataset, options), options)
    for node_type in STAGES:
        texts.fill(node_type, {})
    return texts


def open_store(path: Path) -> Store:
    """A store that exists. Raises `DataError` where it does not."""
    if not path.is_file():
        remedy = f"Write it with python main.py profile profiles.store={path}, or correct the path."
        raise DataError(path, "no such store of profiles", remedy)
    return Store.open(path)


def given_texts(dataset: Dataset, options: ProfileOptions) -> NodeTexts:
    """Ready-made texts: those in the folder `ProfileOptions.texts` before those of the data set."""
    if options.source not in ("auto", "llm"):
        return NodeTexts()
    brought = dataset.profiles if options.source == "auto" else NodeTexts()
    if options.texts is None:
        return brought
    named = read_folder(Path(options.texts), TrainingData.from_dataset(dataset))
    return NodeTexts({**brought.users, **named.users}, {**brought.entities, **named.entities})


@dataclass(frozen=True)
class StageStatus:
    """How far the profiles of one node type are under the present settings.

    Parameters
    ----------
    node_type
        ``item``, ``entity`` or ``user``.
    nodes
        All nodes of the type.
    ready
        Those with a ready-made text: given, or imported.
    done, failed, in_batch, left
        Of the others: those that are answered; those that are covered and were rejected, that are with the Batch
        API, and that are still to be asked.
    """

    node_type: NodeType
    nodes: int
    ready: int
    done: int
    failed: int
    in_batch: int
    left: int


def status(dataset: Dataset, options: ProfileOptions, store: Store) -> list[StageStatus]:
    """How far each stage is; what the later ones will ask may change until the first is done."""
    pipeline, stages = Pipeline(dataset, options, store), []
    for node_type in STAGES:
        keys = [request.key for _, request in pipeline.covered(node_type)]
        answered, batched = store.answered(keys), store.in_batch(keys)
        failed = store.rejections(keys).keys() - answered - batched
        nodes = len(rows_of(node_type, pipeline.data))
        ready = nodes - len(pipeline.rows(node_type))
        written = pipeline.settle(node_type, store.answers)
        imported = len(pipeline.imported(node_type))
        stages.append(
            StageStatus(
                node_type,
                nodes=nodes,
                ready=ready,
                done=len(written) - imported,
                failed=sum(key in failed for key in keys),
                in_batch=sum(key in batched and key not in answered for key in keys),
                left=sum(key not in answered and key not in batched and key not in failed for key in keys),
            )
        )
    return stages


def portions(
    requests: Iterable[tuple[int, Request]], size: int = PORTION
) -> Iterator[list[tuple[int, Request]]]:
    """Requests in lists of at most `size`."""
    remaining = iter(requests)
    while portion := list(islice(remaining, size)):
        yield portion
