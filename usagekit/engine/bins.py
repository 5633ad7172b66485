"""Time bins as plain integers: edges in UTC seconds and one label a bin.

All knowledge of time zones ends here. The engine only sees integers, so it needs no time-zone support
and cannot disagree with another implementation of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import gcd
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from usagekit.query import UsageQuery

Ints = npt.NDArray[np.int64]

SLOT_SECONDS = 900
"""Bin edges of nearly every zone and year fall on quarters of an hour."""

_MAX_SLOTS = 20_000_000
_PROBE_SECONDS = 6 * 3600


@dataclass(frozen=True, slots=True)
class Bins:
    """The bins of a query.

    ``edges`` are n + 1 increasing UTC epoch seconds, the first and last cut at the range; ``labels`` are
    the n values of ``datetime``. A range without any instant (a date that the zone skipped) has no bins.
    """

    edges: Ints
    labels: list[str]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def start(self) -> int:
        return int(self.edges[0]) if len(self) else 0

    @property
    def end(self) -> int:
        return int(self.edges[-1]) if len(self) else 0

    def slots(self) -> tuple[int, npt.NDArray[np.int32]] | None:
        """(slot length in seconds, bin of each slot from the first edge on).

        The slot is a quarter of an hour, or finer where an edge does not fall on one (Antarctica/Casey
        2020-22, America/St_Johns before 2012). None when so fine a table would be too large.
        """
        offsets = self.edges - self.start
        slot = gcd(SLOT_SECONDS, int(np.gcd.reduce(offsets)))
        count = int(offsets[-1]) // slot
        if count > _MAX_SLOTS:
            return None
        return slot, np.repeat(np.arange(len(self), dtype=np.int32), np.diff(offsets) // slot)


def query_bins(query: UsageQuery) -> Bins:
    """The bins of a query, by the rules of docs/semantics.md, "Time"."""
    zone = ZoneInfo(query.timezone)
    start = day_start(query.start, zone)
    end = day_start(query.end + timedelta(days=1), zone)
    if end <= start:
        return Bins(np.empty(0, np.int64), [])
    if query.bin_size == "hour":
        inner = _hour_edges(start, end, zone)
        labels = [datetime.fromtimestamp(t, zone).isoformat() for t in inner.tolist()]
        return Bins(np.append(inner, end), labels)
    firsts = list(_bin_dates(query.start, query.end, query.bin_size))
    edges = np.array([max(day_start(day, zone), start) for day in firsts] + [end], np.int64)
    lasting = np.diff(edges) > 0  # a date that the zone skipped has no instants: Pacific/Apia 2011-12-30
    labels = [day.isoformat() for day, keep in zip(firsts, lasting, strict=True) if keep]
    return Bins(np.append(edges[:-1][lasting], end), labels)


def day_start(day: date, zone: ZoneInfo) -> int:
    """The first instant of a local date in UTC seconds: midnight, or the end of the gap that swallowed it."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    instant = int(midnight.timestamp())
    if datetime.fromtimestamp(instant, zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return instant
    return _offset_change(int(midnight.replace(fold=1).timestamp()), instant, zone)


def _bin_dates(start: date, end: date, bin_size: str) -> Iterator[date]:
    """First dates of the WHOLE bins that cover start to end."""
    day = start
    if bin_size == "week":
        day -= timedelta(days=start.weekday())
    elif bin_size == "month":
        day = start.replace(day=1)
    while day <= end:
        yield day
        if bin_size == "month":
            day = (day + timedelta(days=31)).replace(day=1)
        else:
            day += timedelta(days=7 if bin_size == "week" else 1)


def _hour_edges(start: int, end: int, zone: ZoneInfo) -> Ints:
    """Starts of the hour bins: the range's start, whole local hours and changes of the offset."""
    pieces = []
    changes = [t for t in _offset_changes(start, end, zone) if start < t < end]
    for low, high in zip([start, *changes], [*changes, end], strict=True):
        first_hour = low + -(low + _offset(low, zone)) % 3600
        hours = np.arange(first_hour, high, 3600, dtype=np.int64)
        pieces.append(hours if first_hour == low else np.append(np.int64(low), hours))
    return np.concatenate(pieces)


def _offset(instant: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(instant, UTC).astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def _offset_changes(start: int, end: int, zone: ZoneInfo) -> Iterator[int]:
    """Instants in (start, end] at which the zone's offset from UTC changes."""
    low, before = start, _offset(start, zone)
    while low < end:
        high = min(low + _PROBE_SECONDS, end)
        after = _offset(high, zone)
        if after != before:
            yield _offset_change(low, high, zone)
        low, before = high, after


def _offset_change(low: int, high: int, zone: ZoneInfo) -> int:
    """The first second with another offset than ``low``, given that ``high`` has one."""
    before = _offset(low, zone)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(middle, zone) == before:
            low = middle
        else:
            high = middle
    return high
