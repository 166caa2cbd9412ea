"""Profiles by a language model, bottom-up: items, then auxiliary entities, then users.

The prompts of a stage quote the profiles of earlier stages, so they exist only when those are finished. A node without
an answer keeps its template profile, also in the prompts of later stages. Answers are stored under the hash of their
prompt. So the same prompt is not paid twice, and after a change of a prompt, all prompts that depend on its answer
need new answers, too.
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
from spike_dgl.profiles.records import STAGES, NodeType, rows_of, vocabulary_of
from spike_dgl.profiles.text_files import read_folder

PORTION = 5_000
"""Maximum number of requests in memory."""

Lookup: TypeAlias = Callable[[Sequence[str]], Mapping[str, Answer]]
"""Function that returns the available answers for request keys, such as `Store.answers`."""


class Pipeline:
    """The three stages for one data set and one set of settings.

    Parameters
    ----------
    dataset
        Data set. Its validation and test interactions are not used.
    options
        Settings of prompts and limits, and of the ready-made texts to use.
    store
        Store of imported texts; None for none. Answers are looked up by the function given to `settle`.
    """

    def __init__(self, dataset: Dataset, options: ProfileOptions, store: Store | None = None) -> None:
        if options.source not in ("auto", "llm"):
            raise ConfigError(
                f"profiles.source is '{options.source}', which ignores a language model's texts\n"
                "  Set it to auto, or to llm to write profiles also for nodes whose text is in the data set."
            )
        self.data = TrainingData.from_dataset(dataset)
        self.texts = BottomUpTexts(self.data, given_texts(dataset, options), options)
        self._options = options
        self._prompts = PromptWriter(self.data, options.llm)
        self._imported = {node_type: self._imported_of(node_type, store) for node_type in STAGES}

    def rows(self, node_type: NodeType) -> list[int]:
        """Return the rows of the nodes that have no ready-made text, highest degree first."""
        rows = self.texts.without_given(node_type, self._prompts.by_degree(node_type).tolist())
        return [row for row in rows if row not in self.imported(node_type)]

    def requests(self, node_type: NodeType) -> Iterator[tuple[int, Request]]:
        """Yield row and request of each of these nodes. Call `settle` for the earlier stages first."""
        return self._prompts.requests(node_type, self.texts.items, self.rows(node_type))

    def covered(self, node_type: NodeType) -> Iterator[tuple[int, Request]]:
        """Yield the first of these requests, up to the stage's `coverage`."""
        rows = self.rows(node_type)
        number = math.ceil(self._options.llm.for_stage(node_type).coverage * len(rows))
        return self._prompts.requests(node_type, self.texts.items, rows[:number])

    def settle(self, node_type: NodeType, answers: Lookup) -> dict[int, Answer]:
        """Finish a stage with the available texts, and return them by row.

        These are imported texts and answers, also for nodes beyond the coverage. The other nodes get their template
        profile.
        """
        written = dict(self.imported(node_type))
        for portion in portions(self.requests(node_type)):
            found = answers([request.key for _, request in portion])
            written |= {row: found[request.key] for row, request in portion if request.key in found}
        self.texts.fill(node_type, written)
        return written

    def imported(self, node_type: NodeType) -> Mapping[int, Answer]:
        """Return the store's imported texts by row."""
        return self._imported[node_type]

    def _imported_of(self, node_type: NodeType, store: Store | None) -> dict[int, Answer]:
        vocabulary = vocabulary_of(node_type, self.data)
        texts = store.imported(node_type) if store is not None else {}
        return {vocabulary.index(raw): answer for raw, answer in texts.items() if raw in vocabulary}


def stored_texts(dataset: Dataset, options: ProfileOptions) -> BottomUpTexts:
    """Return the texts of all nodes, including a language model's in `ProfileOptions.store`.

    Raises
    ------
    SpikeError
        If the store is missing, or has no answer to any prompt of these settings.
    """
    if options.store is None or options.source not in ("auto", "llm"):
        return _without_model(dataset, options)
    with open_store(Path(options.store)) as store:
        pipeline = Pipeline(dataset, options, store)
        written = [pipeline.settle(node_type, store.answers) for node_type in STAGES]
    if not any(written):
        raise SpikeError(
            f"{options.store} has no answers to the prompts of these settings\n"
            "  Use the settings, data and split it was written with (--config FILE, or profiles.llm.prompts,\n"
            "  profiles.llm.model ...); python main.py profile status shows what it contains."
        )
    return pipeline.texts


def _without_model(dataset: Dataset, options: ProfileOptions) -> BottomUpTexts:
    texts = BottomUpTexts(TrainingData.from_dataset(dataset), given_texts(dataset, options), options)
    for node_type in STAGES:
        texts.fill(node_type, {})
    return texts


def open_store(path: Path) -> Store:
    """Open an existing store. Raises `DataError` if it does not exist."""
    if not path.is_file():
        remedy = f"Create it with python main.py profile profiles.store={path}, or correct the path."
        raise DataError(path, "no such store of profiles", remedy)
    return Store.open(path)


def given_texts(dataset: Dataset, options: ProfileOptions) -> NodeTexts:
    """Return the ready-made texts. The folder `ProfileOptions.texts` takes precedence over the data set."""
    if options.source not in ("auto", "llm"):
        return NodeTexts()
    brought = dataset.profiles if options.source == "auto" else NodeTexts()
    if options.texts is None:
        return brought
    named = read_folder(Path(options.texts), TrainingData.from_dataset(dataset))
    return NodeTexts({**brought.users, **named.users}, {**brought.entities, **named.entities})


@dataclass(frozen=True)
class StageStatus:
    """Progress of the profiles of one node type under the present settings.

    Parameters
    ----------
    node_type
        ``item``, ``entity`` or ``user``.
    nodes
        Number of nodes of the type.
    ready
        Number of nodes with a ready-made text, given or imported.
    done
        Number of other nodes with an answer.
    failed, in_batch, left
        Numbers of other nodes within the coverage without an answer: rejected, in an open batch, and not yet sent.
    """

    node_type: NodeType
    nodes: int
    ready: int
    done: int
    failed: int
    in_batch: int
    left: int


def status(dataset: Dataset, options: ProfileOptions, store: Store) -> list[StageStatus]:
    """Return the progress of each stage. Requests of a stage may change until the earlier stages are done."""
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
    """Yield requests in lists of at most `size`."""
    remaining = iter(requests)
    while portion := list(islice(remaining, size)):
        yield portion
