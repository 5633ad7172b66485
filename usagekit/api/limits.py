"""What one request and one server may cost: every limit by name, and the size of an answer before any work."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from math import prod

from usagekit.engine.plan import make_plan
from usagekit.engine.store import Store
from usagekit.errors import QueryError
from usagekit.query import EventsQuery, UsageQuery

_DAY = timedelta(days=1)
_BINS_PER_SESSION = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a server; docs/server.md says what happens at each.

    Parameters
    ----------
    rows : of one answer, by an estimate made before any work.
    rows_held : of all answers that are being streamed.
    whole_bytes : an answer up to this size is made whole (and cached); a larger one is streamed.
    cache_bytes : of all cached answers.
    running, waiting : computations at the same time, and those that may wait for them.
    answer_seconds : from the request to the first byte of the answer.
    request_seconds : from the first to the last byte of a request; also how long a new connection may be silent.
    stall_seconds : for a client to take one piece of an answer (about 256 KiB).
    connections : open at the same time; beyond, the one that has been silent longest is closed.
    headers, head_bytes : number and size of the headers of a request.
    """

    rows: int = 5_000_000
    rows_held: int = 10_000_000
    whole_bytes: int = 4 * 1024**2
    cache_bytes: int = 64 * 1024**2
    running: int = 2
    waiting: int = 100
    answer_seconds: float = 60
    request_seconds: float = 15
    stall_seconds: float = 60
    connections: int = 400
    headers: int = 100
    head_bytes: int = 128 * 1024


def check_usage_size(store: Store, query: UsageQuery, *, limit: int) -> None:
    """Refuse a query whose answer would have more than ``limit`` rows. Raises QueryError.

    With ``display_all`` the number is known: bins x members. Else it is at most that, and about ten bins for
    every session of the months in question.
    """
    days = (query.end - query.start).days + 1
    bins = {"hour": 24 * days, "day": days, "week": days // 7 + 2, "month": days // 28 + 2}[query.bin_size]
    groups = make_plan(store, query).groups
    members = prod(len(g.members if query.display_all else g.labels) for g in groups)
    rows = bins * members
    if not query.display_all:
        first = datetime.combine(query.start, time(), UTC) - _DAY
        rows = min(rows, _BINS_PER_SESSION * _sessions(store, first, first + (days + 2) * _DAY))
    if rows > limit:
        raise QueryError(
            f"about {rows:,} rows ({bins:,} bins, {members:,} members) are more than the limit of {limit:,}: "
            "ask for a shorter range or a larger bin_size, or filter",
            parameter="bin_size",
        )


def check_events_size(store: Store, query: EventsQuery, *, limit: int) -> None:
    """Refuse a range whose months hold more than ``limit`` sessions. Raises QueryError."""
    first = datetime.combine(query.start, time(), UTC)
    rows = _sessions(store, first, datetime.combine(query.end, time(), UTC) + _DAY)
    if rows > limit:
        raise QueryError(
            f"the months of {query.start} to {query.end} hold {rows:,} sessions, "
            f"more than the limit of {limit:,}: ask for fewer days",
            parameter="end_date",
        )


def _sessions(store: Store, start: datetime, end: datetime) -> int:
    """Number of sessions in the months that reach into a range."""
    low, high = start.timestamp(), end.timestamp()
    return sum(m.sessions for m in store.manifest.months if m.start < high and m.end >= low)
