"""Store of all answers, failures and costs in one SQLite file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from spike_dgl.profiles.llm.answers import Completion
from spike_dgl.profiles.llm.database import Database
from spike_dgl.profiles.llm.failures import MISHAPS, Failure
from spike_dgl.profiles.llm.requests import Asked, Request

LEASE_SECONDS = 30.0
"""Seconds after the last `Store.renew_claims` of a process after which other processes may take over its requests."""

_AMONG = "IN (SELECT value FROM json_each(?))"
_MISHAPS = ", ".join(f"'{reason}'" for reason in MISHAPS)


@dataclass(frozen=True)
class Answer:
    """A stored text.

    Parameters
    ----------
    text
        Text that the model wrote.
    model
        Name of the model as reported by the server; source of an imported text.
    prompt_tokens, completion_tokens
        Tokens charged.
    cost
        Cost in US dollars; None if the price was unknown.
    """

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


@dataclass(frozen=True)
class Usage:
    """Sums over the ledger, including rejected answers.

    Parameters
    ----------
    responses
        Number of responses charged.
    prompt_tokens, completion_tokens
        Tokens charged.
    cost
        Cost in US dollars of the responses with known price.
    unpriced
        Number of responses with unknown price.
    prompt_bytes, max_words
        Size of the prompts in UTF-8 bytes, and number of words requested.
    """

    responses: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    unpriced: int = 0
    prompt_bytes: int = 0
    max_words: int = 0


@dataclass(frozen=True)
class Status:
    """Progress of the nodes of one type.

    Parameters
    ----------
    node_type
        ``item``, ``entity``, ``user`` or ``judge``.
    done
        Number of nodes whose latest request is answered.
    failed
        Number of nodes without an answer and with a failure.
    in_batch
        Number of nodes whose request is in an open batch.
    left
        Number of other nodes.
    usage
        Total usage for this type, including earlier prompts and models.
    """

    node_type: str
    done: int
    failed: int
    in_batch: int
    left: int
    usage: Usage


@dataclass(frozen=True)
class FailureCount:
    """Reason why nodes of a type have no answer: number of nodes and of attempts, and one message as an example."""

    node_type: str
    reason: str
    nodes: int
    attempts: int
    example: str


class Store:
    """Answers, failures and costs by the key of the request.

    Use `Store.open`, as a context manager. Every method commits before it returns.

    Parameters
    ----------
    database
        Opened file.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.owner = uuid.uuid4().hex
        self._spent, self._counted_to = 0.0, 0  # a running sum, since rows of the ledger never change

    @classmethod
    def open(cls, path: Path | str) -> Store:
        """Open a store, or create one.

        Raises
        ------
        DataError
            If the file is not a store, is damaged, or has another version.
        """
        return cls(Database(Path(path)))

    def close(self) -> None:
        """Release claimed requests and close the file."""
        try:
            self.release_claims()
        finally:
            self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Reading

    def answers(self, keys: Iterable[str]) -> dict[str, Answer]:
        """Return the stored answers by key."""
        query = (
            f"SELECT key, text, model, prompt_tokens, completion_tokens, cost FROM answers WHERE key {_AMONG}"
        )
        return {key: Answer(*rest) for key, *rest in self.database.rows(query, [_listed(keys)])}

    def answered(self, keys: Iterable[str]) -> set[str]:
        """Return the keys that have an answer."""
        return {
            key
            for (key,) in self.database.rows(f"SELECT key FROM answers WHERE key {_AMONG}", [_listed(keys)])
        }

    def texts(self, node_type: str) -> dict[str, Answer]:
        """Return the answers to the latest requests of a node type, by raw id."""
        query = (
            "SELECT node, text, model, prompt_tokens, completion_tokens, cost FROM nodes JOIN answers USING (key) "
            "WHERE node_type = ?"
        )
        return {node: Answer(*rest) for node, *rest in self.database.rows(query, [node_type])}

    def imported(self, node_type: str) -> dict[str, Answer]:
        """Return the imported texts that no later request has replaced, by raw id."""
        query = (
            "SELECT node, text, model, prompt_tokens, completion_tokens, cost FROM nodes JOIN answers USING (key) "
            "WHERE node_type = ? AND key LIKE 'imported-%'"
        )
        return {node: Answer(*rest) for node, *rest in self.database.rows(query, [node_type])}

    def rejections(self, keys: Iterable[str]) -> dict[str, int]:
        """Return the number of rejected attempts by key; `MISHAPS` do not count."""
        query = f"SELECT key, sum(count) FROM failures WHERE reason NOT IN ({_MISHAPS}) AND key {_AMONG} GROUP BY key"
        return dict(self.database.rows(query, [_listed(keys)]))

    def spent(self) -> float:
        """Return the total cost in US dollars, of all processes, as far as prices were known."""
        query = "SELECT total(cost), coalesce(max(id), ?1) FROM ledger WHERE id > ?1"
        new, self._counted_to = self.database.rows(query, [self._counted_to])[0]
        self._spent += new
        return self._spent

    def reserved(self) -> float:
        """Return the maximum cost of open batches in US dollars."""
        return float(self.database.value("SELECT total(reserved) FROM batches"))

    def usage(self, model: str | None = None, node_type: str | None = None) -> Usage:
        """Return the usage of one requested model, one node type, or all."""
        query = (
            "SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), total(cost), "
            "count(*) - count(cost), coalesce(sum(prompt_bytes), 0), coalesce(sum(max_words), 0) "
            "FROM ledger WHERE (?1 IS NULL OR model = ?1) AND (?2 IS NULL OR node_type = ?2)"
        )
        return Usage(*self.database.rows(query, [model, node_type])[0])

    def status(self) -> tuple[Status, ...]:
        """Return the progress of each node type that has requests."""
        query = (
            "SELECT nodes.node_type, sum(answers.key IS NOT NULL), "
            "sum(answers.key IS NULL AND batch_requests.key IS NULL AND nodes.key IN (SELECT key FROM failures)), "
            "sum(answers.key IS NULL AND batch_requests.key IS NOT NULL), count(*) "
            "FROM nodes LEFT JOIN answers USING (key) LEFT JOIN batch_requests USING (key) "
            "GROUP BY nodes.node_type ORDER BY nodes.node_type"
        )
        return tuple(
            Status(
                node_type,
                done,
                failed,
                batched,
                total - done - failed - batched,
                self.usage(node_type=node_type),
            )
            for node_type, done, failed, batched, total in self.database.rows(query)
        )

    def failures(self) -> tuple[FailureCount, ...]:
        """Return the reasons why nodes have no answer."""
        query = (
            "SELECT node_type, reason, count(*), sum(count), max(detail) FROM nodes JOIN failures USING (key) "
            "WHERE key NOT IN (SELECT key FROM answers) GROUP BY node_type, reason ORDER BY 1, 3 DESC, 2"
        )
        return tuple(FailureCount(*row) for row in self.database.rows(query))

    # Writing

    def plan(self, requests: Iterable[Request]) -> None:
        """Store which request is each node's latest."""
        rows = [(request.node_type, request.node, request.key) for request in requests]
        with self.database.transaction():
            self.database.execute_many("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)", rows)

    def record(
        self, request: Request, completion: Completion, cost: float | None, batch: bool = False
    ) -> None:
        """Store the text or the failure of a response, and its cost."""
        with self.database.transaction():
            self.write(Asked.from_request(request), completion, cost, batch)
            self.database.execute("DELETE FROM claims WHERE key = ?", [request.key])

    def write(self, asked: Asked, completion: Completion, cost: float | None, batch: bool) -> None:
        """Do the same as `record`, inside a transaction of the caller."""
        sizes = completion.prompt_tokens, completion.completion_tokens
        if isinstance(completion.result, Failure):
            self._write_failure(asked.key, completion.result)
        else:
            model = completion.model or asked.model
            self.database.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?)",
                [asked.key, completion.result, model, *sizes, cost],
            )
        if any(sizes) or not isinstance(completion.result, Failure):
            self.database.execute(
                "INSERT INTO ledger (key, node_type, model, prompt_bytes, max_words, prompt_tokens, "
                "completion_tokens, cost, batch) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    asked.key,
                    asked.node_type,
                    asked.model,
                    asked.prompt_bytes,
                    asked.max_words,
                    *sizes,
                    cost,
                    batch,
                ],
            )

    def _write_failure(self, key: str, failure: Failure) -> None:
        self.database.execute(
            "INSERT INTO failures VALUES (?, ?, 1, ?) "
            "ON CONFLICT (key, reason) DO UPDATE SET count = count + 1, detail = excluded.detail",
            [key, failure.reason, failure.detail],
        )

    def import_texts(self, node_type: str, texts: Mapping[str, str], source: str) -> None:
        """Store texts that were written elsewhere as the nodes' latest answers.

        Parameters
        ----------
        node_type
            Type of the nodes.
        texts
            Texts by raw id. Blank ones are ignored.
        source
            Source of the texts, stored as the model's name.
        """
        rows = [(node, f"imported-{_sha256(text)}", text) for node, text in texts.items() if text.strip()]
        with self.database.transaction():
            self.database.execute_many(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, 0, 0, 0.0)",
                [(key, text, source) for _, key, text in rows],
            )
            self.database.execute_many(
                "INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)",
                [(node_type, node, key) for node, key, _ in rows],
            )

    # Claims, so that two processes do not pay for the same request

    def claim(self, keys: Sequence[str]) -> set[str]:
        """Claim keys and return the claimed ones: not answered, not in a batch, not claimed by another process."""
        listed = _listed(keys)
        with self.database.transaction():
            self._renew()
            self.database.execute(
                f"INSERT INTO claims SELECT value, ? FROM json_each(?) WHERE value NOT IN "
                f"(SELECT key FROM answers WHERE key {_AMONG} UNION ALL "
                f"SELECT key FROM batch_requests WHERE key {_AMONG}) "
                "ON CONFLICT (key) DO UPDATE SET owner = excluded.owner WHERE claims.owner NOT IN "
                "(SELECT owner FROM owners WHERE until > ?)",
                [self.owner, listed, listed, listed, time.time()],
            )
            query = f"SELECT key FROM claims WHERE owner = ? AND key {_AMONG}"
            return {key for (key,) in self.database.rows(query, [self.owner, listed])}

    def renew_claims(self) -> None:
        """Renew the claims of this process. Call it more often than every `LEASE_SECONDS`."""
        with self.database.transaction():
            self._renew()

    def _renew(self) -> None:
        self.database.execute(
            "INSERT OR REPLACE INTO owners VALUES (?, ?)", [self.owner, time.time() + LEASE_SECONDS]
        )

    def release_claims(self) -> None:
        """Release the claims of this process, and delete expired claims."""
        with self.database.transaction():
            self.database.execute(
                "DELETE FROM owners WHERE owner = ? OR until < ?", [self.owner, time.time()]
            )
            self.database.execute("DELETE FROM claims WHERE owner NOT IN (SELECT owner FROM owners)")

    def in_batch(self, keys: Iterable[str]) -> set[str]:
        """Return the keys that are in an open batch."""
        query = f"SELECT key FROM batch_requests WHERE key {_AMONG}"
        return {key for (key,) in self.database.rows(query, [_listed(keys)])}

    def batches(self, server: str) -> list[BatchRecord]:
        """Return the open batches of a server, oldest first."""
        query = (
            "SELECT label, id, created, id IS NULL AND (owner = ?1 OR owner NOT IN "
            "(SELECT owner FROM owners WHERE until > ?2)) FROM batches WHERE server = ?3 ORDER BY created, label"
        )
        rows = self.database.rows(query, [self.owner, time.time(), server])
        return [BatchRecord(label, name, created, bool(lost)) for label, name, created, lost in rows]

    def open_batch(self, label: str, server: str, requests: Iterable[Request], reserved: float) -> None:
        """Store a batch and move claimed requests into it, before it is created on the server."""
        rows = [(label, *dataclasses.astuple(Asked.from_request(request))) for request in requests]
        with self.database.transaction():
            self.database.execute(
                "INSERT INTO batches VALUES (?, ?, ?, NULL, ?, ?)",
                [label, self.owner, server, reserved, time.time()],
            )
            self.database.execute_many(
                "INSERT INTO batch_requests (label, key, node_type, model, prompt_bytes, max_words) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
            self.database.execute_many("DELETE FROM claims WHERE key = ?", [(row[1],) for row in rows])

    def note_batch(self, label: str, batch_id: str) -> None:
        """Store the server's id of a batch."""
        with self.database.transaction():
            self.database.execute("UPDATE batches SET id = ? WHERE label = ?", [batch_id, label])

    def asked(self, label: str) -> list[Asked]:
        """Return the requests of a batch, without their texts."""
        query = "SELECT key, node_type, model, prompt_bytes, max_words FROM batch_requests WHERE label = ?"
        return [Asked(*row) for row in self.database.rows(query, [label])]

    def close_batch(self, label: str, results: Iterable[tuple[Asked, Completion, float | None]]) -> None:
        """Store the results of a batch and delete the batch, unless another process has already done so."""
        with self.database.transaction():
            if self._delete_batch(label):
                for asked, completion, cost in results:
                    self.write(asked, completion, cost, batch=True)

    def close_requests(self, results: Iterable[tuple[Asked, Completion, float | None]]) -> int:
        """Store answers to requests of open batches, and forget the batches that have no other requests.

        Results of requests that are in no batch are left out: they were stored before. Returns how many were stored.
        """
        stored = 0
        with self.database.transaction():
            for asked, completion, cost in results:
                if self.database.execute("DELETE FROM batch_requests WHERE key = ?", [asked.key]):
                    self.write(asked, completion, cost, batch=True)
                    stored += 1
            self.database.execute("DELETE FROM batches WHERE label NOT IN (SELECT label FROM batch_requests)")
        return stored

    def drop_batch(self, label: str) -> None:
        """Delete a batch that was never created, and release its requests."""
        with self.database.transaction():
            self._delete_batch(label)

    def _delete_batch(self, label: str) -> bool:
        self.database.execute("DELETE FROM batch_requests WHERE label = ?", [label])
        return self.database.execute("DELETE FROM batches WHERE label = ?", [label]) > 0


@dataclass(frozen=True)
class BatchRecord:
    """An open batch: its label, the server's id if known, and the time when it was stored (seconds since 1970).

    It `is_lost` if its id is unknown and the process that was to create it has ended.
    """

    label: str
    id: str | None
    created: float
    is_lost: bool


def _listed(keys: Iterable[str]) -> str:
    return json.dumps(list(keys))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
