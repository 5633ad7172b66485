"""Bins of the oracle: where local days, weeks, months and hours begin, found by walking the zone.

Like tests/oracle.py it shares nothing with usagekit and prefers slow and plain (docs/semantics.md, "Time").
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@cache
def offset_changes(zone: str, year: int) -> tuple[datetime, ...]:
    """Instants of a UTC year at which the zone's offset changes, found by walking it hour by hour."""
    found = []
    now = datetime(year, 1, 1, tzinfo=UTC)
    while now.year == year:
        before, after = now, now + HOUR
        if _offset(zone, before) != _offset(zone, after):
            while after - before > SECOND:
                middle = before + (after - before) // SECOND // 2 * SECOND
                if _offset(zone, middle) == _offset(zone, before):
                    before = middle
                else:
                    after = middle
            found.append(after)
        now += HOUR
    return tuple(found)


def _offset(zone: str, instant: datetime) -> timedelta:
    offset = instant.astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None
    return offset


def _stretches(zone: str, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """Cut the time from start to end where the offset changes: (from, to, offset)."""
    changes = [c for year in range(start.year, end.year + 1) for c in offset_changes(zone, year)]
    cuts = [start, *(c for c in changes if start < c < end), end]
    for a, b in pairwise(cuts):
        if a < b:
            yield a, b, _offset(zone, a)


@cache
def date_start(zone: str, day: date) -> datetime:
    """The first instant at which the local clock shows midnight of a date, or has jumped over it."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)  # as a reading of the local clock
    for a, b, offset in _stretches(zone, midnight - 2 * DAY, midnight + 2 * DAY):
        first = max(a, midnight - offset)
        if first < b:
            return first
    raise AssertionError(f"{day} never starts in {zone}")


def bins(zone: str, bin_size: str, first: date, last: date) -> list[tuple[str, datetime, datetime]]:
    """The bins of a range of local dates, both included: (label, start, end), none of length zero."""
    start, end = date_start(zone, first), date_start(zone, last + DAY)
    if bin_size == "hour":
        edges = []
        for a, b, offset in _stretches(zone, start, end):
            edges.append(a)  # the range begins or the offset changes
            whole_hour = a + HOUR - (a + offset - EPOCH) % HOUR
            while whole_hour < b:
                edges.append(whole_hour)
                whole_hour += HOUR
        return [
            (a.astimezone(ZoneInfo(zone)).isoformat(timespec="seconds"), a, b)
            for a, b in pairwise([*edges, end])
        ]
    days = [first + n * DAY for n in range((last - first).days + 1)]
    found = []
    for head in sorted({_head(bin_size, day) for day in days}):
        a = max(start, date_start(zone, head))
        b = min(end, date_start(zone, _next_head(bin_size, head)))
        if a < b:
            found.append((head.isoformat(), a, b))
    return found


def _head(bin_size: str, day: date) -> date:
    """The date with which the day, week or month around ``day`` begins."""
    if bin_size == "week":
        return day - day.weekday() * DAY
    return day.replace(day=1) if bin_size == "month" else day


def _next_head(bin_size: str, head: date) -> date:
    if bin_size == "month":
        return (head + 31 * DAY).replace(day=1)
    return head + (7 * DAY if bin_size == "week" else DAY)
