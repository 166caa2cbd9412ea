"""The store: every answer that was paid for, every failure and why, and what it all cost, in one sqlite file."""

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
"""Age of a process's last sign of life, in seconds, from which on others may take over the requests it had claimed."""

_AMONG = "IN (SELECT value FROM json_each(?))"
_MISHAPS = ", ".join(f"'{reason}'" for reason in MISHAPS)


@dataclass(frozen=True)
class Answer:
    """A stored text.

    Parameters
    ----------
    text
        What the model wrote.
    model
        Which one did, in the server's words; for an imported text, where it came from.
    prompt_tokens, completion_tokens
        What the server charged for.
    cost
        US dollars; None where the price was unknown.
    """

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


@dataclass(frozen=True)
class Usage:
    """Sums over the ledger, rejected answers included.

    Parameters
    ----------
    responses
        That were charged for.
    prompt_tokens, completion_tokens
        Their tokens.
    cost
        US dollars of those whose price was known.
    unpriced
        Responses whose price was unknown.
    prompt_bytes, max_words
        Size of their prompts in UTF-8, and the words that were asked for.
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
    """How far the nodes of one type are.

    Parameters
    ----------
    node_type
        ``item``, ``entity``, ``user`` or ``judge``.
    done
        Nodes whose latest request is answered.
    failed
        Those without an answer and with a failure.
    in_batch
        Those whose request is with the Batch API.
    left
        The others.
    usage
        All that was ever paid for this type, earlier prompts and models included.
    """

    node_type: str
    done: int
    failed: int
    in_batch: int
    left: int
    usage: Usage


@dataclass(frozen=True)
class FailureCount:
    """One reason why nodes of a type have no answer: how many, how many attempts, and one server's own words."""

    node_type: str
    reason: str
    nodes: int
    attempts: int
    example: str


class Store:
    """Answers, failures and costs, by the key of the request.

    Use `Store.open`, as a context manager. Every method commits before it returns.

    Parameters
    ----------
    database
        The opened file.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.owner = uuid.uuid4().hex
        self._spent, self._counted_to = 0.0, 0  # rows of the ledger are never changed: each is added once

    @classmethod
    def open(cls, path: Path | str) -> Store:
        """Open a store, or create one.

        Raises
        ------
        DataError
            If the file is something else, damaged, or of a newer version.
        """
        return cls(Database(Path(path)))

    def close(self) -> None:
        """Let go of claimed requests and of the file."""
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
        """The stored answers among some keys."""
        query = (
            f"SELECT key, text, model, prompt_tokens, completion_tokens, cost FROM answers WHERE key {_AMONG}"
        )
        return {key: Answer(*rest) for key, *rest in self.database.rows(query, [_listed(keys)])}

    def answered(self, keys: Iterable[str]) -> set[str]:
        """Those of some keys that have an answer."""
        return {
            key
            for (key,) in self.database.rows(f"SELECT key FROM answers WHERE key {_AMONG}", [_listed(keys)])
        }

    def texts(self, node_type: str) -> dict[str, Answer]:
        """The answer of every node of a type whose latest request is answered, by raw id."""
        query = (
            "SELECT node, text, model, prompt_tokens, completion_tokens, cost FROM nodes JOIN answers USING (key) "
            "WHERE node_type = ?"
        )
        return {node: Answer(*rest) for node, *rest in self.database.rows(query, [node_type])}

    def imported(self, node_type: str) -> dict[str, Answer]:
        """The texts of `import_texts` that are still their nodes' latest, by raw id."""
        query = (
            "SELECT node, text, model, prompt_tokens, completion_tokens, cost FROM nodes JOIN answers USING (key) "
            "WHERE node_type = ? AND key LIKE 'imported-%'"
        )
        return {node: Answer(*rest) for node, *rest in self.database.rows(query, [node_type])}

    def rejections(self, keys: Iterable[str]) -> dict[str, int]:
        """How often each of some keys failed for a reason of its own, mishaps of the server not counted."""
        query = f"SELECT key, sum(count) FROM failures WHERE reason NOT IN ({_MISHAPS}) AND key {_AMONG} GROUP BY key"
        return dict(self.database.rows(query, [_listed(keys)]))

    def spent(self) -> float:
        """US dollars paid so far by whatever process, as far as prices were known."""
        query = "SELECT total(cost), coalesce(max(id), ?1) FROM ledger WHERE id > ?1"
        new, self._counted_to = self.database.rows(query, [self._counted_to])[0]
        self._spent += new
        return self._spent

    def reserved(self) -> float:
        """US dollars that open batches can cost at most."""
        return float(self.database.value("SELECT total(reserved) FROM batches"))

    def usage(self, model: str | None = None, node_type: str | None = None) -> Usage:
        """What the ledger holds on one requested model, one node type, or all."""
        query = (
            "SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), total(cost), "
            "count(*) - count(cost), coalesce(sum(prompt_bytes), 0), coalesce(sum(max_words), 0) "
            "FROM ledger WHERE (?1 IS NULL OR model = ?1) AND (?2 IS NULL OR node_type = ?2)"
        )
        return Usage(*self.database.rows(query, [model, node_type])[0])

    def status(self) -> tuple[Status, ...]:
        """How far each node type is, of those that were ever asked about."""
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
        """Why the nodes that have no answer have none."""
        query = (
            "SELECT node_type, reason, count(*), sum(count), max(detail) FROM nodes JOIN failures USING (key) "
            "WHERE key NOT IN (SELECT key FROM answers) GROUP BY node_type, reason ORDER BY 1, 3 DESC, 2"
        )
        return tuple(FailureCount(*row) for row in self.database.rows(query))

    # Writing

    def plan(self, requests: Iterable[Request]) -> None:
        """Note which request is each node's latest."""
        rows = [(request.node_type, request.node, request.key) for request in requests]
        with self.database.transaction():
            self.database.execute_many("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)", rows)

    def record(
        self, request: Request, completion: Completion, cost: float | None, batch: bool = False
    ) -> None:
        """Keep the text of a response or the reason why it has none, and what it cost."""
        with self.database.transaction():
            self.write(Asked.from_request(request), completion, cost, batch)
            self.database.execute("DELETE FROM claims WHERE key = ?", [request.key])

    def write(self, asked: Asked, completion: Completion, cost: float | None, batch: bool) -> None:
        """`record`, inside a transaction of the caller's."""
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
        """Take over texts that were written elsewhere, by raw id; they become the nodes' latest answers.

        Parameters
        ----------
        node_type
            Of the nodes.
        texts
            By raw id. Empty ones are left out.
        source
            Where they come from; stands in the place of the model.
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

    # Claims: two processes on one store do not pay for the same request

    def claim(self, keys: Sequence[str]) -> set[str]:
        """Those of some keys that are now ours to send: neither answered, nor claimed elsewhere, nor in a batch."""
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
        """Say that this process is alive; to be called well within `LEASE_SECONDS`."""
        with self.database.transaction():
            self._renew()

    def _renew(self) -> None:
        self.database.execute(
            "INSERT OR REPLACE INTO owners VALUES (?, ?)", [self.owner, time.time() + LEASE_SECONDS]
        )

    def release_claims(self) -> None:
        """Let others have what was claimed and not sent, and forget the claims of processes that are gone."""
        with self.database.transaction():
            self.database.execute(
                "DELETE FROM owners WHERE owner = ? OR until < ?", [self.owner, time.time()]
            )
            self.database.execute("DELETE FROM claims WHERE owner NOT IN (SELECT owner FROM owners)")

    def in_batch(self, keys: Iterable[str]) -> set[str]:
        """Those of some keys that are with the Batch API."""
        query = f"SELECT key FROM batch_requests WHERE key {_AMONG}"
        return {key for (key,) in self.database.rows(query, [_listed(keys)])}

    def batches(self, server: str) -> list[BatchRecord]:
        """The open batches of a server, oldest first."""
        query = (
            "SELECT label, id, created, id IS NULL AND (owner = ?1 OR owner NOT IN "
            "(SELECT owner FROM owners WHERE until > ?2)) FROM batches WHERE server = ?3 ORDER BY created, label"
        )
        rows = self.database.rows(query, [self.owner, time.time(), server])
        return [BatchRecord(label, name, created, bool(lost)) for label, name, created, lost in rows]

    def open_batch(self, label: str, server: str, requests: Iterable[Request], reserved: float) -> None:
        """Note that claimed requests are about to become a batch."""
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
        """Note the server's name of a batch."""
        with self.database.transaction():
            self.database.execute("UPDATE batches SET id = ? WHERE label = ?", [batch_id, label])

    def asked(self, label: str) -> list[Asked]:
        """What is known of a batch's requests."""
        query = "SELECT key, node_type, model, prompt_bytes, max_words FROM batch_requests WHERE label = ?"
        return [Asked(*row) for row in self.database.rows(query, [label])]

    def close_batch(self, label: str, results: Iterable[tuple[Asked, Completion, float | None]]) -> None:
        """Keep what a batch brought and forget it, unless another process has done so already."""
        with self.database.transaction():
            if self._delete_batch(label):
                for asked, completion, cost in results:
                    self.write(asked, completion, cost, batch=True)

    def drop_batch(self, label: str) -> None:
        """Forget a batch that never came to be; its requests are free again."""
        with self.database.transaction():
            self._delete_batch(label)

    def _delete_batch(self, label: str) -> bool:
        self.database.execute("DELETE FROM batch_requests WHERE label = ?", [label])
        return self.database.execute("DELETE FROM batches WHERE label = ?", [label]) > 0


@dataclass(frozen=True)
class BatchRecord:
    """An open batch: our label, the server's name if we know it, when it was noted (seconds since 1970).

    It `is_lost` where nobody knows the server's name, and nobody alive is about to learn it.
    """

    label: str
    id: str | None
    created: float
    is_lost: bool


def _listed(keys: Iterable[str]) -> str:
    return json.dumps(list(keys))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
