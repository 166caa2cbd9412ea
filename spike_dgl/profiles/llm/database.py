"""The SQLite file of a store, which several processes can use at once, with errors that users can fix."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from spike_dgl.errors import DataError

APPLICATION_ID = 0x5370694B  # "SpiK": distinguishes stores from other SQLite files
VERSION = 1
BUSY_SECONDS = 60

SCHEMA = """
CREATE TABLE nodes (
    node_type TEXT NOT NULL, node TEXT NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY (node_type, node)
) WITHOUT ROWID;
CREATE TABLE answers (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, model TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost REAL
);
CREATE TABLE failures (
    key TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (key, reason)
) WITHOUT ROWID;
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, node_type TEXT NOT NULL, model TEXT NOT NULL,
    prompt_bytes INTEGER NOT NULL, max_words INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    cost REAL, batch INTEGER NOT NULL, time TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE owners (owner TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX claims_by_owner ON claims (owner);
CREATE TABLE batches (
    label TEXT PRIMARY KEY, owner TEXT NOT NULL, server TEXT NOT NULL, id TEXT,
    reserved REAL NOT NULL, created REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE batch_requests (
    key TEXT PRIMARY KEY, label TEXT NOT NULL, node_type TEXT NOT NULL, model TEXT NOT NULL,
    prompt_bytes INTEGER NOT NULL, max_words INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX batch_requests_by_label ON batch_requests (label);
"""


class Database:
    """A connection to one file with the schema above.

    With write-ahead logging, readers and one writer do not block each other, and a killed process loses nothing that
    it had committed. The file needs a local disk: SQLite's locks are not reliable on network file systems.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._errors_named():
            path.parent.mkdir(parents=True, exist_ok=True)
            # completion.run_to_end may use the connection in another thread while this one waits.
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _prepare(self) -> None:
        """Create the tables in a new file; raise an error for a file of another program or version."""
        with self.transaction():
            identity, version = self.value("PRAGMA application_id"), self.value("PRAGMA user_version")
            empty = not self.value("SELECT count(*) FROM sqlite_master")
            if identity != APPLICATION_ID and not empty:
                raise DataError(
                    self.path, "is not a store of profiles", "Name another file: profiles.store=FILE."
                )
            if empty:
                for statement in SCHEMA.split(";"):
                    self.execute(statement)
                self.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self.execute(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                problem = f"has version {version} of the store's format, but this program supports {VERSION}"
                raise DataError(self.path, problem, "Install the version of spike_dgl that wrote it.")
        # The mode is stored in the file. If another process switches it at the same time, SQLite fails without waiting.
        with suppress(sqlite3.OperationalError):
            self._connection.execute("PRAGMA journal_mode = wal")
        # FULL waits for the disk at every answer. NORMAL can lose the last answers in a power cut, but not in a kill.
        self.execute("PRAGMA synchronous = NORMAL")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all statements inside the context, or none; other writers wait."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def execute(self, statement: str, values: Iterable[Any] = ()) -> int:
        """Run a statement and return the number of changed rows."""
        with self._errors_named():
            return self._connection.execute(statement, tuple(values)).rowcount

    def execute_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once for each row of values."""
        with self._errors_named():
            self._connection.executemany(statement, rows)

    def rows(self, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self._errors_named():
            return self._connection.execute(query, tuple(values)).fetchall()

    def value(self, query: str, values: Iterable[Any] = ()) -> Any:
        """Return the first column of a query's first row, or None."""
        rows = self.rows(query, values)
        return rows[0][0] if rows else None

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            remedy = "Check that the folder exists and is writable, and that the disk is local and not full."
            raise DataError(self.path, f"cannot be used ({error})", remedy) from None
        except sqlite3.DatabaseError as error:
            remedy = "Restore it from a backup, or recover what is left with `sqlite3 FILE .recover`."
            raise DataError(self.path, f"is damaged, or not a store of profiles ({error})", remedy) from None
        except OSError as error:
            raise DataError(
                self.path, f"cannot be created ({error.strerror})", "Name another file."
            ) from None
