"""Batches as files: requests for an engine that runs elsewhere, and the answers that it wrote.

vLLM's ``run-batch``, Ray Data and many providers read OpenAI's batch format, so profiles of any number of nodes can be
written on a cluster without a server.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from spike_dgl.atomic_files import atomic_write_for_user
from spike_dgl.data.dataset import Dataset
from spike_dgl.errors import DataError
from spike_dgl.profiles.llm.batch_lines import read_answer, read_line, request_line, sort_answers
from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.estimate import Budget
from spike_dgl.profiles.llm.failures import Failure
from spike_dgl.profiles.llm.outcome import sort_out
from spike_dgl.profiles.llm.pipeline import PORTION, Pipeline, portions
from spike_dgl.profiles.llm.requests import Asked, Request
from spike_dgl.profiles.llm.store import Store
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.records import STAGES, NodeType

OFFLINE: Final = "offline"
"""Stands for the server of batches that are files."""
NO_LINE: Final = "the answers have no line for it"


@dataclass(frozen=True)
class WrittenRequests:
    """Requests that were written to a file.

    Parameters
    ----------
    node_type
        Their stage; None if no node is left to ask about.
    number
        Lines of the file; 0 if there is no file.
    waiting
        Requests of the stage that are in earlier files or at a server. The next stage begins when they are answered.
    """

    node_type: NodeType | None
    number: int = 0
    waiting: int = 0


@dataclass(frozen=True)
class ReadAnswers:
    """Answers that were read from files.

    Parameters
    ----------
    answered, failed
        Requests whose answer was stored, and whose answer was rejected or was an error.
    missing
        Requests of the written files for which the answers have no line. They will be asked again.
    unexpected
        Lines whose request is in no open file: they were read before, or belong to another store.
    """

    answered: int = 0
    failed: int = 0
    missing: int = 0
    unexpected: int = 0


def write_requests(
    file: Path, dataset: Dataset, options: ProfileOptions, store: Store, *, again: bool = False
) -> WrittenRequests:
    """Write the requests of the first stage that is not finished, in OpenAI's batch format.

    Items come first, then auxiliary entities, then users: the prompts of a stage contain the answers to the stage
    before. The store notes the requests, so that nothing else asks them while the file is under way.

    Parameters
    ----------
    file
        JSON lines to write.
    dataset, options
        As for `spike_dgl.profiles.llm.generate.generate`.
    store
        Notes the requests.
    again
        Write also the requests of earlier files, whose answers will not come.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    for record in store.batches(OFFLINE):
        if again or record.is_lost:
            store.drop_batch(record.label)
    pipeline, client = Pipeline(dataset, options, store), options.llm.client
    for node_type in STAGES:
        number = waiting = 0
        with _RequestFile(file, store, client) as requests:
            for portion in portions(pipeline.covered(node_type), PORTION):
                by_key = {request.key: request for _, request in portion}
                store.plan([request for _, request in portion])
                unsent, outcome = sort_out(by_key, store, client)
                waiting += outcome.in_batch
                number += requests.add(list(unsent))
        if number or waiting:
            return WrittenRequests(node_type, number, waiting)
        pipeline.settle(node_type, store.answers)
    return WrittenRequests(None)


class _RequestFile:
    """A file of requests that the store notes. The file is made on the first request, and an error undoes all of it."""

    def __init__(self, file: Path, store: Store, client: ClientOptions) -> None:
        self._file, self._store, self._client = file, store, client
        self._open = ExitStack()
        self._stream: BinaryIO | None = None
        self._labels: list[str] = []

    def __enter__(self) -> _RequestFile:
        self._open.push(self._note)
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def _note(self, error: type[BaseException] | None, *_: object) -> None:
        for label in self._labels:
            if error is None:
                self._store.note_batch(label, str(self._file))
            else:
                self._store.drop_batch(label)

    def add(self, requests: Sequence[Request]) -> int:
        """Write the requests that no other process has claimed, and return how many these are."""
        claimed = self._store.claim([request.key for request in requests])
        part = [request for request in requests if request.key in claimed]
        if not part:
            return 0
        if self._stream is None:
            partial = self._open.enter_context(atomic_write_for_user(self._file))
            self._stream = self._open.enter_context(partial.open("wb"))
        self._labels.append(uuid.uuid4().hex)
        self._store.open_batch(self._labels[-1], OFFLINE, part, 0.0)
        self._stream.writelines(request_line(request, self._client) for request in part)
        return len(part)


def read_answers(
    files: Sequence[Path],
    dataset: Dataset,
    options: ProfileOptions,
    store: Store,
    budget: Budget | None = None,
) -> ReadAnswers:
    """Store the answers that an engine wrote to the requests of `write_requests`.

    Answers are judged, counted and booked like those of a server. Requests without a line are free to be asked again.

    Parameters
    ----------
    files
        JSON lines with a ``custom_id``: all files that the engine wrote, error files included.
    dataset, options, store
        The same as for `write_requests`.
    budget
        Prices.

    Raises
    ------
    DataError
        If a file cannot be read, or no line answers any request.
    LanguageModelError
        If the engine refused all requests because of a setting. Nothing is stored then.
    """
    waiting = {asked.key: asked for record in store.batches(OFFLINE) for asked in store.asked(record.label)}
    with _AnswerLines(files) as lines:
        if not lines.keys & waiting.keys():
            remedy = "Read answers once, into the store that their requests were written from."
            if not lines.keys:
                remedy = "Each line must be a JSON object with the custom_id of its request."
            raise DataError(files[0], "has no answer that this store waits for", remedy)
        reader = _Reader(lines, waiting, options, store, budget or Budget())
        for requests in _requests_of(waiting, Pipeline(dataset, options, store), store):
            reader.take_in(requests)
        reader.take_in({})
        return reader.total


def _requests_of(waiting: dict[str, Asked], pipeline: Pipeline, store: Store) -> Iterator[dict[str, Request]]:
    """Requests by key whose answers are expected, some thousands at a time, as far as they can be made again."""
    left = set(waiting)
    for node_type in STAGES:
        for portion in portions(pipeline.requests(node_type), PORTION):
            found = {request.key: request for _, request in portion if request.key in left}
            left -= found.keys()
            if found:
                yield found
            if not left:
                return
        pipeline.settle(node_type, store.answers)


class _Reader:
    """Judges and stores answers, some thousand requests in a transaction."""

    def __init__(
        self,
        lines: _AnswerLines,
        waiting: dict[str, Asked],
        options: ProfileOptions,
        store: Store,
        budget: Budget,
    ) -> None:
        self._lines, self._waiting, self._store = lines, waiting, store
        self._client, self._budget = options.llm.client, budget
        self.total = ReadAnswers(unexpected=len(lines.keys - waiting.keys()))

    def take_in(self, requests: dict[str, Request]) -> None:
        """Store the answers to some requests, or to all that are left."""
        keys: Iterable[str] = requests or list(self._waiting)
        asked = [self._waiting.pop(key) for key in keys]
        found = [
            (
                each,
                read_answer(self._lines.read(each.key), each, requests.get(each.key), self._client, NO_LINE),
            )
            for each in asked
        ]
        rows, mistake = sort_answers(found, self._store, self._client, self._budget)
        if mistake is not None:
            raise mistake
        self._store.close_requests(rows)
        missing = sum(each.key not in self._lines.keys for each in asked)
        failed = sum(isinstance(completion.result, Failure) for _, completion, _ in rows) - missing
        self.total = ReadAnswers(
            self.total.answered + len(rows) - failed - missing,
            self.total.failed + failed,
            self.total.missing + missing,
            self.total.unexpected,
        )


class _AnswerLines:
    """Lines of files by the key of their request. Only the places of the lines are in memory."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._open = ExitStack()
        self._places: dict[str, tuple[BinaryIO, int]] = {}
        for file in files:
            try:
                stream = self._open.enter_context(file.open("rb"))
                place = 0
                for line in stream:
                    if (found := read_line(line)) is not None:
                        self._places[found[0]] = stream, place
                    place += len(line)
            except OSError as error:
                self._open.close()
                problem = f"cannot be read: {error.strerror or error}"
                raise DataError(file, problem, "Name the file that the engine wrote.") from None
        self.keys = self._places.keys()

    def __enter__(self) -> _AnswerLines:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def read(self, key: str) -> Any:
        """Return the body or the error in the line of a request; None if it has no line."""
        if key not in self._places:
            return None
        stream, place = self._places[key]
        stream.seek(place)
        found = read_line(stream.readline())
        return None if found is None else found[1]
