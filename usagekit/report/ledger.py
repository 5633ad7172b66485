"""The ledger: what has become of every report, in one SQLite file that survives any end of the process.

Every change is one transaction, on the disk when it returns. Only the run that holds the lock of the reports writes
it, so a unit found ``rendering`` by the next run was cut off. It can be rebuilt from the manifests, but for what
other modules keep in it.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from usagekit.engine.files import sync_directory
from usagekit.errors import StoreError
from usagekit.report.crash import step
from usagekit.report.sqlite_file import FORMAT, check, connect, migrate, told, transaction
from usagekit.report.unit import Failure, Rendered, Skipped, Unit

__all__ = ["LEDGER_FILE", "Entry", "Ledger", "migrate", "open_ledger", "read_entries", "transaction"]

LEDGER_FILE: Final = "ledger.sqlite"

_UNITS: Final = (
    """CREATE TABLE units (
        month TEXT NOT NULL, name TEXT NOT NULL, template TEXT NOT NULL, team TEXT, key TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('planned', 'rendering', 'rendered', 'failed')),
        cell_index INTEGER, error_name TEXT, error TEXT, notebook TEXT,
        manifest_sha256 TEXT, files TEXT, at_utc TEXT NOT NULL,
        PRIMARY KEY (month, name)
    ) WITHOUT ROWID""",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One unit in the ledger; ``name`` is that of its directory, ``key`` what it is made from.

    The error is that of the last attempt that ended, so it stays while the next one is planned or at work.
    ``files`` maps each published file to its size and mtime (ns).
    """

    month: str
    name: str
    template: str
    team: str | None
    key: str
    state: str
    cell_index: int | None
    error_name: str | None
    error: str | None
    notebook: str | None
    manifest_sha256: str | None
    files: Mapping[str, Sequence[int]]
    at_utc: str

    @property
    def is_open_failure(self) -> bool:
        """Whether the last attempt that ended failed."""
        return self.error_name is not None


class Ledger:
    """The open ledger. ``connection`` is for modules that keep tables of their own here (:func:`migrate`)."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def entries(self, month: str) -> dict[str, Entry]:
        """The units of a month by the names of their directories."""
        with told(self.path):
            return self._entries(month)

    def _entries(self, month: str) -> dict[str, Entry]:
        rows = self.connection.execute("SELECT * FROM units WHERE month = ? ORDER BY name", (month,))
        found = [Entry(**{**row, "files": json.loads(row["files"] or "{}")}) for row in map(dict, rows)]
        return {entry.name: entry for entry in found}

    def plan(self, keys: Iterable[tuple[Unit, str]]) -> None:
        """Set units down as ``planned``, with the keys of what they will be made from."""
        statement = (
            "INSERT INTO units (month, name, template, team, key, state, at_utc) VALUES (?, ?, ?, ?, ?, 'planned', ?)"
            " ON CONFLICT DO UPDATE SET template = excluded.template, team = excluded.team, key = excluded.key,"
            " state = excluded.state, at_utc = excluded.at_utc"
        )
        rows = [(*_place(unit), unit.template.name, unit.team, key, _now()) for unit, key in keys]
        with self.change("planned"):
            self.connection.executemany(statement, rows)

    def start(self, unit: Unit) -> None:
        """Set a unit down as ``rendering``."""
        with self.change("rendering"):
            self._set(unit, state="rendering")

    def finish(
        self,
        outcome: Rendered | Skipped,
        *,
        manifest_sha256: str,
        files: Mapping[str, Sequence[int]],
    ) -> None:
        """Set a published report down as ``rendered``, with what tells whether its files are still the same."""
        cleared = dict.fromkeys(("cell_index", "error_name", "error", "notebook"))
        known = {"manifest_sha256": manifest_sha256, "files": json.dumps(files, ensure_ascii=False)}
        with self.change("rendered"):
            self._set(outcome.unit, state="rendered", **cleared, **known)

    def fail(self, failure: Failure) -> None:
        """Set a unit down as ``failed``, with cell and error."""
        notebook = failure.notebook_path.name if failure.notebook_path else None
        with self.change("failed"):
            self._set(
                failure.unit,
                state="failed",
                cell_index=failure.cell_index,
                error_name=failure.error_name,
                error=failure.error,
                notebook=notebook,
            )

    @contextmanager
    def change(self, what: str) -> Iterator[None]:
        """One transaction: all of it or nothing is on the disk, whatever happens."""
        with told(self.path), transaction(self.connection, what):
            yield

    def _set(self, unit: Unit, **values: str | int | None) -> None:
        columns = ", ".join(f"{name} = ?" for name in ("at_utc", *values))
        self.connection.execute(
            f"UPDATE units SET {columns} WHERE month = ? AND name = ?",  # noqa: S608 - our own column names
            (_now(), *values.values(), *_place(unit)),
        )


def open_ledger(reports: Path) -> Ledger:
    """Open ``<reports>/ledger.sqlite``, made when missing; a context manager that closes it.

    Raises
    ------
    StoreError : the ledger is damaged, of a newer usagekit, or cannot be written.
    """
    path = reports.absolute() / LEDGER_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Nobody else may read it: it names teams, and addresses once mails are kept here.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        sync_directory(path.parent)
    except OSError as error:
        raise StoreError(f"the ledger {path} cannot be opened: {error.strerror}") from error
    step("ledger:made")
    with told(path):
        connection = connect(path.as_uri())
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            check(connection, path)
            migrate(connection, "units", _UNITS)
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        except BaseException:
            connection.close()
            raise
    return Ledger(path, connection)


def read_entries(reports: Path, month: str) -> dict[str, Entry]:
    """The units of a month, read without changing anything; none where there is no ledger.

    Raises
    ------
    StoreError : the ledger is damaged or of a newer usagekit.
    """
    path = reports.absolute() / LEDGER_FILE
    if not path.exists() or path.stat().st_size == 0:  # just made by a run that has not got further
        return {}
    with told(path):
        try:
            return _read(f"{path.as_uri()}?mode=ro", path, month)
        except sqlite3.OperationalError:
            # A reader, too, must write beside the file, which a full or read-only disk does not let it. Where no
            # log stands beside it either, nobody is at work, and the file alone says everything.
            log = path.with_name(f"{path.name}-wal")
            if log.exists() and log.stat().st_size:
                raise
            return _read(f"{path.as_uri()}?immutable=1", path, month)


def _read(uri: str, path: Path, month: str) -> dict[str, Entry]:
    connection = connect(uri)
    try:
        check(connection, path)
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'units'").fetchone()
        return Ledger(path, connection)._entries(month) if known else {}
    finally:
        connection.close()


def _place(unit: Unit) -> tuple[str, str]:
    return unit.month, unit.directory.name


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
