"""Answers kept on this machine: what is settled is asked for once, and a fetch that broke off goes on.

A private directory holds one file an answer, named by a hash of the API's origin, a fingerprint of the token
and the question. Files appear whole or not at all, so several processes may share the directory.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import secrets
import tempfile
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from usagekit.errors import SettingsError
from usagekit.period import month_of
from usagekit.query import EventsQuery, UsageQuery

Query = UsageQuery | EventsQuery
Rows = list[dict[str, Any]]

FRESH: Final = timedelta(minutes=15)
"""How long an answer about an open month is good."""
SETTLES: Final = timedelta(days=35)
"""How long after its end a month may still change: then it is asked for once more."""

_FORMAT: Final = 1
_FORGOTTEN: Final = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows as the API gave them, and when (UTC)."""

    rows: Rows
    asked: datetime


@dataclass(frozen=True, slots=True)
class Restatement:
    """A closed month's answer that has moved: ``changed`` rows are new, gone or different."""

    query: Query
    asked_before: datetime
    changed: int

    def __str__(self) -> str:
        q = self.query
        what = f"{q.metric} of {q.route.path}" if isinstance(q, UsageQuery) else "the events"
        return (
            f"restated: {what} from {q.start} to {q.end} changed in {self.changed} rows since it was asked "
            f"on {self.asked_before:%Y-%m-%d %H:%M} UTC"
        )


class Kept:
    """The kept answers of one account.

    Parameters
    ----------
    directory : private to this user; made where missing.
    origin : base URL of the API.
    fingerprint : of the token, under a salt; see :meth:`usagekit.api.client.Client.fingerprint`.
    closes : False for an API whose closed months may change at any time, such as one's own server.
    clock : the current time (UTC).

    Raises
    ------
    SettingsError : the directory cannot be used, or belongs to somebody else.
    """

    def __init__(
        self,
        directory: Path,
        origin: str,
        fingerprint: Callable[[bytes], str],
        *,
        closes: bool = True,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.directory = directory
        self.clock = clock
        self._closes = closes
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            if directory.stat().st_uid != os.getuid():
                raise SettingsError(f"{directory} belongs to another user: set USAGEKIT_CACHE")
            directory.chmod(0o700)
            self._account = [origin, fingerprint(self._salt())]
            self._forget()
        except OSError as error:
            raise SettingsError(f"{directory}: {error.strerror}: set USAGEKIT_CACHE") from None

    def find(self, query: Query) -> Answer | None:
        """The kept answer of any age; None where there is none, or none that can be read."""
        try:
            held = json.loads(gzip.decompress(self._path(query).read_bytes()))
            rows, asked = held["rows"], datetime.fromisoformat(held["asked"])
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
            return None  # damaged or of another version: it is asked for again
        return Answer(rows, asked) if held["format"] == _FORMAT else None

    def is_good(self, query: Query, answer: Answer) -> bool:
        """Whether a kept answer still stands."""
        now = self.clock()
        if self._closes and is_closed(query, answer.asked):
            return is_closed(query, answer.asked - SETTLES) or not is_closed(query, now - SETTLES)
        return timedelta() <= now - answer.asked < FRESH

    def keep(self, query: Query, rows: Rows) -> None:
        """Keep an answer of now. A disk that cannot take it costs a warning, not the answer."""
        held = {"format": _FORMAT, "asked": self.clock().isoformat(), "rows": rows}
        content = gzip.compress(json.dumps(held, ensure_ascii=False).encode(), compresslevel=1, mtime=0)
        try:
            self._publish(self._path(query), content)
        except OSError as error:
            warnings.warn(f"answers cannot be kept in {self.directory}: {error.strerror}", stacklevel=2)

    def _path(self, query: Query) -> Path:
        params = query.to_params()
        path = query.route.path if isinstance(query, UsageQuery) else query.path
        key = json.dumps([*self._account, path, params])
        return self.directory / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.json.gz"

    def _salt(self) -> bytes:
        path = self.directory / "salt"
        if not path.exists():
            self._publish(path, secrets.token_bytes(16), first=True)
        return path.read_bytes()

    def _publish(self, path: Path, content: bytes, *, first: bool = False) -> None:
        """Write a file of mode 0600 whole; ``first`` leaves one that is there already."""
        handle, name = tempfile.mkstemp(prefix=".making-", dir=self.directory)
        making = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if not first:
                making.replace(path)
            elif not path.exists():
                path.hardlink_to(making)
        except FileExistsError:
            return  # another process was first, which is as good
        finally:
            making.unlink(missing_ok=True)

    def _forget(self) -> None:
        """Remove what nobody can want any more, and what a crash left behind."""
        now = datetime.now(UTC).timestamp()
        for path in self.directory.iterdir():
            limit = timedelta(days=1) if path.name.startswith(".making-") else _FORGOTTEN
            with suppress(FileNotFoundError):  # a file that another process is making comes and goes
                if path.name != "salt" and now - path.stat().st_mtime > limit.total_seconds():
                    path.unlink()


def is_closed(query: Query, at: datetime) -> bool:
    """Whether the months of a question were over at an instant, in its zone."""
    zone = query.timezone if isinstance(query, UsageQuery) else "UTC"
    return at.astimezone(ZoneInfo(zone)).date() > month_of(query.end).end


def compare(query: Query, before: Answer, rows: Rows) -> Restatement | None:
    """What has moved since an answer about a closed month was kept, if anything has."""
    if not is_closed(query, before.asked):
        return None
    old, new = _counted(before.rows), _counted(rows)
    changed = max((old - new).total(), (new - old).total())
    return Restatement(query, before.asked, changed) if changed else None


def _counted(rows: Iterable[dict[str, Any]]) -> Counter[str]:
    return Counter(json.dumps(row, sort_keys=True) for row in rows)
