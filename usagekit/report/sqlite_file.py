"""SQLite used with care: one transaction a change, tables that grow with the versions, errors that say what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from usagekit.errors import StoreError
from usagekit.report.crash import step

FORMAT: Final = 1
"""``user_version`` of the ledger: raised when an older usagekit could misread it."""


def connect(uri: str) -> sqlite3.Connection:
    """Open a database by its URI; every statement is its own transaction but inside :func:`transaction`."""
    # Whoever drops a batch may do so in another thread; the lock of the reports sees to one user at a time.
    connection = sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file of a newer usagekit, and raise ``sqlite3.DatabaseError`` for a damaged one."""
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > FORMAT:
        raise StoreError(f"the ledger {path} is of a newer usagekit (format {found}): update usagekit")
    (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if state != "ok":
        raise sqlite3.DatabaseError(state)


def migrate(connection: sqlite3.Connection, name: str, statements: Sequence[str]) -> None:
    """Bring the tables of a module up to date: run those of its statements that this file has not seen yet.

    ``statements`` only ever grows at its end, one change of the tables each; all that are new are one transaction.

    Raises
    ------
    StoreError : the file has seen more statements than these: a newer usagekit wrote it.
    """
    connection.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, done INTEGER NOT NULL)")
    row = connection.execute("SELECT done FROM migrations WHERE name = ?", (name,)).fetchone()
    done = row[0] if row else 0
    if done > len(statements):
        raise StoreError(f"the ledger's {name} are of a newer usagekit: update usagekit")
    if done < len(statements):
        with transaction(connection, f"migrated-{name}"):
            for statement in statements[done:]:
                connection.execute(statement)
            connection.execute("INSERT OR REPLACE INTO migrations VALUES (?, ?)", (name, len(statements)))


@contextmanager
def transaction(connection: sqlite3.Connection, what: str) -> Iterator[None]:
    """All of the block is kept, or nothing of it; ``what`` names the two steps for :mod:`usagekit.report.crash`."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        step(f"ledger:{what}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    step(f"ledger:{what}-committed")


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What SQLite complains of, as one line that says what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:  # a full disk, a read-only folder, another user of the file
        raise StoreError(f"the ledger {path} cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"the ledger {path} is damaged ({error}): take it from a backup, or move it away; reports are then "
            "known by their manifests, but not which mails have gone out"
        ) from error
